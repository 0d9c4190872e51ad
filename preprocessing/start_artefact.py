"""What recorders write at the start of a file: a calibration tone, a settling offset, a step in gain, a fade. Found, not assumed.

The first seconds are compared with the rest of the recording, tenth of a second by tenth of a second: mean (the offset) and level in each octave. What
is odd there, from the very start on, is taken for the recorder's. How sure that is follows from the rest: if k stretches as odd come in T seconds,
one of them begins within the first half second by chance with 1 - exp(-k 0.5 / T). A call at the start of a clip cut around it looks the same.
"""
from __future__ import annotations

import numpy as np

FRAME_S = 0.1
SEARCHED_S = 10.0  # an artefact ends by then; no recorder known to us takes longer
COMPARED_S = 300.0  # the rest is compared so far: bounded memory
LEAST_S = 5.0  # shorter recordings have no rest to compare with
ONSET_S = 0.5  # and begins by then
PAUSE_S = 0.5  # tones of one artefact may pause so long
ODD, STILL_ODD = 6.0, 3.0  # robust standard deviations from the median of the rest; an artefact that dies away is followed down to the second
LEAST_DB, LEAST_OFFSET = 1.0, 3e-4  # spreads are not taken smaller than this (dB; full scale: 10 steps of 16 bits): the evenest noise has chance in it
LOWEST_HZ = 20.0


class Start:
    """Feed it blocks, then ask."""

    def __init__(self, rate_hz: float):
        self.rate_hz, self._size = rate_hz, max(8, round(FRAME_S * rate_hz))
        self._frame_s = self._size / rate_hz
        edges_hz = LOWEST_HZ * 2.0 ** np.arange(20)
        edges = np.unique(np.ceil(edges_hz[edges_hz < 0.45 * rate_hz] * self._size / rate_hz).astype(int))
        self._edges = edges[edges <= self._size // 2]
        self._window = np.hanning(self._size + 1)[:-1].astype(np.float32)
        self._held, self._frames, self._n = np.empty(0, np.float32), [], 0

    def add(self, x: np.ndarray) -> None:
        from scipy.fft import rfft

        if self._n * self._frame_s >= COMPARED_S:
            return
        x = np.concatenate([self._held, x])
        whole = len(x) // self._size
        frames, self._held = x[:whole * self._size].reshape(whole, self._size), x[whole * self._size:]
        if whole:
            offset = frames.mean(axis=1, keepdims=True)
            power = np.abs(rfft((frames - offset) * self._window, axis=1)) ** 2
            octaves = np.add.reduceat(power, self._edges, axis=1) if len(self._edges) else np.empty((whole, 0))
            self._frames.append(np.column_stack([offset, 10 * np.log10(octaves + 1e-12)]))
            self._n += whole

    def found(self) -> tuple[float, float, str]:
        """End of the artefact in s (0: none; NaN: the recording is too short to tell), how sure (0 to 1), and what it is."""
        frame_s = self._frame_s
        if self._n * frame_s < LEAST_S:
            return np.nan, np.nan, ""
        values = np.concatenate(self._frames)[:round(COMPARED_S / frame_s)]  # (frames, 1 + octaves)
        searched = round(min(SEARCHED_S / frame_s, len(values) / 2))
        rest = values[searched:]
        middle = np.median(rest, axis=0)
        spread = 1.4826 * np.median(np.abs(rest - middle), axis=0)
        least = np.concatenate([[LEAST_OFFSET], np.full(values.shape[1] - 1, LEAST_DB)])
        deviation = (values - middle) / np.maximum(spread, least)
        stretches = _stretches(np.abs(deviation).max(axis=1) > ODD, round(PAUSE_S / frame_s))
        if not len(stretches) or stretches[0, 0] * frame_s > ONSET_S or stretches[0, 1] >= searched:
            return 0.0, np.nan, ""
        first, last = map(int, stretches[0])
        frame, feature = np.unravel_index(np.argmax(np.abs(deviation[first:last])), deviation[first:last].shape)
        peak = abs(deviation[first + frame, feature])
        while last < searched and abs(deviation[last, feature]) > STILL_ODD:
            last += 1
        alike = sum(np.abs(deviation[a:b, feature]).max() >= peak / 2 for a, b in stretches)  # itself among them
        sure = float(np.exp(-alike * ONSET_S / (len(values) * frame_s)))
        return float(round(last * frame_s, 1)), sure, self._what(values[first + frame] - middle, feature)

    def _what(self, difference: np.ndarray, feature: int) -> str:
        """The feature that stands out most, in words."""
        if feature == 0:
            return f"the offset is {difference[0]:+.1%} of full scale from where it settles"
        limits_hz = np.append(self._edges, self._size / 2) * self.rate_hz / self._size
        everywhere = np.mean(difference[1:] / difference[feature] > 0.5) > 0.6
        where = "the level" if everywhere else f"the level around {np.sqrt(limits_hz[feature - 1] * limits_hz[feature]):.0f} Hz"
        return f"{where} is {abs(difference[feature]):.0f} dB {'higher' if difference[feature] > 0 else 'lower'} than later"


def _stretches(odd: np.ndarray, pause: int) -> np.ndarray:
    """(k, 2) first and end of the stretches of odd frames, those less than `pause` frames apart as one."""
    at = np.flatnonzero(odd)
    if not len(at):
        return np.empty((0, 2), int)
    gap = np.flatnonzero(np.diff(at) > pause)
    return np.column_stack([at[np.concatenate([[0], gap + 1])], at[np.concatenate([gap, [len(at) - 1]])] + 1])
