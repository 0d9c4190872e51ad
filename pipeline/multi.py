"""A folder of recordings, one after another, into one set of tables.

On disk, below the output folder:
- `parts/KEY.TABLE.parquet`: each recording's own tables; `effort` is written last, so a part whose effort file exists is done. Its footer
  holds the fingerprint of everything that decides the result; another fingerprint, and the recording is done anew.
- `events.parquet`, `windows.parquet`, `levels.parquet`, `effort.parquet`: all parts joined, rewritten at the end of each run.
- `raven/KEY.Table.1.selections.txt`: a Raven selection table for each recording.
A run that was killed goes on where it stopped; a recording that cannot be read is noted in `effort` and the run goes on.
"""
from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.events import call_labels
from pipeline.provenance import provenance
from pipeline.single import PipelineResult, load, override, run_pipeline_single_audio
from pipeline.tables import EFFORT_TYPES, TABLES, event_types, read_provenance, typed, window_types, write_parquet, write_raven, write_text
from spectrogram import __version__
from spectrogram.recording import EXTENSIONS, BadRecording, Recording


class NothingFound(FileNotFoundError):
    """No recordings where they were looked for."""


def find_recordings(source: str | Path) -> list[Path]:
    """Sound files below a folder, at any depth, in order of their path; or the one file given.

    Raises
    ------
    NothingFound
        "0 recordings found in ..."; also where the folder does not exist.
    """
    source = Path(source)
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise NothingFound(f"{source}: no such file or folder")
    found = sorted(p for p in _walk(source) if p.suffix.lower() in EXTENSIONS)
    if not found:
        raise NothingFound(f"0 recordings found in {source}: looked for {', '.join(EXTENSIONS)} at any depth")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError):
        print(f"{error.filename}: folder cannot be read ({error.strerror}); check its permissions")

    for where, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [f for f in folders if not f.startswith(".")]
        yield from (Path(where) / f for f in files if not f.startswith("."))


def read_overrides(path: str | Path | None) -> dict[str, dict]:
    """Start times, serials and sensitivities from a CSV: columns `file` and any of `start_utc`, `serial`, `sensitivity_db`.

    Raises
    ------
    ValueError
        naming the file, the line and the fault.
    """
    if path is None:
        return {}
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    allowed = {"file", "start_utc", "serial", "sensitivity_db"}
    if "file" not in table or set(table) - allowed:
        raise ValueError(f"{path}: columns {list(table)}; expected `file` and any of start_utc, serial, sensitivity_db")
    overrides = {}
    for line, row in enumerate(table.to_dict("records"), start=2):
        try:
            given = {key: value.strip() for key, value in row.items() if key != "file" and value.strip()}
            if "start_utc" in given:
                start = pd.Timestamp(given["start_utc"])
                given["start_utc"] = (start.tz_localize("UTC") if start.tzinfo is None else start.tz_convert("UTC")).to_pydatetime()
            if "sensitivity_db" in given:
                given["sensitivity_db"] = float(given["sensitivity_db"])
        except ValueError as error:
            raise ValueError(f"{path}, line {line}: {error}; write times as 2022-07-16T02:14:53Z and sensitivities as -176.3") from None
        overrides[row["file"].strip()] = given
    return overrides


def run_multi_file_pipeline(input_dir, output_dir, model=None, *, profile=None, thresholds=None, channel: int = 0, overrides=None, clock: str | None = None,
                            level_row_s: int = 60, workers: int = 2, device: str | None = None, csv: bool = False, raven: bool = True,
                            again: bool = False, progress: bool = True) -> pd.DataFrame:
    """Find and name the calls in a folder of recordings (any depth), one after another.

    Parameters
    ----------
    input_dir : folder, or one file. output_dir : where the tables go (see the module's docstring).
    overrides : CSV with start times, serials, sensitivities (`read_overrides`).
    csv, raven : also write CSV tables, Raven selection tables. again : do finished recordings anew.
    The rest : as for `run_pipeline_single_audio`.

    Returns
    -------
    Summary, one row for each recording: effort and how many events of each label it holds.

    Raises
    ------
    NothingFound
        if there is no recording. Faults of single recordings are printed, noted in `effort`, and do not stop the run.
    """
    source, output_dir = Path(input_dir), Path(output_dir)
    paths = find_recordings(source)
    given = read_overrides(overrides)
    model = load(model, profile, device)
    output_dir.mkdir(parents=True, exist_ok=True)
    keys = []
    for path in _progress(paths, progress):
        name = path.name if source.is_file() else path.relative_to(source).as_posix()
        key = part_key(name)
        keys.append(key)
        try:
            recording = Recording(path, channel, clock=clock, **given.get(name, given.get(path.name, {})))
            made = provenance(recording, model.profile, override(model.thresholds, thresholds), model.model_id, {"level_row_s": level_row_s})
            if not again and _fingerprint(output_dir, key) == made["fingerprint"]:
                continue
            result = run_pipeline_single_audio(recording, model, thresholds=thresholds, level_row_s=level_row_s, workers=workers, name=name)
            for fault in recording.faults:
                _say(f"{path}: {fault}")
            _save(result, output_dir, key, raven)
        except BadRecording as error:
            _say(str(error))
            _save_failure(output_dir, key, name, channel, str(error), model)
    tables = join_parts(output_dir, keys, model, override(model.thresholds, thresholds))
    if csv:
        for table, frame in tables.items():
            write_text(frame.to_csv(index=False, lineterminator="\n"), output_dir / f"{table}.csv")
    return summary(tables["effort"], tables["events"], model.profile)


def part_key(name: str) -> str:
    """A file name for a recording's parts: its path flattened, with a few hex digits so that no two meet."""
    flat = re.sub(r"[^A-Za-z0-9.\-]+", "_", name)
    return f"{flat[-100:]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _progress(paths, show):
    from tqdm.auto import tqdm

    return tqdm(paths, unit="recording", disable=not show)


def _say(line: str) -> None:
    from tqdm.auto import tqdm

    tqdm.write(line)


def _fingerprint(output_dir: Path, key: str) -> str | None:
    """Fingerprint of the finished part, None if there is none."""
    effort = output_dir / "parts" / f"{key}.effort.parquet"
    return read_provenance(effort).get("fingerprint") if effort.exists() else None


def _save(result: PipelineResult, output_dir: Path, key: str, raven: bool) -> None:
    """Write a recording's parts; effort last."""
    made = result.metadata["provenance"]
    for table in TABLES:
        write_parquet(getattr(result, table), output_dir / "parts" / f"{key}.{table}.parquet", made)
    if raven:
        write_raven(result.raven(), output_dir / "raven" / f"{key}.Table.1.selections.txt")


def _save_failure(output_dir: Path, key: str, name: str, channel: int, reason: str, model) -> None:
    """Parts of a recording that could not be processed: empty tables, and an effort row that says why."""
    row = {"recording": name, "channel": channel, "start_utc": pd.NaT, "end_utc": pd.NaT, "duration_s": 0.0, "sample_rate_hz": 0, "status": "failed",
           "reason": reason, "gap_before_s": np.nan, "calibrated": False, "sensitivity_db": np.nan, "missing_labels": "+".join(model.profile.labels)}
    frames = {"events": typed(pd.DataFrame(), event_types(model.profile)), "windows": typed(pd.DataFrame(), window_types(model.profile)),
              "effort": typed(pd.DataFrame([row]), EFFORT_TYPES)}
    (output_dir / "parts" / f"{key}.levels.parquet").unlink(missing_ok=True)  # of an earlier, better state of the file
    for table, frame in frames.items():
        write_parquet(frame, output_dir / "parts" / f"{key}.{table}.parquet", {"input": name, "model_id": model.model_id, "failed": reason})


def join_parts(output_dir: Path, keys: list[str], model, thresholds: dict) -> dict[str, pd.DataFrame]:
    """Join the parts of `keys` into the final tables, write them, and return them."""
    parts = {table: [pd.read_parquet(p) for key in keys if (p := output_dir / "parts" / f"{key}.{table}.parquet").exists()] for table in TABLES}
    joined = {table: pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"UTC": pd.Series(dtype="datetime64[us, UTC]")})
              for table, frames in parts.items()}
    for table, types in (("events", event_types(model.profile)), ("windows", window_types(model.profile)), ("effort", EFFORT_TYPES)):
        joined[table] = typed(joined[table], types)
    joined["effort"] = with_gaps(joined["effort"])
    made = {"model_id": model.model_id, "profile": model.profile.name, "profile_hash": model.profile.hash(), "thresholds": thresholds,
            "code_version": __version__, "parts": len(keys)}
    for table, frame in joined.items():
        write_parquet(frame, output_dir / f"{table}.parquet", made)
    return joined


def with_gaps(effort: pd.DataFrame) -> pd.DataFrame:
    """Effort in order of time, each recording with the gap before it (negative: it overlaps an earlier one, and its reason says so)."""
    effort = effort.sort_values(["start_utc", "recording"], ignore_index=True)
    ends = effort["end_utc"].cummax().shift()
    effort["gap_before_s"] = (effort["start_utc"] - ends) / timedelta(seconds=1)
    for i in effort.index[effort["gap_before_s"] < -1.0]:
        line = f"overlaps an earlier recording by {-effort.at[i, 'gap_before_s']:.1f} s; check the recorders' clocks"
        effort.at[i, "reason"] = "; ".join(filter(None, [effort.at[i, "reason"], line]))
    return effort


def summary(effort: pd.DataFrame, events: pd.DataFrame, profile) -> pd.DataFrame:
    """Effort with the number of events of each label, of diphonic ones and of all, for each recording."""
    counts = effort[["recording", "start_utc", "duration_s", "sample_rate_hz", "status", "reason", "gap_before_s", "missing_labels"]].copy()
    for label in call_labels(profile):
        named = events.loc[events["labels"].str.split("+").map(lambda labels: label in labels), "recording"] if len(events) else pd.Series(dtype=str)
        counts[label] = counts["recording"].map(named.value_counts()).fillna(0).astype(int)
    for column, mask in (("diphonic", events["diphonic"].astype(bool)), ("events", slice(None))):
        counts[column] = counts["recording"].map(events.loc[mask, "recording"].value_counts()).fillna(0).astype(int)
    return counts
