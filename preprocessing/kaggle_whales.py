"""The right whale contest of Marinexplore and Cornell (Kaggle, 2013), or a simulation of it (`preprocessing.upcalls`): clips, labels, neighbours.

    FOLDER/train.csv            clip_name,label     trainN.aif, 1 with an up-call, 0 without
    FOLDER/.../trainN.aif       AIFF, mono, 2 s, 2 kHz; at any depth, .wav or .flac will do

    clips = kaggle_clips("/data/whale_data")
    folds = preprocessing.splits.grouped_folds(clips, "group", 5, stratify="label")
    build_dataset(clips.assign(split="all"), upcall_truth(clips), folder, load_profile("right_whale"))

Neighbours. The contest tells no times. Its clips are taken to be numbered in the order of the recording (in its sequel, order and time alone name the
clips well), so consecutive numbers come from the same minutes: the same ship, the same whale. Folds of single clips have the neighbours of test
clips in training. So

    group    the clip's block of `block_clips` consecutive numbers, from 1 on: folds are made of whole blocks
    guard    the first `guard_clips` of each block but the first are left out, so that no two blocks touch

500 clips are 60 blocks of the contest's 30 000; a block that is too short shows as a figure that falls when it is made longer. For a
simulation take its clips per hour (they stand in its simulation.json), and no guard.
"""
from __future__ import annotations

import os
import re
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.text_table import read_text
from spectrogram.recording import EXTENSIONS, BadRecording, Recording

COLUMNS = {"recording": "str", "path": "str", "label": "int64", "group": "str", "order": "int64", "sample_rate_hz": "int64", "duration_s": "float64"}
LABEL = "UpCall"
BLOCK_CLIPS, GUARD_CLIPS = 500, 10
SNR_DB = 20.0  # noted for a clip's label, as for other clips whose SNR nobody measured: plain to hear
NUMBER = re.compile(r"(\d+)$")


def kaggle_clips(folder: str | Path, block_clips: int = BLOCK_CLIPS, guard_clips: int = GUARD_CLIPS, table: str = "train.csv", duration_s: float = 2.0,
                 sample_rate_hz: int = 2000) -> pd.DataFrame:
    """The contest's labelled clips, in its order.

    Parameters
    ----------
    folder : holds `table`; the sounds lie at any depth below.
    block_clips, guard_clips : see the module's docstring. guard_clips=0 keeps every clip.
    duration_s, sample_rate_hz : what a clip must be; one that is not is left out.

    Returns
    -------
    DataFrame, one row for each clip that can be used: recording (as in the table), path, label (0 or 1), group ("block_0003"), order (the number in the
    name), sample_rate_hz, duration_s. `.attrs["faults"]`: a line for each clip that cannot be used; `.attrs["guarded"]`: how many were left out between blocks.

    Raises
    ------
    FileNotFoundError
        without the table; ValueError where it lacks a column, or no clip is left.
    """
    folder = Path(folder)
    if block_clips < 1 or not 0 <= guard_clips < block_clips:
        raise ValueError(f"block_clips {block_clips}, guard_clips {guard_clips}: a block holds at least one clip more than its guard")
    rows, faults = _read_table(folder / table)
    order = _order(rows["clip_name"])
    number = order - min(1, order.min())
    in_block, block = number % block_clips, number // block_clips
    rows = rows.assign(order=order, group=[f"block_{k:04d}" for k in block])
    guarded = (in_block < guard_clips) & (block > 0)
    paths, kept = _sounds(folder), []
    for row in rows[~guarded].sort_values("order", kind="stable").to_dict("records"):
        try:
            path = _path_of(row["clip_name"], paths, folder)
            sound = _checked(path, duration_s, sample_rate_hz)
        except (BadRecording, FileNotFoundError) as error:
            faults.append(str(error))
            continue
        kept.append(row | {"recording": row["clip_name"], "path": str(path), "sample_rate_hz": sound.sample_rate_hz, "duration_s": sound.duration_s})
    if not kept:
        raise ValueError(f"{folder}: none of the {len(rows)} clips in {table} can be used; the first: {faults[0] if faults else 'all are guards'}")
    clips = pd.DataFrame(kept)[list(COLUMNS)].astype(COLUMNS)
    clips.attrs |= {"faults": faults, "guarded": int(guarded.sum())}
    return clips


def upcall_truth(clips: pd.DataFrame, label: str = LABEL, snr_db: float = SNR_DB) -> pd.DataFrame:
    """Truth for `build_dataset`: each clip with an up-call carries the label throughout, for nobody said when the call was; the others are silent.

    Columns: recording, label, start_s, end_s, snr_db, audible.
    """
    called = clips[clips["label"] == 1]
    return pd.DataFrame({"recording": called["recording"].to_numpy(), "label": label, "start_s": 0.0, "end_s": called["duration_s"].to_numpy(float),
                         "snr_db": snr_db, "audible": True})


def _read_table(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """clip_name and label of the lines that are whole, and a line for each that is not."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such table; give the folder that holds the contest's {path.name} (columns clip_name, label)")
    rows = pd.read_csv(StringIO(read_text(path)), dtype=str, skipinitialspace=True)
    missing = {"clip_name", "label"} - set(rows)
    if missing:
        raise ValueError(f"{path}: no column {' or '.join(sorted(missing))}; it has {', '.join(map(str, rows.columns))}")
    rows = rows[["clip_name", "label"]].map(lambda text: text.strip() if isinstance(text, str) else "")
    label = pd.to_numeric(rows["label"], errors="coerce")
    wrong, again = ~label.isin([0, 1]) | (rows["clip_name"] == ""), rows["clip_name"].duplicated()
    faults = [f"{path}: line {k + 2}: label {rows['label'][k]!r} of {rows['clip_name'][k]!r}; expected 0 or 1, the clip is left out" for k in rows.index[wrong]]
    faults += [f"{path}: line {k + 2}: {rows['clip_name'][k]!r} comes again; its first line counts" for k in rows.index[again & ~wrong]]
    rows = rows[~wrong & ~again]
    if not len(rows):
        raise ValueError(f"{path}: no clip with a label 0 or 1 in it; is it the contest's table?")
    return rows.assign(label=label.astype("Int64")).reset_index(drop=True), faults


def _order(names: pd.Series) -> np.ndarray:
    """The number at the end of each name; where one has none, or two share one, the place in the table, from 1."""
    found = [NUMBER.search(_stem(name)) for name in names]
    numbers = np.array([int(f.group(1)) if f else -1 for f in found])
    return numbers if (numbers >= 0).all() and len(set(numbers)) == len(numbers) else np.arange(1, len(names) + 1)


def _sounds(folder: Path) -> dict[str, list[Path]]:
    """Sound files below the folder by their name without the ending, lower case."""
    found: dict[str, list[Path]] = {}
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if Path(name).suffix.lower() in EXTENSIONS and not name.startswith("."):
                found.setdefault(_stem(name), []).append(Path(where) / name)
    return found


def _path_of(name: str, sounds: dict[str, list[Path]], folder: Path) -> Path:
    paths = sounds.get(_stem(name), [])
    if not paths:
        raise FileNotFoundError(f"{name}: named by the table but not below {folder}; copy it again, the clip is left out")
    if len(paths) > 1:
        raise FileNotFoundError(f"{name}: {paths[0]} or {paths[1]}? Keep one, the clip is left out")
    return paths[0]


def _stem(name: str) -> str:
    name = name.replace("\\", "/").rsplit("/", 1)[-1].lower()
    return name[:-len(suffix)] if (suffix := Path(name).suffix) in EXTENSIONS else name


def _checked(path: Path, duration_s: float, sample_rate_hz: int) -> Recording:
    """The clip, opened; BadRecording unless it is whole, of the right rate and length."""
    sound = Recording(path)
    if sound.sample_rate_hz != sample_rate_hz:
        raise BadRecording(f"{path}: {sound.sample_rate_hz} Hz, the clips are of {sample_rate_hz} Hz; left out, give sample_rate_hz for another set")
    if not sound.complete:
        raise BadRecording(f"{path}: truncated, {sound.duration_s:.3f} s of {sound.promised_frames / sample_rate_hz:.3f} s are there; left out, copy it again")
    if abs(sound.frames - duration_s * sample_rate_hz) > 1:
        raise BadRecording(f"{path}: lasts {sound.duration_s:.3f} s, the clips {duration_s:g} s; left out, give duration_s for another set")
    return sound
