"""How a received call stands above the noise it is really in: version 2 of the truth.

The noise is what sounds in the recording without the calls (water, boats, rain, shrimp, machines), measured as it
is made; what is rare in it, a passing knock, does not count. Of it

- `cells`: on the STFT cells of `truth.call_cells`, the median over the call's time, as a mean density;
- `crest`: peaks of the sound above 25 kHz in blocks of 1.3 ms, in which a click of 50 µs stands out that a
  spectrum of 10.7 ms does not show. A click is heard if it stands `HEARD_CREST_DB` above the median block, and
  2 dB above all but a tenth of the blocks, so that a bed of shrimp as loud as the clicks hides them.

Bounds are those between which 5 and 95 % of the call's energy lie, counted in the cells in which it is above the
noise; a click train's times are those of its first and last click heard.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import rfft, rfftfreq
from scipy.signal import butter, sosfilt

CREST_HZ = 25e3
CREST_S = 1 / 768  # four to a frame of the beluga profile
CREST_NYQUIST_HZ = 45e3  # below, too little is left above 25 kHz
HEARD_CREST_DB = 5.0
FEWEST_CLICKS = 3  # that make a train
AROUND_S = 0.5  # noise is taken from this much before and after a call, too
ABOVE_DB = 0.0  # a cell counts where the call is this much above the noise
_MEDIAN_OF_MEAN = np.log(2)  # median over mean of exponentially distributed cell powers


def crest(sound: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Peak squared pressure above 25 kHz (blocks,), µPa², of blocks of `CREST_S`; what is left over at the end is not counted."""
    high = sosfilt(butter(4, CREST_HZ, "highpass", fs=sample_rate_hz, output="sos").astype(np.float32), sound)
    n = int(CREST_S * sample_rate_hz)
    return (high[: len(high) // n * n].reshape(-1, n) ** 2).max(axis=1)


class NoiseMeter:
    """Remembers the noise of the last blocks, in cells and crests."""

    def __init__(self, sample_rate_hz: int, keep_s: float = 12.0):
        self.rate, self.keep_s = sample_rate_hz, keep_s
        self.n = max(2 * round(sample_rate_hz * 2048 / 192_000 / 2), 16)  # as truth.call_cells
        self.frequency_hz = rfftfreq(self.n, 1 / sample_rate_hz)
        self._window = np.hanning(self.n + 1)[: self.n].astype(np.float32)
        self._sound, self._start = np.zeros(0, dtype=np.float32), 0
        self._crest: np.ndarray | None = None

    def add(self, block: np.ndarray) -> None:
        """The next samples of the recording without its calls, µPa."""
        spare = max(len(self._sound) - int((self.keep_s - len(block) / self.rate) * self.rate), 0)
        self._sound = np.concatenate([self._sound[spare:], block])
        self._start += spare
        self._crest = None

    def _indices(self, start_s: float, stop_s: float, shortest: int) -> slice:
        """Samples between these times, shifted back or widened where they are not there."""
        size = len(self._sound)
        a = int((start_s - AROUND_S) * self.rate) - self._start
        b = int((stop_s + AROUND_S) * self.rate) - self._start
        b = min(max(b, shortest), size)
        a = max(min(a, b - max(shortest, int(AROUND_S * self.rate))), 0)
        return slice(a, b)

    def psd(self, start_s: float, stop_s: float) -> np.ndarray:
        """Density (bins,) on `frequency_hz` between these times, µPa²/Hz."""
        piece = self._sound[self._indices(start_s, stop_s, self.n)]
        if len(piece) < self.n:
            piece = np.pad(piece, (0, self.n - len(piece)), mode="wrap")
        step = max(len(piece) // self.n // 96, 1)  # a hundred frames are enough
        frames = piece[: len(piece) // self.n * self.n].reshape(-1, self.n)[::step]
        power = np.abs(rfft(frames * self._window, axis=1)) ** 2 * (2 / (self.rate * np.sum(self._window**2)))
        psd = np.median(power, axis=0) / (_MEDIAN_OF_MEAN if len(frames) > 2 else 1)
        return np.convolve(np.pad(psd, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")

    def crest(self, start_s: float, stop_s: float) -> tuple[float, float]:
        """Median and ninth decile of the crests between these times, µPa²; NaN below `CREST_NYQUIST_HZ`."""
        if self.rate / 2 < CREST_NYQUIST_HZ or len(self._sound) < 10 * CREST_S * self.rate:
            return np.nan, np.nan
        if self._crest is None:
            self._crest = crest(self._sound, self.rate)
        where = self._indices(start_s, stop_s, int(10 * CREST_S * self.rate))
        n = int(CREST_S * self.rate)
        blocks = self._crest[where.start // n : max(where.stop // n, where.start // n + 10)]
        return float(np.median(blocks)), float(np.quantile(blocks, 0.9))


@dataclass(frozen=True)
class Bounds:
    """Times in s since the call's start, frequencies in Hz."""

    start_s: float
    stop_s: float
    low_hz: float
    high_hz: float
    peak_hz: float
    first_s: float  # first and last moment at which it can be heard
    last_s: float


def bounds(t: np.ndarray, f: np.ndarray, psd: np.ndarray, noise: np.ndarray) -> Bounds:
    """Bounds of a call given its cells.

    Parameters
    ----------
    t, f : (frames,) s, (bins,) Hz, evenly spaced
    psd : (frames, bins) of the call, µPa²/Hz; noise : (bins,)
    """
    above = psd >= noise * 10 ** (ABOVE_DB / 10)
    heard = np.flatnonzero(above.sum(axis=1) >= 2)
    energy = np.where(above, psd, 0)
    if energy.sum() < 0.05 * psd.sum():  # nowhere above the noise: where it would be
        energy, heard = psd, np.arange(len(t))
    in_time, in_frequency = energy.sum(axis=1), energy.sum(axis=0)
    heard = heard if len(heard) else np.flatnonzero(in_time > 0)
    start_s, stop_s = _quantiles(t, in_time)
    low_hz, high_hz = _quantiles(f, in_frequency)
    return Bounds(start_s, stop_s, low_hz, high_hz, float(f[np.argmax(in_frequency)]), float(t[heard[0]]), float(t[heard[-1]]))


def _quantiles(x: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Where 5 and 95 % of the weight of evenly spaced cells are reached, each cell spread evenly over its width."""
    width = x[1] - x[0] if len(x) > 1 else 0.0
    total = np.concatenate([[0.0], np.cumsum(weight, dtype=np.float64)])
    edges = np.concatenate([x - width / 2, [x[-1] + width / 2]])
    low, high = np.interp([0.05 * total[-1], 0.95 * total[-1]], total, edges)
    return float(max(low, 0.0)), float(max(high, low + 1e-6))


def click_crests(call: np.ndarray, click_s: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Peak squared pressure above 25 kHz (clicks,), µPa², within 0.3 ms before to 1 ms after each click's time, and no nearer to the next."""
    high = sosfilt(butter(4, CREST_HZ, "highpass", fs=sample_rate_hz, output="sos").astype(np.float32), call.astype(np.float32)) ** 2
    at = np.clip(((click_s - 3e-4) * sample_rate_hz).astype(np.int64), 0, max(len(high) - 2, 0))
    stop = np.minimum(at + int(1.3e-3 * sample_rate_hz), np.append(at[1:], len(high)))
    return np.array([high[a : max(b, a + 1)].max() for a, b in zip(at, stop)])


def heard_clicks(power: np.ndarray, median: float, decile: float) -> np.ndarray:
    """Which clicks (clicks,) bool stand above the noise, whose crests have this median and ninth decile; all in µPa²."""
    return power >= max(median * 10 ** (HEARD_CREST_DB / 10), decile * 10**0.2)


def train_spans(click_s: np.ndarray, heard: np.ndarray) -> list[tuple[int, int, bool]]:
    """Stretches of a train, (first, past the last click, whether it is heard).

    A stretch that is heard ends where no click is heard for three of the train's longer intervals, 0.3 to 1.2 s; it has
    `FEWEST_CLICKS` heard clicks, or is none.
    """
    index = np.flatnonzero(heard)
    if len(index) < FEWEST_CLICKS:
        return [(0, len(click_s), False)]
    gap_s = np.clip(3 * np.quantile(np.diff(click_s), 0.9), 0.3, 1.2)
    groups = np.split(index, np.flatnonzero(np.diff(click_s[index]) > gap_s) + 1)
    spans, at = [], 0
    for group in groups:
        if len(group) < FEWEST_CLICKS:
            continue
        if group[0] > at:
            spans.append((at, int(group[0]), False))
        at = int(group[-1]) + 1
        spans.append((int(group[0]), at, True))
    if at < len(click_s):
        spans.append((at, len(click_s), False))
    return spans
