"""Audacity label tracks: a line for each label, start, end and text, separated by tabs; with frequencies, a second line `\\`, low, high.

Such a file knows neither recording nor channel nor annotator: it belongs to the recording after which it is named. A frequency below zero is
one that Audacity does not know. Times are written with nine decimals, as in Raven tables.

Source: Audacity manual, "Importing and exporting labels", standard and extended format.
"""
from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.text_table import CLOCK, TextTable, number, text_lines


def is_audacity(text: str) -> bool:
    """True for label lines, and for a file without any text: what Audacity writes for a track without labels."""
    first = next((line.split("\t") for line in text_lines(text) if line.strip()), None)
    return first is None or (len(first) > 1 and all(cell.strip() and number(cell) is not None for cell in first[:2]))


def clocked_line(text: str) -> tuple[int, str] | None:
    """Number and text of the first line if it is a label with times as 00:01:12.5, which Audacity's
    own files never have."""
    lines = ((place, line) for place, line in enumerate(text_lines(text), start=1) if line.strip())
    place, line = next(lines, (0, ""))
    cells = line.split("\t")[:2]
    clocked = len(cells) == 2 and all(CLOCK.fullmatch(cell.strip()) for cell in cells)
    return (place, line) if clocked else None


def parse_labels(text: str, path: str | Path) -> TextTable:
    """The labels as a table of start_s, end_s, label, low_hz, high_hz.

    Raises
    ------
    BadAnnotation
        naming a line that is neither a label nor the frequencies of one.
    """
    table = TextTable(Path(path), ["start_s", "end_s", "label", "low_hz", "high_hz"], [], [])
    for place, line in enumerate(text_lines(text), start=1):
        if not line.strip():
            continue
        first, *rest = line.split("\t", 2)
        if first.strip() == "\\" and table.rows:
            bounds = [number(cell) for cell in rest]
            if len(bounds) != 2 or None in bounds:
                raise table.fault(place, f"{line!r} is not backslash, low and high in Hz", "correct it or take the line out")
            table.rows[-1][3:] = ["" if value < 0 else repr(value) for value in bounds]
            continue
        if not rest:
            raise table.fault(place, f"{line!r} is not start, end and text with tabs between them", "correct it or take the line out")
        table.rows.append([first, rest[0], "".join(rest[1:]), "", ""])
        table.lines.append(place)
    return table


def write_audacity(table: pd.DataFrame, path: str | Path) -> Path:
    """Write the annotations of one recording as an Audacity label file; name the file after the recording, `NAME.txt`.

    Times, frequencies, labels and their order come back when it is read; channel, annotator and further columns have no place in it.

    Raises
    ------
    ValueError
        if the table is about several recordings, or a label holds a line end.
    """
    if table["recording"].nunique() > 1:
        raise ValueError(f"{path}: the table is about {table['recording'].nunique()} recordings; write a label file for each")
    lines = []
    for row in table.itertuples():
        if re.search(r"[\r\n]", row.label):
            raise ValueError(f"{path}: the label {row.label!r} holds a line end, which the format cannot hold; replace it by a blank")
        lines.append(f"{row.start_s:.9f}\t{row.end_s:.9f}\t{row.label}\n")
        bounds = [-1.0 if np.isnan(value) else float(value) for value in (row.low_hz, row.high_hz)]
        if max(bounds) >= 0:
            lines.append(f"\\\t{bounds[0]!r}\t{bounds[1]!r}\n")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("".join(lines), encoding="utf-8", newline="\n")
    return Path(path)
