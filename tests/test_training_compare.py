"""Two experiments on the same recordings: the difference with its interval, and what is refused; 06_compare by papermill."""
import json

import numpy as np
import pandas as pd
import pytest

from training.compare import Judged, NotComparable, judged, paired, paired_table, plot_paired, windows_judged
from training.evaluate import evaluate_windows, json_ready
from training.metrics import bootstrap, counts, draws_of
from training.saved import ROOT

LABELS = ("ECHO", "Boat")
LIMITS = dict.fromkeys(LABELS, 0.5)
NAMES = np.repeat([f"r{k}" for k in range(20)], 20)


def table(gain, seed=0, truth_seed=0):
    """400 windows of 20 recordings; probabilities that follow the truth by `gain`."""
    rng = np.random.default_rng(seed)
    out = pd.DataFrame({"recording": NAMES, "start_s": np.tile(np.arange(20) / 2, 20), "split": "test", "site": "S"})
    truth = np.random.default_rng(truth_seed).integers(0, 2, (400, 2))
    for k, label in enumerate(LABELS):
        out[f"target_{label}"] = truth[:, k].astype(np.float32)
        out[f"prob_{label}"] = np.clip(truth[:, k] * gain + rng.normal(0.5 - gain / 2, 0.2, 400), 0, 1).astype(np.float32)
        out[f"snr_{label}"] = np.float32(12)
    return out


def side(name, gain, **how):
    return windows_judged(name, table(gain, **how), LABELS, LIMITS)


def test_a_better_experiment_is_better_by_the_difference_on_the_same_windows():
    verdict = paired(side("good", 0.8, seed=1), side("poor", 0.3, seed=2), draws=60)
    f1 = verdict["macro_f1"]
    assert verdict["rows"] == 400 and verdict["groups"] == 20 and verdict["labels"] == ["ECHO"]  # a boat is no call
    assert f1["difference"] == pytest.approx(f1["one"] - f1["other"]) and 0.05 < f1["low"] < f1["difference"] < f1["high"] and f1["share_better"] == 1
    assert f1["one"] == pytest.approx(evaluate_windows(table(0.8, seed=1), LIMITS, LABELS, draws=0)["all"]["macro"]["f1"])
    back = paired(side("poor", 0.3, seed=2), side("good", 0.8, seed=1), draws=60)["macro_f1"]
    assert (back["difference"], back["low"], back["high"]) == pytest.approx((-f1["difference"], -f1["high"], -f1["low"]))
    same = paired(side("a", 0.5), side("b", 0.5), draws=20)["by_label"]["ECHO"]["average_precision"]
    assert same["difference"] == same["low"] == same["high"] == 0 and same["share_better"] == 0


def test_the_order_of_rows_does_not_matter_and_pairing_narrows_the_interval():
    rng = np.random.default_rng(3)
    one, other = table(0.4, seed=1), table(0.35, seed=1)
    hard = rng.uniform(0, 0.5, 20).repeat(20)  # what makes a recording hard is hard for both
    for part in (one, other):
        part["prob_ECHO"] = (part["prob_ECHO"] - hard * part["target_ECHO"]).clip(0, 1)
    sides = [windows_judged(name, part, LABELS, LIMITS) for name, part in (("one", one), ("other", other))]
    shuffled = windows_judged("other", other.sample(frac=1, random_state=0), LABELS, LIMITS)
    verdict = paired(*sides, draws=80)
    assert paired(sides[0], shuffled, draws=80) == verdict
    alone = [bootstrap(NAMES, lambda rows, s=s: counts(s.table["target_ECHO"].to_numpy()[rows], s.said[rows, 0])["f1"], 80) for s in sides]
    assert verdict["macro_f1"]["high"] - verdict["macro_f1"]["low"] < 0.7 * min(high - low for low, high in alone)


def test_groups_are_drawn_whole():
    rows = next(draws_of(NAMES, 1, 0))
    found = pd.Series(NAMES[rows]).value_counts()
    assert len(rows) == 400 and (found % 20 == 0).all() and len(found) < 20


def test_what_was_not_judged_on_the_same_recordings_is_refused():
    one, labels = side("one", 0.5), ("Whistle",)
    fewer = windows_judged("fewer", table(0.5).iloc[20:], LABELS, LIMITS)
    with pytest.raises(NotComparable, match="not judged on the same recordings: 19 in common, 1 in one alone .such as r0."):
        paired(one, fewer)
    with pytest.raises(NotComparable, match="not on the same windows"):
        paired(one, windows_judged("steps", table(0.5).assign(start_s=lambda t: t["start_s"] * 2), LABELS, LIMITS))
    with pytest.raises(NotComparable, match="what they hold differs in .* of 400 windows"):
        paired(one, side("another seed", 0.5, truth_seed=1))
    with pytest.raises(NotComparable, match="no label in common"):
        paired(one, windows_judged("whistles", table(0.5).rename(columns=lambda c: c.replace("ECHO", "Whistle")), labels, {"Whistle": 0.5}))
    with pytest.raises(NotComparable, match="like with like"):
        paired(one, Judged("clips", "clips", one.table, one.said, LABELS))


def test_a_window_that_one_of_them_may_not_know_counts_for_neither():
    part = table(0.5)
    part.loc[:99, "target_ECHO"] = np.nan
    verdict = paired(side("one", 0.5), windows_judged("other", part, LABELS, LIMITS), draws=5)
    known = evaluate_windows(table(0.5).iloc[100:], LIMITS, LABELS, draws=0)["all"]["macro"]["f1"]
    assert verdict["macro_f1"]["one"] == verdict["macro_f1"]["other"] == pytest.approx(known)


def experiment(results, name, gain, seed):
    """A results folder with windows, and a baseline beside."""
    folder = results / name
    folder.mkdir(parents=True)
    predictions = table(gain, seed)
    cheap = table(0.2, 9)
    for label in LABELS:
        predictions[f"baseline_{label}"] = cheap[f"prob_{label}"]
    metrics = {"kind": "windows", "simulated": True, "labels": LABELS, "thresholds": {label: {"window": 0.5, "on": 0.5, "off": 0.25} for label in LABELS},
               "test": evaluate_windows(predictions, LIMITS, LABELS, 10), "baseline": evaluate_windows(cheap, LIMITS, LABELS, 0) | {"thresholds": LIMITS}}
    predictions.to_parquet(folder / "predictions.parquet")
    (folder / "metrics.json").write_text(json.dumps(json_ready(metrics)), encoding="utf-8")
    return folder


def test_folders_methods_trainings_and_clips(tmp_path):
    one = experiment(tmp_path, "one", 0.8, 1)
    verdict = paired(judged(one), judged(one, method="baseline"), draws=20)
    assert verdict["macro_f1"]["low"] > 0 and verdict["other"] == "one, baseline" and verdict["macro_f1"]["other"] == pytest.approx(
        evaluate_windows(table(0.2, 9), LIMITS, LABELS, draws=0)["all"]["macro"]["f1"])
    with pytest.raises(NotComparable, match="ARGS=--again"):
        judged(one, method="peer")
    study = tmp_path / "study"
    study.mkdir()
    pd.concat([table(0.8, 1).assign(variant="with"), table(0.3, 2).assign(variant="without")]).to_parquet(study / "predictions.parquet")
    (study / "metrics.json").write_text(json.dumps({"kind": "study", "labels": LABELS, "thresholds": {"with": LIMITS, "without": LIMITS}}), encoding="utf-8")
    assert paired(judged(study, "with"), judged(study, "without"), draws=10)["macro_average_precision"]["low"] > 0
    with pytest.raises(NotComparable, match="it has with, without"):
        judged(study, "wiht")
    clips = tmp_path / "clips"
    clips.mkdir()
    parts = []
    for variant, gain in (("a", 0.8), ("b", 0.3)):
        part = table(gain, 1).assign(variant=variant, group=lambda t: t["recording"].str[:2], recording=lambda t: t["recording"] + "/" + (t["start_s"] // 1).astype(str), limit_ECHO=0.5, limit_Boat=0.5)
        for label in LABELS:
            part[f"target_{label}"] = part.groupby("recording")[f"target_{label}"].transform("max")
        parts.append(part)
    pd.concat(parts).to_parquet(clips / "predictions.parquet")
    (clips / "metrics.json").write_text(json.dumps({"kind": "clips", "labels": LABELS, "pool": "mean"}), encoding="utf-8")
    verdict = paired(judged(clips, "a"), judged(clips, "b"), draws=10)
    assert verdict["unit"] == "clips" and verdict["rows"] == 200 and verdict["groups"] == 10
    (clips / "metrics.json").write_text(json.dumps({"kind": "detections", "labels": ["x"]}), encoding="utf-8")
    with pytest.raises(NotComparable, match="kind detections"):
        judged(clips)


def test_the_table_and_the_picture_say_what_differs():
    verdict = paired(side("good", 0.8, seed=1), side("poor", 0.3, seed=2), draws=20)
    shown = paired_table(verdict)
    assert list(shown.columns[:3]) == ["good", "poor", "difference"] and list(shown.index) == ["macro F1", "macro average precision", "ECHO, F1", "ECHO, average precision"]
    ax = plot_paired(verdict)
    assert "good less poor" in ax.get_xlabel() and [t.get_text() for t in ax.get_yticklabels()] == list(shown.index)


def test_the_notebook_compares_two_folders(tmp_path):
    papermill = pytest.importorskip("papermill")
    for name, gain, seed in (("good", 0.8, 1), ("poor", 0.3, 2)):
        experiment(tmp_path / "results", name, gain, seed)
    book = papermill.execute_notebook(ROOT / "training" / "06_compare.ipynb", tmp_path / "out.ipynb", {"one": "good", "other": "poor", "draws": 20, "results_dir": str(tmp_path / "results")},
                                      cwd=ROOT, progress_bar=False)
    text = json.dumps(book.cells)
    assert text.count("image/png") == 2 and "macro average precision" in text and "share_better" in text
