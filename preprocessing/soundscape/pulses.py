"""Pulsed calls: high-frequency pulsed calls (HFPC) and broadband pulsed calls (BBPC, the contact calls).

A call is a train of pulses. Each pulse is the same short minimum-phase sound of a given spectrum, slowly changing along the call; the pulse rate follows a contour.
Sources: Sjare & Smith (1986, Can. J. Zool. 64, 407): pulse rates 204-1289/s; Chmelnitsky & Ferguson (2012, J. Acoust. Soc. Am. 131, 4821) and
Belikov & Bel'kovich (2008, Acoust. Phys. 54, 115): pulsed and noisy calls, many with a tone beside the pulses; Vergara & Mikus (2019, Mar. Mamm. Sci. 35, 42):
contact calls are broadband pulse trains, many with a tonal sideband; the peer data set's pipeline takes 40-90 kHz for HFPC. Spectral detail is assumed.

`HIGH` and `BROAD` hold the figures of both versions of the simulator: 1 as it was; 2 wider. In 2 a call's skirts go from none to
nearly as strong as its plateau and its pulse rate from that of a slow buzz to a tone, so that neither gives the label away; and a broadband
call has no tone of its own: a whistle within it is a call of its own in the schedule, and so in the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from .propagation import SYNTHESIS_RATE_HZ
from .randomness import clipped_log_normal, log_uniform, smooth_walk
from .whistles import Utterance, contour, envelope, unit_rms, voice

@dataclass(frozen=True)
class PulseRanges:
    """What pulsed calls are drawn from. Medians and sigmas are of log-normal values, clipped to the pair that follows."""

    length_s: tuple[float, float, float, float]
    rate_per_s: tuple[float, float, float, float]
    rate_limits: tuple[float, float]
    bend: tuple[float, float]  # how far the rate follows the contour
    noisy: tuple[float, float, float]  # share of noisy calls, and their jitter
    jitter: tuple[float, float]
    burst_share: float
    fast_share: float = 0.0  # of calls with `fast_per_s` pulses instead
    fast_per_s: tuple[float, float, float, float] = (550, 0.3, 400, 900)
    tone_share: float = 0.0
    centre_hz: tuple[float, float] = (48e3, 80e3)  # of a high call's plateau
    half_hz: tuple[float, float] = (9e3, 28e3)
    reach_hz: tuple[float, float] = (4e3, 40e3)  # down to where its skirt goes
    skirt_db: tuple[float, float] = (-38, -9)
    skirt_slope_db: tuple[float, float] = (6, 25)  # per octave below the reach
    humps: tuple = ((1.2e3, 7e3, -6, (0.3, 1.0)), (8e3, 28e3, -16, (0.3, 1.1)), (30e3, 85e3, -22, (0.25, 0.7)))
    floor_db: tuple[float, float] = (-26, -14)  # of a broad call, beneath its humps


HIGH = {
    1: PulseRanges((0.5, 0.55, 0.12, 1.6), (550, 0.65, 120, 2500), (80, 3500), (0.5, 1.2), (0.2, 0.15, 0.4), (0.003, 0.06), 0.12),
    2: PulseRanges((0.45, 0.75, 0.06, 2.5), (500, 0.9, 60, 4000), (40, 5000), (0.3, 1.5), (0.25, 0.1, 0.45), (0.001, 0.08), 0.15,
                   centre_hz=(42e3, 85e3), half_hz=(5e3, 30e3), reach_hz=(5e3, 50e3), skirt_db=(-60, -9), skirt_slope_db=(4, 40)),
}  # fmt: skip
BROAD = {
    1: PulseRanges((0.7, 0.5, 0.18, 2.2), (140, 0.7, 35, 400), (22, 1200), (0.4, 1), (0.12, 0.15, 0.35), (0.003, 0.08), 0.08, 0.15, tone_share=0.33),
    2: PulseRanges((0.65, 0.65, 0.1, 3.0), (140, 0.9, 25, 700), (15, 2000), (0.3, 1.3), (0.15, 0.1, 0.4), (0.001, 0.1), 0.1, 0.2, (600, 0.4, 350, 1500),
                   humps=((0.9e3, 8e3, -8, (0.25, 1.2)), (7e3, 32e3, -20, (0.25, 1.3)), (28e3, 90e3, -30, (0.2, 0.9))), floor_db=(-36, -10)),
}  # fmt: skip
PULSE_N = 4096  # 21 ms: long enough for the ring of a low resonance
CONTOURS = {"flat": 0.35, "up": 0.2, "down": 0.2, "hill": 0.1, "valley": 0.05, "wave": 0.1}


def minimum_phase_pulse(level_db: np.ndarray) -> np.ndarray:
    """Pulse (PULSE_N,) that begins sharply and has this spectrum, in dB on rfftfreq(PULSE_N); by the folded cepstrum."""
    log_gain = np.log(10) / 20 * np.maximum(level_db, level_db.max() - 70)
    cepstrum = irfft(log_gain, PULSE_N)
    cepstrum[1 : PULSE_N // 2] *= 2
    cepstrum[PULSE_N // 2 + 1 :] = 0
    return irfft(np.exp(rfft(cepstrum)), PULSE_N)


def ripple_db(rng: np.random.Generator, f: np.ndarray, spread_db: float, width_hz: float) -> np.ndarray:
    """Random unevenness of a spectrum, independent every `width_hz`."""
    return spread_db * smooth_walk(rng, len(f), 1 / width_hz, 1 / (f[1] - f[0]))


def high_spectrum_db(rng: np.random.Generator, f: np.ndarray, ranges: PulseRanges = HIGH[1]) -> np.ndarray:
    """Spectrum of a HFPC pulse: a plateau within about 40-90 kHz, and a skirt that reaches further down in some calls."""
    centre, half = rng.uniform(*ranges.centre_hz), rng.uniform(*ranges.half_hz)
    band = -3 * np.abs((f - centre) / half) ** rng.uniform(2, 5)
    reach = log_uniform(rng, *ranges.reach_hz)
    skirt = rng.uniform(*ranges.skirt_db) - rng.uniform(*ranges.skirt_slope_db) * np.log2(np.maximum(reach / np.maximum(f, 100), 1)) - 6 * np.maximum((f - centre) / half, 0)
    return np.logaddexp(band * 0.23, skirt * 0.23) / 0.23 + ripple_db(rng, f, rng.uniform(1, 4), rng.uniform(2e3, 9e3))


def broad_spectrum_db(rng: np.random.Generator, f: np.ndarray, ranges: PulseRanges = BROAD[1]) -> np.ndarray:
    """Spectrum of a BBPC pulse: humps below 8 kHz, in the middle and above 30 kHz, over a falling floor; energy from 1 to 90 kHz."""
    octave = np.log2(np.maximum(f, 50) / 1000)
    total = -rng.uniform(-ranges.floor_db[1], -ranges.floor_db[0]) - rng.uniform(0, 4) * np.maximum(octave, 0)
    for low, high, floor_db, wide in ranges.humps:
        hump = rng.uniform(floor_db, 0) - 3 * (np.log2(np.maximum(f, 50) / log_uniform(rng, low, high)) / rng.uniform(*wide)) ** 2
        total = np.logaddexp(total * 0.23, hump * 0.23) / 0.23
    total = total - 12 * np.maximum(np.log2(log_uniform(rng, 500, 1500) / np.maximum(f, 50)), 0)
    return total + ripple_db(rng, f, rng.uniform(1, 4), rng.uniform(1e3, 5e3))


def pulse_train(rng: np.random.Generator, rate_per_s: np.ndarray, amplitude: np.ndarray, spectra_db: tuple, jitter: float) -> np.ndarray:
    """Pulses (n,) whose rate follows `rate_per_s` (n,), with amplitudes (n,); the spectrum goes from the first of `spectra_db` to the second."""
    n = len(rate_per_s)
    count = np.cumsum(rate_per_s) / SYNTHESIS_RATE_HZ
    at = np.interp(np.arange(0.5, count[-1]), count, np.arange(n))
    at = at + jitter * rng.standard_normal(len(at)) * SYNTHESIS_RATE_HZ / rate_per_s[at.astype(np.int64)]
    at = np.sort(np.clip(at, 0, n - 2))
    i = at.astype(np.int64)
    strength = amplitude[i] * 10 ** (rng.uniform(0.3, 2.5) * rng.standard_normal(len(i)) / 20)
    size = next_fast_len(n + PULSE_N, real=True)
    total = 0
    for share, level_db in zip((1 - i / n, i / n), spectra_db):
        train = np.zeros(size, dtype=np.float32)
        np.add.at(train, i, (strength * share * (1 - at + i)).astype(np.float32))  # a pulse between two samples is shared by both
        np.add.at(train, i + 1, (strength * share * (at - i)).astype(np.float32))
        total = total + rfft(train) * rfft(minimum_phase_pulse(level_db).astype(np.float32), size)
    return irfft(total, size)[:n]


def _morph(rng: np.random.Generator, spectrum, ranges: PulseRanges) -> tuple[np.ndarray, np.ndarray]:
    f = rfftfreq(PULSE_N, 1 / SYNTHESIS_RATE_HZ)
    first = spectrum(rng, f, ranges)
    second = spectrum(rng, f, ranges) if rng.uniform() < 0.3 else first + ripple_db(rng, f, 3, 6e3)
    return first, second


def _bursts(rng: np.random.Generator, n: int, rate: float) -> np.ndarray:
    """Envelope of a call cut into a few short pieces."""
    period, duty = min(rng.uniform(0.06, 0.25), n / rate / 2.5), rng.uniform(0.4, 0.8)
    phase = (np.arange(n) / rate / period) % 1
    return np.clip(np.minimum(phase, duty - phase) / 0.04, 0, 1)


def high_pulsed_call(rng: np.random.Generator, ranges: PulseRanges = HIGH[1], length_s: float | None = None) -> Utterance:
    """One HFPC, drawn: hundreds to thousands of pulses a second, most energy 40-90 kHz; of this length, if one is given."""
    length = clipped_log_normal(rng, *ranges.length_s)
    n = int((length if length_s is None else length_s) * SYNTHESIS_RATE_HZ)
    shape = str(rng.choice(list(CONTOURS), p=list(CONTOURS.values())))
    rate = np.clip(clipped_log_normal(rng, *ranges.rate_per_s) * contour(rng, n, shape, SYNTHESIS_RATE_HZ) ** rng.uniform(*ranges.bend), *ranges.rate_limits)
    amplitude = envelope(rng, n, SYNTHESIS_RATE_HZ)
    if rng.uniform() < ranges.burst_share:
        amplitude = amplitude * _bursts(rng, n, SYNTHESIS_RATE_HZ)
    noisy, *wide = ranges.noisy
    jitter = rng.uniform(*wide) if rng.uniform() < noisy else log_uniform(rng, *ranges.jitter)
    return Utterance("HFPC", shape, unit_rms(pulse_train(rng, rate, amplitude, _morph(rng, high_spectrum_db, ranges), jitter)))


def broad_pulsed_call(rng: np.random.Generator, ranges: PulseRanges = BROAD[1], length_s: float | None = None) -> Utterance:
    """One BBPC, drawn: 30-400 pulses a second (some up to 900), 1-90 kHz; in version 1, a third with a tone beside the pulses."""
    length = clipped_log_normal(rng, *ranges.length_s)
    n = int((length if length_s is None else length_s) * SYNTHESIS_RATE_HZ)
    shape = str(rng.choice(list(CONTOURS), p=list(CONTOURS.values())))
    base = clipped_log_normal(rng, *(ranges.fast_per_s if rng.uniform() < ranges.fast_share else ranges.rate_per_s))
    rate = np.clip(base * contour(rng, n, shape, SYNTHESIS_RATE_HZ) ** rng.uniform(*ranges.bend), *ranges.rate_limits)
    amplitude = envelope(rng, n, SYNTHESIS_RATE_HZ)
    if rng.uniform() < ranges.burst_share:
        amplitude = amplitude * _bursts(rng, n, SYNTHESIS_RATE_HZ)
    noisy, *wide = ranges.noisy
    jitter = rng.uniform(*wide) if rng.uniform() < noisy else log_uniform(rng, *ranges.jitter)
    sound = unit_rms(pulse_train(rng, rate, amplitude, _morph(rng, broad_spectrum_db, ranges), jitter)).astype(np.float64)
    kind = shape
    if rng.uniform() < ranges.tone_share:
        kind = shape + "+tone"
        tone_hz = clipped_log_normal(rng, 5000, 0.5, 1500, 14e3) * contour(rng, n, str(rng.choice(["flat", "up", "down", "hill"])), SYNTHESIS_RATE_HZ) ** 0.5
        beat = 1 + rng.uniform(0, 1) * np.cos(2 * np.pi * np.cumsum(rate) / SYNTHESIS_RATE_HZ)  # the pulses modulate the tone
        sound += 10 ** (rng.uniform(-16, -4) / 20) * unit_rms(voice(rng, np.clip(tone_hz, 800, 22e3), amplitude * beat))
    return Utterance("BBPC", kind, unit_rms(sound))
