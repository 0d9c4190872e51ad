"""Known mixtures: a call in a noise at a set signal-to-noise ratio, and what a denoiser makes of it, measured against the call itself.

    table = measured(calls, noises, sample_rate_hz, {"gate": "gate", "U-Net": "results/denoiser"}, snrs_db=(-5, 0, 5, 10))
    summary(table)

Measured where the call is, in decibels, before and after:

    si_sdr_db     |a s|^2 / |y - a s|^2 with the a that fits best: what is right in the output over what is wrong in it, noise and damage alike, whatever its level
    band_snr_db   the same within the call's band: what a filter would have achieved is taken out
    level_db      20 log10 a: how much of the call's level is kept; before, it is about 0

Noise between the calls counts in none of them: it is turned down by silence as well. The signal-to-noise ratio that is set is that of the mean squares over the call's time, in its band
where one is given. A recorded "clean" call has a noise of its own, from its own recording: the gain is then too low, not too high, where a denoiser takes that out as well.

Source: Le Roux et al. (2019), ICASSP, 626: SDR - half-baked or well done?
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

DRAWS = 1000
NO_LEVEL_DB = -60.0  # a call of which nothing is left


@dataclass(frozen=True)
class Mixture:
    """`sound` = `call` + `noise`, (n,) float32 each; the call lies in samples `first` to `last` - 1."""

    sound: np.ndarray
    call: np.ndarray
    noise: np.ndarray
    first: int
    last: int


def mixed(call: np.ndarray, noise: np.ndarray, snr_db: float, sample_rate_hz: int, at: int | None = None, band_hz: tuple[float, float] | None = None) -> Mixture:
    """The call in the noise, `snr_db` above the noise of its own time (in its band, where given).

    Parameters
    ----------
    at : the call's first sample in the noise; None: in its middle.

    Raises
    ------
    ValueError
        for a call that is longer than the noise, reaches beyond it, or is silent, and for noise that is silent there.
    """
    at = (len(noise) - len(call)) // 2 if at is None else at
    if len(call) == 0 or at < 0 or at + len(call) > len(noise):
        raise ValueError(f"a call of {len(call)} samples does not lie in {len(noise)} samples of noise from sample {at} on; give longer noise")
    under = noise[at:at + len(call)]
    powers = [np.mean(_banded(x, sample_rate_hz, band_hz) ** 2) for x in (call, under)]
    if not all(power > 0 for power in powers):
        raise ValueError(f"the {'call' if not powers[0] > 0 else 'noise'} is silent{'' if band_hz is None else f' from {band_hz[0]:g} to {band_hz[1]:g} Hz'}; leave it out")
    placed = np.zeros(len(noise), np.float32)
    placed[at:at + len(call)] = call * np.float32(np.sqrt(powers[1] / powers[0]) * 10 ** (snr_db / 20))
    noise = np.asarray(noise, np.float32)
    return Mixture(placed + noise, placed, noise, at, at + len(call))


def si_sdr_db(estimate: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Scale-invariant signal-to-distortion ratio and the level of the reference in the estimate, both in dB.

    An estimate without anything of the reference has -inf and NO_LEVEL_DB.
    """
    estimate, reference = np.asarray(estimate, float), np.asarray(reference, float)
    scale = estimate @ reference / (reference @ reference)
    right, wrong = scale ** 2 * (reference @ reference), float(np.sum((estimate - scale * reference) ** 2))
    level_db = 20 * np.log10(scale) if scale > 10 ** (NO_LEVEL_DB / 20) else NO_LEVEL_DB
    if scale <= 0:
        return -np.inf, level_db
    return (10 * np.log10(right / wrong) if wrong > 0 else np.inf), float(level_db)


def measures(output: np.ndarray, mixture: Mixture, sample_rate_hz: int, band_hz: tuple[float, float] | None = None) -> dict[str, float]:
    """si_sdr_db, band_snr_db (NaN without a band) and level_db of a denoiser's output, or of the mixture's own sound."""
    here = slice(mixture.first, mixture.last)
    ratio_db, level_db = si_sdr_db(output[here], mixture.call[here])
    in_band_db = np.nan
    if band_hz is not None:
        in_band_db = si_sdr_db(_banded(output[here], sample_rate_hz, band_hz), _banded(mixture.call[here], sample_rate_hz, band_hz))[0]
    return {"si_sdr_db": float(ratio_db), "band_snr_db": float(in_band_db), "level_db": level_db}


def measured(calls: Sequence[np.ndarray], noises: Sequence[np.ndarray], sample_rate_hz: int, how: dict, snrs_db: Sequence[float] = (-5.0, 0.0, 5.0, 10.0),
             about: pd.DataFrame | None = None, seed: int = 0) -> pd.DataFrame:
    """Every call in a noise drawn for it, at every ratio, denoised in every way.

    Parameters
    ----------
    how : name -> what `denoise.denoise` takes ("gate", a folder, a Denoiser), or a function of samples and sample rate.
    about : a row for each call, with what is known of it: group (for the intervals, for instance its recording; else each call is its own), label, low_hz, high_hz.

    Returns
    -------
    DataFrame: call, noise, snr_db, how, the columns of `about`, and of each measure NAME_before, NAME and NAME_gain.
    """
    about = pd.DataFrame(index=range(len(calls))) if about is None else about.reset_index(drop=True)
    if "group" not in about:
        about = about.assign(group=np.arange(len(calls)))
    rows = []
    for k, call in enumerate(calls):
        rng = np.random.default_rng((seed, k))
        fitting = [i for i, noise in enumerate(noises) if len(noise) >= len(call)]
        if not fitting:
            raise ValueError(f"call {k} lasts {len(call) / sample_rate_hz:.2f} s, longer than every noise; give longer noise segments")
        chosen = int(rng.choice(fitting))
        at = int(rng.integers(len(noises[chosen]) - len(call) + 1))
        facts = about.loc[k].to_dict()
        band_hz = (facts["low_hz"], facts["high_hz"]) if np.isfinite(facts.get("low_hz", np.nan)) and np.isfinite(facts.get("high_hz", np.nan)) else None
        for snr_db in snrs_db:
            mixture = mixed(call, noises[chosen], snr_db, sample_rate_hz, at, band_hz)
            before = measures(mixture.sound, mixture, sample_rate_hz, band_hz)
            for name, way in how.items():
                after = measures(_output(way, mixture.sound, sample_rate_hz), mixture, sample_rate_hz, band_hz)
                rows.append({"call": k, "noise": chosen, "snr_db": float(snr_db), "how": name} | facts | {f"{m}_before": before[m] for m in before} | after
                            | {f"{m.removesuffix('_db')}_gain_db": after[m] - before[m] for m in before})
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame, by: Sequence[str] = ("how", "snr_db"), values: Sequence[str] = ("si_sdr_gain_db", "band_snr_gain_db", "level_db"), draws: int = DRAWS,
            seed: int = 0) -> pd.DataFrame:
    """Means with 95 % intervals, for each of `by`: mixtures, groups, and VALUE, VALUE_low, VALUE_high. Resampled are groups, not mixtures."""
    rows = []
    for key, mine in table.groupby(list(by), sort=False):
        row = dict(zip(by, key)) | {"mixtures": len(mine), "groups": mine["group"].nunique()}
        for value in values:
            middle, low, high = interval(mine[value].to_numpy(float), mine["group"].to_numpy(), draws, seed)
            row |= {value: middle, f"{value}_low": low, f"{value}_high": high}
        rows.append(row)
    return pd.DataFrame(rows).set_index(list(by))


def difference(table: pd.DataFrame, one: str, other: str, value: str = "si_sdr_gain_db", draws: int = DRAWS, seed: int = 0) -> dict[str, float]:
    """How much `one` gains over `other` on the same mixtures: mean, and low and high of its 95 % interval over groups."""
    wide = table.pivot_table(index=["group", "call", "snr_db"], columns="how", values=value)
    missing = [name for name in (one, other) if name not in wide]
    if missing:
        raise ValueError(f"no mixture was denoised by {missing[0]!r}; there are {', '.join(map(str, wide.columns))}")
    return dict(zip(("mean", "low", "high"), interval((wide[one] - wide[other]).to_numpy(), wide.index.get_level_values("group").to_numpy(), draws, seed)))


def interval(values: np.ndarray, groups: np.ndarray, draws: int = DRAWS, seed: int = 0) -> tuple[float, float, float]:
    """Mean and 95 % bootstrap interval over groups; values that are no finite number are left out, NaN without any. One group has no interval."""
    finite = np.isfinite(values)
    values, groups = values[finite], groups[finite]
    if not len(values):
        return np.nan, np.nan, np.nan
    _, place = np.unique(groups, return_inverse=True)
    totals, counts = np.bincount(place, values), np.bincount(place)
    if len(counts) < 2:
        return float(values.mean()), np.nan, np.nan
    drawn = np.random.default_rng(seed).integers(len(counts), size=(draws, len(counts)))
    means = totals[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return float(values.mean()), *(float(x) for x in np.percentile(means, [2.5, 97.5]))


def _output(way, sound: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    if isinstance(way, Callable) and not hasattr(way, "denoised"):
        return way(sound, sample_rate_hz)
    from preprocessing.denoise import denoise

    return np.concatenate(list(denoise(sound, way, sample_rate_hz)))


def _banded(x: np.ndarray, sample_rate_hz: int, band_hz: tuple[float, float] | None) -> np.ndarray:
    """The sound between two frequencies, exact in its spectrum."""
    if band_hz is None:
        return np.asarray(x, float)
    spectrum, freqs = np.fft.rfft(x), np.fft.rfftfreq(len(x), 1 / sample_rate_hz)
    spectrum[(freqs < band_hz[0]) | (freqs > band_hz[1])] = 0
    return np.fft.irfft(spectrum, len(x))
