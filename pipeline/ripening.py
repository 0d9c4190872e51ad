"""Which files of a live folder are finished.

A recorder writes a file for minutes or hours, and a copy may stall. A file is finished when its
size and time have rested for a while, its header tells the size that it
has, and its last sample can be read. Where that never comes true, as after a recorder's power cut
or where a program writes other headers, it is waited for no longer than
`PATIENCE` times that while: then what is there is processed, and its effort row says so
(`UNFINISHED`).
"""

from __future__ import annotations

import struct
from pathlib import Path

from pipeline.sources import Source
from pipeline.time_limit import LOOK_AT_MOST_S, within
from spectrogram.recording import Recording

SETTLE_S = 10.0  # recorders write every few seconds at least
PATIENCE = 30
SLACK_BYTES = (
    64  # by so much the size in a header may be wrong for good: a pad byte, the header's own eight
)
RESERVED = (
    4096  # zeros at the end of a file whose sound does not begin so: room that a copy has reserved
)
UNFINISHED = (
    "was never finished: its header or its end do not fit its size; "
    "the recorder or the copy may have been broken off"
)


class Ripening:
    """Watches files grow.

    >>> ripening = Ripening(settle_s=10)
    >>> ripening.ready([], now=0.0)
    []
    """

    def __init__(self, settle_s: float = SETTLE_S):
        self.settle_s = settle_s
        self._since: dict[
            str, tuple[tuple, float]
        ] = {}  # name -> state, and when it was first seen so
        self._given: dict[str, tuple] = {}  # name -> state in which it was given out

    def ready(self, sources: list[Source], now: float) -> list[tuple[Source, bool]]:
        """Those that were not given out in this state before and are finished (True), or are
        waited for no longer (False).
        `now`: seconds of a clock that never jumps."""
        names = {source.name for source in sources}
        self._since = {name: seen for name, seen in self._since.items() if name in names}
        given = []
        for source in sources:
            state = (source.size, source.changed)
            if self._given.get(source.name) == state:
                continue
            seen, since = self._since.get(source.name, (None, now))
            if seen != state:
                self._since[source.name], since = (state, now), now
            if now - since < self.settle_s:
                continue
            finished = source.remote or is_whole(source.where)
            if finished or now - since >= PATIENCE * self.settle_s:
                self._given[source.name] = state
                given.append((source, finished))
        return given

    def forget(self, name: str) -> None:
        """Give it out again when it has rested again."""
        self._given.pop(name, None)
        self._since.pop(name, None)


def is_whole(path: str | Path) -> bool:
    """True if the file is as long as its header tells, and its sound can be read to the end."""
    try:
        return within(LOOK_AT_MOST_S, _fits, path)
    except Exception:  # whatever is wrong with it is said when it is worked on, and stops no others
        return False


def _fits(path: str | Path) -> bool:
    recording = Recording(path)
    size, told = recording.path.stat().st_size, told_bytes(path)
    if (
        told is not None
        and abs(told - size) > SLACK_BYTES
        or _reserved(path, size)
        or not recording.complete
        or recording.unfinished
    ):
        return False
    with recording.opened() as file:
        file.seek(recording.frames - 1)
        return len(file.read(1)) == 1


def told_bytes(path: str | Path) -> int | None:
    """Bytes of the whole file as its outermost chunk tells them (RIFF, RF64, BW64, AIFF, W64);
    None for other files."""
    with open(path, "rb") as file:
        head = file.read(40)
    kind = head[:4]
    if kind == b"RIFF" or kind == b"RIFX" or kind == b"FORM":
        return struct.unpack("<I" if kind == b"RIFF" else ">I", head[4:8])[0] + 8
    if kind in (b"RF64", b"BW64") and head[12:16] == b"ds64":
        return struct.unpack("<Q", head[20:28])[0] + 8
    if kind == b"riff":
        return struct.unpack("<Q", head[16:24])[0]
    return None


def _reserved(path: str | Path, size: int) -> bool:
    """Whether the file ends in zeros, though its sound does not begin with them."""
    with open(path, "rb") as file:
        file.seek(max(0, size - RESERVED))
        if any(file.read(RESERVED)):
            return False
        file.seek(RESERVED)
        return any(file.read(RESERVED)) and size > 3 * RESERVED
