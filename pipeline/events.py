"""From named regions of interest to events: one row for each call, or for calls that begin and end together.

1. Regions that carry a label and follow each other within the label's gap are one call; more of them than a call of this label can be long are cut at their widest gaps.
   For a model without a region head a call reaches no further than the stretch of its label's trace (hysteresis: at least `off`, `on` once), and a stretch in
   which no region lies is a call without bounds of its own, flagged.
2. A call reaches as far as its regions' own cells. Where a region touches the border of its ROI band, which is not the call's border, it reaches
   on over the bands in which the picture stands EDGE_DB above the background in the call's time. Its bounds hold 5 to 95 % of the energy above
   the background within that reach, its times 5 to 95 % of the energy within its bounds, but for ENDS of its regions' time at most: what of a call is quiet is the
   call's too. A click train lasts from its first to its last click.
3. Calls of different labels that share at least half of the longer one become one event ("HFPC+Whistle").
4. `overlap`: a whistle and a high-frequency call sound at once. `diphonic`: a whistle and a pulsed call do so for half of the shorter.

`build_events` is a pure function of one span of time (`pipeline.spans`).
"""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pipeline.flags import FLAGS as FLAGS
from pipeline.naming import Namer
from pipeline.naming import call_labels as call_labels
from pipeline.spans import Regions, Span
from ROI.band import RIDGE
from ROI.crest import NAME as CREST
from spectrogram.profile import Profile

SNAP_S = 0.15          # so far may a region reach beyond a stretch of the trace that cuts it, which knows 0.1 s at best
GAP_S = {"ECHO": 0.35}  # between regions of one call: click trains pause between clicks
DEFAULT_GAP_S = 0.06
LONGEST_S = {"ECHO": 12.0, "HFPC": 4.0, "BBPC": 4.0, "Whistle": 5.0}  # of one call, with its echoes
DEFAULT_LONGEST_S = 15.0
PULSED = ("HFPC", "BBPC")
TRAINS = ("ECHO",)     # one call, however often it pauses
DIPHONIC_SHARE = 0.5   # of the shorter call
MIN_OVERLAP_S = 0.04
EDGE_DB, EDGE_BANDS = 10.0, 3  # a band belongs to a call where its peaks stand so far above the background; a region so near its ROI band's border touches it
WIDER = 2.5
ENERGY_SHARES = (0.05, 0.95)  # of a call's energy below its lower and its upper bound, before its start and its end ...
ENDS = 0.1             # of a call's time, at most, is cut off its quiet start and its quiet end
ABOVE_DB = 3.0         # ... in cells that stand so far above the background
LEAST_SNR_DB = 0.0     # in the event's box; below: flag below_snr
STEADY_S, STEADY_DRIFT, STEADY_BANDS = 1.0, 0.05, 4
IMPULSE_SHARE, IMPULSE_S = 0.6, 0.08


@dataclass
class Call:
    """One label's call: `rows` of the span's regions that are its own."""

    start_s: float
    end_s: float
    low_hz: float
    high_hz: float
    labels: tuple[str, ...]
    rows: list = field(default_factory=list)
    n_calls: int = 1

    def overlap_s(self, other: "Call") -> float:
        return min(self.end_s, other.end_s) - max(self.start_s, other.start_s)

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s


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


def build_events(span: Span, namer: Namer) -> pd.DataFrame:
    """Events of a span.

    Returns
    -------
    DataFrame: start_s, end_s, low_hz, high_hz, peak_hz, labels ("ECHO+Whistle"), score_LABEL (highest probability among the event's regions, NaN where the
    recording cannot show the label), n_calls (separate calls or trains), overlap, diphonic, species_score (NaN: nobody asked), flags (FLAGS joined by +), snr_db (mean power in
    the event's box over the background's, less one), level_db (mean-square sound pressure level in the box, dB re 1 µPa).
    """
    return event_table(event_rows(span, namer), namer.profile)


def event_rows(span: Span, namer: Namer, clipped_s: np.ndarray = np.zeros(0), species=None) -> list[dict]:
    """The events of a span as plain rows, in order; see `build_events`. `clipped_s`: seconds of the recording in which samples are at full scale;
    `species`: the recording's `pipeline.species.SpeciesJudge`, or None."""
    profile = namer.profile
    calls = [call for label in namer.shown for call in _calls_of(label, span, namer)]
    pairs = _pairs(calls, profile)
    events = _join_labels(calls, profile)
    rows = []
    verdicts = [None] * len(events) if species is None else species.judge(span, [event for event, _ in events])
    for (event, members), verdict in zip(events, verdicts):
        regions = span.regions[event.rows]
        row = {"start_s": event.start_s, "end_s": event.end_s, "low_hz": event.low_hz, "high_hz": event.high_hz, "peak_hz": _peak_hz(regions), "labels": "+".join(event.labels)}
        row |= _scores(event, regions, span, namer)
        row |= {"n_calls": event.n_calls, "overlap": any(i in pairs["overlap"] for i in members), "diphonic": any(i in pairs["diphonic"] for i in members)}
        snr_db, level_db = _measure(event, span, profile)
        flags = _flags(event, regions, snr_db, clipped_s, profile, verdict is not None and not verdict.passes)
        rows.append(row | {"species_score": np.nan if verdict is None else verdict.score, "flags": "+".join(flags), "snr_db": snr_db, "level_db": level_db})
    return sorted(rows, key=lambda row: (row["start_s"], row["end_s"], row["labels"]))


def event_table(rows: list[dict], profile: Profile) -> pd.DataFrame:
    """Rows of `event_rows` as a DataFrame, with its columns and types also when there are none."""
    columns = ["start_s", "end_s", "low_hz", "high_hz", "peak_hz", "labels", *(f"score_{x}" for x in profile.labels), "n_calls", "overlap", "diphonic", "species_score", "flags",
               "snr_db", "level_db"]
    types = dict.fromkeys(columns, "float64") | {"labels": "str", "flags": "str", "diphonic": "bool", "overlap": "bool", "n_calls": "int16"}
    return pd.DataFrame(rows, columns=columns).astype(types)


# ------------------------------------------------------------------------------------------------------------ calls of a label


def _calls_of(label: str, span: Span, namer: Namer) -> list[Call]:
    """Calls of one label: its named regions, joined over gaps and cut where they are too long."""
    mine = np.flatnonzero(span.regions.named[:, namer.labels.index(label)])
    mine = _without_wider(mine, span.regions.boxes, label in namer.profile.heads.get("whistle", ()))
    starts, ends = span.regions.boxes["start_s"][mine], span.regions.boxes["end_s"][mine]
    if not namer.head:
        return _within_stretches(label, span, namer, mine, starts, ends)
    return _calls(label, span, namer, [piece for row in zip(starts, ends, mine) for piece in _moments(row, label, span, namer)])


def _moments(piece: tuple, label: str, span: Span, namer: Namer) -> list[tuple]:
    """A named region (start_s, end_s, row), or of it what lies within the stretches of its label's trace: calls of several labels may have grown into one region.

    Whole where the model tells no moments of the label, or its trace stays below `off` all the time.
    """
    if label not in namer.moments:
        return [piece]
    start, end, row = piece
    rate, trace = span.trace_rate_hz, span.trace[:, namer.profile.labels.index(label)]
    first, off = round(span.start_s * rate), namer.thresholds[label]["off"]
    a, z = max(0, int(start * rate) - first - 1), max(0, int(np.ceil(end * rate)) - first + 1)
    stretches = bridge(hysteresis(trace[a:z], off, off), GAP_S.get(label, DEFAULT_GAP_S) * rate)
    edges = [((first + a + b) / rate, (first + a + c) / rate) for b, c in stretches]
    pieces = [(start if start >= b - SNAP_S else b, end if end <= c + SNAP_S else c, row) for b, c in edges]
    return [(s, e, row) for s, e, row in pieces if e - s > 1 / rate] or [piece]


def _calls(label: str, span: Span, namer: Namer, pieces: list[tuple]) -> list[Call]:
    """Calls of regions (start_s, end_s, row), none longer than it can be: endless sound is cut into equal parts."""
    starts, ends = (np.array([piece[k] for piece in pieces]) for k in (0, 1))
    calls = []
    for part in parted(starts, ends, label):
        for start_s, end_s in pieces_of(starts[part].min(), ends[part].max(), label):
            cut = [(max(starts[i], start_s), min(ends[i], end_s), pieces[i][2]) for i in part]
            calls += [_call(label, span, namer, [(s, e, row) for s, e, row in cut if e > s])]
    return calls


def _without_wider(mine: np.ndarray, boxes: np.ndarray, tonal: bool) -> np.ndarray:
    """For a tonal label, the regions less those in whose time and band a ridge of the same name lies that is WIDER times narrower: they hold something else beside it."""
    ridges = mine[boxes["band"][mine] == RIDGE]
    if not tonal or not len(ridges):
        return mine
    b, r = boxes[mine][:, None], boxes[ridges]
    shared = np.minimum(b["end_s"], r["end_s"]) - np.maximum(b["start_s"], r["start_s"])
    inside = (shared >= 0.5 * (r["end_s"] - r["start_s"])) & (b["low_hz"] <= r["low_hz"]) & (b["high_hz"] >= r["high_hz"]) & (b["band"] != RIDGE)
    inside &= b["high_hz"] - b["low_hz"] >= WIDER * (r["high_hz"] - r["low_hz"])
    return mine[~inside.any(axis=1)]


def parted(starts: np.ndarray, ends: np.ndarray, label: str) -> list[list[int]]:
    """Indices of regions that make up one call each: chained over the label's gap, cut at the widest gaps where the chain is longer than a call can be."""
    order = np.lexsort((ends, starts))
    groups, reach = [], -np.inf
    for i in order:
        if starts[i] - reach > GAP_S.get(label, DEFAULT_GAP_S):
            groups.append([])
            reach = -np.inf
        groups[-1].append(int(i))
        reach = max(reach, ends[i])
    longest, done = LONGEST_S.get(label, DEFAULT_LONGEST_S), []
    while groups:
        group = groups.pop()
        if len(group) > 1 and max(ends[i] for i in group) - starts[group[0]] > longest:
            reach = np.maximum.accumulate(ends[group])
            gaps = starts[group][1:] - reach[:-1]
            middle = 0.5 * (starts[group][1:] + starts[group][:-1])
            off_middle = np.abs(middle - 0.5 * (starts[group[0]] + reach[-1]))
            at = 1 + int(np.lexsort((off_middle, -gaps))[0])
            groups += [group[:at], group[at:]]
        else:
            done.append(group)
    return sorted(done, key=lambda group: (starts[group[0]], group))


def _within_stretches(label: str, span: Span, namer: Namer, mine: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> list[Call]:
    """Calls of a model that names moments, not regions: where regions and stretches of the trace meet, and stretches without a region."""
    rate, threshold = span.trace_rate_hz, namer.thresholds[label]
    trace = span.trace[:, namer.profile.labels.index(label)]
    stretches = bridge(hysteresis(trace, threshold["on"], threshold["off"]), GAP_S.get(label, DEFAULT_GAP_S) * rate)
    first_time = round(span.start_s * rate)  # whole numbers, so that a time has the same bits in any span
    calls = []
    for a, b in stretches:
        start, end = (first_time + a) / rate, (first_time + b) / rate
        pieces = []
        for s, e, row in zip(starts, ends, mine):
            s, e = (s if s >= start - SNAP_S else start), (e if e <= end + SNAP_S else end)
            if min(e, end) - max(s, start) > 0:
                pieces.append((s, e, row))
        if pieces:
            calls += _calls(label, span, namer, pieces)
        else:
            calls += [_without_region(label, span, namer, s, e) for s, e in pieces_of(start, end, label)]
    return calls


def pieces_of(start_s: float, end_s: float, label: str) -> list[tuple[float, float]]:
    """A time as equal pieces no longer than a call of the label can be."""
    n = max(1, int(np.ceil((end_s - start_s) / LONGEST_S.get(label, DEFAULT_LONGEST_S) - 1e-9)))
    edges = [start_s + (end_s - start_s) * k / n for k in range(n)] + [end_s]
    return list(zip(edges[:-1], edges[1:]))


def _call(label: str, span: Span, namer: Namer, pieces: list[tuple]) -> Call:
    """A call of regions (start_s, end_s, row)."""
    rows, profile = sorted({int(row) for _, _, row in pieces}), namer.profile
    start_s, end_s = min(p[0] for p in pieces), max(p[1] for p in pieces)
    boxes = span.regions.boxes[rows]
    low_hz, high_hz = energy_bounds(*_bounds(boxes, start_s, end_s, span, profile), start_s, end_s, span, profile)
    if label not in TRAINS:
        start_s, end_s = energy_times(low_hz, high_hz, start_s, end_s, span, profile)
    return Call(float(start_s), float(end_s), low_hz, high_hz, (label,), rows, 1 if label in TRAINS else _count(pieces))


def _count(pieces: list[tuple]) -> int:
    """Separate calls among regions: those that overlap in time are parts of one."""
    count, reach = 0, -np.inf
    for start, end, _ in sorted(pieces):
        count, reach = count + (start > reach), max(reach, end)
    return count


def _without_region(label: str, span: Span, namer: Namer, start_s: float, end_s: float) -> Call:
    """A stretch in which no region lies, with the bands of its label that stand out of the background, or none (NaN)."""
    profile = namer.profile
    low, high = profile.label_band_hz[label]
    out = _standing_out(span, start_s, end_s) & (profile.band_centres_hz >= low) & (profile.band_centres_hz <= high)
    bands = np.flatnonzero(out)
    bounds = (float(profile.band_low_hz[bands[0]]), float(profile.band_high_hz[bands[-1]])) if len(bands) else (np.nan, np.nan)
    return Call(start_s, end_s, *bounds, (label,))


def _standing_out(span: Span, start_s: float, end_s: float) -> np.ndarray:
    """(bands,) bool: the picture's peaks in this time stand EDGE_DB above the background."""
    when = _slice(start_s, end_s, span.picture_start_s, span.coarse_rate_hz, len(span.coarse_peak))
    return span.coarse_peak[when].max(axis=0) > 10 ** (EDGE_DB / 10) * np.maximum(span.background_at(0.5 * (start_s + end_s)), 1e-30)


def _bounds(boxes: np.ndarray, start_s: float, end_s: float, span: Span, profile: Profile) -> tuple[float, float]:
    """Lowest and highest frequency of a call's regions, and on from there where only the ROI band ends."""
    low_hz, high_hz = float(boxes["low_hz"].min()), float(boxes["high_hz"].max())
    borders = {band["name"]: (band["low_hz"], band["high_hz"]) for band in profile.roi_bands}
    down, up = (borders.get(str(box["band"]), (0.0, np.inf)) for box in (boxes[np.argmin(boxes["low_hz"])], boxes[np.argmax(boxes["high_hz"])]))
    low = min(int(np.searchsorted(profile.band_high_hz, low_hz + 1e-6)), profile.n_bands - 1)
    high = min(int(np.searchsorted(profile.band_high_hz, high_hz - 1e-6)), profile.n_bands - 1)
    stands = None
    if down[0] > 0 and low - np.searchsorted(profile.band_centres_hz, down[0]) <= EDGE_BANDS:
        stands = _standing_out(span, start_s, end_s)
        reach = _reach(stands, low, -1)
        low_hz = low_hz if reach == low else float(profile.band_low_hz[reach])
    if np.searchsorted(profile.band_centres_hz, up[1]) - 1 - high <= EDGE_BANDS:
        reach = _reach(_standing_out(span, start_s, end_s) if stands is None else stands, high, 1)
        high_hz = high_hz if reach == high else float(profile.band_high_hz[reach])
    return low_hz, high_hz


def _reach(stands: np.ndarray, at: int, step: int) -> int:
    """How far bands that stand out follow each other from band `at` on; a single one that does not is passed over."""
    n = len(stands)
    while 0 <= at + step < n and (stands[at + step] or (0 <= at + 2 * step < n and stands[at + 2 * step])):
        at += step
    return at


def energy_bounds(low_hz: float, high_hz: float, start_s: float, end_s: float, span: Span, profile: Profile) -> tuple[float, float]:
    """Frequencies between which 5 to 95 % of the energy above the background lie, of a time and band; the band itself where nothing stands above it."""
    bands, _, above = _above_background(low_hz, high_hz, start_s, end_s, span, profile)
    energy = np.cumsum(above.sum(axis=0) * (profile.band_high_hz - profile.band_low_hz)[bands])
    if not len(bands) or not energy[-1] > 0:
        return low_hz, high_hz
    first, last = (int(np.searchsorted(energy, share * energy[-1])) for share in ENERGY_SHARES)
    return max(low_hz, float(profile.band_low_hz[bands[first]])), min(high_hz, float(profile.band_high_hz[bands[last]]))


def energy_times(low_hz: float, high_hz: float, start_s: float, end_s: float, span: Span, profile: Profile) -> tuple[float, float]:
    """Times between which 5 to 95 % of the energy above the background lie, of a time and band, within cells by straight lines; as `energy_bounds`."""
    bands, first_cell, above = _above_background(low_hz, high_hz, start_s, end_s, span, profile)
    energy = np.concatenate([[0.0], np.cumsum(above @ (profile.band_high_hz - profile.band_low_hz)[bands])])
    if not energy[-1] > 0:
        return start_s, end_s
    rate = span.coarse_rate_hz
    edges = np.clip((round(span.picture_start_s * rate) + first_cell + np.arange(len(energy))) / rate, start_s, end_s)
    first, last = np.interp(np.array(ENERGY_SHARES) * energy[-1], energy, edges)
    most = ENDS * (end_s - start_s)
    return float(min(first, start_s + most)), float(max(last, end_s - most))


def _above_background(low_hz: float, high_hz: float, start_s: float, end_s: float, span: Span, profile: Profile) -> tuple[np.ndarray, int, np.ndarray]:
    """The visible bands of a band, the first cell of a time, and the power above the background there (cells, bands); cells less than ABOVE_DB above it count as 0."""
    bands = np.flatnonzero((profile.band_high_hz > low_hz + 1e-6) & (profile.band_low_hz < high_hz - 1e-6) & np.isfinite(span.coarse_psd[0]))
    when = _slice(start_s, end_s, span.picture_start_s, span.coarse_rate_hz, len(span.coarse_psd))
    background = span.background_at(0.5 * (start_s + end_s))[bands]
    cells = span.coarse_psd[when][:, bands].astype(np.float64)
    return bands, when.start, np.where(cells > 10 ** (ABOVE_DB / 10) * background, cells - background, 0.0)


# ------------------------------------------------------------------------------------------------------------ events


def _join_labels(calls: list[Call], profile: Profile) -> list[tuple[Call, list[int]]]:
    """Calls of different labels that share at least half of the longer become one; with the indices of the calls in it."""
    order = sorted(range(len(calls)), key=lambda i: (calls[i].start_s, calls[i].end_s))
    group = list(range(len(calls)))
    extent = [(c.start_s, c.end_s, LONGEST_S.get(c.labels[0], DEFAULT_LONGEST_S)) for c in calls]  # of the group of which it is the root

    def root(i):
        while group[i] != i:
            i = group[i]
        return i

    for n, i in enumerate(order):
        for j in order[n + 1:]:
            a, b = calls[i], calls[j]
            if b.start_s >= a.end_s:
                break
            if a.labels != b.labels and a.overlap_s(b) >= 0.5 * max(a.length_s, b.length_s):
                one, other = extent[root(i)], extent[root(j)]
                both = min(one[0], other[0]), max(one[1], other[1]), max(one[2], other[2])
                if both[1] - both[0] <= both[2]:
                    group[root(j)] = root(i)
                    extent[root(i)] = both
    together: dict[int, list[int]] = {}
    for i in order:
        together.setdefault(root(i), []).append(i)
    rank = profile.labels.index
    joined = []
    for members in together.values():
        cs = [calls[i] for i in members]
        labels = tuple(sorted({x for c in cs for x in c.labels}, key=rank))
        low, high = (float(f([hz for hz in (getattr(c, name) for c in cs) if np.isfinite(hz)] or [np.nan])) for f, name in ((min, "low_hz"), (max, "high_hz")))
        joined.append((Call(min(c.start_s for c in cs), max(c.end_s for c in cs), low, high, labels, sorted({r for c in cs for r in c.rows}), sum(c.n_calls for c in cs)), members))
    return joined


def _pairs(calls: list[Call], profile: Profile) -> dict[str, set[int]]:
    """Indices of calls that sound at once with one of the other kind: "overlap" and "diphonic", see the module's head."""
    high, whistle = set(profile.heads.get("hf_call", ())), set(profile.heads.get("whistle", ()))
    out: dict[str, set[int]] = {"overlap": set(), "diphonic": set()}
    for i, a in enumerate(calls):
        if a.labels[0] not in whistle:
            continue
        for j, b in enumerate(calls):
            shared = a.overlap_s(b)
            if b.labels[0] in high and shared >= MIN_OVERLAP_S:
                out["overlap"] |= {i, j}
            if b.labels[0] in PULSED and shared >= max(DIPHONIC_SHARE * min(a.length_s, b.length_s), MIN_OVERLAP_S):
                out["diphonic"] |= {i, j}
    return out


def _scores(event: Call, regions: Regions, span: Span, namer: Namer) -> dict:
    """score_LABEL of every label of the profile."""
    when = _slice(event.start_s, event.end_s, span.start_s, span.trace_rate_hz, len(span.trace))
    trace = span.trace[when].max(axis=0)
    of_regions = dict(zip(namer.labels, regions.prob.max(axis=0))) if namer.head and len(regions) else {}
    return {f"score_{label}": float(of_regions.get(label, trace[k])) if namer.profile.observable(label, namer.nyquist_hz) else np.nan
            for k, label in enumerate(namer.profile.labels)}


def _peak_hz(regions: Regions) -> float:
    """Where the loudest region stands out most."""
    return float(regions.boxes["peak_hz"][np.argmax(regions.boxes["snr_db"])]) if len(regions) else np.nan


def _flags(event: Call, regions: Regions, snr_db: float, clipped_s: np.ndarray, profile: Profile, other_animal: bool) -> list[str]:
    """What speaks against an event; see FLAGS."""
    boxes = regions.boxes
    high = [label for label in event.labels if label in profile.heads.get("hf_call", ())]
    narrow = np.array([((profile.band_centres_hz > b["low_hz"]) & (profile.band_centres_hz < b["high_hz"])).sum() <= STEADY_BANDS for b in boxes], bool)
    steady = narrow & (boxes["drift"] <= STEADY_DRIFT) & (boxes["band"] != CREST)
    steady_s = (boxes["end_s"] - boxes["start_s"])[steady].sum()
    trains = (boxes["n_clicks"] > 0).any()
    struck = (boxes["impulse"] >= IMPULSE_SHARE) | (boxes["end_s"] - boxes["start_s"] <= IMPULSE_S)
    found = {
        "steady_tone": bool(steady_s >= STEADY_S and steady_s >= 0.5 * event.length_s),
        "single_impulse": bool(len(boxes) and high and len(high) == len(event.labels) and not trains and struck.all() and event.n_calls <= 1),
        "out_of_domain": bool(regions.far.any()),
        "other_animal": other_animal,
        "clipped": bool(((clipped_s >= np.floor(event.start_s)) & (clipped_s < event.end_s)).any()),
        "below_snr": not snr_db >= LEAST_SNR_DB,
        "region_missing": not len(boxes),
    }
    return [name for name in FLAGS if found[name]]


def _slice(start_s: float, end_s: float, origin_s: float, rate_hz: float, n: int) -> slice:
    """The cells that a time touches; an edge within a millionth of a cell's edge lies on it."""
    first = min(max(int(np.floor((start_s - origin_s) * rate_hz + 1e-6)), 0), n - 1)
    return slice(first, min(max(first + 1, int(np.ceil((end_s - origin_s) * rate_hz - 1e-6))), n))


def _measure(event: Call, span: Span, profile: Profile) -> tuple[float, float]:
    """SNR (dB) and sound pressure level (dB re 1 µPa) in the event's box."""
    psd = span.coarse_psd
    bands = (profile.band_high_hz > event.low_hz) & (profile.band_low_hz < event.high_hz) & np.isfinite(psd[0])
    if not bands.any():
        return np.nan, np.nan
    when = _slice(event.start_s, event.end_s, span.picture_start_s, span.coarse_rate_hz, len(psd))
    width = np.minimum(profile.band_high_hz, event.high_hz)[bands] - np.maximum(profile.band_low_hz, event.low_hz)[bands]
    signal = float(psd[when][:, bands].mean(axis=0) @ width)
    background = float(span.background_at(0.5 * (event.start_s + event.end_s))[bands] @ width)
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = 10 * np.log10(max(signal - background, 0.0) / background) if background > 0 else np.nan
        return (float(snr) if np.isfinite(snr) else np.nan), float(10 * np.log10(signal)) if signal > 0 else np.nan
