"""The validation of a sensitive detector, as the cells of `08_validate_detections.ipynb` call it: moorings, detections, clips, networks, verdict.

With recordings and a detection table of one's own the first two steps fall away: `read_detections`, `place_detections` and `verdict_clips` take their place.
"""
from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from preprocessing.dataset import DataSet
from preprocessing.energy_detector import EnergyDetector, detect_energy, reached, with_verdicts, write_detections
from preprocessing.recordings import list_recordings
from spectrogram.profile import Profile
from training.augment import Augmentation
from training.cook_nets import CookNet
from training.data import WindowSet
from training.detection_verdict import CALLS
from training.fit import FitSettings, fit
from training.saved import SavedModel
from training.thresholds import sigmoid

BATCH = 32
DAY_APART = 40
OF_FIT = ("epochs", "batch_size", "learning_rate")  # of a network of its own, before the settings of all
LEAST_STEPS = 5  # the learning rate rises and falls over them


def simulated_moorings(folder: str | Path, moorings: tuple[str, ...], recordings: int, recording_s: float, sample_rate_hz: int, seed: int = 0, **settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A deployment of simulated sound for each mooring, on days of its own; what is there is not made again.

    Returns
    -------
    recordings (`list_recordings`; site is the mooring) and truth (the simulator's, `recording` as in the former).
    """
    from preprocessing.soundscape.deployment import simulate_deployment

    folder, truths = Path(folder), []
    for place, mooring in enumerate(moorings):
        here = folder / mooring
        if not (here / "deployment.json").exists():
            start = datetime(2022, 5, 3, 4, 0, 0, tzinfo=timezone.utc) + timedelta(days=DAY_APART * place)
            simulate_deployment(here, mooring, seed + place, recordings, recording_s, start, sample_rate_hz, progress=False, **settings)
        truth = pd.read_csv(here / "truth.csv")
        truths.append(truth.assign(recording=mooring + "/" + truth["recording"].astype(str)))
    return list_recordings(folder), pd.concat(truths, ignore_index=True)


def sensitive_detections(recordings: pd.DataFrame, truth: pd.DataFrame, profile: Profile, path: str | Path, detector: EnergyDetector = EnergyDetector()) -> dict:
    """Run the detector, let the truth check it, write the table as experts would have (`.xlsx` or CSV).

    Returns
    -------
    {"detections": their verdicts counted, "precision" of the detector, "reached": what of the truth it touched}
    """
    checked = with_verdicts(detect_energy(recordings, profile, detector), truth, CALLS)
    write_detections(checked, path)
    said = checked["verdict"].value_counts().to_dict()
    known = said.get("true", 0) + said.get("false", 0)
    return {"detections": said, "precision": said.get("true", 0) / known if known else float("nan"), "reached": reached(checked, truth, CALLS), "detector": asdict(detector)}


def clip_rows(data: DataSet) -> pd.DataFrame:
    """The clips of a data set with `target` and `end_s`, those with a target only."""
    label, = data.profile.labels
    rows = data.manifest.assign(target=data.manifest[f"target_{label}"].astype(float), end_s=data.manifest["start_s"] + data.profile.window_s)
    return rows[rows["target"].notna()].reset_index(drop=True)


def trainer(data: DataSet, networks: dict[str, dict], settings: FitSettings, folder: str | Path, progress: bool = False):
    """`answer` for `ensemble.held_out`: trains each of the networks on a side, answers the others.

    Parameters
    ----------
    networks : name -> further arguments of `CookNet`, and its own epochs, batch_size, learning_rate: {"vgg16": {"pretrained": True, "trainable_layers": 3}, "resnet50": {"epochs": 10}}.
    folder : below it checkpoints and finished answers, apart for other settings, clips and sides; a run found there goes on. Of what is finished only the answers stay.
    """
    def answer(train: pd.DataFrame, validation: pd.DataFrame, test: pd.DataFrame, name: str) -> dict:
        out = {}
        for network, own in networks.items():
            done = Path(folder) / name / f"{network}_{_key(own, settings, train, validation, test)}.npz"
            if not done.exists():
                net, = trained(data, train, validation, {network: own}, settings, done.with_suffix(""), progress).values()
                aside = done.with_name("unfinished.npz")
                np.savez(aside, validation=probabilities(net, data, validation), test=probabilities(net, data, test))
                aside.replace(done)
                shutil.rmtree(done.with_suffix(""))  # two checkpoints of up to 300 MB
            with np.load(done) as kept:
                out[network] = kept["validation"], kept["test"]
        return out

    return answer


def trained(data: DataSet, train: pd.DataFrame, validation: pd.DataFrame, networks: dict[str, dict], settings: FitSettings, folder: Path, progress: bool = False) -> dict[str, CookNet]:
    """The networks, each at the epoch with the highest average precision on validation."""
    how, profile, nets = Augmentation(mix_share=0.0), data.profile, {}
    for network, own in networks.items():
        mine = replace(settings, **{key: own[key] for key in OF_FIT if key in own})
        steps = -(-len(train) // mine.batch_size) * mine.epochs
        if steps < LEAST_STEPS or not len(validation):
            raise ValueError(f"{network}: {len(train)} clips to train on and {len(validation)} for validation are {steps} steps of batches; add recordings or epochs, or take smaller batches")
        part = train.iloc[:-1] if len(train) % mine.batch_size == 1 else train  # batch norms cannot take a batch of one
        torch.manual_seed(mine.seed)
        net = CookNet(network, len(profile.labels), profile.window_frames, **{key: value for key, value in own.items() if key not in OF_FIT})
        sides = WindowSet(data, part, profile, how, mine.seed), WindowSet(data, validation, profile)
        nets[network], _ = fit(net, *sides, mine, folder / f"{network}_{_key(own, settings, train, validation)}", progress)
    return nets


def _key(*parts) -> str:
    """Eight digits that tell settings and clips apart."""
    told = [part[["recording", "start_frame"]].values.tolist() if isinstance(part, pd.DataFrame) else asdict(part) if isinstance(part, FitSettings) else part for part in parts]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:8]


def probabilities(net: CookNet, data: DataSet, rows: pd.DataFrame) -> np.ndarray:
    """(rows,) probability of the profile's one label in each clip."""
    windows, parts = WindowSet(data, rows, data.profile), [np.empty(0)]
    net.eval()
    with torch.inference_mode():
        for k in range(0, len(rows), BATCH):
            x, _, _ = windows.__getitems__(list(range(k, min(k + BATCH, len(rows)))))
            parts.append(sigmoid(net(x)[0][:, 0].double().numpy()))
    return np.concatenate(parts)


def as_models(nets: dict[str, CookNet], profile: Profile, limits: dict[str, float] | None = None, maps: dict[str, tuple[float, float]] | None = None) -> dict[str, SavedModel]:
    """The networks as models that `score_deployment` asks; `limits` and `maps` (slope and intercept of the logit, see `ensemble.platt_maps`) of each network."""
    models = {}
    for name, net in nets.items():
        limit, (slope, intercept) = (limits or {}).get(name, 0.5), (maps or {}).get(name, (1.0, 0.0))
        told = {"slope": slope, "intercept": intercept, "position_slope": slope, "position_intercept": intercept}
        models[name] = SavedModel(net, profile, dict.fromkeys(profile.labels, {"window": limit, "on": limit, "off": limit / 2}), dict.fromkeys(profile.labels, told), name, {})
    return models
