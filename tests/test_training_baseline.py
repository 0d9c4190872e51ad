"""The cheap baseline and what was not recorded; thresholds of common labels; what a data card says of groups that share sound."""
import numpy as np
import pandas as pd
import pytest

from spectrogram.profile import load_profile
from training.baseline import Baseline, filled, middle_of, statistics
from training.data_card import clip_data_card
from training.spec import Experiment
from training.thresholds import best_threshold

PROFILE = load_profile("beluga")


def pictures(count=6, seed=0, frames=192):
    return (60 + 5 * np.random.default_rng(seed).standard_normal((count, frames, 96))).astype(np.float32)


def test_statistics_are_of_what_was_recorded():
    whole = pictures()
    cut = whole.copy()
    cut[1, 96:] = np.nan          # the clip ends
    cut[2, :, 60:] = np.nan        # a slower recorder
    cut[3, 50] = np.nan            # a gap
    x = statistics(cut, PROFILE).reshape(6, 5, 96)
    assert np.array_equal(x[[0, 4, 5]], statistics(whole, PROFILE).reshape(6, 5, 96)[[0, 4, 5]])
    assert np.isnan(x[2, :, 60:]).all() and np.isfinite(x[2, :, :60]).all() and np.isfinite(x[[1, 3]]).all()
    np.testing.assert_allclose(x[1], statistics(whole[1:2, :96], PROFILE).reshape(5, 96), atol=1e-4)
    levels = PROFILE.normalisation
    assert x[1:4].min(initial=9, where=np.isfinite(x[1:4])) > levels["masked"] + 0.2, "no masked value among the levels"
    assert np.isnan(statistics(np.full((1, 192, 96), np.nan, np.float32), PROFILE)).all()


def test_a_recorder_that_lacks_bands_is_not_known_by_it():
    """All calls but none of the noise at a low rate: a baseline that saw the mask would part them, this one may not."""
    x = pictures(80, 1)
    target = np.arange(80) % 2
    x[target == 1, :, 40:] = np.nan
    seen = statistics(x, PROFILE).reshape(80, 5, 96)
    seen[:, :, :40] = 0  # nothing else tells them apart
    seen[target == 0, :, 40:] = np.random.default_rng(2).standard_normal((40, 5, 56))
    model = Baseline(("A",), 0).fit(seen[:60].reshape(60, -1), target[:60, None].astype(float))
    said = model.predict(seen[60:].reshape(20, -1))[:, 0]
    with_bands = model.predict(filled(np.full((1, 480), np.nan), model.middle))[0, 0]
    assert np.ptp(said[1::2]) == 0 and said[1] == pytest.approx(with_bands), "a window without the bands is answered as one in the middle"
    assert np.isfinite(said).all() and middle_of(np.array([[np.nan, 1], [np.nan, 3]])).tolist() == [0, 2]


def test_a_common_label_is_not_claimed_everywhere():
    rng = np.random.default_rng(0)
    truth = (np.arange(1000) % 10 != 0).astype(float)  # nine of ten
    prob = np.clip(0.5 + 0.1 * truth + 0.1 * rng.standard_normal(1000), 0, 1)
    limit = best_threshold(prob, truth)
    assert 0.5 < limit < 0.6 and (prob[truth == 0] >= limit).mean() < 0.5
    assert best_threshold(prob, truth, target_precision=0.95) != limit
    rare = 1 - truth
    f1 = [2 * ((1 - prob >= t) & (rare == 1)).sum() / ((1 - prob >= t).sum() + rare.sum()) for t in np.linspace(0.2, 0.9, 71)]
    chosen = best_threshold(1 - prob, rare)
    assert 2 * ((1 - prob >= chosen) & (rare == 1)).sum() / ((1 - prob >= chosen).sum() + rare.sum()) >= max(f1) - 1e-9, "a rare label keeps the highest F1"


def test_a_data_card_names_the_groups_that_were_joined():
    clips = pd.DataFrame({"recording": list("abcd"), "name": ["Beluga", "", "Beluga", ""], "set": "w", "group": ["w/1 + w/2", "w/1 + w/2", "w/3", "w/4"], "duration_s": 2.0,
                          "sample_rate_hz": 8000, "raw": "x"})
    spec = Experiment.from_dict({"name": "t", "clips": [{"folder": "w", "label": "l"}]})
    clips.attrs["joined"] = pd.DataFrame({"a": ["a"], "b": ["b"], "kind": ["same sound"], "group_a": ["w/1"], "group_b": ["w/2"]})
    card = clip_data_card(spec, clips)
    assert "| w/1, w/2 | 2 | a and b (same sound) |" in card and "w/3" not in card
    clips.attrs["joined"] = clips.attrs["joined"].iloc[:0]
    assert "none share sound" in clip_data_card(spec, clips.assign(group=list("1234")))
