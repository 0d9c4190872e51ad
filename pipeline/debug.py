"""Each step of the pipeline as a picture, for chosen moments: what `run_pipeline_single_audio(debug=True)` shows."""
from __future__ import annotations

import numpy as np

from pipeline.plots import COLOURS, draw_events
from ROI.detector import explain
from ROI.plots import plot_bands, plot_boxes
from spectrogram.generator import Spectrogram, SpectrogramGenerator
from spectrogram.picture import normalise

PASSAGE_S = 8.0
CONTEXT_S = 20.0  # on both sides, for the background


def show_steps(result, model, thresholds: dict, at_s=None) -> list:
    """Draw and show one figure for each moment in `at_s` (seconds; a number, several, or none for the three events that stand out most).

    Returns
    -------
    The figures, closed, for saving.
    """
    import matplotlib.pyplot as plt

    figures = []
    for moment in _moments(result, at_s):
        figure = steps_figure(result, model, thresholds, moment)
        figures.append(figure)
        if plt.get_backend().lower() != "agg":
            _display(figure)
        plt.close(figure)
    return figures


def _display(figure) -> None:
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return
    if get_ipython() is not None:
        display(figure)


def _moments(result, at_s) -> list[float]:
    if at_s is not None:
        return [float(x) for x in np.atleast_1d(at_s)]
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


def steps_figure(result, model, thresholds: dict, at_s: float):
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
    wide = SpectrogramGenerator(profile).spectrogram(recording, far_start_s, min(recording.duration_s, end_s + CONTEXT_S))
    steps = explain(wide.picture_db, profile, recording.nyquist_hz)
    here = slice(round((start_s - far_start_s) * rate), round((end_s - far_start_s) * rate))

    figure, axes = plt.subplots(6, 1, figsize=(11, 16), layout="constrained", sharex=True, height_ratios=[3, 2, 2, 2, 2, 2])
    passage = Spectrogram(recording, profile, wide.times_s[here], wide.freqs_hz, wide.psd_db[here], wide.picture_db[here])
    passage.plot(ax=axes[0])
    draw_events(axes[0], result.events, start_s, end_s)
    axes[0].set_title(f"{recording.name}: calibrated spectrogram and the events found", loc="left", fontsize=10)
    unit = "dB re 1 µPa²/Hz"
    low, high = np.nanpercentile(wide.picture_db[here], (5, 99.5)) if len(wide.picture_db[here]) else (0, 1)
    plot_bands(axes[1], steps.background_db[here], profile, start_s, label=unit, vmin=low, vmax=high)
    axes[1].set_title("Background of each band (only the bands searched)", loc="left", fontsize=10)
    plot_bands(axes[2], np.where(np.isfinite(steps.excess_db[here]), steps.mask[here], np.nan), profile, start_s, label="0 · grow · seed", vmin=0, vmax=2, cmap="Greys")
    axes[2].set_title("Mask: cells above the grow and the seed threshold", loc="left", fontsize=10)
    plot_bands(axes[3], steps.excess_db[here], profile, start_s, label="dB above background", vmin=0, vmax=25)
    boxes = result.regions[(result.regions["start_s"] < end_s) & (result.regions["end_s"] > start_s)]
    plot_boxes(axes[3], boxes, show_snr=True)
    axes[3].set_title("Excess over the background and the regions of interest", loc="left", fontsize=10)
    _model_picture(axes[4], wide.picture_db[here], profile, start_s)
    _probabilities(axes[5], result, model, thresholds, wide.picture_db[here], start_s, end_s)
    for ax in axes[:-1]:
        ax.set_xlabel("")
    axes[-1].set_xlim(start_s, end_s)
    return figure


def _model_picture(ax, picture_db, profile, start_s):
    """What the model sees: successive windows, each normalised by itself."""
    size = profile.window_frames
    n = max(1, len(picture_db) // size)
    windows = [normalise(picture_db[k * size:(k + 1) * size], profile) for k in range(n)]
    plot_bands(ax, np.concatenate(windows), profile, start_s, label="model input", vmin=profile.normalisation["low"] / 2, vmax=profile.normalisation["high"] / 2)
    for k in range(1, n):
        ax.axvline(start_s + k * profile.window_s, color="white", linewidth=0.6)
    ax.set_title("The model's picture: windows as they are given to it", loc="left", fontsize=10)


def _probabilities(ax, result, model, thresholds, picture_db, start_s, end_s):
    """Window probabilities (steps), position probabilities (lines) and thresholds (dotted)."""
    from pipeline.traces import TraceJoiner, WindowCutter

    profile = result.profile
    prob, positions = model.predict(WindowCutter(profile).push(picture_db, final=True))
    trace = TraceJoiner(profile).push(positions, final=True)
    times = start_s + (np.arange(len(trace)) + 0.5) * profile.window_s / positions.shape[2]
    windows = result.windows[(result.windows["start_s"] >= start_s - profile.window_s) & (result.windows["start_s"] < end_s)]
    for i, label in enumerate(profile.labels):
        if label in result.metadata["missing_labels"]:
            continue
        colour = {"HFPC": "#b5a900", "Whistle": "#1a9c1a"}.get(label, COLOURS[label] if label in COLOURS else None)
        ax.plot(times, trace[:, i], color=colour, linewidth=1.3, label=label)
        ax.plot(windows["start_s"] + profile.window_s / 2, windows[f"p_{label}"], ".", color=colour, markersize=7)
        if label in thresholds:
            ax.axhline(thresholds[label]["on"], color=colour, linestyle=":", linewidth=0.8)
    ax.set(ylim=(0, 1.02), ylabel="probability", xlabel="time from the recording's start (s)")
    ax.legend(ncols=5, fontsize=8, frameon=False, loc="upper right", bbox_to_anchor=(1, 1.2))
    missing = result.metadata["missing_labels"]
    note = f"; not observable at this sample rate: {', '.join(missing)}" if missing else ""
    ax.set_title(f"Probabilities: lines in time, dots per window, dotted the on-thresholds{note}", loc="left", fontsize=10)
