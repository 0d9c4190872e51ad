"""Annotations in CSV under the column names that people use, and the labels and annotators of any table.

Names are compared without regard to case, blanks and signs ("Low Freq (kHz)" is `low_freq_khz`); the first of a list that the table has is taken.
"""
from __future__ import annotations

from difflib import get_close_matches
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from preprocessing.recordings import RecordingIndex
from preprocessing.text_table import BadAnnotation, TextTable, key
from spectrogram.recording import EXTENSIONS

NAMES = {
    "recording": ("recording", "file", "file_name", "filename", "audio_file", "audio", "sound_file", "clip_filename", "clipfilename", "wav", "path"),
    "start_s": ("start_s", "start", "begin_s", "begin", "start_time", "start_time_s", "onset", "onset_s"),
    "end_s": ("end_s", "end", "stop_s", "stop", "end_time", "end_time_s", "offset", "offset_s"),
    "duration_s": ("duration_s", "duration", "length_s"),
    "low_hz": ("low_hz", "low", "low_freq", "low_freq_hz", "low_frequency", "min_hz", "min_freq", "min_freq_hz", "min_frequency", "freq_low", "f_min", "fmin"),
    "high_hz": ("high_hz", "high", "high_freq", "high_freq_hz", "high_frequency", "max_hz", "max_freq", "max_freq_hz", "max_frequency", "freq_high", "f_max", "fmax"),
    "low_khz": ("low_khz", "low_freq_khz", "min_khz", "min_freq_khz"),
    "high_khz": ("high_khz", "high_freq_khz", "max_khz", "max_freq_khz"),
    "channel": ("channel",),
    "label": ("label", "labels", "annotation", "annotations", "call_type", "calltype", "call_label", "species", "common_name", "species_code", "tags", "tag",
              "class", "code", "type", "category"),
    "annotator": ("annotator", "analyst", "observer", "reviewer", "annotated_by", "labelled_by"),
}
YES = {"1", "1.0", "true", "yes", "x"}
ABSENT = "absent"  # the label of a row in which no column of 0 and 1 is set


def is_annotations(table: TextTable) -> bool:
    """True if a CSV says which label which recording has; a table of recordings alone does not."""
    return table.find(NAMES["recording"]) is not None and table.find(NAMES["label"]) is not None


def csv_places(table: TextTable, name: str, index: RecordingIndex, notes: list[str]) -> tuple[pd.DataFrame, set[int]]:
    """Where the annotations lie; without a column of starts each is about the whole of its recording.

    Parameters
    ----------
    name : the recording that the whole file is about where no column tells it. notes : see `raven.raven_places`, which returns the same.

    Raises
    ------
    BadAnnotation
        naming the line.
    """
    at = {what: table.find(names) for what, names in NAMES.items()} | {"recording": _recording_column(table)}
    names = [name] * len(table) if at["recording"] is None else _names(table, at["recording"], index)
    length_s = np.array([index.duration_s.get(recording, np.nan) for recording in names])
    if at["start_s"] is not None:
        start_s = table.numbers(at["start_s"], needed=True)
        if at["end_s"] is None and at["duration_s"] is None:
            raise BadAnnotation(f"{table.path}: {table.columns[at['start_s']]!r} without a column of ends or durations; call it end_s or duration_s")
        end_s = table.numbers(at["end_s"], needed=True) if at["end_s"] is not None else start_s + table.numbers(at["duration_s"], needed=True)
    else:
        at["end_s"], start_s = None, np.zeros(len(table))
        said_s = np.full(len(table), np.nan) if at["duration_s"] is None else table.numbers(at["duration_s"])
        end_s = np.where(np.isnan(length_s), said_s, length_s)
        if np.isnan(end_s).any():
            raise table.broken(int(np.argmax(np.isnan(end_s))), "has neither a start nor a duration", "add the columns start_s and end_s, or give `recordings`")
    past = np.flatnonzero(end_s > length_s + 1e-3)
    late = [row for row in past if start_s[row] > length_s[row]]
    if late:
        raise table.broken(late[0], f"begins at {start_s[late[0]]:g} s of {names[late[0]]}, which lasts {length_s[late[0]]:g} s", "check that the recording is whole and the right one")
    notes += [f"{table.path}, line {table.lines[row]}: runs {end_s[row] - length_s[row]:.3f} s past the end of {names[row]}; clipped" for row in past]
    bounds = {f"{bound}_hz": _hertz(table, at[f"{bound}_hz"], at[f"{bound}_khz"]) for bound in ("low", "high")}
    channel = np.zeros(len(table)) if at["channel"] is None else np.nan_to_num(table.numbers(at["channel"]))
    rows = pd.DataFrame({"row": np.arange(len(table)), "recording": pd.Series(names, dtype="str"), "channel": channel, "start_s": start_s,
                         "end_s": np.fmin(end_s, length_s), **bounds})
    spoken_for = {at[what] for what in ("recording", "start_s", "end_s", "channel")}
    spoken_for |= {at[f"{bound}_{unit}"] for bound in ("low", "high") for unit in ("hz", "khz")[:1 if at[f"{bound}_hz"] is not None else 2]}
    if at["start_s"] is not None and at["end_s"] is None:
        spoken_for.add(at["duration_s"])
    return rows, spoken_for - {None}


def label_texts(table: TextTable, label_column: str | list[str] | None, spoken_for: set[int]) -> tuple[list[str], set[int]]:
    """The label of each row, as written, and the places of the columns that hold it.

    label_column : None for one of the known names; several columns of 0 and 1 give their names, joined by +, or `absent`.
    """
    if isinstance(label_column, (list, tuple)):
        places = [_column(table, name) for name in label_column]
        said = [[name for name, place in zip(label_column, places) if cells[place].strip().lower() in YES] for cells in table.rows]
        return ["+".join(names) or ABSENT for names in said], set(places)
    place = table.find(NAMES["label"]) if label_column is None else _column(table, label_column)
    if place is None or place in spoken_for:
        if not len(table):
            return [], set()
        raise BadAnnotation(f"{table.path}: no column is known to hold labels among {', '.join(table.columns)}; say which one with label_column")
    return table.texts(place), {place}


def _column(table: TextTable, name: str) -> int:
    place = table.columns.index(name) if name in table.columns else table.find((key(name),))
    if place is None:
        near = get_close_matches(name, table.columns, n=1)
        raise BadAnnotation(f"{table.path}: no column {name!r}{f', perhaps {near[0]!r}' if near else ''}; it has {', '.join(table.columns)}")
    return place


def _recording_column(table: TextTable) -> int | None:
    """Of the columns that may name the recording the first that holds names of sound files, else the first."""
    keys = [key(column) for column in table.columns]
    places = [keys.index(name) for name in NAMES["recording"] if name in keys]
    sounds = (place for place in places if any(PurePosixPath(text.strip()).suffix.lower() in EXTENSIONS for text in table.texts(place)))
    return next(sounds, places[0] if places else None)


def _names(table: TextTable, column: int, index: RecordingIndex) -> list[str]:
    known, names = {}, []
    for row, text in enumerate(table.texts(column)):
        text = text.strip().replace("\\", "/")
        if text not in known:
            if not text:
                raise table.broken(row, f"{table.columns[column]!r} is blank", "name the recording, or take the row out")
            try:
                known[text] = index.find(text, table.path) or text
            except LookupError as error:
                raise table.broken(row, str(error), "give more of its path") from None
        names.append(known[text])
    return names


def _hertz(table: TextTable, hz: int | None, khz: int | None) -> np.ndarray:
    if hz is not None:
        return table.numbers(hz)
    return np.full(len(table), np.nan) if khz is None else table.numbers(khz) * 1e3
