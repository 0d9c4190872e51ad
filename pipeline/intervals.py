"""95 % intervals for shares and rates of things that come in bouts.

Minutes and calls of a visit of whales are not independent draws, so the textbook intervals (Wilson's, Poisson's) are too narrow for a season. Here the
variance between pieces of time (minutes, hours, days) says how much is really known:

- Shares: Wilson's interval (Wilson 1927, doi:10.1080/01621459.1927.10502953; Brown, Cai and DasGupta 2001, doi:10.1214/ss/1009213286) of the effective
  number of minutes (Korn and Graubard 1998, Survey Methodology 24, 193-201).
- Rates: events per hour with the variance of a ratio of sums (Cochran 1977, Sampling Techniques, chapter 6) on a log scale, never below Poisson's.
- Whole deployments: bootstrap over blocks of time (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 8), percentile interval.
- Nothing seen: from 0 to Garwood's limit (1936, doi:10.1093/biomet/28.3-4.437).
"""
from __future__ import annotations

import numpy as np

Z = 1.959964         # 97.5th percentile of the normal distribution
NONE_UPPER = 3.689   # -ln(0.025): upper limit of a Poisson mean of which nothing was seen
LEAST_BLOCKS = 5


def wilson(x, n, z: float = Z) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's score interval of x out of n; NaN where n is 0.

    >>> [round(float(v), 4) for v in wilson(0, 10)], [round(float(v), 4) for v in wilson(5, 10)]
    ([0.0, 0.2775], [0.2366, 0.7634])
    """
    x, n = np.asarray(x, dtype=float), np.asarray(n, dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = x / n
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return np.where(n > 0, np.where(x <= 0, 0.0, np.clip(centre - half, 0, 1)), np.nan), np.where(n > 0, np.where(x >= n, 1.0, np.clip(centre + half, 0, 1)), np.nan)


def effective_minutes(x, k, xx, xk, kk, pieces) -> np.ndarray:
    """How many independent minutes say as much as k minutes in correlated pieces, x of them with calls: at most k; k where there is no variance to go by."""
    from scipy.special import stdtrit

    x, k, pieces = (np.asarray(a, dtype=float) for a in (x, k, pieces))
    with np.errstate(invalid="ignore", divide="ignore"):
        p = x / k
        variance = pieces / (pieces - 1) * np.maximum(xx - 2 * p * xk + p * p * kk, 0) / k ** 2
        n = p * (1 - p) / variance * (Z / stdtrit(np.maximum(pieces - 1, 1), 0.975)) ** 2
    return np.where((pieces > 1) & (variance > 0) & (p > 0) & (p < 1), np.minimum(n, k), k)


def rate_interval(y, t, yy, yt, tt, pieces) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of y / t from the variance between pieces, on a log scale; NaN with fewer than three pieces."""
    from scipy.special import stdtrit

    rate = y / t
    variance = np.maximum(pieces / (pieces - 1) * np.maximum(yy - 2 * rate * yt + rate ** 2 * tt, 0), y) / t ** 2
    factor = np.exp(np.minimum(stdtrit(np.maximum(pieces - 1, 1), 0.975) * np.sqrt(variance) / rate, 700))
    enough = pieces >= 3
    return (np.where(t > 0, np.where(y > 0, np.where(enough, rate / factor, np.nan), 0.0), np.nan),
            np.where(t > 0, np.where(y > 0, np.where(enough, rate * factor, np.nan), NONE_UPPER / t), np.nan))


def resampled(y: np.ndarray, t: np.ndarray, draws: int, rng) -> tuple[float, float, float]:
    """(sum y / sum t, low, high), blocks drawn anew."""
    if not t.sum() > 0:
        return np.nan, np.nan, np.nan
    value = y.sum() / t.sum()
    if y.sum() == 0:
        return value, 0.0, NONE_UPPER / t.sum()
    if len(t) < LEAST_BLOCKS:
        return value, np.nan, np.nan
    means, at_once = [], max(1, int(4e6 / len(t)))
    for first in range(0, draws, at_once):
        weights = rng.multinomial(len(t), np.full(len(t), 1 / len(t)), size=min(at_once, draws - first))
        means.append(weights @ y / np.maximum(weights @ t, 1e-12))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return value, float(low), float(high)
