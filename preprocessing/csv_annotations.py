"""Annotations in CSV under the column names that people use, and the labels and annotators of any table.

Names are compared without regard to case, blanks and signs ("Low Freq (kHz)" is `low_freq_khz`); the first of a list that the table has is taken.
"""

from __future__ import annotations

from difflib import get_close_matches

import numpy as np
import pandas as pd

from preprocessing.csv_columns import (
    FOLDER,
    bounds_hz,
    check_units,
    columns_of,
    seconds,
    values_or_nan,
)
from preprocessing.recording_columns import RECORDING, recording_column, refuse_times, time_like
from preprocessing.recordings import RecordingIndex
from preprocessing.text_table import BadAnnotation, TextTable, key

NAMES = {
    "recording": RECORDING,
    "channel": ("channel",),
    "label": (
        "label",
        "labels",
        "annotation",
        "annotations",
        "call_type",
        "calltype",
        "call_label",
        "manual_id",
        "species",
        "common_name",
        "species_code",
        "tags",
        "tag",
        "class",
        "code",
        "type",
        "category",
    ),
    "annotator": ("annotator", "analyst", "observer", "reviewer", "annotated_by", "labelled_by"),
}
YES = {"1", "1.0", "true", "yes", "x"}
ABSENT = "absent"  # the label of a row in which no column of 0 and 1 is set


def is_annotations(table: TextTable) -> bool:
    """True if a CSV says which label which recording has; a table of recordings alone does not."""
    return table.find(NAMES["recording"]) is not None and table.find(NAMES["label"]) is not None


def csv_places(
    table: TextTable, name: str, index: RecordingIndex, notes: list[str]
) -> tuple[pd.DataFrame, set[int]]:
    """Where the annotations lie; without a column of starts each is about the whole of its recording.

    Parameters
    ----------
    name : the recording that the whole file is about where no column tells it. notes : see `raven.raven_places`, which returns the same.

    Raises
    ------
    BadAnnotation
        naming the line.
    """
    at = columns_of(table)
    file, channel_place = recording_column(table, index), table.find(NAMES["channel"])
    names = [name] * len(table) if file is None else _names(table, file, index)
    length_s, rate_hz = (
        np.array([told.get(recording, np.nan) for recording in names], float)
        for told in (index.duration_s, index.sample_rate_hz)
    )
    if at["start"] is not None:
        start_s, end_s = _spans(table, at, rate_hz)
    else:
        at["end"] = None
        refuse_times(table, {file})
        start_s = np.zeros(len(table))
        said_s = values_or_nan(table, at["duration"])
        end_s = np.where(np.isnan(length_s), said_s, length_s)
        if np.isnan(end_s).any():
            raise table.broken(
                int(np.argmax(np.isnan(end_s))),
                "has neither a start nor a duration",
                "add the columns start_s and end_s, or give `recordings`",
            )
    past = np.flatnonzero(end_s > length_s + 1e-3)
    late = [row for row in past if start_s[row] > length_s[row]]
    if late:
        raise table.broken(
            late[0],
            f"begins at {start_s[late[0]]:g} s of {names[late[0]]}, which lasts {length_s[late[0]]:g} s",
            "check that the recording is whole and the right one",
        )
    notes += [
        f"{table.path}, line {table.lines[row]}: runs {end_s[row] - length_s[row]:.3f} s past the end of {names[row]}; clipped"
        for row in past
    ]
    channel = (
        np.zeros(len(table))
        if channel_place is None
        else np.nan_to_num(table.numbers(channel_place))
    )
    low_hz, high_hz = bounds_hz(table, at["low"], at["high"], rate_hz / 2, notes)
    rows = pd.DataFrame(
        {
            "row": np.arange(len(table)),
            "recording": pd.Series(names, dtype="str"),
            "channel": channel,
            "start_s": start_s,
            "end_s": np.fmin(end_s, length_s),
            "low_hz": low_hz,
            "high_hz": high_hz,
        }
    )
    spoken_for = {
        at[what].place for what in ("start", "end", "low", "high") if at[what] is not None
    } | {file, channel_place}
    if at["start"] is not None and at["end"] is None:
        spoken_for.add(at["duration"].place)
    return rows, spoken_for - {None}


def _spans(table: TextTable, at: dict, rate_hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start and end in seconds of a table that has a column of starts."""
    start_name = table.columns[at["start"].place]
    if at["end"] is None and at["duration"] is None:
        others = time_like(table, {at["start"].place})
        raise BadAnnotation(
            f"{table.path}: {start_name!r} without a column of ends or durations{''.join(f', {table.columns[place]!r}?' for place in others)}; "
            "call it end_s or duration_s"
        )
    length = None if at["end"] is not None else at["duration"]
    check_units(table, [at["start"], at["end"], length])
    start_s = seconds(table, at["start"], rate_hz)
    if length is not None:
        return start_s, start_s + seconds(table, length, rate_hz)
    end_s = seconds(table, at["end"], rate_hz)
    if (
        at["duration"] is not None
        and key(table.columns[at["end"].place]).startswith("offset")
        and not key(start_name).startswith("onset")
    ):
        told_s = start_s + values_or_nan(table, at["duration"])
        if (np.abs(told_s - end_s) > 0.011).any():  # an offset into the file, then, and no end
            names = ", ".join(
                repr(table.columns[at[what].place]) for what in ("start", "end", "duration")
            )
            raise BadAnnotation(
                f"{table.path}: columns {names} contradict each other; name what is meant start_s, end_s or duration_s, and leave the others out"
            )
    return start_s, end_s


def label_texts(
    table: TextTable, label_column: str | list[str] | None, spoken_for: set[int]
) -> tuple[list[str], set[int]]:
    """The label of each row, as written, and the places of the columns that hold it.

    label_column : None for one of the known names; several columns of 0 and 1 give their names, joined by +, or `absent`.
    """
    if isinstance(label_column, (list, tuple)):
        places = [_column(table, name) for name in label_column]
        said = [
            [
                name
                for name, place in zip(label_column, places)
                if cells[place].strip().lower() in YES
            ]
            for cells in table.rows
        ]
        return ["+".join(names) or ABSENT for names in said], set(places)
    place = table.find(NAMES["label"]) if label_column is None else _column(table, label_column)
    if place is None or place in spoken_for:
        if not len(table):
            return [], set()
        raise BadAnnotation(
            f"{table.path}: no column is known to hold labels among {', '.join(table.columns)}; say which one with label_column"
        )
    return table.texts(place), {place}


def _column(table: TextTable, name: str) -> int:
    place = table.columns.index(name) if name in table.columns else table.find((key(name),))
    if place is None:
        near = get_close_matches(name, table.columns, n=1)
        raise BadAnnotation(
            f"{table.path}: no column {name!r}{f', perhaps {near[0]!r}' if near else ''}; it has {', '.join(table.columns)}"
        )
    return place


def _names(table: TextTable, column: int, index: RecordingIndex) -> list[str]:
    known, names, folder = {}, [], table.find(FOLDER)
    folders = [""] * len(table) if folder is None else table.texts(folder)
    for row, said in enumerate(zip(table.texts(column), folders)):
        text, below = (part.strip().replace("\\", "/") for part in said)
        if (text, below) not in known:
            if not text:
                raise table.broken(
                    row,
                    f"{table.columns[column]!r} is blank",
                    "name the recording, or take the row out",
                )
            known[text, below] = _found(table, row, text, below, index)
        names.append(known[text, below])
    return names


def _found(table: TextTable, row: int, text: str, below: str, index: RecordingIndex) -> str:
    """The recording that a cell names; of several of one name that in the row's folder."""
    try:
        return index.find(text, table.path) or text
    except LookupError as error:
        try:
            return index.find(f"{below}/{text}", table.path) or text
        except LookupError:
            raise table.broken(row, str(error), "give more of its path") from None
