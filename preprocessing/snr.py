"""How far an annotated call stands out of what surrounds it, measured on the calibrated picture.

    snr_db = 10 log10(power above the background / background), both summed over the strongest cells that hold 80 % of the box's power above it

The background of a band is its median power in the ten seconds before and after the box, where nothing shorter than `LONG_S` is annotated: what lasts longer (a
boat) is part of it. The simulator measures its calls in the same manner, but against the noise itself, which here is only estimated: cells where noise happens to be
high are taken for signal, so a box without any call reads some decibels, not minus infinity.
"""
from __future__ import annotations

import numpy as np
import pandas as pd

from spectrogram.profile import Profile

AROUND_S = 10.0
LONG_S = 8.0
SHARE = 0.8
LEAST_QUIET_S = 0.25


def measured_snr_db(picture_db: np.ndarray, profile: Profile, boxes: pd.DataFrame) -> np.ndarray:
    """(boxes,) dB; NaN where no band of the box is visible, or nothing quiet lies near it.

    Parameters
    ----------
    picture_db : (frames, bands) dB of the whole recording, NaN where masked.
    boxes : all annotations of the recording: start_s, end_s, low_hz, high_hz (NaN: the band of its label), label.
    """
    rate = profile.frame_rate_hz
    first = np.floor(boxes["start_s"].to_numpy() * rate).astype(int)
    last = np.maximum(np.ceil(boxes["end_s"].to_numpy() * rate).astype(int), first + 1)
    busy = np.zeros(len(picture_db), bool)
    for a, b in zip(first, last):
        if b - a <= LONG_S * rate:
            busy[a:b] = True
    bounds = [_band_hz(row, profile) for row in boxes.itertuples()]
    return np.array([_snr_db(picture_db, busy, a, b, _bands(*bound, profile), rate) for a, b, bound in zip(first, last, bounds)], float)


def _snr_db(picture_db: np.ndarray, busy: np.ndarray, first: int, last: int, bands: np.ndarray, rate: float) -> float:
    around = round(AROUND_S * rate)
    begin, end = max(0, first - around), min(len(picture_db), last + around)
    quiet = ~busy[begin:end]
    quiet[first - begin:last - begin] = False
    near = np.asarray(picture_db[begin:end][:, bands], np.float64)
    near = near[:, np.isfinite(near).any(axis=0)]  # visible bands
    inside = near[first - begin:last - begin]
    inside = inside[np.isfinite(inside).all(axis=1)]  # and recorded frames
    quiet &= np.isfinite(near).all(axis=1)
    if quiet.sum() < LEAST_QUIET_S * rate or inside.size == 0:
        return np.nan
    background = np.broadcast_to(np.median(10 ** (near[quiet] / 10), axis=0), inside.shape).ravel()
    above = 10 ** (inside / 10).ravel() - background
    order = np.argsort(above)[::-1]
    held = np.cumsum(np.maximum(above[order], 0))
    count = int(np.searchsorted(held, SHARE * held[-1])) + 1
    chosen = order[:count]
    return float(10 * np.log10(max(above[chosen].sum(), 1e-12 * background[chosen].sum()) / background[chosen].sum()))


def _band_hz(row, profile: Profile) -> tuple[float, float]:
    """The box's own frequencies, else those of its label, else all."""
    low, high = profile.label_band_hz.get(row.label, (profile.picture["low_hz"], profile.picture["high_hz"]))
    return low if np.isnan(row.low_hz) else row.low_hz, high if np.isnan(row.high_hz) else row.high_hz


def _bands(low_hz: float, high_hz: float, profile: Profile) -> np.ndarray:
    """Bands whose centres lie in the box, at least the one nearest to its middle."""
    inside = (profile.band_centres_hz >= low_hz) & (profile.band_centres_hz <= high_hz)
    inside[np.argmin(np.abs(profile.band_centres_hz - (low_hz + high_hz) / 2))] = True
    return np.flatnonzero(inside)
