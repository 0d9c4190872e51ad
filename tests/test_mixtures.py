"""Known mixtures: the ratio that was asked for, measures worked out by hand, intervals over groups."""
import numpy as np
import pandas as pd
import pytest

from preprocessing.mixtures import difference, interval, measured, measures, mixed, si_sdr_db, summary
from tests.signals import sine, white_noise

RATE = 4000
CALL, NOISE = sine(RATE, 1.0, 600, 0.3), white_noise(RATE, 6, 0.02, seed=2)


@pytest.mark.parametrize("snr_db, band_hz", [(-6.0, None), (12.0, None), (3.0, (500.0, 700.0))])
def test_the_ratio_is_the_one_asked_for(snr_db, band_hz):
    m = mixed(CALL, NOISE, snr_db, RATE, 4000, band_hz)
    assert (m.first, m.last) == (4000, 8000) and not m.call[:4000].any() and not m.call[8000:].any()
    np.testing.assert_array_equal(m.sound, m.call + NOISE)

    def power(x):
        spectrum, freqs = np.abs(np.fft.rfft(x[4000:8000])) ** 2, np.fft.rfftfreq(4000, 1 / RATE)
        return spectrum[(freqs >= band_hz[0]) & (freqs <= band_hz[1])].sum() if band_hz else np.mean(x[4000:8000] ** 2)

    assert 10 * np.log10(power(m.call) / power(m.noise)) == pytest.approx(snr_db, abs=1e-3)


def test_what_cannot_be_mixed():
    for call, at, words in ((np.ones(50_000), None, "longer noise"), (CALL, 21_000, "longer noise"), (np.zeros(100), None, "the call is silent"), (CALL[:0], None, "longer noise")):
        with pytest.raises(ValueError, match=words):
            mixed(call, NOISE, 0, RATE, at)
    with pytest.raises(ValueError, match="the noise is silent"):
        mixed(CALL, np.zeros(9000, np.float32), 0, RATE)


def test_measures_by_hand():
    s, n = np.array([1.0, -1.0, 1.0, -1.0]), np.array([1.0, 1.0, -1.0, -1.0])  # at right angles
    assert si_sdr_db(s + 0.1 * n, s) == (pytest.approx(20), pytest.approx(0)) and si_sdr_db(0.5 * s + 0.5 * n, s) == (pytest.approx(0, abs=1e-9), pytest.approx(-6.0206, abs=1e-3))
    assert si_sdr_db(n, s) == (-np.inf, -60.0) and si_sdr_db(-s, s)[0] == -np.inf and si_sdr_db(2 * s, s) == (np.inf, pytest.approx(6.0206, abs=1e-3))
    m = mixed(CALL, NOISE, 0.0, RATE)
    whole = measures(m.sound, m, RATE, (500, 700))
    assert whole["si_sdr_db"] == pytest.approx(0, abs=0.3) and whole["band_snr_db"] == pytest.approx(10, abs=1.5)  # a tenth of the noise lies in the band
    assert measures(m.call + 0.1 * m.noise, m, RATE)["si_sdr_db"] == pytest.approx(20, abs=0.3) and np.isnan(measures(m.sound, m, RATE)["band_snr_db"])


def test_a_table_of_ways_to_denoise():
    """One way knows the tone's frequency, one does nothing, one takes half of all."""
    def knows(sound, rate):
        spectrum, freqs = np.fft.rfft(sound), np.fft.rfftfreq(len(sound), 1 / rate)
        return np.fft.irfft(np.where((freqs > 590) & (freqs < 610), spectrum, 0), len(sound))

    about = pd.DataFrame({"group": ["a", "a", "b", "c"], "label": "Tone", "low_hz": 500.0, "high_hz": 700.0})
    how = {"nothing": lambda x, rate: x, "half": lambda x, rate: 0.5 * x, "knows": knows, "gate": "gate"}
    table = measured([CALL, CALL[:3000], CALL[:2000], CALL], [NOISE, white_noise(RATE, 5, seed=9)], RATE, how, (0.0, 10.0), about)
    assert len(table) == 4 * 2 * 4 and set(table["label"]) == {"Tone"}
    every = summary(table)
    assert every.loc[("nothing", 0.0), ["si_sdr_gain_db", "band_snr_gain_db"]].tolist() == [0, 0]
    assert every.loc[("half", 0.0), "si_sdr_gain_db"] == pytest.approx(0, abs=1e-4) and every.loc[("half", 10.0), "level_db"] == pytest.approx(-6, abs=0.2)
    assert every.loc[("knows", 0.0), "si_sdr_gain_db"] > 10 and every.loc[("gate", 10.0), "si_sdr_gain_db"] > 1
    assert (every["groups"] == 3).all() and (every["mixtures"] == 4).all()
    gap = difference(table, "knows", "nothing")
    assert gap["low"] <= gap["mean"] <= gap["high"] and gap["low"] > 5
    with pytest.raises(ValueError, match="no mixture was denoised by 'magic'"):
        difference(table, "magic", "gate")
    with pytest.raises(ValueError, match="longer than every noise"):
        measured([np.ones(30_000, np.float32)], [NOISE], RATE, how)
    pd.testing.assert_frame_equal(table, measured([CALL, CALL[:3000], CALL[:2000], CALL], [NOISE, white_noise(RATE, 5, seed=9)], RATE, how, (0.0, 10.0), about))


def test_intervals_resample_groups():
    values, groups = np.array([0.0] * 50 + [10.0] * 50), np.repeat(["a", "b"], 50)
    assert interval(values, groups) == (5.0, 0.0, 10.0)  # two groups: as uncertain as two values
    middle, low, high = interval(values, np.arange(100))
    assert middle == 5.0 and 3.5 < low < 4.5 and 5.5 < high < 6.5
    assert interval(np.array([1.0, np.nan, np.inf]), np.array([1, 2, 3]))[0] == 1.0 and np.isnan(interval(np.array([1.0]), np.array([1]))[1]) and np.isnan(interval(np.array([]), np.array([]))).all()
