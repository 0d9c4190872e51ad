"""From a mask to regions: connect, clean, join over gaps, cut what is endless, measure.

Arrays are (bands, cells), time last; a cell is a few frames of one band. A region is a set of mask cells:

1. cells that touch (also by a corner) form a patch;
2. a patch with fewer than `min_seed_cells` seed cells is a speck and goes;
3. patches that come within `gap_cells` in time (in the same band, or `join_bands` beside it) form one region;
4. a region longer than `max_cells` is cut every `max_cells` from its start.

All of it works on the list of mask cells (sorted, summed by label), never label by label over the whole array: thousands of
specks cost what their cells cost.
"""

from dataclasses import dataclass

import numpy as np

CORNERS_TOUCH = np.ones((3, 3), dtype=bool)


@dataclass
class Cells:
    """The arrays of some stretch of time, each (bands, cells): mask (grow threshold), seed, ratio (power over background), background (power)."""

    mask: np.ndarray
    seed: np.ndarray
    ratio: np.ndarray
    background: np.ndarray

    def after(self, first):
        """The same from cell `first` on; a view."""
        return Cells(self.mask[:, first:], self.seed[:, first:], self.ratio[:, first:], self.background[:, first:])

    def then(self, other):
        """This stretch followed by `other`."""
        mine, theirs = vars(self), vars(other)
        return Cells(*(np.concatenate([mine[k], theirs[k]], axis=1) for k in mine))


REGION = np.dtype([("first", "i8"), ("last", "i8"), ("low_band", "i8"), ("high_band", "i8"), ("peak_band", "i8"), ("snr", "f8")])


def find_regions(cells, widths_hz, min_seed_cells, gap_cells, join_bands, max_cells, grow, dynamic, final):
    """Regions in a stretch of time whose right edge is open, unless `final`.

    Parameters
    ----------
    cells : Cells
    widths_hz : (bands,), turns densities into powers
    grow, dynamic : ratios; a cell lies within a region's extent if its own ratio is above `grow` and above the region's highest / `dynamic`
    final : nothing follows; otherwise a region that what follows could still join is left open

    Returns
    -------
    regions : (n,) REGION, finished; indices into the arrays, inclusive. `snr` is a power ratio, see `measure`
    kept : (bands, cells) bool, the cells of all regions, finished or open
    open_from : first cell of the open regions, or the number of cells
    carry : (bands, cells) bool, the cells of open regions, without the pieces already cut off and returned
    """
    n = cells.mask.shape[1]
    none = np.zeros(0, dtype=REGION), np.zeros_like(cells.mask), n, np.zeros_like(cells.mask)
    index, patch, time = _patches(cells.mask)
    if len(index) == 0:
        return none
    seeds = np.bincount(patch, weights=cells.seed.ravel()[index])
    keep = seeds >= min_seed_cells
    if not final:
        keep[patch[time == n - 1]] = True  # may yet grow seeds
    chosen = keep[patch]
    index, time = index[chosen], time[chosen]
    if len(index) == 0:
        return none
    kept = np.zeros_like(cells.mask)
    kept.ravel()[index] = True
    group = _join(kept, gap_cells, join_bands).ravel()[index]

    order = np.argsort(group, kind="stable")
    index, time, group = index[order], time[order], group[order]
    starts = np.flatnonzero(np.diff(group, prepend=0))
    group = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(index)))
    first = np.minimum.reduceat(time, starts)
    piece = (time - first[group]) // max_cells
    is_open = np.zeros(len(index), dtype=bool)
    if not final:
        last = np.maximum.reduceat(time, starts)
        complete = np.where(last >= n - 1 - gap_cells, (n - first) // max_cells, n)  # of an open region, its whole pieces
        is_open = piece >= complete[group]
    carry = np.zeros_like(cells.mask)
    carry.ravel()[index[is_open]] = True
    open_from = int(time[is_open].min()) if is_open.any() else n

    done = ~is_open
    if not done.any():
        return none[0], kept, open_from, carry
    key = (group * (piece.max() + 1) + piece)[done]
    return measure(cells, index[done], time[done], key, widths_hz, min_seed_cells, grow, dynamic), kept, open_from, carry


def measure(cells, index, time, key, widths_hz, min_seed_cells, grow, dynamic):
    """Extent, peak and signal-to-noise ratio of the regions whose cells share a `key`.

    `snr` is a power ratio: the power of the region's cells in excess of the background, over the background's power in the same cells,
    sum((power - background) * width) / sum(background * width).
    """
    order = np.argsort(key, kind="stable")
    index, time, key = index[order], time[order], key[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    region = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(index)))
    band = index // cells.mask.shape[1]
    ratio, background = cells.ratio.ravel()[index], cells.background.ravel()[index] * widths_hz[band]
    peak = np.maximum.reduceat(ratio, starts)
    core = (ratio > grow) & (ratio * dynamic > peak[region])
    core |= ratio == peak[region]
    highest = np.flatnonzero(ratio == peak[region])
    far = np.int64(2**40)
    out = np.zeros(len(starts), dtype=REGION)
    out["first"] = np.minimum.reduceat(np.where(core, time, far), starts)
    out["last"] = np.maximum.reduceat(np.where(core, time, -far), starts)
    out["low_band"] = np.minimum.reduceat(np.where(core, band, far), starts)
    out["high_band"] = np.maximum.reduceat(np.where(core, band, -far), starts)
    out["peak_band"] = band[highest[np.searchsorted(highest, starts)]]
    noise = np.add.reduceat(background.astype(np.float64), starts)
    out["snr"] = np.add.reduceat((ratio - 1.0) * background.astype(np.float64), starts) / noise
    seeds = np.add.reduceat(cells.seed.ravel()[index].astype(np.int64), starts)
    return out[seeds >= min_seed_cells]


def _patches(mask):
    """Flat index (ascending), label from 0, and time of every mask cell."""
    from scipy.ndimage import label

    labels, _ = label(mask, CORNERS_TOUCH)
    index = np.flatnonzero(labels)
    return index, labels.ravel()[index] - 1, index % mask.shape[1]


def _join(kept, gap_cells, join_bands):
    """Labels after every kept cell has cast a shadow `gap_cells` long to the right and `join_bands` up and down."""
    from scipy.ndimage import label

    shadow, reach = kept.copy(), 0
    while reach < gap_cells:  # doubling: few passes for a long shadow
        step = min(reach + 1, gap_cells - reach)
        shadow[:, step:] |= shadow[:, :-step].copy()
        reach += step
    for _ in range(join_bands):
        wider = shadow.copy()
        wider[1:] |= shadow[:-1]
        wider[:-1] |= shadow[1:]
        shadow = wider
    return label(shadow, CORNERS_TOUCH)[0]
