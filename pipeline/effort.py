"""When was listened: recorders and sites, gaps, overlaps, clocks that jump, duty cycles, continuous stretches.

All functions take the `effort` table of a run, one row for each recording (README.md, "What comes out"), and return tables. Seconds and UTC
throughout. A recorder is told by the column `recorder`, else by the serial in the file's name; all recordings without one count as one recorder. Recordings without a start
time are no part of gaps, overlaps and stretches, but of listening time; and so are those whose date cannot be right (`impossible_dates`).

A recorder's crystal may be up to 200 ppm fast or slow: files then overlap, or leave a gap, by so much of their length without any fault of the clock (`clock_rates`).
"""
from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from spectrogram.names import parse_name
from spectrogram.still import as_text, from_text

JOIN_S = 2.0         # names carry whole seconds, and recorders need a moment to close one file and open the next
OVERLAP_S = 1.0      # as in the engine's `effort`
CRYSTAL = 200e-6     # of a file's length: what crystals in recorders are off by, at most
ENOUGH_JOINTS = 5    # between files that follow each other, to tell a rate from them
DAY_S, YEAR_S = 86400.0, 365.25 * 86400.0
FEW = 0.02           # of all recordings
ASTRAY_S, LIFE_S = 2 * YEAR_S, 10 * YEAR_S  # from most recordings of a recorder: no plan, and longer than it lives
RESET_YEARS = {1904: 366, 1970: 365, 1980: 366, 1999: 365, 2000: 200}  # days of the years in which clocks begin that were never set
SOUNDTRAP = r"^(\d{3,})\.(\d{12})(?!\d)"
NO_SERIAL = "no serial"
EXPLAINED = 0.5      # share of stretches that a schedule must explain to be called one
CONTINUOUS = 0.95    # share of the time between first and last sound


def with_places(effort: pd.DataFrame, sites: str | Mapping[str, str] | None = None) -> pd.DataFrame:
    """Effort with columns `recorder` (serial) and `site`.

    Parameters
    ----------
    sites : a name for all; or serial or folder -> name (a folder, the longest that fits, goes before a serial); none: the column `site` where
        there is one, else each recorder stands for its own site, since nobody said that two of them hung at one place.

    Raises
    ------
    ValueError
        naming recordings that `sites` gives no place.

    >>> with_places(pd.DataFrame({"recording": ["BSM/6872.220716021453.wav", "KAM/5725.220716021453.wav"]}), {"BSM": "bay", "5725": "tidal flat"})["site"].tolist()
    ['bay', 'tidal flat']
    """
    names = effort["recording"].astype("str")
    recorder = recorders(effort)
    if sites is None:
        site = effort["site"] if "site" in effort else recorder
    elif isinstance(sites, str):
        site = pd.Series(sites, index=effort.index)
    else:
        site = recorder.map(sites)
        for folder in sorted(sites, key=len):
            site = site.mask(names.str.startswith(str(folder).strip("/") + "/"), sites[folder])
        if site.isna().any():
            lost = ", ".join(names[site.isna()].iloc[:3])
            raise ValueError(f"sites: {int(site.isna().sum())} recordings have no site ({lost} …); add their serial or folder")
    return _without_impossible(effort.assign(recorder=recorder.astype("str"), site=site.astype("str")))


def recorders(effort: pd.DataFrame) -> pd.Series:
    """Who recorded each recording: the column `recorder`, where it says so, else the serial in the file's name."""
    names = effort["recording"].astype("str")
    if "recorder" not in effort:
        return serials(names)
    said = effort["recorder"].astype("str").fillna("").str.strip()
    unsaid = said == ""
    return said.mask(unsaid, serials(names[unsaid]).reindex(names.index)) if unsaid.any() else said


def impossible_dates(effort: pd.DataFrame) -> pd.DataFrame:
    """Recordings whose date cannot be right: site, recorder, recording, start_utc, why.

    That is a date in the future; one far from most of the recorder's recordings (two years) at which clocks begin that were never set (the first hours of a
    year; 1970, 1980, 2000); and a few that lie ten years away.
    """
    effort = effort if "impossible" in effort else with_places(effort)
    wrong = effort[effort["impossible"] != ""]
    return pd.DataFrame({"site": wrong["site"], "recorder": wrong["recorder"], "recording": wrong["recording"],
                         "start_utc": wrong["said_utc"], "why": wrong["impossible"]}).reset_index(drop=True)


def _without_impossible(effort: pd.DataFrame) -> pd.DataFrame:
    """Effort with columns `impossible` (why its date cannot be right; "") and `said_utc` (that date); start and end are then unknown."""
    if "impossible" in effort:
        return effort
    why = pd.Series("", effort.index, dtype="str")
    start = pd.to_datetime(effort["start_utc"], utc=True)
    start_s = epoch_s(start)
    groups = list(effort.groupby(["site", "recorder"], sort=False).indices.values())
    for mine in [*groups, np.arange(len(effort))] if len(groups) > 1 else groups:  # each recorder's, then the whole run's
        left = mine[(why.iloc[mine] == "").to_numpy()]
        why.iloc[left] = _impossible(start_s[left], alone=len(mine) < len(effort) or len(groups) == 1)
    wrong = why != ""
    effort = effort.assign(impossible=why, said_utc=start)
    if wrong.any():
        for column in ("start_utc", "end_utc"):
            if column in effort:
                effort[column] = pd.to_datetime(effort[column], utc=True).mask(wrong)
    return effort


def _impossible(start_s: np.ndarray, alone: bool) -> np.ndarray:
    """(n,) why dates (seconds since 1970, NaN: unknown) of recordings cannot be right; "" where they can.

    alone : they are one recorder's, which does not live for decades.
    """
    why = np.full(len(start_s), "", dtype=object)
    future = start_s > pd.Timestamp.now("UTC").timestamp() + DAY_S
    why[future] = "lies in the future"
    order = np.flatnonzero(np.isfinite(start_s) & ~future)
    order = order[np.argsort(start_s[order], kind="stable")]
    if not len(order):
        return why
    groups = np.split(order, np.flatnonzero(np.diff(start_s[order]) > ASTRAY_S) + 1)  # deployments, years apart
    unset = [_never_set(start_s[group[0]], len(group) / len(order)) for group in groups]
    sure = [group for group, wrong in zip(groups, unset) if not wrong]
    if not sure:
        return why
    most = max(sure, key=len)
    for group, wrong in zip(groups, unset):
        apart_s = max(start_s[most[0]] - start_s[group[-1]], start_s[group[0]] - start_s[most[-1]])
        few = alone and len(group) <= max(2, FEW * len(order)) and len(group) < len(most)
        if (wrong and apart_s > ASTRAY_S) or (few and apart_s > LIFE_S):
            year = pd.Timestamp(start_s[most[0]], unit="s").year
            why[group] = f"lies {apart_s / YEAR_S:.0f} years from the recordings of {year}"
    return why


def _never_set(first_s: float, share: float) -> bool:
    """True for recordings, a share of all, whose first is at the beginning of time as clocks count that nobody has set."""
    first = pd.Timestamp(first_s, unit="s")
    if first.year in RESET_YEARS:
        return first.day_of_year <= RESET_YEARS[first.year]
    return first.day_of_year == 1 and first.hour < 2 and share <= 0.5


def serials(names: pd.Series) -> pd.Series:
    """Serial in each file name, "no serial" where there is none."""
    files = names.str.rsplit("/", n=1).str[-1]
    found = files.str.extract(SOUNDTRAP)[0]  # the commonest names at once, the others one by one
    others = files[found.isna()]
    return found.fillna(pd.Series([parse_name(x)[1] for x in others], index=others.index, dtype=object)).fillna(NO_SERIAL).astype("str")


def one_each(effort: pd.DataFrame) -> pd.DataFrame:
    """One row for each recording, in order: the stretches of a file inside which the recorder paused as one, from the first start to the last end, with the
    seconds of sound of all."""
    if not effort["recording"].duplicated().any():
        return effort
    by = effort.groupby("recording", sort=False)
    columns = {column: by[column].transform("sum", min_count=1) for column in ("duration_s", "listened_s") if column in effort}
    if "end_utc" in effort:
        columns["end_utc"] = by["end_utc"].transform("max")
    if "unlistened" in effort:  # in seconds of the file
        before_s = by["duration_s"].cumsum() - effort["duration_s"]
        texts = [as_text(from_text(text) + start_s) for text, start_s in zip(effort["unlistened"].astype("str").fillna(""), before_s)]
        columns["unlistened"] = pd.Series(texts, effort.index, dtype="str").groupby(effort["recording"], sort=False).transform(lambda part: "; ".join(filter(None, part)))
    return effort.assign(**columns).drop_duplicates("recording").reset_index(drop=True)


def dated(effort: pd.DataFrame) -> pd.DataFrame:
    """Recordings that hold sound and have a start time, each recorder's in order of time."""
    effort = effort if "impossible" in effort else with_places(effort)
    effort = effort[(effort["duration_s"] > 0) & effort["start_utc"].notna()]
    return effort.sort_values(["site", "recorder", "start_utc", "recording"], ignore_index=True)


def epoch_s(times: pd.Series) -> np.ndarray:
    """UTC times -> float seconds since 1970 (exact to a microsecond), NaN for unknown."""
    times = pd.to_datetime(pd.Series(times), utc=True)
    return np.where(times.isna(), np.nan, times.dt.as_unit("us").astype("int64").to_numpy() / 1e6)


def utc(seconds) -> pd.Series:
    """Seconds since 1970 -> UTC times to the microsecond."""
    return pd.to_datetime(np.round(np.asarray(seconds, dtype=float) * 1e6), unit="us", utc=True).as_unit("us").to_series(index=range(len(seconds)))


def _followed(effort: pd.DataFrame) -> pd.DataFrame:
    """`dated` with, for each recording, the latest end so far of its recorder (`ended_s`), the row that ended then (`after`; -1: none), and by how much
    a crystal may have moved that end (`slack_s`)."""
    effort = dated(effort)
    start_s = epoch_s(effort["start_utc"])
    end_s = start_s + effort["duration_s"].to_numpy()
    group = effort.groupby(["site", "recorder"], sort=False).ngroup().to_numpy()
    row = np.arange(len(effort))
    latest = pd.Series(end_s).groupby(group).cummax().to_numpy()
    holder = pd.Series(np.where(end_s >= latest, row, -1)).groupby(group).cummax().to_numpy()
    new = np.concatenate([[True], group[1:] != group[:-1]]) if len(group) else np.zeros(0, bool)
    ended_s = np.where(new, np.nan, np.concatenate([[np.nan], latest[:-1]])[:len(row)])
    after = np.where(new, -1, np.concatenate([[-1], holder[:-1]])[:len(row)])
    slack_s = CRYSTAL * effort["duration_s"].to_numpy()[after] if len(row) else np.zeros(0)
    return effort.assign(start_s=start_s, end_s=end_s, ended_s=ended_s, after=after, group=group, slack_s=slack_s)


def gaps(effort: pd.DataFrame, tolerance_s: float = JOIN_S) -> pd.DataFrame:
    """Times without a recording between two of the same recorder: site, recorder, start_utc, end_utc, gap_s, after and before (recordings)."""
    table = _followed(effort)
    found = table[table["start_s"] - table["ended_s"] > tolerance_s + table["slack_s"]]
    return pd.DataFrame({"site": found["site"], "recorder": found["recorder"], "start_utc": utc(found["ended_s"]).to_numpy(),
                         "end_utc": found["start_utc"], "gap_s": (found["start_s"] - found["ended_s"]).round(6),
                         "after": table["recording"].to_numpy()[found["after"]], "before": found["recording"]}).reset_index(drop=True)


def overlaps(effort: pd.DataFrame, tolerance_s: float = OVERLAP_S) -> pd.DataFrame:
    """Recordings that begin before an earlier one of the same recorder ended: site, recorder, recording, start_utc, overlap_s, with
    (the earlier recording), why (what to look for)."""
    table = _followed(effort)
    found = table[table["ended_s"] - table["start_s"] > tolerance_s + table["slack_s"]]
    earlier = table.iloc[found["after"].to_numpy()]
    overlap_s = np.minimum(earlier["end_s"].to_numpy(), found["end_s"].to_numpy()) - found["start_s"].to_numpy()
    copy = (np.abs(earlier["start_s"].to_numpy() - found["start_s"].to_numpy()) < 0.5) & (np.abs(earlier["duration_s"].to_numpy() - found["duration_s"].to_numpy()) < 0.5)
    hour = np.abs(found["ended_s"] - found["start_s"] - 3600) < 5
    why = np.select([copy, hour], ["same start and length: a copy of the same sound?", "one hour: was the clock moved to winter time?"],
                    "the earlier recording lasts longer than the names allow: was the clock set back?")
    return pd.DataFrame({"site": found["site"], "recorder": found["recorder"], "recording": found["recording"], "start_utc": found["start_utc"],
                         "overlap_s": overlap_s.round(6), "with": earlier["recording"].to_numpy(), "why": why}).reset_index(drop=True)


def clock_jumps(effort: pd.DataFrame, tolerance_s: float = OVERLAP_S) -> pd.DataFrame:
    """Where a recorder's clock cannot have run on evenly: site, recorder, recording, start_utc, kind, jump_s (negative: back), why.

    kind "date": it cannot be right (`impossible_dates`). "backwards": the start lies before that of the file before it in the order of the names of a folder; looked for where names are
    in order of time but for a tenth. "overlap": it begins before the last one ended, and is no copy of it. "offset": start and time in
    the name differ by another amount than in the recording before, e.g. where the `.log.xml` of some files is missing.
    """
    table = dated(effort)
    empty = overlaps(table.iloc[:0])
    parts = [_backwards(table), _offsets(table, tolerance_s)]
    lapped = overlaps(table, tolerance_s)
    lapped = lapped[~lapped["why"].str.startswith("same start")]
    parts.append(lapped.assign(kind="overlap", jump_s=-lapped["overlap_s"]))
    parts.append(impossible_dates(effort).assign(kind="date", jump_s=np.nan))
    columns = ["site", "recorder", "recording", "start_utc", "kind", "jump_s", "why"]
    parts = [part[columns] for part in parts if len(part)]
    found = pd.concat(parts) if parts else empty.assign(kind="", jump_s=0.0)[columns]
    return found.sort_values(["site", "recorder", "start_utc", "kind"], ignore_index=True)


def clock_rates(effort: pd.DataFrame) -> pd.DataFrame:
    """By how much each recorder's crystal is fast, where its files tell: site, recorder, joints, ppm.

    Files that follow each other overlap by a share of their length then, the same at every joint; start times are believed. Told where at least `ENOUGH_JOINTS`
    joints agree to a second, which is all that names tell. A slow crystal looks like the moments lost between files, and is not told.
    """
    table = _followed(effort)
    length_s = table["duration_s"].to_numpy()[table["after"]] if len(table) else np.zeros(0)
    over_s = (table["ended_s"] - table["start_s"]).to_numpy()
    joint = (table["after"] >= 0).to_numpy() & (np.abs(over_s) <= OVERLAP_S + table["slack_s"].to_numpy())
    rows = []
    for (site, recorder), mine in table.groupby(["site", "recorder"], sort=True).indices.items():
        at = mine[joint[mine]]
        if len(at) < ENOUGH_JOINTS:
            continue
        rate = over_s[at].sum() / length_s[at].sum()
        off_s = over_s[at] - rate * length_s[at]
        if rate > 0 and over_s[at].sum() > 2.0 and (np.abs(off_s) <= OVERLAP_S).all():
            rows.append({"site": site, "recorder": recorder, "joints": len(at), "ppm": round(rate * 1e6, 1)})
    return pd.DataFrame(rows, columns=["site", "recorder", "joints", "ppm"])


def listened_pieces(effort: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row of effort, start, end in s since 1970) of the stretches in which each recording was listened to, in order; rows without a start time have none."""
    start_s, length_s = epoch_s(effort["start_utc"]), effort["duration_s"].to_numpy(float)
    known = np.isfinite(start_s)
    said = effort["unlistened"].astype("str").fillna("").to_numpy() if "unlistened" in effort else np.full(len(effort), "")
    broken = known & (said != "")
    row = np.flatnonzero(known & ~broken)
    parts = [(row, start_s[row], start_s[row] + length_s[row])]
    for k in np.flatnonzero(broken):
        edges = np.concatenate([[0.0], from_text(said[k]).ravel(), [length_s[k]]]).reshape(-1, 2)
        edges = edges[edges[:, 1] > edges[:, 0]]
        parts.append((np.full(len(edges), k), start_s[k] + edges[:, 0], start_s[k] + edges[:, 1]))
    row, begin, end = (np.concatenate(column) for column in zip(*parts))
    order = np.argsort(row, kind="stable")
    return row[order], begin[order], end[order]


def listened_s(effort: pd.DataFrame) -> pd.Series:
    """Seconds of each recording that were listened to: all of it where nobody says otherwise."""
    whole = effort["duration_s"].astype(float)
    return whole if "listened_s" not in effort else effort["listened_s"].astype(float).fillna(whole)


def _backwards(table: pd.DataFrame) -> pd.DataFrame:
    """Recordings that begin before the one whose name precedes theirs."""
    names = table["recording"].str.rsplit("/", n=1)
    folder = names.map(lambda parts: parts[0] if len(parts) == 2 else "")
    digits = re.compile(r"(\d+)")
    key = pd.Series([tuple((int(p), "") if p.isdecimal() else (-1, p) for p in digits.split(x[-1]) if p) for x in names], index=table.index, dtype=object)
    order = np.lexsort([key.rank(method="first").to_numpy() if len(key) else [], folder.astype("category").cat.codes, table["recorder"].astype("category").cat.codes])
    rows, starts = table.iloc[order], epoch_s(table["start_utc"])[order]
    same = (rows["recorder"].to_numpy()[1:] == rows["recorder"].to_numpy()[:-1]) & (folder.to_numpy()[order][1:] == folder.to_numpy()[order][:-1])
    step_s = np.diff(starts)
    back = same & (step_s < 0)
    if not back.any() or back.sum() > 0.1 * max(same.sum(), 1):
        return rows.iloc[:0].assign(kind="", jump_s=0.0, why="")
    return rows.iloc[1:][back].assign(kind="backwards", jump_s=step_s[back].round(6), why="begins before " + pd.Series(rows["recording"].to_numpy()[:-1][back], dtype="str").to_numpy() + ", whose name precedes its own")


def _offsets(table: pd.DataFrame, tolerance_s: float) -> pd.DataFrame:
    """Recordings whose start differs from the time in their name by another amount than the recording's before."""
    files = table["recording"].str.rsplit("/", n=1).str[-1]
    quick = pd.to_datetime(files.str.extract(SOUNDTRAP)[1], format="%y%m%d%H%M%S", errors="coerce", utc=True)
    named_s = epoch_s(quick)
    for i in np.flatnonzero(np.isnan(named_s)):
        moment = parse_name(files.iat[i])[0]
        named_s[i] = np.nan if moment is None else moment.timestamp()
    off_s = epoch_s(table["start_utc"]) - named_s
    recorder = table["recorder"].astype("category").cat.codes.to_numpy()
    known = np.lexsort([named_s, recorder])  # in the order of the names: a wrong start would stand elsewhere
    known = known[np.isfinite(off_s[known])]
    change_s = np.diff(off_s[known])
    jumped = (np.diff(recorder[known]) == 0) & (np.abs(change_s) > max(tolerance_s, 61))  # a log.xml is believed from 60 s on
    found, change_s = known[1:][jumped], change_s[jumped]
    why = [f"start and name differ by {off_s[i] / 3600:+.2f} h, in the recording before by {(off_s[i] - change) / 3600:+.2f} h" for i, change in zip(found, change_s)]
    return table.iloc[found].assign(kind="offset", jump_s=change_s.round(6), why=why)


def segments(effort: pd.DataFrame, tolerance_s: float = JOIN_S) -> pd.DataFrame:
    """Continuous stretches: recordings of one recorder that join within `tolerance_s`, or overlap.

    Returns
    -------
    site, recorder, start_utc, end_utc, span_s (end - start), recorded_s (of it, without joints and counting overlaps once), recordings
    (how many), first, last (recordings).
    """
    table = _followed(effort)
    fresh = ~(table["start_s"] - table["ended_s"] <= tolerance_s + table["slack_s"])  # NaN: the recorder's first
    number = fresh.cumsum().to_numpy()
    heard_s = np.maximum(table["end_s"] - np.fmax(table["start_s"], table["ended_s"].where(~fresh)), 0.0)
    by = table.assign(heard_s=heard_s).groupby(number, sort=True)
    start_s, end_s = by["start_s"].min(), by["end_s"].max()
    return pd.DataFrame({"site": by["site"].first(), "recorder": by["recorder"].first(), "start_utc": utc(start_s).to_numpy(), "end_utc": utc(end_s).to_numpy(),
                         "span_s": (end_s - start_s).round(6), "recorded_s": by["heard_s"].sum().round(6), "recordings": by.size(),
                         "first": by["recording"].first(), "last": by["recording"].last()}).reset_index(drop=True)


def duty_cycle(effort: pd.DataFrame, tolerance_s: float = JOIN_S) -> pd.DataFrame:
    """The schedule of each recorder, if there is one.

    The period is the commonest step from the start of one continuous stretch to the next; a stretch is explained when it begins a
    whole number of periods (one or more: some may be lost) from a neighbour and lasts as long as most, both within `tolerance_s`.

    Returns
    -------
    site, recorder, kind ("continuous", "duty cycle", "irregular", "too few": under three stretches), period_s, on_s (NaN without
    a schedule), share_on (on_s / period_s), explained (share of recorded time), stretches, first_utc, last_utc, recorded_s.

    >>> starts = pd.date_range("2022-07-16", periods=96, freq="15min", tz="UTC")
    >>> effort = pd.DataFrame({"recording": [f"6872.{t:%y%m%d%H%M%S}.wav" for t in starts], "start_utc": starts, "duration_s": 300.0})
    >>> duty_cycle(effort)[["kind", "period_s", "on_s", "explained"]].to_dict("records")
    [{'kind': 'duty cycle', 'period_s': 900.0, 'on_s': 300.0, 'explained': 1.0}]
    """
    rows = []
    for (site, recorder), mine in segments(effort, tolerance_s).groupby(["site", "recorder"], sort=True):
        start_s, on = epoch_s(mine["start_utc"]), mine["span_s"].to_numpy()
        whole_s, recorded_s = epoch_s(mine["end_utc"]).max() - start_s[0], mine["recorded_s"].sum()
        kind, period_s, on_s, explained = "irregular", np.nan, np.nan, 0.0
        if recorded_s >= CONTINUOUS * whole_s:
            kind, explained = "continuous", recorded_s / max(whole_s, 1e-9)
        elif len(mine) < 3:
            kind = "too few"
        else:
            steps = np.diff(start_s)
            period, usual_s = _commonest(steps, tolerance_s), _commonest(on, tolerance_s)
            cycles = np.round(steps / period)
            fits = (np.abs(steps - cycles * period) <= tolerance_s) & (cycles >= 1)
            placed = np.concatenate([[False], fits]) | np.concatenate([fits, [False]])
            share = on[placed & (np.abs(on - usual_s) <= tolerance_s)].sum() / on.sum()
            if period > 4 * tolerance_s and share >= EXPLAINED:  # a shorter period would fit anything
                kind, period_s, on_s, explained = "duty cycle", period, usual_s, share
        rows.append({"site": site, "recorder": recorder, "kind": kind, "period_s": period_s, "on_s": on_s, "share_on": on_s / period_s,
                     "explained": round(float(explained), 6), "stretches": len(mine), "first_utc": mine["start_utc"].iloc[0], "last_utc": mine["end_utc"].max(),
                     "recorded_s": recorded_s})
    columns = ["site", "recorder", "kind", "period_s", "on_s", "share_on", "explained", "stretches", "first_utc", "last_utc", "recorded_s"]
    return pd.DataFrame(rows, columns=columns)


def _commonest(values: np.ndarray, tolerance: float) -> float:
    """Median of the values in the fullest stretch of width 2 * tolerance."""
    values = np.sort(values)
    counts = np.searchsorted(values, values + tolerance, "right") - np.searchsorted(values, values - tolerance, "left")
    centre = values[counts.argmax()]
    return float(np.round(np.median(values[np.abs(values - centre) <= tolerance]), 3))


def can_show(effort: pd.DataFrame, label: str) -> np.ndarray:
    """(recordings,) bool: could the recording show the label at its sample rate?"""
    missing = effort["missing_labels"].fillna("").astype("str")
    kinds = {text: label not in text.split("+") for text in missing.unique()}
    return missing.map(kinds).to_numpy(dtype=bool)


def listening(effort: pd.DataFrame, labels) -> pd.DataFrame:
    """Listening time of each site and label: site, label, recordings, recorded_s (all recorders added up), of recordings that could show the label."""
    effort = effort if "site" in effort and "recorder" in effort else with_places(effort)
    effort = effort[effort["duration_s"] > 0]
    effort = effort.assign(duration_s=listened_s(effort))
    parts = []
    for label in labels:
        by = effort[can_show(effort, label)].groupby("site")["duration_s"]
        parts.append(pd.DataFrame({"label": label, "recordings": by.size(), "recorded_s": by.sum()}).reindex(sorted(effort["site"].unique())).assign(label=label).fillna(0))
    table = pd.concat(parts).rename_axis("site").reset_index() if parts else pd.DataFrame(columns=["site", "label", "recordings", "recorded_s"])
    return table.astype({"recordings": int, "recorded_s": float}).sort_values(["site", "label"], key=lambda c: c if c.name == "site" else c.map({x: i for i, x in enumerate(labels)}), ignore_index=True)
