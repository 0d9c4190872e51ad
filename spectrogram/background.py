"""A picture's background of half a minute, and the contrast that a model sees: dB above that background.

Time is cut into segments of SEGMENT_S, counted from the recording's start. A segment's level in a column is the lower quartile of the
power there, taken over short means (bands) or blocks (crest); the background in a segment is the median level of the segments
within REACH on either side. It follows a passing boat and forgets a call; a constant gain or a hydrophone's colour is gone. A
recording shorter than CLIP_S is a clip, cut around a call perhaps: there one low quantile of all of it is the background.

    contrast_db(picture_db, profile)                  a whole recording
    ContrastStream(profile).push(piece, final)        the same, to the last bit, piece by piece, half a minute behind at most

Background of tens of seconds in place of a short one: Lostanlen et al. (2019), Long-distance detection of bioacoustic events with
per-channel energy normalization. Only profiles whose normalisation is of a kind in KINDS have it; of others a picture is given
back as it is.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from spectrogram.profile import Profile

KINDS = ("background", "pcen")
SEGMENT_S = 2
SEGMENT_QUANTILE = 0.25  # of the power within a segment: calls that fill most of it are not its level
REACH = 7  # segments on either side
CLIP_S = 10
CLIP_QUANTILE = 0.2
MEAN_FRAMES = 8  # of a short mean


def has_contrast(profile: Profile) -> bool:
    """Whether the profile's model sees contrast."""
    return profile.normalisation["kind"] in KINDS


def segment_frames(profile: Profile) -> int:
    """Frames in a segment. ValueError where SEGMENT_S is not a whole number of short means."""
    frames = SEGMENT_S * profile.frame_rate_hz
    if frames % MEAN_FRAMES:
        raise ValueError(
            f"profile {profile.name}: normalisation {profile.normalisation['kind']!r} needs {SEGMENT_S} s to be a multiple of"
            f" {MEAN_FRAMES} frames, they are {frames:g}; choose another hop")
    return int(frames)


def segment_levels(picture_db: np.ndarray, profile: Profile, size: int, quantile: float = SEGMENT_QUANTILE) -> np.ndarray:
    """(segments, columns) dB of a picture (frames, columns), segments of `size` frames; the last one may be short.

    NaN where a column is masked. All columns of the crest have one level.
    """
    n_bands = profile.n_bands
    levels = np.full((-(-len(picture_db) // size), picture_db.shape[1]), np.nan, np.float32)
    for k in range(len(levels)):
        part = picture_db[k * size:(k + 1) * size]
        visible = np.flatnonzero(np.isfinite(part[0, :n_bands]))
        if len(visible):
            bands = part[:, :visible[-1] + 1]
            rows = min(MEAN_FRAMES, len(bands))
            bands = bands[:len(bands) // rows * rows].reshape(-1, rows, bands.shape[1]).mean(axis=1)  # of dB: cheap, blind to single clicks
            levels[k, :visible[-1] + 1] = _quantile(bands, quantile)
        crest = part[:, n_bands:]
        if crest.size and np.isfinite(crest[0, 0]):
            levels[k, n_bands:] = _quantile(crest.reshape(-1, 1), quantile)[0]
    return levels


def _quantile(values: np.ndarray, quantile: float) -> np.ndarray:
    """The lower of the two values at a quantile over the first axis."""
    rank = int(quantile * (len(values) - 1))
    return np.partition(np.ascontiguousarray(values.T), rank, axis=1)[:, rank]


def smooth(levels: np.ndarray, first: int, last: int) -> np.ndarray:
    """Median over the segments within REACH, for segments [first, last) of `levels` (segments, columns); fewer at the ends."""
    return np.stack([np.median(levels[max(0, k - REACH):k + REACH + 1], axis=0) for k in range(first, last)])


def contrast_db(picture_db: np.ndarray, profile: Profile) -> np.ndarray:
    """(frames, columns) dB above the background, of the whole picture of a recording; the picture itself where the profile has none."""
    stream = ContrastStream(profile)
    return np.concatenate([np.empty((0, picture_db.shape[1]), np.float32), *(part for part, _ in stream.push(picture_db, None, True))])


class ContrastStream:
    """Contrast of a recording whose picture comes in pieces; each piece but the last must be a whole number of segments.

    Pieces may begin in the midst of a recording, at a segment: what lies within REACH of the beginning is not exact then.
    """

    def __init__(self, profile: Profile):
        self.profile, self.on = profile, has_contrast(profile)
        self.size = segment_frames(profile) if self.on else 1
        self._waiting: deque = deque()
        self._levels: np.ndarray | None = None  # of the segments from `_first` on
        self._first = self._next = self._frames = 0

    def push(self, picture_db: np.ndarray, company, final: bool) -> list[tuple]:
        """The next piece (frames, columns) dB. Returns (contrast, company) of each piece that is ready; `company` goes with its piece."""
        if not self.on:
            return [(picture_db, company)]
        if final and self._levels is None and 0 < len(picture_db) < CLIP_S * self.profile.frame_rate_hz:
            level = segment_levels(picture_db, self.profile, len(picture_db), CLIP_QUANTILE)
            levels = np.repeat(level, -(-len(picture_db) // self.size), axis=0)
        else:
            levels = segment_levels(picture_db, self.profile, self.size)
        self._levels = levels if self._levels is None else np.concatenate([self._levels, levels])
        self._waiting.append((picture_db, company))
        ready = []
        while self._waiting:
            count = -(-len(self._waiting[0][0]) // self.size)
            if not final and self._next + count + REACH > self._first + len(self._levels):
                break
            ready.append(self._piece(count))
        return ready

    def _piece(self, count: int) -> tuple:
        picture_db, company = self._waiting.popleft()
        at = self._next - self._first
        background = smooth(self._levels, at, at + count) if count else np.empty((0, picture_db.shape[1]), np.float32)
        self._next += count
        past = max(0, self._next - REACH - self._first)
        self._levels, self._first = self._levels[past:], self._first + past
        out = np.empty_like(picture_db)
        for k in range(count):
            part = slice(k * self.size, (k + 1) * self.size)
            np.subtract(picture_db[part], background[k], out=out[part])
        return out, company
