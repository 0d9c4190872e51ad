"""Presence of calls per minute, hour, day, week or month, by site and label, corrected for effort; call rates with intervals.

- A minute is *listened* when at least a second of it (one window of the model) was recorded by a recorder that can show the label. What was not
  listened has presence NaN, never 0. A minute of which a part was recorded holds fewer calls than a whole one: where recordings are
  many minutes long, `least_s=30` leaves the parts at their ends out.
- Two recorders at one site: `listened_s` counts the time in which at least one recorded, `recorded_s` adds up all; rates are events per hour of
  `recorded_s`, since each recorder has its own events.
- Intervals (95 %, `pipeline.intervals`) take minutes as the draws within an hour, and hours as the draws within a day, week or month.
- Days and hours are those of a time zone (IANA name): a day may last 23 or 25 hours, the hour that a clock repeats in autumn is there twice.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pipeline.effort import can_show, listened_s, with_places
from pipeline.intervals import effective_minutes, rate_interval, resampled, wilson
from pipeline.minutes import ANY, LEAST_S, Minutes, bin_edges, event_labels, padded, site_minutes
from spectrogram.names import zone

UNITS = ("minute", "hour", "day", "week", "month")
MINUTE_COLUMNS = ("site", "label", "start_utc", "end_utc", "listened_s", "recorded_s", "events", "presence")
ENOUGH_DAYS = 20


def presence(events: pd.DataFrame, effort: pd.DataFrame, unit: str = "hour", *, labels: Sequence[str] | None = None, time_zone: str | None = "UTC",
             sites: str | Mapping[str, str] | None = None, least_s: float = LEAST_S, gaps: bool = True) -> pd.DataFrame:
    """Presence of each label at each site in each minute, hour, day, week (from Monday) or month.

    Parameters
    ----------
    events, effort : tables of a run. Recordings without a start time take no part. labels : none: all of the `score_` columns that make events;
        "any call" stands for any of them.
    time_zone : whose days and hours. sites : as for `pipeline.effort.with_places`. gaps : keep rows of which nothing was listened.

    Returns
    -------
    site, label, start_utc, end_utc, start_local, listened_s, recorded_s, events, presence (1, 0 or NaN: not listened); and for units longer than
    a minute minutes_listened, minutes_with_calls, share with share_low and share_high (95 %), events_per_hour with rate_low and rate_high (95 %).

    Raises
    ------
    ValueError
        for a unit or a time zone that there is not.
    """
    if unit not in UNITS:
        raise ValueError(f"unit {unit!r}: use one of {', '.join(UNITS)}")
    clock, parts = zone(time_zone), []
    for minutes in site_minutes(events, effort, labels, sites, least_s):
        table = _minute_table(minutes) if unit == "minute" else _unit_table(minutes, unit, clock)
        table = table if gaps else table[table["listened_s"] > 0]
        table.insert(0, "site", pd.Categorical.from_codes(np.zeros(len(table), np.int8), [minutes.site]))
        table.insert(1, "label", pd.Categorical.from_codes(np.zeros(len(table), np.int8), [minutes.label]))
        parts.append(table)
    if not parts:  # nothing has a place in time: a table with all columns and no rows
        nothing = _unit_table(Minutes("", "", 0, *(np.zeros(60, kind) for kind in (float, float, int, bool))), "hour", clock).iloc[:0]
        parts = [pd.concat([pd.DataFrame({"site": [], "label": []}, dtype="str"), nothing], axis=1)]
    names = {column: list(dict.fromkeys(x for part in parts for x in part[column].unique())) for column in ("site", "label")}
    table = pd.concat([part.assign(**{c: pd.Categorical(part[c], names[c]) for c in names}) for part in parts], ignore_index=True)
    if unit == "minute":
        table = table[[c for c in table if c in MINUTE_COLUMNS]]
    for column in ("start_utc", "end_utc"):
        table[column] = pd.to_datetime(table[column], unit="s", utc=True).dt.as_unit("s")
    table.insert(4, "start_local", table["start_utc"].dt.tz_convert(clock))
    return table


def _minute_table(m: Minutes) -> pd.DataFrame:
    start = np.arange(m.first, m.first + len(m.events)) * 60
    return pd.DataFrame({"start_utc": start, "end_utc": start + 60, "listened_s": m.listened_s.astype(np.float32), "recorded_s": m.recorded_s.astype(np.float32), "events": m.events,
                         "presence": np.where(m.listened, m.called, np.nan).astype(np.float32)})


def _unit_table(m: Minutes, unit: str, clock) -> pd.DataFrame:
    """One row for each hour or longer, with intervals from the minutes (of an hour) or the hours (of longer units) in it."""
    m = padded(m, unit, clock)
    n = len(m.events)
    edges = bin_edges(m.first, m.first + n, unit, clock)
    if unit == "hour":
        pieces, bins = np.arange(n), edges[:-1] - m.first
    else:
        hours = bin_edges(m.first, m.first + n, "hour", clock)[:-1]
        pieces, bins = hours - m.first, np.searchsorted(hours, edges[:-1])
    listened = m.listened
    x, k, y, t, heard_s = (np.add.reduceat(np.asarray(a, dtype=float), pieces) for a in (m.called & listened, listened, m.events, m.recorded_s, m.listened_s))
    table = pd.DataFrame({"start_utc": edges[:-1] * 60, "end_utc": edges[1:] * 60})
    sums = {name: np.add.reduceat(a, bins) for name, a in _moments(x, k, y, t / 3600).items()}
    return pd.concat([table, _figures(pd.DataFrame(sums), np.add.reduceat(heard_s, bins), minutes_are_drawn=unit == "hour")], axis=1)


def _moments(x, k, y, t) -> dict[str, np.ndarray]:
    """Sums to be taken over pieces: x of k minutes with calls, y events in t hours."""
    return {"x": x, "k": k, "y": y, "t": t, "xx": x * x, "xk": x * k, "kk": k * k, "yy": y * y, "yt": y * t, "tt": t * t, "pieces": (k > 0).astype(float), "timed": (t > 0).astype(float)}


def _figures(s: pd.DataFrame, listened_s: np.ndarray, minutes_are_drawn: bool) -> pd.DataFrame:
    """Shares and rates with intervals, from sums of `_moments`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share, rate = s["x"] / s["k"], s["y"] / s["t"]
        seen = s["k"].copy()
        if not minutes_are_drawn:
            seen = effective_minutes(s["x"], s["k"], s["xx"], s["xk"], s["kk"], s["pieces"])
        low, high = wilson(share * seen, seen)
        rate_low, rate_high = rate_interval(s["y"], s["t"], s["yy"], s["yt"], s["tt"], s["timed"])
    return pd.DataFrame({
        "listened_s": np.round(listened_s, 3), "recorded_s": np.round(s["t"] * 3600, 3), "events": s["y"].astype(np.int64),
        "presence": np.where(s["k"] > 0, (s["x"] > 0).astype(float), np.nan).astype(np.float32),
        "minutes_listened": s["k"].astype(np.int64), "minutes_with_calls": s["x"].astype(np.int64), "share": share.astype(np.float32),
        "share_low": low.astype(np.float32), "share_high": high.astype(np.float32),
        "events_per_hour": rate.astype(np.float32), "rate_low": rate_low.astype(np.float32), "rate_high": rate_high.astype(np.float32)})


def hour_of_day(hourly: pd.DataFrame) -> pd.DataFrame:
    """From `presence(..., unit="hour")` the average day: site, label, hour (0-23, of the table's time zone), listened_s, events, minutes, share and rate.

    Intervals come from the variance between days.
    """
    hour = hourly["start_local"].dt.hour
    sums = pd.DataFrame(_moments(*(hourly[c].to_numpy(dtype=float) for c in ("minutes_with_calls", "minutes_listened", "events")), hourly["recorded_s"].to_numpy() / 3600))
    by = sums.assign(site=hourly["site"], label=hourly["label"], hour=hour, listened_s=hourly["listened_s"]).groupby(["site", "label", "hour"], observed=True, sort=True).sum().reset_index()
    figures = _figures(by, by["listened_s"].to_numpy(), minutes_are_drawn=False)
    return pd.concat([by[["site", "label", "hour"]], figures], axis=1)


def call_rates(events: pd.DataFrame, effort: pd.DataFrame, *, labels: Sequence[str] | None = None, time_zone: str | None = "UTC", sites=None,
               least_s: float = LEAST_S, block: str | None = None, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Share of minutes with calls, and calls per hour of recording, of each label over a site's whole deployment, with 95 % intervals.

    Calls come in bouts: a visit of whales lasts for hours, and Poisson's interval, which takes each call for a separate draw, is
    far too narrow. So whole blocks of time are drawn with replacement (bootstrap of the ratio of sums, percentile interval; Efron and
    Tibshirani 1993, chapter 8): days, which hold most visits whole, where at least 20 were listened; else hours; recordings without a start time are
    blocks themselves. Under five blocks there is no interval. No event at all: from 0 to Garwood's limit (a bout counts as one event); calls in
    none or in all of the minutes: Wilson's interval.

    Returns
    -------
    site, label, recorded_s, listened_s (NaN without start times), events, events_per_hour, rate_low, rate_high, share, share_low, share_high,
    block ("day", "hour", "recording"), blocks (how many).
    """
    labels, clock = event_labels(events) if labels is None else list(labels), zone(time_zone)
    effort, rng, rows = with_places(effort, sites), np.random.default_rng(seed), []
    minutes: dict[tuple[str, str], list[Minutes]] = {}
    for m in site_minutes(events, effort, labels, None, least_s):
        minutes.setdefault((m.site, m.label), []).append(m)
    for site, mine in effort[effort["duration_s"] > 0].groupby("site", sort=True):
        timed = [minutes[site, label] for label in labels if (site, label) in minutes]  # a list of seasons each
        unit = block or _block_unit(timed, clock)
        undated = mine[mine["start_utc"].isna()]
        for label in labels:
            seasons = minutes.get((site, label), [])
            x, k, y, t = _blocks(seasons, unit, clock)
            y0, t0 = _recording_blocks(events, undated, label, event_labels(events))
            rates = resampled(np.append(y, y0), np.append(t, t0), draws, rng)
            shares = resampled(x, k, draws, rng)
            if x.sum() in (0, k.sum()):  # none or all of the minutes: every draw is the same
                shares = (shares[0], *map(float, wilson(x.sum(), k.sum())))
            rows.append({"site": site, "label": label, "recorded_s": round((t.sum() + t0.sum()) * 3600, 3), "listened_s": sum(m.listened_s.sum() for m in seasons) if seasons else np.nan,
                         "events": int(y.sum() + y0.sum()), "events_per_hour": rates[0], "rate_low": rates[1], "rate_high": rates[2], "share": shares[0],
                         "share_low": shares[1], "share_high": shares[2], "block": unit if seasons else "recording", "blocks": int((t > 0).sum() + (t0 > 0).sum())})
    columns = ["site", "label", "recorded_s", "listened_s", "events", "events_per_hour", "rate_low", "rate_high", "share", "share_low", "share_high", "block", "blocks"]
    return pd.DataFrame(rows, columns=columns)


def _block_unit(labels: list[list[Minutes]], clock) -> str:
    days = [(_blocks(seasons, "day", clock)[3] > 0).sum() for seasons in labels]
    return "day" if max(days, default=0) >= ENOUGH_DAYS else "hour"


def _blocks(seasons: list[Minutes], unit: str, clock) -> np.ndarray:
    """(4, blocks): minutes with calls, minutes listened, events, hours recorded; blocks without any recording are left out."""
    return np.concatenate([np.zeros((4, 0)), *(_blocks_of(m, unit, clock) for m in seasons)], axis=1)


def _blocks_of(m: Minutes, unit: str, clock) -> np.ndarray:
    m = padded(m, unit, clock)
    at = bin_edges(m.first, m.first + len(m.events), unit, clock)[:-1] - m.first
    listened = m.listened
    found = np.array([np.add.reduceat(np.asarray(a, dtype=float), at) for a in (m.called & listened, listened, m.events, m.recorded_s / 3600)])
    return found[:, found[3] > 0]


def _recording_blocks(events: pd.DataFrame, undated: pd.DataFrame, label: str, all_labels) -> tuple[np.ndarray, np.ndarray]:
    """Events and hours of each recording without a start time."""
    could = np.logical_or.reduce([can_show(undated, x) for x in all_labels]) if label == ANY and all_labels else can_show(undated, label)
    undated = undated[could]
    if not len(undated):
        return np.zeros(0), np.zeros(0)
    mine = events[events["recording"].isin(undated["recording"])]
    named = [label == ANY or label in x.split("+") for x in mine["labels"]]
    counts = mine.loc[np.array(named, bool), "recording"].value_counts()
    return undated["recording"].map(counts).fillna(0).to_numpy(dtype=float), listened_s(undated).to_numpy() / 3600


def minutes_with(windows, label: str, threshold: float) -> pd.DataFrame:
    """Minutes of each recording in which a label's window probability reaches `threshold`, as rows that `presence` takes for events.

    windows : path of a `windows.parquet`, read piece by piece, so that years of windows need no memory; or a DataFrame. For labels that make no events:

    >>> boats = minutes_with("out/windows.parquet", "Boat", 0.5)                 # doctest: +SKIP
    >>> presence(boats, effort, "day", labels=["Boat"])                          # doctest: +SKIP
    """
    columns = ["recording", "start_utc", f"p_{label}"]
    if isinstance(windows, pd.DataFrame):
        batches = [windows[columns]]
    else:
        import pyarrow.parquet as pq

        batches = (batch.to_pandas() for batch in pq.ParquetFile(windows).iter_batches(2 ** 19, columns=columns))
    parts = []
    for batch in batches:
        found = batch.loc[batch[f"p_{label}"] >= threshold, ["recording", "start_utc"]]
        if len(found):
            parts.append(found.assign(start_utc=pd.to_datetime(found["start_utc"], utc=True).dt.floor("min")).drop_duplicates())
    table = pd.concat(parts).drop_duplicates(ignore_index=True) if parts else pd.DataFrame({"recording": pd.Series(dtype="str"), "start_utc": pd.to_datetime([], utc=True)})
    return table.assign(end_utc=table["start_utc"], labels=label)
