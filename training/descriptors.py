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

import torch
from torch.nn import functional as F

GROUPS = 8
LAGS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
FRAMES, TIME_EDGES = 128, (0, 1, 2, 4, 7, 12, 20, 33, 65)  # of the modulation spectrum; a smaller picture is padded, a larger one is refused
BAND_EDGES = {64: (0, 1, 2, 3, 5, 8, 13, 21, 33), 128: (0, 1, 2, 4, 7, 12, 20, 33, 65)}  # the same across bands, for pictures of up to so many
MOST_BANDS = max(BAND_EDGES)
FLOOR = 0.01      # dB^2


def parts_of(n_bands: int) -> dict[str, int]:
    """How many numbers each part of `descriptors` has for a picture of so many bands, in their order."""
    return {"mean": n_bands, "deviation": n_bands, "modulation": 120, "tones": 42, "contrast": 3 * GROUPS}


def count_of(n_bands: int) -> int:
    """How many numbers `descriptors` gives for a picture of so many bands."""
    return sum(parts_of(n_bands).values())


def descriptors(picture_db: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Numbers that describe windows.

    Parameters
    ----------
    picture_db : (batch, frames, bands) float32, dB re anything, finite, at most 128 frames, 16 to 128 bands.
    seen : (batch, frames) bool: frames that were recorded; at least one in each window.

    Returns
    -------
    (batch, `count_of(bands)`) float32
    """
    count = seen.sum(1).clamp(min=1).float()
    here = seen[:, :, None]
    x = torch.where(here, picture_db, 0.0)
    x = torch.where(here, x - (x.sum((1, 2)) / (count * x.shape[2]))[:, None, None], 0.0)
    mean = x.sum(1) / count[:, None]
    away = torch.where(here, x - mean[:, None], 0.0)
    deviation = (away.square().sum(1) / count[:, None]).sqrt()
    return torch.cat([mean, deviation, modulation(away, count), tones(x, seen, count), contrast(x, seen, count)], dim=1)


def quantiles(x: torch.Tensor, seen: torch.Tensor, shares: tuple) -> torch.Tensor:
    """Quantiles over the frames that were recorded, between neighbours by straight lines: (batch, frames, ...) -> (batch, shares, ...)."""
    ordered = torch.where(seen.reshape(*seen.shape, *[1] * (x.dim() - 2)), x, torch.inf).sort(dim=1).values
    at = (seen.sum(1).clamp(min=1)[:, None] - 1) * torch.tensor(shares, dtype=torch.float32)
    low, part = at.floor().long(), at - at.floor()
    low, high, part = (v.reshape(*v.shape, *[1] * (x.dim() - 2)).expand(*v.shape, *x.shape[2:]) for v in (low, at.ceil().long(), part))
    below, above = ordered.gather(1, low), ordered.gather(1, high)
    return below + part * (above - below)


def tones(x: torch.Tensor, seen: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """(batch, frames, bands) dB -> (batch, 42)."""
    here, n_bands = seen[:, :, None], x.shape[2]
    excess = torch.where(here, x - quantiles(x, seen, (0.2,)), 0.0)
    peaks = excess - F.avg_pool1d(excess, 9, 1, 4)
    top, where = peaks.max(dim=2)
    strong = (top > quantiles(top, seen, (0.7,))) & seen
    place = F.one_hot((where * 12).div(n_bands, rounding_mode="floor").clamp(max=11), 12) * strong[:, :, None]
    place = place.sum(1) / strong.sum(1).clamp(min=1)[:, None]
    both = seen[:, 1:] & seen[:, :-1]
    jump = torch.where(both, (where[:, 1:] - where[:, :-1]).abs().float(), 0.0)
    near = ((jump <= 1) & both).sum(1) / both.sum(1).clamp(min=1)
    jumps = torch.where(both.any(1)[:, None], quantiles(jump, both, (0.25, 0.5, 0.75)).nan_to_num(posinf=0.0), 0.0)
    six = torch.where(here, peaks.topk(6, dim=2).values, 0.0).sum(1) / count[:, None]
    level = excess.mean(2)
    centred = torch.where(seen, level - (level.sum(1) / count)[:, None], 0.0)
    power = centred.square().sum(1)
    echo = torch.stack([(centred[:, lag:] * centred[:, :-lag]).sum(1) / (power + 1e-6) for lag in LAGS], dim=1)
    return torch.cat([place, quantiles(top, seen, (0.1, 0.5, 0.75, 0.9, 0.98)), jumps, near[:, None], six, quantiles(level, seen, (0.1, 0.5, 0.9, 0.98)),
                      (power / count).sqrt()[:, None], echo], dim=1)


def contrast(x: torch.Tensor, seen: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """(batch, frames, bands) dB -> (batch, 3 * GROUPS)."""
    edges = [int(k * x.shape[2] / GROUPS) for k in range(GROUPS + 1)]
    out = []
    for low, high in zip(edges[:-1], edges[1:]):
        ordered = x[:, :, low:high].sort(dim=2).values
        c = torch.where(seen, ordered[:, :, -2:].mean(2) - ordered[:, :, :2].mean(2), 0.0)
        mean = c.sum(1) / count
        deviation = (torch.where(seen, c - mean[:, None], 0.0).square().sum(1) / count).sqrt()
        out += [mean, deviation, quantiles(c, seen, (0.9,))[:, 0]]
    return torch.stack(out, dim=1)


def modulation(away: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """(batch, frames, bands) dB with each band's mean taken off, 0 where not recorded -> (batch, 120)."""
    size = min(most for most in BAND_EDGES if most >= away.shape[2])
    power = torch.fft.fft2(away, (FRAMES, size)).abs().square()[:, :FRAMES // 2 + 1] / (count * away.shape[2])[:, None, None]
    half = size // 2
    rising = power[:, :, :half + 1]
    falling = power[:, :, [0, *range(size - 1, half - 1, -1)]]
    one, other = fields(rising, BAND_EDGES[size]), fields(falling, BAND_EDGES[size])
    both = torch.log10(one + other + FLOOR)
    turn = torch.log10((one + FLOOR) / (other + FLOOR))[:, :, 1:]
    return torch.cat([both.flatten(1), turn.flatten(1)], dim=1)


def fields(power: torch.Tensor, edges: tuple) -> torch.Tensor:
    """Mean of a modulation spectrum (batch, 65, 33 or 65) in 8 by 8 fields, `edges` across bands."""
    rows = torch.stack([power[:, i:j].mean(1) for i, j in zip(TIME_EDGES[:-1], TIME_EDGES[1:])], dim=1)
    return torch.stack([rows[:, :, i:j].mean(2) for i, j in zip(edges[:-1], edges[1:])], dim=2)
