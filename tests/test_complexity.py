"""Signal complexity, held against closed forms: white noise, sines, ramps, a chaotic map, and examples by hand."""
import doctest
from math import log

import numpy as np
import pytest

import training.complexity
from spectrogram.profile import load_profile
from tests.signals import Sound, white_noise
from training.complexity import SERIES, complexities, disequilibrium, entropy, ordinal_distribution, ordinal_patterns, ordinal_series, spectral_series

RATE_HZ = 2000


@pytest.fixture(scope="module")
def front_end():
    return load_profile("right_whale")


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(training.complexity).failed == 0 and doctest.testmod(training.complexity).attempted >= 2


def test_two_cases_by_hand():
    p = np.array([0.75, 0.25])
    h = (0.75 * log(4 / 3) + 0.25 * log(4)) / log(2)
    divergence = -(5 / 8 * log(5 / 8) + 3 / 8 * log(3 / 8)) - h * log(2) / 2 - log(2) / 2
    most = -(3 / 4 * log(3 / 4) + 1 / 4 * log(1 / 4)) - log(2) / 2  # of (1, 0)
    expected = h, h * (2 * 0.25 ** 2), h * divergence / most, h * 0.25
    assert entropy(p) == pytest.approx(0.8112781, abs=1e-7) and complexities(p) == pytest.approx(expected)


@pytest.mark.parametrize("n", [2, 6, 24, 64])
def test_order_and_noise_have_no_complexity_and_the_distances_their_extremes(n):
    one, even = np.eye(n)[0], np.full(n, 1 / n)
    assert disequilibrium(one) == pytest.approx([1 - 1 / n, 1.0, 1 - 1 / n]) and disequilibrium(even) == pytest.approx(np.zeros(3), abs=1e-12)
    assert complexities(np.stack([one, even])) == pytest.approx(np.array([[0, 0, 0, 0], [1, 0, 0, 0]]), abs=1e-9)
    between = complexities(0.5 * one + 0.5 * even)
    assert (between[1:] > 0.02).all() and (between <= 1).all()


def test_spectrum_of_white_noise_reads_what_exponential_powers_must():
    """Shares of N independent exponential powers are uniform on the simplex: E[H ln N] = 1/2 + ... + 1/N, and moments of a beta distribution."""
    n, frames = 64, 4000
    power = np.random.default_rng(3).exponential(size=(frames, n))
    p = power / power.sum(axis=1, keepdims=True)
    assert entropy(p).mean() == pytest.approx((1 / np.arange(2, n + 1)).sum() / log(n), abs=1e-3)
    squared, _, variation = disequilibrium(p).mean(axis=0)
    assert squared == pytest.approx(2 / (n + 1) - 1 / n, rel=0.02) and variation == pytest.approx((1 - 1 / n) ** n, rel=0.01)


def test_spectrum_of_a_sine_is_that_of_the_hann_window():
    """A sine on a bin puts 2/3 of its power there and 1/6 on either side."""
    n = 256
    power = np.abs(np.fft.rfft(np.sin(2 * np.pi * 20 * np.arange(n) / n) * np.hanning(n + 1)[:-1])) ** 2
    p = power / power.sum()
    assert entropy(p) == pytest.approx((2 / 3 * log(3 / 2) + 1 / 3 * log(6)) / log(len(p)), abs=1e-6)


def test_ramps_have_one_pattern_and_a_turn_of_the_sound_mirrors_them():
    x = np.random.default_rng(0).standard_normal(500)
    assert set(ordinal_patterns(np.arange(30.0), 4)) == {0} and set(ordinal_patterns(-np.arange(30.0), 4, 3)) == {23}
    assert (ordinal_patterns(-x, 4) == 23 - ordinal_patterns(x, 4)).all()
    assert complexities(ordinal_distribution(np.arange(30.0), 4)).tolist() == [0, 0, 0, 0]


def test_every_order_of_rank_has_its_own_number_and_equals_go_by_time():
    from itertools import permutations

    numbers = [int(ordinal_patterns(np.array(ranks), 4)[0]) for ranks in permutations(range(4))]
    assert sorted(numbers) == list(range(24))
    assert ordinal_patterns(np.array([1, 1, 1]), 3).tolist() == [0] and ordinal_patterns(np.array([2, 1, 2]), 3).tolist() == [2]


def test_the_example_of_bandt_and_pompe():
    """4 7 9 10 6 11 3: of six neighbours four rise; of five triples two are 012, two 120, one 102. They give 0.918 and 1.522 bits."""
    x = np.array([4, 7, 9, 10, 6, 11, 3])
    assert entropy(ordinal_distribution(x, 2)) == pytest.approx(0.918, abs=5e-4)
    assert ordinal_distribution(x, 3) == pytest.approx([2 / 5, 0, 1 / 5, 2 / 5, 0, 0])
    assert entropy(ordinal_distribution(x, 3)) * log(6) / log(2) == pytest.approx(1.522, abs=5e-4)


@pytest.mark.parametrize("cycles_per_sample", [0.0123456, 0.1, 0.2345678])
def test_patterns_of_a_sine(cycles_per_sample):
    """Ramps last half a period less one step: their share is 1/2 - f each; the four turns share the rest, f / 2 each."""
    f = cycles_per_sample + 1e-4 * (5 ** 0.5 - 2)  # no whole number of samples in a period
    shares = ordinal_distribution(np.sin(2 * np.pi * f * np.arange(200_000)), 3)
    assert shares == pytest.approx([0.5 - f, f / 2, f / 2, f / 2, f / 2, 0.5 - f], abs=1e-3)


def test_patterns_of_the_logistic_map():
    """x -> 4 x (1 - x) is a tent map in disguise: the shares are lengths of intervals, and three falling values never come."""
    x = np.empty(100_000)
    x[0] = 0.3
    for k in range(len(x) - 1):
        x[k + 1] = 4 * x[k] * (1 - x[k])
    shares = ordinal_distribution(x, 3)
    by_rank = {"012": 5, "021": 1, "120": 4, "102": 2, "201": 3, "210": 0}  # rank of the first, second, third value; fifteenths
    numbers = {ranks: int(ordinal_patterns(np.array([int(r) for r in ranks]), 3)[0]) for ranks in by_rank}
    for ranks, fifteenths in by_rank.items():
        assert shares[numbers[ranks]] == pytest.approx(fifteenths / 15, abs=0.006), ranks
    assert shares[numbers["210"]] == 0


def test_white_noise_has_all_patterns_alike():
    h, squared, jensen_shannon, variation = complexities(ordinal_distribution(white_noise(RATE_HZ, 100, seed=4), 4, 2))
    assert h > 0.9995 and squared < 1e-4 and jensen_shannon < 1e-3 and variation < 0.02


def test_ordinal_series_is_on_the_frame_grid_and_each_frame_is_its_windows_distribution(front_end):
    x = np.random.default_rng(1).standard_normal((3, 4000))
    x[:, :2000] = np.sin(2 * np.pi * 100.3 / RATE_HZ * np.arange(2000))
    series = ordinal_series(x, RATE_HZ, front_end, order=3)
    assert series.shape == (3, front_end.window_frames, len(SERIES)) and series.dtype == np.float32
    assert (series[0] == ordinal_series(x[0], RATE_HZ, front_end, order=3)).all()
    centre, half = 100 * 25 + 12, 256
    assert series[1, 100] == pytest.approx(complexities(ordinal_distribution(x[1, centre - half:centre + half], 3, 2)), abs=1e-6)
    assert series[:, 20:60, 0].max() < 0.8 < 0.97 < series[:, 100:140, 0].min()


def test_spectral_series_tells_a_sweep_from_noise_and_is_blind_to_gain(front_end):
    from spectrogram.generator import SpectrogramGenerator

    t = np.arange(4000) / RATE_HZ
    noise = white_noise(RATE_HZ, 2.0, 0.05, seed=5)
    sweep = noise + (0.2 * np.sin(2 * np.pi * (80 * t + 40 * t ** 2)) * (t > 1)).astype(np.float32)
    generator = SpectrogramGenerator(front_end)
    picture_db = np.concatenate([p.picture_db for p in generator.stream(Sound(sweep, RATE_HZ))])
    series = spectral_series(picture_db, front_end)
    assert series.shape == (160, 4) and np.isfinite(series).all()
    assert series[95:150, 0].max() < 0.55 < 0.7 < series[10:65, 0].min()
    assert spectral_series(picture_db + 17, front_end) == pytest.approx(series, abs=1e-5)
    assert spectral_series(np.full((2, 160, 64), 60.0), front_end)[..., 0] == pytest.approx(np.ones((2, 160)))


def test_whitened_series_forgets_the_colour_of_the_noise(front_end):
    tilt = np.linspace(0, -40, front_end.n_bands)
    flat = np.random.default_rng(2).normal(60, 3, (160, front_end.n_bands))
    assert spectral_series(flat + tilt, front_end, whiten=True) == pytest.approx(spectral_series(flat, front_end, whiten=True), abs=1e-5)
    assert spectral_series(flat + tilt, front_end)[:, 0].mean() < spectral_series(flat, front_end)[:, 0].mean() - 0.05


def test_frames_that_were_not_recorded_stay_unknown_and_half_masked_bands_are_refused(front_end):
    picture_db = np.random.default_rng(6).normal(60, 3, (160, front_end.n_bands))
    picture_db[120:] = np.nan
    for whiten in (False, True):
        series = spectral_series(picture_db, front_end, whiten=whiten)
        assert np.isnan(series[120:]).all() and np.isfinite(series[:120]).all()
        assert (series[:120] == spectral_series(picture_db[:120], front_end, whiten=whiten)).all()
    picture_db[:, 30:] = np.nan
    with pytest.raises(ValueError, match="masked; take a range that lies below"):
        spectral_series(picture_db, front_end, 50, 600)


@pytest.mark.parametrize("call, fault", [
    (lambda p: spectral_series(np.zeros((1, p.n_bands)), p, 50, 51), "bands between 50 and 51 Hz; widen the range"),
    (lambda p: ordinal_patterns(np.zeros(100), 9), "order must be 2 to 6"),
    (lambda p: ordinal_patterns(np.zeros(3), 4), "3 samples are too few"),
    (lambda p: ordinal_series(np.zeros(20), RATE_HZ, p), "less than a frame"),
    (lambda p: complexities(np.ones((3, 1))), "fewer than two cases"),
])
def test_what_cannot_be_is_said(front_end, call, fault):
    with pytest.raises(ValueError, match=fault):
        call(front_end)
