"""Sound levels in dB re 1 µPa: SPL, decidecade bands, power spectral density, percentiles, long-term average.

Each second of a recording gets its mean-square values; tables average them *in power* over longer rows, then go to decibels.

Two resolutions feed one set of bands. Above 1.78 kHz the bands come from the same power spectra as the picture (93.75 Hz bins at
192 kHz). Below, those bins are too wide to tell bands apart, so the sound is decimated to about 8 kHz and 1-s Hann windows give bins
of at most 1 Hz; that costs about a tenth more time. They overlap by two thirds, the least at which squared Hann windows add up to a
constant: every moment counts the same, where at one half a single loud pulse could read 1.2 dB too high or low. Bins on a band's border are split in proportion.

Sources: ISO 18405:2017 (sound pressure level; mean-square sound pressure spectral density level), IEC 61260-1:2014
(decidecade bands), Merchant et al. (2015) doi:10.1111/2041-210X.12330 (averaging and percentiles).
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from spectrogram.bands import decidecade_centres_hz, nominal_hz, overlap_weights
from spectrogram.chunks import Chunk
from spectrogram.names import utc_times
from spectrogram.response import Curve
from spectrogram.stft import FrameGrid

LOWEST_HZ = 17.7          # lower edge of the 20 Hz decidecade: below, a band is narrower than a 1-s window can resolve
SPLIT_HZ = 10 ** 3.25      # 1778 Hz: upper edge of the 1.6 kHz decidecade
FINE_RATE_HZ = 8000
WINDOWS_AT_ONCE, DECIMATED_AT_ONCE = 12, 8192  # small enough for the processor's cache
PSD_BANDS_PER_DECADE = 40  # columns PSD_f: a quarter of a decidecade each
ROWS_AT_MOST = 10 ** 7     # of one stretch of sound
REACH_S = 1 / 3             # of the low bands' windows beyond their second
NO_SILENCE = np.empty((0, 2))
FLOOR = 1e-20              # full-scale^2 / Hz; digital silence reads this instead of minus infinity


@dataclass
class Seconds:
    """Mean-square values of consecutive seconds, in full-scale units (calibrate with `-sensitivity_db`).

    start_s (n,); duration_s (n,): under 1 for the last; broadband (n,) full-scale^2 over all frequencies but 0 Hz;
    band_power (n, decidecades) full-scale^2; psd (n, psd bands) full-scale^2 / Hz.
    """

    start_s: np.ndarray
    duration_s: np.ndarray
    broadband: np.ndarray
    band_power: np.ndarray
    psd: np.ndarray

    @staticmethod
    def join(parts: list["Seconds"]) -> "Seconds":
        return Seconds(*(np.concatenate([getattr(p, name) for p in parts]) for name in Seconds.__dataclass_fields__))

    def cut(self, first: int, last: int | None = None) -> "Seconds":
        """Seconds [first, last)."""
        return Seconds(*(getattr(self, name)[first:last] for name in Seconds.__dataclass_fields__))


class LevelMeter:
    """Turns chunks of samples and their power spectra into `Seconds`.

    Attributes
    ----------
    centres_hz : decidecade centres that lie wholly below Nyquist.  psd_centres_hz : centres of the PSD columns.
    lead, margin : samples needed before a chunk's start and after its end.

    With a `curve` (a sensitivity's difference from its nominal value by frequency) all values are as a flat hydrophone of the nominal sensitivity would give them.
    """

    def __init__(self, grid: FrameGrid, curve: Curve | None = None):
        self.grid, self.curve, rate = grid, curve, grid.rate_hz
        self.factor = max(1, rate // FINE_RATE_HZ)
        self.fine_rate_hz = rate / self.factor
        self.taps, self.half = self._low_pass()
        from scipy.fft import next_fast_len

        self.fine_n = next_fast_len(int(np.ceil(self.fine_rate_hz)), real=True)
        self.fine_window = np.hanning(self.fine_n + 1)[:-1].astype(np.float32)
        self.fine_bin_hz = self.fine_rate_hz / self.fine_n
        self.fine_bins = self.fine_n // 2 + 1 if self.factor == 1 else int(SPLIT_HZ / self.fine_bin_hz) + 2  # those that bands are made of
        self.lead = rate // 3 + self.half + 4 * self.factor
        self.margin = int(rate * (self.fine_n / self.fine_rate_hz - 2 / 3)) + 2 * self.half + 4 * self.factor + 1
        self.centres_hz = decidecade_centres_hz(LOWEST_HZ, rate / 2)
        half_band = 10 ** 0.05
        self._band = self._weights(self.centres_hz / half_band, self.centres_hz * half_band)
        n = np.arange(-68, 130)
        psd_centres = 1000.0 * 10 ** (n / PSD_BANDS_PER_DECADE)
        half_psd = 10 ** (0.5 / PSD_BANDS_PER_DECADE)
        self.psd_centres_hz = psd_centres[psd_centres * half_psd <= rate / 2]
        low, high = self.psd_centres_hz / half_psd, self.psd_centres_hz * half_psd
        self._psd = [w / (high - low).astype(np.float32) for w in self._weights(low, high)]
        if curve is not None:
            everything = np.array([self.fine_bin_hz / 2]), np.array([rate / 2])
            self._all = [np.hstack(pair) for pair in zip(self._weights(*everything, flat=True), self._weights(*everything))]

    def _low_pass(self):
        """Polyphase taps (columns, factor) of the decimator, and half its length: flat to 1.78 kHz, 80 dB down at the alias."""
        if self.factor == 1:
            return None, 0
        from scipy.signal import firwin, kaiserord

        rate = self.grid.rate_hz
        stop = self.fine_rate_hz - SPLIT_HZ
        count, beta = kaiserord(80.0, (stop - SPLIT_HZ) / (rate / 2))
        columns = count // self.factor + 1
        taps = firwin(2 * (columns * self.factor // 2) - 1, (SPLIT_HZ + stop) / 2, window=("kaiser", beta), fs=rate)
        padded = np.zeros(columns * self.factor)
        padded[:len(taps)] = taps
        return padded.reshape(columns, self.factor).astype(np.float32), (len(taps) - 1) // 2

    def _weights(self, low_hz, high_hz, flat: bool = False):
        """(fine bins, bands), (picture bins, bands): power in each band = fine PSD @ first + picture PSD @ second."""
        split = np.inf if self.factor == 1 else SPLIT_HZ
        fine = overlap_weights(np.minimum(low_hz, split), np.minimum(high_hz, split), self.fine_bin_hz, self.fine_bins)
        main = overlap_weights(np.maximum(low_hz, split), np.maximum(high_hz, split), self.grid.bin_hz, self.grid.n_bins)
        if self.curve is not None and not flat:
            fine = fine * self.curve.gains(np.arange(self.fine_bins) * self.fine_bin_hz)[:, None]
            main = main * self.curve.gains(np.arange(self.grid.n_bins) * self.grid.bin_hz)[:, None]
        return (fine * self.fine_bin_hz).astype(np.float32), (main * self.grid.bin_hz).astype(np.float32)

    def seconds(self, chunk: Chunk, psd_sum: np.ndarray, frames: np.ndarray) -> Seconds:
        """Levels of a chunk.

        Parameters
        ----------
        psd_sum : (n, n_bins) sum of the power spectra of each second's frames; frames : (n,) how many frames went into each.
        """
        rate, n = self.grid.rate_hz, int(np.count_nonzero(frames))  # a stub at the end, shorter than a frame, has no spectrum: left out
        psd_sum, frames = psd_sum[:n], frames[:n]
        own = chunk.samples[chunk.first - chunk.origin:chunk.last - chunk.origin]
        seconds = [own[k * rate:(k + 1) * rate] for k in range(n)]
        ones = np.ones(rate, np.float32)
        mean = np.array([np.dot(x, ones[:len(x)]) / len(x) for x in seconds], dtype=np.float64)
        square = np.array([np.dot(x, x) / len(x) for x in seconds], dtype=np.float64)
        main = psd_sum / frames[:, None]
        fine = self._fine_psd(chunk, n)
        return Seconds(
            start_s=chunk.first / rate + np.arange(n, dtype=np.float64),
            duration_s=np.array([len(x) / rate for x in seconds]),
            broadband=np.maximum(square - mean ** 2, 0.0) * self._broadband_gain(fine, main),
            band_power=fine @ self._band[0] + main @ self._band[1],
            psd=fine @ self._psd[0] + main @ self._psd[1],
        )

    def _broadband_gain(self, fine: np.ndarray, main: np.ndarray) -> np.ndarray | float:
        """What the curve makes of each second's power over all frequencies, by its spectrum."""
        if self.curve is None:
            return 1.0
        flat, curved = (fine @ self._all[0] + main @ self._all[1]).astype(np.float64).T
        return np.divide(curved, flat, out=np.ones(len(flat)), where=flat > 0)

    def _fine_psd(self, chunk: Chunk, n: int) -> np.ndarray:
        """(n, fine bins) PSD of each second from three 1-s windows, a third of a second apart, the middle one on the second itself."""
        import torch

        if n == 0:
            return np.zeros((0, self.fine_bins), np.float32)
        rate, d = self.grid.rate_hz, self.factor
        first_m = -(-(chunk.origin + self.half) // d)  # first decimated sample whose taps lie in the chunk
        if self.taps is None:
            y, first_m = chunk.samples, chunk.origin
        else:
            y = self._decimated(chunk.samples[first_m * d - self.half - chunk.origin:])
        starts = np.round((chunk.first / rate + (np.arange(3 * n) - 1) / 3) * self.fine_rate_hz).astype(np.int64) - first_m
        if chunk.final:  # at its ends, windows slide until they lie within the recording; in a short one, mirrored sound fills the rest
            starts = np.minimum(starts, chunk.last // d - first_m - self.fine_n)
        starts = np.maximum(starts, -first_m if chunk.index == 0 else 0)
        missing = int(starts.max()) + self.fine_n - len(y)
        if missing > 0:
            y = np.pad(y, (0, missing), mode="symmetric")
        psd = np.empty((3 * n, self.fine_bins), np.float32)
        for k in range(0, 3 * n, WINDOWS_AT_ONCE):
            windows = np.stack([y[start:start + self.fine_n] for start in starts[k:k + WINDOWS_AT_ONCE]])
            windows -= windows.mean(axis=1, keepdims=True)
            windows *= self.fine_window
            spectrum = torch.fft.rfft(torch.from_numpy(windows)).numpy()[:, :self.fine_bins]
            np.add(spectrum.real ** 2, spectrum.imag ** 2, out=psd[k:k + WINDOWS_AT_ONCE])
        psd *= np.float32(2.0 / (self.fine_rate_hz * float(np.sum(self.fine_window.astype(np.float64) ** 2))))
        return psd.reshape(n, 3, -1).mean(axis=1)

    def _decimated(self, x: np.ndarray) -> np.ndarray:
        """Samples through the low pass, every `factor`-th kept. In stretches of about a second, which stay in the processor's cache."""
        columns, d = self.taps.shape
        x = x[:len(x) // d * d].reshape(-1, d)
        y = np.empty(len(x) - columns + 1, np.float32)
        for k in range(0, len(y), DECIMATED_AT_ONCE):
            part = y[k:k + DECIMATED_AT_ONCE]
            products = self.taps @ x[k:k + len(part) + columns - 1].T  # (columns, blocks)
            np.add(products[0, :len(part)], products[1, 1:1 + len(part)], out=part)
            for j in range(2, columns):
                part += products[j, j:j + len(part)]
        return y


def decibels(power, sensitivity_db: float) -> np.ndarray:
    """Full-scale power (or PSD) -> dB re 1 µPa^2 (or 1 µPa^2/Hz), for a negative end-to-end sensitivity."""
    return 10 * np.log10(np.maximum(power, FLOOR)) - sensitivity_db


def level_table(seconds: Seconds, meter: LevelMeter, sensitivity_db: float, start_utc=None, row_s: float = 60.0,
                timeline=None, silences: np.ndarray = NO_SILENCE) -> pd.DataFrame:
    """Levels averaged over rows of `row_s` seconds, in the wide shape that PAMscapes reads.

    Columns
    -------
    UTC (NaT without a start time), start_s, duration_s (of what was listened to; levels are NaN where that is nothing),
    BB_1-N : sound pressure level, all frequencies from 1 Hz up to Nyquist N, dB re 1 µPa,
    TOL_f : level in the decidecade band centred at f Hz, dB re 1 µPa,
    PSD_f : mean spectral density level around f Hz, dB re 1 µPa^2/Hz,
    and for BB and TOL `_p05`, `_p50`, `_p95`: the level below which 5, 50, 95 % of the row's one-second levels lie.
    """
    breaks_s = () if timeline is None else timeline.breaks_s
    return level_frame([level_rows(seconds, sensitivity_db, row_s, breaks_s, silences)], meter, start_utc, timeline)


def row_numbers(seconds: Seconds, row_s: float, breaks_s=()) -> np.ndarray:
    """(n,) which row each second belongs to, rising. Rows begin anew where the recorder paused (`breaks_s`): a second that holds both
    sides of a pause belongs to the side that has more of it."""
    if not len(breaks_s):
        return (seconds.start_s // row_s).astype(int)
    stretch = np.searchsorted(breaks_s, seconds.start_s + seconds.duration_s / 2, "right")
    first_s = np.concatenate([[0.0], np.ceil(np.asarray(breaks_s) - 0.5)])[stretch]
    return stretch.astype(np.int64) * ROWS_AT_MOST + ((seconds.start_s - first_s) // row_s).astype(np.int64)


def heard_seconds(seconds: Seconds, silences: np.ndarray) -> np.ndarray:
    """(n,) bool: seconds that no stretch of `silences` ((k, 2), s) touches, nor the windows of their levels, which reach a third further."""
    if not len(silences):
        return np.ones(len(seconds.start_s), bool)
    first, last = seconds.start_s - REACH_S, seconds.start_s + seconds.duration_s + REACH_S
    return np.searchsorted(silences[:, 1], first, "right") >= np.searchsorted(silences[:, 0], last, "left")


def level_rows(seconds: Seconds, sensitivity_db: float, row_s: float = 60.0, breaks_s=(),
               silences: np.ndarray = NO_SILENCE) -> np.ndarray:
    """(rows, columns) float64: the numbers of `level_table`, in the order of its columns from start_s on.

    breaks_s : where the recorder paused. silences : (k, 2) s, in order: what was not listened to, as `Recording.silences` gives it.
    """
    power = np.column_stack([seconds.broadband, seconds.band_power])
    row, heard = row_numbers(seconds, row_s, breaks_s), heard_seconds(seconds, silences)
    rows = []
    for r in np.unique(row):
        here = (row == r) & heard
        if not here.any():
            nothing = np.full(4 * power.shape[1] + seconds.psd.shape[1], np.nan)
            rows.append(np.concatenate([[seconds.start_s[row == r][0], 0.0], nothing]))
            continue
        weight = seconds.duration_s[here] / seconds.duration_s[here].sum()
        levels = decibels(weight @ power[here], sensitivity_db)
        densities = decibels(weight @ seconds.psd[here], sensitivity_db)
        percentiles = percentile_levels(decibels(power[here], sensitivity_db))
        rows.append(np.concatenate([[seconds.start_s[row == r][0], seconds.duration_s[here].sum()], levels, densities, percentiles.T.ravel()]))
    return np.array(rows) if rows else np.zeros((0, 0))


def level_frame(parts: list[np.ndarray], meter: LevelMeter, start_utc=None, timeline=None) -> pd.DataFrame:
    """`level_rows` of the parts of a recording, in order, as the table. `timeline` : of the recording; none: it ran on from `start_utc`."""
    names = [broadband_name(meter)] + [f"TOL_{nominal_hz(f)}" for f in meter.centres_hz]
    psd_names = [f"PSD_{f:.1f}" if f < 100 else f"PSD_{f:.0f}" for f in meter.psd_centres_hz]
    columns = ["start_s", "duration_s", *names, *psd_names, *(f"{n}_p{p:02d}" for n in names for p in (5, 50, 95))]
    full = [part for part in parts if len(part)]
    table = pd.DataFrame(np.concatenate(full) if full else np.zeros((0, len(columns))), columns=columns)
    start_s = table["start_s"].to_numpy()
    table.insert(0, "UTC", utc_times(start_utc, start_s) if timeline is None else timeline.utc(start_s, start_s + 0.5))  # by the middle of the first second
    return table


def percentile_levels(levels_db: np.ndarray, percents=(5, 50, 95)) -> np.ndarray:
    """(percents, bands) statistical percentiles over time of (times, bands) levels: p95 is the loud end (acousticians' L5)."""
    return np.percentile(levels_db, percents, axis=0)


def broadband_name(meter: LevelMeter) -> str:
    return f"BB_1-{meter.grid.rate_hz // 2}"
