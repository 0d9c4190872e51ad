"""An experiment on the right whale contest's clips, as the cells of `experiments/contest.ipynb` call it.

    for each variant and each fold of whole groups:
        network, by AdamW and a one-cycle rate <- training groups; its best epoch, calibration and threshold <- validation groups
        its answers <- the test groups, as they are and, where the experiment says `noised`, mixed with noise
    beside it the cheap baseline (`training.baseline`), trained, calibrated and judged on the same sides

The model that is kept is that of the first variant's first fold, the one whose answers on that fold are in predictions.parquet. Variants may differ in anything but
the clips: network, front end, split. Mixed precision on CUDA (`training.fit`). On disk, below `checkpoints/`: a folder for each variant and fold; a run goes on from there.
"""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from preprocessing.dataset import DataSet
from spectrogram.profile import Profile
from training.augment import Augmentation
from training.baseline import Baseline, features
from training.clip_experiment import variants_of
from training.clip_verdict import logit
from training.contest_cards import contest_data_card, contest_model_card
from training.contest_data import CLEAN, SeriesSet, conditions, contest_data, copies_of, ordinal_rows, sides_checked
from training.data import WindowSet
from training.evaluate import columns, json_ready
from training.experiment import build_net, settings_of
from training.fit import fit
from training.saved import SavedModel, save_model
from training.spec import Experiment
from training.thresholds import best_threshold, choose, platt, sigmoid

BATCH = 64
LARGEST = 5e6  # bytes of weights that are kept with the code
KEPT = ["variant", "noise", "snr_db", "recording", "group", "set", "raw", "fold", "start_s", "duration_s"]


def judge_contest(clips: pd.DataFrame, experiment: Experiment, data_folder: Path, folder: Path, progress: bool = False) -> tuple[pd.DataFrame, dict]:
    """Every clip judged by networks that met none of its group.

    Returns
    -------
    predictions : a row for each variant, condition (noise, snr_db) and clip: target_LABEL, prob_LABEL, limit_LABEL, baseline_LABEL, baseline_limit_LABEL
    kept : net, model (with its thresholds), experiment and history of the first variant's first fold
    """
    from tqdm.auto import tqdm

    parts, kept, copies = [], {}, copies_of(clips)
    for name, variant in variants_of(experiment).items():
        profile = variant.front_end()
        sides = sides_checked(clips, variant, copies)
        sets = {condition: _Clips(clips, variant, profile, data_folder, *condition) for condition in conditions(variant)}
        for fold in tqdm(sides, desc=name, disable=not progress):
            here = folder / "checkpoints" / name.replace(" ", "_").replace(",", "").replace("/", "_") / fold
            net, model, history, tables = judge_fold(sets, sides[fold].to_numpy(), variant, profile, here, progress)
            parts += [table.assign(variant=name, fold=int(fold.split("_")[1])) for table in tables]
            kept = kept or {"net": net, "model": model, "experiment": variant, "history": history, "fold": fold}
    labels = kept["model"].labels
    return tidy(pd.concat(parts, ignore_index=True), labels), kept


class _Clips:
    """The clips in one condition: their data set, and what a variant's network wants besides."""

    def __init__(self, clips: pd.DataFrame, experiment: Experiment, profile: Profile, data_folder: Path, noise: str, snr_db: float):
        self.noise, self.snr_db, self.profile = noise, snr_db, profile
        self.data: DataSet = contest_data(clips, profile, data_folder, noise, snr_db, experiment.seed)
        self.rows = self.data.manifest.reset_index(drop=True)
        if self.rows["recording"].tolist() != clips["recording"].tolist():
            raise ValueError(f"{self.data.folder}: the clips give {len(self.rows)} windows, expected one each of {len(clips)}; take a profile whose window is a clip")
        self.series = ordinal_rows(clips, profile, noise, snr_db, experiment.seed) if experiment.backbone.endswith(":ordinal") else None

    def windows(self, chosen: np.ndarray, how: Augmentation | None = None, seed: int = 0) -> WindowSet:
        rows = self.rows[chosen]
        return WindowSet(self.data, rows, self.profile, how, seed) if self.series is None else SeriesSet(self.data, rows, self.profile, how, seed, self.series)

    def features(self, chosen: np.ndarray) -> np.ndarray:
        return features(self.data, self.rows[chosen], self.profile)


def judge_fold(sets: dict, side: np.ndarray, experiment: Experiment, profile: Profile, folder: Path, progress: bool = False):
    """Train on one side, choose on another, answer the third in every condition -> net, model, history, a table for each condition."""
    clean, labels = sets[CLEAN], profile.labels
    train, validation, test = (side == name for name in ("train", "validation", "test"))
    net, history = fit(build_net(experiment, profile), clean.windows(train, Augmentation(**experiment.augmentation), experiment.seed), clean.windows(validation),
                       settings_of(experiment), folder, progress)
    known, when = answers(net, clean.windows(validation))
    target = columns(clean.rows[validation], "target", labels)
    calibration, thresholds = choose(known, when, target, np.repeat(target[:, :, None], when.shape[2], axis=2), labels, experiment.target_precision)
    base = Baseline(labels, experiment.seed).fit(clean.features(train), columns(clean.rows[train], "target", labels))
    beside = base.predict(clean.features(validation))
    base_maps = [platt(logit(beside[:, k]), target[:, k]) for k in range(len(labels))]
    base_limits = [best_threshold(_mapped(beside[:, k], base_maps[k]), target[:, k], experiment.target_precision) for k in range(len(labels))]
    tables = []
    for (noise, snr_db), clips in sets.items():
        answer, _ = answers(net, clips.windows(test))
        cheap = base.predict(clips.features(test))
        table = clips.rows[test].assign(noise=noise, snr_db=snr_db)
        for k, label in enumerate(labels):
            table[f"prob_{label}"] = _within(sigmoid(calibration[label]["slope"] * answer[:, k] + calibration[label]["intercept"]))
            table[f"limit_{label}"] = thresholds[label]["window"]
            table[f"baseline_{label}"], table[f"baseline_limit_{label}"] = _mapped(cheap[:, k], base_maps[k]), base_limits[k]
        tables.append(table)
    return net, SavedModel(net, profile, thresholds, calibration, experiment.name, {}), history, tables


def answers(net: torch.nn.Module, windows: WindowSet) -> tuple[np.ndarray, np.ndarray]:
    """Logits of windows as they stand, (n, labels) and (n, labels, positions); on CUDA where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net, parts = net.eval().to(device), []
    with torch.inference_mode():
        for k in range(0, len(windows), BATCH):
            x = windows.__getitems__(list(range(k, min(k + BATCH, len(windows)))))[0]
            parts.append([out.float().cpu().numpy() for out in net(x.to(device))])
    net.cpu()
    return tuple(np.concatenate(part) for part in zip(*parts))


def tidy(predictions: pd.DataFrame, labels: tuple) -> pd.DataFrame:
    """The columns that metrics and analysis need, small types."""
    table = predictions[KEPT + [f"{what}_{label}" for label in labels for what in ("target", "prob", "limit", "baseline", "baseline_limit")]].copy()
    for column in table:
        if table[column].dtype == np.float64:
            table[column] = table[column].astype(np.float32)
    return table


def save_contest(folder: Path, kept: dict, experiment: Experiment, clips: pd.DataFrame, predictions: pd.DataFrame, metrics: dict) -> str:
    """Write model, metrics, predictions, model card and data card; return the model id."""
    summary = {"simulated": metrics["simulated"], "clips": {label or "background": int(n) for label, n in clips["name"].value_counts().items()}, "groups": int(clips["group"].nunique()),
               "hours": round(float(clips["duration_s"].sum()) / 3600, 3), "experiment": experiment.digest(), "fold": kept["fold"]}
    model = kept["model"]
    if 4 * sum(p.numel() for p in kept["net"].parameters()) > LARGEST:
        summary["remake"] = f"its weights are above 5 MB and not kept with the code; python -m training {experiment.name} --again makes them"
    model_id = save_model(folder, kept["net"], model.profile, model.thresholds, model.calibration, summary)
    predictions.to_parquet(folder / "predictions.parquet", index=False)
    (folder / "metrics.json").write_text(json.dumps(json_ready(metrics), indent=1, allow_nan=False), encoding="utf-8")
    (folder / "model_card.md").write_text(contest_model_card(model_id, model, kept["net"], experiment, metrics, summary), encoding="utf-8")
    (folder / "data_card.md").write_text(contest_data_card(experiment, clips), encoding="utf-8")
    return model_id


def _mapped(p: np.ndarray, slope_and_intercept: tuple[float, float]) -> np.ndarray:
    return _within(sigmoid(slope_and_intercept[0] * logit(p) + slope_and_intercept[1]))


def _within(p: np.ndarray) -> np.ndarray:
    """Probabilities as far from 0 and 1 as `logit` looks, so that no two are told apart in one place and not in another."""
    return np.clip(p, 1e-6, 1 - 1e-6)
