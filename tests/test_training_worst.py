"""The error browser: which errors are worst, what is kept of them, and what a person can do with it."""
import json

import numpy as np
import pandas as pd
import pytest

from preprocessing.annotations import read_annotations
from tests.training_toy import PROFILE, toy_dataset
from training import figures
from training.run import EXPERIMENTS, ROOT, execute
from training.worst import LARGEST, SELECTIONS, STEP_DB, keep_worst, main, not_kept, read_worst, worst_windows


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return toy_dataset(tmp_path_factory.mktemp("toy") / "d", seconds=6)


def judged(data, seed=0):
    """Test windows of the toy data with random probabilities."""
    rng, rows = np.random.default_rng(seed), data.rows(split="test").reset_index(drop=True)
    return rows.assign(**{f"prob_{label}": rng.uniform(size=len(rows)).astype(np.float32) for label in PROFILE.labels})


def test_the_worst_come_first_and_overlapping_windows_once():
    table = pd.DataFrame({"recording": ["a"] * 4 + ["b"] * 3, "start_s": [0, 0.5, 1.0, 9.0, 0, 1, 2], "target_A": [0, 0, 0, 0, 1, 1, np.nan], "prob_A": [0.9, 0.8, 0.7, 0.4, 0.1, 0.6, 0.99],
                          "target_B": [1, 0, 0, 0, 0, 0, 0], "prob_B": [0.8, 0, 0, 0, 0, 0, 0], "snr_A": [np.nan] * 4 + [7, 8, 9]})
    worst = worst_windows(table, {"A": {"window": 0.5}, "B": 0.5}, ("A", "B"), window_s=1.0)
    assert worst[["error", "recording", "start_s"]].to_numpy().tolist() == [["false alarm", "a", 0.0], ["false alarm", "a", 1.0], ["miss", "b", 0.0]]
    assert worst["truth"].tolist() == ["B", "nothing", "A"] and worst["snr_db"].isna().tolist() == [True, True, False] and worst["prob_B"].tolist() == [0.8, 0, 0]
    assert len(worst_windows(table, {"A": 0.5, "B": 0.5}, ("A", "B"), 1.0, each=1)) == 2


def test_pictures_are_the_calibrated_ones_with_some_sound_around_them(data, tmp_path):
    table = judged(data)
    worst = worst_windows(table, dict.fromkeys(PROFILE.labels, 0.5), PROFILE.labels, PROFILE.window_s)
    path = keep_worst(tmp_path, worst, data)
    kept = read_worst(tmp_path)
    assert path.stat().st_size < 2e6 and kept.level_db[:, :, :].size <= LARGEST and kept.level_db.shape[1:] == (384, 96)
    for row in worst.itertuples():
        k = kept.of(row.recording, row.start_s)
        whole = data.picture(row.recording + ".npy")[:, :PROFILE.n_bands]
        begin = round(row.start_s * 192) - 96
        inside = slice(max(begin, 0), min(begin + 384, len(whole)))
        np.testing.assert_allclose(kept.level_db[k, inside.start - begin:inside.stop - begin], whole[inside, :96], atol=STEP_DB / 2 + 1e-3)
        assert kept.first_s[k] == pytest.approx(row.start_s - 0.5) and np.isnan(kept.level_db[k, :max(-begin, 0)]).all() and np.isnan(kept.level_db[k, inside.stop - begin:]).all()
    assert kept.of("nothing", 0.0) is None


def test_what_is_masked_stays_masked_and_more_than_fits_is_left_out(data, tmp_path, monkeypatch):
    worst = worst_windows(judged(data), dict.fromkeys(PROFILE.labels, 0.5), PROFILE.labels, PROFILE.window_s)
    for name in {f"{recording}.npy" for recording in worst["recording"]}:
        whole = np.array(data.picture(name))
        whole[:, 50:] = np.nan
        monkeypatch.setitem(data._maps, name, whole)
    monkeypatch.setattr("training.worst.LARGEST", 3 * 384 * 96)
    keep_worst(tmp_path, worst, data)
    kept = read_worst(tmp_path)
    assert len(kept.level_db) == 3 and np.isnan(kept.level_db[:, :, 50:]).all() and np.isfinite(kept.level_db[:, 96:-96, :50]).any()
    grid = figures.show_worst(worst, tmp_path)
    assert "picture not kept" in [t.get_text() for ax in grid.flat for t in ax.texts]


def test_the_selection_table_names_file_time_band_scores_and_truth(data, tmp_path):
    worst = worst_windows(judged(data), dict.fromkeys(PROFILE.labels, 0.5), PROFILE.labels, PROFILE.window_s)
    keep_worst(tmp_path, worst, data)
    names = sorted(set(worst["recording"]))
    back = read_annotations(tmp_path / SELECTIONS, recordings=pd.DataFrame({"recording": names, "path": names, "duration_s": 6.0}))
    assert back["recording"].tolist() == worst["recording"].tolist() and back["label"].tolist() == worst["label"].tolist()
    np.testing.assert_allclose(back["start_s"], worst["start_s"], atol=1e-6)
    np.testing.assert_allclose(back["end_s"] - back["start_s"], PROFILE.window_s, atol=1e-6)
    assert back["truth"].tolist() == worst["truth"].tolist() and back["error"].tolist() == worst["error"].tolist()
    assert back["low_hz"].tolist() == [PROFILE.label_info[label]["band_hz"][0] for label in worst["label"]]


def test_the_picture_names_error_truth_scores_file_and_time(data, tmp_path, capsys):
    worst = worst_windows(judged(data), dict.fromkeys(PROFILE.labels, 0.5), PROFILE.labels, PROFILE.window_s)
    assert figures.show_worst(worst, tmp_path) is None and not_kept(tmp_path) in capsys.readouterr().out
    keep_worst(tmp_path, worst, data)
    grid = figures.show_worst(worst, tmp_path)
    title, first = grid[0, 0].get_title(), worst.iloc[0]
    for said in (f"{first['error']}: {first['label']} {first['probability']:.2f}", f"truth: {first['truth']}", f"{first['recording']} at {first['start_s']:.1f} s"):
        assert said in title
    assert any("ECHO" in t.get_text() and "Boat" in t.get_text() for t in grid[0, 0].texts) and grid[0, 0].images
    long = "sanctsound/SanctSound_CI05_01_LFAsonar_20181109T202439Z.flac"
    assert figures.wrapped(long).replace("\n", "") == long and max(map(len, figures.wrapped(long).splitlines())) <= 32 and figures.wrapped("a/b.wav") == "a/b.wav"
    assert figures.show_worst(worst.iloc[:0], tmp_path) is None and "No errors" in capsys.readouterr().out


def test_pictures_can_be_added_to_a_folder_only_of_windows_or_clips(tmp_path, capsys):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "parameters.yaml").write_text("{name: study, study: leak}", encoding="utf-8")
    assert main(["study"], tmp_path, tmp_path) == 2 and "kind study" in capsys.readouterr().err
    assert main(["none"], tmp_path, tmp_path) == 2 and "none" in capsys.readouterr().err


def test_the_analysis_of_an_older_folder_without_events_says_what_is_not_there(data, tmp_path):
    """A folder with metrics and predictions alone, as older code wrote it."""
    from training.evaluate import evaluate_windows, false_windows_per_empty_hour, json_ready
    from training.thresholds import reliability

    folder, limits = tmp_path / "old", {label: {"window": 0.5, "on": 0.5, "off": 0.25} for label in PROFILE.labels}
    folder.mkdir()
    parts = {split: judged(data).assign(split=split) for split in ("validation", "test")}
    metrics = {"simulated": True, "labels": list(PROFILE.labels), "thresholds": limits}
    for split, part in parts.items():
        metrics[split] = evaluate_windows(part, limits, PROFILE.labels) | {"false_windows_per_empty_hour": false_windows_per_empty_hour(part, limits, PROFILE.labels, 1.0, 0.5)}
    metrics["reliability"] = {label: reliability(parts["test"][f"prob_{label}"].to_numpy(), parts["test"][f"target_{label}"].to_numpy()) for label in PROFILE.labels}
    pd.concat(parts.values()).to_parquet(folder / "predictions.parquet")
    (folder / "metrics.json").write_text(json.dumps(json_ready(metrics)), encoding="utf-8")
    execute(EXPERIMENTS / "analysis.ipynb", folder / "analysis.ipynb", {"name": "old", "results_dir": str(tmp_path)}, progress=False)
    text = (folder / "analysis.ipynb").read_text(encoding="utf-8")
    for said in ("holds no pictures of its errors", "Events were not judged", "No predictions of other methods were kept"):
        assert said in text
    assert str(ROOT) not in text
