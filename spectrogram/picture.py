"""From a calibrated picture (dB), or its contrast, to what a model sees. The one place where that happens, in training and in use.

Kinds of normalisation (`profile.normalisation`):
`mean`      (L - mean of the window's, or tile's, visible cells) / scale_db: blind to gain, contrast in true decibels, silence is not stretched.
`absolute`  (L - centre_db) / scale_db: level kept; needs a calibrated hydrophone.
`minmax`    to 0..1 in each window, as the peer does; for comparison only.
`background` (C - centre_db) / scale_db of the contrast C, dB above the background of half a minute (`spectrogram.background`).
`pcen`      ln(1 + 10^(C / 10) / delta) / ln(10) * 10 / scale_db of the contrast: what lies under the background by more than `delta` is flat.
            Per-channel energy normalisation with a slow average and its root compression in the limit of power 0 (Wang et al. 2017; Lostanlen et al. 2019).
With `tile_s`, each stretch of that length is normalised by itself instead of the whole window, so that windows which overlap share their tiles.
"""
from __future__ import annotations

import numpy as np

from spectrogram.profile import Profile


def normalise(picture_db: np.ndarray, profile: Profile) -> np.ndarray:
    """A model's input from windows of the calibrated picture.

    Parameters
    ----------
    picture_db : (..., frames, columns) float32, dB re 1 µPa^2/Hz, of kinds `background` and `pcen` its contrast in dB; NaN where the
        recording has no such band or has ended.

    Returns
    -------
    (..., frames, columns) float32, finite; masked cells hold the profile's `masked` value.
    """
    n = profile.normalisation
    if n["kind"] in ("background", "pcen"):
        return _scaled_contrast(picture_db, n)
    tile_frames = round(n.get("tile_s", 0) * profile.frame_rate_hz)
    if tile_frames and picture_db.shape[-2] > tile_frames:
        *lead, frames, bands = picture_db.shape
        tiles = np.reshape(picture_db, (*lead, frames // tile_frames, tile_frames, bands))
        return normalise(tiles, profile).reshape(picture_db.shape)
    filled = np.ascontiguousarray(picture_db)  # one order in memory: a sum has the same bits however cut
    total = filled.sum(axis=(-2, -1), keepdims=True)
    count, visible = np.float32(picture_db.shape[-2] * picture_db.shape[-1]), None  # None: nothing is masked
    if not np.isfinite(total).all():
        visible = np.isfinite(picture_db)
        count = np.maximum(visible.sum(axis=(-2, -1), keepdims=True), 1).astype(np.float32)
        filled = np.ascontiguousarray(np.where(visible, picture_db, np.float32(0)))
        total = filled.sum(axis=(-2, -1), keepdims=True)
    if n["kind"] == "mean":
        x = (filled - total / count) * np.float32(1 / n["scale_db"])
    elif n["kind"] == "absolute":
        x = (filled - np.float32(n["centre_db"])) * np.float32(1 / n["scale_db"])
    elif n["kind"] == "minmax":
        low, high = (picture_db, picture_db) if visible is None else (np.where(visible, picture_db, beyond) for beyond in (np.inf, -np.inf))
        low, high = low.min(axis=(-2, -1), keepdims=True), high.max(axis=(-2, -1), keepdims=True)
        x = (filled - low) / np.maximum(high - low, np.float32(1e-6))
    else:
        raise ValueError(f"profile {profile.name}: normalisation {n['kind']!r}; use background, pcen, mean, absolute or minmax")
    np.clip(x, n["low"], n["high"], out=x)
    return x if visible is None else np.where(visible, x, np.float32(n["masked"])).astype(np.float32, copy=False)


def _scaled_contrast(contrast_db: np.ndarray, n: dict) -> np.ndarray:
    """Contrast, cell by cell, in units of `scale_db`, within `low` to `high`."""
    x = np.ascontiguousarray(contrast_db, np.float32)
    if n["kind"] == "pcen":
        x = np.log1p(np.exp(x * np.float32(np.log(10) / 10)) * np.float32(1 / n["delta"])) * np.float32(10 / np.log(10) / n["scale_db"])
    else:
        x = (x - np.float32(n.get("centre_db", 0))) * np.float32(1 / n["scale_db"])
    np.clip(x, n["low"], n["high"], out=x)
    return np.where(np.isnan(x), np.float32(n["masked"]), x)
