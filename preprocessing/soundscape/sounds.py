"""Building blocks of sounds that are no calls, all at `RATE`: rings, noise bands, series, spectra.

Every function returns pressure in arbitrary units; what is made of them is scaled by `confusers.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.signal import butter, sosfilt

from .propagation import SYNTHESIS_RATE_HZ

RATE = SYNTHESIS_RATE_HZ
UNIT_S = 6.0  # longer sounds repeat a stretch of this length, from another moment on and faded over


def ring(rng, frequency_hz: float, decay_s: float) -> np.ndarray:
    """A damped resonance."""
    t = np.arange(int(min(7 * decay_s, 1.5) * RATE) + 64) / RATE
    return np.sin(2 * np.pi * frequency_hz * t + rng.uniform(0, 6)) * np.exp(-t / decay_s) * np.minimum(t / 1e-4, 1)


def band_noise(rng, seconds: float, low_hz: float, high_hz: float, order: int = 2) -> np.ndarray:
    filt = butter(order, [low_hz, min(high_hz, 0.49 * RATE)], "bandpass", fs=RATE, output="sos")
    return sosfilt(filt, rng.standard_normal(int(seconds * RATE) + 64))


def stack(parts: list[tuple[float, np.ndarray]]) -> np.ndarray:
    """Sum of (start_s, sound)."""
    n = max(int(s * RATE) + len(x) for s, x in parts)
    out = np.zeros(n)
    for s, x in parts:
        out[int(s * RATE) : int(s * RATE) + len(x)] += x
    return out


def shaped_noise(rng, seconds: float, psd: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Gaussian noise (n,) of the density `psd(frequency_hz)`; float32."""
    n = next_fast_len(int(seconds * RATE) + 64, real=True)
    f = rfftfreq(n, 1 / RATE)
    coarse = np.geomspace(5, RATE / 2, 400)
    amplitude = np.interp(f, coarse, np.sqrt(psd(coarse))).astype(np.float32)
    draw = rng.standard_normal(2 * len(f), dtype=np.float32).view(np.complex64)
    return irfft(draw * amplitude * np.float32(np.sqrt(n * RATE / 4)), n)


def crackle(rng, seconds: float, per_s: float, strength: Callable, pulse: np.ndarray) -> np.ndarray:
    """Impulses at random moments, `strength(rng, count)` strong and of random sign, each the given pulse; float32."""
    n = next_fast_len(int(seconds * RATE), real=True)
    count = max(rng.poisson(per_s * seconds), 1)
    train = np.zeros(n, dtype=np.float32)
    at = rng.integers(0, n, count)
    np.add.at(train, at, (strength(rng, count) * rng.choice([-1, 1], count)).astype(np.float32))
    return irfft(rfft(train) * rfft(np.asarray(pulse, np.float32), n), n)


def prolonged(rng, unit: np.ndarray, seconds: float) -> np.ndarray:
    """A sound of this length from a shorter stretch of it: pieces from random moments, faded over; float32."""
    n = int(seconds * RATE)
    if n <= len(unit):
        return unit[:n].astype(np.float32)
    fade = min(int(0.25 * RATE), len(unit) // 4)
    up = np.sin(0.5 * np.pi * (np.arange(fade) + 0.5) / fade).astype(np.float32)
    out, at = np.zeros(n + len(unit), dtype=np.float32), 0
    while at < n:
        start = int(rng.integers(0, len(unit) // 2)) if at else 0
        piece = unit[start:].astype(np.float32)
        if at:
            piece[:fade] *= up
        piece[-fade:] *= up[::-1]
        out[at : at + len(piece)] += piece
        at += len(piece) - fade
    return out[:n]


def faded(sound: np.ndarray, rise_s: float, fall_s: float) -> np.ndarray:
    """The sound with a smooth beginning and end."""
    t = np.arange(len(sound), dtype=np.float32) / RATE
    left = t[-1] - t if len(t) else t
    shape = np.clip(t / max(rise_s, 1e-5), 0, 1) * np.clip(left / max(fall_s, 1e-5), 0, 1)
    return sound * np.sin(0.5 * np.pi * shape)


def tail(rng, length_s: float, decay_s: float) -> np.ndarray:
    """Impulse response of reverberation: a first arrival of 1 and noise that dies away."""
    n = max(int(length_s * RATE), 2)
    response = rng.standard_normal(n).astype(np.float32) * np.exp(-np.arange(n, dtype=np.float32) / (decay_s * RATE))
    response *= 1 / np.sqrt(decay_s * RATE)
    response[0] = 1
    return response


def convolve(sound: np.ndarray, response: np.ndarray) -> np.ndarray:
    n = next_fast_len(len(sound) + len(response), real=True)
    both = rfft(np.asarray(sound, np.float32), n) * rfft(np.asarray(response, np.float32), n)
    return irfft(both, n)[: len(sound) + len(response)]
