"""Figures of merit for windows and for events. Pure functions on arrays and tables; NaN in a truth means: do not count.

Windows: average precision, ROC AUC, precision, recall and F1 at given thresholds, for each label and as a plain mean over labels (macro).
Events: the half-coverage rule of Koogu (Madhusudhana 2022): an annotation is found when at least half of it is covered by
detections of its label; a detection is true when at least half of it lies on annotations of its label. Calls too faint to be
heard count neither way: they cannot be missed, and a detection that lies on one is not false.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

COVERAGE = 0.5
PREVALENCES = (0.01, 0.1)
SNR_EDGES_DB = (6, 10, 15, 20, 30, np.inf)


# ---- windows


def average_precision(truth: np.ndarray, score: np.ndarray) -> float:
    """Area under precision-recall steps, as scikit-learn's `average_precision_score`, whose checks of its arguments take nine tenths of a bootstrap; NaN without a positive."""
    truth, score = _known(truth, score)
    if not truth.any():
        return np.nan
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(truth[order])
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))  # of each tie
    return float(np.diff(hits[last], prepend=0) @ (hits[last] / (last + 1)) / hits[-1])


def roc_auc(truth: np.ndarray, score: np.ndarray) -> float:
    """Chance that a positive scores above a negative, ties counting half (Hanley & McNeil 1982); NaN unless there are both."""
    from scipy.stats import rankdata

    truth, score = _known(truth, score)
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return np.nan
    return float((rankdata(score)[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _known(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positive or not, and the score, where the truth is known; a score has to be there."""
    known = np.isfinite(truth)
    score = np.asarray(score, float)[known]
    if np.isnan(score).any():
        raise ValueError("a score is missing (NaN) where the truth is known")
    return truth[known] == 1, score


def counts(truth: np.ndarray, positive: np.ndarray) -> dict:
    """tp, fp, fn, tn over the known cells, and precision, recall, f1 (NaN where there is nothing to divide by)."""
    known = np.isfinite(truth)
    truth, positive = truth[known] == 1, np.asarray(positive, bool)[known]
    tp, fp, fn = int((truth & positive).sum()), int((~truth & positive).sum()), int((truth & ~positive).sum())
    return {"tp": tp, "fp": fp, "fn": fn, "tn": int(known.sum()) - tp - fp - fn,
            "precision": share(tp, tp + fp), "recall": share(tp, tp + fn), "f1": share(2 * tp, 2 * tp + fp + fn)}


def share(part: float, whole: float) -> float:
    return part / whole if whole else np.nan


def window_metrics(truth: np.ndarray, prob: np.ndarray, thresholds: dict[str, float], labels: tuple, macro: tuple) -> dict:
    """Metrics of every label, and their mean over the labels in `macro`.

    Parameters
    ----------
    truth, prob : (windows, labels); truth 0, 1 or NaN.
    thresholds : label -> probability from which a window is positive.

    Returns
    -------
    {label: {positives, windows, average_precision, roc_auc, tp, ..., f1, precision_at_1%, precision_at_10%, calibration_error}, "macro": {average_precision, roc_auc, f1}}
    """
    out = {}
    for k, label in enumerate(labels):
        t, p = truth[:, k], prob[:, k]
        out[label] = {"windows": int(np.isfinite(t).sum()), "positives": int((t == 1).sum()),
                      "average_precision": average_precision(t, p), "roc_auc": roc_auc(t, p)} | counts(t, p >= thresholds[label])
        out[label] |= {f"precision_at_{share_of:.0%}": precision_at_prevalence(out[label], share_of) for share_of in PREVALENCES}
        out[label]["calibration_error"] = reliability_error(p, t)
    out["macro"] = {name: mean_known([out[label][name] for label in macro]) for name in ("average_precision", "roc_auc", "f1")}
    return out


def precision_at_prevalence(found: dict, prevalence: float) -> float:
    """Precision that the same recall and false-alarm rate give where a share `prevalence` of the windows holds the call (Bayes).

    Test data are richer in calls than the sea: `found` are `counts`. NaN without positives or negatives.
    """
    recall, false_rate = share(found["tp"], found["tp"] + found["fn"]), share(found["fp"], found["fp"] + found["tn"])
    true, false = recall * prevalence, false_rate * (1 - prevalence)
    return share(true, true + false) if np.isfinite(true + false) else np.nan


def reliability_error(prob: np.ndarray, truth: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: mean distance of probability and share of positives over equal bins of probability, weighted by their windows.

    Source: Naeini, Cooper & Hauskrecht (2015). NaN targets are left out; NaN of none.
    """
    known = np.isfinite(truth) & np.isfinite(prob)
    if not known.any():
        return np.nan
    prob, truth = np.asarray(prob, float)[known], np.asarray(truth, float)[known]
    at = np.minimum((prob * bins).astype(int), bins - 1)
    count = np.bincount(at, minlength=bins)
    gap = np.abs(np.bincount(at, prob, bins) - np.bincount(at, truth, bins))
    return float(gap.sum() / count.sum())


def mean_known(values) -> float:
    """Mean of the values that are not NaN; NaN of none."""
    values = np.asarray([v for v in values if np.isfinite(v)], float)
    return float(values.mean()) if len(values) else np.nan


def recall_by_snr(truth: np.ndarray, positive: np.ndarray, snr_db: np.ndarray, edges_db=SNR_EDGES_DB) -> list[dict]:
    """Share of the positive windows found, in bins of the best call's SNR (low <= SNR < high)."""
    rows = []
    for low, high in zip(edges_db, edges_db[1:]):
        chosen = (truth == 1) & (snr_db >= low) & (snr_db < high)
        rows.append({"snr_low_db": low, "snr_high_db": high, "positives": int(chosen.sum()),
                     "recall": share(int((chosen & positive).sum()), int(chosen.sum()))})
    return rows


def draws_of(groups: np.ndarray, draws: int, seed: int = 0):
    """Indices of rows, `draws` times, when whole groups are drawn again with replacement. groups : (rows,) group of each row."""
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.flatnonzero(groups[order][1:] != groups[order][:-1]) + 1)
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        yield np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])


def bootstrap(groups: np.ndarray, statistic: Callable[[np.ndarray], float], draws: int = 200, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """Interval of a statistic when whole groups (recordings) are drawn again with replacement.

    Parameters
    ----------
    groups : (rows,) group of each row.
    statistic : indices of rows -> number.
    """
    values = [v for v in (statistic(rows) for rows in draws_of(groups, draws, seed)) if np.isfinite(v)]
    if not values:
        return (np.nan, np.nan)
    return tuple(float(q) for q in np.quantile(values, [(1 - level) / 2, (1 + level) / 2]))


# ---- events


def union(intervals: np.ndarray) -> np.ndarray:
    """(n, 2) intervals joined where they touch or overlap, in order."""
    joined: list[list[float]] = []
    for start, end in sorted(map(tuple, np.asarray(intervals, float).reshape(-1, 2))):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    return np.array(joined).reshape(-1, 2)


def covered_share(intervals: np.ndarray, by: np.ndarray) -> np.ndarray:
    """(n,) share of each interval's length that lies in the union of `by`."""
    intervals = np.asarray(intervals, float).reshape(-1, 2)
    start, end = intervals[:, :1], intervals[:, 1:]
    cover = union(by)
    shared = np.clip(np.minimum(end, cover[:, 1]) - np.maximum(start, cover[:, 0]), 0, None).sum(axis=1)
    return shared / np.maximum(end - start, 1e-9)[:, 0]


def by_label(events: pd.DataFrame) -> pd.DataFrame:
    """One row per event and label. `labels` may hold lists or strings joined by + , ; or blank; a table with `label` is returned as it is."""
    if "label" in events:
        return events
    split = events["labels"].map(lambda v: [s for s in v.replace("+", " ").replace(",", " ").replace(";", " ").split()] if isinstance(v, str) else list(v))
    return events.assign(label=split).explode("label").dropna(subset=["label"]).reset_index(drop=True)


def judge_events(events: pd.DataFrame, truth: pd.DataFrame, labels: tuple) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give every detection and every annotation its verdict by the half-coverage rule.

    Parameters
    ----------
    events : recording, start_s, end_s and label or labels.
    truth : recording, label, start_s, end_s, audible.

    Returns
    -------
    detections with `verdict` ("true", "false", "ignored") and annotations with `found` (bool; inaudible ones too, `audible` tells them).
    """
    detections = by_label(events)
    detections = detections[detections["label"].isin(labels)].reset_index(drop=True).assign(verdict="false")
    annotations = truth[truth["label"].isin(labels)].reset_index(drop=True).assign(found=False)
    cut = ["start_s", "end_s"]
    empty = annotations.iloc[:0]
    groups = dict(tuple(annotations.groupby(["recording", "label"])))
    found_in = dict(tuple(detections.groupby(["recording", "label"])))
    for key, found in found_in.items():
        calls = groups.get(key, empty)
        loud = calls[calls["audible"].astype(bool)]
        on_loud = covered_share(found[cut].to_numpy(), loud[cut].to_numpy()) >= COVERAGE
        on_any = covered_share(found[cut].to_numpy(), calls[cut].to_numpy()) >= COVERAGE
        detections.loc[found.index, "verdict"] = np.where(on_loud, "true", np.where(on_any, "ignored", "false"))
    for key, calls in groups.items():
        if key in found_in:
            annotations.loc[calls.index, "found"] = covered_share(calls[cut].to_numpy(), found_in[key][cut].to_numpy()) >= COVERAGE
    return detections, annotations


def event_metrics(events: pd.DataFrame, truth: pd.DataFrame, labels: tuple) -> dict:
    """Per label and macro: detections, true, false, ignored, annotations (audible), found, precision, recall, f1."""
    detections, annotations = judge_events(events, truth, labels)
    annotations = annotations[annotations["audible"].astype(bool)]
    out = {}
    for label in labels:
        verdict = detections.loc[detections["label"] == label, "verdict"]
        found = annotations.loc[annotations["label"] == label, "found"]
        true, false = int((verdict == "true").sum()), int((verdict == "false").sum())
        precision, recall = share(true, true + false), share(int(found.sum()), len(found))
        out[label] = {"detections": len(verdict), "true": true, "false": false, "ignored": int((verdict == "ignored").sum()),
                      "annotations": len(found), "found": int(found.sum()), "precision": precision, "recall": recall,
                      "f1": share(2 * precision * recall, precision + recall)}
    out["macro"] = {name: mean_known([out[label][name] for label in labels]) for name in ("precision", "recall", "f1")}
    return out


def false_events_per_empty_hour(events: pd.DataFrame, truth: pd.DataFrame, recordings: pd.DataFrame, labels: tuple, margin_s: float = 1.0) -> dict:
    """Events (each once, however many of `labels` it carries) whose middle lies where nothing calls.

    Empty time is every recording (`recording`, `duration_s`) less all calls of `labels`, audible or not, each widened by `margin_s`.

    Returns
    -------
    {false_events, empty_hours, per_hour}
    """
    detections = by_label(events)
    detections = detections[detections["label"].isin(labels)].drop_duplicates(["recording", "start_s", "end_s"])
    calls = truth[truth["label"].isin(labels)]
    false, empty_s = 0, 0.0
    for name, duration_s in zip(recordings["recording"], recordings["duration_s"]):
        of_file = calls[calls["recording"] == name]
        busy = union(np.stack([of_file["start_s"] - margin_s, of_file["end_s"] + margin_s], axis=1)).clip(0, duration_s)
        empty_s += duration_s - float((busy[:, 1] - busy[:, 0]).sum())
        found = detections[detections["recording"] == name]
        middle = ((found["start_s"] + found["end_s"]) / 2).to_numpy()[:, None]
        false += int((~((middle >= busy[:, 0]) & (middle <= busy[:, 1])).any(axis=1)).sum())
    return {"false_events": false, "empty_hours": empty_s / 3600, "per_hour": share(false, empty_s / 3600)}
