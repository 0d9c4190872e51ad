"""A run's tables for other programs: Raven, Audacity, CSV, PAMscapes. Darwin Core: `pipeline.darwin_core`.

    events, effort = pd.read_parquet("out/events.parquet"), pd.read_parquet("out/effort.parquet")
    to_raven_sequence(events, effort, "out/all.Table.1.selections.txt", audio="/data/2022")

Sources: Raven Pro 1.6 User's Manual (Cornell Lab of Ornithology): times of a selection count from the start of what was opened, over all its files; Audacity
manual, "Importing and exporting labels"; PAMscapes, `loadSoundscapeData`: first column UTC, then TYPE_FREQUENCY with one TYPE in a file.
"""
from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from pipeline.effort import one_each, serials, with_places
from pipeline.tables import csv_text, raven_table, write_raven, write_text

SOUND_LIST = ".files.txt"


def to_csv(table: pd.DataFrame, path: str | Path) -> Path:
    """Any table as CSV: UTF-8, comma, Unix line ends, UTC times as 2022-07-16T02:14:53.120000Z."""
    path = Path(path)
    times = {c: table[c].dt.tz_convert("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ") for c in table if isinstance(table[c].dtype, pd.DatetimeTZDtype) and c.endswith(("_utc", "UTC"))}
    write_text(csv_text(table.assign(**times)), path)
    return path


def to_raven(events: pd.DataFrame, effort: pd.DataFrame, path: str | Path, recording: str | None = None) -> Path:
    """Raven selection table of one recording; `recording` may be left out where `effort` holds only one.

    Raises
    ------
    ValueError
        for a recording that is not in `effort`, or where there are several to choose from.
    """
    effort = one_each(effort)
    names = effort["recording"].tolist()
    if recording is None and len(names) != 1:
        raise ValueError(f"{path}: effort holds {len(names)} recordings; say which, or write all with to_raven_sequence")
    recording = names[0] if recording is None else recording
    if recording not in names:
        raise ValueError(f"{path}: no recording {recording!r} in effort; names are paths below the input folder, such as {', '.join(names[:2])}")
    path, of = Path(path), effort.set_index("recording").loc[recording]
    write_raven(raven_table(events[events["recording"] == recording], {recording: int(of["sample_rate_hz"])}, calibrated=of.get("calibrated")), path)
    return path


def to_raven_sequence(events: pd.DataFrame, effort: pd.DataFrame, path: str | Path, audio: str | Path | None = None) -> Path:
    """Raven selection table of many recordings that Raven opens as one sequence, and the list of its files.

    Times count over all files of the list, those without an event included. Beside `NAME.Table.1.selections.txt` stands `NAME.files.txt`, one sound
    file in a line, in order (of start time, as `effort` stands): open that list in Raven, then the table. Recordings of no length (failed) are in
    neither. To write one recorder or one day, give those rows of `effort`; events of other recordings are left out.

    Parameters
    ----------
    audio : folder of the recordings, so that the list holds whole paths.

    Raises
    ------
    ValueError
        for several sample rates, which Raven cannot open as one sequence, or nothing to open.
    """
    path, files = Path(path), one_each(effort[effort["duration_s"] > 0])
    rates = sorted(files["sample_rate_hz"].unique())
    if len(rates) != 1:
        fault = f"recordings at {', '.join(map(str, rates))} Hz, which Raven cannot open as one sequence" if rates else "no recording holds any sound"
        raise ValueError(f"{path}: {fault}; give the rows of effort of one sample rate")
    begins_s = files["duration_s"].cumsum() - files["duration_s"]
    where = dict(zip(files["recording"], files["recording"] if audio is None else [str(Path(audio) / name) for name in files["recording"]]))
    mine = events[events["recording"].isin(files["recording"])]
    table = raven_table(mine, dict(zip(files["recording"], files["sample_rate_hz"])), dict(zip(files["recording"], begins_s)), files.get("calibrated"))
    table.insert(table.columns.get_loc("Begin File") + 1, "Begin Path", mine["recording"].map(where))  # two folders may hold files of one name
    table = table.sort_values("Begin Time (s)", kind="stable", ignore_index=True).assign(Selection=lambda t: range(1, len(t) + 1))
    stem = re.sub(r"(\.Table\.\d+)?(\.selections)?\.txt$", "", path.name)
    write_text("".join(f"{place}\n" for place in where.values()), path.with_name(stem + SOUND_LIST))
    write_raven(table, path)
    return path


def to_audacity(events: pd.DataFrame, effort: pd.DataFrame, folder: str | Path) -> list[Path]:
    """An Audacity label file for each recording that holds sound, with or without events: `FOLDER/RECORDING.txt`, sub-folders kept."""
    from preprocessing.annotations import write_audacity

    events = events.rename(columns={"labels": "label"})
    groups, files = dict(tuple(events.groupby("recording", sort=False))), {}
    for name in effort.loc[effort["duration_s"] > 0, "recording"].drop_duplicates():
        path = _below(Path(folder), name, ".txt")
        if path in files:
            path = path.with_name(f"{hashlib.sha256(name.encode()).hexdigest()[:6]}-{path.name}")
        files[path] = write_audacity(groups.get(name, events.iloc[:0]), path)
    return list(files)


def _below(folder: Path, name: str, ending: str) -> Path:
    """A path for a recording's file that cannot lie outside `folder`, whatever the recording is called."""
    parts = [re.sub(r'[<>:"|?*\\\x00-\x1f]', "_", part) for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    return folder.joinpath(*parts[:-1], (parts[-1] if parts else "recording") + ending)


def to_pamscapes(levels: pd.DataFrame | str | Path, folder: str | Path, kinds: tuple[str, ...] = ("TOL", "PSD"),
                 effort: pd.DataFrame | None = None) -> list[Path]:
    """Sound levels for NOAA's PAMscapes (R): `FOLDER/levels_KIND_RECORDER.csv`, first column UTC, then KIND_FREQUENCY in Hz.

    One file for each kind, since PAMscapes wants one in a file, and for each recorder (of `effort`, else the serial in the recording's name), since it wants one
    level for each time. Rows without a start time, or with a date that cannot be right, and those of which less than half the usual length was heard, are left out; files of
    recorders that are not calibrated say so in their names. In R: `loadSoundscapeData("levels_TOL_6872.csv")`.

    Parameters
    ----------
    levels : table, or path of a `levels.parquet`, which is then read piece by piece.
    effort : says who recorded what; none: the `effort.parquet` beside the levels, if there is one.
    kinds : "TOL" decidecade bands (dB re 1 µPa), "PSD" spectral density (dB re 1 µPa^2/Hz).

    Raises
    ------
    ValueError
        if no row has a start time.
    """
    folder, columns = Path(folder), _columns(levels)
    chosen = {kind: [c for c in columns if re.fullmatch(rf"{kind}_[0-9.]+", c)] for kind in kinds}
    if effort is None and not isinstance(levels, pd.DataFrame) and (beside := Path(levels).with_name("effort.parquet")).is_file():
        effort = pd.read_parquet(beside)
    effort = None if effort is None else with_places(effort).drop_duplicates("recording").set_index("recording")
    usual_s, files, headed = None, {}, set()
    with ExitStack() as open_files:
        for batch in _batches(levels, ["UTC", "recording", "duration_s", *(["calibrated"] if "calibrated" in columns else []), *(c for names in chosen.values() for c in names)]):
            batch = batch[batch["UTC"].notna()]
            if effort is not None:
                batch = batch[~batch["recording"].isin(effort.index[effort["impossible"] != ""])]
            if not len(batch):
                continue
            usual_s = batch["duration_s"].max() if usual_s is None else max(usual_s, batch["duration_s"].max())
            batch = batch[batch["duration_s"] >= usual_s / 2]
            for recorder, rows in batch.groupby(_file_name(batch, effort), sort=False):
                times = rows["UTC"].dt.round("s").dt.strftime("%Y-%m-%d %H:%M:%S")
                for kind, names in chosen.items():
                    path = folder / f"levels_{kind}_{recorder}.csv"
                    if path not in files:
                        files[path] = open_files.enter_context(_draft(path))
                    table = pd.concat([times.rename("UTC"), rows[names].astype(float).round(2)], axis=1)
                    table.to_csv(files[path], index=False, header=path not in headed, lineterminator="\n")
                    headed.add(path)
        if not files:
            raise ValueError(f"{folder}: no row of the levels has a start time; give start times with --overrides and run again")
    return list(files)


def _file_name(levels: pd.DataFrame, effort: pd.DataFrame | None) -> pd.Series:
    """Who recorded each of these rows, and whether they are calibrated, as a part of a file's name."""
    names = serials(levels["recording"])
    if effort is not None:
        names = levels["recording"].map(effort["recorder"]).fillna(names).astype("str")
    calibrated = levels["calibrated"].astype(bool) if "calibrated" in levels else pd.Series(True, levels.index)
    return names.str.replace(r"[^\w.+-]+", "_", regex=True) + np.where(calibrated, "", "_uncalibrated")


def _columns(table) -> list[str]:
    if isinstance(table, pd.DataFrame):
        return list(table)
    import pyarrow.parquet as pq

    return pq.read_schema(table).names


def _batches(table, columns: list[str]) -> Iterator[pd.DataFrame]:
    if isinstance(table, pd.DataFrame):
        yield table[columns]
        return
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(table).iter_batches(2 ** 15, columns=columns):
        yield batch.to_pandas()


@contextmanager
def _draft(path: Path):
    """A text file under a temporary name that takes `path`'s when all is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(draft, "w", encoding="utf-8", newline="\n") as file:
            yield file
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
