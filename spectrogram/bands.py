"""Frequency bands: the picture's triangular filters, and decidecade bands.

A band's value is always a *mean power spectral density* over the band (weights that sum to one), never an
area-normalised sum, so white noise reads the same in every band and levels can be read off the picture.

Sources: IEC 61260-1:2014 (decidecades, base ten, reference 1 kHz); ISO 18405:2017 (terms).
"""
from __future__ import annotations

import numpy as np


def warped_corners_hz(count: int, low_hz: float, high_hz: float, break_hz: float) -> np.ndarray:
    """Corner frequencies of `count` triangles equally wide on g(f) = ln(1 + f / break_hz).

    With break_hz = 700 this is the common (HTK) mel scale; a higher break gives the high frequencies more bands.

    Returns
    -------
    (count + 2,) Hz: triangle k rises from corner k to k + 1 and falls to k + 2.
    """
    warped = np.linspace(np.log1p(low_hz / break_hz), np.log1p(high_hz / break_hz), count + 2)
    return break_hz * np.expm1(warped)


def triangle_weights(corners_hz: np.ndarray, bin_hz: float, n_bins: int, oversample: int = 32) -> np.ndarray:
    """Weights of each FFT bin in each triangle; the weights of a triangle sum to one.

    Each bin stands for the `bin_hz` around its centre and a triangle is averaged over that stretch, so that a
    triangle narrower than a bin still gets its share instead of nothing.

    Returns
    -------
    (n_bins, bands) float32. A band that lies wholly above the last bin is all zero.
    """
    offsets = (np.arange(oversample) + 0.5) / oversample - 0.5
    freqs = np.maximum((np.arange(n_bins)[:, None] + offsets) * bin_hz, 0.0)  # (bins, oversample)
    weights = np.empty((n_bins, len(corners_hz) - 2))
    for k, (low, mid, high) in enumerate(zip(corners_hz, corners_hz[1:], corners_hz[2:])):
        rise, fall = (freqs - low) / (mid - low), (high - freqs) / (high - mid)
        weights[:, k] = np.clip(np.minimum(rise, fall), 0.0, None).mean(axis=1)
    total = weights.sum(axis=0)
    return (weights / np.where(total > 0, total, 1.0)).astype(np.float32)


def decidecade_centres_hz(low_hz: float, high_hz: float) -> np.ndarray:
    """Exact centres 1000 * 10^(n/10) Hz of the decidecade bands that lie wholly within [low_hz, high_hz] (IEC 61260-1)."""
    n = np.arange(-40, 31)
    centres = 1000.0 * 10.0 ** (n / 10)
    half = 10.0 ** 0.05
    tolerance = 1 + 1e-9
    return centres[(centres / half * tolerance >= low_hz) & (centres * half <= high_hz * tolerance)]


def nominal_hz(centre_hz: float) -> str:
    """Nominal name of a decidecade band as used in tables: 63, 125, 1000, 31.5 (IEC 61260-1, annex E)."""
    mantissas = (1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0)
    n = round(10 * np.log10(centre_hz))
    value = mantissas[n % 10] * 10.0 ** (n // 10)
    return f"{value:.1f}".rstrip("0").rstrip(".") if value < 100 else f"{value:.0f}"


def overlap_weights(low_hz: np.ndarray, high_hz: np.ndarray, bin_hz: float, n_bins: int) -> np.ndarray:
    """Share of each FFT bin that lies in each band: bins on a border are split in proportion.

    Returns
    -------
    (n_bins, bands) float64 in 0..1. PSD @ weights * bin_hz is the power in the band.
    """
    bin_low = (np.arange(n_bins)[:, None] - 0.5) * bin_hz
    bin_high = bin_low + bin_hz
    shared = np.minimum(bin_high, high_hz) - np.maximum(bin_low, low_hz)
    return np.clip(shared / bin_hz, 0.0, 1.0)
