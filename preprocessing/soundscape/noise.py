"""Gaussian noise with a spectrum that may change with time, made frame by frame.

Each frame is drawn in the frequency domain: independent complex normal values times the square root of the wanted power spectral
density. Frames overlap by half under a sine window, whose squares add up to one, so the power is right at every instant. A frame depends on the
key and its number only, so blocks can be made in any order.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.fft import irfft, next_fast_len, rfftfreq

from .randomness import generator

FRAME_S = 0.17  # 6 Hz between bins: fine enough for the tilt of ship noise, short enough for a boat's Lloyd mirror to move


class ShapedNoise:
    """Endless noise; `frequency_hz` (bins,) is the grid on which the power spectral density is to be given.

    Parameters
    ----------
    key : tuple of int and str
        What this noise is; the same key gives the same noise.
    sample_rate_hz : int
    """

    def __init__(self, key: tuple, sample_rate_hz: int):
        self.key = key
        self.sample_rate_hz = sample_rate_hz
        self.hop = next_fast_len(max(int(round(sample_rate_hz * FRAME_S / 2)), 8), real=True)
        self.n = 2 * self.hop
        self.frequency_hz = rfftfreq(self.n, 1 / sample_rate_hz).astype(np.float32)
        self._window = np.sin(np.pi * (np.arange(self.n) + 0.5) / self.n).astype(np.float32)

    def frame_time_s(self, k: int) -> float:
        """Middle of frame k, which covers the samples [(k - 1) hop, (k + 1) hop)."""
        return k * self.hop / self.sample_rate_hz

    def frame(self, k: int, psd: np.ndarray) -> np.ndarray:
        """Windowed frame k (n,) of noise with the one-sided power spectral density `psd` (bins,), unit²/Hz."""
        rng = generator(*self.key, k + 1)
        draw = rng.standard_normal(2 * len(self.frequency_hz), dtype=np.float32).view(np.complex64)
        draw *= np.sqrt(psd * np.float32(self.n * self.sample_rate_hz / 4))
        draw[0] = 0
        draw[-1] = 0
        return irfft(draw, self.n, overwrite_x=True) * self._window

    def block(self, start: int, stop: int, psd_at: Callable[[float], np.ndarray]) -> np.ndarray:
        """Samples [start, stop) as float32; `psd_at(time_s)` gives the density at a frame's middle."""
        first, last = start // self.hop, -(-stop // self.hop)
        buffer = np.zeros((last - first + 2) * self.hop, dtype=np.float32)
        for k in range(first, last + 1):
            at = (k - first) * self.hop
            buffer[at : at + self.n] += self.frame(k, psd_at(self.frame_time_s(k)))
        offset = start - (first - 1) * self.hop
        return buffer[offset : offset + stop - start]
