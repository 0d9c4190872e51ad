"""An experiment's description: defaults, errors that help, and what counts as a change."""
import pytest
import yaml

from training.__main__ import main
from training.clip_experiment import variants_of
from training.detection_settings import detections_of
from training.humpback_data import settings_of
from training.run import FINISHED, clear_other_checkpoints, every_experiment, state, tidy, write_parameters
from training.spec import EXPERIMENTS, BadExperiment, Experiment, merged, read_experiment

FULL = [path.stem for path in sorted(EXPERIMENTS.glob("*.yaml")) if "full" in yaml.safe_load(path.read_text(encoding="utf-8"))]


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


TRIAL = {"name": "trial", "epochs": 3, "split": {"kind": "grouped", "folds": 2}, "variants": {"one": {"epochs": 2, "width": 8}, "two": {}}, "full": {"epochs": 60, "split": {"folds": 5}, "variants": {"one": {"width": 16}}}}


def test_the_full_setting_goes_before_the_rest_key_by_key():
    small, full = Experiment.from_dict(TRIAL), Experiment.from_dict(TRIAL | {"setting": "full"})
    assert (full.epochs, full.split.kind, full.split.folds, full.variants) == (60, "grouped", 5, {"one": {"epochs": 2, "width": 16}, "two": {}})
    assert Experiment.from_dict(full.to_dict()) == full
    assert small.epochs == 3 and small.digest() == Experiment.from_dict({key: value for key, value in TRIAL.items() if key != "full"}).digest() != full.digest()
    assert merged({"clips": [1, 2], "bands": {"low_hz": 1}}, {"clips": [3], "bands": None}) == {"clips": [3], "bands": None}


@pytest.mark.parametrize("change, said", [
    ({"setting": "ful"}, "did you mean 'full'"), ({"full": {"epoch": 60}}, "full: 'epoch' is not known; did you mean 'epochs'"), ({"full": {"variants": {"twoo": {}}}}, "did you mean 'two'"),
    ({"full": {"split": {"fold": 5}}}, "did you mean 'folds'? (in full)"), ({"full": {"variants": {"two": {"widht": 8}}}}, "did you mean 'width'? (in full)"), ({"full": 3}, "full is 3; give a table"),
    ({"full": {"name": "other"}}, "'name' is not known"), ({"variants": {"one": {"widht": 8}}, "full": {"epochs": 9}}, "variants, one: 'widht' is not known; did you mean 'width'")])
def test_faults_of_the_full_setting_are_named_at_the_small_one_too(change, said):
    with pytest.raises(BadExperiment, match="experiment trial") as error:
        Experiment.from_dict(TRIAL | change)
    assert said in str(error.value)


def test_the_full_setting_is_an_experiment_with_a_folder_of_its_own(tmp_path):
    path = tmp_path / "trial.yaml"
    path.write_text(yaml.safe_dump(TRIAL), encoding="utf-8")
    full = read_experiment(path, full=True)
    assert (full.name, full.setting, full.epochs) == ("trial_full", "full", 60) and read_experiment(tmp_path / "trial_full.yaml") == full and read_experiment(path).name == "trial"
    path.write_text("name: trial\nsetting: full\nfull: {epochs: 60}\n", encoding="utf-8")
    assert read_experiment(path).name == "trial" and read_experiment(path).epochs == 60  # one's own YAML: where one wants it
    for text in ("name: trial\n", "name: trial\nsetting: full\n"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(BadExperiment, match="no full setting.*full: {epochs: 60}"):
            read_experiment(path, full="setting" not in text)
    with pytest.raises(BadExperiment, match="did you mean 'watkins_beluga'"):
        read_experiment("watkins_belugas_full")


def test_the_full_setting_is_asked_for_by_name_and_refused_where_there_is_none(capsys):
    assert main(["watkins_beluga", "--full"]) == 2 and "watkins_beluga.yaml: has no full setting" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--all", "--full"])
    assert "name one" in capsys.readouterr().err


def test_every_experiment_of_the_other_systems_has_a_full_setting_that_can_be_run():
    assert {"cook_inlet", "humpback_types", "humpback_watkins", *(f"right_whale_{what}" for what in ("complexity", "h2o", "noise", "resnet50", "xception", "zoo"))} <= set(FULL)


@pytest.mark.parametrize("name", FULL)
def test_a_full_setting_is_read_is_other_and_leaves_the_task_as_it_is(name):
    small, full = read_experiment(name), read_experiment(f"{name}_full")
    assert full.digest() != small.digest() and (full.kind, full.profile, full.question) == (small.kind, small.profile, small.question)
    assert full.variants.keys() == small.variants.keys()
    for one, other in zip(variants_of(small).values(), variants_of(full).values()):
        assert other.front_end().labels == one.front_end().labels and other.denoise == one.denoise
        assert detections_of(other) != detections_of(one) if small.kind == "detections" else other != one
        assert settings_of(other) != settings_of(one) if small.kind == "humpback" else True


def test_experiments_that_build_on_others_come_later():
    names = [e.name for e in every_experiment()]
    assert names.index("beluga_default") < names.index("watkins_beluga")
