"""A folder of recordings, one after another, into one set of tables.

On disk, below the output folder:
- `parts/KEY.TABLE.parquet`: each recording's own tables. Their footers hold the fingerprint of everything that decides the result; a
  recording is done when all of its tables carry the same, present fingerprint, else it is done anew.
- `events.parquet`, `windows.parquet`, `levels.parquet`, `effort.parquet`: all parts joined, rewritten at the end of each run.
- `raven/KEY.Table.1.selections.txt`: a Raven selection table for each recording.
A run that was killed goes on where it stopped; a recording that cannot be read is noted in `effort` and the run goes on.
"""
from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from csv import Error as CsvError
from csv import reader
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.events import call_labels
from pipeline.provenance import provenance
from pipeline.single import PipelineResult, check_level_row, load, override, run_pipeline_single_audio
from pipeline.tables import EFFORT_TYPES, LEVEL_TYPES, TABLES, event_types, raven_table, read_provenance, typed, window_types, write_parquet, write_raven, write_text
from spectrogram import __version__
from spectrogram.names import parse_name, zone
from spectrogram.recording import EXTENSIONS, BadRecording, Recording
from spectrogram.sensitivity import checked

SAY_AT_MOST = 3  # times the same fault is said; every recording has its own in `effort`
OVERRIDES = ("file", "start_utc", "serial", "sensitivity_db")


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

    `file` is a recording's path below the input folder, or its name alone. A time without a zone is UTC.

    Raises
    ------
    ValueError
        naming the file, the line and the fault.
    """
    if path is None:
        return {}
    with open(path, encoding="utf-8-sig", newline="") as file:  # -sig: Excel's CSV begins with a mark
        try:
            lines = list(reader(file))
        except (UnicodeDecodeError, CsvError) as error:
            raise ValueError(f"{path}: not a CSV table in UTF-8 ({error}); save it as \"CSV UTF-8\", comma separated") from None
    columns = [name.strip() for name in lines[0]] if lines else []
    if "file" not in columns or set(columns) - set(OVERRIDES):
        raise ValueError(f"{path}: columns {columns}; expected `file` and any of {', '.join(OVERRIDES[1:])}, comma separated")
    overrides = {}
    for number, line in enumerate(lines[1:], start=2):
        if not any(value.strip() for value in line):
            continue
        try:
            if len(line) != len(columns):
                raise ValueError(f"{len(line)} values for {len(columns)} columns")
            given = {key: value.strip() for key, value in zip(columns, line) if value.strip()}
            name = given.pop("file", None)
            if name is None:
                raise ValueError("no file name")
            if "start_utc" in given:
                start = datetime.fromisoformat(given["start_utc"])
                given["start_utc"] = start.replace(tzinfo=timezone.utc) if start.tzinfo is None else start.astimezone(timezone.utc)
            if "sensitivity_db" in given:
                given["sensitivity_db"] = checked(given.get("serial", name), float(given["sensitivity_db"]))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}; write times as 2022-07-16T02:14:53Z and sensitivities as -176.3") from None
        overrides[name.replace("\\", "/")] = given
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
    chosen = override(model.thresholds, thresholds)
    check_level_row(level_row_s)
    clock = zone(clock or os.environ.get("TIMEZONE"))
    _make_folder(output_dir)
    names = [path.name if source.is_file() else path.relative_to(source).as_posix() for path in paths]
    strangers = sorted(set(given) - set(names) - {path.name for path in paths})
    if strangers:
        _say(f"{overrides}: no recording is called {', '.join(strangers)}; give paths below {source}, or file names")
    keys, said = [], Counter()
    for path, name in _progress(list(zip(paths, names)), progress):
        key, result, overridden = part_key(name), None, given.get(name, given.get(path.name, {}))
        keys.append(key)
        try:
            recording = Recording(path, channel, clock=clock, **overridden)
            made = provenance(recording, model.profile, chosen, model.model_id, {"level_row_s": level_row_s})
            done = not again and _done(output_dir, key, made["fingerprint"])
            if not done:
                result = run_pipeline_single_audio(recording, model, thresholds=thresholds, level_row_s=level_row_s, workers=workers, name=name)
        except Exception as error:  # whatever is wrong with one recording, those after it get their turn
            reason = _why(path, error)
            _say(reason)
            start_utc = overridden.get("start_utc") or parse_name(path.name, clock)[0]
            _save_failure(output_dir, key, _printable(name), channel, start_utc, reason, model)
            continue
        if result is not None:
            for fault in recording.faults:
                said[fault] += 1
                if said[fault] <= SAY_AT_MOST:
                    _say(f"{path}: {fault}")
            _save(result, output_dir, key)
        if raven and not (result is None and _raven_file(output_dir, key).exists()):
            events = pd.read_parquet(output_dir / "parts" / f"{key}.events.parquet") if result is None else result.events
            write_raven(raven_table(events, {name: recording.sample_rate_hz}), _raven_file(output_dir, key))
    for fault, times in said.items():
        if times > SAY_AT_MOST:
            _say(f"{times - SAY_AT_MOST} more recordings, named in {output_dir / 'effort.parquet'}: {fault}")
    tables = join_parts(output_dir, keys, model, chosen)
    if csv:
        for table, frame in tables.items():
            write_text(frame.to_csv(index=False, lineterminator="\n"), output_dir / f"{table}.csv")
    return summary(tables["effort"], tables["events"], model.profile)


def part_key(name: str) -> str:
    """A file name for a recording's parts: its path flattened, with a few hex digits so that no two meet."""
    flat = re.sub(r"[^A-Za-z0-9.\-]+", "_", name)
    return f"{flat[-100:]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:6]}"


def _progress(paths, show):
    from tqdm.auto import tqdm

    return tqdm(paths, unit="recording", disable=not show)


def _say(line: str) -> None:
    from tqdm.auto import tqdm

    tqdm.write(line)


def _why(path: Path, error: Exception) -> str:
    """One line for `effort`: file, fault, mend."""
    if isinstance(error, BadRecording):
        return str(error)
    if isinstance(error, UnicodeEncodeError):
        return f"{_printable(str(path))}: its name is not valid UTF-8; rename the file"
    if isinstance(error, OSError):
        return f"{path}: cannot be read any more ({error.strerror or error}); check the file and its disk, then run again"
    return f"{path}: could not be processed ({type(error).__name__}: {error}); run it alone with run_pipeline_single_audio to see where, and report it"


def _printable(name: str) -> str:
    """The name with a question mark for each byte that is not UTF-8."""
    return name.encode("utf-8", "replace").decode()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{folder}: the output folder cannot be made ({error.strerror or error}); choose another one") from None


def _done(output_dir: Path, key: str, fingerprint: str) -> bool:
    """True if all of the recording's tables are there and were made from the same input with the same settings."""
    try:
        return all(read_provenance(output_dir / "parts" / f"{key}.{table}.parquet").get("fingerprint") == fingerprint for table in TABLES)
    except (OSError, ValueError):  # missing, or damaged by a crash of the machine
        return False


def _raven_file(output_dir: Path, key: str) -> Path:
    return output_dir / "raven" / f"{key}.Table.1.selections.txt"


def _save(result: PipelineResult, output_dir: Path, key: str) -> None:
    """Write a recording's parts."""
    for table in TABLES:
        write_parquet(getattr(result, table), output_dir / "parts" / f"{key}.{table}.parquet", result.metadata["provenance"])


def _save_failure(output_dir: Path, key: str, name: str, channel: int, start_utc, reason: str, model) -> None:
    """Parts of a recording that could not be processed: empty tables, and an effort row that says why."""
    row = {"recording": name, "channel": channel, "start_utc": start_utc, "end_utc": start_utc, "duration_s": 0.0, "sample_rate_hz": 0, "status": "failed",
           "reason": reason, "gap_before_s": np.nan, "calibrated": False, "sensitivity_db": np.nan, "missing_labels": "+".join(model.profile.labels)}
    frames = {"events": typed(pd.DataFrame(), event_types(model.profile)), "windows": typed(pd.DataFrame(), window_types(model.profile)),
              "effort": typed(pd.DataFrame([row]), EFFORT_TYPES)}
    for old in (output_dir / "parts" / f"{key}.levels.parquet", _raven_file(output_dir, key)):  # of an earlier, better state of the file
        old.unlink(missing_ok=True)
    for table, frame in frames.items():
        write_parquet(frame, output_dir / "parts" / f"{key}.{table}.parquet", {"input": name, "model_id": model.model_id, "failed": reason})


def join_parts(output_dir: Path, keys: list[str], model, thresholds: dict) -> dict[str, pd.DataFrame]:
    """Join the parts of `keys` into the final tables, write them, and return them."""
    parts = {table: [pd.read_parquet(p) for key in keys if (p := output_dir / "parts" / f"{key}.{table}.parquet").exists()] for table in TABLES}
    joined = {table: pd.concat(frames, ignore_index=True) if frames else typed(pd.DataFrame(), LEVEL_TYPES)
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
    """Effort in order of time, each recording with the gap since the same recorder's last sound (negative: it overlaps an earlier
    recording, and its reason says so). Recorders are told apart by the serials in the names; without serials all count as one."""
    effort = effort.sort_values(["start_utc", "recording"], ignore_index=True)
    recorder = effort["recording"].map(lambda name: parse_name(name.rsplit("/", 1)[-1])[1] or "")
    ends = effort["end_utc"].groupby(recorder).cummax().groupby(recorder).shift()
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
