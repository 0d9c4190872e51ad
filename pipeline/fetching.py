"""Bringing a recording near, to be read: a remote one is fetched whole, a local one is announced to the disk.

What is fetched lies in a temporary folder of this process (`pipeline.shelf`), under a name in which nothing leads elsewhere, and is removed when it is
done with. A process holds two at most: the one it works on and the next. Temporary folders lie where TMPDIR says.
"""
from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.shelf import new_folder
from pipeline.sources import Source, file_system, words

TRIES, PAUSE_S = 3, 1.0  # a network that fails for a moment
NOT_IN_NAMES = re.compile(r'[\x00-\x1f<>:"/\\|?*]')  # on one system or another


class OutOfRoom(OSError):
    """The temporary folder cannot take a recording."""


@dataclass
class Near:
    """A recording that can be read here. `let_go` removes what was fetched."""

    path: Path
    folder: Path | None = None

    def let_go(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def bring(source: Source, wanted: Callable[[], bool] = lambda: True, share: tuple[float, float] = (0.0, 1.0)) -> Near:
    """Fetch a remote recording, and its log, into a folder of its own; a local one is only announced to the disk.

    Parameters
    ----------
    wanted : asked while it is fetched; False breaks off (InterruptedError). share : from where to where a local one will be read, 0 to 1.

    Raises
    ------
    OutOfRoom
        where the temporary folder is full. OSError: cannot be fetched, after some tries.
    """
    if not source.remote:
        _announce(source.where, *(round(source.size * at) for at in share))
        return Near(Path(source.where))
    near = Near(Path(), new_folder())
    try:
        near.path = _fetch(source, near.folder, wanted)
        if source.log:
            _fetch(source.log, near.folder, wanted)
    except BaseException:
        near.let_go()
        raise
    return near


def local_name(name: str) -> str:
    """The last part of a name, without what a system might take for a way elsewhere."""
    stem, ending = os.path.splitext(NOT_IN_NAMES.sub("_", re.split(r"[/\\]", name)[-1]))
    stem = stem.encode("utf-8", "replace")[:180].decode("utf-8", "ignore")  # systems take 255 bytes
    return stem + ending[:16] if stem.strip(". ") else f"recording{ending[:16]}"


def _fetch(source: Source, folder: Path, wanted: Callable[[], bool]) -> Path:
    from fsspec.callbacks import Callback

    class Watched(Callback):
        def relative_update(self, inc=1):
            if not wanted():
                raise InterruptedError("broken off")

    fs, path = file_system(source.where, source.options)
    target = folder / local_name(source.name)
    for attempt in range(TRIES):
        try:
            fs.get_file(path, str(target), callback=Watched())
            have = target.stat().st_size
            if source.size >= 0 and have != source.size:
                raise OSError(f"{have} bytes came of {source.size}")
            return target
        except (FileNotFoundError, PermissionError, InterruptedError):
            raise
        except Exception as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise OutOfRoom(f"{folder}: no room for {source.where} ({source.size / 1e6:.0f} MB); free disk space or let TMPDIR name a folder "
                                "with more, then run again: finished recordings are kept") from None
            if attempt == TRIES - 1:
                raise OSError(words(error)) from None
            time.sleep(PAUSE_S * 4 ** attempt)
    raise AssertionError("unreachable")


def _announce(path: str, first: int, last: int) -> None:
    """Let the system read ahead, so that the cores need not wait for the disk."""
    if not hasattr(os, "posix_fadvise"):
        return
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.posix_fadvise(handle, first, max(0, last - first), os.POSIX_FADV_WILLNEED)
    except OSError:
        pass
    finally:
        os.close(handle)
