"""Spectral gating: blocks are the whole, a gain of 1 changes nothing, what stands out keeps its level and phase, the rest is turned down."""
import numpy as np
import pytest

from preprocessing.gating import CLIP_QUANTILE, UNKNOWN, Gate, above_background, gated, noise_level
from preprocessing.overlap_add import Grid, in_blocks, power
from tests.signals import sine, white_noise

RATE = 4000
QUIET = white_noise(RATE, 40, 0.01, seed=3)


def through(x, rate=RATE, size=None, **gate):
    return np.concatenate(list(gated(in_blocks(x, size or len(x)), rate, Gate(**gate))))


def db(ratio):
    return 20 * np.log10(ratio)


def with_tone(amplitude, seconds=(18, 21), frequency_hz=500.0):
    x, (first, last) = QUIET.copy(), (s * RATE for s in seconds)
    x[first:last] += sine(RATE, seconds[1] - seconds[0], frequency_hz, amplitude)
    return x


@pytest.mark.parametrize("rate", [4000, 11025, 44100])
@pytest.mark.parametrize("n", [1, 7, 100, 5000, 8192])
def test_a_gain_of_one_gives_the_sound_back(rate, n):
    x = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    back = np.concatenate(list(Grid(rate).filtered(in_blocks(x, 1000), lambda spectra: (np.float32(1) for _ in spectra))))
    assert len(back) == n and np.abs(back - x).max() <= 1e-6 * np.abs(x).max()
    assert len(through(x, rate)) == n


def test_segments_join_without_a_seam():
    """The gain falls with the frequency, the same in every segment: as if there were none."""
    grid = Grid(RATE)
    gain = np.linspace(1, 0, grid.n_bins, dtype=np.float32)
    joined = np.concatenate(list(grid.filtered([QUIET], lambda spectra: (gain for _ in spectra))))
    grid.segment_frames = 10 ** 6
    whole = np.concatenate(list(grid.filtered([QUIET], lambda spectra: (gain for _ in spectra))))
    np.testing.assert_allclose(joined, whole, atol=1e-6 * np.abs(whole).max())


def test_blocks_are_the_whole():
    x = with_tone(0.1)
    whole = through(x)
    assert len(whole) == len(x)
    for size in (97, 4001, 70_000):
        np.testing.assert_array_equal(through(x, size=size), whole)
    assert list(gated([], RATE)) == [] == list(gated([np.zeros(0, np.float32)], RATE))


def test_a_sine_20_db_above_the_noise_keeps_its_level_and_phase_while_the_noise_falls():
    x = with_tone(np.sqrt(2) * 0.1)
    y, t = through(x), np.arange(len(x)) / RATE
    inside, outside = (t > 18.2) & (t < 20.8), (t < 17.5) | (t > 21.5)
    tones = [np.mean(z[inside] * np.exp(-2j * np.pi * 500 * t[inside])) for z in (x, y)]
    assert abs(db(abs(tones[1] / tones[0]))) < 0.5 and abs(np.angle(tones[1] / tones[0])) < 0.01
    assert -20.1 < db(y[outside].std() / x[outside].std()) < -19
    spectrum = [np.abs(np.fft.rfft(z[inside] * np.hanning(inside.sum()))) ** 2 for z in (x, y)]
    away = np.abs(np.fft.rfftfreq(inside.sum(), 1 / RATE) - 500) > 200
    assert 10 * np.log10(spectrum[1][away].sum() / spectrum[0][away].sum()) < -18  # beside the tone, too


def test_levels_do_not_matter():
    x = with_tone(0.1)
    np.testing.assert_allclose(through(10 * x), 10 * through(x), rtol=1e-3, atol=1e-5)


def test_silence_stays_silence_and_nothing_is_nan():
    assert not through(np.zeros(30 * RATE, np.float32)).any()
    x = QUIET.copy()
    x[:15 * RATE] = 0
    y = through(x)
    assert not y[:15 * RATE - 200].any() and np.isfinite(y).all() and db(y[20 * RATE:].std() / x[20 * RATE:].std()) < -19
    x[20 * RATE:21 * RATE] = np.nan
    x[30 * RATE] = np.inf
    y = through(x)
    assert np.isfinite(y).all() and len(y) == len(x)
    one = np.zeros(8000, np.float32)
    one[4000] = 1.0  # a click in digital silence: no background to hold it against, so it passes
    np.testing.assert_allclose(through(one), one, atol=1e-6)


def test_the_background_is_the_mean_power_of_the_noise():
    grid = Grid(RATE)
    spectra = list(grid.spectra([QUIET]))
    true = np.mean([power(s).mean(axis=0) for s in spectra[1:-1]], axis=0)[5:-5]
    for quantile in (0.5, CLIP_QUANTILE):
        measured = noise_level(np.concatenate([power(s) for s in spectra]), quantile, 1)[5:-5]
        assert abs(10 * np.log10(measured / true)).mean() < 0.4 and abs(10 * np.log10(measured.mean() / true.mean())) < 0.15
    ratio = np.concatenate(list(above_background(spectra, grid)))
    assert ratio.shape[1] == grid.n_bins and ratio[:, 5:-5].mean() == pytest.approx(1, abs=0.06)
    assert (np.concatenate(list(above_background([np.zeros((50, 9), np.complex64)], grid))) == UNKNOWN).all()


def test_the_background_follows_a_passing_ship_and_a_call_is_none():
    rising = QUIET * (10 ** (np.linspace(0, 20, len(QUIET)) / 20)).astype(np.float32)
    y = through(rising)
    for part in np.split(np.arange(len(y)), 4):
        assert db(y[part].std() / rising[part].std()) < -16
    clip = QUIET[:4 * RATE].copy()  # half of a short clip is call
    clip[RATE:3 * RATE] += sine(RATE, 2, 700, 0.1)
    y = through(clip)
    assert abs(db(y[RATE + 500:3 * RATE - 500].std() / clip[RATE + 500:3 * RATE - 500].std())) < 0.3 and db(y[:RATE - 300].std() / clip[:RATE - 300].std()) < -15
    hum = QUIET + sine(RATE, 40, 700, 0.1)  # what never ends is background
    assert db(through(hum).std() / hum.std()) < -15


def test_memory_does_not_grow_with_the_recording():
    """However long the sound, what comes out lags less than 21 s behind what was read."""
    lags, read, given = [], 0, 0

    def blocks():
        nonlocal read
        for _ in range(200):
            read += RATE // 2
            yield QUIET[:RATE // 2]

    for block in gated(blocks(), RATE):
        lags.append(read - given)
        given += len(block)
    assert given == read == 100 * RATE and max(lags) < 21 * RATE


def test_settings_that_cannot_be():
    for wrong in ({"floor_db": 3}, {"closed_db": 9, "open_db": 9}, {"quantile": 1.0}, {"smooth_bins": -1}, {"window_s": 0}):
        with pytest.raises(ValueError, match="needs floor_db"):
            Gate(**wrong)
    for told in ({"smooth_frames": 0, "smooth_bins": 0}, {"floor_db": -60, "smooth_frames": 5, "smooth_bins": 3}):
        assert np.isfinite(through(with_tone(0.1), **told)).all()
