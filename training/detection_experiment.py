"""The steps of an experiment on a detector's checked finds, as the cells of `08_validate_detections.ipynb` call them.

    asked = detections_of(experiment)
    checked = checked_data(experiment, asked, profile, Path("data"))       # recordings, detections, clips, pictures
    predictions, weights = judge(checked, experiment, asked, folder)       # each clip by networks that never met its recording, or its mooring
    made = final_ensemble(checked, experiment, asked, folder)              # from all clips; it scores what is new

What is bad in recordings or table is told in a line each (`checked.notes`), and the rest goes on.
"""
from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.dataset import DataSet, front_end_key
from preprocessing.detection_places import place_detections
from preprocessing.detections import read_detections
from preprocessing.duplicates import NEAR_HOURS, find_duplicates
from preprocessing.energy_detector import EnergyDetector
from preprocessing.recordings import describe, list_recordings
from preprocessing.splits import grouped_folds
from preprocessing.verdict_clips import verdict_clips, verdict_dataset
from spectrogram.profile import Profile
from training import cook_inlet
from training.annotated_experiment import placed as place_of
from training.baseline import Baseline, features
from training.clips import clip_table
from training.detection_settings import Detections
from training.detection_verdict import BY_MOORING, BY_RECORDING, BY_ROW
from training.ensemble import BASELINE, ENSEMBLE, convex_weights, ensemble, held_out, leave_one_mooring_out, logit, platt_maps
from training.deployments import digest
from training.fit import FitSettings
from training.leaks import check_leaks, refuse_leaks
from training.saved_ensemble import SavedEnsemble
from training.score_table import Scored, score_deployment
from training.spec import BadExperiment, Experiment
from training.thresholds import best_threshold, sigmoid

BANDS_HZ = ((400, 2000), (2000, 5000), (5000, 11400))
EVENT = "event"  # what must not be torn apart: the pieces of one detection
KEPT = ["split", "fold", "recording", "start_s", "mooring", "day", "class", "detection", "target"]


@dataclass
class Checked:
    """recordings, truth (of a simulation, else None), placed detections, clips, their data set, rows (`cook_inlet.clip_rows` with `event`), detector (what is known of the simulated one), notes."""

    recordings: pd.DataFrame
    truth: pd.DataFrame | None
    placed: pd.DataFrame
    clips: pd.DataFrame
    data: DataSet
    rows: pd.DataFrame
    detector: dict | None = None
    notes: list[str] = field(default_factory=list)


def checked_data(experiment: Experiment, asked: Detections, profile: Profile, data_dir: Path) -> Checked:
    """Recordings, the checked detections in them, clips, and their pictures below `data_dir`."""
    truth, detector = None, None
    if asked.simulated:
        sound = sound_folder(asked, data_dir, asked.moorings, asked.recordings_each, experiment.seed)
        recordings, truth = simulated(asked, sound, asked.moorings, asked.recordings_each, experiment.seed)
        table = data_dir / f"{sound.name}_{asked.threshold_db:g}_dB.xlsx"
        detector = cook_inlet.sensitive_detections(recordings, truth, profile, table, EnergyDetector(bands_hz=BANDS_HZ, threshold_db=asked.threshold_db))
    else:
        recordings = list_recordings(place_of(asked.recordings), asked.clock)
        recordings = describe(recordings, place_of(asked.about)) if asked.about else recordings
        table = tables_of(asked.table, experiment.name)
    found = read_detections(table, asked.clock, asked.length_s, asked.verdict_column, asked.verdicts, sheet=asked.sheet, day_first=asked.day_first, recordings=recordings)
    placed = place_detections(found, recordings)
    clips = verdict_clips(placed, recordings, profile.window_s, asked.place, asked.nothing, asked.guard_s, most=asked.most, seed=experiment.seed)
    key = digest([front_end_key(profile), clips.drop(columns="day").values.tolist(), [str(path) for path in recordings["path"]]])
    data = verdict_dataset(clips, placed, recordings, data_dir / f"{experiment.name}_{key}", profile, summary={"simulated": asked.simulated})
    rows = cook_inlet.clip_rows(data)
    rows[EVENT] = np.where(rows["detection"] >= 0, rows["detection"], -1 - np.arange(len(rows)))
    return Checked(recordings, truth, placed, clips, data, rows, detector, list(clips.attrs["notes"]))


def tables_of(table: str | list, name: str) -> list[Path]:
    """The files that a path, a pattern (`/data/2017/*.xlsx`) or several of them mean."""
    out = []
    for one in [table] if isinstance(table, str) else table:
        path = Path(place_of(one))
        found = sorted(path.parent.glob(path.name)) if any(sign in path.name for sign in "*?[") else [path]
        if not found or not found[0].exists():
            raise BadExperiment(f"experiment {name}, detections: no table {path}; give the file of checked detections, or a pattern such as /data/2017/*.xlsx")
        out += found
    return out


def sound_folder(asked: Detections, data_dir: Path, moorings, count: int, seed: int) -> Path:
    key = digest([list(moorings), count, asked.recording_s, asked.sample_rate_hz, asked.call_rate_per_min, seed])
    return Path(data_dir) / f"sound_{'_'.join(moorings)}_{key}"


def simulated(asked: Detections, folder: Path, moorings, count: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Recordings and truth of simulated moorings, made where they are not there."""
    return cook_inlet.simulated_moorings(folder, tuple(moorings), count, asked.recording_s, asked.sample_rate_hz, seed, call_rate_per_min=asked.call_rate_per_min, version=1)


def folds_of(checked: Checked, experiment: Experiment) -> dict[str, pd.DataFrame]:
    """Split -> folds. All three train on as large a share of what is not test: validation is a fifth of the other recordings (of the other rows where rows are shuffled)."""
    rows, count, seed = checked.rows, experiment.split.folds, experiment.seed
    out = {BY_RECORDING: grouped_folds(rows, ["recording", EVENT], count, "class", seed, validation_group=["recording", EVENT])}
    if rows["mooring"].nunique() > 1:
        out[BY_MOORING] = leave_one_mooring_out(rows, validation_group=["recording", EVENT], seed=seed)
    out[BY_ROW] = grouped_folds(rows.assign(row=range(len(rows))), "row", count, "class", seed, validation_group="row")
    return out


def look_for_leaks(checked: Checked, folds: dict[str, pd.DataFrame], window_s: float) -> tuple[pd.DataFrame, dict[str, int]]:
    """Refuse leaks between the sides of the grouped splits (recordings, pieces of one detection, copied sound, overlaps in time; a mooring that is test and anything else).

    Returns
    -------
    The recordings that share sound, and how many leaks each split has: none but for the shuffled one.
    """
    hours = float(checked.recordings["duration_s"].sum()) / 3600
    readable = checked.recordings[checked.recordings["recording"].isin(checked.rows["recording"])]
    sound, found = find_duplicates(readable, near=hours <= NEAR_HOURS), {}
    for name, table in folds.items():
        leaks = check_leaks(checked.rows, table, ("recording", EVENT), sound if len(sound) else None, window_s)
        if name == BY_MOORING:
            leaks = pd.concat([leaks, check_leaks(checked.rows, table.replace("validation", "train"), ("mooring",))])
        refuse_leaks(leaks, allow=name == BY_ROW)
        found[name] = len(leaks)
    return sound, found


def judge(checked: Checked, experiment: Experiment, asked: Detections, folder: Path, folds: dict[str, pd.DataFrame], progress: bool = False) -> tuple[pd.DataFrame, dict]:
    """Every clip judged by each network, their ensemble and the baseline, none of which met its side.

    The shuffled split is there to show the leak: only the first network and the baseline are trained for it.

    Returns
    -------
    The clips of all splits with split, fold, prob_ and limit_ of each; weights of the ensembles, split -> fold -> network.
    """
    data, rows, label = checked.data, checked.rows, checked.data.profile.labels[0]
    settings, parts, weights = fit_settings(experiment), [], {}
    x = pd.DataFrame(features(data, rows, data.profile), index=rows.index)
    for split, table in folds.items():
        networks = dict(list(asked.networks.items())[:1]) if split == BY_ROW else asked.networks
        train_networks = cook_inlet.trainer(data, networks, settings, folder / "checkpoints" / split.split()[0], progress)

        def answer(train, validation, test, name):
            baseline = Baseline((label,), experiment.seed).fit(x.loc[train.index].to_numpy(), train["target"].to_numpy()[:, None])
            return train_networks(train, validation, test, name) | {BASELINE: tuple(baseline.predict(x.loc[part.index].to_numpy())[:, 0].astype(float) for part in (validation, test))}

        judged, own = held_out(rows, table, answer, experiment.target_precision, ("recording", EVENT), data.profile.window_s, allow=split == BY_ROW)
        parts.append(judged.assign(split=split))
        weights[split] = {str(fold): w for fold, w in own.to_dict("index").items()}
    predictions = pd.concat(parts, ignore_index=True)
    figures = [column for column in predictions if column.startswith(("prob_", "limit_"))]
    return predictions[[*KEPT, *figures]].astype(dict.fromkeys(figures, np.float32)), weights


def fit_settings(experiment: Experiment) -> FitSettings:
    return FitSettings(position_weight=0.0, patience=experiment.patience, seed=experiment.seed)


def final_ensemble(checked: Checked, experiment: Experiment, asked: Detections, folder: Path, progress: bool = False) -> SavedEnsemble:
    """The networks trained once more, on all clips but a fifth of the recordings, which give calibration, weights and limits."""
    data, rows = checked.data, checked.rows
    validating = grouped_folds(rows, ["recording", EVENT], 5, "class", experiment.seed)["fold_0"] == "validation"
    train, validation = rows[~validating], rows[validating]
    here = folder / "checkpoints" / "final"
    nets = cook_inlet.trained(data, train, validation, asked.networks, fit_settings(experiment), here, progress)
    raw, truth = np.column_stack([cook_inlet.probabilities(net, data, validation) for net in nets.values()]), validation["target"].to_numpy(float)
    maps = platt_maps(raw, truth)
    seen = np.column_stack([sigmoid(slope * logit(prob) + intercept) for prob, (slope, intercept) in zip(raw.T, maps)])
    weights = convex_weights(seen, truth)
    limits = {name: best_threshold(prob, truth, experiment.target_precision) for name, prob in zip([*nets, ENSEMBLE], [*seen.T, ensemble(seen, weights)])}
    models = cook_inlet.as_models(nets, data.profile, limits, dict(zip(nets, maps)))
    return SavedEnsemble(models, dict(zip(nets, weights.tolist())), limits)


def new_deployment(experiment: Experiment, asked: Detections, data_dir: Path) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """Recordings of the deployment to score, and its truth where it is simulated; (None, None) where none is asked for."""
    if asked.new is None:
        return None, None
    if not asked.simulated:
        return list_recordings(place_of(asked.new), asked.clock), None
    seed = experiment.seed + 100
    return simulated(asked, sound_folder(asked, data_dir, (asked.new,), asked.recordings_new, seed), (asked.new,), asked.recordings_new, seed)


def score_real(experiment: Experiment, profile: Profile, made: SavedEnsemble, path: Path) -> tuple[pd.DataFrame | None, list[str]]:
    """Windows of the real clips that the experiment names (`clips`, `names`), scored; None and a line that says why where they are not there."""
    if not experiment.clips:
        return None, ["No real sound is named in the experiment (clips); nothing to score."]
    try:
        clips = clip_table(experiment, profile)
    except BadExperiment as error:
        return None, [f"Real sound is left out: {error}"]
    scored = score_deployment(clips.assign(site=clips["group"]), made.models, made.weights, path, made.limit)
    table = pd.read_parquet(path).drop(columns=["site", "serial", "start_utc"]).merge(clips[["recording", "set", "group", "raw", "name"]], on="recording", validate="many_to_one")
    table.to_parquet(path, index=False)
    return table, [note for note in scored.notes if "no start time" not in note]


def settings_of(checked: Checked, asked: Detections, made: SavedEnsemble, weights: dict, leaks: dict) -> dict:
    """What was chosen or counted, for metrics.json."""
    clips = checked.rows.groupby(["mooring", "class"]).size().unstack(fill_value=0)
    return {"detections": asdict(asked), "clips": clips.to_dict("index"), "recordings": int(checked.recordings["recording"].nunique()),
            "hours": round(float(checked.recordings["duration_s"].sum()) / 3600, 3), "detector": checked.detector, "limits": made.limits, "weights": made.weights,
            "weights_by_fold": weights, "leaks": leaks}


def save_new(scored: Scored, truth: pd.DataFrame | None, folder: Path) -> None:
    """daily.csv, and the truth of a simulated deployment, beside scores.parquet."""
    scored.daily.to_csv(folder / "daily.csv", index=False)
    if truth is not None:
        truth[["recording", "label", "start_s", "end_s", "audible"]].to_parquet(folder / "truth.parquet", index=False)


def write_metrics(metrics: dict, folder: Path) -> None:
    """metrics.json; the last step, after which nothing needs the checkpoints of the networks that are kept."""
    from training.evaluate import json_ready

    (folder / "metrics.json").write_text(json.dumps(json_ready(metrics), indent=1, allow_nan=False), encoding="utf-8")
    shutil.rmtree(folder / "checkpoints" / "final", ignore_errors=True)  # what is kept is saved as models
