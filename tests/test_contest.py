"""An experiment on the simulated contest, whole and small: sides, noise, networks of each kind, figures that come again; and the noised test set by itself."""
import json

import numpy as np
import pandas as pd
import pytest

from spectrogram.profile import load_profile
from tests.independent_verdict import compared
from training import contest, kaggle_clips
from training.clips import clip_table
from training.contest_data import SeriesSet, ordinal_rows, sides_checked
from training.contest_verdict import DRAWS, auc_table, by_content, contest_metrics, difference, noised_table
from training.leaks import Leak
from training.noised import QUIET, band_power, mixed, noise_of, noised_samples, picture_of, read_samples
from training.recompute import differences
from training.saved import load_model
from training.spec import Experiment

NORMALISATION = {"kind": "mean", "scale_db": 20, "low": -4, "high": 4, "masked": -4}
GIVEN = {"name": "toy", "question": "An up-call?", "profile": "right_whale", "clips": [{"kaggle": "simulated", "hours": 16, "clips_per_hour": 6, "upcall_share": 0.45}],
         "names": {"up-call": "UpCall", "*": None}, "split": {"kind": "grouped", "by": "group", "folds": 2}, "width": 8, "epochs": 1, "batch_size": 8, "learning_rate": 0.004,
         "augmentation": {"mix_share": 0, "end_share": 0}, "loss": {"position_weight": 0}, "noised": {"noises": ["white", "ship"], "snr_db": [-20]},
         "variants": {"own": {}, "both series": {"backbone": "complexity:attention:ordinal", "normalisation": NORMALISATION}}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The whole experiment, once."""
    patch = pytest.MonkeyPatch()
    root = tmp_path_factory.mktemp("contest")
    patch.setattr(kaggle_clips, "SIMULATED", root / "simulated")
    spec, out = Experiment.from_dict(GIVEN), root / "toy"
    out.mkdir()
    clips = clip_table(spec, spec.front_end())
    predictions, kept = contest.judge_contest(clips, spec, root / "data", out)
    metrics = contest_metrics(predictions, {"simulated": True, "labels": ["UpCall"], "pool": "mean", "draws": 20, "window_s": 2.0, "step_s": 1.0})
    contest.save_contest(out, kept, spec, clips, predictions, metrics)
    yield {"spec": spec, "clips": clips, "predictions": predictions, "kept": kept, "metrics": metrics, "folder": out, "root": root}
    patch.undo()


def test_every_clip_is_judged_once_in_every_condition_by_networks_that_met_none_of_its_group(run):
    predictions, clips = run["predictions"], run["clips"]
    assert len(predictions) == 2 * 3 * len(clips) and not predictions.duplicated(["variant", "noise", "recording"]).any()
    sides = sides_checked(clips, run["spec"])
    for fold, column in enumerate(sides):
        judged = set(predictions.loc[predictions["fold"] == fold, "recording"])
        side = pd.Series(sides[column].to_numpy(), clips["recording"])
        assert judged == set(side.index[side == "test"]) and set(side) == {"train", "validation", "test"}
        assert clips.groupby("group")["recording"].agg(lambda names: side[names].nunique()).max() == 1
    truth = clips.set_index("recording")["name"] == "UpCall"
    assert (predictions["target_UpCall"].to_numpy() == truth[predictions["recording"]].to_numpy()).all()


def test_a_planted_copy_and_a_group_on_two_sides_are_refused(run):
    clips = run["clips"].copy()
    first, last = clips.index[0], clips.index[-1]
    sides = sides_checked(clips, run["spec"])
    other = next(k for k in clips.index if sides.loc[k, "fold_0"] != sides.loc[first, "fold_0"])
    clips.loc[other, "path"] = clips.loc[first, "path"]  # the same sound under two names
    with pytest.raises(Leak, match="same samples"):
        sides_checked(clips, run["spec"])
    rows = Experiment.from_dict(GIVEN | {"split": {"kind": "rows", "by": "group", "folds": 2}})
    assert sides_checked(run["clips"], rows).loc[last].isin(["train", "validation", "test"]).all()  # a leak for comparison is let through
    with pytest.raises(Leak, match="same group"):
        from training.leaks import check_leaks, refuse_leaks

        refuse_leaks(check_leaks(run["clips"], sides_checked(run["clips"], rows), ("group",)))


def test_figures_come_again_and_are_read_as_tables(run):
    folder, metrics = run["folder"], run["metrics"]
    assert differences(folder) == []
    assert compared(folder) == (2 * 2 * 12, [])  # variants, methods, figures
    own = metrics["variants"]["own"]
    clean = run["predictions"].query("variant == 'own' and noise == ''")
    from training.metrics import roc_auc

    assert own["network"]["macro"]["roc_auc"] == pytest.approx(roc_auc(clean["target_UpCall"].to_numpy(), clean["prob_UpCall"].to_numpy()), abs=1e-6)
    assert [(r["noise"], r["snr_db"]) for r in own["noised"]] == [("", None), ("white", -20.0), ("ship", -20.0)]
    assert own["noised"][0]["roc_auc"] == pytest.approx(own["network"]["UpCall"]["roc_auc"]) and own["against_first"]["difference"] == 0
    assert own["ahead"]["difference"] == pytest.approx(own["network"]["UpCall"]["roc_auc"] - own["baseline"]["UpCall"]["roc_auc"], abs=1e-6)
    assert list(auc_table(metrics).index) == ["own", "both series"] and len(noised_table(metrics)) == 6
    assert by_content(run["predictions"], "UpCall")["clips"].sum() == len(run["clips"]) and DRAWS >= 100
    with pytest.raises(ValueError, match="same clips"):
        difference(clean, clean.iloc[1:], ("UpCall",), ("prob", "prob"), 3)


def test_the_kept_model_answers_as_it_was_judged_and_the_cards_say_simulated(run):
    model, predictions = load_model(run["folder"]), run["predictions"]
    judged = predictions.query("variant == 'own' and noise == '' and fold == 0").head(5)
    from spectrogram.generator import SpectrogramGenerator

    generator, paths = SpectrogramGenerator(model.profile), run["clips"].set_index("recording")["path"]
    pictures = np.stack([generator.picture(paths[name]) for name in judged["recording"]])
    np.testing.assert_allclose(model.predict(pictures)[0][:, 0], judged["prob_UpCall"], atol=2e-5)
    assert model.thresholds["UpCall"]["window"] == pytest.approx(float(judged["limit_UpCall"].iloc[0]), abs=1e-6)
    model_card, data_card = ((run["folder"] / f"{name}.md").read_text(encoding="utf-8") for name in ("model_card", "data_card"))
    assert "SIMULATED" in model_card and "0.9686" in model_card and "do not compare" in model_card and "SIMULATED" in data_card
    assert json.loads((run["folder"] / "metrics.json").read_text(encoding="utf-8"))["simulated"] is True


# ---- the noised test set


def test_noise_is_added_at_the_snr_that_is_said(run):
    rng = np.random.default_rng(3)
    sea = rng.standard_normal(4000)
    for noise in ("white", "ship"):
        sound = noise_of(noise, 4000, 2000, rng)
        for snr_db in (10, -10):
            added = mixed(sea, sound, snr_db, 2000) - sea
            said = 10 * np.log10(np.quantile(band_power(sea, 2000), QUIET) / band_power(added, 2000).mean())
            assert said == pytest.approx(snr_db, abs=0.01)
    loud = sea.copy()
    loud[1000:2000] += 30 * np.sin(2 * np.pi * 150 * np.arange(1000) / 2000)  # a call calls for no louder noise
    quiet, called = (np.abs(mixed(s, sound, 0, 2000) - s).mean() for s in (sea, loud))
    assert called / quiet < 1.2


def test_white_noise_reads_its_power_and_a_tone_its_own():
    rng, t = np.random.default_rng(4), np.arange(40000) / 2000
    assert band_power(rng.standard_normal(40000), 2000).mean() == pytest.approx(0.3, rel=0.05)  # 300 of 1000 Hz
    assert band_power(np.sin(2 * np.pi * 200 * t), 2000).mean() == pytest.approx(0.5, rel=0.01)


def test_a_clips_noise_is_the_same_at_every_snr_and_its_picture_is_the_generators(run):
    from spectrogram.generator import SpectrogramGenerator

    row = next(run["clips"].itertuples())
    samples, recording = read_samples(row.path)
    one, other = (noised_samples(row, "ship", snr_db, 0)[0] - samples for snr_db in (0.0, -10.0))
    assert np.corrcoef(one, other)[0, 1] > 0.999 and np.abs(other).mean() == pytest.approx(np.abs(one).mean() * 10 ** 0.5, rel=1e-2)
    generator = SpectrogramGenerator(load_profile("right_whale"))
    np.testing.assert_allclose(picture_of(samples, recording, generator), generator.picture(row.path), atol=1e-4)
    with pytest.raises(ValueError, match="white or ship"):
        noise_of("pink", 10, 2000, np.random.default_rng(0))
    with pytest.raises(ValueError, match="2000 Hz"):
        noise_of("ship", 10, 4000, np.random.default_rng(0))


def test_ordinal_series_stand_below_the_bands_of_their_own_clip(run):
    from training.complexity import ordinal_series
    from training.contest_data import contest_data

    profile, clips = run["spec"].front_end(), run["clips"]
    data = contest_data(clips, profile, run["root"] / "data")
    series = ordinal_rows(clips, profile)
    x, _, _ = SeriesSet(data, data.manifest, profile, series=series).__getitems__([5, 2])
    samples, recording = read_samples(clips["path"][2])
    assert x.shape == (2, 1, 68, 160)
    np.testing.assert_allclose(x[1, 0, 64:].numpy().T, ordinal_series(samples, recording.sample_rate_hz, profile), rtol=1e-6)
