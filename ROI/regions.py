"""From a mask to regions: connect, clean, join over gaps, cut what is endless, measure.

Arrays are (bands, cells), time last; a cell is a few frames of one band. A region is a set of mask cells:

1. cells that touch (also by a corner) form a patch;
2. a patch with fewer than `min_seed_cells` seed cells is a speck and goes;
3. patches that come within `gap_cells` in time (in the same band, or up to 2 `join_bands` beside it) form one region;
4. a region longer than `max_cells` is cut every `max_cells` from its start.

All of it works on the list of mask cells (sorted, summed by label), never label by label over the whole array: thousands of
specks cost what their cells cost.
"""

from dataclasses import dataclass

import numpy as np

CORNERS_TOUCH = np.ones((3, 3), dtype=bool)
SHARE = 0.05  # of a region's energy that may lie below, and above, its measured bounds
BREATH_CELLS = 2  # columns in a row without a cell, or far below the region's loudest, that part two calls of one region
SHAPE = ("fill", "tonal", "drift", "pulsing", "impulse", "n_parts")
IMPULSE_CELLS = 3  # the loudest so many columns in a row: 30 ms
REGION = np.dtype([
    ("first", "i8"), ("last", "i8"), ("low_band", "i8"), ("high_band", "i8"), ("peak_band", "i8"), ("snr", "f8"),
    ("ridge", "?"), ("energy_low_band", "i8"), ("energy_high_band", "i8"), *((name, "f8") for name in SHAPE),
])  # fmt: skip


@dataclass
class Cells:
    """The arrays of some stretch of time, each (bands, cells): mask (grow threshold), seed, ratio (power over background), background (power)."""

    mask: np.ndarray
    seed: np.ndarray
    ratio: np.ndarray
    background: np.ndarray

    def __len__(self):
        return self.mask.shape[1]

    def after(self, first):
        """The same from cell `first` on; a view."""
        return Cells(self.mask[:, first:], self.seed[:, first:], self.ratio[:, first:], self.background[:, first:])

    def then(self, other):
        """This stretch followed by `other`."""
        mine, theirs = vars(self), vars(other)
        return Cells(*(np.concatenate([mine[k], theirs[k]], axis=1) for k in mine)) if len(self) else other


@dataclass(frozen=True)
class Rules:
    """What makes a region; see the module's head. `grow` and `dynamic` are ratios: a cell widens a region's box if its own ratio is above `grow` and
    above the region's highest / `dynamic`. `widths_hz` (bands,) turns densities into powers."""

    min_seed_cells: int
    gap_cells: int
    join_bands: int
    max_cells: int
    grow: float
    dynamic: float
    widths_hz: np.ndarray


def find_regions(cells, rules, final):
    """Regions in a stretch of time whose right edge is open, unless `final`: then nothing follows. A region that what follows could still join is left open.

    Returns
    -------
    regions : (n,) REGION, finished; indices into the arrays, inclusive; `snr` as `measure` has it
    kept : (bands, cells) bool, the cells of all regions, finished or open
    carry : (bands, cells) bool, the cells of open regions, without pieces already cut off and returned
    open_from : first cell of the open regions, or the number of cells
    """
    n = len(cells)
    kept, carry = np.zeros_like(cells.mask), np.zeros_like(cells.mask)
    none = np.zeros(0, dtype=REGION)
    if np.count_nonzero(cells.seed) < rules.min_seed_cells and (final or not cells.mask[:, -1:].any()):
        return none, kept, carry, n
    index, band, time, patch = _patches(cells.mask)
    if not len(index):
        return none, kept, carry, n
    is_seed = cells.seed.ravel()[index]
    keep = np.bincount(patch, weights=is_seed) >= rules.min_seed_cells
    if not final:
        keep[patch[time == n - 1]] = True  # may yet grow seeds
    chosen = keep[patch]
    index, band, time, is_seed = index[chosen], band[chosen], time[chosen], is_seed[chosen]
    if not len(index):
        return none, kept, carry, n
    kept.ravel()[index] = True
    group = _join(kept, rules.gap_cells, rules.join_bands)(band, time)

    order = _order(group)
    index, band, time, is_seed, group = (x[order] for x in (index, band, time, is_seed, group))
    starts, group = _runs(group)
    first = np.minimum.reduceat(time, starts)
    piece = (time - first[group]) // rules.max_cells
    if not final:
        last = np.maximum.reduceat(time, starts)
        whole_pieces = np.where(last >= n - 1 - rules.gap_cells, (n - first) // rules.max_cells, n)  # of an open region; a closed one goes whole
        is_open = piece >= whole_pieces[group]
        carry.ravel()[index[is_open]] = True
        done = ~is_open
        open_from = int(time[is_open].min()) if is_open.any() else n
        index, band, time, is_seed, group, piece = (x[done] for x in (index, band, time, is_seed, group, piece))
    else:
        open_from = n
    if not len(index):
        return none, kept, carry, open_from
    if piece.any():
        group = group * (int(piece.max()) + 1) + piece
        order = _order(group)
        index, band, time, is_seed, group = (x[order] for x in (index, band, time, is_seed, group))
    return measure(cells, index, band, time, is_seed, _runs(group), rules), kept, carry, open_from


def measure(cells, index, band, time, is_seed, runs, rules):
    """Extent, peak, signal-to-noise ratio and shape of regions, each a run of the lists `index` (flat), `band`, `time`.

    `snr` is a power ratio: over the region's cells that lie within its extent (not the margin that smoothing put around it), the power in excess of the
    background over the background's power, sum((power - background) * width) / sum(background * width). Pieces with too few seed cells are left out.
    `energy_low_band` .. `energy_high_band` hold all but SHARE at either end of that excess; see `shape` for the rest.
    """
    starts, region = runs
    ratio, noise = cells.ratio.ravel()[index], cells.background.ravel()[index] * rules.widths_hz[band]  # noise: float64, as the widths
    peak = np.maximum.reduceat(ratio, starts)[region]
    core = ((ratio > rules.grow) & (ratio * rules.dynamic > peak)) | (ratio == peak)
    out = np.zeros(len(starts), dtype=REGION)
    beyond = np.int64(2**40)
    for name, value in (("first", time), ("low_band", band)):
        out[name] = np.minimum.reduceat(np.where(core, value, beyond), starts)
    for name, value in (("last", time), ("high_band", band)):
        out[name] = np.maximum.reduceat(np.where(core, value, -1), starts)
    highest = np.flatnonzero(ratio == peak)
    out["peak_band"] = band[highest[np.searchsorted(highest, starts)]]
    noise[(time < out["first"][region]) | (time > out["last"][region]) | (band < out["low_band"][region]) | (band > out["high_band"][region])] = 0.0
    excess = (ratio - 1.0) * noise
    out["snr"] = np.add.reduceat(excess, starts) / np.add.reduceat(noise, starts)
    shape(out, np.maximum(excess, 0.0), band, time, region, len(rules.widths_hz))
    return out[np.add.reduceat(is_seed.astype(np.int64), starts) >= rules.min_seed_cells]


def shape(out, excess, band, time, region, n_bands):
    """Write into REGION records `out` what their cells look like; `excess` is each cell's power above the background, 0 outside the extent.

    energy_low_band, energy_high_band : the bands between which all but SHARE at either end of the excess lies
    fill : share of the box's cells that belong to the region
    tonal : share of the excess that lies, column by column, in the strongest cell and its two neighbours
    drift : mean step of the strongest band from column to column, in bands
    pulsing : standard deviation over mean of the columns' excess
    impulse : share of the excess within the loudest IMPULSE_CELLS columns in a row
    n_parts : calls that follow each other: runs of columns parted by BREATH_CELLS or more without excess
    """
    n = len(out)
    length = out["last"] - out["first"] + 1
    offset = np.cumsum(length) - length
    at = np.clip(time - out["first"][region], 0, length[region] - 1) + offset[region]  # the column, of all regions' columns
    owner = np.repeat(np.arange(n), length)

    spectrum = np.bincount(region * n_bands + band, excess, n * n_bands).reshape(n, n_bands)
    total = np.cumsum(spectrum, axis=1)
    share = total / np.maximum(total[:, -1:], 1e-300)
    out["energy_low_band"] = np.clip((share < SHARE).sum(axis=1), out["low_band"], out["high_band"])
    out["energy_high_band"] = np.clip((share < 1 - SHARE).sum(axis=1), out["energy_low_band"], out["high_band"])
    out["fill"] = np.bincount(region, excess > 0, n) / (length * (out["high_band"] - out["low_band"] + 1))

    columns = np.bincount(at, excess, len(owner))
    strongest = np.zeros(len(owner))
    np.maximum.at(strongest, at, excess)
    top_band = np.full(len(owner), -1)
    top = excess == strongest[at]
    top_band[at[top]] = band[top]
    near = np.bincount(at, np.where(np.abs(band - top_band[at]) <= 1, excess, 0.0), len(owner))
    out["tonal"] = np.bincount(owner, near, n) / np.maximum(np.bincount(owner, columns, n), 1e-300)
    busy = columns > 0
    step = np.abs(np.diff(top_band)) * ((owner[1:] == owner[:-1]) & busy[1:] & busy[:-1])
    out["drift"] = np.bincount(owner[1:], step, n) / length
    mean = np.bincount(owner, columns, n) / length
    spread = np.sqrt(np.bincount(owner, (columns - mean[owner]) ** 2, n) / length)
    out["pulsing"] = spread / np.maximum(mean, 1e-300)
    total = np.concatenate([[0.0], np.cumsum(columns)])
    ends = np.minimum(np.arange(len(owner)) + IMPULSE_CELLS, (offset + length)[owner])
    burst = total[ends] - total[:-1]
    out["impulse"] = np.maximum.reduceat(burst, offset) / np.maximum(mean * length, 1e-300)
    rest = np.ones(len(owner), bool)  # within the last BREATH_CELLS columns nothing but rest
    for k in range(1, BREATH_CELLS + 1):
        before = np.concatenate([np.zeros(min(k, len(busy)), bool), busy[:-k]])
        rest &= ~before | (np.concatenate([np.full(min(k, len(owner)), -1), owner[:-k]]) != owner)
    out["n_parts"] = np.bincount(owner, busy & rest, n)


def _patches(mask):
    """Flat index (ascending), band, time and patch (from 0) of every mask cell."""
    from scipy.ndimage import label

    index = np.flatnonzero(mask)
    labels, _ = label(mask, CORNERS_TOUCH)
    band = np.repeat(np.arange(len(mask)), np.count_nonzero(mask, axis=1))
    return index, band, index - band * mask.shape[1], labels.ravel()[index] - 1


def _join(kept, gap_cells, join_bands):
    """Groups of kept cells: each casts a shadow `gap_cells` long to the right and `join_bands` up and down; those whose shadows touch are one group.

    Returns a function of (band, time) that gives a kept cell's group, from 1. Stretches without any cell are left out before the work and not missed.
    """
    from scipy.ndimage import label

    busy = _shadow(kept.any(axis=0)[None], gap_cells + 1)[0]  # with an empty column behind each stretch
    place = np.cumsum(busy) - 1
    shadow = _shadow(kept[:, busy], gap_cells)
    for _ in range(join_bands):
        wider = shadow.copy()
        wider[1:] |= shadow[:-1]
        wider[:-1] |= shadow[1:]
        shadow = wider
    labels, _ = label(shadow, CORNERS_TOUCH)
    return lambda band, time: labels[band, place[time]]


def _shadow(cells, length):
    """Every True followed by `length` more, along the last axis; by doubling, so in few passes."""
    out, reach = cells.copy(), 0
    while reach < length:
        step = min(reach + 1, length - reach)
        out[:, step:] |= out[:, :-step].copy()
        reach += step
    return out


def _order(labels):
    """Stable order by label; a radix sort where the labels are small enough for numpy to use one."""
    return np.argsort(labels.astype(np.uint16) if labels.max() < 2**16 else labels, kind="stable")


def _runs(labels):
    """Starts of the runs of equal (sorted) labels, and the number of the run, from 0, of each element."""
    changes = np.concatenate([[True], labels[1:] != labels[:-1]])
    return np.flatnonzero(changes), np.cumsum(changes) - 1
