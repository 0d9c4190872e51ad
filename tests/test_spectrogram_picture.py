"""From the calibrated picture to a model's input: the one place where that happens."""
from dataclasses import replace

import numpy as np
import pytest

from spectrogram.background import contrast_db
from spectrogram.picture import normalise
from spectrogram.profile import load_profile
from tests.signals import Sound, white_noise


@pytest.fixture(scope="session")
def profile():
    """The beluga's with the normalisation of each half second by itself."""
    return kind(load_profile("beluga"), kind="mean", tile_s=0.5, scale_db=20, low=-2, high=4, masked=-2)


@pytest.fixture(scope="module")
def windows():
    """(40, 192, 96) dB: noise with levels that drift, some masked bands, and an ended recording in the last window."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((40, 192, 96)) * 6 + 60 + np.linspace(0, 30, 40)[:, None, None]).astype(np.float32)
    x[20:, :, 70:] = np.nan
    x[-1, 100:] = np.nan
    return x


def kind(profile, **settings):
    return replace(profile, picture=profile.picture | {"normalisation": settings})


def test_mean_is_blind_to_gain_and_keeps_true_decibels(profile, windows):
    x = normalise(windows, profile)
    n = profile.normalisation
    assert n["kind"] == "mean" and x.dtype == np.float32 and x.shape == windows.shape and np.isfinite(x).all()
    assert np.abs(normalise(windows + np.float32(30), profile) - x).max() < 1e-5
    half = windows.shape[1] // 2  # each half-second tile by itself: windows that overlap by half share their tiles
    assert round(n["tile_s"] * profile.frame_rate_hz) == half
    tiles = windows.astype(float).reshape(len(windows), 2, half, -1)
    expected = np.clip((tiles - np.nanmean(tiles, axis=(2, 3), keepdims=True)) / n["scale_db"], n["low"], n["high"]).reshape(windows.shape)
    assert np.nanmax(np.abs(x - expected)) < 1e-5
    np.testing.assert_array_equal(normalise(windows[:, half:], profile), x[:, half:])
    assert (x[np.isnan(windows)] == np.float32(n["masked"])).all()


def test_window_has_the_same_bits_alone_in_a_batch_and_in_any_memory_layout(profile, windows):
    together = normalise(windows, profile)
    alone = np.stack([normalise(w, profile) for w in windows])
    assert together.tobytes() == alone.tobytes()
    assert normalise(windows.reshape(4, 10, 192, 96), profile).tobytes() == together.tobytes()
    assert np.ascontiguousarray(normalise(np.asfortranarray(windows), profile)).tobytes() == together.tobytes()
    picture = windows[:20].reshape(-1, 96)
    sliding = np.lib.stride_tricks.sliding_window_view(picture, 192, axis=0)[::96].transpose(0, 2, 1)  # as in the pipeline
    cut = np.stack([picture[k:k + 192] for k in range(0, len(picture) - 191, 96)])  # as in a data set
    assert np.ascontiguousarray(normalise(sliding, profile)).tobytes() == normalise(cut, profile).tobytes()


def test_input_is_left_alone(profile, windows):
    before = windows.copy()
    normalise(windows, profile)
    assert np.array_equal(before, windows, equal_nan=True)


def test_silence_is_not_stretched(profile):
    silent = np.full((192, 96), -30, np.float32)
    assert (normalise(silent, profile) == 0).all()
    faint = silent + np.random.default_rng(0).standard_normal(silent.shape).astype(np.float32) * np.float32(0.01)
    assert np.abs(normalise(faint, profile)).max() < 0.01


def test_wholly_masked_window_is_fill(profile):
    nothing = np.full((2, 192, 96), np.nan, np.float32)
    assert (normalise(nothing, profile) == np.float32(profile.normalisation["masked"])).all()


def test_gain_of_a_recording_does_not_reach_the_model(profile, generator):
    """The same sound 20 dB quieter, and the same on another hydrophone, give the same input; with contrast too."""
    x = white_noise(192000, 1)
    pictures = [next(generator.stream(Sound(*args))).picture_db[:, :profile.n_bands] for args in ((x, 192000, -170.0), (x * np.float32(0.1), 192000, -170.0), (x, 192000, -190.0))]
    for seen in (profile, load_profile("beluga")):
        inputs = [normalise(contrast_db(p, seen), seen) for p in pictures]
        assert np.abs(inputs[1] - inputs[0]).max() < 1e-4 and np.abs(inputs[2] - inputs[0]).max() < 1e-4


def test_other_kinds(profile, windows):
    absolute = normalise(windows, kind(profile, kind="absolute", centre_db=60, scale_db=20, low=-2, high=4, masked=-2))
    assert np.nanmax(np.abs(absolute - np.clip((windows - 60) / 20, -2, 4))) < 1e-5 and np.isfinite(absolute).all()
    minmax = normalise(windows, kind(profile, kind="minmax", low=0, high=1, masked=0))
    visible = np.isfinite(windows)
    assert all(minmax[k][visible[k]].min() == 0 and minmax[k][visible[k]].max() == pytest.approx(1) for k in range(len(windows)))
    with pytest.raises(ValueError, match="profile beluga: normalisation 'zscore'; use background, pcen, mean, absolute or minmax"):
        normalise(windows, kind(profile, kind="zscore"))
