"""Simulated recordings and deployments: repeatable, calibrated, and with a truth that agrees with the sound."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.signal import welch

from preprocessing.soundscape import Scene, Settings, demo_deployment, simulate_deployment, simulate_recording
from preprocessing.soundscape.__main__ import main
from preprocessing.soundscape.propagation import Path, spreading_loss_db
from preprocessing.soundscape.schedule import PlannedCall
from preprocessing.soundscape.truth import COLUMNS, RAVEN_COLUMNS, strongest_ratio_db

QUIET = dict(boats=False, confusers_per_min=0, start_artefact=False, steady=True, wind_m_per_s=2.0, rain=False)


def one_call(label, rate=192_000, range_m=100.0, level_db=170.0, start_s=1.5, seconds=10.0, version=2):
    """A Scene with one call on a direct path only, and its sound without the noise."""
    scene = Scene("BSM", 4, seconds, Settings(sample_rate_hz=rate, call_rate_per_min=0, version=version, **QUIET))
    scene.plan = [PlannedCall(label, 0, 0, 0, False, start_s, level_db, 0.0, Path(range_m, surface=False))]
    wave = np.concatenate(list(scene.blocks()))
    empty = np.concatenate(list(Scene("BSM", 4, seconds, scene.settings).blocks()))
    return scene, wave - empty


@pytest.mark.parametrize("rate", [8000, 192_000])
def test_written_noise_reads_its_level_through_the_sensitivity(tmp_path, rate):
    """White recorder noise of 70 dB re 1 µPa²/Hz, from the WAV file and the serial's sensitivity alone."""
    simulate_deployment(tmp_path, "BSM", 1, 1, 12, sample_rate_hz=rate, serial="6872", call_rate_per_min=0, self_noise_db=70.0, progress=False, **QUIET)
    wave, read_rate = soundfile.read(tmp_path / "6872.220716021453.wav")
    f, psd = welch(wave * 10 ** (177.6 / 20), read_rate, nperseg=2048)
    for low, high in ((2500, 3600),) if rate == 8000 else ((4e3, 10e3), (10e3, 40e3), (40e3, 90e3)):
        assert 10 * np.log10(psd[(f > low) & (f < high)].mean()) == pytest.approx(70, abs=0.5)


def test_ambient_agrees_with_its_model_in_every_octave():
    scene = Scene("CAC", 2, 20, Settings(call_rate_per_min=0, **{**QUIET, "wind_m_per_s": 6.0, "rain": True}))
    f, psd = welch(np.concatenate(list(scene.blocks())), 192_000, nperseg=8192)
    for low in 200 * 2.0 ** np.arange(9):
        band = (f >= low) & (f < min(2 * low, 90e3))
        assert 10 * np.log10(psd[band].sum() / scene.ambient_psd(5.0, f[band]).sum()) == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("version", [1, 2])
def test_a_call_arrives_at_its_level(version):
    scene, call = one_call("Whistle", version=version)
    row = scene.truth.iloc[0]
    a, b = int(row.start_s * 192_000), int(row.end_s * 192_000)
    assert 10 * np.log10(np.mean(call[a:b] ** 2)) == pytest.approx(row.received_level_db, abs=0.1)
    heard = np.flatnonzero(np.abs(call) > 1e-3 * np.abs(call).max())
    said_s = (heard[-1] - heard[0]) / 192_000
    energy = 10 * np.log10((call**2).sum() / 192_000 / said_s)
    assert energy == pytest.approx(170.0 - spreading_loss_db(100.0, scene.water), abs=0.5)


@pytest.mark.parametrize("label", ["Whistle", "HFPC", "BBPC", "ECHO"])
def test_truth_of_version_1_is_where_the_energy_is(label):
    scene, call = one_call(label, level_db={"ECHO": 215.0}.get(label, 170.0), version=1)
    rows = scene.truth
    t = np.arange(len(call)) / 192_000
    inside = np.zeros(len(call), dtype=bool)
    for row in rows.itertuples():
        inside |= (t >= row.start_s - 0.003) & (t <= row.end_s + 0.003)
    assert (call[inside] ** 2).sum() > 0.995 * (call**2).sum()
    assert rows.start_s.min() >= 1.5 - 0.003 and rows.audible.any()
    f, psd = welch(call, 192_000, nperseg=2048)
    within = (f >= rows.low_hz.min()) & (f <= rows.high_hz.max())
    assert psd[within].sum() > 0.9 * psd.sum()


def test_snr_of_a_tone_is_what_theory_says():
    """A call cell 20 dB above its noise cell gives 20 dB; cells that hold no energy do not count."""
    call, noise = np.zeros((40, 30)), np.full((40, 30), 2.0)
    call[:, 7] = 200.0
    assert strongest_ratio_db(call, noise)[0] == pytest.approx(20.0)


def test_snr_falls_with_range_and_then_nothing_is_audible():
    snr = [one_call("HFPC", range_m=r, level_db=160.0)[0].truth.snr_db.iloc[0] for r in (50.0, 500.0, 2500.0)]
    assert snr[0] > snr[1] + 10 > snr[2] + 20
    assert not one_call("HFPC", range_m=3000.0, level_db=140.0)[0].truth.audible.any()


def test_lower_rate_keeps_time_and_level_of_a_call():
    (high, _), (low, _) = one_call("Whistle"), one_call("Whistle", rate=48_000)
    a, b = high.truth.iloc[0], low.truth.iloc[0]
    assert a.start_s == pytest.approx(b.start_s, abs=0.005) and a.end_s == pytest.approx(b.end_s, abs=0.005)
    assert a.received_level_db == pytest.approx(b.received_level_db, abs=0.5)


def test_8_khz_recordings_know_no_echolocation():
    _, rows = simulate_recording("KAM", 3, 60, 8000, call_rate_per_min=40, range_m=40.0)
    assert (rows.label == "Whistle").any() and rows[rows.label == "Whistle"].audible.any()
    assert not rows[rows.label.isin(["ECHO", "HFPC"])].audible.any()
    assert (rows.high_hz <= 4000).all()


def test_same_seed_same_files_whatever_the_number_of_processes(tmp_path):
    for name, jobs in (("one", 1), ("two", 2)):
        simulate_deployment(tmp_path / name, "KAM", 9, 2, 12, sample_rate_hz=24_000, boats=True, call_rate_per_min=40, n_jobs=jobs, progress=False)
    files = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert len(files) == 7 and files == sorted(p.name for p in (tmp_path / "two").iterdir())
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    other = simulate_deployment(tmp_path / "other", "KAM", 10, 1, 12, sample_rate_hz=24_000, serial="5725", progress=False)
    assert (other / "5725.220716021453.wav").read_bytes() not in [p.read_bytes() for p in (tmp_path / "one").glob("*.wav")]


def test_calls_do_not_change_the_noise_they_stand_in():
    kind = dict(sample_rate_hz=48_000, boats=True, confusers_per_min=6)
    wave, rows = simulate_recording("RDL", 6, 25, call_rate_per_min=10, **kind)
    empty, none = simulate_recording("RDL", 6, 25, call_rate_per_min=0, **kind)
    calls = rows[rows.label != "Boat"]
    assert len(calls) and not len(none[none.label != "Boat"])
    before = int((calls.start_s.min() - 0.1) * 48_000)
    np.testing.assert_array_equal(wave[:before], empty[:before])


def test_diphonic_rows_come_in_pairs_that_overlap():
    scene = Scene("BSM", 5, 120, Settings(sample_rate_hz=64_000, call_rate_per_min=30, diphonic_share=0.8, call_mix={"HFPC": 1, "BBPC": 1}, **QUIET))
    for _ in scene.blocks():
        pass
    pairs = scene.truth[scene.truth.diphonic].groupby("group_id")
    assert len(pairs) > 5
    for _, pair in pairs:
        assert len(pair) == 2 and set(pair.label) & {"HFPC", "BBPC"} and "Whistle" in set(pair.label)
    overlap = [min(p.end_s) - max(p.start_s) for _, p in pairs]
    assert np.mean(np.array(overlap) > 0) == 1.0


def test_a_boat_comes_and_goes_in_truth_and_sound():
    settings = Settings(sample_rate_hz=48_000, call_rate_per_min=0, **{**QUIET, "boats": True})
    with_boat = Scene("BSM", 12, 120, settings)
    sound = np.concatenate(list(with_boat.blocks())) - np.concatenate(list(Scene("BSM", 12, 120, Settings(**{**settings.__dict__, "boats": False})).blocks()))
    rows = with_boat.truth
    assert set(rows.label) == {"Boat"} and rows.audible.any()
    assert (rows.snr_db[rows.audible] >= 6).all() and (rows.snr_db[~rows.audible] < 6).all()
    power = (sound[: 120 * 48_000].reshape(120, -1) ** 2).mean(axis=1)
    nearest = with_boat.boats[0].boat.nearest_at_s
    assert power[max(int(nearest) - 10, 0) : int(nearest) + 10].max() > 0.3 * power.max()


def test_calls_come_at_the_rate_asked_for():
    counts = [len({c.group for c in Scene("CAC", seed, 1800, Settings(sample_rate_hz=8000, call_rate_per_min=10, boats=False)).plan}) for seed in range(12)]
    assert np.mean(counts) == pytest.approx(300, rel=0.2) and np.std(counts) > 15


def test_empty_water_has_an_empty_truth_with_a_header(tmp_path):
    simulate_deployment(tmp_path, "BSM", 1, 2, 3, sample_rate_hz=16_000, boats=False, call_rate_per_min=0, progress=False)
    table = pd.read_csv(tmp_path / "truth.csv")
    assert list(table.columns) == COLUMNS and len(table) == 0
    raven = sorted(tmp_path.glob("*.Table.1.selections.txt"))
    assert len(raven) == 2 and list(pd.read_csv(raven[0], sep="\t").columns) == RAVEN_COLUMNS


def test_raven_tables_match_the_truth(tmp_path):
    simulate_deployment(tmp_path, "CAC", 3, 2, 30, sample_rate_hz=96_000, boats=[False, True], gap_s=60.0, call_rate_per_min=30, progress=False)
    truth = pd.read_csv(tmp_path / "truth.csv", dtype={"call_id": str, "group_id": str})
    assert list(truth.columns) == COLUMNS and truth.recording.nunique() == 2
    names = sorted(p.name for p in tmp_path.glob("*.wav"))
    assert names[1].split(".")[1] == "220716021623"  # 30 s and a gap of 60 s later
    for name in names:
        raven = pd.read_csv(tmp_path / f"{name[:-4]}.Table.1.selections.txt", sep="\t")
        mine = truth[(truth.recording == name) & truth.audible]
        assert len(raven) == len(mine) and (raven["Begin File"] == name).all()
        np.testing.assert_allclose(raven["Begin Time (s)"], mine.start_s, atol=1e-6)
        np.testing.assert_allclose(raven["High Freq (Hz)"], mine.high_hz, atol=1e-6)
        assert (raven["High Freq (Hz)"] <= 48_000).all() and (raven["End Time (s)"] <= 30.001).all()
    about = json.loads((tmp_path / "deployment.json").read_text(encoding="utf-8"))
    assert about["simulated"] is True and about["seed"] == 3 and set(about["recordings"]) == set(names)


def test_demonstration_is_made_once(tmp_path):
    demo_deployment(tmp_path, 7, progress=False)
    truth = pd.read_csv(tmp_path / "truth.csv")
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert set(truth[truth.audible].label) == {"ECHO", "HFPC", "BBPC", "Whistle", "Boat"} and truth.diphonic.any()
    assert len(list(tmp_path.glob("*.wav"))) == 3
    demo_deployment(tmp_path, 7, progress=False)
    assert stamps == {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}


def test_wrong_arguments_are_named(tmp_path, capsys):
    with pytest.raises(ValueError, match="unknown site 'XYZ'"):
        simulate_recording("XYZ", 1, 1)
    with pytest.raises(ValueError, match="1 kHz"):
        simulate_recording("BSM", 1, 1, 500)
    with pytest.raises(ValueError, match="gaps"):
        simulate_deployment(tmp_path, "BSM", 1, 3, 1, gap_s=[1.0], progress=False)
    with pytest.raises(ValueError, match="serial"):
        simulate_deployment(tmp_path, "BSM", 1, 1, 1, serial="1", progress=False)
    assert main([str(tmp_path), "--recordings", "1", "--seconds", "1", "--background", str(tmp_path / "absent.wav")]) == 2
    assert "absent.wav" in capsys.readouterr().err
