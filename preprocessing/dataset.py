"""Data sets: recordings and a truth table in, continuous pictures and an index of windows out.

On disk, in the data set's folder (git-ignored, made again at will):

    pictures/NAME.npy    (frames, columns) float32 dB, NaN where masked: the picture of one WHOLE recording, made by the same
                         generator as at inference and not normalised; its contrast (`spectrogram.background`) where the profile has one. A file that exists is finished (written aside, then renamed).
    calls.parquet        the truth table: recording, label, start_s, end_s, snr_db, audible, ...
    manifest.parquet     one row per window: recording, picture, sample_rate_hz, start_frame, start_s, target_LABEL, snr_LABEL, and
                         every column of the recordings table (split, site, boats, ...)
    dataset.json         profile, versions, counts, and the digests of the two tables

A data set is whole or it is not there: dataset.json is taken away before anything is written and
comes back last, each table is written aside and renamed, and a table that is not the one that
dataset.json was written with is refused.

A recordings table may have a column `unknown`: labels, joined by +, of which nobody knows where in
this recording they are not (boats on a clip of "wind"). Their targets are NaN but where a call of theirs is listed.

Windows overlap and may start at any frame in training, so they are cut out of the continuous picture when read and
never stored. Targets follow one rule for windows and for the network's finer positions (`targets`).
"""
from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from spectrogram.background import contrast_db, has_contrast
from spectrogram.generator import SpectrogramGenerator
from spectrogram.profile import Profile
from spectrogram.recording import Recording

FORMAT = 2  # 2: digests of the tables
TABLES = ("manifest.parquet", "calls.parquet")
IDENTIFIERS = ("call_id", "group_id")  # texts, whatever a CSV reader takes them for
MIN_OVERLAP_S = 0.05


def targets(
    calls: pd.DataFrame | np.ndarray,
    starts_s: np.ndarray,
    length_s: float,
    labels: tuple,
    observable: np.ndarray,
    unknown: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """What each cell of time (a window, or one position of the network's output) should be called.

    1 where an audible call of the label lies in the cell for at least half the cell, 50 ms or half the call, whichever is
    least; NaN (to be ignored) where the label is not observable at this sample rate, or where the cell is
    only touched: by less than that, or by a call too faint to be heard; 0 otherwise.

    Parameters
    ----------
    calls : rows of ONE recording with label, start_s, end_s, audible, snr_db (a table, or a structured array as of `call_array`).
    starts_s : (cells,) start of each cell, s from the recording's start.
    observable : (labels,) bool.
    unknown : (labels,) bool, labels that are not listed wherever they are: where no call is, NaN
        in place of 0.

    Returns
    -------
    target (cells, labels) float32, and snr_db (cells, labels) float32: the best SNR among the calls in the cell, NaN without any.
    """
    target = np.zeros((len(starts_s), len(labels)), np.float32)
    snr_db = np.full((len(starts_s), len(labels)), np.nan, np.float32)
    names, call_start_s, call_end_s = (np.asarray(calls[key]) for key in ("label", "start_s", "end_s"))
    audible, call_snr_db = np.asarray(calls["audible"], bool), np.asarray(calls["snr_db"], np.float32)
    for column, label in enumerate(labels):
        of_label = names == label
        if not observable[column]:
            target[:, column] = np.nan
        elif of_label.any():
            start, end = call_start_s[of_label, None], call_end_s[of_label, None]
            overlap = np.minimum(end, starts_s + length_s) - np.maximum(start, starts_s)  # (calls, cells)
            enough = overlap >= np.minimum(min(length_s / 2, MIN_OVERLAP_S), (end - start) / 2)
            heard = (enough & audible[of_label, None]).any(axis=0)
            target[(overlap > 0).any(axis=0), column] = np.nan
            target[heard, column] = 1.0
            best = np.where(enough, call_snr_db[of_label, None], -np.inf).max(axis=0)
            snr_db[:, column] = np.where(np.isfinite(best), best, np.nan)
    if unknown is not None:
        target = np.where(unknown & (target != 1), np.float32(np.nan), target)
    return target, snr_db


def call_array(calls: pd.DataFrame) -> np.ndarray:
    """The columns that `targets` needs as one structured array, much quicker than a table to look into for every window."""
    columns = {"label": "U16", "start_s": float, "end_s": float, "audible": bool, "snr_db": np.float32}
    array = np.empty(len(calls), list(columns.items()))
    for column in columns:
        array[column] = calls[column]
    return array


@dataclass
class DataSet:
    """A data set's folder, opened for reading. Safe to hand to worker processes (memory maps are reopened there)."""

    folder: Path
    _maps: dict = field(default_factory=dict, repr=False)

    def __post_init__(self):
        self.folder = Path(self.folder)
        if not (self.folder / "dataset.json").exists():
            raise FileNotFoundError(f"{self.folder}: no finished data set here (dataset.json is missing); build it with build_dataset")
        self.info = json.loads((self.folder / "dataset.json").read_text(encoding="utf-8"))
        if self.info["format"] != FORMAT:
            raise ValueError(f"{self.folder}: data set of format {self.info['format']}, this code reads {FORMAT}; delete it and build it again")
        for name, digest in self.info["tables"].items():
            if not (self.folder / name).exists() or file_digest(self.folder / name) != digest:
                raise ValueError(
                    f"{self.folder}: {name} is not the one that dataset.json was written with; "
                    "build the data set again (its pictures are kept)"
                )

    def __getstate__(self):
        return self.__dict__ | {"_maps": {}}

    @cached_property
    def profile(self) -> Profile:
        return Profile.from_dict(self.info["profile"])

    @cached_property
    def manifest(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "manifest.parquet")

    @cached_property
    def calls(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "calls.parquet")

    @cached_property
    def calls_by_recording(self) -> dict[str, np.ndarray]:
        """Structured array of the calls of each recording (see `call_array`), empty where there are none."""
        found = dict(tuple(self.calls.groupby("recording")))
        return {name: call_array(found.get(name, self.calls.iloc[:0])) for name in self.manifest["recording"].unique()}

    def picture(self, name: str) -> np.ndarray:
        """(frames, bands) dB of a whole recording, memory-mapped; `name` as in the manifest's `picture` column."""
        if name not in self._maps:
            self._maps[name] = np.load(self.folder / "pictures" / name, mmap_mode="r")
        return self._maps[name]

    def windows(self, rows: pd.DataFrame, start_frames: np.ndarray | None = None) -> np.ndarray:
        """(n, frames, bands) float32 dB, not normalised: the windows of these manifest rows, or moved to other start frames."""
        starts = rows["start_frame"].to_numpy() if start_frames is None else start_frames
        length = self.profile.window_frames
        return np.stack([self.picture(name)[start:start + length] for name, start in zip(rows["picture"], starts)])

    def rows(self, **where) -> pd.DataFrame:
        """Manifest rows where each column has the given value, e.g. rows(split="train", boats=False)."""
        keep = np.ones(len(self.manifest), bool)
        for column, value in where.items():
            keep &= (self.manifest[column] == value).to_numpy()
        return self.manifest[keep]


def observable_labels(profile: Profile, sample_rate_hz: float) -> np.ndarray:
    """(labels,) bool: labels that a recording at this rate can show."""
    return np.array([profile.observable(label, sample_rate_hz / 2) for label in profile.labels])


def unknown_labels(profile: Profile, unknown: str | float | None) -> np.ndarray:
    """(labels,) bool: labels named in a recording's `unknown`, "Whistle+Boat"; blank or missing
    names none.
    """
    names = unknown.split("+") if isinstance(unknown, str) else ()
    return np.array([label in names for label in profile.labels])


def window_rows(
    calls: pd.DataFrame,
    n_frames: int,
    sample_rate_hz: float,
    profile: Profile,
    unknown: str | float | None = None,
) -> pd.DataFrame:
    """Index and targets of the windows of one recording; a last window that is not whole is left out."""
    count = max(0, (n_frames - profile.window_frames) // profile.step_frames + 1)
    start_frame = np.arange(count) * profile.step_frames
    start_s = start_frame / profile.frame_rate_hz
    target, snr_db = targets(
        calls,
        start_s,
        profile.window_s,
        profile.labels,
        observable_labels(profile, sample_rate_hz),
        unknown_labels(profile, unknown),
    )
    columns = {"start_frame": start_frame, "start_s": start_s, "sample_rate_hz": int(sample_rate_hz)}
    columns |= {f"target_{label}": target[:, k] for k, label in enumerate(profile.labels)}
    columns |= {f"snr_{label}": snr_db[:, k] for k, label in enumerate(profile.labels)}
    return pd.DataFrame(columns)


def add_recording(folder: Path, name: str, path: Path, generator: SpectrogramGenerator, channel: int = 0, padded: bool = False) -> tuple[int, int]:
    """Write the picture of one recording unless it is there, `padded` to whole windows; return its number of frames and its sample rate in Hz."""
    final = Path(folder) / "pictures" / name
    rate_file = final.with_suffix(".rate")
    if not final.exists():
        recording = Recording(path, channel)
        picture_db = contrast_db(generator.picture(recording), generator.profile)
        if padded:
            picture_db = pad_to_windows(picture_db, generator.profile)
        final.parent.mkdir(parents=True, exist_ok=True)
        rate_file.write_text(str(int(recording.sample_rate_hz)), encoding="utf-8")
        aside = final.with_suffix(".part")
        with open(aside, "wb") as file:
            np.save(file, np.ascontiguousarray(picture_db, dtype=np.float32))
        os.replace(aside, final)
    return len(np.load(final, mmap_mode="r")), int(rate_file.read_text(encoding="utf-8"))


def pad_to_windows(picture_db: np.ndarray, profile: Profile) -> np.ndarray:
    """The picture with NaN ("not recorded") after its end, so that its last window, or a clip shorter than a window, is whole: as at inference."""
    size, step = profile.window_frames, profile.step_frames
    missing = size - len(picture_db) if len(picture_db) < size else -(len(picture_db) - size) % step
    return np.concatenate([picture_db, np.full((missing, picture_db.shape[1]), np.nan, np.float32)])


def build_dataset(recordings: pd.DataFrame, truth: pd.DataFrame, folder: str | Path, profile: Profile, summary: dict | None = None, padded: bool = False,
                  mark: Callable[[pd.DataFrame], pd.DataFrame] | None = None) -> DataSet:
    """Make (or finish) a data set.

    Parameters
    ----------
    recordings : one row per file: `recording` (unique name), `path`, `split` (train, validation, test), and whatever describes
        it (site, boats, deployment); these columns go into the manifest. `channel`, from 0, if it is not the first.
    truth : one row per call or passage: recording, label, start_s, end_s, snr_db, audible.
    summary : anything that should be remembered with the data (seeds, parameters).
    padded : also give the last window of a recording, and the only one of a short clip, which reach beyond its end (see `pad_to_windows`).
    mark : adds columns to the manifest before it is written.

    Raises
    ------
    ValueError
        if a recording's name comes twice, if the truth or `unknown` names a recording or a label
        that is not there, or if the folder holds a data set made with another front end. Whatever
        goes wrong: there is then no data set here to read.
    """
    folder = Path(folder)
    check_tables(recordings, truth, profile)
    seal_folder(folder, profile, padded)
    (folder / "dataset.json").unlink(missing_ok=True)
    generator, tables = SpectrogramGenerator(profile), []
    for row in tqdm(recordings.to_dict("records"), desc="pictures", unit="file"):
        name = picture_name(row["recording"])
        n_frames, rate_hz = add_recording(folder, name, Path(row["path"]), generator, int(row.get("channel", 0)), padded)
        calls = truth[truth["recording"] == row["recording"]]
        rows = window_rows(calls, n_frames, rate_hz, profile, row.get("unknown"))
        described = {key: value for key, value in row.items() if key not in ("path", "sample_rate_hz")} | {"picture": name}
        tables.append(rows.assign(**described))
    manifest = pd.concat(tables, ignore_index=True)
    manifest = manifest if mark is None else mark(manifest)
    truth = truth.assign(**{name: truth[name].astype(str) for name in IDENTIFIERS if name in truth})
    for name, table in zip(TABLES, (manifest, truth.reset_index(drop=True))):
        write_aside(folder / name, lambda path: table.to_parquet(path, index=False))
    info = {
        "format": FORMAT,
        "profile": profile.to_dict(),
        "recordings": len(recordings),
        "windows": len(manifest),
        "summary": summary or {},
        "tables": {name: file_digest(folder / name) for name in TABLES},
    }
    text = json.dumps(info, indent=1)
    write_aside(folder / "dataset.json", lambda path: path.write_text(text, encoding="utf-8"))
    return DataSet(folder)


def write_aside(final: Path, write: Callable[[Path], object]) -> None:
    """A file that is there whole or as it was before: written beside its place by `write`, then
    renamed.
    """
    aside = final.with_name(f"{final.name}.{os.getpid()}.part")
    try:
        write(aside)
        os.replace(aside, final)
    finally:
        aside.unlink(missing_ok=True)


def file_digest(path: Path) -> str:
    """Sixteen hex digits of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def seal_folder(folder: Path, profile: Profile, padded: bool = False) -> None:
    """Make a data set's folder, and note which front end its pictures are of; ValueError if it holds those of another."""
    seal = folder / "front_end.txt"
    made_by = front_end_key(profile) + (f"\npadded to windows of {profile.window_frames} frames, {profile.step_frames} apart" if padded else "")
    if seal.exists() and seal.read_text(encoding="utf-8") != made_by:
        raise ValueError(f"{folder}: holds pictures of another front end; give another folder or delete this one")
    folder.mkdir(parents=True, exist_ok=True)
    seal.write_text(made_by, encoding="utf-8")


def picture_name(recording: str) -> str:
    """File name of a recording's picture."""
    return recording.replace("/", "__") + ".npy"


def front_end_key(profile: Profile) -> str:
    """What shapes a stored picture. Normalisation, heads and labels come later and do not count."""
    d = profile.to_dict()
    picture = {key: value for key, value in d["picture"].items() if key != "normalisation"}
    picture |= {"contrast": True} if has_contrast(profile) else {}
    kept = {key: d[key] for key in ("sample_rate_hz", "n_fft", "hop")} | {"picture": picture}
    return json.dumps(kept, sort_keys=True)


def check_tables(recordings: pd.DataFrame, truth: pd.DataFrame, profile: Profile) -> None:
    """Raise ValueError, naming the row, where recordings and truth do not fit together."""
    twice = recordings["recording"][recordings["recording"].duplicated()]
    if len(twice):
        raise ValueError(f"recording {twice.iloc[0]!r} is listed twice; names must be unique, e.g. DEPLOYMENT/FILE")
    strangers = set(truth["recording"]) - set(recordings["recording"])
    if strangers:
        raise ValueError(f"the truth table names {sorted(strangers)[0]!r}, which is not among the recordings")
    unknown = set(truth["label"]) - set(profile.labels)
    if unknown:
        raise ValueError(f"the truth table has labels {sorted(unknown)} that profile {profile.name} does not know ({', '.join(profile.labels)})")
    named = {
        label
        for said in recordings.get("unknown", [])
        if isinstance(said, str)
        for label in said.split("+")
        if label
    }
    if strange := named - set(profile.labels):
        raise ValueError(
            f"the recordings table says that {', '.join(sorted(strange))} is unknown, which profile "
            f"{profile.name} does not have ({', '.join(profile.labels)})"
        )
