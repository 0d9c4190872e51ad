"""Whistles: tonal calls whose contour, harmonics, envelope and irregularities vary as widely as those of wild belugas.

Sources: Panova et al. (2019, J. Acoust. Soc. Am. 146, 681): 0.4-25 kHz, 0.04-3.93 s, flat 40 %, rising 27 %, falling 16 %, frequency jumps
23 %, two voices 13 %, sidebands 5 %. Sjare & Smith (1986, Can. J. Zool. 64, 407): contour means 2.0-5.9 kHz, 0.25-1.95 s.
Belikov & Bel'kovich (2006, Acoust. Phys. 52, 125): 8 % are high whistles, mean 9.7 kHz. The distributions between these figures are assumed.

`RANGES` holds the figures of both versions of the simulator: 1 as it was; 2 wider than the papers have it (0.05-3 s, rich and poor in
harmonics, stepped, broken and trilled contours), so that what learns from it meets more than it will at sea.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .propagation import SYNTHESIS_RATE_HZ
from .randomness import clipped_log_normal, log_uniform, smooth_walk

SHAPES = {"flat": 0.36, "up": 0.22, "down": 0.14, "hill": 0.06, "valley": 0.05, "wave": 0.08, "loops": 0.05, "steps": 0.04}
TOP_HZ = 90e3


@dataclass(frozen=True)
class WhistleRanges:
    """What whistles are drawn from. Medians and sigmas are of log-normal values, clipped to the pair that follows."""

    shapes: dict[str, float]
    high_share: float = 0.08  # of whistles that are high ones
    high_hz: tuple[float, float, float, float] = (9700, 0.3, 5500, 20e3)
    low_hz: tuple[float, float, float, float] = (3600, 0.55, 450, 14e3)
    length_s: tuple[float, float, float] = (0.55, 0.6, 2.5)  # median, sigma, longest
    shortest_s: tuple[float, float] = (0.08, 0.25)  # of plain, of winding contours
    harmonic_slope_db: tuple[float, float] = (4, 22)
    harmonic_stop: float = 0.4  # chance that there is no further harmonic
    most_harmonics: int = 5


RANGES = {
    1: WhistleRanges(SHAPES),
    2: WhistleRanges(
        {"flat": 0.26, "up": 0.17, "down": 0.13, "hill": 0.08, "valley": 0.06, "wave": 0.08, "loops": 0.05,
         "steps": 0.08, "broken": 0.05, "trill": 0.04},
        0.15, (9700, 0.4, 5000, 24e3), (3600, 0.7, 400, 16e3), (0.5, 0.8, 3.0), (0.05, 0.15),
        (1, 28), 0.25, 12),
}  # fmt: skip


@dataclass(frozen=True)
class Utterance:
    """A call one metre off the animal: waveform (n,) of rms 1 (clicks: on-axis peak-to-peak 1) at `SYNTHESIS_RATE_HZ`."""

    label: str
    kind: str
    waveform: np.ndarray
    click_s: np.ndarray | None = None  # when each click is made, for trains

    @property
    def duration_s(self) -> float:
        return len(self.waveform) / SYNTHESIS_RATE_HZ


def contour(rng: np.random.Generator, n: int, shape: str, rate: float) -> np.ndarray:
    """Relative frequency (n,), about 1, of a contour of this shape; n points at `rate` points per second."""
    u = np.linspace(0, 1, n)
    span = rng.uniform(0.15, 1.3)  # natural logarithm of the ratio of end to start, for sweeps
    if shape == "flat":
        bend = rng.normal(0, 0.05) * u + rng.normal(0, 0.02) * u**2
    elif shape in ("up", "down"):
        bend = span * (u ** np.exp(rng.normal(0, 0.6)) - 0.5) * (1 if shape == "up" else -1)
    elif shape in ("hill", "valley"):
        peak = rng.uniform(0.25, 0.75)
        arch = np.where(u < peak, u / peak, (1 - u) / (1 - peak))
        bend = 0.7 * span * np.sin(0.5 * np.pi * arch) ** rng.uniform(0.8, 2) * (1 if shape == "hill" else -1)
    elif shape == "wave":
        turns = rng.uniform(1, 3 + 5 * n / rate)
        bend = rng.uniform(0.03, 0.3) * np.sin(2 * np.pi * (turns * u + rng.uniform())) + rng.normal(0, 0.2) * u
    elif shape == "loops":
        turns = int(rng.integers(2, 7))
        saw = (u * turns) % 1
        ease = saw ** np.exp(rng.normal(0, 0.5))
        fall = np.clip((1 - saw) / rng.uniform(0.05, 0.3), 0, 1)
        bend = span * np.minimum(ease, 1) * fall * (1 if rng.uniform() < 0.75 else -1)
    elif shape == "steps":
        edges = np.sort(rng.uniform(0, 1, int(rng.integers(1, 5))))
        levels = rng.normal(0, 0.25, len(edges) + 1)
        bend = levels[np.searchsorted(edges, u)]
    elif shape == "broken":  # sweeps that leap back or on between them
        edges = np.sort(rng.uniform(0, 1, int(rng.integers(1, 4))))
        part = np.searchsorted(edges, u)
        bend = rng.normal(0, 0.3, len(edges) + 1)[part] + span * rng.normal(0, 0.4, len(edges) + 1)[part] * u
    elif shape == "trill":
        turns = max(rng.uniform(8, 40) * n / rate, 2)
        bend = rng.uniform(0.02, 0.2) * np.sin(2 * np.pi * (turns * u + rng.uniform())) + rng.normal(0, 0.3) * u
    else:
        raise ValueError(f"unknown contour shape {shape!r}; one of {', '.join(RANGES[2].shapes)}")
    if rng.uniform() < 0.25:  # a quick hook at the start or the end
        at = u if rng.uniform() < 0.5 else 1 - u
        bend = bend + rng.normal(0, 0.35) * np.exp(-at / rng.uniform(0.02, 0.12))
    if rng.uniform() < 0.23:  # frequency jump (Panova et al. 2019)
        bend = bend + np.where(u > rng.uniform(0.15, 0.85), rng.uniform(-0.5, 0.5), 0)
    bend = bend + 10 ** rng.uniform(-3, -1.7) * smooth_walk(rng, n, rng.uniform(5, 40), rate)
    if rng.uniform() < 0.15:
        bend = bend + rng.uniform(0.005, 0.04) * np.sin(2 * np.pi * rng.uniform(6, 30) * u * n / rate)
    return np.exp(bend)


def envelope(rng: np.random.Generator, n: int, rate: float) -> np.ndarray:
    """Amplitude (n,): rise, fall and slow unevenness; now and then with a gap or a tremolo."""
    t = np.arange(n) / rate
    length = n / rate
    rise = min(log_uniform(rng, 0.008, 0.15), 0.45 * length)
    fall = min(log_uniform(rng, 0.01, 0.3), 0.5 * length)
    shape = np.sin(0.5 * np.pi * np.clip(t / rise, 0, 1)) * np.sin(0.5 * np.pi * np.clip((length - t) / fall, 0, 1))
    level_db = rng.uniform(0.5, 4) * smooth_walk(rng, n, rng.uniform(2, 20), rate) + rng.normal(0, 4) * (t / length - 0.5)
    shape = shape * 10 ** (level_db / 20)
    if rng.uniform() < 0.08:
        start, width = rng.uniform(0.2, 0.8) * length, rng.uniform(0.01, 0.08)
        shape = shape * (1 - np.exp(-(((t - start) / width) ** 4)))
    if rng.uniform() < 0.1:
        shape = shape * (1 + rng.uniform(0.2, 0.9) * np.sin(2 * np.pi * rng.uniform(8, 40) * t))
    return shape


def voice(rng: np.random.Generator, fundamental_hz: np.ndarray, amplitude: np.ndarray, ranges: WhistleRanges = RANGES[1]) -> np.ndarray:
    """Tone (n,) along a contour (n,), with harmonics whose levels are drawn once per call."""
    phase = 2 * np.pi * np.cumsum(fundamental_hz) / SYNTHESIS_RATE_HZ
    sound = np.sin(phase)
    slope_db, top = rng.uniform(*ranges.harmonic_slope_db), 1 + min(int(rng.geometric(ranges.harmonic_stop)), ranges.most_harmonics)
    for k in range(2, top + 1):
        level_db = -slope_db * (k - 1) ** 0.8 + rng.normal(0, 4)
        sound += 10 ** (min(level_db, 3) / 20) * np.where(k * fundamental_hz < TOP_HZ, np.sin(k * phase + rng.uniform(0, 2 * np.pi)), 0)
    return sound * amplitude


def whistle(rng: np.random.Generator, ranges: WhistleRanges = RANGES[1], length_s: float | None = None) -> Utterance:
    """One whistle, drawn; of this length, if one is given."""
    shape = str(rng.choice(list(ranges.shapes), p=list(ranges.shapes.values())))
    high = rng.uniform() < ranges.high_share
    centre = clipped_log_normal(rng, *(ranges.high_hz if high else ranges.low_hz))
    median, sigma, longest = ranges.length_s
    length = clipped_log_normal(rng, median, sigma, ranges.shortest_s[shape not in ("flat", "up", "down")], longest)
    length = length if length_s is None else length_s
    n = int(length * SYNTHESIS_RATE_HZ)
    f = np.clip(centre * contour(rng, n, shape, SYNTHESIS_RATE_HZ), 300, 24e3)
    if rng.uniform() < 0.1:  # a rough, breathy tone: quick random modulation thickens the line
        f = f * np.exp(rng.uniform(0.01, 0.05) * smooth_walk(rng, n, rng.uniform(150, 600), SYNTHESIS_RATE_HZ))
    amplitude = envelope(rng, n, SYNTHESIS_RATE_HZ)
    if rng.uniform() < 0.06:  # sidebands
        wobble = np.sin(2 * np.pi * np.cumsum(rng.uniform(60, 500) * np.exp(0.1 * smooth_walk(rng, n, 4, SYNTHESIS_RATE_HZ))) / SYNTHESIS_RATE_HZ)
        amplitude = amplitude * (1 + rng.uniform(0.3, 1) * wobble)
    sound = voice(rng, f, amplitude, ranges)
    if rng.uniform() < 0.13:  # two voices
        start = int(rng.uniform(0, 0.4) * n)
        m = n - start
        second = str(rng.choice(["flat", "up", "down", "wave"]))
        g = np.clip(centre * np.exp(rng.uniform(-0.8, 0.9)) * contour(rng, m, second, SYNTHESIS_RATE_HZ), 300, 24e3)
        sound[start:] += 10 ** (rng.uniform(-14, 0) / 20) * voice(rng, g, envelope(rng, m, SYNTHESIS_RATE_HZ), ranges)
    return Utterance("Whistle", shape, unit_rms(sound))


def unit_rms(sound: np.ndarray) -> np.ndarray:
    """The same sound with rms 1."""
    return (sound / np.sqrt(np.mean(sound**2))).astype(np.float32)
