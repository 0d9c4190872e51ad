"""The validation of detections end to end on a toy: clips whose pictures are drawn, one small network, each mooring held out."""
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from preprocessing.dataset import picture_name
from preprocessing.verdict_clips import verdict_clips, verdict_dataset
from spectrogram.profile import load_profile
from training import cook_inlet
from training.cook_figures import plot_classes, plot_examples, plot_precision_recall, plot_roc
from training.ensemble import held_out, leave_one_mooring_out, networks_of, verdict_metrics
from training.fit import FitSettings

PROFILE = load_profile("cook_inlet")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three moorings, two recordings of a minute each: calls are bright at 16 bands, false alarms at 48."""
    folder, rng = tmp_path_factory.mktemp("drawn"), np.random.default_rng(0)
    (folder / "pictures").mkdir()
    names = [f"M{m}/r{k}.wav" for m in range(3) for k in range(2)]
    recordings = pd.DataFrame({"recording": names, "path": names, "duration_s": 60.0, "site": [name[:2] for name in names], "day": "2017-06-23"})
    found = []
    for name in names:
        picture = (60 + 3 * rng.standard_normal((60 * 48, 64))).astype(np.float32)
        for k in range(6):
            start_s, true = 3 + 9.0 * k, k % 2 == 0
            picture[int(start_s * 48):int((start_s + 1) * 48), (12 if true else 44):(20 if true else 52)] += 20
            found.append((name, start_s, start_s + 1, "true" if true else "false"))
        np.save(folder / "pictures" / picture_name(name), picture)
        (folder / "pictures" / picture_name(name)).with_suffix(".rate").write_text("24000", encoding="utf-8")
    placed = pd.DataFrame(found, columns=["recording", "start_s", "end_s", "verdict"]).assign(detection=range(len(found)))
    clips = verdict_clips(placed, recordings, PROFILE.window_s, guard_s=0.5, nothing=12)
    return verdict_dataset(clips, placed, recordings, folder, PROFILE)


def test_from_clips_to_the_verdict(data, tmp_path):
    rows = cook_inlet.clip_rows(data)
    assert rows["class"].value_counts().to_dict() == {"B": 18, "F": 18, "N": 12}
    settings = FitSettings(epochs=3, batch_size=8, learning_rate=1e-3, position_weight=0.0)
    answer = cook_inlet.trainer(data, {"alexnet": {"size": [32, 32], "epochs": 4}}, settings, tmp_path)
    judged, weights = held_out(rows, leave_one_mooring_out(rows)[["M0"]], answer, window_s=PROFILE.window_s)
    assert set(judged["mooring"]) == {"M0"} and weights.loc["M0", "alexnet"] == 1 and networks_of(judged) == ["alexnet", "ensemble"]
    figures = verdict_metrics(judged, draws=20)
    assert figures["ensemble"]["roc_auc"] > 0.9 and figures["ensemble"]["roc_auc"] == figures["alexnet"]["roc_auc"]
    again, _ = held_out(rows, leave_one_mooring_out(rows)[["M0"]], answer, window_s=PROFILE.window_s)  # checkpoints are there: nothing is trained again
    np.testing.assert_allclose(again["prob_alexnet"], judged["prob_alexnet"], atol=1e-6)
    figure, axes = plt.subplots(1, 3)
    for ax, plot in zip(axes, (plot_precision_recall, plot_roc, plot_classes)):
        assert plot(judged, ax) is ax and ax.get_xlabel() + ax.get_ylabel() and len(ax.get_legend().get_texts()) == 2
    plt.close(figure)
    figure, axes = plt.subplots(3, 2)
    plot_examples(data, rows, axes)
    assert [ax.get_ylabel()[0] for ax in axes[:, 0]] == ["B", "F", "N"] and all(ax.collections for ax in axes.flat)
    plt.close(figure)


def test_too_few_clips_are_told(data, tmp_path):
    rows = cook_inlet.clip_rows(data)
    with pytest.raises(ValueError, match="alexnet: 4 clips to train on"):
        cook_inlet.trained(data, rows.iloc[:4], rows.iloc[4:], {"alexnet": {}}, FitSettings(epochs=3, batch_size=8), tmp_path / "M9")


def test_a_network_becomes_a_model_that_scores_windows(data):
    net = cook_inlet.CookNet("alexnet", 1, PROFILE.window_frames)
    rows = cook_inlet.clip_rows(data).iloc[:3]
    model = cook_inlet.as_models({"alexnet": net}, PROFILE)["alexnet"]
    np.testing.assert_allclose(model.predict(data.windows(rows))[0][:, 0], cook_inlet.probabilities(net, data, rows), atol=1e-5)


def test_moorings_are_simulated_once_and_their_detections_written(tmp_path, monkeypatch):
    recordings, truth = cook_inlet.simulated_moorings(tmp_path, ("RDL", "KAM"), 1, 6, 24000, seed=3, call_rate_per_min=20)
    assert recordings["site"].tolist() == ["KAM", "RDL"] and set(truth["recording"]) <= set(recordings["recording"]) and recordings["day"].nunique() == 2
    monkeypatch.setattr("preprocessing.soundscape.deployment.simulate_deployment", lambda *_, **__: pytest.fail("made again"))
    again, _ = cook_inlet.simulated_moorings(tmp_path, ("RDL", "KAM"), 1, 6, 24000, seed=3)
    assert again["recording"].tolist() == recordings["recording"].tolist()
    said = cook_inlet.sensitive_detections(recordings, truth, PROFILE, tmp_path / "found.xlsx")
    assert (tmp_path / "found.xlsx").exists() and said["reached"]["reached"] <= said["reached"]["calls"]
