"""Several saved models of one front end that answer together: a folder each, and `ensemble.json` with their weights.

    save_ensemble("results/cook_inlet/models", nets, ensemble, summary)
    ensemble = load_ensemble("results/cook_inlet")
    score_deployment("/data/2018", ensemble.models, ensemble.weights, "out/scores.parquet", ensemble.limit)

    FOLDER/ensemble.json                         networks, weights, limits, label
    FOLDER/NETWORK/model.json                    as any saved model; `load_model("FOLDER/NETWORK")` reads it
    FOLDER/NETWORK/model.safetensors
    FOLDER/.gitignore                            the weights above `MOST_BYTES`, which are too large to be kept with the code
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from training.saved import BadModel, SavedModel, find_folder, load_model, save_model

NAME = "ensemble.json"
MOST_BYTES = 5_000_000


@dataclass
class SavedEnsemble:
    """models : network -> `SavedModel`. weights : network -> share, sum 1. limits : network, and "ensemble", -> probability from which a window counts."""

    models: dict[str, SavedModel]
    weights: dict[str, float]
    limits: dict[str, float]

    @property
    def limit(self) -> float:
        return self.limits["ensemble"]


def save_ensemble(folder: str | Path, made: SavedEnsemble, summary: dict, remake: str) -> list[str]:
    """Write the models and `ensemble.json`; return the names of the networks whose weights are left out of git.

    Parameters
    ----------
    remake : the command that makes the weights again.
    """
    folder, large = Path(folder), []
    for name, model in made.models.items():
        save_model(folder / name, model.net, model.profile, model.thresholds, model.calibration, summary | {"remake": f"it is too large to be kept with the code; make it again: {remake}"})
        if (folder / name / "model.safetensors").stat().st_size > MOST_BYTES:
            large.append(name)
    told = {"weights": made.weights, "limits": made.limits, "networks": list(made.models), "simulated": bool(summary.get("simulated"))}
    (folder / NAME).write_text(json.dumps(told, indent=1), encoding="utf-8")
    lines = [f"# weights above {MOST_BYTES / 1e6:g} MB; make them again: {remake}", *(f"/{name}/model.safetensors" for name in large)]
    (folder / ".gitignore").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return large


def load_ensemble(folder: str | Path) -> SavedEnsemble:
    """Load what `save_ensemble` wrote, from its folder or the experiment's.

    Raises
    ------
    BadModel
        if there is no ensemble, or one of its models cannot be loaded.
    """
    places = [Path(folder), Path(folder) / "models", Path("results") / folder / "models"]
    here = next((place for place in places if (place / NAME).exists()), None)
    if here is None:
        raise BadModel(f"{folder}: no ensemble there ({NAME} is missing); give an experiment's folder that has models/{NAME}, such as results/cook_inlet")
    told = json.loads((here / NAME).read_text(encoding="utf-8"))
    return SavedEnsemble({name: load_model(find_folder(here / name)) for name in told["networks"]}, told["weights"], told["limits"])
