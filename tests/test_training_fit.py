"""The training loop: it learns, repeats with its seed, and a resumed run ends where an uninterrupted one does."""
import numpy as np
import pytest
import torch

from tests.training_toy import PROFILE, toy_dataset
from training.augment import Augmentation
from training.baseline import Baseline, features
from training.data import WindowSet
from training.evaluate import call_labels, columns, evaluate_windows, predict_rows
from training.fit import FitSettings, fit
from training.model import MultiOutputResNet
from training.saved import SavedModel
from training.thresholds import choose

SETTINGS = FitSettings(epochs=3, batch_size=16, windows_per_epoch=64, learning_rate=4e-3)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return toy_dataset(tmp_path_factory.mktemp("toy") / "d")


def run(data, folder, settings=SETTINGS, **kwargs):
    torch.manual_seed(settings.seed)
    net = MultiOutputResNet(PROFILE.heads, PROFILE.n_bands, width=8)
    train = WindowSet(data, data.rows(split="train"), PROFILE, Augmentation(), settings.seed)
    validation = WindowSet(data, data.rows(split="validation"), PROFILE)
    return fit(net, train, validation, settings, folder, progress=False, **kwargs)


def test_same_seed_same_numbers_and_resumed_equals_uninterrupted(data, tmp_path):
    net, history = run(data, tmp_path / "whole")
    run(data, tmp_path / "cut", stop_after=2)
    resumed, resumed_history = run(data, tmp_path / "cut")
    assert [h["epoch"] for h in history] == [0, 1, 2] and history == resumed_history
    for name, value in net.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0, msg=name)


def test_it_learns_and_beats_nothing_less_than_the_baseline(data, tmp_path):
    settings = FitSettings(epochs=14, batch_size=16, learning_rate=8e-3)
    torch.manual_seed(0)
    net = MultiOutputResNet(PROFILE.heads, PROFILE.n_bands, width=8)
    train = WindowSet(data, data.rows(split="train"), PROFILE, Augmentation.none(), 0)
    validation = WindowSet(data, data.rows(split="validation"), PROFILE)
    net, history = fit(net, train, validation, settings, tmp_path, progress=False)
    assert history[-1]["val_macro_ap"] > 0.9
    plain = {label: {"slope": 1.0, "intercept": 0.0, "position_slope": 1.0, "position_intercept": 0.0} for label in PROFILE.labels}
    model = SavedModel(net, PROFILE, {}, plain, "toy", {})
    rows = data.rows(split="validation")
    whole = validation.batch(range(len(rows)))
    calibration, thresholds = choose(*model.logits(whole.picture_db), whole.window, whole.position, PROFILE.labels)
    model = SavedModel(net, PROFILE, thresholds, calibration, "toy", {})
    table = predict_rows(model, data, data.rows(split="test"))
    metrics = evaluate_windows(table, thresholds, PROFILE.labels, draws=20)
    assert metrics["all"]["macro"]["f1"] > 0.8
    low, high = metrics["interval"]["macro_f1"]
    assert low <= metrics["all"]["macro"]["f1"] + 0.05 and low <= high
    assert set(metrics["recall_by_snr"]) == set(PROFILE.labels) and set(metrics["site"]) == set(table["site"])


def test_baseline_learns_the_toy(data):
    train, test = data.rows(split="train"), data.rows(split="test")
    labels = PROFILE.labels
    baseline = Baseline(labels).fit(features(data, train, PROFILE), columns(train, "target", labels))
    x = features(data, test, PROFILE)
    table = test.assign(**{f"prob_{label}": p for label, p in zip(labels, baseline.predict(x).T)})
    metrics = evaluate_windows(table, baseline.thresholds(x, columns(test, "target", labels)), labels, draws=0)
    assert metrics["all"]["macro"]["average_precision"] > 0.6
    assert np.isfinite(baseline.predict(x)).all() and "Boat" not in call_labels(labels)
