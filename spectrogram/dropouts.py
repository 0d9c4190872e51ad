"""Short dropouts: runs of zeros too short for `still`, that begin or end with a jump.

A recorder that loses a buffer writes zeros in its place, 0.5 ms or more of them. Found while the
blocks of a recording pass: a run of n samples holds one of every nth sample of the recording, and
only around zeros among these is looked. Quiet sound has runs of zeros too, without a jump; in sound
of which a quarter of the samples is zero nothing is told. `preprocessing.quality` looks closer, and
also finds dropouts that hold another value.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, field

import numpy as np

from spectrogram.still import LEAST_S, while_equal

SHORTEST_S, SHORTEST = 0.5e-3, 16  # samples
JUMP_STEPS, JUMP_SHARE = 4, 0.05  # of the converter's steps, and of the mean magnitude
QUIET = 0.25  # share of zeros by themselves
MOST_RUNS = 20_000


@dataclass
class _Piece:
    """What of a stretch of samples [first, last) has to be known: zeros at its two ends, the values
    beside them (None: all are zero), runs within (start, end, jump), and sums over every nth
    sample."""

    first: int
    last: int
    lead: int
    after_lead: float | None
    tail: int
    before_tail: float | None
    runs: list = field(default_factory=list)
    sampled: int = 0
    zeros: int = 0
    magnitude: float = 0.0
    step: float = 0.0

    @property
    def silent(self) -> bool:
        return self.lead == self.last - self.first


class Dropouts:
    """`add` blocks in order, then ask. The result does not depend on how the sound is cut; `state`
    and `append` as of `Still`."""

    def __init__(self, rate_hz: float, first: int = 0):
        self.rate_hz = rate_hz
        self.least = max(SHORTEST, round(SHORTEST_S * rate_hz))
        self.long = max(16, round(LEAST_S * rate_hz))
        self.first = first
        self._all: _Piece | None = None

    def add(self, x: np.ndarray) -> None:
        """The next samples (n,), integers or floats."""
        if len(x):
            self._join(self._piece(x, self.first if self._all is None else self._all.last))

    def _piece(self, x: np.ndarray, first: int) -> _Piece:
        lead, tail = while_equal(x, 0), while_equal(x[::-1], 0)
        values = x[-first % self.least :: self.least]
        magnitude = np.abs(values.astype(np.int64 if x.dtype.kind == "i" else np.float64))
        some = magnitude[magnitude > 0]
        finest = (
            1 if self._all is not None and self._all.step == 1 else 0
        )  # no finer one is to be looked for
        step = finest or (
            0
            if not len(some)
            else int(np.gcd.reduce(some))
            if x.dtype.kind == "i"
            else float(some.min())
        )
        piece = _Piece(
            first,
            first + len(x),
            lead,
            _value(x, lead),
            tail,
            _value(x, len(x) - 1 - tail),
            [],
            len(values),
            len(values) - len(some),
            magnitude.sum().item(),
            step,
        )
        half, last = self.least // 2, len(x) - 1
        at = np.flatnonzero(values == 0) * self.least + -first % self.least
        right, left = (np.ones(len(at), bool) for _ in range(2))
        for off in (1, half // 2, half - 1):
            right &= x[np.minimum(at + off, last)] == 0
            left &= x[np.maximum(at - off, 0)] == 0
        done = lead
        for place in at[right | left]:
            if lead <= place < len(x) - tail and place >= done:
                start, done = (
                    place - while_equal(x[done:place][::-1], 0),
                    place + while_equal(x[place:], 0),
                )
                if done - start >= self.least:
                    piece.runs.append(
                        (
                            int(first + start),
                            int(first + done),
                            max(abs(x[start - 1].item()), abs(x[done].item())),
                        )
                    )
        return piece

    def _join(self, b: _Piece) -> None:
        a = self._all
        if a is None:
            self._all = b
            return
        runs, start, end = a.runs, a.last - a.tail, b.first + b.lead
        if not a.silent and not b.silent and end - start >= self.least:
            runs = [*runs, (start, end, max(abs(a.before_tail), abs(b.after_lead)))]
        step = (
            float(np.gcd(int(a.step), int(b.step)))
            if a.step >= 1 or b.step >= 1
            else min(filter(None, (a.step, b.step)), default=0)
        )
        self._all = _Piece(
            a.first,
            b.last,
            a.lead + b.lead * a.silent,
            b.after_lead if a.silent else a.after_lead,
            b.tail + a.tail * b.silent,
            a.before_tail if b.silent else b.before_tail,
            [*runs, *b.runs][:MOST_RUNS],
            a.sampled + b.sampled,
            a.zeros + b.zeros,
            a.magnitude + b.magnitude,
            step,
        )

    @property
    def runs(self) -> np.ndarray:
        """(k, 2) start and end, in samples of the recording, of the dropouts shorter than those
        that `Still` finds."""
        of = self._all
        if of is None or of.silent:
            return np.empty((0, 2))
        ends = (
            [(of.first, of.first + of.lead, abs(of.after_lead))] * (of.lead >= self.least),
            [(of.last - of.tail, of.last, abs(of.before_tail))] * (of.tail >= self.least),
        )
        runs = np.array([*ends[0], *of.runs, *ends[1]], float).reshape(-1, 3)
        length = runs[:, 1] - runs[:, 0]
        sharp = runs[:, 2] >= max(
            JUMP_STEPS * of.step, JUMP_SHARE * of.magnitude / max(of.sampled - of.zeros, 1)
        )
        lost = length[sharp | (length >= self.long)].sum() / self.least
        quiet = of.zeros - lost > QUIET * (of.sampled - lost)
        return np.empty((0, 2)) if quiet else runs[sharp & (length < self.long), :2]

    @property
    def state(self) -> list | None:
        """All that `append` needs, as JSON holds it."""
        return None if self._all is None else list(astuple(self._all))

    def append(self, state: list | None) -> None:
        """Go on with the stretch that begins where this one ends."""
        if state is not None:
            self._join(_Piece(*state))


def _value(x: np.ndarray, at: int) -> float | None:
    return x[at].item() if 0 <= at < len(x) else None
