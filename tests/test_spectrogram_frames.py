"""The frame grid: exact, the same at every rate, and independent of how the sound was cut into blocks."""
from fractions import Fraction

import numpy as np
import pytest

from spectrogram.bands import overlap_weights, triangle_weights
from spectrogram.levels import Seconds
from spectrogram.recording import Recording
from spectrogram.stft import FrameGrid
from tests.signals import Sound, clicks, coloured_noise, white_noise, write

RATES = [8000, 22050, 44100, 48000, 96000, 192000, 384000]
WHOLE = 1e5  # seconds: more than any test holds


def stream(generator, recording, block_s=16.0):
    pieces = list(generator.stream(recording, block_s))
    return pieces, np.concatenate([p.picture_db for p in pieces]), Seconds.join([p.seconds for p in pieces])


@pytest.mark.parametrize("rate_hz, name, subtype", [(8000, "a.flac", "PCM_16"), (44100, "a.flac", "PCM_24"), (44100, "a.wav", "FLOAT"),
                                                    (48000, "a.aiff", "PCM_16"), (192000, "a.wav", "PCM_16")])
def test_blocks_of_any_length_give_the_same_bits(generator, tmp_path, rate_hz, name, subtype):
    path = write(tmp_path / name, white_noise(rate_hz, 34.3 if rate_hz < 192000 else 17.3), rate_hz, subtype)
    pieces, picture, seconds = stream(generator, Recording(path), WHOLE)
    for block_s in (1.0, 7.3, 0.37):
        other_pieces, other_picture, other_seconds = stream(generator, Recording(path), block_s)
        assert [p.first_frame for p in other_pieces] == [p.first_frame for p in pieces]
        assert other_picture.tobytes() == picture.tobytes()
        for field in vars(seconds):
            assert getattr(other_seconds, field).tobytes() == getattr(seconds, field).tobytes(), field
    table = generator.levels(Recording(path), row_s=5)
    assert table.equals(generator.levels(Recording(path), row_s=5))


def test_chunks_may_be_processed_in_any_order(generator):
    sound = Sound(white_noise(48000, 50), 48000)
    in_order = [p.picture_db for p in generator.stream(sound)]
    backwards = [generator.process(c, 48000, -170.0).picture_db for c in list(generator.chunks(sound))[::-1]]
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(in_order, backwards[::-1]))


@pytest.mark.parametrize("rate_hz", RATES)
def test_no_frame_is_lost_or_doubled(generator, rate_hz):
    sound = Sound(np.zeros(round(40.7 * rate_hz), np.float32), rate_hz)
    pieces, picture, seconds = stream(generator, sound, 7.3)
    assert len(picture) == int(40.7 * 192)
    assert [p.first_frame for p in pieces] == list(np.cumsum([0] + [len(p.picture_db) for p in pieces])[:-1])
    assert [p.final for p in pieces] == [False] * (len(pieces) - 1) + [True]
    assert np.array_equal(seconds.start_s, np.arange(41)) and seconds.duration_s.sum() == pytest.approx(40.7)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 48000, 192000, 384000])
def test_frame_times_are_exact_over_two_hours(profile, rate_hz):
    """Window centres lie within half a sample of (i + 1/2) * hop / rate of the profile: rounding never adds up."""
    grid = FrameGrid(profile, rate_hz)
    assert grid.n_frames(7200 * rate_hz) == 7200 * 192
    frames = np.concatenate([np.arange(2000), np.arange(7200 * 192 - 2000, 7200 * 192)])
    centres = grid.first_sample(frames) + grid.n_fft // 2
    for frame, centre in zip(frames.tolist(), centres.tolist()):
        exact = (Fraction(frame) + Fraction(1, 2)) * profile.hop * rate_hz / profile.sample_rate_hz
        assert abs(centre - exact) <= Fraction(1, 2)
    steps = np.diff(grid.first_sample(np.arange(7200 * 192)))
    assert steps.max() - steps.min() <= 1 and steps.min() >= rate_hz // 192


@pytest.mark.parametrize("rate_hz", RATES)
def test_windows_last_as_long_at_every_rate(profile, rate_hz):
    grid = FrameGrid(profile, rate_hz)
    assert grid.n_fft % 2 == 0 and grid.n_fft / rate_hz == pytest.approx(profile.n_fft / profile.sample_rate_hz, rel=0.02)


@pytest.mark.parametrize("rate_hz", RATES)
def test_click_lands_in_its_frame(generator, rate_hz):
    frames = np.array([3, 191, 384, 1000, 3071, 3264, 5007, 6144, 6300])  # also at the edges of seconds and chunks
    offset = np.random.default_rng(1).uniform(0.15, 0.85, len(frames))
    x = clicks(rate_hz, 33, np.floor((frames + offset) / 192 * rate_hz).astype(int))
    _, picture, _ = stream(generator, Sound(x, rate_hz), 7.3)
    level = np.nanmean(picture, axis=1)
    for frame in frames:
        near = slice(max(0, frame - 20), frame + 20)
        assert near.start + int(np.argmax(level[near])) == frame


@pytest.mark.parametrize("rate_hz", [8000, 44100, 192000])
def test_excerpt_equals_the_stream(generator, tmp_path, rate_hz):
    path = write(tmp_path / "a.wav", white_noise(rate_hz, 18.7), rate_hz)
    _, picture, _ = stream(generator, Recording(path))
    for start_s, end_s in ((0.0, 2.0), (15.3, 17.1), (7.773, 7.8), (18.4, None), (0.0, None)):
        excerpt = generator.spectrogram(path, start_s, end_s)
        first = round(start_s * 192)
        part = picture[first:first + len(excerpt.picture_db)]
        assert len(excerpt.picture_db) == (len(picture) if end_s is None else round(end_s * 192)) - first
        part = part[:, :excerpt.profile.n_bands]  # the crest is not drawn
        assert np.array_equal(np.isnan(part), np.isnan(excerpt.picture_db))
        assert np.nanmax(np.abs(part - excerpt.picture_db)) < 1e-3
        assert excerpt.times_s == pytest.approx((np.arange(first, first + len(part)) + 0.5) / 192, abs=1e-9)


def test_excerpt_outside_the_recording_is_refused(generator, tmp_path):
    path = write(tmp_path / "6872.220716021453.wav", white_noise(8000, 3), 8000)
    with pytest.raises(ValueError, match="6872.220716021453.wav: nothing between 5 s and 6 s; it lasts 3.00 s"):
        generator.spectrogram(path, 5, 6)


@pytest.mark.parametrize("slope", [0, -2])
def test_lower_rate_gives_the_same_picture_in_its_bands(generator, slope):
    """The same sound at 48 and 192 kHz: sound below 23.5 kHz, taken every fourth sample without loss."""
    full = coloured_noise(192000, 24, lambda f: np.where(f < 23500, 1e-7 * (np.maximum(f, 100) / 1000) ** float(slope), 0), seed=5)
    _, high, _ = stream(generator, Sound(full, 192000))
    _, low, _ = stream(generator, Sound(full[::4].copy(), 48000))
    common = np.isfinite(low[0])
    assert common.sum() > 40 and len(high) == len(low)
    mean = [10 * np.log10((10 ** (picture[:, common] / 10)).mean(axis=0)) for picture in (high.astype(float), low.astype(float))]
    assert np.abs(mean[0] - mean[1]).max() < 0.5


@pytest.mark.parametrize("rate_hz", [600, 8000, 22050, 44100, 96000, 192000, 384000])
def test_bands_near_and_above_nyquist_are_masked_never_invented(generator, profile, rate_hz):
    _, picture, _ = stream(generator, Sound(white_noise(rate_hz, 3), rate_hz))
    visible = profile.band_edges_hz[2:] <= 0.95 * rate_hz / 2
    bands, crest = np.split(picture, [profile.n_bands], axis=1)
    assert np.isnan(bands[:, ~visible]).all() and np.isfinite(bands[:, visible]).all()
    assert np.isfinite(crest).all() if rate_hz >= 96_000 else np.isnan(crest).all()
    assert visible.all() == (rate_hz >= 192000) and visible.any() == (rate_hz > 600)
    table_bands = generator.front_end(rate_hz).meter.centres_hz
    assert (table_bands * 10 ** 0.05 <= rate_hz / 2 * 1.0001).all()


def test_triangles_are_averages(profile):
    """Weights of a band sum to one, so white noise reads the same in every band."""
    grid = FrameGrid(profile, profile.sample_rate_hz)
    weights = triangle_weights(profile.band_edges_hz, grid.bin_hz, grid.n_bins)
    assert weights.shape == (1025, 96) and (weights >= 0).all()
    assert weights.sum(axis=0) == pytest.approx(np.ones(96), abs=1e-5)
    peaks_hz = (weights * np.arange(1025)[:, None]).sum(axis=0) * grid.bin_hz
    means_hz = (profile.band_edges_hz[:-2] + profile.band_edges_hz[1:-1] + profile.band_edges_hz[2:]) / 3  # of a triangle
    assert np.abs(peaks_hz - means_hz).max() < grid.bin_hz / 2


def test_neighbouring_bands_share_each_bin_without_loss():
    edges = np.array([17.8, 22.4, 28.2, 1000.0, 4000.0])
    weights = overlap_weights(edges[:-1], edges[1:], bin_hz=1.0, n_bins=4001)
    assert weights.sum(axis=0) == pytest.approx(np.diff(edges))
    assert weights.sum(axis=1)[19:4000] == pytest.approx(np.ones(3981))


def test_spectra_that_are_made_side_by_side_do_not_share_their_memory(profile):
    grid, rng = FrameGrid(profile, 192_000), np.random.default_rng(3)
    one, other = (rng.normal(size=3 * 192_000).astype(np.float32) for _ in range(2))
    alone = [[power.copy() for _, power in grid.power(x, -1524, 0, 400)] for x in (one, other)]
    next(grid.power(one, -1524, 0, 400))  # left half-way
    both = [(a.copy(), b.copy()) for (_, a), (_, b) in zip(grid.power(one, -1524, 0, 400), grid.power(other, -1524, 0, 400))]
    for k, found in enumerate(zip(*both)):
        for mine, expected in zip(found, alone[k]):
            np.testing.assert_array_equal(mine, expected)


def test_seconds_with_samples_at_full_scale_are_told(generator):
    x = white_noise(48000, 4) * np.float32(0.1)
    x[48000 * 2 + 100] = 1.0
    pieces, _, _ = stream(generator, Sound(x, 48000))
    assert pieces[0].clipped.tolist() == [False, False, True, False]
    assert stream(generator, Sound(x * np.float32(0.5), 48000))[0][0].clipped is None


@pytest.mark.parametrize("length_s", [0.3, 2.5, 5.003, 17.2])
def test_clipped_seconds_are_as_many_as_the_seconds_of_levels(generator, length_s):
    x = np.ones(round(48000 * length_s), np.float32)
    for piece in stream(generator, Sound(x, 48000))[0]:
        assert piece.clipped is None or len(piece.clipped) == len(piece.seconds.start_s)
