"""The steps of an experiment, as the cells of `05_train.ipynb` call them: simulate, build, train, choose thresholds, evaluate, save.

Sound: `DATA/deployments/SPLIT_SITE_KIND_DIGEST/` as the simulator writes it; the WAVs are deleted once their pictures are made, unless
they are wanted for another front end. Pictures and targets: `DATA/NAME/` (see `preprocessing.dataset`). Results: `results/NAME/`.
The three splits never share a deployment or a seed. All of it is SIMULATED, and every output says so.
"""
from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from preprocessing.dataset import DataSet, add_recording, build_dataset, front_end_key
from preprocessing.soundscape import simulate_deployment
from spectrogram.generator import SpectrogramGenerator
from spectrogram.profile import Profile
from training.augment import Augmentation
from training.baseline import Baseline, features
from training.data import WindowSet
from training.evaluate import columns, evaluate_windows, false_windows_per_empty_hour, json_ready, predict_rows, with_probabilities
from training.fit import FitSettings, fit
from training.model import MultiOutputResNet
from training.saved import SavedModel, save_model
from training.thresholds import choose, reliability

SITES = ("RDL", "CAC", "BSM", "KAM")
SPLIT_SEEDS = {"train": 1_000_000, "validation": 2_000_000, "test": 3_000_000}
BOATS = (False, True)  # recording by recording
KINDS = {  # what is turned away from the site's own habits
    "natural": {},
    "busy": {"call_rate_per_min": 24.0, "call_mix": {"ECHO": 0.22, "HFPC": 0.26, "BBPC": 0.26, "Whistle": 0.26}},
    "empty": {"call_rate_per_min": 0.0},
}


# the notebook's parameters, kept with the model
PARAMETERS = ("name", "profile", "seed", "recordings", "recording_s", "sites", "width", "depth", "epochs", "batch_size", "learning_rate", "windows_per_epoch",
              "augmentation", "normalisation", "bands", "target_precision", "peer", "peer_epochs", "judge_events", "quick")


def digest(value) -> str:
    """Six hex digits that change with a plain value."""
    return hashlib.sha256(json.dumps(json_ready(value), sort_keys=True).encode()).hexdigest()[:6]


@dataclass(frozen=True)
class Deployment:
    """One simulated deployment of a split."""

    split: str
    site: str
    kind: str
    seed: int
    recordings: int
    recording_s: float
    sample_rate_hz: int = 192_000

    @property
    def name(self) -> str:
        return f"{self.split}_{self.site}_{self.kind}"

    @property
    def folder_name(self) -> str:
        """Name and a digest of everything: another length or seed is another folder."""
        return f"{self.name}_{digest(asdict(self))}"


def plan_splits(recordings: dict[str, dict[str, int]], recording_s: float, seed: int = 0, sites: tuple = SITES) -> list[Deployment]:
    """Deployments for every split, site and kind.

    Parameters
    ----------
    recordings : split -> kind -> recordings per site, e.g. {"train": {"natural": 8, "busy": 8, "empty": 2}, "validation": ...}
    seed : 0 to 9999; the splits' seeds are far apart, so no deployment is ever in two.
    """
    plan = []
    for split, kinds in recordings.items():
        for k, site in enumerate(sites):
            for kind, count in kinds.items():
                if count:
                    plan.append(Deployment(split, site, kind, SPLIT_SEEDS[split] + 100 * seed + 10 * k + list(KINDS).index(kind), count, recording_s))
    return plan


def simulate(deployment: Deployment, sound: Path, jobs: int = 1) -> Path:
    """The deployment's folder, simulated unless it is already there whole (sound or, once it is deleted, its truth)."""
    folder = sound / deployment.folder_name
    seal = folder / "plan.json"
    if seal.exists():
        return folder
    boats = [BOATS[i % len(BOATS)] for i in range(deployment.recordings)]
    simulate_deployment(folder, deployment.site, deployment.seed, deployment.recordings, deployment.recording_s, boats=boats, n_jobs=jobs,
                        sample_rate_hz=deployment.sample_rate_hz, progress=False, **KINDS[deployment.kind])
    seal.write_text(json.dumps(json_ready(asdict(deployment))), encoding="utf-8")
    return folder


def read_deployment(deployment: Deployment, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Recordings table and truth table of a simulated deployment, recordings named DEPLOYMENT/FILE."""
    truth = pd.read_csv(folder / "truth.csv")
    truth["recording"] = deployment.name + "/" + truth["recording"].astype(str)
    names = sorted(json.loads((folder / "deployment.json").read_text(encoding="utf-8"))["recordings"])
    recordings = pd.DataFrame({
        "recording": [f"{deployment.name}/{name}" for name in names], "path": [str(folder / name) for name in names], "split": deployment.split,
        "site": deployment.site, "kind": deployment.kind, "boats": [BOATS[i % len(BOATS)] for i in range(len(names))],
        "duration_s": deployment.recording_s})
    return recordings, truth


def sound_of(deployment: Deployment, data_folder: str | Path, jobs: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`read_deployment` with its sound on disk: simulated again, the same bit for bit, where it was deleted since."""
    sound = Path(data_folder) / "deployments"
    folder = simulate(deployment, sound, jobs)
    recordings, truth = read_deployment(deployment, folder)
    if not all(Path(path).exists() for path in recordings["path"]):
        (folder / "plan.json").unlink()
        simulate(deployment, sound, jobs)
    return recordings, truth


def sound_of_split(plan: list[Deployment], split: str, data_folder: str | Path, jobs: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Recordings and truth of all deployments of a split, their sound on disk."""
    parts = [sound_of(d, data_folder, jobs) for d in plan if d.split == split]
    recordings, truth = (pd.concat(tables, ignore_index=True) for tables in zip(*parts))
    return recordings, truth


def forget_sound(recordings: pd.DataFrame) -> None:
    """Delete the WAVs of a recordings table; `sound_of` makes them again."""
    for path in recordings["path"]:
        Path(path).unlink(missing_ok=True)


def simulated_dataset(plan: list[Deployment], data_folder: str | Path, name: str, profile: Profile, keep_sound: bool = False, jobs: int = 1) -> DataSet:
    """Simulate every deployment of the plan, make its pictures, and index the windows. What is already there is not made again."""
    from tqdm.auto import tqdm

    data_folder, generator, tables = Path(data_folder), SpectrogramGenerator(profile), []
    for deployment in tqdm(plan, desc="deployments"):
        pictures = data_folder / name / "pictures"
        recordings, truth = read_deployment(deployment, simulate(deployment, data_folder / "deployments", jobs))
        if not all((pictures / f"{name.replace('/', '__')}.npy").exists() for name in recordings["recording"]):
            sound_of(deployment, data_folder, jobs)
        for row in recordings.itertuples():
            add_recording(data_folder / name, row.recording.replace("/", "__") + ".npy", Path(row.path), generator)
        if not keep_sound:
            forget_sound(recordings)
        tables.append((recordings, truth))
    recordings, truth = (pd.concat(parts, ignore_index=True) for parts in zip(*tables))
    return build_dataset(recordings, truth, data_folder / name, profile, {"simulated": True, "deployments": [asdict(d) for d in plan]})


def data_name(profile: Profile, plan: list[Deployment]) -> str:
    """Folder name of a data set: another plan or another front end is another folder."""
    return f"{profile.name}_{digest([front_end_key(profile), [asdict(d) for d in plan]])}"


def parameters_of(variables: dict) -> dict:
    """The notebook's parameters among its variables."""
    return {key: variables[key] for key in PARAMETERS}


def describe(data: DataSet) -> pd.DataFrame:
    """Recordings, hours, windows and positive windows of each label, for each split."""
    groups = data.manifest.groupby("split", sort=False)
    hours = data.manifest.drop_duplicates("recording").groupby("split")["duration_s"].sum() / 3600
    table = pd.DataFrame({"recordings": groups["recording"].nunique(), "hours": hours.round(2), "windows": groups.size()})
    for label in data.profile.labels:
        table[label] = groups[f"target_{label}"].agg(lambda t: int((t == 1).sum()))
    return table


def train_network(data: DataSet, profile: Profile, settings: FitSettings, folder: str | Path, width: int = 16, depth: int = 1,
                  how: Augmentation = Augmentation(), progress: bool = True) -> tuple[MultiOutputResNet, list[dict]]:
    """The multi-output ResNet fitted to the train split, its best epoch by the validation split, and the history."""
    torch.manual_seed(settings.seed)
    net = MultiOutputResNet(profile.heads, profile.n_bands, width, depth)
    train = WindowSet(data, data.rows(split="train"), profile, how, settings.seed)
    validation = WindowSet(data, data.rows(split="validation"), profile)
    return fit(net, train, validation, settings, folder, progress)


def calibrated(net: torch.nn.Module, data: DataSet, profile: Profile, name: str, target_precision: float | None = None) -> SavedModel:
    """The network with calibration and thresholds chosen on the validation split."""
    plain = {label: {"slope": 1.0, "intercept": 0.0, "position_slope": 1.0, "position_intercept": 0.0} for label in profile.labels}
    raw = SavedModel(net, profile, {}, plain, name, {})
    validation = WindowSet(data, data.rows(split="validation"), profile)
    parts = []
    for start in range(0, len(validation), 512):
        batch = validation.batch(range(start, min(start + 512, len(validation))))
        parts.append((*raw.logits(batch.picture_db), batch.window, batch.position))
    calibration, thresholds = choose(*(np.concatenate(part) for part in zip(*parts)), profile.labels, target_precision)
    return SavedModel(net, profile, thresholds, calibration, name, {})


def baseline_table(data: DataSet, profile: Profile, seed: int = 0) -> tuple[pd.DataFrame, dict]:
    """Test windows with the baseline's probabilities, and its thresholds: trained, chosen and tested on the same splits as the network."""
    rows = {split: data.rows(split=split) for split in ("train", "validation", "test")}
    x = {split: features(data, part, profile) for split, part in rows.items()}
    model = Baseline(profile.labels, seed).fit(x["train"], columns(rows["train"], "target", profile.labels))
    thresholds = model.thresholds(x["validation"], columns(rows["validation"], "target", profile.labels))
    return with_probabilities(rows["test"], model.predict(x["test"]), profile.labels, profile), thresholds


def peer_table(data: DataSet, plan: list[Deployment], data_folder: str | Path, seed: int = 0, epochs: int = 30) -> tuple[pd.DataFrame, dict]:
    """Test windows with the peer's probabilities, and its thresholds (0.5): its recipe trained on the same recordings, whose sound it needs.

    The training is slow; its predictions are kept beside its pictures and taken from there the next time.
    """
    from training.peer_recipe import THRESHOLD, make_peer_pictures, peer_predict, train_peer

    data_folder, labels, rows = Path(data_folder), data.profile.labels, data.rows(split="test")
    folder = data_folder / f"peer_{digest([asdict(d) for d in plan])}"
    kept = folder / f"predictions_{seed}_{epochs}.npy"
    if not kept.exists():
        recordings = pd.concat([sound_of(d, data_folder)[0] for d in plan], ignore_index=True)
        pictures = make_peer_pictures(recordings, folder)
        net, history = train_peer(data.manifest, pictures, labels, epochs, seed)
        (folder / f"history_{seed}_{epochs}.json").write_text(json.dumps(history), encoding="utf-8")
        np.save(kept, peer_predict(net, rows, pictures, labels))
    return with_probabilities(rows, np.load(kept), labels, data.profile), dict.fromkeys(labels, THRESHOLD)


def verdict(model: SavedModel, data: DataSet, draws: int = 200) -> tuple[pd.DataFrame, dict]:
    """Predictions and metrics on validation and test; predictions hold a `split` column and everything the metrics need."""
    profile, labels = model.profile, model.profile.labels
    tables = {split: predict_rows(model, data, data.rows(split=split)) for split in ("validation", "test")}
    metrics = {"simulated": True, "labels": list(labels), "thresholds": model.thresholds}
    for split, table in tables.items():
        metrics[split] = evaluate_windows(table, model.thresholds, labels, draws)
        metrics[split]["false_windows_per_empty_hour"] = false_windows_per_empty_hour(table, model.thresholds, labels, profile.window_s, profile.step_s)
    target, prob = columns(tables["test"], "target", labels), columns(tables["test"], "prob", labels)
    metrics["reliability"] = {label: reliability(prob[:, k], target[:, k]) for k, label in enumerate(labels)}
    return pd.concat(tables.values(), ignore_index=True), metrics


def save_experiment(folder: str | Path, net: torch.nn.Module, model: SavedModel, data: DataSet, predictions: pd.DataFrame, metrics: dict, parameters: dict) -> str:
    """Write model, metrics.json, predictions.parquet, parameters.yaml and model_card.md; return the model id."""
    import yaml

    from training.model_card import model_card

    folder = Path(folder)
    manifest = data.manifest
    summary = {"simulated": True, "parameters": json_ready(parameters),
               "windows": {split: int(count) for split, count in manifest["split"].value_counts().items()},
               "recordings": {split: int(part["recording"].nunique()) for split, part in manifest.groupby("split")},
               "hours": {split: round(float(part.groupby("recording")["duration_s"].first().sum()) / 3600, 3) for split, part in manifest.groupby("split")}}
    model_id = save_model(folder, net, model.profile, model.thresholds, model.calibration, summary)
    predictions.to_parquet(folder / "predictions.parquet", index=False)
    (folder / "metrics.json").write_text(json.dumps(json_ready(metrics), indent=1, allow_nan=False), encoding="utf-8")
    (folder / "parameters.yaml").write_text(yaml.safe_dump(json_ready(parameters), sort_keys=False, allow_unicode=True), encoding="utf-8")
    (folder / "model_card.md").write_text(model_card(model_id, model, net, metrics, summary), encoding="utf-8")
    return model_id


def save_events(folder: str | Path, events: pd.DataFrame, truth: pd.DataFrame, recordings: pd.DataFrame) -> None:
    """Write events.parquet, truth.parquet and recordings.parquet, from which `event_verdict` gives the metrics again."""
    for name, frame in (("events", events), ("truth", truth), ("recordings", recordings.drop(columns="path"))):
        frame.to_parquet(Path(folder) / f"{name}.parquet", index=False)
