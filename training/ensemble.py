"""Several networks' probabilities as one, and how well clips of checked detections (B true, F false alarm, N nothing) are told apart.

    weights = convex_weights(validation[["prob_vgg16", "prob_resnet50"]], validation["target"])
    prob = ensemble(test[["prob_vgg16", "prob_resnet50"]], weights)

The ensemble is p = sum of w_k p_k with w_k >= 0 and sum w_k = 1, the weights those with the lowest log-loss on VALIDATION clips. Log-loss is convex in them, so there is one lowest value; at it the
mean of l_k / l (l_k: the probability that network k gave to what was true, l: the ensemble's) is 1 for every network with a weight and at most 1 for the others, and in any place log(max of
these means) bounds what could still be gained: the solution is checked by it (`gap`). A single network is a corner of the same region, so on validation no network is better.

Figures: a table with class, target (1 for B, 0 for F and N) and prob_NAME, limit_NAME of each network and `ensemble`; intervals are drawn over groups (recordings, or moorings), never over clips.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from training.leaks import check_leaks, refuse_leaks
from training.metrics import bootstrap, counts, share
from training.thresholds import best_threshold, platt, sigmoid

CLASSES = ("B", "F", "N")
ENSEMBLE = "ensemble"
BASELINE = "baseline"
TINY = 1e-6  # probabilities are kept this far inside 0..1: one sure and wrong network must not decide alone
GAP = 1e-6
STEPS = 2000


def log_loss(prob, target) -> float:
    """Mean of -ln of the probability given to what was true; targets that are NaN do not count."""
    target = np.asarray(target, float)
    known = np.isfinite(target)
    return float(-np.log(_likelihoods(np.asarray(prob, float)[known, None], target[known])).mean())


def ensemble(prob, weights: np.ndarray) -> np.ndarray:
    """(n, networks) probabilities and (networks,) weights -> (n,)."""
    return np.asarray(prob, float) @ np.asarray(weights, float)


def convex_weights(prob, target) -> np.ndarray:
    """Weights of the networks, not negative, sum 1, with the lowest log-loss.

    Parameters
    ----------
    prob : (clips, networks) of validation clips. target : (clips,) 0, 1, or NaN: does not count.

    Raises
    ------
    ValueError
        if nothing can be learnt: no clips with a target, or probabilities that are none.
    """
    from scipy.optimize import minimize

    prob, target = np.asarray(prob, float), np.asarray(target, float)
    known = np.isfinite(target)
    if not known.any() or prob.ndim != 2 or prob.shape[1] == 0:
        raise ValueError(f"ensemble weights need clips with a target and at least one network; given are {int(known.sum())} clips and probabilities of shape {prob.shape}")
    if not ((prob[known] >= 0) & (prob[known] <= 1)).all():
        raise ValueError("ensemble weights: probabilities must lie in 0..1 and not be NaN; leave out clips that a network could not judge")
    likely, n_networks = _likelihoods(prob[known], target[known]), prob.shape[1]
    even = np.full(n_networks, 1 / n_networks)
    solved = minimize(lambda w: -np.log(likely @ w).mean(), even, jac=lambda w: -(likely / (likely @ w)[:, None]).mean(axis=0), method="SLSQP", bounds=[(0, 1)] * n_networks,
                      constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}, options={"ftol": 1e-12, "maxiter": 200})
    starts = [_onto_simplex(solved.x), even, *np.eye(n_networks)]
    best = min(starts, key=lambda w: -np.log(likely @ w).mean())
    if gap(likely, best) > GAP:  # finish by expectation-maximisation, of which no step makes it worse (mixture proportions: Dempster, Laird & Rubin 1977)
        trial = 0.999 * best + 0.001 * even
        for _ in range(STEPS):
            trial = trial * (likely / (likely @ trial)[:, None]).mean(axis=0)
            if gap(likely, trial) <= GAP:
                break
        best = min((best, _onto_simplex(trial)), key=lambda w: -np.log(likely @ w).mean())
    return best


def gap(likely: np.ndarray, weights: np.ndarray) -> float:
    """At most so much (in log-loss) could other weights gain; `likely` (clips, networks) is the probability each gave to what was true."""
    return float(np.log((likely / (likely @ weights)[:, None]).mean(axis=0).max()))


def held_out(table: pd.DataFrame, folds: pd.DataFrame, answer: Callable, target_precision: float | None = None, groups: Sequence[str] = ("recording",),
             window_s: float | None = None, sound: pd.DataFrame | None = None, allow=()) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every clip judged by networks, calibration, weights and thresholds that know nothing of its side.

    Parameters
    ----------
    table : clips with class, target, recording and what `groups` names; one index for table and folds.
    folds : columns of "train", "validation", "test" (`preprocessing.splits`; `leave_one_mooring_out`).
    answer : (train, validation, test, name of the fold) -> {network: (probabilities of validation, of test)}; it trains. One called "baseline" stands beside, not in the ensemble.
    groups, window_s, sound : what must not lie on two sides, see `training.leaks.check_leaks`. allow : leaks let through, for the split that shows what a leak does.

    Returns
    -------
    The test clips of all folds with fold, prob_ and limit_ of each network and the ensemble; and the weights, one row for each fold.

    Raises
    ------
    training.leaks.Leak
        where sides share a group or overlap in time, before anything is trained.
    """
    refuse_leaks(check_leaks(table, folds, groups, sound, window_s), allow)
    parts, weights = [], {}
    for name in folds:
        train, validation, test = (table[folds[name] == side] for side in ("train", "validation", "test"))
        answers = answer(train, validation, test, name)
        seen, judged = (np.column_stack([pair[k] for pair in answers.values()]) for k in (0, 1))
        truth = validation["target"].to_numpy(float)
        seen, judged = calibrated(seen, judged, truth)
        inside = [k for k, network in enumerate(answers) if network != BASELINE]
        w = convex_weights(seen[:, inside], truth)
        weights[name] = dict(zip((network for network in answers if network != BASELINE), w))
        seen, judged = (np.column_stack([prob, ensemble(prob[:, inside], w)]) for prob in (seen, judged))
        columns = {}
        for k, network in enumerate([*answers, ENSEMBLE]):
            columns |= {f"prob_{network}": judged[:, k], f"limit_{network}": best_threshold(seen[:, k], truth, target_precision)}
        parts.append(test.assign(fold=name, **columns))
    return pd.concat(parts), pd.DataFrame.from_dict(weights, orient="index")


def calibrated(seen: np.ndarray, judged: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each network's probabilities of validation and of test, mapped by Platt's map of its validation (`thresholds.platt`): so that networks, and folds, speak one language."""
    maps = platt_maps(seen, truth)
    return tuple(np.column_stack([sigmoid(slope * logit(part[:, k]) + intercept) for k, (slope, intercept) in enumerate(maps)]) for part in (seen, judged))


def platt_maps(seen: np.ndarray, truth: np.ndarray) -> list[tuple[float, float]]:
    """Slope and intercept of each network's logit, from its probabilities (clips, networks) of validation."""
    return [platt(logit(seen[:, k]), truth) for k in range(seen.shape[1])]


def logit(prob: np.ndarray) -> np.ndarray:
    """The inverse of the sigmoid, `TINY` kept from 0 and 1."""
    prob = np.clip(prob, TINY, 1 - TINY)
    return np.log(prob / (1 - prob))


def leave_one_mooring_out(table: pd.DataFrame, column: str = "mooring", validation_group: str | Sequence[str] | None = None, seed: int = 0) -> pd.DataFrame:
    """`preprocessing.splits.leave_one_out` of moorings: each is test once. Validation is the next mooring, or, by `validation_group` (day, recording), a part of the others,
    which two moorings need."""
    from preprocessing.splits import leave_one_out

    if validation_group is None and table[column].nunique() == 2:
        validation_group = "recording"
    return leave_one_out(table, column, "class", seed, validation_group)


def networks_of(table: pd.DataFrame) -> list[str]:
    """Those whose probabilities the table holds, the ensemble last."""
    names = [column.removeprefix("prob_") for column in table if column.startswith("prob_")]
    return sorted(names, key=lambda name: name == ENSEMBLE)


def class_rates(table: pd.DataFrame, network: str) -> pd.DataFrame:
    """The confusion: for each class clips, called_B, called_not_B, right (share). Clips without a target do not count."""
    table = table[np.isfinite(table["target"].to_numpy(float))]
    called = (table[f"prob_{network}"] >= table[f"limit_{network}"]).to_numpy()
    rows = []
    for name in CLASSES:
        mine = (table["class"] == name).to_numpy()
        yes = int((called & mine).sum())
        right = yes if name == "B" else int(mine.sum()) - yes
        rows.append({"class": name, "clips": int(mine.sum()), "called_B": yes, "called_not_B": int(mine.sum()) - yes, "right": share(right, int(mine.sum()))})
    return pd.DataFrame(rows).set_index("class")


def verdict_metrics(table: pd.DataFrame, group: str = "recording", draws: int = 200, seed: int = 0) -> dict:
    """Everything about each network and the ensemble.

    Returns
    -------
    {network: {classes {B, F, N: clips, called_B, called_not_B, right}, tp ... precision, recall, f1 (B against F and N), precision_without_N (B against F alone, as published for Cook Inlet),
    average_precision, roc_auc, log_loss, interval {of each of these, 95 % over groups}}}, "clips", "groups". Limits are the table's, of validation.
    """
    groups, target, of_class = table[group].to_numpy(), table["target"].to_numpy(float), table["class"].to_numpy()
    out = {"clips": len(table), "groups": int(table[group].nunique())}
    for name in networks_of(table):
        prob = table[f"prob_{name}"].to_numpy(float)
        called = prob >= table[f"limit_{name}"].to_numpy(float)
        figures = {"precision": lambda r: counts(target[r], called[r])["precision"], "recall": lambda r: counts(target[r], called[r])["recall"],
                   "f1": lambda r: counts(target[r], called[r])["f1"], "precision_without_N": lambda r: _without_nothing(of_class[r], target[r], called[r]),
                   "average_precision": lambda r: areas(target[r], prob[r])[0], "roc_auc": lambda r: areas(target[r], prob[r])[1]}
        everything = np.arange(len(table))
        out[name] = counts(target, called) | {key: figure(everything) for key, figure in figures.items()} | {"log_loss": log_loss(prob, target)}
        out[name]["classes"] = class_rates(table, name).to_dict("index")
        out[name]["interval"] = {key: bootstrap(groups, figure, draws, seed) for key, figure in figures.items()}
    return out


def gain(table: pd.DataFrame, one: str, other: str, group: str = "recording", draws: int = 500, seed: int = 0) -> dict:
    """Average precision of `one` less that of `other` on the same clips: {difference, interval}, the same groups drawn for both."""
    target, a, b = (table[column].to_numpy(float) for column in ("target", f"prob_{one}", f"prob_{other}"))

    def difference(rows):
        return areas(target[rows], a[rows])[0] - areas(target[rows], b[rows])[0]

    return {"difference": difference(np.arange(len(table))), "interval": bootstrap(table[group].to_numpy(), difference, draws, seed)}


def curves(table: pd.DataFrame, network: str) -> dict[str, np.ndarray]:
    """Points of the precision-recall curve (recall, precision) and of the ROC (false_rate, true_rate), thresholds falling."""
    return points(table["target"].to_numpy(float), table[f"prob_{network}"].to_numpy(float))


def areas(target: np.ndarray, prob: np.ndarray) -> tuple[float, float]:
    """Average precision and area under the ROC, as `training.metrics` gives them, some ten times quicker: they are drawn again thousands of times."""
    known = points(target, prob)
    right, wrong = np.diff(known["true_rate"], prepend=0.0), np.diff(known["false_rate"], prepend=0.0)
    ap = float((known["precision"] * right).sum()) if right.sum() > 0 else np.nan
    return ap, float((wrong * (known["true_rate"] - right / 2)).sum()) if right.sum() > 0 and wrong.sum() > 0 else np.nan


def points(target: np.ndarray, prob: np.ndarray) -> dict[str, np.ndarray]:
    """The points of `curves`, of (clips,) targets and probabilities."""
    known = np.isfinite(target)
    truth, prob = target[known] == 1, prob[known]
    order = np.argsort(-prob, kind="stable")
    last_of_tie = np.append(np.diff(prob[order]) < 0, True) if len(prob) else np.empty(0, bool)
    true, false = np.cumsum(truth[order])[last_of_tie], np.cumsum(~truth[order])[last_of_tie]
    return {"threshold": prob[order][last_of_tie], "recall": true / max(truth.sum(), 1), "precision": true / np.maximum(true + false, 1),
            "false_rate": false / max((~truth).sum(), 1), "true_rate": true / max(truth.sum(), 1)}


def _likelihoods(prob: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(clips, networks) the probability given to what was true."""
    prob = np.clip(prob, TINY, 1 - TINY)
    return np.where(target[:, None] == 1, prob, 1 - prob)


def _onto_simplex(weights: np.ndarray) -> np.ndarray:
    weights = np.maximum(weights, 0)
    return weights / weights.sum()


def _without_nothing(of_class: np.ndarray, target: np.ndarray, called: np.ndarray) -> float:
    return counts(np.where(of_class == "N", np.nan, target), called)["precision"]
