"""Echolocation: click trains as a scanning animal sends them past a hydrophone.

Sources: Au et al. (1985, J. Acoust. Soc. Am. 77, 726): peaks 40-60 or 100-120 kHz, 3-dB band 15-65 kHz; Au et al. (1987, 82, 807): mean intervals 193 ms
and 44 ms, bursts of 1.7 ms, beam 6.5°; Zahn et al. (2021, PLoS ONE 16, e0257054): 210-220 dB peak-to-peak, beam 5.7°, peak near 90 kHz;
Roy et al. (2010, Can. Acoust. 38): St. Lawrence belugas. Scanning, off-axis floor and off-axis spectra are assumed.

`RANGES` holds the figures of both versions of the simulator: 1 as it was; 2 wider: peaks from 30 to 130 kHz (above 96 kHz the recording sees
the lower flank), broad and narrow clicks, intervals of `trains.py`. Lammers & Castellote (2009, Biol. Lett. 5, 297): a beluga's click is made of
two pulses, which come apart off the axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, rfftfreq

from .propagation import SYNTHESIS_RATE_HZ
from .pulses import ripple_db
from .randomness import log_uniform, smooth_walk
from .trains import intervals_s as patterned_intervals_s
from .whistles import Utterance

@dataclass(frozen=True)
class ClickRanges:
    """What an animal's clicks are drawn from; `peaks` and `low_peaks` are ranges of the spectral peak in Hz, the first for `peak_share` of the animals."""

    peaks: tuple[float, float] = (80e3, 112e3)
    peak_share: float = 0.6
    low_peaks: tuple[float, float] = (40e3, 80e3)
    half_width: tuple[float, float] = (0.2, 0.32)  # 3-dB half width over the peak's frequency
    floor_db: tuple[float, float] = (-42, -28)  # of the beam, off the axis
    length_s: tuple[float, float] = (0.4, 6.0)
    aim_deg: float = 22.0
    sweep_deg: tuple[float, float] = (2, 25)
    residue_db: tuple[float, float] = (-50, -34)  # what is left of a click beside its peak
    foot_hz: float = 3000.0  # below which that falls off
    patterns: bool = False  # intervals of trains.py


RANGES = {
    1: ClickRanges(),
    2: ClickRanges((75e3, 130e3), 0.55, (30e3, 75e3), (0.08, 0.45), (-40, -20), (0.25, 8.0), 22.0, (1, 28), (-70, -42), 20e3, True),
}
CLICK_N = 1024
HALF_BEAM_DEG = 3.1  # half of the 3-dB beam width at 100 kHz (Au et al. 1987: 6.5°; Zahn et al. 2021: 5.7°)
ANGLES_DEG = np.array([0.0, 3, 6, 10, 15, 22, 32, 60])


def beam_db(frequency_hz: np.ndarray, angle_deg: float, floor_db: float) -> np.ndarray:
    """Directivity: -3 dB at the half-beam angle, which is wider for lower frequencies; never below `floor_db` (negative)."""
    half = HALF_BEAM_DEG * 100e3 / np.maximum(frequency_hz, 1000.0)
    loss = -3 * (angle_deg / half) ** 2
    return np.logaddexp(loss * 0.23, floor_db * 0.23) / 0.23


def click_bank(rng: np.random.Generator, ranges: ClickRanges = RANGES[1]) -> np.ndarray:
    """Clicks (angle, CLICK_N) of one animal seen from `ANGLES_DEG` off its axis; the first has peak-to-peak 1."""
    f = rfftfreq(CLICK_N, 1 / SYNTHESIS_RATE_HZ)
    peak = rng.uniform(*ranges.peaks) if rng.uniform() < ranges.peak_share else rng.uniform(*ranges.low_peaks)
    half = rng.uniform(*ranges.half_width) * peak  # 3-dB half width
    level = -3 * np.abs((f - peak) / half) ** 2
    if rng.uniform() < 0.5:  # second lobe (Au et al. 1985; two peaks)
        lobe = rng.uniform(-20, -4) - 3 * ((f - rng.uniform(25e3, 65e3)) / rng.uniform(9e3, 18e3)) ** 2
        level = np.logaddexp(level * 0.23, lobe * 0.23) / 0.23
    level = np.logaddexp(level * 0.23, rng.uniform(*ranges.residue_db) * 0.23) / 0.23  # what is left of the click below and above
    level = level - 18 * np.maximum(np.log2(ranges.foot_hz / np.maximum(f, 100)), 0)
    floor = rng.uniform(*ranges.floor_db)
    late = CLICK_N // 4 + rng.uniform(-1, 1) * f / 96e3  # delay in samples: slightly different for each frequency
    bank = []
    for angle in ANGLES_DEG:
        off = beam_db(f, angle, floor) + ripple_db(rng, f, min(0.3 * angle, 6), rng.uniform(6e3, 15e3))
        shape = 10 ** ((level + off) / 20) * np.exp(-2j * np.pi * f * late / SYNTHESIS_RATE_HZ)
        click = irfft(shape, CLICK_N)
        if angle > 12:  # off the axis a click falls apart into several
            for _ in range(int(rng.integers(1, 4))):
                click = click + rng.uniform(-0.7, 0.7) * np.roll(click, int(rng.integers(4, 60)))
        bank.append(click)
    bank = np.array(bank)
    return bank / np.ptp(bank[0])


def intervals_s(rng: np.random.Generator, length_s: float) -> np.ndarray:
    """Inter-click intervals that fill `length_s`: regular, changing slowly; some trains end (or consist) in a buzz."""
    base = log_uniform(rng, 0.018, 0.2)
    if rng.uniform() < 0.08:
        base = log_uniform(rng, 0.004, 0.012)
    drift = rng.normal(0, 0.5)
    walk = rng.uniform(0.02, 0.25)
    buzz_at = length_s - rng.uniform(0.15, 0.7) if rng.uniform() < 0.22 else np.inf
    buzz = log_uniform(rng, 0.0017, 0.009)
    wander = smooth_walk(rng, 4096, rng.uniform(0.05, 0.3), 1.0)
    out, t = [], 0.0
    while t < length_s and len(out) < 3000:
        step = base * np.exp(drift * t / length_s + walk * wander[len(out) % 4096] + 0.02 * rng.standard_normal())
        if t > buzz_at:
            step = buzz + (step - buzz) * np.exp(-(t - buzz_at) / 0.08)
        step = float(np.clip(step, 0.0015, 0.3))
        out.append(step)
        t += step
    return np.array(out)


def click_train(rng: np.random.Generator, ranges: ClickRanges = RANGES[1], length_s: float | None = None) -> Utterance:
    """One train, drawn; of about this length, if one is given. The waveform's scale is that of an on-axis click with peak-to-peak 1."""
    length = log_uniform(rng, *ranges.length_s)
    length = length if length_s is None else length_s
    pattern, steps = patterned_intervals_s(rng, length) if ranges.patterns else ("", intervals_s(rng, length))
    when = np.cumsum(steps)
    when = when - when[0]
    aim, sweep = abs(rng.normal(0, ranges.aim_deg)), log_uniform(rng, *ranges.sweep_deg)
    turn = 2 * np.pi * (when * log_uniform(rng, 0.15, 1.5) + rng.uniform())
    angle = np.hypot(aim + sweep * np.sin(turn), 4 * smooth_walk(rng, len(when), 0.1, 1.0))
    level_db = rng.uniform(0.5, 2) * rng.standard_normal(len(when)) - 10 * np.clip((when - when[-1] + 0.4) / 0.4, 0, 1) * rng.uniform(0, 1)
    n = int((when[-1] + 0.006) * SYNTHESIS_RATE_HZ)
    size = n + CLICK_N
    at = np.maximum((when * SYNTHESIS_RATE_HZ).astype(np.int64), 0)
    place = np.interp(angle, ANGLES_DEG, np.arange(len(ANGLES_DEG)))
    bank = click_bank(rng, ranges)
    sound = np.zeros(size, dtype=np.float32)
    for i, where, db in zip(at, place, level_db):
        j = min(int(where), len(bank) - 2)
        click = bank[j] * (1 - where + j) + bank[j + 1] * (where - j)
        sound[i : i + CLICK_N] += (10 ** (db / 20) * click).astype(np.float32)
    kind = pattern or ("buzz" if np.min(np.diff(when, append=when[-1] + 1)) < 0.012 else "regular")
    return Utterance("ECHO", kind, sound[: n + CLICK_N // 2], click_s=when + CLICK_N / 4 / SYNTHESIS_RATE_HZ)
