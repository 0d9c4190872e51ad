"""Each step of the pipeline as a picture, for chosen moments: what `run_pipeline_single_audio(debug=True)` shows."""
from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from pipeline.denoised import passage_picture
from pipeline.plots import COLOURS, draw_events
from pipeline.progress import say
from ROI.detector import explain
from ROI.plots import plot_bands, plot_boxes
from spectrogram.generator import Spectrogram, SpectrogramGenerator
from spectrogram.picture import normalise
from spectrogram.plots import colour_range
from spectrogram.units import mark, unit_of
from spectrogram.windows import TraceJoiner, WindowCutter

PASSAGE_S = 8.0
CONTEXT_S = 20.0  # on both sides, for the background
TICKS_KHZ = (0.5, 2, 5, 10, 20, 40, 80)
LOW_TICKS_KHZ = (0.5, 1, 2, 3, 4, 6, 8)  # where a recording holds no more


def show_steps(result, model, thresholds: dict, at_s=None, way=None) -> list:
    """Draw one figure for each moment in `at_s` (seconds; a number, several, or none for the three events that stand out most): shown in a notebook, elsewhere
    written into the current folder, which is said.

    `way`: what the model's picture was denoised with.

    Returns
    -------
    The figures, closed, for saving.
    """
    import matplotlib.pyplot as plt

    figures, notebook = [], in_notebook()
    for moment in _moments(result, at_s):
        figure = steps_figure(result, model, thresholds, moment, way)
        figures.append(figure)
        if notebook and plt.get_backend().lower() != "agg":
            _display(figure)
        elif not notebook:
            say(f"steps at {moment:.1f} s: {_write(figure, result.recording.path.stem, moment)}")
        plt.close(figure)
    return figures


def in_notebook() -> bool:
    """Whether a figure can be shown where this runs: in a Jupyter kernel, not in a script or IPython's terminal."""
    ipython = sys.modules.get("IPython")
    return getattr(ipython and ipython.get_ipython(), "kernel", None) is not None


def _display(figure) -> None:
    from IPython.display import display

    display(figure)


def _write(figure, stem: str, moment: float) -> Path:
    """Write it into the current folder, or where that cannot be written, a temporary one."""
    path = Path.cwd() / f"{stem}.steps_{moment:.1f}s.png"
    try:
        figure.savefig(path)
    except OSError:
        path = Path(tempfile.mkdtemp(prefix="sea_canary_steps_")) / path.name
        figure.savefig(path)
    return path


def _moments(result, at_s) -> list[float]:
    if at_s is not None:
        return [float(x) for x in np.atleast_1d(at_s)]
    if not len(result.windows):
        return []  # shorter than a frame: nothing to show
    if not len(result.events):
        return [min(PASSAGE_S, result.metadata["duration_s"]) / 2]
    moments: list[float] = []
    for event in result.events.sort_values("snr_db", ascending=False).itertuples():
        middle = (event.start_s + event.end_s) / 2
        if all(abs(middle - m) > PASSAGE_S for m in moments):
            moments.append(middle)
        if len(moments) == 3:
            break
    return sorted(moments)


def steps_figure(result, model, thresholds: dict, at_s: float, way=None):
    """One figure: calibrated spectrogram with events, background, mask, regions, the model's picture, probabilities and decisions.

    Raises
    ------
    ValueError
        if `at_s` lies outside the recording.
    """
    import matplotlib.pyplot as plt

    recording, profile = result.recording, result.profile
    if not 0 <= at_s <= recording.duration_s:
        raise ValueError(f"{recording.path}: debug_at_s = {at_s} s lies outside the recording, which lasts {recording.duration_s:.1f} s")
    rate = profile.frame_rate_hz
    start_s = max(0.0, np.floor((at_s - PASSAGE_S / 2) / profile.step_s) * profile.step_s)
    end_s = min(recording.duration_s, start_s + PASSAGE_S)
    far_start_s = max(0.0, start_s - CONTEXT_S)
    generator = SpectrogramGenerator(profile)
    wide = generator.spectrogram(recording, far_start_s, min(recording.duration_s, end_s + CONTEXT_S))
    steps = explain(wide.picture_db, profile, recording.nyquist_hz)
    here = slice(round((start_s - far_start_s) * rate), round((end_s - far_start_s) * rate))

    figure, axes = plt.subplots(6, 1, figsize=(11, 16), layout="constrained", sharex=True, height_ratios=[3, 2, 2, 2, 2, 2])
    passage = Spectrogram(recording, profile, wide.times_s[here], wide.freqs_hz, wide.psd_db[here], wide.picture_db[here])
    passage.plot(ax=axes[0])
    draw_events(axes[0], result.events, start_s, end_s)
    axes[0].set_title(f"{recording.name}: {'' if recording.calibrated else 'not '}calibrated spectrogram and the events found", loc="left", fontsize=10)
    unit = unit_of(recording)
    mark(axes[1], recording.calibrated)
    low, high = colour_range(wide.picture_db[here])
    plot_bands(axes[1], steps.background_db[here], profile, start_s, label=unit, vmin=low, vmax=high)
    axes[1].set_title("Background of each band (only the bands searched)", loc="left", fontsize=10)
    plot_bands(axes[2], np.where(np.isfinite(steps.excess_db[here]), steps.mask[here], np.nan), profile, start_s, vmin=0, vmax=2, cmap="Greys")
    bar = figure.colorbar(axes[2].collections[0], ax=axes[2], pad=0.01, ticks=[0, 1, 2])
    bar.ax.set_yticklabels(["neither", "grow", "seed"])
    axes[2].set_title("Mask: cells above the grow and the seed threshold", loc="left", fontsize=10)
    plot_bands(axes[3], steps.excess_db[here], profile, start_s, label="dB above background", vmin=0, vmax=25)
    boxes = result.regions[(result.regions["start_s"] < end_s) & (result.regions["end_s"] > start_s)]
    plot_boxes(axes[3], boxes, show_snr=True)
    axes[3].set_title("Excess over the background and the regions of interest with their names (thin: none; by band of the search, green: tone in a broad sound, pink: click train)", loc="left", fontsize=10)
    seen_db = passage_picture(generator, recording, way, start_s, end_s, CONTEXT_S)
    _model_picture(axes[4], seen_db, profile, start_s)
    _probabilities(axes[5], result, model, thresholds, seen_db, start_s, end_s)
    top_khz = _top_khz(profile, recording.nyquist_hz)
    for ax in axes[:-1]:
        ax.set_xlabel("")
        ax.set_yticks([t for t in (TICKS_KHZ if top_khz > 12 else LOW_TICKS_KHZ) if t <= top_khz])
        ax.set_ylim(top=top_khz)
    axes[-1].set_xlim(start_s, end_s)
    return figure


def _top_khz(profile, nyquist_hz: float) -> float:
    """The highest frequency worth drawing: the picture's, or a little more than what the recording holds."""
    full, seen = float(profile.band_high_hz[-1]), profile.visible_bands(nyquist_hz)
    return min(full, 1.3 * float(profile.band_high_hz[seen][-1]) if seen.any() else full) / 1e3


def _model_picture(ax, picture_db, profile, start_s):
    """What the model sees: successive windows, each normalised by itself; the last may overlap the one before."""
    windows = normalise(WindowCutter(profile).push(picture_db, final=True), profile)
    size, apart = profile.window_frames, profile.window_frames // profile.step_frames
    seen = [*windows[::apart]]
    shown = len(seen) * size
    if shown < len(picture_db):
        seen.append(windows[-1][size - (len(picture_db) - shown):])
    n, seen = len(seen), np.concatenate(seen)[:len(picture_db), :profile.n_bands]
    plot_bands(ax, seen, profile, start_s, label="model input", vmin=profile.normalisation["low"] / 2, vmax=profile.normalisation["high"] / 2)
    for k in range(1, n):
        ax.axvline(start_s + k * profile.window_s, color="white", linewidth=0.6)
    ax.set_title("The model's picture: windows as they are given to it", loc="left", fontsize=10)


def _probabilities(ax, result, model, thresholds, picture_db, start_s, end_s):
    """Window probabilities (steps), position probabilities (lines) and thresholds (dotted)."""
    profile, missing = result.profile, result.metadata["missing_labels"]
    prob, positions = model.predict(WindowCutter(profile).push(picture_db, final=True))
    trace = TraceJoiner(profile).push(positions, final=True)
    times = start_s + (np.arange(len(trace)) + 0.5) * profile.window_s / positions.shape[2]
    windows = result.windows[(result.windows["start_s"] >= start_s - profile.window_s) & (result.windows["start_s"] < end_s)]
    for i, label in enumerate(profile.labels):
        if label in missing:
            continue
        colour = _dark(label)
        ax.plot(times, trace[:, i], color=colour, linewidth=1.3, label=label)
        ax.plot(windows["start_s"] + profile.window_s / 2, windows[f"p_{label}"], ".", color=colour, markersize=7)
        if label in thresholds:
            ax.axhline(thresholds[label].get("region", thresholds[label]["on"]), color=colour, linestyle=":", linewidth=0.8)
    for event in result.events[(result.events["start_s"] < end_s) & (result.events["end_s"] > start_s)].itertuples():
        for label in event.labels.split("+"):  # decisions, a row for each label
            row = -0.07 * (1 + [*profile.labels].index(label))
            ax.plot([event.start_s, event.end_s], [row, row], color=_dark(label), linewidth=4, solid_capstyle="butt")
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set(ylim=(-0.07 * (len(profile.labels) + 0.5), 1.03), yticks=[0, 0.25, 0.5, 0.75, 1], ylabel="probability", xlabel="time from the recording's start (s)")
    if len(missing) < len(profile.labels):
        ax.legend(ncols=5, fontsize=8, frameon=False, loc="upper right", bbox_to_anchor=(1, 1.2))
    note = f"\nnot observable at this sample rate: {', '.join(missing)}" if missing else ""
    ax.set_title(f"Probabilities: lines in time, dots per window, dotted the on-thresholds; bars below zero: events{note}", loc="left", fontsize=10)


def _dark(label: str) -> str | None:
    """The label's colour, fit for white paper."""
    return {"HFPC": "#b5a900", "Whistle": "#1a9c1a"}.get(label, COLOURS.get(label))
