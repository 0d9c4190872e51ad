"""A live folder: which files a recorder has finished.

A recorder writes a file for minutes or hours. It is finished when its size and time have rested for a while and its header promises no more sound
than the file holds. A header that never comes true, as after a recorder's power cut, is believed no longer than `PATIENCE` times that while:
then what is there is processed, and its effort row says "truncated".
"""
from __future__ import annotations

from pathlib import Path

from pipeline.sources import Source
from pipeline.time_limit import LOOK_AT_MOST_S, within
from spectrogram.recording import Recording

SETTLE_S = 10.0  # recorders write every few seconds at least
PATIENCE = 30


class Ripening:
    """Watches files grow.

    >>> ripening = Ripening(settle_s=10)
    >>> ripening.ready([], now=0.0)
    []
    """

    def __init__(self, settle_s: float = SETTLE_S):
        self.settle_s = settle_s
        self._since: dict[str, tuple[tuple, float]] = {}  # name -> state, and when it was first seen so
        self._given: dict[str, tuple] = {}                # name -> state in which it was given out

    def ready(self, sources: list[Source], now: float) -> list[Source]:
        """Those that are finished and were not given out in this state before. `now`: seconds of a clock that never jumps."""
        here = {source.name for source in sources}
        self._since = {name: seen for name, seen in self._since.items() if name in here}
        found = []
        for source in sources:
            state = (source.size, source.changed)
            if self._given.get(source.name) == state:
                continue
            seen, since = self._since.get(source.name, (None, now))
            if seen != state:
                self._since[source.name], since = (state, now), now
            rested_s = now - since
            if rested_s >= self.settle_s and (source.remote or rested_s >= PATIENCE * self.settle_s or is_whole(source.where)):
                self._given[source.name] = state
                found.append(source)
        return found


def is_whole(path: str | Path) -> bool:
    """True if the file's header promises no more than the file holds; a recording in the making has none, or one without a length."""
    try:
        return within(LOOK_AT_MOST_S, _promises_what_it_holds, path)
    except Exception:  # whatever is wrong with it is said when it is its turn, and stops no others
        return False


def _promises_what_it_holds(path: str | Path) -> bool:
    recording = Recording(path)
    return recording.complete and not recording.unfinished
