"""Studies: several trainings on one data set that differ in one thing, judged alike and set beside each other.

| study | the trainings |
| --- | --- |
| leak | recordings whole on one side of the split, and windows shuffled whatever their recording: the same data, the same network |
| sites | for each site: trained on the others and on k windows of it (`shots`, drawn as often as another site's), judged on its test recordings |
| boats | the variants that the experiment names (augmentation), judged by SNR without and with boats |
| size | the variants that the experiment names (backbone, width), each in float32 and in int8, with kB and windows per second |
| recipe | the variants that the experiment names; one with `peer: true` sees the peer's pictures of the same windows, all keep to those that begin on a whole second |

A study is an `Experiment` with `study`; its data are those of its plan of simulated deployments or of its annotations. Every training is a fresh network;
its thresholds come from its own validation windows. predictions.parquet holds the test windows of all trainings (`variant`). Trainings that are judged on the same
windows are compared window for window, too (`paired`): each with the first one, a site's with k = 0, int8 with float32.
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from preprocessing.dataset import DataSet
from spectrogram.profile import Profile
from training.augment import Augmentation
from training.baseline import Baseline, features
from training.compare import paired, windows_judged
from training.data import WindowSet
from training.evaluate import CHUNK, columns, evaluate_windows, json_ready, with_probabilities
from training.experiment import build_net, peer_pictures, plan_of, settings_of
from training.fit import fit
from training.saved import SavedModel
from training.spec import Experiment
from training.thresholds import best_threshold, sigmoid

SHOTS = (0, 50, 100, 250)
DRAWS = 100
PLAIN = {"slope": 1.0, "intercept": 0.0, "position_slope": 1.0, "position_intercept": 0.0}


@dataclass
class Training:
    """One training of a study: its name, its settings, and its rows of the manifest."""

    name: str
    spec: Experiment
    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame


def trainings_of(spec: Experiment, manifest: pd.DataFrame) -> list[Training]:
    """The trainings of a study."""
    plain = Experiment.from_dict(spec.to_dict() | {"variants": {}, "study": None})
    if spec.study == "leak":
        return leak_trainings(plain, manifest)
    if spec.study == "sites":
        return site_trainings(plain, manifest)
    variants = {name: Experiment.from_dict(plain.to_dict() | (change or {})) for name, change in spec.variants.items()}
    if spec.study == "recipe":
        manifest = manifest[manifest["start_s"] % 1 == 0]  # the peer knows no others
    rows = [manifest[manifest["split"] == split] for split in ("train", "validation", "test")]
    return [Training(name, variant, *rows) for name, variant in variants.items()]


def leak_trainings(spec: Experiment, manifest: pd.DataFrame) -> list[Training]:
    """The same windows parted twice, in equal shares: by recording, and row by row."""
    from preprocessing.splits import grouped_folds, rows_at_random

    table, parted = manifest.reset_index(drop=True), spec.split.folds
    by = spec.split.by if spec.split.by in table else "recording"
    out = []
    for name, roles in (("grouped", grouped_folds(table, by, parted, seed=spec.seed)["fold_0"]), ("row-wise (a leak)", rows_at_random(table, parted, seed=spec.seed)["leak_0"])):
        out.append(Training(name, spec, *(table[(roles == role).to_numpy()] for role in ("train", "validation", "test"))))
    return out


def site_trainings(spec: Experiment, manifest: pd.DataFrame, shots: tuple = SHOTS) -> list[Training]:
    """For each site and k: the other sites' training rows and k training rows of the site, half of them with a call as far as there are.

    The k rows are repeated until there are as many as an other site has on the average: among some ten thousand, fifty would hardly be drawn.
    """
    out = []
    for site in sorted(manifest["site"].unique()):
        own, train = manifest["site"] == site, manifest["split"] == "train"
        test = manifest[own & (manifest["split"] == "test")]
        validation = manifest[~own & (manifest["split"] == "validation")]
        pool, others = manifest[own & train], manifest[~own & train]
        called = (pool[[c for c in pool if c.startswith("target_") and c != "target_Boat"]] == 1).any(axis=1).to_numpy()
        rng = np.random.default_rng(spec.seed)
        with_call, without = rng.permutation(np.flatnonzero(called)), rng.permutation(np.flatnonzero(~called))
        for k in shots:
            chosen = np.concatenate([with_call[:(k + 1) // 2], without[:k // 2], with_call[(k + 1) // 2:], without[k // 2:]])[:k].astype(int)
            often = max(1, round(len(others) / others["site"].nunique() / k)) if k else 0
            out.append(Training(f"{site}, {k} windows of it", spec, pd.concat([others, *[pool.iloc[chosen]] * often]), validation, test))
    return out


def logits_of(net: torch.nn.Module, profile: Profile, data: DataSet, rows: pd.DataFrame) -> np.ndarray:
    """Window logits (n, labels) of manifest rows."""
    model = SavedModel(net, profile, {}, dict.fromkeys(profile.labels, PLAIN), "study", {})
    return np.concatenate([model.logits(data.windows(rows.iloc[i:i + CHUNK]))[0] for i in range(0, len(rows), CHUNK)])


def windows_of(part: Training, data: DataSet, peer_pictures: Path | None) -> tuple[WindowSet, WindowSet]:
    """The windows that a training learns from and those that choose its epoch, as its front end shows them."""
    profile, how = data.profile, Augmentation(**part.spec.augmentation)
    if part.spec.peer:
        from training.peer_recipe import PeerView

        return PeerView(data, part.train, profile, peer_pictures, how, part.spec.seed), PeerView(data, part.validation, profile, peer_pictures)
    return WindowSet(data, part.train, profile, how, part.spec.seed), WindowSet(data, part.validation, profile)


def judged(part: Training, net: torch.nn.Module, profile: Profile, data: DataSet, peer_pictures: Path | None = None) -> tuple[pd.DataFrame, dict]:
    """Test windows with probabilities (`variant`), and the thresholds of highest F1 on the validation windows."""
    from training.peer_recipe import peer_predict

    labels = profile.labels
    known, found = (peer_predict(net, rows, peer_pictures, labels) if part.spec.peer else sigmoid(logits_of(net, profile, data, rows)) for rows in (part.validation, part.test))
    target = columns(part.validation, "target", labels)
    limits = {label: best_threshold(known[:, k], target[:, k]) for k, label in enumerate(labels)}
    return with_probabilities(part.test, found, labels, profile).assign(variant=part.name), limits


def run_study(data: DataSet, spec: Experiment, folder: Path, progress: bool = False) -> tuple[pd.DataFrame, dict, dict]:
    """Every training, from its checkpoints where it was cut off.

    Returns
    -------
    predictions (tidy), metrics (of `study_metrics`), nets {variant: network}
    """
    profile, parts, limits, nets, trainings = data.profile, [], {}, {}, trainings_of(spec, data.manifest)
    pictures = peer_pictures(plan_of(spec), data.folder.parent) if any(part.spec.peer for part in trainings) else None
    for part in trainings:
        kept = folder / "checkpoints" / part.name.replace(" ", "_").replace(",", "")
        nets[part.name], _ = fit(build_net(part.spec, profile), *windows_of(part, data, pictures), settings_of(part.spec), kept, progress)
        table, limits[part.name] = judged(part, nets[part.name], profile, data, pictures)
        base = Baseline(profile.labels, spec.seed, 4000)
        rng = np.random.default_rng(spec.seed)
        some = part.train.iloc[np.sort(rng.permutation(len(part.train))[:4000])]
        base.fit(features(data, some, profile), columns(some, "target", profile.labels))
        beside = base.predict(features(data, part.test, profile))
        parts.append(table.assign(**{f"baseline_{label}": beside[:, k] for k, label in enumerate(profile.labels)}))
    predictions = pd.concat(parts, ignore_index=True)
    kept = ["variant", "recording", "site", "start_s"] + [f"{what}_{label}" for label in profile.labels for what in ("target", "prob", "snr", "baseline")]
    predictions = predictions[[c for c in kept if c in predictions]]
    return predictions, study_metrics(predictions, {"study": spec.study, "labels": list(profile.labels), "thresholds": limits,
                                                    "simulated": bool(data.info["summary"].get("simulated"))}), nets


def study_metrics(predictions: pd.DataFrame, given: dict) -> dict:
    """metrics.json of a study from its predictions, and from what was chosen or measured: study, labels, thresholds {variant: {label: limit}}, sizes."""
    labels = tuple(given["labels"])
    out = {"kind": "study"} | {key: given[key] for key in ("study", "labels", "simulated", "thresholds", "sizes") if key in given} | {"variants": {}}
    for name, part in predictions.groupby("variant", sort=False):
        swapped = part.assign(**{f"prob_{label}": part[f"baseline_{label}"] for label in labels})
        even = dict.fromkeys(labels, 0.5)
        out["variants"][name] = {"network": evaluate_windows(part, given["thresholds"][name], labels, DRAWS), "baseline": evaluate_windows(swapped, even, labels, 0)}
    out["paired"] = {name: paired(*(windows_judged(which, predictions[predictions["variant"] == which].reset_index(drop=True), labels, given["thresholds"][which])
                                    for which in (name, other)), DRAWS) for name, other in references(given["study"], list(out["variants"])).items()}
    return out


def references(study: str, names: list[str]) -> dict[str, str]:
    """The training with which each other one is compared window for window; none where their test windows differ."""
    if study == "leak":
        return {}
    if study == "sites":
        wanted = {name: f"{name.split(',')[0]}, 0 windows of it" for name in names}
    else:
        wanted = {name: name.split(", int8")[0] if ", int8" in name else names[0] for name in names}
    return {name: other for name, other in wanted.items() if other != name}


def paired_table(metrics: dict) -> pd.DataFrame:
    """A row per comparison: the difference of macro AP and macro F1, each with its 95 % interval over recordings."""
    rows = []
    for name, found in metrics["paired"].items():
        row = {"training": name, "less": found["other"], "windows": found["rows"]}
        for what, short in (("macro_average_precision", "AP"), ("macro_f1", "F1")):
            row |= {f"{short} difference": found[what]["difference"], f"{short} from": found[what]["low"], f"{short} to": found[what]["high"]}
        rows.append(row)
    return pd.DataFrame(rows).set_index("training")


def study_table(metrics: dict) -> pd.DataFrame:
    """A row per training: macro AP with its interval, macro F1, without and with boats; the baseline's macro AP; sizes where they were measured."""
    rows = []
    for name, variant in metrics["variants"].items():
        m, sizes = variant["network"], metrics.get("sizes", {}).get(name, {})
        low, high = m["interval"]["macro_average_precision"]
        rows.append({"training": name, "macro AP": m["all"]["macro"]["average_precision"], "from": low, "to": high, "macro F1": m["all"]["macro"]["f1"],
                     "macro F1, no boat": m.get("without_boats", {}).get("macro", {}).get("f1"), "macro F1, boat": m.get("with_boats", {}).get("macro", {}).get("f1"),
                     "baseline AP": variant["baseline"]["all"]["macro"]["average_precision"]} | sizes)
    return pd.DataFrame(rows).set_index("training").astype(float)


def save_study(folder: Path, predictions: pd.DataFrame, metrics: dict, spec: Experiment, data: DataSet) -> None:
    """Write predictions.parquet, metrics.json and data_card.md."""
    from training.data_card import window_data_card

    write_predictions(predictions, folder / "predictions.parquet")
    (folder / "metrics.json").write_text(json.dumps(json_ready(metrics), indent=1, allow_nan=False), encoding="utf-8")
    (folder / "data_card.md").write_text(window_data_card(spec, data), encoding="utf-8")


def write_predictions(predictions: pd.DataFrame, path: Path) -> None:
    """Every window under every training, small enough for git: probabilities byte by byte, without a dictionary, take half the room."""
    numbers = [name for name in predictions if name.startswith(("prob_", "baseline_"))]
    predictions.to_parquet(path, index=False, compression="zstd", compression_level=15, use_byte_stream_split=numbers,
                           use_dictionary=[name for name in predictions if name not in numbers])
