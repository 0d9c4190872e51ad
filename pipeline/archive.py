"""An output folder and the run that fills it: what is done, what is to do, and how what comes back is kept.

On disk, below the output folder:
- `parts/KEY.zip`: each recording's own tables (`pipeline.parts`). The file is the done mark: a recording is done when its part carries the fingerprint
  of this run, else it is done anew.
- `parts/stretches/`: what was made of stretches of long recordings, until their parts are written (`pipeline.splitting`).
- `parts/claims/`: who works on what now (`pipeline.claims`).
- `raven/KEY.Table.1.selections.txt`: a Raven selection table for each recording.
- `events.parquet`, `windows.parquet`, `levels.parquet`, `effort.parquet`: all parts joined (`pipeline.join`), rewritten at the end of each run: also
  those of recordings that are no longer there (`pipeline.earlier`).
Nothing is written through a link that leads out of the folder, and file names are made from recordings' names so that they cannot.
"""
from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pandas as pd

from pipeline.claims import Claims
from pipeline.drafts import drafts_in
from pipeline.earlier import EarlierRuns, part_file, raven_file
from pipeline.fetching import OutOfRoom, local_name
from pipeline.fingerprint import code_hash, footer, what_changed
from pipeline.join import PartChanged, join_parts
from pipeline.overrides import given_for
from pipeline.parts import Job, Part, part_key, printable, read_footer, stamped, told_by, write_part, write_raven_of
from pipeline.runs import enter
from pipeline.sources import Source, own_word_of
from pipeline.time_limit import limit_of
from spectrogram import __version__
from spectrogram.names import in_utc, parse_name
from spectrogram.recording import NO_SERIAL
from spectrogram.sensitivity import HYDROPHONE_SENSITIVITY

SAY_AT_MOST = 3  # times the same fault is said; every recording has its own in `effort`
LOOK_S = 1.0     # between two looks at recordings that another run has claimed
JOIN = "join"    # the claim of who writes the final tables; no recording's key is so short


class Archive:
    """See the module's docstring.

    Parameters
    ----------
    settings : channel, level_row_s, denoise (its name). species : who gives `species_score`, or None. denoise : as the user gave it. overrides : of `read_overrides`. say : prints a line.
    time_limit_s : how long a recording may take; none: `pipeline.time_limit.limit_of` its size.
    gone : what becomes of recordings that the input lacks, see `pipeline.earlier`.

    Raises
    ------
    OtherSettings
        where a run with other settings is at work in the folder.
    """

    def __init__(self, folder: Path, model, thresholds: dict, settings: dict, clock, overrides: dict, raven: bool, again: bool, say=print, denoise=None,
                 time_limit_s: float | None = None, gone: str | None = None, species=None):
        settings = settings | {"species": species and species.model_id}
        self.species = species
        self.folder, self.model, self.thresholds, self.settings, self.clock, self.denoise = folder, model, thresholds, settings, clock, denoise
        self.overrides, self.raven, self.again, self.say, self.time_limit_s = overrides, raven, again, say, time_limit_s
        self.said: Counter = Counter()
        self._redone: set[str] = set()  # keys that `again` asks for and that are done by now
        self.earlier = EarlierRuns(folder, model.profile, {"thresholds": thresholds, "model_id": model.model_id, "code": code_hash()}, gone, say)
        self._make_folders()
        self.claims = Claims(folder / "parts" / "claims", say)
        enter(self.claims, settings | {"model": model.model_id, "profile": model.profile.hash(), "thresholds": thresholds, "code": code_hash(), "clock": str(clock),
                                       "overrides": overrides})
        self._sweep()

    def _make_folders(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in ("parts", "parts/claims", "parts/stretches", "raven"):
                if not (self.folder / name).resolve().is_relative_to(self.folder.resolve()):
                    raise OSError(None, "it leads to " + str((self.folder / name).resolve()))
        except OSError as error:
            raise OSError(f"{self.folder}: the output folder cannot be made ({error.strerror or error}); choose another one") from None

    def _sweep(self) -> None:
        """Remove drafts that killed runs left. Whoever still writes one has claimed it."""
        for folder in (self.folder, self.folder / "parts", self.folder / "parts" / "stretches", self.folder / "raven"):
            for path in drafts_in(folder):
                key = JOIN if folder == self.folder else path.name[1:].split(".zip.")[0].split(".Table.1.")[0].split(".stretch-")[0]
                if self.claims.take(key):
                    with suppress(OSError):
                        path.unlink()
                    self.claims.free(key)

    def _sweep_stretches(self) -> None:
        """Remove stretches of recordings that nobody works on: they were done whole, or are no longer there."""
        folder = self.folder / "parts" / "stretches"
        for path in folder.glob("*.stretch-*.zip"):
            key = path.name.split(".stretch-")[0]
            if not self.claims.holds(key) and self.claims.take(key):
                path.unlink(missing_ok=True)
                self.claims.free(key)
        with suppress(OSError):
            folder.rmdir()

    # -------------------------------------------------------------------------------------------- what is to do

    def job(self, source: Source, own: dict | None = None) -> Job:
        """A recording with all that decides its tables. `own` : what it says of itself (`parts.told_by`); none: a remote one is not asked,
        its worker will be."""
        if own is None:
            own = {} if source.remote else told_by(own_word_of(Path(source.where)))
        given = given_for(self.overrides, source.name)
        start_utc, by_name = parse_name(local_name(source.name), self.clock)
        own_start = datetime.fromisoformat(own["start_utc"]) if "start_utc" in own else None
        if own_start is not None and own_start.tzinfo is None:
            own_start = in_utc(own_start, self.clock)
        start_utc = given.get("start_utc") or own_start or start_utc
        serial, gain = given.get("serial") or own.get("serial") or by_name, given.get("gain") or own.get("gain")
        known = by_name if "serial" not in given and serial not in HYDROPHONE_SENSITIVITY else serial
        sensitivity_db, calibrated = HYDROPHONE_SENSITIVITY.get(known, start_utc, gain)
        if "sensitivity_db" in given:
            sensitivity_db, calibrated = given["sensitivity_db"], True
        recording = {"start_utc": start_utc, "serial": serial, "gain": gain, "sensitivity_db": sensitivity_db, "calibrated": calibrated,
                     "folder": source.folder, "recorder": serial or source.folder or NO_SERIAL}
        made = footer(source, recording, self.settings, self.thresholds, self.model) | ({"own": own} if source.remote and own else {})
        return Job(source, part_key(source.name), self.settings["channel"], str(self.clock), given, recording, self.thresholds, self.settings["level_row_s"], made, denoise=self.denoise,
                   time_limit_s=limit_of(source.size, self.time_limit_s))

    def told(self, job: Job, found: dict) -> Job:
        """A remote job with what its part's footer tells that the recording, in this state, says of itself."""
        state = (job.source.size, job.source.changed)
        same = job.source.remote and "own" in found and (found.get("input_size"), found.get("input_changed")) == state
        return replace(job, made=self.job(job.source, found["own"]).made) if same else job

    def part(self, job: Job) -> Path:
        return part_file(self.folder, job.key)

    def raven_file(self, job: Job) -> Path:
        return raven_file(self.folder, job.key)

    def stretch_file(self, key: str, stretch) -> Path:
        return self.folder / "parts" / "stretches" / f"{key}.stretch-{stretch}.zip"

    def stretches_of(self, key: str) -> list[Path]:
        """What was made of a recording's stretches."""
        return sorted((self.folder / "parts" / "stretches").glob(f"{key}.stretch-*.zip"))

    def is_done(self, job: Job, found: dict | None = None) -> bool:
        """True if its part was made from the same input with the same settings, and it is no failure that another try could mend."""
        if self.again and job.key not in self._redone:
            return False
        found = read_footer(self.part(job)) if found is None else found
        return found.get("fingerprint") == self.told(job, found).fingerprint and (found.get("lasting", True) or job.key in self._redone)

    def to_do(self, jobs: list[Job]) -> list[Job]:
        """Those that are not done; says what is done anew and why, which failed before, and which of earlier runs are not among them.

        Raises
        ------
        OtherInput
            where the folder holds recordings of another input, before anything is done.
        """
        todo, anew, failed = [], Counter(), 0
        for job in jobs:
            found = read_footer(self.part(job))
            self.earlier.note(job, found)
            if self.is_done(job, found):
                failed += "failed" in found
                self.raven_if_missing(job)
                continue
            todo.append(job)
            made = self.told(job, found).made
            if found and not self.again and found.get("fingerprint") != made["fingerprint"]:
                anew[what_changed(found, made)] += 1
        self.earlier.check(jobs)
        for why, times in anew.items():
            self.say(f"{times} recordings are done anew: {why} changed since they were done")
        if failed:
            self.say(f"{failed} recordings failed before and have not changed; {self.folder / 'effort.parquet'} names them, --again tries them again")
        return todo

    def look_back(self, jobs: list[Job], root: str) -> None:
        """As `to_do`, but for a live folder, `root`, which may be empty: only what earlier runs left is looked at."""
        for job in jobs:
            self.earlier.note(job, read_footer(self.part(job)))
        self.earlier.check(jobs, root)

    def raven_if_missing(self, job: Job) -> None:
        """Raven tables come also for recordings that were done without."""
        path = self.raven_file(job)
        if self.raven and not path.exists() and "failed" not in read_footer(self.part(job)):
            write_raven_of(self.part(job), path)

    def claimed(self, jobs: Iterable[Job | None], elsewhere=lambda job: None) -> Iterator[Job | None]:
        """Those of the jobs that are ours to do. What another run works on is looked after again and again: it may die before it is done.

        None: nothing just now; ask again. `elsewhere` is told of each that another run did.
        """
        jobs, more, others, looked = iter(jobs), True, [], 0.0
        while more or others:
            job = next(jobs, self) if more else None
            if job is self:
                more = False
                if others:
                    self.say(f"another run works on {len(others)} of the recordings; waiting for it")
            elif job is not None:
                if not self.claims.take(job.key):
                    others.append(job)
                elif self._still_to_do(job, elsewhere):
                    yield job
            elif others and time.monotonic() - looked > LOOK_S:
                looked = time.monotonic()
                free = [job for job in others if self.claims.take(job.key)]
                others = [job for job in others if job not in free]
                yield from [job for job in free if self._still_to_do(job, elsewhere)]
            else:
                yield None

    def _still_to_do(self, job: Job, elsewhere) -> bool:
        """False, and our claim given back, if another run did it before we came to it."""
        if not self.is_done(job):
            return True
        self.claims.free(job.key)
        elsewhere(job)
        return False

    # -------------------------------------------------------------------------------------------- what comes back

    def keep(self, part: Part, job: Job) -> None:
        """Write a recording's Raven table and then its part, which marks it done; say its faults. Nothing is written over what was found before in one that
        has vanished.

        Raises
        ------
        OutOfRoom
            for one that was not worked on for want of room in the temporary folder. CannotWrite: its tables cannot be written.
        """
        if part.postponed and not part.failed:
            raise OutOfRoom(part.postponed)
        if part.failed:
            self.say(part.failed)
            found = read_footer(self.part(job))
            if job.source.vanished and found and "failed" not in found:
                self.earlier.vanished.add(job.key)
                self.claims.free(job.key)
                return
        for fault in part.faults:
            self.said[fault] += 1
            if self.said[fault] <= SAY_AT_MOST:
                self.say(f"{printable(job.source.where)}: {fault}")
        if self.raven or part.failed:
            write_raven_of(part.data, self.raven_file(job))
        if part.own:
            part = replace(part, data=stamped(part.data, self.job(job.source, part.own).made))
        write_part(part, self.part(job))
        for path in self.stretches_of(job.key):
            path.unlink(missing_ok=True)
        self._redone.add(job.key)
        self.claims.free(job.key)

    def join(self, jobs: list[Job], csv: bool, listed: set[str] = frozenset()) -> pd.DataFrame:
        """Write the final tables; return the summary. Waits while another run writes them.

        Parameters
        ----------
        jobs : what was done, now or before. listed : names of what else the input holds.

        Raises
        ------
        PartChanged
            where a part is missing, or was made with other settings meanwhile.
        """
        for fault, times in self.said.items():
            if times > SAY_AT_MOST:
                self.say(f"{times - SAY_AT_MOST} more recordings, named in {self.folder / 'effort.parquet'}: {fault}")
        self.said.clear()
        self._sweep_stretches()
        jobs = [self.told(job, read_footer(self.part(job))) if job.source.remote else job for job in jobs]
        while not self.claims.take(JOIN):
            time.sleep(LOOK_S)
        try:
            return self._joined(jobs, csv, listed)
        except PartChanged:  # by a run that found a file in a newer state, perhaps
            return self._joined([self._renewed(job) for job in jobs], csv, listed)
        finally:
            self.claims.free(JOIN)

    def _joined(self, jobs: list[Job], csv: bool, listed: set[str]) -> pd.DataFrame:
        profile = self.model.profile
        parts, marks = self.earlier.parts(jobs, listed)
        made = {"model_id": self.model.model_id, "profile": profile.name, "profile_hash": profile.hash(), "thresholds": self.thresholds,
                "code_version": __version__, "settings": self.settings, "parts": len(parts)}
        return join_parts(self.folder, parts, made, profile, csv, marks=marks)

    def _renewed(self, job: Job) -> Job:
        """The job as another run did it, if only the file had changed."""
        found = read_footer(self.part(job))
        return replace(job, made=found) if found and set(what_changed(found, job.made).split(", ")) <= {"the file", "its log"} else job
