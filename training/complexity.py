"""Signal complexity: how far a clip lies from pure noise and from pure order, moment by moment. A few numbers a frame in place of a picture.

    spectral = spectral_series(picture_db, profile, 50, 300)     # (..., frames, bands) dB -> (..., frames, 4)
    ordinal = ordinal_series(samples, 2000, profile)             # (..., samples)          -> (..., frames, 4)

Both give SERIES on the profile's frame grid, so they can be laid side by side. Each rests on a distribution p over N cases:
spectral: the share of the power that lies in each band; ordinal: how often each order of rank of `order` samples occurs in the frame's window.

    entropy            H = -sum p ln p / ln N                                             0 one case, 1 all alike
    squared            H * sum (p - 1/N)^2                        Lopez-Ruiz, Mancini & Calbet 1995 (LMC), Phys. Lett. A 209:321
    jensen_shannon     H * Q0 * (S((p + u) / 2) - S(p) / 2 - ln(N) / 2)      Lamberti et al. 2004, Physica A 334:119; Rosso et al. 2007, PRL 99:154102
    total_variation    H * sum |p - 1/N| / 2                      after Berlin, Galyaev & Lysenko 2023, arXiv:2307.14091 (three disequilibria compared)

u = 1/N everywhere, S = -sum p ln p, Q0 makes the divergence 1 for a single case. A complexity is 0 for order and for noise and positive between.
Ordinal patterns: Bandt & Pompe 2002, PRL 88:174102. Spectral complexity of sea sound: Berlin, Galyaev & Lysenko 2023, Sensors 23:2133.

Shares are taken of the *power*, which a distribution asks for, not of squared decibels.
"""
from __future__ import annotations

from math import factorial

import numpy as np

from spectrogram.profile import Profile

SERIES = ("entropy", "squared", "jensen_shannon", "total_variation")
MOST_ORDER = 6  # 720 patterns: with more, no window of a clip holds enough samples


def entropy(p: np.ndarray) -> np.ndarray:
    """Shannon entropy over the last axis in units of its greatest value, ln N: 0 to 1. p (..., N) sums to one."""
    return _shannon(p) / np.log(p.shape[-1])


def disequilibrium(p: np.ndarray) -> np.ndarray:
    """Distances of p (..., N) from 1/N: squared, Jensen-Shannon divergence in units of its greatest value (0 to 1), total variation -> (..., 3)."""
    n = p.shape[-1]
    off = p - 1 / n
    most = -0.5 * ((n + 1) / n * np.log(n + 1) - 2 * np.log(2 * n) + np.log(n))  # of a single case
    divergence = (_shannon((p + 1 / n) / 2) - _shannon(p) / 2 - np.log(n) / 2) / most
    return np.stack([(off ** 2).sum(-1), np.maximum(divergence, 0.0), np.abs(off).sum(-1) / 2], axis=-1)


def complexities(p: np.ndarray) -> np.ndarray:
    """SERIES of distributions p (..., N) -> (..., 4).

    >>> complexities(np.array([[0.25, 0.25, 0.25, 0.25], [0, 1, 0, 0]])).round(6).tolist()
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    if p.shape[-1] < 2:
        raise ValueError("a distribution over fewer than two cases has no entropy; take more bands, or an order of at least 2")
    h = entropy(p)[..., None]
    return np.concatenate([h, h * disequilibrium(p)], axis=-1)


def spectral_series(picture_db: np.ndarray, profile: Profile, low_hz: float = 50.0, high_hz: float = 300.0, whiten: bool = False) -> np.ndarray:
    """SERIES of the spectrum in each frame of calibrated pictures.

    Parameters
    ----------
    picture_db : (..., frames, bands) dB, as of the generator or a data set; NaN where the recording has no such band or has ended.
    low_hz, high_hz : the bands whose centres lie here. The default is the original's; a call that leaves the band looks like noise.
    whiten : divide each band by its median over the frames first, so that the colour of the noise does not count as order.

    Returns
    -------
    (..., frames, 4) float32; NaN in frames that were not recorded.

    Raises
    ------
    ValueError
        where fewer than two bands lie between the frequencies, or, of bands there, the recording shows only some.
    """
    centres = profile.band_centres_hz
    columns = (centres >= low_hz) & (centres <= high_hz)
    if columns.sum() < 2:
        raise ValueError(f"profile {profile.name}: {int(columns.sum())} bands between {low_hz:g} and {high_hz:g} Hz; widen the range, at least two are needed")
    power = 10 ** (np.asarray(picture_db, np.float64)[..., columns] / 10)
    seen = np.isfinite(power)
    if (seen.any(axis=-1) & ~seen.all(axis=-1)).any():
        raise ValueError(f"some bands between {low_hz:g} and {high_hz:g} Hz are masked; take a range that lies below the Nyquist frequency of every recording")
    if whiten:
        power = power / _median_over_frames(power)
    return complexities(power / power.sum(axis=-1, keepdims=True)).astype(np.float32)


def ordinal_patterns(samples: np.ndarray, order: int = 4, delay: int = 1) -> np.ndarray:
    """Number (0 to order! - 1) of the order of rank of each `order` samples, `delay` apart: (..., n) -> (..., n - (order - 1) * delay).

    0 is the rising ramp, order! - 1 the falling one. Of equal samples the earlier counts as the lower, as Bandt & Pompe have it.

    >>> ordinal_patterns(np.array([4, 7, 9, 10, 6, 11, 3]), order=3).tolist()
    [0, 0, 3, 2, 3]
    """
    samples = np.asarray(samples)
    if not 2 <= order <= MOST_ORDER or delay < 1:
        raise ValueError(f"order {order}, delay {delay}: the order must be 2 to {MOST_ORDER}, the delay at least 1")
    n = samples.shape[-1] - (order - 1) * delay
    if n < 1:
        raise ValueError(f"{samples.shape[-1]} samples are too few for patterns of {order}, {delay} apart; give at least {(order - 1) * delay + 1}")
    taken = [samples[..., k * delay:k * delay + n] for k in range(order)]
    number = np.zeros((*samples.shape[:-1], n), np.int32)
    for k in range(order - 1):  # Lehmer code: how many later samples are lower
        lower = sum((later < taken[k]).astype(np.int32) for later in taken[k + 1:])
        number += lower * factorial(order - 1 - k)
    return number


def ordinal_distribution(samples: np.ndarray, order: int = 4, delay: int = 1) -> np.ndarray:
    """Share of each pattern over the last axis: (..., n) -> (..., order!)."""
    number = ordinal_patterns(samples, order, delay)
    return np.stack([(number == k).mean(axis=-1) for k in range(factorial(order))], axis=-1)


def ordinal_series(samples: np.ndarray, rate_hz: int, profile: Profile, order: int = 4, delay: int = 2, window_s: float = 0.256) -> np.ndarray:
    """SERIES of the ordinal patterns around each frame of the profile's grid.

    Parameters
    ----------
    samples : (..., n) at `rate_hz`; beyond its ends the sound is mirrored, as for pictures.
    order, delay : 4 as in the original. A pattern spans (order - 1) * delay samples: with 2 at 2 kHz 3 ms, a quarter of a period of 83 Hz; white noise
        reads the same whatever the delay.
    window_s : over which patterns are counted; some 20 of them for each of the order! patterns.

    Returns
    -------
    (..., frames, 4) float32.
    """
    samples = np.asarray(samples)
    size, half = round(window_s * rate_hz), round(window_s * rate_hz) // 2
    n_frames = int(samples.shape[-1] * profile.sample_rate_hz // (rate_hz * profile.hop))
    if n_frames == 0:
        raise ValueError(f"{samples.shape[-1]} samples at {rate_hz} Hz are less than a frame of profile {profile.name}; give a longer clip")
    padded = np.pad(samples, [(0, 0)] * (samples.ndim - 1) + [(half, size)], mode="symmetric")
    number = ordinal_patterns(padded, order, delay)
    first = ((2 * np.arange(n_frames) + 1) * rate_hz * profile.hop) // (2 * profile.sample_rate_hz)  # in `padded`: centre - half + half
    last = first + size - (order - 1) * delay
    counts = np.empty((*samples.shape[:-1], n_frames, factorial(order)), np.float64)
    for k in range(counts.shape[-1]):
        so_far = np.pad(np.cumsum(number == k, axis=-1, dtype=np.int32), [(0, 0)] * (samples.ndim - 1) + [(1, 0)])
        counts[..., k] = so_far[..., last] - so_far[..., first]
    return complexities(counts / (last - first)[:, None]).astype(np.float32)


def _shannon(p: np.ndarray) -> np.ndarray:
    """-sum p ln p in nats; what is 0 adds nothing."""
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=-1) + 0.0  # no minus zero


def _median_over_frames(power: np.ndarray) -> np.ndarray:
    """(..., 1, bands) median over the frames that were recorded; NaN where none was."""
    recorded = np.isfinite(power)
    ordered = np.sort(np.where(recorded, power, np.inf), axis=-2)
    middle = np.maximum(recorded.sum(axis=-2, keepdims=True) - 1, 0) // 2
    return np.take_along_axis(ordered, middle, axis=-2)
