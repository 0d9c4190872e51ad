"""Who works on what, so that runs on the same output folder share the work and none is done twice.

`parts/claims/KEY.lock` is locked while somebody works on a recording or writes a table. The lock is the system's: it ends with its process, however that
ends, and needs no clock. It holds between processes of one machine, and between machines where the network drive knows locks.
"""
from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pipeline.drafts import cannot_write


class Claims:
    """This process's claims in a folder; `free_all` at the end, or when the process dies."""

    def __init__(self, folder: Path):
        self.folder, self._held = folder, {}
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
        from filelock import FileLock

        if key in self._held:
            return True
        lock = FileLock(self.folder / f"{key}.lock", thread_local=False)
        try:
            lock.acquire(blocking=False)
        except TimeoutError:
            return False
        except OSError as error:
            raise cannot_write(self.folder / f"{key}.lock", error) from None
        self._held[key] = lock
        return True

    def holds(self, key: str) -> bool:
        return key in self._held

    def free(self, key: str) -> None:
        """Give it back."""
        lock = self._held.pop(key, None)
        if lock is None:
            return
        with suppress(OSError):  # while we hold it: who opened this file before will find it gone, and open the next one. Windows does so itself
            os.unlink(lock.lock_file)
        with suppress(OSError):
            lock.release()

    def free_all(self) -> None:
        """Give all back, and clear away what killed processes left: their lock is gone, its file is not, and nobody may have had a reason to take it again."""
        for key in list(self._held):
            self.free(key)
        with suppress(OSError):  # a disk that has become read-only: they do no harm
            for path in list(self.folder.glob("*.lock")):
                if self.take(key := path.name.removesuffix(".lock")):
                    self.free(key)
