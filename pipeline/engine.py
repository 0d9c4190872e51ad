"""Who does the work: this process, local workers, or a Dask cluster. The same function, the same tables.

An engine is given recordings to do, one by one as it has hands for them, and yields their parts as they are finished, in any order. `None` among the
recordings means "none just now, ask again"; `None` among the parts means "nothing new just now".

A worker is a process that works on one recording at a time, on one core, with the model loaded once. Workers of a cluster read the recordings
themselves (from an address, or a path that is the same everywhere) and write nothing: parts come back to this process, the only one that writes the
output.

Whoever reaches a worker's port can run code there. Local workers listen to this machine alone and to nobody without this run's certificate
(`pipeline.local_workers`). A cluster is as safe as it was set up: with tls:// and certificates, or in a network that nobody else can enter.

What an engine is given may also be a stretch of a long recording (`pipeline.splitting`): to an engine it is one more piece of work.
"""
from __future__ import annotations

import logging
import socket
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from urllib.parse import urlsplit

from pipeline.fingerprint import code_hash
from pipeline.local_workers import LocalWorkers, sensible_workers
from pipeline.parts import Job, Part, failed_part, finish
from pipeline.pool import HelpingPool
from pipeline.progress import say
from pipeline.worker import ModelRef, NoWorkers, work
from spectrogram.addresses import one_line

PAUSE_S = 0.3          # between two looks for something to do
LOOK_S = 2.0           # between two looks at who is there
CONNECT_S = 20.0       # until a scheduler must have answered
START_S = 300.0        # until workers must have come
ANSWER_S = 300.0       # until a scheduler that was there must have answered
SMALL_BYTES = 400e6    # less than this is done before workers would have started
MOST_THREADS = 4       # on one recording: more stand in each other's way
OPEN = ("this scheduler is on another machine and speaks without encryption: whoever reaches its port, or a worker's, can read along and run code there; "
        "set it up with tls:// and certificates, see \"A season of recordings\" in README.md")
NO_CERTIFICATE = ("a scheduler with TLS lets in who has a certificate; let DASK_DISTRIBUTED__COMM__TLS__CA_FILE, DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT and "
                  "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY in .env name the files")


# ------------------------------------------------------------------------------------------------------------ in this process


class ThisProcess:
    """Does the work here; the next recording is fetched meanwhile."""

    workers = 1

    def __init__(self, model, threads: int = 1):
        self.model, self.threads, self._stop = model, threads, False

    def __enter__(self) -> "ThisProcess":
        return self

    def __exit__(self, *_) -> None:
        self._stop = True

    def parts(self, jobs: Iterable[Job | None]) -> Iterator[Part | None]:
        jobs, waiting, more = iter(jobs), deque(), True
        pool = HelpingPool(2)  # of which only the other thread fetches
        try:
            while more or waiting:
                while more and len(waiting) < 2:
                    job = next(jobs, self)
                    more = job is not self
                    if not more or job is None:
                        break
                    job = replace(job, threads=self.threads)
                    waiting.append((job, pool.submit(job.bring, lambda: not self._stop)))
                if waiting:
                    job, brought = waiting.popleft()
                    part = finish(job, partial(_brought, brought), self.model)
                    if part.stuck:
                        say(f"{job.source.where}: could not be stopped, and may take a core until this run ends")
                    yield part
                elif more:
                    yield None
                    time.sleep(PAUSE_S)
        finally:
            self._stop = True
            pool.shutdown(wait=False)  # a server that does not answer keeps nobody who leaves
            for _, brought in waiting:
                brought.add_done_callback(_let_go)


def _brought(task: Future):
    """What a fetching thread brings. Waits a moment at a time, so that Ctrl-C breaks it on Windows too."""
    while not wait([task], PAUSE_S).done:
        pass
    return task.result()


def _let_go(task: Future) -> None:
    with suppress(Exception):
        task.result().let_go()


# ------------------------------------------------------------------------------------------------------------ Dask


class Cluster:
    """Workers of a Dask scheduler: somebody's (`scheduler`: address or Client), or our own `workers` processes on this machine.

    Raises
    ------
    NoWorkers
        where none come.
    """

    def __init__(self, ref: ModelRef, profile, workers: int = 0, threads: int = 1, fetch: bool = False, scheduler=None):
        self.ref, self.profile, self.threads = ref, profile, threads
        self.local = LocalWorkers(workers, 2 if fetch else 1) if scheduler is None else None
        self.address = self.local.address if self.local else scheduler
        self.client, self._mine, self._gone = None, True, False
        self._looked, self._seen, self._wanted = -LOOK_S, time.monotonic(), 2

    def __enter__(self) -> "Cluster":
        from distributed import Client, Security

        try:
            if isinstance(self.address, str):
                if not self.local and self.address.startswith("tls://") and not Security().tls_client_cert:
                    raise NoWorkers(f"{self.address}: {NO_CERTIFICATE}")
                for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
                    logging.getLogger(name).setLevel(logging.CRITICAL)  # a scheduler that goes is said in one line, ours
                try:
                    security = self.local.security if self.local else None  # None: as DASK_DISTRIBUTED__COMM__TLS__… say
                    self.client = Client(self.address, timeout=CONNECT_S, set_as_default=False, security=security)
                except (OSError, TimeoutError, ValueError) as error:
                    raise NoWorkers(f"{self.address}: no Dask scheduler answers ({error or type(error).__name__}); start one with `dask scheduler`, or give "
                                    "another address") from None
            else:
                self.client, self._mine = self.address, False
            if in_the_open(self.client.scheduler.address):
                say(f"{self.client.scheduler.address}: {OPEN}")
            self._await_workers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        if self.client is not None and self._mine:
            with suppress(Exception):
                self.client.close(timeout=5)
        if self.local:
            self.local.close()

    @property
    def workers(self) -> int:
        return len(self.client.nthreads())

    def _await_workers(self) -> None:
        until = time.monotonic() + START_S
        while not (n := self.workers) or (self.local and n < self.local.n):
            if self.local:
                self.local.replace_lost()
            if time.monotonic() > until:
                raise NoWorkers(f"{self.address}: no workers came within {START_S:.0f} s; start some with `dask worker {self.address} --nthreads 2`, in this "
                                "project's environment on each machine")
            time.sleep(0.1)

    def parts(self, jobs: Iterable[Job | None]) -> Iterator[Part | None]:
        jobs, more, running, code = iter(jobs), True, {}, code_hash()
        try:
            while more or running:
                wanted = self._hands()
                while more and len(running) < wanted:
                    job = next(jobs, self)
                    more = job is not self
                    if not more or job is None:
                        break
                    if self.local and not job.source.remote:
                        job.bring()  # the disk reads ahead for the worker
                    running[self.client.submit(work, replace(job, threads=self.threads), self.ref, code, key=task_name(job), pure=False)] = job
                finished = self._finished(list(running))
                for future in finished:
                    yield self._part(future, running.pop(future))
                if not finished and (running or more):
                    yield None
        finally:
            with suppress(Exception):
                if not self._gone:
                    self.client.cancel(list(running), force=True)

    def _finished(self, running: list) -> list:
        """Those of the futures that are done; waits a moment for the first."""
        from distributed import CancelledError
        from distributed import wait as wait_for

        if not running:
            time.sleep(PAUSE_S)
            return []
        try:
            with self.client.as_current():
                return list(wait_for(running, timeout=PAUSE_S, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            return []
        except CancelledError:
            raise self._lost() from None

    def _hands(self) -> int:
        """How many recordings to keep with the workers: as many as they have threads, and one more for each, so that none waits for us."""
        now = time.monotonic()
        if now - self._looked > LOOK_S:
            if self.local:
                self.local.replace_lost()
            try:
                threads = self.client.sync(self.client.scheduler.ncores, callback_timeout=ANSWER_S)
            except (OSError, TimeoutError):
                raise self._lost() from None
            if threads:
                self._seen = now
            elif now - self._seen > START_S:
                raise NoWorkers(f"{self.address}: no worker is left; start some and run again: finished recordings are kept")
            self._looked, self._wanted = now, max(2, sum(threads.values()) + len(threads))
        return self._wanted

    def _lost(self) -> NoWorkers:
        self._gone = True
        return NoWorkers(f"{self.address}: the scheduler was lost; run again: finished recordings are kept")

    def _part(self, future, job: Job) -> Part:
        from distributed import CancelledError, KilledWorker

        try:
            part = future.result()
            if part.stuck and self.local:
                self.local.replace(part.stuck)
            return part
        except CancelledError:
            raise self._lost() from None
        except KilledWorker:
            reason = f"{job.source.where}: the workers that processed it died, probably of too little memory; run again with fewer workers"
            return failed_part(job, reason, self.profile)
        except (ModuleNotFoundError, RuntimeError) as error:  # Dask wraps the scheduler's trouble so
            raise NoWorkers(f"{self.address}: scheduler or workers do not understand what they are asked ({one_line(error)}); start them in this project's environment, "
                            "as it is on this machine") from None


def in_the_open(address: str) -> bool:
    """True for a scheduler on another machine that speaks without encryption.

    >>> in_the_open("tcp://127.0.0.1:8786"), in_the_open("tls://203.0.113.7:8786"), in_the_open("tcp://203.0.113.7:8786")
    (False, False, True)
    """
    parts = urlsplit(address)
    if parts.scheme not in ("tcp", "ws"):
        return False
    import psutil

    ours = {entry.address.split("%")[0] for entries in psutil.net_if_addrs().values() for entry in entries}
    try:
        found = {entry[4][0].split("%")[0] for entry in socket.getaddrinfo(parts.hostname, None)}
    except OSError:
        return True
    return not all(ip_address(host).is_loopback or host in ours for host in found)


def task_name(job: Job) -> str:
    """What Dask calls this piece of work: every one anew, and all of one kind.

    Dask takes what stands before the hexadecimal digits for the kind, learns how long a piece of it takes, and gives the next to the worker with the
    least before it. With a kind for each recording it knew nothing, and two equal workers did five recordings and three.
    """
    return f"{'stretch' if job.stretch else 'recording'}-{uuid.uuid4().hex[:8]}-{job.key}"


# ------------------------------------------------------------------------------------------------------------ the choice


def plan(sizes: list[int], workers: int | None) -> tuple[int, int]:
    """(processes, threads in each) for recordings, or stretches of recordings, of these sizes in bytes; one process: this one.

    Nobody waits for processes to start when the work is done before they would have: little sound, or one recording.
    """
    n = sensible_workers() if workers is None else workers
    if len(sizes) <= 1 or n == 1 or workers is None and sum(max(size, 0) for size in sizes) < SMALL_BYTES:
        return 1, min(n, MOST_THREADS)
    processes = min(n, len(sizes))
    return processes, max(1, min(n // processes, MOST_THREADS))
