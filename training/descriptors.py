"""What a second of sound is like, in few numbers: its colour, how tonal it is and where, its contrast, how it is modulated.

Pixels, or hundreds of statistics per band, let a model learn the recorder by heart; a few hundred numbers that say how a call is made carry over to other recorders
better. All are of the picture in dB after the window's mean is taken off, so gain does not matter.

| part | numbers | what |
| --- | --- | --- |
| level | 2 for each band | mean and deviation in time |
| tones | 42 | of each frame's highest peak above its surroundings (9 bands): how high, where (histogram over the strong frames), how it moves on; the frame's excess and its echo in itself at lags up to 32 frames |
| contrast | 24 | of 8 groups of bands: the two highest bands less the two lowest of a frame; mean, deviation and 90th percentile |
| modulation | 120 | of the two-dimensional spectrum of the picture (time by frequency): power in 8 by 8 fields, and rising against falling |

Narrow bands show harmonics and whistles: see `training/experiments/watkins_species.yaml`.

Sources: spectral contrast after Jiang et al. (2002), Music type classification by spectral contrast feature, ICME; modulation after Singh and Theunissen (2003), Modulation
spectra of natural sounds and ethological theories of auditory processing, JASA 114, 3394.
"""
from __future__ import annotations

import numpy as np
from scipy.fft import fft2

GROUPS = 8
LAGS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
FRAMES, TIME_EDGES = 128, (0, 1, 2, 4, 7, 12, 20, 33, 65)  # of the modulation spectrum; a smaller picture is padded, a larger one is refused
BAND_EDGES = {64: (0, 1, 2, 3, 5, 8, 13, 21, 33), 128: (0, 1, 2, 4, 7, 12, 20, 33, 65)}  # the same across bands, for pictures of up to so many
MOST_BANDS = max(BAND_EDGES)
FLOOR = 0.01      # dB^2
NEIGHBOURS = 4    # bands on either side of a peak that are its surroundings


def parts_of(n_bands: int) -> dict[str, int]:
    """How many numbers each part of `descriptors` has for a picture of so many bands, in their order."""
    return {"mean": n_bands, "deviation": n_bands, "modulation": 120, "tones": 42, "contrast": 3 * GROUPS}


def count_of(n_bands: int) -> int:
    """How many numbers `descriptors` gives for a picture of so many bands."""
    return sum(parts_of(n_bands).values())


def descriptors(picture_db, seen):
    """Numbers that describe windows. Needs no torch; tensors are answered with a tensor.

    Parameters
    ----------
    picture_db : (batch, frames, bands) float32, dB re anything, finite, at most 128 frames, 16 to 128 bands.
    seen : (batch, frames) bool: frames that were recorded; at least one in each window.

    Returns
    -------
    (batch, `count_of(bands)`) float32
    """
    if not isinstance(picture_db, np.ndarray):
        import torch

        return torch.from_numpy(descriptors(picture_db.cpu().numpy(), seen.cpu().numpy()))
    count = np.maximum(seen.sum(1), 1).astype(np.float32)
    here = seen[:, :, None]
    x = np.where(here, picture_db, np.float32(0))
    x = np.where(here, x - (x.sum((1, 2)) / (count * x.shape[2]))[:, None, None], np.float32(0))
    mean = x.sum(1) / count[:, None]
    away = np.where(here, x - mean[:, None], np.float32(0))
    deviation = np.sqrt(np.square(away).sum(1) / count[:, None])
    parts = [mean, deviation, modulation(away, count), tones(x, seen, count), contrast(x, seen, count)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def quantiles(x: np.ndarray, seen: np.ndarray, shares: tuple) -> np.ndarray:
    """Quantiles over the frames that were recorded, between neighbours by straight lines: (batch, frames, ...) -> (batch, shares, ...)."""
    ordered = np.sort(np.where(seen.reshape(*seen.shape, *[1] * (x.ndim - 2)), x, np.inf), axis=1)
    at = (np.maximum(seen.sum(1), 1)[:, None] - 1) * np.array(shares, np.float32)
    low, part = np.floor(at).astype(int), (at - np.floor(at)).astype(np.float32)
    low, high, part = (v.reshape(*v.shape, *[1] * (x.ndim - 2)) for v in (low, np.ceil(at).astype(int), part))
    below, above = np.take_along_axis(ordered, low, 1), np.take_along_axis(ordered, high, 1)
    with np.errstate(invalid="ignore"):  # of windows without a frame, whose answers are not used
        return below + part * (above - below)


def tones(x: np.ndarray, seen: np.ndarray, count: np.ndarray) -> np.ndarray:
    """(batch, frames, bands) dB -> (batch, 42)."""
    here, n_bands, zero = seen[:, :, None], x.shape[2], np.float32(0)
    excess = np.where(here, x - quantiles(x, seen, (0.2,)), zero)
    peaks = excess - surroundings(excess)
    top, where = peaks.max(axis=2), peaks.argmax(axis=2)
    strong = (top > quantiles(top, seen, (0.7,))) & seen
    place = np.minimum(where * 12 // n_bands, 11)[:, :, None] == np.arange(12)
    place = (place & strong[:, :, None]).sum(1) / np.maximum(strong.sum(1), 1)[:, None]
    both = seen[:, 1:] & seen[:, :-1]
    jump = np.where(both, np.abs(where[:, 1:] - where[:, :-1]), 0).astype(np.float32)
    near = ((jump <= 1) & both).sum(1) / np.maximum(both.sum(1), 1)
    jumps = np.where(both.any(1)[:, None], np.nan_to_num(quantiles(jump, both, (0.25, 0.5, 0.75)), posinf=0.0), zero)
    six = np.sort(peaks, axis=2)[:, :, :-7:-1]
    six = np.where(here, six, zero).sum(1) / count[:, None]
    level = excess.mean(2)
    centred = np.where(seen, level - (level.sum(1) / count)[:, None], zero)
    power = np.square(centred).sum(1)
    echo = np.stack([(centred[:, lag:] * centred[:, :-lag]).sum(1) / (power + 1e-6) for lag in LAGS], axis=1)
    return np.concatenate([place, quantiles(top, seen, (0.1, 0.5, 0.75, 0.9, 0.98)), jumps, near[:, None], six, quantiles(level, seen, (0.1, 0.5, 0.9, 0.98)),
                           np.sqrt(power / count)[:, None], echo], axis=1)


def surroundings(x: np.ndarray) -> np.ndarray:
    """Mean over nine bands around each, zeros beyond the rims: (batch, frames, bands)."""
    padded = np.pad(x, ((0, 0), (0, 0), (NEIGHBOURS, NEIGHBOURS)))
    return sum(padded[:, :, k:k + x.shape[2]] for k in range(2 * NEIGHBOURS + 1)) / np.float32(2 * NEIGHBOURS + 1)


def contrast(x: np.ndarray, seen: np.ndarray, count: np.ndarray) -> np.ndarray:
    """(batch, frames, bands) dB -> (batch, 3 * GROUPS)."""
    edges = [int(k * x.shape[2] / GROUPS) for k in range(GROUPS + 1)]
    out = []
    for low, high in zip(edges[:-1], edges[1:]):
        ordered = np.sort(x[:, :, low:high], axis=2)
        c = np.where(seen, ordered[:, :, -2:].mean(2) - ordered[:, :, :2].mean(2), np.float32(0))
        mean = c.sum(1) / count
        deviation = np.sqrt(np.square(np.where(seen, c - mean[:, None], np.float32(0))).sum(1) / count)
        out += [mean, deviation, quantiles(c, seen, (0.9,))[:, 0]]
    return np.stack(out, axis=1)


def modulation(away: np.ndarray, count: np.ndarray) -> np.ndarray:
    """(batch, frames, bands) dB with each band's mean taken off, 0 where not recorded -> (batch, 120)."""
    size = min(most for most in BAND_EDGES if most >= away.shape[2])
    power = np.square(np.abs(fft2(away, (FRAMES, size), axes=(1, 2))))[:, :FRAMES // 2 + 1] / (count * away.shape[2])[:, None, None]
    half = size // 2
    rising = power[:, :, :half + 1]
    falling = power[:, :, [0, *range(size - 1, half - 1, -1)]]
    one, other = fields(rising, BAND_EDGES[size]), fields(falling, BAND_EDGES[size])
    both = np.log10(one + other + FLOOR)
    turn = np.log10((one + FLOOR) / (other + FLOOR))[:, :, 1:]
    return np.concatenate([both.reshape(len(both), -1), turn.reshape(len(turn), -1)], axis=1)


def fields(power: np.ndarray, edges: tuple) -> np.ndarray:
    """Mean of a modulation spectrum (batch, 65, 33 or 65) in 8 by 8 fields, `edges` across bands."""
    rows = np.stack([power[:, i:j].mean(1) for i, j in zip(TIME_EDGES[:-1], TIME_EDGES[1:])], axis=1)
    return np.stack([rows[:, :, i:j].mean(2) for i, j in zip(edges[:-1], edges[1:])], axis=2)
