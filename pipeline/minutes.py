"""A deployment minute by minute: who listened, and what was heard. `pipeline.presence` adds it up.

One array for each site, label and season (two years: a million minutes), so time and memory grow with the length of the deployments, not with what lies between them.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pipeline.effort import can_show, epoch_s, listened_pieces, with_places

LEAST_S = 1.0             # a window of the model: shorter sound names nothing
GRID_MIN = 15             # all zones' offsets and changes since 1972 lie on quarters of an hour
PAUSE_S = 400 * 86400.0   # between recordings of a site: longer ones are not told minute by minute
ANY = "any call"
NOT_CALLS = ("Boat",)     # a state of the water, told by windows and not by events


@dataclass
class Minutes:
    """One site and label, minute by minute from `first` (minutes since 1970, UTC); all arrays (minutes,).

    listened_s: seconds in which at least one recorder listened; recorded_s: all recorders' seconds; events: that begin in it; called: any in it.
    """

    site: str
    label: str
    first: int
    listened_s: np.ndarray
    recorded_s: np.ndarray
    events: np.ndarray
    called: np.ndarray
    least_s: float = LEAST_S

    @property
    def listened(self) -> np.ndarray:
        return (self.listened_s >= self.least_s - 1e-6) | (self.called & (self.recorded_s > 0))


def event_labels(events: pd.DataFrame) -> list[str]:
    """Labels that make events, by the table's columns."""
    return [c[len("score_"):] for c in events if c.startswith("score_") and c[len("score_"):] not in NOT_CALLS]


def site_minutes(events: pd.DataFrame, effort: pd.DataFrame, labels: Sequence[str] | None = None, sites=None, least_s: float = LEAST_S) -> Iterator[Minutes]:
    """`Minutes` of each site and label, from the first minute that was recorded there to the last; one for each season, where more than `PAUSE_S` lies between."""
    labels = event_labels(events) if labels is None else list(labels)
    effort = with_places(effort, sites)
    effort = effort[(effort["duration_s"] > 0) & effort["start_utc"].notna()].reset_index(drop=True)
    start_s = epoch_s(effort["start_utc"])
    end_s = start_s + effort["duration_s"].to_numpy()
    piece, heard_s, silent_s = listened_pieces(effort)
    shown = {label: can_show(effort, label) for label in dict.fromkeys([*labels, *event_labels(events)]) if label != ANY}
    shown[ANY] = np.logical_or.reduce([*(shown[x] for x in shown), np.zeros(len(effort), bool)])
    names = effort["recording"].drop_duplicates()  # a file inside which the recorder paused has several rows
    row = np.append(names.index, -1)[pd.Index(names).get_indexer(events["recording"])]
    called_s, quiet_s = epoch_s(events["start_utc"]), epoch_s(events["end_utc"])
    kind, kinds = pd.factorize(events["labels"])
    named = {label: np.array([label == ANY or label in x.split("+") for x in kinds] + [False]) for label in labels}
    for site, mine in effort.groupby("site", sort=True).indices.items():
        at_site = np.zeros(len(effort) + 1, bool)  # the last is for events of recordings that have no place in time
        at_site[mine] = True
        here = at_site[row] & np.isfinite(called_s)
        seasons, known = _seasons(start_s[mine], end_s[mine]), {}
        for label in labels:
            hits = here & named[label][kind]
            begins, ends = called_s[hits] // 60, quiet_s[hits] // 60
            for first, last in seasons:
                season = (start_s < last * 60.0) & (end_s > first * 60.0)
                which = np.flatnonzero((at_site[:-1] & season & shown[label])[piece])
                key = first, which.tobytes()
                if key not in known:
                    spans = heard_s[which], silent_s[which], np.arange(first, last + 1) * 60.0
                    known[key] = covered(*spans), _added_up(*spans)
                begin, end = begins.astype(np.int64) - first, ends.astype(np.int64) - first
                inside = (begin >= 0) & (begin < last - first)
                begin, end = begin[inside], np.clip(end[inside], begin[inside], last - first - 1)
                counts = np.bincount(begin, minlength=last - first).astype(np.int32)
                steps = np.bincount(begin, minlength=last - first + 1) - np.bincount(end + 1, minlength=last - first + 1)
                yield Minutes(site, label, first, *known[key], counts, np.cumsum(steps)[:-1] > 0, least_s)


def _seasons(start_s: np.ndarray, end_s: np.ndarray) -> list[tuple[int, int]]:
    """First and last minute of each stretch of time in which recordings lie no further than `PAUSE_S` apart."""
    order = np.argsort(start_s, kind="stable")
    latest = np.maximum.accumulate(end_s[order])
    fresh = np.concatenate([[True], start_s[order][1:] - latest[:-1] > PAUSE_S])
    begins, ends = start_s[order][fresh], latest[np.concatenate([np.flatnonzero(fresh)[1:] - 1, [len(latest) - 1]])]
    return [(int(begin // 60), -int(-end // 60)) for begin, end in zip(begins, ends)]


def covered(start_s: np.ndarray, end_s: np.ndarray, edges_s: np.ndarray) -> np.ndarray:
    """Seconds of each bin that at least one stretch covers: differences of the time covered so far, which is piecewise linear."""
    if not len(start_s):
        return np.zeros(len(edges_s) - 1)
    order = np.argsort(start_s, kind="stable")
    start_s, latest = start_s[order], np.maximum.accumulate(end_s[order])
    new = np.concatenate([[True], start_s[1:] > latest[:-1]])
    begins, ends = start_s[new], latest[np.concatenate([np.flatnonzero(new)[1:] - 1, [len(latest) - 1]])]
    so_far = np.concatenate([[0.0], np.cumsum(ends - begins)])
    points, values = np.column_stack([begins, ends]).ravel(), np.column_stack([so_far[:-1], so_far[1:]]).ravel()
    return np.round(np.diff(np.interp(edges_s, points, values)), 6)


def _added_up(start_s: np.ndarray, end_s: np.ndarray, edges_s: np.ndarray) -> np.ndarray:
    """Seconds of each bin, all stretches added up."""
    def before(points):  # sum over points of max(0, edge - point)
        points = np.sort(points) - edges_s[0]
        edges = edges_s - edges_s[0]
        n = np.searchsorted(points, edges)
        return n * edges - np.concatenate([[0.0], np.cumsum(points)])[n]

    return np.round(np.diff(before(start_s) - before(end_s)), 6)


def bin_edges(first: int, last: int, unit: str, clock) -> np.ndarray:
    """Minutes since 1970 at which a zone's hours, days, weeks or months begin, from the one that holds `first` to the one that ends at or after `last`."""
    reach = {"hour": 120, "day": 2 * 1440, "week": 9 * 1440, "month": 33 * 1440}[unit]
    grid = np.arange(first // GRID_MIN * GRID_MIN - reach, last + reach + GRID_MIN, GRID_MIN)
    local = pd.to_datetime(grid * 60, unit="s", utc=True).tz_convert(clock)
    wall = local.tz_localize(None).as_unit("s").asi8 // 60
    if unit == "hour":
        key = wall // 60 + (wall - grid) * 1e6  # the same hour of another offset is another hour
    elif unit == "month":
        key = local.year * 12 + local.month
    else:
        key = wall // 1440 if unit == "day" else (wall // 1440 + 3) // 7
    edges = grid[1:][np.diff(np.asarray(key)) != 0]
    return edges[max(np.searchsorted(edges, first, "right") - 1, 0):np.searchsorted(edges, last, "left") + 1]


def padded(m: Minutes, unit: str, clock) -> Minutes:
    """With minutes that nobody listened at both ends, to whole bins of the unit."""
    edges = bin_edges(m.first, m.first + len(m.events), unit, clock)
    before, after = m.first - int(edges[0]), int(edges[-1]) - m.first - len(m.events)
    return replace(m, first=int(edges[0]), **{name: np.pad(getattr(m, name), (before, after)) for name in ("listened_s", "recorded_s", "events", "called")})
