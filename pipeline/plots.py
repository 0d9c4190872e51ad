"""Figures of a run's tables. Each takes data and an `ax`, draws, and returns the `ax`; axes carry units."""
from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.effort import epoch_s, listened_pieces, utc
from pipeline.flags import passes
from spectrogram.generator import SpectrogramGenerator
from spectrogram.recording import Recording

COLOURS = {"ECHO": "#56b4e9", "HFPC": "#f0e442", "BBPC": "#e69f00", "Whistle": "#7fe07f", "Boat": "#999999"}  # Okabe-Ito, fit for dark pictures
LINE_PT, LETTER_PT = 9.0, 4.6  # of the names of events
DIPHONIC = "#ff7fbf"
STATUS = {"ok": "#009e73", "partial": "#e69f00", "failed": "#d55e00", "gone": "#0072b2"}


def plot_events(result, start_s: float = 0.0, end_s: float | None = None, ax=None):
    """A calibrated spectrogram of a passage of a `PipelineResult`, with its events' boxes and names."""
    return plot_passage(result.recording, result.events, result.profile, start_s, end_s, ax)


def plot_passage(recording: Recording, events: pd.DataFrame, profile, start_s: float = 0.0, end_s: float | None = None, ax=None):
    """A calibrated spectrogram from `start_s` to `end_s` with events drawn on it: box, labels, "&" for diphonic.

    events : rows of the events table of this recording.
    """
    end_s = min(recording.duration_s, start_s + 10 if end_s is None else end_s)
    ax = SpectrogramGenerator(profile).spectrogram(recording, start_s, end_s).plot(ax=ax)
    draw_events(ax, events, start_s, end_s)
    ax.set_title(f"{recording.name}  ·  {_utc(recording.start_utc, start_s)}", loc="left", fontsize=10)
    return ax


def draw_events(ax, events: pd.DataFrame, start_s: float, end_s: float):
    """Boxes and names of the events between two times, on axes in seconds and kHz; dashed: something speaks against the event."""
    from matplotlib import patheffects
    from matplotlib.patches import Rectangle

    outline = [patheffects.withStroke(linewidth=2, foreground="black")]
    low_khz, high_khz = ax.get_ylim()
    extent = ax.get_window_extent()
    point = ax.figure.dpi / 72  # pixels
    line, letter_s = LINE_PT * point / extent.height, LETTER_PT * point / extent.width * (end_s - start_s)
    names: list[tuple] = []  # (begin_s, end_s, height) of those that are drawn: none is written over another
    events = events.assign(passing=passes(events))
    for event in events[(events["start_s"] < end_s) & (events["end_s"] > start_s)].itertuples():
        colour = DIPHONIC if event.diphonic else COLOURS.get(event.labels.split("+")[0], "white")
        bottom, top = max(event.low_hz / 1e3, low_khz), min(event.high_hz / 1e3, high_khz)
        ax.add_patch(Rectangle((event.start_s, bottom), event.end_s - event.start_s, top - bottom, fill=False, edgecolor=colour, linewidth=1.4, linestyle="-" if event.passing else "--"))
        name = event.labels.replace("+", " + ") + (" (diphonic)" if event.diphonic else "")
        height = ax.transAxes.inverted().transform(ax.transData.transform((event.start_s, top)))[1]
        inside = height > 0.92  # no room above the box
        at_s, lines = max(event.start_s, start_s), 0
        while any(at_s < end and at_s + len(name) * letter_s > begin and abs(height + (-lines if inside else lines) * line - other) < line for begin, end, other in names):
            lines += 1
        names.append((at_s, at_s + len(name) * letter_s, height + (-lines if inside else lines) * line))
        ax.annotate(name, (at_s, top), xytext=(2, -2 - LINE_PT * lines) if inside else (0, 1 + LINE_PT * lines), textcoords="offset points", color=colour, fontsize=8,
                    va="top" if inside else "bottom", clip_on=True, annotation_clip=True, path_effects=outline)
    ax.set_xlim(start_s, end_s)
    return ax


def plot_effort(effort: pd.DataFrame, ax=None):
    """When was recorded: a bar for each recording, coloured by status; recordings without a time stand one after another, and the axis says so."""
    from matplotlib import dates

    ax = ax or _axes(10, 1.6)
    effort = _placed(effort)
    dated = bool(len(effort)) and effort["start_utc"].notna().all()
    seen = set()
    position_s = 0.0
    for row in effort.itertuples():
        left = dates.date2num(row.start_utc) if dated else position_s / 60
        width = row.duration_s / 86400 if dated else row.duration_s / 60
        label = row.status if row.status not in seen else None
        colour = STATUS.get(row.status, "grey")
        if width > 0:
            ax.barh(0, width, left=left, height=0.6, color=colour, edgecolor="white", linewidth=0.5, label=label)
        else:  # failed: only when it was to begin is known
            ax.plot([left], [0], "x", color=colour, markersize=9, markeredgewidth=2.5, label=label)
        seen.add(row.status)
        position_s += row.duration_s
    if dated:
        ax.xaxis_date()
        locator = dates.AutoDateLocator(minticks=3, maxticks=8)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
        ax.set_xlabel("time (UTC)")
    else:
        ax.set_xlabel("minutes of sound, one recording after another (no start times known)")
    ax.set(yticks=[], ylim=(-0.5, 0.5))
    if seen:
        ax.legend(loc="upper right", bbox_to_anchor=(1, 1.45), ncols=3, frameon=False)
    ax.set_title("Effort: when was recorded", loc="left", fontsize=10)
    return ax


def plot_call_types(events: pd.DataFrame, effort: pd.DataFrame, labels, ax=None, bins: int = 40):
    """Events of each label per minute listened to (muted stretches and dropouts are not), over time; grey where nobody listened.

    Times are UTC where every recording has one, else minutes of sound, one recording after another.
    """
    from matplotlib import dates

    ax = ax or _axes(10, 3.2)
    effort = _placed(effort)
    if not effort["duration_s"].sum() > 0:
        ax.set_title("Call types over time: nothing was recorded", loc="left", fontsize=10)
        return ax
    begins_s, ends_s, dated = _clock(effort)
    edges = np.linspace(begins_s.min(), ends_s.max(), bins + 1)
    _, from_s, to_s = listened_pieces(effort.assign(start_utc=utc(begins_s).to_numpy()))
    listened = np.array([np.clip(np.minimum(to_s, b) - np.maximum(from_s, a), 0, None).sum() for a, b in zip(edges, edges[1:])]) / 60
    least = 0.01 * (edges[1] - edges[0]) / 60
    at = epoch_s(events["start_utc"]) if dated else events["recording"].map(dict(zip(effort["recording"], begins_s))).astype(float) + events["start_s"]
    x = dates.date2num(pd.to_datetime(edges, unit="s", utc=True)) if dated else edges / 60
    bottom = np.zeros(bins)
    for label in labels:
        mine = events["labels"].str.split("+").map(lambda names: label in names).astype(bool) if len(events) else []
        counts = np.histogram(at[mine], edges)[0]
        rate = np.divide(counts, listened, out=np.zeros(bins), where=listened > least)
        ax.bar(x[:-1], rate, width=np.diff(x), bottom=bottom, align="edge", color=COLOURS.get(label), edgecolor="#444444", linewidth=0.3, label=label)
        bottom += rate
    for a, b, minutes in zip(x, x[1:], listened):
        if minutes <= least:
            ax.axvspan(a, b, color="#e8e8e8", linewidth=0, zorder=0)
    if dated:
        locator = dates.AutoDateLocator(minticks=3, maxticks=8)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    ax.set(xlabel="time (UTC)" if dated else "minutes of sound, one recording after another", ylabel="events per minute listened to", xlim=(x[0], x[-1]), ylim=(0, max(1.0, 1.05 * bottom.max())))
    ax.legend(ncols=5, frameon=False, loc="upper right", bbox_to_anchor=(1, 1.16), fontsize=8)
    ax.set_title("Call types over time (grey: not listened to)", loc="left", fontsize=10)
    return ax


def busiest_passage(events: pd.DataFrame, effort: pd.DataFrame, seconds: float = 10.0) -> tuple[str, float]:
    """(recording, start_s) of the passage that shows most kinds of calls, most clearly: for a first picture."""
    done = effort[~effort["status"].isin(("failed", "gone"))]
    if not len(done):
        raise ValueError(f"none of the {len(effort)} recordings could be processed and is still there; the reasons stand in the effort table")
    events = events[events["recording"].isin(done["recording"])]
    if not len(events):
        return done["recording"].iloc[0], 0.0
    best, place = -1.0, (events["recording"].iloc[0], 0.0)
    for name, mine in events.groupby("recording", sort=False):
        starts, ends = mine["start_s"].to_numpy(), mine["end_s"].to_numpy()
        for first in np.maximum(starts - 0.5, 0.0)[:500]:
            inside = mine[(starts >= first) & (ends <= first + seconds)]
            score = 3 * inside["labels"].nunique() + 3 * inside["diphonic"].any() + min(len(inside), 8) * 0.5 + inside["snr_db"].clip(0, 30).mean() / 30
            if score > best:
                best, place = score, (name, float(first))
    length = float(done.loc[done["recording"] == place[0], "duration_s"].sum())
    return place[0], max(0.0, min(place[1], length - seconds))


def _placed(effort: pd.DataFrame) -> pd.DataFrame:
    """Without failed recordings of unknown time, and those whose date cannot be right: one of them must not take the dates from all others."""
    from pipeline.effort import with_places

    possible = (with_places(effort)["impossible"] == "").to_numpy()
    return effort[((effort["status"] != "failed") | effort["start_utc"].notna()) & possible]


def _clock(effort: pd.DataFrame):
    """Begin and end of each recording in seconds: since 1970 where all are dated, else one after another."""
    dated = bool(effort["start_utc"].notna().all())
    if dated:
        begins = (effort["start_utc"] - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy()
    else:
        begins = effort["duration_s"].cumsum().to_numpy() - effort["duration_s"].to_numpy()
    return begins, begins + effort["duration_s"].to_numpy(), dated


def _axes(width: float, height: float):
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def _utc(start_utc, offset_s: float) -> str:
    if start_utc is None:
        return f"{offset_s:.1f} s from its start (start time unknown)"
    return f"{pd.Timestamp(start_utc) + pd.Timedelta(seconds=offset_s):%Y-%m-%d %H:%M:%S} UTC"
