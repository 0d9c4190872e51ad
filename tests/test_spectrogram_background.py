"""Contrast: dB above a background of half a minute, the same bits however the picture came."""

import dataclasses

import numpy as np
import pytest

from spectrogram.background import CLIP_S, ContrastStream, contrast_db, segment_frames
from spectrogram.picture import normalise
from spectrogram.profile import load_profile

PROFILE = load_profile("beluga")
RATE = round(PROFILE.frame_rate_hz)


def noise_db(seconds, seed=0, masked_from=None):
    rng = np.random.default_rng(seed)
    power = rng.standard_exponential((round(seconds * RATE), PROFILE.n_columns))
    picture = (60 + 10 * np.log10(power)).astype(np.float32)
    if masked_from is not None:
        picture[:, masked_from:] = np.nan
    return picture


@pytest.mark.parametrize("seconds", [3.0, 16.0, 47.3, 80.0])
@pytest.mark.parametrize("masked_from", [None, 60])
def test_piece_by_piece_equals_whole_to_the_last_bit(seconds, masked_from):
    picture, stream, parts = noise_db(seconds, masked_from=masked_from), ContrastStream(PROFILE), []
    size = 16 * RATE
    for start in range(0, len(picture), size):
        parts += stream.push(picture[start:start + size], start, start + size >= len(picture))
    assert [company for _, company in parts] == list(range(0, len(picture), size))
    joined = np.concatenate([part for part, _ in parts])
    np.testing.assert_array_equal(joined.view(np.uint32), contrast_db(picture, PROFILE).view(np.uint32))


def test_from_the_midst_on_the_second_chunk_is_that_of_the_whole():
    picture, size = noise_db(96), 16 * RATE
    whole, stream = contrast_db(picture, PROFILE), ContrastStream(PROFILE)
    parts = [part for start in range(size, 5 * size, size) for part, _ in stream.push(picture[start:start + size], None, False)]
    assert len(parts) == 3  # the fourth waits for what follows
    np.testing.assert_array_equal(parts[1].view(np.uint32), whole[2 * size:3 * size].view(np.uint32))


def test_gain_and_colour_of_a_hydrophone_are_gone():
    picture = noise_db(40)
    colour = np.linspace(-20, 30, PROFILE.n_columns, dtype=np.float32)
    colour[PROFILE.n_bands:] = colour[PROFILE.n_bands]
    assert np.abs(contrast_db(picture + colour, PROFILE) - contrast_db(picture, PROFILE)).max() < 1e-4


def test_noise_lies_at_the_background_and_a_call_stands_out_by_its_snr():
    picture = noise_db(60)
    picture[30 * RATE:31 * RATE, 40:44] = 60 + 25
    contrast = contrast_db(picture, PROFILE)
    assert abs(np.median(contrast[:, :PROFILE.n_bands])) < 2.5  # the background is a lower quartile
    assert abs(np.median(contrast[30 * RATE:31 * RATE, 40:44]) - 25) < 5  # the mean of dB of noise lies 2.5 dB under its mean power


def test_a_call_that_fills_most_of_a_clip_is_not_its_background():
    seconds = CLIP_S - 5
    picture = noise_db(seconds)
    picture[round(0.3 * len(picture)):, 40:44] = 60 + 25
    assert np.median(contrast_db(picture, PROFILE)[round(0.3 * len(picture)):, 40:44]) > 20


def test_a_passing_boat_is_followed():
    rise = np.linspace(0, 20, 120 * RATE, dtype=np.float32)[:, None]
    contrast = contrast_db(noise_db(120) + rise, PROFILE)[20 * RATE:-20 * RATE, :PROFILE.n_bands]
    seconds = contrast.reshape(-1, RATE, PROFILE.n_bands).mean(axis=(1, 2))
    assert np.ptp(seconds) < 1.5


def test_masked_columns_stay_masked_and_come_to_the_masked_value():
    contrast = contrast_db(noise_db(4, masked_from=50), PROFILE)
    assert np.isnan(contrast[:, 50:]).all() and np.isfinite(contrast[:, :50]).all()
    assert (normalise(contrast[None], PROFILE)[0, :, 50:] == np.float32(PROFILE.normalisation["masked"])).all()


def test_other_profiles_pass_unchanged():
    profile = load_profile("right_whale")
    picture = np.zeros((100, profile.n_bands), np.float32)
    assert contrast_db(picture, profile) is not None and (contrast_db(picture, profile) == picture).all()


def test_pcen_is_librosas_with_the_same_average():
    librosa = pytest.importorskip("librosa")
    delta, power = 2.0, 1e-4
    picture = dataclasses.replace(PROFILE, picture=PROFILE.picture | {"normalisation": {
        "kind": "pcen", "delta": delta, "scale_db": 20, "low": -1, "high": 6, "masked": 0}})
    contrast = noise_db(3) - 60
    energy = 10 ** (contrast.astype(np.float64) / 10)
    theirs = librosa.pcen(energy.T, gain=1.0, bias=delta, power=power, eps=1e-12, b=1.0, ref=np.ones_like(energy.T)).T
    ours = normalise(contrast[None], picture)[0]
    scale = 10 / np.log(10) / 20  # power -> 0: (x + d)^p - d^p -> p ln(1 + x / d)
    np.testing.assert_allclose(ours, theirs / power * scale, atol=2e-3)


def test_a_hop_that_does_not_fit_is_refused_with_its_profile():
    odd = dataclasses.replace(PROFILE, hop=1250, window_s=1.0, step_s=0.5, n_fft=2048, sample_rate_hz=192500)
    with pytest.raises(ValueError, match="profile beluga"):
        segment_frames(odd)
