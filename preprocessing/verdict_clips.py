"""Clips of checked detections: B (the animal was there), F (false alarm), N (nothing: no detection near).

    clips = verdict_clips(placed, recordings, clip_s=2.0)              # `placed` of detection_places.place_detections
    data = verdict_dataset(clips, placed, recordings, "data/cook_inlet", profile)

- B and F: one clip for each detection, `place`d "middle" (its middle on the detection's), "start" (it begins with it, as in the Cook Inlet study) or "tile" (clips end to
  end over the whole of it). A clip that would reach beyond its recording is moved inside. Of a detection cut at a file's end each piece of `least_s` gives its own.
- An F clip that meets a true or an unsure detection holds more than a false alarm and is left out; so is anything unsure, and a clip of the same class that begins within
  half a clip of another of its recording.
- N: `nothing` clips (as many as F, if not told) drawn by the seed from what was listened to and lies `guard_s` from every detection, as evenly over the recordings as there is room;
  no two overlap. That nothing was detected does not mean that nothing called: the detector is the gate.

`.attrs["notes"]` says in a line each what was left out and whether fewer were found than asked.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.dataset import DataSet, build_dataset, observable_labels, targets
from preprocessing.detection_places import usable
from preprocessing.spans import between, exhaustive_spans, merged
from preprocessing.verdicts import FALSE, TRUE, UNSURE
from spectrogram.profile import Profile

CLASSES = ("B", "F", "N")
COLUMNS = ["recording", "start_s", "end_s", "class", "detection", "mooring", "day"]
PLACES = ("middle", "start", "tile")


def verdict_clips(placed: pd.DataFrame, recordings, clip_s: float = 2.0, place: str = "middle", nothing: int | None = None, guard_s: float = 5.0, listened=True,
                  least_s: float = 0.0, most: dict[str, int] | None = None, seed: int = 0) -> pd.DataFrame:
    """Cut clips.

    Parameters
    ----------
    placed : recording, start_s, end_s, verdict, detection. recordings : table, folder or files; its `site` becomes the mooring, its `day` the day.
    nothing : how many N clips; None: as many as F. guard_s : how far N keeps from any detection.
    listened : what the detector was run on: True for all, a list of recordings, or a table of recording, start_s, end_s (`spans.exhaustive_spans`).
    most : class -> at most so many, drawn by the seed ({"F": 1000}).

    Returns
    -------
    DataFrame in order of recording and time: recording, start_s, end_s, class, detection (-1 for N), mooring, day (UTC, of the recording).
    """
    if place not in PLACES:
        raise ValueError(f"place is {place!r}; use one of {', '.join(PLACES)}")
    if not clip_s > 0:
        raise ValueError(f"clip_s is {clip_s}; a clip lasts more than nothing")
    recordings, notes = usable(recordings)
    lasts_s = dict(zip(recordings["recording"], recordings["duration_s"].astype(float)))
    notes = list(dict.fromkeys([*placed.attrs.get("notes", []), *notes]))
    strangers = ~placed["recording"].isin(lasts_s)
    if strangers.any():
        notes.append(f"{placed['recording'][strangers].iloc[0]}: not among the recordings ({int(strangers.sum())} detections in such); left out")
    short = {name for name, seconds in lasts_s.items() if seconds < clip_s}
    if short:
        notes.append(f"{min(short)}: shorter than a clip of {clip_s:g} s ({len(short)} such recordings); no clip is cut there")
    placed = placed[~strangers & ~placed["recording"].isin(short)].reset_index(drop=True)
    clips = _of_detections(placed[(placed["verdict"] != UNSURE) & (placed["end_s"] - placed["start_s"] >= least_s)], lasts_s, clip_s, place)
    clips = _alone(clips, placed, clip_s, notes)
    wanted = int((clips["class"] == "F").sum()) if nothing is None else nothing
    spans = exhaustive_spans(listened, recordings[~recordings["recording"].isin(short)], ("any",)) if len(lasts_s) > len(short) else pd.DataFrame(columns=["recording", "start_s", "end_s"])
    drawn = draw_nothing(placed, spans, wanted, clip_s, guard_s, seed)
    if len(drawn) < wanted:
        notes.append(f"N: {len(drawn)} of {wanted} clips found in what was listened to and lies {guard_s:g} s from every detection; shorten guard_s or add recordings")
    clips = pd.concat([clips, drawn], ignore_index=True)
    for name, count in (most or {}).items():
        mine = clips.index[clips["class"] == name]
        clips = clips.drop(np.random.default_rng((seed, 1)).permutation(mine)[count:])
    for column, of in (("mooring", "site"), ("day", "day")):
        told = dict(zip(recordings["recording"], recordings[of])) if of in recordings else {}
        clips[column] = clips["recording"].map(told).fillna("").astype("str")
    clips = clips.sort_values(["recording", "start_s", "class"], ignore_index=True)[COLUMNS]
    clips.attrs = {"notes": notes}
    return clips


def draw_nothing(placed: pd.DataFrame, spans: pd.DataFrame, count: int, clip_s: float, guard_s: float, seed: int) -> pd.DataFrame:
    """N clips: `count` of them, or as many as there is room for; each recording is asked for as many as any other until its room is used up."""
    keep_off_s = max(guard_s, 1e-3)  # an instant takes room too
    detections = {name: mine[["start_s", "end_s"]].to_numpy() + (-keep_off_s, keep_off_s) for name, mine in placed.groupby("recording")}
    starts = {}
    for place, (name, mine) in enumerate(sorted(spans.groupby("recording"), key=lambda pair: pair[0])):
        rng, found = np.random.default_rng((seed, place)), []
        for from_s, to_s in mine[["start_s", "end_s"]].to_numpy():
            busy = merged(detections.get(name, np.empty((0, 2)))) - from_s
            busy = np.clip(busy, 0, to_s - from_s)
            for start_s, end_s in between(busy[busy[:, 1] > busy[:, 0]], to_s - from_s):
                room = int((end_s - start_s) / clip_s + 1e-9)
                loose_s = end_s - start_s - room * clip_s  # shared out by chance before, between and after
                found.append(from_s + start_s + np.arange(room) * clip_s + np.sort(rng.uniform(0, max(loose_s, 0), room)))
        starts[name] = rng.permutation(np.concatenate([np.empty(0), *found]))
    room = np.array([len(mine) for mine in starts.values()], int)
    chosen = [mine[:n] for mine, n in zip(starts.values(), _even(room, count, np.random.default_rng((seed, 2))))]
    table = pd.DataFrame({"recording": np.repeat(np.array(list(starts), object), [len(mine) for mine in chosen]), "start_s": np.concatenate([np.empty(0), *chosen])})
    return table.assign(end_s=table["start_s"] + clip_s, **{"class": "N"}, detection=-1)


def verdict_dataset(clips: pd.DataFrame, placed: pd.DataFrame, recordings, folder: str | Path, profile: Profile, label: str | None = None, summary: dict | None = None) -> DataSet:
    """The clips as a data set, whose pictures are those of inference: one manifest row for each clip.

    Parameters
    ----------
    placed : the detections the clips were cut from; training that moves a window looks there what it then holds. Without a length, the clip is taken for it.
    profile : its window is the clip. label : of a true detection; None: the profile's only one.

    Returns
    -------
    DataSet with `class`, `mooring`, `day`, `detection` in its manifest; target_LABEL is 1 for B, 0 for F and N, NaN where the recording's rate cannot show the label. Other
    labels of the profile are NaN: nobody looked for them. `start_s` is that of the nearest frame.

    Raises
    ------
    ValueError
        where clips are not as long as the profile's window, or the profile has several labels and none is told.
    """
    label = label or (profile.labels[0] if len(profile.labels) == 1 else None)
    if label not in profile.labels:
        raise ValueError(f"profile {profile.name} has the labels {', '.join(profile.labels)}; say which one a true detection has, label={label!r} is none of them")
    if not len(clips):
        raise ValueError("no clips, so no data set; " + " | ".join(clips.attrs.get("notes", []) or ["give detections with verdicts"]))
    length_s = clips["end_s"] - clips["start_s"]
    if not np.allclose(length_s, profile.window_s, atol=1e-6):
        raise ValueError(f"clips of {length_s.iloc[0]:g} s for profile {profile.name}, whose window is {profile.window_s:g} s; cut them with clip_s={profile.window_s:g}")
    recordings, _ = usable(recordings)
    listed = recordings[recordings["recording"].isin(clips["recording"])]
    listed = listed.drop(columns=[column for column in ("fault", "channels", "start_utc", "duration_s") if column in listed])
    truth = _truth(clips, placed, label)

    def only_clips(windows: pd.DataFrame) -> pd.DataFrame:
        return _clip_rows(windows, clips, truth, profile, label)

    said = {"clips": clips["class"].value_counts().to_dict(), "clip_s": profile.window_s, "label": label, "notes": list(clips.attrs.get("notes", []))}
    return build_dataset(listed, truth, folder, profile, said | (summary or {}), padded=True, mark=only_clips)


def _of_detections(placed: pd.DataFrame, lasts_s: dict, clip_s: float, place: str) -> pd.DataFrame:
    """B and F clips before any are left out."""
    start_s, end_s = placed["start_s"].to_numpy(float), placed["end_s"].to_numpy(float)
    count = np.maximum(1, np.ceil((end_s - start_s) / clip_s - 1e-9)).astype(int) if place == "tile" else np.ones(len(placed), int)
    row = np.repeat(np.arange(len(placed)), count)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    first_s = (start_s + end_s - clip_s)[row] / 2 if place == "middle" else start_s[row] + nth * clip_s
    name = placed["recording"].to_numpy(object)[row]
    latest_s = np.array([lasts_s[n] for n in name], float) - clip_s
    first_s = np.clip(first_s, 0, latest_s)
    table = pd.DataFrame({"recording": name, "start_s": first_s, "end_s": first_s + clip_s, "class": np.where(placed["verdict"].to_numpy()[row] == TRUE, "B", "F"),
                          "detection": placed["detection"].to_numpy(int)[row]})
    return table.sort_values(["recording", "class", "start_s"], ignore_index=True)


def _alone(clips: pd.DataFrame, placed: pd.DataFrame, clip_s: float, notes: list[str]) -> pd.DataFrame:
    """Leave out F clips that hold more than a false alarm, and all but one of clips that are nearly the same."""
    others = placed[placed["verdict"] != FALSE]
    mixed = (clips["class"] == "F").to_numpy()
    mixed = mixed & meets(clips, others)
    if mixed.any():
        notes.append(f"F: {int(mixed.sum())} clips of false alarms meet a true or an unsure detection; left out")
    clips = clips[~mixed].reset_index(drop=True)
    keep = np.ones(len(clips), bool)
    for rows in clips.groupby(["recording", "class"]).indices.values():
        last_s = -np.inf
        for row, start_s in zip(rows, clips["start_s"].to_numpy()[rows]):
            keep[row] = start_s - last_s >= clip_s / 2
            last_s = start_s if keep[row] else last_s
    if not keep.all():
        notes.append(f"{int((~keep).sum())} clips begin within half a clip of another of their class; left out")
    return clips[keep].reset_index(drop=True)


def meets(clips: pd.DataFrame, spans: pd.DataFrame) -> np.ndarray:
    """(clips,) bool: whether a span of the same recording lies in the clip, if only an instant of it."""
    out = np.zeros(len(clips), bool)
    theirs = {name: mine[["start_s", "end_s"]].to_numpy() for name, mine in spans.groupby("recording")}
    for name, rows in clips.groupby("recording").indices.items():
        if name in theirs:
            start_s, end_s = (clips[edge].to_numpy()[rows, None] for edge in ("start_s", "end_s"))
            out[rows] = ((theirs[name][:, 0] < end_s) & (theirs[name][:, 1] >= start_s)).any(axis=1)
    return out


def _even(room: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """How many from each, as even as their room allows; who gives one more is drawn."""
    given = np.zeros(len(room), int)
    while (left := min(count, int(room.sum())) - int(given.sum())) > 0:
        open_ = np.flatnonzero(given < room)
        if left < len(open_):
            given[rng.permutation(open_)[:left]] += 1
        else:
            given[open_] += np.minimum(left // len(open_), (room - given)[open_])
    return given


def _truth(clips: pd.DataFrame, placed: pd.DataFrame, label: str) -> pd.DataFrame:
    """True detections as calls, unsure ones as calls that cannot be judged; an instant gets the clips that were cut for it."""
    known = placed[(placed["verdict"] != FALSE) & placed["recording"].isin(clips["recording"])]
    lasting = known[known["end_s"] > known["start_s"]]
    instants = clips.merge(known.loc[known["end_s"] <= known["start_s"], ["detection", "verdict", "recording"]], on=["detection", "recording"])
    rows = pd.concat([part[["recording", "start_s", "end_s", "verdict"]] for part in (lasting, instants)], ignore_index=True)
    return pd.DataFrame({"recording": rows["recording"].astype("str"), "label": label, "start_s": rows["start_s"].astype(float), "end_s": rows["end_s"].astype(float),
                         "snr_db": np.float32(np.nan), "audible": (rows["verdict"] == TRUE).astype(bool)})


def _clip_rows(windows: pd.DataFrame, clips: pd.DataFrame, truth: pd.DataFrame, profile: Profile, label: str) -> pd.DataFrame:
    """Manifest rows of the clips, from those of the grid of windows."""
    about = windows.drop_duplicates("recording").drop(columns=["start_frame", "start_s", *(c for c in windows if c.startswith(("target_", "snr_")))])
    last = windows.groupby("recording")["start_frame"].max()
    rows = clips.drop(columns=["end_s"] + [c for c in clips if c in about and c != "recording"]).merge(about, on="recording", validate="many_to_one")
    rows["start_frame"] = np.minimum(np.round(rows["start_s"] * profile.frame_rate_hz).astype(int), rows["recording"].map(last))
    rows["start_s"] = rows["start_frame"] / profile.frame_rate_hz
    for name in profile.labels:
        rows[f"target_{name}"], rows[f"snr_{name}"] = np.float32(np.nan), np.float32(np.nan)
    for name, mine in rows.groupby("recording"):
        seen = observable_labels(profile, mine["sample_rate_hz"].iloc[0])[profile.labels.index(label)]
        if seen:
            held, _ = targets(truth[truth["recording"] == name], mine["start_s"].to_numpy(), profile.window_s, (label,), np.array([True]))
            of_class = (mine["class"] == "B").to_numpy(np.float32)
            rows.loc[mine.index, f"target_{label}"] = np.where(held[:, 0] == of_class, of_class, np.float32(np.nan))  # rounded to frames, a clip may graze a call
    return rows
