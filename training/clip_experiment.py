"""The steps of an experiment on clips, as the cells of `experiments/clips.ipynb` call them. See `training/clip_folds.py` for who judges whom.

`variants` of an experiment are trainings that differ in what each names, on the same clips, e.g. {from scratch: {}, pretrained: {pretrained:
beluga_default}} or {grouped: {}, row-wise: {split: {kind: rows}}}. The first one is the experiment's own: it is the model that is kept.
"""
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.dataset import DataSet, front_end_key
from spectrogram.profile import Profile
from training.clip_cards import clip_model_card
from training.clip_folds import calibration_of, final_model, out_of_fold, with_thresholds
from training.clip_groups import join_groups, same_sound
from training.clip_verdict import alarms, clip_metrics
from training.clips import clip_dataset, clip_table
from training.data_card import clip_data_card
from training.evaluate import false_windows_per_empty_hour, json_ready
from training.deployments import digest
from training.saved import save_model
from training.spec import Experiment
from training.worst import keep_worst, worst_of

WHOLE = "all"


def clip_data(experiment: Experiment, profile: Profile, data_folder: Path, progress: bool = False) -> tuple[pd.DataFrame, DataSet]:
    """Table of the clips, groups that share sound joined, and their data set; its folder's name tells front end and clips apart.

    `.attrs` of the table: left_out, joined (pairs of clips by which groups were joined) and same (all pairs that share sound).
    """
    table = clip_table(experiment, profile)
    same = same_sound(table, data_folder, progress)
    table = join_groups(table, same)
    table.attrs["same"] = same
    key = digest([front_end_key(profile), profile.heads, profile.label_info, sorted(zip(table["recording"], table["name"]))])
    return table, clip_dataset(table, data_folder / f"{experiment.name}_{key}", profile)


def variants_of(experiment: Experiment) -> dict[str, Experiment]:
    """name -> the experiment with what the variant changes; one called "all" where none is named."""
    base = experiment.to_dict() | {"variants": {}}
    changes = experiment.variants or {WHOLE: {}}
    return {name: Experiment.from_dict(base | (change or {})) for name, change in changes.items()}


def judge_variants(data: DataSet, experiment: Experiment, folder: Path, progress: bool = False, same: pd.DataFrame | None = None) -> tuple[pd.DataFrame, dict]:
    """Every variant's windows with probabilities and limits, joined (`variant`); and what the final model of the first one needs.

    same : pairs that share sound; with them on two sides nothing is trained (`training.leaks.Leak`), but for variants whose split is called a leak.
    """
    parts, kept = [], {}
    for name, variant in variants_of(experiment).items():
        profile = variant.front_end()
        here = folder / "checkpoints" / name.replace(" ", "_").replace(",", "")
        table, position, target, known = out_of_fold(data, profile, variant, here, progress, same, known_before(kept, variant))
        kept = kept or {"experiment": variant, "table": table, "position": position, "target": target, "folder": here, "known": known}
        calibration, _ = calibration_of(table, position, target, profile.labels)
        parts.append(with_thresholds(table, calibration, profile.labels, variant.pool, variant.target_precision).assign(variant=name))
    return pd.concat(parts, ignore_index=True), kept


def known_before(kept: dict, variant: Experiment):
    """What was `prepared` for the first variant, as far as this one may use it; None where it must be made anew."""
    if not kept or (variant.backbone, variant.augmentation) != (kept["experiment"].backbone, kept["experiment"].augmentation):
        return None
    if variant.simulated == kept["experiment"].simulated:
        return kept["known"]
    return None if variant.simulated else replace(kept["known"], beside=None)


def train_final(data: DataSet, profile: Profile, kept: dict, progress: bool = False):
    """Network and model of the first variant, from all clips."""
    return final_model(data, profile, kept["experiment"], kept["table"], kept["position"], kept["target"], kept["folder"], progress, kept["known"])


def metrics_of(predictions: pd.DataFrame, labels: tuple, pool: str, window_s: float, step_s: float, draws: int = 200) -> dict:
    """metrics.json of an experiment on clips, from predictions.parquet alone.

    Returns
    -------
    {"simulated", "labels", "pool", "window_s", "step_s", "variants": {name: {"network", "baseline": `clip_metrics`, "false_alarms", ...}}}
    """
    out = {"kind": "clips", "simulated": False, "labels": list(labels), "pool": pool, "window_s": window_s, "step_s": step_s, "draws": draws, "variants": {}}
    for name, part in predictions.groupby("variant", sort=False):
        limits = {label: part[f"limit_{label}"].to_numpy() for label in labels}
        out["variants"][name] = {"network": clip_metrics(part, labels, pool, "prob", draws), "baseline": clip_metrics(part, labels, pool, "baseline", draws),
                                 "false_alarms": alarms(part, labels, pool),
                                 "false_windows_per_empty_hour": false_windows_per_empty_hour(part, limits, labels, window_s, step_s)}
    return out


def tidy_predictions(predictions: pd.DataFrame, labels: tuple) -> pd.DataFrame:
    """The columns that metrics and analysis need, small types."""
    kept = ["variant", "recording", "set", "group", "record", "raw", "fold", "start_s", "duration_s"]
    kept += [f"{what}_{label}" for label in labels for what in ("target", "prob", "limit", "baseline", "baseline_limit")]
    table = predictions[kept].copy()
    for column in table:
        if table[column].dtype == np.float64:
            table[column] = table[column].astype(np.float32)
    return table


def save_clips(folder: Path, net, model, experiment: Experiment, table: pd.DataFrame, predictions: pd.DataFrame, metrics: dict, data: DataSet | None = None) -> str:
    """Write model, metrics, predictions, model card and data card, and with the data set the pictures of the worst errors; return the model id."""
    summary = {"simulated": False, "clips": {label or "background": int(n) for label, n in table["name"].value_counts().items()},
               "groups": int(table["group"].nunique()), "hours": round(float(table["duration_s"].sum()) / 3600, 3), "experiment": experiment.digest()}
    model_id = save_model(folder, net, model.profile, model.thresholds, model.calibration, summary)
    predictions.to_parquet(folder / "predictions.parquet", index=False)
    (folder / "metrics.json").write_text(json.dumps(json_ready(metrics), indent=1, allow_nan=False), encoding="utf-8")
    (folder / "model_card.md").write_text(clip_model_card(model_id, model, net, experiment, metrics, summary), encoding="utf-8")
    (folder / "data_card.md").write_text(clip_data_card(experiment, table), encoding="utf-8")
    if data is not None:
        keep_worst(folder, worst_of(folder), data)
    return model_id
