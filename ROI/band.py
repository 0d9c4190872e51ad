"""One ROI band of the stream: its knobs, and the search in it.

Cells are counted from the recording's first frame, bands from the ROI band's lowest. Chunks of the picture come in as they were cut by
`ROI.detector`; a chunk is searched when the background's span around it has come in, and what touches its right edge waits for the next.
"""

from collections import deque
from dataclasses import dataclass, field, fields, replace

import numpy as np

from ROI.background import LEVEL_CELLS, SEGMENT_S, clip_level, interpolate_levels, noise_cells, segment_levels, smooth_levels
from ROI.cells import above_neighbours, cell_power, ratio_to_background, smooth_cells
from ROI.regions import REGION, Cells, Rules, find_regions

RIDGE = "tonal"  # what regions of ridges are called in place of their ROI band
RIDGE_SEED_CELLS = 10  # in a ridge; in a broad sound single cells stand out by chance
TWIN_SHARE, TWIN_BANDS = 0.6, 4  # a ridge that is shared by a plain region so much in time, which is so little taller, is that region
UNIT_FRAMES = 32  # a background segment is a whole number of these, and so of cells of any size


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
    join_bands: int  # ... also when up to twice this many bands apart
    min_duration_s: float  # boxes smaller than these two are dropped
    min_bandwidth_hz: float
    max_duration_s: float  # longer regions (boats) are cut every so often from their start
    dynamic_db: float  # cells so far below a region's peak do not widen its box: leakage of the Fourier window
    background_quantile: float  # of the power within a segment of time; then the median of these within the span: see ROI.background
    background_span_s: float
    ridge_bands: int = 0  # bands on either side that a tone inside a broad sound stands out of, to be a region of its own; 0: not looked for

    def __post_init__(self):
        if not (self.low_hz < self.high_hz and 0 < self.grow_db <= self.seed_db and 0 < self.background_quantile < 1):
            raise ValueError(f"ROI band {self.name!r}: needs low_hz < high_hz, 0 < grow_db <= seed_db, 0 < background_quantile < 1")
        if self.median_cells not in (1, 3, 5) or self.smooth_bands % 2 == 0:
            raise ValueError(f"ROI band {self.name!r}: median_cells must be 1, 3 or 5, and smooth_bands odd")

    @classmethod
    def from_dict(cls, d):
        """Build from one of `profile.roi_bands`. ValueError names a knob that is missing or unknown."""
        wrong = {f.name for f in fields(cls)} ^ (set(d) | {"ridge_bands"})
        if wrong:
            raise ValueError(f"ROI band {d.get('name', '?')!r}: unknown or missing knobs {sorted(wrong)}")
        return cls(**d)


def segment_frames(profile):
    """Frames in a segment of the background."""
    return max(1, round(SEGMENT_S * profile.frame_rate_hz / UNIT_FRAMES)) * UNIT_FRAMES


@dataclass
class Layer:
    """One search for regions among a band's cells: rules, cells not yet judged, and where these begin."""

    rules: Rules
    open: Cells | None = None
    open_first: int = 0  # no region still to come begins before this cell
    waiting: np.ndarray = field(default_factory=lambda: np.zeros(0, REGION))  # regions to be compared to those of the other layer

    def search(self, new, final):
        """Regions that the next cells finish, cells counted from the recording's start, and the cells of regions that were kept."""
        cells = new if self.open is None else self.open.then(new)
        regions, kept, carry, open_from = find_regions(cells, self.rules, final)
        regions["first"] += self.open_first
        regions["last"] += self.open_first
        first = self.open_first
        self.open, self.open_first = replace(cells, mask=carry).after(open_from), self.open_first + open_from
        return regions, first, kept & ~carry


class BandDetector:
    """The search in one ROI band.

    Attributes
    ----------
    columns : slice of the picture's bands; `n_bands` of them, 0 if the recording has none here
    centres_hz, low_hz, high_hz : (n_bands,) of these bands
    settled : no region still to come begins before this cell
    trace : list to which every step is written, or None
    """

    def __init__(self, profile, knobs, nyquist_hz=None, trace=None):
        visible = profile.visible_bands(nyquist_hz or np.inf)
        columns = np.flatnonzero((profile.band_centres_hz >= knobs.low_hz) & (profile.band_centres_hz <= knobs.high_hz) & visible)
        self.knobs, self.n_bands, self.trace = knobs, len(columns), trace
        if not self.n_bands:
            return
        self.columns = slice(int(columns[0]), int(columns[-1]) + 1)
        self.centres_hz, self.low_hz, self.high_hz = (
            np.asarray(hz)[self.columns] for hz in (profile.band_centres_hz, profile.band_low_hz, profile.band_high_hz))
        self.frames_per_cell = 2 ** int(np.clip(np.round(np.log2(max(knobs.cell_s * profile.frame_rate_hz, 1.0))), 0, 3))
        self.cell_s = self.frames_per_cell / profile.frame_rate_hz
        self.segment_cells = segment_frames(profile) // self.frames_per_cell
        self.half_span = max(1, round(knobs.background_span_s / SEGMENT_S / 2))
        self.noise_cells = noise_cells(profile, self.frames_per_cell * LEVEL_CELLS)[self.columns]
        self.mean_reach = max(0, round((knobs.smooth_s / self.cell_s - 1) / 2))
        self.reach = self.mean_reach + knobs.median_cells // 2  # cells that smoothing looks at on either side
        self.seed, self.grow, dynamic = (np.float32(10 ** (db / 10)) for db in (knobs.seed_db, knobs.grow_db, knobs.dynamic_db))
        self.rules = Rules(knobs.min_seed_cells, round(knobs.max_gap_s / self.cell_s), knobs.join_bands, max(1, round(knobs.max_duration_s / self.cell_s)),
                           self.grow, dynamic, self.high_hz - self.low_hz)
        self.frames = 0  # that have come in
        self.levels, self.first_level = np.zeros((self.n_bands, 0), np.float32), 0  # of the segments from first_level on
        self.powers, self.next_segment = deque(), 0  # chunks that wait for their background, from segment next_segment on
        self.ratio_tail, self.background_tail = np.ones((self.n_bands, 2 * self.reach), np.float32), None  # the smoothing's margin
        self.layers = [Layer(self.rules)]
        if knobs.ridge_bands:
            self.layers.append(Layer(replace(self.rules, min_seed_cells=RIDGE_SEED_CELLS)))

    @property
    def settled(self):
        """No region still to come begins before this cell."""
        return min([layer.open_first for layer in self.layers] + [int(layer.waiting["first"].min()) for layer in self.layers[1:] if len(layer.waiting)])

    def chunk(self, power, final):
        """Take the next chunk of power (frames, all bands); None: there is no more. Only the `final` one may have any length.

        Returns the regions that it finishes, as REGION records.
        """
        if power is not None:
            self.frames += len(power)
            power = cell_power(power[:, self.columns], self.frames_per_cell)
            is_clip = final and self.frames <= self.half_span * self.segment_cells * self.frames_per_cell
            levels = clip_level(power, self.noise_cells) if is_clip else segment_levels(
                power, self.segment_cells, self.knobs.background_quantile, self.noise_cells)
            self.levels = np.concatenate([self.levels, levels], axis=1)
            self.powers.append(power)
        found = [np.zeros(0, REGION)]
        while self.powers:
            segments = -(-self.powers[0].shape[1] // self.segment_cells)
            if not final and self.next_segment + segments + 1 + self.half_span > self.first_level + self.levels.shape[1]:
                break
            power = self.powers.popleft()
            found.append(self._search(power, self._background(segments)[:, :power.shape[1]], final and not self.powers))
        regions = np.concatenate(found)
        duration_s = (regions["last"] - regions["first"] + 1) * self.cell_s
        bandwidth_hz = self.high_hz[regions["high_band"]] - self.low_hz[regions["low_band"]]
        regions = regions[(duration_s >= self.knobs.min_duration_s) & (bandwidth_hz >= self.knobs.min_bandwidth_hz)]
        return regions[np.lexsort((regions["low_band"], regions["first"]))]

    def _background(self, segments):
        """Background power of the next `segments` segments, (bands, cells). Levels no longer needed are dropped."""
        first, last = self.next_segment - 1 - self.first_level, self.next_segment + segments + 1 - self.first_level  # with a neighbour on either side
        there = max(first, 0), min(last, self.levels.shape[1])
        smooth = smooth_levels(self.levels, self.half_span, *there)
        self.next_segment += segments
        drop = max(0, self.next_segment - 1 - self.half_span - self.first_level)
        self.levels, self.first_level = self.levels[:, drop:], self.first_level + drop
        return interpolate_levels(np.pad(smooth, ((0, 0), (there[0] - first, last - there[1])), mode="edge"), self.segment_cells)

    def _search(self, power, background, final):
        """Regions finished by the next stretch of power, cells counted from the recording's start. Smoothed cells lag `reach` behind."""
        at_start = self.background_tail is None
        skip = self.reach if at_start else 0  # smoothed cells that lie before the recording
        after = np.ones((self.n_bands, self.reach if final else 0), np.float32)
        ratio = np.concatenate([self.ratio_tail, ratio_to_background(power, background), after], axis=1)
        background = background if at_start else np.concatenate([self.background_tail, background], axis=1)
        n = ratio.shape[1] - 2 * self.reach
        smooth = smooth_cells(ratio, self.knobs.median_cells, self.mean_reach, self.knobs.smooth_bands)[:, skip:]
        new = Cells(smooth > self.grow, smooth > self.seed, ratio[:, self.reach + skip:self.reach + n], background[:, :n - skip])
        self.ratio_tail, self.background_tail = ratio[:, n:], background[:, n - skip:]

        regions, first, kept = self.layers[0].search(new, final)
        if self.trace is not None:
            self.trace.append((first, kept, first + kept.shape[1] - len(new), new, smooth))
        if not self.knobs.ridge_bands:
            return regions
        ridge = above_neighbours(smooth, self.knobs.ridge_bands)
        tones = self.layers[1].search(replace(new, mask=new.mask & (ridge > self.grow), seed=new.seed & (ridge > self.seed)), final)[0]
        tones["ridge"] = True
        return np.concatenate([regions, self._no_twins(regions, tones, final)])

    def _no_twins(self, regions, tones, final):
        """Tones that are no region already; those beside which a region may yet end wait."""
        plain, ridges = self.layers
        plain.waiting, waiting = np.concatenate([plain.waiting, regions]), np.concatenate([ridges.waiting, tones])
        ready = waiting["last"] < plain.open_first if not final else np.ones(len(waiting), bool)
        done, ridges.waiting = waiting[ready], waiting[~ready]
        begin = min([ridges.open_first, *ridges.waiting["first"]])
        others, plain.waiting = plain.waiting, plain.waiting[plain.waiting["last"] >= begin]
        shared = np.minimum(done["last"][:, None], others["last"]) - np.maximum(done["first"][:, None], others["first"]) + 1
        longer = np.maximum(done["last"][:, None], others["last"]) - np.minimum(done["first"][:, None], others["first"]) + 1
        taller = (others["high_band"] - others["low_band"]) - (done["high_band"] - done["low_band"])[:, None]
        near = (others["low_band"] <= done["high_band"][:, None]) & (others["high_band"] >= done["low_band"][:, None])
        return done[~(near & (shared >= TWIN_SHARE * longer) & (taller <= TWIN_BANDS)).any(axis=1)]
