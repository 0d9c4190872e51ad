"""Quality: every planted fault is found, with its time and size, and nothing is found in clean noise."""
import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr

from preprocessing import quality as quality_room
from preprocessing.quality import COLUMNS, quality, quality_report
from spectrogram.recording import Recording
from spectrogram.response import Curve
from spectrogram.sensitivity import Sensitivity
from tests.signals import sine, write

RATE = 16000
STEP = 2.0 ** -15


def noise(seconds=20.0, rms=0.05, seed=0, colour=0.0, rate_hz=RATE):
    """(n,) float64 noise; colour 1 falls by 10 dB a decade, as the sea's does, 2 by 20."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(round(seconds * rate_hz)))
    f = np.arange(len(spectrum)) / seconds
    x = np.fft.irfft(spectrum / np.maximum(f, 20) ** (colour / 2), round(seconds * rate_hz))
    return x * rms / x.std()


def judge(folder, x, rate_hz=RATE, subtype="PCM_16", name="6872.220716021453.wav"):
    """Row of one recording made of x."""
    soundfile.write(folder / name, x, rate_hz, subtype=subtype)
    return quality(Recording(folder / name))


def only_fault(row, begins):
    assert len(row["faults"]) == 1 and row["faults"][0].startswith(begins), row["faults"]
    return row["faults"][0]


# --------------------------------------------------------------------------------------------------------- clean sound

@pytest.mark.parametrize("seed", range(20))
def test_clean_noise_has_no_fault(tmp_path, seed):
    rng = np.random.default_rng(seed)
    rate_hz = (4000, 16000, 44100)[seed % 3]
    x = noise(12, 10 ** rng.uniform(-3, -0.9), seed, seed % 4 * 0.7, rate_hz)
    row = judge(tmp_path, x, rate_hz, ("PCM_16", "PCM_24", "FLOAT")[seed % 3 if seed < 10 else seed % 2])
    assert row["faults"] == [] and row["dropouts"] == 0 and row["longest_clipped_ms"] == 0 and row["start_artefact_s"] == 0
    assert np.isnan([row["hum_hz"], row["bandwidth_hz"], row["clip_level"]]).all() and row["stuck_bits"] == [] and not row["dead"]
    assert row["rms_db"] == pytest.approx(20 * np.log10(x.std()), abs=0.02) and row["peak"] == pytest.approx(np.abs(x).max(), abs=STEP)


@pytest.mark.parametrize("rms_steps", [0.4, 0.7, 1.5, 3.0])
@pytest.mark.parametrize("colour", [0.0, 2.0])
def test_quiet_sound_is_called_quiet_and_nothing_else(tmp_path, rms_steps, colour):
    """Pauses of a quiet recording, and the turning points of low frequencies, are no dropouts; its few levels are no stuck bits."""
    row = judge(tmp_path, noise(rms=rms_steps * STEP, colour=colour, rate_hz=48000), 48000)
    assert row["dropouts"] == 0 and row["stuck_bits"] == [] and row["longest_clipped_ms"] == 0
    if rms_steps < 1.9:
        assert "steps of the converter" in only_fault(row, "too quiet")
    else:
        assert row["faults"] == []


def test_calls_are_no_faults(tmp_path):
    """Whistles, clicks and a boat whose line drifts around 50 Hz: loud, but no hum, no filter's edge, no clipping, no artefact."""
    x = noise(30, 0.003, 1, 1.0, 48000)
    t = np.arange(len(x)) / 48000
    for at in np.arange(1.3, 29, 1.7):
        first = round(at * 48000)
        x[first:first + 24000] += 0.2 * np.sin(2 * np.pi * (3000 + 4000 * t[:24000]) * t[:24000]) * np.hanning(24000)
    x[np.random.default_rng(2).integers(0, len(x), 300)] += 0.3
    x[::4800] += 0.1  # a pinger, ten times a second
    x += 0.02 * np.sin(2 * np.pi * (50 * t + 2 * np.sin(2 * np.pi * 0.05 * t) / (2 * np.pi * 0.05)))
    assert judge(tmp_path, x, 48000)["faults"] == []


# ------------------------------------------------------------------------------------------------------------ clipping

@pytest.mark.parametrize("level", [1.0, 0.4])
def test_clipping_at_full_scale_and_below(tmp_path, level):
    """Below full scale: clipped in the recorder, then made fainter."""
    loud = 2.5 * sine(RATE, 20, 137, 0.5) + noise(rms=0.1)
    row = judge(tmp_path, level * np.clip(loud, -1, 1))
    cut = np.abs(loud) >= 1
    ends = np.flatnonzero(np.diff(np.concatenate([[0], cut.astype(int), [0]])))
    assert row["clipped_share"] == pytest.approx(cut.mean(), rel=0.35)  # below full scale short runs do not count
    assert row["clip_level"] == pytest.approx(level, abs=2 * STEP) and row["longest_clipped_ms"] == pytest.approx(1000 * np.diff(ends)[::2].max() / RATE)
    assert f"{level:.0%} of full scale" in only_fault(row, "clipping")


def test_one_side_clips(tmp_path):
    row = judge(tmp_path, np.minimum(noise(rms=0.2), 0.3))
    assert row["clip_level"] == pytest.approx(0.3, abs=STEP) and only_fault(row, "clipping")


def test_normalised_sound_only_touches_full_scale(tmp_path):
    x = noise()
    row = judge(tmp_path, x / np.abs(x).max())
    assert row["faults"] == [] and row["peak"] > 0.999


def test_a_pure_tone_is_not_clipped(tmp_path):
    for frequency_hz in (10, 440, 1000):
        row = judge(tmp_path, sine(48000, 10, frequency_hz, 0.5), 48000)
        assert row["longest_clipped_ms"] == 0 and row["dropouts"] == 0


# -------------------------------------------------------------------------------------------- silence, dropouts, offset

@pytest.mark.parametrize("x", [np.zeros(RATE * 8), np.full(RATE * 8, 0.1), STEP * (np.arange(RATE * 8) % 7 == 0)], ids=["zeros", "constant", "last bit"])
def test_dead_channel(tmp_path, x):
    row = judge(tmp_path, x)
    assert row["dead"] and "check hydrophone, cable and gain" in only_fault(row, "dead channel")


def test_the_other_channel_may_live(tmp_path):
    soundfile.write(tmp_path / "two.wav", np.column_stack([np.zeros(RATE * 8), noise(8)]), RATE)
    table = quality_report([Recording(tmp_path / "two.wav", channel=k) for k in (0, 1)])
    assert table["channel"].tolist() == [0, 1] and table["dead"].tolist() == [True, False] and table["faults"][1] == ""


@pytest.mark.parametrize("how", ["zeros", "held"])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_dropouts_and_their_times(tmp_path, how, subtype):
    x = noise()
    planted = [(3.0, 3.005), (3.98, 4.02), (11.2, 11.31)]  # the second lies across two blocks
    for start_s, end_s in planted:
        first, last = round(start_s * RATE), round(end_s * RATE)
        x[first:last] = 0 if how == "zeros" else x[first]
    row = judge(tmp_path, x, subtype=subtype)
    assert row["dropouts"] == 3 and np.allclose(row["dropouts_at_s"], planted, atol=2 / RATE + 1e-4)
    assert row["dropout_s"] == pytest.approx(0.155, abs=0.001)
    told = [fault for fault in row["faults"] if fault.startswith("dropouts")]
    assert len(told) == 1 and "3, 0.155 s in all, the first from 3.000 to 3.005 s" in told[0]


def test_a_padded_end_is_a_dropout(tmp_path):
    x = noise()
    x[round(17.5 * RATE):] = 0
    row = judge(tmp_path, x)
    assert row["dropouts"] == 1 and row["dropouts_at_s"][0] == pytest.approx([17.5, 20.0], abs=0.001)


def test_offset(tmp_path):
    row = judge(tmp_path, noise() - 0.08)
    assert row["dc_offset"] == pytest.approx(-0.08, abs=1e-4) and row["rms_db"] == pytest.approx(20 * np.log10(0.05), abs=0.02)
    assert "-8.0% of full scale" in only_fault(row, "offset")


# ---------------------------------------------------------------------------------------------------------------- bits

def test_bits_really_used(tmp_path):
    x = noise()
    assert judge(tmp_path, x)["bits_used"] == 16
    assert judge(tmp_path, x, subtype="PCM_24")["bits_used"] == 24
    assert judge(tmp_path, np.round(x / STEP) * STEP, subtype="PCM_24")["bits_used"] == 16
    assert judge(tmp_path, np.round(x / STEP) * STEP, subtype="FLOAT")["bits_used"] == 16
    assert judge(tmp_path, np.round(x * 2 ** 11) / 2 ** 11)["bits_used"] == 12
    assert judge(tmp_path, np.round(x * 2 ** 11) / 2 ** 11 + 5 * STEP)["bits_used"] == 12  # with an offset
    assert np.isnan(judge(tmp_path, x, subtype="FLOAT")["bits_used"])


def test_gain_in_software_leaves_gaps_between_the_levels(tmp_path):
    row = judge(tmp_path, np.round(0.02 * noise() / STEP) * 5.3 * STEP)
    assert "some 14 dB or more" in only_fault(row, "gain was applied in software") and row["bits_used"] == pytest.approx(16 - np.log2(5.3), abs=0.15)


@pytest.mark.parametrize("bit, value", [(0 + 3, 0), (5, 1), (9, 0)])
def test_stuck_bits(tmp_path, bit, value):
    whole = np.round(noise(rms=0.1) / STEP).astype(np.int16)
    whole = whole & ~np.int16(1 << bit) if value == 0 else whole | np.int16(1 << bit)
    row = judge(tmp_path, whole)
    assert row["stuck_bits"] == [bit] and any(fault.startswith(f"stuck bits ({bit},") for fault in row["faults"])


# ------------------------------------------------------------------------------------------------------------- spectra

@pytest.mark.parametrize("mains_hz", [50, 60])
def test_hum_and_its_lines(tmp_path, mains_hz):
    x = noise(20, 0.02, 3, 1.0, 48000)
    t = np.arange(len(x)) / 48000
    for k, amplitude in ((1, 0.01), (3, 0.004), (5, 0.002)):
        x += amplitude * np.sin(2 * np.pi * 1.001 * k * mains_hz * t)  # the clock of a tape is 0.1 % off
    row = judge(tmp_path, x, 48000)
    assert row["hum_hz"] == mains_hz and row["hum_lines_hz"] == [mains_hz, 3 * mains_hz, 5 * mains_hz] and row["hum_db"] > 10
    assert f"{mains_hz}, {3 * mains_hz}, {5 * mains_hz} Hz" in only_fault(row, "hum")


@pytest.mark.parametrize("own_hz, rate_hz", [(16000, 48000), (44100, 96000), (8000, 192000)])
def test_upsampled_sound_ends_below_nyquist(tmp_path, own_hz, rate_hz):
    x = soxr.resample(noise(8, 0.05, 2, 1.0, own_hz), own_hz, rate_hz)
    row = judge(tmp_path, x, rate_hz)
    assert 0.85 * own_hz / 2 < row["bandwidth_hz"] < 1.1 * own_hz / 2
    assert "upsampled or low-passed" in only_fault(row, "no sound above")
    assert np.isnan(judge(tmp_path, soxr.resample(noise(8, 0.05, 2, 1.0, 96000), 96000, 88200), 88200)["bandwidth_hz"])  # its edge is at Nyquist


# ------------------------------------------------------------------------------------------------------------ the start

def tone(x, end_s):
    n = round(end_s * RATE)
    x[:n] += 0.02 * np.sin(2 * np.pi * 1000 * np.arange(n) / RATE)


def settling(x, end_s):
    """An offset that dies away; at `end_s` it is 0.3 % of full scale."""
    x += 0.15 * 0.02 ** (np.arange(len(x)) / RATE / end_s)


def step(x, end_s):
    x[:round(end_s * RATE)] *= 3


@pytest.mark.parametrize("plant, what", [(tone, "the level around"), (settling, "the offset is"), (step, "the level is 1")])
@pytest.mark.parametrize("end_s", [0.8, 2.5, 6.0])
def test_an_artefact_at_the_start_is_found_with_its_end(tmp_path, plant, what, end_s):
    x = noise(40, 0.005, 5, 1.0)
    plant(x, end_s)
    row = judge(tmp_path, x)
    assert row["start_artefact_s"] == pytest.approx(end_s, abs=0.11 if plant is not settling else 0.3 * end_s) and row["start_artefact_sure"] > 0.98
    assert what in only_fault(row, "start: the first")


def test_what_comes_again_later_is_no_artefact(tmp_path):
    x = noise(40, 0.02, 5, 1.0)
    for at in np.arange(0, 39, 4):
        tone(x[round(at * RATE):], 1.0)
    row = judge(tmp_path, x)
    assert row["start_artefact_s"] == pytest.approx(1.0, abs=0.1) and row["start_artefact_sure"] < 0.9 and row["faults"] == []
    late = noise(40, 0.02, 5, 1.0)
    tone(late[3 * RATE:], 1.0)  # alone, but not at the start
    assert judge(tmp_path, late)["start_artefact_s"] == 0


@pytest.mark.parametrize("frequency_hz", [60, 1000, 6000])
def test_the_level_is_that_in_the_water_where_the_hydrophone_s_response_is_known_by_frequency(tmp_path, frequency_hz):
    curve = Curve.of([50, 1000, 8000], [-168.0, -176.0, -166.0])
    for seconds in (5, 0.1):
        t = np.arange(round(seconds * 48000)) / 48000
        x = 10 ** ((120 + curve.at([frequency_hz])[0]) / 20) * np.sqrt(2) * np.sin(2 * np.pi * frequency_hz * t)
        recording = Recording(write(tmp_path / "a.wav", x.astype(np.float32), 48000))
        recording.sensitivity_db = Sensitivity.of(-176.0, curve.relative_to(-176.0))
        assert quality(recording)["level_db"] == pytest.approx(120, abs=0.3)


@pytest.mark.parametrize("rate_hz", [100, 600, 2000])
def test_low_rates(tmp_path, rate_hz):
    """Fin whales are kept at 600 Hz; nothing there is asked for what lies above Nyquist."""
    assert judge(tmp_path, noise(30, rate_hz=rate_hz, seed=3), rate_hz)["faults"] == []


def test_too_short_to_tell(tmp_path):
    row = judge(tmp_path, noise(3))
    assert np.isnan([row["start_artefact_s"], row["hum_hz"]]).all() and row["faults"] == []


# ---------------------------------------------------------------------------------------------------------- the report

def test_report_has_a_row_for_every_recording_and_keeps_bad_ones(tmp_path):
    (tmp_path / "N").mkdir()
    soundfile.write(tmp_path / "N" / "6872.220716021453.wav", noise(8), RATE)
    soundfile.write(tmp_path / "whole.wav", noise(8, seed=2), RATE)
    whole = (tmp_path / "whole.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[:len(whole) // 2])
    (tmp_path / "empty.wav").touch()
    x = noise(8)
    x[100:103] = np.nan
    soundfile.write(tmp_path / "odd.wav", x, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "few.wav", noise(8)[:5], RATE)
    soundfile.write(tmp_path / "broken.flac", noise(8), RATE)
    (tmp_path / "broken.flac").write_bytes((tmp_path / "broken.flac").read_bytes()[:120])
    table = quality_report(tmp_path).set_index("recording")
    assert list(table.reset_index()) == list(COLUMNS) and len(table) == 7
    assert table["faults"]["N/6872.220716021453.wav"] == table["faults"]["whole.wav"] == ""
    assert "zero bytes" in table["faults"]["empty.wav"] and np.isnan(table["duration_s"]["empty.wav"])
    assert "the header promises 8.0 s, the file holds 4.0 s" in table["faults"]["cut.wav"] and table["duration_s"]["cut.wav"] == pytest.approx(4, abs=0.01)
    assert "3 samples are not numbers" in table["faults"]["odd.wav"]
    assert table["duration_s"]["few.wav"] == 5 / RATE
    assert "not a sample could be read" in table["faults"]["broken.flac"]
    good = table.loc["N/6872.220716021453.wav"]
    assert good["start_utc"] == pd.Timestamp("2022-07-16 02:14:53", tz="UTC") and good["calibrated"] and good["level_db"] == pytest.approx(good["rms_db"] + 177.6)
    table.reset_index().to_parquet(tmp_path / "quality.parquet")
    named = quality_report(pd.DataFrame({"recording": ["mine"], "path": [tmp_path / "whole.wav"]}))
    assert named["recording"].tolist() == ["mine"]
    with pytest.raises(ValueError, match="no column path"):
        quality_report(pd.DataFrame({"file": ["a"]}))


@pytest.mark.parametrize("block_s", [0.0371, 1.0, 100.0])
def test_figures_do_not_depend_on_the_blocks(tmp_path, monkeypatch, block_s):
    x = noise(16, 0.1, 4, 1.0)
    x[RATE * 4 - 500:RATE * 4 + 500] = 0
    x[RATE * 7:RATE * 7 + 400] = 0.7
    x = np.clip(x, -0.35, 0.7)
    settling(x, 2.0)
    expected = judge(tmp_path, x)
    monkeypatch.setattr(quality_room, "BLOCK_S", block_s)
    row = quality(Recording(tmp_path / "6872.220716021453.wav"))
    assert len(expected["faults"]) >= 2
    for key, value in expected.items():
        assert row[key] == pytest.approx(value, rel=1e-6, nan_ok=True) if isinstance(value, float) else row[key] == value, key
