"""What the samples themselves tell of a recording's faults: clipping, dropouts, bits that do not move. One pass over float32 blocks, bounded memory.

Clipping and dropouts are runs of equal samples. In sound that fills the converter's steps hardly two neighbours are equal, in quiet sound they often
are; so what counts as a long run is measured from the recording itself, and a run must be entered or left by a jump, which the turning
points and pauses of quiet sound are not.
"""
from __future__ import annotations

import numpy as np

from spectrogram.still import LEAST_S as LONG_S  # so long a run is a dropout even without a jump

FULL_SCALE = 0.9999  # as `Recording` counts
FLAT_SAMPLES = 3  # two equal samples at the top come about; three with a corner at each end do not:
CORNER_STEPS = 4  # a round top that stays within one step for three samples falls by less than three steps in the next
DROPOUT_SAMPLES, DROPOUT_S = 16, 0.5e-3  # recorders lose whole buffers, never less than this
MOST_RUNS = 50_000  # long runs that are kept at most: some MB
LONGEST = 1 << 14  # run lengths from here on are counted as one
BITS = 24  # of float32's whole numbers; 32-bit recordings are looked at to 24 bits
STUCK_CHANGES = 1000  # samples in which higher bits have changed before one that never did is called stuck: by chance 1 in 2^1000
VISITS, FILLED = 20, 0.9  # levels among the middle 60 % of samples that should come 20 times each; where a tenth never comes, software has made gaps


class Runs:
    """Runs of equal samples. `add` blocks, `finish`, then ask.

    Attributes
    ----------
    lowest, highest : the extremes, full scale +-1.
    """

    def __init__(self, rate_hz: float):
        self.rate_hz, self.n = rate_hz, 0
        self.lowest, self.highest = np.inf, -np.inf
        self._open = np.empty((0, 4))  # value, start, length, step into it: the run in which the last block ended
        self._smallest, self._changes, self._travelled = np.inf, 0, 0.0
        self._full = self._at_top = self._at_bottom = (0, 0)  # samples, longest run: at full scale, flat at the highest, flat at the lowest sample
        self._lengths = np.zeros(LONGEST + 1, np.int64)
        self._long: list[np.ndarray] = []

    def add(self, x: np.ndarray) -> None:
        """The next samples, float32 (n,)."""
        if len(x) == 0:
            return
        first = np.concatenate([[0], np.flatnonzero(x[1:] != x[:-1]) + 1])
        runs = np.column_stack([x[first], first + self.n, np.diff(np.append(first, len(x))), np.full(len(first), np.nan)])  # in float64
        if len(self._open):
            if self._open[0, 0] == runs[0, 0]:
                runs[0, 1:] = self._open[0, 1], self._open[0, 2] + runs[0, 2], self._open[0, 3]
            else:
                runs = np.concatenate([self._open, runs])
        steps = np.abs(np.diff(runs[:, 0]))
        runs[1:, 3] = steps
        self._close(runs[:-1], steps)
        self._open = runs[-1:]
        self.n += len(x)

    def finish(self) -> None:
        self._close(self._open, np.full(len(self._open), np.nan))
        self._open = self._open[:0]

    def _close(self, runs: np.ndarray, step_out: np.ndarray) -> None:
        """Count runs that have ended; a step is NaN at the two ends of the recording."""
        if len(runs) == 0:
            return
        value, _, length, step_in = runs.T
        self._lengths += np.bincount(np.minimum(length, LONGEST).astype(int), minlength=LONGEST + 1)
        known = step_out[np.isfinite(step_out)]
        self._smallest = min(self._smallest, known.min(initial=np.inf))
        self._changes, self._travelled = self._changes + len(known), self._travelled + known.sum()
        self._full = _more(self._full, length[np.abs(value) >= FULL_SCALE])
        corner = (length >= FLAT_SAMPLES) & (np.fmin(step_in, step_out) >= CORNER_STEPS * self._smallest)
        if value.max() > self.highest:
            self.highest, self._at_top = float(value.max()), (0, 0)
        if value.min() < self.lowest:
            self.lowest, self._at_bottom = float(value.min()), (0, 0)
        self._at_top = _more(self._at_top, length[corner & (value == self.highest)])
        self._at_bottom = _more(self._at_bottom, length[corner & (value == self.lowest)])
        long = length >= max(DROPOUT_SAMPLES, DROPOUT_S * self.rate_hz)
        if long.any() and len(self._long) < MOST_RUNS:
            self._long.extend(np.column_stack([runs[long], step_out[long]])[:MOST_RUNS - len(self._long)])

    def clipping(self) -> tuple[float, float, int]:
        """Share of clipped samples, the level at which they are cut off (full scale 1), the longest clipped run in samples."""
        if self.highest == self.lowest:
            return 0.0, np.nan, 0
        cut = [(self._full, 1.0), (self._at_top, self.highest), (self._at_bottom, -self.lowest)]
        cut = [(samples, longest, level) for (samples, longest), level in cut[:1] + [side for side in cut[1:] if abs(side[1]) < FULL_SCALE] if samples]
        if not cut:
            return 0.0, np.nan, 0
        samples, longest, level = zip(*cut)
        return sum(samples) / self.n, max(level), max(longest)

    def dropouts(self) -> np.ndarray:
        """(k, 2) start and end in s of the runs that are no part of the sound, in order."""
        if self.highest == self.lowest or not self._long:
            return np.empty((0, 2))
        runs = np.array(self._long)
        value, start, length, step_in, step_out = runs.T
        counted = np.cumsum(self._lengths)
        usual = int(np.searchsorted(counted, 0.99 * counted[-1]))  # 99 of 100 runs are no longer than this;
        longest = usual * np.log10(max(counted[-1], 10))  # and of so many the longest half of this, were their lengths by chance
        jump = np.fmax(np.fmax(step_in, step_out), 0)
        sharp = jump >= max(CORNER_STEPS * self._smallest, 0.1 * self._travelled / max(self._changes, 1))
        clipped = (np.abs(value) >= FULL_SCALE) | (value == self.highest) | (value == self.lowest)
        found = (length >= longest) & (sharp | (length >= LONG_S * self.rate_hz)) & ~clipped
        return np.column_stack([start, start + length])[found] / self.rate_hz


def _more(so_far: tuple[int, int], lengths: np.ndarray) -> tuple[int, int]:
    return (so_far[0] + int(lengths.sum()), max(so_far[1], int(lengths.max()))) if len(lengths) else so_far


class Bits:
    """Which steps and bits the samples use. `add` blocks, then ask."""

    def __init__(self):
        self.whole, self.step = True, 0  # whether all samples are whole numbers of 2^-23, and their greatest common divisor
        self._first, self._last, self._moved = None, None, 0
        self._changed_above = np.zeros(BITS, np.int64)
        self._visits: np.ndarray | None = np.zeros(1 << 16, np.int64)

    def add(self, x: np.ndarray) -> None:
        """The next samples, float32 (n,)."""
        if not self.whole or len(x) == 0:
            return
        scaled = x * np.float32(1 << BITS - 1)
        whole = np.clip(scaled, -(1 << BITS - 1), 1 << BITS - 1).astype(np.int32)
        if (whole != scaled).any():
            self.whole = False
            return
        if self._first is None:
            self._first = self._last = whole[0]
        if self.step != 1:
            self.step = int(np.gcd(self.step, np.gcd.reduce(whole - self._first)))
        changed = (whole ^ np.concatenate([[self._last], whole[:-1]])) & (1 << BITS) - 1
        self._last = whole[-1]
        self._moved |= int(np.bitwise_or.reduce(changed))
        for k in self._holes():
            self._changed_above[k] += np.count_nonzero(changed >> k + 1)
        if self._visits is not None and (whole & 0xFF).any():
            self._visits = None  # more than 16 bits: too many levels to count
        elif self._visits is not None:
            self._visits += np.bincount((whole >> 8) + (1 << 15), minlength=1 << 16)[:1 << 16]

    def _holes(self) -> list[int]:
        """Bits (of 24, 0 the lowest) that have never changed, though lower and higher ones have."""
        low = (self._moved & -self._moved).bit_length()
        return [k for k in range(low, self._moved.bit_length()) if not self._moved >> k & 1] if self._moved else []

    def stuck(self) -> list[int]:
        """Bits that never change, counted from the lowest that does (0)."""
        low = (self._moved & -self._moved).bit_length() - 1
        return [k - low for k in self._holes() if self._changed_above[k] >= STUCK_CHANGES]

    def used(self) -> float:
        """Bits that the samples use of full scale: 16 of a 24-bit file that was made of 16; NaN for float samples that are on no grid."""
        if not self.whole or self.step == 0:
            return np.nan
        return BITS - np.log2(self.step) - self.gaps()

    def gaps(self) -> float:
        """Bits lost where only some of the levels in the middle of the sound ever come, as after gain in software; 0 where that cannot be told."""
        if not self.whole or self._visits is None or self._first is None:
            return 0.0
        counted = np.cumsum(self._visits)
        low, high = np.searchsorted(counted, [0.2 * counted[-1], 0.8 * counted[-1]])
        step, some_level = max(1, self.step >> 8), (int(self._first) >> 8) + (1 << 15)
        visits = self._visits[low + (some_level - low) % step:high + 1:step]
        if len(visits) < 8 or visits.sum() < VISITS * len(visits):
            return 0.0
        filled = np.count_nonzero(visits) / len(visits)
        return -np.log2(filled) if filled < FILLED else 0.0
