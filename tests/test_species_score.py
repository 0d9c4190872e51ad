"""`species_score`: what it sees, what it does not, and that its committed figures come again."""
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from ROI.describe import block_background, block_level
from spectrogram.generator import coarse_mean
from spectrogram.profile import load_profile
from training.descriptors import count_of
from training.spec import BadExperiment
from training.species_experiment import EXPERIMENTS, METHODS, metrics_of, read_species_experiment
from training.species_fit import group_of, ridge, source_folds
from training.species_score import (
    MOST_WINDOWS,
    ROOT,
    BadSpeciesModel,
    SpeciesScorer,
    background_of,
    backgrounds_of,
    describe,
    front_end_of,
    window_starts,
)

FOLDER = ROOT / "results" / "beluga_species"
PROFILE = load_profile("beluga")
RATE = PROFILE.frame_rate_hz


def passage(seconds=20.0, tone_band=None, seed=0) -> np.ndarray:
    """(frames, 96) dB of noise, with a wavering tone from 10 to 11 s."""
    rng = np.random.default_rng(seed)
    picture = 60 + 5 * rng.standard_normal((int(seconds * RATE), PROFILE.n_bands))
    if tone_band is not None:
        for k in range(int(RATE)):
            picture[int(10 * RATE) + k, tone_band + int(3 * np.sin(k / 12))] += 30
    return picture.astype(np.float32)


@pytest.fixture(scope="module")
def scorer() -> SpeciesScorer:
    """A model that was fitted to tones (1) and to noise (0), of 12 and of 24 bands."""
    values = {limit: [] for limit in (12, 24)}
    for seed in range(30):
        picture = passage(11.5, 5 if seed % 2 else None, seed)
        window = picture[int(10 * RATE) : int(11 * RATE)] - background_of(picture, 10.5 * RATE, RATE)
        for limit, rows in values.items():
            rows.append(describe(window[None, :, :limit].astype(np.float32))[0])
    arrays, target = {}, np.arange(30) % 2
    for limit, rows in values.items():
        weight = np.full(30, 1 / 30)
        centre, spread, found, share = ridge(np.array(rows, float), target, weight, 1.0)
        arrays |= {f"centre_{limit}": centre, f"spread_{limit}": spread,
                   f"weight_{limit}": 8 * found, f"bias_{limit}": np.array([8 * (share - 0.5)]),
                   f"whiten_{limit}": np.eye(count_of(limit))}  # fmt: skip
    info = {"model_id": "toy", "front_end": front_end_of(PROFILE), "frame_rate_hz": RATE,
            "window_s": 1.0, "highest_hz": {"12": 3300.0, "24": 7300.0},
            "out_of_domain": {"12": 3.0, "24": 3.0}}  # fmt: skip
    return SpeciesScorer([12, 24], arrays, info)


def test_what_it_was_taught_passes_and_noise_does_not(scorer):
    assert scorer.score(passage(tone_band=5, seed=90), 10.0, 11.0) > 0.5
    assert scorer.score(passage(seed=91), 10.0, 11.0) < 0.5


def test_gain_the_recorders_colour_and_columns_above_its_bands_change_nothing(scorer):
    picture = passage(tone_band=5, seed=92)
    score = scorer.score(picture, 10.0, 11.0)
    coloured = picture + 33.0 + 20 * np.sin(np.arange(PROFILE.n_bands) / 9)
    assert scorer.score(coloured.astype(np.float32), 10.0, 11.0) == pytest.approx(score, abs=1e-3)
    loud_above = picture.copy()
    loud_above[:, 24:] += 40
    with_crest = np.concatenate([loud_above, np.full((len(picture), 4), 99, np.float32)], axis=1)
    assert scorer.score(with_crest, 10.0, 11.0) == pytest.approx(score, abs=1e-6)


def test_a_passage_may_begin_anywhere_and_its_background_be_given(scorer):
    picture = passage(tone_band=5, seed=93)
    score = scorer.score(picture, 10.0, 11.0)
    background = backgrounds_of(picture, RATE)[1]  # of 8 to 16 s
    part = picture[int(9 * RATE) : int(12 * RATE)]
    given = scorer.score(part, 10.0, 11.0, 9.0, background_db=background)
    assert given == pytest.approx(score, abs=1e-6)


def test_a_slower_recording_is_judged_by_fewer_bands_and_what_is_not_known_is_missing(scorer):
    picture = passage(tone_band=5, seed=94)
    picture[:, 14:] = np.nan
    assert scorer.score(picture, 10.0, 11.0) > 0.5
    picture[:, 8:] = np.nan
    assert np.isnan(scorer.score(picture, 10.0, 11.0))
    high = scorer.judge(passage(seed=95), 10.0, 11.0, low_hz=25000.0)
    assert np.isnan(high.score) and high.passes and not high.out_of_domain
    assert np.isnan(scorer.score(passage(2.0), 5.0, 6.0))  # beyond the passage


def test_a_slower_recordings_background_is_that_of_the_bands_it_has():
    picture = passage(3.0)[:, :24]
    picture[:, 14:] = np.nan
    background = background_of(picture, 150, RATE)
    assert np.isfinite(background[:14]).all() and np.isnan(background[14:]).all()


def test_the_background_is_that_of_the_regions_and_silence_counts_as_no_deep_hole(scorer):
    picture = passage(20.0)
    power = (10 ** (picture / 10)).astype(np.float32)
    scene_db = 10 * np.log10(
        block_background(np.stack([block_level(coarse_mean(power[k : k + 1536])) for k in (0, 1536, 3072)]), 1)
    )
    np.testing.assert_allclose(backgrounds_of(picture, RATE)[1], scene_db, atol=1e-4)
    holes = picture.copy()
    holes[int(10.2 * RATE) : int(10.3 * RATE)] = -300
    deeper = holes.copy()
    deeper[int(10.2 * RATE) : int(10.3 * RATE)] = -200
    assert scorer.score(holes, 10.0, 11.0) == pytest.approx(scorer.score(deeper, 10.0, 11.0))


def test_sound_unlike_all_that_was_trained_on_is_out_of_domain(scorer):
    assert not scorer.judge(passage(seed=96), 10.0, 11.0).out_of_domain
    strange = passage(seed=97)
    strange[int(10 * RATE) : int(11 * RATE) : 16] += 60
    assert scorer.judge(strange, 10.0, 11.0).out_of_domain


def test_windows_of_a_stretch_are_few_lie_in_it_and_take_the_same_time_for_an_hour():
    size = PROFILE.window_frames
    assert window_starts(1000, 1050, size, 10_000) == [1000 + (50 - size) // 2]
    for last in (1400, 2000, 700_000):
        starts = window_starts(1000, last, size, 700_000)
        assert 1 < len(starts) <= MOST_WINDOWS
        assert starts[0] == 1000 and starts[-1] + size == last
    assert window_starts(0, 50, size, 60) == [0]  # a clip shorter than a window


def test_a_saved_model_answers_the_same_and_a_damaged_or_missing_one_says_so(scorer, tmp_path):
    scorer.save(tmp_path)
    again, picture = SpeciesScorer.load(tmp_path), passage(tone_band=5, seed=98)
    assert again.score(picture, 10, 11) == pytest.approx(scorer.score(picture, 10, 11), abs=1e-5)
    assert again.fits(PROFILE) and not again.fits(load_profile("humpback"))
    (tmp_path / "species.safetensors").write_bytes(b"cut")
    with pytest.raises(BadSpeciesModel, match="copy it again"):
        SpeciesScorer.load(tmp_path)
    with pytest.raises(BadSpeciesModel, match="no species model there"):
        SpeciesScorer.load(tmp_path / "nowhere")
    assert SpeciesScorer.load(profile="orca") is None


def test_it_needs_no_torch():
    code = "import sys, training.species_score; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_folds_keep_sources_whole_and_never_leave_out_both_sources_of_belugas():
    clips = pd.DataFrame({"source": ["a", "a", "b", "c", "d", "CI01", "CI02", "e"],
                          "folder": ["watkins"] * 5 + ["sanctsound"] * 2 + ["watkins"],
                          "kind": ["beluga", "beluga", "beluga", *["whale"] * 5]})  # fmt: skip
    fold = source_folds(clips, 3, 0)
    assert pd.Series(fold).groupby(group_of(clips)).nunique().max() == 1
    assert fold[0] != fold[2] and fold[5] == fold[6]


def test_an_unknown_key_in_a_description_is_refused(tmp_path):
    text = (EXPERIMENTS / "beluga_species.yaml").read_text(encoding="utf-8")
    assert read_species_experiment(EXPERIMENTS / "beluga_species.yaml").profile == "beluga"
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text.replace("shrinkage:", "shrinkige:"), encoding="utf-8")
    with pytest.raises(BadExperiment, match="shrinkige"):
        read_species_experiment(wrong)
    with pytest.raises(BadExperiment, match="no such description"):
        read_species_experiment(tmp_path / "none.yaml")


def test_the_committed_figures_come_again_from_its_predictions():
    predictions = pd.read_parquet(FOLDER / "predictions.parquet")
    said = json.loads((FOLDER / "species_metrics.json").read_text(encoding="utf-8"))
    again = metrics_of(predictions)
    assert set(said) == set(again) == set(METHODS)
    for name, figures in again.items():
        for key, value in figures.items():
            if isinstance(value, float):
                assert said[name][key] == pytest.approx(value, abs=1e-9), (name, key)


def test_the_committed_model_fits_the_profile_and_holds_no_test_clip():
    scorer = SpeciesScorer.load()
    assert scorer.fits(PROFILE) and scorer.limits[-1] == 24
    assert np.isfinite(scorer.score(passage(), 10.0, 11.0))
    assert "test" not in set(pd.read_parquet(FOLDER / "predictions.parquet")["part"])
