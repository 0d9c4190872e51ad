"""Real noise as a background: a clip in place of the water, at the recording's rate and in µPa.

It replaces the synthetic water in the band that it holds; above, the synthetic sea goes on, raised or lowered to
meet it. A recording at the clip's own rate has nothing above. Two ways to make much of a short clip:

`Background` (version 1) : the clip as an endless loop with one cross-fade.
`PatchedBackground` (version 2) : stretches from random moments of the clip, faded over, a little louder or softer
each; level and colour of the whole are drawn for each recording. No two seconds that a model may learn by
heart come at the same distance twice. It also knows the band in which the clip has any sound (`held_hz`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.signal import firwin2, oaconvolve, welch

from .ambient import spectral_colour_db
from .randomness import generator

MAX_CLIP_S = 180.0
SHORTEST_S = {1: 0.5, 2: 2.0}  # of a clip, by the simulator's version
PATCH_CLIP_S = 60.0  # most that version 2 takes of a clip
GAIN_DB = 6.0
COLOUR_DB = (1.5, 1.5)  # unevenness, and tilt per decade
EMPTY_DB = 20.0  # a fall by this much within a tenth of the band is a filter's, not the sea's


class Background:
    """An endless loop of a real clip.

    Parameters
    ----------
    path : WAV or FLAC; its first channel is used, `MAX_CLIP_S` at most
    sample_rate_hz : rate of the loop
    sensitivity_db : end-to-end, negative dB as on the certificate; None if the clip's level is not known, then
        the loop is scaled so that its density at 0.5-5 kHz has the median of `reference_psd`
    reference_psd : frequency_hz (bins,) -> density (bins,), only used without a sensitivity

    Raises
    ------
    FileNotFoundError; ValueError if the clip is silent or shorter than half a second.
    """

    def __init__(self, path, sample_rate_hz, sensitivity_db=None, reference_psd=None):
        clip, own_rate = self._read(path, MAX_CLIP_S, SHORTEST_S[1])
        self.top_hz = 0.45 * own_rate if own_rate < sample_rate_hz else 0.5 * sample_rate_hz
        self.held_hz = (0.0, self.top_hz)
        clip = _at_rate(clip - clip.mean(), own_rate, sample_rate_hz)
        fade = min(sample_rate_hz, len(clip) // 4)
        up = np.sin(0.5 * np.pi * (np.arange(fade) + 0.5) / fade).astype(np.float32)
        loop = clip[:-fade].copy()
        loop[:fade] = loop[:fade] * up + clip[-fade:] * up[::-1]  # powers add up: the clip's ends are not alike
        self._loop = loop * np.float32(self._measure(loop, sample_rate_hz, sensitivity_db, reference_psd))

    def _read(self, path, longest_s: float, shortest_s: float, rng: np.random.Generator | None = None) -> tuple[np.ndarray, int]:
        """First channel (n,) float32 of a clip, from a random moment on where it is longer than that, and its rate."""
        import soundfile

        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such file, cannot serve as a background")
        with soundfile.SoundFile(self.path) as file:
            spare = file.frames - int(longest_s * file.samplerate)
            if rng is not None and spare > 0:
                file.seek(int(rng.integers(0, spare + 1)))
            clip, rate = file.read(int(longest_s * file.samplerate), dtype="float32", always_2d=True)[:, 0], file.samplerate
        if len(clip) < shortest_s * rate or not np.any(clip):
            raise ValueError(f"{self.path}: silent or shorter than {shortest_s:g} s, of no use as a background")
        return clip, rate

    def _measure(self, sound, sample_rate_hz, sensitivity_db, reference_psd) -> float:
        """Note the sound's density, and return the factor that brings it to µPa."""
        self._f, self._psd = welch(sound, sample_rate_hz, nperseg=min(4096, len(sound)))
        scale = 10 ** (-sensitivity_db / 20) if sensitivity_db is not None else 1.0
        if sensitivity_db is None:
            low, high = max(500, self.held_hz[0]), min(5000, self.held_hz[1])
            band = (self._f > low) & (self._f < high)
            band = band if band.any() else (self._f > 20) & (self._f < self.top_hz)
            scale = float(np.sqrt(np.median(reference_psd(self._f[band])) / np.median(self._psd[band])))
        self._psd = self._psd * scale**2
        return scale

    def block(self, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop), µPa float32."""
        return self._loop[np.arange(start, stop) % len(self._loop)]

    def share_of_water(self, frequency_hz: np.ndarray, water_psd: np.ndarray) -> np.ndarray:
        """Factor (bins,) for the synthetic density: 0 where the clip reigns; above, what makes the two meet (within +-30 dB)."""
        seam = (frequency_hz > 0.6 * self.top_hz) & (frequency_hz < 0.95 * self.top_hz)
        factor = np.median(self.psd(frequency_hz[seam]) / water_psd[seam]) if seam.any() else 1.0
        return np.where(frequency_hz > self.top_hz, np.clip(factor, 1e-3, 1e3), 0.0)

    def psd(self, frequency_hz: np.ndarray) -> np.ndarray:
        """Mean density (bins,), µPa²/Hz; zero above the clip's own band."""
        return np.interp(frequency_hz, self._f, self._psd) * (np.asarray(frequency_hz) <= self.top_hz)


class PatchedBackground(Background):
    """An endless patchwork of a real clip of 2 s or more; `key` names the random choices, the rest as of `Background`."""

    def __init__(self, key, path, sample_rate_hz, sensitivity_db=None, reference_psd=None):
        rng = generator(*key, "background")
        clip, own_rate = self._read(path, PATCH_CLIP_S, SHORTEST_S[2], rng)
        clip = clip - clip.mean()
        low_hz, high_hz = held_band_hz(clip, own_rate)
        whole = own_rate >= sample_rate_hz  # nothing of the recording lies above the clip's band
        self.top_hz = 0.5 * sample_rate_hz if whole else min(0.45 * own_rate, high_hz)
        self.held_hz = (low_hz, min(high_hz, self.top_hz))
        f = np.linspace(0, 1, 33)
        colour_db = spectral_colour_db(rng, f * own_rate / 2, *COLOUR_DB)
        clip = oaconvolve(clip, firwin2(65, f, 10 ** (colour_db / 20)), mode="same").astype(np.float32)
        clip = _at_rate(clip, own_rate, sample_rate_hz)
        gain = 10 ** (rng.uniform(-GAIN_DB, GAIN_DB) / 20)
        self._clip = clip * np.float32(gain * self._measure(clip, sample_rate_hz, sensitivity_db, reference_psd))
        self._psd = self._psd * gain**2
        self._fade = min(sample_rate_hz // 2, len(clip) // 5)
        self._rng, self._patches = rng, []  # a patch: (start in the recording, start in the clip, length, gain)

    def _extend(self, stop: int) -> None:
        while not self._patches or self._patches[-1][0] + self._patches[-1][2] < stop + self._fade:
            n = len(self._clip)
            length = int(n * self._rng.uniform(0.4, 1.0))
            start = self._patches[-1][0] + self._patches[-1][2] - self._fade if self._patches else -self._fade
            gain = 10 ** (self._rng.uniform(-1, 1) / 20)
            self._patches.append((start, int(self._rng.integers(0, n - length + 1)), length, np.float32(gain)))

    def block(self, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop), µPa float32; the same however they are asked for."""
        self._extend(stop)
        out = np.zeros(stop - start, dtype=np.float32)
        up = np.sin(0.5 * np.pi * (np.arange(self._fade) + 0.5) / self._fade).astype(np.float32)
        for at, offset, length, gain in self._patches:
            if at >= stop or at + length <= start:
                continue
            patch = self._clip[offset : offset + length] * gain
            patch[: self._fade] *= up
            patch[-self._fade :] *= up[::-1]
            first, last = max(at, start), min(at + length, stop)
            out[first - start : last - start] += patch[first - at : last - at]
        return out


def held_band_hz(clip: np.ndarray, rate_hz: int) -> tuple[float, float]:
    """Lowest and highest frequency between which a clip has sound; outside, a filter or a codec has taken it."""
    f, psd = welch(clip, rate_hz, nperseg=min(2048, len(clip)))
    edges = np.linspace(0, 0.5 * rate_hz, 49)
    level_db = np.array([10 * np.log10(psd[(f >= a) & (f <= b)].mean() + 1e-30) for a, b in zip(edges[:-1], edges[1:])])
    high_hz = 0.475 * rate_hz
    for k in range(10, 48):
        if level_db[k:].max() < np.median(level_db[k - 6 : k]) - EMPTY_DB:
            high_hz = min(edges[k], high_hz)
            break
    low_edges = np.geomspace(max(30, 4 * f[1]), max(0.2 * rate_hz, 60), 25)
    low_db = np.array([10 * np.log10(psd[(f >= a) & (f <= b)].mean() + 1e-30) if ((f >= a) & (f <= b)).any() else np.nan
                       for a, b in zip(low_edges[:-1], low_edges[1:])])  # fmt: skip
    low_hz = 0.0
    for k in range(1, 20):
        if np.nanmax(low_db[:k]) < np.nanmedian(low_db[k + 1 : k + 5]) - EMPTY_DB:
            low_hz = float(low_edges[k + 1])
    return low_hz, float(high_hz)


def clip_rate_hz(path) -> int:
    """Sample rate of a clip. Raises FileNotFoundError."""
    import soundfile

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file, cannot serve as a background")
    return soundfile.info(str(path)).samplerate


def _at_rate(clip: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    import soxr

    return clip if own_rate == rate else soxr.resample(clip, own_rate, rate, quality="VHQ").astype(np.float32)
