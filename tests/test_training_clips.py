"""Clips with one label each: what is read, parted, judged and kept, on a few seconds of synthetic sound."""
import json

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from pipeline import run_pipeline_single_audio
from tests.independent_verdict import compared
from training import clip_experiment as steps
from training.backbones import ARCHITECTURES, StatisticsNet, band_statistics, make_net
from training.clip_folds import folds_of
from training.clip_verdict import clip_metrics, pooled, worst_clips
from training.clips import clip_table
from training.evaluate import json_ready
from training.merge import merge, take_trunk
from training.metrics import precision_at_prevalence, reliability_error
from training.model import MultiOutputResNet
from training.saved import load_model
from training.spec import BadExperiment, Experiment, Split

RATE_HZ = 10_000
GIVEN = {"name": "toy", "profile": "watkins", "question": "Sweep or clicks?", "clips": [{"folder": "toy", "label": "species", "group": "source"}],
         "names": {"sweep": "Beluga", "click*": "OtherAnimal", "odd": "leave out", "*": None}, "split": {"kind": "grouped", "by": "group", "folds": 3},
         "backbone": "statistics", "loss": {"balance": "labels", "position_weight": 0}, "members": 2, "epochs": 6, "batch_size": 16, "windows_per_epoch": 128}


def sound(kind: str, source: int, rng, seconds: float) -> np.ndarray:
    """A second or so of a sweep, clicks or nothing in noise whose colour is the source's."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    noise = np.convolve(rng.standard_normal(len(t)), np.ones(1 + source % 4) / 2, mode="same")
    if kind == "sweep":
        start, rate = rng.uniform(0, 6), rng.uniform(1.2, 3.5)  # no two alike: the same sound twice would join their groups
        noise += 3 * np.sin(2 * np.pi * (rng.uniform(1000, 1500) * t + 900 * np.sin(rate * 2 * np.pi * t + start) / 3 / rate))
    if kind == "clicks":
        noise[np.cumsum(rng.integers(400, 1000, len(t) // 400)) % len(t)] += 60
    return (noise / 80 / (1 + source)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve sources (four of each kind) with three clips each, one clip at too low a rate, one to be left out."""
    root, rng, rows = tmp_path_factory.mktemp("sound"), np.random.default_rng(0), []
    (root / "toy").mkdir()
    for source in range(12):
        kind = ("sweep", "clicks", "silence")[source % 3]
        for n in range(3):
            seconds = (0.6, 1.3, 2.0)[n]
            name = f"{kind}_{source}_{n}.wav"
            soundfile.write(root / "toy" / name, sound(kind, source, rng, seconds), RATE_HZ)
            rows.append((name, kind, f"s{source}", RATE_HZ, seconds))
    for name, kind, rate in (("low.wav", "sweep", 2000), ("odd.wav", "odd", RATE_HZ)):
        soundfile.write(root / "toy" / name, np.zeros(rate, np.float32), rate)
        rows.append((name, kind, "s99", rate, 1.0))
    pd.DataFrame(rows, columns=["file", "species", "source", "sample_rate_hz", "duration_s"]).to_csv(root / "toy" / "manifest.csv", index=False)
    return root


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """The whole experiment, once."""
    patch = pytest.MonkeyPatch()
    patch.setenv("SEA_CANARY_DATA", str(folder))
    spec, out = Experiment.from_dict(GIVEN), tmp_path_factory.mktemp("results") / "toy"
    profile = spec.front_end()
    clips, data = steps.clip_data(spec, profile, out.parent / "data")
    predictions, kept = steps.judge_variants(data, spec, out, same=clips.attrs["same"])
    predictions = steps.tidy_predictions(predictions, profile.labels)
    metrics = steps.metrics_of(predictions, profile.labels, spec.pool, 1.0, 0.5, draws=20)
    net, model = steps.train_final(data, profile, kept)
    out.mkdir(parents=True, exist_ok=True)
    steps.save_clips(out, net, model, spec, clips, predictions, metrics)
    yield {"spec": spec, "clips": clips, "data": data, "predictions": predictions, "metrics": metrics, "model": model, "folder": out, "kept": kept}
    patch.undo()


def test_clips_are_named_grouped_and_left_out_with_a_reason(run):
    clips = run["clips"]
    assert clips["name"].value_counts().to_dict() == {"Beluga": 12, "OtherAnimal": 12, "": 12} and clips["group"].nunique() == 12
    assert clips.attrs["left_out"] == {"sweep, below 8000 Hz": 1, "odd, by name": 1}


def test_what_is_missing_is_said(folder, monkeypatch):
    monkeypatch.setenv("SEA_CANARY_DATA", str(folder / "nowhere"))
    spec = Experiment.from_dict(GIVEN)
    with pytest.raises(BadExperiment, match="SEA_CANARY_DATA"):
        clip_table(spec, spec.front_end())
    monkeypatch.setenv("SEA_CANARY_DATA", str(folder))
    other = Experiment.from_dict(GIVEN | {"clips": [{"folder": "gone", "label": "species"}]})
    with pytest.raises(BadExperiment, match="gone is missing"):
        clip_table(other, other.front_end())
    unnamed = Experiment.from_dict(GIVEN | {"names": {"sweep": "Beluga"}})
    with pytest.raises(BadExperiment, match="no name for clips labelled 'clicks'"):
        clip_table(unnamed, unnamed.front_end())


def test_no_group_lies_in_two_folds_but_row_wise_they_do(run):
    clips = run["clips"]
    grouped, rows = (folds_of(clips, split, 0) for split in (Split("grouped", "group", 3), Split("rows", folds=3)))
    assert clips.groupby("group")["recording"].agg(lambda names: grouped[names].nunique()).max() == 1
    assert clips.groupby("group")["recording"].agg(lambda names: rows[names].nunique()).max() > 1
    table = run["predictions"].groupby("group")["fold"].nunique()
    assert table.max() == 1


def test_it_tells_sources_apart_that_it_never_met(run):
    network = run["metrics"]["variants"]["all"]["network"]
    assert network["Beluga"]["average_precision"] > 0.9 and network["OtherAnimal"]["roc_auc"] > 0.9


def test_a_limit_never_comes_from_its_own_fold(run):
    """Another truth in fold 0 changes the limits of the other folds and not its own."""
    from training.clip_folds import calibration_of, with_thresholds

    kept, labels = run["kept"], ("Beluga", "OtherAnimal")
    calibration, _ = calibration_of(kept["table"], kept["position"], kept["target"], labels)
    changed = kept["table"].copy()
    here = changed["fold"] == 0
    changed.loc[here, [f"target_{x}" for x in labels]] = 1 - changed.loc[here, [f"target_{x}" for x in labels]]
    one, other = (with_thresholds(t, calibration, labels, "mean") for t in (kept["table"], changed))
    same = np.isclose(one["limit_Beluga"], other["limit_Beluga"])
    assert same[here].all() and not same[~here].all()


def test_metrics_come_again_from_the_predictions_and_the_run_repeats(run):
    folder = run["folder"]
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    count, unlike = compared(folder)
    assert unlike == [] and count >= 42  # network and baseline, two labels and their mean
    again = steps.metrics_of(pd.read_parquet(folder / "predictions.parquet"), tuple(metrics["labels"]), metrics["pool"], metrics["window_s"], metrics["step_s"], metrics["draws"])
    assert json_ready(again) == metrics
    net, _ = steps.train_final(run["data"], run["spec"].front_end(), run["kept"])
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, run["model"].net.state_dict()[name], rtol=0, atol=0)


def test_the_saved_model_answers_in_the_pipeline_as_in_training(run, folder, monkeypatch):
    from training import saved

    monkeypatch.setattr(saved, "ARCHITECTURES", saved.ARCHITECTURES | ARCHITECTURES)
    model, manifest = load_model(run["folder"]), run["data"].manifest
    for name in ("toy/sweep_0_0.wav", "toy/sweep_0_1.wav", "toy/clicks_1_2.wav"):  # 0.6, 1.3 and 2 s: padded windows too
        rows = manifest[manifest["recording"] == name]
        ours = model.predict(run["data"].windows(rows))[0]
        result = run_pipeline_single_audio(folder / name, model=model)
        np.testing.assert_allclose(result.windows[["p_Beluga", "p_OtherAnimal"]].to_numpy(), ours, atol=1e-5)


def test_descriptors_do_it_too_and_answer_in_the_pipeline_as_in_training(run, folder):
    spec = Experiment.from_dict(GIVEN | {"name": "told", "backbone": "descriptors", "augmentation": {"band_limit_rates_hz": [8000]},
                                         "normalisation": {"kind": "mean", "scale_db": 20, "low": -6, "high": 6, "masked": -8}})
    profile, out = spec.front_end(), run["folder"].parent / "told"
    predictions, kept = steps.judge_variants(run["data"], spec, out, same=run["clips"].attrs["same"])
    predictions = steps.tidy_predictions(predictions, profile.labels)
    metrics = steps.metrics_of(predictions, profile.labels, "mean", 1.0, 0.5, draws=5)
    assert metrics["variants"]["all"]["network"]["Beluga"]["average_precision"] > 0.9
    net, model = steps.train_final(run["data"], profile, kept)
    steps.save_clips(out, net, model, spec, run["clips"], predictions, metrics)
    loaded = load_model(out)
    for name in ("toy/sweep_0_0.wav", "toy/clicks_1_2.wav"):
        rows = run["data"].manifest.query("recording == @name")
        result = run_pipeline_single_audio(folder / name, model=loaded)
        np.testing.assert_allclose(result.windows[["p_Beluga", "p_OtherAnimal"]].to_numpy(), loaded.predict(run["data"].windows(rows))[0], atol=1e-4)


def test_cards_name_what_was_used(run):
    model_card, data_card = ((run["folder"] / f"{name}.md").read_text(encoding="utf-8") for name in ("model_card", "data_card"))
    assert "Sweep or clicks?" in model_card and "36 clips" in model_card and "sweep, below 8000 Hz: 1" in data_card


# ---- parts


def windows_table(prob, target, recordings, limit=0.5):
    return pd.DataFrame({"recording": recordings, "group": recordings, "set": "s", "raw": "r", "fold": 0, "start_s": 0.0, "target_A": target, "prob_A": prob,
                         "limit_A": limit, "target_B": 1 - np.asarray(target), "prob_B": 1 - np.asarray(prob), "limit_B": limit})


def test_pooling_is_the_mean_or_the_maximum_of_the_logit():
    table = windows_table([0.9, 0.1, 0.8], [1, 1, 0], ["a", "a", "b"])
    assert pooled(table, ("A",))["prob_A"].tolist() == pytest.approx([0.5, 0.8])
    assert pooled(table, ("A",), "max")["prob_A"].tolist() == pytest.approx([0.9, 0.8])


def test_clip_figures_by_hand():
    m = clip_metrics(windows_table([0.9, 0.6, 0.7, 0.2], [1, 1, 0, 0], list("abcd")), ("A", "B"), draws=5)
    # by probability: a (yes), c (no), b (yes), d (no); at 0.5: tp a b, fp c, tn d
    assert m["A"]["average_precision"] == pytest.approx((1 + 2 / 3) / 2) and m["A"]["roc_auc"] == pytest.approx(0.75) and m["A"]["f1"] == pytest.approx(0.8)
    assert m["best_label"]["accuracy"] == pytest.approx(0.75)
    assert m["A"]["precision_at_1%"] == pytest.approx(0.01 / (0.01 + 0.5 * 0.99)) and m["A"]["calibration_error"] == pytest.approx((0.1 + 0.4 + 0.7 + 0.2) / 4)


def test_the_quick_area_is_the_area_and_has_an_interval_over_groups():
    from training.clip_verdict import quick_auc
    from training.metrics import roc_auc

    rng = np.random.default_rng(2)
    truth, score = rng.integers(0, 2, 60).astype(float), rng.integers(0, 9, 60) / 8  # with ties
    truth[:5] = np.nan
    assert quick_auc(truth, score) == pytest.approx(roc_auc(truth, score)) and np.isnan(quick_auc(np.ones(4), score[:4]))
    m = clip_metrics(windows_table([0.9, 0.6, 0.7, 0.2], [1, 1, 0, 0], list("abcd")), ("A", "B"), draws=30)
    low, high = m["interval"]["macro_roc_auc"]
    assert low <= m["macro"]["roc_auc"] <= high and high == 1


def test_precision_where_calls_are_rare():
    found = {"tp": 9, "fn": 1, "fp": 1, "tn": 99}
    assert precision_at_prevalence(found, 0.1) == pytest.approx(0.09 / (0.09 + 0.009))
    assert np.isnan(precision_at_prevalence({"tp": 0, "fn": 0, "fp": 1, "tn": 9}, 0.1))
    assert reliability_error(np.array([0.25, 0.25, 0.9]), np.array([0, 1, np.nan])) == pytest.approx(0.25)


def test_the_worst_errors_come_first():
    worst = worst_clips(windows_table([0.9, 0.6, 0.7, 0.2], [1, 0, 0, 1], list("abcd")), ("A",))
    assert worst[["error", "recording"]].to_numpy().tolist() == [["false alarm", "c"], ["false alarm", "b"], ["miss", "d"]]


def test_statistics_do_not_see_gain_colour_or_masked_bands():
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.standard_normal((2, 20, 64)).astype(np.float32) * 0.3)
    coloured = x + torch.from_numpy(rng.standard_normal((2, 20, 1)).astype(np.float32) * 0.2)
    torch.testing.assert_close(band_statistics(x), band_statistics(coloured), rtol=0, atol=1e-5)
    masked = x.clone()
    masked[:, 15:] = -2
    assert not band_statistics(masked).unflatten(1, (StatisticsNet.STATISTICS, 20))[:, :, 15:].any()


@pytest.mark.parametrize("backbone", ["resnet", "statistics"])
def test_merged_members_answer_their_mean(backbone):
    profile = Experiment.from_dict(GIVEN).front_end()
    nets = []
    for seed in range(3):
        torch.manual_seed(seed)
        nets.append(make_net(backbone, profile, 16).train())
        nets[-1](torch.randn(8, 1, 48, 128))  # the batch norms learn something
        nets[-1].eval()
    x = torch.randn(2, 1, 48, 128)
    with torch.no_grad():
        torch.testing.assert_close(merge(nets)(x)[1], torch.stack([net(x)[1] for net in nets]).mean(0), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError):
        merge([nets[0], make_net(backbone, profile, 32)])


def test_a_trunk_is_taken_over_where_it_fits():
    one, other = MultiOutputResNet({"a": ["x"]}, 96), MultiOutputResNet({"b": ["y", "z"]}, 48)
    taken = take_trunk(other, one.state_dict())
    assert "stem.0.weight" in taken and any(name.startswith("trunk.2") for name in taken) and not any(name.startswith(("heads", "join")) for name in taken)
    torch.testing.assert_close(other.stem[0].weight, one.stem[0].weight)
