"""Several devices: each gets its share of every batch, together they make up the batch of one, and the flags of the Trainer change no digest."""
import copy

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.training_toy import PROFILE, toy_dataset
from training import devices
from training.__main__ import rank, with_flags
from training.augment import Augmentation
from training.data import EpochSampler, WindowSet, loader
from training.fit import FitSettings, fit
from training.metrics import average_precision
from training.model import MultiOutputResNet
from training.spec import BadExperiment, Experiment

TWO = {"devices": 2, "strategy": "ddp_spawn", "accelerator": "cpu"}


class Numbers(torch.utils.data.Dataset):
    """What was asked for, for counting."""

    def __len__(self):
        return 103

    def __getitems__(self, numbers):
        return list(numbers)


def batches_of(monkeypatch, own, count, even=True, epoch=3, share=None):
    monkeypatch.setattr(devices, "_own_rank", lambda: own)
    made = devices.shared(DataLoader(Numbers(), 12, sampler=EpochSampler(103, 5, None, share), collate_fn=list), count, even)
    made.sampler.set_epoch(epoch)
    batches = list(made)
    assert len(made) == len(batches)
    return batches


@pytest.mark.parametrize("count", [2, 3, 4])
def test_devices_share_each_batch_and_no_window_comes_twice(monkeypatch, count):
    one = batches_of(monkeypatch, 0, 1)
    parts = [batches_of(monkeypatch, own, count) for own in range(count)]
    assert len({len(part) for part in parts}) == 1  # as many steps on each, or they would wait for ever
    for k, batch in enumerate(one[:-1]):
        assert sorted(sum((part[k] for part in parts), [])) == sorted(batch)
    seen = sum(sum(parts, []), [])
    assert len(set(seen)) == len(seen) == 103 // count * count and set(seen) <= {3 * 103 + n for n in range(103)}
    examined = [batches_of(monkeypatch, own, count, even=False) for own in range(count)]
    assert sorted(sum(sum(examined, []), [])) == sorted(sum(one, []))  # validation leaves none out


def test_another_epoch_is_another_order_on_all_devices(monkeypatch):
    assert batches_of(monkeypatch, 1, 2, epoch=0) != [[n - 103 for n in batch] for batch in batches_of(monkeypatch, 1, 2, epoch=1)]
    with pytest.raises(ValueError, match="batch_size 12 cannot be shared by 5 devices; take a multiple of 5"):
        batches_of(monkeypatch, 0, 5)


def test_flags_reach_the_trainer_and_change_no_digest():
    mine = Experiment.from_dict({"name": "mine"})
    told = with_flags(mine, ["devices=2", "precision=bf16-mixed", "strategy=ddp_notebook"])
    assert told.trainer == {"devices": 2, "precision": "bf16-mixed", "strategy": "ddp_notebook"} and told.digest() == mine.digest() == Experiment("mine").digest()
    assert devices.trainer_flags(told.trainer) | told.trainer == devices.trainer_flags(told.trainer) and devices.trainer_flags(None)["devices"] == 1
    with pytest.raises(BadExperiment, match="'device' is not known; did you mean 'devices'"):
        with_flags(mine, ["device=2"])
    with pytest.raises(BadExperiment, match="--trainer 4: no value"):
        with_flags(mine, ["4"])


def test_processes_started_outside_train_by_ddp(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("RANK", "5")
    assert rank() == 5 and type(devices.trainer_flags({"devices": 4, "num_nodes": 2})["strategy"]).__name__ == "AmongOthers"
    with pytest.raises(BadExperiment, match="kind study is several trainings"):
        devices.join(Experiment.from_dict({"name": "mine", "study": "leak"}), "data", "results")


def test_two_processes_train_one_network(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    data = toy_dataset(tmp_path / "d", seconds=8)
    settings = FitSettings(epochs=2, batch_size=16, learning_rate=8e-3, trainer=TWO)
    first = MultiOutputResNet(PROFILE.heads, PROFILE.n_bands, crest=PROFILE.crest_columns, width=8)
    train, validation = WindowSet(data, data.rows(split="train"), PROFILE, Augmentation.none(), 0), WindowSet(data, data.rows(split="validation"), PROFILE)
    net, history = fit(copy.deepcopy(first), train, validation, settings, tmp_path, progress=False)
    assert [h["epoch"] for h in history] == [0, 1]
    assert not torch.equal(net.state_dict()["stem.0.weight"], first.state_dict()["stem.0.weight"])
    kept = max(history, key=lambda h: h["val_macro_ap"])["val_macro_ap"]
    x, target, _ = next(iter(loader(validation, 1000)))
    with torch.no_grad():
        logits = net(x)[0].numpy()
    assert np.nanmean([average_precision(target[:, k].numpy(), logits[:, k]) for k in range(len(PROFILE.labels))]) == pytest.approx(kept, abs=1e-3)  # all windows, judged together
