"""Calls whose truth is known, in quiet noise, written as recordings.

Levels are in dB re 1 µPa and the hydrophone is 6872 (-177.6 dB) unless told: a mean-square pressure level L is an rms of
10^((L - 177.6) / 20) of full scale. Noise is white, `NOISE_DB` re 1 µPa^2/Hz.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

NAME = "6872.220716021453.wav"
SENSITIVITY_DB = -177.6
NOISE_DB = 50.0


def rms(level_db: float) -> float:
    """Full-scale rms of a sound of `level_db` re 1 µPa."""
    return 10 ** ((level_db + SENSITIVITY_DB) / 20)


def noise(seconds: float, rate_hz: int, seed: int = 1, density_db: float = NOISE_DB) -> np.ndarray:
    """(n,) float32 white noise of `density_db` re 1 µPa^2/Hz."""
    x = np.random.default_rng(seed).standard_normal(round(seconds * rate_hz), dtype=np.float32)
    return x * np.float32(rms(density_db + 10 * np.log10(rate_hz / 2)))


def sweep(duration_s: float, rate_hz: int, low_hz: float, high_hz: float, level_db: float) -> np.ndarray:
    """A linear sweep with edges of 5 ms."""
    t = np.arange(round(duration_s * rate_hz)) / rate_hz
    phase = 2 * np.pi * (low_hz * t + (high_hz - low_hz) * t ** 2 / (2 * duration_s))
    return np.sqrt(2) * rms(level_db) * np.sin(phase) * _edges(len(t), rate_hz)


def band_burst(duration_s: float, rate_hz: int, low_hz: float, high_hz: float, level_db: float, seed: int = 2) -> np.ndarray:
    """Noise between two frequencies (exact in the spectrum), of this level, with edges of 5 ms."""
    n = round(duration_s * rate_hz)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(n))
    freqs = np.fft.rfftfreq(n, 1 / rate_hz)
    spectrum[(freqs < low_hz) | (freqs > high_hz)] = 0
    x = np.fft.irfft(spectrum, n)
    return x / np.sqrt(np.mean(x ** 2)) * rms(level_db) * _edges(n, rate_hz)


def clicks(duration_s: float, rate_hz: int, low_hz: float, high_hz: float, level_db: float, every_s: float = 1 / 24) -> np.ndarray:
    """A train of 0.5-ms pulses; `level_db` is that of a pulse."""
    out = np.zeros(round(duration_s * rate_hz))
    pulse = band_burst(0.0005, rate_hz, low_hz, high_hz, level_db)
    for start in np.arange(0, duration_s - 0.001, every_s):
        first = round(start * rate_hz)
        out[first:first + len(pulse)] += pulse
    return out


def put(x: np.ndarray, rate_hz: int, start_s: float, call: np.ndarray) -> np.ndarray:
    """Add a call, in place."""
    first = round(start_s * rate_hz)
    x[first:first + len(call)] += call.astype(np.float32)
    return x


def scene(seconds: float, rate_hz: int, seed: int = 1) -> np.ndarray:
    """Noise with every kind of call that the rate can hold, every 5 s: whistle at 1.0, burst of high frequencies at 2.0, both at once at 3.2-3.8."""
    x = noise(seconds, rate_hz, seed)
    for start in np.arange(0, seconds - 4, 5.0):
        put(x, rate_hz, start + 1.0, sweep(0.6, rate_hz, 1200 if rate_hz < 16000 else 6000, 2800 if rate_hz < 16000 else 9000, 105))
        if rate_hz >= 96000:
            put(x, rate_hz, start + 2.0, band_burst(0.3, rate_hz, 28000, 0.47 * rate_hz if rate_hz < 192000 else 80000, 115))
            put(x, rate_hz, start + 3.2, band_burst(0.5, rate_hz, 28000, 0.47 * rate_hz if rate_hz < 192000 else 80000, 115))
        put(x, rate_hz, start + 3.3, sweep(0.5, rate_hz, 1500 if rate_hz < 16000 else 7000, 3000 if rate_hz < 16000 else 11000, 105))
    return x


def write(path: Path, x: np.ndarray, rate_hz: int, subtype: str = "FLOAT") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, x, rate_hz, subtype=subtype)
    return path


def _edges(n: int, rate_hz: int) -> np.ndarray:
    ramp = min(round(0.005 * rate_hz), n // 2)
    shape = np.ones(n)
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(ramp) + 0.5) / max(ramp, 1))
    shape[:ramp], shape[n - ramp:] = rise, rise[::-1]
    return shape
