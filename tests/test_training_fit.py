"""The training loop: it learns, repeats with its seed, and a resumed run ends where an uninterrupted one does."""
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from tests.training_toy import PROFILE, toy_dataset
from training.augment import Augmentation
from training.baseline import Baseline, features
from training.checkpoints import BadCheckpoint
from training.data import WindowSet, half_calls
from training.evaluate import call_labels, columns, evaluate_windows, predict_rows
from training.fit import FitSettings, fit
from training.model import MultiOutputResNet
from training.saved import ROOT, SavedModel
from training.thresholds import choose

SETTINGS = FitSettings(epochs=3, batch_size=16, windows_per_epoch=64, learning_rate=4e-3)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return toy_dataset(tmp_path_factory.mktemp("toy") / "d")


def run(data, folder, settings=SETTINGS, **kwargs):
    torch.manual_seed(settings.seed)
    net = MultiOutputResNet(PROFILE.heads, PROFILE.n_bands, crest=PROFILE.crest_columns, width=8)
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


def test_every_epoch_is_kept_and_a_run_that_had_stopped_early_stays_stopped(data, tmp_path):
    settings = FitSettings(epochs=30, batch_size=16, windows_per_epoch=32, learning_rate=1e-7, patience=2)  # learns next to nothing, so that it stops
    net, history = run(data, tmp_path, settings)
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)
    assert len(history) < 30 and last["history"] == history and last["epoch"] == history[-1]["epoch"]
    again, longer = run(data, tmp_path, settings)
    assert longer == history and all(torch.equal(again.state_dict()[name], value) for name, value in net.state_dict().items())


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_killed_within_an_epoch_it_ends_as_if_nothing_had_been(data, tmp_path):
    net, history = run(data, tmp_path / "whole")
    code = f"""
import os, signal
import tests.test_training_fit as t
from preprocessing.dataset import DataSet
from training import fit
steps, step = [], fit.CallModule.training_step
def deadly(self, batch, number):
    steps.append(number)
    if len(steps) == 6:  # the second of the second epoch's four
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, number)
fit.CallModule.training_step = deadly
t.torch.set_num_threads(1)
t.run(DataSet({str(data.folder)!r}), {str(tmp_path / 'cut')!r})
"""
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    resumed, resumed_history = run(data, tmp_path / "cut")
    assert resumed_history == history
    for name, value in net.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0, msg=name)


class Planted:
    """Runs somebody's code when it is unpickled."""

    def __init__(self, where):
        self.where = str(where)

    def __reduce__(self):
        return open, (self.where, "w")


@pytest.mark.parametrize("holds, fault", [(lambda planted: {"epoch": 0, "state_dict": planted}, "holds more than numbers"),
                                          (lambda planted: planted, "holds more than numbers"), (lambda planted: {"epoch": 0}, "lacks history, loops"),
                                          (lambda planted: [1, 2], "lacks history")])
def test_a_checkpoint_from_a_stranger_is_refused_in_one_line_and_runs_no_code(data, tmp_path, holds, fault):
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    torch.save(holds(Planted(tmp_path / "ran")), last)
    with pytest.raises(BadCheckpoint, match=f"last.ckpt: .*{fault}.*remove it, and the training begins anew") as refused:
        run(data, tmp_path / "run", stop_after=1)
    assert "\n" not in str(refused.value) and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("windows", [16, 32, 48, 64, 80])
def test_a_training_of_one_to_five_steps_has_a_schedule(data, tmp_path, windows):
    _, history = run(data, tmp_path, replace(SETTINGS, epochs=1, windows_per_epoch=windows))
    assert len(history) == 1 and 0 <= history[0]["val_macro_ap"] <= 1


def test_it_learns_and_beats_nothing_less_than_the_baseline(data, tmp_path):
    settings = FitSettings(epochs=14, batch_size=16, learning_rate=8e-3)
    torch.manual_seed(0)
    net = MultiOutputResNet(PROFILE.heads, PROFILE.n_bands, crest=PROFILE.crest_columns, width=8)
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


def test_half_of_the_windows_drawn_hold_calls_and_rare_ones_come_more_often_than_they_occur():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"target_Whistle": rng.random(4000) < 0.2, "target_ECHO": rng.random(4000) < 0.01, "target_Boat": rng.random(4000) < 0.5}).astype(float)
    share = half_calls(rows, ("Whistle", "ECHO", "Boat"))
    share = share / share.sum()
    called = ((rows["target_Whistle"] == 1) | (rows["target_ECHO"] == 1)).to_numpy()
    assert share[called].sum() == pytest.approx(0.5) and share[~called].std() == pytest.approx(0)
    echo = (rows["target_ECHO"] == 1).to_numpy()
    assert 5 * echo.mean() < share[echo].sum() < share[(rows["target_Whistle"] == 1).to_numpy()].sum()
    assert np.allclose(half_calls(rows.assign(target_Whistle=0.0, target_ECHO=0.0), ("Whistle", "ECHO", "Boat")), 1 / 4000)
