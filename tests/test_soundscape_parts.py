"""The parts of the simulated soundscape: absorption, noise, boats, calls, recorder. Each against theory or an independent formula."""

from datetime import datetime, timezone

import numpy as np
import pytest
from scipy.signal import welch

from preprocessing.soundscape.ambient import Ambient, Weather, rain_psd, self_noise_psd, wind_psd
from preprocessing.soundscape.background import Background
from preprocessing.soundscape.boats import BoatNoise, draw_boat
from preprocessing.soundscape.calls import LABELS, make_call
from preprocessing.soundscape.clicks import ANGLES_DEG, click_bank
from preprocessing.soundscape.noise import ShapedNoise
from preprocessing.soundscape.propagation import SYNTHESIS_RATE_HZ, Path, Water, absorption_db_per_km, path_gain, receive
from preprocessing.soundscape.randomness import generator, smooth_walk
from preprocessing.soundscape.recorder import full_scale_upa, soundtrap_name, to_int16


def francois_garrison_db_per_km(f_hz, temperature_c, salinity, depth_m, ph):
    """Francois & Garrison (1982, J. Acoust. Soc. Am. 72, 1879), written from the paper as the independent reference."""
    f, t, s, d = f_hz / 1e3, temperature_c, salinity, depth_m
    c = 1412 + 3.21 * t + 1.19 * s + 0.0167 * d
    a1, f1 = 8.86 / c * 10 ** (0.78 * ph - 5), 2.8 * np.sqrt(s / 35) * 10 ** (4 - 1245 / (273 + t))
    a2, p2 = 21.44 * s / c * (1 + 0.025 * t), 1 - 1.37e-4 * d + 6.2e-9 * d**2
    f2 = 8.17 * 10 ** (8 - 1990 / (273 + t)) / (1 + 0.0018 * (s - 35))
    a3 = 4.937e-4 - 2.59e-5 * t + 9.11e-7 * t**2 - 1.5e-8 * t**3
    p3 = 1 - 3.83e-5 * d + 4.9e-10 * d**2
    return a1 * f1 * f**2 / (f1**2 + f**2) + a2 * p2 * f2 * f**2 / (f2**2 + f**2) + a3 * p3 * f**2


@pytest.mark.parametrize("f_hz", [1e3, 10e3, 40e3, 60e3, 90e3])
@pytest.mark.parametrize(("temperature_c", "salinity"), [(4.0, 28.0), (10.0, 35.0)])
def test_absorption_agrees_with_francois_and_garrison(f_hz, temperature_c, salinity):
    water = Water(temperature_c, salinity, depth_m=20.0, ph=8.0)
    assert absorption_db_per_km(f_hz, water) == pytest.approx(francois_garrison_db_per_km(f_hz, temperature_c, salinity, 20.0, 8.0), rel=0.12)


def test_known_ambient_levels():
    assert 10 * np.log10(wind_psd(1000.0, 0.0)) == pytest.approx(44, abs=1)  # Knudsen, sea state 0
    assert 10 * np.log10(wind_psd(1000.0, 6.0)) == pytest.approx(62, abs=1.5)  # Knudsen, sea state 3: 61.5 dB
    decade = 10 * np.log10(wind_psd(5e3, 5.0) / wind_psd(50e3, 5.0))
    assert decade == pytest.approx(17, abs=0.5)
    assert 10 * np.log10(rain_psd(5e3, 10.0)) == pytest.approx(42.4 + 15.4, abs=1)  # Ma & Nystuen (2005)
    assert 10 * np.log10(self_noise_psd(20e3, 36.0)) == pytest.approx(36)


def test_noise_has_the_density_asked_for_and_blocks_make_the_whole():
    noise = ShapedNoise((5, "test"), 48_000)
    psd = (1e4 / (1 + (noise.frequency_hz / 3000) ** 2)).astype(np.float32)
    whole = noise.block(0, 480_000, lambda t: psd)
    pieces = [noise.block(a, b, lambda t: psd) for a, b in ((0, 7), (7, 100_003), (100_003, 480_000))]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-3)
    f, measured = welch(whole, 48_000, nperseg=2048)
    for low, high in ((200, 1000), (1000, 5000), (5000, 12_000), (12_000, 23_000)):
        band = (f >= low) & (f < high)
        assert 10 * np.log10(measured[band].sum() / np.interp(f[band], noise.frequency_hz, psd).sum()) == pytest.approx(0, abs=0.2)


def test_a_boat_made_in_blocks_is_the_boat_made_whole_and_has_its_density():
    water = Water(depth_m=20.0)
    boat = draw_boat(generator(3, "boat"), {"outboard": 1.0}, 10.0, 20.0, 20.0)
    noise = BoatNoise(boat, (3, "noise"), water, 48_000)
    whole = noise.block(0, 480_000)
    np.testing.assert_allclose(np.concatenate([noise.block(0, 100_000), noise.block(100_000, 480_000)]), whole, atol=2e-3 * np.abs(whole).max())
    f, measured = welch(whole[-96_000:], 48_000, nperseg=1024)
    meant = np.mean([boat.received_psd(f, t, water) for t in np.linspace(8, 10, 41)], axis=0)
    band = (f > 8000) & (f < 20e3)
    assert 10 * np.log10(measured[band].sum() / meant[band].sum()) == pytest.approx(0, abs=0.7)


@pytest.mark.parametrize("label", LABELS)
def test_calls_vary_and_lie_in_their_band(label):
    spectra, kinds = [], set()
    for seed in range(25):
        call = make_call(label, generator(seed, label))
        f, psd = welch(call.waveform, SYNTHESIS_RATE_HZ, nperseg=min(2048, len(call.waveform)))
        share = np.cumsum(psd) / psd.sum()
        spectra.append((np.interp(0.5, share, f), call.duration_s))
        kinds.add(call.kind)
        assert np.isfinite(call.waveform).all()
    middle, seconds = np.array(spectra).T
    low, high = {"ECHO": (15e3, 96e3), "HFPC": (30e3, 96e3), "BBPC": (500, 80e3), "Whistle": (300, 24e3)}[label]
    assert (middle > low).mean() >= 0.9 and (middle < high).all()
    assert len(kinds) >= 2 and seconds.std() > 0.1 * seconds.mean() and middle.std() > 0.05 * middle.mean()


def test_broadband_calls_reach_below_8_khz():
    for seed in range(20):
        f, psd = welch(make_call("BBPC", generator(seed)).waveform, SYNTHESIS_RATE_HZ, nperseg=2048)
        assert 10 * np.log10(psd[(f > 1000) & (f < 8000)].sum() / psd.sum()) > -15


def test_click_beam_is_narrow():
    bank = click_bank(generator(1))
    assert np.ptp(bank[0]) == pytest.approx(1)
    side = 20 * np.log10(np.ptp(bank[list(ANGLES_DEG).index(32)]))
    assert -50 < side < -15


def test_distance_takes_the_high_band_first():
    """White sound over 1 km: what arrives has exactly the gain of spreading and absorption."""
    source = generator(2).standard_normal(192_000).astype(np.float32)
    water, path = Water(), Path(1000.0, surface=False)
    heard = receive(source, path, water, 192_000, generator(0))
    f, out = welch(heard[:192_000], 192_000, nperseg=1024)
    _, inp = welch(source, 192_000, nperseg=1024)
    for f_hz in (2e3, 20e3, 60e3, 85e3):
        near = abs(f - f_hz) < 1500
        assert 10 * np.log10(out[near].sum() / inp[near].sum()) == pytest.approx(20 * np.log10(path_gain(f_hz, 1000.0, water)), abs=0.3)


@pytest.mark.parametrize("rate", [8000, 44_100, 96_000, 384_000])
def test_other_rates_keep_level_and_time_and_do_not_alias(rate):
    t = np.arange(96_000) / SYNTHESIS_RATE_HZ
    tone = np.where(t > 0.2, np.sin(2 * np.pi * 1500 * t), 0) + (np.sin(2 * np.pi * 5000 * t) if rate == 8000 else 0)
    heard = receive(tone, Path(1.0, surface=False), Water(), rate, generator(0))
    inside = heard[int(0.25 * rate) : int(0.45 * rate)]
    assert 10 * np.log10(np.mean(inside**2) / 0.5) == pytest.approx(0, abs=0.05)
    assert np.mean(heard[: int(0.19 * rate)] ** 2) < 1e-4


def test_background_of_known_level_keeps_it_and_loops_without_a_gap(tmp_path):
    import soundfile

    rng = generator(8)
    clip = (10 ** (60 / 20) / full_scale_upa(-170.0)) * rng.standard_normal(48_000 * 2) * np.sqrt(24_000)  # 60 dB re 1 µPa²/Hz, white
    soundfile.write(tmp_path / "noise.wav", clip, 48_000, "FLOAT")
    loop = Background(tmp_path / "noise.wav", 96_000, -170.0)
    wave = loop.block(0, 960_000)
    f, psd = welch(wave, 96_000, nperseg=2048)
    band = (f > 500) & (f < 20e3)
    assert 10 * np.log10(psd[band].mean()) == pytest.approx(60, abs=0.5)
    assert 10 * np.log10(loop.psd(np.array([5000.0]))[0]) == pytest.approx(60, abs=1.5)
    assert loop.psd(np.array([40e3]))[0] == 0
    second = np.sqrt(np.mean(wave.reshape(-1, 9600) ** 2, axis=1))
    assert second.min() > 0.8 * second.mean()


def test_ambient_is_bounded_and_steady_when_asked():
    f = np.linspace(0, 96_000, 500)
    steady = Ambient((1, "X", 0), Weather(), f, 192_000, 60, steady=True)
    np.testing.assert_array_equal(steady.psd(1.0), steady.psd(55.0))
    gusty = Ambient((1, "X", 0), Weather(), f, 192_000, 60)
    assert np.isfinite(gusty.psd(-5.0)).all() and np.isfinite(gusty.psd(1e4)).all()


def test_full_scale_is_the_sensitivity_and_clips():
    full = full_scale_upa(-176.0)
    assert 20 * np.log10(full) == pytest.approx(176.0)
    np.testing.assert_array_equal(to_int16(np.array([0, full / 2, -full, 3 * full, -3 * full], dtype=np.float32), -176.0), [0, 16384, -32768, 32767, -32768])


def test_names_are_in_utc():
    assert soundtrap_name("6872", datetime(2022, 7, 16, 2, 14, 53, tzinfo=timezone.utc)) == "6872.220716021453.wav"
    with pytest.raises(ValueError, match="time zone"):
        soundtrap_name("6872", datetime(2022, 7, 16))


def test_random_curves_have_unit_variance():
    curves = np.array([smooth_walk(generator(i), 400, 0.5, 1.0) for i in range(200)])
    assert curves.std() == pytest.approx(1, abs=0.05)
