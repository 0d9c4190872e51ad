"""Figures of the spectrogram room: spectrogram, density percentiles, levels over time, long-term spectral average.

Each function takes data and an `ax` (a new one if none is given), draws, and returns the `ax`. Axes carry units; spectrograms lie on
seconds and kHz, so boxes can be drawn on them. Where a recording has no bands (near and above its Nyquist frequency) the axis is
hatched and says so: an empty band is unknown, not silent.
"""
from __future__ import annotations

import re
from datetime import timedelta

import numpy as np

from spectrogram.levels import PSD_BANDS_PER_DECADE, percentile_levels
from spectrogram.units import DENSITY, PRESSURE, all_calibrated, density_unit, mark, pressure_unit, unit_of  # noqa: F401


COLOURS = "magma"          # perceptually even, readable without colour
MASKED = "#d9d9d9"
MAX_COLUMNS, MAX_ROWS = 1600, 512  # more cells than a screen has points only cost time
TICKS_KHZ = {"warped": (80, 60, 40, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1), "log": tuple(m * 10.0 ** e for e in range(3, -4, -1) for m in (5, 2, 1))}
TICK_GAP = 0.06            # of the axis, at least, between two ticks
STYLE = {"font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False,
         "figure.figsize": (10, 3.6), "figure.dpi": 110, "figure.constrained_layout.use": True, "legend.frameon": False}


def use_style() -> None:
    """The look of this project's notebooks, for all figures that follow."""
    import matplotlib

    matplotlib.rcParams.update(STYLE)


def plot_spectrogram(spectrogram, ax=None, kind: str = "picture", vmin: float | None = None, vmax: float | None = None,
                     scale: str | None = None, colour_bar: bool = True):
    """A passage's spectrogram, in seconds from the recording's start and kHz.

    Parameters
    ----------
    spectrogram : spectrogram.generator.Spectrogram
    kind : "picture", the bands that the model sees, every band equally tall; or "bins", every FFT bin.
    vmin, vmax : colour range, dB re 1 µPa²/Hz; by default the 5th and 99.8th percentile of what is shown, at least 20 dB apart.
    scale : for "bins", "log" (default) or "linear".
    """
    profile, recording = spectrogram.profile, spectrogram.recording
    if kind == "picture":
        level_db, borders_hz = spectrogram.picture_db, np.append(profile.band_low_hz, profile.band_high_hz[-1])
        scale = "warped"
    elif kind == "bins" and scale in (None, "log", "linear"):
        level_db, borders_hz = _rows(spectrogram.psd_db, spectrogram.freqs_hz, linear=scale == "linear")
        scale = scale or "log"
    else:
        raise ValueError(f"kind {kind!r}, scale {scale!r}: use kind picture, or bins with scale log or linear")
    ax = ax or _new_axes()
    frame_s = 1 / profile.frame_rate_hz
    level_db, fold = _columns(level_db)
    times_s = spectrogram.times_s[0] + (np.arange(len(level_db) + 1) * fold - 0.5) * frame_s
    times_s[-1] = spectrogram.times_s[-1] + frame_s / 2
    low, high = colour_range(level_db)
    image = ax.pcolormesh(times_s, borders_hz / 1e3, np.ma.masked_invalid(level_db.T), cmap=COLOURS, rasterized=True,
                          vmin=low if vmin is None else vmin, vmax=high if vmax is None else vmax)
    _frequency_axis(ax, "y", scale, borders_hz[[0, -1]] / 1e3, profile.picture["break_hz"] / 1e3)
    ax.set(xlabel="time from the recording's start (s)", ylabel="frequency (kHz)", xlim=(times_s[0], times_s[-1]))
    ax.set_title(_title(recording, spectrogram.times_s[0] - frame_s / 2), loc="left", fontsize=10)
    _mark_masked(ax, level_db, borders_hz, recording.nyquist_hz)
    mark(ax, recording.calibrated)
    if colour_bar:
        ax.figure.colorbar(image, ax=ax, label=unit_of(recording), pad=0.01, extend="both")
    return ax


def colour_range(level_db: np.ndarray) -> tuple[float, float]:
    """Colour limits that a few loud or quiet cells do not move: 5th and 99.8th percentile of the finite cells, at least 20 dB apart."""
    finite = level_db[np.isfinite(level_db)]
    low, high = np.percentile(finite, [5, 99.8]) if finite.size else (0.0, 20.0)
    return float(low), float(max(high, low + 20))


def plot_psd(spectrogram, ax=None, label: str | None = None, colour: str = "#31688e"):
    """Percentiles over a passage's frames of the spectral density, each frequency for itself: p05 to p95 shaded, p50 as a line."""
    ax = ax or _new_axes()
    p05, p50, p95 = percentile_levels(spectrogram.psd_db[:, 1:-1])  # without 0 Hz and the Nyquist frequency
    freqs_khz = spectrogram.freqs_hz[1:-1] / 1e3
    ax.fill_between(freqs_khz, p05, p95, color=colour, alpha=0.25, linewidth=0, label=_join(label, "p05 to p95"))
    ax.plot(freqs_khz, p50, color=colour, linewidth=1.2, label=_join(label, "p50"))
    drawn_khz = np.concatenate([line.get_xdata() for line in ax.lines])  # others may be on this axis already
    _frequency_axis(ax, "x", "log", (drawn_khz.min(), drawn_khz.max()))
    bin_hz = spectrogram.freqs_hz[1]
    ax.set(xlabel="frequency (kHz)", ylabel=f"spectral density level\n({unit_of(spectrogram.recording)})")
    mark(ax, spectrogram.recording.calibrated)
    ax.set_title(f"{_title(spectrogram.recording, spectrogram.times_s[0])}  ·  {len(spectrogram.psd_db)} spectra of {1e3 / bin_hz:.1f} ms",
                 loc="left", fontsize=10)
    ax.grid(alpha=0.3)
    ax.legend(loc="upper right")
    return ax


def plot_levels(table, ax=None, bands=("63", "1000", "8000", "40000")):
    """Sound pressure levels over time from a levels table: broadband with its p05 to p95 of one-second levels shaded, and some decidecades.

    bands : nominal centres in Hz; those that the recording does not hold are left out. So are rows under a tenth of the longest: stubs
    at a recording's end.
    """
    from matplotlib import colormaps

    table = table[table["duration_s"] >= 0.1 * table["duration_s"].max()]

    ax = ax or _new_axes()
    broadband = next(c for c in table.columns if re.fullmatch(r"BB_\d+-\d+", c))
    low_hz, high_hz = broadband[3:].split("-")
    chosen = [b for b in bands if f"TOL_{b}" in table]
    lines = [(broadband, "black", f"broadband, {low_hz} Hz to {_khz(float(high_hz))}")]
    lines += [(f"TOL_{band}", colour, f"decidecade at {_khz(float(band))}")
              for colour, band in zip(colormaps["viridis"](np.linspace(0, 0.85, max(len(chosen), 1))), chosen)]
    left, right = _edges(table)
    for k, part in enumerate(_stretches(left, right)):  # a line does not cross a gap, and each is named once
        middle, rows = (left[part] + right[part]) / 2, table.iloc[part]
        ax.fill_between(middle, rows[f"{broadband}_p05"], rows[f"{broadband}_p95"], color="#999999", alpha=0.35, linewidth=0,
                        label=None if k else "broadband, p05 to p95 of 1-s levels")
        for column, colour, name in lines:
            ax.plot(middle, rows[column], color=colour, marker=".", linewidth=1.2, label=None if k else name)
    ax.set(ylabel=f"sound pressure level\n({pressure_unit(all_calibrated(table))})")
    mark(ax, all_calibrated(table))
    _time_axis(ax, table)
    ax.grid(alpha=0.3)
    if ax.lines:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return ax


def plot_ltsa(table, ax=None, vmin: float | None = None, vmax: float | None = None, colour_bar: bool = True):
    """Long-term spectral average: the PSD_ columns of a levels table over time, log frequency in kHz; time without a recording stays white."""
    ax = ax or _new_axes()
    columns = [c for c in table.columns if c.startswith("PSD_")]
    n = np.round(PSD_BANDS_PER_DECADE * np.log10([float(c[4:]) / 1000 for c in columns]))  # names are rounded, bands are exact
    borders_khz = 10 ** (np.append(n - 0.5, n[-1] + 0.5) / PSD_BANDS_PER_DECADE)
    left, right = _edges(table)
    level_db = table[columns].to_numpy(dtype=float)
    low, high = colour_range(level_db)
    image = None
    for part in _stretches(left, right):
        image = ax.pcolormesh(np.append(left[part], right[part][-1]), borders_khz, level_db[part].T, cmap=COLOURS, rasterized=True,
                              vmin=low if vmin is None else vmin, vmax=high if vmax is None else vmax)
    _frequency_axis(ax, "y", "log", borders_khz[[0, -1]])
    ax.set(ylabel="frequency (kHz)")
    _time_axis(ax, table)
    mark(ax, all_calibrated(table))
    if colour_bar and image is not None:
        ax.figure.colorbar(image, ax=ax, label=density_unit(all_calibrated(table)), pad=0.01, extend="both")
    return ax


def _new_axes():
    import matplotlib.pyplot as plt

    # not within rc_context(STYLE): leaving it switches a notebook's drawing off when this is its first figure
    return plt.subplots(figsize=STYLE["figure.figsize"], dpi=STYLE["figure.dpi"], layout="constrained")[1]


def _columns(level_db):
    """At most MAX_COLUMNS columns, each the mean in power of `fold` frames; masked bands stay NaN."""
    fold = -(-len(level_db) // MAX_COLUMNS)
    if fold == 1:
        return level_db, 1
    power = 10 ** (np.asarray(level_db, np.float64) / 10)
    starts = np.arange(0, len(power), fold)
    counts = np.diff(np.append(starts, len(power)))[:, None]
    return 10 * np.log10(np.add.reduceat(power, starts) / counts), fold


def _rows(psd_db, freqs_hz, linear):
    """At most MAX_ROWS rows of bins and their borders; on a log axis the bin that each row's centre falls in."""
    bin_hz = freqs_hz[1]
    if linear:
        fold = -(-len(freqs_hz) // MAX_ROWS)
        borders_hz = (np.arange(0, len(freqs_hz) + fold, fold) - 0.5) * bin_hz
        borders_hz[0], borders_hz[-1] = 0, freqs_hz[-1]
        power = np.add.reduceat(10 ** (psd_db.astype(np.float64) / 10), np.arange(0, len(freqs_hz), fold), axis=1)
        counts = np.diff(np.append(np.arange(0, len(freqs_hz), fold), len(freqs_hz)))
        return 10 * np.log10(power / counts), borders_hz
    borders_hz = np.geomspace(bin_hz / 2, freqs_hz[-1], MAX_ROWS + 1)
    nearest = np.clip(np.round(np.sqrt(borders_hz[:-1] * borders_hz[1:]) / bin_hz).astype(int), 1, len(freqs_hz) - 1)
    return psd_db[:, nearest], borders_hz


def _frequency_axis(ax, which, scale, limits_khz, break_khz=None):
    """Scale, limits and ticks at round numbers of kHz, never powers of ten, as close as they stay readable."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    warp = {"linear": lambda f: f, "log": np.log, "warped": lambda f: np.log1p(np.maximum(f, 0) / break_khz)}[scale]
    how = {"functions": (warp, lambda g: break_khz * np.expm1(g))} if scale == "warped" else {}
    getattr(ax, f"set_{which}scale")("function" if scale == "warped" else scale, **how)
    getattr(ax, f"set_{which}lim")(*limits_khz)
    axis = getattr(ax, f"{which}axis")
    if scale != "linear":
        low, high = warp(np.asarray(limits_khz, dtype=float))
        ticks, last = [], np.inf
        for tick in TICKS_KHZ[scale]:
            place = (warp(tick) - low) / (high - low)
            if 0 <= place <= 1 and last - place >= TICK_GAP:
                ticks, last = ticks + [tick], place
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda khz, _: f"{khz:g}"))


def _mark_masked(ax, level_db, borders_hz, nyquist_hz):
    """Hatch the bands of which the recording knows nothing."""
    known = np.isfinite(level_db).any(axis=0)
    if known.all():
        return
    low_khz, high_khz = borders_hz[np.flatnonzero(~known)[0]] / 1e3, borders_hz[-1] / 1e3
    ax.axhspan(low_khz, high_khz, facecolor=MASKED, edgecolor="#a6a6a6", hatch="///", linewidth=0)
    ax.text(0.5, 0.985, f"no data above {low_khz:.3g} kHz: the recording's Nyquist frequency is {nyquist_hz / 1e3:.4g} kHz", transform=ax.transAxes,
            ha="center", va="top", fontsize=8, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2})


def _title(recording, start_s):
    start = "start time unknown"
    if recording.start_utc is not None:
        start = f"{recording.start_utc + timedelta(seconds=max(float(start_s), 0.0)):%Y-%m-%d %H:%M:%S} UTC"
    uncalibrated = "" if recording.calibrated else f"  ·  not calibrated ({recording.sensitivity_db:g} dB assumed)"
    return f"{recording.name}  ·  {start}{uncalibrated}"


def _dated(table):
    return len(table) > 0 and table["UTC"].notna().all()


def _unit(table):
    """Name and seconds of the unit of an undated table's time axis."""
    return ("minutes", 60) if (table["start_s"] + table["duration_s"]).max() > 180 else ("s", 1)


def _edges(table):
    """Left and right edges of a table's rows: matplotlib dates in UTC, or time from the recording's start in `_unit`s."""
    from matplotlib.dates import date2num

    if _dated(table):
        left = date2num(table["UTC"].dt.tz_convert(None).to_numpy())
        return left, left + table["duration_s"].to_numpy() / 86400
    left = table["start_s"].to_numpy() / _unit(table)[1]
    return left, left + table["duration_s"].to_numpy() / _unit(table)[1]


def _stretches(left, right):
    """Slices of rows without a gap (over a tenth of a row) between them."""
    gaps = np.flatnonzero(left[1:] - right[:-1] > 0.1 * (right[:-1] - left[:-1])) + 1
    borders = [0, *gaps, len(left)] if len(left) else []
    return [slice(a, b) for a, b in zip(borders, borders[1:])]


def _time_axis(ax, table):
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    left, right = _edges(table)
    if len(left):
        ax.set_xlim(left.min(), right.max())
    if not _dated(table):
        ax.set_xlabel(f"time from the recording's start ({_unit(table)[0]})")
        return
    locator = AutoDateLocator(minticks=3, maxticks=8)
    ax.xaxis_date()
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    ax.set_xlabel("time (UTC)")


def _khz(hz):
    return f"{hz / 1e3:g} kHz" if hz >= 1e3 else f"{hz:g} Hz"


def _join(label, what):
    return f"{label}, {what}" if label else what
