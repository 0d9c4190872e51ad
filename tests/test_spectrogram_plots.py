"""Figures: axes with units, masked bands said, and the `ax` given back."""
import numpy as np
import pandas as pd
import pytest

from spectrogram.explore import explore, live
from spectrogram.plots import DENSITY, MAX_COLUMNS, colour_range, plot_levels, plot_ltsa, plot_psd, plot_spectrogram
from spectrogram.recording import Recording
from tests.signals import sine, white_noise, write

plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def recording(tmp_path):
    x = white_noise(192000, 4, 0.01) + sine(192000, 4, 10000, 0.1)
    return Recording(write(tmp_path / "6872.220716021453.wav", x, 192000))


def all_text(ax):
    return " ".join(t.get_text() for t in ax.texts)


def labels_of_figure(ax):
    return [label for a in ax.figure.axes for label in (a.get_ylabel(), a.get_xlabel())]


@pytest.mark.parametrize("kind, scale", [("picture", None), ("bins", None), ("bins", "linear")])
def test_spectrogram_lies_on_seconds_and_kilohertz(generator, recording, kind, scale):
    passage = generator.spectrogram(recording, 1, 3)
    _, given = plt.subplots()
    ax = plot_spectrogram(passage, ax=given, kind=kind, scale=scale)
    assert ax is given and ax.get_xlim() == pytest.approx((1, 3)) and ax.get_ylim()[1] == pytest.approx(89.2 if kind == "picture" else 96, rel=0.02)
    assert "(s)" in ax.get_xlabel() and "(kHz)" in ax.get_ylabel() and DENSITY in labels_of_figure(ax)
    assert ax.get_title(loc="left") + ax.get_title() == "6872.220716021453.wav  ·  2022-07-16 02:14:54 UTC"
    mesh = ax.collections[0]
    level = mesh.get_array().reshape(mesh.get_coordinates().shape[0] - 1, -1).mean(axis=1)  # the loudest row is the sine's
    borders_khz = mesh.get_coordinates()[:, 0, 1]
    loudest = int(np.argmax(level))
    assert borders_khz[loudest] - 0.1 <= 10 <= borders_khz[loudest + 1] + 0.1
    assert all_text(ax) == ""


@pytest.mark.parametrize("kind", ["picture", "bins"])
def test_ticks_are_round_and_do_not_run_into_each_other(generator, recording, kind):
    ax = plot_spectrogram(generator.spectrogram(recording, 0, 1), kind=kind)
    ax.figure.canvas.draw()
    places = [ax.transData.transform((0, tick))[1] for tick in ax.get_yticks()]
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert len(labels) >= 6 and {"10", "20", "5"} <= set(labels) and all(float(t) > 0 for t in labels)
    assert np.abs(np.diff(places)).min() > 10  # points of the screen: a line of text


def test_plot_is_reached_from_the_passage_and_makes_its_own_axes(generator, recording):
    ax = generator.spectrogram(recording, 0, 1).plot(vmin=30, vmax=90)
    assert ax.collections[0].get_clim() == (30, 90)


def test_masked_bands_are_hatched_and_said(generator, tmp_path):
    recording = Recording(write(tmp_path / "quay.wav", white_noise(8000, 3), 8000))
    ax = plot_spectrogram(generator.spectrogram(recording))
    assert "no data above 3.58 kHz" in all_text(ax) and "Nyquist frequency is 4 kHz" in all_text(ax)
    assert [p for p in ax.patches if p.get_hatch()]
    title = ax.get_title(loc="left") + ax.get_title()
    assert "start time unknown" in title and "not calibrated (-170 dB assumed)" in title
    assert all_text(plot_spectrogram(generator.spectrogram(recording), kind="bins")) == "NOT CALIBRATED"


def test_unknown_kind_is_refused(generator, recording):
    with pytest.raises(ValueError, match="use kind picture, or bins"):
        plot_spectrogram(generator.spectrogram(recording, 0, 1), kind="mel")


def test_long_passages_are_averaged_in_power(generator, recording):
    passage = generator.spectrogram(recording)
    passage.picture_db = np.tile(passage.picture_db, (9, 1))
    passage.times_s = (np.arange(len(passage.picture_db)) + 0.5) / 192
    mesh = plot_spectrogram(passage).collections[0]
    shape = np.array(mesh.get_coordinates().shape[:2]) - 1
    assert shape[1] <= MAX_COLUMNS and shape[0] == 96
    mean_db = 10 * np.log10(np.mean(10 ** (passage.picture_db.astype(float) / 10)))
    assert 10 * np.log10(np.mean(10 ** (mesh.get_array().astype(float) / 10))) == pytest.approx(mean_db, abs=0.01)


def test_colours_are_robust():
    x = np.random.default_rng(0).standard_normal((500, 96)) * 10 + 60
    x[0, 0], x[1, 1], x[:, 90:] = 500, -300, np.nan
    low, high = colour_range(x)
    assert 35 < low < 60 and 80 < high < 110
    assert colour_range(np.full((4, 4), 50.0)) == (50, 70) and colour_range(np.full((4, 4), np.nan)) == (0, 20)


def test_psd_percentiles(generator, recording):
    passage = generator.spectrogram(recording)
    ax = plot_psd(passage, label="quay")
    line = ax.lines[0]
    assert line.get_ydata() == pytest.approx(np.median(passage.psd_db[:, 1:-1], axis=0)) and ax.get_xscale() == "log"
    assert "(kHz)" in ax.get_xlabel() and DENSITY in ax.get_ylabel()
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["quay, p05 to p95", "quay, p50"]


def test_levels_over_time_break_at_gaps(generator, recording):
    first = generator.levels(recording, row_s=1)
    later = first.assign(UTC=first["UTC"] + pd.Timedelta("5min"))
    ax = plot_levels(pd.concat([first, later], ignore_index=True), bands=("63", "10000", "200000"))
    assert len(ax.lines) == 6  # three lines, each in two stretches
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "broadband, p05 to p95 of 1-s levels", "broadband, 1 Hz to 96 kHz", "decidecade at 63 Hz", "decidecade at 10 kHz"]
    assert ax.get_xlabel() == "time (UTC)" and "dB re 1 µPa)" in ax.get_ylabel()
    stub = pd.concat([first, first[:1].assign(start_s=4, duration_s=0.05)])
    assert len(plot_levels(stub).lines[0].get_xdata()) == 4


@pytest.mark.parametrize("dated", [True, False])
def test_ltsa_shows_each_density_column(generator, recording, dated):
    table = generator.levels(recording, row_s=1)
    if not dated:
        table["UTC"] = pd.NaT
    ax = plot_ltsa(table)
    columns = [c for c in table if c.startswith("PSD_")]
    assert ax.collections[0].get_array().shape == (len(columns), len(table))
    assert np.array_equal(ax.collections[0].get_array(), table[columns].to_numpy().T)
    borders = ax.collections[0].get_coordinates()[:, 0, 1] * 1000
    assert (borders[:-1] < [float(c[4:]) for c in columns]).all() and (borders[1:] > [float(c[4:]) for c in columns]).all()
    assert ax.get_xlabel() == ("time (UTC)" if dated else "time from the recording's start (s)") and DENSITY in labels_of_figure(ax)


def test_empty_tables_draw_empty_axes(generator, recording):
    empty = generator.levels(recording)[:0]
    assert plot_levels(empty) is not None and plot_ltsa(empty) is not None


def test_explorer_is_a_still_picture_without_a_reader(recording, generator, monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert not live()
    ax = explore(recording, 1, 2, generator)
    assert ax.get_xlim() == pytest.approx((1, 3))
    monkeypatch.setenv("JPY_SESSION_NAME", "a.ipynb")
    assert live()
    widget = explore(recording, 1, 2, generator)
    assert [child.description for child in widget.children[:4]] == ["start (s)", "length (s)", "colours (dB)", "bands"]
    assert widget.children[0].max == pytest.approx(3.0)
