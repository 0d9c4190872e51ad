"""Sounds whose levels are known exactly, made from seeds."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile


@dataclass
class Sound:
    """Samples that the spectrogram generator can read as if they were a recording, without a file."""

    samples: np.ndarray
    sample_rate_hz: int
    sensitivity_db: float = -170.0

    scale = 1.0

    def raw_blocks(self, block_s: float):
        size = max(1, round(block_s * self.sample_rate_hz))
        for k in range(0, len(self.samples), size):
            yield self.samples[k:k + size]


def coloured_noise(rate_hz: int, seconds: float, density, seed: int = 0) -> np.ndarray:
    """Noise whose periodogram *is* the one-sided density asked for: exact magnitudes, random phases.

    Ordinary noise would need hours before the scatter of the 20-Hz decidecade (4.6 Hz wide) is well below 0.5 dB; this needs seconds.

    Parameters
    ----------
    density : function of the frequencies in Hz -> full-scale^2 / Hz.

    Returns
    -------
    (round(seconds * rate_hz),) float32, without a 0-Hz component.
    """
    n = round(seconds * rate_hz)
    freqs = np.fft.rfftfreq(n, 1 / rate_hz)[1:]
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, len(freqs))
    spectrum = np.zeros(n // 2 + 1, complex)
    spectrum[1:] = np.sqrt(density(freqs) * rate_hz * n / 2) * np.exp(1j * phases)
    if n % 2 == 0:
        spectrum[-1] = 0
    return np.fft.irfft(spectrum, n).astype(np.float32)


def white_noise(rate_hz: int, seconds: float, rms: float = 0.1, seed: int = 0) -> np.ndarray:
    """White noise of exactly this density: rms^2 / (rate / 2) at every frequency."""
    return coloured_noise(rate_hz, seconds, lambda f: np.full(len(f), rms ** 2 / (rate_hz / 2)), seed)


def sine(rate_hz: int, seconds: float, frequency_hz: float, amplitude: float = 1.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def clicks(rate_hz: int, seconds: float, samples, amplitude: float = 0.9, seed: int = 0) -> np.ndarray:
    """Single-sample clicks in very quiet noise."""
    x = np.random.default_rng(seed).standard_normal(round(seconds * rate_hz)).astype(np.float32) * np.float32(1e-5)
    x[np.asarray(samples)] += np.float32(amplitude)
    return x


def write(path: Path, samples: np.ndarray, rate_hz: int, subtype: str = "FLOAT", format: str | None = None) -> Path:
    soundfile.write(path, samples, rate_hz, subtype=subtype, format=format)
    return path
