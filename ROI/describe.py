"""What a region looks like and what lies around it, as numbers: the input of the region head (`ROI.head`).

Own shape: length, bounds and peak on the band scale, SNR, share of its box filled, how tonal, how steady, how many calls and clicks (`ROI.regions.shape`, `ROI.crest`).
Around it: regions of other kinds at the same time; the picture in the region's time, pooled over GROUPS groups of bands, as mean and as peak above the background, and what
comes half a second before and after (RoI pooling: Girshick 2015, Fast R-CNN). What the network made of its moments: highest and mean logit of each label.

None of it depends on the sound's absolute level. A band that the recording does not hold counts as background.
"""

from dataclasses import dataclass

import numpy as np

from ROI.band import RIDGE
from ROI.crest import NAME as CREST

GROUPS, BESIDE_GROUPS = 24, 6
BESIDE_S = 0.5
LOGIT = 8.0  # logits go no further
OWN = ("log_duration", "low", "high", "energy_low", "energy_high", "peak", "snr", "fill", "tonal", "drift", "pulsing", "impulse", "parts", "clicks", "interval")
AROUND_S = 2.0
BLOCK_S, BLOCK_REACH = 8.0, 2  # of the background here: the median, over the blocks within reach, of each block's 20th percentile
BACKGROUND_PERCENT = 20


@dataclass
class Scene:
    """What lies around regions. All arrays begin at `start_s` of the recording.

    mean_ratio, peak_ratio (cells, groups) : mean and highest power of `ROI.describe.grouped` cells over the background, at `cell_rate_hz`
    logit (times, labels) : what the network makes of each moment, at `trace_rate_hz` from `trace_start_s`
    """

    start_s: float
    cell_rate_hz: float
    mean_ratio: np.ndarray
    peak_ratio: np.ndarray
    trace_start_s: float
    trace_rate_hz: float
    logit: np.ndarray


def percentile(values, percent):
    """`np.percentile` over the first axis, several times as fast on long, narrow arrays."""
    at = percent / 100 * (len(values) - 1)
    low = int(at)
    high = min(low + 1, len(values) - 1)
    ordered = np.partition(np.ascontiguousarray(values.T), (low, high), axis=1)
    return ordered[:, low] + (at - low) * (ordered[:, high] - ordered[:, low])


def block_level(mean):
    """(bands,) float32 level of one block of coarse power (cells, bands)."""
    return percentile(mean[::2], BACKGROUND_PERCENT).astype(np.float32)


def block_background(levels, block):
    """(bands,) background of a block from the (blocks, bands) levels around it."""
    return np.median(levels[max(0, block - BLOCK_REACH) : block + BLOCK_REACH + 1], axis=0)


def over_background(power, background):
    """(cells, groups) `grouped` power (cells, bands) over its background (bands,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return grouped(power * np.where(background > 0, 1 / background, np.float32(np.nan)))


def whole_scene(mean, peak, cell_rate_hz, logit, trace_rate_hz):
    """The Scene of a whole recording from its coarse power (cells, bands), mean and highest."""
    size = max(1, round(BLOCK_S * cell_rate_hz))
    cuts = [slice(k, k + size) for k in range(0, len(mean), size)]
    levels = np.stack([block_level(mean[cut]) for cut in cuts])
    backgrounds = [block_background(levels, k) for k in range(len(cuts))]
    ratios = (np.concatenate([over_background(power[cut], b) for cut, b in zip(cuts, backgrounds)]) for power in (mean, peak))
    return Scene(0.0, cell_rate_hz, *ratios, 0.0, trace_rate_hz, logit)


def kinds(profile):
    """Names of the kinds of regions that a profile's recordings have."""
    ridges = [RIDGE] if any(band.get("ridge_bands") for band in profile.roi_bands) else []
    return [band["name"] for band in profile.roi_bands] + ridges + [CREST]


def feature_names(profile):
    """Names of the columns of `describe`."""
    return [
        *OWN, *(f"is_{kind}" for kind in kinds(profile)), *(f"beside_{kind}" for kind in kinds(profile)), "clicks_beside", "density",
        *(f"mean_{g}" for g in range(GROUPS)), *(f"peak_{g}" for g in range(GROUPS)),
        *(f"{when}_{g}" for when in ("before", "after") for g in range(BESIDE_GROUPS)),
        *(f"{how}_logit_{label}" for how in ("highest", "mean") for label in profile.labels),
    ]  # fmt: skip


def grouped(ratio):
    """(cells, bands) power over background -> (cells, GROUPS) mean over groups of bands; NaN (not recorded) counts as background."""
    if not np.isfinite(ratio[:1]).all():
        ratio = np.where(np.isfinite(ratio), ratio, np.float32(1))
    size, rest = divmod(ratio.shape[1], GROUPS)
    if size and not rest:
        out = ratio[:, ::size].copy()
        for k in range(1, size):
            out += ratio[:, k::size]
        return out * np.float32(1 / size)
    edges = np.linspace(0, ratio.shape[1], GROUPS + 1).astype(int)
    edges = np.minimum(edges[:-1], ratio.shape[1] - 1)
    counts = np.diff(np.append(edges, ratio.shape[1])).astype(np.float32)
    return np.add.reduceat(ratio, edges, axis=1) / np.maximum(counts, 1)


def logit_of(probability):
    """Logits of probabilities, LOGIT at most."""
    edge = np.float32(1 / (1 + np.exp(LOGIT)))
    p = np.clip(probability, edge, 1 - edge)
    return np.log(p / (1 - p))


def describe(boxes, others, scene, profile):
    """(boxes, features) float32.

    Parameters
    ----------
    boxes : BOX records of the regions to describe
    others : BOX records of all regions near them, these among them
    scene : Scene that covers all of them, and BESIDE_S more where the recording does
    """
    if not len(boxes):
        return np.zeros((0, len(feature_names(profile))), np.float32)
    start, end = boxes["start_s"], boxes["end_s"]
    corners = np.concatenate([profile.band_low_hz, profile.band_high_hz[-1:]])

    def scale(hz):
        return np.interp(hz, corners, np.linspace(0, 1, len(corners)))

    own = [
        np.log10(np.maximum(end - start, 1e-3)), *(scale(boxes[name]) for name in ("low_hz", "high_hz", "energy_low_hz", "energy_high_hz", "peak_hz")),
        boxes["snr_db"] / 10, boxes["fill"], boxes["tonal"], np.log1p(boxes["drift"]), np.log1p(boxes["pulsing"]), boxes["impulse"],
        np.log1p(boxes["n_parts"]), np.log1p(boxes["n_clicks"]), np.log10(np.maximum(boxes["interval_s"], 1e-3)),
    ]  # fmt: skip
    is_kind = [(boxes["band"] == kind).astype(float) for kind in kinds(profile)]
    shared = np.maximum(np.minimum(end[:, None], others["end_s"]) - np.maximum(start[:, None], others["start_s"]), 0) / (end - start)[:, None]
    shared *= ~((start[:, None] == others["start_s"]) & (boxes["band"][:, None] == others["band"]) & (boxes["low_hz"][:, None] == others["low_hz"]))
    beside = [np.minimum((shared * (others["band"] == kind)).sum(axis=1), 2) for kind in kinds(profile)]
    clicks = (shared * (others["n_clicks"] > 0) * np.log1p(others["n_clicks"])).max(axis=1, initial=0)
    density = ((others["start_s"] < end[:, None] + AROUND_S) & (others["end_s"] > start[:, None] - AROUND_S)).sum(axis=1)
    density = np.log1p(density / (end - start + 2 * AROUND_S))

    rate, n = scene.cell_rate_hz, len(scene.mean_ratio)
    first, last = _cells(start, end, scene.start_s, rate, n)
    mean = _over(np.add, scene.mean_ratio, first, last) / (last - first)[:, None]
    peak = _over(np.maximum, scene.peak_ratio, first, last)
    reach = max(1, round(BESIDE_S * rate))
    step = GROUPS // BESIDE_GROUPS
    sides = []
    for a, z in ((np.maximum(first - reach, 0), first), (last, np.minimum(last + reach, n))):
        part = _over(np.add, scene.mean_ratio, a, z) / np.maximum(z - a, 1)[:, None]
        part = np.where((z > a)[:, None], part, 1.0).reshape(len(boxes), BESIDE_GROUPS, step).mean(axis=2)
        sides.append(_bels(part))
    times, end_times = _cells(start, end, scene.trace_start_s, scene.trace_rate_hz, len(scene.logit))
    highest = _over(np.maximum, scene.logit, times, end_times) / 4
    average = _over(np.add, scene.logit, times, end_times) / (end_times - times)[:, None] / 4
    columns = [np.stack([*own, *is_kind, *beside, clicks, density], axis=1), _bels(mean), _bels(peak), *sides, highest, average]
    return np.concatenate(columns, axis=1).astype(np.float32)


def _bels(ratio):
    return np.log10(np.maximum(ratio, 1e-2))


def _cells(start, end, origin, rate, n):
    """First and last + 1 of the cells that each region touches, at least one."""
    first = np.clip(np.floor((start - origin) * rate + 1e-6).astype(int), 0, n - 1)
    return first, np.clip(np.ceil((end - origin) * rate - 1e-6).astype(int), first + 1, n)


def _over(function, values, first, last):
    """`function` (np.add, np.maximum) over rows first .. last - 1 of `values`, for each region; whatever where there are none."""
    padded = np.concatenate([values, np.zeros((1, values.shape[1]), values.dtype)])
    at = np.stack([np.minimum(first, len(values)), np.minimum(last, len(values))], axis=1).ravel()
    return function.reduceat(padded.astype(np.float64), at, axis=0)[::2]
