"""Levels are true: white noise, sines, coloured noise and real recordings, at every rate, within 0.5 dB in every band."""
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.signal import periodogram, welch

from spectrogram.bands import decidecade_centres_hz, nominal_hz
from spectrogram.generator import SpectrogramGenerator
from spectrogram.levels import FLOOR, Seconds, level_table, percentile_levels
from spectrogram.recording import Recording
from tests.signals import Sound, coloured_noise, sine, white_noise, write

RATES = [8000, 44100, 48000, 96000, 192000, 384000]
S = -176.3
TOLERANCE_DB = 0.5
HALF = 10 ** 0.05  # a decidecade reaches from centre / HALF to centre * HALF


def measure(generator, sound, row_s=3600.0, block_s=16.0):
    """Levels table, its meter, and the picture of a sound."""
    pieces = list(generator.stream(sound, block_s))
    meter = generator.front_end(sound.sample_rate_hz).meter
    table = level_table(Seconds.join([p.seconds for p in pieces]), meter, sound.sensitivity_db, row_s=row_s)
    return table, meter, np.concatenate([p.picture_db[:, :generator.profile.n_bands] for p in pieces])


def mean_level(level_db, axis=0):
    """Mean in power."""
    return 10 * np.log10(np.mean(10 ** (np.asarray(level_db, dtype=float) / 10), axis=axis))


def bands_of(table, prefix):
    return [c for c in table.columns if c.startswith(prefix) and "_p" not in c]


def decidecades_by_welch(x, rate_hz, centres_hz):
    """Decidecade powers by scipy: 2-s Hann windows overlapping by three quarters."""
    return in_bands(*welch(x.astype(float), rate_hz, "hann", nperseg=2 * rate_hz, noverlap=rate_hz * 3 // 2, detrend="constant"), centres_hz)


def in_bands(freqs, density, centres_hz):
    """Power in each decidecade; bins on a border are split in proportion."""
    cumulative = np.concatenate([[0], np.cumsum(density) * freqs[1]])
    edges = np.concatenate([[0], freqs + freqs[1] / 2])
    return np.interp(centres_hz * HALF, edges, cumulative) - np.interp(centres_hz / HALF, edges, cumulative)


@pytest.mark.parametrize("rate_hz", RATES)
def test_white_noise_reads_right_in_every_band(generator, rate_hz):
    rms = 0.1
    table, meter, picture = measure(generator, Sound(white_noise(rate_hz, 32, rms), rate_hz, S))
    density_db = 10 * np.log10(rms ** 2 / (rate_hz / 2)) - S
    assert len(table) == 1 and table["duration_s"].item() == pytest.approx(32)
    assert table[f"BB_1-{rate_hz // 2}"].item() == pytest.approx(20 * np.log10(rms) - S, abs=0.05)
    names = bands_of(table, "TOL_")
    assert names[0] == "TOL_20" and len(names) == len(decidecade_centres_hz(17.7, rate_hz / 2))
    expected = density_db + 10 * np.log10(meter.centres_hz * (HALF - 1 / HALF))
    assert np.abs(table[names].to_numpy()[0] - expected).max() < TOLERANCE_DB
    assert np.abs(table[bands_of(table, "PSD_")].to_numpy() - density_db).max() < TOLERANCE_DB
    visible = np.isfinite(picture[0])
    assert visible.any() and np.abs(mean_level(picture[:, visible]) - density_db).max() < TOLERANCE_DB


def test_every_fft_bin_of_white_noise_reads_right(generator, tmp_path):
    rms, rate_hz = 0.1, 48000
    path = write(tmp_path / "a.wav", white_noise(rate_hz, 20, rms), rate_hz)
    passage = generator.spectrogram(Recording(path, sensitivity_db=S))
    assert np.abs(mean_level(passage.psd_db)[2:-2] - (10 * np.log10(rms ** 2 / (rate_hz / 2)) - S)).max() < TOLERANCE_DB


@pytest.mark.parametrize("rate_hz", RATES)
def test_full_scale_sines_read_right_in_every_band(generator, rate_hz):
    """S - 3.01 dB: the rms of a full-scale sine; at every centre from 20 Hz to the highest band."""
    for centre in decidecade_centres_hz(17.7, rate_hz / 2):
        table, meter, _ = measure(generator, Sound(sine(rate_hz, 2.3, centre), rate_hz, S))
        levels = table[bands_of(table, "TOL_")].iloc[0]
        assert levels.idxmax() == f"TOL_{nominal_hz(centre)}"
        assert levels.max() == pytest.approx(-S - 3.01, abs=TOLERANCE_DB), f"{centre:.0f} Hz at {rate_hz} Hz"
        assert table[f"BB_1-{rate_hz // 2}"].item() == pytest.approx(-S - 3.01, abs=TOLERANCE_DB)
        widths = meter.psd_centres_hz * (10 ** (1 / 80) - 10 ** (-1 / 80))
        in_all_columns = 10 ** (table[bands_of(table, "PSD_")].to_numpy()[0] / 10) @ widths
        if centre > 25:  # half of a 20-Hz sine's main lobe lies below the lowest column
            assert 10 * np.log10(in_all_columns) == pytest.approx(-S - 3.01, abs=TOLERANCE_DB)


def test_power_of_a_sine_in_the_spectrum_is_its_level(generator, tmp_path):
    rate_hz = 192000
    passage = generator.spectrogram(Recording(write(tmp_path / "a.wav", sine(rate_hz, 1, 31234.5), rate_hz), sensitivity_db=S))
    power = (10 ** (passage.psd_db.astype(float) / 10)).sum(axis=1) * passage.freqs_hz[1]
    assert np.abs(10 * np.log10(power[3:-3]) + S + 3.01).max() < 0.1  # at the very ends, the mirrored sound breaks the phase


def test_sine_reads_right_in_each_second_and_in_a_last_part_of_a_second(generator):
    for frequency_hz in (19.953, 1000.0, 12589.0):
        table, _, _ = measure(generator, Sound(sine(48000, 17.4, frequency_hz), 48000, S), row_s=1.0)
        assert len(table) == 18 and table["duration_s"].iloc[-1] == pytest.approx(0.4)
        assert np.abs(table[f"TOL_{nominal_hz(frequency_hz)}"] + S + 3.01).max() < TOLERANCE_DB


@pytest.mark.parametrize("slope", [-2.0, 1.0])
@pytest.mark.parametrize("rate_hz", [8000, 44100, 192000])
def test_coloured_noise_agrees_with_welch(generator, rate_hz, slope):
    x = coloured_noise(rate_hz, 24, lambda f: 1e-6 * (np.maximum(f, 10) / 1000) ** slope, seed=3)
    table, meter, _ = measure(generator, Sound(x, rate_hz, S))
    reference = 10 * np.log10(decidecades_by_welch(x, rate_hz, meter.centres_hz)) - S
    assert np.abs(table[bands_of(table, "TOL_")].to_numpy()[0] - reference).max() < TOLERANCE_DB


def test_soundtrap_recordings_agree_with_welch(generator, soundtrap):
    for path in soundtrap:
        recording = Recording(path, sensitivity_db=-172.8)
        table = generator.levels(recording, row_s=3600)
        meter = generator.front_end(recording.sample_rate_hz).meter
        x = np.concatenate(list(recording.blocks(60)))
        reference = 10 * np.log10(decidecades_by_welch(x, recording.sample_rate_hz, meter.centres_hz)) + 172.8
        assert np.abs(table[bands_of(table, "TOL_")].to_numpy()[0] - reference).max() < TOLERANCE_DB
        assert table["BB_1-4000"].item() == pytest.approx(10 * np.log10(np.var(x.astype(float))) + 172.8, abs=TOLERANCE_DB)


def test_soundtrap_minutes_hold_the_energy_of_each_band(generator, soundtrap):
    """Against one periodogram of the whole minute: no windows, so no moment counts less than another (Welch forgets the minute's ends)."""
    recording = Recording(soundtrap[0], sensitivity_db=-172.8)
    table = generator.levels(recording, row_s=60)
    meter = generator.front_end(recording.sample_rate_hz).meter
    assert len(table) == 6 and (table["duration_s"][:5] == 60).all()
    for _, row in table[:5].iterrows():
        x = recording.read(row["start_s"], row["start_s"] + 60)
        reference = 10 * np.log10(in_bands(*periodogram(x.astype(float), 8000), meter.centres_hz)) + 172.8
        assert np.abs(row[bands_of(table, "TOL_")].to_numpy(dtype=float) - reference).max() < TOLERANCE_DB


@pytest.mark.parametrize("rate_hz", [8000, 48000])
def test_moment_of_a_pulse_does_not_change_its_level(generator, rate_hz):
    """Windows count every moment the same: a thump of 50 ms reads the same wherever it falls."""
    levels = []
    for start_s in np.arange(4.0, 5.0, 0.09):
        x = white_noise(rate_hz, 10, 1e-4)
        first, n = int(start_s * rate_hz), rate_hz // 20
        x[first:first + n] += sine(rate_hz, 0.05, 100) * np.hanning(n).astype(np.float32)
        levels.append(measure(generator, Sound(x, rate_hz, S), row_s=10)[0]["TOL_100"].item())
    assert np.ptp(levels) < 0.3


def test_percentiles_are_of_one_second_levels_and_rows_average_power(generator):
    rate_hz = 48000
    quiet, loud = white_noise(rate_hz, 15, 0.01), white_noise(rate_hz, 5, 0.1, seed=1)  # a quarter of the time 20 dB louder
    table, _, _ = measure(generator, Sound(np.concatenate([quiet, loud]), rate_hz, S), row_s=20)
    name = f"BB_1-{rate_hz // 2}"
    assert table[name].item() == pytest.approx(10 * np.log10((15 * 0.01 ** 2 + 5 * 0.1 ** 2) / 20) - S, abs=0.1)
    assert table[f"{name}_p05"].item() == pytest.approx(-40 - S, abs=0.2)
    assert table[f"{name}_p50"].item() == pytest.approx(-40 - S, abs=0.2)
    assert table[f"{name}_p95"].item() == pytest.approx(-20 - S, abs=0.2)
    assert (percentile_levels(np.arange(101.0)[:, None]).ravel() == [5, 50, 95]).all()


@pytest.mark.parametrize("hop", [1000, 1920, 500])
def test_each_second_has_its_own_level_whatever_the_frame_rate(profile, hop):
    """A whistle of exactly one second belongs to that second; 192, 100 and 384 frames per second."""
    x = white_noise(192000, 20, 1e-5)
    x[18 * 192000:19 * 192000] += sine(192000, 1, 10000, 0.1)
    table, _, _ = measure(SpectrogramGenerator(replace(profile, hop=hop)), Sound(x, 192000, S), row_s=1)
    levels = table["TOL_10000"].to_numpy()
    assert levels[18] == pytest.approx(-20 - 3.01 - S, abs=TOLERANCE_DB) and np.delete(levels, 18).max() < levels[18] - 15
    assert np.delete(levels, [17, 18, 19]).max() < levels[18] - 60


def test_offset_of_the_recorder_is_no_sound(generator):
    """A recorder's 0-Hz offset leaks neither into the broadband level nor into the lowest bands."""
    noise = white_noise(48000, 8, 0.01)
    plain, _, _ = measure(generator, Sound(noise, 48000, S))
    offset, _, _ = measure(generator, Sound(noise + np.float32(0.2), 48000, S))
    names = ["BB_1-24000", *bands_of(plain, "TOL_")]
    assert np.abs(plain[names] - offset[names]).to_numpy().max() < 0.1


def test_digital_silence_reads_the_floor_and_nothing_is_infinite(generator):
    table, _, picture = measure(generator, Sound(np.zeros(48000 * 2, np.float32), 48000, S))
    assert np.isfinite(table.drop(columns="UTC").to_numpy(dtype=float)).all()
    assert np.allclose(picture[np.isfinite(picture)], 10 * np.log10(FLOOR) - S)


def test_sensitivity_shifts_every_level_by_its_difference(generator):
    x = white_noise(48000, 3)
    a, _, picture_a = measure(generator, Sound(x, 48000, -170.0))
    b, _, picture_b = measure(generator, Sound(x, 48000, -177.6))
    names = [c for c in a if c.startswith(("BB_", "TOL_", "PSD_"))]
    assert np.allclose(b[names] - a[names], 7.6, atol=1e-6)
    assert np.nanmax(np.abs(picture_b - picture_a - 7.6)) < 1e-3


@pytest.mark.parametrize("seconds", [1 / 44100, 0.003, 0.02, 0.4, 1.0, 1.999, 16.0, 16.003, 16.6, 32.5])
def test_recordings_of_any_length_are_measured(generator, seconds):
    """No crash at awkward ends; what is shorter than one frame has no level rather than a false one."""
    x = white_noise(44100, 40)[:max(1, round(seconds * 44100))]
    table, _, picture = measure(generator, Sound(x, 44100, S), row_s=1.0)
    frame_s = 1 / generator.profile.frame_rate_hz
    assert len(picture) == int(len(x) / 44100 / frame_s + 1e-9)
    assert len(table) == -(-len(picture) // 192)
    if seconds >= 0.02:
        assert np.abs(table["TOL_5000"] - (20 * np.log10(0.1) - S + 10 * np.log10(5011.9 * (HALF - 1 / HALF) / 22050))).max() < 4
        assert table["duration_s"].sum() == pytest.approx(seconds, abs=frame_s)


def test_table_is_the_shape_that_pamscapes_reads(generator):
    seconds = list(generator.stream(Sound(white_noise(192000, 3), 192000, S)))[0].seconds
    meter = generator.front_end(192000).meter
    table = level_table(seconds, meter, S, pd.Timestamp("2022-07-16 02:14:53", tz="UTC"), row_s=1)
    assert str(table["UTC"].dt.tz) == "UTC" and list(table["UTC"].dt.strftime("%H:%M:%S")) == ["02:14:53", "02:14:54", "02:14:55"]
    assert table.columns[0] == "UTC" and table.columns.is_unique
    assert {"BB_1-96000", "TOL_20", "TOL_31.5", "TOL_63", "TOL_1000", "TOL_80000", "TOL_63_p95", "PSD_100"} <= set(table.columns)
    assert "TOL_100000" not in table  # it reaches beyond 96 kHz
    empty = level_table(Seconds(*(x[:0] for x in vars(seconds).values())), meter, S)
    assert list(empty.columns) == list(table.columns) and len(empty) == 0
