"""The steps of an experiment on humpbacks, as the cells of `experiments/humpback.ipynb` call them.

`variants` are trainings that differ in `denoise` (nothing, gate, unet), backbone and whatever else; all see the same windows of the same recordings, in the same folds, and each hears
them denoised its own way, in training and in test. Folds hold whole groups (recordings, or sources of clips). Thresholds and calibration of a fold come from the other folds.
"""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.dataset import DataSet
from preprocessing.humpbacks import CALLS, humpback_call, sea_noise
from preprocessing.mixtures import measured
from preprocessing.splits import fold_numbers
from spectrogram.profile import Profile
from training.baseline import Baseline, features
from training.clip_experiment import variants_of
from training.clip_folds import calibrated_table, calibration_of, folds_of, raw_logits, train_members, with_thresholds
from training.clip_verdict import choose_limits
from training.evaluate import columns, json_ready
from training.humpback_data import resampled, settings_of
from training.leaks import check_leaks, refuse_leaks
from training.saved import SavedModel, save_model
from training.spec import Experiment

RAW = "raw"
MIXTURE_HZ = 5000  # rate that recorded calls are brought to for known mixtures, the lowest of the clips'


def folds(data: DataSet, spec: Experiment, same: pd.DataFrame | None = None) -> pd.Series:
    """(manifest rows,) fold of each window; groups whole, labels spread. `same`: pairs of recordings that share sound; on two sides they are refused as any leak is."""
    table, labels = data.manifest, data.profile.labels
    if spec.clips:
        clips = table.drop_duplicates("recording")
        return table["recording"].map(folds_of(clips, spec.split, spec.seed, same))
    fold = fold_numbers(table, "group", spec.split.folds, [f"target_{label}" for label in labels], spec.seed, complete=False)
    refuse_leaks(check_leaks(table.assign(name=""), fold, "group", same, data.profile.window_s))
    return fold


def portion_windows(data: DataSet, portions: list[float]) -> pd.DataFrame:
    """Test windows that hold a portion of one call, at their beginning or their end, and nothing of another: manifest rows with `portion`."""
    profile, rows = data.profile, []
    frame_rate, about = profile.frame_rate_hz, data.manifest.drop_duplicates("recording").set_index("recording")
    calls = data.calls[data.calls["audible"]]
    for name, mine in calls.groupby("recording"):
        n_frames = len(data.picture(about.loc[name, "picture"]))
        for call in mine.itertuples():
            others = mine.drop(index=call.Index)
            for portion in portions:
                held_s = portion * (call.end_s - call.start_s)
                for start_s in (call.start_s + held_s - profile.window_s, call.end_s - held_s):
                    first = round(start_s * frame_rate)
                    start_s, end_s = first / frame_rate, first / frame_rate + profile.window_s
                    if first < 0 or first + profile.window_frames > n_frames or ((others["start_s"] < end_s) & (others["end_s"] > start_s)).any():
                        continue
                    rows.append(about.loc[name].to_dict() | {"recording": name, "start_frame": first, "start_s": start_s, "portion": portion, "at": "end" if end_s < call.end_s else "start"}
                                | {f"target_{label}": np.float32(label == call.label) for label in profile.labels})
    return pd.DataFrame(rows)


def judge(data: dict[str, DataSet], spec: Experiment, folder: Path, progress: bool = False, same: pd.DataFrame | None = None) -> tuple[pd.DataFrame, dict]:
    """Every variant's windows with probabilities and limits (`variant`, `way`, `backbone`), and what the model that is kept, the first variant's, needs. `same`: as for `folds`."""
    from tqdm.auto import tqdm

    told, _ = settings_of(spec)
    profile, labels = spec.front_end(), spec.front_end().labels
    table = data[RAW].manifest.reset_index(drop=True)
    table["fold"], table["portion"] = folds(data[RAW], spec, same).to_numpy(), np.nan
    if not spec.clips:
        table = pd.concat([table, portion_windows(data[RAW], told["portions"])], ignore_index=True)
        table["fold"] = table["recording"].map(table.dropna(subset="fold").drop_duplicates("recording").set_index("recording")["fold"])
    cheap = {way: _baseline(data[way], table, profile, spec.seed) for way in {v.denoise or RAW for v in variants_of(spec).values()}}
    parts, kept = [], {}
    for name, variant in tqdm(variants_of(spec).items(), desc="variants", disable=not progress):
        way, here = variant.denoise or RAW, folder / "checkpoints" / "".join(c if c.isalnum() else "_" for c in name)
        judged, whole = table.copy(), table["portion"].isna()
        for fold in sorted(table["fold"].unique()):
            test = (table["fold"] == fold).to_numpy()
            net = train_members(data[way], table[~test & whole], profile, variant, here / f"fold_{fold:g}")
            judged.loc[test, [f"logit_{x}" for x in labels]] = raw_logits(net, profile, data[way], table[test])[0]
        judged[[f"baseline_{x}" for x in labels]] = cheap[way]
        judged, calibration = limited(judged, spec, labels)
        kept = kept or {"variant": name, "experiment": variant, "way": way, "calibration": calibration, "table": judged, "folder": here}
        parts.append(judged.assign(variant=name, way=way, backbone=variant.backbone))
    return pd.concat(parts, ignore_index=True), kept


def limited(table: pd.DataFrame, spec: Experiment, labels: tuple) -> tuple[pd.DataFrame, dict]:
    """Calibrated probabilities and the limits of the other folds; of portions those that the whole windows of their fold have. A window of a recording is a unit of its own."""
    if not spec.clips:
        table = table.assign(recording=[f"{name}@{start_s:.3f}{'' if np.isnan(portion) else f' {portion:g}'}" for name, start_s, portion in zip(table["recording"], table["start_s"], table["portion"])])
    whole, portions = table[table["portion"].isna()], table[table["portion"].notna()]
    position, target = columns(whole, "logit", labels)[:, :, None], columns(whole, "target", labels)[:, :, None]
    calibration, _ = calibration_of(whole, position, target, labels, spec.target_precision)
    whole = with_thresholds(whole, calibration, labels, spec.pool, spec.target_precision)
    portions = calibrated_table(portions, calibration, labels).drop(columns=[f"logit_{x}" for x in labels])
    limits = whole.drop_duplicates("fold").set_index("fold")[[c for c in whole if c.startswith(("limit_", "baseline_limit_"))]]
    return pd.concat([whole, portions.join(limits, on="fold")], ignore_index=True), calibration


def _baseline(data: DataSet, table: pd.DataFrame, profile: Profile, seed: int) -> np.ndarray:
    """(rows, labels) probabilities of the cheap baseline, trained on the other folds' whole windows."""
    x, labels, whole = features(data, table, profile), profile.labels, table["portion"].isna().to_numpy()
    out = np.zeros((len(table), len(labels)), np.float32)
    for fold in table["fold"].unique():
        test = (table["fold"] == fold).to_numpy()
        out[test] = Baseline(labels, seed).fit(x[~test & whole], columns(table[~test & whole], "target", labels)).predict(x[test])
    return out


def known_mixtures(spec: Experiment, recordings: pd.DataFrame, ways: dict) -> pd.DataFrame:
    """`preprocessing.mixtures.measured` of every way to denoise: simulated calls in simulated noise, or recorded calls in recorded noise, of which the denoiser knows neither."""
    told, how = settings_of(spec)
    rng, n = np.random.default_rng(spec.seed + 77), told["mixtures"]
    if not spec.clips:
        rate_hz = told["rate_hz"]
        drawn = [(label, *humpback_call(label, rng, rate_hz)) for label in list(CALLS) * (n // len(CALLS) + 1)][:n]
        calls, noises = [x[1] for x in drawn], [sea_noise(8.0, rng, rate_hz, ship=k % 2 == 1) for k in range(max(2, n // 2))]
        about = pd.DataFrame({"label": [x[0] for x in drawn], "low_hz": [0.9 * x[2] for x in drawn], "high_hz": [min(1.1 * x[3], 0.49 * rate_hz) for x in drawn]})
    else:
        rate_hz, first = MIXTURE_HZ, spec.front_end().labels[0]
        table = recordings[recordings["sample_rate_hz"] >= rate_hz]
        own = table[table["name"] == first].groupby("group", group_keys=False).head(-(-n // table.loc[table["name"] == first, "group"].nunique()))[:n]
        quiet = table[(table["name"] == "") & (table["duration_s"] >= 4.5)]
        calls, noises = [loudest(resampled(path, rate_hz, 20.0), rate_hz) for path in own["path"]], [resampled(path, rate_hz, 8.0) for path in quiet["path"]]
        about = pd.DataFrame({"label": first, "group": own["group"].to_numpy()})
    return measured(calls, [x for x in noises if np.all(np.abs(x).max() > 0)], rate_hz, {name: way for name, way in ways.items() if way is not None}, told["snrs_db"], about, spec.seed)


def loudest(samples: np.ndarray, rate_hz: int, seconds: float = 2.0) -> np.ndarray:
    """The loudest stretch of a clip: its call."""
    n = min(len(samples), round(seconds * rate_hz))
    energy = np.concatenate([[0.0], np.cumsum(samples.astype(float) ** 2)])
    first = int(np.argmax(energy[n:] - energy[:-n]))
    return samples[first:first + n]


def train_kept(data: DataSet, profile: Profile, kept: dict) -> tuple:
    """Network and model of the first variant, from all windows; calibration and thresholds are those of the windows judged out of fold."""
    spec, labels = kept["experiment"], profile.labels
    net = train_members(data, data.manifest, profile, spec, kept["folder"] / "all")
    whole = kept["table"][kept["table"]["portion"].isna()]
    limits = choose_limits(whole, labels, spec.pool, "prob", spec.target_precision)
    thresholds = {x: {"window": limits[x], "on": limits[x], "off": 0.6 * limits[x]} for x in labels}
    return net, SavedModel(net, profile, thresholds, kept["calibration"], spec.name, {})


def tidy(predictions: pd.DataFrame, labels: tuple) -> pd.DataFrame:
    """The columns that metrics and analysis need, small types."""
    kept = [c for c in ("variant", "way", "backbone", "recording", "set", "group", "raw", "fold", "start_s", "portion", "at") if c in predictions]
    table = predictions[kept + [f"{what}_{x}" for x in labels for what in ("target", "prob", "limit", "baseline", "baseline_limit")]].copy()
    for column in table:
        if table[column].dtype == np.float64:
            table[column] = table[column].astype(np.float32)
    return table


def save(folder: Path, net, model: SavedModel, kept: dict, spec: Experiment, predictions: pd.DataFrame, mixtures: pd.DataFrame, refinement: pd.DataFrame | None, metrics: dict,
         summary: dict) -> str:
    """Write model, tables, metrics and cards; return the model id."""
    from training.humpback_cards import data_card, model_card

    denoise = {"gate": "gate", "unet": folder / "denoiser"}.get(kept["way"])
    model_id = save_model(folder, net, model.profile, model.thresholds, model.calibration, summary | {"experiment": spec.digest()}, denoise)
    predictions.to_parquet(folder / "predictions.parquet", index=False)
    mixtures.to_parquet(folder / "mixtures.parquet", index=False)
    if refinement is not None:
        refinement.to_parquet(folder / "refinement.parquet", index=False)
    (folder / "metrics.json").write_text(json.dumps(json_ready(metrics), indent=1, allow_nan=False), encoding="utf-8")
    (folder / "model_card.md").write_text(model_card(model_id, model, net, kept, spec, metrics), encoding="utf-8")
    (folder / "data_card.md").write_text(data_card(spec, metrics, summary), encoding="utf-8")
    return model_id
