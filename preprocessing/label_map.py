"""From the labels that people wrote to the labels of a profile: typing errors, merges, drops, one label that means several.

A map is a YAML file, in `preprocessing/label_maps/` or anywhere:

    labels:                             # ours: what else is written for it; ours itself is always understood
      Whistle: [whistle, wistle, W]
      HFPC: [HFPC-M]
    multi: {HFPC/W: [HFPC, Whistle]}    # one annotation becomes one of each
    split: "+"                          # "ECHO+Whistle" is taken apart, then each part looked up
    unsure: [unsure, "?"]               # something is there: neither the call nor silence (becomes the label `(unsure)`)
    drop: [noise, a]                    # as if nothing had been annotated

Case, blanks around and between words, and the two ways of writing an accent in Unicode make no difference.

    cleaned, report = LabelMap.read("beluga").apply(annotations)
"""
from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import pandas as pd
import yaml

from preprocessing.csv_annotations import ABSENT

MAPS = Path(__file__).parent / "label_maps"
PARTS = ("labels", "multi", "split", "unsure", "drop")
UNSURE, DROPPED = "(unsure)", "(dropped)"


def plain(label: str) -> str:
    """A label for comparison: "  Wistle " and "wistle" are the same."""
    return " ".join(unicodedata.normalize("NFC", str(label)).casefold().split())


@dataclass
class LabelMap:
    """What each written label (as of `plain`) becomes: some of ours, `(unsure)`, or nothing.

    Attributes
    ----------
    labels : ours, in the map's order.
    becomes : {written: (ours, ...)}; () is dropped.
    split : sign that parts of one label are joined by, or "".
    """

    labels: tuple[str, ...]
    becomes: dict[str, tuple[str, ...]]
    split: str = ""
    source: str = field(default="label map", compare=False)

    @classmethod
    def read(cls, name: str | Path) -> LabelMap:
        """A map by its name in `label_maps` ("beluga"), or by the path of a YAML file.

        Raises
        ------
        FileNotFoundError
            naming the maps there are; ValueError for what `from_dict` finds wrong.
        """
        path = MAPS / f"{name}.yaml"
        path = path if path.exists() else Path(name)
        if path.suffix not in (".yaml", ".yml") or not path.exists():
            raise FileNotFoundError(f"no label map {str(name)!r}: use one of {', '.join(sorted(p.stem for p in MAPS.glob('*.yaml')))}, or the path of a YAML file")
        try:
            told = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        except yaml.YAMLError as error:
            raise ValueError(f"{path}: not YAML ({' '.join(str(error).split())}); put quotes around labels with signs in them") from None
        return cls.from_dict(told, str(path))

    @classmethod
    def from_dict(cls, told: dict, source: str = "label map") -> LabelMap:
        """A map from what the YAML holds.

        Raises
        ------
        ValueError
            for an unknown key, a label that is told twice, and a `multi` that names a label not under `labels`.
        """
        if not isinstance(told, dict) or not isinstance(told.get("labels"), dict):
            raise ValueError(f"{source}: no `labels: {{Ours: [written, ...]}}`; see preprocessing/label_map.py")
        for name in told:
            if name not in PARTS:
                raise ValueError(f"{source}: unknown key {name!r}{_near(str(name), PARTS)}; the keys are {', '.join(PARTS)}")
        labels = tuple(_text(label, source) for label in told["labels"])
        rules = [(label, (label,)) for label in labels]
        rules += [(written, (label,)) for label, names in zip(labels, told["labels"].values()) for written in _list(names)]
        for written, ours in (told.get("multi") or {}).items():
            for label in _list(ours):
                if label not in labels:
                    raise ValueError(f"{source}: `multi` makes {written!r} a {label!r}, which is not under `labels`{_near(str(label), labels)}")
            rules.append((written, tuple(_list(ours))))
        rules += [(written, (UNSURE,)) for written in _list(told.get("unsure"))] + [(written, ()) for written in _list(told.get("drop"))]
        becomes: dict[str, tuple[str, ...]] = {}
        for written, ours in rules:
            written = plain(_text(written, source))
            if becomes.setdefault(written, ours) != ours:
                one, other = ("+".join(said) or DROPPED for said in (becomes[written], ours))
                raise ValueError(f"{source}: {written!r} is told twice, as {one} and as {other}; if it means both, say so under `multi`")
        return cls(labels, becomes, str(told.get("split") or ""), source)

    def look_up(self, label: str) -> tuple[str, ...] | None:
        """What a written label becomes; None if the map does not know it, or a part of it."""
        whole = self.becomes.get(plain(label))
        if whole is not None or not self.split or self.split not in label:
            return whole
        found = [self.becomes.get(plain(part)) for part in label.split(self.split)]
        return None if None in found else tuple(dict.fromkeys(ours for part in found for ours in part))

    def only(self, labels: tuple[str, ...]) -> LabelMap:
        """The map with all but these of our labels dropped: calls that an experiment is not about."""
        becomes = {written: tuple(label for label in ours if label in labels or label == UNSURE) for written, ours in self.becomes.items()}
        return LabelMap(tuple(label for label in self.labels if label in labels), becomes, self.split, self.source)

    def apply(self, table: pd.DataFrame, unknown: str = "error") -> tuple[pd.DataFrame, pd.DataFrame]:
        """Annotations with our labels, and what was changed.

        Parameters
        ----------
        unknown : what is done about labels that the map does not know: "error", or "keep" them as they are.

        Returns
        -------
        The table, an annotation of several labels once for each; and a report: before, after, count, one row for each pair, most frequent first within ours.

        Raises
        ------
        ValueError
            listing unknown labels, how often each comes, and what it may have been meant to be.
        """
        if unknown not in ("error", "keep"):
            raise ValueError(f"unknown={unknown!r}: use error or keep")
        found = {label: self.look_up(label) for label in table["label"].unique()}
        strangers = Counter(label for label in table["label"] if found[label] is None)
        if strangers and unknown == "error":
            listed = "; ".join(f"{label!r} {count} times{_near(plain(label), self.becomes)}" for label, count in strangers.most_common())
            raise ValueError(f"{self.source}: {len(strangers)} labels are not in it: {listed}; add them under labels, multi, unsure or drop, or keep them with unknown=\"keep\"")
        after = [found[label] if found[label] is not None else (label,) for label in table["label"]]
        pairs = Counter((before, ours) for before, all_ours in zip(table["label"], after) for ours in all_ours or (DROPPED,))
        report = pd.DataFrame([(before, ours, count) for (before, ours), count in pairs.items()], columns=["before", "after", "count"])
        order = {label: place for place, label in enumerate(self.labels)}
        report["place"] = report["after"].map(order).fillna(len(order) + (report["after"] == DROPPED)).astype(float)
        report = report.sort_values(["place", "after", "count", "before"], ascending=[True, True, False, True]).drop(columns="place").reset_index(drop=True)
        cleaned = table.loc[table.index.repeat([len(ours) for ours in after])].reset_index(drop=True)
        cleaned["label"] = pd.Series([label for ours in after for label in ours], index=cleaned.index, dtype="str")
        cleaned.attrs = dict(table.attrs)
        return cleaned, report


def same_labels(labels: tuple[str, ...]) -> LabelMap:
    """The map for annotations that use our labels already, joined by + or not: only case and blanks are mended."""
    return LabelMap.from_dict({"labels": dict.fromkeys(labels), "split": "+", "unsure": [UNSURE], "drop": [ABSENT]}, f"the profile's labels {', '.join(labels)}")


def _list(value) -> list:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def _text(value, source: str) -> str:
    """A label that YAML has read: a number is its digits, nothing a blank; what it has turned into true or false cannot be told any more."""
    if isinstance(value, bool):
        raise ValueError(f"{source}: YAML reads one of the labels as {str(value).lower()} (yes, no, on, off); put quotes around it")
    return "" if value is None else str(value)


def _near(text: str, known) -> str:
    near = get_close_matches(text, list(known), n=1, cutoff=0.7)
    return f" ({near[0]}?)" if near else ""
