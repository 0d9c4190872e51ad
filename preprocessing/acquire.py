"""Acquisition by annotation: of the recordings in an object store only the annotated spans are fetched and cut into clips, and stretches without any annotation as noise.

    got = acquire("s3://acoustic-sandbox/humpbacks/Em_HW_Processed", None, "data/humpbacks", label_map="humpback", clip_s=5.0)
    got.clips, got.faults

On disk, in `folder`:

    clips/LABEL/RECORDING_START-END.wav    a clip; times in ms from the recording's start. A file that exists is whole and is not fetched again.
    clips.csv                              a row for each, see COLUMNS
    sources.json                           rate, length and size of the recordings, so that what was fetched whole is not fetched again to be planned with
    annotations/                           the tables, where they came from the store

What cannot be had (a table that cannot be read, a label in no map, a recording that is not in the store, a span beyond its end) gets one line each, and the rest goes on.
"""
from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import soundfile

from preprocessing.annotations import ENDINGS, BadAnnotation, empty_annotations, read_annotations
from preprocessing.label_map import UNSURE, LabelMap, plain
from preprocessing.remote_sound import RemoteSound, one_line, store_of
from preprocessing.spans import between, merged
from spectrogram.addresses import untold
from spectrogram.recording import EXTENSIONS, BadRecording
from spectrogram.stores import files_below, look_at

COLUMNS = {"file": "str", "kind": "str", "label": "str", "recording": "str", "source": "str", "channel": "int64", "start_s": "float64", "end_s": "float64", "call_start_s": "float64",
           "call_end_s": "float64", "low_hz": "float64", "high_hz": "float64", "start_utc": "str", "sample_rate_hz": "int64", "annotator": "str", "table": "str", "line": "int64"}
NOISE = "noise"
NOT_IN_NAMES = re.compile(r'[\x00-\x1f<>:"/\\|?*\s]+')
WRITTEN_AS = {"PCM_U8": "PCM_16", "PCM_S8": "PCM_16"}  # what WAV cannot hold, or holds badly


@dataclass(frozen=True)
class NoisePlan:
    """How stretches without any annotation are cut: `per_recording` at most, of the lengths `lengths_s` in turn by chance, none nearer to an annotation than `away_s`, none overlapping."""

    lengths_s: tuple[float, ...] = (5.0,)
    per_recording: int = 100
    away_s: float = 1.0
    seed: int = 0


@dataclass
class Acquired:
    """`clips`: a row for each clip (see COLUMNS); `faults`: one line each; `bytes_read` of the recordings, which hold `bytes_there`; `report`: what became of the labels."""

    clips: pd.DataFrame
    folder: Path
    faults: list[str] = field(default_factory=list)
    report: pd.DataFrame | None = None
    bytes_read: int = 0
    bytes_there: int = 0
    new_clips: int = 0


def acquire(store: str | Path, annotations, folder: str | Path, label_map: LabelMap | str | Path | None = None, clip_s: float | None = None, margin_s: float = 0.5,
            noise: NoisePlan | None = NoisePlan(), without_calls: tuple[str, ...] = (), label_column: str | None = None, progress: bool = True, say=print) -> Acquired:
    """Cut what the annotations name out of the recordings of a store (see the module's docstring).

    Parameters
    ----------
    store : s3://bucket/prefix, https://host/folder, a folder.
    annotations : a table, or whatever `read_annotations` reads; None: the tables that lie in the store.
    label_map : a `LabelMap`, its name or path; None: labels as they are written. What the map drops is not cut; what it calls unsure neither. Noise keeps away from both.
    clip_s : length of every clip, the annotation in its middle, moved where the recording begins or ends; None: the annotation with `margin_s` on either side.
    noise : None: no noise. It is cut from recordings that somebody annotated, and from those that `without_calls` names.
    say : takes the lines about what could not be had.

    Raises
    ------
    OSError
        where the store cannot be listed. BadAnnotation where no annotations are left at all. ValueError for settings that cannot be.
    """
    if clip_s is not None and clip_s <= 0 or margin_s < 0:
        raise ValueError(f"clip_s {clip_s}, margin_s {margin_s}: give a length above 0 s and a margin of at least 0 s")
    got = Acquired(pd.DataFrame(), Path(folder))

    def tell(line: str) -> None:
        got.faults.append(line)
        say(line)

    fs, root = store_of(str(store))
    store = untold(str(store))
    sounds, tables = _listed(fs, root, store)
    about = pd.DataFrame({"recording": list(sounds)}, dtype="str")
    if not isinstance(annotations, pd.DataFrame):
        files = _fetched_tables(fs, tables, got.folder / "annotations") if annotations is None else annotations
        annotations = _read(files, about, label_column, tell)
    told = {"channel": 0, "low_hz": np.nan, "high_hz": np.nan, "annotator": "", "source": "annotations", "line": 0}  # what a table made by hand may lack
    marked = annotations.assign(**{column: value for column, value in told.items() if column not in annotations}).reset_index(drop=True)
    calls, got.report = _labelled(marked, label_map, tell)
    facts = _facts(got.folder)
    rows: list[dict] = []
    names = dict.fromkeys([*marked["recording"], *without_calls])
    from tqdm.auto import tqdm

    for name in tqdm(sorted(names), desc="acquiring", unit="recording", disable=not progress):
        mine = marked[marked["recording"] == name]
        if name not in sounds:
            tell(f"{name}: is not in {store} ({len(mine)} annotations); correct the name in the table, or upload the recording")
            continue
        path, size = sounds[name]
        got.bytes_there += max(size, 0)
        try:
            rows += _of_recording(fs, path, size, name, mine, calls[calls["recording"] == name], clip_s, margin_s, noise, got, facts, tell)
        except BadRecording as error:
            tell(str(error))
    got.clips = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    got.folder.mkdir(parents=True, exist_ok=True)
    (got.folder / "sources.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    got.clips.to_csv(got.folder / "clips.csv", index=False, encoding="utf-8", lineterminator="\n")
    return got


def read_clips(folder: str | Path, kind: str | None = None) -> pd.DataFrame:
    """The table of what was acquired into a folder: all, or "call", or "noise"."""
    path = Path(folder) / "clips.csv"
    if not path.exists():
        raise FileNotFoundError(f"{path}: nothing was acquired into this folder yet; run preprocessing/09_acquire.ipynb")
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    for column, type_ in COLUMNS.items():
        if type_ != "str":
            table[column] = pd.to_numeric(table[column].replace("", np.nan)).astype(type_)
    return table if kind is None else table[table["kind"] == kind].reset_index(drop=True)


def noise_spans(annotated_s: np.ndarray, duration_s: float, plan: NoisePlan, name: str = "") -> list[tuple[float, float]]:
    """Stretches that no annotation lies in or nearer than `away_s`, in order, not overlapping; before the first annotation and after the last, too.

    Parameters
    ----------
    annotated_s : (n, 2) starts and ends. name : of the recording; with the plan's seed it decides what is drawn, whatever was drawn of others.
    """
    rng = np.random.default_rng([plan.seed, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")])
    away = np.asarray(annotated_s, float).reshape(-1, 2) + [-plan.away_s, plan.away_s]
    taken = merged(np.clip(away, 0, duration_s)) if len(away) else away
    found = []
    for start_s, end_s in between(taken, duration_s):
        lengths = []
        while fitting := [length for length in plan.lengths_s if length <= end_s - start_s - sum(lengths)]:
            lengths.append(float(rng.choice(fitting)))
        free = np.sort(rng.uniform(0, end_s - start_s - sum(lengths), len(lengths)))  # what is left over goes between them
        at = start_s + free + np.concatenate([[0.0], np.cumsum(lengths)[:-1]]) if lengths else []
        found += [(float(first), float(first + length)) for first, length in zip(at, lengths)]
    chosen = np.sort(rng.permutation(len(found))[:plan.per_recording])
    return [found[k] for k in chosen]


def clip_span(start_s: float, end_s: float, duration_s: float, clip_s: float | None, margin_s: float) -> tuple[float, float]:
    """Where the clip of an annotation begins and ends, inside the recording."""
    if clip_s is None:
        return max(0.0, start_s - margin_s), min(duration_s, end_s + margin_s)
    first = min(max(0.0, (start_s + end_s - clip_s) / 2), max(0.0, duration_s - clip_s))
    return first, min(duration_s, first + clip_s)


def _listed(fs, root: str, store: str) -> tuple[dict[str, tuple[str, int]], list[tuple[str, str]]]:
    """Sounds below the store as {name: (path, bytes)}, and texts that may be annotations as (name, path)."""
    try:
        named = {name.lstrip("\\").replace("\\", "/"): at for name, at in files_below(fs, root).items()}
        sounds = {name: at for name, at in named.items() if PurePosixPath(name).suffix.lower() in EXTENSIONS}
        asked = {name: path for name, (path, info) in sounds.items() if info.get("size") is None}
        sounds |= {name: (path, info) for (name, path), info in zip(asked.items(), look_at(fs, asked.values()))}
    except Exception as error:  # each protocol has its own
        raise OSError(f"{store}: cannot be listed ({one_line(error)}); check the address, the connection and, for an object store, S3_ENDPOINT, S3_ANONYMOUS and the credentials") from None
    if not sounds:
        raise FileNotFoundError(f"0 recordings found in {store}: looked for {', '.join(EXTENSIONS)} at any depth")
    tables = [(name, path) for name, (path, _) in named.items() if PurePosixPath(name).suffix.lower() in ENDINGS]
    return {name: (path, int(info.get("size") or 0)) for name, (path, info) in sounds.items()}, tables


def _fetched_tables(fs, tables: list[tuple[str, str]], folder: Path) -> list[Path]:
    """The texts of the store, below `folder` under their own names; nothing leads out of it."""
    files = []
    for name, path in tables:
        parts = [re.sub(r'[\x00-\x1f<>:"|?*]', "_", part) for part in name.split("/") if part.strip(". ")]
        files.append(folder.joinpath(*parts))
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        files[-1].write_bytes(fs.cat_file(path))
    return files


def _read(files, about: pd.DataFrame, label_column: str | None, tell) -> pd.DataFrame:
    """All annotations that can be read; a line for each table that cannot."""
    if isinstance(files, (str, Path)):
        files = [files]
    parts, faults = [empty_annotations()], []
    for file in files:
        try:
            parts.append(read_annotations(file, about, label_column))
            for note in parts[-1].attrs["notes"]:
                tell(note)
        except BadAnnotation as error:
            faults.append(str(error))
            tell(faults[-1])
    table = pd.concat(parts, ignore_index=True)
    if not len(table):
        raise BadAnnotation(f"no annotations to acquire by; {faults[0] if faults else 'give `annotations`, or put the tables beside the recordings'}")
    return table


def _labelled(marked: pd.DataFrame, label_map, tell) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is to be cut, and the map's report; a line for each label that it does not know."""
    if label_map is None:
        report = marked["label"].value_counts().rename_axis("before").reset_index(name="count")
        return marked, report.assign(after=report["before"])[["before", "after", "count"]]
    label_map = label_map if isinstance(label_map, LabelMap) else LabelMap.read(label_map)
    unknown = marked["label"].map(lambda label: label_map.look_up(label) is None)
    for label, rows in marked[unknown].groupby("label"):
        first = rows.iloc[0]
        tell(f"{first['source']}, line {first['line']}: label {plain(label)!r} is not in {label_map.source} ({len(rows)} annotations); add it there under labels, unsure or drop")
    cleaned, report = label_map.apply(marked[~unknown])
    return cleaned[cleaned["label"] != UNSURE], report


def _facts(folder: Path) -> dict:
    try:
        return json.loads((folder / "sources.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}


def _of_recording(fs, path: str, size: int, name: str, marked: pd.DataFrame, calls: pd.DataFrame, clip_s, margin_s: float, noise: NoisePlan | None, got: Acquired, facts: dict,
                  tell) -> list[dict]:
    """Rows of the clips of one recording; what is missing of them is fetched."""
    sound: RemoteSound | None = None

    def opened() -> RemoteSound:
        nonlocal sound
        if sound is None:
            sound = RemoteSound(fs, path, size, name)
        return sound

    try:
        known = facts.get(name)
        if known is None or known["size"] != size or "clock" not in known:
            heard = opened()
            for note in heard.notes:
                tell(f"{name}: {note}")
            known = facts[name] = {"size": size, "sample_rate_hz": heard.sample_rate_hz, "channels": heard.channels, "frames": heard.frames,
                                   "clock": [(begin_s, start and start.isoformat()) for begin_s, _, start in heard.timeline.stretches(heard.duration_s)]}
        rate_hz, duration_s = known["sample_rate_hz"], known["frames"] / known["sample_rate_hz"]
        planned = _planned(name, calls, known, duration_s, clip_s, margin_s, tell)
        if noise is not None:
            planned += [{"kind": NOISE, "label": NOISE, "channel": 0, "start_s": start_s, "end_s": end_s, "call_start_s": np.nan, "call_end_s": np.nan, "low_hz": np.nan, "high_hz": np.nan,
                         "annotator": "", "table": "", "line": 0} for start_s, end_s in noise_spans(marked[["start_s", "end_s"]].to_numpy(), duration_s, noise, name)]
        rows, done = [], set()
        for row in planned:
            first, last = round(row["start_s"] * rate_hz), min(round(row["end_s"] * rate_hz), known["frames"])
            clip = f"clips/{_safe(row['label'])}/{_key(name)}_{round(1e3 * row['start_s']):08d}-{round(1e3 * row['end_s']):08d}{'_c' + str(row['channel']) if row['channel'] else ''}.wav"
            if clip in done:  # annotated twice
                continue
            done.add(clip)
            if not (got.folder / clip).exists():
                _write(got.folder / clip, opened().read(first, last, row["channel"]), opened())
                got.new_clips += 1
            begin_s, begin = [stretch for stretch in known["clock"] if stretch[0] <= first / rate_hz][-1]
            utc = "" if begin is None else (datetime.fromisoformat(begin) + timedelta(seconds=first / rate_hz - begin_s)).isoformat()
            rows.append(row | {"file": clip, "recording": name, "source": untold(fs.unstrip_protocol(path)), "start_s": first / rate_hz, "end_s": last / rate_hz, "start_utc": utc,
                               "sample_rate_hz": rate_hz})
        return rows
    finally:
        if sound is not None:
            if sound.fetched_whole:
                tell(f"{name}: fetched whole, {size / 2 ** 20:.1f} MB; only WAV, and only from a store that answers ranges, can be cut by bytes")
            got.bytes_read += sound.bytes_read
            sound.__exit__()


def _planned(name: str, calls: pd.DataFrame, known: dict, duration_s: float, clip_s, margin_s: float, tell) -> list[dict]:
    """Clips of the annotations; a line for each that lies beyond the recording."""
    planned = []
    for row in calls.to_dict("records"):
        where = f"{row['source']}, line {row['line']}"
        if row["channel"] >= known["channels"]:
            tell(f"{where}: channel {row['channel']} of {name}, which has {known['channels']}; correct it (Raven counts from 1, a CSV from 0)")
            continue
        if row["start_s"] >= duration_s:
            tell(f"{where}: {row['start_s']:.3f} s to {row['end_s']:.3f} s lies beyond the end of {name} ({duration_s:.3f} s); left out, check that it is the right recording")
            continue
        if row["end_s"] > duration_s + 1e-3:
            tell(f"{where}: runs {row['end_s'] - duration_s:.3f} s past the end of {name} ({duration_s:.3f} s); cut there")
        end_s = min(row["end_s"], duration_s)
        start, stop = clip_span(row["start_s"], end_s, duration_s, clip_s, margin_s)
        if round(stop * known["sample_rate_hz"]) <= round(start * known["sample_rate_hz"]):
            tell(f"{where}: an annotation without length; give a margin_s, or a clip_s")
            continue
        planned.append({"kind": "call", "label": row["label"], "channel": int(row["channel"]), "start_s": start, "end_s": stop, "call_start_s": row["start_s"], "call_end_s": end_s,
                        "low_hz": row["low_hz"], "high_hz": row["high_hz"], "annotator": row["annotator"], "table": row["source"], "line": row["line"]})
    return planned


def _write(path: Path, samples: np.ndarray, sound: RemoteSound) -> None:
    """Whole or not at all: under another name until it is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    soundfile.write(unfinished, samples, sound.sample_rate_hz, subtype=WRITTEN_AS.get(sound.subtype, sound.subtype), format="WAV")
    os.replace(unfinished, path)


def _safe(label: str) -> str:
    return NOT_IN_NAMES.sub("_", label).strip("._") or "unlabelled"


def _key(name: str) -> str:
    """A recording's name without its ending, fit for a file name; where that takes something away, a few digits keep it apart from others."""
    stem = name[:len(name) - len(PurePosixPath(name).suffix)]
    safe = NOT_IN_NAMES.sub("_", stem).strip(".")[-120:]
    return safe if safe == stem else f"{safe}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"
