"""What events say beyond label and time, judged by hand-made tables and by simulated truth."""
import numpy as np
import pandas as pd
import pytest

from preprocessing.soundscape import simulate_recording
from spectrogram.profile import load_profile
from training.event_details import constant_bounds, count_ratio, diphonic_metrics, diphonic_pairs, edge_errors, median_errors

LABELS = ("ECHO", "HFPC", "BBPC", "Whistle")


def calls(*rows) -> pd.DataFrame:
    return pd.DataFrame([("a", *row) for row in rows], columns=["recording", "label", "start_s", "end_s", "low_hz", "high_hz", "audible"])


def events(*rows) -> pd.DataFrame:
    return pd.DataFrame([("a", *row) for row in rows], columns=["recording", "labels", "start_s", "end_s", "low_hz", "high_hz", "diphonic", "n_calls"])


TRUTH = calls(("Whistle", 1.0, 2.0, 5e3, 9e3, True), ("BBPC", 1.5, 3.0, 1e3, 9e4, True),   # half of the shorter
              ("Whistle", 5.0, 6.0, 5e3, 9e3, True), ("HFPC", 5.75, 7.0, 3e4, 9e4, True),  # a quarter
              ("Whistle", 9.0, 9.5, 5e3, 9e3, True), ("ECHO", 8.0, 12.0, 3e4, 9e4, True),  # clicks
              ("Whistle", 15.0, 16.0, 5e3, 9e3, True), ("HFPC", 15.0, 16.0, 3e4, 9e4, False))  # too faint


def test_true_pairs_are_a_whistle_and_a_pulsed_call_for_half_of_the_shorter():
    assert diphonic_pairs(TRUTH).values.tolist() == [["a", 1.5, 2.0]]


def test_precision_and_recall_of_diphonic_by_hand():
    found = events(("Whistle", 1.0, 1.7, 5e3, 9e3, True, 1), ("BBPC+Whistle", 9.0, 10.0, 1e3, 9e4, True, 2), ("Whistle", 5.0, 6.0, 5e3, 9e3, False, 1))
    assert diphonic_metrics(found, TRUTH) == {"events": 2, "pairs": 1, "precision": 0.5, "recall": 1.0}
    assert count_ratio(found, TRUTH, LABELS) == pytest.approx(4 / 7)


def test_edges_are_compared_where_one_event_meets_one_call():
    found = events(("Whistle", 1.1, 1.9, 5500, 8000, False, 1), ("Whistle", 4.9, 6.2, 4e3, 9e3, False, 1), ("ECHO", 8.0, 9.0, 3e4, 9e4, False, 1), ("ECHO", 9.5, 12, 3e4, 9e4, False, 1))
    errors = edge_errors(found, TRUTH, LABELS)
    assert errors["label"].tolist() == ["Whistle", "Whistle"]  # the train has two events
    np.testing.assert_allclose(errors.iloc[0, 1:].astype(float), [0.1, -0.1, 500, -1000])
    assert median_errors(found, TRUTH, LABELS)["Whistle"]["low_hz"] == 750


def test_bounds_that_the_profile_knows_are_constants():
    profile = load_profile("beluga")
    found = events(("HFPC", 1.0, 2.0, 25000.0, 61234.0, False, 1), ("HFPC", 3.0, 4.0, 25340.0, 61234.0, False, 1))
    assert constant_bounds(found, profile) == 0.5


def test_the_simulators_own_truth_is_diphonic_with_itself():
    rows = simulate_recording("RDL", seed=3, duration_s=30, call_rate_per_min=30.0, diphonic_share=1.0, boats=False, sample_rate_hz=48_000)[1].assign(recording="a")
    pairs = diphonic_pairs(rows)
    assert len(pairs) >= 2
    perfect = pairs.assign(labels="HFPC+Whistle", diphonic=True, n_calls=2, low_hz=0.0, high_hz=1.0)
    assert diphonic_metrics(perfect, rows) == {"events": len(pairs), "pairs": len(pairs), "precision": 1.0, "recall": 1.0}
