"""Tables of a detector's finds with the verdicts of those who checked them.

    detections = read_detections("206_CIB_2017_PG_WandM_Detector.xlsx", serial="671658014")
    placed = place_detections(detections, list_recordings("/data/cook_inlet"))     # preprocessing/detection_places.py
    print(*placed.attrs["notes"], sep="\\n")

Excel (.xlsx), CSV, or Raven selection tables. When a detection began is told by a UTC time, by a date and a time, or by recording and seconds. Column names are compared
without regard to case, blanks and signs; of the names in a row here the first that the table has is taken:

    start_utc     utc, datetime, date_time, timestamp, begin_utc, ...; or date with time; PAMGuard's `UTCMilliseconds` are added to whole seconds
    end_utc       stop_utc, end_datetime, ...; or duration_s, duration. Without: the detection is an instant
    recording     file, filename, ... with start_s, end_s                  (as preprocessing/csv_columns.py)
    verdict       validation, species, true_false, label, class, ...       see preprocessing/verdicts.py for what counts as true, false and unsure
    serial, site  recorder, instrument, hydrophone; mooring, station, location

A row that cannot be used is left out, a verdict that nobody knows counts as unsure; how many, and where the first is, stands in `.attrs["notes"]`, a line each.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.annotations import read_annotations
from preprocessing.csv_annotations import NAMES as ANNOTATION_NAMES
from preprocessing.csv_columns import Column, bounds_hz, check_units, columns_of, values_or_nan
from preprocessing.moments import day_orders, utc_times
from preprocessing.raven import is_raven
from preprocessing.recording_columns import recording_column
from preprocessing.recordings import RecordingIndex
from preprocessing.text_table import BadAnnotation, TextTable, key, number, parse_table, read_text
from preprocessing.verdicts import read_verdicts
from preprocessing.workbook import ENDINGS as WORKBOOKS
from preprocessing.workbook import sheet_tables

TYPES = {"detection": "int64", "recording": "str", "start_s": "float64", "end_s": "float64", "start_utc": "datetime64[us, UTC]", "end_utc": "datetime64[us, UTC]",
         "verdict": "str", "said": "str", "serial": "str", "site": "str", "low_hz": "float64", "high_hz": "float64", "source": "str", "line": "int64"}
NAMES = {
    "start": ("start_utc", "utc", "utc_start", "begin_utc", "start_time_utc", "utc_start_time", "begin_time_utc", "start_datetime_utc", "start_date_time_utc", "datetime_utc",
              "date_time_utc", "utc_datetime", "utc_date_time", "start_datetime", "start_date_time", "begin_date_time", "datetime", "date_time", "timestamp"),
    "date": ("date", "start_date", "begin_date", "utc_date", "date_utc"),
    "time": ("time", "start_time", "begin_time", "utc_time", "time_utc", "start"),
    "end": ("end_utc", "utc_end", "stop_utc", "end_time_utc", "utc_end_time", "end_datetime_utc", "end_date_time_utc", "end_datetime", "end_date_time"),
    "milliseconds": ("utcmilliseconds", "utc_milliseconds", "milliseconds"),
    "verdict": ("verdict", "validation", "validated", "manual_validation", "true_false", "true_or_false", "is_true", "decision", "result", "species", *ANNOTATION_NAMES["label"]),
    "serial": ("serial", "serial_number", "recorder", "recorder_serial", "instrument", "hydrophone", "unit"),
    "site": ("site", "mooring", "mooring_id", "station", "location", "deployment"),
}
LONGEST_S = 3600.0  # a detection that lasts longer has its length in another unit


def read_detections(path, clock: str = "UTC", length_s: float | None = None, verdict_column: str | None = None, verdicts: dict | None = None, serial: str = "", site: str = "",
                    sheet: str | None = None, day_first: bool | None = None, recordings=None) -> pd.DataFrame:
    """Read detections into one table.

    Parameters
    ----------
    path : a file, or several.
    clock : time zone (IANA name) of times that do not say theirs.
    length_s : how long every detection lasts, whatever the file says; None: what it says.
    verdict_column, verdicts : where the verdict stands, and own spellings, {"KW": False, "B?": None}, before those of `verdicts.py`.
    serial, site : of the recorder, where no column tells.
    sheet : of a workbook; None: the first that holds detections.
    day_first : whether 6/7/2017 is the sixth of July; None: as other rows tell (23/6/2017), for each file.
    recordings : needed for Raven tables, see `read_annotations`.

    Returns
    -------
    One row each, columns as in `TYPES`: detection (number, from 0), recording, start_s, end_s (blank and NaN where a time tells the place), start_utc, end_utc (NaT
    where the recording does; equal where only the start is known), verdict ("true", "false", "unsure"), said (the verdict as written), serial, site, low_hz, high_hz, source, line.

    Raises
    ------
    BadAnnotation
        for a file that cannot be read, holds no column of times or of verdicts, or writes dates that may be day/month or month/day.
    """
    paths = [Path(path)] if isinstance(path, (str, Path)) else [Path(one) for one in path]
    notes, tables = [], []
    for file in paths:
        table = _table(file, sheet)
        if is_raven(table):
            rows = _of_raven(file, table, recordings, verdict_column, notes)
        else:
            rows = _rows(table, clock, length_s, verdict_column, day_first, notes)
        for column, given in (("serial", serial), ("site", site)):
            rows[column] = rows[column].where(rows[column] != "", str(given))
        rows["verdict"], unknown = read_verdicts(rows["said"], verdicts)
        for text, mine in rows[unknown.to_numpy()].groupby("said", sort=False):
            notes.append(f"{file}, line {mine['line'].iloc[0]}: verdict {text!r} is in no map, {counted(len(mine))} with it count as unsure; say what it means, verdicts={{{text!r}: False}}")
        tables.append(rows)
    joined = pd.concat([empty_detections(), *tables], ignore_index=True)
    joined["detection"] = np.arange(len(joined))
    joined = joined[list(TYPES)].astype(TYPES)
    joined.attrs = {"notes": notes}
    return joined


def empty_detections() -> pd.DataFrame:
    """The table without a row."""
    return pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in TYPES.items()})


def counted(count: int) -> str:
    return f"{count} detection" + "s" * (count != 1)


def _table(file: Path, sheet: str | None) -> TextTable:
    if file.suffix.lower() not in (*WORKBOOKS, ".xls"):
        return parse_table(read_text(file), file)
    tables = sheet_tables(file, sheet)
    fitting = [table for table in tables.values() if _way(table) is not None]
    if not tables:
        raise BadAnnotation(f"{file}: all sheets are empty; save the table again")
    return (fitting or list(tables.values()))[0]


def _way(table: TextTable) -> str | None:
    """How the table tells where a detection lies."""
    at = {what: table.find(NAMES[what]) for what in ("start", "date", "time")}
    if at["start"] is not None:
        return "start"
    dated = at["date"] is not None and at["time"] is not None
    in_recording = _in_recording(table)
    if in_recording and (not dated or at["time"] == columns_of(table)["start"].place):
        return "recording"
    if in_recording and table.find(("in_file",)) is not None:
        return "recording"  # Kaleidoscope's DATE and TIME are those of the file
    if dated:
        return "date"
    return "time" if at["time"] is not None else None


def _in_recording(table: TextTable) -> bool:
    """True where recording and seconds tell the place."""
    try:
        file, start = recording_column(table, RecordingIndex(None)), columns_of(table)["start"]
    except BadAnnotation:
        return False
    if file is None or start is None:
        return False
    return all(number(text) is not None for text in table.texts(start.place)[:20])


def _rows(table: TextTable, clock: str, length_s: float | None, verdict_column: str | None, day_first: bool | None, notes: list[str]) -> pd.DataFrame:
    way, count = _way(table), len(table)
    if way is None:
        raise BadAnnotation(f"{table.path}: no column of start times among {', '.join(table.columns)}; call it start_utc, or give recording and start_s")
    rows = pd.DataFrame({"said": table.texts(_verdict_place(table, verdict_column)), "line": table.lines, "source": str(table.path)}, index=range(count))
    for column in ("serial", "site"):
        place = table.find(NAMES[column])
        rows[column] = [""] * count if place is None else [text.strip().removesuffix(".0") for text in table.texts(place)]
    at = columns_of(table)
    rows["low_hz"], rows["high_hz"] = bounds_hz(table, at["low"], at["high"], np.full(count, np.nan), notes, strict=False)
    lasts_s = np.full(count, float(length_s)) if length_s is not None else values_or_nan(table, at["duration"])
    if way == "recording":
        check_units(table, [at["start"], at["end"], None if at["end"] is not None else at["duration"]])
        rows["recording"] = [text.strip() for text in table.texts(recording_column(table, RecordingIndex(None)))]
        rows["start_s"], end_s = (values_or_nan(table, at[edge]) for edge in ("start", "end"))
        rows["end_s"] = np.where(np.isnan(lasts_s), end_s if length_s is None else np.nan, rows["start_s"] + lasts_s)
        rows["end_s"] = rows["end_s"].fillna(rows["start_s"])
        rows["start_utc"] = rows["end_utc"] = pd.Series(pd.NaT, rows.index, dtype=TYPES["start_utc"])
        start, span_s = rows["start_s"], rows["end_s"] - rows["start_s"]
    else:
        rows["recording"], rows["start_s"], rows["end_s"] = "", np.nan, np.nan
        texts, place = _start_texts(table, way), table.find(NAMES["end"])
        day_first = _days_first(table, [*texts, *([] if place is None else table.texts(place))], day_first, notes)
        start = rows["start_utc"] = _moments(table, texts, clock, day_first)
        end = pd.Series(pd.NaT, rows.index, dtype=TYPES["end_utc"]) if place is None or length_s is not None else utc_times(table.texts(place), clock, day_first, table.day_zero)
        end = end.where(end.notna(), start + pd.to_timedelta(lasts_s, unit="s"))
        rows["end_utc"] = end.where(end.notna(), start)
        span_s = (rows["end_utc"] - start).dt.total_seconds()
    faults = (("has no start time that can be read", start.isna(), "write it as 2017-06-23 14:05:09; an hour that the clock skips or repeats needs UTC"),
              ("ends before it begins", span_s < 0, "correct one of its times"),
              (f"lasts longer than {LONGEST_S:g} s", span_s > LONGEST_S, "give the length in seconds, or length_s"))
    bad = np.zeros(count, bool)
    for fault, wrong, mend in faults:
        wrong = wrong.to_numpy(bool) & ~bad
        if wrong.any():
            notes.append(f"{table.path}, line {rows['line'].to_numpy()[wrong][0]}: {fault} ({counted(int(wrong.sum()))} of {count}); left out; {mend}")
        bad |= wrong
    return rows[~bad].reset_index(drop=True)


def _verdict_place(table: TextTable, name: str | None) -> int:
    place = table.find(NAMES["verdict"] if name is None else (key(name),))
    if place is None:
        told = "no column is known to hold verdicts" if name is None else f"no column {name!r}"
        raise BadAnnotation(f"{table.path}: {told} among {', '.join(table.columns)}; say which one with verdict_column")
    return place


def _start_texts(table: TextTable, way: str) -> list[str]:
    """When each detection began, as the table writes it."""
    if way != "date":
        return table.texts(table.find(NAMES[way]))
    days, times = (table.texts(table.find(NAMES[what])) for what in ("date", "time"))
    return [_day_and_time(day.strip(), time.strip()) for day, time in zip(days, times)]


def _moments(table: TextTable, texts: list[str], clock: str, day_first: bool) -> pd.Series:
    start = utc_times(texts, clock, day_first, table.day_zero)
    place = table.find(NAMES["milliseconds"])
    parts = values_or_nan(table, None if place is None else Column(place, None))
    whole = (start.dt.microsecond == 0).to_numpy() & (parts >= 0) & (parts < 1000)
    return start + pd.to_timedelta(np.where(whole, parts, 0.0), unit="ms")


def _days_first(table: TextTable, texts: list[str], day_first: bool | None, notes: list[str]) -> bool:
    """Whether days stand before months: as told, else as the rows tell that can be read in one way only.

    Raises
    ------
    BadAnnotation
        where rows contradict each other, or what was told, and where no row tells.
    """
    orders = day_orders(texts)
    only_day, only_month = orders["day_first"] & ~orders["month_first"], orders["month_first"] & ~orders["day_first"]
    told = {order: (table.lines[int(np.argmax(rows)) % len(table)], texts[int(np.argmax(rows))]) for order, rows in (("day", only_day), ("month", only_month)) if rows.any()}
    if len(told) == 2:
        (day_line, day), (month_line, month) = told["day"], told["month"]
        raise BadAnnotation(f"{table.path}: line {day_line}, {day!r}, has its day before the month, and line {month_line}, {month!r}, behind it; write all dates as 2017-06-23")
    if day_first is False and "day" in told:
        raise BadAnnotation(f"{table.path}: its days stand before the months; give day_first=True")
    both = orders["day_first"] & orders["month_first"]
    if day_first is None and not told and both.any():
        row = int(np.argmax(both))
        raise BadAnnotation(f"{table.path}, line {table.lines[row % len(table)]}: {texts[row]!r} may be day/month or month/day, and no row tells; give day_first=True or day_first=False")
    if day_first is None and "day" in told and both.any():
        notes.append(f"{table.path}: dates read as day/month, as line {told['day'][0]} tells ({told['day'][1]!r}); give day_first=False if that line is wrong")
    return "day" in told if day_first is None else day_first


def _day_and_time(day: str, time: str) -> str:
    """A day and a time of day in one text; a spreadsheet's numbers (42909, 0.587) added up."""
    numbers = number(day), number(time)
    if day and time and None not in numbers and 0 <= numbers[1] < 1:
        return repr(numbers[0] + numbers[1])
    return f"{day.removesuffix('T00:00:00')} {time}"


def _of_raven(file: Path, table: TextTable, recordings, verdict_column: str | None, notes: list[str]) -> pd.DataFrame:
    read = read_annotations(file, recordings, table.columns[_verdict_place(table, verdict_column)])
    notes += read.attrs["notes"]
    nothing = pd.Series(pd.NaT, read.index, dtype=TYPES["start_utc"])
    return read[["recording", "start_s", "end_s", "low_hz", "high_hz", "source", "line"]].assign(said=read["label"], serial="", site="", start_utc=nothing, end_utc=nothing)
