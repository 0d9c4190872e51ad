"""Worker processes on this machine, with a Dask scheduler in this process; and how many are sensible.

Whoever reaches the port of a Dask worker can have it run code. So all of them listen on 127.0.0.1, and let in only
who holds the certificate that this process makes for one run: it never leaves the memory and the temporary folder,
which nobody else on the machine may read. There is no HTTP server (`pipeline.quiet_nodes`).
"""
from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from pipeline.worker import NoWorkers

LOST_AT_MOST = 3      # times that a worker is replaced
WORKER_BYTES = 1.5e9  # of memory, for each worker
ROOT = Path(__file__).resolve().parents[1]


class LocalWorkers:
    """A scheduler in this process and `n` worker processes on this machine, which end with it, however it ends.

    They are started as programs of their own, so that a script that calls us needs no `if __name__ == "__main__":`, and apart from the
    terminal, so that Ctrl-C reaches only this process, which ends them. One that dies is replaced.
    """

    def __init__(self, n: int, threads: int):
        import dask
        from distributed import SpecCluster
        from distributed.security import Security

        from pipeline.quiet_nodes import QuietScheduler
        from pipeline.shelf import new_folder

        self.n, self.threads, self.processes, self.lost = n, threads, [], 0
        self.folder = new_folder()
        with dask.config.set({"distributed.scheduler.allowed-failures": 1, "distributed.scheduler.worker-ttl": None}):
            self.security = Security.temporary()
            listening = {"host": "127.0.0.1", "protocol": "tls://", "port": 0, "security": self.security}
            self.cluster = SpecCluster(scheduler={"cls": QuietScheduler, "options": listening},
                                       security=self.security, silence_logs=logging.CRITICAL)
        self.address = self.cluster.scheduler_address
        self.certificate = self._write_certificate()
        self.words = open(self.folder / "workers.txt", "w+b")
        self.processes = [self._start() for _ in range(n)]

    def _write_certificate(self) -> list[str]:
        """Leave this run's certificate and key where the workers find them; the options that name them."""
        options = []
        for option, text in (("--tls-ca-file", self.security.tls_ca_file), ("--tls-cert", self.security.tls_worker_cert),
                             ("--tls-key", self.security.tls_worker_key)):
            path = self.folder / f"{option.removeprefix('--')}.pem"
            path.touch(mode=0o600)
            path.write_text(text, encoding="ascii")
            options += [option, str(path)]
        return options

    def _start(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "dask", "worker", self.address, "--no-nanny", "--nthreads", str(self.threads), "--no-dashboard",
                   "--memory-limit", "0", "--death-timeout", "20", "--local-directory", str(self.folder),
                   "--host", "127.0.0.1", "--worker-class", "pipeline.quiet_nodes.QuietWorker", *self.certificate]
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

    def replace(self, pid: int) -> None:
        """End a worker that works on what nobody waits for any more, and start another; what else it had is done again."""
        for k, process in enumerate(self.processes):
            if process.pid == pid:
                process.kill()
                process.wait()
                self.processes[k] = self._start()

    def close(self) -> None:
        """End the processes now (they hold nothing that is worth keeping), and the scheduler."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        with suppress(Exception):
            self.cluster.close(timeout=5)
        self.words.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def sensible_workers() -> int:
    """As many as there are cores and room in memory for."""
    import psutil

    return max(1, min(cores(), int(psutil.virtual_memory().available // WORKER_BYTES)))
