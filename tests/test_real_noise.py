"""Recorded noise in an experiment on simulated calls: where it stands, how often it is drawn, what
is chosen on it; and that all goes on without.
"""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile

from tests.training_toy import PROFILE, toy_dataset
from training import experiment, figures
from training.augment import Augmentation
from training.data import EpochSampler, WindowSet
from training.deployments import (
    APART,
    KINDS,
    Background,
    Deployment,
    plan_splits,
    read_deployment,
    simulate,
)
from training.evaluate import call_labels, json_ready
from training.false_alarms import alarm_curve
from training.fit import FitSettings, share_of
from training.model_card import noise_lines
from training.real_noise import backgrounds_of, noise_of
from training.spec import BadExperiment, Experiment
from training.thresholds import best_threshold, choose_by_false_alarms, quiet_threshold, sigmoid

LABELS = PROFILE.labels
RECORDINGS = {
    "train": {"natural": 1, "real": 2},
    "validation": {"natural": 1, "empty": 1},
    "test": {"natural": 1},
}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Three places, a clip of six seconds at one, of two at the others."""
    folder = tmp_path_factory.mktemp("noise") / "quiet"
    for k, site in enumerate("ABC"):
        (folder / site).mkdir(parents=True)
        sound = 0.01 * np.random.default_rng(k).standard_normal(48_000 * (6 if site == "A" else 2))
        soundfile.write(folder / site / f"{site.lower()}.wav", sound, 48_000, subtype="PCM_16")
    return folder


def spec_with(noise, **more):
    return Experiment.from_dict(
        {
            "name": "t",
            "noise": noise,
            "recordings": RECORDINGS,
            "recording_s": 3,
            "sites": ["BSM"],
            "seed": 1,
        }
        | more
    )


@pytest.fixture(scope="module")
def built(quiet, tmp_path_factory):
    spec = spec_with({"recordings": str(quiet), "share": 0.3})
    return spec, *experiment.data_of(spec, tmp_path_factory.mktemp("data"))


def test_the_clips_stand_beside_the_simulated_recordings_in_the_split_of_their_site(built):
    spec, data, _ = built
    rows = data.rows(kind="noise")
    assert set(rows["recording"]) == {
        f"noise/quiet/{name}/{name.lower()}.wav" for name in "ABC"
    } and set(rows["split"]) == {"train", "validation", "test"}
    assert rows.groupby("site")["split"].nunique().eq(1).all()
    assert (rows[["target_BBPC", "target_Whistle"]] == 0).all(axis=None) and rows[
        ["target_ECHO", "target_HFPC", "target_Boat"]
    ].isna().all(axis=None)
    said = data.info["summary"]["real_noise"]
    assert said["recordings"] == {"train": 1, "validation": 1, "test": 1} and said["share"] == 0.3
    assert experiment.describe(data).loc["train, recorded noise", "windows"] == len(
        rows[rows["split"] == "train"]
    )


def test_simulated_calls_are_put_into_the_noise_of_their_own_split(built):
    spec, data, plan = built
    noise = noise_of(spec, PROFILE).set_index("recording")
    mixed = data.rows(kind="real")
    assert len(mixed) and all(
        noise.loc[name, "split"] == split for name, split in zip(mixed["water"], mixed["split"])
    )
    assert (
        (mixed["unknown"] == "Boat").all()
        and not (mixed["target_Boat"] == 0).any()
        and mixed["target_ECHO"].notna().any()
    )
    assert [d.name for d in plan if d.kind == "real"] == [
        f"train_BSM_real_{mixed['water'].iloc[0][-5:-4]}"
    ]


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_noise_has_its_share_of_the_windows_drawn_and_every_recording_the_same(share, tmp_path):
    data = toy_dataset(tmp_path / "d", files=6, seconds=10)
    rows = data.manifest.assign(
        kind=data.manifest["recording"]
        .map({"r0.wav": "noise", "r1.wav": "noise"})
        .fillna("natural")
    )
    rows = rows[(rows["recording"] != "r1.wav") | (rows["start_s"] < 2)]
    rows = rows.assign(
        weight=np.where(
            rows["kind"] == "noise",
            1 / rows.groupby("recording")["recording"].transform("size"),
            1.0,
        )
    )
    windows = WindowSet(data, rows, PROFILE, Augmentation(), 0)
    drawn = rows.iloc[
        np.array(
            list(
                EpochSampler(
                    len(rows), 0, 40_000, share_of(windows, FitSettings(noise_share=share))
                )
            )
        )
        % len(rows)
    ]
    counts = drawn["recording"].value_counts(normalize=True)
    assert counts[["r0.wav", "r1.wav"]].tolist() == pytest.approx([share / 2, share / 2], abs=0.02)
    assert counts.drop(["r0.wav", "r1.wav"]).tolist() == pytest.approx(
        [(1 - share) / 4] * 4, abs=0.02
    )
    assert share_of(windows, FitSettings()) is None


def test_recordings_in_recorded_water_share_the_clips_evenly_and_no_seed():
    clips = {
        split: [Background(f"noise/{split}/{k}.flac", f"/x/{k}.flac") for k in range(5)]
        for split in ("train", "validation")
    }
    plan = plan_splits(
        {split: {"natural": 3, "real": 12} for split in ("train", "validation", "test")},
        10.0,
        7,
        ("BSM", "KAM"),
        clips,
    )
    real = [d for d in plan if d.kind == "real"]
    for split in ("train", "validation"):
        for site in ("BSM", "KAM"):
            mine = [d for d in real if (d.split, d.site) == (split, site)]
            assert (
                sorted(d.recordings for d in mine) == [2, 2, 2, 3, 3]
                and len({d.background for d in mine}) == 5
                and all(d.background in clips[split] for d in mine)
            )
            assert sum(sum(d.boats) for d in mine) in range(4, 9)  # in about every other
    assert not [d for d in real if d.split == "test"]  # no clips: no such recordings
    assert len({(d.seed, d.site) for d in plan}) == len(plan) == len(
        {d.name for d in plan}
    ) and all(d.seed < APART for d in plan if d.kind != "real")
    assert plan_splits({"train": {"real": 2}}, 10.0, 7, ("BSM",), clips) == plan_splits(
        {"train": {"real": 2}}, 10.0, 7, ("BSM",), clips
    )


def test_a_clip_that_lies_elsewhere_is_the_same_deployment_and_another_clip_is_not():
    one, moved, other = (
        Deployment("train", "BSM", "real", 1, 1, 3.0, background=Background(name, path))
        for name, path in (("a", "/x/a"), ("a", "/y/a"), ("b", "/x/a"))
    )
    assert one == moved and one.folder_name == moved.folder_name != other.folder_name
    assert "/x" not in json.dumps(one.described())


def test_clips_of_one_name_make_deployments_of_several_and_doubtful_ones_none():
    rows = [("noise/q/A/0.wav", "", False), ("noise/q/B/0.wav", "", False)]
    rows += [("noise/q/B/1.wav", "Whistle+Boat", False), ("noise/q/C/2.wav", "Boat", True)]
    noise = pd.DataFrame(rows, columns=["recording", "unknown", "animal"]).assign(
        path="x", split="train", present="", sensitivity_db=np.nan, sample_rate_hz=48_000
    )
    clips = backgrounds_of(noise)
    plan = plan_splits({"train": {"real": 4}}, 10.0, 1, ("BSM",), clips)
    assert [clip.name for clip in clips["train"]] == ["noise/q/A/0.wav", "noise/q/B/0.wav"]
    assert len({d.name for d in plan}) == 2


def test_a_vessel_in_the_water_is_a_boat_from_end_to_end(quiet, tmp_path):
    water = Background("noise/quiet/a.wav", str(quiet / "A" / "a.wav"), present="Boat")
    deployment = Deployment("train", "BSM", "real", 5, 2, 3.0, background=water)
    recordings, truth = read_deployment(deployment, simulate(deployment, tmp_path))
    boats = truth[truth["label"] == "Boat"]
    assert (
        recordings["boats"].all()
        and boats["recording"].tolist() == recordings["recording"].tolist()
        and (boats["end_s"] == 3.0).all()
        and boats["audible"].all()
    )
    assert truth["call_id"].map(type).eq(str).all() and set(KINDS) >= {"real"}


def test_without_the_recordings_an_experiment_goes_on_and_says_so(monkeypatch, tmp_path):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("SEA_CANARY_DATA", str(tmp_path / "empty"))
    spec = spec_with({"collection": "sea_noise"})
    assert (
        noise_of(spec, PROFILE) is None
        and backgrounds_of(None) == {}
        and not [d for d in experiment.plan_of(spec) if d.kind == "real"]
    )
    monkeypatch.setenv("SEA_CANARY_DATA", str(tmp_path / "nowhere"))
    assert noise_of(spec, PROFILE) is None
    data, _ = experiment.data_of(spec, tmp_path / "data")
    assert data.info["summary"]["real_noise"] == "none" and "noise" not in set(
        data.manifest["kind"]
    )
    with pytest.raises(BadExperiment, match="quiet: no such folder"):
        noise_of(spec_with({"recordings": str(tmp_path / "quiet")}), PROFILE)


def test_the_sites_of_the_test_can_be_left_unheard(quiet):
    assert "test" not in set(
        noise_of(spec_with({"recordings": str(quiet), "judge_test": False}), PROFILE)["split"]
    )


@pytest.mark.parametrize(
    "given, said",
    [
        ({"noise": {"share": 0.3}}, "give e.g."),
        ({"noise": {"collection": "sea_noise", "shar": 0.3}}, "did you mean 'share'"),
        ({"noise": {"collection": "sea_noise", "share": 1.5}}, "between 0 and 1"),
        ({"noise": {"collection": "see_noise"}}, "no such collection"),
        ({"noise": {"collection": "sea_noise", "recordings": "x"}}, "the one or the other"),
        ({"noise": {"collection": "sea_noise", "other_animals": "no"}}, "one of unknown"),
        (
            {"noise": {"collection": "sea_noise"}, "clips": [{"folder": "a", "label": "b"}]},
            "only for experiments on simulated",
        ),
        ({"thresholds": {"max_real": 0.1}}, "did you mean 'max_real_false'"),
        ({"thresholds": {"max_real_false": 3}}, "between 0 and 1"),
        ({"thresholds": []}, "give e.g."),
        ({"augmentation": {"real_share": 0.3}, "noise": {"collection": "sea_noise"}}, "up to 0.1"),
        ({"augmentation": {"real_share": 0.1}}, "without noise"),
        ({"recordings": {"train": {"reel": 3}}}, "did you mean 'real'"),
        ({"recordings": {"trian": {"real": 3}}}, "did you mean 'train'"),
        ({"recordings": {"train": {"real": 0.5}}}, "give a whole number"),
    ],
)
def test_what_cannot_be_done_with_noise_is_named(given, said):
    with pytest.raises(BadExperiment, match="experiment t") as error:
        Experiment.from_dict({"name": "t"} | given)
    assert said in str(error.value)


def test_an_experiment_without_these_keys_is_the_one_it_was():
    assert (
        Experiment.from_dict({"name": "t", "simulator": 1}).digest()
        == Experiment.from_dict({"name": "t", "simulator": 1, "noise": None, "thresholds": None}).digest()
        == "717724fe9ad6"
    )


@pytest.mark.parametrize("most", [0.0, 0.01, 0.1, 0.5])
def test_the_quiet_threshold_is_the_lowest_that_keeps_the_share(most):
    prob = np.round(np.random.default_rng(0).random(300), 2)  # with ties
    limit = quiet_threshold(prob, most)
    assert (prob >= limit).mean() <= most
    lower = np.unique(prob)[np.unique(prob) < limit][-1]
    assert (prob >= lower).mean() > most
    assert quiet_threshold(np.ones(50), most) > 1 and quiet_threshold(np.zeros(0), most) == 0.0


def scored(seed=0, n=4000, quality=2.5):
    """Windows of two labels, simulated and (a quarter) recorded noise in which Whistle is often
    cried; positions agree with the window's highest.
    """
    rng = np.random.default_rng(seed)
    real = np.arange(n) % 4 == 0
    window = ((rng.random((n, 2)) < 0.1) & ~real[:, None]).astype(np.float32)
    logit = (quality * (2 * window - 1) + rng.normal(0, 1, (n, 2))).astype(np.float32)
    logit[real, 1] += 3.5
    position = np.stack([logit - 3, logit, logit - 5], axis=2)
    return logit, position, window, real


@pytest.mark.parametrize("by_trace", [True, False])
def test_thresholds_by_false_alarms_keep_what_they_promise_and_are_the_lowest_such(by_trace):
    logit, position, window, real = scored()
    calibration, thresholds = choose_by_false_alarms(
        logit, position, window, ("ECHO", "Whistle"), real, ("ECHO", "Whistle"), by_trace
    )
    empty = ~real & (window == 0).all(axis=1)
    for k, label in enumerate(("ECHO", "Whistle")):
        prob = sigmoid(calibration[label]["slope"] * logit[:, k] + calibration[label]["intercept"])
        limit, best = thresholds[label]["window"], best_threshold(prob, window[:, k])
        assert (
            (prob[real] >= limit).mean() <= 0.01
            and (prob[empty] >= limit).mean() <= 0.005
            and limit >= best
        )
        lower = np.unique(prob)[np.unique(prob) < limit][-1]
        assert (
            limit == best
            or (prob[real] >= lower).mean() > 0.01
            or (prob[empty] >= lower).mean() > 0.005
        )
        assert label == "ECHO" or limit > best  # what the noise costs


@pytest.mark.parametrize("by_trace", [True, False])
def test_a_window_is_positive_where_an_event_could_begin_in_it(by_trace):
    """Formerly `on` lay far above the window's threshold, and the tables contradicted each other.
    """
    logit, position, window, real = scored(1)
    calibration, thresholds = choose_by_false_alarms(
        logit, position, window, ("ECHO", "Whistle"), real, ("ECHO", "Whistle"), by_trace
    )
    for k, label in enumerate(("ECHO", "Whistle")):
        c, t = calibration[label], thresholds[label]
        of_window = sigmoid(c["slope"] * logit[:, k] + c["intercept"]) >= t["window"]
        begins = (
            sigmoid(c["position_slope"] * position[:, k] + c["position_intercept"]) >= t["on"]
        ).any(axis=1)
        np.testing.assert_array_equal(of_window, begins)
        assert t["off"] < t["on"]


def test_vessels_have_the_threshold_of_the_highest_f1():
    logit, position, window, real = scored(3)
    of_all = choose_by_false_alarms(
        logit, position, window, ("ECHO", "Boat"), real, ("ECHO",), True, max_real_false=0.001
    )
    c, t = (part["Boat"] for part in of_all)
    prob = sigmoid(c["slope"] * logit[:, 1] + c["intercept"])
    assert t["window"] == best_threshold(prob, window[:, 1])


def test_labels_that_noise_cannot_show_are_held_by_simulated_water_alone():
    logit, position, window, real = scored(2)
    blind = window.copy()
    blind[real, 1] = np.nan
    _, seen = choose_by_false_alarms(
        logit, position, window, ("ECHO", "Whistle"), real, ("ECHO", "Whistle"), True
    )
    _, unseen = choose_by_false_alarms(
        logit, position, blind, ("ECHO", "Whistle"), real, ("ECHO", "Whistle"), True
    )
    assert unseen["Whistle"]["window"] < seen["Whistle"]["window"]


def test_the_verdict_has_noise_apart_and_the_card_leads_with_it(built, tmp_path):
    spec, data, _ = built
    net = experiment.build_net(spec, spec.front_end())
    model = experiment.calibrated(
        net, data, spec.front_end(), "t", thresholds={"max_real_false": 0.01}
    )
    predictions, metrics = experiment.verdict(model, data, draws=2)
    assert metrics["test"]["windows"] == len(
        data.rows(split="test", kind="natural")
    ) and "noise" in set(predictions["kind"])
    figures_of = metrics["real_noise"]["test"]
    assert figures_of["in_use"]["windows"] == len(data.rows(split="test", kind="noise")) and set(
        figures_of["not_judged"]
    ) >= {"ECHO", "HFPC"}
    assert metrics["noise"]["collection"].endswith("quiet") and json.dumps(
        json_ready(metrics), allow_nan=False
    )
    text = "\n".join(noise_lines(metrics))
    assert (
        "At its own thresholds" in text
        and "real_noise: none" not in text
        and "nothing" not in text
        and "clear calls: ECHO" in text
    )
    figures.plot_false_alarms(alarm_curve(predictions, call_labels(LABELS), 1.0, 0.5))
    assert all(
        noise_lines(said)[0].startswith("**real_noise: none.**")
        for said in ({"real_noise": "none"}, {})
    )
