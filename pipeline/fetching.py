"""Bringing a recording near, to be read: a remote one is fetched whole, a local one is announced to the disk.

What is fetched lies in a temporary folder of this process (`pipeline.shelf`), under a name in which nothing leads elsewhere, and is removed when it is
done with. A process holds two at most: the one it works on and the next. Temporary folders lie where TMPDIR says.
"""
from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.drafts import RUN_AGAIN
from pipeline.shelf import new_folder
from pipeline.sources import Source
from pipeline.time_limit import TookTooLong
from spectrogram.addresses import file_system, one_line

TRIES, PAUSE_S = 3, 1.0  # a network that fails for a moment
SPARE_BYTES = 200e6      # that a recording of unknown size leaves in the temporary folder
FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_IN_NAMES = re.compile(r'[\x00-\x1f<>:"/\\|?*]')  # on one system or another


class OutOfRoom(OSError):
    """The temporary folder cannot take a recording."""

    fault = errno.ENOSPC


@dataclass
class Near:
    """A recording that can be read here. `let_go` removes what was fetched."""

    path: Path
    folder: Path | None = None

    def let_go(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def bring(source: Source, wanted: Callable[[], bool] = lambda: True, share: tuple[float, float] = (0.0, 1.0),
          limit_s: float = float("inf")) -> Near:
    """Fetch a remote recording, and its log, into a folder of its own; a local one is only announced to the disk.

    Parameters
    ----------
    wanted : asked while it is fetched; False breaks off (InterruptedError). share : from where to where a local one will be read, 0 to 1.
    limit_s : how long it may take.

    Raises
    ------
    OutOfRoom
        where the temporary folder is full. OSError: cannot be fetched, after some tries. TookTooLong: the time is up.
    """
    if not source.remote:
        _announce(source.where, *(round(source.size * at) for at in share))
        return Near(Path(source.where))
    near, until = Near(Path()), time.monotonic() + limit_s
    try:
        near.folder = new_folder()
        near.path = _fetch(source, near.folder, wanted, until)
        if source.log:
            _fetch(source.log, near.folder, wanted, until)
    except BaseException as error:
        near.let_go()
        if getattr(error, "errno", None) in FULL:
            raise _no_room(source) from None
        raise
    return near


def local_name(name: str) -> str:
    """The last part of a name, without what a system might take for a way elsewhere."""
    stem, ending = os.path.splitext(NOT_IN_NAMES.sub("_", re.split(r"[/\\]", name)[-1]))
    stem = stem.encode("utf-8", "replace")[:180].decode("utf-8", "ignore")  # systems take 255 bytes
    return stem + ending[:16] if stem.strip(". ") else f"recording{ending[:16]}"


class _CannotHold(OSError):
    """A recording that the temporary folder could not hold even if it held nothing else of ours."""


class Crowded(_CannotHold):
    """The same, but somebody else's files take the room: later there may be some."""


def _fetch(source: Source, folder: Path, wanted: Callable[[], bool], until: float) -> Path:
    from fsspec.callbacks import Callback

    class Watched(Callback):
        came = 0

        def relative_update(self, inc=1):
            self.came += inc
            if not wanted():
                raise InterruptedError("broken off")
            if time.monotonic() > until:
                raise TookTooLong
            if 0 <= source.size < self.came:
                raise _CannotHold(f"more came than the {source.size} bytes that the server told")
            if source.size < 0 and shutil.disk_usage(folder).free < SPARE_BYTES:
                raise _CannotHold(f"{self.came / 1e6:.0f} MB came and no end of it, and {folder.parent} is nearly full")

    fs, path = file_system(source.link or source.where, source.options)
    target = folder / local_name(source.name)
    _check_room(source, folder)
    _await_room(source, folder, wanted)
    for attempt in range(TRIES):
        try:
            fs.get_file(path, str(target), callback=Watched())
            have = target.stat().st_size
            if source.size >= 0 and have != source.size:
                raise OSError(f"{have} bytes came of {source.size}")
            return target
        except (FileNotFoundError, PermissionError, InterruptedError, TookTooLong, _CannotHold):
            raise
        except Exception as error:
            if getattr(error, "errno", None) in FULL:
                raise
            if attempt == TRIES - 1:
                raise OSError(one_line(error)) from None
            time.sleep(PAUSE_S * 4 ** attempt)
    raise AssertionError("unreachable")


def _check_room(source: Source, folder: Path) -> None:
    """Raise _CannotHold for what would not fit if all that we fetched were gone: one huge object stops no others."""
    usage = shutil.disk_usage(folder)
    room = usage.free + _held(folder.parent)
    if source.size > room:
        kind = _CannotHold if source.size > usage.total else Crowded
        raise kind(f"it takes {source.size / 1e6:.0f} MB, and {folder.parent} has room for {room / 1e6:.0f} MB; "
                   "let TMPDIR name a folder with more")


def _await_room(source: Source, folder: Path, wanted: Callable[[], bool]) -> None:
    """Wait while another recording that this process has fetched, and will let go of, takes the room. OutOfRoom: somebody else's files do."""
    while source.size > shutil.disk_usage(folder).free:
        if not wanted() or _held(folder.parent) == _held(folder):
            raise _no_room(source)
        time.sleep(PAUSE_S)


def _held(folder: Path) -> int:
    """Bytes of what was fetched into a folder."""
    held = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # let go of meanwhile
            held += path.stat().st_size if path.is_file() else 0
    return held


def _no_room(source: Source) -> OutOfRoom:
    return OutOfRoom(f"{tempfile.gettempdir()}: no room for {source.where} ({max(source.size, 0) / 1e6:.0f} MB); free disk space or let TMPDIR name a "
                     f"folder with more{RUN_AGAIN}")


def _announce(path: str, first: int, last: int) -> None:
    """Let the system read ahead, so that the cores need not wait for the disk."""
    if not hasattr(os, "posix_fadvise") or not os.path.isfile(path):  # to open a pipe is to wait for its other end
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
