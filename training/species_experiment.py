"""Make the model behind `species_score`: `python -m training.species_experiment beluga_species`.

Learns from the shared real clips (`preprocessing.sea_clips`, the training sites alone, animals by
source) and from simulated belugas and empty seas, half of them over real noise of the training
sites. Belugas are weak positives: every window of such a clip counts as one. Judged on sources left
out, in folds; the two sources of belugas are never left out together. Beside it, on the same folds
and with the same scale: logistic regression on mel statistics. The row-wise figure is the leak it
is.

What lies in `results/NAME/`: species.safetensors, species.json, parameters.yaml,
species_metrics.json, predictions.parquet (a row per clip, from which `metrics_of` gives the metrics
again), model_card.md.
"""
from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from preprocessing.sea_clips import sea_clips
from training.evaluate import json_ready
from training.metrics import bootstrap, roc_auc
from training.spec import BadExperiment, check_keys
from training.species_card import species_card
from training.species_fit import final_model, predictions_of, trained_on
from training.species_score import PASS, ROOT
from training.species_windows import gather

EXPERIMENTS = ROOT / "training" / "experiments" / "species"
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
