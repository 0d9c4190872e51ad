"""Data sets from recordings and annotations.

    recordings = list_recordings("/data/2022 BSM")
    data = annotated_dataset(recordings, "/data/2022 BSM/**/*.selections.txt", "data/bsm", load_profile("beluga"), label_map="beluga", exhaustive=True)

What a window is called follows the rule of `dataset.targets`: 1 where a call of the label lies in it for at least half the window, 50 ms or half the call,
whichever is least; NaN, to be ignored, where it is only touched. Beyond that:

- 0, the absence of a label, is only given where somebody looked for this label and all of the window was looked through. What was looked through is told by the user
  (`exhaustive`), which labels were looked for likewise (`looked_for`). Elsewhere a window without a call is NaN.
- A window that meets an annotation whose label is `(unsure)` is NaN for every label that is not surely there.
- A label that the recording's sample rate cannot show is NaN.

All of this stands in the set's calls.parquet, as rows with `audible` false and the `kind` "unsure" or "unannotated" (a call has "call"): `targets` ignores what such a
row touches, and so do the finer targets of training and the judging of events. Windows and their pictures are those of inference, bit for bit, the last
one of a recording and the only one of a short clip included (`padded`).
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from preprocessing.annotations import read_annotations
from preprocessing.dataset import DataSet, add_recording, build_dataset, picture_name, seal_folder
from preprocessing.hard_negatives import hard_negatives, mark_hard_negatives
from preprocessing.label_map import UNSURE, LabelMap, same_labels
from preprocessing.recordings import as_recordings, describe
from preprocessing.snr import measured_snr_db
from preprocessing.spans import between, by_recording_and_label, exhaustive_spans
from preprocessing.text_table import TAKEN, number
from spectrogram.generator import SpectrogramGenerator
from spectrogram.profile import Profile

SNR_COLUMNS = ("snr_db", "SNR (dB)")  # of an annotation file that knows it
NOT_IN_MANIFEST = ("fault", "channels", "start_utc")


def annotated_dataset(recordings, annotations, folder: str | Path, profile: Profile, label_map: LabelMap | str | Path | None = None, exhaustive=False,
                      looked_for: tuple[str, ...] | None = None, false_alarms: pd.DataFrame | None = None, carry: tuple[str, ...] = (), summary: dict | None = None) -> DataSet:
    """Make (or finish) a data set from annotations.

    Parameters
    ----------
    recordings : folder, files, or a table (`list_recordings`, `describe`): its columns, site, day, source, split and whatever else, go into the manifest.
    annotations : a table, or whatever `read_annotations` reads.
    label_map : a `LabelMap`, its name or path; None: the labels are the profile's already.
    exhaustive : what was looked through from end to end, so that silence there is silence: True for all recordings; a list of recordings; or a table of
        recording, and, where only a part was, start_s and end_s, and, where only one label was looked for there, label.
    looked_for : labels that the annotators marked wherever they were; None: those that occur in the annotations.
    false_alarms : a detector's events; those that `hard_negatives` keeps are marked in the manifest's column `hard_negative`.
    carry : columns of the annotations that say something of a whole recording (`source`, `year`), to go into the manifest.
    summary : anything else to remember with the data.

    Returns
    -------
    DataSet. `data.info["summary"]` says what was made of the labels (before, after, count), which were looked for, and how many seconds were looked through for each.

    Raises
    ------
    ValueError
        for annotations of recordings that are not there, labels that are not in the map or the profile, columns that say two things of one recording,
        spans of what is not there.
    """
    recordings = as_recordings(recordings).reset_index(drop=True)
    if not isinstance(annotations, pd.DataFrame):
        annotations = read_annotations(annotations, recordings)
    notes = list(annotations.attrs.get("notes", []))
    if "fault" in recordings:
        notes += list(recordings["fault"][recordings["fault"] != ""])
        recordings = recordings[recordings["fault"] == ""].reset_index(drop=True)
    annotations = _of_these(annotations, recordings, notes)
    if carry:
        recordings = carried(recordings, annotations, carry)
    label_map = label_map if isinstance(label_map, LabelMap) else same_labels(profile.labels) if label_map is None else LabelMap.read(label_map)
    cleaned, report = label_map.apply(annotations)
    looked_for = tuple(looked_for) if looked_for is not None else tuple(label for label in profile.labels if (cleaned["label"] == label).any())
    if strange := set(looked_for) - set(profile.labels):
        raise ValueError(f"looked_for names {sorted(strange)[0]!r}, which profile {profile.name} does not know ({', '.join(profile.labels)})")
    spans = exhaustive_spans(exhaustive, recordings, looked_for)
    truth = truth_table(cleaned, spans, recordings, profile)
    kept = hard_negatives(false_alarms, cleaned, spans, recordings) if false_alarms is not None else None
    _measure_snr(truth, recordings, Path(folder), profile)
    said = {"labels": report.to_dict("records"), "annotations": len(annotations), "looked_for": list(looked_for),
            "looked_through_s": {label: float((mine["end_s"] - mine["start_s"]).sum()) for label, mine in spans.groupby("label")},
            "hard_negatives": 0 if kept is None else len(kept), "notes": notes}
    listed = recordings.drop(columns=[column for column in NOT_IN_MANIFEST if column in recordings])
    return build_dataset(listed, truth, folder, profile, said | (summary or {}), padded=True, mark=lambda manifest: mark_hard_negatives(manifest, kept, profile))


def carried(recordings: pd.DataFrame, annotations: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """The recordings with what these columns of the annotations say of each; a column that was renamed because its name is taken (`source`) under its own name."""
    own = {column: column + TAKEN if column + TAKEN in annotations else column for column in columns}
    missing = [column for column in own.values() if column not in annotations]
    if missing:
        raise ValueError(f"the annotations have no column {missing[0]!r} to carry; they have {', '.join(annotations.columns)}")
    about = pd.DataFrame({"recording": annotations["recording"]} | {column: annotations[name] for column, name in own.items()})
    return describe(recordings, about, tuple(columns))


def _of_these(annotations: pd.DataFrame, recordings: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Annotations of the recordings' channels; an error for those of recordings that are not there."""
    strangers = annotations[~annotations["recording"].isin(recordings["recording"])]
    if len(strangers):
        first = strangers.iloc[0]
        raise ValueError(f"{first.get('source', 'annotations')}, line {first.get('line', '?')}: about {first['recording']!r}, which is not among the recordings that can be read "
                         f"({len(strangers)} annotations of {strangers['recording'].nunique()} such recordings); add the files, or leave these rows out of the table")
    if "channel" not in annotations:
        return annotations
    channel = recordings["channel"] if "channel" in recordings else pd.Series(0, recordings.index)
    other = annotations["channel"] != annotations["recording"].map(dict(zip(recordings["recording"], channel)))
    if other.any():
        notes.append(f"{int(other.sum())} annotations are of another channel than the recordings table tells (the first, if it does not); left out")
    return annotations[~other]


def truth_table(annotations: pd.DataFrame, spans: pd.DataFrame, recordings: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """What `build_dataset` is told: calls, and what is to be ignored.

    Returns
    -------
    The annotations' columns with snr_db (NaN where no column tells it), audible and kind. A "call" is audible, unless the annotations say otherwise in a column `audible`. An annotation
    `(unsure)` is one inaudible row for each label; so is, as "unannotated", all time of a recording that was not looked through for a label.
    """
    strangers = set(annotations["label"]) - {UNSURE, *profile.labels}
    if strangers:
        raise ValueError(f"the annotations have labels {', '.join(sorted(strangers))} that profile {profile.name} does not know ({', '.join(profile.labels)}); map or drop them")
    unsure = annotations["label"] == UNSURE
    told_db = next((annotations[column] for column in SNR_COLUMNS if column in annotations), None)
    snr_db = np.full(len(annotations), np.nan) if told_db is None else [value if (value := number(str(text))) is not None else np.nan for text in told_db]
    audible = np.ones(len(annotations), bool) if "audible" not in annotations else annotations["audible"].astype(str).str.lower() != "false"
    rows = annotations.drop(columns=[c for c in ("snr_db", "audible", "kind") if c in annotations]).assign(snr_db=np.asarray(snr_db, np.float32), audible=audible, kind="call")
    doubtful = rows[unsure].assign(audible=False, kind="unsure", snr_db=np.float32(-np.inf))
    doubtful = doubtful.loc[doubtful.index.repeat(len(profile.labels))].assign(label=list(profile.labels) * int(unsure.sum()))
    looked = by_recording_and_label(spans)
    gaps = [(name, label, start_s, end_s) for name, duration_s in zip(recordings["recording"], recordings["duration_s"]) for label in profile.labels
            for start_s, end_s in between(looked.get((name, label), np.empty((0, 2))), float(duration_s))]
    unseen = pd.DataFrame(gaps, columns=["recording", "label", "start_s", "end_s"]).assign(audible=False, kind="unannotated", snr_db=np.float32(-np.inf))
    truth = pd.concat([rows[~unsure], *(part for part in (doubtful, unseen) if len(part))], ignore_index=True)
    for column, kind in rows.dtypes.items():  # what an unannotated stretch does not have
        if kind in ("str", "int64"):
            truth[column] = truth[column].fillna("" if kind == "str" else 0)
    return truth.astype(rows.dtypes.to_dict())


def _measure_snr(truth: pd.DataFrame, recordings: pd.DataFrame, folder: Path, profile: Profile) -> None:
    """Fill in, on the pictures, the signal-to-noise ratio of calls of which nobody has told it."""
    seal_folder(folder, profile, padded=True)
    generator, calls = SpectrogramGenerator(profile), truth[truth["kind"] == "call"]
    for row in tqdm(recordings.to_dict("records"), desc="signal-to-noise", unit="file"):
        mine = calls[calls["recording"] == row["recording"]]
        if not mine["snr_db"].isna().any():
            continue
        name = picture_name(row["recording"])
        add_recording(folder, name, Path(row["path"]), generator, int(row.get("channel", 0)), padded=True)
        found_db = measured_snr_db(np.load(folder / "pictures" / name, mmap_mode="r"), profile, mine).astype(np.float32)
        truth.loc[mine.index, "snr_db"] = np.where(mine["snr_db"].isna(), found_db, mine["snr_db"])
