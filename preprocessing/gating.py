"""Classical denoising: what does not stand out of the adaptive background is turned down.

    quiet = np.concatenate(list(gated(blocks, sample_rate_hz)))

The background is that of the regions of interest (ROI/background.py), on FFT bins: in each segment of 2 s a quantile of the power, divided by its expectation for noise
(the power of noise in one cell is exponentially distributed), gives the mean noise power; over 26 s the median of the segments holds, and straight lines lead from one segment's
centre to the next. A call is shorter than half of that; what lasts longer (a ship, a mooring's hum) is background. A recording of under 13 s is a clip: one low
quantile over all of it.

The gain of a cell follows how far the mean power around it, over 5 frames and 3 bins, lies above the background: `floor_db` up to `closed_db`, 0 dB from `open_db` on, and a
smooth way between. What passes keeps its level and phase; the rest is turned down, not out, so that no holes are heard. Levels do not matter: +20 dB on the sound
is +20 dB on what comes out. Where there is no background (digital silence all around) all passes.

Source: Boll (1979), IEEE Trans. ASSP 27:113 (spectral subtraction, its residue of tones, and averaging and a floor against them).
"""
from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from preprocessing.overlap_add import WINDOW_S, Grid, power

HALF_SPAN = 6        # segments before and after, of the background's median
CLIP_QUANTILE = 0.2  # of a clip, which may be cut around a call: only its quietest parts are sure to be noise
SILENCE = 1e-20      # full scale^2 (-200 dB): below is digital silence, no data
UNKNOWN = np.inf     # "so far above the background" where there is none


@dataclass(frozen=True)
class Gate:
    """`floor_db`: gain of what is closed. `closed_db`, `open_db`: above the background. `quantile`: of the power in a segment. `smooth_frames`, `smooth_bins`: averaged on either
    side, 5 frames and 3 bins with 2 and 1. `window_s`: a frame's length."""

    floor_db: float = -20.0
    closed_db: float = 4.0
    open_db: float = 9.0
    quantile: float = 0.5
    smooth_frames: int = 2
    smooth_bins: int = 1
    window_s: float = WINDOW_S

    def __post_init__(self):
        if not (self.floor_db <= 0 and self.closed_db < self.open_db and 0 < self.quantile < 1 and self.smooth_frames >= 0 and self.smooth_bins >= 0 and self.window_s > 0):
            raise ValueError(f"{self}: needs floor_db <= 0, closed_db < open_db, a quantile between 0 and 1, smoothing of at least 0 cells and a window above 0 s")


def gated(blocks: Iterable[np.ndarray], sample_rate_hz: int, gate: Gate = Gate()) -> Iterator[np.ndarray]:
    """The sound with its background turned down: float32 blocks, as long in all as what came in.

    Parameters
    ----------
    blocks : float32 samples in order, in pieces of any size; the result is the same for all.

    Notes
    -----
    Holds some 20 s of spectra (about 150 MB at 192 kHz), however long the recording.
    """
    grid = Grid(sample_rate_hz, gate.window_s)
    return grid.filtered(blocks, lambda spectra: gate_gains(above_background(spectra, grid, gate.quantile), gate))


def above_background(spectra: Iterable[np.ndarray], grid: Grid, quantile: float = 0.5) -> Iterator[np.ndarray]:
    """How far each cell lies above the background, as a ratio of powers: (frames, bins) float32 for each segment, UNKNOWN where there is no background."""
    powers: deque = deque()
    levels: dict[int, np.ndarray] = {}
    seen = done = 0
    for segment in spectra:
        powers.append(power(segment))
        levels[seen] = noise_level(powers[-1], quantile, least=grid.segment_frames // 2)
        seen += 1
        if seen > done + HALF_SPAN + 1:  # the level of the next segment is settled, too
            yield _ratio(powers.popleft(), levels, done, seen, grid)
            done += 1
            levels.pop(done - HALF_SPAN - 2, None)
    if 0 < seen <= HALF_SPAN:
        cells = np.concatenate(list(powers))
        level = noise_level(cells, CLIP_QUANTILE, least=len(cells) // 4)
        levels = dict.fromkeys(range(seen), level)
    while done < seen:
        yield _ratio(powers.popleft(), levels, done, seen, grid)
        done += 1


def noise_level(cells: np.ndarray, quantile: float, least: int) -> np.ndarray:
    """(bins,) mean noise power in (frames, bins), from a quantile of each bin; NaN where fewer than `least` frames hold any sound."""
    if len(cells) == 0:
        return np.full(cells.shape[1], np.nan, np.float32)
    held = (cells > SILENCE).sum(axis=0)
    ordered = np.sort(np.where(cells > SILENCE, cells, np.inf), axis=0)
    rank = (quantile * np.maximum(held - 1, 0)).astype(int)
    level = np.take_along_axis(ordered, rank[None], axis=0)[0] / np.float32(-np.log1p(-quantile))
    return np.where(held >= max(least, 1), level, np.nan).astype(np.float32)


def _ratio(cells: np.ndarray, levels: dict[int, np.ndarray], segment: int, seen: int, grid: Grid) -> np.ndarray:
    """Power over the background, which runs from the centre of one segment to the next and is held at the recording's ends."""
    before, here, after = (_median(levels, min(max(k, 0), seen - 1)) for k in (segment - 1, segment, segment + 1))
    side = (np.arange(len(cells), dtype=np.float32) - np.float32((grid.segment_frames - 1) / 2)) / np.float32(grid.segment_frames)
    to_before, to_after = (np.where(np.isfinite(other), other, here) - here for other in (before, after))
    background = here + np.maximum(-side, 0)[:, None] * to_before + np.maximum(side, 0)[:, None] * to_after
    known = background > 0  # not NaN
    return np.divide(cells, background, out=np.full(cells.shape, UNKNOWN, np.float32), where=known)


def _median(levels: dict[int, np.ndarray], segment: int) -> np.ndarray:
    """(bins,) median of the levels around; NaN where none is known."""
    near = np.stack([levels[k] for k in range(segment - HALF_SPAN, segment + HALF_SPAN + 1) if k in levels])
    near = np.sort(near, axis=0)  # NaN last
    known = np.isfinite(near).sum(axis=0)
    lower, upper = (np.take_along_axis(near, np.maximum(k, 0)[None], axis=0)[0] for k in ((known - 1) // 2, np.minimum(known // 2, len(near) - 1)))
    return np.float32(0.5) * (lower + upper)


def gate_gains(above: Iterable[np.ndarray], gate: Gate = Gate()) -> Iterator[np.ndarray]:
    """(frames, bins) float32 gains of amplitude for each segment of `above_background`."""
    before = here = None
    for after in above:
        if here is not None:
            yield _gain(before, here, after, gate)
        before, here = here, after
    if here is not None:
        yield _gain(before, here, None, gate)


def _gain(before, here, after, gate: Gate) -> np.ndarray:
    """Gains of a segment, from it and the frames beside it."""
    side, bins = gate.smooth_frames, gate.smooth_bins
    left = here[:1].repeat(side, axis=0) if before is None or side == 0 else before[-side:]
    right = here[-1:].repeat(side, axis=0) if after is None or side == 0 else after[:side]
    near = np.pad(np.concatenate([left, here, right]), ((side - len(left), side - len(right)), (bins, bins)), mode="edge")
    return gain_of(mean_around(near, side, bins), gate)


def mean_around(cells: np.ndarray, frames: int, bins: int) -> np.ndarray:
    """Mean over the cells around each; the result is smaller by `frames` and `bins` on every side."""
    rows, columns = len(cells) - 2 * frames, cells.shape[1] - 2 * bins
    total = sum(cells[k:k + rows] for k in range(2 * frames + 1))
    return sum(total[:, k:k + columns] for k in range(2 * bins + 1)) / np.float32((2 * frames + 1) * (2 * bins + 1))


def gain_of(ratio: np.ndarray, gate: Gate) -> np.ndarray:
    """Gain of amplitude for a mean power over the background: smooth in decibels."""
    above_db = 10 * np.log10(np.maximum(ratio, np.float32(1e-6)))
    closed = np.clip((gate.open_db - above_db) / np.float32(gate.open_db - gate.closed_db), 0, 1)
    return (10 ** (np.float32(gate.floor_db / 20) * closed ** 2 * (3 - 2 * closed))).astype(np.float32)
