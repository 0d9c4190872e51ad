"""`debug=True`: every step as a picture, without a screen, for any recording; and the boxes drawn are the events."""
import shutil
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import Rectangle

import pipeline.debug
from pipeline import run_pipeline_single_audio
from pipeline.debug import show_steps, steps_figure
from pipeline.plots import draw_events
from tests.toy_model import ToyModel
from tests.toy_sound import NAME, noise, scene, write

pytestmark = pytest.mark.filterwarnings("error")
MODEL = ToyModel()


@pytest.fixture(autouse=True)
def no_screen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where pictures are written
    matplotlib.use("Agg")
    plt.close("all")  # what a test of another room left
    yield
    assert not plt.get_fignums()  # nothing stays open
    plt.close("all")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return run_pipeline_single_audio(write(tmp_path_factory.mktemp("debug") / NAME, scene(14, 192000), 192000), MODEL)


def figures_of(result, at_s=None):
    return show_steps(result, MODEL, result.metadata["thresholds"], at_s)


def test_every_step_is_drawn(result):
    figure, = figures_of(result, 5.0)
    titles = " ".join(ax.get_title(loc="left") for ax in figure.axes)
    for word in (NAME, "calibrated spectrogram", "events", "Background", "Mask", "regions of interest", "model's picture", "Probabilities"):
        assert word in titles
    panels = [ax for ax in figure.axes if ax.get_title(loc="left")]
    assert len(panels) == 6 and all(ax.get_ylabel() in ("frequency (kHz)", "probability") for ax in panels)
    assert panels[-1].get_xlabel() == "time from the recording's start (s)" and panels[-1].get_xlim() == (1.0, 9.0)
    assert {line.get_label() for line in panels[-1].lines} >= {"ECHO", "HFPC", "BBPC", "Whistle", "Boat"}
    figure.canvas.draw()


def test_boxes_and_names_are_those_of_the_events(result):
    figure, = figures_of(result, 5.0)
    top = figure.axes[0]
    drawn = sorted(round(p.get_x(), 6) for p in top.patches if isinstance(p, Rectangle) and p.get_width() < 5)
    shown = result.events.query("start_s < 9 and end_s > 1")
    assert drawn == sorted(shown["start_s"].round(6)) and len(drawn) == 6
    assert sum("diphonic" in text.get_text() for text in top.texts) == shown["diphonic"].sum() == 2


def test_names_are_readable_also_at_the_top_and_the_left_edge(result):
    figure, ax = plt.subplots()
    ax.set(xlim=(2.1, 4), ylim=(0, 82))
    draw_events(ax, result.events, 2.1, 4)
    figure.canvas.draw()
    frame = ax.get_window_extent()
    for text in ax.texts:
        box = text.get_window_extent()
        assert box.y1 <= frame.y1 + 1 and box.x0 >= frame.x0 - 1, text.get_text()
    plt.close(figure)


def test_several_moments_and_the_ones_chosen_by_itself(result):
    assert len(figures_of(result, [2.0, 9.0])) == 2
    chosen = figures_of(result)
    assert 1 <= len(chosen) <= 3
    with pytest.raises(ValueError, match="debug_at_s = 99.0 s lies outside the recording, which lasts 14.0 s"):
        steps_figure(result, MODEL, result.metadata["thresholds"], 99.0)


@pytest.mark.parametrize("rate, seconds, what", [
    (48000, 0.6, "shorter than a window"), (48000, 0.006, "one frame"), (48000, 3.0, "without an event"), (8000, 11.3, "low rate"),
    (600, 5.0, "no band at all"), (8000, 0.001, "no frame at all"),
])
def test_recordings_of_every_kind(rate, seconds, what, tmp_path):
    path = write(tmp_path / NAME, scene(seconds, rate) if what == "low rate" else noise(seconds, rate), rate)
    result = run_pipeline_single_audio(path, MODEL, debug=True)
    figures = figures_of(result)
    assert len(figures) >= 1 if what != "no frame at all" else not figures
    for figure in figures:
        figure.canvas.draw()
        last = figure.axes[5].get_title(loc="left")
        assert ("not observable at this sample rate: " + ", ".join(result.metadata["missing_labels"]) in last) == bool(result.metadata["missing_labels"])
        labels = {line.get_label() for line in figure.axes[5].lines}
        assert not labels & set(result.metadata["missing_labels"])  # the toy's answer for what cannot be seen is not drawn


def test_silence(tmp_path):
    result = run_pipeline_single_audio(write(tmp_path / NAME, np.zeros(3 * 48000), 48000), MODEL)
    for figure in figures_of(result):
        figure.canvas.draw()


def test_debug_shows_figures_in_a_notebook_and_writes_them_elsewhere(result, monkeypatch, tmp_path, capsys):
    shown, path = [], result.recording.path
    monkeypatch.setattr(pipeline.debug, "_display", shown.append)
    run_pipeline_single_audio(path, MODEL, debug=True, debug_at_s=[3.0, 9.0])
    written = [tmp_path / f"{path.stem}.steps_{moment}s.png" for moment in ("3.0", "9.0")]
    assert sorted(tmp_path.iterdir()) == written and all(plt.imread(picture).ndim == 3 for picture in written) and shown == []
    assert capsys.readouterr().out.splitlines() == [f"steps at {moment} s: {picture}" for moment, picture in zip(("3.0", "9.0"), written)]
    assert set(path.parent.iterdir()) == {path}  # nothing beside the sound
    monkeypatch.setattr(pipeline.debug, "in_notebook", lambda: True)
    run_pipeline_single_audio(path, MODEL, debug=True, debug_at_s=3.0)
    monkeypatch.setattr(plt, "get_backend", lambda: "inline")
    run_pipeline_single_audio(path, MODEL, debug=True, debug_at_s=3.0)
    assert len(shown) == 1 and sorted(tmp_path.iterdir()) == written


def test_pictures_go_elsewhere_where_the_current_folder_cannot_be_written(result, monkeypatch, tmp_path, capsys):
    (tmp_path / f"{result.recording.path.stem}.steps_3.0s.png").mkdir()
    figures_of(result, 3.0)
    place = Path(capsys.readouterr().out.split(": ", 1)[1].strip())
    assert place.is_file() and place.parent != tmp_path
    shutil.rmtree(place.parent)


def test_plot_of_a_result(result):
    ax = result.plot(0, 5)
    assert ax.get_xlim() == (0, 5) and "2022-07-16 02:14:53 UTC" in ax.get_title(loc="left")
    plt.close(ax.figure)
