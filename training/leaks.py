"""Leaks between train, validation and test, looked for before anything is trained.

    leaks = check_leaks(manifest, folds, groups=("recording", "source"), sound=find_duplicates(recordings), window_s=1.0)
    refuse_leaks(leaks)            # raises Leak with a readable list

A leak is: a group (recording, source, day) on two sides; the same sound on two sides, copied or nearly the same; windows that overlap in time on two
sides, within a recording or, where the table tells site and UTC, between recordings made at once at one site.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

COLUMNS = ["split", "kind", "what", "sides", "rows", "a", "b", "score", "offset_s"]
OVERLAP, AT_ONCE = "overlap in time", "same time and site"
SHOWN = 12  # leaks that a refusal lists
TOUCH_S = 1e-6  # windows that share only an instant do not overlap


class Leak(ValueError):
    """The same thing on two sides of a split. The message lists what."""


def check_leaks(manifest: pd.DataFrame, folds: pd.Series | pd.DataFrame, groups: str | Sequence[str] = ("recording",), sound: pd.DataFrame | None = None,
                window_s: float | None = None) -> pd.DataFrame:
    """Every leak of one or several assignments.

    Parameters
    ----------
    manifest : one row per window or recording: the columns of `groups`; `recording` for sound and overlaps. Windows have start_s, and end_s unless
        `window_s` tells how long they are; recordings have duration_s. With `site` and `start_utc` (of the recording) recordings of a site are compared too.
    folds : side of each row ("train", "validation", "test", or fold numbers), one column or several (`preprocessing.splits`), by the manifest's index; rows
        without a side (NaN) are in no one's way.
    groups : columns that must not lie on two sides.
    sound : table of `preprocessing.duplicates.find_duplicates`, its names those in `recording`. None: sound is not compared.

    Returns
    -------
    A row for each leak: `split` (column of folds), `kind` ("same source", ..., "same samples", "same sound", "overlap in time", "same time and site"),
    `what`, `sides` (with the rows of each), `rows`, `a` and `b` (a recording on each side), `score` and `offset_s` (of sound).

    Raises
    ------
    ValueError
        where a column is missing, folds and manifest do not fit, or none of the names in `sound` is the manifest's.
    """
    folds = folds.to_frame(folds.name or "split") if isinstance(folds, pd.Series) else folds
    groups = [groups] if isinstance(groups, str) else list(groups)
    if not folds.index.equals(manifest.index):
        raise ValueError(f"folds ({len(folds)} rows) and manifest ({len(manifest)} rows) do not have the same index; make the folds from this manifest")
    for column in groups if sound is None else [*groups, "recording"]:
        if column not in manifest:
            raise ValueError(f"the manifest has no column {column}; it has {', '.join(map(str, manifest.columns))}")
    if sound is not None and len(sound) and not pd.concat([sound["a"], sound["b"]]).isin(manifest["recording"]).any():
        raise ValueError(f"no recording in the table of sounds is in the manifest, {sound['a'].iloc[0]!r} for one; compare recordings under the manifest's names")
    windows = _windows(manifest, window_s)
    found = []
    for split in folds:
        side = folds[split]
        leaks = [leak for column in groups for leak in _same_group(manifest, side, column)]
        leaks += [] if sound is None else _same_sound(manifest, side, windows, sound)
        leaks += [] if windows is None else _overlaps(manifest, side, windows)
        found += [{"split": split} | leak for leak in leaks]
    return pd.DataFrame(found, columns=COLUMNS)


def refuse_leaks(leaks: pd.DataFrame, allow: bool | str | Sequence[str] = ()) -> None:
    """Raise where there are leaks.

    Parameters
    ----------
    allow : kinds that are let through ("same day"), or True for all: for the experiment that shows what a leak does.

    Raises
    ------
    Leak
        with the kinds and their numbers, a line for each of the first leaks, and what to do.
    """
    allowed = leaks["kind"].unique() if allow is True else [] if allow is False else [allow] if isinstance(allow, str) else list(allow)
    kept = leaks[~leaks["kind"].isin(allowed)]
    if kept.empty:
        return
    numbers = ", ".join(f"{kind}: {count}" for kind, count in kept["kind"].value_counts().items())
    lines = [f"  {leak.split}: {leak.kind}, {leak.what} ({leak.sides})" for leak in kept.head(SHOWN).itertuples()]
    more = [f"  ... and {len(kept) - SHOWN} more"] if len(kept) > SHOWN else []
    mend = "Split by groups that hold these together (grouped_folds takes several columns, and the table of duplicates as `same`), or allow the kind by name."
    raise Leak("\n".join([f"{len(kept)} leaks between the sides of the split ({numbers})", *lines, *more, mend]))


def _windows(manifest: pd.DataFrame, window_s: float | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Start and end of each row in s of its recording; None where the manifest does not tell."""
    if "start_s" not in manifest:
        return (np.zeros(len(manifest)), manifest["duration_s"].to_numpy(float)) if "duration_s" in manifest and "recording" in manifest else None
    start_s = manifest["start_s"].to_numpy(float)
    if "recording" not in manifest or ("end_s" not in manifest and window_s is None):
        return None
    return start_s, manifest["end_s"].to_numpy(float) if "end_s" in manifest else start_s + window_s


def _rows_by_side(side: pd.Series) -> str:
    return ", ".join(f"{name}: {count}" for name, count in side.value_counts().sort_index().items())


def _same_group(manifest: pd.DataFrame, side: pd.Series, column: str) -> list[dict]:
    values = manifest[column].where(side.notna())
    sides = side.groupby(values).nunique()
    names, leaks = manifest.get("recording", manifest[column]), []
    for value in sides.index[sides > 1]:
        mine = values == value
        first = names[mine].groupby(side[mine]).first().tolist()
        leaks.append({"kind": f"same {column}", "what": str(value), "sides": _rows_by_side(side[mine]), "rows": int(mine.sum()), "a": first[0], "b": first[1]})
    return leaks


def _same_sound(manifest: pd.DataFrame, side: pd.Series, windows, sound: pd.DataFrame) -> list[dict]:
    """Pairs that share sound and have rows on different sides; where the manifest tells times, rows outside the shared stretch do not count."""
    rows_of, sides, leaks = manifest.groupby("recording").indices, side.to_numpy(object), []
    for pair in sound[sound["a"].isin(rows_of) & sound["b"].isin(rows_of)].itertuples():
        parts = []
        for name, begin_s in ((pair.a, max(0.0, pair.offset_s)), (pair.b, max(0.0, -pair.offset_s))):
            rows = rows_of[name]
            if windows is not None:
                rows = rows[(windows[1][rows] > begin_s + TOUCH_S) & (windows[0][rows] < begin_s + pair.overlap_s - TOUCH_S)]
            parts.append(rows[pd.notna(sides[rows])])
        if any(one != other for one in set(sides[parts[0]]) for other in set(sides[parts[1]])):
            mine = np.unique(np.concatenate(parts))
            what = f"{pair.a} and {pair.b}" if pair.kind == "same samples" else f"{pair.b} begins at {pair.offset_s:.2f} s of {pair.a}"
            leaks.append({"kind": pair.kind, "what": what, "sides": _rows_by_side(side.iloc[mine]), "rows": len(mine), "a": pair.a, "b": pair.b,
                          "score": pair.score, "offset_s": pair.offset_s})
    return leaks


def _overlaps(manifest: pd.DataFrame, side: pd.Series, windows) -> list[dict]:
    """Windows of one recording, or of one site at one time, that overlap and lie on different sides."""
    recording = manifest["recording"].astype(str)
    table = pd.DataFrame({"place": recording, "recording": recording, "start": windows[0], "end": windows[1], "side": side})
    leaks = _overlaps_by_place(table.dropna(), OVERLAP)
    if {"site", "start_utc"} <= set(manifest.columns):
        began_s = (pd.to_datetime(manifest["start_utc"], utc=True) - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
        at_once = table.assign(place=manifest["site"].astype(str), start=table["start"] + began_s, end=table["end"] + began_s)
        leaks += [leak for leak in _overlaps_by_place(at_once.dropna(), AT_ONCE) if leak["a"] != leak["b"]]
    return leaks


def _overlaps_by_place(table: pd.DataFrame, kind: str) -> list[dict]:
    """A leak for each place and two sides: how many windows begin while one of the other side lasts, and the first two recordings."""
    leaks = []
    for place, rows in table.sort_values("start", kind="stable").groupby("place"):
        for one, other in _pairs(rows["side"].unique()):
            here = rows[rows["side"].isin([one, other])]
            start, end, side, recording = (here[column].to_numpy() for column in ("start", "end", "side", "recording"))
            late, early = np.array([], int), np.array([], int)
            for mine, theirs in ((one, other), (other, one)):
                last = _last_to_end(np.where(side == theirs, end, -np.inf))  # of the other side's windows so far, the one that lasts longest
                hit = np.flatnonzero((side == mine) & (side[last] == theirs) & (end[last] > start + TOUCH_S))
                late, early = np.concatenate([late, hit]), np.concatenate([early, last[hit]])
            if len(late):
                i = int(np.argmin(late))
                where = f"{place} at {start[late[i]]:.2f} s" if kind == OVERLAP else f"{recording[early[i]]} and {recording[late[i]]} at {place}"
                leaks.append({"kind": kind, "what": where, "sides": f"{one}, {other}", "rows": len(late), "a": recording[early[i]], "b": recording[late[i]]})
    return leaks


def _pairs(names) -> list[tuple]:
    names = sorted(names, key=str)
    return [(one, other) for k, one in enumerate(names) for other in names[k + 1:]]


def _last_to_end(end: np.ndarray) -> np.ndarray:
    """For each place in the list, where the highest value up to there stands."""
    new = np.concatenate([[True], end[1:] > np.maximum.accumulate(end)[:-1]])
    return np.maximum.accumulate(np.where(new, np.arange(len(end)), 0))
