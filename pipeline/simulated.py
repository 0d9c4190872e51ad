"""Is a deployment simulated, and then: what of its truth was found?

The simulator leaves `deployment.json` ("simulated": true) and `truth.csv` beside its recordings. A
call is found where events of its label cover half of its time, an event is false where calls of its
label, faint ones too, cover less than half of it: the rule of `training.metrics`. Calls fainter
than 6 dB in their own box (`audible`) are in no figure.
"""
from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from pipeline.parts import read_footer

MARK, TRUTH = "deployment.json", "truth.csv"
COVERED = 0.5
COLOURS = {"found": "#009e73", "missed": "#d55e00", "faint": "#b0b7bd", "true": "#0072b2",
           "false": "#e69f00"}  # fmt: skip
SAID = {"found": "call, found", "missed": "call, missed", "faint": "call too faint to count",
        "true": "event on a call", "false": "event on none"}  # fmt: skip


def root_of(output: Path, audio: Path | None = None) -> Path | None:
    """The folder below which a run's recordings lay: as given, else as its parts tell it."""
    if audio is not None and audio.exists():
        return audio if audio.is_dir() else audio.parent
    part = next((output / "parts").glob("*.zip"), None)
    made = read_footer(part) if part else {}
    where, name = str(made.get("where", "")).replace("\\", "/"), str(made.get("input", ""))
    return Path(where[: -len(name)]) if name and where.endswith("/" + name) else None


def simulated_recordings(effort: pd.DataFrame, root: Path | None) -> tuple[list[str], pd.DataFrame]:
    """Names of the recordings that a simulator made, and their truth as far as it is there:
    recording, label, start_s, end_s, low_hz, high_hz, snr_db, audible."""
    names, tables = [], []
    folders: dict[str, list[str]] = {}
    for name in effort["recording"].unique() if root is not None else ():
        folders.setdefault(PurePosixPath(name).parent.as_posix(), []).append(name)
    for folder, inside in folders.items():
        if not _is_simulated(root / folder / MARK):
            continue
        names += inside
        path = root / folder / TRUTH
        if path.is_file():
            truth = pd.read_csv(path)
            whole = dict(zip((PurePosixPath(name).name for name in inside), inside))
            tables.append(truth.assign(recording=truth["recording"].map(whole)))
    empty = pd.DataFrame(columns=["recording", "label", "start_s", "end_s", "audible"])
    truth = pd.concat(tables, ignore_index=True) if tables else empty
    return names, truth[truth["recording"].notna()].reset_index(drop=True)


def _is_simulated(mark: Path) -> bool:
    try:
        return bool(json.loads(mark.read_text(encoding="utf-8")).get("simulated"))
    except (OSError, ValueError, AttributeError):
        return False


def judged(events: pd.DataFrame, truth: pd.DataFrame, labels) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(calls, named): the truth's calls with `verdict` found, missed or faint, and the events, a
    row for each of their labels, with `verdict` true or false, or faint on a call too faint."""
    named = events.assign(label=events["labels"].str.split("+")).explode("label", ignore_index=True)
    named = named[named["label"].isin(labels)].reset_index(drop=True)
    calls = truth[truth["label"].isin(labels)].reset_index(drop=True)
    loud = calls["audible"].astype(bool)
    found = _covered(calls, named) >= COVERED
    on_loud, on_any = _covered(named, calls[loud]) >= COVERED, _covered(named, calls) >= COVERED
    calls["verdict"] = np.where(~loud, "faint", np.where(found, "found", "missed"))
    named["verdict"] = np.where(on_loud, "true", np.where(on_any, "faint", "false"))
    return calls, named


def _covered(rows: pd.DataFrame, by: pd.DataFrame) -> np.ndarray:
    """(rows,) share of each row's time that rows of `by` with its recording and label cover."""
    groups = {key: part[["start_s", "end_s"]].sort_values("start_s").to_numpy(float)
              for key, part in by.groupby(["recording", "label"])}  # fmt: skip
    out = np.zeros(len(rows))
    for k, row in enumerate(rows.itertuples()):
        total, reach = 0.0, row.start_s
        for start, end in groups.get((row.recording, row.label), ()):
            total += max(0.0, min(end, row.end_s) - max(start, reach))
            reach = max(reach, min(end, row.end_s))
        out[k] = total / max(row.end_s - row.start_s, 1e-9)
    return out


def found_table(events: pd.DataFrame, truth: pd.DataFrame, labels) -> pd.DataFrame:
    """Of each label, and of all: calls (audible), found, missed, events, false events."""
    calls, named = judged(events, truth, labels)
    rows = []
    for label in [*labels, "all"]:
        of_calls = calls if label == "all" else calls[calls["label"] == label]
        of_events = named if label == "all" else named[named["label"] == label]
        told, said = of_calls["verdict"].value_counts(), of_events["verdict"].value_counts()
        found, missed = int(told.get("found", 0)), int(told.get("missed", 0))
        rows.append({"label": label, "calls": found + missed, "found": found, "missed": missed,
                     "events": len(of_events), "false": int(said.get("false", 0))})  # fmt: skip
    return pd.DataFrame(rows)


def plot_truth(events: pd.DataFrame, truth: pd.DataFrame, labels, start_s, end_s, ax):
    """Found against truth of one recording: for each label the calls (above) and the events (below)
    from `start_s` to `end_s`, coloured by verdict."""
    from matplotlib.patches import Patch

    calls, named = judged(events, truth, labels)
    for up, table in ((0.04, calls), (-0.4, named)):
        inside = table[(table["start_s"] < end_s) & (table["end_s"] > start_s)]
        for row in inside.itertuples():
            at, colour = len(labels) - 1 - list(labels).index(row.label), COLOURS[row.verdict]
            ax.broken_barh([(row.start_s, row.end_s - row.start_s)], (at + up, 0.36), color=colour)
    for k in range(1, len(labels)):
        ax.axhline(k - 0.5, color="#d9dfe5", linewidth=0.8)
    ax.set(xlim=(start_s, end_s), ylim=(-0.5, len(labels) - 0.5), xlabel="time (s)")
    ax.set_yticks(range(len(labels)), [*labels][::-1])
    handles = [Patch(color=COLOURS[name], label=text) for name, text in SAID.items()]
    ax.legend(handles=handles, ncols=5, frameon=False, fontsize=8, loc="lower left",
              bbox_to_anchor=(0, 1))  # fmt: skip
    return ax
