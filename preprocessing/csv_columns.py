"""What the columns of a table hold, whoever named them: recording, times, frequency bounds, each
with its unit.

A name is compared without regard to case, blanks and signs, and taken apart: "startSeconds", "Start
(sec)" and "start_s" are a start in seconds, "begin_sample" is one in samples, "Low Freq (kHz)" a
bound in kHz. Without a unit times are seconds and frequencies Hz. Where several columns hold the
same thing, the one in seconds comes first, then that without a unit, samples last. Which column
names the recording, and what to do about columns that nobody knows: `recording_columns.py`.

Sources of names: Kaleidoscope (Wildlife Acoustics) and BirdNET in its format, scikit-maad,
crowsetta, APLOSE (OSmOSE), PAMGuard, warbleR, OpenSoundscape, ketos, DeepSqueak.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from preprocessing.text_table import CLOCK, BadAnnotation, TextTable, key, number

FOLDER = ("folder", "indir", "directory", "dir")
NAMES = {
    "start": "start begin start_time begin_time time_start time_begin onset min_t t_min t_start "
    "tmin",
    "end": "end stop end_time stop_time time_end time_stop offset max_t t_max t_end tmax",
    "duration": "duration length dur",
    "low": "low low_freq low_frequency low_f min min_freq min_frequency min_f freq_low freq_min "
    "frequency_min f_low f_min fmin lowfreq minimum_frequency lower_frequency start_frequency "
    "bottom_freq",
    "high": "high high_freq high_frequency high_f max max_freq max_frequency max_f freq_high "
    "freq_max frequency_max f_high f_max fmax highfreq maximum_frequency upper_frequency "
    "end_frequency top_freq",
}
NAMES = {what: tuple(names.split()) for what, names in NAMES.items()}
SAMPLES = "samples"
SECONDS = {  # words at a name's end -> seconds
    "s sec secs second seconds": 1.0,
    "ms msec msecs millis millisecond milliseconds": 1e-3,
    "us": 1e-6,
    "min mins minutes": 60.0,
    "h hr hrs hours": 3600.0,
    "sample samples": SAMPLES,
}
UNITS = {
    "time": {word: unit for words, unit in SECONDS.items() for word in words.split()},
    "frequency": {"hz": 1.0, "khz": 1e3},
}
ONLY_WITH_A_UNIT = {"min", "max", "length"}  # "min_hz" is a frequency, "min" alone anything
IN_KHZ = {"bottom_freq", "top_freq"}  # of warbleR, which has no other unit
OVER_THE_EDGE = 1.1  # of half the sampling rate: boxes are drawn up to the edge of the picture
MOST_KHZ = 500.0  # half of the highest rate that there is
LEAST_TOP_HZ = 20.0  # a bound above that is 20 at most is in kHz, or of a whale that few tables name in kHz


@dataclass(frozen=True)
class Column:
    """A column's place, and its unit: a factor to seconds or Hz, `SAMPLES`, or None where its name
    tells none."""

    place: int
    unit: float | str | None


def spellings(name: str) -> list[str]:
    """A column's name as `key`, and with its capitals taken for the beginnings of words:
    "startSeconds" -> "startseconds", "start_seconds"."""
    for written, read in (
        ("µ", "u"),
        ("μ", "u"),
        ("kHz", "khz"),
        ("Hz", "hz"),
        ("'", ""),
        ("’", ""),
    ):
        name = name.replace(written, read)
    return list(dict.fromkeys([key(name), key(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name))]))


def column_of(table: TextTable, what: str) -> Column | None:
    """The column that holds `what` (a key of `NAMES`), None if there is none."""
    names, units = NAMES[what], UNITS["frequency" if what in ("low", "high") else "time"]
    found = []
    for place, column in enumerate(table.columns):
        for text in spellings(column):
            base, _, unit = text.rpartition("_")
            if text in names and text not in ONLY_WITH_A_UNIT:
                unit = units["khz"] if text in IN_KHZ else None
                found.append((names.index(text), Column(place, unit)))
                break
            if base in names and unit in units:
                found.append((names.index(base), Column(place, units[unit])))
                break
    if not found:
        return None

    if units is UNITS["time"]:
        _refuse_parts(table, [column for _, column in found])

    def order(candidate):
        rank, column = candidate
        plain = (
            0
            if column.unit == 1.0
            else 1
            if column.unit is None
            else 3
            if column.unit == SAMPLES
            else 2
        )
        return not all(number(text) is not None for text in table.texts(column.place)), plain, rank

    return min(found, key=order)[1]


def _refuse_parts(table: TextTable, columns: list[Column]) -> None:
    """Raise BadAnnotation where columns hold the minutes and the seconds of one time, and not the
    same time in each unit."""
    longer = [column for column in columns if column.unit in (60.0, 3600.0)]
    for coarse, fine in [(a, b) for a in longer for b in columns if b.unit in (None, 1.0, 60.0)]:
        if coarse.unit == fine.unit:
            continue
        pairs = zip(table.texts(coarse.place), table.texts(fine.place))
        for row, (many, few) in enumerate((number(a), number(b)) for a, b in pairs):
            if many is None or few is None:
                continue
            if many * coarse.unit - few * (fine.unit or 1.0) > 0.51 * coarse.unit:
                names = [repr(table.columns[column.place]) for column in (coarse, fine)]
                raise table.broken(
                    row,
                    f"{' and '.join(names)} are not the same time, or parts of one",
                    "write it in seconds, in one column",
                )


def columns_of(table: TextTable) -> dict[str, Column | None]:
    """The column of each of `NAMES`."""
    at = {what: column_of(table, what) for what in NAMES}
    if at["start"] is None and at["end"] is not None and at["duration"] is not None:
        if key(table.columns[at["end"].place]).startswith("offset"):
            at["start"], at["end"] = (
                at["end"],
                None,
            )  # Kaleidoscope's OFFSET beside DURATION: from where on
    return at


def seconds(table: TextTable, column: Column, rate_hz: np.ndarray) -> np.ndarray:
    """(rows,) float64: a column of times in seconds.

    Parameters
    ----------
    rate_hz : (rows,) sampling rate of each row's recording, NaN where it is not known.

    Raises
    ------
    BadAnnotation
        naming the line, for a cell that is no number, and for samples of a recording whose rate
        nobody knows.
    """
    texts = table.texts(column.place)
    clocked = next((row for row, text in enumerate(texts) if CLOCK.fullmatch(text.strip())), None)
    if clocked is not None:
        raise table.broken(
            clocked,
            f"{table.columns[column.place]!r} is {texts[clocked].strip()!r}, hours and minutes",
            "write it in seconds from the recording's beginning",
        )
    values = table.numbers(column.place, needed=True)
    if column.unit == SAMPLES:
        if np.isnan(rate_hz).any():
            raise table.broken(
                int(np.argmax(np.isnan(rate_hz))),
                f"{table.columns[column.place]!r} counts samples, and nobody tells the "
                "recording's sampling rate",
                "give `recordings` (with sample_rate_hz), or columns start_s and end_s",
            )
        return values / rate_hz
    return values if column.unit in (None, 1.0) else values * column.unit


def values_or_nan(table: TextTable, column: Column | None) -> np.ndarray:
    """(rows,) float64 in seconds or Hz: NaN for what is no number, and throughout where there is no
    such column."""
    if column is None:
        return np.full(len(table), np.nan)
    if column.unit == SAMPLES:
        raise BadAnnotation(
            f"{table.path}: column {table.columns[column.place]!r} counts samples; give it in "
            "seconds, as start_s, end_s or duration_s"
        )
    values = [number(text) for text in table.texts(column.place)]
    return np.array([np.nan if value is None else value for value in values], float) * (
        column.unit or 1.0
    )


def check_units(table: TextTable, columns: list[Column | None]) -> None:
    """Raise BadAnnotation where one time says a unit other than seconds and another says none:
    "start_ms" beside "end"."""
    told = [column for column in columns if column is not None]
    other = next((column for column in told if column.unit not in (None, 1.0)), None)
    plain = next((column for column in told if column.unit is None), None)
    if other is not None and plain is not None:
        names = table.columns[other.place], table.columns[plain.place]
        raise BadAnnotation(
            f"{table.path}: column {names[0]!r} says its unit and {names[1]!r} does not; name "
            "both with their units, as start_s and end_s"
        )


def bounds_hz(
    table: TextTable,
    low: Column | None,
    high: Column | None,
    nyquist_hz: np.ndarray,
    notes: list[str],
    strict: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) float64 each: low and high bounds in Hz, NaN where blank or where there is no such
    column.

    Bounds in kHz by the name of their column are Hz after all where one of them lies beyond
    what the recording can hold; a note says so.

    Parameters
    ----------
    nyquist_hz : (rows,) half the sampling rate of each row's recording, NaN where it is not known.
    notes : what the reader should be told is added. strict : a cell that is no number is an error,
        else NaN.

    Raises
    ------
    BadAnnotation
        naming the line, for cells that are no numbers, for bounds of which some can only be Hz and
        some only kHz, and for warbleR's names (in kHz there) in a table that may be in Hz.
    """
    columns, nothing = (low, high), np.full(len(table), np.nan)
    read = table.numbers if strict else lambda place: values_or_nan(table, Column(place, None))
    values = [nothing if column is None else read(column.place) for column in columns]
    in_khz = [k for k, column in enumerate(columns) if column is not None and column.unit == 1e3]
    if not in_khz:
        return values[0], values[1]
    largest = np.fmax(*[values[k] if k in in_khz else nothing for k in (0, 1)])
    most_khz = np.fmin(OVER_THE_EDGE * 1e-3 * nyquist_hz, MOST_KHZ)
    too_high, names = largest > most_khz, [table.columns[columns[k].place] for k in in_khz]
    called = " and ".join(map(repr, names))
    if too_high.any():
        row = int(np.argmax(too_high))
        why = f"{largest[row]:g}, which as kHz is beyond what {'its recording' if nyquist_hz[row] > 0 else 'any recording'} holds"
        as_khz = np.flatnonzero((largest > 0) & (largest < LEAST_TOP_HZ))
        if len(as_khz):
            raise table.broken(
                row,
                f"{called} hold {why}, though line {table.lines[as_khz[0]]} says {largest[as_khz[0]]:g}",
                "give all bounds in one unit, as low_hz and high_hz or low_khz and high_khz",
            )
        notes.append(
            f"{table.path}: {called} read as Hz, not kHz, for line {table.lines[row]} says {why}; "
            "call them low_hz and high_hz, or correct the line"
        )
        return values[0], values[1]
    if not {"selec", "sound_files"} & {key(name) for name in table.columns}:
        doubtful = next((name for name in names if set(spellings(name)) & IN_KHZ), None)
        if doubtful is not None and len(table):
            raise BadAnnotation(
                f"{table.path}: column {doubtful!r} is in kHz in warbleR, but this is no table of "
                "it; call it low_hz or low_khz (high_hz or high_khz), as it is meant"
            )
    low_hz, high_hz = (values[k] * (1e3 if k in in_khz else 1.0) for k in (0, 1))
    return low_hz, high_hz
