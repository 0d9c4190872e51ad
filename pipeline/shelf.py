"""A temporary folder for this process's fetched recordings, which no crash leaves behind for long.

`sea_canary_XXXX/` in the system's temporary folder (TMPDIR) holds `owner.lock`, locked as long as its process lives. Who makes a new one
sweeps away those whose owner is gone.
"""
from __future__ import annotations

import atexit
import shutil
import tempfile
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

PREFIX = "sea_canary_"
YOUNG_S = 60.0  # a folder so young may be about to get its lock


def new_folder() -> Path:
    """An empty folder on this process's shelf."""
    return Path(tempfile.mkdtemp(dir=shelf()))


@lru_cache(maxsize=1)
def shelf() -> Path:
    """This process's temporary folder; made at the first call, removed when Python ends."""
    from filelock import FileLock

    sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    owner = FileLock(folder / "owner.lock")
    owner.acquire(blocking=False)
    atexit.register(_remove, folder, owner)
    return folder


def sweep(where: Path) -> None:
    """Remove shelves whose process is gone."""
    from filelock import FileLock

    for folder in where.glob(f"{PREFIX}*"):
        with suppress(OSError, NotImplementedError):  # not ours, or just removed by another
            if folder.is_symlink() or time.time() - folder.stat().st_mtime < YOUNG_S:
                continue
            lock = FileLock(folder / "owner.lock", blocking=False)
            with suppress(TimeoutError), lock:
                shutil.rmtree(folder, ignore_errors=True)


def _remove(folder: Path, owner) -> None:
    with suppress(OSError):
        owner.release()
    shutil.rmtree(folder, ignore_errors=True)
