"""The experiment's steps: splits that never meet, and the notebook from end to end on a few seconds of sound."""
import json

import nbformat
import numpy as np
import pandas as pd
import pytest
import soundfile

from spectrogram.profile import load_profile
from training import experiment
from training.evaluate import evaluate_windows, false_windows_per_empty_hour, json_ready
from training.deployments import plan_splits
from training.experiment import PARAMETERS
from training.recompute import differences, recomputed
from training.run import EXPERIMENTS, execute
from training.saved import ROOT, load_model
from training.spec import Experiment

NOTEBOOK = ROOT / "training" / "05_train.ipynb"
FEW = {split: {"busy": 1} for split in ("train", "validation", "test")}


def code_cells():
    return [cell for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]


def test_splits_share_no_deployment_and_no_seed():
    kinds = {"natural": 2, "busy": 2, "empty": 1}
    plans = [plan_splits(dict.fromkeys(("train", "validation", "test"), kinds), 10.0, seed) for seed in (0, 1, 9_999)]
    seeds = [(d.seed, d.site) for plan in plans for d in plan]
    assert len(seeds) == len(set(seeds)) and len({d.folder_name for plan in plans for d in plan}) == len(seeds)


def test_thresholds_are_chosen_where_calls_are_as_rare_as_at_sea():
    table = pd.DataFrame({"recording": ["a", "b", "c"], "kind": ["natural", "busy", "empty"]})
    assert experiment.in_use(table)["recording"].tolist() == ["a", "c"]
    assert len(experiment.in_use(table[table["kind"] == "busy"])) == 1 and len(experiment.in_use(table.drop(columns="kind"))) == 3


def test_every_window_metric_ignores_what_is_not_known():
    table = pd.DataFrame({"recording": ["a", "a", "b", "b"], "target_ECHO": [1, 0, np.nan, 0], "prob_ECHO": [.9, .2, .9, .8], "snr_ECHO": [12, np.nan, 3, np.nan],
                          "target_Boat": [0, 0, 1, 1], "prob_Boat": [.1, .2, .8, .3], "snr_Boat": [np.nan, np.nan, 9, 9]})
    limits = {"ECHO": {"window": 0.5}, "Boat": {"window": 0.5}}
    m = evaluate_windows(table, limits, ("ECHO", "Boat"), draws=5)
    # ECHO: tp .9, tn .2, fp .8; the third window is not counted
    assert m["all"]["ECHO"]["tp"] == 1 and m["all"]["ECHO"]["fp"] == 1 and m["all"]["ECHO"]["windows"] == 3
    assert m["all"]["macro"]["f1"] == pytest.approx(2 / 3)          # ECHO alone: a boat is no call
    assert m["without_boats"]["ECHO"]["f1"] == 1 and np.isnan(m["with_boats"]["ECHO"]["roc_auc"])
    assert false_windows_per_empty_hour(table, limits, ("ECHO", "Boat"), 1.0, 0.5) == pytest.approx(3600)  # 1 of 2 empty windows, half a second each


def test_json_ready_writes_valid_json():
    text = json.dumps(json_ready({"a": np.float32(np.nan), "b": [np.int64(3), np.inf, True, None], 1: "x"}), allow_nan=False)
    assert json.loads(text) == {"a": None, "b": [3, "inf", True, None], "1": "x"}


def test_the_notebook_is_tidy():
    cells = code_cells()
    assert len(cells) <= 15 and not any("def " in cell.source for cell in cells)
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    assert ["parameters" in cell.metadata.get("tags", []) for cell in cells].count(True) == 1


def test_the_notebook_has_a_cell_with_every_parameter_and_its_default():
    """So that a YAML file means the same by make experiment and by papermill alone."""
    cell = next(cell for cell in code_cells() if "parameters" in cell.metadata.get("tags", []))
    values = {}
    exec(cell.source, values)
    assert set(PARAMETERS) <= set(values)
    assert experiment.spec_of(values) == Experiment.from_dict({"name": "trial"})


def test_the_notebook_runs_from_end_to_end(tmp_path):
    """With recorded noise of three places, too."""
    papermill = pytest.importorskip("papermill")
    for k, site in enumerate("ABC"):
        (tmp_path / "quiet" / site).mkdir(parents=True)
        soundfile.write(
            tmp_path / "quiet" / site / f"{site}.flac",
            0.01 * np.random.default_rng(k).standard_normal(96_000),
            48_000,
        )
    noise = {"recordings": str(tmp_path / "quiet"), "sites_from": "folder"}
    limits = {"max_real_false": 0.01, "max_simulated_false": 0.005}
    given = {"name": "small", "noise": noise, "thresholds": limits, "recordings": FEW, "recording_s": 8, "sites": ["BSM"], "epochs": 1, "width": 8, "progress": False,
             "data_dir": str(tmp_path / "data"), "results_dir": str(tmp_path / "results")}
    papermill.execute_notebook(NOTEBOOK, tmp_path / "out.ipynb", given, cwd=ROOT, progress_bar=False)
    folder = tmp_path / "results" / "small"
    have = {p.name for p in folder.iterdir()} - {"checkpoints"}
    assert have - {"model.onnx"} == {"model.json", "model.safetensors", "metrics.json", "predictions.parquet", "parameters.yaml", "model_card.md", "data_card.md",
                                     "events.parquet", "truth.parquet", "recordings.parquet", "worst.npz", "worst.selections.txt"}
    assert (folder / "model.safetensors").stat().st_size < 5e6 and not list(tmp_path.rglob("*.wav"))
    assert differences(folder) == [] and recomputed(folder)[1] == []
    model = load_model(folder)
    card = (folder / "model_card.md").read_text(encoding="utf-8")
    assert "SIMULATED" in card and model.profile == load_profile("beluga")
    assert card.index("At its own thresholds") < card.index("simulated test deployments")
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["real_noise"]["test"]["in_use"]["windows"] == 3
    assert all(limits["window"] == limits["on"] for limits in metrics["thresholds"].values())
    execute(EXPERIMENTS / "analysis.ipynb", folder / "analysis.ipynb", {"name": "small", "results_dir": str(tmp_path / "results")}, progress=False)
    outputs = json.dumps([cell["outputs"] for cell in json.loads((folder / "analysis.ipynb").read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"])
    assert outputs.count("image/png") >= 5 and "holds no pictures" not in outputs and str(tmp_path) not in outputs
    metrics["baseline"]["all"]["macro"]["f1"] = (metrics["baseline"]["all"]["macro"]["f1"] or 0) + 0.02
    metrics["test"]["all"]["macro"]["f1"] = (metrics["test"]["all"]["macro"]["f1"] or 0) + 0.01
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    assert [line.split(":")[0] for line in differences(folder)] == ["test/all/macro/f1", "baseline/all/macro/f1"]
