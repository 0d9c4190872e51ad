"""A finished run, opened for reading: the questions and figures of `run.ipynb` on whatever is in the folder."""
import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import pytest

from pipeline import run_multi_file_pipeline
from pipeline.overview import Run, describe
from pipeline.plots import plot_call_types, plot_effort, plot_passage
from spectrogram.plots import plot_levels
from tests.toy_model import ToyModel
from tests.toy_sound import noise, scene, write

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def no_screen():
    matplotlib.use("Agg")
    yield
    plt.close("all")


def finished(folder, recordings: dict) -> Run:
    """Run on recordings of name -> (samples, rate), or name -> bytes, and open the result."""
    for name, content in recordings.items():
        path = folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content) if isinstance(content, bytes) else write(path, *content)
    run_multi_file_pipeline(folder / "in", folder / "out", ToyModel(), progress=False)
    return Run(folder / "in", folder / "out")


def draw(run: Run) -> dict:
    """Every figure of the front page, really drawn."""
    axes = {"effort": plot_effort(run.effort), "calls": plot_call_types(run.events, run.effort, run.call_labels)}
    name, start_s = run.passage(10)
    axes["levels"] = plot_levels(run.levels_like(name))
    assert 0 <= run.moment(name) <= run.recording(name).duration_s
    axes["passage"] = plot_passage(run.recording(name), run.events_of(name), run.profile, start_s, start_s + 10)
    for ax in axes.values():
        ax.figure.canvas.draw()
    return axes


def test_a_deployment_with_a_damaged_file_keeps_its_dates(tmp_path):
    run = finished(tmp_path, {"6872.220716020000.wav": (scene(12, 192000), 192000), "BSM/6872.220716020100.wav": (scene(12, 8000), 8000),
                              "6872.220716020200.wav": b"", "damaged.wav": b""})
    assert run.passage(5)[0] == "6872.220716020000.wav"
    counts = run.counts().set_index("label")
    assert counts.loc["all", "events"] == len(run.events) == 10 and counts.loc["diphonic", "events"] == 2
    assert counts.loc["Whistle", "hours that could show it"] == pytest.approx(24 / 3600, abs=1e-3)
    assert counts.loc["HFPC", "hours that could show it"] == pytest.approx(12 / 3600, abs=1e-3)  # not at 8 kHz
    axes = draw(run)
    assert axes["effort"].get_xlabel() == "time (UTC)" and axes["calls"].get_xlabel() == "time (UTC)"
    good, marked = run.clearest(100), run.marked(100)  # the toy's whistles are no beluga's
    assert len(good) + len(marked) == 10 and len(run.clearest(1)) == 1 and "start (UTC)" in good
    assert (marked["flags"] != "").all() and counts.loc["all", "passing"] == len(good)
    words = describe(run)
    assert "4 recordings, 0.4 minutes; 2 could not be read" in words and "simulated" not in words and "ECHO, HFPC" in words
    assert "unverified" in words
    assert run.files()["file"].str.contains("raven").sum() == 2


def test_recordings_without_times_or_events(tmp_path):
    run = finished(tmp_path, {"one.wav": (noise(4, 48000), 48000), "two.wav": (noise(3, 8000), 8000)})
    axes = draw(run)
    assert "minutes" in axes["effort"].get_xlabel() and "minutes" in axes["calls"].get_xlabel()
    assert not len(run.clearest(10)) and run.counts()["events"].sum() == 0
    assert "not calibrated" in describe(run)


def test_nothing_could_be_read(tmp_path):
    run = finished(tmp_path, {"one.wav": b"", "two.wav": b"not sound"})
    plot_effort(run.effort).figure.canvas.draw()
    plot_call_types(run.events, run.effort, run.call_labels).figure.canvas.draw()
    assert "2 could not be read" in describe(run) and not len(run.clearest(10)) and run.counts()["events"].sum() == 0
    with pytest.raises(ValueError, match="none of the 2 recordings could be processed"):
        run.passage(10)


def test_one_recording_given_as_a_file(tmp_path):
    path = write(tmp_path / "6872.220716020000.wav", scene(12, 48000), 48000)
    run_multi_file_pipeline(path, tmp_path / "out", ToyModel(), progress=False)
    run = Run(path, tmp_path / "out")
    name, start_s = run.passage(10)
    assert run.recording(name).path == path and 0 <= start_s <= 2 and len(run.events_of(name)) == 4
    assert pd.Series(run.call_labels).tolist() == ["ECHO", "HFPC", "BBPC", "Whistle"]


@pytest.mark.parametrize("dated", [True, False])
def test_calls_are_counted_for_each_minute_that_was_listened_to(dated):
    """Ten minutes, four of them muted, with a call each half minute of the rest: two for each minute, and the muted ones are grey."""
    start = pd.Timestamp("2022-07-16", tz="UTC")
    effort = pd.DataFrame({"recording": ["6872.220716000000.wav"], "start_utc": [start if dated else pd.NaT], "duration_s": [600.0], "unlistened": ["120-360"], "listened_s": [360.0],
                           "status": ["ok"]}).assign(start_utc=lambda t: pd.to_datetime(t["start_utc"], utc=True))
    start_s = [s + 10.0 for s in range(0, 600, 30) if not 120 <= s < 360]
    events = pd.DataFrame({"recording": "6872.220716000000.wav", "start_s": start_s, "start_utc": start + pd.to_timedelta(start_s, unit="s"), "labels": "Whistle"})
    ax = plot_call_types(events, effort, ["Whistle"], bins=5)
    assert [bar.get_height() for bar in ax.containers[0]] == pytest.approx([2, 0, 0, 2, 2])
    assert sum(patch.get_height() == 1 and patch.get_facecolor()[0] > 0.9 for patch in ax.patches) == 2
    assert ax.get_ylabel() == "events per minute listened to"
    half = plot_call_types(events, effort, ["Whistle"], bins=1)
    assert half.containers[0][0].get_height() == pytest.approx(2)
