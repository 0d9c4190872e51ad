"""The verdict on events, and where an event begins: hand-made tables with the right answers written beside."""
import numpy as np
import pandas as pd
import pytest

from training.event_verdict import choose_on, event_table, event_verdict, lowest, run_over

LABELS = ("ECHO", "Whistle")
RECORDINGS = pd.DataFrame({"recording": ["a", "b"], "path": ["a.wav", "b.wav"], "duration_s": [3600.0, 3600.0], "kind": ["natural", "empty"], "boats": [False, True]})


def rows(*calls):
    return pd.DataFrame(calls, columns=["recording", "label", "start_s", "end_s", "snr_db", "audible"])


TRUTH = rows(("a", "Whistle", 10, 11, 20.0, True), ("a", "Whistle", 20, 21, 8.0, True), ("a", "ECHO", 30, 32, 30.0, True), ("a", "Whistle", 40, 41, 3.0, False))
EVENTS = pd.DataFrame([
    ("a", "Whistle", 10.1, 10.9, 0.9),       # true
    ("a", "Whistle", 20.0, 21.0, 0.5),       # true
    ("a", "ECHO+Whistle", 30.0, 32.0, 0.3),  # true for ECHO, false for Whistle
    ("a", "Whistle", 40.0, 41.0, 0.4),       # on an inaudible call: ignored
    ("b", "Whistle", 50.0, 51.0, 0.45),      # false, in an empty recording
], columns=["recording", "labels", "start_s", "end_s", "score_Whistle"]).assign(score_ECHO=0.8)


def test_verdict_by_hand():
    v = event_verdict(EVENTS, TRUTH, RECORDINGS, LABELS, draws=20)
    assert (v["Whistle"]["true"], v["Whistle"]["false"], v["Whistle"]["ignored"], v["Whistle"]["found"]) == (2, 2, 1, 2)
    assert v["ECHO"]["precision"] == 1 and v["ECHO"]["recall"] == 1
    assert v["false_events"] == 1 and v["empty_hours"] == pytest.approx(2 - (4 * 1 + 4 * 2 + 1) / 3600)  # each call with a second on both sides
    assert v["silent_recordings"]["false_events"] == 1 and v["silent_recordings"]["per_hour"] == pytest.approx(1.0)
    assert v["without_boats"]["Whistle"]["false"] == 1 and v["with_boats"]["Whistle"]["annotations"] == 0
    recall = {(r["snr_low_db"]): r["recall"] for r in v["recall_by_snr"]["Whistle"]}
    assert recall[6.0] == 1 and recall[20.0] == 1 and np.isnan(recall[10.0])
    low, high = v["interval"]["macro_f1"]
    assert 0 <= low <= high <= 1
    assert list(event_table(v).index) == ["ECHO", "Whistle", "macro"]


def test_on_is_the_threshold_of_the_highest_f1_that_keeps_empty_water_empty():
    thresholds = {label: {"window": 0.5, "on": 0.6, "off": 0.2} for label in LABELS}
    assert lowest(thresholds)["Whistle"] == {"window": 0.5, "on": 0.2, "off": 0.2}
    chosen = choose_on(EVENTS, TRUTH, RECORDINGS, thresholds, LABELS, most_false_per_hour=0.0)
    # at 0.5 both whistles are found and the false ones (0.3, 0.45) are gone; higher, one whistle is lost
    assert 0.45 < chosen["Whistle"]["on"] <= 0.5 and chosen["Whistle"]["off"] == 0.2
    assert thresholds["Whistle"]["on"] == 0.6  # the input is left alone


def test_events_are_named_as_the_truth_names_them():
    events = run_over(RECORDINGS, lambda path: EVENTS.head(1).assign(recording=path), progress=False)
    assert list(events["recording"]) == ["a", "b"]
