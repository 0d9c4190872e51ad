"""Clips judged on sources that were not trained on: a training for each fold, and in the end one network from all clips.

    clips of all folds but k -> `members` networks (seeds), merged, or a linear model -> windows of fold k -> raw logits
    calibration <- the logits of all folds, one rising map per label, which changes no order; thresholds of fold k <- the other folds
    the network that is kept <- all clips; its calibration and thresholds <- the logits of all folds

So no figure in the verdict comes from a clip whose group was trained on, or by which its threshold was chosen (the calibration error alone is that of
the map on the clips that drew it). On disk, below the run's
`checkpoints/`: one folder for each fold and member; what is finished is not trained again.
"""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from preprocessing.dataset import DataSet
from preprocessing.splits import fold_numbers
from spectrogram.profile import Profile
from training.augment import Augmentation
from training.backbones import StatisticsNet
from training.baseline import Baseline, features
from training.data import WindowSet
from training.descriptor_fit import Descriptors, descriptors_of, fit_descriptors, logits_of
from training.descriptor_net import descriptor_net
from training.evaluate import CHUNK, columns
from training.experiment import build_net, settings_of
from training.fit import fit
from training.leaks import check_leaks, refuse_leaks
from training.merge import merge
from training.saved import SavedModel
from training.simulated_calls import beside_clips
from training.spec import Experiment, Split
from training.statistics_fit import Statistics, fit_statistics, statistics_of
from training.thresholds import FALLBACK, OFF_SHARE, best_threshold, choose, sigmoid

PLAIN = {"slope": 1.0, "intercept": 0.0, "position_slope": 1.0, "position_intercept": 0.0}


def train_members(data: DataSet, rows: pd.DataFrame, profile: Profile, spec: Experiment, folder: Path, progress: bool = False,
                  known: Statistics | Descriptors | None = None) -> torch.nn.Module:
    """`members` networks fitted to these manifest rows for a fixed number of epochs, merged into one; a linear model on descriptors has one member. `known`: `prepared` of the rows."""
    nets, how = [], Augmentation(**spec.augmentation)
    if spec.backbone == "descriptors":
        return fit_descriptors(descriptor_net(profile, how.band_limit_rates_hz), known or prepared(data, rows, profile, spec), rows, spec.seed, spec.split.by)
    for seed in (spec.seed + 1000 * member for member in range(spec.members)):
        net, settings = build_net(spec, profile, seed), settings_of(spec, seed, "last")
        if isinstance(net, StatisticsNet):
            known = known or prepared(data, rows, profile, spec)
            nets.append(fit_statistics(net, known, rows, profile.labels, settings))
        else:
            nets.append(fit(net, WindowSet(data, rows, profile, how, seed), None, settings, folder / f"seed_{seed}", progress)[0])
    return merge(nets)


def prepared(data: DataSet, rows: pd.DataFrame, profile: Profile, spec: Experiment) -> Statistics | Descriptors | None:
    """What a backbone needs to know of windows and can be computed once for all folds; None for networks on pictures."""
    how = Augmentation(**spec.augmentation)
    if spec.backbone == "descriptors":
        net = descriptor_net(profile, how.band_limit_rates_hz)
        known = descriptors_of(data, rows, profile, net)
        return replace(known, beside=beside_clips(spec, profile, net, data.folder.parents[1] / "simulated")) if spec.simulated else known
    return statistics_of(data, rows, profile, how) if spec.backbone == "statistics" else None


def folds_of(clips: pd.DataFrame, split: Split, seed: int, same: pd.DataFrame | None = None) -> pd.Series:
    """recording -> fold, for a table with recording, name and the column `split.by`. kind "rows": each clip by itself, or by
    another column than its group; a leak.

    A label found in fewer groups than there are folds cannot be spread over all: its groups are dealt to different folds, from the last one down.
    same : pairs that share sound (`find_duplicates`); on two sides they are refused as any leak is.
    """
    table = clips.reset_index(drop=True)
    by = split.by
    groups_of = table.groupby("name")[by].nunique()
    rare = table["name"].isin(groups_of.index[groups_of < split.folds]) & (table["name"] != "")
    fold = pd.Series(0, index=table.index)
    common = table[~table[by].isin(table.loc[rare, by])]
    if len(common):
        fold[common.index] = fold_numbers(common, by, split.folds, "name" if common["name"].nunique() > 1 else None, seed)
    for _, part in table[rare].groupby("name"):
        dealt = part[by].value_counts().index
        fold[table[by].isin(dealt)] = table[by].map({group: (split.folds - 1 - k) % split.folds for k, group in enumerate(dealt)})
    refuse_leaks(check_leaks(table, fold, split.by, same), allow=split.kind == "rows")
    return pd.Series(fold.to_numpy(int), index=table["recording"])


def raw_logits(net: torch.nn.Module, profile: Profile, data: DataSet, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Logits of the windows of manifest rows, (n, labels) and (n, labels, positions), as a loaded model gives them."""
    raw = SavedModel(net, profile, {}, dict.fromkeys(profile.labels, PLAIN), "fold", {})
    parts = [raw.logits(data.windows(rows.iloc[i:i + CHUNK])) for i in range(0, len(rows), CHUNK)]
    return tuple(np.concatenate(part) for part in zip(*parts))


def out_of_fold(data: DataSet, profile: Profile, experiment: Experiment, folder: Path, progress: bool = False,
                same: pd.DataFrame | None = None, known: Statistics | Descriptors | None = None) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, Statistics | Descriptors | None]:
    """Every window judged by networks that know nothing of its fold. `same`: as for `folds_of`; `known`: what was `prepared` of all windows, if it is known.

    Returns
    -------
    table : the manifest with fold, logit_LABEL and baseline_LABEL (probability of the cheap baseline, trained on the same folds)
    position logits and position targets (windows, labels, positions), for the calibration of the trace
    what was `prepared` of all windows
    """
    from tqdm.auto import tqdm

    table = data.manifest.reset_index(drop=True)
    clips = table.drop_duplicates("recording")
    table["fold"] = table["recording"].map(folds_of(clips, experiment.split, experiment.seed, same)).to_numpy()
    labels, count = profile.labels, len(table)
    logit, baseline, position = np.zeros((count, len(labels)), np.float32), np.zeros((count, len(labels)), np.float32), None
    x = features(data, table, profile)
    known = known or prepared(data, table, profile, experiment)
    for fold in tqdm(sorted(table["fold"].unique()), desc="folds", disable=not progress):
        here = (table["fold"] == fold).to_numpy()
        kept = folder / f"fold_{fold}"
        net = train_members(data, table[~here], profile, experiment, kept, progress, known and known.of(~here))
        if isinstance(known, Descriptors):
            window = logits_of(net, known.of(here))
            when = np.repeat(window[:, :, None], net.n_positions, axis=2)
        else:
            window, when = raw_logits(net, profile, data, table[here])
        position = np.zeros((count, *when.shape[1:]), np.float32) if position is None else position
        logit[here], position[here] = window, when
        baseline[here] = Baseline(labels, experiment.seed, 4000).fit(x[~here], columns(table[~here], "target", labels)).predict(x[here])
    table[[f"logit_{label}" for label in labels]] = logit
    table[[f"baseline_{label}" for label in labels]] = baseline
    target = np.repeat(columns(table, "target", labels)[:, :, None], position.shape[2], axis=2)  # a clip carries its label throughout
    return table, position, target, known


def with_thresholds(table: pd.DataFrame, calibration: dict, labels: tuple, pool: str, target_precision: float | None = None) -> pd.DataFrame:
    """The table with prob_LABEL, and with limit_LABEL and baseline_limit_LABEL (for a clip, of the pooled probability), each fold's from the other folds.

    Calibration is one rising map for all folds, not one for each: a fold's own would know from the others how many positives are left for it.
    """
    from training.clip_verdict import choose_limits

    table = calibrated_table(table, calibration, labels).drop(columns=[f"logit_{label}" for label in labels])
    for fold in sorted(table["fold"].unique()):
        here = (table["fold"] == fold).to_numpy()
        for what, limit in (("prob", "limit"), ("baseline", "baseline_limit")):
            for label, value in choose_limits(table[~here], labels, pool, what, target_precision).items():
                table.loc[here, f"{limit}_{label}"] = np.float32(value)
    return table


def calibration_of(table: pd.DataFrame, position: np.ndarray, position_target: np.ndarray, labels: tuple, target_precision: float | None = None) -> tuple[dict, dict]:
    """`training.thresholds.choose` on the windows that were judged out of fold. Where some label is carried by too few groups, all keep the network's own probability (every
    label as likely as the balance of the training makes it; mixed scales could not be compared), and that label's thresholds are one half."""
    from training.clip_verdict import enough_groups

    few = [label for label in labels if not enough_groups(table, label)]
    if few:
        calibration, raw = {label: dict(PLAIN) for label in labels}, columns(table, "logit", labels)
        limits = {label: FALLBACK if label in few else best_threshold(sigmoid(raw[:, k]), columns(table, "target", labels)[:, k], target_precision) for k, label in enumerate(labels)}
        return calibration, {label: {"window": limit, "on": limit, "off": OFF_SHARE * limit} for label, limit in limits.items()}
    return choose(columns(table, "logit", labels), position, columns(table, "target", labels), position_target, labels, target_precision)


def calibrated_table(table: pd.DataFrame, calibration: dict, labels: tuple) -> pd.DataFrame:
    """The table with prob_LABEL from logit_LABEL."""
    prob = {f"prob_{label}": sigmoid(calibration[label]["slope"] * table[f"logit_{label}"].to_numpy() + calibration[label]["intercept"]).astype(np.float32)
            for label in labels}
    return table.assign(**prob)


def final_model(data: DataSet, profile: Profile, experiment: Experiment, table: pd.DataFrame, position: np.ndarray, position_target: np.ndarray,
                folder: Path, progress: bool = False, known: Statistics | Descriptors | None = None) -> tuple[torch.nn.Module, SavedModel]:
    """The network of all clips, with calibration and thresholds from the logits of all folds."""
    from training.clip_verdict import choose_limits

    labels = profile.labels
    net = train_members(data, data.manifest, profile, experiment, folder / "all", progress, known)
    calibration, thresholds = calibration_of(table, position, position_target, labels, experiment.target_precision)
    limits = choose_limits(calibrated_table(table, calibration, labels), labels, experiment.pool, "prob", experiment.target_precision)
    thresholds = {label: values | {"window": limits[label]} for label, values in thresholds.items()}
    return net, SavedModel(net, profile, thresholds, calibration, experiment.name, {})
