"""Frozen networks as feature extractors, and the two classifiers on top: what goes in, who judges whom, and figures by hand."""
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from spectrogram.profile import load_profile
from training import embedding_tasks, kaggle_clips
from training.backbones import BadBackbone
from training.embedding_tasks import GROUPED, ROWS, STATISTICS, figures, gain, sentence, task_of
from training.embeddings import NEIGHBOURS, PROBE, backbone, embed, judged, last_map, neighbours, of_clips, spread_windows, standardised, vote
from training.saved import BadModel, save_model
from training.spec import Experiment

PROFILE = load_profile("right_whale")


def pictures(count=3, seed=0):
    return torch.randn(count, 1, PROFILE.n_bands, PROFILE.window_frames, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["statistics", "resnet18", "mobilenet_v3_small.4", "ast:tiny", "cook:alexnet"])
def test_an_embedding_is_what_the_last_map_turns_into_the_answer(name):
    net, x = backbone(name, PROFILE), pictures()
    told, last = embed(net, x), last_map(net)[1]
    logit = net(x)[0]
    again = last(told[..., None])[..., 0] if isinstance(last, nn.Conv1d) else last(told)
    assert told.shape[0] == 3 and told.isfinite().all()
    torch.testing.assert_close(again, logit)
    torch.testing.assert_close(embed(net, x[1:2]), told[1:2], rtol=1e-4, atol=1e-5)  # no window sees another


def test_a_trunk_of_other_bands_is_taken_over_and_what_does_not_fit_is_refused(tmp_path, monkeypatch):
    from training import embeddings
    from training.model import MultiOutputResNet

    torch.manual_seed(5)
    trained = MultiOutputResNet(PROFILE.heads, 32, 8)
    monkeypatch.setattr(embeddings, "find_folder", lambda name: tmp_path)
    save_model(tmp_path, trained, replace(PROFILE, picture=PROFILE.picture | {"bands": 32}), {"UpCall": {}}, {"UpCall": {}})
    random, taken = backbone("resnet", PROFILE, "random", 8), backbone("resnet", PROFILE, "mine", 8)
    torch.testing.assert_close(taken.stem[0].weight, trained.stem[0].weight)
    assert not torch.equal(embed(random, pictures()), embed(taken, pictures()))
    assert embed(taken, pictures()).shape == (3, 2 * 24 * PROFILE.n_bands // 16) and not any(p.requires_grad for p in taken.parameters())
    with pytest.raises(BadBackbone, match="nothing in results/mine fits"):
        backbone("statistics", PROFILE, "mine")
    with pytest.raises(BadBackbone, match="too small|needs|at least|bands"):
        backbone("descriptors", PROFILE)  # more frames than descriptors take


def test_weights_that_are_not_kept_with_the_code_are_told_with_how_to_make_them(tmp_path):
    from training.model import MultiOutputResNet

    net, half = MultiOutputResNet(PROFILE.heads, PROFILE.n_bands, crest=PROFILE.crest_columns, width=4, tiles=1), {x: {"window": 0.5, "on": 0.5, "off": 0.25} for x in PROFILE.labels}
    plain = {x: {"slope": 1.0, "intercept": 0.0, "position_slope": 1.0, "position_intercept": 0.0} for x in PROFILE.labels}
    save_model(tmp_path / "m", net, PROFILE, half, plain, {"remake": "make experiment NAME=m"})
    (tmp_path / "m" / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(BadModel, match="model.safetensors: cannot be read .*; copy the folder again"):
        backbone("resnet", PROFILE, str(tmp_path / "m"))
    (tmp_path / "m" / "model.safetensors").unlink()
    with pytest.raises(BadModel, match="is not there; make experiment NAME=m"):
        backbone("resnet", PROFILE, str(tmp_path / "m"))


def test_windows_are_spread_over_a_clip_and_averaged_clip_by_clip():
    rows = pd.DataFrame({"recording": ["a"] * 10 + ["b"] * 2, "start_frame": [*range(10), 0, 1]})
    few = spread_windows(rows, 4)
    assert few.groupby("recording").size().to_dict() == {"a": 4, "b": 2} and few.loc[few["recording"] == "a", "start_frame"].is_monotonic_increasing
    assert few["start_frame"].iloc[3] >= 7  # to the end of the clip
    assert of_clips(np.arange(6.0)[:, None], few).ravel().tolist() == [1.5, 4.5]


def test_who_knows_the_group_knows_nothing_of_another_group():
    """Embeddings that only say which group a clip is of: useless on other groups, and perfect where clips are shuffled."""
    rng, groups = np.random.default_rng(3), np.repeat(np.arange(24), 6)
    target = rng.permutation(np.arange(24) % 2)[groups][:, None].astype(float)
    x = np.eye(24)[groups] + 0.05 * rng.standard_normal((144, 24))
    of = lambda fold, own: {m: ((p[:, 0] > 0.5) == target[:, 0]).mean() for m, p in judged(x, target, own, fold).items()}  # noqa: E731
    apart, shuffled = of(groups % 4, groups), of(np.arange(144) % 6, np.arange(144))
    assert max(apart.values()) < 0.7 and min(shuffled.values()) > 0.95


def test_what_carries_over_is_found_by_both():
    rng, groups = np.random.default_rng(1), np.repeat(np.arange(12), 10)
    target = rng.integers(0, 2, (120, 1)).astype(float)
    x = np.concatenate([rng.standard_normal((120, 200)) * 0.5, target * 6 - 3 + 0.1 * rng.standard_normal((120, 20))], axis=1)
    answers = judged(x, target, groups, groups % 3)
    assert {m: ((p[:, 0] > 0.5) == target[:, 0]).mean() for m, p in answers.items()} == {PROBE: 1.0, NEIGHBOURS: 1.0}


def test_the_vote_by_hand_and_turning_changes_no_distance():
    known, asked = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), np.array([[2.0, 0.0]])
    share = vote(known, np.array([[1.0], [0.0], [0.0]]), asked, 2)
    assert share[0, 0] == pytest.approx(2 / 3)  # cosines 1 and 0 weigh 2 and 1
    rng = np.random.default_rng(0)
    known, asked = rng.standard_normal((5, 40)), rng.standard_normal((3, 40))
    turned, _ = standardised(known, asked)
    plain = np.clip((known - known.mean(0)) / (known.std(0) + 1e-6), -5, 5)
    assert turned.shape == (5, 5)
    np.testing.assert_allclose(turned @ turned.T, plain @ plain.T, atol=1e-8)


def test_neighbours_are_of_other_groups():
    x = np.array([[0.0, 1.0], [0.0, 1.1], [0.1, 1.0], [5.0, -1.0]])
    rows = pd.DataFrame({"recording": list("abcd"), "group": ["g", "g", "h", "i"]})
    assert neighbours(x, rows, 0, 2)["recording"].tolist() == ["c", "d"]


def test_a_task_on_simulated_clips_from_sound_to_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(kaggle_clips, "SIMULATED", tmp_path / "simulated")
    spec = Experiment.from_dict(embedding_tasks.UPCALLS | {"clips": [{"kaggle": "simulated", "hours": 8, "clips_per_hour": 6, "upcall_share": 0.5, "seed": 3}],
                                                            "split": {"kind": "grouped", "by": "group", "folds": 2}})
    task = task_of(spec, tmp_path / "data")
    assert task.simulated and task.clips.groupby("group")["fold"].nunique().max() == 1 and len(task.clips) == 48
    networks = [{"name": "statistics", "backbone": STATISTICS}, {"name": "own", "backbone": "resnet", "width": 8}, {"name": "numbers", "backbone": "descriptors"}]
    answers, left_out = embedding_tasks.answers_of(task, networks)
    assert list(left_out) == ["numbers"] and "frames" in left_out["numbers"]
    table = figures(answers, task.labels, draws=10)
    assert len(table) == 2 * 3 and set(table["split"]) == {GROUPED, ROWS} and table[["AP", "ROC AUC"]].notna().all(axis=None)
    assert (table["AP low"] <= table["AP high"]).all() and table["clips"].eq(48).all()
    same = gain(answers, "own", "own", task.labels, draws=5)
    assert same["difference"] == same["low"] == same["high"] == 0 and "not told apart" in sentence(same)
    ax = embedding_tasks.plot_figures(table)
    assert ax.get_xlabel() == "macro average precision"
    plt.close(ax.figure)


def test_a_trunk_that_was_trained_on_the_clips_that_are_judged_is_refused():
    same = Experiment.from_dict(embedding_tasks.UPCALLS | {"clips": [{"kaggle": "simulated", "hours": 16, "seed": 1}]})
    with pytest.raises(BadBackbone, match="right_whale_noise: trained on contest simulated 1"):
        embedding_tasks.refuse_known("right_whale_noise", same)
    with pytest.raises(BadBackbone, match="right_whale_watkins: trained on folder watkins"):
        embedding_tasks.refuse_known("right_whale_watkins", Experiment.from_dict(embedding_tasks.SPECIES))
    for weights in ("random", "beluga_default", "right_whale_noise", "cook_inlet/models/alexnet"):
        embedding_tasks.refuse_known(weights, Experiment.from_dict(embedding_tasks.UPCALLS))
    embedding_tasks.refuse_known("cook_inlet/models/alexnet", Experiment.from_dict(embedding_tasks.SPECIES))  # its belugas are judged, never trained on
