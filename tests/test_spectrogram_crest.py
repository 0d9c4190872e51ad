"""The crest channel: clicks of 50 µs read at their peak, whistles and low noise do not reach it, blocks do not depend on the cut."""

import numpy as np
import pytest
import soundfile

from spectrogram.crest import PER_FRAME, CrestMeter, _block_peaks, block_peaks_plain
from spectrogram.generator import SpectrogramGenerator
from spectrogram.profile import load_profile
from spectrogram.stft import FrameGrid

PROFILE = load_profile("beluga")
RATES = (96_000, 192_000, 250_000, 576_000)


def write_wav(path, samples, rate):
    soundfile.write(path, samples, rate, "PCM_16")
    return path


def meter(rate):
    return CrestMeter(FrameGrid(PROFILE, rate), 25_000)


@pytest.mark.parametrize("rate", RATES)
def test_compiled_equals_plain(rate):
    crest = meter(rate)
    samples = np.random.default_rng(1).standard_normal(rate // 2).astype(np.float32)
    edges = crest.edges(4, 40)
    np.testing.assert_allclose(_block_peaks()(samples, crest.taps, edges), block_peaks_plain(samples, crest.taps, edges), rtol=1e-5)


@pytest.mark.parametrize("rate", RATES)
def test_blocks_lie_on_the_frames_grid_and_do_not_drift(rate):
    crest = meter(rate)
    edges = crest.edges(0, PROFILE.sample_rate_hz // PROFILE.hop * 60)
    assert edges[0] == 0 and edges[-1] == 60 * rate
    ideal = np.arange(len(edges)) * rate * PROFILE.hop / PROFILE.sample_rate_hz / PER_FRAME
    assert np.abs(edges - ideal).max() < 1


@pytest.mark.parametrize("rate", (192_000, 576_000))
def test_a_click_reads_its_peak_within_half_a_decibel(rate):
    crest, samples = meter(rate), np.zeros(rate // 10, np.float32)
    at, t = rate // 20, (np.arange(-64, 64)) / rate
    samples[at - 64:at + 64] = 0.1 * np.cos(2 * np.pi * 60_000 * t) * np.exp(-((t / 20e-6) ** 2))  # 60 kHz, some 50 µs
    peaks = crest.peaks(samples, 0, 2, 15)
    assert abs(10 * np.log10(peaks.max()) - 20 * np.log10(np.abs(samples).max())) < 0.5
    block = np.argmax(peaks) + 2 * PER_FRAME
    assert crest.edges(0, 20)[block] <= at < crest.edges(0, 20)[block + 1]


def test_a_whistle_lies_forty_decibels_lower():
    rate = 192_000
    samples = np.sin(2 * np.pi * 8_000 * np.arange(rate) / rate).astype(np.float32)
    assert 10 * np.log10(meter(rate).peaks(samples, 0, 4, 100).max()) < -40


def test_slow_recordings_have_none(tmp_path):
    path = write_wav(tmp_path / "6872.220716021453.wav", np.random.default_rng(0).normal(0, 0.01, 48_000), 48_000)
    picture = SpectrogramGenerator(PROFILE).picture(path)
    assert picture.shape[1] == PROFILE.n_columns and np.isnan(picture[:, PROFILE.n_bands:]).all()


def test_block_by_block_equals_whole_and_levels_are_calibrated(tmp_path):
    from spectrogram.recording import Recording

    rate, rng = 192_000, np.random.default_rng(0)
    path = write_wav(tmp_path / "6872.220716021453.wav", rng.normal(0, 0.01, 20 * rate), rate)
    generator, recording = SpectrogramGenerator(PROFILE), Recording(path)
    whole = np.concatenate([piece.crest for piece in generator.stream(recording, 60.0)])
    cut = np.concatenate([piece.crest for piece in generator.stream(Recording(path), 1.7)])
    np.testing.assert_array_equal(whole.view(np.uint32), cut.view(np.uint32))
    samples = recording.read(0, 2)
    expected = block_peaks_plain(samples, meter(rate).taps, meter(rate).edges(2, 100)).reshape(-1, PER_FRAME)
    np.testing.assert_allclose(whole[2:102], expected * 10 ** (-recording.sensitivity_db / 10), rtol=1e-4)
