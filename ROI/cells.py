"""From the picture to cells: power of a few frames each, as a ratio to the background, lightly smoothed.

Arrays are (bands, cells), time last and float32; power is in µPa^2/Hz.
"""

import numpy as np

from ROI.background import SILENCE


def power_of(picture_db):
    """A picture in dB re 1 µPa^2/Hz as power in µPa^2/Hz."""
    power = np.multiply(picture_db, np.float32(np.log(10) / 10), dtype=np.float32)
    return np.exp(power, out=power)


def cell_power(power, frames_per_cell):
    """(frames, bands) -> (bands, cells) mean power. A last cell that is not full is the mean of the frames it has."""
    missing = -len(power) % frames_per_cell
    if missing:
        whole = len(power) - frames_per_cell + missing
        rest = power[whole:].mean(axis=0, keepdims=True)
        power = np.concatenate([power[:whole], np.repeat(rest, frames_per_cell, axis=0)])
    cells = power[::frames_per_cell]
    for i in range(1, frames_per_cell):
        cells = cells + power[i::frames_per_cell]
    return np.multiply(cells.T, np.float32(1 / frames_per_cell), order="C")


def ratio_to_background(power, background):
    """Power over background; 1 (as the background) where either holds no data."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = power / background
    nothing = ~((power > SILENCE) & (background > 0))
    if nothing.any():
        ratio[nothing] = 1.0
    return ratio


def smooth_cells(ratio, median_cells, reach, n_bands):
    """Running median over `median_cells`, then mean over 2 reach + 1 cells and over `n_bands` bands; beyond the outermost bands lies background (1).

    `ratio` is (bands, cells); the result is median_cells - 1 + 2 reach cells shorter.
    """
    out = running_median(ratio, median_cells)
    if reach:
        cells, n = out, out.shape[1] - 2 * reach
        out = cells[:, :n] + cells[:, 1:1 + n]
        for i in range(2, 2 * reach + 1):
            out += cells[:, i:i + n]
    half = n_bands // 2
    if half:
        tall = np.full((len(out) + 2 * half, out.shape[1]), np.float32(2 * reach + 1))
        tall[half:-half] = out
        out = tall[:-2 * half] + tall[1:1 - 2 * half or None]
        for i in range(2, n_bands):
            out += tall[i:i + len(out)]
    return out * np.float32(1 / ((2 * reach + 1) * n_bands)) if reach or half else out


def running_median(x, cells):
    """Median over 1, 3 or 5 neighbours along the last axis, by minima and maxima of pairs; `cells` - 1 shorter."""
    if cells == 1:
        return x
    low, high = np.minimum(x[:, :-1], x[:, 1:]), np.maximum(x[:, :-1], x[:, 1:])
    if cells == 3:
        return np.maximum(low[:, :-1], np.minimum(high[:, :-1], x[:, 2:]))
    middle = x[:, 2:-2]  # the median of five is that of the middle one and the inner two of the two pairs around it
    low, high = np.maximum(low[:, :-3], low[:, 3:]), np.minimum(high[:, :-3], high[:, 3:])
    low, high = np.minimum(low, high), np.maximum(low, high)
    return np.maximum(low, np.minimum(high, middle))


def above_neighbours(ratio, n_bands, gap=2):
    """(bands, cells) ratio over the mean of `n_bands` bands beyond `gap` on the side where it is higher, over 1 at least: what stands out of a broad sound as well.

    The greater of two sides (Hansen & Sawyers 1980) keeps the edge of a broad sound from looking like a tone.
    """
    bands, cells = ratio.shape
    reach = gap + n_bands
    tall = np.ones((bands + 2 * reach, cells), np.float32)  # beyond the outermost bands lies background
    tall[reach:-reach] = ratio
    sums = tall[: bands + reach + gap + 1] + tall[1 : bands + reach + gap + 2]  # of n_bands bands from each one on
    for k in range(2, n_bands):
        sums += tall[k : k + len(sums)]
    sides = np.maximum(sums[:bands], sums[reach + gap + 1 : reach + gap + 1 + bands])
    return ratio / np.maximum(sides * np.float32(1 / n_bands), 1)
