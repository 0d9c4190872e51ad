"""Files that are whole or not there: written under a temporary name beside their own, brought to the disk, renamed last.

A draft's name is `.NAME.<random>.tmp`: no two writers meet in it, and nobody can have put a link in its place.
"""
from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


RUN_AGAIN = ", then run again: finished recordings are kept"  # the end of what a run says that breaks off


class CannotWrite(OSError):
    """A file of the output that cannot be written. The message names it, the fault and the mend; `fault`: the system's number of it."""

    fault: int | None = None


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """A new, empty file to write to, which becomes `path` when all is written; whatever goes wrong, nothing half-written stays.

    Raises
    ------
    CannotWrite
        naming the file, the fault (disk full, not allowed, open in another program) and the mend.
    """
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(unfinished, "xb"):
            pass
        yield unfinished
        _to_the_disk(unfinished)  # else a power cut may leave the name without the content
        os.replace(unfinished, path)
    except CannotWrite:  # another file, written meanwhile
        raise
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        with suppress(OSError):
            unfinished.unlink()


def _to_the_disk(path: Path) -> None:
    with open(path, "r+b") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):  # a network drive that knows no such call
                raise


MENDS = {errno.ENOSPC: "free disk space", errno.EDQUOT: "free disk space, or ask for a larger quota", errno.EFBIG: "raise the limit on the size of files",
         errno.EACCES: "allow writing there, and close programs that have the file open", errno.EPERM: "allow writing there",
         errno.EROFS: "make the disk writable"}


def cannot_write(path: Path, error: OSError) -> CannotWrite:
    """The error to raise for a file that cannot be written."""
    mend = MENDS.get(error.errno, "check the disk and its connection")
    refused = CannotWrite(f"{path}: cannot be written ({error.strerror or error}); {mend}, or choose another output folder{RUN_AGAIN}")
    refused.fault = error.errno
    return refused


def drafts_in(folder: Path) -> list[Path]:
    """Drafts below a folder (not deeper): of writers at work, or of some that were killed."""
    try:
        with os.scandir(folder) as entries:
            return [folder / e.name for e in entries if e.name.startswith(".") and e.name.endswith(".tmp")]
    except OSError:
        return []
