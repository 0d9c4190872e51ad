"""Click trains in the crest: the peaks of millisecond blocks of high-passed sound, in which an echolocation click stands out as in no spectrum.

    blocks -> clicks: blocks more than CLICK_DB above the background, the highest within DEAD_S
           -> regular clicks: with one of the next clicks before and one of the next behind they make two intervals that are alike, at levels that are alike
           -> trains: regular clicks that follow each other within MAX_INTERVAL_S, enough of them, few strangers among them

Shrimp snap and rain falls at random moments and levels, so hardly three of their impulses in a row are alike: a seal bomb or a knock is one click and no train. The
background is the median of a segment's blocks, and of that the median over the span around, as in `ROI.background`.

Crest arrays are (frames, blocks in a frame) in µPa^2, power (frames, bands) in µPa^2/Hz. Work goes chunk by chunk as in `ROI.band`, so trains do not depend on how frames were pushed.
Sources: Au et al. (1985), beluga clicks; Lammers et al. (2003) and Roy et al. (2010), clicks told by the regularity of their intervals.
"""

from collections import deque

import numpy as np

from ROI.background import SEGMENT_S, smooth_levels
from ROI.band import segment_frames

NAME = "crest"
SPAN_S = 24.0  # of the background
CLICK_DB = 6.0  # above the median block: in Gaussian noise one block in a hundred thousand or so
DEAD_S = 0.004  # echoes and the click's own skirt: no second click so soon
ECHO_S, ECHO_DB, ECHOES = 0.05, 8.0, 8  # a click so soon after one so much louder is its echo; looked for among so many clicks before
MAX_INTERVAL_S = 0.35
ALIKE = 0.15  # difference of the logarithms of two intervals of one train, at most
PASSED_OVER = 0.06  # what passing over a click costs against a difference of intervals
STEADY = 0.1  # from click to click of a train the interval's logarithm changes by no more, in the median
ALIKE_DB = 6.0  # and of the levels of two clicks
REACH = 3  # clicks on either side among which a click looks for its neighbours: echoes and other trains lie between
MIN_CLICKS = 8  # regular ones in a train
MIN_SHARE = 0.5  # of the clicks within a train that are regular
MAX_TRAIN_S = 8.0  # longer ones are cut every so often from their start
BOUND_DB = 3.0  # a train's box reaches as far as the mean spectrum of its clicks stands so far above the background
TRAIN = np.dtype([("first", "i8"), ("last", "i8"), ("n_clicks", "i8"), ("interval_s", "f8"), ("share", "f8"), ("alike", "f8"), ("snr", "f8"),
                  ("low_band", "i8"), ("high_band", "i8"), ("peak_band", "i8")])  # fmt: skip


def find_clicks(ratio, block_s):
    """(clicks,) indices of the blocks that are clicks, ascending, from (blocks,) power over background."""
    loud = np.flatnonzero(ratio > 10 ** (CLICK_DB / 10))
    if not len(loud):
        return loud
    gap = max(1, round(DEAD_S / block_s))
    start = np.concatenate([[True], np.diff(loud) > gap])
    starts, group = np.flatnonzero(start), np.cumsum(start) - 1
    highest = np.maximum.reduceat(ratio[loud], starts)
    at = np.flatnonzero(ratio[loud] == highest[group])
    return loud[at[np.searchsorted(at, starts)]]


def without_echoes(when_s, level_db):
    """(clicks,) bool: False where a click ECHO_DB louder lies less than ECHO_S before: its echo from surface or bottom."""
    own = np.ones(len(when_s), bool)
    for before in range(1, ECHOES + 1):
        late, early = slice(before, None), slice(None, -before)
        own[late] &= ~((when_s[late] - when_s[early] < ECHO_S) & (level_db[early] - level_db[late] > ECHO_DB))
    return own


def regular(when_s, level_db):
    """For each click whether it lies in the middle of two intervals that are alike, and how unlike these are (difference of logarithms, ALIKE at most).

    Parameters
    ----------
    when_s, level_db : (clicks,), in order of time

    Returns
    -------
    (clicks,) bool, (clicks,) float, (clicks,) float: the interval in s
    """
    n = len(when_s)
    best, unlike, interval = np.full(n, np.inf), np.full(n, np.inf), np.zeros(n)
    at = np.arange(n)
    for before in range(1, REACH + 1):
        for behind in range(1, REACH + 1):
            j, m = at - before, at + behind
            there = (j >= 0) & (m < n)
            i, j, m = at[there], j[there], m[there]
            past, next_ = when_s[i] - when_s[j], when_s[m] - when_s[i]
            level = np.stack([level_db[i], level_db[j], level_db[m]])
            difference = np.abs(np.log(next_ / past))
            fits = (past <= MAX_INTERVAL_S) & (next_ <= MAX_INTERVAL_S) & (np.ptp(level, axis=0) <= ALIKE_DB) & (difference <= ALIKE)
            merit = difference + PASSED_OVER * (before + behind - 2)  # of a train every second click, too, has intervals that are alike
            fits &= merit < best[i]
            i = i[fits]
            best[i], unlike[i], interval[i] = merit[fits], difference[fits], (0.5 * (past + next_))[fits]
    return unlike <= ALIKE, unlike, interval


class CrestDetector:
    """Finds click trains in a crest that comes in canonical chunks; it stands beside the `BandDetector`s of a recording."""

    def __init__(self, profile, columns, per_frame):
        self.columns, self.n_bands, self.per_frame = columns, columns.stop - columns.start, per_frame
        self.centres_hz, self.low_hz, self.high_hz = (np.asarray(hz)[columns] for hz in (profile.band_centres_hz, profile.band_low_hz, profile.band_high_hz))
        self.frame_rate_hz = profile.frame_rate_hz
        self.block_s = 1.0 / (per_frame * profile.frame_rate_hz)
        self.segment_frames = segment_frames(profile)
        self.half_span = max(1, round(SPAN_S / SEGMENT_S / 2))
        self.frames = 0  # that have come in
        self.blocks = 0  # that have been searched
        self.levels, self.first_level = np.zeros((1 + self.n_bands, 0), np.float32), 0  # of the segments from first_level on: crest, then bands
        self.waiting, self.next_segment = deque(), 0
        self.at, self.ratio = np.zeros(0, np.int64), np.zeros(0)  # clicks that may yet belong to a train
        self.spectra = np.zeros((0, self.n_bands), np.float32)  # their spectra over the background
        self.from_s = 0.0  # trains up to here are done

    @property
    def settled_s(self):
        """No train that is still to come begins before this time."""
        return max(0.0, min(self.from_s, self.blocks * self.block_s))

    def chunk(self, power, crest, final):
        """Take the next chunk; None: there is no more. Returns the trains that it finishes, as TRAIN records."""
        if power is not None:
            self.frames += len(power)
            power = power[:, self.columns]
            self.levels = np.concatenate([self.levels, self._levels(power, crest)], axis=1)
            self.waiting.append((power, crest))
        trains = [np.zeros(0, TRAIN)]
        while self.waiting:
            segments = -(-len(self.waiting[0][0]) // self.segment_frames)
            if not final and self.next_segment + segments + 1 + self.half_span > self.first_level + self.levels.shape[1]:
                break
            self._take_clicks(*self.waiting.popleft(), self._background(segments))
            trains.append(self._trains(final and not self.waiting))
        return np.concatenate(trains)

    def _levels(self, power, crest):
        """(1 + bands, segments): medians of the crest's blocks and of the bands' power."""
        out = []
        for k in range(0, len(power), self.segment_frames):
            blocks, bands = crest[k : k + self.segment_frames : 2].ravel(), power[k : k + self.segment_frames : 8]
            out.append(np.concatenate([[np.partition(blocks, len(blocks) // 2)[len(blocks) // 2]], np.partition(bands, len(bands) // 2, axis=0)[len(bands) // 2]]))
        return np.array(out, np.float32).reshape(-1, 1 + self.n_bands).T

    def _background(self, segments):
        first, last = self.next_segment - self.first_level, self.next_segment + segments - self.first_level
        smooth = smooth_levels(self.levels, self.half_span, first, last)
        self.next_segment += segments
        drop = max(0, self.next_segment - self.half_span - self.first_level)
        self.levels, self.first_level = self.levels[:, drop:], self.first_level + drop
        return smooth

    def _take_clicks(self, power, crest, background):
        """Add the clicks of a chunk."""
        blocks = crest.ravel()
        segment = np.arange(len(power)) // self.segment_frames
        level = np.repeat(background[0][segment], self.per_frame)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where((blocks > 0) & (level > 0), blocks / level, 0.0)
        at = find_clicks(ratio, self.block_s)
        frame = at // self.per_frame
        noise = background[1:, segment[frame]].T
        with np.errstate(divide="ignore", invalid="ignore"):
            spectra = np.where(noise > 0, power[frame] / noise, 1.0)
        self.at = np.concatenate([self.at, at + self.blocks])
        self.ratio = np.concatenate([self.ratio, ratio[at]])
        self.spectra = np.concatenate([self.spectra, spectra.astype(np.float32)])
        self.blocks += len(blocks)

    def _trains(self, final):
        """Trains that nothing to come can change; their clicks are forgotten."""
        when_s, level_db = self.at * self.block_s, 10 * np.log10(np.maximum(self.ratio, 1e-9))
        own = np.flatnonzero(without_echoes(when_s, level_db))
        fits, unlike, interval = (np.zeros(len(when_s), kind) for kind in (bool, float, float))
        fits[own], unlike[own], interval[own] = regular(when_s[own], level_db[own])
        settled_s = np.inf if final else self.blocks * self.block_s - (REACH + 1) * MAX_INTERVAL_S
        i = np.flatnonzero(fits & (when_s >= self.from_s))
        found = np.zeros(0, TRAIN)
        keep_s = settled_s
        if len(i):
            new = np.concatenate([[True], np.diff(when_s[i]) > MAX_INTERVAL_S])
            group = np.cumsum(new) - 1
            starts_s = when_s[i][np.flatnonzero(new)]
            piece = ((when_s[i] - starts_s[group]) // MAX_TRAIN_S).astype(int)
            key = group * (int(piece.max()) + 1) + piece
            starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
            ends = np.append(starts[1:], len(i))
            done = []
            for a, b in zip(starts, ends):
                followed = b < len(i) and when_s[i[b]] < settled_s  # by another train, or the piece from which it was cut off
                if not (followed or when_s[i[b - 1]] + MAX_INTERVAL_S < settled_s):
                    keep_s = min(keep_s, when_s[i[a]])
                    break
                among = int(np.searchsorted(own, i[b - 1]) - np.searchsorted(own, i[a])) + 1
                done.append(self._train(i[a:b], among, unlike, interval))
            found = np.array([row for row in done if row], TRAIN)
        keep_s = max(keep_s, self.from_s)
        held = len(when_s) if final else max(0, int(np.searchsorted(when_s, keep_s)) - REACH - ECHOES)
        self.at, self.ratio, self.spectra, self.from_s = self.at[held:], self.ratio[held:], self.spectra[held:], keep_s
        return found

    def _train(self, clicks, among, unlike, interval):
        """One TRAIN record of regular clicks (indices), or None if they are too few, too few `among` all that are no echoes, or their intervals jump."""
        if len(clicks) < MIN_CLICKS or len(clicks) < MIN_SHARE * among or np.median(np.abs(np.diff(np.log(interval[clicks])))) > STEADY:
            return None
        spectrum = self.spectra[clicks].mean(axis=0, dtype=np.float64)
        peak = int(np.argmax(spectrum))
        above = spectrum >= 10 ** (BOUND_DB / 10)
        low = high = peak
        while low > 0 and above[low - 1]:
            low -= 1
        while high < self.n_bands - 1 and above[high + 1]:
            high += 1
        snr = max(float(spectrum[low : high + 1].mean()) - 1.0, 0.0)
        return (self.at[clicks[0]], self.at[clicks[-1]], len(clicks), float(np.median(interval[clicks])), len(clicks) / among,
                float(np.median(unlike[clicks])), snr, low, high, peak)  # fmt: skip
