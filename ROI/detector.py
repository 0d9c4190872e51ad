"""The region-of-interest detector: calibrated picture in, boxes out, in a stream.

    boxes = detect_regions(picture_db, profile)              # a whole picture

    detector = RoiDetector(profile)                          # or block by block, any sizes:
    for picture_db in blocks:
        boxes = detector.push(picture_db)                    # boxes that are finished
    boxes = detector.finish()                                # the rest

Each of the profile's ROI bands is searched by itself (`RoiBand`: "low" for whistles, "high" for pulsed calls and clicks):

picture -> cells (a few frames each) of power -> ratio to the adaptive background (`ROI.background`) -> light smoothing, long in time for
whistles, tall in frequency for clicks -> two thresholds: cells above `seed_db` found a region, cells above `grow_db` extend it -> regions
connected, cleaned, joined and cut (`ROI.regions`) -> boxes that are long and wide enough.

Work is done in chunks of CHUNK_SEGMENTS background segments, counted from the recording's first frame; a chunk waits for the chunks that its
background needs, and regions that touch its right edge wait for the next. So the boxes do not depend on how frames were pushed, a region across an
edge comes out once, and memory does not grow with the recording.

A picture is (frames, bands) in dB re 1 µPa^2/Hz on the profile's frame grid; NaN where the recording holds no such band.
"""

from collections import deque
from dataclasses import dataclass, fields

import numpy as np

from ROI.background import LEVEL_CELLS, SEGMENT_S, SILENCE, interpolate_levels, noise_cells, quantile_of_noise, segment_levels, smooth_levels
from ROI.regions import REGION, Cells, find_regions

CHUNK_SEGMENTS = 8
UNIT_FRAMES = 32  # a segment is a whole number of these, whatever a cell is
COLUMNS = ("start_s", "end_s", "low_hz", "high_hz", "snr_db", "peak_hz", "band")


@dataclass(frozen=True)
class RoiBand:
    """The knobs of one ROI band; `profile.roi_bands` holds them as plain dicts. All dB are above the background."""

    name: str
    low_hz: float  # bands whose centre lies within low_hz..high_hz are searched
    high_hz: float
    seed_db: float  # a region needs cells above this ...
    grow_db: float  # ... and reaches as far as cells above this
    min_seed_cells: int  # fewer seed cells in a connected patch: a speck
    cell_s: float  # frames are averaged (power) to cells of about this length: 1, 2, 4 or 8 frames
    median_cells: int  # running median over 1 (none), 3 or 5 cells: takes out clicks of up to 0, 1 or 2 cells, keeps edges
    smooth_s: float  # then cells are averaged over this time ...
    smooth_bands: int  # ... and over this many bands (odd) before the thresholds
    max_gap_s: float  # patches nearer than this in time are one region
    join_bands: int  # ... also when they lie this many bands apart
    min_duration_s: float  # boxes smaller than these two are dropped
    min_bandwidth_hz: float
    max_duration_s: float  # longer regions (boats) are cut every so often from their start
    dynamic_db: float  # cells so far below a region's peak no longer widen its box: leakage, echoes
    background_quantile: float  # see ROI.background
    background_span_s: float

    def __post_init__(self):
        if not (self.low_hz < self.high_hz and 0 < self.grow_db <= self.seed_db and 0 < self.background_quantile < 1):
            raise ValueError(f"ROI band {self.name!r}: needs low_hz < high_hz, 0 < grow_db <= seed_db, 0 < background_quantile < 1")
        if self.median_cells not in (1, 3, 5) or self.smooth_bands % 2 == 0:
            raise ValueError(f"ROI band {self.name!r}: median_cells must be 1, 3 or 5, and smooth_bands odd")

    @classmethod
    def from_dict(cls, d):
        """Build from one of `profile.roi_bands`. ValueError names a knob that is missing or unknown."""
        wrong = {f.name for f in fields(cls)} ^ set(d)
        if wrong:
            raise ValueError(f"ROI band {d.get('name', '?')!r}: unknown or missing knobs {sorted(wrong)}")
        return cls(**d)


class RoiDetector:
    """Finds regions in a picture that comes in blocks.

    Parameters
    ----------
    profile : Profile
    nyquist_hz : of the recording; bands above it are not looked at. None: the NaN in the picture say it.
    """

    def __init__(self, profile, nyquist_hz=None, trace=False):
        self.frame_rate_hz = profile.frame_rate_hz
        self.chunk_frames = CHUNK_SEGMENTS * _segment_frames(profile)
        self.bands = [b for b in (_BandDetector(profile, RoiBand.from_dict(d), nyquist_hz, trace) for d in profile.roi_bands) if b.n_bands]
        self._waiting, self._n_waiting = deque(), 0

    def push(self, picture_db):
        """Take (frames, bands) more of the picture; return the boxes that are finished.

        Returns
        -------
        DataFrame with `start_s`, `end_s` from the recording's start, `low_hz`, `high_hz` (borders of the outermost bands), `snr_db` (power of
        the region's cells in excess of the background, in dB over the background's power in the same cells), `peak_hz` (centre of the band
        that stands out most) and `band` (name of the ROI band). Boxes come in the order in which they are finished.
        """
        self._waiting.append(np.asarray(picture_db))
        self._n_waiting += len(picture_db)
        found = []
        while self._n_waiting >= self.chunk_frames:
            found += self._chunk(self._take(self.chunk_frames), final=False)
        return _boxes(found)

    def finish(self):
        """No more frames: return the remaining boxes. The detector is used up."""
        return _boxes(self._chunk(self._take(self._n_waiting), final=True))

    @property
    def settled_s(self):
        """No box that is still to come begins before this time, in seconds from the recording's start."""
        return min((band.open_first * band.cell_s for band in self.bands), default=np.inf)

    def _chunk(self, picture_db, final):
        return [(band, regions, end) for band in self.bands for regions, end in [band.chunk(picture_db, final)] if len(regions)]

    def _take(self, n):
        """The next `n` frames waiting."""
        parts, self._n_waiting = [], self._n_waiting - n
        while n > 0:
            head = self._waiting.popleft()
            if len(head) > n:
                self._waiting.appendleft(head[n:])
            parts.append(head[:n])
            n -= len(parts[-1])
        return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else None


class _BandDetector:
    """One ROI band of a stream. Arrays are (bands, cells) within the band; cells are counted from the recording's start."""

    def __init__(self, profile, knobs, nyquist_hz, trace):
        centres = np.asarray(profile.band_centres_hz)
        visible = profile.visible_bands(nyquist_hz or np.inf)
        columns = np.flatnonzero((centres >= knobs.low_hz) & (centres <= knobs.high_hz) & visible)
        self.knobs, self.n_bands = knobs, len(columns)
        if not self.n_bands:
            return
        self.columns = slice(int(columns[0]), int(columns[-1]) + 1)
        self.centres_hz, self.low_hz, self.high_hz = centres[self.columns], profile.band_low_hz[self.columns], profile.band_high_hz[self.columns]
        self.widths_hz = self.high_hz - self.low_hz
        self.pool = 2 ** int(np.clip(np.round(np.log2(max(knobs.cell_s * profile.frame_rate_hz, 1.0))), 0, 3))
        self.cell_s = self.pool / profile.frame_rate_hz
        self.segment_cells = _segment_frames(profile) // self.pool
        self.to_mean = 1.0 / quantile_of_noise(noise_cells(profile, self.pool * LEVEL_CELLS), knobs.background_quantile)[self.columns, None]
        self.half_span = max(0, round(knobs.background_span_s / SEGMENT_S / 2))
        self.mean_reach = max(0, round((knobs.smooth_s / self.cell_s - 1) / 2))
        self.reach = self.mean_reach + knobs.median_cells // 2  # cells that smoothing looks at on either side
        self.seed, self.grow, self.dynamic = (np.float32(10 ** (db / 10)) for db in (knobs.seed_db, knobs.grow_db, knobs.dynamic_db))
        self.gap_cells = round(knobs.max_gap_s / self.cell_s)
        self.max_cells = max(1, round(knobs.max_duration_s / self.cell_s))
        self.frames = 0
        self.levels, self.first_level = np.zeros((self.n_bands, 0), np.float32), 0  # of segments first_level ...
        self.powers, self.next_segment = deque(), 0  # chunks of power that wait for their background, from segment next_segment on
        self.ratio_tail = np.ones((self.n_bands, 2 * self.reach), np.float32)  # what came before: nothing
        self.background_tail = None
        self.open, self.open_first = None, 0  # Cells not yet judged, and the cell they start at
        self.trace = [] if trace else None

    def chunk(self, picture_db, final):
        """Take a canonical chunk (the last one of any length, None if empty): (regions finished by it, frames so far)."""
        if picture_db is not None:
            power = self._power(picture_db)
            self.frames += len(picture_db)
            alone = final and self.frames <= self.segment_cells * self.pool  # a clip shorter than one segment: better a poor level than none
            levels = segment_levels(power, self.segment_cells, self.knobs.background_quantile, least_share=0.0 if alone else 0.5)
            self.levels = np.concatenate([self.levels, (levels * self.to_mean).astype(np.float32)], axis=1)
            self.powers.append(power)
        found = []
        while self.powers:
            segments = -(-self.powers[0].shape[1] // self.segment_cells)
            needed = self.next_segment + segments + 1 + self.half_span
            if not final and needed > self.first_level + self.levels.shape[1]:
                break
            power = self.powers.popleft()
            background = self._background(segments)[:, :power.shape[1]]
            found.append(self._search(power, background, final and not self.powers))
        regions = np.concatenate(found) if found else np.zeros(0, REGION)
        return self._worthy(regions), self.frames

    def _power(self, picture_db):
        """(frames, all bands) dB -> (bands, cells) power in µPa^2/Hz; a last, partial cell is the mean of its frames."""
        power = np.exp(picture_db[:, self.columns] * np.float32(np.log(10) / 10), dtype=np.float32)
        missing = -len(power) % self.pool
        if missing:
            whole = len(power) - self.pool + missing
            power = np.concatenate([power[:whole], np.repeat(power[whole:].mean(axis=0, keepdims=True), self.pool, axis=0)])
        cells = power[::self.pool]
        for i in range(1, self.pool):
            cells = cells + power[i::self.pool]
        return np.ascontiguousarray((cells * np.float32(1 / self.pool)).T)

    def _background(self, segments):
        """Background power of the next `segments` segments, (bands, cells). Levels no longer needed are dropped."""
        first, last = self.next_segment - 1, self.next_segment + segments + 1  # with a neighbour on either side
        smooth = smooth_levels(self.levels, self.half_span)
        exists = np.clip(np.arange(first, last), 0, self.first_level + smooth.shape[1] - 1) - self.first_level
        self.next_segment += segments
        drop = max(0, self.next_segment - 1 - self.half_span - self.first_level)
        self.levels, self.first_level = self.levels[:, drop:], self.first_level + drop
        return interpolate_levels(smooth[:, exists], self.segment_cells)

    def _search(self, power, background, final):
        """Regions finished by the next stretch of power, as REGION records with cells counted from the recording's start."""
        ratio = _ratio(power, background)
        beyond = self.reach if final else 0
        padded = np.concatenate([self.ratio_tail, ratio, np.ones((self.n_bands, beyond), np.float32)], axis=1)
        n = padded.shape[1] - 2 * self.reach  # smoothed cells: they lag `reach` behind
        first_time = self.background_tail is None
        background = background if first_time else np.concatenate([self.background_tail, background], axis=1)
        skip = self.reach if first_time else 0  # these lie before the recording
        smooth = smooth_cells(padded, self.knobs.median_cells, self.mean_reach, self.knobs.smooth_bands)[:, skip:]
        ratio = padded[:, self.reach + skip:self.reach + n]
        self.ratio_tail = padded[:, padded.shape[1] - 2 * self.reach:]
        self.background_tail = background[:, n - skip:]
        new = Cells(smooth > self.grow, smooth > self.seed, ratio, background[:, :n - skip])
        cells = new if self.open is None else self.open.then(new)
        k = self.knobs
        regions, kept, open_from, carry = find_regions(
            cells, self.widths_hz, k.min_seed_cells, self.gap_cells, k.join_bands, self.max_cells, self.grow, self.dynamic, final)
        if self.trace is not None:
            self.trace.append((self.open_first, cells, kept, self.open_first + cells.mask.shape[1] - n + skip, smooth))
        regions["first"] += self.open_first
        regions["last"] += self.open_first
        cells.mask = carry
        self.open, self.open_first = cells.after(open_from), self.open_first + open_from
        return regions

    def _worthy(self, regions):
        """Those long and wide enough for a box, in order of time."""
        duration_s = (regions["last"] - regions["first"] + 1) * self.cell_s
        bandwidth_hz = self.high_hz[regions["high_band"]] - self.low_hz[regions["low_band"]]
        regions = regions[(duration_s >= self.knobs.min_duration_s) & (bandwidth_hz >= self.knobs.min_bandwidth_hz)]
        return regions[np.lexsort((regions["low_band"], regions["first"]))]


def detect_regions(picture_db, profile, nyquist_hz=None):
    """Boxes of a whole picture, in order of time; see `RoiDetector.push` for their columns."""
    import pandas as pd

    detector = RoiDetector(profile, nyquist_hz)
    boxes = pd.concat([detector.push(picture_db), detector.finish()], ignore_index=True)
    return boxes.sort_values(["start_s", "low_hz"], kind="stable", ignore_index=True)


@dataclass
class Steps:
    """Every intermediate result, on the picture's own grid. Arrays are (frames, bands); NaN, 0 or False outside the ROI bands.

    picture_db, background_db : dB re 1 µPa^2/Hz
    excess_db : picture - background; smooth_db : the same after averaging, what the thresholds see
    mask : 0 nothing, 1 above the grow threshold, 2 above the seed threshold
    kept : cells of regions
    boxes : DataFrame
    """

    profile: object
    picture_db: np.ndarray
    background_db: np.ndarray
    excess_db: np.ndarray
    smooth_db: np.ndarray
    mask: np.ndarray
    kept: np.ndarray
    boxes: object


def explain(picture_db, profile, nyquist_hz=None):
    """Run the detector on a whole picture and keep every step; see `Steps`. For minutes, not for hours."""
    import pandas as pd

    picture_db = np.asarray(picture_db)
    detector = RoiDetector(profile, nyquist_hz, trace=True)
    boxes = pd.concat([detector.push(picture_db), detector.finish()], ignore_index=True).sort_values(["start_s", "low_hz"], kind="stable", ignore_index=True)
    background, smooth = (np.full(picture_db.shape, np.nan, np.float32) for _ in range(2))
    mask, kept = np.zeros(picture_db.shape, np.uint8), np.zeros(picture_db.shape, bool)
    for band in detector.bands:
        def put(target, array, first, combine=lambda old, new: new):
            frames = np.repeat(array.T, band.pool, axis=0)
            view = target[first * band.pool:, band.columns][: len(frames)]
            view[...] = combine(view, frames[: len(view)])

        for first, cells, is_kept, first_new, smoothed in band.trace:
            put(kept, is_kept, first, np.logical_or)
            new = cells.after(first_new - first)
            put(background, 10 * np.log10(new.background), first_new)
            put(smooth, 10 * np.log10(smoothed), first_new)
            put(mask, (smoothed > band.grow).astype(np.uint8) + (smoothed > band.seed), first_new)
    return Steps(profile, picture_db, background, picture_db - background, smooth, mask, kept, boxes)


def _segment_frames(profile):
    return max(1, round(SEGMENT_S * profile.frame_rate_hz / UNIT_FRAMES)) * UNIT_FRAMES


def _ratio(power, background):
    """Power over background; 1 (background) where either holds no data."""
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
    out = _running_median(ratio, median_cells)
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


def _running_median(x, cells):
    """Median over 1, 3 or 5 neighbours along the last axis by minima and maxima of pairs; `cells` - 1 shorter."""
    if cells == 1:
        return x
    low, high = np.minimum(x[:, :-1], x[:, 1:]), np.maximum(x[:, :-1], x[:, 1:])
    if cells == 3:
        third = x[:, 2:]
        return np.maximum(low[:, :-1], np.minimum(high[:, :-1], third))
    middle, low, high = x[:, 2:-2], np.maximum(low[:, :-3], low[:, 3:]), np.minimum(high[:, :-3], high[:, 3:])
    low, high = np.minimum(low, high), np.maximum(low, high)
    return np.maximum(low, np.minimum(high, middle))


def _boxes(found):
    """DataFrame of [(band, regions, frames so far)]; with no regions, an empty one of the same columns and types."""
    import pandas as pd

    columns = {name: [np.zeros(0)] for name in COLUMNS[:-1]}
    names = []
    for band, regions, frames in found:
        frame_rate_hz = band.pool / band.cell_s
        columns["start_s"].append(regions["first"] * band.pool / frame_rate_hz)
        columns["end_s"].append(np.minimum((regions["last"] + 1) * band.pool, frames) / frame_rate_hz)
        columns["low_hz"].append(band.low_hz[regions["low_band"]])
        columns["high_hz"].append(band.high_hz[regions["high_band"]])
        columns["snr_db"].append(10 * np.log10(np.maximum(regions["snr"], 1e-3)))
        columns["peak_hz"].append(band.centres_hz[regions["peak_band"]])
        names += [band.knobs.name] * len(regions)
    return pd.DataFrame({name: np.concatenate(parts) for name, parts in columns.items()} | {"band": pd.Series(names, dtype="str")})
