"""One recording in, named calls out: times, frequencies and levels are the truth's, at every sample rate, however the work is shared out."""
import json
from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from pipeline import run_pipeline_single_audio
from pipeline.single import load, override
from pipeline.tables import EFFORT_TYPES, TABLES, event_types, read_provenance, window_types
from spectrogram.profile import load_profile
from tests.toy_model import ToyModel, save_random_model
from tests.toy_sound import NAME, NOISE_DB, band_burst, clicks, noise, put, scene, sweep, write

PROFILE = load_profile("beluga")
START_UTC = datetime(2022, 7, 16, 2, 14, 53, tzinfo=timezone.utc)


def run(path, **kwargs):
    return run_pipeline_single_audio(path, kwargs.pop("model", None) or ToyModel(), **kwargs)


def overlapping(events: pd.DataFrame, start_s: float, end_s: float) -> pd.Series:
    """The one event there."""
    here = events[(events["start_s"] < end_s) & (events["end_s"] > start_s)]
    assert len(here) == 1, here
    return here.iloc[0]


def bands_off(found_hz: float, true_hz: float) -> float:
    """How many bands of the picture lie between two frequencies."""
    return abs(np.subtract(*np.interp([found_hz, true_hz], PROFILE.band_centres_hz, np.arange(PROFILE.n_bands))))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Results on a scene of 12 s at several sample rates."""
    folder = tmp_path_factory.mktemp("scenes")
    return {rate: run(write(folder / str(rate) / NAME, scene(12, rate), rate)) for rate in (8000, 44100, 48000, 96000, 192000)}


@pytest.mark.parametrize("rate", [44100, 48000, 96000, 192000])
def test_a_whistle_is_found_where_it_was_put(scenes, rate):
    for start in (1.0, 6.0):
        event = overlapping(scenes[rate].events, start, start + 0.6)
        assert event["labels"] == "Whistle" and not event["diphonic"]
        assert event["start_s"] == pytest.approx(start, abs=0.1) and event["end_s"] == pytest.approx(start + 0.6, abs=0.1)
        assert bands_off(event["low_hz"], 6000) < 2.1 and bands_off(event["high_hz"], 9000) < 2.1
        assert event["level_db"] == pytest.approx(105, abs=1.0)
        noise_db = NOISE_DB + 10 * np.log10(event["high_hz"] - event["low_hz"])
        assert event["snr_db"] == pytest.approx(105 - noise_db, abs=1.5)
        assert event["calibrated"] and event["model_id"] == "toy" and event["recording"] == NAME and event["channel"] == 0


@pytest.mark.parametrize("rate", [96000, 192000])
def test_a_burst_of_high_frequencies_and_a_diphonic_pair_are_named(scenes, rate):
    top_hz = min(80000, 0.95 * rate / 2)  # nothing is seen above 0.95 of Nyquist
    burst = overlapping(scenes[rate].events, 2.0, 2.3)
    assert burst["labels"] == "HFPC" and not burst["diphonic"]
    assert burst["start_s"] == pytest.approx(2.0, abs=0.1) and burst["end_s"] == pytest.approx(2.3, abs=0.1)
    assert bands_off(burst["low_hz"], 28000) < 3.6 and bands_off(burst["high_hz"], top_hz) < 3.6  # smoothed over 5 bands
    assert burst["level_db"] == pytest.approx(115, abs=1.0)
    both = overlapping(scenes[rate].events, 3.2, 3.8)
    assert both["labels"] == "HFPC+Whistle" and both["diphonic"]
    assert both["score_HFPC"] > 0.9 and both["score_Whistle"] > 0.9 and both["score_ECHO"] < 0.1


def test_clicks_and_broadband_calls_are_named(tmp_path):
    x = noise(8, 192000)
    put(x, 192000, 1.0, clicks(0.8, 192000, 30000, 80000, 140))
    put(x, 192000, 4.0, band_burst(0.4, 192000, 1500, 80000, 125))
    events = run(write(tmp_path / NAME, x, 192000)).events
    train, call = overlapping(events, 1.0, 1.8), overlapping(events, 4.0, 4.4)
    assert train["labels"] == "ECHO" and train["start_s"] == pytest.approx(1.0, abs=0.1) and train["end_s"] == pytest.approx(1.8, abs=0.1)
    low_hz, high_hz = 1500 + 0.05 * 78500, 80000 - 0.05 * 78500  # between them lie 5 to 95 % of its energy
    assert call["labels"] == "BBPC" and (call["low_hz"], call["high_hz"]) == pytest.approx((low_hz, high_hz), rel=0.1)
    assert call["level_db"] == pytest.approx(125, abs=1.0)


def test_utc_times_are_right_to_the_microsecond(scenes):
    for result in scenes.values():
        for table in (result.events, result.windows):
            for start_s, start_utc in zip(table["start_s"], table["start_utc"]):
                assert start_utc == START_UTC + timedelta(microseconds=round(start_s * 1e6))
        assert str(result.events["start_utc"].dtype) == "datetime64[us, UTC]"
        assert result.effort["end_utc"][0] == START_UTC + timedelta(seconds=12)


def test_windows_begin_every_half_second_and_the_last_one_reaches_the_end(scenes):
    for result in scenes.values():
        assert result.windows["start_s"].tolist() == [0.5 * k for k in range(23)]


def test_nothing_drifts_in_ten_minutes(tmp_path):
    for rate in (8000, 11025):  # 11025 / 192 samples are no whole number
        x = noise(600, rate)
        truth = [5.0, 300.0, 596.0]
        for start in truth:
            put(x, rate, start, sweep(0.5, rate, 1500, 3000, 110))
        result = run(write(tmp_path / str(rate) / NAME, x, rate, "PCM_16"))
        assert result.windows["start_s"].tolist() == [0.5 * k for k in range(1199)]
        assert len(result.events) == 3
        offsets = result.events["start_s"].to_numpy() - truth
        assert np.abs(offsets).max() < 0.06 and np.ptp(offsets) <= 0.0425  # a position of the trace


def test_block_size_and_number_of_workers_change_nothing(tmp_path):
    for rate in (192000, 44100):
        path = write(tmp_path / str(rate) / NAME, scene(34.3, rate), rate)
        first = run(path, block_s=1.0, workers=1)
        assert len(first.events) >= 14 and len(first.windows) == 68 and len(first.regions) > 10
        for block_s, workers in ((7.3, 2), (1000.0, 4), (16.0, 1)):
            other = run(path, block_s=block_s, workers=workers)
            for table in ("events", "windows", "levels", "regions", "effort"):
                pd.testing.assert_frame_equal(getattr(other, table), getattr(first, table), check_exact=True)


def test_a_saved_network_too_answers_the_same_with_any_number_of_workers(tmp_path):
    model = str(save_random_model(tmp_path / "random"))
    path = write(tmp_path / NAME, scene(20, 48000), 48000)
    one, four = (run(path, model=model, workers=n, block_s=b) for n, b in ((1, 3.0), (4, 16.0)))
    assert one.metadata["model_id"].startswith("random-") and (one.events["model_id"] == one.metadata["model_id"]).all()
    assert 0 < one.windows["p_Whistle"].min() < one.windows["p_Whistle"].max() < 1
    for table in TABLES:
        pd.testing.assert_frame_equal(getattr(four, table), getattr(one, table), check_exact=True)


def test_what_8_khz_cannot_show_is_missing_and_whistles_are_reported(scenes):
    result = scenes[8000]
    missing = ["ECHO", "HFPC", "BBPC"]
    assert result.metadata["missing_labels"] == missing and result.effort["missing_labels"][0] == "ECHO+HFPC+BBPC"
    assert result.windows[[f"p_{x}" for x in missing]].isna().all(axis=None)
    assert result.windows[["p_Whistle", "p_Boat"]].notna().all(axis=None)
    assert result.windows["level_high_db"].isna().all() and result.windows["level_low_db"].notna().all()
    assert (result.events["labels"] == "Whistle").all() and len(result.events) == 4  # the toy says 0.9 for the three others
    assert result.events[[f"score_{x}" for x in missing]].isna().all(axis=None)
    assert result.events["high_hz"].max() <= 4000
    assert not any(column.startswith("TOL_") and float(column.split("_")[1]) > 4000 for column in result.levels)


def test_48_khz_is_missing_only_what_lies_above_24_khz(scenes):
    assert scenes[48000].metadata["missing_labels"] == ["ECHO", "HFPC"]
    assert scenes[48000].windows["p_BBPC"].notna().all()
    assert scenes[96000].metadata["missing_labels"] == scenes[192000].metadata["missing_labels"] == []


def test_a_rate_too_low_for_any_label_still_gives_levels(tmp_path):
    result = run(write(tmp_path / NAME, noise(10, 600), 600))
    assert result.metadata["missing_labels"] == list(PROFILE.labels) and not len(result.events)
    assert result.windows[[c for c in result.windows if c.startswith(("p_", "level_"))]].isna().all(axis=None)
    assert result.levels["TOL_100"][0] == pytest.approx(NOISE_DB + 10 * np.log10(100 * (10 ** 0.05 - 10 ** -0.05)), abs=1.0)
    assert result.effort["status"][0] == "ok"


def test_window_levels_are_sound_pressure_levels_of_the_regions_bands(scenes):
    quiet = scenes[192000].windows.query("start_s == 10.0").iloc[0]
    for band in PROFILE.roi_bands:
        shared = np.minimum(PROFILE.band_high_hz, band["high_hz"]) - np.maximum(PROFILE.band_low_hz, band["low_hz"])
        expected = NOISE_DB + 10 * np.log10(shared[shared > 0].sum())
        assert quiet[f"level_{band['name']}_db"] == pytest.approx(expected, abs=0.3)


def test_levels_rows_are_whole_and_long_recordings_give_the_same_rows(tmp_path):
    path = write(tmp_path / NAME, noise(70, 8000), 8000)
    minute, ten = run(path).levels, run(path, level_row_s=10).levels
    assert minute["start_s"].tolist() == [0.0, 60.0] and minute["duration_s"].tolist() == [60.0, 10.0]
    assert ten["start_s"].tolist() == [10.0 * k for k in range(7)]
    assert 10 * np.log10(np.mean(10 ** (ten["TOL_1000"][:6] / 10))) == pytest.approx(minute["TOL_1000"][0], abs=1e-6)
    assert list(minute)[:4] == ["UTC", "recording", "start_s", "duration_s"]


def test_empty_and_full_tables_have_the_same_columns_and_types(scenes, tmp_path):
    empty = run(write(tmp_path / NAME, noise(3, 48000), 48000))
    full = scenes[48000]
    assert not len(empty.events) and len(full.events)
    for table, types in (("events", event_types(PROFILE)), ("windows", window_types(PROFILE)), ("effort", EFFORT_TYPES)):
        assert list(getattr(empty, table)) == list(getattr(full, table)) == list(types)
        assert getattr(empty, table).dtypes.astype(str).tolist() == getattr(full, table).dtypes.astype(str).tolist()
    assert list(empty.levels) == list(full.levels)
    for result in (empty, full):
        folder = result.save(tmp_path / str(len(result.events)), csv=True)
    schemas = [pd.read_parquet(tmp_path / str(len(r.events)) / "6872.220716021453.events.parquet").dtypes for r in (empty, full)]
    pd.testing.assert_series_equal(*schemas)
    assert (folder / "6872.220716021453.events.csv").exists()


def test_save_writes_every_table_with_what_made_it_and_reads_back_equal(scenes, tmp_path):
    result = scenes[192000]
    folder = result.save(tmp_path / "deep" / "er", csv=True)
    stem = "6872.220716021453"
    expected = {f"{stem}.{table}.{kind}" for table in TABLES for kind in ("parquet", "csv")} | {f"{stem}.Table.1.selections.txt"}
    assert {p.name for p in folder.iterdir()} == expected
    for table in TABLES:
        pd.testing.assert_frame_equal(pd.read_parquet(folder / f"{stem}.{table}.parquet"), getattr(result, table))
        made = read_provenance(folder / f"{stem}.{table}.parquet")
        assert made["model_id"] == "toy" and made["profile"] == "beluga" and made["profile_hash"] == PROFILE.hash()
        assert made["input"] == NAME and made["input_size"] == result.recording.path.stat().st_size and made["input_time"].startswith("20")
        assert made["thresholds"]["Whistle"] == {"window": 0.5, "on": 0.5, "off": 0.25}
        assert {"code_version", "settings_hash", "fingerprint", "made_at"} <= set(made)
        assert len(pd.read_csv(folder / f"{stem}.{table}.csv")) == len(getattr(result, table))
    json.dumps({k: v for k, v in result.metadata.items() if k != "start_utc"})  # plain values


def test_raven_selection_table(scenes, tmp_path):
    for rate in (8000, 192000):
        result = scenes[rate]
        folder = result.save(tmp_path / str(rate))
        text = (folder / "6872.220716021453.Table.1.selections.txt").read_bytes().decode("utf-8")
        assert "\r" not in text and text.splitlines()[0].split("\t")[:9] == [
            "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)", "Begin File", "File Offset (s)"]
        table = pd.read_csv(folder / "6872.220716021453.Table.1.selections.txt", sep="\t")
        assert table["Selection"].tolist() == list(range(1, len(result.events) + 1)) and (table["Channel"] == 1).all()
        assert (table["High Freq (Hz)"] <= rate / 2).all() and (table["Low Freq (Hz)"] < table["High Freq (Hz)"]).all()
        assert (table["Begin File"] == NAME).all() and (table["File Offset (s)"] == table["Begin Time (s)"]).all()
        np.testing.assert_allclose(table["Begin Time (s)"], result.events["start_s"], atol=6e-5)
        np.testing.assert_allclose(table["End Time (s)"], result.events["end_s"], atol=6e-5)
        assert table["Label"].tolist() == result.events["labels"].tolist() and table["Diphonic"].tolist() == result.events["diphonic"].tolist()


def test_an_unknown_hydrophone_is_told_in_every_table(tmp_path):
    result = run(write(tmp_path / "99999.220716021453.wav", scene(6, 48000), 48000))
    assert result.metadata["calibrated"] is False and not result.effort["calibrated"][0] and result.effort["sensitivity_db"][0] == -170
    assert len(result.events) and not result.events["calibrated"].any()
    given = run(result.recording.path, sensitivity_db=-177.6)
    assert given.events["calibrated"].all() and given.effort["sensitivity_db"][0] == -177.6
    np.testing.assert_allclose(given.events["level_db"] - result.events["level_db"], 7.6, atol=1e-3)
    np.testing.assert_allclose(given.events[["start_s", "end_s", "snr_db"]], result.events[["start_s", "end_s", "snr_db"]], atol=1e-3)


def test_a_channel_of_many_is_the_recording_of_that_channel_alone(tmp_path):
    x = scene(6, 48000)
    two = write(tmp_path / "two" / NAME, np.column_stack([noise(6, 48000, seed=9), x]), 48000)
    alone = run(write(tmp_path / "one" / NAME, x, 48000))
    chosen = run(two, channel=1)
    assert (chosen.events["channel"] == 1).all() and (chosen.raven()["Channel"] == 2).all() and not len(run(two).events)
    pd.testing.assert_frame_equal(chosen.events.drop(columns="channel"), alone.events.drop(columns="channel"))


def test_thresholds_can_be_overridden(tmp_path, scenes):
    path = scenes[48000].recording.path
    assert not len(run(path, thresholds={"Whistle": 1.0}).events)
    result = run(path, thresholds={"Whistle": {"on": 0.9}})
    assert result.metadata["thresholds"]["Whistle"] == {"window": 0.5, "on": 0.9, "off": 0.25}
    assert result.metadata["provenance"]["fingerprint"] != scenes[48000].metadata["provenance"]["fingerprint"]
    with pytest.raises(ValueError, match="Whitsle.*the model knows ECHO, HFPC, BBPC, Whistle, Boat"):
        run(path, thresholds={"Whitsle": 0.7})
    for wrong in (1.5, -0.1, float("nan"), {"onn": 0.5}):
        with pytest.raises(ValueError, match="thresholds of Whistle.*from 0 to 1"):
            run(path, thresholds={"Whistle": wrong})
    with pytest.raises(ValueError, match="off 0.25 lies above on 0.1"):
        run(path, thresholds={"Whistle": {"on": 0.1}})


def test_a_number_moves_the_off_threshold_in_proportion():
    old = {"Whistle": {"window": 0.5, "on": 0.6, "off": 0.3}}
    assert override(old, {"Whistle": 0.8}) == {"Whistle": {"window": 0.8, "on": 0.8, "off": pytest.approx(0.4)}}
    assert override(old, None) == old and override(old, {})["Whistle"] is not old["Whistle"]


def test_rows_of_levels_are_whole_seconds(tmp_path):
    with pytest.raises(ValueError, match="level_row_s = 0.5"):
        run(write(tmp_path / NAME, noise(2, 8000), 8000), level_row_s=0.5)


def test_a_model_is_kept_until_its_files_change(tmp_path):
    folder = save_random_model(tmp_path / "model", seed=1)
    first = load(folder)
    assert load(folder) is first
    save_random_model(folder, seed=2)
    assert load(folder).model_id != first.model_id
