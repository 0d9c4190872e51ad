"""When the clicks of a train come: slow search, approach, terminal buzz, packets.

Sources: Castellote et al. (2021, PLoS ONE 16, e0260485): tagged belugas of Bristol Bay close in on prey
with trains that end in a buzz, whose shortest interval is below 9 ms and goes on falling; Au et al. (1987,
J. Acoust. Soc. Am. 82, 807): mean intervals 44 and 193 ms; Turl & Penner (1989, J. Acoust. Soc. Am. 86,
497): belugas also send their clicks in packets. How often each pattern comes, how fast intervals fall, and
intervals down to 2 ms and up to 0.5 s are drawn wider than published, on purpose.
"""

from __future__ import annotations

import numpy as np

from .randomness import log_uniform, smooth_walk

PATTERNS = {"slow": 0.3, "search": 0.24, "approach": 0.28, "buzz": 0.1, "packets": 0.08}
SHORTEST_S = 0.002
MOST_CLICKS = 3000


def intervals_s(rng: np.random.Generator, length_s: float) -> tuple[str, np.ndarray]:
    """Pattern of a train and its inter-click intervals (n,) that fill `length_s`."""
    pattern = str(rng.choice(list(PATTERNS), p=list(PATTERNS.values())))
    jitter = log_uniform(rng, 0.003, 0.06)
    steps, t = [], 0.0
    curve = _interval_curve(rng, pattern, length_s)
    while t < length_s and len(steps) < MOST_CLICKS:
        step = float(curve(t) * np.exp(jitter * rng.standard_normal()))
        steps.append(max(step, 0.8 * SHORTEST_S))
        t += steps[-1]
    return pattern, np.array(steps)


def _interval_curve(rng: np.random.Generator, pattern: str, length_s: float):
    """Function of the time since the train's start, s: the interval that follows, s."""
    if pattern == "slow":
        return _wandering(rng, log_uniform(rng, 0.12, 0.5), 0.1, length_s)
    if pattern == "search":
        return _wandering(rng, log_uniform(rng, 0.018, 0.15), 0.3, length_s)
    last = log_uniform(rng, SHORTEST_S, 0.004)  # of a buzz
    if pattern == "buzz":
        first = log_uniform(rng, 0.004, 0.012)
        return lambda t: first * (last / first) ** np.clip(t / length_s, 0, 1)
    if pattern == "packets":
        inside, between = log_uniform(rng, 0.003, 0.015), log_uniform(rng, 0.08, 0.4)
        size, count = int(rng.integers(3, 12)), iter(range(10**6))
        return lambda t: between if (next(count) + 1) % size == 0 else inside
    first = log_uniform(rng, 0.03, 0.25)
    buzz_s = min(log_uniform(rng, 0.1, 1.2), 0.4 * length_s)
    turn = log_uniform(rng, 0.006, 0.013)  # the interval at which the approach becomes a buzz
    steep = rng.uniform(0.6, 3)
    near_s = length_s - buzz_s

    def approach(t):
        if t < near_s:
            return first * (turn / first) ** ((t / near_s) ** steep)
        return turn * (last / turn) ** np.clip(1.6 * (t - near_s) / buzz_s, 0, 1)

    return approach


def _wandering(rng: np.random.Generator, base_s: float, spread: float, length_s: float):
    drift, walk = rng.normal(0, spread), spread * rng.uniform(0.1, 0.8)
    curve = smooth_walk(rng, int(length_s * 20) + 2, 1.0, 20.0)
    return lambda t: np.clip(
        base_s * np.exp(drift * t / length_s + walk * curve[min(int(t * 20), len(curve) - 1)]), 0.01, 0.6
    )
