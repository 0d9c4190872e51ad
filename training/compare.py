"""Two experiments on the same test windows: is one better, or is it the draw of recordings?

    paired("results/front_end_mean", "results/front_end_minmax")

Both are judged on the same recordings, which are drawn again with replacement, so what makes a recording hard is hard for both and cancels.
"""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from training.evaluate import call_labels, columns
from training.metrics import average_precision, bootstrap, counts, mean_known

KEY = ["recording", "start_s"]


class NotComparable(ValueError):
    """Two results that have no windows or labels in common."""


def load_result(folder: str | Path) -> tuple[pd.DataFrame, dict]:
    """Test predictions and metrics of a results folder with windows."""
    folder = Path(folder)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    table = pd.read_parquet(folder / "predictions.parquet")
    return table[table["split"] == "test"] if "split" in table else table, metrics


def paired(one: str | Path, other: str | Path, draws: int = 500, seed: int = 0) -> dict:
    """`paired_tables` of two results folders (experiments with windows).

    Raises
    ------
    NotComparable
        where they share no test windows or labels.
    """
    (a, said_a), (b, said_b) = load_result(one), load_result(other)
    labels = tuple(label for label in said_a["labels"] if label in said_b["labels"])
    limits = [{label: said["thresholds"][label]["window"] for label in labels} for said in (said_a, said_b)]
    return paired_tables(a, b, *limits, labels, draws, seed)


def paired_tables(one: pd.DataFrame, other: pd.DataFrame, one_limits: dict, other_limits: dict, labels: tuple, draws: int = 500, seed: int = 0) -> dict:
    """Difference (one less other) of macro F1 and macro AP on the windows that both judged.

    Parameters
    ----------
    one, other : recording, start_s, target_LABEL, prob_LABEL. one_limits, other_limits : label -> threshold.

    Returns
    -------
    {"windows", "recordings", "macro_f1", "macro_average_precision": {"one", "other", "difference", "low", "high", "share_better"}}: the 95 %
    interval of the difference over recordings, and the share of draws in which `one` is better.
    """
    if not labels:
        raise NotComparable("the two experiments have no label in common; compare experiments of one profile")
    both = one.merge(other, on=KEY, suffixes=("", " other"))
    if not len(both):
        raise NotComparable("the two experiments have no test window in common; compare experiments on the same recordings (same seed and plan)")
    chosen = call_labels(labels) or labels
    target = columns(both, "target", chosen)
    probs = [columns(both, "prob", chosen), both[[f"prob_{label} other" for label in chosen]].to_numpy(np.float32)]
    limits = [np.array([limit[label] for label in chosen]) for limit in (one_limits, other_limits)]
    groups, everything = both["recording"].to_numpy(), np.arange(len(both))

    def f1(k, rows):
        return mean_known([counts(target[rows, j], probs[k][rows, j] >= limits[k][j])["f1"] for j in range(len(chosen))])

    def ap(k, rows):
        return mean_known([average_precision(target[rows, j], probs[k][rows, j]) for j in range(len(chosen))])

    out = {"windows": len(both), "recordings": int(both["recording"].nunique()), "labels": list(chosen)}
    for name, of_rows in (("macro_f1", f1), ("macro_average_precision", ap)):
        drawn: list[float] = []

        def difference(rows):
            drawn.append(of_rows(0, rows) - of_rows(1, rows))
            return drawn[-1]

        low, high = bootstrap(groups, difference, draws, seed)
        values = np.array([d for d in drawn if np.isfinite(d)])
        first, second = of_rows(0, everything), of_rows(1, everything)
        out[name] = {"one": first, "other": second, "difference": first - second, "low": low, "high": high, "share_better": float((values > 0).mean()) if len(values) else np.nan}
    return out
