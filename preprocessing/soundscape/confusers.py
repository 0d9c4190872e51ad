"""Sounds that are no beluga and no boat, so that a detector can learn to leave them alone.

Each function draws one sound (n,) at `sounds.RATE`; `CONFUSERS` names them for each version of the simulator, how often each comes and its peak level at the
hydrophone in dB re 1 µPa. Version 2 adds those of `sea_sounds` and `machine_sounds`; its recordings hold none, few or very many, each with favourites of its own,
and a sound that a machine makes comes again. All parameters are assumed, after the look of such sounds in the SanctSound collection and in shallow-water
SoundTrap recordings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, sosfilt

from . import machine_sounds as machines
from . import sea_sounds as sea
from .randomness import log_uniform, smooth_walk
from .sounds import RATE, band_noise as _noise, ring as _ring, stack as _stack


def knock(rng):
    """Mooring or ice: one to six knocks, each a few damped resonances."""
    modes = [(log_uniform(rng, 80, 6000), log_uniform(rng, 0.003, 0.08), rng.uniform(0.1, 1)) for _ in range(int(rng.integers(2, 6)))]
    def one():
        return _stack([(0.0, a * _ring(rng, f, d)) for f, d, a in modes] + [(0.0, rng.uniform(0, 1) * _noise(rng, 0.004, 500, 60e3) * np.hanning(832))])
    return _stack([(i * rng.uniform(0.08, 0.5), rng.uniform(0.3, 1) * one()) for i in range(int(rng.integers(1, 7)))])


def snap(rng):
    """Snapping clicks, single and irregular: broadband, 2-90 kHz."""
    count = int(rng.integers(1, 12))
    parts = []
    for _ in range(count):
        x = _noise(rng, log_uniform(rng, 0.0002, 0.002), log_uniform(rng, 1500, 20e3), 88e3, 1)
        parts.append((rng.uniform(0, 0.3 * count), rng.uniform(0.1, 1) * x * np.hanning(len(x))))
    return _stack(parts)


def transient(rng):
    """A broadband burst: splash, bubble cloud, gravel; some ms to a second."""
    seconds = log_uniform(rng, 0.01, 1.0)
    low = log_uniform(rng, 200, 15e3)
    x = _noise(rng, seconds, low, min(low * log_uniform(rng, 2, 60), 90e3))
    t = np.arange(len(x)) / RATE
    return x * np.minimum(t / (0.1 * seconds), 1) * np.exp(-3 * t / seconds) * np.exp(0.6 * smooth_walk(rng, len(x), 60, RATE))


def gravel(rng):
    """Moving sediment: seconds of dense crackle between some kHz and some tens of kHz."""
    seconds = rng.uniform(0.5, 6)
    n = int(seconds * RATE)
    x = np.zeros(n)
    at = rng.integers(0, n, int(seconds * log_uniform(rng, 50, 1500)))
    x[at] = np.exp(rng.normal(0, 0.8, len(at))) * rng.choice([-1, 1], len(at))
    low = log_uniform(rng, 2e3, 15e3)
    x = sosfilt(butter(2, [low, min(4 * low, 85e3)], "bandpass", fs=RATE, output="sos"), x)
    return x * np.sin(np.pi * np.arange(n) / n) ** 0.5


def grunt(rng):
    """Fish-like grunts: short low pulses in a row, 60-900 Hz."""
    f, parts, t = log_uniform(rng, 60, 500), [], 0.0
    for _ in range(int(rng.integers(2, 16))):
        parts.append((t, rng.uniform(0.6, 1) * _ring(rng, f * rng.uniform(0.95, 1.05), 0.012)))
        t += log_uniform(rng, 0.02, 0.08)
    return _stack(parts)


def tone(rng):
    """Electronic tone: narrow, steady, seconds long, sometimes keyed; anywhere up to 80 kHz."""
    seconds = log_uniform(rng, 0.5, 12)
    t = np.arange(int(seconds * RATE)) / RATE
    x = np.sin(2 * np.pi * log_uniform(rng, 400, 80e3) * t)
    if rng.uniform() < 0.4:
        x *= (t / rng.uniform(0.1, 0.8)) % 1 < rng.uniform(0.2, 0.7)
    return x * np.minimum(1, np.minimum(t, seconds - t) / 0.01)


def pings(rng):
    """Echo sounder or acoustic tag not tied to any boat heard: equal pings at equal intervals, 30-85 kHz."""
    f, every, length = float(rng.choice([38e3, 50e3, 69e3, 83e3])), log_uniform(rng, 0.1, 1.2), log_uniform(rng, 0.0003, 0.01)
    t = np.arange(int(length * RATE)) / RATE
    ping = np.hanning(len(t)) * np.sin(2 * np.pi * f * t)
    return _stack([(i * every * rng.uniform(0.999, 1.001), ping) for i in range(int(rng.integers(4, 20)))])


def creak(rng):
    """Rope, chain or dock: a slow rasp of resonant impulses whose rate wanders; the sound nearest to a pulsed call."""
    f = [log_uniform(rng, 150, 4000) for _ in range(3)]
    parts, t, rate = [], 0.0, log_uniform(rng, 12, 90)
    length = rng.uniform(0.2, 1.5)
    while t < length:
        parts.append((t, rng.uniform(0.2, 1) * sum(_ring(rng, g, 0.006) for g in f)[: int(0.03 * RATE)]))
        t += rng.exponential(0.3 / rate) + 0.7 / rate
    return _stack(parts)


def strum(rng):
    """Cable strum and flow noise: seconds of wavering low tones and rumble below 400 Hz."""
    seconds = rng.uniform(1, 8)
    n = int(seconds * RATE)
    phase = 2 * np.pi * np.cumsum(log_uniform(rng, 20, 120) * np.exp(0.1 * smooth_walk(rng, n, 1, RATE))) / RATE
    x = sum(np.sin(k * phase) / k ** rng.uniform(0.5, 2) for k in range(1, 5)) * np.exp(0.7 * smooth_walk(rng, n, 2, RATE))
    return x * np.sin(np.pi * np.arange(n) / n)


def crack(rng):
    """Ice or rock crack with a quick falling chirp, 0.3-12 kHz."""
    seconds = log_uniform(rng, 0.02, 0.25)
    t = np.arange(int(seconds * RATE)) / RATE
    top, low = log_uniform(rng, 2000, 12e3), log_uniform(rng, 200, 900)
    f = low + (top - low) * np.exp(-t / (0.2 * seconds))
    x = np.sin(2 * np.pi * np.cumsum(f) / RATE) + 0.7 * _noise(rng, seconds, low, top)[: len(t)]
    return x * np.exp(-3 * t / seconds) * np.minimum(t / 5e-4, 1)


# version -> kind -> maker, weight, mean and spread of the peak level at the hydrophone (dB re 1 µPa)
CONFUSERS = {
    1: {
        "knock": (knock, 3, 122, 10), "snap": (snap, 3, 122, 9), "transient": (transient, 3, 112, 9), "gravel": (gravel, 1, 112, 7),
        "grunt": (grunt, 1.5, 112, 8), "tone": (tone, 1, 90, 8), "pings": (pings, 1, 108, 10), "creak": (creak, 1.5, 112, 8),
        "strum": (strum, 1, 118, 8), "crack": (crack, 1, 115, 8),
    },
    2: {
        "knock": (knock, 2, 122, 12), "snap": (snap, 2, 122, 12), "transient": (transient, 2.5, 118, 12), "gravel": (gravel, 1, 120, 10),
        "grunt": (grunt, 1, 120, 10), "tone": (tone, 1, 96, 11), "creak": (creak, 1.5, 120, 10), "strum": (strum, 0.7, 124, 10),
        "crack": (crack, 1, 115, 10), "shrimp": (sea.shrimp, 0.8, 128, 10), "shower": (sea.shower, 0.6, 117, 9), "wave": (sea.wave, 1, 116, 9),
        "bubbles": (sea.bubbles, 0.5, 118, 9), "chorus": (sea.chorus, 0.4, 122, 9), "boatwhistle": (sea.boatwhistle, 0.7, 118, 10),
        "chain": (sea.chain, 1, 118, 12), "flow": (sea.flow, 0.6, 130, 10), "scrape": (sea.scrape, 1, 118, 11),
        "sounder": (machines.sounder, 1.2, 114, 14), "pinger": (machines.pinger, 1.2, 114, 13), "middle_sonar": (machines.middle_sonar, 1.2, 112, 13),
        "low_sonar": (machines.low_sonar, 0.5, 118, 10), "bang": (machines.bang, 0.8, 130, 14), "airgun": (machines.airgun, 0.4, 120, 10),
        "switching": (machines.switching, 0.4, 88, 9), "ticking": (machines.ticking, 0.8, 116, 11), "hiss": (machines.hiss, 0.3, 108, 6),
    },
}  # fmt: skip
AGAIN = ("pinger", "middle_sonar", "low_sonar", "bang", "airgun", "boatwhistle", "chain", "tone", "transient")  # come in series, the same again


@dataclass(frozen=True)
class PlannedConfuser:
    """A sound to be made: what (None: drawn with it), when, and the number that it is drawn from; those of a series share it."""

    kind: str | None
    start_s: float
    draw: int


def plan_confusers(rng: np.random.Generator, duration_s: float, per_min: float, version: int, mix: dict[str, float] | None = None) -> list[PlannedConfuser]:
    """The confusers of a recording, by start time.

    Parameters
    ----------
    per_min : mean number a minute; 0 gives none
    mix : kind -> weight in place of the version's own (version 2)
    """
    if version == 1:
        rate = per_min * np.exp(rng.normal(-0.2, 0.6)) / 60
        starts = np.sort(rng.uniform(0, duration_s, rng.poisson(rate * duration_s)))
        return [PlannedConfuser(None, float(at), int(at * 1e6)) for at in starts]
    table = CONFUSERS[version]
    kinds = list(table)
    weights = np.array([(table[kind][1] if mix is None else mix.get(kind, 0.0)) for kind in kinds], dtype=float)
    if not weights.sum() > 0:
        raise ValueError(f"confuser_mix has no positive share for any of {', '.join(kinds)}")
    if mix is None:  # a place has its own
        weights = weights * rng.gamma(0.6, size=len(kinds)) + 0.02 * weights
    calm = mix is None and rng.uniform() < 0.2
    rate = 0.0 if calm else per_min * np.exp(rng.normal(-0.3, 0.9)) / 60
    plan, number = [], 0
    for at in rng.uniform(0, duration_s, rng.poisson(rate * duration_s)):
        kind, number = str(rng.choice(kinds, p=weights / weights.sum())), number + 1
        repeats = int(rng.integers(2, 9)) if kind in AGAIN and rng.uniform() < 0.3 else 1
        every = log_uniform(rng, 1.0, 15.0)
        plan += [PlannedConfuser(kind, at + k * every, number) for k in range(repeats) if at + k * every < duration_s]
    return sorted(plan, key=lambda confuser: confuser.start_s)


def draw_confuser(rng: np.random.Generator, version: int = 1, kind: str | None = None) -> tuple[str, np.ndarray]:
    """Name and sound (n,) in µPa at the hydrophone, at `sounds.RATE`; of this kind, if one is given."""
    table = CONFUSERS[version]
    names = list(table)
    if kind is None:
        weights = np.array([table[name][1] for name in names], dtype=float)
        kind = str(rng.choice(names, p=weights / weights.sum()))
    maker, _, mean, spread = table[kind]
    x = maker(rng)
    return kind, (x * (10 ** (rng.normal(mean, spread) / 20) / max(np.max(np.abs(x)), 1e-30))).astype(np.float32)  # a maker may give silence
