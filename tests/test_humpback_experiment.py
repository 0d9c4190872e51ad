"""Humpbacks with and without denoising: nobody is judged by what he was trained on, every way hears the same windows, figures come again from their tables."""
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from pipeline import run_pipeline_single_audio
from spectrogram.profile import load_profile
from tests.independent_verdict import compared
from training import humpback_data
from training import humpback_experiment as steps
from training.humpback_verdict import conclusion, macro_f1, metrics_of, paired, sentence
from training.leaks import Leak
from training.noise_refinement import call_scores, kept, passed_over, refined_clips, refinement_metrics
from training.recompute import differences
from training.saved import load_model
from training.spec import BadExperiment, Experiment

GIVEN = {"name": "toy", "profile": "humpback", "question": "Which call?",
         "humpback": {"recordings": 4, "recording_s": 50, "calls": 7, "portions": [0.2, 0.8], "mixtures": 4, "snrs_db": [0], "denoiser": {"recordings": 2, "calls": 5, "held_out": 1, "steps": 2,
                                                                                                                                            "width": 4, "batch_size": 2}},
         "split": {"kind": "grouped", "by": "group", "folds": 2}, "width": 8, "epochs": 1, "batch_size": 32, "augmentation": {"band_limit_share": 0},
         "variants": {"gated": {"denoise": "gate"}, "as recorded": {}, "U-Net": {"denoise": "unet", "backbone": "statistics"}}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The whole experiment, once."""
    spec, out = Experiment.from_dict(GIVEN), tmp_path_factory.mktemp("humpback")
    profile, folder = spec.front_end(), out / "results" / "toy"
    recordings = humpback_data.recordings_of(spec, profile, out / "data")
    unet = humpback_data.train_unet(spec, recordings, out / "data", folder / "denoiser")
    ways = {"raw": None, "gate": "gate", "unet": unet}
    data = humpback_data.data_sets(spec, profile, recordings, ways, out / "data")
    mixtures = steps.known_mixtures(spec, recordings, ways)
    refinement = passed_over(data["raw"], profile, 0.3, 0)
    predictions, kept_ = steps.judge(data, spec, folder, same=recordings.attrs["same"])
    predictions = steps.tidy(predictions, profile.labels)
    given = {"simulated": True, "labels": list(profile.labels), "pool": spec.pool, "window_s": profile.window_s, "step_s": profile.step_s, "draws": 10}
    metrics = metrics_of(predictions, mixtures, refinement, given)
    net, model = steps.train_kept(data["gate"], profile, kept_)
    steps.save(folder, net, model, kept_, spec, predictions, mixtures, refinement, metrics, {"groups": 4, "denoiser": unet.info["trained_on"]})
    return {"spec": spec, "recordings": recordings, "data": data, "predictions": predictions, "metrics": metrics, "folder": folder, "out": out, "unet": unet, "profile": profile}


def test_every_way_hears_the_same_windows_of_the_same_recordings(run):
    raw, gate, unet = (run["data"][way].manifest for way in ("raw", "gate", "unet"))
    columns = ["recording", "start_frame", "group", *(f"target_{x}" for x in run["profile"].labels)]
    pd.testing.assert_frame_equal(raw[columns], gate[columns])
    pd.testing.assert_frame_equal(raw[columns], unet[columns])
    pictures = {way: data.windows(data.manifest.head(4)) for way, data in run["data"].items()}
    assert np.isfinite(pictures["raw"]).all() and np.median(pictures["raw"] - pictures["gate"]) > 5 and not np.allclose(pictures["raw"], pictures["unet"])
    folds = run["predictions"].groupby(["variant", "group"])["fold"].nunique()
    assert folds.max() == 1 and run["predictions"]["fold"].nunique() == 2
    per_variant = [part[["recording", "fold"]].reset_index(drop=True) for _, part in run["predictions"].groupby("variant", sort=False)]
    assert all(part.equals(per_variant[0]) for part in per_variant)


def test_a_portion_is_that_much_of_one_call_and_nothing_of_another(run):
    data, profile = run["data"]["raw"], run["profile"]
    windows = steps.portion_windows(data, [0.2, 0.8])
    assert {0.2, 0.8} == set(windows["portion"]) and len(windows) > 20
    for row in windows.itertuples():
        calls = data.calls[data.calls["recording"] == row.recording]
        overlap = np.minimum(calls["end_s"], row.start_s + profile.window_s) - np.maximum(calls["start_s"], row.start_s)
        touched = calls[overlap > 0]
        assert len(touched) == 1 and getattr(row, f"target_{touched['label'].iloc[0]}") == 1
        length_s = float((touched["end_s"] - touched["start_s"]).iloc[0])
        assert overlap.max() == pytest.approx(row.portion * length_s, abs=1.01 / profile.frame_rate_hz)
    assert sum(len(rows) for rows in run["metrics"]["portions"].values()) == 6


def test_every_figure_comes_again_from_the_tables(run):
    assert differences(run["folder"]) == []
    count, unlike = compared(run["folder"])
    assert unlike == [] and count >= 48
    metrics = json.loads((run["folder"] / "metrics.json").read_text(encoding="utf-8"))
    assert {row["way"] for row in metrics["paired"]} == {"gate"}  # the U-Net's network has no twin that hears the sound as recorded
    assert metrics["refinement"]["segments"] > 0 and {row["how"] for row in metrics["gains"]["means"]} == {"gate", "unet"}
    card = (run["folder"] / "model_card.md").read_text(encoding="utf-8")
    assert "Which call?" in card and "**simulated**" in card


def test_the_kept_model_denoises_in_the_pipeline_as_in_training(run):
    model = load_model(run["folder"])
    assert model.denoise == "gate"
    row = run["recordings"].iloc[0]
    result = run_pipeline_single_audio(row["path"], model)
    data = run["data"]["gate"]
    mine = data.manifest[data.manifest["recording"] == row["recording"]]
    assert result.metadata["denoise"] == "gate" and len(result.windows) == len(mine)
    np.testing.assert_allclose(result.windows[[f"p_{x}" for x in model.labels]].to_numpy(), model.predict(data.windows(mine))[0], atol=2e-4)


def test_the_denoiser_never_knows_what_is_judged(run):
    with pytest.raises(BadExperiment, match="would be trained on b"):
        humpback_data.refuse_shared({"a", "b"}, pd.DataFrame({"group": ["c", "d + b"]}))
    judged = run["recordings"]
    with pytest.raises(BadExperiment, match="by which it is judged"):
        humpback_data.train_unet(run["spec"], judged.assign(group="denoiser 1005/haro_20211003T001500Z.wav"), run["out"] / "data", run["out"] / "other")
    with pytest.raises(BadExperiment, match="hold the same sound .* take it out"):
        humpback_data.refuse_same_sound(judged.head(1), judged.assign(recording="copy of " + judged["recording"]))
    humpback_data.refuse_same_sound(judged.head(2), judged.tail(2))
    again = humpback_data.train_unet(run["spec"], judged, run["out"] / "data", run["folder"] / "denoiser")
    assert again.info["denoiser_id"] == run["unet"].info["denoiser_id"]  # read, not trained again


def test_clips_train_the_denoiser_that_the_experiment_leaves_out(tmp_path, monkeypatch):
    import soundfile

    rng, rows = np.random.default_rng(0), []
    for n, (label, source) in enumerate([("hump", "a"), ("hump", "b"), ("bow", "c"), ("bow", "c"), ("bow", "c"), ("bow", "c"), ("bow", "c"), ("sea", "d"), ("sea", "e"), ("sea", "e"), ("sea", "f")]):
        (tmp_path / "set").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "set" / f"{n}.wav", 0.1 * rng.standard_normal(24000).astype(np.float32), 12000)
        rows.append((f"{n}.wav", label, source, 12000, 2.0))
    pd.DataFrame(rows, columns=["file", "species", "source", "sample_rate_hz", "duration_s"]).to_csv(tmp_path / "set" / "manifest.csv", index=False)
    monkeypatch.setenv("SEA_CANARY_DATA", str(tmp_path))
    given = {"name": "c", "profile": "humpback", "labels": ["Hump", "Other"], "clips": [{"folder": "set", "label": "species", "group": "source"}],
             "names": {"hump": "Hump", "bow": "leave out", "sea": None}, "humpback": {"rate_hz": 8000, "longest_s": 1, "denoiser": {"labels": ["bow"], "noise_groups": ["set/d", "set/e"]}}}
    spec = Experiment.from_dict(given)
    table = humpback_data.recordings_of(spec, spec.front_end(), tmp_path / "data")
    assert set(table["group"]) == {"set/a", "set/b", "set/f"} and not len(table.attrs["same"]) and (table["sample_rate_hz"] == 8000).all() and (table["duration_s"] == 1).all()
    (calls, noises), (later, quiet), rate_hz = humpback_data._of_clips(spec, humpback_data.settings_of(spec)[1], table)
    assert (len(calls), len(later), len(noises), len(quiet)) == (4, 1, 2, 1) and rate_hz == 8000 and len(calls[0]) == 16000
    with pytest.raises(BadExperiment, match="would be trained on set/c"):
        humpback_data._of_clips(spec, humpback_data.settings_of(spec)[1], table.assign(group="set/c + set/d"))
    with pytest.raises(BadExperiment, match="set/10.wav hold the same sound"):
        shutil.copy(tmp_path / "set" / "10.wav", tmp_path / "set" / "7.wav")  # of the sea: one that is judged, one that the denoiser learns from
        humpback_data._of_clips(spec, humpback_data.settings_of(spec)[1], table)


def test_recordings_that_share_sound_are_one_group_and_never_on_two_sides(tmp_path):
    import soundfile

    spec, rng = Experiment.from_dict(GIVEN), np.random.default_rng(0)
    for name in "abcd":
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * rng.standard_normal(16000).astype(np.float32), 8000, "FLOAT")
    shutil.copy(tmp_path / "a.wav", tmp_path / "d.wav")
    table = pd.DataFrame({"recording": list("abcd"), "group": list("abcd"), "path": [str(tmp_path / f"{name}.wav") for name in "abcd"], "duration_s": 2.0})
    whole = humpback_data.in_whole_groups(table)
    assert whole["group"].tolist() == ["a + d", "b", "c", "a + d"] and whole.attrs["same"][["a", "b"]].to_numpy().tolist() == [["a", "d"]]

    labels = {f"target_{x}": 0.0 for x in spec.front_end().labels}
    data = SimpleNamespace(profile=spec.front_end(), manifest=whole.assign(start_s=0.0, **labels))
    sides = steps.folds(data, spec, whole.attrs["same"])
    assert sides[0] == sides[3]
    data.manifest = data.manifest.assign(group=["a", "b", "c", "d"])  # as if nobody had looked
    with pytest.raises(Leak, match="a and d"):
        for seed in range(8):
            steps.folds(data, replace(spec, seed=seed), whole.attrs["same"])


@pytest.mark.parametrize("change, said", [({"humpback": {"recording": 3}}, "did you mean 'recordings'"), ({"humpback": {"denoiser": {"step": 3}}}, "did you mean 'steps'"),
                                          ({"variants": {"x": {"denoise": "gaet"}}}, "is denoised by 'gaet'")])
def test_what_is_misspelt_is_named(change, said):
    with pytest.raises(BadExperiment, match=said):
        humpback_data.settings_of(Experiment.from_dict(GIVEN | change))


# ---- parts


def clips(prob, groups=None):
    target = np.tile([1.0, 0.0], len(prob) // 2)
    return pd.DataFrame({"recording": [f"r{k}" for k in range(len(prob))], "group": groups or [f"g{k // 2}" for k in range(len(prob))], "target_A": target, "prob_A": prob, "limit_A": 0.5})


def test_a_difference_is_of_the_same_clips_and_its_words_follow_its_interval():
    good, poor = clips([0.9, 0.1] * 12), clips([0.9, 0.1, 0.1, 0.9] * 6)  # poor: half of them the wrong way round
    row = paired(good, poor, ("A",), "mean", draws=200)
    assert row["with"] == 1 and row["without"] == pytest.approx(0.5) and row["low"] > 0.2 and row["groups"] == 12
    told = {"backbone": "resnet", "way": "gate"}
    assert "it helps" in sentence(told | row) and "it does harm" in sentence(told | paired(poor, good, ("A",), "mean", draws=200))
    same = paired(poor, poor, ("A",), "mean", draws=50)
    assert same["difference"] == same["low"] == same["high"] == 0 and "cannot be told" in sentence(told | same)
    shuffled = poor.sample(frac=1, random_state=0)
    assert paired(good, shuffled, ("A",), "mean", draws=200) == row
    metrics = {"paired": [told | row | {"method": "network"}, told | same | {"method": "network"}]}
    assert "Denoising helps in 1 of 2" in conclusion(metrics)
    assert "does not demonstrably help" in conclusion({"paired": [told | same | {"method": "network"}]}) and "gains" not in conclusion(metrics)
    scores = {"variants": {"raw": {"network": {"macro": {"f1": 0.7}}, "baseline": {"macro": {"f1": 0.6}}}}}
    both = {"paired": [told | same | {"method": "network"}, told | row | {"method": "baseline"}]}
    assert "The cheap baseline gains by it (gated). The best network is above the best of the cheap baselines (macro F1 0.700 against 0.600)" in conclusion(both | scores)


def test_macro_f1_by_hand():
    target = np.array([[1, 0, 0], [1, 0, np.nan], [0, 1, 0]])
    positive = np.array([[True, False, True], [False, False, True], [True, True, False]])
    # A: tp 1, fn 1, fp 1 -> 0.5; B: tp 1 -> 1; C never occurs
    assert macro_f1(target, positive) == pytest.approx(0.75)


def test_a_segment_is_scored_by_others_and_noise_like_calls_is_dropped():
    rng = np.random.default_rng(0)
    truth = rng.uniform(size=200) < 0.5
    x = rng.standard_normal((200, 6)) + 3 * truth[:, None]
    groups = np.repeat([f"r{k}" for k in range(8)], 25)
    passed = truth & (rng.uniform(size=200) < 0.3)  # annotators passed over these
    scores = call_scores(x, truth & ~passed, groups)
    left = kept(scores, truth & ~passed)
    assert left[truth & ~passed].all() and left[passed].mean() < 0.4 and left[~truth].mean() > 0.95
    with pytest.raises(ValueError, match="two recordings are needed"):
        call_scores(x, truth, np.zeros(200))


def test_refinement_figures_by_hand():
    table = pd.DataFrame({"recording": ["a", "a", "b", "b", "b"], "is_call": [True, False, False, False, False], "forgotten": [False, True, False, True, False],
                          "score": [0.9, 0.8, 0.2, 0.3, 0.1], "kept": [True, False, True, True, True]})
    m = refinement_metrics(table, draws=20)
    assert (m["segments"], m["forgotten"], m["before"], m["after"], m["kept_share"]) == (4, 2, 0.5, pytest.approx(1 / 3), 1.0)
    assert m["average_precision"] == 1 and m["change"] == pytest.approx(1 / 3 - 1 / 2)


def test_acquired_clips_are_refined(run):
    folder = next((run["out"] / "data").glob("acquired_*"))
    table = refined_clips(folder, load_profile("humpback"))
    assert {"call", "noise"} == set(table["kind"]) and table["score"].between(0, 1).all() and table.loc[table["kind"] == "call", "kept"].all()
