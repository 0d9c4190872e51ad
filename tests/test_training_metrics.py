"""Figures of merit, each checked by hand: the true and false positives stand beside the numbers."""
import numpy as np
import pandas as pd
import pytest

from training.metrics import (average_precision, bootstrap, counts, event_metrics, false_events_per_empty_hour, judge_events, recall_by_snr, roc_auc, union,
                              window_metrics)
from training.thresholds import best_threshold, choose, platt, reliability, sigmoid

NAN = np.nan


def test_counts_leave_out_what_is_not_known():
    truth = np.array([1, 1, 1, 0, 0, NAN, NAN])
    positive = np.array([1, 1, 0, 1, 0, 1, 0], bool)
    #                    tp tp fn fp tn -  -
    c = counts(truth, positive)
    assert (c["tp"], c["fn"], c["fp"], c["tn"]) == (2, 1, 1, 1)
    assert c["precision"] == pytest.approx(2 / 3) and c["recall"] == pytest.approx(2 / 3) and c["f1"] == pytest.approx(2 / 3)


def test_window_metrics_of_two_labels():
    truth = np.array([[1, 0], [0, 0], [1, NAN], [0, 1]])
    prob = np.array([[.9, .1], [.8, .2], [.3, .9], [.1, .7]])
    m = window_metrics(truth, prob, {"A": 0.5, "B": 0.5}, ("A", "B"), ("A", "B"))
    # A, by falling score: 1 (.9), 0 (.8), 1 (.3), 0 (.1): AP = 1/2 * 1/1 + 1/2 * 2/3; at .5: tp .9, fp .8, fn .3
    assert m["A"]["average_precision"] == pytest.approx(5 / 6)
    assert m["A"]["f1"] == pytest.approx(2 / 4) and m["A"]["roc_auc"] == pytest.approx(3 / 4)
    assert m["B"]["f1"] == 1 and m["B"]["windows"] == 3 and m["B"]["positives"] == 1
    assert m["macro"]["f1"] == pytest.approx(0.75)


def test_a_label_without_positives_is_missing_from_the_macro_not_zero():
    m = window_metrics(np.array([[1, 0], [0, 0]]), np.array([[.9, .1], [.1, .1]]), {"A": .5, "B": .5}, ("A", "B"), ("A", "B"))
    assert np.isnan(m["B"]["average_precision"]) and m["macro"]["average_precision"] == 1
    assert np.isnan(roc_auc(np.array([0, 0, NAN]), np.zeros(3)))


def test_recall_by_snr():
    truth = np.array([1, 1, 1, 0, 1])
    snr_db = np.array([7, 8, 12, NAN, 40.0])
    rows = recall_by_snr(truth, np.array([1, 0, 1, 1, 1], bool), snr_db)
    assert [(r["positives"], r["recall"]) for r in rows][:2] == [(2, 0.5), (1, 1.0)] and rows[-1]["positives"] == 1


def test_union_joins_what_touches():
    assert union([[3, 4], [0, 1], [1, 2], [3.5, 5]]).tolist() == [[0, 2], [3, 5]]
    assert union(np.zeros((0, 2))).shape == (0, 2)


TRUTH = pd.DataFrame([
    ("a", "Whistle", 1.0, 2.0, True),    # W1
    ("a", "Whistle", 5.0, 6.0, True),    # W2
    ("a", "Whistle", 8.0, 9.0, False),   # W3, too faint to be heard
    ("a", "ECHO", 1.0, 3.0, True),       # E1
    ("b", "Whistle", 1.0, 2.0, True),    # W4
], columns=["recording", "label", "start_s", "end_s", "audible"])


def detections(*rows):
    return pd.DataFrame(rows, columns=["recording", "labels", "start_s", "end_s"])


def test_half_coverage_rule_by_hand():
    events = detections(
        ("a", ["Whistle"], 1.0, 1.3),          # true: all of it on W1, of which it covers .3
        ("a", ["Whistle"], 1.6, 1.9),          # true; with the one before .6 of W1 is covered: found
        ("a", ["Whistle"], 5.6, 6.0),          # true, but W2 is only .4 covered: not found
        ("a", ["Whistle"], 8.2, 8.8),          # on W3: neither true nor false
        ("a", ["Whistle"], 3.4, 3.6),          # false: nothing there
        ("a", "Whistle+ECHO", 1.5, 3.5),       # Whistle: .5 s of 2 on W1 = .25, false; ECHO: 1.5 of 2 on E1, true, and E1 found
        ("b", ["ECHO"], 1.0, 2.0),             # false: right time, wrong name; W4 not found
    )
    m = event_metrics(events, TRUTH, ("Whistle", "ECHO"))
    w, e = m["Whistle"], m["ECHO"]
    assert (w["true"], w["false"], w["ignored"]) == (3, 2, 1)
    assert (w["annotations"], w["found"]) == (3, 1)             # W1 of W1, W2, W4; W3 does not count
    assert w["precision"] == pytest.approx(3 / 5) and w["recall"] == pytest.approx(1 / 3)
    assert (e["true"], e["false"], e["found"], e["annotations"]) == (1, 1, 1, 1)


def test_no_detections_and_no_truth():
    nothing = detections()
    m = event_metrics(nothing, TRUTH, ("Whistle",))
    assert m["Whistle"]["recall"] == 0 and np.isnan(m["Whistle"]["precision"])
    found, missed = judge_events(detections(("a", ["Whistle"], 0, 1)), TRUTH.iloc[:0], ("Whistle",))
    assert found["verdict"].tolist() == ["false"] and len(missed) == 0


def test_false_events_in_empty_time():
    recordings = pd.DataFrame({"recording": ["a", "b"], "duration_s": [20.0, 10.0]})
    events = detections(
        ("a", ["Whistle"], 15.0, 16.0),             # false
        ("a", ["Whistle", "ECHO"], 17.0, 18.0),     # false, once
        ("a", ["Boat"], 13.0, 14.0),                # a boat is no call
        ("a", ["Whistle"], 3.5, 4.1),               # middle 3.8, within a second of E1's end
        ("b", ["ECHO"], 1.0, 2.0),                  # something calls there
    )
    m = false_events_per_empty_hour(events, TRUTH, recordings, ("Whistle", "ECHO"))
    # a: 20 s less 0-4, 4-7 and 7-10; b: 10 s less 0-3
    assert m["false_events"] == 2 and m["empty_hours"] == pytest.approx(17 / 3600)


def test_bootstrap_draws_whole_groups():
    groups = np.repeat(["a", "b"], 100)
    values = np.repeat([0.0, 1.0], 100)
    low, high = bootstrap(groups, lambda rows: values[rows].mean(), draws=400)
    assert (low, high) == (0.0, 1.0)  # drawn row by row the interval would be about .43 to .57
    assert bootstrap(groups, lambda rows: values[rows].mean(), draws=50, seed=3) == bootstrap(groups, lambda rows: values[rows].mean(), draws=50, seed=3)


def test_best_threshold_for_f1_and_for_precision():
    prob = np.array([.9, .8, .7, .6, .5, .4, .3, .2, .1, .05, .9])
    truth = np.array([1, 1, 0, 1, 1, 0, 1, 0, 0, 0, NAN])
    #      f1 at each:  .33 .57 .5 .67 .80 .73 .83 ...
    assert best_threshold(prob, truth) == pytest.approx(0.25)
    assert best_threshold(prob, truth, target_precision=0.8) == pytest.approx(0.45)  # 4 of 5
    assert best_threshold(prob, truth, target_precision=1.0) == pytest.approx(0.75)  # 2 of 2
    assert best_threshold(prob[:3], truth[:3]) == 0.5  # too little to choose from


def test_platt_finds_the_map_that_made_the_truth():
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 3, 20_000)
    truth = (rng.random(20_000) < sigmoid(0.5 * logit - 1)).astype(float)
    slope, intercept = platt(logit, truth)
    assert slope == pytest.approx(0.5, abs=0.03) and intercept == pytest.approx(-1, abs=0.06)
    assert platt(-logit, truth) == (1.0, 0.0)  # never turned round
    for row in reliability(sigmoid(slope * logit + intercept), truth):
        assert row["mean_probability"] == pytest.approx(row["share_positive"], abs=0.05)


def test_choose_answers_for_every_label_even_without_positives():
    rng = np.random.default_rng(1)
    window = np.stack([rng.random(200) < 0.3, np.zeros(200)], axis=1).astype(float)
    logit = 4 * window - 2 + rng.normal(0, 1, window.shape)
    calibration, thresholds = choose(logit, logit[..., None].repeat(3, -1), window, window[..., None].repeat(3, -1), ("A", "B"))
    assert thresholds["B"] == {"window": 0.5, "on": 0.5, "off": 0.25} and calibration["B"]["slope"] == 1
    assert 0 < thresholds["A"]["off"] < thresholds["A"]["on"] < 1


def test_clear_calls_leaves_out_what_is_faint_and_nothing_else():
    from training.evaluate import clear_calls

    table = pd.DataFrame({"target_A": [1.0, 1.0, 0.0, np.nan], "snr_A": [7.0, 12.0, np.nan, 3.0]})
    np.testing.assert_array_equal(clear_calls(table, ("A",))["target_A"], [np.nan, 1, 0, np.nan])
    np.testing.assert_array_equal(table["target_A"], [1, 1, 0, np.nan])


@pytest.mark.parametrize("n, steps", [(5, 2), (60, 3), (500, 1000)])
def test_average_precision_and_roc_auc_are_those_of_scikit_learn(n, steps):
    from sklearn.metrics import average_precision_score, roc_auc_score

    rng = np.random.default_rng(n)
    truth, score = np.append(rng.integers(0, 2, n), [0, 1]).astype(float), np.round(rng.random(n + 2) * steps) / steps  # ties
    assert average_precision(truth, score) == pytest.approx(average_precision_score(truth, score), abs=1e-12)
    assert roc_auc(truth, score) == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    with pytest.raises(ValueError, match="NaN"):
        roc_auc(truth, np.append(score[1:], np.nan))
