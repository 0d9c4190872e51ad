"""Descriptors of a window, the linear model on them, and groups that share sound."""
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from training.clip_folds import folds_of
from training.clip_groups import join_groups, same_sound
from training.descriptor_fit import SHRINKAGE, Descriptors, fit_descriptors, ridge, shrinkage_of
from training.descriptor_net import DescriptorNet
from training.descriptors import count_of, descriptors
from training.leaks import Leak
from training.spec import Split

HEADS = {"animal": ["A", "B"]}


def pictures(count=3, frames=128, bands=32, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((count, frames, bands)).astype(np.float32) * 5)


def test_descriptors_do_not_see_gain_nor_what_was_not_recorded():
    x, seen = pictures(), torch.ones(3, 128, dtype=torch.bool)
    seen[1, 60:] = False
    told = descriptors(x, seen)
    assert told.shape == (3, count_of(32)) and told.isfinite().all()
    louder = x + torch.tensor([0.0, 30.0, -20.0])[:, None, None]
    louder[1, 60:] = 77.0
    torch.testing.assert_close(descriptors(louder, seen), told, rtol=0, atol=2e-3)
    assert descriptors(x, seen & (torch.arange(128) == 0)).isfinite().all()  # a single frame


def test_descriptors_by_hand():
    """A steady tone in band 20 of 32, 30 dB above a flat floor: no deviation, all its places in bin 7 of 12, contrast 15 dB in its group of four bands (two highest)."""
    x = torch.zeros(1, 128, 32)
    x[:, :, 20] = 30.0
    told = descriptors(x + 0.001 * pictures(1), torch.ones(1, 128, dtype=torch.bool))[0]
    assert told[20] - told[0] == pytest.approx(30, abs=0.1) and told[32:64].max() < 0.1
    contrast = told[2 * 32 + 120 + 42:].reshape(8, 3)
    assert contrast[5, 0] == pytest.approx(15, abs=0.1) and contrast[4, 0] < 0.1
    swinging = torch.zeros(1, 128, 32)
    swinging[:, torch.arange(128), (torch.arange(128) // 4) % 32] = 30.0  # rises by a band every four frames
    rising, falling = (descriptors(s, torch.ones(1, 128, dtype=torch.bool))[0, 64 + 64:64 + 120] for s in (swinging, swinging.flip(2)))
    torch.testing.assert_close(rising, -falling, rtol=0, atol=2e-3)
    assert rising.abs().max() > 1


def test_modulation_of_narrow_bands_tells_rising_from_falling_too():
    rising = torch.zeros(1, 128, 96)
    rising[:, torch.arange(128), torch.arange(128) % 96] = 30.0
    turn = [descriptors(s, torch.ones(1, 128, dtype=torch.bool))[0, 2 * 96 + 64:2 * 96 + 120] for s in (rising, rising.flip(2))]
    assert count_of(96) == 2 * 96 + 186 and turn[0].abs().max() > 1
    torch.testing.assert_close(turn[0], -turn[1], rtol=0, atol=2e-3)


def test_each_part_is_shrunk_as_is_said_of_it():
    shrinkage = shrinkage_of(20)
    assert len(shrinkage) == count_of(20)
    assert (shrinkage[:20] == SHRINKAGE["mean"]).all() and (shrinkage[20:40] == SHRINKAGE["deviation"]).all() and (shrinkage[40:160] == SHRINKAGE["modulation"]).all()
    rng = np.random.default_rng(0)
    value = rng.standard_normal(400)
    values, target = np.stack([value, value + 1e-9 * rng.standard_normal(400)], axis=1), (value > 0)[:, None].astype(float)
    weight = ridge(values, target, np.full(400, 1 / 400), np.array([1.0, 10.0]))[2][:, 0]
    assert weight[0] / weight[1] == pytest.approx(10, rel=1e-3)  # of two that say the same, the less shrunk one is believed


def fitted(seed=0):
    """A net of two limits, fitted to windows of twelve groups that differ in band 5 (A), or not (nothing)."""
    rng, net = np.random.default_rng(seed), DescriptorNet(HEADS, 32, 128, [20, 32], 20.0, -8.0)
    x = pictures(96, seed=1) / 20
    target = np.zeros((96, 2), np.float32)
    target[::2, 0] = 1
    x[::2, :, 5] += 1.5
    x[:, :, :] += torch.from_numpy(rng.standard_normal((96, 1, 32)).astype(np.float32) * 0.2)
    x[60:, :, 20:] = -8.0  # recorded at a lower rate
    rows = pd.DataFrame({"recording": [f"r{k}" for k in range(96)], "group": [f"g{k % 12}" for k in range(96)], "name": np.where(target[:, 0] == 1, "A", "")})
    high = net.limit_of(x).numpy()
    values = {20: net.describe(x, 20).numpy(), 32: np.where(high[:, None] == 1, net.describe(x, 32).numpy(), np.nan).astype(np.float32)}
    return fit_descriptors(net, Descriptors(values, target), rows), x, target, (values, rows)


def test_a_lower_rate_is_judged_by_the_bands_it_has():
    net, x, target, _ = fitted()
    with torch.no_grad():
        window, position = net(x.transpose(1, 2)[:, None])
        full = x[:60].clone()
        full[:, :, 20:] = -8.0
        lower = net(full.transpose(1, 2)[:, None])[0]
        torch.testing.assert_close(lower, net.decide(20, net.describe(x[:60], 20)), rtol=1e-4, atol=1e-4)
    a = window[:, 0].numpy()
    assert a[target[:, 0] == 1].min() > a[target[:, 0] == 0].max()  # at both rates
    assert position.shape[:2] == (96, 2) and torch.equal(position[:, :, 0], window)


def test_one_in_twenty_of_what_was_not_trained_on_is_a_false_alarm():
    from training.descriptor_fit import false_alarm_scale

    rng = np.random.default_rng(3)
    values, target = rng.standard_normal((400, 6)), np.zeros((400, 1))
    target[::2] = 1
    values[::2, 0] += 2
    rows = pd.DataFrame({"recording": [f"r{k}" for k in range(400)], "group": [f"g{k // 20}" for k in range(400)], "name": np.where(target[:, 0] == 1, "A", "")})
    zero, unit = false_alarm_scale(values, target, rows, np.full(6, 0.3), 0, "group")
    from training.descriptor_fit import answers, ridge, window_weights

    fresh = rng.standard_normal((4000, 6))
    logit = (answers(ridge(values, target, window_weights(rows, target), np.full(6, 0.3)), fresh) - zero) / unit
    assert (logit > 0).mean() == pytest.approx(0.05, abs=0.03) and np.median(logit) == pytest.approx(-3, abs=0.5)


def test_the_fit_repeats_and_its_sizes_are_checked():
    one, other = fitted()[0].state_dict(), fitted()[0].state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(ValueError, match="160 bands"):
        DescriptorNet(HEADS, 160, 128, [160], 20.0, -8.0)


def test_a_planted_copy_joins_its_groups_and_is_refused_otherwise(tmp_path):
    rng, rows = np.random.default_rng(0), []
    for k in range(6):
        t = np.arange(12000) / 8000
        sound = rng.standard_normal(12000) * 0.02 + 0.2 * np.sin(2 * np.pi * (800 + 200 * k) * t + 40 * np.sin((3 + k) * t))
        soundfile.write(tmp_path / f"{k}.wav", sound, 8000)
        rows.append((f"{k}.wav", f"s{k}", "A" if k < 3 else ""))
    soundfile.write(tmp_path / "copy.wav", soundfile.read(tmp_path / "0.wav")[0], 8000)
    clips = pd.DataFrame([*rows, ("copy.wav", "s9", "A")], columns=["recording", "group", "name"])
    clips["path"], clips["duration_s"] = [str(tmp_path / name) for name in clips["recording"]], 1.5
    clips.attrs["left_out"] = {}
    same = same_sound(clips, tmp_path / "kept")
    assert same[["a", "b", "kind"]].to_numpy().tolist() == [["0.wav", "copy.wav", "same samples"]]
    joined = join_groups(clips, same)
    assert set(joined.loc[[0, 6], "group"]) == {"s0 + s9"} and joined["group"].nunique() == 6
    assert joined.attrs["joined"][["group_a", "group_b"]].to_numpy().tolist() == [["s0", "s9"]] and joined.attrs["left_out"] == {}
    fold = folds_of(joined, Split("grouped", "group", 2), 0, same)
    assert fold["0.wav"] == fold["copy.wav"]
    apart = clips.assign(group=["s0", "s1", "s2", "s3", "s4", "s5", "s9"])
    with pytest.raises(Leak, match="same samples"):
        for seed in range(20):  # some deal parts them
            folds_of(apart, Split("grouped", "group", 2), seed, same)
    for path in clips["path"]:  # compared before: not read again, neither for all nor for some
        open(path, "r+b").write(b"gone")
    pd.testing.assert_frame_equal(same_sound(clips, tmp_path / "kept"), same, check_dtype=False)
    assert same_sound(clips.iloc[1:], tmp_path / "kept").empty


def test_windows_beside_teach_what_the_clips_do_not_hold_and_weigh_as_much_as_is_said():
    rng = np.random.default_rng(3)
    values, target = rng.standard_normal((200, 6)), np.zeros((200, 1))
    target[:100] = 1
    values[:100, 0] += 1
    more, called = rng.standard_normal((80, 6)), np.repeat([[1.0], [0.0]], 40, axis=0)
    more[:40, 3] += 2
    weight = np.ones(200) / 200
    alone, light, heavy = (ridge(values, target, weight, np.full(6, 0.3), beside and (more, called, np.full(80, beside / 80)))[2][:, 0] for beside in (None, 1e-9, 0.5))
    np.testing.assert_allclose(light, alone, atol=1e-6)
    assert heavy[3] > abs(alone[3]) + 0.05 and heavy[0] > 0.05
    twice = ridge(np.concatenate([values, more]), np.concatenate([target, called]), np.concatenate([weight, np.full(80, 0.5 / 80)]), np.full(6, 0.3))[2][:, 0]
    np.testing.assert_allclose(heavy, twice)


def test_every_fit_learns_from_what_stands_beside():
    net, values, target, (table, rows) = fitted()
    beside = Descriptors({bands: np.nan_to_num(part[:48]) for bands, part in table.items()}, np.roll(target[:48], 1, axis=0), weight=np.full(48, 1 / 48))
    known = Descriptors(table, target, beside=beside)
    assert known.of(np.arange(10)).beside is beside
    other = fit_descriptors(DescriptorNet(HEADS, 32, 128, [20, 32], 20.0, -8.0), known, rows)
    assert not torch.allclose(other.weight_20, net.weight_20)


def test_simulated_calls_are_renamed_and_touched_windows_left_out(monkeypatch, tmp_path):
    from training import deployments, simulated_calls
    from training.spec import BadExperiment, Experiment

    base = {"name": "toy", "clips": [{"folder": "here", "label": "species"}], "backbone": "descriptors", "profile": "watkins", "simulated": {"label": "Beluga", "natural": 2, "empty": 1}}
    seen = {}

    def dataset(plan, folder, name, profile, truth_as):
        truth = pd.DataFrame({"label": ["Whistle", "Boat", "BBPC", "ECHO"], "low_hz": [800.0, 100.0, 30_000.0, 900.0]})
        seen.update(plan=plan, truth=truth_as(truth))

    monkeypatch.setattr(deployments, "simulated_dataset", dataset)
    spec = Experiment.from_dict(base)
    simulated_calls.simulated_calls(spec, spec.front_end(), tmp_path)
    assert seen["truth"]["label"].tolist() == ["Beluga"] and {d.kind for d in seen["plan"]} == {"natural", "empty"} and {d.split for d in seen["plan"]} == {"train"}
    for change, said in (({"simulated": {"label": "Beluga", "empty": 3}}, "no recordings with calls"), ({"simulated": {"label": "Beluga", "naturel": 3}}, "natural"),
                         ({"backbone": "resnet"}, "take pretrained"), ({"simulated": {"natural": 3}}, "give e.g.")):
        with pytest.raises(BadExperiment, match=said):
            Experiment.from_dict(base | change)
