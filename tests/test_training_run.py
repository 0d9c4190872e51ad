"""What an experiment's description says is what its notebook is told."""
import os
from pathlib import Path

import papermill
import pytest

from training import __main__ as command
from training.run import TEMPLATES, template_parameters
from training.spec import BadExperiment, Experiment

TRAINING = Path(__file__).resolve().parents[1] / "training"
SIMULATED = TRAINING / TEMPLATES["simulated"]


def test_a_template_is_told_its_own_parameters_one_by_one(tmp_path):
    told = template_parameters(Experiment("mine", epochs=3, seed=7, bands={"break_hz": 700}), SIMULATED, tmp_path)
    assert told["name"] == "mine" and told["epochs"] == 3 and told["seed"] == 7 and told["bands"] == {"break_hz": 700}
    assert told["results_dir"] == str(tmp_path) and set(told) <= set(papermill.inspect_notebook(str(SIMULATED)))


def test_a_template_that_asks_for_the_whole_description_gets_it(tmp_path):
    told = template_parameters(Experiment("mine", members=3), TRAINING / TEMPLATES["clips"], tmp_path)
    assert told["experiment"]["name"] == "mine" and told["experiment"]["members"] == 3


def test_what_a_template_has_no_parameter_for_is_refused(tmp_path):
    with pytest.raises(BadExperiment, match="members"):
        template_parameters(Experiment("mine", members=3), SIMULATED, tmp_path)


@pytest.mark.parametrize("given, expected", [({}, "1"), ({"OMP_NUM_THREADS": "16"}, "16")])
def test_kernels_count_on_one_thread_unless_told_otherwise(monkeypatch, given, expected):
    for name in command.THREADS:
        monkeypatch.setenv(name, "7")  # so that what the command sets is taken back
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    seen = []
    monkeypatch.setattr(command, "run_experiment", lambda experiment, again: seen.append([os.environ[name] for name in command.THREADS]) or "done")
    assert command.one(Experiment("mine"), again=False) == 0
    assert seen == [[expected] * len(command.THREADS)]
