"""Where in which recording a detection lies, by its time.

Recorders may run side by side: a detection is looked for among the recordings of its serial, else of its site, else among all. Recordings may be of any length. One that
runs over the end of its recording into the next is cut there; both pieces bear its number (`across="both"`), or only the first is kept (`"first"`). Files of one recorder
that overlap by up to `CLOCK_S`, because names tell whole seconds, are taken to follow each other. A detection outside all recordings, and one in recordings that run side by
side while it names no recorder, is left out; how many, and the first, stands in `.attrs["notes"]`.
"""
from __future__ import annotations

import numpy as np
import pandas as pd

from preprocessing.detections import TYPES, counted
from preprocessing.recordings import RecordingIndex, as_recordings
from spectrogram.names import parse_name

CLOCK_S = 2.0
MICROSECONDS = 1_000_000
SHIFTS_H = range(-14, 15)


def place_detections(detections: pd.DataFrame, recordings, by: str | None = None, across: str = "both") -> pd.DataFrame:
    """Give every detection its recording and its seconds there.

    Parameters
    ----------
    detections : of `read_detections`. recordings : table, folder or files (`list_recordings`); `serial` is taken from file names where no column tells.
    by : "serial", "site", or "" for neither; None: the serial where detections tell one, else the site, if the recordings know it.
    across : "both" or "first", for what runs over a recording's end.

    Returns
    -------
    The detections that lie in a recording, in order of recording and time: recording, start_s, end_s within it, cut (bool: only a piece of the detection), and their own
    columns; start_utc and end_utc are those of the whole detection, where known.
    """
    if across not in ("both", "first"):
        raise ValueError(f"across is {across!r}; use \"both\" or \"first\"")
    recordings, notes = usable(recordings)
    notes = list(detections.attrs.get("notes", [])) + notes
    named = detections["recording"] != ""
    parts = [_named(detections[named], recordings, notes)] if named.any() else []
    if (~named).any():
        parts.append(_timed(detections[~named], recordings, by, across, notes))
    placed = pd.concat(parts, ignore_index=True) if parts else detections.assign(cut=pd.Series(dtype=bool))
    placed = placed[["recording", "start_s", "end_s", "cut", *(c for c in placed if c not in ("recording", "start_s", "end_s", "cut"))]]
    placed = placed.astype({column: kind for column, kind in TYPES.items() if column in placed} | {"cut": bool})
    placed = placed.sort_values(["recording", "start_s", "detection"], kind="stable", ignore_index=True)
    placed.attrs = {"notes": notes}
    return placed


def usable(recordings) -> tuple[pd.DataFrame, list[str]]:
    """Recordings that can be read, with `serial` and `site`, and a line on those that cannot."""
    recordings, notes = as_recordings(recordings).reset_index(drop=True), []
    if "fault" in recordings:
        notes = list(recordings["fault"][recordings["fault"] != ""])
        recordings = recordings[recordings["fault"] == ""].reset_index(drop=True)
    if "serial" not in recordings:
        recordings = recordings.assign(serial=[parse_name(name.rsplit("/", 1)[-1])[1] or "" for name in recordings["recording"]])
    recordings = recordings if "site" in recordings else recordings.assign(site="")
    return recordings.astype({"serial": "str", "site": "str"}), notes


def _named(detections: pd.DataFrame, recordings: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Detections that name their recording: the name made that of the table, ends clipped."""
    index = RecordingIndex(recordings)
    found = {}
    for text in detections["recording"].unique():
        try:
            found[text] = index.find(text)
        except LookupError as error:
            notes.append(f"{error}; detections in it are left out, give more of its path")
            found[text] = None
    out = detections.assign(recording=detections["recording"].map(found), cut=False)
    lasts_s = out["recording"].map(index.duration_s).astype(float)
    outside = out["recording"].isna() | (out["start_s"] >= lasts_s) | (out["start_s"] < 0)
    _note_outside(detections[outside], len(detections), notes)
    past = ~outside & (out["end_s"] > lasts_s + 1e-3)
    _note_clipped(out[past], (out["end_s"] - lasts_s)[past], notes)
    out["end_s"] = np.minimum(out["end_s"], lasts_s)
    starts = out["recording"].map(dict(zip(recordings["recording"], recordings["start_utc"]))) if "start_utc" in recordings else pd.Series(pd.NaT, out.index)
    starts = pd.to_datetime(starts, utc=True)
    for edge in ("start", "end"):
        out[f"{edge}_utc"] = (starts + pd.to_timedelta(detections[f"{edge}_s"], unit="s")).astype(TYPES["start_utc"])
    return out[~outside].assign(cut=past[~outside])


def _timed(detections: pd.DataFrame, recordings: pd.DataFrame, by: str | None, across: str, notes: list[str]) -> pd.DataFrame:
    """Detections that tell their time."""
    if by is None:
        by = next((name for name in ("serial", "site") if (detections[name] != "").any() and (recordings[name] != "").any()), "")
    undated = recordings["start_utc"].isna()
    if undated.any():
        notes.append(f"{recordings['recording'][undated].iloc[0]}: no start time in its name ({int(undated.sum())} such recordings), no detection can be found in it; give start_utc in a table")
    dated = recordings[~undated]
    parts = []
    for who, mine in detections.groupby(by) if by else [("", detections)]:
        theirs = dated[dated[by] == who] if by and who else dated
        parts.append(_pieces(mine, theirs))
    pieces = pd.concat(parts, ignore_index=True)
    pieces = pieces.merge(detections.drop(columns=["recording", "start_s", "end_s"]), on="detection", validate="many_to_one")
    outside = detections[~detections["detection"].isin(pieces["detection"])]
    _note_outside(outside, len(detections), notes, "" if len(outside) * 2 < len(detections) else _shift_hint(detections, dated, by))
    pieces = _without_ambiguous(pieces, len(detections), notes)
    past = (pieces["missing_s"] > 1e-3) & ~pieces["follows"]
    _note_clipped(pieces[past], pieces["missing_s"][past], notes)
    if across == "first":
        pieces = pieces[~pieces["detection"].duplicated()]
    return pieces.drop(columns=["missing_s", "follows"])


def _pieces(detections: pd.DataFrame, recordings: pd.DataFrame) -> pd.DataFrame:
    """Every (detection, recording) that meet: recording, start_s, end_s, cut, detection, missing_s (how much of it lies after this recording), follows (a later piece
    has the rest). Whole arrays at once: bounds by binary search, then the pairs written out."""
    order = recordings.sort_values("start_utc", kind="stable")
    begins = _microseconds(order["start_utc"])
    ends = begins + np.round(order["duration_s"].to_numpy() * MICROSECONDS).astype(np.int64)
    if len(ends) > 1:  # whole seconds in names: the next recording goes on where it begins
        over = ends[:-1] - begins[1:]
        ends[:-1] = np.where((over > 0) & (over <= CLOCK_S * MICROSECONDS) & (begins[1:] > begins[:-1]), begins[1:], ends[:-1])
    start, end = _microseconds(detections["start_utc"]), _microseconds(detections["end_utc"])
    first = np.searchsorted(np.maximum.accumulate(ends), start, side="right") if len(ends) else np.zeros(len(start), int)
    last = np.searchsorted(begins, np.maximum(end, start + 1), side="left")
    count = np.maximum(last - first, 0)
    row = np.repeat(np.arange(len(start)), count)
    where = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
    meets = ends[where] > start[row]
    row, where = row[meets], where[meets]
    from_us, to_us = np.maximum(start[row], begins[where]), np.minimum(end[row], ends[where])
    table = pd.DataFrame({"recording": order["recording"].to_numpy()[where], "start_s": (from_us - begins[where]) / MICROSECONDS, "end_s": (to_us - begins[where]) / MICROSECONDS,
                          "cut": (start[row] < begins[where]) | (end[row] > ends[where]), "detection": detections["detection"].to_numpy()[row],
                          "missing_s": (end[row] - to_us) / MICROSECONDS, "from_us": from_us, "to_us": to_us})
    table["follows"] = table["detection"].duplicated(keep="last")
    return table


def _without_ambiguous(pieces: pd.DataFrame, of: int, notes: list[str]) -> pd.DataFrame:
    """Leave out detections of which two pieces lie at the same time: recordings side by side."""
    latest = pieces.groupby("detection")["to_us"].cummax().shift()
    before = pieces["from_us"].shift()
    again = (pieces["detection"] == pieces["detection"].shift()) & ((pieces["from_us"] < latest) | (pieces["from_us"] == before))
    doubtful = pieces["detection"].isin(pieces["detection"][again])
    if again.any():
        one = pieces[pieces["detection"] == pieces["detection"][again].iloc[0]]
        notes.append(f"{one['source'].iloc[0]}, line {one['line'].iloc[0]}: {one['recording'].iloc[0]} and {one['recording'].iloc[1]} run side by side "
                     f"({counted(pieces['detection'][doubtful].nunique())} of {of} in such recordings); left out; say whose they are with serial or site")
    return pieces[~doubtful].drop(columns=["from_us", "to_us"])


def _note_outside(outside: pd.DataFrame, of: int, notes: list[str], hint: str = "") -> None:
    if len(outside):
        one = outside.iloc[0]
        where = one["recording"] + f" at {one['start_s']:g} s" if one["recording"] else f"{one['start_utc']:%Y-%m-%d %H:%M:%S} UTC"
        whose = "".join(f", {name} {one[name]}" for name in ("serial", "site") if one[name])
        mend = hint or "check the clock, the recorder and whether recordings are missing"
        notes.append(f"{one['source']}, line {one['line']}: {where}{whose} lies outside all recordings ({counted(len(outside))} of {of}); left out; {mend}")


def _note_clipped(clipped: pd.DataFrame, over_s: pd.Series, notes: list[str]) -> None:
    if len(clipped):
        one = clipped.iloc[0]
        notes.append(f"{one['source']}, line {one['line']}: runs {over_s.iloc[0]:.2f} s past the end of {one['recording']} ({counted(len(clipped))} past an end); clipped there")


def _shift_hint(detections: pd.DataFrame, recordings: pd.DataFrame, by: str) -> str:
    """Whether another time zone would put most detections into recordings."""
    recordings = recordings if not by else recordings[recordings[by].isin(detections[by])]
    if not len(recordings):
        return f"no recording has a {by} that the detections name" if by else ""
    share = {}
    for hours in SHIFTS_H:
        moved = detections.assign(**{edge: detections[edge] + pd.Timedelta(hours=hours) for edge in ("start_utc", "end_utc")})
        share[hours] = _pieces(moved, recordings)["detection"].nunique() / len(detections)
    best = max(share, key=share.get)
    if share[best] < 0.8:
        return ""
    return f"{best:+d} h would put {share[best]:.0%} of them into recordings: is the table, or the recorder, on local time? Give clock"


def _microseconds(times: pd.Series) -> np.ndarray:
    """(n,) int64 since 1970."""
    return pd.DatetimeIndex(times).tz_convert("UTC").as_unit("us").asi8
