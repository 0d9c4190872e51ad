"""Stretches in which a recorder heard nothing: samples that are all the same, and times that its
log tells.

A dropout that was filled with zeros, a muted passage, a channel that was unplugged: one value for a
tenth of a second or longer. No converter in the sea holds still for so long, not even in silence.
Found while the blocks of a recording pass, in bounded memory, for a hundredth of the time of
reading.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

LEAST_S = 0.1
WORTH_S = (
    1.0  # a window of the model: sound between two such stretches that is shorter names nothing
)

Stretch = tuple[float, float, str]  # start and end in the recording's own seconds, and why


class Still:
    """Runs of equal samples of at least `LEAST_S`. `add` blocks in order; `runs` may be asked at
    any time.

    The result does not depend on how the sound is cut into blocks. Counting may begin anywhere in a
    recording (`first`): `state` of one stretch, `append`ed to that of the stretch before, makes
    one.
    """

    def __init__(self, rate_hz: float, first: int = 0):
        self.least = max(16, round(LEAST_S * rate_hz))
        self.first = self.last = first  # samples seen: [first, last)
        self._long: list[tuple[int, int, float]] = []  # start, end, value of runs that have ended
        self._head: tuple[int, int, float] | None = None  # the run at `first`, once it has ended
        self._open: tuple[int, float] | None = None  # start and value of the run at `last`

    def add(self, x: np.ndarray) -> None:
        """The next samples (n,), of any number type."""
        n = len(x)
        if n == 0:
            return
        if self._open is None:
            self._open = (self.last, x[0].item())
        lead = while_equal(x, self._open[1])
        if lead < n:
            self._end(self.last + lead)
            tail = n - while_equal(x[::-1], x[-1].item())
            for start, end in self._inside(x, lead, tail):
                self._long.append((self.last + start, self.last + end, x[start].item()))
            self._open = (self.last + tail, x[-1].item())
        self.last += n

    def _end(self, at: int) -> None:
        """The open run has ended."""
        start, value = self._open
        if self._head is None:
            self._head = (start, at, value)
        elif at - start >= self.least:
            self._long.append((start, at, value))

    def _inside(self, x: np.ndarray, lead: int, tail: int) -> Iterable[tuple[int, int]]:
        """Long runs within x[lead:tail]. Each holds a whole piece of half its least length, so that
        few samples need a look."""
        size = self.least // 2
        whole = x[lead:tail][: (tail - lead) // size * size].reshape(-1, size)
        if not len(whole):
            return []
        first, middle, last = whole[:, 0], whole[:, size // 2], whole[:, -1]
        pieces = np.flatnonzero((first == middle) & (first == last))
        pieces = pieces[(whole[pieces] == whole[pieces, :1]).all(axis=1)]
        found, done = [], lead
        for piece in pieces:
            start = lead + int(piece) * size
            if start < done:
                continue
            value = x[start]
            before = x[max(done, start - size) : start]
            start -= while_equal(before[::-1], value)
            end = start + while_equal(x[start:tail], value)
            done = end
            if end - start >= self.least:
                found.append((start, end))
        return found

    @property
    def runs(self) -> np.ndarray:
        """(k, 3) start, end (samples of the recording) and value of the long runs so far."""
        ends = [] if self._head is None else [self._head]
        open_ = [] if self._open is None else [(self._open[0], self.last, self._open[1])]
        short = [run for run in (*ends, *open_) if run[1] - run[0] >= self.least]
        return np.array(sorted(self._long + short), float).reshape(-1, 3)

    @property
    def state(self) -> list:
        """All that `append` needs, as JSON holds it."""
        return [self.least, self.first, self.last, self._long, self._head, self._open]

    def append(self, state: list) -> None:
        """Go on with the stretch that begins where this one ends."""
        _, first, last, long, head, open_ = state
        if open_ is None:  # without a sample
            return
        if self._open is None:
            self.first, self._head, self._open = first, head and tuple(head), tuple(open_)
            self._long, self.last = [tuple(run) for run in long], last
            return
        lead = head or (first, last, open_[1])
        if lead[2] != self._open[1]:
            self._end(first)
            self._open = (first, lead[2])
        if head is not None:
            self._end(head[1])
            self._long += [tuple(run) for run in long]
            self._open = tuple(open_)
        self.last = last


def while_equal(x: np.ndarray, value) -> int:
    """How many samples from the first on are `value`; looked at few by few, for most runs are
    short."""
    done, at_once = 0, 32
    while done < len(x):
        part = x[done : done + at_once] != value
        if part.any():
            return done + int(part.argmax())
        done, at_once = done + len(part), min(2 * at_once, 1 << 18)
    return done


def merged(
    stretches: Iterable[Stretch], duration_s: float = np.inf, apart_s: float = 0.0
) -> np.ndarray:
    """(k, 2) start and end in s of the union, in order, within the recording; those less than
    `apart_s` apart are joined."""
    spans = sorted(
        (max(0.0, float(start)), min(float(end), duration_s)) for start, end, *_ in stretches
    )
    union: list[list[float]] = []
    for start, end in spans:
        if end <= start:
            continue
        if union and start <= union[-1][1] + apart_s:
            union[-1][1] = max(union[-1][1], end)
        else:
            union.append([start, end])
    return np.array(union, float).reshape(-1, 2)


def stretch_of(spans: np.ndarray, start_s: float, end_s: float) -> np.ndarray:
    """(k, 2) what of the spans lies in a stretch of the recording, in seconds of the stretch."""
    spans = np.clip(spans, start_s, end_s) - start_s
    return spans[spans[:, 1] > spans[:, 0]]


def as_text(spans: np.ndarray) -> str:
    """Spans in s as a cell of a table: "60-240; 301.5-310.25"."""
    return "; ".join(
        f"{start:.3f}".rstrip("0").rstrip(".") + "-" + f"{end:.3f}".rstrip("0").rstrip(".")
        for start, end in spans
    )


def from_text(text: str) -> np.ndarray:
    """(k, 2) the spans of `as_text`."""
    spans = [span.split("-") for span in text.split(";") if span.strip()]
    return np.array([[float(start), float(end)] for start, end in spans], float).reshape(-1, 2)
