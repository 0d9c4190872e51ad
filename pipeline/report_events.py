"""The events that a report shows: which ones, and each as a card with its picture and its sound."""
from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd

from pipeline.effort import one_each
from pipeline.flags import FLAGS
from pipeline.report_page import Page, paragraph, table_html
from pipeline.snippets import listen_to, picture_uri, sound_uri
from spectrogram.recording import Recording
from spectrogram.sensitivity import Sensitivity
from spectrogram.units import pressure_unit

AROUND_S = 1.0           # at least, before and after an event in its picture
LONGEST_PICTURE_S = 8.0


def margins(events: pd.DataFrame, labels, thresholds: dict) -> np.ndarray:
    """How far the surest of an event's labels lies above its threshold: 0 just reached it, 1 certain."""
    best = np.full(len(events), -np.inf)
    for label in labels:
        on = min(thresholds.get(label, {}).get("on", 0.0), 0.999)
        named = events["labels"].map({text: label in text.split("+") for text in events["labels"].unique()}).to_numpy(dtype=bool)
        best = np.where(named, np.fmax(best, (events[f"score_{label}"].to_numpy(dtype=float) - on) / (1 - on)), best)
    return np.where(np.isfinite(best), best, np.nan)


def clearest(events: pd.DataFrame, labels, thresholds: dict, n: int) -> pd.DataFrame:
    """The best events: of each label in turn the one that stands out most from the noise, of those whose label is surer than of half of them."""
    margin = margins(events, labels, thresholds)
    ranked = events[margin >= np.nanmedian(margin)] if len(events) and np.isfinite(margin).any() else events
    return _in_turn(ranked.assign(rank=-ranked["snr_db"].fillna(-np.inf).astype(float)), labels, n)


def most_doubtful(events: pd.DataFrame, labels, thresholds: dict, n: int) -> pd.DataFrame:
    """The most doubtful events: of each label in turn the one least above its threshold."""
    return _in_turn(events.assign(rank=np.nan_to_num(margins(events, labels, thresholds), nan=-1.0)), labels, n)


def _in_turn(events: pd.DataFrame, labels, n: int) -> pd.DataFrame:
    """`n` events of least `rank`, one of each label after another, not two of one recording while there are others."""
    events = events.sort_values(["rank", "recording", "start_s"], kind="stable")
    queues = {}
    for label in labels:
        mine = events[events["labels"].map({text: label in text.split("+") for text in events["labels"].unique()}).astype(bool)] if len(events) else events
        queues[label] = [*mine.drop_duplicates("recording").index[:2 * n], *mine.index[:2 * n]]
    taken: dict = {}  # in order
    while len(taken) < n and any(queues.values()):
        for label in labels:
            while queues[label] and queues[label][0] in taken:
                queues[label].pop(0)
            if queues[label] and len(taken) < n:
                taken[queues[label].pop(0)] = label
    return events.loc[list(taken)].drop(columns="rank")


def event_cards(report, events: pd.DataFrame) -> Page:
    """A card for each event; a table where the recordings are not at hand."""
    if not len(events):
        return paragraph("No events.")
    reachable = report.audio is not None and report.audio.exists()
    if not reachable:
        where = f"are not at <code>{escape(str(report.audio))}</code>" if report.audio else "were not given (audio)"
        return Page(paragraph(f"The recordings {where}: no pictures, no sound.").html + table_html(_listed(report, events)).html)
    return Page('<div class="cards">' + "".join(_card(report, event) for _, event in events.iterrows()) + "</div>")


def _listed(report, events: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"start": events["start_utc"].map(report.local), "recording": events["recording"], "from (s)": events["start_s"].round(2), "length (s)": (events["end_s"] - events["start_s"]).round(2),
                         "labels": events["labels"], "flags": events["flags"] if "flags" in events else "", "scores": [_scores(report, e) for _, e in events.iterrows()], "SNR (dB)": events["snr_db"].astype(float).round(1)})


def _scores(report, event) -> str:
    said = [f"{label} {event[f'score_{label}']:.2f}" for label in event["labels"].split("+") if f"score_{label}" in event]
    species = event.get("species_score", np.nan)
    return ", ".join(said + [f"species {species:.2f}"] * bool(np.isfinite(species)))


def _card(report, event: pd.Series) -> str:
    name = event["labels"].replace("+", " + ") + (" (diphonic)" if event["diphonic"] else "")
    level = f", {event['level_db']:.0f} {pressure_unit(event['calibrated'])}" if np.isfinite(event["level_db"]) else ""
    when = f"{report.local(event['start_utc'])} {report.zone_name}" if pd.notna(event["start_utc"]) else "start time unknown"
    said = (f"<p><b>{escape(name)}</b> <small>{escape(_scores(report, event))}</small></p><p>{when}<br><small>{escape(event['recording'])}, {event['start_s']:.2f} to {event['end_s']:.2f} s; "
            f"{event['low_hz'] / 1e3:.1f} to {event['high_hz'] / 1e3:.1f} kHz; SNR {event['snr_db']:.0f} dB{level}</small></p>{_marks(event)}")
    try:
        recording = _recording(report, event)
        return f'<div class="card">{_picture(report, event, recording)}{said}{_sound(event, recording)}</div>'
    except (OSError, ValueError) as error:  # one recording that went missing takes no other with it
        return f'<div class="card">{said}<p class="note">No picture, no sound: {escape(str(error))}</p></div>'


def _marks(event) -> str:
    """What marks the event, in words."""
    names = [name for name in str(event.get("flags", "")).split("+") if name in FLAGS]
    return f'<p class="note">marked {escape("; ".join(f"{name}: {FLAGS[name]}" for name in names))}</p>' if names else ""


def _recording(report, event: pd.Series) -> Recording:
    """The event's recording, with the time and the sensitivity that the run used."""
    path = report.audio if report.audio.is_file() else report.audio / event["recording"]
    row = one_each(report.effort).set_index("recording").loc[event["recording"]]
    start = row["start_utc"].to_pydatetime(warn=False) if pd.notna(row["start_utc"]) else None
    recording = Recording(path, int(event["channel"]), start_utc=start)
    if recording.calibrated != bool(row["calibrated"]) or recording.sensitivity_db != row["sensitivity_db"]:  # else it may have a curve
        recording.sensitivity_db, recording.calibrated = Sensitivity(row["sensitivity_db"]), bool(row["calibrated"])
    return recording


def _picture(report, event: pd.Series, recording: Recording) -> str:
    import matplotlib.pyplot as plt

    from pipeline.plots import plot_passage

    middle, wide = (event["start_s"] + event["end_s"]) / 2, min(LONGEST_PICTURE_S, max(3.0, event["end_s"] - event["start_s"] + 2 * AROUND_S))
    first = max(0.0, min(middle - wide / 2, recording.duration_s - wide))
    figure, ax = plt.subplots(figsize=(5.6, 2.7), layout="constrained")
    mine = report.all_events[report.all_events["recording"] == event["recording"]]
    plot_passage(recording, mine, report.profile, first, min(recording.duration_s, first + wide), ax=ax)
    ax.set_title("", loc="left")  # the card tells recording and time
    ax.set_xlabel("time from the recording's start (s)", fontsize=8)
    for each in figure.axes:
        each.tick_params(labelsize=8)
        each.yaxis.label.set_fontsize(8)
    return f'<img alt="Spectrogram of the event {escape(event["labels"], quote=True)}" src="{picture_uri(figure, dpi=100)}">'


def _sound(event: pd.Series, recording: Recording) -> str:
    samples, rate_hz, factor = listen_to(recording, event["start_s"], event["end_s"], event["low_hz"], event["high_hz"])
    if not len(samples):
        return ""
    how = "as it was" if factor == 1 else f"{factor} times slower and lower"
    return f'<audio controls preload="metadata" src="{sound_uri(samples, rate_hz)}"></audio><p class="note">{how}; loudness evened out</p>'
