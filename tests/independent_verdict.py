"""The figures of a results folder once more, from its tables, by numpy and scikit-learn alone.

`training.recompute` does the same with the code that wrote them: a fault there is a fault here and
there. This module shares nothing with `training`, so that training may be built anew under it.

An answer is what one method (network, baseline, member of an ensemble) says of units (windows,
clips): `target` 1, 0 or NaN (does not count), `prob` and `limit` 0 to 1, all of (units, labels).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

VESSEL = "Boat"  # judged, but no part of the macro figures, which are of calls
FIGURES = ("average_precision", "roc_auc", "f1", "precision", "recall", "tp", "fp", "fn", "tn")
MACRO = ("average_precision", "roc_auc", "f1")
SURE = 1e-6  # probabilities are kept so far inside 0..1 before their logit is taken


@dataclass
class Answer:
    """What one method said, and where metrics.json holds its figures."""

    place: tuple[str, ...]
    labels: tuple[str, ...]
    target: np.ndarray
    prob: np.ndarray
    limit: np.ndarray

    def figures(self) -> dict[str, dict[str, float]]:
        """Label -> `FIGURES`, and "macro" -> `MACRO`; NaN where there is nothing to divide by."""
        columns = (self.target.T, self.prob.T, self.limit.T)
        judged = {label: of_label(*each) for label, *each in zip(self.labels, *columns)}
        calls = [judged[label] for label in self.labels if label != VESSEL]
        return judged | {"macro": {name: known_mean([c[name] for c in calls]) for name in MACRO}}


def of_label(target: np.ndarray, prob: np.ndarray, limit: np.ndarray) -> dict[str, float]:
    """`FIGURES` of one label; all arrays (units,)."""
    known = np.isfinite(target)
    truth, prob, said = target[known] == 1, prob[known], (prob >= limit)[known]
    tp, fp, fn = int((truth & said).sum()), int((~truth & said).sum()), int((truth & ~said).sum())
    return {
        "average_precision": average_precision_score(truth, prob) if truth.any() else np.nan,
        "roc_auc": roc_auc_score(truth, prob) if 0 < truth.sum() < len(truth) else np.nan,
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": len(truth) - tp - fp - fn,
    }


def ratio(part: float, whole: float) -> float:
    """Their quotient; NaN of nothing."""
    return part / whole if whole else np.nan


def known_mean(values: list[float]) -> float:
    """Mean of those that are not NaN; NaN of none."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan


def logit(prob: np.ndarray) -> np.ndarray:
    """Of probabilities that are first kept `SURE` inside 0..1."""
    prob = np.clip(prob, SURE, 1 - SURE)
    return np.log(prob / (1 - prob))


def columns_of(table: pd.DataFrame, prefix: str, labels: tuple[str, ...]) -> np.ndarray:
    """(rows, labels) of the columns PREFIX_LABEL."""
    return table[[f"{prefix}_{label}" for label in labels]].to_numpy(float)


def of_windows(
    place, table: pd.DataFrame, labels, prefix: str, limits: dict, by_boats: bool = True
) -> Iterator[Answer]:
    """All windows (and those without and with a boat), judged by the limits of metrics.json."""
    each = [limits[x]["window"] if isinstance(limits[x], dict) else limits[x] for x in labels]
    boat = (
        table[f"target_{VESSEL}"].to_numpy()
        if f"target_{VESSEL}" in table
        else np.zeros(len(table))
    )
    for name, rows in (
        ("all", np.ones(len(table), bool)),
        ("without_boats", boat == 0),
        ("with_boats", boat == 1),
    )[: 3 if by_boats else 1]:
        part = table[rows]
        if len(part):
            target, prob = columns_of(part, "target", labels), columns_of(part, prefix, labels)
            yield Answer((*place, name), labels, target, prob, np.broadcast_to(each, prob.shape))


def of_clips(place, table: pd.DataFrame, labels, prefix: str, pool: str) -> Answer:
    """The windows of a clip answer together: mean or maximum of their logits, limit of the clip."""
    limit = "limit" if prefix == "prob" else f"{prefix}_limit"
    clips = table["recording"].to_numpy()
    pooled = (
        pd.DataFrame(logit(columns_of(table, prefix, labels))).groupby(clips, sort=False).agg(pool)
    )
    return Answer(
        place,
        labels,
        pd.DataFrame(columns_of(table, "target", labels))
        .groupby(clips, sort=False)
        .max()
        .to_numpy(),
        (1 + np.tanh(pooled.to_numpy() / 2)) / 2,  # clips equal but for rounding stay equal
        pd.DataFrame(columns_of(table, limit, labels))
        .groupby(clips, sort=False)
        .first()
        .to_numpy(),
    )


def answers(metrics: dict, predictions: pd.DataFrame) -> Iterator[Answer]:
    """Every answer that the predictions of a folder hold."""
    kind, labels = metrics.get("kind", "windows"), tuple(metrics["labels"])
    if kind == "windows":
        judged = predictions
        if "kind" in judged:  # recorded noise has figures of its own
            judged = judged[judged["kind"] != "noise"]
        for split in ("validation", "test"):
            part = judged[judged["split"] == split]
            yield from of_windows((split,), part, labels, "prob", metrics["thresholds"])
        for method in ("baseline", "peer", "int8"):
            if method in metrics and f"{method}_{labels[0]}" in judged:
                limits = metrics[method]["thresholds"]
                yield from of_windows((method,), part, labels, method, limits)
    elif kind == "detections":
        for split, part in predictions.groupby("split", sort=False):
            for column in part.columns[part.columns.str.startswith("prob_")]:
                network = column.removeprefix("prob_")
                shown = part[["target", column, f"limit_{network}"]].dropna(
                    how="all", subset=[column]
                )
                if len(shown):
                    yield Answer(
                        ("splits", split, network), labels, *shown.to_numpy(float).T[..., None]
                    )
    else:
        if kind == "contest":
            predictions = predictions[predictions["noise"] == ""]
        if kind == "humpback":
            predictions = predictions[predictions["portion"].isna()]
        for variant, part in predictions.groupby("variant", sort=False):
            for method, prefix in (("network", "prob"), ("baseline", "baseline")):
                place = ("variants", variant, method)
                if kind == "study":
                    even = dict.fromkeys(labels, 0.5)
                    limits = metrics["thresholds"][variant] if method == "network" else even
                    yield from of_windows(place, part, labels, prefix, limits, by_boats=False)
                else:
                    yield of_clips(place, part, labels, prefix, metrics["pool"])


def compared(folder: Path, tolerance: float = 1e-6) -> tuple[int, list[str]]:
    """How many figures of metrics.json were computed again, and those that differ, a line each."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    count, unlike = 0, []
    for answer in answers(metrics, pd.read_parquet(folder / "predictions.parquet")):
        written = metrics
        for key in answer.place:
            written = written[key]
        for label, figures in answer.figures().items():
            flat = metrics.get("kind") == "detections"  # of one label, without its name, no macro
            if flat and label == "macro":
                continue
            for name, again in figures.items():
                value = (written if flat else written[label])[name]
                count += 1
                if not np.isclose(
                    again, np.nan if value is None else value, 0, tolerance, equal_nan=True
                ):
                    unlike.append(
                        f"{'/'.join(answer.place)}/{label}/{name}: {value}, {again} again"
                    )
    return count, unlike
