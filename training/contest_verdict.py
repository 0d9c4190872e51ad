"""What answers on the right whale contest's clips are worth: ROC AUC with intervals over groups of neighbours, variants against each other, and the noised test sets.

Everything is a function of predictions.parquet (`training.contest.judge_contest`): a row for each variant, condition and clip.
"""
from __future__ import annotations

import numpy as np
import pandas as pd

from training.clip_verdict import clip_metrics, quick_auc
from training.metrics import bootstrap, counts

DRAWS = 200
GIVEN = ("kind", "simulated", "labels", "pool", "draws", "window_s", "step_s", "settings")


def contest_metrics(predictions: pd.DataFrame, given: dict) -> dict:
    """metrics.json of a contest from its predictions and from what was chosen: simulated, labels, pool, draws, window_s, step_s.

    Returns
    -------
    {..., "variants": {name: {"network", "baseline": `clip_metrics` of the clips as they are, "ahead": network less baseline, "against_first": the variant less the
    first one, "noised": [a row for each noise and SNR]}}}; differences are of ROC AUC on the same clips, {difference, low, high}.
    """
    labels, draws = tuple(given["labels"]), given["draws"]
    out = {key: given[key] for key in GIVEN if key in given} | {"kind": "contest", "variants": {}}
    first = None
    for name, part in predictions.groupby("variant", sort=False):
        clean = part[part["noise"] == ""].sort_values("recording", kind="stable").reset_index(drop=True)
        first = clean if first is None else first
        out["variants"][name] = {
            "network": clip_metrics(clean, labels, given["pool"], "prob", draws), "baseline": clip_metrics(clean, labels, given["pool"], "baseline", draws),
            "ahead": difference(clean, clean, labels, ("prob", "baseline"), draws), "against_first": difference(clean, first, labels, ("prob", "prob"), draws),
            "noised": noised_rows(part, labels, draws)}
    return out


def difference(one: pd.DataFrame, other: pd.DataFrame, labels: tuple, what: tuple[str, str], draws: int) -> dict:
    """Macro ROC AUC of one less that of the other on the same clips, with the interval over groups."""
    if one["recording"].tolist() != other["recording"].tolist():
        raise ValueError("the variants did not judge the same clips; run the experiment again")

    def ahead(rows):
        return float(np.nanmean([quick_auc(one[f"target_{label}"].to_numpy()[rows], one[f"{what[0]}_{label}"].to_numpy()[rows])
                                 - quick_auc(other[f"target_{label}"].to_numpy()[rows], other[f"{what[1]}_{label}"].to_numpy()[rows]) for label in labels]))

    low, high = bootstrap(one["group"].to_numpy(), ahead, draws)
    return {"difference": ahead(np.arange(len(one))), "low": low, "high": high}


def noised_rows(part: pd.DataFrame, labels: tuple, draws: int) -> list[dict]:
    """For each noise and SNR, the clips as they are first (noise ""), and each label: ROC AUC of network and baseline with the network's interval, and precision, recall
    and share of false alarms at the thresholds chosen on clean validation clips."""
    rows = []
    for (noise, snr_db), table in part.assign(snr_db=part["snr_db"].fillna(np.inf)).groupby(["noise", "snr_db"], sort=False):
        for label in labels:
            truth, prob, cheap = (table[f"{what}_{label}"].to_numpy() for what in ("target", "prob", "baseline"))
            low, high = bootstrap(table["group"].to_numpy(), lambda chosen: quick_auc(truth[chosen], prob[chosen]), draws)
            found = counts(truth, prob >= table[f"limit_{label}"].to_numpy())
            rows.append({"noise": noise, "snr_db": None if noise == "" else float(snr_db), "label": label, "clips": len(table), "roc_auc": quick_auc(truth, prob), "low": low, "high": high,
                         "baseline_roc_auc": quick_auc(truth, cheap), "precision": found["precision"], "recall": found["recall"],
                         "false_alarm_share": found["fp"] / max(found["fp"] + found["tn"], 1)})
    return rows


def auc_table(metrics: dict) -> pd.DataFrame:
    """A row for each variant: ROC AUC with its interval, mean within folds, average precision, F1, the baseline's ROC AUC, network less baseline, variant less the first."""
    rows = []
    for name, variant in metrics["variants"].items():
        m, label = variant["network"], metrics["labels"][0]
        low, high = m["interval"]["macro_roc_auc"]
        ahead, against = variant["ahead"], variant["against_first"]
        rows.append({"variant": name, "ROC AUC": m["macro"]["roc_auc"], "from": low, "to": high, "mean of folds": m["within_folds"][label]["roc_auc"],
                     "average precision": m["macro"]["average_precision"], "F1": m["macro"]["f1"], "baseline ROC AUC": variant["baseline"]["macro"]["roc_auc"],
                     "less baseline": interval_text(ahead), "less the first": interval_text(against) if rows else ""})
    return pd.DataFrame(rows).set_index("variant")


def interval_text(d: dict) -> str:
    """ "+0.021 (-0.004 to 0.050)" """
    return f"{d['difference']:+.3f} ({d['low']:.3f} to {d['high']:.3f})"


def noised_table(metrics: dict) -> pd.DataFrame:
    """A row for each variant, noise and SNR; empty where nothing was noised."""
    rows = [{"variant": name} | row for name, variant in metrics["variants"].items() for row in variant["noised"] if len(variant["noised"]) > 1]
    table = pd.DataFrame(rows)
    return table.assign(noise=table["noise"].replace("", "none")) if len(table) else table


def by_content(predictions: pd.DataFrame, label: str) -> pd.DataFrame:
    """What clips of the first variant hold (rows), how many there are, and the share of them that is called an up-call, by network and baseline."""
    part = predictions[(predictions["variant"] == predictions["variant"].iloc[0]) & (predictions["noise"] == "")]
    called = pd.DataFrame({"clips": 1, "network": part[f"prob_{label}"] >= part[f"limit_{label}"], "baseline": part[f"baseline_{label}"] >= part[f"baseline_limit_{label}"]})
    table = called.groupby(part["raw"]).agg({"clips": "sum", "network": "mean", "baseline": "mean"})
    return table.sort_values("clips", ascending=False)
