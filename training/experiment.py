"""The steps of an experiment, as the cells of `05_train.ipynb` call them: build, train, choose thresholds, evaluate, save.

Sound and pictures lie below the data folder (`training.deployments`, or the user's recordings), results in `results/NAME/`.
"""
from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from preprocessing.dataset import DataSet, picture_name
from preprocessing.noise_collection import NOISE, VESSEL
from spectrogram.profile import Profile
from training.augment import Augmentation
from training.backbones import make_net
from training.baseline import Baseline, features
from training.data import WindowSet
from training.deployments import SPLIT_SEEDS, Deployment, data_name, digest, plan_splits, read_deployment, simulate, simulated_dataset, sound_of, sound_of_split
from training.evaluate import (
    call_labels,
    columns,
    evaluate_windows,
    false_windows_per_empty_hour,
    json_ready,
    judged_rows,
    predict_rows,
    row_logits,
    with_probabilities,
)
from training.false_alarms import NONE, noise_verdict
from training.fit import FitSettings, fit
from training.merge import take_trunk
from training.model import MultiOutputResNet
from training.saved import SavedModel, find_folder, save_model, save_regions, weights_of
from training.real_noise import backgrounds_of, noise_key, noise_of, noise_summary, share_of_noise, truth_of
from training.spec import Experiment
from training.thresholds import choose, choose_by_false_alarms, reliability

# the notebook's parameters: those of an `Experiment` with given splits
PARAMETERS = ("name", "question", "profile", "labels", "seed", "recordings", "recording_s", "simulator", "sites", "annotations", "split", "backbone", "width", "depth", "pretrained",
              "epochs", "batch_size", "learning_rate", "windows_per_epoch", "patience", "quantise_epochs", "augmentation", "loss", "normalisation", "bands", "target_precision", "peer",
              "peer_epochs", "hard_negatives", "noise", "thresholds", "trainer", "judge_events", "quick")


def spec_of(variables: dict) -> Experiment:
    """The checked experiment that the notebook's variables describe; with `quick`, a few minutes of it."""
    spec = Experiment.from_dict({key: variables[key] for key in PARAMETERS})
    if not spec.quick:
        return spec
    return replace(spec, recordings={split: {"busy": 1} for split in SPLIT_SEEDS}, sites=spec.sites[:2], recording_s=min(spec.recording_s, 20), epochs=2, width=8,
                   quantise_epochs=min(spec.quantise_epochs, 1))


def plan_of(spec: Experiment) -> list[Deployment]:
    """The deployments of an experiment on simulated sound, those in recorded water among them where
    it is on this machine.
    """
    water = backgrounds_of(noise_of(spec, spec.front_end()))
    return plan_splits(spec.recordings, spec.recording_s, spec.seed, tuple(spec.sites), water, spec.simulator)


def data_of(spec: Experiment, data_dir: str | Path, keep_sound: bool = False, jobs: int = 1) -> tuple[DataSet, list[Deployment]]:
    """The data set of an experiment below `data_dir`, and its plan of deployments (none for recordings with annotations)."""
    profile, data_dir = spec.front_end(), Path(data_dir)
    if spec.kind == "annotations":
        from training.annotated_experiment import annotated_data

        return annotated_data(spec, profile, data_dir), []
    plan, noise = plan_of(spec), noise_of(spec, profile)
    folder = data_dir / ("quick" if spec.quick else "simulated")
    beside = (
        None
        if noise is None
        else (
            noise.drop(columns=["present", "set"]).assign(
                kind=NOISE,
                boats=noise["present"].str.contains(VESSEL),
                animal=noise["animal"].astype(float),
            ),
            truth_of(noise, profile.window_s),
        )
    )
    summary = {} if spec.noise is None else {"real_noise": noise_summary(spec, noise)}
    name, keep = data_name(profile, plan, noise_key(noise)), keep_sound or spec.peer
    made = simulated_dataset(plan, folder, name, profile, keep, jobs, beside=beside, summary=summary)
    return made, plan


def judged_sound(spec: Experiment, data: DataSet, plan: list[Deployment], split: str, data_dir: str | Path, jobs: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Recordings and truth that a split's events are judged on: the user's own, or those of its deployments."""
    if spec.kind == "annotations":
        from training.annotated_experiment import sound_of_side

        return sound_of_side(spec, data, split)
    return sound_of_split(plan, split, Path(data_dir) / "simulated", jobs)


def describe(data: DataSet) -> pd.DataFrame:
    """Recordings, hours, windows and positive windows of each label, for each split, recorded noise
    in rows of its own.
    """
    manifest = data.manifest
    split = (
        manifest["split"].where(
            ~(manifest["kind"] == NOISE), manifest["split"] + ", recorded noise"
        )
        if "kind" in manifest
        else manifest["split"]
    )
    manifest = manifest.assign(split=split)
    groups = manifest.groupby("split", sort=False)
    hours = manifest.drop_duplicates("recording").groupby("split")["duration_s"].sum() / 3600
    table = pd.DataFrame({"recordings": groups["recording"].nunique(), "hours": hours.round(2), "windows": groups.size()})
    for label in data.profile.labels:
        table[label] = groups[f"target_{label}"].agg(lambda t: int((t == 1).sum()))
    return table


def build_net(spec: Experiment, profile: Profile, seed: int | None = None) -> torch.nn.Module:
    """The experiment's network, its weights drawn from the seed, its trunk taken from another experiment where one is named."""
    torch.manual_seed(spec.seed if seed is None else seed)
    net = make_net(spec.backbone, profile, spec.width, spec.depth)
    if spec.pretrained:
        take_trunk(net, weights_of(find_folder(spec.pretrained)))
    return net


def settings_of(spec: Experiment, seed: int | None = None, keep: str = "best") -> FitSettings:
    """Schedule and loss of one training."""
    return FitSettings(epochs=spec.epochs, batch_size=spec.batch_size, learning_rate=spec.learning_rate, windows_per_epoch=spec.windows_per_epoch,
                       patience=spec.patience, seed=spec.seed if seed is None else seed, keep=keep, position_weight=spec.loss.position_weight,
                       balance=spec.loss.balance, smoothing=spec.loss.smoothing, trainer=spec.trainer,
                       hard_negatives=spec.hard_negatives, noise_share=share_of_noise(spec))


def train_network(data: DataSet, profile: Profile, spec: Experiment, folder: str | Path, progress: bool = True) -> tuple[torch.nn.Module, list[dict]]:
    """The experiment's network fitted to the train split, its best epoch by the validation split, and the history."""
    train = WindowSet(data, data.rows(split="train"), profile, Augmentation(**spec.augmentation), spec.seed)
    validation = WindowSet(data, data.rows(split="validation"), profile)
    return fit(build_net(spec, profile), train, validation, settings_of(spec), folder, progress)


def in_use(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of recordings that hold as many calls as their site has: what thresholds and calibration are chosen on.

    "Busy" recordings are packed with calls, for the network to see many. Chosen among them, a threshold is too low for the sea, where nearly all that
    looks a little like a rare call is none. All rows where there are no others.
    """
    busy = table["kind"] == "busy" if "kind" in table else np.zeros(len(table), bool)
    return table if busy.all() else table[~busy]


def calibrated(
    net: torch.nn.Module,
    data: DataSet,
    profile: Profile,
    name: str,
    target_precision: float | None = None,
    thresholds: dict | None = None,
) -> SavedModel:
    """The network with calibration and thresholds chosen on the validation split (`in_use`), by
    false alarms where an experiment says how many (`thresholds`). One that answers moment by moment
    is judged by its trace.
    """
    plain = {label: {"slope": 1.0, "intercept": 0.0, "position_slope": 1.0, "position_intercept": 0.0} for label in profile.labels}
    raw = SavedModel(net, profile, {}, plain, name, {}, by_trace=isinstance(net, MultiOutputResNet) and net.tiles > 1)
    rows = in_use(data.rows(split="validation"))
    known = WindowSet(data, rows, profile)
    window, position, _ = (np.stack(part) for part in zip(*map(known.targets_at, range(len(rows)), known.start_frame)))
    window_logit, position_logit = row_logits(raw, data, rows)
    animals = rows["animal"].fillna(0).to_numpy(bool) if "animal" in rows else np.zeros(len(rows), bool)
    if thresholds is None:
        calibration, chosen = choose(
            window_logit, position_logit, window, position, profile.labels, target_precision
        )
    else:
        calibration, chosen = choose_by_false_alarms(
            window_logit,
            position_logit,
            window,
            profile.labels,
            known.real & ~animals,
            call_labels(profile.labels),
            raw.by_trace,
            **thresholds,
        )
    return replace(raw, thresholds=chosen, calibration=calibration)


def with_regions(model: SavedModel, data: DataSet) -> SavedModel:
    """The model with a region head (`training.regions`) fitted on the training split, its thresholds chosen on validation; itself where it does not
    answer moment by moment, or its profile has no regions."""
    if not model.by_trace or not model.profile.roi_bands:
        return model
    from training.regions import fit_regions

    head = fit_regions(model, data)
    thresholds = {label: values | ({"region": head.thresholds[label]} if label in head.thresholds else {}) for label, values in model.thresholds.items()}
    return replace(model, regions=head, thresholds=thresholds)


def baseline_table(data: DataSet, profile: Profile, seed: int = 0) -> tuple[pd.DataFrame, dict]:
    """Test windows with the baseline's probabilities, and its thresholds: trained, chosen and tested on the same splits as the network."""
    rows = {split: data.rows(split=split) for split in ("train", "validation")}
    rows |= {"validation": in_use(rows["validation"]), "test": judged_rows(data.manifest, "test")}
    x = {split: features(data, part, profile) for split, part in rows.items()}
    model = Baseline(profile.labels, seed).fit(x["train"], columns(rows["train"], "target", profile.labels))
    thresholds = model.thresholds(x["validation"], columns(rows["validation"], "target", profile.labels))
    return with_probabilities(rows["test"], model.predict(x["test"]), profile.labels, profile), thresholds


def peer_folder(plan: list[Deployment], data_folder: str | Path) -> Path:
    """Where the peer's pictures of a plan's recordings are kept."""
    return Path(data_folder) / f"peer_{digest([asdict(d) for d in plan])}"


def peer_pictures(plan: list[Deployment], data_folder: str | Path) -> Path:
    """The folder of the peer's pictures of a plan's recordings, made from their sound unless all are there."""
    from training.peer_recipe import make_peer_pictures

    folder = peer_folder(plan, data_folder)
    recordings = pd.concat([read_deployment(d, simulate(d, Path(data_folder) / "deployments"))[0] for d in plan], ignore_index=True)
    if not all((folder / picture_name(name)).exists() for name in recordings["recording"]):
        recordings = pd.concat([sound_of(d, data_folder)[0] for d in plan], ignore_index=True)
    return make_peer_pictures(recordings, folder)


def peer_table(data: DataSet, plan: list[Deployment], data_folder: str | Path, seed: int = 0, epochs: int = 30) -> tuple[pd.DataFrame, dict]:
    """Test windows with the peer's probabilities, and its thresholds (0.5): its recipe trained on the same recordings, whose sound it needs.

    The training is slow; its predictions are kept beside its pictures and taken from there the next time.
    """
    from training.peer_recipe import THRESHOLD, peer_predict, train_peer

    data_folder, labels, rows = Path(data_folder), data.profile.labels, judged_rows(data.manifest, "test")
    folder = peer_folder(plan, data_folder)
    kept = folder / f"predictions_{seed}_{epochs}.npy"
    if not kept.exists():
        pictures = peer_pictures(plan, data_folder)
        net, history = train_peer(judged_rows(data.manifest), pictures, labels, epochs, seed, kept=folder / f"state_{seed}.ckpt")
        (folder / f"history_{seed}_{epochs}.json").write_text(json.dumps(history), encoding="utf-8")
        np.save(kept, peer_predict(net, rows, pictures, labels))
    return with_probabilities(rows, np.load(kept), labels, data.profile), dict.fromkeys(labels, THRESHOLD)


def verdict(model: SavedModel, data: DataSet, draws: int = 200) -> tuple[pd.DataFrame, dict]:
    """Predictions and metrics on validation and test; predictions hold a `split` column and everything the metrics need."""
    profile, labels = model.profile, model.profile.labels
    predicted = {
        split: predict_rows(model, data, data.rows(split=split)) for split in ("validation", "test")
    }
    tables = {split: judged_rows(table) for split, table in predicted.items()}
    metrics = {"kind": "windows", "simulated": bool(data.info["summary"].get("simulated")), "labels": list(labels), "thresholds": model.thresholds,
               "window_s": profile.window_s, "step_s": profile.step_s}
    for split, table in tables.items():
        metrics[split] = evaluate_windows(table, model.thresholds, labels, draws)
        metrics[split]["false_windows_per_empty_hour"] = false_windows_per_empty_hour(table, model.thresholds, labels, profile.window_s, profile.step_s)
    target, prob = columns(tables["test"], "target", labels), columns(tables["test"], "prob", labels)
    metrics["reliability"] = {label: reliability(prob[:, k], target[:, k]) for k, label in enumerate(labels)}
    predictions = pd.concat(predicted.values(), ignore_index=True)
    metrics |= noise_verdict(predictions, model.thresholds, labels, profile.window_s, profile.step_s)
    return predictions, metrics | {"noise": data.info["summary"].get("real_noise", NONE)}


def beside(predictions: pd.DataFrame, metrics: dict, tables: dict[str, pd.DataFrame], limits: dict[str, dict], labels: tuple) -> tuple[pd.DataFrame, dict]:
    """Predictions with the probabilities of the other methods (METHOD_LABEL, test rows), and metrics with their figures and thresholds."""
    test = predictions.index.isin(judged_rows(predictions, "test").index)
    predictions = predictions.copy()
    for method, table in tables.items():
        if method == "network":
            continue
        for label in labels:
            predictions.loc[test, f"{method}_{label}"] = table[f"prob_{label}"].to_numpy(np.float32)
        metrics[method] = evaluate_windows(table, limits[method], labels) | {"thresholds": limits[method]}
    return predictions, metrics


def save_experiment(folder: str | Path, net: torch.nn.Module, model: SavedModel, data: DataSet, predictions: pd.DataFrame, metrics: dict, spec: Experiment) -> str:
    """Write model, metrics.json, predictions.parquet, parameters.yaml, the cards and the pictures of the worst errors; return the model id."""
    from training.data_card import window_data_card
    from training.model_card import model_card
    from training.worst import keep_worst, worst_windows

    folder = Path(folder)
    manifest = data.manifest
    summary = {"simulated": metrics["simulated"], "parameters": spec.to_dict(), "experiment": spec.digest(),
               "windows": {split: int(count) for split, count in manifest["split"].value_counts().items()},
               "recordings": {split: int(part["recording"].nunique()) for split, part in manifest.groupby("split")},
               "hours": {split: round(float(part.groupby("recording")["duration_s"].first().sum()) / 3600, 3) for split, part in manifest.groupby("split")}}
    model_id = save_model(folder, net, model.profile, model.thresholds, model.calibration, summary, by_trace=model.by_trace)
    model_id = save_regions(folder, model.regions, model.profile.roi_bands) if model.regions else model_id
    predictions.to_parquet(folder / "predictions.parquet", index=False)
    (folder / "metrics.json").write_text(json.dumps(json_ready(metrics), indent=1, allow_nan=False), encoding="utf-8")
    (folder / "parameters.yaml").write_text(yaml.safe_dump(spec.to_dict(), sort_keys=False, allow_unicode=True), encoding="utf-8")
    (folder / "model_card.md").write_text(model_card(model_id, model, net, metrics, summary), encoding="utf-8")
    (folder / "data_card.md").write_text(window_data_card(spec, data), encoding="utf-8")
    keep_worst(folder, worst_windows(judged_rows(predictions, "test"), model.thresholds, model.labels, model.profile.window_s), data)
    return model_id


def save_events(folder: str | Path, events: pd.DataFrame, truth: pd.DataFrame, recordings: pd.DataFrame) -> None:
    """Write events.parquet, truth.parquet and recordings.parquet, from which `event_verdict` gives the metrics again."""
    for name, frame in (("events", events), ("truth", truth), ("recordings", recordings.drop(columns="path"))):
        frame.to_parquet(Path(folder) / f"{name}.parquet", index=False)
