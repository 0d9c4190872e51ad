"""The region-of-interest detector: calibrated picture in, boxes out, in a stream.

    boxes = detect_regions(picture_db, profile)              # a whole picture

    detector = RoiDetector(profile)                          # or block by block, any sizes:
    for picture_db in blocks:
        boxes = detector.push(picture_db)                    # boxes that are finished
    boxes = detector.finish()                                # the rest

Each of the profile's ROI bands is searched by itself ("low" for whistles, "high" for pulsed calls and clicks; knobs in `ROI.band.RoiBand`):

picture -> cells (a few frames each) of power -> ratio to the adaptive background (`ROI.background`) -> light smoothing (`ROI.cells`), long in time
and deaf to clicks for whistles, tall in frequency for pulses -> two thresholds: cells above `seed_db` found a region, cells above `grow_db` extend it
-> regions connected, cleaned, joined and cut (`ROI.regions`) -> boxes that are long and wide enough.

Work is done in chunks of CHUNK_SEGMENTS background segments, counted from the recording's first frame; a chunk waits for the chunks that its
background needs, and regions that touch its right edge wait for the next. So the boxes do not depend on how frames were pushed, a region across an
edge comes out once, and memory does not grow with the recording.

A picture is (frames, bands) in dB re 1 µPa^2/Hz on the profile's frame grid; NaN where the recording holds no such band.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from ROI.band import RIDGE, BandDetector, RoiBand, segment_frames
from ROI.cells import power_of
from ROI.crest import NAME as CREST
from ROI.crest import CrestDetector
from ROI.regions import SHAPE

CHUNK_SEGMENTS = 8
TRAINS_FROM_HZ = 2000.0  # a train's box may reach down so far
NUMBERS = ("start_s", "end_s", "low_hz", "high_hz", "snr_db", "peak_hz")
MEASURED = ("energy_low_hz", "energy_high_hz", *SHAPE, "n_clicks", "interval_s")  # of the region's own cells: `ROI.regions.shape`; of click trains: `ROI.crest`
BOX = np.dtype([*((name, "f8") for name in NUMBERS), ("band", "U16"), *((name, "f8") for name in MEASURED)])


class RoiDetector:
    """Finds regions in a picture that comes in blocks.

    Parameters
    ----------
    profile : Profile
    nyquist_hz : of the recording; bands above it are not looked at. None: the NaN in the picture say it.
    trace : keep every step, for `explain`
    crest_blocks : in each frame, of a crest that is pushed beside the power (`spectrogram.crest`), in which click trains are looked for; 0: none
    """

    def __init__(self, profile, nyquist_hz=None, trace=False, crest_blocks=0):
        bands = [BandDetector(profile, RoiBand.from_dict(d), nyquist_hz, [] if trace else None) for d in profile.roi_bands]
        self.bands = [band for band in bands if band.n_bands]
        self.frame_rate_hz = profile.frame_rate_hz
        self.chunk_frames = CHUNK_SEGMENTS * segment_frames(profile)
        above = np.flatnonzero((profile.band_centres_hz >= TRAINS_FROM_HZ) & profile.visible_bands(nyquist_hz or np.inf))
        self.crest = CrestDetector(profile, slice(int(above[0]), int(above[-1]) + 1), crest_blocks) if crest_blocks and len(above) else None
        self._waiting, self._n_waiting = deque(), 0

    def push(self, picture_db):
        """Take (frames, bands) more of the picture; return the boxes that are finished.

        Returns
        -------
        DataFrame with `start_s`, `end_s` from the recording's start, `low_hz`, `high_hz` (borders of the outermost bands), `snr_db` (power of
        the region's cells in excess of the background, in dB over the background's power in the same cells), `peak_hz` (centre of the band
        that stands out most) and `band` (name of the ROI band). Boxes come in the order in which they are finished.
        """
        return boxes_table(self.push_records(power_of(picture_db)))

    def finish(self):
        """No more frames: return the remaining boxes. The detector is used up."""
        return boxes_table(self.finish_records())

    def push_records(self, power, crest=None):
        """As `push`, but from power in µPa^2/Hz (and the crest (frames, blocks) in µPa^2) to a plain array of BOX records: quicker to make and to join."""
        self._waiting.append((power, crest if self.crest else None))
        self._n_waiting += len(power)
        found = []
        while self._n_waiting >= self.chunk_frames:
            found += self._chunk(self._take(self.chunk_frames), final=False)
        return _records(found, self.frame_rate_hz)

    def finish_records(self):
        """As `finish`, but an array of BOX records."""
        return _records(self._chunk(self._take(self._n_waiting), final=True), self.frame_rate_hz)

    @property
    def settled_s(self):
        """No box that is still to come begins before this time, in seconds from the recording's start."""
        settled = [band.settled * band.cell_s for band in self.bands] + ([self.crest.settled_s] if self.crest else [])
        return min(settled, default=np.inf)

    def _chunk(self, chunk, final):
        """[(band, regions)] finished by one canonical chunk."""
        power, crest = chunk
        found = [(band, band.chunk(power, final)) for band in self.bands]
        if self.crest:
            found.append((self.crest, self.crest.chunk(power, crest, final)))
        return [(band, regions) for band, regions in found if len(regions)]

    def _take(self, n):
        """Power and crest of the next `n` waiting frames; None, None if n is 0."""
        parts, self._n_waiting = [], self._n_waiting - n
        while n > 0:
            head = self._waiting.popleft()
            if len(head[0]) > n:
                self._waiting.appendleft(_rows(head, slice(n, None)))
            parts.append(_rows(head, slice(n)))
            n -= len(parts[-1][0])
        if len(parts) == 1:
            return parts[0]
        return tuple(np.concatenate(some) if some and some[0] is not None else None for some in zip(*parts)) or (None, None)


def _rows(arrays, rows):
    return tuple(None if array is None else array[rows] for array in arrays)


def detect_regions(picture_db, profile, nyquist_hz=None):
    """Boxes of a whole picture, in order of time; see `RoiDetector.push` for their columns."""
    return _detect_all(RoiDetector(profile, nyquist_hz), picture_db)


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
    picture_db = np.asarray(picture_db)
    detector = RoiDetector(profile, nyquist_hz, trace=True)
    boxes = _detect_all(detector, picture_db)
    background, smooth = (np.full(picture_db.shape, np.nan, np.float32) for _ in range(2))
    mask, kept = np.zeros(picture_db.shape, np.uint8), np.zeros(picture_db.shape, bool)
    for band in detector.bands:
        for first, chosen, first_new, new, smoothed in band.trace:
            part, chosen = _on_frames(kept, chosen, band, first)
            part |= chosen
            for target, cells in ((background, 10 * np.log10(new.background)), (smooth, 10 * np.log10(smoothed)), (mask, new.mask + new.seed.astype(np.uint8))):
                part, cells = _on_frames(target, cells, band, first_new)
                part[...] = cells
    smooth[np.isnan(picture_db)] = np.nan
    return Steps(profile, picture_db, background, picture_db - background, smooth, mask, kept, boxes)


def _on_frames(target, cells, band, first_cell):
    """The part of (frames, bands) `target` on which these (bands, cells) of an ROI band lie, and the cells spread to its frames."""
    part = target[first_cell * band.frames_per_cell:, band.columns][:cells.shape[1] * band.frames_per_cell]
    return part, np.repeat(cells.T, band.frames_per_cell, axis=0)[:len(part)]


def _detect_all(detector, picture_db):
    import pandas as pd

    boxes = pd.concat([detector.push(picture_db), detector.finish()], ignore_index=True)
    return boxes.sort_values(["start_s", "low_hz"], kind="stable", ignore_index=True)


def _records(found, frame_rate_hz):
    """BOX records of [(band, regions)]."""
    boxes = np.zeros(sum(len(regions) for _, regions in found), BOX)
    at = 0
    for band, regions in found:
        part = boxes[at:at + len(regions)]
        per_unit = 1 / band.per_frame if isinstance(band, CrestDetector) else band.frames_per_cell  # frames
        part["start_s"] = regions["first"] * per_unit / frame_rate_hz
        part["end_s"] = np.minimum((regions["last"] + 1) * per_unit, band.frames) / frame_rate_hz
        part["low_hz"], part["high_hz"] = band.low_hz[regions["low_band"]], band.high_hz[regions["high_band"]]
        part["snr_db"] = 10 * np.log10(np.maximum(regions["snr"], 1e-3))
        part["peak_hz"] = band.centres_hz[regions["peak_band"]]
        at += len(regions)
        if isinstance(band, CrestDetector):
            part["band"], part["energy_low_hz"], part["energy_high_hz"] = CREST, part["low_hz"], part["high_hz"]
            part["fill"], part["drift"], part["n_parts"] = regions["share"], regions["alike"], 1
            part["n_clicks"], part["interval_s"] = regions["n_clicks"], regions["interval_s"]
            continue
        part["band"] = np.where(regions["ridge"], RIDGE, band.knobs.name)
        part["energy_low_hz"], part["energy_high_hz"] = band.low_hz[regions["energy_low_band"]], band.high_hz[regions["energy_high_band"]]
        for name in SHAPE:
            part[name] = regions[name]
    return boxes


def boxes_table(boxes):
    """BOX records as a DataFrame; its columns: `RoiDetector.push`."""
    import pandas as pd

    return pd.DataFrame({name: boxes[name] for name in NUMBERS} | {"band": pd.Series(boxes["band"].tolist(), dtype="str")})
