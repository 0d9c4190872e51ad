"""Run experiments: YAML -> executed notebook, model, figures and analysis in `results/NAME/`.

    python -m training NAME            # again only if it is missing or its parameters changed; --again in any case
    python -m training /data/bay.yaml  # a description that lies elsewhere
    python -m training NAME --trainer devices=4      # flags of Lightning's Trainer, see training/devices.py
    python -m training --all           # every experiment in training/experiments that is missing or changed
    python -m training --list
    python -m training NAME --full     # at the full setting of its YAML, to results/NAME_full

What lies on disk, in `results/NAME/`:

    parameters.yaml    every parameter, defaults too; from it the digest that tells whether the YAML changed since
    train.ipynb        the executed template, tidied: no progress bars, no paths of this machine
    metrics.json, predictions.parquet, model.safetensors + model.json, model_card.md, data_card.md
    worst.npz, worst.selections.txt   pictures of the worst errors and the same as a Raven table (windows and clips, see `training/worst.py`)
    model_int8.onnx    with `quantise_epochs`: the network trained on for int8; model_int8.json: its thresholds and calibration
    analysis.ipynb     executed last: a folder that has it, and parameters.yaml with the same digest, is done
    checkpoints/       git-ignored; digest.txt says of which parameters they are. A run that was cut off goes on from them; those of
                       other parameters are cleared away.
"""
from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from training.spec import EXPERIMENTS, BadExperiment, Experiment, read_experiment

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
TEMPLATES = {"simulated": "05_train.ipynb", "annotations": "05_train.ipynb", "clips": "experiments/clips.ipynb", "study": "experiments/study.ipynb", "contest": "experiments/contest.ipynb", "humpback": "experiments/humpback.ipynb",
             "detections": "08_validate_detections.ipynb"}
ANALYSES = {"simulated": "analysis.ipynb", "annotations": "analysis.ipynb", "clips": "clips_analysis.ipynb", "study": "study_analysis.ipynb", "contest": "contest_analysis.ipynb", "humpback": "humpback_analysis.ipynb",
            "detections": "detections_analysis.ipynb"}
INT8 = "model_int8.onnx"
FINISHED = ("parameters.yaml", "metrics.json", "predictions.parquet", "analysis.ipynb")


def state(experiment: Experiment, results: Path = RESULTS) -> str:
    """ "done", "missing" (never finished) or "changed" (done with other parameters)."""
    folder = results / experiment.name
    if not all((folder / name).exists() for name in FINISHED):
        return "missing"
    try:
        done = Experiment.from_dict(yaml.safe_load((folder / "parameters.yaml").read_text(encoding="utf-8")))
    except BadExperiment:  # of an older code with other parameters
        return "changed"
    return "done" if done.digest() == experiment.digest() else "changed"


def every_experiment() -> list[Experiment]:
    """All of `training/experiments`, those that others build on first."""
    found = [read_experiment(path) for path in sorted(EXPERIMENTS.glob("*.yaml"))]
    return sorted(found, key=lambda e: (e.pretrained is not None or any((v or {}).get("pretrained") for v in e.variants.values()), e.kind == "study"))


def run_experiment(experiment: Experiment, results: Path = RESULTS, again: bool = False, progress: bool = True) -> str:
    """Run one experiment unless it is done; return what was found: "done", "missing" or "changed".

    Raises
    ------
    training.backbones.BadBackbone
        where published weights cannot be had; nothing was touched.
    papermill.PapermillExecutionError
        where a cell fails; the notebook, as far as it came, is in the experiment's folder.
    """
    found = state(experiment, results)
    if found == "done" and not again:
        return found
    fetch_weights(experiment)
    folder = results / experiment.name
    folder.mkdir(parents=True, exist_ok=True)
    clear_other_checkpoints(folder, experiment, again and found == "done")
    for name in ("analysis.ipynb", INT8, Path(INT8).with_suffix(".json")):  # from here on not done; an int8 network of other parameters is no part of it
        (folder / name).unlink(missing_ok=True)
    template = ROOT / "training" / TEMPLATES[experiment.kind]
    execute(template, folder / "train.ipynb", template_parameters(experiment, template, results), progress)
    write_parameters(folder, experiment)
    execute(EXPERIMENTS / ANALYSES[experiment.kind], folder / "analysis.ipynb", {"name": experiment.name, "results_dir": str(results)}, progress)
    return found


def fetch_weights(experiment: Experiment) -> None:
    """Published weights that its networks begin from, into the hubs' caches: where there is no network that ends here, and not after hours of simulation.

    Raises
    ------
    training.backbones.BadBackbone
        with what to do.
    """
    from training.clip_experiment import variants_of

    if experiment.kind == "detections":
        from training.cook_nets import CookNet
        from training.detection_settings import detections_of

        for network, own in detections_of(experiment).networks.items():
            if own.get("pretrained"):
                CookNet(network, pretrained=True)
        return
    for variant in variants_of(experiment).values():
        if variant.backbone.endswith(":pretrained"):
            from training.backbones import make_net

            make_net(variant.backbone, variant.front_end())


def template_parameters(experiment: Experiment, template: Path, results: Path) -> dict:
    """What papermill hands to the template: its own parameters one by one, or, where it asks for it, the whole description as one table.

    Raises
    ------
    BadExperiment
        where the description says something that this template has no parameter for.
    """
    import papermill

    asked, said, default = set(papermill.inspect_notebook(str(template))), experiment.to_dict(), Experiment(experiment.name).to_dict()
    if "experiment" in asked:
        return {"experiment": said, "results_dir": str(results)}
    unheard = [key for key in said if key not in asked and said[key] != default[key] and key != "setting"]
    if unheard:
        raise BadExperiment(f"{experiment.name}: {', '.join(unheard)} means nothing in {template.name}; leave it out")
    return {key: value for key, value in said.items() if key in asked} | {"results_dir": str(results)}


def write_parameters(folder: Path, experiment: Experiment) -> None:
    """parameters.yaml: everything, defaults too."""
    text = yaml.safe_dump(experiment.to_dict(), sort_keys=False, allow_unicode=True)
    (folder / "parameters.yaml").write_text(text, encoding="utf-8")


def clear_other_checkpoints(folder: Path, experiment: Experiment, everything: bool = False) -> None:
    """Delete checkpoints of other parameters, which a resumed run would take for its own; `everything`: all of them."""
    checkpoints = folder / "checkpoints"
    seal = checkpoints / "digest.txt"
    if checkpoints.exists() and (everything or not seal.exists() or seal.read_text(encoding="utf-8") != experiment.digest()):
        shutil.rmtree(checkpoints)
    checkpoints.mkdir(exist_ok=True)
    seal.write_text(experiment.digest(), encoding="utf-8")


def execute(template: Path, target: Path, parameters: dict, progress: bool = True) -> None:
    """Execute a notebook by papermill, in the project's root, and tidy what came out, also where a cell failed."""
    import papermill

    try:
        papermill.execute_notebook(str(template), str(target), parameters, cwd=str(ROOT), kernel_name="python3", language="python", progress_bar=progress)
    finally:
        if target.exists():
            tidy(target)


def tidy(path: Path) -> None:
    """Take progress bars, warnings and this machine's paths out of an executed notebook."""
    import nbformat

    book = nbformat.read(path, 4)
    book.metadata.pop("papermill", None)
    for cell in book.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [shown for shown in cell.outputs if not (shown.output_type == "stream" and shown.name == "stderr") and not is_widget(shown)]
            for shown in cell.outputs:
                if shown.output_type == "stream":
                    shown.text = shown.text.replace(str(ROOT) + "/", "").replace(str(ROOT.parent) + "/", "../")
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.source = "\n".join(line for line in cell.source.splitlines() if not line.startswith("results_dir"))
    book.metadata.pop("widgets", None)
    nbformat.write(book, path)


def is_widget(shown) -> bool:
    """A progress bar drawn as a widget, which says nothing in a saved notebook."""
    return "application/vnd.jupyter.widget-view+json" in shown.get("data", {})
