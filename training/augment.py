"""Augmentation of windows as they are read: what may change without changing the names of the calls.

Everything works on un-normalised pictures in dB (batch, frames, bands), NaN where masked, and is drawn from the generator it is
given, so the same seed gives the same batch. Targets are (batch, labels) for the window and (batch, labels, positions), NaN = ignore.

| what | why |
| --- | --- |
| gain, +-10 dB | an unknown or wrong sensitivity |
| colour, +-6 dB smooth over bands | another hydrophone, another site's noise |
| mix of two windows, powers added | calls over calls, calls over boats |
| band limit to a lower rate's Nyquist | recordings at 8 to 128 kHz: bands masked, labels that cannot be seen ignored |
| stripes (Park et al. 2019, SpecAugment), light | a gap in time or frequency |
| end of the recording within the window | clips, and the last window of every recording |

Off unless an experiment asks, for short labelled clips of few animals and few recorders (they would blur where a call begins, or its pitch):

| what | why |
| --- | --- |
| stretch in time, to 1 / (1 + stretch) .. 1 + stretch | other animals call slower or faster |
| shift by whole bands | other animals call higher or lower |
| noise floor raised, smooth over bands | another recorder, another sea: what lies under the calls must not name them |

Off unless an experiment asks, for calls in a noise of known strength: to a share of the windows (`boat_share`, `noise_share`) another one of the batch is added that holds a boat and no
call, or nothing at all, as loud as it takes for the best call's SNR to fall to a value drawn from `boat_snr_db` or `noise_snr_db` (low, high).
"""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spectrogram.profile import Profile

VESSEL = "Boat"


@dataclass
class Batch:
    """Windows with their targets. `snr_db` (batch, labels) is that of the best call of each label, NaN without one."""

    picture_db: np.ndarray
    window: np.ndarray
    position: np.ndarray
    snr_db: np.ndarray


@dataclass(frozen=True)
class Augmentation:
    """How strongly and how often. `Augmentation.none()` switches everything off."""

    shift: bool = True
    gain_db: float = 10.0
    colour_db: float = 6.0
    mix_share: float = 0.3
    mix_gain_db: float = 10.0
    band_limit_share: float = 0.3
    band_limit_rates_hz: tuple = (8000, 16000, 24000, 32000, 44100, 48000, 96000, 128000)
    stripe_share: float = 0.3
    stripe_bands: int = 8
    stripe_frames: int = 6
    end_share: float = 0.1
    audible_db: float = 6.0
    stretch: float = 0.0
    shift_bands: int = 0
    floor_share: float = 0.0
    floor_db: float = 15.0
    boat_share: float = 0.0
    boat_snr_db: tuple = (0.0, 15.0)
    noise_share: float = 0.0
    noise_snr_db: tuple = (0.0, 15.0)

    @classmethod
    def none(cls) -> "Augmentation":
        return cls(shift=False, gain_db=0, colour_db=0, mix_share=0, band_limit_share=0, stripe_share=0, end_share=0)


def augment(batch: Batch, how: Augmentation, profile: Profile, rng: np.random.Generator) -> Batch:
    """All augmentations in their order: mix first (sound), then the hydrophone's colour and gain, then what it cannot hold."""
    if how.stretch:
        batch = replace(batch, picture_db=stretch(batch.picture_db, how.stretch, rng))
    if how.mix_share:
        batch = mix(batch, how, profile, rng)
    for share, snr_db, boats in ((how.boat_share, how.boat_snr_db, True), (how.noise_share, how.noise_snr_db, False)):
        if share:
            batch = mix_at_snr(batch, share, snr_db, boats, how, profile, rng)
    picture = batch.picture_db
    if how.colour_db or how.gain_db:
        picture = picture + gain_and_colour_db(len(picture), picture.shape[2], how, rng)[:, None, :]
    if how.stripe_share:
        picture = stripes(picture, how, rng)
    if how.shift_bands:
        picture = shift_bands(picture, how.shift_bands, rng)
    if how.floor_share:
        picture = raise_floor(picture, how, rng)
    batch = replace(batch, picture_db=picture)
    if how.end_share:
        batch = end_early(batch, how, rng)
    return band_limit(batch, how, profile, rng) if how.band_limit_share else batch


def gain_and_colour_db(count: int, n_bands: int, how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """(count, bands) float32 dB: a constant in +-gain_db plus a smooth curve through five points in +-colour_db."""
    gain = rng.uniform(-how.gain_db, how.gain_db, (count, 1))
    knots = rng.uniform(-how.colour_db, how.colour_db, (count, 5))
    at = np.linspace(0, 4, n_bands)
    left = np.minimum(at.astype(int), 3)
    return (gain + knots[:, left] * (left + 1 - at) + knots[:, left + 1] * (at - left)).astype(np.float32)


def mix(batch: Batch, how: Augmentation, profile: Profile, rng: np.random.Generator) -> Batch:
    """Add the power of another window of the batch to a share of the windows; the labels of both hold.

    A call that the other window's noise may have buried (its SNR less the rise of the background in its band is under `audible_db`)
    is no longer asked for: its target becomes NaN.
    """
    count = len(batch.window)
    chosen = np.flatnonzero(rng.random(count) < how.mix_share)
    partner = rng.permutation(count)[chosen]
    if not len(chosen):
        return batch
    return added(batch, chosen, partner, rng.uniform(-how.mix_gain_db, how.mix_gain_db, len(chosen)), how, profile)


def mix_at_snr(batch: Batch, share: float, snr_db: tuple, boats: bool, how: Augmentation, profile: Profile, rng: np.random.Generator) -> Batch:
    """Add to a share of the windows with calls one with a boat and no call (or, not `boats`, with nothing), so loud that the best call's SNR becomes one of `snr_db`
    (low, high), in its label's bands. Calls that are fainter already are left alone.

    Raises
    ------
    ValueError
        where boats are asked for and the profile does not know them.
    """
    vessel = [label == VESSEL for label in profile.labels]
    if boats and not any(vessel):
        raise ValueError(f"boat_share: profile {profile.name} has no label {VESSEL} to tell boats by; take noise_share, or add the label")
    call, boat = ~np.array(vessel), np.array(vessel)
    seen = np.isfinite(batch.picture_db[:, 0]).sum(axis=1)  # a recording at a lower rate has nothing to add above its Nyquist
    fits = (batch.window[:, call] == 0).all(axis=1) & ((batch.window[:, boat] == boats).all(axis=1)) & (seen == seen.max())
    best = np.where(call & (batch.window == 1) & np.isfinite(batch.snr_db), batch.snr_db, -np.inf)
    which, partners = best.argmax(axis=1), np.flatnonzero(fits)
    wanted = rng.uniform(*snr_db, len(best))
    chosen = np.flatnonzero((rng.random(len(best)) < share) & (best.max(axis=1) > wanted))
    if not len(chosen) or not len(partners):
        return batch
    partner = rng.choice(partners, len(chosen))
    at, label = np.arange(len(chosen)), which[chosen]
    before, theirs = (label_background_db(batch.picture_db[rows], profile)[at, label] for rows in (chosen, partner))
    rise_db = best[chosen, label] - wanted[chosen]
    return added(batch, chosen, partner, before + 10 * np.log10(10 ** (rise_db / 10) - 1) - theirs, how, profile)


def added(batch: Batch, chosen: np.ndarray, partner: np.ndarray, gain_db: np.ndarray, how: Augmentation, profile: Profile) -> Batch:
    """The batch with the power of the windows `partner`, `gain_db` louder, added to the windows `chosen`; see `mix`."""
    one, other = batch.picture_db[chosen], batch.picture_db[partner] + gain_db.astype(np.float32)[:, None, None]
    both = np.logaddexp(one * np.float32(np.log(10) / 10), other * np.float32(np.log(10) / 10)) * np.float32(10 / np.log(10))
    after = label_background_db(both, profile)
    left_one = batch.snr_db[chosen] - (after - label_background_db(one, profile))
    left_other = batch.snr_db[partner] - (after - label_background_db(other, profile))
    window, position = batch.window.copy(), batch.position.copy()
    lost = [np.where(left < how.audible_db, np.nan, 0).astype(np.float32) for left in (left_one, left_other)]
    window[chosen] = either(still(batch.window[chosen], lost[0]), still(batch.window[partner], lost[1]))
    position[chosen] = either(still(batch.position[chosen], lost[0][..., None]), still(batch.position[partner], lost[1][..., None]))
    picture = batch.picture_db.copy()
    picture[chosen] = both
    snr_db = batch.snr_db.copy()
    snr_db[chosen] = np.fmax(left_one, left_other)
    return Batch(picture, window, position, snr_db)


def still(target: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Targets where a lost call's 1 becomes NaN; 0 stays 0."""
    return np.where(target == 1, target + lost, target)


def either(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Logical or with ignorance: 1 or anything = 1; NaN or 0 = NaN."""
    return np.where((a == 1) | (b == 1), np.float32(1), a + b)


def label_background_db(picture_db: np.ndarray, profile: Profile) -> np.ndarray:
    """(batch, labels) dB: the median in time, averaged over each label's visible bands."""
    background = np.median(picture_db[:, ::4], axis=1)  # (batch, bands); a quarter of the frames is enough
    background_of = []
    for low_hz, high_hz in profile.label_band_hz.values():
        of_label = (profile.band_centres_hz >= low_hz) & (profile.band_centres_hz <= high_hz)
        visible = np.isfinite(background) & of_label
        background_of.append(np.where(visible, background, 0).sum(axis=1) / np.maximum(visible.sum(axis=1), 1))
    return np.stack(background_of, axis=1)


def band_limit(batch: Batch, how: Augmentation, profile: Profile, rng: np.random.Generator) -> Batch:
    """Make a share of the windows look like recordings at a lower rate: NaN above its Nyquist, unseen labels ignored."""
    picture, window, position = batch.picture_db.copy(), batch.window.copy(), batch.position.copy()
    chosen = np.flatnonzero(rng.random(len(window)) < how.band_limit_share)
    for k, rate_hz in zip(chosen, rng.choice(how.band_limit_rates_hz, len(chosen))):
        picture[k][:, ~profile.visible_columns(rate_hz / 2)] = np.nan
        unseen = [i for i, label in enumerate(profile.labels) if not profile.observable(label, rate_hz / 2)]
        window[k, unseen], position[k, unseen] = np.nan, np.nan
    return replace(batch, picture_db=picture, window=window, position=position)


def end_early(batch: Batch, how: Augmentation, rng: np.random.Generator) -> Batch:
    """End the recording within a share of the windows: frames beyond are NaN, positions there are not asked for.

    A label that none of the remaining positions carries is no longer asked for either, if the window had it.
    """
    picture, window, position = batch.picture_db.copy(), batch.window.copy(), batch.position.copy()
    n_frames, n_positions = picture.shape[1], position.shape[2]
    chosen = np.flatnonzero(rng.random(len(window)) < how.end_share)
    for k, last in zip(chosen, rng.integers(n_positions // 4, n_positions, len(chosen))):
        picture[k, last * n_frames // n_positions:] = np.nan
        position[k, :, last:] = np.nan
        lost = (window[k] == 1) & ~(position[k, :, :last] == 1).any(axis=1)
        window[k, lost] = np.nan
    return replace(batch, picture_db=picture, window=window, position=position)


def stripes(picture_db: np.ndarray, how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Fill one stripe of bands and one short stripe of frames in a share of the windows with the window's mean level."""
    picture = picture_db.copy()
    _, n_frames, n_bands = picture.shape
    for k in np.flatnonzero(rng.random(len(picture)) < how.stripe_share):
        visible = np.isfinite(picture[k, 0])
        fill = picture[k][:, visible].mean()
        for axis, size, longest in ((0, n_frames, how.stripe_frames), (1, n_bands, how.stripe_bands)):
            width = int(rng.integers(0, longest + 1))
            start = int(rng.integers(0, max(1, size - width)))
            picture[(k, slice(start, start + width)) if axis == 0 else (k, slice(None), slice(start, start + width))] = fill
        picture[k][:, ~visible] = np.nan
    return picture


def stretch(picture_db: np.ndarray, most: float, rng: np.random.Generator) -> np.ndarray:
    """Every window slower or faster by its own factor; a faster one turns back at its end, so that it is filled."""
    count, n_frames, _ = picture_db.shape
    factor = np.exp(rng.uniform(-1, 1, (count, 1)) * np.log1p(most))
    at = (np.arange(n_frames) * factor).astype(int)
    at = np.where(at >= n_frames, 2 * n_frames - 2 - at, at).clip(0, n_frames - 1)
    return np.take_along_axis(picture_db, at[:, :, None], axis=1)


def shift_bands(picture_db: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Every window up or down by up to `most` bands; the band at the rim is repeated."""
    count, _, n_bands = picture_db.shape
    at = (np.arange(n_bands) - rng.integers(-most, most + 1, (count, 1))).clip(0, n_bands - 1)
    moved = np.take_along_axis(picture_db, at[:, None, :], axis=2)
    return np.where(np.isfinite(picture_db), moved, np.nan).astype(np.float32)


def raise_floor(picture_db: np.ndarray, how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Add noise to a share of the windows: its level within `floor_db` around the window's median, less 5 dB, coloured, fluctuating as the power of an
    FFT bin does (exponentially distributed)."""
    picture = picture_db.copy()
    chosen = np.flatnonzero(rng.random(len(picture)) < how.floor_share)
    if not len(chosen):
        return picture
    one = picture[chosen]
    quiet = np.nanmedian(one[:, ::8], axis=(1, 2), keepdims=True) - 5
    slope = gain_and_colour_db(len(chosen), one.shape[2], replace(how, gain_db=how.floor_db), rng)[:, None, :]
    noise = quiet + slope + 10 * np.log10(rng.standard_exponential(one.shape, dtype=np.float32) + np.float32(1e-4))
    picture[chosen] = np.logaddexp(one * np.float32(np.log(10) / 10), noise * np.float32(np.log(10) / 10)) * np.float32(10 / np.log(10))
    return picture
