"""The measure of what a model does at sea: its figures on tables made by hand, and its clips."""
import numpy as np
import pandas as pd
import pytest

from bench import sea, sea_figures, sea_parts, sea_sound
from preprocessing.sea_clips import sea_clips, sound_kind
from spectrogram.profile import load_profile

LABELS = ("ECHO", "HFPC", "BBPC", "Whistle")


def calls(*rows) -> pd.DataFrame:
    columns = ["label", "start_s", "end_s", "low_hz", "high_hz", "snr_db"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(recording="a", audible=table["snr_db"] >= 6)


def events(*rows) -> pd.DataFrame:
    columns = ["labels", "start_s", "end_s", "low_hz", "high_hz", "diphonic"]
    return pd.DataFrame(rows, columns=columns).assign(recording="a")


def test_no_event_in_an_hour_is_less_than_four_an_hour_and_the_interval_holds_its_rate():
    low, high = sea_figures.poisson_interval(0, 1.0)
    assert low == 0 and high == pytest.approx(3.689, abs=1e-3)  # -ln(0.025)
    low, high = sea_figures.poisson_interval(10, 0.5)
    assert low < 20 < high


def test_bound_errors_are_those_of_the_event_that_shares_most_of_the_calls_time():
    truth = calls(("Whistle", 1.0, 2.0, 4000, 8000, 12), ("Whistle", 5.0, 6.0, 4000, 8000, 2))
    heard = events(
        ("Whistle", 1.1, 2.0, 4500, 8000, False),
        ("Whistle", 1.9, 2.5, 0, 1, False),
        ("ECHO", 1.0, 2.0, 1, 2, False),
        ("Whistle", 5.0, 6.0, 9, 9, False),
    )
    found = sea_figures.bound_errors(heard, truth, LABELS)
    assert found["Whistle"]["calls"] == 1  # the faint one is not judged
    assert found["Whistle"]["low_hz"] == 500 and found["Whistle"]["high_hz"] == 0
    assert found["Whistle"]["start_s"] == pytest.approx(0.1)
    assert found["ECHO"]["calls"] == 0


def test_a_bound_on_a_labels_band_is_a_constant_and_a_measured_one_is_not():
    heard = events(("ECHO", 0, 1, 25000.0, 80123.4, False), ("ECHO", 0, 1, 31234.5, 80123.4, False))
    found = sea_figures.constant_bounds(heard, load_profile("beluga"))
    assert found["share"] == 0.5 and found["which"] == {"low_hz 25000": 1}


def test_diphonic_counts_a_whistle_with_a_pulsed_call_and_neither_clicks_nor_faint_parts():
    truth = calls(
        ("Whistle", 1, 2, 0, 1, 12),
        ("BBPC", 1.2, 2.2, 0, 1, 12),
        ("Whistle", 5, 6, 0, 1, 12),
        ("ECHO", 5, 6, 0, 1, 12),
        ("Whistle", 8, 9, 0, 1, 12),
        ("HFPC", 8, 9, 0, 1, 3),
    )
    heard = events(
        ("BBPC+Whistle", 1, 2, 0, 1, True),
        ("ECHO+Whistle", 5, 6, 0, 1, True),
        ("HFPC+Whistle", 8, 9, 0, 1, True),
    )
    found = sea_figures.diphonic_figures(heard, truth)
    assert found == {"pairs": 1, "flagged": 3, "precision": 0.5, "recall": 1.0}


def test_windows_are_judged_by_their_calls_and_a_truth_without_boats_leaves_boat_unknown():
    profile = load_profile("beluga")
    windows = pd.DataFrame({"recording": "a", "start_s": [0.0, 0.5, 1.0, 1.5]})
    windows = windows.assign(**{f"p_{label}": 0.1 for label in profile.labels})
    recordings = pd.DataFrame({"recording": ["a"], "duration_s": [2.4], "site": ["x"]})
    truth = calls(("Whistle", 1.6, 1.9, 0, 1, 12))
    table = sea_figures.windows_table(windows, truth, recordings, profile)
    assert table["target_Whistle"].tolist() == [0, 0, 1]  # the last one is not whole
    assert table["target_Boat"].isna().all() and (table["target_ECHO"] == 0).all()


def test_a_demand_is_met_missed_or_missing_and_parts_not_asked_for_say_nothing():
    said = sea.demand_lines({"real": {"SanctSound": {"windows_positive": 0.02, "per_hour": 300.0}}})
    assert not said[0].endswith("NOT MET") and said[1].endswith("NOT MET")
    assert said[2].endswith("missing") and len(said) == 3


def test_a_simulator_of_one_version_has_no_second_one(tmp_path, monkeypatch):
    monkeypatch.setattr(sea_sound, "knows_versions", lambda: False)
    assert sea_sound.simulated("validation", 2, tmp_path) is None


def test_real_clips_are_parted_by_site_and_a_clip_named_twice_comes_once(tmp_path):
    rows = [
        ("a.flac", "CI01", "t1", "ship", 48000, 5.0, False),
        ("b.flac", "FK02", "t2", "rain", 48000, 5.0, False),
        ("b_20dB.flac", "FK02", "t2", "rain", 48000, 5.0, True),
        ("c.flac", "OC01", "t3", "finwhale", 4000, 5.0, False),
        ("d.flac", "OC01", "t3", "soundscape", 48000, 5.0, False),
        ("e.flac", "", "", "haddock", 2000, 5.0, False),
    ]
    (tmp_path / "sanctsound").mkdir()
    columns = ["file", "site", "start_utc", "sound", "sample_rate_hz", "duration_s", "gain_applied"]
    table = pd.DataFrame(rows, columns=columns)
    table.to_csv(tmp_path / "sanctsound" / "manifest.csv", index=False)
    clips = sea_clips(tmp_path)
    assert clips["part"].tolist() == ["train", "test", "validation", "validation", "validation"]
    assert clips["kind"].tolist() == ["noise", "noise", "whale", "whale", "fish"]


def test_the_shared_clips_part_no_source_between_training_and_test(data_dir):
    if not (data_dir / "sanctsound").is_dir():
        pytest.skip(f"no SanctSound clips in {data_dir}; set SEA_CANARY_DATA")
    clips = sea_clips(data_dir)
    assert clips.groupby("source")["part"].nunique().max() == 1
    assert set(clips["part"]) == {"train", "validation", "test", "animals"}
    assert sound_kind("odontoceteandship") == "whale" and sound_kind("sealbomb") == "noise"
    assert np.isfinite(clips["duration_s"]).all()


def test_a_clip_passes_left_out_by_the_score_of_a_model_that_knows_not_its_source(monkeypatch):
    scores = {"a": 0.9, "b": 0.1, "c": float("nan"), "d": 0.9}
    monkeypatch.setattr(sea_parts, "left_out_scores", lambda: scores)
    clips = pd.DataFrame({"recording": list("abcde")})
    flags = ["other_animal", "", "", "below_snr+other_animal"]
    heard = pd.DataFrame({"recording": list("abcd"), "flags": flags})
    told = sea_parts._answered(clips, heard)
    assert told == {"clips": 5, "with_event": 4, "passing": 2, "passing_left_out": 2}
    assert sea_parts._answered(clips, heard[["recording"]])["passing"] == "missing"
