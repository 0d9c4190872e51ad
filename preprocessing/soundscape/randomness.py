"""Random numbers that depend on names, not on the order in which things are made.

Every part of a simulation (one noise frame, one boat, one call) draws from a generator of its own, keyed by the seed and by what the
part is. So the noise stays the same when the calls are switched off, and a block can be made without the blocks before it.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np


def generator(*keys: int | str) -> np.random.Generator:
    """A generator for these keys: non-negative integers (the seed, an index) and words (the part's name)."""
    words = [crc32(key.encode("utf-8")) if isinstance(key, str) else int(key) for key in keys]
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(words)))


def smooth_walk(rng: np.random.Generator, n: int, step_rate: float, rate: float) -> np.ndarray:
    """Smooth random curve, n points at `rate` points per second, about `step_rate` independent values per second, unit variance."""
    n_knots = max(int(np.ceil(n / rate * step_rate)), 1) + 3
    knots = rng.standard_normal(n_knots)
    x = np.arange(n) * (step_rate / rate) + rng.uniform(0, 1)
    i = x.astype(np.int64)
    u = x - i
    ease = u * u * (3 - 2 * u)
    curve = knots[i] * (1 - ease) + knots[i + 1] * ease
    return curve / np.sqrt(0.743)  # mean of (1-e)^2 + e^2 over u: variance of the blend of two knots


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """One value whose logarithm is uniform between log(low) and log(high)."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def clipped_log_normal(rng: np.random.Generator, median: float, sigma: float, low: float, high: float) -> float:
    """One log-normal value (sigma of the natural logarithm), clipped to [low, high]."""
    return float(np.clip(median * np.exp(sigma * rng.standard_normal()), low, high))
