"""Calibration by serial, day, gain and frequency: levels through a hydrophone with a curved
response are those of the sound; and what is not calibrated says so everywhere."""

import json
import pickle
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pandas as pd
import pytest

from pipeline import run_pipeline_single_audio
from pipeline.exchange import to_pamscapes, to_raven, to_raven_sequence
from pipeline.fingerprint import footer
from pipeline.parts import pack, write_raven_of
from pipeline.tables import TABLES, raven_table
from spectrogram import recording as recording_module
from spectrogram.generator import SpectrogramGenerator
from spectrogram.recording import Recording
from spectrogram.response import Curve, read_curve
from spectrogram.sensitivity import HydrophoneSensitivity, Sensitivity
from spectrogram.units import MARK, density_unit
from tests.signals import Sound, coloured_noise, white_noise
from tests.toy_model import ToyModel
from tests.toy_sound import NAME, scene, write

HZ, DB = (
    (10.0, 100.0, 1000.0, 8000.0, 30000.0, 60000.0, 96000.0),
    (-168.0, -175.0, -176.0, -174.0, -166.0, -181.0, -190.0),
)
RESPONSE = Curve.of(HZ, DB)
CURVED = Sensitivity.of(-176.0, RESPONSE.relative_to(-176.0))
HALF = 10**0.05
TOLERANCE_DB = 0.5


def through_the_hydrophone(rate_hz, seconds, density_db):
    """Noise of so many dB re 1 µPa²/Hz at each frequency from 2 Hz on, as this hydrophone stores
    it."""
    return coloured_noise(
        rate_hz, seconds, lambda f: 10 ** ((density_db(f) + RESPONSE.at(f)) / 10) * (f >= 2)
    )


@pytest.mark.parametrize("rate_hz", [8000, 48000, 192000])
def test_noise_through_a_curved_response_reads_as_it_was_in_the_water(generator, rate_hz):
    for slope in (0.0, -17.0):  # white, and as in the sea

        def density_db(f, slope=slope):
            return 70.0 + slope * np.log10(np.maximum(f, 1.0) / 1000)

        sound = Sound(through_the_hydrophone(rate_hz, 20, density_db), rate_hz, CURVED)
        levels = levels_of(generator, sound)
        meter = generator.front_end(rate_hz).meter
        wide = 10 * np.log10(meter.centres_hz * (HALF - 1 / HALF))
        tol = [c for c in levels if c.startswith("TOL_") and "_p" not in c]
        assert (
            np.abs(levels[tol].to_numpy()[0] - density_db(meter.centres_hz) - wide).max()
            < TOLERANCE_DB
        )
        psd = [c for c in levels if c.startswith("PSD_")]
        assert (
            np.abs(levels[psd].to_numpy()[0] - density_db(meter.psd_centres_hz)).max()
            < TOLERANCE_DB
        )
        f = np.arange(2, rate_hz / 2, 0.05)
        broadband = 10 * np.log10(np.sum(10 ** (density_db(f) / 10)) * 0.05)
        assert levels[f"BB_1-{rate_hz // 2}"][0] == pytest.approx(broadband, abs=TOLERANCE_DB)
        if slope == 0:  # within a band of the picture nothing slopes
            picture = np.concatenate([piece.psd for piece in generator.stream(sound)])[20:-20]
            seen = generator.profile.visible_bands(rate_hz / 2)
            assert np.abs(10 * np.log10(picture[:, seen].mean(axis=0)) - 70.0).max() < TOLERANCE_DB


def levels_of(generator, sound):
    from spectrogram.levels import Seconds, level_table

    seconds = Seconds.join([piece.seconds for piece in generator.stream(sound)])
    return level_table(
        seconds, generator.front_end(sound.sample_rate_hz).meter, sound.sensitivity_db, row_s=60
    )


@pytest.mark.parametrize("frequency_hz", [63, 500, 1600, 4000, 31500, 60000, 80000])
def test_tones_through_a_curved_response_read_right_in_levels_and_broadband(
    generator, frequency_hz
):
    rate_hz = 192000
    amplitude = 10 ** ((120 + RESPONSE.at([frequency_hz])[0]) / 20) * np.sqrt(
        2
    )  # of 120 dB re 1 µPa
    t = np.arange(8 * rate_hz) / rate_hz
    x = (amplitude * np.sin(2 * np.pi * frequency_hz * t)).astype(np.float32) + white_noise(
        rate_hz, 8, 1e-7
    )
    levels = levels_of(generator, Sound(x, rate_hz, CURVED))
    assert levels["BB_1-96000"][0] == pytest.approx(120, abs=TOLERANCE_DB)
    loudest = 10 * np.log10(np.sum(10 ** (levels.filter(regex=r"^TOL_[\d.]+$").to_numpy()[0] / 10)))
    assert loudest == pytest.approx(120, abs=TOLERANCE_DB)


def test_a_picture_to_look_at_is_calibrated_in_every_bin_and_band(generator, tmp_path):
    path = write(
        tmp_path / NAME, through_the_hydrophone(48000, 10, lambda f: np.full(len(f), 70.0)), 48000
    )
    recording = Recording(path)
    recording.sensitivity_db = CURVED
    shown = generator.spectrogram(recording, 1, 9)
    mean_db = 10 * np.log10(np.mean(10 ** (shown.psd_db[:, 2:-2] / 10), axis=0))
    assert np.abs(mean_db - 70.0).max() < TOLERANCE_DB


def test_events_and_windows_take_their_levels_from_the_calibrated_picture(tmp_path):
    """A response that is flat but for its number is the plain number, in every table; one that
    slopes moves the levels by the slope."""
    path = write(tmp_path / NAME, scene(8, 48000), 48000)
    shifted = Curve.of([10, 100000], [-170.0, -170.0])

    def run(sensitivity):
        recording = Recording(path)
        recording.sensitivity_db = sensitivity
        return run_pipeline_single_audio(recording, ToyModel())

    plain, curved = run(-170.0), run(Sensitivity.of(-176.0, shifted.relative_to(-176.0)))
    assert len(plain.events) > 0
    np.testing.assert_allclose(curved.events["level_db"], plain.events["level_db"], atol=0.01)
    np.testing.assert_allclose(
        curved.windows["level_low_db"], plain.windows["level_low_db"], atol=0.01
    )
    np.testing.assert_allclose(
        curved.levels.filter(regex="^(TOL|PSD|BB)_").to_numpy(float),
        plain.levels.filter(regex="^(TOL|PSD|BB)_").to_numpy(float),
        atol=0.01,
    )
    assert curved.metadata["provenance"]["settings"]["sensitivity_curve"]


def test_one_number_is_the_same_to_the_last_bit_whether_a_curve_might_have_been(generator):
    sound = Sound(white_noise(48000, 5, 0.1), 48000, -176.0)
    same = Sound(
        sound.samples,
        48000,
        Sensitivity.of(-176.0, Curve.of([10, 1000], [-176.0, -176.0]).relative_to(-176.0)),
    )
    for one, other in zip(generator.stream(sound), generator.stream(same)):
        for name in ("picture_db", "psd", "coarse_psd"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        np.testing.assert_array_equal(one.seconds.band_power, other.seconds.band_power)


# --- the table of hydrophones ---


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table" / "hydrophones.json"
    path.parent.mkdir()
    path.write_text('{"6872": -177.6}', encoding="utf-8")
    return HydrophoneSensitivity(path)


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def test_a_new_calibration_never_changes_what_older_recordings_get(table):
    before = {day: table.get("6872", utc(day)) for day in ("2019-01-01", "2023-12-31")}
    table.add("6872", -176.9, valid_from="2024-01-01")
    table.add("6872", -176.1, valid_from="2026-01-01")
    for again in (table, HydrophoneSensitivity(table.path)):
        assert (
            {day: again.get("6872", utc(day)) for day in before}
            == before
            == dict.fromkeys(before, (-177.6, True))
        )
        assert (
            again.get("6872", utc("2024-01-01"))[0]
            == again.get("6872", utc("2025-12-31T23:59"))[0]
            == -176.9
        )
        assert again.get("6872", utc("2026-07-01"))[0] == -176.1
        unknown = again.calibration("6872")
        assert (
            unknown.sensitivity == -176.1
            and "its start is unknown, so the calibration of 2026-01-01 is taken" in unknown.remark
        )


def test_a_value_is_overwritten_only_where_that_is_said(table):
    table.add("6872", -177.6)  # as it is known
    with pytest.raises(
        ValueError, match="hydrophone 6872: -177.6 dB is known already; give valid_from"
    ):
        table.add("6872", -177.9)
    assert HydrophoneSensitivity(table.path).get("6872")[0] == -177.6
    table.add("6872", -177.9, replace=True)
    assert json.loads(table.path.read_text(encoding="utf-8")) == {
        "6872": -177.9
    }  # still a plain number


def test_gains_have_their_own_calibrations_and_are_never_guessed(table):
    table.add("1353", -170.1, gain="High", valid_from="2023-01-01")
    assert table.get("1353", utc("2024-01-01")) == (-170.1, True)  # there is only one
    table.add("1353", -182.3, gain="low")
    at = utc("2024-01-01")
    assert (table.get("1353", at, "high"), table.get("1353", at, "LOW")) == (
        (-170.1, True),
        (-182.3, True),
    )
    for gain, said in (
        (None, "nobody says which was set"),
        ("medium", "it was recorded at medium"),
    ):
        found = table.calibration("1353", at, gain)
        assert not found.known and found.sensitivity == -170.0 and said in found.remark


def test_a_calibration_of_one_gain_never_changes_what_recordings_before_it_get(table):
    table.add("1353", -175.0)
    table.add("1353", -160.0, gain="high", valid_from="2024-01-01")
    of = {day: table.calibration("1353", utc(day), "high") for day in ("2020-01-01", "2025-01-01")}
    assert {day: float(found.sensitivity) for day, found in of.items()} == {
        "2020-01-01": -175.0,
        "2025-01-01": -160.0,
    }
    assert not of["2020-01-01"].remark


def test_a_calibration_that_is_later_than_the_recording_is_said(table):
    table.add("77", -171.0, valid_from="2024-06-01")
    found = table.calibration("77", utc("2023-01-01"))
    assert (
        found.known
        and found.sensitivity == -171.0
        and "of 2024-06-01, later than this recording" in found.remark
    )


def test_a_recording_takes_what_was_valid_when_it_began(table, tmp_path, monkeypatch):
    table.add("6872", -180.0, valid_from="2022-07-16", curve=(HZ, DB))
    monkeypatch.setattr(recording_module, "HYDROPHONE_SENSITIVITY", table)
    x = white_noise(8000, 1)
    older, newer = (
        Recording(write(tmp_path / name, x, 8000)) for name in ("6872.220715235959.wav", NAME)
    )
    assert (older.sensitivity_db, older.sensitivity_db.curve) == (-177.6, None)
    assert newer.sensitivity_db == -180.0 and newer.sensitivity_db.curve.at([1000])[
        0
    ] == pytest.approx(4.0)
    sent = pickle.loads(pickle.dumps(newer.sensitivity_db))
    assert sent == -180.0 and sent.curve == newer.sensitivity_db.curve


def test_the_fingerprint_tells_curves_apart_and_leaves_plain_numbers_as_they_were():
    class Source:
        name, size, changed, log, where, remote = "a.wav", 1, 0, None, "a.wav", False

    def mark_of(sensitivity):
        return footer(
            Source,
            {"start_utc": None, "recorder": "1", "serial": "1", "sensitivity_db": sensitivity, "calibrated": True},
            {},
            {},
            ToyModel(),
        )["fingerprint"]

    assert mark_of(-176.0) == mark_of(Sensitivity.of(-176.0)) != mark_of(CURVED)


@pytest.mark.parametrize(
    "text",
    [
        "hz,db\n100,-175\n1000,-176.5\n",
        "# lab\nFrequency (kHz);Sensitivity (dB re FS/uPa)\n0,1;-175\n1;-176,5\n",
        "100 -175\n1000 -176.5\n",
        "sens_db,freq_hz,n\n-176.5,1000,3\n-175,100,3\n",
    ],
)
def test_curves_are_read_from_the_csv_of_any_lab(tmp_path, text, table):
    path = tmp_path / "curve.csv"
    path.write_text(text, encoding="utf-8")
    hz, db = read_curve(path)
    assert hz.tolist() == [100, 1000] and db.tolist() == [-175, -176.5]
    table.add("9", curve=path, valid_from="2024-01-01")
    again = HydrophoneSensitivity(table.path).get("9", utc("2025-01-01"))[0]
    assert again == -176.5 and again.curve.at([10, 100, 316.22776, 1e5]) == pytest.approx(
        [1.5, 1.5, 0.75, 0.0]
    )


@pytest.mark.parametrize("version", [3, 4])
def test_curves_are_read_from_netcdf(tmp_path, version):
    path, hz, db = tmp_path / "curve.nc", np.array([0.1, 1.0]), np.array([-175.0, -176.5])
    if version == 3:
        from scipy.io import netcdf_file

        with netcdf_file(path, "w") as file:
            file.createDimension("frequency", 2)
            for name, values in (("frequency", hz), ("sensitivity", db)):
                file.createVariable(name, "d", ("frequency",))[:] = values
            file.variables["frequency"].units = "kHz"
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["frequency"], file["sensitivity"] = hz, db
            file["frequency"].attrs["units"] = "kHz"
    assert read_curve(path)[0].tolist() == [100.0, 1000.0] and read_curve(path)[1].tolist() == [
        -175.0,
        -176.5,
    ]


@pytest.mark.parametrize(
    "text, said",
    [
        ("a,b\n1,2\n", "no columns of frequency and sensitivity"),
        ("hz,db\n100,-175\n", "two or more frequencies"),
        ("hz,db\n100,x\n", "line 2: '100,x' is not a frequency"),
        ("hz,db\n100,-175\n100,-176\n", "each once"),
        ("", "two or more"),
    ],
)
def test_a_curve_that_is_none_is_refused_with_its_file(tmp_path, text, said):
    (tmp_path / "curve.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"curve.csv.*{said}"):
        read_curve(tmp_path / "curve.csv")


@pytest.mark.parametrize(
    "entry, said",
    [
        ('[{"sensitivity_db": -176, "valid_from": "soon"}]', "no date"),
        ("[-176, -177]", "two calibrations of one day"),
        ('[{"hz": [1, 2], "db": [-176]}]', "as many numbers"),
        ('[{"hz": [1, 2], "db": [176, 175]}]', "minus sign"),
        ('[{"gain": "high"}]', "minus sign"),
    ],
)
def test_a_broken_entry_is_named_with_the_mend(tmp_path, entry, said):
    path = tmp_path / "h.json"
    path.write_text(f'{{"6872": {entry}}}', encoding="utf-8")
    with pytest.raises(ValueError, match=f"h.json: hydrophone 6872: .*{said}"):
        HydrophoneSensitivity(path)


# --- what is not calibrated says so ---


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("units")
    names = {True: NAME, False: "unknown_20220716T021453Z.wav"}
    return {
        known: run_pipeline_single_audio(write(folder / name, scene(8, 48000), 48000), ToyModel())
        for known, name in names.items()
    }


@pytest.mark.parametrize("known", [True, False])
def test_tables_say_whether_their_levels_are_calibrated(results, known, tmp_path):
    result = results[known]
    for name in ("events", "windows", "levels", "effort"):
        assert (getattr(result, name)["calibrated"] == known).all(), name
    raven = result.raven()
    level = [c for c in raven if c.startswith("Level")]
    assert (
        level == (["Level (dB re 1 uPa)"] if known else ["Level (dB re full scale, -170 assumed)"])
        and (raven["Calibrated"] == known).all()
    )
    files = to_pamscapes(result.levels, tmp_path)
    assert all(file.stem.endswith("_uncalibrated") != known for file in files) and len(files) == 2


@pytest.mark.parametrize("known", [True, False])
def test_a_raven_table_without_an_event_says_whether_its_levels_would_be_calibrated(results, known, tmp_path):
    result = replace(results[known], events=results[known].events.iloc[:0])
    name = "Level (dB re 1 uPa)" if known else "Level (dB re full scale, -170 assumed)"
    assert name in result.raven()
    frames = {table: getattr(result, table) for table in TABLES}
    write_raven_of(pack(frames, {}), tmp_path / "part.txt")
    to_raven(result.events, result.effort, tmp_path / "one.txt")
    to_raven_sequence(result.events, result.effort, tmp_path / "many.txt")
    for file in ("part.txt", "one.txt", "many.txt"):
        assert name in pd.read_csv(tmp_path / file, sep="\t").columns
    assert "Level (dB re 1 uPa where calibrated)" in raven_table(result.events, {})


def test_a_raven_table_of_both_says_which_are_which(results):
    both = pd.concat([results[True].events, results[False].events], ignore_index=True)
    table = raven_table(
        both, dict.fromkeys(both["recording"], 48000), dict.fromkeys(both["recording"], 0.0)
    )
    assert "Level (dB re 1 uPa where calibrated)" in table and table["Calibrated"].nunique() == 2


@pytest.mark.parametrize("known", [True, False])
def test_figures_carry_a_mark_that_is_copied_with_them(results, known):
    import matplotlib.pyplot as plt

    from spectrogram.plots import plot_levels, plot_ltsa, plot_psd

    result = results[known]
    passage = SpectrogramGenerator(result.profile).spectrogram(result.recording, 0, 4)
    for draw in (
        lambda ax: passage.plot(ax=ax),
        lambda ax: plot_psd(passage, ax=ax),
        lambda ax: plot_levels(result.levels, ax=ax),
        lambda ax: plot_ltsa(result.levels, ax=ax),
        lambda ax: result.plot(0, 4, ax=ax),
    ):
        figure, ax = plt.subplots()
        draw(ax)
        texts = [text.get_text() for text in ax.texts]
        labels = " ".join(each.get_ylabel() for each in figure.axes)
        assert (
            (MARK in texts) != known
            and ("re full scale" in labels) != known
            and ("170 assumed" in labels) != known
        )
        plt.close(figure)
    assert density_unit(True) == "dB re 1 µPa²/Hz"
