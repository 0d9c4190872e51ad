"""The recorder: from µPa to the samples of a WAV file, the settling at the start of each file, and its faults (version 2): dropouts and steps of gain.

A sample of full scale 1.0 is 10^(-S/20) µPa, S the end-to-end sensitivity (negative dB). SoundTrap names: SERIAL.YYMMDDHHMMSS.wav, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np

from .randomness import generator, log_uniform

FULL_SCALE = 32768


def full_scale_upa(sensitivity_db: float) -> float:
    return 10 ** (-sensitivity_db / 20)


def to_int16(pressure_upa: np.ndarray, sensitivity_db: float) -> np.ndarray:
    """16-bit samples, rounded without dither, clipped at full scale."""
    scaled = np.rint(pressure_upa * np.float32(FULL_SCALE / full_scale_upa(sensitivity_db)))
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def soundtrap_name(serial: str, start_utc: datetime) -> str:
    """`6872.220716021453.wav`; raises ValueError for a time without a zone."""
    if start_utc.tzinfo is None:
        raise ValueError("start_utc needs a time zone; recordings are named in UTC")
    return f"{serial}.{start_utc.astimezone(timezone.utc):%y%m%d%H%M%S}.wav"


def start_artefact(key: tuple, sample_rate_hz: int, sensitivity_db: float) -> np.ndarray:
    """What a SoundTrap writes in its first one to four seconds: a settling offset, a switching click, a hiss that dies away (assumed)."""
    rng = generator(*key, "start artefact")
    length = rng.uniform(1.0, 4.0)
    t = np.arange(int(length * sample_rate_hz)) / sample_rate_hz
    fade = np.clip((length - t) / 0.3, 0, 1)
    full = full_scale_upa(sensitivity_db)
    offset = rng.choice([-1, 1]) * log_uniform(rng, 0.003, 0.2) * np.exp(-t / rng.uniform(0.1, 0.6))
    hiss = log_uniform(rng, 1e-5, 2e-3) * np.exp(-t / rng.uniform(0.1, 0.8)) * rng.standard_normal(len(t))
    sound = offset + hiss
    for _ in range(int(rng.integers(0, 4))):
        at = int(rng.uniform(0, 0.9) * len(t))
        n = min(int(0.02 * sample_rate_hz), len(t) - at)
        sound[at : at + n] += log_uniform(rng, 0.001, 0.05) * np.exp(-np.arange(n) / (0.002 * sample_rate_hz)) * rng.standard_normal(n)
    return (sound * fade * full).astype(np.float32)


@dataclass(frozen=True)
class Fault:
    """From when to when the sound is multiplied by `gain`."""

    kind: str
    start_s: float
    end_s: float
    gain: float


def plan_faults(key: tuple, duration_s: float) -> list[Fault]:
    """Faults of a recording, none in five of six (assumed): short dropouts of zeros, one or in a row; the gain goes up or down by 3-20 dB for a time, or for good."""
    rng = generator(*key, "faults")
    faults = []
    if rng.uniform() < 0.09:
        at, length, every = rng.uniform(0, duration_s), log_uniform(rng, 0.0005, 0.4), log_uniform(rng, 0.5, 10)
        for k in range(int(rng.integers(1, 8))):
            start = at + k * every
            if start < duration_s:
                faults.append(Fault("dropout", start, min(start + length * rng.uniform(0.5, 1.5), duration_s), 0.0))
    if rng.uniform() < 0.09:
        start = rng.uniform(0, duration_s)
        gain = 10 ** (rng.choice([-1, 1]) * rng.uniform(3, 20) / 20)
        faults.append(Fault("gain_step", start, min(start + log_uniform(rng, 0.5, 0.6 + 2 * duration_s), duration_s), gain))
    return faults


def apply_faults(block: np.ndarray, start: int, sample_rate_hz: int, faults: list[Fault]) -> None:
    """Multiply what of a block lies in a fault, in place; `start` is the block's first sample."""
    for fault in faults:
        first = max(int(fault.start_s * sample_rate_hz) - start, 0)
        stop = min(int(fault.end_s * sample_rate_hz) - start, len(block))
        if first < stop:
            block[first:stop] *= np.float32(fault.gain)
