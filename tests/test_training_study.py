"""Studies on the toy data set: who is trained on what, and that every figure comes again; backbones by name, ONNX and int8."""
import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from tests.independent_verdict import compared
from tests.training_toy import PROFILE, toy_dataset
from training import study, study_figures
from training.backbones import BadBackbone, make_net
from training.data_card import parted_line
from training.evaluate import call_labels, json_ready
from training.overview import overview, readme
from training.quantise import answer, export_windows, inputs, measured
from training.run import write_parameters
from training.spec import Experiment

QUICK = {"name": "toy", "recordings": {}, "epochs": 1, "batch_size": 16, "windows_per_epoch": 32, "width": 8, "learning_rate": 0.004}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return toy_dataset(tmp_path_factory.mktemp("toy") / "d", seconds=10)


def test_grouped_parts_share_no_recording_and_the_leak_shares_them(data):
    grouped, leak = study.trainings_of(Experiment.from_dict(QUICK | {"study": "leak", "split": {"kind": "grouped", "folds": 3}}), data.manifest)
    assert not set(grouped.train["recording"]) & set(grouped.test["recording"]) and not set(grouped.validation["recording"]) & set(grouped.test["recording"])
    assert set(leak.train["recording"]) & set(leak.test["recording"])
    assert len(grouped.train) + len(grouped.validation) + len(grouped.test) == len(data.manifest)


def test_the_data_card_says_how_a_study_parts_windows_by_itself():
    assert "which leaks" in parted_line(Experiment.from_dict(QUICK | {"study": "leak", "split": {"kind": "grouped", "folds": 3}}), True)
    assert "tested at it" in parted_line(Experiment.from_dict(QUICK | {"study": "sites"}), True)
    assert "leak" not in parted_line(Experiment.from_dict(QUICK | {"study": "boats", "variants": {"with": {}}}), True)


def test_a_site_is_left_out_but_for_k_of_its_training_windows(data):
    trainings = study.site_trainings(Experiment.from_dict(QUICK), data.manifest, shots=(0, 5))
    assert [t.name for t in trainings] == ["S0, 0 windows of it", "S0, 5 windows of it", "S1, 0 windows of it", "S1, 5 windows of it"]
    none, five = trainings[:2]
    assert set(none.test["site"]) == {"S0"} and set(none.train["site"]) | set(none.validation["site"]) == {"S1"}
    own = five.train[five.train["site"] == "S0"]
    assert len(own.drop_duplicates(["recording", "start_s"])) == 5 and set(five.train["split"]) == {"train"}
    assert len(own) % 5 == 0 and abs(len(own) - len(none.train)) < 5  # drawn as often as the other site's


def test_a_study_runs_is_saved_and_every_figure_comes_again(data, tmp_path):
    spec = Experiment.from_dict(QUICK | {"study": "boats", "variants": {"with": {}, "without": {"augmentation": {"mix_share": 0}}}})
    folder = tmp_path / "toy"
    folder.mkdir()
    predictions, metrics, nets = study.run_study(data, spec, folder)
    study.save_study(folder, predictions, metrics, spec, data)
    write_parameters(folder, spec)
    kept = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert json_ready(study.study_metrics(pd.read_parquet(folder / "predictions.parquet"), kept)) == kept
    assert compared(folder) == (2 * 2 * 48, [])  # variants, methods, figures
    assert list(nets) == ["with", "without"] and study.study_table(metrics).shape[0] == 2
    shown = study_figures.shown_table(metrics | {"sizes": {name: {"kB": 101.169, "windows per s": 3855.4, "weights": 23837} for name in nets}})
    assert shown.loc["with", ["kB", "windows per s", "weights"]].tolist() == [101, 3855, 23837] and {"AP from", "AP to"} <= set(shown)
    counts = [sum(row["positives"] for row in column) for column in zip(*(metrics["variants"]["with"]["network"]["recall_by_snr"][label] for label in call_labels(tuple(metrics["labels"]))))]
    ax = study_figures.plot_snr(metrics)
    ax.figure.canvas.draw()
    assert [tick.get_text().split("(")[1] for tick in ax.get_xticklabels()] == [f"{count})" for count in counts]
    plt.close(ax.figure)
    assert any((nets["with"].state_dict()[k] != v).any() for k, v in nets["without"].state_dict().items())
    rows = overview(tmp_path)
    assert rows["training"].tolist() == ["with", "without"] and "| with |" in readme(rows)


def test_the_peers_pictures_and_ours_are_of_the_same_windows_and_compared_window_for_window(data, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for name in data.manifest["picture"].unique():
        np.save(tmp_path / name, rng.normal(60, 5, (64, 2000)).astype(np.float32))
    monkeypatch.setattr(study, "peer_pictures", lambda plan, folder: tmp_path)
    spec = Experiment.from_dict(QUICK | {"study": "recipe", "variants": {"ours": {}, "theirs": {"peer": True, "backbone": "mobilenet_v3_small.1"}}})
    predictions, metrics, nets = study.run_study(data, spec, tmp_path / "toy")
    one, other = (predictions[predictions["variant"] == name] for name in ("ours", "theirs"))
    assert one["start_s"].tolist() == other["start_s"].tolist() and (one["start_s"] % 1 == 0).all()
    paired = metrics["paired"]["theirs"]
    assert paired["other"] == "ours" and paired["rows"] == len(one)
    ap = [metrics["variants"][name]["network"]["all"]["macro"]["average_precision"] for name in ("theirs", "ours")]
    assert paired["macro_average_precision"]["difference"] == pytest.approx(ap[0] - ap[1])
    assert list(study.paired_table(metrics).index) == ["theirs"]


def test_what_is_compared_with_what():
    assert study.references("sites", ["A, 0 windows of it", "A, 5 windows of it", "B, 0 windows of it"]) == {"A, 5 windows of it": "A, 0 windows of it"}
    assert study.references("size", ["a", "b", "a, int8", "b, int8"]) == {"b": "a", "a, int8": "a", "b, int8": "b"}
    assert study.references("leak", ["grouped", "row-wise (a leak)"]) == {}


@pytest.mark.parametrize("name", ["resnet", "statistics", "mobilenet_v3_small.3", "timm:mobilenetv3_small_050"])
def test_backbones_answer_windows_and_positions(name):
    net = make_net(name, PROFILE, 8).eval()
    with torch.no_grad():
        window, position = net(torch.zeros(2, 1, 100, 192))
    assert window.shape == (2, 5) and position.shape == (2, 5, 12)


@pytest.mark.parametrize("name, said", [("resnet19", "not known"), ("mobilenet_v3_small.13", "1 to 12"), ("timm:no_such_net", "no such model")])
def test_a_backbone_that_cannot_be_had_is_named(name, said):
    with pytest.raises(BadBackbone, match=said):
        make_net(name, PROFILE)


def test_weights_that_cannot_be_fetched_are_one_clear_line(monkeypatch):
    import timm

    monkeypatch.setattr(timm, "create_model", lambda *a, **k: (_ for _ in ()).throw(OSError("no route to host\nmore")))
    with pytest.raises(BadBackbone, match=r"weights cannot be had \(no route to host more\)"):
        make_net("timm:resnet18:pretrained", PROFILE)


@pytest.mark.parametrize("name", ["resnet", "statistics"])
def test_exported_and_int8_answer_nearly_the_same(name, data, tmp_path):
    torch.manual_seed(0)
    net = make_net(name, PROFILE, 8)
    rows = data.rows(split="train")
    x = inputs(data, rows, PROFILE)
    net.train()(torch.from_numpy(x))
    net.eval()
    whole, small, logits = measured(net, PROFILE, data, rows, rows, tmp_path / "net.onnx")
    with torch.no_grad():
        exact = net(torch.from_numpy(x))[0].numpy()
    np.testing.assert_allclose(answer(export_windows(net, PROFILE, tmp_path / "again.onnx"), x), exact, atol=1e-3 * max(1, np.abs(exact).max()))
    assert small["kB"] < whole["kB"] and whole["windows per s"] > 0
    assert np.abs(logits - exact).mean() < 0.5 * exact.std() + 0.1
