"""Sounds of the simulated right whale contest (`preprocessing.upcalls`): up-calls, and what is taken for them. SIMULATED.

Each function draws one sound at RATE_HZ, of any amplitude: the contest brings it to its SNR. Sources: see `preprocessing.upcalls`; how values spread is assumed.
"""
from __future__ import annotations

import numpy as np

from preprocessing.soundscape.randomness import log_uniform, smooth_walk

RATE_HZ = 2000
LONGEST_UPCALL_S = 1.7
UNITS = ("moan", "whup", "grunts", "cry")


def upcall(rng: np.random.Generator, whale: dict) -> np.ndarray:
    """An up-call of this whale, with its echoes; any amplitude."""
    length = whale["length_s"] * np.exp(rng.normal(0, 0.1))
    n = int(min(length, LONGEST_UPCALL_S) * RATE_HZ)
    u = np.arange(n) / n
    start, rise = whale["start_hz"] * np.exp(rng.normal(0, 0.04)), whale["rise_hz"] * np.exp(rng.normal(0, 0.12))
    f = start + rise * u ** (whale["bend"] * np.exp(rng.normal(0, 0.1))) - rng.uniform(0, 12) * np.exp(-u / 0.08) * u / 0.03  # often a small dip first
    phase = 2 * np.pi * np.cumsum(f * (1 + 0.006 * smooth_walk(rng, n, 8, RATE_HZ))) / RATE_HZ
    envelope = np.sin(0.5 * np.pi * np.clip(u / 0.15, 0, 1)) * np.sin(0.5 * np.pi * np.clip((1 - u) / 0.1, 0, 1)) * np.exp(0.25 * smooth_walk(rng, n, 5, RATE_HZ))
    sound = sum(10 ** (-whale["fall_db"] * (k - 1) / 20) * np.sin(k * phase + k) for k in range(1, 5)) * envelope
    return _echoes(rng, sound, whale["echo_s"], whale["echo"])


def humpback_unit(of_song: np.random.Generator, rng: np.random.Generator, unit: str) -> np.ndarray:
    """A unit of song: what `of_song` draws is the same each time the unit comes, `rng` varies it a little."""
    length = {"moan": of_song.uniform(0.7, 1.7), "whup": of_song.uniform(0.25, 0.6), "grunts": of_song.uniform(0.6, 1.4), "cry": of_song.uniform(0.5, 1.5)}[unit]
    low = {"moan": of_song.uniform(90, 260), "whup": of_song.uniform(60, 140), "grunts": of_song.uniform(60, 180), "cry": of_song.uniform(280, 600)}[unit]
    ratio = {"moan": of_song.uniform(0.5, 1.25), "whup": of_song.uniform(2, 4), "grunts": of_song.uniform(0.8, 1.1), "cry": of_song.uniform(0.6, 1.5)}[unit]
    partials, fall_db = int(of_song.integers(2, 7)), of_song.uniform(3, 12)
    n = int(length * np.exp(rng.normal(0, 0.06)) * RATE_HZ)
    u = np.arange(n) / n
    f = low * np.exp(rng.normal(0, 0.03)) * ratio ** (u ** (3 if unit == "whup" else of_song.uniform(0.6, 1.6))) * (1 + 0.02 * smooth_walk(rng, n, 6, RATE_HZ))
    phase = 2 * np.pi * np.cumsum(f) / RATE_HZ
    sound = sum(10 ** (-fall_db * (k - 1) / 20) * np.sin(k * phase) * (k * f < 0.47 * RATE_HZ) for k in range(1, partials + 1))
    envelope = np.sin(np.pi * u) ** of_song.uniform(0.4, 1.2)
    if unit == "grunts":
        envelope = envelope * np.clip(np.sin(2 * np.pi * of_song.uniform(4, 9) * u * length), 0, 1) ** 2
    return _echoes(rng, sound * envelope, of_song.uniform(0.05, 0.3), of_song.uniform(0.2, 0.6))


def gunshot(rng: np.random.Generator) -> np.ndarray:
    """A broadband crack of some 10 ms and its reverberation."""
    n = int(rng.uniform(0.3, 0.9) * RATE_HZ)
    t = np.arange(n) / RATE_HZ
    tail = rng.standard_normal(n) * (np.exp(-t / rng.uniform(0.004, 0.012)) + rng.uniform(0.1, 0.35) * np.exp(-t / rng.uniform(0.05, 0.25)))
    return _low_pass(tail, log_uniform(rng, 250, 900))


def knock(rng: np.random.Generator) -> np.ndarray:
    """One to three damped resonances: a mooring."""
    t = np.arange(int(0.4 * RATE_HZ)) / RATE_HZ
    return sum(np.exp(-t / log_uniform(rng, 0.01, 0.12)) * np.sin(2 * np.pi * log_uniform(rng, 40, 600) * t) for _ in range(int(rng.integers(1, 4))))


def _echoes(rng, sound: np.ndarray, delay_s: float, strength: float) -> np.ndarray:
    """The sound with a few later copies, as by surface and bottom: exponentially weaker."""
    delays = (np.sort(rng.exponential(delay_s, 4)) * RATE_HZ).astype(int).clip(0, int(0.4 * RATE_HZ))
    out = np.zeros(len(sound) + delays.max())
    out[:len(sound)] = sound
    for k, delay in enumerate(delays):
        out[delay:delay + len(sound)] += strength ** (k + 1) * rng.choice([-1, 1]) * sound
    return out


def _low_pass(sound: np.ndarray, corner_hz: float) -> np.ndarray:
    spectrum = np.fft.rfft(sound)
    return np.fft.irfft(spectrum / (1 + (np.fft.rfftfreq(len(sound), 1 / RATE_HZ) / corner_hz) ** 2), len(sound))
