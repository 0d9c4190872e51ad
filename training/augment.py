"""Augmentation of windows as they are read: what may change without changing the names of the calls.

Everything works on un-normalised pictures in dB (batch, frames, columns), NaN where masked: the profile's bands and, after
them, what else its picture has (crests of clicks, dB too, but of another quantity). It is drawn from the generator it is
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

Off unless an experiment asks, for batches that hold windows of recorded noise (`real`): to at most a share `real_share` of the batch, windows with calls, one of these is added, so loud that the
best call's SNR *in the bands that the noise has* becomes one of `real_snr_db`. Above these bands nothing is left, as in a recording at the noise's rate.
"""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spectrogram.background import has_contrast
from spectrogram.profile import NYQUIST_MARGIN, Profile

VESSEL = "Boat"
SILENT_DB = np.float32(-300)
STRONGEST = 0.8  # share of a call's energy whose cells its SNR is of, as in the truth of simulated calls


@dataclass
class Batch:
    """Windows with their targets. `snr_db` (batch, labels) is that of the best call of each label, NaN without one. `nyquist_hz` (batch,) is their
    recordings' (None: as high as the picture shows); `real` (batch,) tells windows of recorded noise (None: there are none)."""

    picture_db: np.ndarray
    window: np.ndarray
    position: np.ndarray
    snr_db: np.ndarray
    nyquist_hz: np.ndarray | None = None
    real: np.ndarray | None = None


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
    real_share: float = 0.0
    real_snr_db: tuple = (8.0, 25.0)

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
    if how.real_share:
        batch = mix_real(batch, how, profile, rng)
    picture, n_bands = batch.picture_db, profile.n_bands
    if how.colour_db or how.gain_db:
        picture = picture + columns_db(gain_and_colour_db(len(picture), n_bands, how, rng), picture.shape[2], profile)[:, None, :]
    if how.stripe_share:
        picture = stripes(picture, how, rng, n_bands)
    for change, wanted in ((shift_bands, how.shift_bands), (raise_floor, how.floor_share)):
        if wanted:
            picture = picture.copy()
            picture[:, :, :n_bands] = change(picture[:, :, :n_bands], how, rng)
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


def columns_db(bands_db: np.ndarray, n_columns: int, profile: Profile) -> np.ndarray:
    """(count, columns) of a gain for each band: crests have that of the bands that they are of, in the mean of their powers."""
    if n_columns == bands_db.shape[1]:
        return bands_db
    high = profile.band_centres_hz >= profile.picture["crest"]["low_hz"]
    crest_db = 10 * np.log10(np.mean(10 ** (bands_db[:, high] / 10), axis=1, keepdims=True))
    return np.concatenate([bands_db, np.repeat(crest_db, n_columns - bands_db.shape[1], axis=1)], axis=1).astype(np.float32)


def recorded(picture_db: np.ndarray, profile: Profile) -> np.ndarray:
    """(batch, bands) bool: bands of which a window holds anything."""
    return np.isfinite(picture_db[:, :, :profile.n_bands]).any(axis=1)


def nyquists_hz(batch: Batch, profile: Profile) -> np.ndarray:
    """(batch,) Nyquist frequencies, those of the highest visible bands where none are told."""
    if batch.nyquist_hz is not None:
        return batch.nyquist_hz
    count = recorded(batch.picture_db, profile).sum(axis=1)
    return np.where(count == profile.n_bands, np.inf, profile.band_edges_hz[1 + np.maximum(count, 1)] / NYQUIST_MARGIN)


def mix(batch: Batch, how: Augmentation, profile: Profile, rng: np.random.Generator) -> Batch:
    """Add the power of another window of the batch to a share of the windows; the labels of both hold.

    A call that the other window's noise may have buried (its SNR less the rise of the background in its band is under `audible_db`)
    is no longer asked for: its target becomes NaN. Only windows that hold the same bands are added, so none are lost and an SNR stays that of the bands it was measured in.
    """
    count = len(batch.window)
    chosen = np.flatnonzero(rng.random(count) < how.mix_share)
    partner = rng.permutation(count)[chosen]
    gain_db = rng.uniform(-how.mix_gain_db, how.mix_gain_db, len(chosen))
    nyquist_hz = nyquists_hz(batch, profile)
    fits = nyquist_hz[chosen] == nyquist_hz[partner]
    return added(batch, chosen[fits], partner[fits], gain_db[fits], how, profile) if fits.any() else batch


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
    seen = recorded(batch.picture_db, profile).sum(axis=1)  # a recording at a lower rate has nothing to add above its Nyquist
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


def mix_real(batch: Batch, how: Augmentation, profile: Profile, rng: np.random.Generator) -> Batch:
    """Add to some windows with calls one of recorded noise, so loud that the best call's SNR becomes one of `real_snr_db` in the bands that the noise has.

    At most a share `real_share` of the batch; calls that are fainter already, or that the noise's rate could not show, are left alone.
    """
    call = np.array([label != VESSEL for label in profile.labels])
    nyquist_hz, count = nyquists_hz(batch, profile), int(how.real_share * len(batch.window))
    real = np.zeros(len(batch.window), bool) if batch.real is None else batch.real
    observable = np.array([[profile.observable(label, top_hz) for label in profile.labels] for top_hz in nyquist_hz])
    partners = np.flatnonzero(real & ((batch.window == 0) | ~observable)[:, call].all(axis=1) & observable[:, call].any(axis=1))
    holds = np.flatnonzero(~real & ((batch.window == 1) & call).any(axis=1))
    if not count or not len(partners) or not len(holds):
        return batch
    chosen = np.sort(rng.permutation(holds)[:count])
    partner, wanted = rng.choice(partners, len(chosen)), rng.uniform(*how.real_snr_db, len(chosen))
    common = recorded(batch.picture_db[chosen], profile) & recorded(batch.picture_db[partner], profile)
    snr_db = batch.snr_db.copy()
    for k, i in enumerate(chosen):  # what is left of each call below the noise's Nyquist frequency
        snr_db[i] = np.minimum(snr_db[i], snr_within_db(batch.picture_db[i], batch.position[i], common[k], profile))
    best = np.where((batch.window[chosen] == 1) & call & observable[partner] & np.isfinite(snr_db[chosen]), snr_db[chosen], -np.inf)
    loud = best.max(axis=1) > wanted
    chosen, partner, wanted, best, common = (x[loud] for x in (chosen, partner, wanted, best, common))
    if not len(chosen):
        return batch
    at, label = np.arange(len(chosen)), best.argmax(axis=1)
    before, theirs = (label_background_db(batch.picture_db[rows], profile, common)[at, label] for rows in (chosen, partner))
    gain_db = before + 10 * np.log10(10 ** ((best.max(axis=1) - wanted) / 10) - 1) - theirs
    changed = batch.snr_db.copy()
    changed[chosen] = snr_db[chosen]
    return added(replace(batch, snr_db=changed), chosen, partner, gain_db, how, profile)


def snr_within_db(picture_db: np.ndarray, position: np.ndarray, bands: np.ndarray, profile: Profile) -> np.ndarray:
    """(labels,) dB: SNR of a window's calls in some bands (bands,) bool; NaN for a label that is nowhere in it.

    Power above the median in time, and that median, over the strongest cells that hold 80 % of the former where the label is.
    """
    power = 10 ** (picture_db[:, :profile.n_bands].astype(np.float64) / 10)
    background = median_known(power[None])[0]
    found = np.full(len(profile.labels), np.nan, np.float32)
    for k, (low_hz, high_hz) in enumerate(profile.label_band_hz.values()):
        inside = bands & (profile.band_centres_hz >= low_hz) & (profile.band_centres_hz <= high_hz)
        frames = np.repeat(position[k] == 1, len(picture_db) // position.shape[1])
        if not frames.any() or not inside.any():
            continue
        cells = power[:len(frames)][frames][:, inside]
        above = np.nan_to_num(np.maximum(cells - background[inside], 0)).ravel()
        order = np.argsort(-above)
        held = np.cumsum(above[order])
        strongest = order[:int(np.searchsorted(held, STRONGEST * held[-1])) + 1]
        noise = np.broadcast_to(background[inside], cells.shape).ravel()[strongest].sum()
        found[k] = 10 * np.log10(max(above[strongest].sum() / noise, 1e-12))
    return found


def added(batch: Batch, chosen: np.ndarray, partner: np.ndarray, gain_db: np.ndarray, how: Augmentation, profile: Profile) -> Batch:
    """The batch with the power of the windows `partner`, `gain_db` louder, added to the windows `chosen`; see `mix`.

    Bands that either lacks are masked, and labels that cannot be seen without them no longer asked for. A partner that ends within the window adds nothing after its end; where
    the window itself has ended, nothing of its partner is asked for.
    """
    one, other = batch.picture_db[chosen], batch.picture_db[partner] + gain_db.astype(np.float32)[:, None, None]
    ended_other = np.isnan(other) & np.isfinite(other).any(axis=1, keepdims=True)
    other = np.where(ended_other, SILENT_DB, other)
    with np.errstate(invalid="ignore"):  # of what is masked
        both = np.logaddexp(one * np.float32(np.log(10) / 10), other * np.float32(np.log(10) / 10)) * np.float32(10 / np.log(10))
    common = recorded(both, profile)
    after, before, theirs = (label_background_db(picture, profile, common) for picture in (both, one, batch.picture_db[partner] + gain_db.astype(np.float32)[:, None, None]))
    left_one = batch.snr_db[chosen] - (after - before)
    left_other = batch.snr_db[partner] - (after - theirs)
    nyquist_hz = nyquists_hz(batch, profile).copy()
    nyquist_hz[chosen] = np.minimum(nyquist_hz[chosen], nyquist_hz[partner])
    gone = np.array([[not profile.observable(label, top_hz) for label in profile.labels] for top_hz in nyquist_hz[chosen]])
    ended = ~np.isfinite(one).any(axis=2)[:, :: max(1, one.shape[1] // batch.position.shape[2])][:, :batch.position.shape[2]]
    their_window, their_position = batch.window[partner], np.where(ended[:, None], np.float32(np.nan), batch.position[partner])
    their_window = np.where((their_window == 1) & ended.any(axis=1, keepdims=True) & ~(their_position == 1).any(axis=2), np.float32(np.nan), their_window)
    window, position, picture, snr_db = batch.window.copy(), batch.position.copy(), batch.picture_db.copy(), batch.snr_db.copy()
    lost = [np.where(left < how.audible_db, np.nan, 0).astype(np.float32) for left in (left_one, left_other)]
    window[chosen] = np.where(gone, np.float32(np.nan), either(still(batch.window[chosen], lost[0]), still(their_window, lost[1])))
    position[chosen] = np.where(gone[..., None], np.float32(np.nan), either(still(batch.position[chosen], lost[0][..., None]), still(their_position, lost[1][..., None])))
    picture[chosen] = both - np.where(ended_other, np.float32(0), background_rise_db(gain_db, profile))
    snr_db[chosen] = np.fmax(left_one, left_other)
    return replace(batch, picture_db=picture, window=window, position=position, snr_db=snr_db, nyquist_hz=nyquist_hz)


def background_rise_db(gain_db: np.ndarray, profile: Profile) -> np.ndarray:
    """(n, 1, 1) dB by which the background rises where contrast `gain_db` louder is added: contrast is told above it. 0 for pictures in absolute levels."""
    rise_db = 10 * np.log10(1 + 10 ** (gain_db / 10)) if has_contrast(profile) else np.zeros(len(gain_db))
    return rise_db.astype(np.float32)[:, None, None]


def still(target: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Targets where a lost call's 1 becomes NaN; 0 stays 0."""
    return np.where(target == 1, target + lost, target)


def either(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Logical or with ignorance: 1 or anything = 1; NaN or 0 = NaN."""
    return np.where((a == 1) | (b == 1), np.float32(1), a + b)


def label_background_db(picture_db: np.ndarray, profile: Profile, bands: np.ndarray | None = None) -> np.ndarray:
    """(batch, labels) dB: the median in time, averaged over each label's visible bands, of `bands` (batch, bands) where these are given; 0 where none is left."""
    background = median_known(picture_db[:, ::4, :profile.n_bands])  # a quarter of the frames is enough
    background_of = []
    for low_hz, high_hz in profile.label_band_hz.values():
        of_label = (profile.band_centres_hz >= low_hz) & (profile.band_centres_hz <= high_hz)
        visible = np.isfinite(background) & of_label & (True if bands is None else bands)
        background_of.append(np.where(visible, background, 0).sum(axis=1) / np.maximum(visible.sum(axis=1), 1))
    return np.stack(background_of, axis=1)


def median_known(x: np.ndarray) -> np.ndarray:
    """(batch, bands) median over the frames (batch, frames, bands) that are not NaN; NaN where all are. `np.nanmedian`, many times as fast."""
    if not np.isnan(x).any():
        return np.median(x, axis=1)
    ordered, count = np.sort(x, axis=1), (~np.isnan(x)).sum(axis=1, keepdims=True)  # NaN come last
    low, high = (np.take_along_axis(ordered, np.clip(at, 0, x.shape[1] - 1), axis=1)[:, 0] for at in ((count - 1) // 2, count // 2))
    return (low + high) / 2


def band_limit(batch: Batch, how: Augmentation, profile: Profile, rng: np.random.Generator) -> Batch:
    """Make a share of the windows look like recordings at a lower rate: NaN above its Nyquist, unseen labels ignored."""
    picture, window, position = batch.picture_db.copy(), batch.window.copy(), batch.position.copy()
    nyquist_hz = nyquists_hz(batch, profile).copy()
    chosen = np.flatnonzero(rng.random(len(window)) < how.band_limit_share)
    for k, rate_hz in zip(chosen, rng.choice(how.band_limit_rates_hz, len(chosen))):
        nyquist_hz[k] = min(nyquist_hz[k], rate_hz / 2)
        picture[k][:, ~profile.visible_columns(rate_hz / 2)] = np.nan
        unseen = [i for i, label in enumerate(profile.labels) if not profile.observable(label, rate_hz / 2)]
        window[k, unseen], position[k, unseen] = np.nan, np.nan
    return replace(batch, picture_db=picture, window=window, position=position, nyquist_hz=nyquist_hz)


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


def stripes(picture_db: np.ndarray, how: Augmentation, rng: np.random.Generator, n_bands: int | None = None) -> np.ndarray:
    """Fill one stripe of bands and one short stripe of frames in a share of the windows with the window's mean level; a stripe of frames goes through what stands after the first
    `n_bands` columns too, with the mean of those."""
    picture = picture_db.copy()
    n_bands = n_bands or picture.shape[2]
    parts = [picture[:, :, :n_bands], picture[:, :, n_bands:]]
    for k in np.flatnonzero(rng.random(len(picture)) < how.stripe_share):
        stripe = []
        for size, longest in ((picture.shape[1], how.stripe_frames), (n_bands, how.stripe_bands)):
            width = int(rng.integers(0, longest + 1))
            start = int(rng.integers(0, max(1, size - width)))
            stripe.append(slice(start, start + width))
        for part, cells in ((parts[0], [(stripe[0],), (slice(None), stripe[1])]), (parts[1], [(stripe[0],)])):
            visible = np.isfinite(part[k]).any(axis=0)
            if not visible.any():
                continue
            seen = part[k][:, visible]
            fill = seen.mean() if np.isfinite(seen).all() else np.nanmean(seen)
            for where in cells:
                part[(k, *where)] = np.where(np.isfinite(part[(k, *where)]), fill, np.nan)
    return picture


def stretch(picture_db: np.ndarray, most: float, rng: np.random.Generator) -> np.ndarray:
    """Every window slower or faster by its own factor; a faster one turns back at its end, so that it is filled."""
    count, n_frames, _ = picture_db.shape
    factor = np.exp(rng.uniform(-1, 1, (count, 1)) * np.log1p(most))
    at = (np.arange(n_frames) * factor).astype(int)
    at = np.where(at >= n_frames, 2 * n_frames - 2 - at, at).clip(0, n_frames - 1)
    return np.take_along_axis(picture_db, at[:, :, None], axis=1)


def shift_bands(picture_db: np.ndarray, how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Every window up or down by up to `how.shift_bands` bands; the band at the rim is repeated."""
    count, _, n_bands = picture_db.shape
    at = (np.arange(n_bands) - rng.integers(-how.shift_bands, how.shift_bands + 1, (count, 1))).clip(0, n_bands - 1)
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
