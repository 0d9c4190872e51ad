"""Probability calibration and thresholds, from VALIDATION recordings only.

Calibration: Platt's logistic map of a logit, p = sigmoid(slope * logit + intercept), one for windows and one for positions in time, for each
label (Platt 1999). Thresholds are on calibrated probability: `window` for a window to carry the label; `on` for an event to begin
in the trace of positions and `off`, `OFF_SHARE` of it (`LOW_OFF_SHARE` by false alarms), for the event to end (hysteresis).

By false alarms (`choose_by_false_alarms`), where an experiment asks for it: the lowest threshold
that keeps recorded noise and simulated empty water quiet, but none below that of the highest F1. It
is one rule for windows and events: a moment's probability is that of a window of which it is the
highest, `on` is `window`, and a window is positive where an event could begin in it.
"""
from __future__ import annotations

import numpy as np

OFF_SHARE = 0.5
LOW_OFF_SHARE = 0.125  # where `on` keeps noise quiet, and lies higher than a call's quiet ends do
FALLBACK = 0.5
COMMON = 0.5  # share from which a label counts as common
FEWEST = 5  # positives and negatives below which nothing can be chosen


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def enough(target: np.ndarray) -> bool:
    return min((target == 1).sum(), (target == 0).sum()) >= FEWEST


def platt(logit: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the logistic map; (1, 0) where there is too little to learn from or the slope would turn the order round."""
    from sklearn.linear_model import LogisticRegression

    known = np.isfinite(target)
    logit, target = logit[known], target[known]
    if not enough(target):
        return 1.0, 0.0
    fitted = LogisticRegression(C=100.0).fit(logit[:, None], target)
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return (slope, intercept) if slope > 0 else (1.0, 0.0)


def best_threshold(prob: np.ndarray, target: np.ndarray, target_precision: float | None = None) -> float:
    """The probability threshold with the highest F1, or the lowest one that reaches a precision.

    Where more than half carry the label, F1 is nearly highest for a threshold of 0, which claims everything and says nothing: there the highest mean of recall and specificity
    decides (Youden 1950). The threshold lies half-way between the two probabilities it parts. `FALLBACK` where there is too little to choose from; the highest
    precision there is where none reaches the one asked for.
    """
    known = np.isfinite(target)
    prob, target = prob[known], target[known]
    if not enough(target):
        return FALLBACK
    order = np.argsort(-prob, kind="stable")
    p, hits = prob[order], np.cumsum(target[order])
    taken = np.arange(1, len(p) + 1)
    last_of_tie = np.append(p[1:] < p[:-1], True)
    precision, recall = hits / taken, hits / hits[-1]
    if target_precision is None:
        specificity = 1 - (taken - hits) / (target == 0).sum()
        merit = recall + specificity if (target == 1).mean() > COMMON else 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    else:
        merit = np.where(precision >= target_precision, 1 + recall, precision)
    best = int(np.argmax(np.where(last_of_tie, merit, -1)))
    below = p[best + 1] if best + 1 < len(p) else 0.0
    return float(np.clip((p[best] + below) / 2, 1e-4, 1 - 1e-4))


def choose(window_logit: np.ndarray, position_logit: np.ndarray, window: np.ndarray, position: np.ndarray, labels: tuple,
           target_precision: float | None = None) -> tuple[dict, dict]:
    """Calibration and thresholds of every label from validation logits and targets.

    Parameters
    ----------
    window_logit, window : (windows, labels); position_logit, position : (windows, labels, positions); targets 0, 1 or NaN.
    target_precision : aim of the thresholds; None maximises F1.

    Returns
    -------
    calibration {label: {slope, intercept, position_slope, position_intercept}}, thresholds {label: {window, on, off}}
    """
    calibration, thresholds = {}, {}
    for k, label in enumerate(labels):
        slope, intercept = platt(window_logit[:, k], window[:, k])
        at, when = position_logit[:, k].ravel(), position[:, k].ravel()
        position_slope, position_intercept = platt(at, when)
        calibration[label] = {"slope": slope, "intercept": intercept, "position_slope": position_slope, "position_intercept": position_intercept}
        on = best_threshold(sigmoid(position_slope * at + position_intercept), when, target_precision)
        thresholds[label] = {"window": best_threshold(sigmoid(slope * window_logit[:, k] + intercept), window[:, k], target_precision),
                             "on": on, "off": OFF_SHARE * on}
    return calibration, thresholds


def quiet_threshold(prob: np.ndarray, most: float) -> float:
    """The lowest threshold at which at most a share `most` of windows without a call (probabilities
    `prob`) is positive; 0 without any windows.

    It lies half-way between the highest probability that must not be positive and the next above
    it, or 1.
    """
    prob = np.sort(prob[np.isfinite(prob)].astype(np.float64))[::-1]
    allowed = int(np.floor(most * len(prob) + 1e-9))
    if allowed >= len(prob):
        return 0.0
    above = prob[prob > prob[allowed]]
    return (
        float((prob[allowed] + (above[-1] if len(above) else 1.0)) / 2)
        if prob[allowed] < 1
        else float(np.nextafter(1, 2))
    )


def choose_by_false_alarms(
    window_logit: np.ndarray,
    position_logit: np.ndarray,
    window: np.ndarray,
    labels: tuple,
    real: np.ndarray,
    calls: tuple,
    by_trace: bool,
    max_real_false: float = 0.01,
    max_simulated_false: float = 0.005,
) -> tuple[dict, dict]:
    """Calibration and thresholds of every label from validation logits and targets, for a stated
    share of false windows.

    Parameters
    ----------
    window_logit, window : (windows, labels); position_logit : (windows, labels, positions); targets
    0, 1 or NaN.
    real : (windows,) bool, windows of recorded noise. calls : the labels that must keep quiet there
        and in simulated water without any of them; the others, vessels, have that of the highest F1.
    by_trace : a window's logit is that of its highest moment already; else the highest of its
    positions has a calibration of its own.

    Returns
    -------
    as `choose`
    """
    empty = ~real & np.all([window[:, labels.index(label)] == 0 for label in calls], axis=0)
    calibration, thresholds = {}, {}
    for k, label in enumerate(labels):
        truth, chosen = window[:, k], []
        for logit in (
            window_logit[:, k],
            window_logit[:, k] if by_trace else position_logit[:, k].max(axis=1),
        ):
            slope, intercept = platt(logit, truth)
            prob, absent = sigmoid(slope * logit + intercept), truth == 0
            limit = best_threshold(prob, truth)
            if label in calls:
                quiet = quiet_threshold(prob[real & absent], max_real_false)
                limit = max(
                    limit, quiet, quiet_threshold(prob[empty & absent], max_simulated_false)
                )
            chosen.append((slope, intercept, limit))
        (slope, intercept, limit), (position_slope, position_intercept, on) = chosen
        calibration[label] = {
            "slope": slope,
            "intercept": intercept,
            "position_slope": position_slope,
            "position_intercept": position_intercept,
        }
        thresholds[label] = {"window": limit, "on": on, "off": LOW_OFF_SHARE * on}
    return calibration, thresholds


def reliability(prob: np.ndarray, target: np.ndarray, bins: int = 10) -> list[dict]:
    """Rows of a reliability diagram: mean probability and share of positives in equal bins of probability."""
    known = np.isfinite(target)
    prob, target = prob[known], target[known]
    at = np.minimum((prob * bins).astype(int), bins - 1)
    return [{"bin": b / bins, "windows": int((at == b).sum()), "mean_probability": float(prob[at == b].mean()), "share_positive": float(target[at == b].mean())}
            for b in range(bins) if (at == b).any()]
