"""Clips of the right whale contest, or of its simulation, as a table for experiments."""
import numpy as np
import pandas as pd
import pytest
import soundfile

from training import kaggle_clips
from training.clip_folds import folds_of
from training.clips import clip_table
from training.spec import BadExperiment, Experiment, Split

GIVEN = {"name": "toy", "profile": "right_whale", "clips": [{"kaggle": "simulated", "hours": 6, "clips_per_hour": 8, "upcall_share": 0.4}],
         "names": {"up-call": "UpCall", "*": None}, "split": {"kind": "grouped", "by": "group", "folds": 3}}


@pytest.fixture
def simulated(tmp_path, monkeypatch):
    monkeypatch.setattr(kaggle_clips, "SIMULATED", tmp_path / "simulated")
    monkeypatch.delenv("SEA_CANARY_DATA", raising=False)
    return tmp_path / "simulated"


def contest(folder, count=60, labels=None):
    """A folder in the contest's layout: noise."""
    (folder / "train").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k in range(1, count + 1):
        soundfile.write(folder / "train" / f"train{k}.aif", 0.01 * rng.standard_normal(4000), 2000, format="AIFF", subtype="PCM_16")
    pd.DataFrame({"clip_name": [f"train{k}.aif" for k in range(1, count + 1)], "label": labels or [k % 2 for k in range(count)]}).to_csv(folder / "train.csv", index=False)
    return folder


def with_source(**source):
    return Experiment.from_dict(GIVEN | {"clips": [source]})


def test_simulated_clips_are_made_once_named_and_grouped_by_hour(simulated):
    spec = Experiment.from_dict(GIVEN)
    assert spec.kind == "contest" and Experiment.from_dict(spec.to_dict()) == spec
    clips = clip_table(spec, spec.front_end())
    assert len(clips) == 48 and clips["group"].nunique() == 6 and clips["simulated"].all() and (clips.groupby("group").size() == 8).all()
    assert set(clips["name"]) == {"UpCall", ""} and (clips.loc[clips["name"] == "UpCall", "raw"] == "up-call").all()
    assert clips.loc[clips["name"] == "", "raw"].str.startswith("no up-call, ").all()
    truth = pd.read_csv(next(simulated.iterdir()) / "train.csv").set_index("clip_name")["label"]
    assert ((clips["name"] == "UpCall").to_numpy() == truth.loc[clips["recording"].str.split("/").str[-1]].to_numpy()).all()
    seal = next(simulated.iterdir()) / "simulation.json"
    before = seal.stat().st_mtime_ns
    clip_table(spec, spec.front_end())
    assert seal.stat().st_mtime_ns == before and len(list(simulated.iterdir())) == 1


def test_own_folder_by_one_value_in_blocks_of_neighbours(tmp_path, simulated, monkeypatch):
    folder = contest(tmp_path / "whale_data")
    spec = with_source(kaggle=str(folder), block_clips=20, guard_clips=4)
    clips = clip_table(spec, spec.front_end())
    assert not clips["simulated"].any() and set(clips["raw"]) == {"up-call", "no up-call"} and len(clips) == 60 - 2 * 4 and clips["group"].nunique() == 3
    few = with_source(kaggle=str(folder), block_clips=20, guard_clips=4, clips=15)
    assert clip_table(few, few.front_end()).groupby("group").size().tolist() == [5, 5, 5]
    monkeypatch.setenv("SEA_CANARY_DATA", str(tmp_path))
    for said in ("whale_data", None):  # below the data folder by name, and found where nothing is said
        found = with_source(kaggle=said, block_clips=20, guard_clips=4)
        assert clip_table(found, found.front_end())["path"].tolist() == clips["path"].tolist()
    assert not simulated.exists()


def test_where_nothing_is_said_and_nothing_found_the_clips_are_simulated(simulated):
    spec = with_source(kaggle=None, hours=2, clips_per_hour=3)
    assert clip_table(spec, spec.front_end())["simulated"].all()


def test_a_folder_that_is_named_but_missing_or_another_is_refused(tmp_path, simulated):
    (tmp_path / "empty").mkdir()
    for said, fault in ((tmp_path / "gone", "no such folder; give the contest's folder"), (tmp_path / "empty", "no such table")):
        spec = with_source(kaggle=str(said))
        with pytest.raises(BadExperiment, match=fault) as error:
            clip_table(spec, spec.front_end())
        assert "\n" not in str(error.value) and "experiment toy" in str(error.value)
    with pytest.raises(BadExperiment, match="did you mean 'block_clips'"):
        with_source(kaggle="simulated", block_clip=3)


def test_folds_are_whole_blocks(simulated):
    spec = Experiment.from_dict(GIVEN)
    clips = clip_table(spec, spec.front_end())
    fold = folds_of(clips, Split("grouped", "group", 3), 0)
    assert clips.groupby("group")["recording"].agg(lambda names: fold[names].nunique()).max() == 1 and fold.nunique() == 3


@pytest.mark.parametrize("noised, said", [({"noises": ["pink"], "snr_db": [0]}, "pink"), ({"noises": ["white"]}, "give e.g."), ({"noises": ["white"], "snr_db": ["loud"]}, "list of numbers"),
                                          ({"noises": ["white"], "snr_db": [0], "seeds": 1}, "not known")])
def test_a_noised_test_set_that_cannot_be_is_said(noised, said):
    with pytest.raises(BadExperiment, match="noised") as error:
        Experiment.from_dict(GIVEN | {"noised": noised})
    assert said in str(error.value)
    with pytest.raises(BadExperiment, match="only clips with `kaggle`"):
        Experiment.from_dict({"name": "t", "noised": {"noises": ["white"], "snr_db": [0]}})


def test_published_weights_are_asked_for_by_true():
    for said, backbone in ((True, "timm:resnet50:pretrained"), (False, "timm:resnet50")):
        spec = Experiment.from_dict(GIVEN | {"backbone": "timm:resnet50", "pretrained": said})
        assert spec.backbone == backbone and spec.pretrained is None and Experiment.from_dict(spec.to_dict()) == spec
    with pytest.raises(BadExperiment, match="no published weights for backbone 'resnet'"):
        Experiment.from_dict(GIVEN | {"pretrained": True})
