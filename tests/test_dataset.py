"""Data sets: the targets' rule, and that a stored picture is the one inference makes."""
import os
import pickle

import numpy as np
import pandas as pd
import pytest
import soundfile

from preprocessing.dataset import DataSet, build_dataset, targets, window_rows
from spectrogram.background import contrast_db
from spectrogram.generator import SpectrogramGenerator
from spectrogram.profile import load_profile

PROFILE = load_profile("beluga")
LABELS = PROFILE.labels
ALL = np.ones(len(LABELS), bool)


def calls(*rows):
    """(label, start_s, end_s, snr_db) -> a truth table of recording 'a'."""
    table = pd.DataFrame(rows, columns=["label", "start_s", "end_s", "snr_db"])
    return table.assign(recording="a", audible=table["snr_db"] >= 6)


def one(table, start_s, label="Whistle", length_s=1.0):
    return targets(table, np.array([start_s]), length_s, LABELS, ALL)[0][0, LABELS.index(label)]


@pytest.mark.parametrize("start_s, expected", [
    (0.0, 0.0),       # window 0-1 s, call 1.5-2.5 s: nothing
    (0.56, 1.0),      # 60 ms of the call: enough
    (0.53, np.nan),   # 30 ms: neither
    (1.0, 1.0), (2.44, 1.0),
    (2.47, np.nan),   # the last 30 ms
    (2.5, 0.0),       # they only share an instant
])
def test_a_window_is_positive_from_50_ms_of_call(start_s, expected):
    np.testing.assert_equal(one(calls(("Whistle", 1.5, 2.5, 20.0)), start_s), expected)


def test_half_of_a_short_call_is_enough():
    click = calls(("ECHO", 1.000, 1.010, 20.0))
    assert one(click, 0.006, "ECHO") == 1.0            # 6 ms of 10
    assert np.isnan(one(click, 0.004, "ECHO"))         # 4 ms of 10
    assert one(click, 1.0, "Whistle") == 0.0


def test_a_faint_call_is_ignored_unless_a_loud_one_is_there_too():
    faint, loud = ("BBPC", 0.2, 0.8, 3.0), ("BBPC", 0.5, 0.9, 15.0)
    assert np.isnan(one(calls(faint), 0.0, "BBPC"))
    assert one(calls(faint, loud), 0.0, "BBPC") == 1.0
    _, snr_db = targets(calls(faint, loud), np.array([0.0, 5.0]), 1.0, LABELS, ALL)
    assert snr_db[0, LABELS.index("BBPC")] == 15.0 and np.isnan(snr_db[1]).all()


def test_positions_follow_the_same_rule_on_a_finer_grid():
    starts_s = np.arange(24) / 24
    target, _ = targets(calls(("Whistle", 0.25, 0.5, 20.0)), starts_s, 1 / 24, LABELS, ALL)
    assert np.flatnonzero(target[:, LABELS.index("Whistle")] == 1).tolist() == [6, 7, 8, 9, 10, 11]


def test_what_the_rate_cannot_show_is_missing_not_absent():
    rows = window_rows(calls(("Whistle", 0.2, 0.8, 20.0)), 192 * 3, 16_000, PROFILE)
    assert rows[["target_ECHO", "target_HFPC"]].isna().all(axis=None)
    assert rows["target_Whistle"].tolist() == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert rows["start_frame"].tolist() == [0, 96, 192, 288, 384]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(7)
    rows = []
    for name, rate_hz, seconds in (("6872.220716021453.wav", 192_000, 3.3), ("6872.220716031453.wav", 48_000, 2.0)):
        soundfile.write(folder / name, 0.01 * rng.standard_normal(int(seconds * rate_hz)), rate_hz, subtype="PCM_16")
        rows.append({"recording": f"d1/{name}", "path": str(folder / name), "split": "train", "site": "RDL"})
    truth = calls(("ECHO", 0.2, 0.9, 20.0), ("Whistle", 1.2, 1.9, 4.0)).assign(recording=rows[0]["recording"])
    recordings = pd.DataFrame(rows)
    return recordings, truth, folder / "set", build_dataset(recordings, truth, folder / "set", PROFILE, {"seed": 7})


def test_the_stored_picture_is_the_one_inference_makes(built):
    recordings, _, _, data = built
    generator = SpectrogramGenerator(PROFILE)
    for row in recordings.itertuples():
        rows = data.rows(recording=row.recording)
        whole = contrast_db(generator.picture(row.path), PROFILE)
        stored = data.windows(rows)
        assert stored.dtype == np.float32 and stored.shape == (len(rows), 192, PROFILE.n_columns)
        for k, start in enumerate(rows["start_frame"]):
            np.testing.assert_array_equal(stored[k], whole[start:start + 192])


def test_manifest_counts_whole_windows_and_keeps_the_columns(built):
    recordings, _, _, data = built
    assert data.manifest.groupby("recording", sort=False).size().tolist() == [5, 3]
    assert set(data.manifest["site"]) == {"RDL"} and data.info["summary"] == {"seed": 7}
    assert data.manifest["sample_rate_hz"].unique().tolist() == [192_000, 48_000]


def test_a_finished_picture_is_not_made_again_and_the_set_is_the_same(built):
    recordings, truth, folder, data = built
    before = {p.name: p.stat().st_mtime_ns for p in (folder / "pictures").glob("*.npy")}
    again = build_dataset(recordings, truth, folder, PROFILE)
    assert before == {p.name: p.stat().st_mtime_ns for p in (folder / "pictures").glob("*.npy")}
    pd.testing.assert_frame_equal(again.manifest, data.manifest)


def test_a_data_set_travels_to_worker_processes_without_its_memory_maps(built):
    data = built[3]
    data.windows(data.manifest)
    travelled = pickle.loads(pickle.dumps(data))
    assert travelled._maps == {}
    np.testing.assert_array_equal(travelled.windows(data.manifest[:2]), data.windows(data.manifest[:2]))


def test_faults_are_named(built, tmp_path):
    recordings, truth, folder, _ = built
    with pytest.raises(ValueError, match="listed twice"):
        build_dataset(pd.concat([recordings, recordings]), truth, tmp_path / "x", PROFILE)
    with pytest.raises(ValueError, match="not among the recordings"):
        build_dataset(recordings, truth.assign(recording="stranger.wav"), tmp_path / "x", PROFILE)
    with pytest.raises(ValueError, match="another front end"):
        (tmp_path / "y").mkdir()
        (tmp_path / "y" / "front_end.txt").write_text("other", encoding="utf-8")
        build_dataset(recordings, truth, tmp_path / "y", PROFILE)
    with pytest.raises(FileNotFoundError, match="build it with build_dataset"):
        DataSet(tmp_path / "nothing")


class Fails(Exception):
    pass


@pytest.mark.parametrize("broken", ["manifest.parquet", "calls.parquet", "dataset.json"])
def test_a_build_that_fails_half_way_leaves_nothing_to_read(broken, built, tmp_path, monkeypatch):
    """Formerly an old dataset.json stayed beside a new manifest, and training ran on targets that
    were all zero.
    """
    recordings, truth, _, _ = built
    build_dataset(recordings, truth, tmp_path / "set", PROFILE)
    replace = os.replace

    def failing(source, target):
        if str(target).endswith(broken):
            raise Fails
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(Fails):
        build_dataset(recordings, truth.assign(label="BBPC"), tmp_path / "set", PROFILE)
    with pytest.raises(FileNotFoundError, match="no finished data set"):
        DataSet(tmp_path / "set")
    assert not list((tmp_path / "set").glob("*.part"))


def test_tables_that_do_not_belong_together_are_refused(built, tmp_path):
    recordings, truth, _, _ = built
    data = build_dataset(recordings, truth, tmp_path / "set", PROFILE)
    truth.iloc[:0].to_parquet(data.folder / "calls.parquet", index=False)
    with pytest.raises(ValueError, match="calls.parquet is not the one"):
        DataSet(data.folder)
    assert len(build_dataset(recordings, truth, tmp_path / "set", PROFILE).calls) == len(truth)


def test_numbers_of_calls_are_texts_however_they_came(built, tmp_path):
    recordings, truth, _, _ = built
    mixed = build_dataset(
        recordings,
        truth.assign(call_id=[1, "boat00.1"], group_id=[2.0, 3.0]),
        tmp_path / "set",
        PROFILE,
    )
    assert mixed.calls["call_id"].tolist() == ["1", "boat00.1"] and mixed.calls[
        "group_id"
    ].tolist() == ["2.0", "3.0"]


def test_a_label_that_is_unknown_in_a_recording_is_asked_for_only_where_it_is_listed(
    built, tmp_path
):
    recordings, truth, _, plain = built
    name = recordings["recording"].iloc[0]
    data = build_dataset(
        recordings.assign(unknown=["ECHO+Boat", np.nan]), truth, tmp_path / "set", PROFILE
    )
    rows = data.rows(recording=name)
    assert (
        rows["target_ECHO"].tolist()[:2] == [1.0, 1.0] and rows["target_ECHO"].iloc[2:].isna().all()
    )  # the call ends at 0.9 s
    assert rows["target_Boat"].isna().all() and (rows["target_BBPC"] == 0).all()
    for label in LABELS:  # of the other recording nothing is unknown
        np.testing.assert_array_equal(
            *(
                d.rows(recording=recordings["recording"].iloc[1])[f"target_{label}"]
                for d in (data, plain)
            )
        )
    with pytest.raises(ValueError, match="Dolphin is unknown"):
        build_dataset(recordings.assign(unknown="Dolphin+Boat"), truth, tmp_path / "set", PROFILE)
