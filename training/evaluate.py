"""Verdicts on a model: a table of windows with truth and probabilities, and the figures drawn from it. Everything in `metrics.json` can be
computed again from `predictions.parquet` with `evaluate_windows`.

The windows table: recording, start_s, site, split, boats, target_LABEL, snr_LABEL (as in the data set's manifest) and prob_LABEL.
Events are judged by `training.metrics` on tables, so this room needs no pipeline.
"""
from __future__ import annotations

import numpy as np
import pandas as pd

from preprocessing.dataset import DataSet
from preprocessing.noise_collection import NOISE
from spectrogram.windows import joined_peaks
from training.augment import VESSEL
from training.metrics import average_precision, bootstrap, counts, mean_known, recall_by_snr, window_metrics
from training.model import positions_of
from training.saved import SavedModel

CHUNK = 512


def predict_rows(model: SavedModel, data: DataSet, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with a prob_LABEL column for each label, NaN where the recording's rate cannot show the label."""
    return with_probabilities(rows, model.probability(row_logits(model, data, rows)[0]), model.labels, model.profile)


def row_logits(model: SavedModel, data: DataSet, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Raw logits of manifest rows as the pipeline finds them: windows (rows, labels), positions (rows, labels, positions).

    With the model's `by_trace`, rows that follow each other one step on in a recording are neighbours, whose answers make one trace.
    """
    parts = [(np.zeros((0, len(model.labels)), np.float32), np.zeros((0, len(model.labels), positions_of(model.profile.window_frames)), np.float32))]
    for chosen in stretches(rows, model.profile.step_frames) if model.by_trace else [rows.iloc[start:start + CHUNK] for start in range(0, len(rows), CHUNK)]:
        window, position = model.logits(data.windows(chosen))
        parts.append((joined_peaks(position, model.profile) if model.by_trace else window, position))
    return tuple(np.concatenate(part) for part in zip(*(parts[1:] or parts)))


def stretches(rows: pd.DataFrame, step_frames: int) -> list[pd.DataFrame]:
    """Manifest rows cut where the next window is not that which follows in the same recording."""
    frame, name = rows["start_frame"].to_numpy(), rows["recording"].to_numpy(object)
    cuts = np.flatnonzero((np.diff(frame) != step_frames) | (name[1:] != name[:-1])) + 1
    return [rows.iloc[low:high] for low, high in zip([0, *cuts], [*cuts, len(rows)]) if high > low]


def with_probabilities(rows: pd.DataFrame, prob: np.ndarray, labels: tuple, profile) -> pd.DataFrame:
    """Attach (rows, labels) probabilities; what cannot be observed is NaN."""
    table = rows.reset_index(drop=True).copy()
    for k, label in enumerate(labels):
        seen = table["sample_rate_hz"].map(lambda rate: profile.observable(label, rate / 2)).to_numpy(bool)
        table[f"prob_{label}"] = np.where(seen, prob[:, k], np.nan).astype(np.float32)
    return table


def judged_rows(table: pd.DataFrame, split: str | None = None) -> pd.DataFrame:
    """Rows of a split (None: of all) that the figures on windows are of: recorded noise has figures
    of its own (`training.false_alarms`).
    """
    table = table if split is None else table[table["split"] == split]
    return table[table["kind"] != NOISE] if "kind" in table else table


def columns(table: pd.DataFrame, what: str, labels: tuple) -> np.ndarray:
    """(rows, labels) of the columns `what`_LABEL."""
    return table[[f"{what}_{label}" for label in labels]].to_numpy(np.float32)


def call_labels(labels: tuple) -> tuple[str, ...]:
    """The labels whose mean is the macro score: all but the vessel."""
    return tuple(label for label in labels if label != VESSEL)


def score(table: pd.DataFrame, thresholds: dict, labels: tuple) -> dict:
    """`window_metrics` of a table, thresholds being {label: probability}."""
    return window_metrics(columns(table, "target", labels), columns(table, "prob", labels), thresholds, labels, call_labels(labels))


def evaluate_windows(table: pd.DataFrame, thresholds: dict, labels: tuple, draws: int = 200, seed: int = 0) -> dict:
    """Everything about windows: overall, with and without boats, by site, by SNR, macro F1 and AP with intervals over recordings.

    Parameters
    ----------
    thresholds : label -> probability, or label -> {"window": probability, ...} as in a saved model.

    Returns
    -------
    {"all", "without_boats", "with_boats", "site": {...}} of `window_metrics`, "recall_by_snr" {label: rows}, "interval"
    {macro_f1, macro_average_precision: [low, high]}, "windows", "recordings". A window is `with_boats` when an audible boat is in it.
    """
    thresholds = {label: t["window"] if isinstance(t, dict) else t for label, t in thresholds.items()}
    boat = table[f"target_{VESSEL}"].to_numpy() if f"target_{VESSEL}" in table else np.zeros(len(table))
    out = {"windows": len(table), "recordings": int(table["recording"].nunique()), "all": score(table, thresholds, labels)}
    for name, chosen in (("without_boats", boat == 0), ("with_boats", boat == 1)):
        if chosen.any():
            out[name] = score(table[chosen], thresholds, labels)
    if "site" in table:
        out["site"] = {site: score(part, thresholds, labels) for site, part in table.groupby("site")}
    target, prob, snr_db = (columns(table, what, labels) for what in ("target", "prob", "snr"))
    out["recall_by_snr"] = {label: recall_by_snr(target[:, k], prob[:, k] >= thresholds[label], snr_db[:, k]) for k, label in enumerate(labels)}
    groups = table["recording"].to_numpy()
    out["interval"] = {f"macro_{name}": bootstrap(groups, macro_of(target, prob, thresholds, labels, name), draws, seed) for name in ("f1", "average_precision")}
    return out


def macro_of(target, prob, thresholds: dict, labels: tuple, name: str):
    """Macro "f1" or "average_precision" as a function of row indices, for `bootstrap`."""
    chosen = [(labels.index(label), thresholds[label]) for label in call_labels(labels)]

    def of_rows(rows: np.ndarray) -> float:
        if name == "f1":
            return mean_known([counts(target[rows, k], prob[rows, k] >= limit)["f1"] for k, limit in chosen])
        return mean_known([average_precision(target[rows, k], prob[rows, k]) for k, _ in chosen])
    return of_rows


def clear_calls(table: pd.DataFrame, labels: tuple, floor_db: float = 10.0) -> pd.DataFrame:
    """The table with windows whose best call of a label lies under `floor_db` counted neither way for that label: what is left is plain to see."""
    table = table.copy()
    for label in labels:
        faint = (table[f"target_{label}"] == 1) & (table[f"snr_{label}"] < floor_db)
        table[f"target_{label}"] = table[f"target_{label}"].mask(faint)
    return table


def compare(tables: dict[str, pd.DataFrame], thresholds: dict[str, dict], labels: tuple) -> pd.DataFrame:
    """A row per model: macro F1 and AP overall, without and with boats, and F1 of each label."""
    rows = []
    for name, table in tables.items():
        m = evaluate_windows(table, thresholds[name], labels, draws=0)
        row = {"model": name, "macro_f1": m["all"]["macro"]["f1"], "macro_ap": m["all"]["macro"]["average_precision"]}
        row |= {f"macro_f1_{part}": m[part]["macro"]["f1"] if part in m else np.nan for part in ("without_boats", "with_boats")}
        rows.append(row | {f"f1_{label}": m["all"][label]["f1"] for label in labels})
    return pd.DataFrame(rows).set_index("model")


def false_windows_per_empty_hour(table: pd.DataFrame, thresholds: dict, labels: tuple, window_s: float, step_s: float) -> float:
    """Windows that carry a call label though no call is in them (nor touches them), per hour of such windows; NaN without any.

    Overlapping windows count as `step_s` each. A threshold may also be an array, one for each row.
    """
    chosen = call_labels(labels)
    target, prob = columns(table, "target", chosen), columns(table, "prob", chosen)
    limit = np.array([thresholds[label]["window"] if isinstance(thresholds[label], dict) else thresholds[label] for label in chosen]).T
    empty = (target == 0).all(axis=1)
    hours = empty.sum() * step_s / 3600
    return float(((prob >= limit).any(axis=1) & empty).sum() / hours) if hours else float("nan")


def json_ready(value):
    """Numbers and containers that `json` writes as valid JSON: NaN becomes null, infinity a string."""
    if isinstance(value, dict):
        return {str(key): json_ready(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(v) for v in value]
    if isinstance(value, (bool, str)) or value is None:
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    number = float(value)
    return number if np.isfinite(number) else (None if np.isnan(number) else str(number))
