"""From traces of probability and regions of interest to events: one row for each call, or for each diphonic pair.

1. Each label's trace is cut into stretches by hysteresis: a stretch begins and ends where the probability is at least `off`, and must reach
   `on` once. Stretches of a label closer than its gap are one call.
2. Regions of interest in the label's band that lie on the stretch give its frequency bounds and, where their edge is near the stretch's,
   its exact start and end. Without a region the label's own band stands in.
3. Calls of different labels that share at least half of the longer one become one event ("HFPC+Whistle").
4. An event is diphonic when a high-frequency call and a whistle sound at once in it, or one of them is in the event and the
   other in another event at the same time.

`build_events` is a pure function of one span of time; `SpanCutter` finds spans that cut no call in two, so that long recordings are
done in bounded memory.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from spectrogram.profile import Profile

SNAP_S = 0.15          # a region's edge this near a stretch's edge is the call's edge
GAP_S = {"ECHO": 0.5}  # click trains pause between clicks
DEFAULT_GAP_S = 0.1
MIN_OVERLAP_S = 0.04   # of a high-frequency call and a whistle, to be called diphonic
LONGEST_SPAN_S = 600.0
CONTEXT_S = 15.0       # on both sides of an event, for its background ...
BACKGROUND_PERCENT = 20  # ... which is this percentile of each band


@dataclass
class Span:
    """A stretch of a recording: trace (times, labels) at `trace_rate_hz` from `start_s`; coarse_psd (times, bands) in µPa^2/Hz at
    `coarse_rate_hz`, with what lies around the span, from `coarse_start_s` (`start_s` unless given); boxes (`ROI.detector.BOX` records) that lie in it."""

    start_s: float
    trace: np.ndarray
    trace_rate_hz: float
    coarse_psd: np.ndarray
    coarse_rate_hz: float
    boxes: np.ndarray
    coarse_start_s: float | None = None


@dataclass
class Call:
    start_s: float
    end_s: float
    low_hz: float
    high_hz: float
    labels: tuple[str, ...]

    def overlap_s(self, other: "Call") -> float:
        return min(self.end_s, other.end_s) - max(self.start_s, other.start_s)


def hysteresis(trace: np.ndarray, on: float, off: float) -> np.ndarray:
    """Stretches [first, last) of a (times,) trace that stay at or above `off` and reach `on`; (n, 2) int."""
    above = np.concatenate([[False], trace >= off, [False]])
    edges = np.flatnonzero(above[1:] != above[:-1]).reshape(-1, 2)
    reached = [trace[a:b].max() >= on for a, b in edges]
    return edges[np.array(reached, bool)] if len(edges) else edges


def bridge(stretches: np.ndarray, gap: float) -> np.ndarray:
    """Join stretches less than `gap` apart (same unit)."""
    if len(stretches) < 2:
        return stretches
    new = np.concatenate([[True], stretches[1:, 0] - stretches[:-1, 1] > gap])
    firsts = np.flatnonzero(new)
    return np.column_stack([stretches[firsts, 0], np.maximum.reduceat(stretches[:, 1], firsts)])


def build_events(span: Span, profile: Profile, thresholds: dict, nyquist_hz: float) -> pd.DataFrame:
    """Events of a span.

    Parameters
    ----------
    thresholds : label -> {"on", "off"}; labels without an entry, of the vessel head, or not observable make no events.

    Returns
    -------
    DataFrame: start_s, end_s, low_hz, high_hz, labels ("ECHO+Whistle"), score_LABEL (the trace's maximum in the event, NaN where the
    recording cannot show the label), diphonic, snr_db (mean power in the event's box over the background's, less one; the background is
    the 20th percentile of each band within 15 s), level_db (mean-square sound pressure level in the box, dB re 1 µPa).
    """
    return event_table(event_rows(span, profile, thresholds, nyquist_hz), profile)


def event_rows(span: Span, profile: Profile, thresholds: dict, nyquist_hz: float) -> list[dict]:
    """The events of a span as plain rows, in order; see `build_events`."""
    calls = [call for label in call_labels(profile) if label in thresholds and profile.observable(label, nyquist_hz)
             for call in _calls_of(label, span, profile, thresholds[label], nyquist_hz)]
    events = _join_labels(calls, profile)
    rows = []
    for event, diphonic in zip(events, _diphonic(events, profile)):
        row = {"start_s": event.start_s, "end_s": event.end_s, "low_hz": event.low_hz, "high_hz": event.high_hz, "labels": "+".join(event.labels)}
        score = span.trace[_slice(event, span.start_s, span.trace_rate_hz, len(span.trace))].max(axis=0)
        for label, value in zip(profile.labels, score):
            row[f"score_{label}"] = float(value) if profile.observable(label, nyquist_hz) else np.nan
        snr_db, level_db = _measure(event, span, profile)
        rows.append(row | {"diphonic": diphonic, "snr_db": snr_db, "level_db": level_db})
    return sorted(rows, key=lambda row: (row["start_s"], row["low_hz"]))


def event_table(rows: list[dict], profile: Profile) -> pd.DataFrame:
    """Rows of `event_rows` as a DataFrame, with its columns and types also when there are none."""
    columns = ["start_s", "end_s", "low_hz", "high_hz", "labels", *(f"score_{x}" for x in profile.labels), "diphonic", "snr_db", "level_db"]
    types = dict.fromkeys(columns, "float64") | {"labels": "str", "diphonic": "bool"}
    return pd.DataFrame(rows, columns=columns).astype(types)


def call_labels(profile: Profile) -> list[str]:
    """Labels that make events: all but the vessel's, which is a state of the water and stands in the windows table."""
    return [label for head, labels in profile.heads.items() if head != "vessel" for label in labels]


def _calls_of(label, span, profile, threshold, nyquist_hz):
    rate = span.trace_rate_hz
    trace = span.trace[:, profile.labels.index(label)]
    stretches = bridge(hysteresis(trace, threshold["on"], threshold["off"]), GAP_S.get(label, DEFAULT_GAP_S) * rate)
    band_low, band_high = profile.label_band_hz[label]
    band_high = min(band_high, nyquist_hz)
    boxes = span.boxes
    near = boxes[(boxes["low_hz"] < band_high) & (boxes["high_hz"] > band_low)]
    b_start, b_end, b_low, b_high = (near[column] for column in ("start_s", "end_s", "low_hz", "high_hz"))
    first_time = round(span.start_s * rate)  # whole numbers, so that a time has the same bits in any span
    for a, b in stretches:
        start, end = (first_time + a) / rate, (first_time + b) / rate
        shared = np.minimum(b_end, end) - np.maximum(b_start, start)
        mine = shared >= 0.5 * (b_end - b_start)  # regions that are part of the call
        if not mine.any():
            mine = shared >= 0.5 * (end - start)  # or else one that the call is part of: a train of clicks, a chorus
        low, high = band_low, band_high
        if mine.any():
            low, high = max(band_low, b_low[mine].min()), min(band_high, b_high[mine].max())
            first, last = b_start[mine].min(), b_end[mine].max()
            start = first if abs(first - start) <= SNAP_S else start
            end = last if abs(last - end) <= SNAP_S and last > start else end
        yield Call(start, end, low, high, (label,))


def _join_labels(calls: list[Call], profile: Profile) -> list[Call]:
    """Calls of different labels that share at least half of the longer become one."""
    calls = sorted(calls, key=lambda c: (c.start_s, c.end_s))
    group = list(range(len(calls)))

    def root(i):
        while group[i] != i:
            i = group[i]
        return i

    for i, a in enumerate(calls):
        for j in range(i + 1, len(calls)):
            b = calls[j]
            if b.start_s >= a.end_s:
                break
            longer = max(a.end_s - a.start_s, b.end_s - b.start_s)
            if a.labels != b.labels and a.overlap_s(b) >= 0.5 * longer:
                group[root(j)] = root(i)
    together: dict[int, list[Call]] = {}
    for i, call in enumerate(calls):
        together.setdefault(root(i), []).append(call)
    order = profile.labels.index
    return [Call(min(c.start_s for c in cs), max(c.end_s for c in cs), min(c.low_hz for c in cs), max(c.high_hz for c in cs),
                 tuple(sorted({x for c in cs for x in c.labels}, key=order))) for cs in together.values()]


def _diphonic(events: list[Call], profile: Profile) -> list[bool]:
    high, whistle = set(profile.heads.get("hf_call", ())), set(profile.heads.get("whistle", ()))
    flags = [bool(high & set(e.labels)) and bool(whistle & set(e.labels)) for e in events]
    order = sorted(range(len(events)), key=lambda i: events[i].start_s)
    for n, i in enumerate(order):
        for j in order[n + 1:]:
            if events[j].start_s >= events[i].end_s:
                break
            labels = set(events[i].labels) | set(events[j].labels)
            if high & labels and whistle & labels and events[i].overlap_s(events[j]) >= MIN_OVERLAP_S:
                flags[i] = flags[j] = True
    return flags


def _slice(event: Call, start_s: float, rate_hz: float, n: int) -> slice:
    """The cells that an event touches; an event's edge within a millionth of a cell's edge lies on it."""
    first = min(max(int(np.floor((event.start_s - start_s) * rate_hz + 1e-6)), 0), n - 1)
    return slice(first, min(max(first + 1, int(np.ceil((event.end_s - start_s) * rate_hz - 1e-6))), n))


def _measure(event: Call, span: Span, profile: Profile) -> tuple[float, float]:
    """SNR (dB) and sound pressure level (dB re 1 µPa) in the event's box."""
    psd, rate = span.coarse_psd, span.coarse_rate_hz
    bands = (profile.band_high_hz > event.low_hz) & (profile.band_low_hz < event.high_hz) & np.isfinite(psd[0])
    if not bands.any():
        return np.nan, np.nan
    when = _slice(event, span.start_s if span.coarse_start_s is None else span.coarse_start_s, rate, len(psd))
    around = slice(max(0, when.start - int(CONTEXT_S * rate)), when.stop + int(CONTEXT_S * rate))
    width = np.minimum(profile.band_high_hz, event.high_hz)[bands] - np.maximum(profile.band_low_hz, event.low_hz)[bands]
    signal = float(psd[when][:, bands].mean(axis=0) @ width)
    background = float(percentile(psd[around][:, bands], BACKGROUND_PERCENT) @ width)
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = 10 * np.log10(max(signal - background, 0.0) / background) if background > 0 else np.nan
        return (float(snr) if np.isfinite(snr) else np.nan), float(10 * np.log10(signal)) if signal > 0 else np.nan


def percentile(values: np.ndarray, percent: float) -> np.ndarray:
    """`np.percentile` over the first axis, several times as fast on long, narrow arrays."""
    at = percent / 100 * (len(values) - 1)
    low = int(at)
    high = min(low + 1, len(values) - 1)
    ordered = np.partition(np.ascontiguousarray(values.T), (low, high), axis=1)
    return ordered[:, low] + (at - low) * (ordered[:, high] - ordered[:, low])


class SpanCutter:
    """Collects trace, coarse picture and boxes, and gives out spans whose ends cut no call: there every call label's trace is below
    its `off` for a second on both sides. After `LONGEST_SPAN_S` of unbroken calling it cuts all the same, at a fixed place.

    A span brings the coarse picture around it and every box that reaches into it, so its events are those of the whole recording."""

    def __init__(self, profile: Profile, thresholds: dict, trace_rate_hz: float, coarse_rate_hz: float):
        self.off = np.array([thresholds[x]["off"] if x in thresholds and x in call_labels(profile) else np.inf for x in profile.labels])
        self.trace_rate_hz, self.coarse_rate_hz = trace_rate_hz, coarse_rate_hz
        self.start_s = self.coarse_start_s = 0.0
        self.trace = np.empty((0, len(profile.labels)), np.float32)
        self.coarse = np.empty((0, profile.n_bands), np.float32)
        self.boxes: np.ndarray | None = None

    def push(self, trace: np.ndarray, coarse_psd: np.ndarray, boxes: np.ndarray, boxes_until_s: float, final: bool) -> list[Span]:
        """Add what came; `boxes_until_s`: no later box will begin before. Returns the spans that are ready (none or one)."""
        self.trace = np.concatenate([self.trace, trace])
        self.coarse = np.concatenate([self.coarse, coarse_psd])
        self.boxes = boxes if self.boxes is None else np.concatenate([self.boxes, boxes])
        end_s = self._end_s(boxes_until_s, final)
        if end_s <= self.start_s:
            return []
        n = round((end_s - self.start_s) * self.trace_rate_hz)
        m = round((end_s + CONTEXT_S - self.coarse_start_s) * self.coarse_rate_hz)
        span = Span(self.start_s, self.trace[:n], self.trace_rate_hz, self.coarse[:m], self.coarse_rate_hz,
                    self.boxes[self.boxes["start_s"] < end_s], self.coarse_start_s)
        kept_s = max(0.0, end_s - CONTEXT_S)
        self.trace, self.coarse = self.trace[n:], self.coarse[round((kept_s - self.coarse_start_s) * self.coarse_rate_hz):]
        self.boxes = self.boxes[self.boxes["end_s"] > end_s]
        self.start_s, self.coarse_start_s = end_s, kept_s
        return [span]

    def _end_s(self, boxes_until_s: float, final: bool) -> float:
        coarse_end_s = self.coarse_start_s + len(self.coarse) / self.coarse_rate_hz
        if final:
            return coarse_end_s  # the last window's trace may reach beyond the recording
        known_s = min(self.start_s + len(self.trace) / self.trace_rate_hz, coarse_end_s - CONTEXT_S, boxes_until_s)
        whole = int(known_s - self.start_s)  # spans end on whole seconds
        if whole < 60:
            return self.start_s
        rate = self.trace_rate_hz
        busy = (self.trace >= self.off).any(axis=1)
        for second in range(whole - 1, 30, -1):
            if not busy[round((second - 1) * rate):round((second + 1) * rate)].any():
                return self.start_s + second
        return self.start_s + LONGEST_SPAN_S if whole > LONGEST_SPAN_S else self.start_s
