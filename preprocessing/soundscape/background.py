"""Real noise as a background: a clip, looped with cross-fades, at the recording's rate and in µPa.

It replaces the synthetic water below 0.9 of its Nyquist frequency (a clip of the recording's own rate or more, everywhere); above, the synthetic sea
goes on, raised or lowered to meet it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.signal import welch

MAX_CLIP_S = 180.0


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
        import soundfile
        import soxr

        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such file, cannot serve as a background")
        with soundfile.SoundFile(self.path) as file:
            own_rate = file.samplerate
            clip = file.read(int(MAX_CLIP_S * own_rate), dtype="float32", always_2d=True)[:, 0]
        if len(clip) < 0.5 * own_rate or not np.any(clip):
            raise ValueError(f"{self.path}: silent or shorter than 0.5 s, of no use as a background")
        self.top_hz = 0.45 * own_rate if own_rate < sample_rate_hz else 0.5 * sample_rate_hz
        clip = clip - clip.mean()
        if own_rate != sample_rate_hz:
            clip = soxr.resample(clip, own_rate, sample_rate_hz, quality="VHQ").astype(np.float32)
        fade = min(sample_rate_hz, len(clip) // 4)
        up = np.sin(0.5 * np.pi * (np.arange(fade) + 0.5) / fade).astype(np.float32)
        loop = clip[:-fade].copy()
        loop[:fade] = loop[:fade] * up + clip[-fade:] * up[::-1]  # powers add up: the clip's ends are not alike
        n = min(4096, len(loop))
        self._f, self._psd = welch(loop, sample_rate_hz, nperseg=n)
        scale = 10 ** (-sensitivity_db / 20) if sensitivity_db is not None else 1.0
        if sensitivity_db is None:
            band = (self._f > 500) & (self._f < min(5000, self.top_hz))
            band = band if band.any() else (self._f > 20) & (self._f < self.top_hz)
            scale = float(np.sqrt(np.median(reference_psd(self._f[band])) / np.median(self._psd[band])))
        self._loop = loop * np.float32(scale)
        self._psd = self._psd * scale**2

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
