"""Who calls when: bouts with quiet between, choruses, series of similar calls, and two sounds at once by one animal.

All distributions are assumed; the shares of call types come from the site, tilted anew in every bout, so that bouts differ. `HABITS` holds the figures of both
versions of the simulator: in 2 animals are nearer and farther, choruses more frequent, echoes stronger, and a whistle that comes with a pulsed call may begin anywhere in
it, as long as the two overlap for well over half of the shorter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .calls import LABELS, RANGES, draw_source_level_db
from .propagation import Path, Water
from .randomness import clipped_log_normal, log_uniform

@dataclass(frozen=True)
class Habits:
    """How animals keep together and how their calls reach the hydrophone. Ranges are (low, high), spreads of natural logarithms."""

    crowding: float = 1.4  # how much choruses and series add to the mean rate; measured over hours
    chorus_share: float = 0.12  # of bouts
    chorus_factor: float = 3.0
    herd: tuple[float, float, float] = (0.6, 25, 2500)  # spread, nearest, farthest range of a herd, m
    animal: tuple[float, float, float] = (0.5, 20, 3000)  # of an animal about its herd
    series_share: float = 0.1
    surface_share: float = 0.85
    bottom: tuple[float, float, float] = (0.6, 0.1, 0.6)  # share, and range of the gain
    tail: tuple[float, float, float] = (0.7, 0.02, 0.25)
    tail_s: tuple[float, float] = (0.015, 0.12)
    whistle_within: bool = False  # anywhere in the pulsed call, and about as loud
    version: int = 1


HABITS = {
    1: Habits(),
    2: Habits(1.8, 0.2, 4.0, (0.75, 12, 3000), (0.7, 10, 4000), 0.12, 0.9, (0.7, 0.05, 0.85), (0.75, 0.01, 0.35), (0.008, 0.2), True, 2),
}


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
    length_s: float | None = None  # None: as the call is drawn


def _mix(rng: np.random.Generator, call_mix: dict[str, float]) -> np.ndarray:
    weights = np.array([max(call_mix.get(label, 0.0), 0.0) for label in LABELS])
    if weights.sum() <= 0:
        raise ValueError(f"call_mix has no positive share for any of {', '.join(LABELS)}")
    tilted = np.where(weights > 0, rng.gamma(np.maximum(2.5 * weights / weights.sum() * len(LABELS), 0.05)), 0)
    return tilted / tilted.sum() if tilted.sum() > 0 else weights / weights.sum()


def _path(rng: np.random.Generator, range_m: float, water: Water, habits: Habits) -> Path:
    far = np.log10(max(range_m, 10) / 100)
    echoing, *bottom = habits.bottom
    ringing, *tail = habits.tail
    return Path(
        range_m=range_m,
        z_source_m=float(rng.uniform(0.1, 0.9) * water.depth_m),
        z_receiver_m=float(water.depth_m - rng.uniform(1, 3)),
        surface=bool(rng.uniform() < habits.surface_share),
        bottom_gain=float(rng.uniform(*bottom)) if rng.uniform() < echoing else 0.0,
        tail_gain=float(rng.uniform(*tail) * 2 ** np.clip(far, -1, 1.5)) if rng.uniform() < ringing else 0.0,
        tail_s=log_uniform(rng, *habits.tail_s),
    )


def _pair(rng: np.random.Generator, label: str, habits: Habits) -> tuple[float, float, float]:
    """Lengths of a pulsed call and of the whistle with it, and how much later the whistle begins, s; six tenths of the shorter overlap."""
    length_s = clipped_log_normal(rng, *RANGES[label][habits.version].length_s)
    whistle_s = float(np.clip(length_s * rng.uniform(0.4, 1.6), 0.1, 3.0))
    shared_s = 0.6 * min(length_s, whistle_s)
    return length_s, whistle_s, float(rng.uniform(shared_s - whistle_s, length_s - shared_s))


def plan_calls(
    rng: np.random.Generator, duration_s: float, rate_per_min: float, call_mix: dict[str, float], range_m: float, diphonic_share: float, water: Water,
    habits: Habits = HABITS[1],
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
        rate = rate_per_min / 60 / busy / habits.crowding * np.exp(rng.normal(-0.18, 0.6))
        if rng.uniform() < habits.chorus_share:
            rate, length = rate * habits.chorus_factor, min(length, 25)
        mix = _mix(rng, call_mix)
        herd_m = clipped_log_normal(rng, range_m, *habits.herd)
        start = t
        while True:
            start += rng.exponential(1 / rate)
            if start > min(t + length, duration_s):
                break
            label = str(rng.choice(LABELS, p=mix))
            animal_m = clipped_log_normal(rng, herd_m, *habits.animal)
            angle = float(rng.uniform(0, 180))
            path = _path(rng, animal_m, water, habits)
            repeats = int(rng.integers(2, 6)) if label != "ECHO" and rng.uniform() < habits.series_share else 1
            level, moment = draw_source_level_db(label, rng, habits.version), start
            for _ in range(repeats):
                also = label in ("HFPC", "BBPC") and rng.uniform() < diphonic_share
                if 0 <= moment < duration_s - 0.1:
                    level_db, length_s, whistle_s, later_s = level + rng.normal(0, 1.5), None, None, 0.0
                    if also and habits.whistle_within:
                        length_s, whistle_s, later_s = _pair(rng, label, habits)
                    calls.append(PlannedCall(label, number, group, series, also, moment, level_db, angle, path, length_s))
                    number += 1
                    if also:
                        beside = float(np.clip(moment + later_s + rng.normal(0, 0.015), 0, duration_s - 0.15))
                        whistle_db = draw_source_level_db("Whistle", rng, habits.version)
                        whistle_db = level_db + rng.uniform(-20, 3) if habits.whistle_within else whistle_db
                        calls.append(PlannedCall("Whistle", number, group, 1_000_000 + number, True, beside, whistle_db, angle, path, whistle_s))
                        number += 1
                    group += 1
                moment += rng.uniform(0.7, 2.2)
            series += 1
        t += length + rng.exponential(np.sqrt(8 * 90) * (1 - busy) / busy) + 1
    return sorted(calls, key=lambda call: (call.start_s, call.number))
