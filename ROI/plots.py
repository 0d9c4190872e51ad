"""Figures of the region detector: boxes on any spectrogram, and the detector's steps below each other.

Axes are seconds and kHz. Every function takes data and an `ax` (or several), draws, and returns it.
"""

import numpy as np

from spectrogram.plots import colour_range
from spectrogram.units import DENSITY, mark

COLOURS = {"low": "#ffb000", "high": "#35d0ff", "tonal": "#7fe07f", "crest": "#ff7fbf"}  # told apart on dark pictures, also by the colour-blind
OTHER = "#ffffff"
STEPS = ("picture", "background", "excess", "mask", "boxes")
MAX_COLUMNS = 3000
TICKS_KHZ = (0.5, 2, 5, 10, 20, 40, 80)


def plot_boxes(ax, boxes, start_s=0.0, colours=None, linewidth=1.2, show_snr=False):
    """Draw boxes as frames on an axis in seconds and kHz.

    Parameters
    ----------
    boxes : DataFrame with start_s, end_s, low_hz, high_hz, band (and snr_db, if `show_snr`)
    start_s : time of the axis' zero; 0 if the axis shows the recording's own time
    colours : dict, name of the ROI band -> colour
    show_snr : write the SNR above each box, and before it what a region was named where the boxes tell it (column `labels`); those without a name are drawn thin
    """
    from matplotlib.patches import Rectangle

    colours = COLOURS if colours is None else colours
    for box in boxes.itertuples():
        left, low_khz = box.start_s - start_s, box.low_hz / 1e3
        ax.add_patch(Rectangle((left, low_khz), box.end_s - box.start_s, box.high_hz / 1e3 - low_khz, fill=False,
                               edgecolor=colours.get(box.band, OTHER), linewidth=linewidth if getattr(box, "labels", "named") else linewidth / 3))
        if show_snr:
            top = ax.transAxes.inverted().transform(ax.transData.transform((left, box.high_hz / 1e3)))[1]
            place = {"xytext": (0, 1), "va": "bottom"} if top < 0.94 else {"xytext": (2, -2), "va": "top"}  # within the axes
            name = getattr(box, "labels", "")
            ax.annotate(f"{name} {box.snr_db:.0f} dB".strip(), (left, box.high_hz / 1e3), **place, textcoords="offset points",
                        fontsize=7, color=colours.get(box.band, OTHER), clip_on=True)
    return ax


def plot_bands(ax, values, profile, start_s=0.0, label=None, names=None, highest=False, **kwargs):
    """Draw (frames, bands) values as a picture: seconds across, kHz upwards, every band equally tall.

    start_s : time of the first frame. label : of the colour bar; None: no bar. names : what the values 0, 1, ... mean, written beside the bar.
    highest : where frames are finer than the figure, show the highest instead of the mean. Further arguments go to `pcolormesh` (vmin, vmax, cmap).
    """
    values = np.asarray(values, dtype=np.float32)
    fold = -(-len(values) // MAX_COLUMNS)
    whole = len(values) // fold * fold
    values = values[:whole].reshape(-1, fold, values.shape[1])
    values = values.max(axis=1) if highest else values.mean(axis=1)
    times_s = start_s + np.arange(len(values) + 1) * fold / profile.frame_rate_hz
    borders_khz = np.append(profile.band_low_hz, profile.band_high_hz[-1]) / 1e3
    image = ax.pcolormesh(times_s, borders_khz, np.ma.masked_invalid(values.T), shading="flat", rasterized=True, **kwargs)
    break_khz = profile.picture["break_hz"] / 1e3
    ax.set_yscale("function", functions=(lambda khz: np.log1p(np.maximum(khz, 0) / break_khz), lambda g: break_khz * np.expm1(g)))
    ax.set_yticks([tick for tick in TICKS_KHZ if borders_khz[0] <= tick <= borders_khz[-1]])
    ax.yaxis.set_major_formatter(lambda khz, _: f"{khz:g}")
    ax.set_ylim(borders_khz[0], borders_khz[-1])
    ax.set(xlabel="time (s)", ylabel="frequency (kHz)")
    if label is not None:
        bar = ax.figure.colorbar(image, ax=ax, label=label, pad=0.01)
        if names:
            bar.set_ticks(range(len(names)), labels=names)
    return ax


def plot_steps(axes, steps, start_s=0.0, end_s=None, which=STEPS, unit=DENSITY):
    """Draw the steps of `ROI.explain`, one on each axis, for some seconds of the picture.

    Parameters
    ----------
    axes : as many as there are names in `which`
    steps : Steps
    which : of "picture" (with boxes), "background", "excess", "mask" (dark: above the grow threshold, bright: above the seed threshold), "boxes" (the cells
        that were kept, and their boxes)
    unit : of the picture's levels (`spectrogram.units.unit_of`); what is not calibrated is marked
    """
    rate = steps.profile.frame_rate_hz
    first, last = int(start_s * rate), len(steps.picture_db) if end_s is None else min(int(end_s * rate), len(steps.picture_db))
    part = slice(first, last)
    low_db, high_db = colour_range(steps.picture_db[part])
    boxes = steps.boxes[(steps.boxes.end_s > first / rate) & (steps.boxes.start_s < last / rate)]
    drawn = {
        "picture": (steps.picture_db, "calibrated picture" if unit == DENSITY else "picture, not calibrated", unit, dict(vmin=low_db, vmax=high_db, cmap="magma")),
        "background": (steps.background_db, "adaptive background", unit, dict(vmin=low_db, vmax=high_db, cmap="magma")),
        "excess": (steps.smooth_db, "excess over the background, smoothed", "dB", dict(vmin=-3, vmax=15, cmap="viridis")),
        "mask": (steps.mask, "above the grow and the seed threshold", "", dict(vmin=0, vmax=2, cmap="Greys_r", highest=True, names=("below", "grow", "seed"))),
        "boxes": (steps.kept, "regions and their boxes", "", dict(vmin=0, vmax=1.6, cmap="Greys_r", highest=True, names=("no region", "region"))),
    }
    for place, (ax, name) in enumerate(zip(np.ravel(axes), which)):
        values, title, label, style = drawn[name]
        plot_bands(ax, values[part], steps.profile, first / rate, label=label, **style)
        ax.set_title(title, loc="left", fontsize=9)
        mark(ax, unit == DENSITY or label != unit)
        ax.set_xlim(first / rate, max(last, first + 1) / rate)
        if place < len(which) - 1:
            ax.set_xlabel("")
        if name in ("picture", "boxes"):
            plot_boxes(ax, boxes)
    return axes


def plot_band_level(ax, steps, frequency_hz, start_s=0.0, end_s=None, unit=DENSITY):
    """Draw the level of one band through time, with the background it is compared to and the two thresholds above it.

    `frequency_hz` picks the nearest band of an ROI band (one in no ROI band has no background to show).
    """
    profile = steps.profile
    band = int(np.argmin(np.abs(profile.band_centres_hz - frequency_hz)))
    first, last = (None if t is None else round(t * profile.frame_rate_hz) for t in (start_s, end_s))
    times_s = (np.arange(len(steps.picture_db))[first:last] + 0.5) / profile.frame_rate_hz
    level_db, background_db, smooth_db = (a[first:last, band] for a in (steps.picture_db, steps.background_db, steps.smooth_db))
    ax.plot(times_s, level_db, color="0.8", linewidth=0.5, label="each frame")
    ax.plot(times_s, background_db + smooth_db, color="#31688e", linewidth=0.9, label="smoothed")
    ax.plot(times_s, background_db, color="black", label="background")
    centre_hz = profile.band_centres_hz[band]
    for knobs in profile.roi_bands:
        if knobs["low_hz"] <= centre_hz <= knobs["high_hz"]:
            for name, style in (("grow_db", ":"), ("seed_db", "--")):
                ax.plot(times_s, background_db + knobs[name], color="#d95f02", linestyle=style, linewidth=0.9, label=f"{name} = {knobs[name]:g} above")
    ax.set(xlabel="time (s)", ylabel=f"{centre_hz / 1e3:.1f} kHz ({unit})", xlim=(times_s[0], times_s[-1]) if len(times_s) else None)
    ax.legend(loc="upper right", ncols=5, fontsize=8)
    return ax
