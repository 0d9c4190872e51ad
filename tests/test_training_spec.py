"""An experiment's description: defaults, errors that help, and what counts as a change."""
import pytest
import yaml

from training.run import FINISHED, clear_other_checkpoints, every_experiment, state, tidy, write_parameters
from training.spec import EXPERIMENTS, BadExperiment, Experiment, read_experiment


def test_a_name_is_enough_and_everything_else_has_a_default():
    spec = Experiment.from_dict({"name": "trial"})
    assert spec.kind == "simulated" and spec.front_end().labels == ("ECHO", "HFPC", "BBPC", "Whistle", "Boat")
    assert Experiment.from_dict(spec.to_dict()) == spec and Experiment.from_dict(yaml.safe_load(yaml.safe_dump(spec.to_dict()))) == spec


@pytest.mark.parametrize("given, said", [
    ({"epoch": 3}, "did you mean 'epochs'"), ({"split": {"kinds": "rows"}}, "did you mean 'kind'"), ({"split": {"kind": "groupd"}}, "did you mean 'grouped'"),
    ({"loss": {"position_wieght": 0}}, "did you mean 'position_weight'"), ({"augmentation": {"mixshare": 0}}, "did you mean 'mix_share'"),
    ({"epochs": "many"}, "give a number"), ({"epochs": 0}, "above 0"), ({"peer": "yes please"}, "true or false"), ({"target_precision": 95}, "between 0 and 1"),
    ({"clips": [{"folder": "here"}]}, "lacks label"), ({"study": "leek"}, "did you mean 'leak'"), ({"zzz": 1}, "known: name")])
def test_what_is_misspelt_or_senseless_is_named_with_its_mend(given, said):
    with pytest.raises(BadExperiment, match="experiment trial") as error:
        Experiment.from_dict({"name": "trial"} | given)
    assert said in str(error.value)


def test_a_file_is_found_by_name_and_its_faults_are_named(tmp_path):
    with pytest.raises(BadExperiment, match="did you mean 'watkins_beluga'"):
        read_experiment("watkins_belugas")
    for text, said in (("name: other\n", "like the file"), ("- 1\n", "no table"), ("name: [\n", "not valid YAML")):
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(BadExperiment, match=said):
            read_experiment(tmp_path / "mine.yaml")


def test_labels_may_be_replaced_and_bands_overridden():
    spec = Experiment.from_dict({"name": "t", "profile": "watkins", "labels": ["beluga", "bowhead"], "bands": {"low_hz": 300, "n_fft": 1024}})
    profile = spec.front_end()
    assert profile.labels == ("beluga", "bowhead") and profile.label_band_hz["bowhead"] == (300, 4750) and profile.label_min_nyquist_hz["beluga"] == 4000
    assert profile.n_fft == 1024 and "n_fft" not in profile.picture


def test_the_digest_follows_what_matters(tmp_path):
    one = Experiment.from_dict({"name": "t", "epochs": 24})
    assert one.digest() == Experiment.from_dict({"name": "t", "question": "why?"}).digest() != Experiment.from_dict({"name": "t", "epochs": 25}).digest()
    folder = tmp_path / "t"
    folder.mkdir()
    assert state(one, tmp_path) == "missing"
    for name in FINISHED:
        (folder / name).write_text("", encoding="utf-8")
    write_parameters(folder, one)
    assert state(one, tmp_path) == "done" and state(Experiment.from_dict({"name": "t", "seed": 1}), tmp_path) == "changed"


def test_checkpoints_of_other_parameters_are_cleared_and_own_ones_kept(tmp_path):
    one, other = (Experiment.from_dict({"name": "t", "seed": seed}) for seed in (0, 1))
    clear_other_checkpoints(tmp_path, one)
    (tmp_path / "checkpoints" / "last.ckpt").write_text("x", encoding="utf-8")
    clear_other_checkpoints(tmp_path, one)
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()
    clear_other_checkpoints(tmp_path, other)
    assert not (tmp_path / "checkpoints" / "last.ckpt").exists()


def test_an_executed_notebook_is_tidied(tmp_path):
    import nbformat

    cell = nbformat.v4.new_code_cell("results_dir = '/somewhere'\nname = 'x'", metadata={"tags": ["injected-parameters"], "papermill": {"duration": 1}})
    cell.outputs = [nbformat.v4.new_output("stream", name="stderr", text="50%|####"), nbformat.v4.new_output("stream", name="stdout", text="kept")]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": {"input_path": "/somewhere"}}), tmp_path / "a.ipynb")
    tidy(tmp_path / "a.ipynb")
    text = (tmp_path / "a.ipynb").read_text(encoding="utf-8")
    assert "kept" in text and "####" not in text and "/somewhere" not in text and "duration" not in text


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_experiment_can_be_read(path):
    spec = read_experiment(path)
    assert spec.front_end().labels and Experiment.from_dict(spec.to_dict()) == spec


def test_experiments_that_build_on_others_come_later():
    names = [e.name for e in every_experiment()]
    assert names.index("beluga_default") < names.index("watkins_beluga")
