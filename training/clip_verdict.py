"""The verdict on clips: each clip's windows pooled to one answer, and what that answer is worth.

Everything here is a function of `predictions.parquet`: a row per window with recording, group, set, raw, fold, variant, target_LABEL, prob_LABEL,
limit_LABEL (the clip threshold chosen on the other folds) and the same of the baseline (baseline_LABEL, baseline_limit_LABEL).
Intervals draw whole groups again: clips of one recording session are not independent.
"""
from __future__ import annotations

import numpy as np
import pandas as pd

from training.metrics import PREVALENCES, average_precision, bootstrap, counts, mean_known, precision_at_prevalence, reliability_error, roc_auc, share
from training.thresholds import FALLBACK, best_threshold, sigmoid

FEWEST_GROUPS = 3


def logit(p: np.ndarray) -> np.ndarray:
    """The inverse of `sigmoid`, finite also for 0 and 1."""
    p = np.clip(np.asarray(p, float), 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))


def pooled(table: pd.DataFrame, labels: tuple, pool: str = "mean", what: str = "prob") -> pd.DataFrame:
    """One row per clip: its description, target_LABEL, and WHAT_LABEL pooled over its windows (mean or maximum of the logit)."""
    values = pd.DataFrame({f"{what}_{label}": logit(table[f"{what}_{label}"]) for label in labels}, index=table.index)
    groups = values.groupby(table["recording"], sort=False)
    pooled_prob = sigmoid((groups.mean() if pool == "mean" else groups.max()))
    limit = "limit" if what == "prob" else f"{what}_limit"
    kept = [c for c in ("recording", "group", "set", "raw", "fold") if c in table] + [f"{limit}_{label}" for label in labels if f"{limit}_{label}" in table]
    clips = table.drop_duplicates("recording")[kept].set_index("recording")
    for label in labels:
        clips[f"target_{label}"] = table.groupby("recording", sort=False)[f"target_{label}"].max()
    return clips.join(pooled_prob).reset_index()


def choose_limits(table: pd.DataFrame, labels: tuple, pool: str, what: str = "prob", target_precision: float | None = None) -> dict[str, float]:
    """Threshold of each label on the pooled probability of clips; `FALLBACK` for a label that too few groups carry (see `enough_groups`)."""
    clips = pooled(table, labels, pool, what)
    return {label: best_threshold(clips[f"{what}_{label}"].to_numpy(), clips[f"target_{label}"].to_numpy(), target_precision) if enough_groups(clips, label) else FALLBACK
            for label in labels}


def enough_groups(table: pd.DataFrame, label: str) -> bool:
    """Whether a label has groups enough to choose a threshold or a calibration by: what fits one or two recording sessions fits no third."""
    return table.loc[table[f"target_{label}"] == 1, "group"].nunique() >= FEWEST_GROUPS


def clip_metrics(table: pd.DataFrame, labels: tuple, pool: str = "mean", what: str = "prob", draws: int = 200, seed: int = 0) -> dict:
    """Everything about clips.

    Returns
    -------
    {label: {clips, positives, groups_positive, average_precision, roc_auc, f1, precision, recall, tp ..., precision_at_1_percent, ...}},
    "macro" over labels with a positive, "within_folds" (see there), "interval" {macro_f1, macro_roc_auc, macro_average_precision, average_precision of each label} over groups, "best_label"
    (the label with the highest probability is the answer: accuracy, macro_f1) where every clip has exactly one label.
    """
    clips = pooled(table, labels, pool, what)
    limit = "limit" if what == "prob" else f"{what}_limit"
    out = {"clips": len(clips), "groups": int(clips["group"].nunique())}
    target, prob = (clips[[f"{part}_{label}" for label in labels]].to_numpy(float) for part in ("target", what))
    positive = prob >= clips[[f"{limit}_{label}" for label in labels]].to_numpy(float)
    for k, label in enumerate(labels):
        t, p = target[:, k], prob[:, k]
        out[label] = {"clips": int(np.isfinite(t).sum()), "positives": int((t == 1).sum()), "groups_positive": int(clips["group"][t == 1].nunique()),
                      "average_precision": average_precision(t, p), "roc_auc": roc_auc(t, p)} | counts(t, positive[:, k])
        out[label] |= {f"precision_at_{share_of:.0%}": precision_at_prevalence(out[label], share_of) for share_of in PREVALENCES}
        out[label]["calibration_error"] = reliability_error(p, t)
    names = ("average_precision", "roc_auc", "f1")
    out["macro"] = {name: mean_known([out[label][name] for label in labels]) for name in names}
    out["within_folds"] = within_folds(clips, target, prob, labels)
    groups = clips["group"].to_numpy()
    out["interval"] = {"macro_average_precision": bootstrap(groups, lambda rows: mean_known([average_precision(target[rows, k], prob[rows, k]) for k in range(len(labels))]), draws, seed),
                       "macro_roc_auc": bootstrap(groups, lambda rows: mean_known([quick_auc(target[rows, k], prob[rows, k]) for k in range(len(labels))]), draws, seed),
                       "macro_f1": bootstrap(groups, lambda rows: mean_known([counts(target[rows, k], positive[rows, k])["f1"] for k in range(len(labels))]), draws, seed)}
    out["interval"] |= {f"average_precision_{label}": bootstrap(groups, lambda rows, k=k: average_precision(target[rows, k], prob[rows, k]), draws, seed)
                        for k, label in enumerate(labels)} if len(labels) < 4 else {}
    if (target.sum(axis=1) == 1).all() and len(labels) > 1:
        out["best_label"] = best_label(target.argmax(axis=1), prob.argmax(axis=1), labels, groups, draws, seed)
    return out


def quick_auc(truth: np.ndarray, score: np.ndarray) -> float:
    """`training.metrics.roc_auc` by ranks, quick enough to be drawn again some thousand times; NaN unless there are both."""
    from scipy.stats import rankdata

    known = np.isfinite(truth)
    positive = truth[known] == 1
    n = int(positive.sum())
    if n in (0, len(positive)):
        return np.nan
    return float((rankdata(score[known])[positive].sum() - n * (n + 1) / 2) / (n * (len(positive) - n)))


def within_folds(clips: pd.DataFrame, target: np.ndarray, prob: np.ndarray, labels: tuple) -> dict:
    """ROC AUC and average precision of each label within every fold that holds it, and their plain mean: the scales of differently trained networks do not mix."""
    out = {}
    for k, label in enumerate(labels):
        rows = []
        for fold, at in clips.groupby("fold").indices.items():
            if (target[at, k] == 1).any() and (target[at, k] == 0).any():
                rows.append({"fold": int(fold), "positives": int((target[at, k] == 1).sum()), "roc_auc": roc_auc(target[at, k], prob[at, k]),
                             "average_precision": average_precision(target[at, k], prob[at, k])})
        out[label] = {"roc_auc": mean_known([r["roc_auc"] for r in rows]), "average_precision": mean_known([r["average_precision"] for r in rows]), "folds": rows}
    return out


def best_label(truth: np.ndarray, answer: np.ndarray, labels: tuple, groups: np.ndarray, draws: int, seed: int) -> dict:
    """Accuracy and macro F1 when the highest probability is the answer, and F1 of each label."""
    def f1(rows):
        return [counts((truth[rows] == k).astype(float), answer[rows] == k)["f1"] for k in range(len(labels))]

    everything = np.arange(len(truth))
    return {"accuracy": float((truth == answer).mean()), "macro_f1": float(np.mean(f1(everything))), "f1": dict(zip(labels, f1(everything))),
            "interval": {"macro_f1": bootstrap(groups, lambda rows: mean_known(f1(rows)), draws, seed)}}


def alarms(table: pd.DataFrame, labels: tuple, pool: str = "mean") -> dict:
    """Background clips (no label): how many are called something, label by label, for each set of recordings."""
    clips = pooled(table, labels, pool)
    empty = clips[(clips[[f"target_{label}" for label in labels]] == 0).all(axis=1)]
    out = {}
    for name, part in empty.groupby("set" if "set" in empty else "group"):
        out[name] = {"clips": len(part)} | {label: share(int((part[f"prob_{label}"] >= part[f"limit_{label}"]).sum()), len(part)) for label in labels}
    return out


def worst_clips(table: pd.DataFrame, labels: tuple, pool: str = "mean", each: int = 6) -> pd.DataFrame:
    """The worst false alarms and misses of each label (at most four labels: the worst of all beyond that), worst first.

    Columns: error ("false alarm" or "miss"), label, recording, start_s (of the clip's most telling window), truth (what the clip was called), group, probability, limit, prob_LABEL.
    """
    clips, rows = pooled(table, labels, pool), []
    for label in labels:
        prob, limit, target = (clips[f"{what}_{label}"] for what in ("prob", "limit", "target"))
        for error, chosen, sign in (("false alarm", (target == 0) & (prob >= limit), -1), ("miss", (target == 1) & (prob < limit), 1)):
            part = clips[chosen].assign(probability=prob[chosen], limit=limit[chosen], error=error, label=label, badness=sign * (prob - limit)[chosen])
            rows.append(part.nsmallest(each, "badness"))
    worst = pd.concat(rows)
    worst = worst if len(labels) <= 4 else worst.nsmallest(4 * each, "badness")
    starts = []
    for row in worst.itertuples():
        windows = table[table["recording"] == row.recording]
        at = windows[f"prob_{row.label}"].idxmax() if row.error == "false alarm" else windows[f"prob_{row.label}"].idxmin()
        starts.append(float(windows.loc[at, "start_s"]))
    worst = worst.assign(start_s=starts, truth=worst["raw"])
    return worst[["error", "label", "recording", "start_s", "truth", "group", "probability", "limit", *(f"prob_{label}" for label in labels)]].reset_index(drop=True)
