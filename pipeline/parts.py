"""One recording -> one set of tables -> one file.

A part, `parts/KEY.zip`, holds a recording's events, windows, levels and effort (Arrow streams); its footer (the archive's comment) says what made
it and carries the fingerprint. One file means one rename: all tables of a recording are there, or none. A recording that could not be processed has
a part as well, with empty tables and the reason in its effort row; `lasting` says that only another file could help.

`make_part` is the one function that a recording passes through, in this process or on any worker: it writes nothing, and the same job gives the
same tables, however often and wherever it is done.
"""
from __future__ import annotations

import hashlib
import io
import json
import os
import re
import threading
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.drafts import draft
from pipeline.fetching import Crowded, Near, OutOfRoom, bring
from pipeline.progress import shown
from pipeline.single import run_pipeline_single_audio
from pipeline.sources import GONE, Source, own_word_of, state_of
from pipeline.stretches import Stretch, pack_stretch
from pipeline.tables import EFFORT_TYPES, LEVEL_TYPES, TABLES, event_types, raven_table, region_types, typed, window_types, write_raven
from pipeline.time_limit import TookTooLong, within
from spectrogram.addresses import one_line
from spectrogram.dating import same_time
from spectrogram.recording import BadRecording, Recording

TIME_MEND = "see whether it and its disk can be read, then run again, with --time-limit-s SECONDS if it only needs longer"
CHANGED = "changed while it was worked on; run again when it is finished"
_ONE = threading.Lock()  # a process works on one recording; a second thread may meanwhile fetch the next


@dataclass(frozen=True)
class Job:
    """A recording to be done, or a stretch of one, with all that decides its tables.

    recording : serial, gain, recorder, folder, sensitivity_db, calibrated, start_utc as this run's tables of hydrophones and overrides have them; given : the
    overrides. made : the footer of its part. threads : how many work on it. denoise : as for `run_pipeline_single_audio`.
    time_limit_s : how long it may take to fetch it, and then to work on it. remark : a doubt that its effort row tells, whatever is found.
    """

    source: Source
    key: str
    channel: int
    clock: str | None
    given: dict
    recording: dict
    thresholds: dict
    level_row_s: int
    made: dict
    threads: int = 1
    denoise: str | None = None
    stretch: Stretch | None = None
    time_limit_s: float = float("inf")
    remark: str = ""

    @property
    def fingerprint(self) -> str:
        return self.made["fingerprint"]

    def bring(self, wanted=lambda: True) -> Near:
        """`pipeline.fetching.bring` for what of the recording is to be done."""
        return bring(self.source, wanted, self.stretch.share if self.stretch else (0.0, 1.0), self.time_limit_s)

    def open(self, path: Path, kind=None) -> Recording:
        """The recording that lies at `path`, with this run's start time and calibration."""
        recording = (kind or Recording)(path, self.channel, self.given.get("start_utc"), self.given.get("serial"),
                                        self.given.get("sensitivity_db"), self.clock, self.given.get("gain"))
        recording.folder, ours = self.recording["folder"], self.recording
        told_more = recording.calibrated and (not ours["calibrated"] or not same_time(recording.start_utc, ours["start_utc"]))
        same = (recording.serial, recording.gain) == (ours["serial"], ours["gain"])
        if "sensitivity_db" in self.given or (same and not told_more):  # else the file tells what its name does not
            recording.sensitivity_db, recording.calibrated = ours["sensitivity_db"], ours["calibrated"]
        return recording


@dataclass(frozen=True)
class Part:
    """A recording's tables, packed, and what to tell of it: failed (one line; "" if it was processed), faults of a processed one, its length.
    Of a stretch: what was made of it. postponed : why it was not worked on now (one line; "" if it was), for want of room; unless it
    failed for that, the run is at its end. stuck : the process that still works on it, though its time is up; 0: none. own : what a
    remote recording turned out to say of itself (serial, gain, start_utc), which nobody knew before."""

    key: str
    data: bytes = field(repr=False)
    failed: str = ""
    faults: tuple[str, ...] = ()
    sound_s: float = 0.0
    postponed: str = ""
    stuck: int = 0
    own: dict = field(default_factory=dict)


def part_key(name: str) -> str:
    """A file name for a recording's part: its path flattened, with a few hex digits so that no two meet."""
    flat = re.sub(r"[^A-Za-z0-9.\-]+", "_", name).lstrip(".")
    return f"{flat[-100:]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


def printable(name: str) -> str:
    """The name with a question mark for each byte that is not UTF-8."""
    return name.encode("utf-8", "replace").decode()


# ------------------------------------------------------------------------------------------------------------ making


def finish(job: Job, brought, model) -> Part:
    """The part of a recording that `brought()` brings near: whatever is wrong with it, those after it get their turn. It is `postponed` where the
    temporary folder is full."""
    where = job.source.where
    try:
        near = brought()
    except OutOfRoom as error:
        return Part(job.key, b"", postponed=str(error))
    except TookTooLong:
        return failed_part(job, f"{where}: not fetched within {job.time_limit_s:g} s; {TIME_MEND}", model.profile)
    except Exception as error:
        reason = f"{where}: cannot be fetched ({one_line(error)}); check the address and the connection, then run again"
        part = failed_part(job, reason, model.profile)
        return replace(part, postponed=f"{where}: {error}") if isinstance(error, Crowded) else part
    try:
        with _ONE:
            return within(job.time_limit_s, make_stretch if job.stretch else make_part, job, near, model)
    except TookTooLong as error:
        part = failed_part(job, f"{where}: not done within {job.time_limit_s:g} s; {TIME_MEND}", model.profile)
        return replace(part, stuck=os.getpid() if error.stuck else 0)
    finally:
        near.let_go()


def make_part(job: Job, near: Near, model) -> Part:
    """Process a recording that lies here; a fault is what its part says, never an exception."""
    if not job.source.remote:
        return _made_of(job, near, model)
    own = told_by(own_word_of(near.path))
    serial = job.given.get("serial") or own.get("serial") or job.recording["serial"]
    job = replace(job, recording=job.recording | {"recorder": serial or job.recording["recorder"]})
    return replace(_made_of(job, near, model), own=own)


def told_by(word) -> dict:
    """What of a file's own word (`spectrogram.metadata.OwnWord`) decides who recorded and how it is calibrated, as JSON holds it."""
    told = {"serial": word.serial, "gain": word.gain, "start_utc": word.start and word.start.isoformat()}
    return {key: value for key, value in told.items() if value}


def stamped(data: bytes, made: dict) -> bytes:
    """A part with another footer; what its own says of a failure stays."""
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        said = json.loads(archive.comment)
        archive.comment = json.dumps(made | {key: said[key] for key in ("failed", "lasting") if key in said}, sort_keys=True, default=str).encode()
    return buffer.getvalue()


def _made_of(job: Job, near: Near, model) -> Part:
    try:
        job.source.name.encode("utf-8")
        state = state_of(near.path)
        recording = job.open(near.path)
        threads = job.threads if job.threads > 1 else 0  # 0: all in this thread, so that a worker takes one core and no more
        result = run_pipeline_single_audio(recording, model, thresholds=job.thresholds, level_row_s=job.level_row_s, workers=threads, name=job.source.name,
                                           denoise=job.denoise, species=job.made["settings"].get("species") is not None)
        if result.metadata["denoise"] != job.made["settings"].get("denoise"):
            raise ValueError(f"the denoiser here is {result.metadata['denoise']}, the run's is {job.made['settings'].get('denoise')}; copy the same folder to every machine")
        if result.metadata["species"] != job.made["settings"].get("species"):
            raise ValueError(f"the species model here is {result.metadata['species']}, the run's is {job.made['settings'].get('species')}; copy the same folder to every machine")
    except Exception as error:
        lasting = isinstance(error, (BadRecording, UnicodeEncodeError)) and near.path.is_file() and _readable(near.path)
        return failed_part(job, _why(job, near, error), model.profile, lasting)
    return part_of(job, result, CHANGED if state_of(near.path) not in (state, (0, GONE)) else "")


def part_of(job: Job, result, doubt: str = "") -> Part:
    """A recording's result as its part; a doubt (of this making, or the job's own remark) makes it `partial`."""
    frames = {table: getattr(result, table) for table in TABLES}
    doubts = [line for line in (job.remark, doubt) if line]
    if doubts:
        reasons = ["; ".join(filter(None, [reason, *doubts])) for reason in result.effort["reason"]]
        frames["effort"] = result.effort.assign(status="partial", reason=reasons).astype({"status": "str", "reason": "str"})
    return Part(job.key, pack(frames, job.made), faults=(*result.recording.faults, *doubts), sound_s=float(result.effort["duration_s"].sum()))


def make_stretch(job: Job, near: Near, model) -> Part:
    """What can be made of a stretch of a recording by itself; whatever is wrong with it will be said when the recording is done whole."""
    try:
        data, sound_s = pack_stretch(job.stretch, lambda kind: job.open(near.path, kind), model, max(1, job.threads), job.fingerprint)
    except Exception as error:
        return Part(job.key, b"", failed=_why(job, near, error))
    return Part(job.key, data, sound_s=sound_s)


def _readable(path: Path) -> bool:
    """Whether the system gives the file out at all: then a fault is in the file, and trying again does not help."""
    try:
        with open(path, "rb") as file:
            file.read(1)
        return True
    except OSError:
        return False


def _why(job: Job, near: Near, error: Exception) -> str:
    """One line for `effort`: file, fault, mend."""
    where = printable(job.source.where)
    if isinstance(error, BadRecording):
        return printable(str(error)).replace(str(near.path), where)
    if isinstance(error, UnicodeEncodeError):
        return f"{where}: its name is not valid UTF-8; rename the file"
    if isinstance(error, OSError):
        return f"{where}: cannot be read any more ({error.strerror or error}); check the file and its disk, then run again"
    return f"{where}: could not be processed ({type(error).__name__}: {error}); run it alone with run_pipeline_single_audio to see where, and report it"


def failed_part(job: Job, reason: str, profile, lasting: bool = False) -> Part:
    """Empty tables, and an effort row that says why."""
    reason = shown(printable(reason))
    start_utc = job.recording["start_utc"]
    row = {"recording": printable(job.source.name), "recorder": job.recording["recorder"], "channel": job.channel, "start_utc": start_utc, "end_utc": start_utc,
           "duration_s": 0.0, "listened_s": 0.0, "unlistened": "", "sample_rate_hz": 0,
           "status": "failed", "reason": reason, "gap_before_s": np.nan, "calibrated": False, "sensitivity_db": np.nan,
           "missing_labels": "+".join(profile.labels)}
    frames = {"events": typed(pd.DataFrame(), event_types(profile)), "regions": typed(pd.DataFrame(), region_types(profile)), "windows": typed(pd.DataFrame(), window_types(profile)),
              "levels": typed(pd.DataFrame(), LEVEL_TYPES), "effort": typed(pd.DataFrame([row]), EFFORT_TYPES)}
    return Part(job.key, pack(frames, job.made | {"failed": reason, "lasting": lasting}), failed=reason)


# ------------------------------------------------------------------------------------------------------------ the file


def pack(frames: dict, made: dict) -> bytes:
    """Tables (DataFrames, or as Arrow has them) and footer as the bytes of a part."""
    import pyarrow as pa

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for table, frame in frames.items():
            arrow = pa.Table.from_pandas(frame, preserve_index=False) if isinstance(frame, pd.DataFrame) else frame
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, arrow.schema) as stream:
                stream.write_table(arrow)
            archive.writestr(zipfile.ZipInfo(f"{table}.arrow"), sink.getvalue(), zipfile.ZIP_DEFLATED, 1)  # without a time: same tables, same bytes
        archive.comment = json.dumps(made, sort_keys=True, default=str).encode()
    return buffer.getvalue()


def read_footer(path: Path) -> dict:
    """What made a part; an empty dict where there is none, or it was damaged by a crash of the machine."""
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.comment or b"{}")
    except (OSError, zipfile.BadZipFile, ValueError):
        return {}


class PartFile:
    """A part opened for reading: path, or its bytes.

    >>> with PartFile("parts/6872.220716021453.wav-1f2e3d4c.zip") as part:      # doctest: +SKIP
    ...     part.table("events").to_pandas()
    """

    def __init__(self, part: Path | bytes):
        self.archive = zipfile.ZipFile(io.BytesIO(part) if isinstance(part, bytes) else part)

    def __enter__(self) -> "PartFile":
        return self

    def __exit__(self, *_) -> None:
        self.archive.close()

    @property
    def made(self) -> dict:
        return json.loads(self.archive.comment or b"{}")

    def table(self, name: str):
        """One of TABLES, as an Arrow table. BadZipFile where the file is damaged."""
        return self._stream(name).read_all()

    def schema(self, name: str):
        return self._stream(name).schema

    def _stream(self, name: str):
        import pyarrow as pa

        return pa.ipc.open_stream(self.archive.read(f"{name}.arrow"))


def write_part(part: Part, path: Path) -> None:
    """Write it whole; with the rename the recording is done."""
    with draft(path) as unfinished:
        unfinished.write_bytes(part.data)


def write_raven_of(part: Path | bytes, path: Path) -> None:
    """The Raven selection table of a part; none for a recording that could not be processed."""
    with PartFile(part) as opened:
        effort, events = opened.table("effort").to_pandas(), opened.table("events").to_pandas()
    if effort["status"].iloc[0] == "failed":
        path.unlink(missing_ok=True)  # of an earlier, better state of the file
    else:
        write_raven(raven_table(events, dict(zip(effort["recording"], effort["sample_rate_hz"])), calibrated=effort["calibrated"]), path)
