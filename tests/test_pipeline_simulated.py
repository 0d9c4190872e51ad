"""A simulated deployment is called one, and what was found in it is told against its truth."""
import json

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from pipeline import run_multi_file_pipeline
from pipeline.overview import Run, describe
from pipeline.plots import draw_events
from pipeline.report import Report
from pipeline.simulated import found_table, judged, plot_truth, root_of, simulated_recordings
from preprocessing.soundscape import simulate_deployment
from tests.toy_model import ToyModel
from training.metrics import judge_events

LABELS = ("ECHO", "Whistle")


def table(*rows, name="labels") -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["recording", name, "start_s", "end_s"])


def truth_of(*rows) -> pd.DataFrame:
    return table(*(row[:4] for row in rows), name="label").assign(audible=[row[4] for row in rows])


TRUTH = truth_of(("a", "Whistle", 1, 2, True), ("a", "Whistle", 5, 6, True), ("a", "ECHO", 5, 6, True),
                 ("a", "ECHO", 8, 9, False), ("b", "Whistle", 1, 2, True))  # fmt: skip
EVENTS = table(("a", "Whistle", 0.9, 1.3), ("a", "Whistle", 1.6, 2.1), ("a", "ECHO+Whistle", 5.4, 6),
               ("a", "ECHO", 8, 9), ("a", "ECHO", 20, 21))  # fmt: skip


def test_a_call_is_found_where_events_of_its_label_cover_half_of_it():
    calls, named = judged(EVENTS, TRUTH, LABELS)
    assert calls["verdict"].tolist() == ["found", "found", "found", "faint", "missed"]
    assert named["verdict"].tolist() == ["true", "true", "true", "true", "faint", "false"]
    told = found_table(EVENTS, TRUTH, LABELS).set_index("label")
    assert told.loc["all"].tolist() == [4, 3, 1, 6, 1] and told.loc["Whistle", "missed"] == 1


def test_verdicts_are_those_of_the_training_s_metrics():
    calls, named = judged(EVENTS, TRUTH, LABELS)
    detections, annotations = judge_events(EVENTS, TRUTH, LABELS)
    loud = annotations[annotations["audible"]]
    assert (calls.loc[loud.index, "verdict"] == "found").tolist() == loud["found"].tolist()
    assert named["verdict"].replace("faint", "ignored").tolist() == detections["verdict"].tolist()


def test_without_events_all_is_missed_and_nothing_is_false():
    told = found_table(EVENTS.iloc[:0], TRUTH, LABELS).set_index("label")
    assert told.loc["all", ["found", "missed", "events", "false"]].tolist() == [0, 4, 0, 0]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    simulate_deployment(folder / "in" / "BSM", "BSM", 3, 1, 12.0, sample_rate_hz=48_000, progress=False, call_rate_per_min=30.0)
    run_multi_file_pipeline(folder / "in", folder / "out", ToyModel(), workers=1, progress=False)
    return folder


def test_the_report_and_the_notebook_say_simulated_and_what_was_found(deployment):
    for audio in (deployment / "in", None):  # the tables' own parts tell where the sound lay
        report = Report(deployment / "out", audio)
        assert "Simulated: no animal was recorded" in report.headline().html
        heading, words, told, figure = report.truth()
        assert "found" in told.html and figure.html.startswith("<img")
    run = Run(deployment / "in", deployment / "out")
    assert "This deployment is simulated" in describe(run) and "unverified" in describe(run)
    assert run.found()["calls"].sum() > 0
    spectrogram, bars, *_ = run.draw_found(run.effort["recording"][0], 0.0, 8.0).axes
    assert spectrogram.get_title(loc="left").startswith("simulated") and bars.get_xlim() == (0, 8)
    plt.close("all")


def test_recorded_sound_and_a_damaged_mark_are_not_simulated(deployment, tmp_path):
    effort = pd.read_parquet(deployment / "out" / "effort.parquet")
    assert simulated_recordings(effort, None)[0] == [] == simulated_recordings(effort, tmp_path)[0]
    (tmp_path / "BSM").mkdir()
    (tmp_path / "BSM" / "deployment.json").write_text("{", encoding="utf-8")
    assert simulated_recordings(effort, tmp_path)[0] == []
    (tmp_path / "BSM" / "deployment.json").write_text(json.dumps({"simulated": True}), encoding="utf-8")
    names, truth = simulated_recordings(effort, tmp_path)  # its truth was not kept
    assert names == effort["recording"].tolist() and not len(truth)
    assert root_of(deployment / "out").resolve() == (deployment / "in").resolve()


def test_the_picture_shows_calls_and_events_of_the_time_that_is_asked_for():
    figure, ax = plt.subplots()
    plot_truth(EVENTS[EVENTS["recording"] == "a"], TRUTH[TRUTH["recording"] == "a"], LABELS, 0.0, 10.0, ax)
    assert len(ax.collections) == 4 + 5 and ax.get_xlabel() == "time (s)"
    assert [text.get_text() for text in ax.get_yticklabels()] == ["Whistle", "ECHO"]
    plt.close(figure)


def test_names_of_events_that_begin_together_are_not_written_over_each_other():
    figure, ax = plt.subplots(figsize=(11, 5))
    ax.set(xlim=(0, 10), ylim=(0, 90))
    box = {"start_s": 2.0, "end_s": 3.0, "low_hz": 2e3, "high_hz": 3e4, "diphonic": False, "flags": ""}
    events = pd.DataFrame([box | {"labels": x} for x in ("ECHO", "HFPC", "BBPC+Whistle")])
    draw_events(ax, events.assign(flags=["", "below_snr", ""]), 0.0, 10.0)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
    assert [patch.get_linestyle() for patch in ax.patches] == ["-", "--", "-"]
    plt.close(figure)
