"""Who works on what, so that runs on the same output folder share the work and none is done twice.

`parts/claims/KEY.lock` is locked while somebody works on a recording or writes a table. The lock is the system's: it ends with its process, however that
ends, and needs no clock. It holds between processes of one machine, and between machines where the network drive knows locks.

Some network drives know none (NFS without lockd, SMB, FUSE). There `KEY.claim`, which holds process and machine, is a claim as long as it is renewed: a
thread of its process sets its time every `RENEW_S`. That of a process of this machine that died is taken over at once; of one that died elsewhere when it
was watched for `LEASE_S` and nobody renewed it, on the watcher's own clock, which no other machine's needs to agree with. A machine that slept or lost the
drive for longer than that may find its recording done by another as well: with the same tables, since nothing depends on who made them.
"""
from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from pathlib import Path

from pipeline.drafts import cannot_write

NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}  # what a file system without locks answers
LEASE_S, RENEW_S = 600.0, 30.0  # for which a soft claim holds without being renewed; between two renewals


class Claims:
    """This process's claims in a folder; `free_all` at the end, or when the process dies.

    `soft`: the file system knows no locks; `say` is told so once, and of every claim that is taken over.
    """

    def __init__(self, folder: Path, say=lambda line: None):
        self.folder, self.say, self.soft, self._held = folder, say, False, {}
        self._watched = {}  # soft claims of others: a lock knows since when it has seen no renewal
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from None

    def take(self, key: str) -> bool:
        """True if it is ours now (or was); False if another process has it.

        Raises
        ------
        OSError
            where the folder cannot be written.
        """
        if key in self._held:
            return True
        try:
            lock = self._locked(key)
        except TimeoutError:
            return False
        except OSError as error:
            raise cannot_write(self.folder / f"{key}.lock", error) from None
        self._held[key] = lock
        return True

    def _locked(self, key: str):
        from filelock import FileLock

        if not self.soft:
            hard = self.folder / f"{key}.lock"
            try:
                lock = FileLock(hard, thread_local=False, fallback_to_soft=False)
                lock.acquire(blocking=False)
                return lock
            except (OSError, NotImplementedError) as error:
                if isinstance(error, OSError) and error.errno not in NO_LOCKS:
                    raise
                hard.unlink(missing_ok=True)  # the attempt left it, and nobody can hold it
            self.soft = True
            self.say(f"{self.folder}: this disk knows no locks; runs that share the work mark it with files instead, and what a machine that died has "
                     f"marked is taken over after {LEASE_S / 60:g} minutes")
        return self._leased(key)

    def _leased(self, key: str):
        """A soft claim. TimeoutError: another has it."""
        from filelock import LeaseSettingsMismatch, SoftFileLease

        lock, since = self._watched.get(key) or (
            SoftFileLease(self.folder / f"{key}.claim", lease_duration=LEASE_S, heartbeat_interval=RENEW_S, thread_local=False), time.monotonic())
        owner = lock.owner
        try:
            lock.acquire(blocking=False)
        except LeaseSettingsMismatch as error:  # of another version of the project
            raise TimeoutError(str(error)) from None
        except TimeoutError:
            self._watched[key] = lock, since
            raise
        self._watched.pop(key, None)
        if owner and time.monotonic() - since >= LEASE_S:
            self.say(f"{lock.lock_file}: taken over from process {owner.pid} on {owner.hostname}, which has not renewed it for {LEASE_S / 60:g} minutes")
        return lock

    def holds(self, key: str) -> bool:
        return key in self._held

    def free(self, key: str) -> None:
        """Give it back."""
        lock = self._held.pop(key, None)
        if lock is None:
            return
        if lock.lock_file.endswith(".lock"):
            with suppress(OSError):  # while we hold it: who opened this file before will find it gone, and open the next one. Windows does so itself
                os.unlink(lock.lock_file)
        with suppress(OSError):
            lock.release()

    def free_all(self) -> None:
        """Give all back, and clear away what killed processes left: their lock is gone, its file is not, and nobody may have had a reason to take it again."""
        for key in list(self._held):
            self.free(key)
        with suppress(OSError):  # a disk that has become read-only: they do no harm
            for path in [*self.folder.glob("*.lock"), *self.folder.glob("*.claim")]:
                if self.take(path.stem):
                    self.free(path.stem)
