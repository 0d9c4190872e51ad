"""Who does the work: this process, local workers, or a Dask cluster. The same function, the same tables.

An engine is given recordings to do, one by one as it has hands for them, and yields their parts as they are finished, in any order. `None` among the
recordings means "none just now, ask again"; `None` among the parts means "nothing new just now".

A worker is a process that works on one recording at a time, on one core, with the model loaded once. Workers of a cluster read the recordings
themselves (from an address, or a path that is the same everywhere) and write nothing: parts come back to this process, the only one that writes the
output.

A recording stays whole on one worker. Its chunks of 16 s are shared among that worker's threads where there are fewer recordings than cores, with
exact joins (`pipeline.single`); to share them among processes, the picture of every chunk would have to travel (290 MB for an hour of sound) to
the one that finds regions and events in order of time. Recorders write files of minutes to hours, so there is always another file for another core.
"""
from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.fingerprint import code_hash
from pipeline.parts import Job, Part, failed_part, finish
from pipeline.single import load
from pipeline.sources import bring

PAUSE_S = 0.3          # between two looks for something to do
LOOK_S = 2.0           # between two looks at who is there
CONNECT_S = 20.0       # until a scheduler must have answered
START_S = 300.0        # until workers must have come
LOST_AT_MOST = 3       # times that a worker is replaced
WORKER_BYTES = 1.5e9   # of memory, for each worker
SMALL_BYTES = 400e6    # less than this is done before workers would have started
MOST_THREADS = 4       # on one recording: more stand in each other's way
ROOT = Path(__file__).resolve().parents[1]


class NoWorkers(OSError):
    """Workers that do not come, are lost, or run other code."""


@dataclass(frozen=True)
class ModelRef:
    """A model as it is told to a worker: where it lies, or the thing itself."""

    model_id: str
    place: str | None = None
    profile: str | None = None
    device: str | None = None
    data: bytes | None = field(default=None, repr=False)


def model_ref(model, loaded, profile, device) -> ModelRef:
    """How a worker gets the model that was `loaded` here.

    Raises
    ------
    ValueError
        for a loaded model that cannot be sent.
    """
    if hasattr(model, "predict"):
        from distributed.protocol.pickle import dumps

        try:
            return ModelRef(loaded.model_id, data=dumps(model))
        except Exception as error:
            raise ValueError(f"model {loaded.model_id}: a loaded model that cannot be sent to workers ({error}); give its folder instead") from None
    place = None if model is None else str(Path(model).resolve()) if Path(model).exists() else str(model)
    return ModelRef(loaded.model_id, place, getattr(profile, "name", profile) or os.environ.get("PROFILE") or "beluga", device)


# ------------------------------------------------------------------------------------------------------------ on a worker

_LOADED: dict[ModelRef, object] = {}


def work(job: Job, ref: ModelRef, code: str) -> Part:
    """What a worker does with a recording.

    Raises
    ------
    NoWorkers
        where this worker has other code, or another model, than the process that asks.
    """
    if code != code_hash():
        raise NoWorkers(f"the worker at {_here()} runs another version of the project; bring all machines to the same version")
    if ref not in _LOADED:
        _LOADED.clear()
        _LOADED[ref] = _load(ref)
    return finish(job, lambda: bring(job.source), _LOADED[ref])


def _load(ref: ModelRef):
    if ref.data is not None:
        from distributed.protocol.pickle import loads

        return loads(ref.data)
    try:
        model = load(ref.place, ref.profile, ref.device)
    except Exception as error:
        raise NoWorkers(f"the worker at {_here()} cannot load the model: {error}") from None
    if model.model_id != ref.model_id:
        raise NoWorkers(f"the worker at {_here()} has another model ({model.model_id}) than this machine ({ref.model_id}); copy {ref.place or 'results/'} there")
    return model


def _here() -> str:
    import platform

    return platform.node()


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
        with ThreadPoolExecutor(1) as pool:
            try:
                while more or waiting:
                    while more and len(waiting) < 2:
                        job = next(jobs, self)
                        more = job is not self
                        if not more or job is None:
                            break
                        job = replace(job, threads=self.threads)
                        waiting.append((job, pool.submit(bring, job.source, lambda: not self._stop)))
                    if waiting:
                        job, brought = waiting.popleft()
                        yield finish(job, brought.result, self.model)
                    elif more:
                        yield None
                        time.sleep(PAUSE_S)
            finally:
                self._stop = True
                for _, brought in waiting:
                    with suppress(Exception):
                        brought.result().let_go()


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
        self.client, self._mine = None, True
        self._looked, self._seen, self._wanted = -LOOK_S, time.monotonic(), 2

    def __enter__(self) -> "Cluster":
        from distributed import Client

        try:
            if isinstance(self.address, str):
                try:
                    self.client = Client(self.address, timeout=CONNECT_S, set_as_default=False)
                except (OSError, TimeoutError, ValueError) as error:
                    raise NoWorkers(f"{self.address}: no Dask scheduler answers ({error or type(error).__name__}); start one with `dask scheduler`, or give "
                                    "another address") from None
            else:
                self.client, self._mine = self.address, False
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
                        bring(job.source)  # the disk reads ahead for the worker
                    running[self.client.submit(work, replace(job, threads=self.threads), self.ref, code, key=f"{job.key}-{uuid.uuid4().hex[:8]}", pure=False)] = job
                finished = self._finished(list(running))
                for future in finished:
                    yield self._part(future, running.pop(future))
                if not finished and (running or more):
                    yield None
        finally:
            with suppress(Exception):
                self.client.cancel(list(running), force=True)

    def _finished(self, running: list) -> list:
        """Those of the futures that are done; waits a moment for the first."""
        from distributed import CancelledError, wait

        if not running:
            time.sleep(PAUSE_S)
            return []
        try:
            with self.client.as_current():
                return list(wait(running, timeout=PAUSE_S, return_when="FIRST_COMPLETED").done)
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
                threads = self.client.nthreads()
            except OSError:
                raise self._lost() from None
            if threads:
                self._seen = now
            elif now - self._seen > START_S:
                raise NoWorkers(f"{self.address}: no worker is left; start some and run again: finished recordings are kept")
            self._looked, self._wanted = now, max(2, sum(threads.values()) + len(threads))
        return self._wanted

    def _lost(self) -> NoWorkers:
        return NoWorkers(f"{self.address}: the scheduler was lost; run again: finished recordings are kept")

    def _part(self, future, job: Job) -> Part:
        from distributed import CancelledError, KilledWorker

        try:
            return future.result()
        except CancelledError:
            raise self._lost() from None
        except KilledWorker:
            reason = f"{job.source.where}: the workers that processed it died, probably of too little memory; run again with fewer workers"
            return failed_part(job, reason, self.profile)
        except (ModuleNotFoundError, RuntimeError) as error:  # Dask wraps the scheduler's trouble so
            raise NoWorkers(f"{self.address}: scheduler or workers do not understand what they are asked ({error}); start them in this project's environment, "
                            "as it is on this machine") from None


class LocalWorkers:
    """A scheduler in this process and `n` worker processes on this machine, which end with it, however it ends.

    They are started as programs of their own, so that a script that calls us needs no `if __name__ == "__main__":`, and apart from the
    terminal, so that Ctrl-C reaches only this process, which ends them. One that dies is replaced.
    """

    def __init__(self, n: int, threads: int):
        import dask
        from distributed import LocalCluster

        from pipeline.shelf import new_folder

        self.n, self.threads, self.processes, self.lost = n, threads, [], 0
        self.folder = new_folder()
        with dask.config.set({"distributed.scheduler.allowed-failures": 1, "distributed.scheduler.worker-ttl": None}):
            self.cluster = LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL)
        self.address = self.cluster.scheduler_address
        self.words = open(self.folder / "workers.txt", "w+b")
        self.processes = [self._start() for _ in range(n)]

    def _start(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "dask", "worker", self.address, "--no-nanny", "--nthreads", str(self.threads), "--no-dashboard",
                   "--memory-limit", "0", "--death-timeout", "20", "--local-directory", str(self.folder)]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        env = os.environ | {"PYTHONPATH": path, "DASK_LOGGING__DISTRIBUTED": "error", "OMP_NUM_THREADS": "1",
                            "PYTHONWARNINGS": "ignore", **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self.folder))}
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt" else {"start_new_session": True}
        return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=self.words, stderr=subprocess.STDOUT, **apart)

    def replace_lost(self) -> None:
        """Start workers anew in the place of those that ended, within reason.

        Raises
        ------
        NoWorkers
            when they keep ending.
        """
        for k, process in enumerate(self.processes):
            if process.poll() is not None:
                self.lost += 1
                if self.lost > LOST_AT_MOST * self.n:
                    self.words.seek(0)
                    reason = self.words.read().decode(errors="replace").strip()[-500:] or f"exit code {process.returncode}"
                    raise NoWorkers(f"the local workers keep ending: {reason}; run again with fewer workers: finished recordings are kept")
                self.processes[k] = self._start()

    def close(self) -> None:
        """End the processes now (they hold nothing that is worth keeping), and the scheduler."""
        import shutil

        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        with suppress(Exception):
            self.cluster.close(timeout=5)
        self.words.close()
        shutil.rmtree(self.folder, ignore_errors=True)


# ------------------------------------------------------------------------------------------------------------ the choice


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def sensible_workers() -> int:
    """As many as there are cores and room in memory for."""
    import psutil

    return max(1, min(cores(), int(psutil.virtual_memory().available // WORKER_BYTES)))


def plan(sizes: list[int], workers: int | None) -> tuple[int, int]:
    """(processes, threads in each) for recordings of these sizes in bytes; one process: this one.

    Nobody waits for processes to start when the work is done before they would have: little sound, or one recording.
    """
    n = sensible_workers() if workers is None else workers
    if len(sizes) <= 1 or n == 1 or workers is None and sum(max(size, 0) for size in sizes) < SMALL_BYTES:
        return 1, min(n, MOST_THREADS)
    processes = min(n, len(sizes))
    return processes, max(1, min(n // processes, MOST_THREADS))
