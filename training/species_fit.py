"""The fit of a species model, and clips judged by models that know nothing of their source.

`spec` is a `training.species_experiment.SpeciesExperiment`, `clips` a table of
`preprocessing.sea_clips`.
"""
from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from spectrogram.profile import load_profile
from training.species_score import CLIPPED, SpeciesScorer, describe, front_end_of
from training.species_windows import Windows, holds, limits_of, mel_statistics

STEEPNESS = 3.0  # logit between the median of other animals' clips and the point where they pass
WHITENING = 0.1  # added to each descriptor's variance, in units of it
DISTANCE_SHARE = 0.99  # of validation windows that lie within the domain


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


def ridge_fitter(spec, beside):
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


def final_model(spec, clips: pd.DataFrame, windows: Windows) -> SpeciesScorer:
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
