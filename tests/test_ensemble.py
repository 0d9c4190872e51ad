"""Weights of an ensemble, and the figures of checked detections."""
import numpy as np
import pandas as pd
import pytest

from training.ensemble import areas, calibrated, class_rates, convex_weights, curves, ensemble, gain, held_out, leave_one_mooring_out, log_loss, verdict_metrics
from training.leaks import Leak
from training.metrics import average_precision, roc_auc


def networks(n=400, seed=0, skill=(0.5, 1.0, 1.5, 0.0)):
    rng = np.random.default_rng(seed)
    target = (rng.random(n) < 0.3).astype(float)
    logit = np.column_stack([s * (2 * target - 1) + rng.normal(0, 1, n) for s in skill])
    return 1 / (1 + np.exp(-logit)), target


# --- weights

@pytest.mark.parametrize("seed", range(4))
def test_weights_are_convex_and_no_network_is_better_on_validation(seed):
    prob, target = networks(seed=seed)
    weights = convex_weights(prob, target)
    assert (weights >= 0).all() and weights.sum() == pytest.approx(1, abs=1e-12)
    together = log_loss(ensemble(prob, weights), target)
    assert together <= min(log_loss(prob[:, k], target) for k in range(4)) + 1e-12
    rng = np.random.default_rng(seed)
    others = [log_loss(ensemble(prob, w), target) for w in rng.dirichlet(np.ones(4), 300)]
    near = [log_loss(ensemble(prob, w / w.sum()), target) for w in np.abs(weights + rng.normal(0, 0.01, (300, 4)))]
    assert together <= min(others + near) + 1e-8


def test_the_weights_of_a_known_mixture():
    """Two networks that know a different half each, equally well: half and half, where ln 2 is lost on no clip."""
    target = np.array([1, 0, 1, 0] * 50, float)
    sure, blind = np.where(target == 1, 0.9, 0.1), np.full(200, 0.5)
    first = np.arange(200) < 100
    prob = np.column_stack([np.where(first, sure, blind), np.where(first, blind, sure)])
    np.testing.assert_allclose(convex_weights(prob, target), [0.5, 0.5], atol=1e-4)
    np.testing.assert_allclose(convex_weights(np.column_stack([sure, blind, 1 - sure]), target), [1, 0, 0], atol=1e-5)


@pytest.mark.parametrize("prob", [np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]), np.full((4, 3), 0.5), np.array([[0.2], [0.7], [0.6], [0.1]])])
def test_sure_and_wrong_equal_and_single_networks(prob):
    target = np.array([0, 1, 1, np.nan])
    weights = convex_weights(prob, target)
    assert np.isfinite(weights).all() and weights.sum() == pytest.approx(1) and np.isfinite(log_loss(ensemble(prob, weights), target))


def test_a_target_that_is_not_known_does_not_count_and_nonsense_is_refused():
    prob, target = networks(60)
    more = np.vstack([prob, np.full((20, 4), 0.99)]), np.append(target, np.full(20, np.nan))
    np.testing.assert_allclose(convex_weights(*more), convex_weights(prob, target), atol=1e-6)
    for bad in ((prob * 2, target), (prob, target * np.nan), (np.where(prob > 0.5, np.nan, prob), target), (prob[:, :0], target)):
        with pytest.raises(ValueError, match="ensemble weights"):
            convex_weights(*bad)


# --- figures

def clips(n=240, moorings=3, seed=1):
    prob, target = networks(n, seed, (0.8, 1.5))
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"recording": [f"r{k // 10:02d}.wav" for k in range(n)], "start_s": (np.arange(n) % 10) * 3.0, "target": target})
    table["class"] = np.where(target == 1, "B", np.where(rng.random(n) < 0.7, "F", "N"))
    table["mooring"] = [f"M{(k // 10) % moorings}" for k in range(n)]
    return table.assign(a=prob[:, 0], b=prob[:, 1])


def test_figures_counted_by_hand():
    table = pd.DataFrame({"class": list("BBBFFNN"), "target": [1, 1, 1, 0, 0, 0, np.nan], "prob_x": [0.9, 0.6, 0.2, 0.7, 0.1, 0.8, 0.9], "limit_x": 0.5, "recording": list("abcabca")})
    assert class_rates(table, "x")[["clips", "called_B", "called_not_B"]].values.tolist() == [[3, 2, 1], [2, 1, 1], [1, 1, 0]]
    figures = verdict_metrics(table, draws=20)["x"]
    assert figures["precision"] == pytest.approx(2 / 4) and figures["recall"] == pytest.approx(2 / 3) and figures["precision_without_N"] == pytest.approx(2 / 3)
    assert figures["classes"]["F"]["right"] == 0.5 and figures["classes"]["N"]["right"] == 0.0
    low, high = figures["interval"]["recall"]
    assert 0 <= low <= figures["recall"] <= high <= 1


def test_curves_have_the_areas_of_the_metrics():
    table = clips().assign(prob_x=lambda t: t["b"].round(1))
    points, target, prob = curves(table, "x"), table["target"].to_numpy(), table["prob_x"].to_numpy()
    steps = np.diff(points["recall"], prepend=0)
    assert (points["precision"] * steps).sum() == pytest.approx(average_precision(target, prob))
    area = np.trapezoid(np.append(0, points["true_rate"]), np.append(0, points["false_rate"]))
    assert area == pytest.approx(roc_auc(target, prob)) and (np.diff(points["threshold"]) < 0).all()
    assert areas(target, prob) == (pytest.approx(average_precision(target, prob)), pytest.approx(roc_auc(target, prob)))
    assert np.isnan(areas(target * 0, prob)).all() and areas(target * 0 + 1, prob)[0] == pytest.approx(1) and np.isnan(areas(target * 0 + 1, prob)[1])


def test_every_mooring_is_held_out_once_and_judged_by_what_never_saw_it():
    table, seen = clips(), []

    def answer(train, validation, test, name):
        sides = [set(part["mooring"]) for part in (train, validation, test)]
        assert not sides[0] & sides[2] and not sides[1] & sides[2] and not set(train["recording"]) & set(validation["recording"])
        seen.append((name, len(train)))
        return {net: (validation[net].to_numpy(), test[net].to_numpy()) for net in ("a", "b")}

    judged, weights = held_out(table, leave_one_mooring_out(table), answer, window_s=2.0)
    assert [name for name, _ in seen] == ["M0", "M1", "M2"] and sorted(judged.index) == list(table.index) and (judged["fold"] == judged["mooring"]).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    for name, part in judged.groupby("fold"):
        np.testing.assert_allclose(part["prob_ensemble"], part[["prob_a", "prob_b"]] @ weights.loc[name, ["a", "b"]].to_numpy())
    figures = verdict_metrics(judged, "mooring", draws=30)
    assert figures["groups"] == 3 and set(figures) == {"clips", "groups", "a", "b", "ensemble"} and figures["b"]["average_precision"] > figures["a"]["average_precision"]
    better = gain(judged, "b", "a", draws=50)
    assert better["difference"] == pytest.approx(figures["b"]["average_precision"] - figures["a"]["average_precision"]) and better["interval"][0] <= better["difference"] <= better["interval"][1]


def test_calibration_comes_from_validation_keeps_the_order_and_brings_scales_together():
    prob, target = networks(400, 5, (1.0, 1.0))
    shy = prob.copy()
    shy[:, 1] = 1 / (1 + np.exp(-(0.2 * np.log(prob[:, 1] / (1 - prob[:, 1])) - 4)))  # the same network, that speaks low
    seen, judged = calibrated(shy[:300], shy[300:], target[:300])
    assert np.abs(shy[:300].mean(axis=0) - target[:300].mean()).max() > 0.2 and np.abs(seen.mean(axis=0) - target[:300].mean()).max() < 0.01
    assert all((np.argsort(judged[:, k]) == np.argsort(shy[300:, k])).all() for k in range(2))


def test_two_moorings_and_a_leak():
    table = clips(moorings=2)
    folds = leave_one_mooring_out(table)
    assert all(set(folds[name]) == {"train", "validation", "test"} for name in ("M0", "M1"))
    assert all((table["mooring"][folds[name] == "test"] == name).all() for name in folds)
    torn = folds.copy()
    torn.iloc[0, 0] = "train" if torn.iloc[0, 0] == "test" else "test"
    with pytest.raises(Leak):
        held_out(table, torn, lambda *_: pytest.fail("trained in spite of a leak"), window_s=2.0)
