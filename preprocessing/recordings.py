"""Which recordings there are, and which of them a table means.

A recording is named by its path below the folder, with slashes, as the pipeline names it. Tables name it in many ways: by file name, by a path on
another machine, with another ending; `RecordingIndex` finds it.
"""
from __future__ import annotations

import os
from io import StringIO
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from preprocessing.text_table import read_text
from spectrogram.packed import packed_beside, packed_line
from spectrogram.recording import EXTENSIONS, BadRecording, Recording

ABOUT = ("recording", "path", "site", "day", "start_utc", "duration_s", "sample_rate_hz", "channels", "fault")


def list_recordings(source, clock: str | None = None) -> pd.DataFrame:
    """The recordings of a folder (any depth), in order of their paths, or of a list of files.

    Parameters
    ----------
    source : a folder, a file, or several files.
    clock : time zone of the recorder, where names do not say UTC (as for `Recording`).

    Returns
    -------
    DataFrame, one row each: recording (path below the folder), path, site (the first folder below `source`, or `source` itself, until a table says
    better), day (UTC date, blank if unknown), start_utc, duration_s, sample_rate_hz, channels, fault (why it cannot be used; blank).

    Raises
    ------
    FileNotFoundError
        "0 recordings found in ..."
    """
    if isinstance(source, (str, Path)):
        root = Path(source)
        files = [root] if root.is_file() else sorted(_walk(root))
        root = root.parent if root.is_file() else root
    else:
        files = [Path(path) for path in source]
        root = Path(os.path.commonpath([path.absolute().parent for path in files])) if files else Path()
        files = [path.absolute() for path in files]
    if not files:
        packed = packed_line(packed_beside(file for _, _, names in os.walk(source) for file in names)) if isinstance(source, (str, Path)) else ""
        raise FileNotFoundError(f"0 recordings found in {source}: " + (packed or f"looked for {', '.join(EXTENSIONS)} at any depth"))
    rows = [_row(path, path.relative_to(root), root, clock) for path in files]
    table = pd.DataFrame(rows, columns=list(ABOUT))
    return table.assign(start_utc=pd.to_datetime(table["start_utc"], utc=True).astype("datetime64[us, UTC]"))


def _walk(root: Path):
    for where, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(where) / name for name in files if Path(name).suffix.lower() in EXTENSIONS and not name.startswith("."))


def _row(path: Path, name: Path, root: Path, clock: str | None) -> dict:
    row = {"recording": name.as_posix(), "path": str(path), "site": name.parts[0] if len(name.parts) > 1 else root.absolute().name}
    try:
        sound = Recording(path, clock=clock)
    except BadRecording as error:
        return row | {"day": "", "start_utc": pd.NaT, "duration_s": np.nan, "sample_rate_hz": 0, "channels": 0, "fault": str(error)}
    day = f"{sound.start_utc:%Y-%m-%d}" if sound.start_utc else ""
    return row | {"day": day, "start_utc": sound.start_utc, "duration_s": sound.duration_s, "sample_rate_hz": sound.sample_rate_hz,
                  "channels": sound.channels, "fault": ""}


def as_recordings(recordings) -> pd.DataFrame:
    """A recordings table as it is, or `list_recordings` of a folder or of files."""
    return recordings if isinstance(recordings, pd.DataFrame) else list_recordings(recordings)


def describe(recordings: pd.DataFrame, about: pd.DataFrame | str | Path, columns: tuple[str, ...] | None = None) -> pd.DataFrame:
    """The recordings table with what another table says of each recording: site, day, source, split, ...

    Parameters
    ----------
    about : a table, or a CSV, with one row or more for each recording and a column `recording`, or `file`. Where it says nothing, a text stays as it
        was or blank, a number NaN.
    columns : which of its columns; None: all.

    Raises
    ------
    ValueError
        if it says two things of one recording, or names one that is not there.
    """
    where = "the table" if isinstance(about, pd.DataFrame) else about
    about = about if isinstance(about, pd.DataFrame) else pd.read_csv(StringIO(read_text(about)), sep=None, engine="python")
    name = next((column for column in ("file", "recording") if column in about), None)
    if name is None:
        raise ValueError(f"{where}: no column `recording` or `file`; it has {', '.join(map(str, about.columns))}")
    index = RecordingIndex(recordings)
    found = about[name].astype(str).map(lambda text: index.find(text))
    if found.isna().any():
        raise ValueError(f"{where}: {about[name][found.isna()].iloc[0]!r} is not among the recordings; take the row out or add the file")
    described = recordings.copy()
    for column in columns or [c for c in about if c not in (name, "recording", "path")]:
        said = about[column].groupby(found)
        two = said.nunique()[lambda n: n > 1]
        if len(two):
            raise ValueError(f"{where}: says {', '.join(map(str, about[column][found == two.index[0]].unique()[:3]))} as the {column} of {two.index[0]}; a recording has one")
        new = recordings["recording"].map(said.first())
        old = recordings[column] if column in recordings else ("" if not pd.api.types.is_numeric_dtype(new) else np.nan)
        described[column] = new.where(new.notna(), old)
    return described


class RecordingIndex:
    """Finds the recording that a table means, and what follows it in its folder.

    Parameters
    ----------
    recordings : table with `recording`, and, where known, `path`, `duration_s` and
        `sample_rate_hz`; its order is that of the sequence in each folder.
    """

    def __init__(self, recordings: pd.DataFrame | None):
        names = [] if recordings is None else recordings["recording"].astype(str).tolist()
        paths = names if recordings is None or "path" not in recordings else [str(Path(path).absolute()) for path in recordings["path"]]
        lengths = [np.nan] * len(names) if recordings is None or "duration_s" not in recordings else recordings["duration_s"].astype(float).tolist()
        rates = [np.nan] * len(names) if recordings is None or "sample_rate_hz" not in recordings else recordings["sample_rate_hz"].astype(float)
        self.duration_s = dict(zip(names, lengths))
        self.sample_rate_hz = {name: rate if rate > 0 else np.nan for name, rate in zip(names, rates)}
        self._parts = {name: (parts(name), parts(path)) for name, path in zip(names, paths)}
        self._ends: dict[str, list[str]] = {}
        for name, (own, _) in self._parts.items():
            for end in {own[-1], stem(own[-1])}:
                self._ends.setdefault(end, []).append(name)

    def __len__(self) -> int:
        return len(self._parts)

    def find(self, text: str, beside: Path | None = None) -> str | None:
        """The recording's name, or None if there is none such.

        Parameters
        ----------
        text : file name, or any path that ends like the recording's; the ending (.wav, .flac) may be another. Case does not matter.
        beside : file whose folder decides between recordings of one name.

        Raises
        ------
        LookupError
            if several recordings fit equally well.
        """
        asked = parts(text)
        if not asked:
            return None
        candidates = self._ends.get(asked[-1]) or self._ends.get(stem(asked[-1])) or []
        if len(candidates) < 2:
            return candidates[0] if candidates else None
        fits = {name: max(_common_end(asked[:-1], own[:-1]) for own in self._parts[name]) for name in candidates}
        best = [name for name in candidates if fits[name] == max(fits.values())]
        if len(best) > 1 and beside is not None:
            folder = parts(str(Path(beside).absolute().parent))
            best = [name for name in best if self._parts[name][1][:-1] == folder] or best
        if len(best) > 1:
            raise LookupError(f"{text!r} may be {best[0]} or {best[1]}")
        return best[0]

    @property
    def one_folder(self) -> bool:
        """True if all recordings lie in one folder."""
        return len({PurePosixPath(name).parent for name in self.duration_s}) == 1

    def sequence(self, name: str) -> list[str]:
        """The recordings of this one's folder, in order."""
        folder = PurePosixPath(name).parent
        return [other for other in self._parts if PurePosixPath(other).parent == folder]


def parts(path: str) -> list[str]:
    """Parts of a path of any system, lower case."""
    return [part for part in path.strip().replace("\\", "/").lower().split("/") if part not in ("", ".")]


def stem(name: str) -> str:
    """A file's name without the ending of a sound file; other dots belong to it ("6872.220716021453")."""
    return name[:-len(ending)] if (ending := PurePosixPath(name).suffix).lower() in EXTENSIONS else name


def _common_end(a: list[str], b: list[str]) -> int:
    """How many of the last parts are the same."""
    count = 0
    for one, other in zip(reversed(a), reversed(b)):
        if one != other:
            break
        count += 1
    return count
