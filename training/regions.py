"""Learn to name regions of interest: fits the region head (`ROI.head`) of a trained network on the pictures that the network was trained on.

    python -m training.regions results/NAME DATA_SET_FOLDER            # fits it and puts it into the saved model

Training: the region detector runs over the training pictures, each region is described (`ROI.describe`) and compared with the truth; a network with one hidden layer learns its labels. Each recording is
also seen as a recorder of a lower rate would have it, with what such a recorder cannot show masked. The validation recordings choose when to stop, the calibration (Platt) and each label's
threshold: the one with the best F1, or, where that would name more regions than MOST_FALSE an hour in sound in which no animal calls (recorded noise and simulated, each by itself; one is allowed where the sound is short), the lowest that does not.
"""
from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from preprocessing.dataset import DataSet
from ROI.band import RIDGE, RoiBand
from ROI.crest import NAME as CREST
from ROI.describe import describe, feature_names, logit_of, whole_scene
from ROI.detector import RoiDetector
from ROI.head import RegionHead
from spectrogram.generator import COARSE_FRAMES, coarse_mean, coarse_peak
from spectrogram.profile import Profile
from spectrogram.windows import TraceJoiner, WindowCutter
from training.augment import VESSEL
from training.metrics import average_precision, mean_known
from training.saved import SavedModel, load_model, save_regions
from training.thresholds import best_threshold, platt

HIDDEN, EPOCHS, BATCH, RATE, DECAY, PATIENCE, DROPOUT = 256, 60, 256, 1e-3, 1e-2, 10, 0.4
MOST_FALSE = 4.0            # regions of a label an hour in which nobody calls
LOWER_NYQUIST_HZ = (24_000.0, 48_000.0)
TIME_SHARE, BAND_SHARE, TONAL_SHARE, TOUCH = 0.5, 0.3, 0.6, 0.15
OFFSET_DB = 60.0            # pictures of contrast have their background at 0 dB; the detector takes what is far below it for no data
FAR_SHARE, FAR_MARGIN = 0.999, 1.25
NOISE_WEIGHT = 5.0          # of a region of recorded noise in training: there are few, and none is like another


@dataclass
class RegionRows:
    """Regions of some recordings: described (n, features), target (n, labels) 0, 1 or NaN, and of each the recording, and whether that is recorded noise."""

    described: np.ndarray
    target: np.ndarray
    recording: np.ndarray
    noise: np.ndarray

    def then(self, other: "RegionRows") -> "RegionRows":
        return RegionRows(*(np.concatenate([mine, theirs]) for mine, theirs in zip(vars(self).values(), vars(other).values())))


def call_labels(profile: Profile) -> tuple[str, ...]:
    """Labels that regions are named by: all but the vessel's."""
    return tuple(label for label in profile.labels if label != VESSEL)


@dataclass
class Heard:
    """What the pipeline has of a recording before its regions are named: boxes (n,) BOX; trace (times, labels) of probabilities at `trace_rate_hz`; mean and peak power
    (cells, bands) of the coarse picture at `cell_rate_hz`."""

    boxes: np.ndarray
    trace: np.ndarray
    trace_rate_hz: float
    mean: np.ndarray
    peak: np.ndarray
    cell_rate_hz: float


def heard(model: SavedModel, picture_db: np.ndarray, nyquist_hz: float) -> Heard:
    """A recording's regions and the network's answers.

    Parameters
    ----------
    picture_db : (frames, columns) as a data set stores it: bands, then the crest's blocks; NaN where masked.
    """
    profile = model.profile
    seen = np.concatenate([profile.visible_bands(nyquist_hz), np.ones(picture_db.shape[1] - profile.n_bands, bool)])
    picture_db = np.where(seen, picture_db, np.float32(np.nan))
    offset = OFFSET_DB if profile.normalisation["kind"] in ("background", "pcen") else 0.0
    power = np.power(np.float32(10), (picture_db + np.float32(offset)) / np.float32(10))
    crest = power[:, profile.n_bands:]
    power = np.ascontiguousarray(power[:, :profile.n_bands])
    blocks = crest.shape[1] if crest.size and np.isfinite(crest[0, 0]) else 0
    detector = RoiDetector(profile, nyquist_hz, crest_blocks=blocks)
    boxes = detector.push_records(power, crest)
    boxes = np.concatenate([boxes, detector.finish_records()])
    positions = model.predict(WindowCutter(profile).push(picture_db, final=True), overlapping=True)[1]
    trace = TraceJoiner(profile).push(positions, final=True)
    return Heard(boxes, trace, positions.shape[2] / profile.window_s, coarse_mean(power), coarse_peak(power), profile.frame_rate_hz / COARSE_FRAMES)


def regions_of(model: SavedModel, picture_db: np.ndarray, nyquist_hz: float):
    """BOX records of a recording's regions and their description (n, features), as the pipeline has them; see `heard`."""
    sound = heard(model, picture_db, nyquist_hz)
    scene = whole_scene(sound.mean, sound.peak, sound.cell_rate_hz, logit_of(sound.trace), sound.trace_rate_hz)
    return sound.boxes, describe(sound.boxes, sound.boxes, scene, model.profile)


def region_targets(boxes: np.ndarray, calls: pd.DataFrame, profile: Profile, nyquist_hz: float, unknown: tuple = ()) -> np.ndarray:
    """(regions, labels): 1 where an audible call of the label is what the region shows, NaN where one only touches it, is too faint, or nobody knows; else 0.

    A call is what a region shows if they share half of the shorter in time, and BAND_SHARE of the bands of both together, as far as the region's ROI band shows the call (for click trains: of the shorter; for whistles: of the region's, for each harmonic may be a region of its own).
    """
    labels, corners = call_labels(profile), np.concatenate([profile.band_low_hz, profile.band_high_hz[-1:]])

    def scale(hz):
        return np.interp(hz, corners, np.arange(len(corners), dtype=float))

    target = np.zeros((len(boxes), len(labels)), np.float32)
    limits = {band["name"]: (band["low_hz"], band["high_hz"]) for band in profile.roi_bands}
    for knobs in profile.roi_bands:
        if knobs.get("ridge_bands"):
            limits[RIDGE] = limits[knobs["name"]]
    low, high = scale(boxes["low_hz"]), scale(boxes["high_hz"])
    search = np.array([limits.get(str(name), (0.0, np.inf)) for name in boxes["band"]]).reshape(-1, 2)
    is_train, tonal = boxes["band"] == CREST, profile.heads.get("whistle", ())
    for k, label in enumerate(labels):
        if not profile.observable(label, nyquist_hz) or label in unknown:
            target[:, k] = np.nan
        band = profile.label_band_hz[label]
        for call in calls[calls["label"] == label].itertuples():
            call_low, call_high = (b if not np.isfinite(hz) else hz for b, hz in zip(band, (getattr(call, "low_hz", np.nan), getattr(call, "high_hz", np.nan))))
            a, z = scale(np.maximum(call_low, search[:, 0])), scale(np.minimum(np.minimum(call_high, nyquist_hz), search[:, 1]))
            shared_s = np.minimum(boxes["end_s"], call.end_s) - np.maximum(boxes["start_s"], call.start_s)
            in_time = shared_s / np.minimum(boxes["end_s"] - boxes["start_s"], max(call.end_s - call.start_s, 1e-3))
            shared = np.minimum(high, z) - np.maximum(low, a)
            of_both = np.where(is_train, np.minimum(high - low, z - a), np.maximum(high, z) - np.minimum(low, a))
            of_both = high - low if label in tonal else of_both  # its harmonics are regions of their own
            in_band = shared / np.maximum(of_both, 1.0)
            shows = (in_time >= TIME_SHARE) & (in_band >= (TONAL_SHARE if label in tonal else BAND_SHARE))
            touches = (in_time >= TOUCH) & (shared > 0) & (in_band >= TOUCH)
            column = target[:, k]
            if bool(call.audible) and profile.observable(label, nyquist_hz):
                column[shows] = 1.0
            column[(shows | touches) & (column == 0)] = np.nan
    return target


def region_rows(model: SavedModel, data: DataSet, rows: pd.DataFrame, lower_rates: bool = False, seed: int = 0) -> RegionRows:
    """Regions of the recordings of these manifest rows; with `lower_rates` each recording once more as one at a lower rate."""
    profile, rng, parts = model.profile, np.random.default_rng(seed), []
    calls = dict(tuple(data.calls.groupby("recording")))
    for row in rows.drop_duplicates("recording").itertuples():
        mine, picture = calls.get(row.recording, data.calls.iloc[:0]), np.array(data.picture(row.picture))
        unknown = getattr(row, "unknown", None)
        unknown = tuple(unknown.split("+")) if isinstance(unknown, str) else ()
        nyquist_hz = row.sample_rate_hz / 2
        lower = [hz for hz in LOWER_NYQUIST_HZ if hz < nyquist_hz]
        for limit in [nyquist_hz] + ([float(rng.choice(lower))] if lower_rates and lower else []):
            if limit < nyquist_hz:
                picture = picture.copy()
                picture[:, profile.n_bands:] = np.nan if limit < CREST_NYQUIST_HZ else picture[:, profile.n_bands:]
            boxes, described = regions_of(model, picture, limit)
            parts.append(RegionRows(described, region_targets(boxes, mine, profile, limit, unknown), np.full(len(boxes), row.recording, object),
                                    np.full(len(boxes), getattr(row, "kind", "") == "noise")))
    empty = RegionRows(np.zeros((0, len(feature_names(profile))), np.float32), np.zeros((0, len(call_labels(profile))), np.float32), np.zeros(0, object), np.zeros(0, bool))
    for part in parts:
        empty = empty.then(part)
    return empty


CREST_NYQUIST_HZ = 45_000.0  # below, a recorder has no crest


def fit_regions(model: SavedModel, data: DataSet, train: pd.DataFrame | None = None, validation: pd.DataFrame | None = None, most_false: float = MOST_FALSE, seed: int = 0) -> RegionHead:
    """The region head of a model whose network is trained and calibrated.

    Parameters
    ----------
    data : a data set of the model's front end. train, validation : rows of its manifest; those of its splits unless given.
    most_false : regions of a label an hour that may be named where nobody calls.

    Raises
    ------
    ValueError
        where the training recordings hold no region.
    """
    train = data.rows(split="train") if train is None else train
    validation = data.rows(split="validation") if validation is None else validation
    known, chosen_on = region_rows(model, data, train, lower_rates=True, seed=seed), region_rows(model, data, validation)
    if not len(known.described):
        raise ValueError("no region of interest in the training recordings; check the profile's roi_bands")
    labels = call_labels(model.profile)
    arrays = _fit(known, chosen_on, seed)
    head = RegionHead(labels, feature_names(model.profile), {}, np.inf, arrays, {})
    logits = _logit(head.predict(chosen_on.described)[0]) if len(chosen_on.described) else np.zeros((0, len(labels)))
    fitted = [platt(logits[:, k], chosen_on.target[:, k]) for k in range(len(labels))]
    arrays["slope"], arrays["intercept"] = (np.array(values, np.float32) for values in zip(*fitted))
    head = RegionHead(labels, head.features, {}, np.inf, arrays, {})
    prob = head.predict(chosen_on.described)[0]
    thresholds, told = _thresholds(prob, chosen_on, validation, labels, most_false)
    distance = head.predict(known.described)[1]
    summary = {"regions": {"train": len(known.described), "validation": len(chosen_on.described)}, "most_false_per_hour": most_false, "validation": told}
    return RegionHead(labels, head.features, thresholds, float(np.quantile(distance, FAR_SHARE) * FAR_MARGIN), arrays, summary)


def _logit(p: np.ndarray) -> np.ndarray:
    p = np.clip(p.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))


def _fit(known: RegionRows, chosen_on: RegionRows, seed: int) -> dict:
    """Weights of the best epoch by average precision on validation."""
    generator = torch.Generator().manual_seed(seed)
    mean, scale = known.described.mean(axis=0), np.maximum(known.described.std(axis=0), 1e-2)
    x, y = (torch.from_numpy(np.clip((known.described - mean) / scale, -4, 4))), torch.from_numpy(known.target)
    there = torch.isfinite(y)
    y = torch.where(there, y, torch.zeros(()))
    counts = there * torch.from_numpy(np.where(known.noise, NOISE_WEIGHT, 1.0).astype(np.float32))[:, None]
    n, n_labels = len(x), y.shape[1]
    w = [torch.randn(x.shape[1], HIDDEN, generator=generator) * (1 / x.shape[1]) ** 0.5, torch.zeros(HIDDEN), torch.randn(HIDDEN, n_labels, generator=generator) * (1 / HIDDEN) ** 0.5, torch.full((n_labels,), -2.0)]
    w = [part.requires_grad_() for part in w]
    optimiser = torch.optim.AdamW(w, lr=RATE, weight_decay=DECAY)
    best, weights, waited = -1.0, [part.detach().clone() for part in w], 0
    plain = {"mean": mean, "scale": scale, "slope": np.ones(n_labels, np.float32), "intercept": np.zeros(n_labels, np.float32)}
    for _ in range(EPOCHS):
        order = torch.randperm(n, generator=generator)
        for k in range(0, n, BATCH):
            rows = order[k:k + BATCH]
            kept = (torch.rand(len(rows), HIDDEN, generator=generator) > DROPOUT) / (1 - DROPOUT)
            noise = 0.05 * torch.randn(len(rows), x.shape[1], generator=generator)
            logit = (torch.relu((x[rows] + noise) @ w[0] + w[1]) * kept) @ w[2] + w[3]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, y[rows], reduction="none")
            loss = (loss * counts[rows]).sum() / counts[rows].sum().clamp(min=1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        arrays = plain | _arrays(w)
        prob = RegionHead((), [], {}, np.inf, arrays, {}).predict(chosen_on.described)[0]
        value = mean_known([average_precision(chosen_on.target[:, k], prob[:, k]) for k in range(n_labels)])
        if value > best or not np.isfinite(value):
            best, weights, waited = value, [part.detach().clone() for part in w], 0
        else:
            waited += 1
            if waited >= PATIENCE:
                break
    return plain | _arrays(weights)


def _arrays(w: list) -> dict:
    return {name: part.detach().numpy().copy() for name, part in zip(("weight_1", "bias_1", "weight_2", "bias_2"), w)}


def _thresholds(prob: np.ndarray, found: RegionRows, rows: pd.DataFrame, labels: tuple, most_false: float) -> tuple[dict, dict]:
    """Thresholds, and what they do on validation: {label: {precision, recall, false_per_hour {pool: per hour}}}."""
    recordings = rows.drop_duplicates("recording").set_index("recording")
    hours = {name: float(s) / 3600 for name, s in recordings["duration_s"].items()} if "duration_s" in recordings else {}
    kinds = recordings["kind"] if "kind" in recordings else pd.Series("", recordings.index)
    animals = recordings["animal"].fillna(0).astype(bool) if "animal" in recordings else pd.Series(False, recordings.index)
    pools = {kind: [name for name in recordings.index if kinds[name] == kind and not animals[name]] for kind in ("noise", "empty")}
    pools = {kind: names for kind, names in pools.items() if sum(hours.get(name, 0) for name in names) > 0}
    thresholds, told = {}, {}
    for k, label in enumerate(labels):
        target = found.target[:, k]
        limit = best_threshold(prob[:, k], target)
        quiet = {}
        for kind, names in pools.items():
            mine = np.isin(found.recording, names) & (target == 0)
            allowed = max(1, int(most_false * sum(hours[name] for name in names)))
            ordered = np.sort(prob[mine, k])[::-1]
            quiet[kind] = (mine, sum(hours[name] for name in names))
            if len(ordered) > allowed:
                limit = max(limit, float(np.nextafter(ordered[allowed], np.float32(1))))
        thresholds[label] = min(limit, 0.999)
        named, known = prob[:, k] >= thresholds[label], np.isfinite(target)
        hits = float((named & (target == 1)).sum())
        told[label] = {"precision": hits / max(float((named & known).sum()), 1.0), "recall": hits / max(float((target == 1).sum()), 1.0),
                       "false_per_hour": {kind: float((named & mine).sum()) / length for kind, (mine, length) in quiet.items()}}
    return thresholds, told


def main(words: list[str] | None = None) -> int:
    """Fit the region head of a saved model and put it there."""
    parser = argparse.ArgumentParser(prog="python -m training.regions", description="Fit the region head of a saved model and put it into its folder.")
    parser.add_argument("model", help="folder of the model, or an experiment's name")
    parser.add_argument("data", help="folder of a data set made with the model's front end")
    parser.add_argument("--most-false", type=float, default=MOST_FALSE, help="regions of a label an hour that may be named where nobody calls")
    parser.add_argument("--roi-bands", metavar="PROFILE", help="take the ROI bands of this profile in place of the model's own")
    options = parser.parse_args(words)
    from dataclasses import replace

    from spectrogram.profile import load_profile

    model, data = load_model(options.model), DataSet(options.data)
    if options.roi_bands:
        model = replace(model, profile=replace(model.profile, roi_bands=load_profile(options.roi_bands).roi_bands))
    [RoiBand.from_dict(band) for band in model.profile.roi_bands]
    head = fit_regions(model, data, most_false=options.most_false)
    print(save_regions(options.model, head, model.profile.roi_bands))
    print(pd.DataFrame(head.summary["validation"]).T.to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main())
