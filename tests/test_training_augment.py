"""Augmentation where recordings differ in rate and length, and recorded noise as a partner: nothing may be asked for that cannot be seen, no level may come from what was not recorded."""
from dataclasses import replace

import numpy as np
import pytest

from spectrogram.profile import load_profile
from training.augment import Augmentation, Batch, added, augment, label_background_db, median_known, mix, mix_real, recorded, snr_within_db

PROFILE = load_profile("beluga")
LABELS = PROFILE.labels
ECHO, BBPC, WHISTLE, BOAT = (LABELS.index(label) for label in ("ECHO", "BBPC", "Whistle", "Boat"))
LOW = ~PROFILE.visible_bands(24_000)  # bands that a recording at 48 kHz does not have
NONE = Augmentation.none()


def batch_of(*windows, rates=None, real=None, noise_db=60.0, seed=0):
    """Windows of noise with calls [(label, snr_db)]: a label's band is that many decibels higher through the second half."""
    rng = np.random.default_rng(seed)
    picture_db = (noise_db + rng.normal(0, 1, (len(windows), 192, PROFILE.n_bands))).astype(np.float32)
    window, position = np.zeros((len(windows), 5), np.float32), np.zeros((len(windows), 5, 12), np.float32)
    snr_db = np.full((len(windows), 5), np.nan, np.float32)
    for k, calls in enumerate(windows):
        for label, over_db in calls:
            low_hz, high_hz = PROFILE.label_band_hz[label]
            inside = (PROFILE.band_centres_hz >= low_hz) & (PROFILE.band_centres_hz <= high_hz)
            picture_db[k, 128:, inside] += over_db
            at = LABELS.index(label)
            window[k, at], position[k, at, 8:], snr_db[k, at] = 1, 1, over_db
    nyquist_hz = None if rates is None else np.array(rates) / 2
    for k, top_hz in enumerate(() if rates is None else nyquist_hz):
        picture_db[k][:, ~PROFILE.visible_bands(top_hz)] = np.nan
        unseen = [i for i, label in enumerate(LABELS) if not PROFILE.observable(label, top_hz)]
        window[k, unseen], position[k, unseen] = np.nan, np.nan
    return Batch(picture_db, window, position, snr_db, nyquist_hz, None if real is None else np.array(real))


@pytest.mark.parametrize("told", [True, False])
def test_a_label_whose_band_goes_with_a_partner_of_a_lower_rate_is_no_longer_asked_for(told):
    """Formerly 1 or NaN was 1: an echolocation train without its band."""
    batch = batch_of([("ECHO", 20), ("Whistle", 20)], [], rates=(192_000, 48_000))
    mixed = added(batch if told else replace(batch, nyquist_hz=None), np.array([0]), np.array([1]), np.array([-10.0]), Augmentation(), PROFILE)
    assert np.isnan(mixed.picture_db[0][:, LOW]).all() and np.isfinite(mixed.picture_db[0][:, ~LOW]).all()
    assert np.isnan(mixed.window[0, ECHO]) and np.isnan(mixed.position[0, ECHO]).all()
    assert mixed.window[0, WHISTLE] == 1 and mixed.window[0, BOAT] == 0
    assert nyquist_of(mixed) == 24_000 if told else nyquist_of(mixed) < 24_000
    np.testing.assert_array_equal(mixed.picture_db[1], batch.picture_db[1])


def nyquist_of(batch):
    return batch.nyquist_hz[0]


def test_windows_are_mixed_with_such_as_hold_the_same_bands():
    batch = batch_of(*[[("BBPC", 20)]] * 8, rates=[192_000, 48_000] * 4)
    mixed = mix(batch, Augmentation(mix_share=1.0), PROFILE, np.random.default_rng(1))
    np.testing.assert_array_equal(recorded(mixed.picture_db, PROFILE), recorded(batch.picture_db, PROFILE))
    assert (mixed.picture_db != batch.picture_db)[:, :, ~LOW].any() and np.isnan(mixed.window[1::2, ECHO]).all()


def test_a_background_is_that_of_what_was_recorded():
    """Formerly one frame after a recording's end made the background 0 dB, and a gain wrong by 70 dB."""
    batch = batch_of([], [], [])
    batch.picture_db[1, 100:] = np.nan
    background_db = label_background_db(batch.picture_db, PROFILE)
    np.testing.assert_allclose(background_db, 60, atol=0.2)
    x = np.random.default_rng(0).normal(size=(4, 7, 3))
    x[0, :3, 1], x[1, :4], x[2, :, 2] = np.nan, np.nan, np.nan
    expected = [[np.median(column[~np.isnan(column)]) if not np.isnan(column).all() else np.nan for column in window.T] for window in x]
    np.testing.assert_allclose(median_known(x), expected)


def test_a_partner_that_ends_within_the_window_adds_nothing_after_its_end():
    batch = batch_of([("Whistle", 20)], [], [("BBPC", 20)])
    batch.picture_db[1, 96:] = np.nan
    mixed = added(batch, np.array([0, 1]), np.array([1, 2]), np.array([0.0, 0.0]), Augmentation(), PROFILE)
    np.testing.assert_allclose(mixed.picture_db[0, 96:], batch.picture_db[0, 96:], atol=1e-4)
    assert mixed.picture_db[0, :96].mean() == pytest.approx(63, abs=0.2)
    assert np.isnan(mixed.picture_db[1, 96:]).all() and np.isnan(mixed.position[1, BBPC, 6:]).all() and np.isnan(mixed.window[1, BBPC])


def test_recorded_noise_brings_calls_to_a_set_snr_in_the_bands_that_it_has():
    how = replace(NONE, real_share=0.5, real_snr_db=(10, 10))
    batch = batch_of([("Whistle", 22)], [("BBPC", 9)], [("ECHO", 25)], [], rates=(192_000, 192_000, 192_000, 48_000), real=(False, False, False, True))
    seen = {0: 0, 1: 0, 2: 0}
    for seed in range(12):
        mixed = mix_real(batch, how, PROFILE, np.random.default_rng(seed))
        changed = np.flatnonzero([not np.array_equal(a, b, equal_nan=True) for a, b in zip(mixed.picture_db, batch.picture_db)])
        assert len(changed) <= 2  # a share of 0.5 of 4
        for k in changed:
            seen[k] += 1
            found_db = snr_within_db(mixed.picture_db[k], batch.position[k], ~LOW, PROFILE)[WHISTLE]
            assert mixed.snr_db[k, WHISTLE] == pytest.approx(10, abs=0.8) and found_db == pytest.approx(10, abs=1.5)
            assert mixed.window[k, WHISTLE] == 1 and np.isnan(mixed.window[k, ECHO]) and np.isnan(mixed.picture_db[k][:, LOW]).all()
    assert seen[0] > 3 and seen[1] == seen[2] == 0  # fainter already, and not to be seen at that rate


def test_snr_is_measured_where_the_noise_is_and_not_where_the_call_is_loud():
    """A broadband call of 25 dB above 24 kHz and 9 dB below: in noise at 48 kHz it is one of 9 dB."""
    batch = batch_of([("BBPC", 9)], [], rates=(192_000, 48_000), real=(False, True))
    batch.picture_db[0, 128:, LOW] += 16
    batch.snr_db[0, BBPC] = 25
    assert snr_within_db(batch.picture_db[0], batch.position[0], ~LOW, PROFILE)[BBPC] == pytest.approx(9, abs=1)
    same = mix_real(batch, replace(NONE, real_share=0.5, real_snr_db=(12, 12)), PROFILE, np.random.default_rng(0))
    np.testing.assert_array_equal(same.picture_db, batch.picture_db)


def test_without_recorded_noise_in_the_batch_nothing_is_added():
    batch = batch_of([("Whistle", 22)], [], rates=(192_000, 48_000))
    for real in (None, np.zeros(2, bool)):
        assert mix_real(replace(batch, real=real), replace(NONE, real_share=0.5), PROFILE, np.random.default_rng(0)).picture_db is batch.picture_db


def test_recorded_noise_of_which_a_call_is_unknown_is_no_partner():
    batch = batch_of([("Whistle", 22)], [], rates=(192_000, 48_000), real=(False, True))
    batch.window[1, WHISTLE] = np.nan
    assert mix_real(batch, replace(NONE, real_share=0.5), PROFILE, np.random.default_rng(0)).picture_db is batch.picture_db


def test_every_augmentation_takes_a_picture_with_crests_beside_its_bands():
    """Bands change as without the crests; a crest follows the gain of the bands that it is of, and other bands never run into it."""
    profile = replace(PROFILE, picture=PROFILE.picture | {"crest": {"low_hz": 25_000}})
    batch = batch_of([("Whistle", 20)], [("ECHO", 20)], [], [("BBPC", 15)])
    crest = np.full((4, 192, 4), 120, np.float32)
    with_crest = replace(batch, picture_db=np.concatenate([batch.picture_db, crest], axis=2))
    how = Augmentation(mix_share=0.5, stripe_share=1, end_share=0.5, stretch=0.1, shift_bands=2, floor_share=0.5, noise_share=0.5, band_limit_share=0)
    plain, wide = (augment(b, how, p, np.random.default_rng(3)) for b, p in ((batch, PROFILE), (with_crest, profile)))
    np.testing.assert_array_equal(wide.picture_db[:, :, :PROFILE.n_bands], plain.picture_db)
    np.testing.assert_array_equal(wide.window, plain.window)
    gained = augment(with_crest, replace(NONE, gain_db=10.0), profile, np.random.default_rng(0)).picture_db - with_crest.picture_db
    np.testing.assert_allclose(gained, np.broadcast_to(gained[:, :1, :1], gained.shape), atol=1e-4)
