"""Sounds of the sea, of its fish, of bubbles and of moorings that are no calls (version 2).

Each function draws one sound (n,) at `sounds.RATE`, in arbitrary units. Sources: Au & Banks (1998, J. Acoust.
Soc. Am. 103, 41): snaps of shrimp peak at 2-5 kHz and lose only some 20 dB up to 200 kHz; Ma & Nystuen (2005,
J. Atmos. Oceanic Technol. 22, 1225) for rain, its drops and their bubbles near 15 kHz; Medwin & Beaky (1989,
J. Acoust. Soc. Am. 86, 1124): the spectrum of breaking waves falls by about 5 dB an octave. How far they
spread, and the fish, chains and flow, are assumed after the SanctSound collection's examples.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from .ambient import rain_psd
from .randomness import log_uniform, smooth_walk
from .sounds import RATE, UNIT_S, band_noise, crackle, faded, prolonged, ring, shaped_noise, stack


def snap_pulse(rng) -> np.ndarray:
    """One snap of a shrimp (n,): some 0.1 ms, peak of 2-15 kHz, a slow fall towards 96 kHz."""
    t = np.arange(192) / RATE
    peak_hz = log_uniform(rng, 2e3, 15e3)
    body = np.exp(-t / log_uniform(rng, 4e-5, 2e-4)) * np.cos(2 * np.pi * peak_hz * t + rng.uniform(0, 6))
    spike = np.exp(-t / log_uniform(rng, 4e-6, 2e-5))
    return np.diff(body + rng.uniform(0.5, 3) * spike, append=0) + 0.3 * body


def _range_law(rng, count: int) -> np.ndarray:
    """Strengths of sources spread evenly over a sea floor: many far ones, few near."""
    return np.minimum(rng.uniform(0, 1, count) ** -0.5, 40)


def shrimp(rng):
    """A bed of snapping shrimp, near or far, thin or dense: 3 to 600 snaps a second, for 3-60 s."""
    seconds = log_uniform(rng, 3, 60)
    far_hz = log_uniform(rng, 8e3, 2e5)  # absorption and the bottom take the top of a far bed
    pulse = snap_pulse(rng)
    if far_hz < RATE / 2:
        smooth = np.exp(-2 * np.pi * far_hz / RATE)
        pulse = lfilter([1 - smooth], [1, -smooth], pulse)
    per_s = log_uniform(rng, 3, 600)
    unit = crackle(rng, min(seconds, UNIT_S), per_s, _range_law, pulse)
    return faded(prolonged(rng, unit, seconds), rng.uniform(0.1, 3), rng.uniform(0.1, 3))


def shower(rng):
    """Rain on the water, 2-60 s: noise up to 60 kHz and more, with drops that are heard one by one."""
    seconds = log_uniform(rng, 2, 60)
    amount, lift = log_uniform(rng, 0.5, 80), rng.uniform(0, 12)  # mm per hour; dB more above 20 kHz

    def psd(f):
        return rain_psd(f, amount) * 10 ** (lift / 10 * np.clip(np.log2(np.maximum(f, 1) / 20e3), 0, 1.5)) / (1 + (f / 60e3) ** 4)

    short = min(seconds, UNIT_S)
    unit = shaped_noise(rng, short, psd)
    drops = crackle(rng, short, log_uniform(rng, 2, 150), _range_law, ring(rng, log_uniform(rng, 2e3, 30e3), log_uniform(rng, 2e-4, 4e-3)))
    m = min(len(unit), len(drops))
    unit = unit[:m] / unit.std() + log_uniform(rng, 0.02, 0.5) * drops[:m] / drops.std()
    return faded(prolonged(rng, unit, seconds), rng.uniform(0.3, 5), rng.uniform(0.3, 5))


def wave(rng):
    """A wave that breaks: 0.4-5 s of noise that swells and dies away, 200 Hz to 30 kHz."""
    seconds, slope = log_uniform(rng, 0.4, 5), rng.uniform(3, 7) / 3.01
    low = log_uniform(rng, 100, 800)
    x = shaped_noise(rng, seconds, lambda f: (f / 1e3) ** -slope / (1 + (low / f) ** 4) / (1 + (f / 40e3) ** 2))
    u = np.linspace(0, 1, len(x))
    rise = rng.uniform(0.1, 0.5)
    shape = np.where(u < rise, (u / rise) ** 2, np.exp(-4 * (u - rise)))
    return x * shape * (1 - u) ** 0.5 * np.exp(0.3 * smooth_walk(rng, len(x), 20, RATE))


def bubbles(rng):
    """A diver's breath, or gas from the bottom: bursts of ringing bubbles, 0.2-8 kHz, at a breath's pace."""
    middle, parts, t = log_uniform(rng, 400, 4000), [], 0.0
    every = rng.uniform(2.5, 6)
    for _ in range(int(rng.integers(1, 5))):
        seconds = rng.uniform(0.5, 2.5)
        burst = 0
        for _ in range(3):
            pulse = ring(rng, middle * np.exp(rng.normal(0, 0.5)), log_uniform(rng, 0.002, 0.015))
            burst = burst + crackle(rng, seconds, log_uniform(rng, 40, 400), _range_law, pulse)
        parts.append((t, faded(burst, 0.1, 0.5 * seconds)))
        t += every * rng.uniform(0.9, 1.1)
    return stack(parts)


def chorus(rng):
    """Many fish at once: 4-40 s of grunts that run together, 60-1500 Hz."""
    seconds = log_uniform(rng, 4, 40)
    unit = 0
    for _ in range(int(rng.integers(1, 4))):
        pulse = ring(rng, log_uniform(rng, 80, 1200), log_uniform(rng, 0.003, 0.02))
        unit = unit + crackle(rng, min(seconds, UNIT_S), log_uniform(rng, 5, 200), _range_law, pulse)
    return faded(prolonged(rng, unit, seconds), 1.0, 1.0)


def boatwhistle(rng):
    """Toadfish and midshipmen: hums of 80-350 Hz with many harmonics, 0.2-4 s, sometimes in a row."""
    f, slope = log_uniform(rng, 80, 350), rng.uniform(2, 9)
    seconds = log_uniform(rng, 0.2, 4)
    t = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * f * (t + rng.normal(0, 0.03) * t**2 / seconds)
    x = sum(10 ** (-slope * k / 20) * np.sin(k * phase + rng.uniform(0, 6)) for k in range(1, 12))
    x = faded(x, 0.15 * seconds, 0.3 * seconds)
    return stack([(i * (seconds + log_uniform(rng, 0.3, 4)), x) for i in range(int(rng.integers(1, 4)))])


def chain(rng):
    """Shackles and chain: two to thirty clanks of the same inharmonic modes, 0.4-40 kHz."""
    modes = [(log_uniform(rng, 400, 40e3), log_uniform(rng, 0.002, 0.06), rng.uniform(0.1, 1)) for _ in range(int(rng.integers(4, 14)))]
    parts, t = [], 0.0
    for _ in range(int(rng.integers(2, 30))):
        clank = stack([(0.0, a * rng.uniform(0.3, 1) * ring(rng, f, d)) for f, d, a in modes])
        parts.append((t, log_uniform(rng, 0.1, 1) * clank))
        t += log_uniform(rng, 0.02, 0.6)
    return stack(parts)


def flow(rng):
    """Water past the housing: 2-20 s of gusts of low noise, falling steeply above some tens of hertz."""
    seconds, slope = log_uniform(rng, 2, 20), rng.uniform(1.5, 4)
    low = log_uniform(rng, 20, 300)
    unit = shaped_noise(rng, min(seconds, UNIT_S), lambda f: 1 / (1 + (f / low) ** slope))
    x = prolonged(rng, unit, seconds)
    return faded(x * np.exp(0.8 * smooth_walk(rng, len(x), log_uniform(rng, 0.3, 5), RATE)), 0.5, 0.5)


def scrape(rng):
    """Something dragged along the housing or the bottom: 0.1-3 s of rough noise, anywhere from 0.5 to 60 kHz."""
    seconds, low = log_uniform(rng, 0.1, 3), log_uniform(rng, 500, 20e3)
    x = band_noise(rng, seconds, low, min(low * log_uniform(rng, 2, 10), 90e3))
    return faded(x * np.exp(rng.uniform(0.3, 1.2) * smooth_walk(rng, len(x), log_uniform(rng, 20, 400), RATE)), 0.05, 0.1)
