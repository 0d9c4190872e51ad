"""The validation of a sensitive detector, as the cells of `08_validate_detections.ipynb` call it: moorings, detections, clips, networks, verdict.

With recordings and a detection table of one's own the first two steps fall away: `read_detections`, `place_detections` and `verdict_clips` take their place.
"""
from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
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
from training.fit import FitSettings, fit
from training.saved import SavedModel
from training.thresholds import sigmoid

CALLS = ("ECHO", "HFPC", "BBPC", "Whistle")  # the simulator's; any of them is a beluga
PLAIN = {"slope": 1.0, "intercept": 0.0, "position_slope": 1.0, "position_intercept": 0.0}
BATCH = 32
DAY_APART = 40
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
    networks : name -> further arguments of `CookNet`, {"vgg16": {"pretrained": True, "trainable_layers": 3}, "resnet50": {}}.
    folder : below it the checkpoints, apart for other settings, clips and sides; a run found there goes on.
    """
    def answer(train: pd.DataFrame, validation: pd.DataFrame, test: pd.DataFrame, name: str) -> dict:
        return {network: tuple(probabilities(net, data, rows) for rows in (validation, test))
                for network, net in trained(data, train, validation, networks, settings, Path(folder) / name, progress).items()}

    return answer


def trained(data: DataSet, train: pd.DataFrame, validation: pd.DataFrame, networks: dict[str, dict], settings: FitSettings, folder: Path, progress: bool = False) -> dict[str, CookNet]:
    """The networks, each at the epoch with the highest average precision on validation."""
    steps = -(-len(train) // settings.batch_size) * settings.epochs
    if steps < LEAST_STEPS or not len(validation):
        raise ValueError(f"{folder.name}: {len(train)} clips to train on and {len(validation)} for validation are {steps} steps of batches; add recordings or epochs, or take smaller batches")
    how, profile, nets = Augmentation(mix_share=0.0), data.profile, {}
    for network, arguments in networks.items():
        key = hashlib.sha256(json.dumps([arguments, asdict(settings), *(part[["recording", "start_frame"]].values.tolist() for part in (train, validation))]).encode()).hexdigest()[:8]
        torch.manual_seed(settings.seed)
        net = CookNet(network, len(profile.labels), profile.window_frames, **arguments)
        sides = WindowSet(data, train, profile, how, settings.seed), WindowSet(data, validation, profile)
        nets[network], _ = fit(net, *sides, settings, folder / f"{network}_{key}", progress)
    return nets


def probabilities(net: CookNet, data: DataSet, rows: pd.DataFrame) -> np.ndarray:
    """(rows,) probability of the profile's one label in each clip."""
    windows, parts = WindowSet(data, rows, data.profile), [np.empty(0)]
    net.eval()
    with torch.inference_mode():
        for k in range(0, len(rows), BATCH):
            x, _, _ = windows.__getitems__(list(range(k, min(k + BATCH, len(rows)))))
            parts.append(sigmoid(net(x)[0][:, 0].double().numpy()))
    return np.concatenate(parts)


def as_models(nets: dict[str, CookNet], profile: Profile, limit: float = 0.5) -> dict[str, SavedModel]:
    """The networks as models that `score_deployment` asks."""
    thresholds = {label: {"window": limit, "on": limit, "off": limit / 2} for label in profile.labels}
    return {name: SavedModel(net, profile, thresholds, dict.fromkeys(profile.labels, PLAIN), name, {}) for name, net in nets.items()}
