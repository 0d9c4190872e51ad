"""The region head: learnt from pictures, the same in training and in use, and what decides the events."""
import shutil

import numpy as np
import pandas as pd
import pytest

import pipeline.spans
from pipeline import run_pipeline_single_audio
from pipeline.events import ENDS
from pipeline.region_limits import LIMITS, _alarms, choose, named_recordings
from pipeline.tables import region_types, write_parquet
from ROI.describe import feature_names
from ROI.detector import BOX
from spectrogram.generator import SpectrogramGenerator
from spectrogram.recording import Recording
from tests.toy_model import ToyModel, save_random_model
from tests.toy_sound import band_burst, noise, put, sweep, write
from training.regions import call_labels, fit_regions, region_targets, regions_of
from training.saved import BadModel, load_model, save_regions

RATE = 192_000
PROFILE = ToyModel().profile
CALLS = {  # label -> a call in seconds and Hz
    "Whistle": lambda rng: (sweep(0.5, RATE, f := rng.uniform(3000, 9000), 1.4 * f, 108), 0.5, f, 1.4 * f),
    "HFPC": lambda rng: (band_burst(0.3, RATE, f := rng.uniform(28000, 35000), 75000, 115), 0.3, f, 75000.0),
}


def sound(seed: int, seconds: float = 24.0) -> tuple[np.ndarray, pd.DataFrame]:
    """Noise with a whistle or a pulsed call every 1.5 s, and the truth."""
    rng, x, rows = np.random.default_rng(seed), noise(seconds, RATE, seed=seed), []
    for start in np.arange(1.0, seconds - 2, 1.5):
        label = rng.choice(list(CALLS))
        call, length, low, high = CALLS[label](rng)
        put(x, RATE, start, call)
        rows.append({"recording": f"{seed}", "label": label, "start_s": start, "end_s": start + length, "low_hz": low, "high_hz": high, "audible": True})
    return x, pd.DataFrame(rows)


class Pictures:
    """A data set of pictures in memory."""

    def __init__(self, folder, seeds):
        self.paths, self.pictures, calls = {}, {}, []
        for seed in seeds:
            x, truth = sound(seed)
            self.paths[f"{seed}"] = write(folder / f"{seed}" / "6872.220716021453.wav", x, RATE, "PCM_24")
            self.pictures[f"{seed}"] = SpectrogramGenerator(PROFILE).picture(Recording(self.paths[f"{seed}"]))
            calls.append(truth)
        self.calls = pd.concat(calls, ignore_index=True)
        self.manifest = pd.DataFrame({"recording": list(self.paths), "picture": list(self.paths), "sample_rate_hz": RATE, "duration_s": 24.0, "kind": "natural"})

    def picture(self, name):
        return self.pictures[name]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """(data, model with a head learnt from two recordings, with a third to choose by)."""
    data, model = Pictures(tmp_path_factory.mktemp("sound"), [1, 2, 3]), ToyModel()
    model.regions = fit_regions(model, data, data.manifest[:2], data.manifest[2:])
    for label, limit in model.regions.thresholds.items():
        model.thresholds[label]["region"] = limit
    return data, model


def test_it_names_regions_that_it_has_not_seen(fitted):
    data, model = fitted
    told = model.regions.summary["validation"]
    for label in CALLS:
        assert told[label]["recall"] >= 0.8 and told[label]["precision"] >= 0.8, (label, told[label])
    events = run_pipeline_single_audio(data.paths["3"], model).events
    truth = data.calls[data.calls["recording"] == "3"]
    for label, calls in truth.groupby("label"):
        mine = events[events["labels"].str.contains(label)]
        found = [((mine["start_s"] < call.end_s) & (mine["end_s"] > call.start_s)).any() for call in calls.itertuples()]
        assert np.mean(found) >= 0.8


def test_a_region_is_described_alike_in_training_and_in_use(fitted):
    data, model = fitted
    boxes, described = regions_of(model, data.pictures["3"], RATE / 2)
    regions = run_pipeline_single_audio(data.paths["3"], model).regions
    assert len(boxes) == len(regions) > 10 and described.shape[1] == len(feature_names(PROFILE)) == len(model.regions.features)
    order = np.lexsort((boxes["band"], boxes["high_hz"], boxes["low_hz"], boxes["end_s"], boxes["start_s"]))
    prob = model.regions.predict(described[order])[0]
    for k, label in enumerate(call_labels(PROFILE)):
        np.testing.assert_allclose(regions[f"p_{label}"], prob[:, k], atol=2e-3)


def test_emptying_the_regions_empties_the_events(fitted, monkeypatch):
    data, model = fitted
    before = run_pipeline_single_audio(data.paths["3"], model)
    push = pipeline.spans.SpanCutter.push
    monkeypatch.setattr(pipeline.spans.SpanCutter, "push", lambda self, t, c, p, boxes, *rest: push(self, t, c, p, np.zeros(0, BOX), *rest))
    after = run_pipeline_single_audio(data.paths["3"], model)
    assert len(before.events) > 5 and not len(after.events) and not len(after.regions)
    pd.testing.assert_frame_equal(before.windows, after.windows)  # presence stays the windows' affair


def test_events_lie_on_named_regions_and_named_regions_in_events(fitted):
    data, model = fitted
    result = run_pipeline_single_audio(data.paths["2"], model)
    named = result.regions[result.regions["named"]]
    assert (result.regions["named"] == (result.regions["labels"] != "")).all() and len(named) < len(result.regions) + 1
    for event in result.events.itertuples():
        mine = named[(named["start_s"] < event.end_s) & (named["end_s"] > event.start_s)]
        spare = ENDS * (mine["end_s"].max() - mine["start_s"].min())  # a quiet start is cut off
        assert any(start - 1e-6 <= event.start_s <= start + spare for start in mine["start_s"])
    for region in named.itertuples():
        assert ((result.events["start_s"] <= region.end_s) & (result.events["end_s"] >= region.start_s)).any()


def test_block_size_and_workers_change_nothing_with_a_head_either(fitted):
    data, model = fitted
    first = run_pipeline_single_audio(data.paths["1"], model, block_s=1.0, workers=1)
    other = run_pipeline_single_audio(data.paths["1"], model, block_s=7.3, workers=3)
    for table in ("events", "regions", "windows"):
        pd.testing.assert_frame_equal(getattr(other, table), getattr(first, table), check_exact=True)


def test_a_threshold_of_the_user_counts_for_regions_too(fitted):
    data, model = fitted
    assert not len(run_pipeline_single_audio(data.paths["3"], model, thresholds=dict.fromkeys(CALLS, 1.0)).events)


def test_what_a_low_rate_cannot_show_is_missing_in_regions_too(fitted, tmp_path):
    result = run_pipeline_single_audio(write(tmp_path / "6872.220716021453.wav", put(noise(12, 8000), 8000, 4.0, sweep(0.6, 8000, 1500, 2500, 112)), 8000), fitted[1])
    assert len(result.regions) and result.regions[["p_ECHO", "p_HFPC", "p_BBPC"]].isna().all(axis=None) and result.regions["p_Whistle"].notna().all()


def test_an_empty_table_of_regions_has_the_columns_of_a_full_one(fitted, tmp_path):
    data, model = fitted
    full, empty = run_pipeline_single_audio(data.paths["1"], model).regions, run_pipeline_single_audio(write(tmp_path / "x.wav", noise(3, 48000), 48000), model).regions
    assert not len(empty) and list(empty) == list(full) == list(region_types(PROFILE)) and (empty.dtypes == full.dtypes).all()
    for frame in (full, empty):
        write_parquet(frame, tmp_path / "regions.parquet", {})
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "regions.parquet"), frame)


def test_a_head_is_saved_with_its_model_and_found_again(fitted, tmp_path):
    head = fitted[1].regions
    folder = save_random_model(tmp_path / "model", PROFILE)
    before = load_model(folder)
    assert before.regions is None
    name = save_regions(folder, head, PROFILE.roi_bands)
    again = load_model(folder)
    assert again.model_id == name != before.model_id and again.thresholds["Whistle"]["region"] == head.thresholds["Whistle"]
    x = np.random.default_rng(0).normal(size=(7, len(head.features))).astype(np.float32)
    np.testing.assert_array_equal(again.regions.predict(x)[0], head.predict(x)[0])
    assert set(again.net.state_dict()) == set(before.net.state_dict())  # the network does not hear of it
    save_regions(folder, head, PROFILE.roi_bands)  # once more
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "model.json").write_text((broken / "model.json").read_text().replace('"far"', '"fur"'))
    with pytest.raises(BadModel, match="region head is not whole.*run python -m training.regions"):
        load_model(broken)


def test_what_a_region_shows_by_hand():
    boxes = np.zeros(4, BOX)
    for box, row in zip(boxes, [(1.0, 2.0, 5000, 7000, "low"), (1.0, 2.0, 1000, 21000, "low"), (1.0, 2.0, 25000, 60000, "high"), (5.0, 6.0, 5000, 7000, "low")]):
        box["start_s"], box["end_s"], box["low_hz"], box["high_hz"], box["band"] = row
    calls = pd.DataFrame([("Whistle", 1.1, 1.9, 5200, 6800, True), ("BBPC", 0.9, 2.1, 1000, 60000, True), ("HFPC", 5.0, 6.0, 30000, 50000, True), ("ECHO", 1.0, 2.0, 25000, 60000, False)],
                         columns=["label", "start_s", "end_s", "low_hz", "high_hz", "audible"])
    target = pd.DataFrame(region_targets(boxes, calls, PROFILE, 96_000.0), columns=list(call_labels(PROFILE)))
    assert target["Whistle"].tolist()[0] == 1 and target["Whistle"].tolist()[2:] == [0, 0]   # in the broad region it is a small part
    assert target["Whistle"][1] != 1
    assert target["BBPC"].tolist()[1:] == [1, 1, 0] and target["BBPC"][0] != 1
    assert target["HFPC"].tolist() == [0, 0, 0, 0]                                               # another band
    assert np.isnan(target["ECHO"][2])                                                           # too faint: nobody knows
    low = region_targets(boxes[:2], calls, PROFILE, 24_000.0)
    assert np.isnan(low[:, :2]).all() and low[0, 3] == 1                                         # what the rate cannot show
    assert np.isnan(region_targets(boxes[3:], calls, PROFILE, 96_000.0, ("BBPC",))[0, 2])


def test_limits_chosen_by_events_find_calls_and_leave_quiet_sound_quiet(fitted, monkeypatch):
    data, model = fitted
    limits, figures = choose(model, data, data.manifest)
    assert set(figures) == set(limits) == set(call_labels(PROFILE)) and set(limits.values()) <= set(LIMITS)
    for label in CALLS:
        assert figures[label]["precision"] >= 0.8 and figures[label]["recall"] >= 0.8, (label, figures)
    monkeypatch.setattr(data, "calls", data.calls.iloc[:0])  # the same sound, said to hold nothing: every event is false
    strict, quiet = choose(model, data, data.manifest.assign(kind="noise"), most_false=0.0)
    for label in CALLS:
        assert strict[label] > limits[label] or quiet[label]["false_per_hour"]["noise"] == 0


def test_events_of_the_chosen_limits_are_those_of_the_pipeline(fitted):
    data, model = fitted
    limits = {label: model.thresholds[label]["region"] for label in call_labels(PROFILE)}
    [whole] = named_recordings(model, data, data.manifest[2:])
    rows, events = pd.DataFrame(whole.events(limits)), run_pipeline_single_audio(data.paths["3"], model).events
    assert len(rows) == len(events) > 5 and rows["labels"].tolist() == events["labels"].tolist()
    np.testing.assert_allclose(rows[["start_s", "end_s"]], events[["start_s", "end_s"]], atol=1e-6)


def test_a_series_of_false_events_is_one_alarm():
    events = pd.DataFrame([("a", 30.0, 31.0), ("a", 0.0, 1.0), ("a", 8.0, 9.0), ("b", 9.5, 10.0)], columns=["recording", "start_s", "end_s"])
    assert _alarms(events) == 3 and _alarms(events.iloc[:0]) == 0
