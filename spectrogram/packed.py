"""Files that hold sound in a form of their recorder's, which has to be unpacked before anything here can read it."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

PACKED = {".sud": "SoundTrap's packed sound; unpack them with SoundTrap Host or PAMGuard",
          ".x3": "X3-packed sound; unpack them with PAMGuard or the x3 tools"}


def packed_beside(names: Iterable[str]) -> list[str]:
    """Those of the names that are packed files, but for those whose WAV or FLAC is there as well."""
    names = list(names)
    sounds = {PurePosixPath(name).stem.lower() for name in names if PurePosixPath(name).suffix.lower() in (".wav", ".flac")}
    return sorted(name for name in names if PurePosixPath(name).suffix.lower() in PACKED and PurePosixPath(name).stem.lower() not in sounds)


def packed_line(names: list[str]) -> str:
    """What packed files are and what to do; "" where there are none."""
    kinds = {ending: [name for name in names if name.lower().endswith(ending)] for ending in PACKED}
    lines = (f"{len(those)} files such as {those[0]} are {PACKED[ending]}, then run again" for ending, those in kinds.items() if those)
    return "; ".join(lines)
