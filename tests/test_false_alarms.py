"""False alarms an hour, by hand: which windows are one alarm, of how many hours, at which recall.
"""

import numpy as np
import pandas as pd
import pytest

from training.false_alarms import (
    alarm_curve,
    alarms,
    headline,
    hours_of,
    limits_at_recall,
    poisson_interval,
    rate_of,
    recall_at,
    without_calls,
)

LABELS = ("ECHO", "Whistle")
NAN = np.nan


def table(rows):
    return pd.DataFrame(
        rows,
        columns=[
            "recording",
            "site",
            "kind",
            "animal",
            "start_s",
            "target_ECHO",
            "target_Whistle",
            "prob_ECHO",
            "prob_Whistle",
            "snr_ECHO",
            "snr_Whistle",
        ],
    )


def noise(recording, site, whistle, animal=0.0, target=0.0, start_s=0.0):
    """Windows half a second apart of a recording too slow for ECHO."""
    return [
        (recording, site, "noise", animal, start_s + k / 2, NAN, target, NAN, p, NAN, NAN)
        for k, p in enumerate(whistle)
    ]


CALLS = [
    ("s", "BSM", "natural", NAN, k / 2, 1.0, 1.0, 0.9, p, 20.0, snr_db)
    for k, (p, snr_db) in enumerate(
        [
            (0.95, 20),
            (0.9, 20),
            (0.85, 20),
            (0.8, 20),
            (0.75, 20),
            (0.7, 20),
            (0.65, 20),
            (0.6, 20),
            (0.55, 20),
            (0.3, 20),
            (0.01, 8),
        ]
    )
]
A, B = "noise/quiet/a", "noise/trap/b"
NOISE = noise(A, "FK", [0.1, 0.6, 0.6, 0.1, 0.1, 0.1, 0.9, 0.1]) + noise(B, "HI", [0.2] * 7)
MIXED = [
    ("m", "BSM", "real", NAN, 0.0, 0.0, 1.0, 0.1, 0.58, NAN, 12.0),
    ("m", "BSM", "real", NAN, 0.5, 0.0, 1.0, 0.1, 0.4, NAN, 12.0),
]
ALL = table(
    CALLS
    + NOISE
    + MIXED
    + noise("d", "HI", [0.99] * 3, animal=1.0)
    + noise("u", "HI", [0.99] * 3, target=NAN)
)


@pytest.mark.parametrize(
    "count, low, high", [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (10, 4.7954, 18.3904)]
)
def test_the_poisson_interval_is_garwoods(count, low, high):
    """Published values of the exact 95 % interval of a count."""
    assert poisson_interval(count, 1.0) == pytest.approx((low, high), abs=1e-4)
    assert poisson_interval(count, 0.5) == pytest.approx((2 * low, 2 * high), abs=2e-4)
    assert np.isnan(poisson_interval(count, 0.0)).all()


def test_the_interval_holds_the_true_rate_at_least_as_often_as_it_says():
    drawn, times = np.unique(np.random.default_rng(0).poisson(4.0, 5000), return_counts=True)
    holds = [low <= 4.0 <= high for low, high in (poisson_interval(int(k), 1.0) for k in drawn)]
    assert np.average(holds, weights=times) >= 0.95


def test_positive_windows_that_touch_are_one_alarm():
    rows = table(noise("a", "FK", [1, 1, 0, 1, 0, 0, 0, 1]) + noise("b", "FK", [1]))
    found = alarms(rows, rows["prob_Whistle"].to_numpy() > 0.5, 1.0)
    # windows at 0, 0.5 and 1.5 s of a second each touch; that at 3.5 s does not; another recording
    # is another alarm
    assert found[["recording", "start_s", "end_s"]].values.tolist() == [
        ["a", 0.0, 2.5],
        ["a", 3.5, 4.5],
        ["b", 0.0, 1.0],
    ]
    assert len(alarms(rows, np.zeros(len(rows), bool), 1.0)) == 0


def test_every_moment_is_counted_once():
    assert hours_of(table(noise("a", "FK", [0] * 7)), 1.0, 0.5) == pytest.approx(4 / 3600)
    assert hours_of(
        table(noise("a", "FK", [0]) + noise("a", "FK", [0], start_s=10)), 1.0, 0.5
    ) == pytest.approx(2 / 3600)


def test_only_windows_known_to_be_without_calls_are_judged_and_other_animals_apart():
    assert without_calls(ALL, LABELS)["recording"].value_counts().to_dict() == {A: 8, B: 7}
    assert set(without_calls(ALL, LABELS, animals=True)["recording"]) == {"d"}


def test_the_threshold_finds_the_share_of_clear_calls_that_was_asked_for():
    calls = table(CALLS)
    for recall, limit in (
        (0.9, 0.55),
        (0.91, 0.3),
        (1.0, 0.3),
        (0.5, 0.75),
    ):  # ten clear whistles; the eleventh has 8 dB
        limits = limits_at_recall(calls, LABELS, recall)
        assert (
            limits["Whistle"] == limit
            and recall_at(calls, limits, LABELS)["Whistle"]["recall"] >= recall
        )
    assert np.isnan(limits_at_recall(calls.assign(snr_ECHO=3.0), LABELS)["ECHO"])


def test_the_headline_by_hand():
    h = headline(ALL, LABELS, {"ECHO": {"window": 0.5}, "Whistle": {"window": 0.8}}, 1.0, 0.5)
    hours = (4.5 + 4.0) / 3600
    assert h["judged"] == ["Whistle"] and h["not_judged"] == ["ECHO"]
    at, use = h["at_recall"], h["in_use"]
    assert (
        at["limits"] == {"Whistle": 0.55}
        and at["false_alarms"] == 2
        and at["per_hour"] == pytest.approx(2 / hours)
        and at["positive_share"] == pytest.approx(3 / 15)
    )
    assert at["interval"] == pytest.approx(list(poisson_interval(2, hours)))
    assert (
        at["by_site"]["FK"]["false_alarms"] == 2
        and at["by_site"]["HI"]["false_alarms"] == 0
        and at["by_site"]["HI"]["interval"][1] > 0
    )
    assert {key: r["false_alarms"] for key, r in at["by_set"].items()} == {"quiet": 2, "trap": 0}
    assert (
        use["false_alarms"] == 1
        and use["recall"]["Whistle"] == {"windows": 10, "recall": 0.4}
        and use["recall"]["ECHO"]["recall"] == 1
    )
    assert (
        use["recall_in_noise"]["Whistle"] == {"windows": 2, "recall": 0.0}
        and use["other_animals"]["false_alarms"] == 1
    )
    assert headline(table(CALLS), LABELS, {"ECHO": 0.5, "Whistle": 0.5}, 1.0, 0.5) == {}


def test_the_curve_rises_with_recall_and_meets_the_headline():
    curve = alarm_curve(ALL, LABELS, 1.0, 0.5, recalls=(0.1, 0.5, 0.9, 1.0))
    whole = curve[curve["site"] == "all"].set_index("recall")["per_hour"]
    assert whole.is_monotonic_increasing and whole[0.9] == pytest.approx(
        rate_of(without_calls(ALL, LABELS), {"Whistle": 0.55}, ("Whistle",), 1.0, 0.5)["per_hour"]
    )
    assert (
        set(curve["site"]) == {"all", "FK", "HI"}
        and (curve["low"] <= curve["per_hour"]).all()
        and (curve["high"] > curve["per_hour"]).all()
    )
