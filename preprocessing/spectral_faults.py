"""Electrical hum and missing upper bands, from spectra averaged over the recording. One pass over float32 blocks, bounded memory.

Levels are averaged in dB, not as power: a line that is always there shows, a call or a passing boat does not. The spectra are relative (dB, no calibration).
"""
from __future__ import annotations

import numpy as np

MAINS_HZ = (50.0, 60.0)
HARMONICS = 10
HUM_RATE_HZ = 2400  # faster recordings are brought to this rate: all ten harmonics remain
HUM_WINDOW_S = 2.0  # lines are told from their surroundings at 0.5 Hz
OFF_MAINS = 0.004  # mains frequency and recorders' clocks are exact to some 0.2 % and 0.01 %
BESIDE_HZ = (1.5, 12.0)  # what a line is compared with: a boat's line drifts and is as loud beside its place, a pinger's come at other distances
LINE_DB, BESIDE_DB = 6.0, 3.0  # a line stands out from the middle, and from the highest, of what is beside it by so much,
LINE_SIGMAS = 6.0  # and by so many standard errors of an average of noise
LONE_DB = 15.0  # the fundamental alone counts from here on: without harmonics it might be a ship
LEAST_WINDOWS = 5  # 6 s

RESPONSE_WINDOW_S = 0.25

EDGE_WINDOW = 1024  # samples
EDGE_FRAMES_PER_S = 20
EDGE_DB = 24.0  # drop from 0.5-0.95 and from 0.8-0.95 to 1.1-1.3 of the edge. Digital filters do that; the sea, and old tapes with 20 dB at most, do not
EDGE_FROM = 16  # bins: with fewer below the edge a single tone might be taken for a band
EDGE_BELOW = 0.8  # of Nyquist: above this every recorder's own filter has its edge
LEVELS_DB = np.arange(-240, 21)  # of the count of levels in each bin


class Hum:
    """Steady lines at the harmonics of 50 or 60 Hz."""

    def __init__(self, rate_hz: float):
        self._resampler = None
        if rate_hz > HUM_RATE_HZ:
            import soxr

            self._resampler = soxr.ResampleStream(rate_hz, HUM_RATE_HZ, 1, dtype="float32", quality="LQ")
        self.rate_hz = min(rate_hz, HUM_RATE_HZ)
        self._size = 2 * round(HUM_WINDOW_S * self.rate_hz / 2)
        self._window = np.hanning(self._size + 1)[:-1].astype(np.float32)
        self._held, self._sum, self._n = np.empty(0, np.float32), 0.0, 0

    def add(self, x: np.ndarray) -> None:
        from scipy.fft import rfft

        if self._resampler is not None:
            x = self._resampler.resample_chunk(np.ascontiguousarray(x))
        self._held = np.concatenate([self._held, x])
        while len(self._held) >= self._size:
            piece = self._held[:self._size]
            power = np.abs(rfft((piece - piece.mean()) * self._window)) ** 2
            if power.any():  # digital silence has no spectrum
                self._sum, self._n = self._sum + 10 * np.log10(power + 1e-12), self._n + 1
            self._held = self._held[self._size // 2:]

    def found(self) -> tuple[float, list[float], float]:
        """Mains frequency in Hz (NaN: no hum), the harmonics that stand out, Hz, and by how many dB the strongest does."""
        if self._n < LEAST_WINDOWS:
            return np.nan, [], np.nan
        level_db, bin_hz = self._sum / self._n, self.rate_hz / self._size
        limit_db = max(LINE_DB, LINE_SIGMAS * 5.6 / np.sqrt(0.75 * self._n))  # 5.6 dB: spread of the level of noise; windows overlap by half
        best = (np.nan, [], np.nan)
        for mains_hz in MAINS_HZ:
            excess_db = {}
            for k in range(1, HARMONICS + 1):
                line_hz = k * mains_hz
                if line_hz + BESIDE_HZ[1] >= self.rate_hz / 2:
                    break
                off = np.abs(np.arange(len(level_db)) * bin_hz - line_hz)
                beside = level_db[(off >= BESIDE_HZ[0]) & (off <= BESIDE_HZ[1])]
                line_db = level_db[off <= max(bin_hz, OFF_MAINS * line_hz)].max(initial=-np.inf)
                if line_db >= beside.max() + BESIDE_DB:
                    excess_db[line_hz] = line_db - np.median(beside)
            lines = [line_hz for line_hz, excess in excess_db.items() if excess >= limit_db]
            own = [line_hz for line_hz in lines if line_hz % 300]  # 300 Hz belongs to both
            enough = len(own) >= 2 or (mains_hz in own and excess_db[mains_hz] >= max(LONE_DB, limit_db))
            if enough and len(lines) > len(best[1]):
                best = (mains_hz, lines, float(max(excess_db[line_hz] for line_hz in lines)))
        return best


class Response:
    """By how much a hydrophone's response moves the level of the whole sound: its spectrum, weighed with the curve."""

    def __init__(self, rate_hz: float, curve):
        """curve : `spectrogram.response.Curve`, the difference from the nominal sensitivity."""
        self._size = max(16, 2 * round(RESPONSE_WINDOW_S * rate_hz / 2))
        self._window = np.hanning(self._size + 1)[:-1].astype(np.float32)
        self._gains = curve.gains(np.fft.rfftfreq(self._size, 1 / rate_hz)[1:])
        self._held, self._plain, self._weighed = np.empty(0, np.float32), 0.0, 0.0

    def add(self, x: np.ndarray) -> None:
        self._held = np.concatenate([self._held, x])
        while len(self._held) >= self._size:
            self._count(self._held[:self._size])
            self._held = self._held[self._size // 2:]

    def _count(self, piece: np.ndarray) -> None:
        from scipy.fft import rfft

        power = np.abs(rfft((piece - piece.mean()) * self._window[:len(piece)], self._size)[1:]) ** 2
        self._plain, self._weighed = self._plain + float(power.sum()), self._weighed + float(power @ self._gains)

    def level_db(self) -> float:
        """dB to be added to a level that was told by the nominal sensitivity."""
        if not self._plain and len(self._held):  # shorter than a window
            self._count(self._held)
        return 10 * np.log10(self._weighed / self._plain) if self._plain > 0 else 0.0


class Bandwidth:
    """Where the sound ends: the edge of a digital low-pass filter well below Nyquist, as upsampled recordings have it."""

    def __init__(self, rate_hz: float):
        self.rate_hz = rate_hz
        self._window = np.hanning(EDGE_WINDOW + 1)[:-1].astype(np.float32)
        self._window *= np.float32(np.sqrt(2 / np.sum(self._window ** 2) / rate_hz))
        self._hop = max(EDGE_WINDOW, round(rate_hz / EDGE_FRAMES_PER_S))
        self._skip, self._held = 0, np.empty(0, np.float32)
        self._count = np.zeros((EDGE_WINDOW // 2 + 1, len(LEVELS_DB)), np.int64)

    def add(self, x: np.ndarray) -> None:
        from scipy.fft import rfft

        x = np.concatenate([self._held, x])
        starts = np.arange(self._skip, len(x) - EDGE_WINDOW + 1, self._hop)
        if len(starts):
            power = np.abs(rfft(x[starts[:, None] + np.arange(EDGE_WINDOW)] * self._window, axis=1)) ** 2  # (frames, bins)
            level = np.clip(np.round(10 * np.log10(power + 1e-24)) - LEVELS_DB[0], 0, len(LEVELS_DB) - 1).astype(int)
            np.add.at(self._count, (np.arange(power.shape[1]), level), 1)
        keep = starts[-1] + self._hop if len(starts) else self._skip
        self._held, self._skip = x[min(keep, len(x)):], max(0, keep - len(x))

    def quantile_db(self, q: float) -> np.ndarray:
        """(bins,) level below which a share q of the frames lies, dB re full-scale^2/Hz."""
        total = self._count.sum(axis=1)
        return LEVELS_DB[np.argmax(np.cumsum(self._count, axis=1) >= q * total[:, None], axis=1)].astype(float)

    def found(self) -> tuple[float, float]:
        """Hz at which the sound ends (NaN: no such edge), and the drop there in dB.

        The edge must stand in the quiet moments as in the loud ones, and nothing may rise above it: a whistle ends at some frequency too, but
        the noise around it does not.
        """
        if self._count[0].sum() < EDGE_FRAMES_PER_S / 2:
            return np.nan, np.nan
        quiet, loud = self.quantile_db(0.25), self.quantile_db(0.95)
        steady, end, best = _smooth(loud), len(quiet) - 2, (0.0, 0, 0.0)  # drop, bin, level half-way down
        for k in range(EDGE_FROM, int(EDGE_BELOW * len(quiet))):
            wide, near, above = slice(k // 2, int(0.95 * k)), slice(int(0.8 * k), int(0.95 * k)), slice(int(np.ceil(1.1 * k)), min(int(np.ceil(1.3 * k)) + 1, end))
            if quiet[near].max() - quiet[above].min() < EDGE_DB:
                continue  # most of them, and quickly
            held, fallen = ([min(np.median(x[wide]), np.median(x[near])) for x in (quiet, loud)], [np.median(x[above]) for x in (quiet, loud)])
            drop = min(held[0] - fallen[0], held[1] - fallen[1], held[1] - steady[above.start:end].max())
            if drop > best[0]:
                best = (float(drop), k, (held[0] + fallen[0]) / 2)
        drop, k, half_db = best
        if drop < EDGE_DB:
            return np.nan, np.nan
        last = k // 2 + np.flatnonzero(quiet[k // 2:int(1.3 * k)] >= half_db)[-1]
        return float((last + 0.5) * self.rate_hz / EDGE_WINDOW), drop


def _smooth(level_db: np.ndarray) -> np.ndarray:
    """Running median of five bins: a single line in the empty bands does not make them full."""
    from scipy.ndimage import median_filter

    return median_filter(level_db, 5, mode="nearest")
