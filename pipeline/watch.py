"""A live folder: its recordings are taken up as a recorder finishes them, until Ctrl-C, and the
tables are kept fresh meanwhile.

A file that changes while it is worked on is taken up again when it has rested; nothing that was
made of its earlier state is kept. A place that cannot be reached, and a
disk that is full (the output's, or the temporary folder's into which remote recordings are
fetched), are waited for: each is said, and said again now and then.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from pipeline.archive import Archive
from pipeline.drafts import RUN_AGAIN
from pipeline.earlier import by_path
from pipeline.fetching import OutOfRoom
from pipeline.join import PartChanged
from pipeline.parts import Job, Part, printable
from pipeline.progress import say
from pipeline.ripening import SETTLE_S, UNFINISHED, Ripening
from pipeline.sources import Source, list_recordings
from pipeline.splitting import Splitter

LIST_S = 5.0  # between two looks at the folder, at most
JOIN_SHARE = 0.1  # of the time at most goes into joining tables anew
SAY_AGAIN_S = 600.0  # until the same trouble is said again ...
PASSED_S = 30.0  # ... or so long after it was said, when it has passed meanwhile


@contextmanager
def ctrl_c() -> Iterator[threading.Event]:
    """Whether Ctrl-C was pressed, also where its exception came up in a destructor, in which Python
    loses it."""
    pressed = threading.Event()

    def press(*_) -> None:
        pressed.set()
        raise KeyboardInterrupt

    in_main = threading.current_thread() is threading.main_thread()
    ours = in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


class Watch:
    """Watches a folder, a bucket or a web folder.

    Parameters
    ----------
    archive, splitter : which keep what comes back. settle_s : how long a file must have rested.
        csv : also write CSV tables.
    """

    def __init__(
        self,
        input_dir,
        archive: Archive,
        splitter: Splitter,
        settle_s: float = SETTLE_S,
        csv: bool = False,
    ):
        self.input_dir, self.archive, self.splitter, self.csv, self.settle_s = (
            input_dir,
            archive,
            splitter,
            csv,
            settle_s,
        )
        self.ripening = Ripening(settle_s)
        self.finished: dict[str, Job] = {}
        self.in_work: set[str] = set()  # names of what was handed out and has not come back
        self.listed: set[str] = set()
        self._fresh, self._joined, self._cost_s = False, time.monotonic(), 0.0
        self._said: dict[str, float] = {}

    def run(self, done: Callable) -> list[Job]:
        """Until Ctrl-C. Returns what is done, for the last joining.

        `done(jobs, elsewhere, keep)` gives jobs to the workers and yields (job, part) as they come
        back, (None, None) when nothing is new; it calls `keep(part, job)` for
        what came, and `elsewhere(job)` for what another run did.
        """
        say(f"watching {self.input_dir}; Ctrl-C ends it")
        with ctrl_c() as pressed:
            try:
                for job, part in done(self._arriving(), self._elsewhere, self._keep):
                    if pressed.is_set():
                        raise KeyboardInterrupt
                    if job is not None and not job.stretch:
                        self._came_back(job, part)
                    if self._fresh and time.monotonic() - self._joined > self._cost_s / JOIN_SHARE:
                        self._join()
            except KeyboardInterrupt:
                say("stopped; the tables are brought up to date")
        return self.in_order()

    def _arriving(self) -> Iterator[Job | None]:
        while True:
            sources = self._list()
            for source, whole in self.ripening.ready(
                [source for source in sources if source.name not in self.in_work], time.monotonic()
            ):
                if source.changed_since:  # while others were handed out
                    self.ripening.forget(source.name)
                    continue
                job = self.archive.job(source)
                job = job if whole else replace(job, remark=UNFINISHED)
                try:
                    if self.archive.is_done(job):
                        self.archive.raven_if_missing(job)
                        self._note(job)
                        continue
                    self.archive.claims.take(job.key)  # if another run has it, it is looked after
                except OSError as error:
                    self._trouble(error, source.name)
                    continue
                self.in_work.add(source.name)
                yield job
            until = time.monotonic() + min(self.settle_s / 2, LIST_S)
            while time.monotonic() < until:
                yield None

    def _list(self) -> list[Source]:
        try:
            sources = list_recordings(self.input_dir)
        except OSError as error:
            self._trouble(error)
            return []
        self.listed = {source.name for source in sources}
        for name in self.finished.keys() - self.listed:
            del self.finished[name]  # its rows stay, as those of earlier runs
            self._fresh = True
        return sources

    def _elsewhere(self, job: Job) -> None:
        self.in_work.discard(job.source.name)
        self._note(job)

    def _note(self, job: Job) -> None:
        self.finished[job.source.name], self._fresh = job, True

    def _keep(self, part: Part, job: Job) -> None:
        """Keep a part, unless its file has changed or vanished since it was handed out, or it
        cannot be written now: then it is taken up again."""
        try:
            if part.postponed:
                raise OutOfRoom(part.postponed)
            if job.stretch:
                return self.splitter.keep(part, job)
            if not job.source.changed_since:
                self.archive.keep(part, job)
                self._passed()
                return None
        except OSError as error:
            self._trouble(error, job.source.name)
            if job.stretch:  # done whole instead, when there is room
                return self.splitter.keep(replace(part, failed=str(error)), job)
        self.archive.claims.free(job.key)
        self.ripening.forget(job.source.name)

    def _passed(self) -> None:
        """Tables can be written: what stood in the way has passed, and is said when it comes again."""
        now = time.monotonic()
        self._said = {what: at for what, at in self._said.items() if now - at < PASSED_S}

    def _came_back(self, job: Job, part: Part) -> None:
        self.in_work.discard(job.source.name)
        if self.archive.is_done(job):
            self._note(job)
            say(
                f"{printable(job.source.name)}: "
                + ("failed" if part.failed else f"{part.sound_s:.0f} s done")
            )
        elif job.source.vanished:
            say(f"{printable(job.source.name)}: vanished while it was worked on")
        elif job.source.changed_since:
            say(
                f"{printable(job.source.name)}: changed while it was worked on; "
                "it is taken up again when it has rested"
            )

    def _join(self) -> None:
        began, self._fresh = time.monotonic(), False
        try:
            self.archive.join(self.in_order(), self.csv, self.listed)
        except (OSError, PartChanged) as error:
            self._trouble(error)
            self._fresh = True
        self._joined = time.monotonic()
        self._cost_s = max(self._joined - began, LIST_S * JOIN_SHARE * self._fresh)

    def in_order(self) -> list[Job]:
        """What is done, without what somebody took away meanwhile: that is done again."""
        for name, job in list(self.finished.items()):
            if not self.archive.part(job).exists():
                del self.finished[name]
                self.ripening.forget(name)
        return [self.finished[name] for name in sorted(self.finished, key=by_path)]

    def _trouble(self, error: Exception, name: str = "") -> None:
        """Say it, unless it was said a while ago, of another recording perhaps, as a full disk is;
        the recording `name` is taken up again."""
        if name:
            self.ripening.forget(name)
        fault = getattr(error, "fault", None)
        what = str(error) if fault is None else f"{type(error).__name__} {fault}"
        now = time.monotonic()
        if now - self._said.get(what, now - SAY_AGAIN_S) >= SAY_AGAIN_S:
            self._said[what] = now
            say(f"{str(error).removesuffix(RUN_AGAIN)}; trying again")
