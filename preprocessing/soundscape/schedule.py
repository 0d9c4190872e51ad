"""Who calls when: bouts with quiet between, choruses, series of similar calls, and two sounds at once by one animal.

All distributions are assumed; the shares of call types come from the site, tilted anew in every bout, so that bouts differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .calls import LABELS, draw_source_level_db
from .propagation import Path, Water
from .randomness import clipped_log_normal, log_uniform

CROWDING = 1.4  # how much choruses and series add to the mean rate; measured over hours


@dataclass(frozen=True)
class PlannedCall:
    """A call to be made: what, when, where, how loud."""

    label: str
    number: int
    group: int
    series: int  # calls of one series are variations of one call
    diphonic: bool
    start_s: float
    source_level_db: float
    angle_deg: float
    path: Path


def _mix(rng: np.random.Generator, call_mix: dict[str, float]) -> np.ndarray:
    weights = np.array([max(call_mix.get(label, 0.0), 0.0) for label in LABELS])
    if weights.sum() <= 0:
        raise ValueError(f"call_mix has no positive share for any of {', '.join(LABELS)}")
    tilted = np.where(weights > 0, rng.gamma(np.maximum(2.5 * weights / weights.sum() * len(LABELS), 0.05)), 0)
    return tilted / tilted.sum() if tilted.sum() > 0 else weights / weights.sum()


def _path(rng: np.random.Generator, range_m: float, water: Water) -> Path:
    far = np.log10(max(range_m, 10) / 100)
    return Path(
        range_m=range_m,
        z_source_m=float(rng.uniform(0.1, 0.9) * water.depth_m),
        z_receiver_m=float(water.depth_m - rng.uniform(1, 3)),
        surface=bool(rng.uniform() < 0.85),
        bottom_gain=float(rng.uniform(0.1, 0.6)) if rng.uniform() < 0.6 else 0.0,
        tail_gain=float(rng.uniform(0.02, 0.25) * 2 ** np.clip(far, -1, 1.5)) if rng.uniform() < 0.7 else 0.0,
        tail_s=log_uniform(rng, 0.015, 0.12),
    )


def plan_calls(
    rng: np.random.Generator, duration_s: float, rate_per_min: float, call_mix: dict[str, float], range_m: float, diphonic_share: float, water: Water
) -> list[PlannedCall]:
    """All calls of a recording, by start time.

    Parameters
    ----------
    rate_per_min : mean number of utterances per minute, quiet times included (a diphonic pair is one); 0 gives none
    call_mix : label -> share
    range_m : median range of the animals
    diphonic_share : share of HFPC and BBPC that the same animal makes together with a whistle
    """
    calls: list[PlannedCall] = []
    if rate_per_min <= 0:
        return calls
    number = group = series = 0
    busy = rng.uniform(0.35, 0.9)  # share of time within bouts
    t = -rng.exponential(20)
    while t < duration_s:
        length = log_uniform(rng, 8, 90)
        rate = rate_per_min / 60 / busy / CROWDING * np.exp(rng.normal(-0.18, 0.6))
        if rng.uniform() < 0.12:
            rate, length = rate * 3, min(length, 25)  # chorus
        mix = _mix(rng, call_mix)
        herd_m = clipped_log_normal(rng, range_m, 0.6, 25, 2500)
        start = t
        while True:
            start += rng.exponential(1 / rate)
            if start > min(t + length, duration_s):
                break
            label = str(rng.choice(LABELS, p=mix))
            here_m = clipped_log_normal(rng, herd_m, 0.5, 20, 3000)
            angle = float(rng.uniform(0, 180))
            path = _path(rng, here_m, water)
            repeats = int(rng.integers(2, 6)) if label != "ECHO" and rng.uniform() < 0.1 else 1
            level, moment = draw_source_level_db(label, rng), start
            for _ in range(repeats):
                also = label in ("HFPC", "BBPC") and rng.uniform() < diphonic_share
                if 0 <= moment < duration_s - 0.1:
                    calls.append(PlannedCall(label, number, group, series, also, moment, level + rng.normal(0, 1.5), angle, path))
                    number += 1
                    if also:
                        beside = float(np.clip(moment + rng.normal(0, 0.015), 0, duration_s - 0.15))
                        calls.append(PlannedCall("Whistle", number, group, 1_000_000 + number, True, beside, draw_source_level_db("Whistle", rng), angle, path))
                        number += 1
                    group += 1
                moment += rng.uniform(0.7, 2.2)
            series += 1
        t += length + rng.exponential(np.sqrt(8 * 90) * (1 - busy) / busy) + 1
    return sorted(calls, key=lambda call: (call.start_s, call.number))
