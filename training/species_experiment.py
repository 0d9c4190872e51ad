"""Make the model behind `species_score`: `python -m training.species_experiment beluga_species`.

Learns from the shared real clips (`preprocessing.sea_clips`, the training sites alone, animals by
source) and from simulated belugas and empty seas, half of them over real noise of the training
sites. Belugas are weak positives: every window of such a clip counts as one. Judged with each
source out in turn; the two sources of belugas are never both left out. Beside it, on the same folds
and with the same scale: logistic regression on mel statistics. The row-wise figure is the leak it
is.

What lies in `results/NAME/`: species.safetensors, species.json, parameters.yaml,
species_metrics.json, predictions.parquet (a row per clip, from which `metrics_of` gives the metrics
again), model_card.md.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from tqdm.auto import tqdm

from preprocessing.sea_clips import sea_clips
from spectrogram.generator import SpectrogramGenerator
from spectrogram.profile import load_profile
from spectrogram.recording import Recording
from training.evaluate import json_ready
from training.metrics import bootstrap, roc_auc
from training.spec import BadExperiment, check_keys
from training.species_card import species_card
from training.species_score import (
    CLIPPED,
    PASS,
    ROOT,
    SpeciesScorer,
    background_of,
    cut,
    describe,
    front_end_of,
)

EXPERIMENTS = ROOT / "training" / "experiments" / "species"
STEEPNESS = 3.0  # logit between the median of other animals' clips and the point where they pass
WHITENING = 0.1  # added to each descriptor's variance, in units of it
DISTANCE_SHARE = 0.99  # of validation windows that lie within the domain
PERCENTILES = (10, 50, 90)
SIMULATED = ["share", "recordings", "seconds", "empty", "sample_rate_hz", "seed"]
METHODS = {  # column of the predictions -> what it is
    "score": "species_score",
    "baseline": "logistic regression on mel statistics",
    "leak": "species_score, folds of clips at random (a leak)",
}


@dataclass(frozen=True)
class SpeciesExperiment:
    """What the YAML says; see `training/experiments/species/beluga_species.yaml`."""

    name: str
    rates_hz: list[int]
    simulated: dict
    question: str = ""
    profile: str = "beluga"
    most_windows: int = 40
    shrinkage: float = 3.0
    pass_share: float = 0.1
    folds: int = 5
    seed: int = 0


def read_species_experiment(path: Path) -> SpeciesExperiment:
    """The description in a YAML.

    Raises
    ------
    BadExperiment
        for a file that is not there, and for a key that nobody knows.
    """
    if not path.exists():
        there = ", ".join(sorted(p.stem for p in EXPERIMENTS.glob("*.yaml")))
        raise BadExperiment(f"{path}: no such description; there are {there}")
    said = yaml.safe_load(path.read_text(encoding="utf-8"))
    check_keys(said, [f.name for f in fields(SpeciesExperiment)], str(path))
    check_keys(said["simulated"], SIMULATED, f"{path}, simulated")
    return SpeciesExperiment(**said)


class Windows:
    """Windows of sound: `above` (n, frames, bands) dB above the background, `plain` the same in dB,
    `clip` (n,) row of the table of clips, -1 for simulated ones, `target` (n,) 1 for a beluga."""

    def __init__(self, size: int):
        self.size, self.above, self.plain, self.clip, self.target = size, [], [], [], []

    def add(self, picture_db: np.ndarray, starts, rate_hz: float, clip: int, target: int) -> None:
        for start in starts:
            last = min(start + self.size, len(picture_db))
            window = cut(picture_db, [start], self.size)[0]
            self.above.append(window - background_of(picture_db, start, last, rate_hz))
            self.plain.append(window)
            self.clip.append(clip)
            self.target.append(target)

    def ready(self) -> Windows:
        self.above, self.plain = np.stack(self.above), np.stack(self.plain)
        self.clip, self.target = np.array(self.clip), np.array(self.target)
        return self


def gather(spec: SpeciesExperiment, clips: pd.DataFrame) -> Windows:
    """Windows of all clips and of the simulated sound."""
    profile = load_profile(spec.profile)
    bands = int(profile.visible_bands(max(spec.rates_hz) / 2).sum())
    size, step, rate_hz = profile.window_frames, profile.step_frames, profile.frame_rate_hz
    generator, windows = SpectrogramGenerator(profile), Windows(size)
    for k, row in enumerate(tqdm(list(clips.itertuples()), desc="clips", unit="clip")):
        picture = generator.picture(Recording(row.path))[:, :bands]
        starts = np.arange(0, max(len(picture) - size + step // 2, 0) + 1, step)
        starts = starts[:: -(-len(starts) // spec.most_windows)]
        windows.add(picture, starts, rate_hz, k, int(row.kind == "beluga"))
    noise = clips[(clips["part"] == "train") & (clips["kind"] == "noise")]
    noise = noise[noise["sample_rate_hz"] >= 30000]
    made = simulated(spec, generator, noise["path"].tolist())
    for picture, truth in tqdm(made, desc="simulated", unit="recording"):
        picture = picture[:, :bands]
        if truth is None:
            windows.add(picture, range(0, len(picture) - size, size), rate_hz, -1, 0)
            continue
        low = truth["label"].isin(["Whistle", "BBPC"]) & truth["audible"].astype(bool)
        for call in truth[low].itertuples():
            middle = round((call.start_s + call.end_s) / 2 * rate_hz) - size // 2
            windows.add(picture, [int(np.clip(middle, 0, len(picture) - size))], rate_hz, -1, 1)
    return windows.ready()


def simulated(spec: SpeciesExperiment, generator: SpectrogramGenerator, noise: list[str]):
    """(picture, truth or None for an empty sea) of simulated recordings at all sites."""
    from preprocessing.soundscape import SITES, simulate_deployment

    said = spec.simulated
    mix = {"ECHO": 0.15, "HFPC": 0.1, "BBPC": 0.35, "Whistle": 0.4}
    for k, site in enumerate(SITES):
        for j in range(said["recordings"] + said["empty"]):
            calls = j < said["recordings"]
            settings = {"call_rate_per_min": 24.0, "call_mix": mix} if calls else {
                "call_rate_per_min": 0.0, "confusers_per_min": 8.0}  # fmt: skip
            if noise and j % 2:
                settings["background"] = noise[(3 * k + j // 2) % len(noise)]
            with tempfile.TemporaryDirectory() as folder:
                simulate_deployment(folder, site, said["seed"] + 100 * k + j, 1, said["seconds"],
                                    boats=[j % 3 == 0], progress=False,
                                    sample_rate_hz=said["sample_rate_hz"], **settings)  # fmt: skip
                truth = pd.read_csv(Path(folder) / "truth.csv") if calls else None
                yield generator.picture(Recording(next(Path(folder).glob("*.wav")))), truth


def weights_of(target: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Belugas and the rest count alike; within each a source as the square root of its windows."""
    table = pd.DataFrame({"target": target, "group": group})
    weight = 1 / np.sqrt(table.groupby(["target", "group"])["group"].transform("size"))
    weight = weight / weight.groupby(table["target"]).transform("sum")
    return (weight / weight.sum()).to_numpy()


def with_simulated(values, target, group, beside, share: float):
    """Windows, targets and weights with the simulated ones beside, which weigh `share` of all."""
    more, kind = beside
    ones = np.where(kind == 1, 0.5 / max((kind == 1).sum(), 1), 0.5 / max((kind == 0).sum(), 1))
    return (np.concatenate([values, more]), np.concatenate([target, kind]),
            np.concatenate([weights_of(target, group), share * ones]))  # fmt: skip


def standardised(values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and spread."""
    weight = weight / weight.sum()
    centre = weight @ values
    return centre, np.sqrt(weight @ (values - centre) ** 2) + 1e-6


def ridge(values, target, weight, shrinkage: float):
    """centre, spread, weight (count,), bias of a ridge regression on clipped descriptors."""
    weight = weight / weight.sum()
    centre, spread = standardised(values, weight)
    z = np.clip((values - centre) / spread, -CLIPPED, CLIPPED)
    share = float(weight @ target)
    scatter = (z * weight[:, None]).T @ z + shrinkage * np.eye(z.shape[1])
    found = np.linalg.solve(scatter, (z * weight[:, None]).T @ (target - share))
    return centre, spread, found, share


def ridge_fitter(spec: SpeciesExperiment, beside):
    def fit(values, target, group):
        given = with_simulated(values, target, group, beside, spec.simulated["share"])
        centre, spread, weight, bias = ridge(*given, spec.shrinkage)
        return lambda x: np.clip((x - centre) / spread, -CLIPPED, CLIPPED) @ weight + bias

    return fit


def logistic_fitter():
    """The baseline: plain logistic regression, balanced, as twenty lines would have it."""
    from sklearn.linear_model import LogisticRegression

    def fit(values, target, group):
        centre, spread = standardised(values, np.ones(len(values)))
        model = LogisticRegression(C=0.1, max_iter=300, class_weight="balanced")
        model.fit((values - centre) / spread, target)
        return lambda x: model.decision_function((x - centre) / spread)

    return fit


def mel_statistics(windows_db: np.ndarray) -> np.ndarray:
    """Mean, deviation and percentiles of each band (n, 5 x bands), the window's level taken off."""
    x = windows_db - np.nanmean(windows_db, axis=(1, 2), keepdims=True)
    spread = np.nanpercentile(x, PERCENTILES, axis=1)
    return np.concatenate([np.nanmean(x, 1), np.nanstd(x, 1), *spread], axis=1)


def source_folds(clips: pd.DataFrame, folds: int, seed: int, leak: bool = False) -> np.ndarray:
    """(clips,) fold: whole sources, SanctSound by site, those of belugas in folds of their own."""
    rng = np.random.default_rng(seed)
    if leak:
        return rng.permutation(len(clips)) % folds
    group = group_of(clips)
    names = pd.unique(group)
    belugas = [name for name in names if (clips["kind"][group == name] == "beluga").any()]
    others = [name for name in names if name not in belugas]
    rng.shuffle(others)
    fold = {name: k % folds for names in (belugas, others) for k, name in enumerate(names)}
    return np.array([fold[name] for name in group])


def group_of(clips: pd.DataFrame) -> np.ndarray:
    """The unit that folds keep whole."""
    site = clips["folder"] == "sanctsound"
    return clips["source"].mask(site, clips["source"].str[:2]).to_numpy()


def edges_of(fit, values, target, group, clip, fold, other, share: float) -> tuple[float, float]:
    """(median, edge): answers of other animals' clips (their highest window) by models that know
    nothing of their source; a share of them lies above the edge. A model without a real beluga to
    learn from is left out."""
    answer = np.full(len(values), np.nan)
    for k in np.unique(fold):
        left = fold == k
        if not target[~left].any():
            continue
        answer[left] = fit(values[~left], target[~left], group[~left])(values[left])
    highest = pd.Series(answer[other]).groupby(clip[other]).max().dropna()
    middle, edge = np.quantile(highest, [0.5, 1 - share])
    return float(middle), float(edge)


def out_of_fold(spec, clips, clip, target, values, fit, leak: bool = False) -> pd.Series:
    """Each clip's score (its highest window's) by a model that knows nothing of its source."""
    fold, group = source_folds(clips, spec.folds, spec.seed, leak)[clip], group_of(clips)[clip]
    other = (clips["kind"] == "whale").to_numpy()[clip]
    logit = np.full(len(values), np.nan)
    for k in range(spec.folds):
        left, here = fold == k, fold != k
        known = (part[here] for part in (values, target, group, clip, fold, other))
        middle, edge = edges_of(fit, *known, spec.pass_share)
        answer = fit(values[here], target[here], group[here])(values[left])
        logit[left] = STEEPNESS * (answer - edge) / max(edge - middle, 1e-3)
    return sigmoid(pd.Series(logit).groupby(clip).max())


def sigmoid(logit):
    return 1 / (1 + np.exp(-np.clip(logit, -50, 50)))


def limits_of(spec: SpeciesExperiment) -> list[int]:
    profile = load_profile(spec.profile)
    return sorted({int(profile.visible_bands(rate / 2).sum()) for rate in spec.rates_hz})


def holds(windows: Windows, limit: int) -> np.ndarray:
    """(n,) bool: windows of recordings that have all of the lowest bands."""
    return np.isfinite(windows.above[:, :, :limit]).any(axis=1).all(axis=1)


def predictions_of(spec, clips: pd.DataFrame, windows: Windows) -> pd.DataFrame:
    """A row per clip, judged in the most bands that it holds: `score`, `baseline`, `leak`."""
    out = clips.drop(columns="path").assign(limit=0, score=np.nan, baseline=np.nan, leak=np.nan)
    fake = windows.clip < 0
    for limit in limits_of(spec):
        held = holds(windows, limit)
        real, beside = held & ~fake, held & fake
        clip, target = windows.clip[real], windows.target[real]
        values = describe(windows.above[real, :, :limit]).astype(float)
        fit = ridge_fitter(spec, (describe(windows.above[beside, :, :limit]).astype(float),
                                  windows.target[beside]))  # fmt: skip
        mel = mel_statistics(windows.plain[real, :, :limit]).astype(float)
        found = {
            "score": out_of_fold(spec, clips, clip, target, values, fit),
            "baseline": out_of_fold(spec, clips, clip, target, mel, logistic_fitter()),
            "leak": out_of_fold(spec, clips, clip, target, values, fit, leak=True),
        }
        for name, series in found.items():
            out.loc[series.index, name] = series.to_numpy()
        out.loc[found["score"].index, "limit"] = limit
    return out


def metrics_of(predictions: pd.DataFrame, draws: int = 200) -> dict:
    """Figures of every method, from the table of clips alone."""
    judged = predictions[predictions["limit"] > 0]
    return {name: _figures(judged, name, draws) for name in METHODS}


def _figures(table: pd.DataFrame, name: str, draws: int) -> dict:
    score, kind, source = (table[c].to_numpy() for c in (name, "kind", "source"))
    beluga, other = kind == "beluga", kind == "whale"
    noise = np.isin(kind, ["noise", "fish"])

    def auc(rows):
        return roc_auc(beluga[rows].astype(float), score[rows])

    def others_passing(rows):
        part = pd.Series(score[rows] >= PASS)[other[rows]]
        return float(part.mean()) if len(part) else np.nan

    everything = np.arange(len(table))
    by_source = pd.Series(score[other] >= PASS).groupby(source[other]).mean()
    sources = {str(s): beluga & (source == s) for s in sorted(set(source[beluga]))}
    limit = np.quantile(score[other], 0.9)
    return {
        "clips": len(table), "belugas": int(beluga.sum()), "other_animals": int(other.sum()),
        "roc_auc": auc(everything), "roc_auc_interval": bootstrap(source, auc, draws),
        "roc_auc_against_animals": auc(np.flatnonzero(beluga | other)),
        "belugas_passing": int((score[beluga] >= PASS).sum()),
        "belugas_passing_by_source": {
            s: [int((score[mine] >= PASS).sum()), int(mine.sum())] for s, mine in sources.items()
        },
        "belugas_above_nine_tenths_of_other_animals": int((score[beluga] >= limit).sum()),
        "other_animals_passing": others_passing(everything),
        "other_animals_passing_interval": bootstrap(source, others_passing, draws),
        "other_animals_passing_mean_of_sources": float(by_source.mean()),
        "noise_passing": float((score[noise] >= PASS).mean()) if noise.any() else np.nan,
    }  # fmt: skip


def final_model(spec: SpeciesExperiment, clips: pd.DataFrame, windows: Windows) -> SpeciesScorer:
    """The model that is kept: fitted to all but the validation sites, which give the domain."""
    profile, fake = load_profile(spec.profile), windows.clip < 0
    part = np.where(fake, "simulated", clips["part"].to_numpy()[windows.clip])
    arrays, domain, highest_hz = {}, {}, {}
    for limit in limits_of(spec):
        held = holds(windows, limit)
        real, beside = held & ~fake & (part != "validation"), held & fake
        values, clip = describe(windows.above[real, :, :limit]).astype(float), windows.clip[real]
        more = describe(windows.above[beside, :, :limit]).astype(float), windows.target[beside]
        target, group = windows.target[real], group_of(clips)[clip]
        fold = source_folds(clips, spec.folds, spec.seed)[clip]
        other = (clips["kind"] == "whale").to_numpy()[clip]
        middle, edge = edges_of(ridge_fitter(spec, more), values, target, group, clip, fold, other,
                                spec.pass_share)  # fmt: skip
        given = with_simulated(values, target, group, more, spec.simulated["share"])
        centre, spread, weight, bias = ridge(*given, spec.shrinkage)
        slope = STEEPNESS / max(edge - middle, 1e-3)
        z = (given[0] - centre) / spread
        shares = given[2] / given[2].sum()
        scatter = (z * shares[:, None]).T @ z + WHITENING * np.eye(z.shape[1])
        variance, axes = np.linalg.eigh(scatter)
        whiten = axes / np.sqrt(variance)
        fitted = {"centre": centre, "spread": spread, "weight": slope * weight,
                  "bias": np.array([slope * (bias - edge)]), "whiten": whiten}  # fmt: skip
        arrays |= {f"{name}_{limit}": value for name, value in fitted.items()}
        apart = held & ~fake & (part == "validation")
        away = (describe(windows.above[apart, :, :limit]) - centre) / spread @ whiten
        domain[str(limit)] = float(np.quantile(np.sqrt((away**2).mean(axis=1)), DISTANCE_SHARE))
        highest_hz[str(limit)] = float(profile.band_high_hz[limit - 1])
    digest = hashlib.sha256(b"".join(np.float32(arrays[k]).tobytes() for k in sorted(arrays)))
    info = {
        "model_id": f"{spec.name}-{digest.hexdigest()[:8]}", "profile": spec.profile,
        "front_end": front_end_of(profile), "frame_rate_hz": profile.frame_rate_hz,
        "window_s": profile.window_s, "highest_hz": highest_hz, "out_of_domain": domain,
        "terms": "academic, non-commercial use",
    }  # fmt: skip
    return SpeciesScorer(limits_of(spec), arrays, info)


def trained_on(scorer: SpeciesScorer, clips: pd.DataFrame, windows: Windows) -> pd.Series:
    """The kept model's score of each clip (its highest window's), trained on or not."""
    out = pd.Series(np.nan, clips.index)
    for limit in scorer.limits:
        held = holds(windows, limit) & (windows.clip >= 0)
        logit = scorer.answer(windows.above[held, :, :limit])[0]
        highest = pd.Series(logit).groupby(windows.clip[held]).max()
        out.loc[highest.index] = sigmoid(highest).to_numpy()
    return out


def run(spec: SpeciesExperiment, data=None, results: Path = ROOT / "results") -> dict:
    """Make the results folder; returns the metrics.

    Raises
    ------
    FileNotFoundError
        where the shared clips are not there.
    """
    clips = sea_clips(data)
    clips = clips[clips["part"] != "test"]
    clips = clips[(clips["sample_rate_hz"] >= min(spec.rates_hz)) & (clips["kind"] != "unknown")]
    clips = clips.reset_index(drop=True)
    windows = gather(spec, clips)
    predictions = predictions_of(spec, clips, windows)
    scorer = final_model(spec, clips, windows)
    predictions["kept_model"] = trained_on(scorer, clips, windows)
    metrics = json_ready(metrics_of(predictions))
    folder = results / spec.name
    folder.mkdir(parents=True, exist_ok=True)
    scorer.save(folder)
    predictions.to_parquet(folder / "predictions.parquet", index=False)
    text = json.dumps(metrics, indent=1, allow_nan=False)
    (folder / "species_metrics.json").write_text(text, encoding="utf-8")
    parameters = yaml.safe_dump(asdict(spec), sort_keys=False, allow_unicode=True)
    (folder / "parameters.yaml").write_text(parameters, encoding="utf-8")
    card = species_card(scorer, spec.question, predictions, metrics, METHODS)
    (folder / "model_card.md").write_text(card, encoding="utf-8")
    return metrics


def main(words=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", nargs="?", default="beluga_species", help="its name, or a YAML")
    parser.add_argument("--data", type=Path, default=None, help="folder of the shared real clips")
    wanted = parser.parse_args(words)
    path = Path(wanted.name)
    path = path if path.suffix == ".yaml" else EXPERIMENTS / f"{wanted.name}.yaml"
    try:
        metrics = run(read_species_experiment(path), wanted.data)
    except (FileNotFoundError, BadExperiment) as error:
        raise SystemExit(f"error: {error}") from None
    for name, figures in metrics.items():
        print(METHODS[name], json.dumps(figures))


if __name__ == "__main__":
    main()
