"""Sounds of machines that are no calls and no boat: sounders, pingers, releases, sonar, guns, electronics (version 2).

Each function draws one sound (n,) at `sounds.RATE`, in arbitrary units; what a machine sends above 96 kHz comes
back as an alias, as a recorder without a steep filter has it. Frequencies: the usual fishery and depth sounders
(38, 50, 70, 83, 120, 200 kHz); acoustic releases and pingers 8-50 kHz; military sonar of low (0.1-1 kHz)
and middle (2-10 kHz) frequency, pulses of constant and swept tones with reverberation. Details are assumed after the SanctSound collection's examples.
"""

from __future__ import annotations

import numpy as np

from .randomness import log_uniform
from .sounds import RATE, UNIT_S, band_noise, convolve, faded, prolonged, ring, shaped_noise, stack, tail

SOUNDER_HZ = (28e3, 33e3, 38e3, 50e3, 70e3, 83e3, 120e3, 200e3)


def tone_burst(rng, start_hz: float, stop_hz: float, seconds: float, edge_s: float) -> np.ndarray:
    """A tone, or a linear sweep, with edges of this length."""
    t = np.arange(max(int(seconds * RATE), 8)) / RATE
    phase = 2 * np.pi * (start_hz * t + 0.5 * (stop_hz - start_hz) * t**2 / seconds)
    return faded(np.sin(phase + rng.uniform(0, 6)), edge_s, edge_s)


def sounder(rng):
    """Echo sounder: equal pings at equal intervals, with harmonics, aliases and echoes; for 2-30 s."""
    f = float(rng.choice(SOUNDER_HZ)) * rng.uniform(0.97, 1.03)
    length = log_uniform(rng, 0.0001, 0.005)
    sweep = 1 + rng.uniform(-0.2, 0.2) * (rng.uniform() < 0.3)
    edge = length * rng.uniform(0.02, 0.4)
    ping = sum(
        10 ** (-loss / 20) * tone_burst(rng, k * f, k * f * sweep, length, edge)
        for k, loss in ((1, 0), (2, rng.uniform(12, 45)), (3, rng.uniform(15, 50)))
    )
    if rng.uniform() < 0.6:
        ping = convolve(ping, rng.uniform(0.02, 0.5) * tail(rng, 0.1, log_uniform(rng, 0.004, 0.05)))
    every = log_uniform(rng, 0.05, 2.0)
    count = int(np.clip(log_uniform(rng, 2, 30) / every, 3, 120))
    swing = 10 ** (rng.uniform(0, 12) * np.sin(np.pi * np.arange(count) / count) / 20)
    return stack([(i * every * rng.uniform(0.9995, 1.0005), swing[i] * ping) for i in range(count)])


def pinger(rng):
    """Acoustic release, tag or deterrent: a sequence of tone bursts between 8 and 50 kHz, now and then swept."""
    notes, t = [], 0.0
    base = log_uniform(rng, 8e3, 50e3)
    step_s, length = log_uniform(rng, 0.015, 0.5), log_uniform(rng, 0.003, 0.4)
    hops = rng.uniform() < 0.5
    swept = rng.uniform() < 0.2
    for _ in range(int(rng.integers(1, 20))):
        f = base * np.exp(rng.uniform(-0.25, 0.25)) if hops else base
        notes.append((t, tone_burst(rng, f, f * (rng.uniform(0.8, 1.25) if swept else 1), length, 0.05 * length)))
        t += max(step_s, length) * rng.choice([1, 1, 2, 3]) if hops else max(step_s, length)
    song = stack(notes)
    if rng.uniform() < 0.6:
        song = convolve(song, rng.uniform(0.05, 0.5) * tail(rng, 0.3, log_uniform(rng, 0.01, 0.1)))
    gap = log_uniform(rng, 0.5, 6)
    return stack([(i * (t + gap), song) for i in range(int(rng.integers(1, 4)))])


def _sonar_pulse(rng, low_hz, high_hz, part_s, sweep_hz) -> np.ndarray:
    parts, t = [], 0.0
    base = log_uniform(rng, low_hz, high_hz)
    for _ in range(int(rng.integers(1, 4))):
        seconds = log_uniform(rng, *part_s)
        f = base * rng.uniform(0.8, 1.25)
        g = f + rng.choice([-1, 0, 1]) * rng.uniform(*sweep_hz)
        parts.append((t, tone_burst(rng, f, max(g, 0.5 * f), seconds, min(0.02, 0.1 * seconds))))
        t += seconds * rng.choice([1, 1, 1.1])
    return stack(parts)


def middle_sonar(rng):
    """Military sonar of middle frequency: constant and swept tones of 2-10 kHz, 0.2-6 s, with reverberation."""
    pulse = _sonar_pulse(rng, 2e3, 10e3, (0.15, 2.0), (50, 1200))
    if rng.uniform() < 0.8:
        pulse = convolve(pulse, rng.uniform(0.05, 0.8) * tail(rng, 2.0, log_uniform(rng, 0.1, 0.8)))
    return pulse


def low_sonar(rng):
    """Military sonar of low frequency: constant and swept tones of 0.1-1 kHz, some seconds each."""
    return _sonar_pulse(rng, 100, 1000, (1.0, 8.0), (5, 80))


def bang(rng):
    """Seal bomb or other charge: a shock, bubble pulses after it, and a tail that loses its high part first."""
    n = int(0.01 * RATE)
    t = np.arange(n) / RATE
    shock = np.exp(-t / log_uniform(rng, 3e-5, 8e-4))
    every, parts = log_uniform(rng, 0.02, 0.12), [(0.0, shock)]
    for k in range(int(rng.integers(0, 4))):
        parts.append((every * (k + 1) * 0.9**k, 0.5 ** (k + 1) * np.exp(-(((t - 0.003) / log_uniform(rng, 3e-4, 2e-3)) ** 2))))
    dry = stack(parts)
    wet = convolve(dry, rng.uniform(0.2, 1.5) * tail(rng, 2.0, log_uniform(rng, 0.05, 0.6)))
    cut = log_uniform(rng, 300, 8e3)
    rumble = band_noise(rng, rng.uniform(0.5, 3), 20, cut) * rng.uniform(0.02, 0.3)
    rumble *= np.exp(-np.arange(len(rumble)) / (log_uniform(rng, 0.1, 0.8) * RATE))
    return stack([(0.0, wet), (0.005, rumble * np.abs(wet).max())])


def airgun(rng):
    """Airgun far away: low pulses that the channel has drawn out, 10-1500 Hz."""
    top = log_uniform(rng, 80, 1500)
    seconds = log_uniform(rng, 0.2, 1.8)
    x = band_noise(rng, seconds, 10, top, 1)
    t = np.arange(len(x)) / RATE
    pulse = x * np.minimum(t / (0.1 * seconds), 1) * np.exp(-4 * t / seconds)
    every = rng.uniform(6, 15)
    return stack([(i * every, rng.uniform(0.8, 1) * pulse) for i in range(int(rng.integers(1, 4)))])


def switching(rng):
    """The recorder's own electronics: a steady tone of 0.2-60 kHz and its harmonics, folded at 96 kHz, for 3-60 s."""
    seconds = log_uniform(rng, 3, 60)
    f, slope = round(log_uniform(rng, 200, 60e3)), rng.uniform(0, 8)
    t = np.arange(RATE) / RATE  # whole hertz: a second repeats without a seam
    second = np.zeros(RATE)
    for k in range(1, int(rng.integers(2, 14))):
        if rng.uniform() < 0.8:
            second += 10 ** ((-slope * (k - 1) + rng.normal(0, 4)) / 20) * np.sin(2 * np.pi * k * f * t + rng.uniform(0, 6))
    x = np.tile(second.astype(np.float32), int(seconds) + 2)[: int(seconds * RATE)]
    if rng.uniform() < 0.3:  # it works at times only: a card that is written to
        x = x * ((np.arange(len(x)) / RATE / log_uniform(rng, 0.3, 8)) % 1 < rng.uniform(0.05, 0.6))
    return x


def ticking(rng):
    """A relay, pump or loose part: equal knocks at a steady pace of 1-25 a second; no beluga's spectrum."""
    per_s, seconds = log_uniform(rng, 1, 25), log_uniform(rng, 1.5, 15)
    tick = ring(rng, log_uniform(rng, 300, 20e3), log_uniform(rng, 2e-4, 5e-3))
    tick = tick + rng.uniform(0, 1) * np.resize(ring(rng, log_uniform(rng, 1e3, 40e3), 3e-4), len(tick)) * np.exp(-np.arange(len(tick)) / (3e-4 * RATE))
    return stack([(i / per_s * rng.uniform(0.998, 1.002), rng.uniform(0.8, 1) * tick) for i in range(int(per_s * seconds) + 1)])


def hiss(rng):
    """The recorder's own noise goes up at a stroke and down again, for 1-40 s."""
    seconds, slope = log_uniform(rng, 1, 40), rng.uniform(-0.5, 1)
    unit = shaped_noise(rng, min(seconds, UNIT_S), lambda f: (f / 1e3) ** -slope)
    return faded(prolonged(rng, unit, seconds), 0.002, 0.002)
