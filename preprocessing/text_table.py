"""Tables in text files as programs on three systems write them, whatever the encoding, the line ends and the separator.

UTF-8 with or without a mark, UTF-16 (Raven on Windows), else Windows' own 8-bit code (a superset of latin-1's letters). Separated by tab, semicolon
or comma, the one that cuts the header into most columns. Numbers may have a decimal comma; where "1,500" may as well be fifteen hundred, it is refused. Nothing is guessed about the text of a cell:
it stays as it stands, quotes around a whole cell (Excel's, when it saves with tabs) taken off.
"""
from __future__ import annotations

import codecs
import csv
import io
import re
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

import numpy as np
import pandas as pd

TYPES = {"recording": "str", "channel": "int64", "start_s": "float64", "end_s": "float64", "low_hz": "float64", "high_hz": "float64", "label": "str",
         "annotator": "str", "source": "str", "line": "int64"}  # of the annotation table, in its order
TAKEN = "_in_file"  # added to a file's own column that bears one of these names, a clip's `source` for instance
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")                 # or a decimal comma
DECIMAL_COMMA = re.compile(r"[+-]?(0,\d+|\d+,(\d{1,2}|\d{4,})|\d{4,},\d+)")  # nothing else
CLOCK = re.compile(r"(\d+:)?\d+:\d\d([.,]\d+)?")  # 00:01:12.5 or 1:12
NO_NUMBER = {"", "na", "n/a", "nan", "none", "null", "-"}


class BadAnnotation(ValueError):
    """Annotations that cannot be used. The message names the file, the line, the fault and the mend."""


def read_text(path: str | Path) -> str:
    """The file's text, whatever its encoding.

    Raises
    ------
    BadAnnotation
        if it cannot be read or is not text.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BadAnnotation(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
    try:
        for mark, encoding in MARKS:
            if data.startswith(mark):
                return data.decode(encoding)
        if b"\0" in data:  # UTF-16 without its mark: every other byte of Latin letters is zero
            odd = data[1:4000:2].count(0) > data[:4000:2].count(0)
            return data.decode("utf-16-le" if odd else "utf-16-be")
        return data.decode("utf-8")
    except UnicodeDecodeError:
        if b"\0" in data or data.startswith(tuple(mark for mark, _ in MARKS)):
            raise BadAnnotation(f"{path}: not a text file, or broken off; save it again as text in UTF-8") from None
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


SEPARATOR = re.compile(r"sep=([;,\t|])", re.IGNORECASE)  # the first line of some CSV tables, for Excel


def text_lines(text: str) -> list[str]:
    """Lines without their ends (Windows, Unix, old Macintosh). Other separators, that Python also counts as line ends, stay in the text."""
    return re.split(r"\r\n|\n|\r", text)


def key(name: str) -> str:
    """A column's name for comparison: "Begin Time (s)" -> "begin_time_s"."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def number(text: str) -> float | None:
    """The number a cell holds, NaN for a blank one, None if it is not a finite number."""
    text = text.strip()
    if text.lower() in NO_NUMBER:
        return np.nan
    try:
        value = float(text.replace(",", ".") if "." not in text and text.count(",") == 1 else text)
    except ValueError:
        return None
    return value if isfinite(value) else None


@dataclass
class TextTable:
    """Columns and cells of a text file or a sheet.

    lines : numbers of the rows' lines, from 1, the header's included. day_zero : what a
        spreadsheet's day numbers count from.
    """

    path: Path
    columns: list[str]
    rows: list[list[str]]
    lines: list[int]
    day_zero: str = "1899-12-30"

    def __len__(self) -> int:
        return len(self.rows)

    def find(self, names: tuple[str, ...]) -> int | None:
        """Position of the first of these names (as of `key`) among the columns."""
        keys = [key(column) for column in self.columns]
        return next((keys.index(name) for name in names if name in keys), None)

    def texts(self, column: int) -> list[str]:
        return [row[column] for row in self.rows]

    def numbers(self, column: int, needed: bool = False) -> np.ndarray:
        """(rows,) float64, NaN where blank.

        Raises
        ------
        BadAnnotation
            naming the line of a cell that is not a number, or, where `needed`, blank; or whose comma may part thousands or decimals, where no other number of the table tells.
        """
        values = np.full(len(self), np.nan)
        for row, text in enumerate(self.texts(column)):
            value = number(text)
            if "," in text and THOUSANDS.fullmatch(text.strip()) and not self._decimal_commas():
                raise self.broken(row, f"{self.columns[column]!r} is {text.strip()!r}, which may be {text.strip().replace(',', '')} or {text.strip().replace(',', '.')}", "write the one that is meant")
            if value is None or (needed and np.isnan(value)):
                said = f"is {text.strip()!r}, not a number" if text.strip() else "is blank"
                raise self.broken(row, f"{self.columns[column]!r} {said}", "correct it or take the row out")
            values[row] = value
        return values

    def _decimal_commas(self) -> bool:
        """Whether some number of the table has a comma that can only be a decimal one."""
        return any(DECIMAL_COMMA.fullmatch(cell.strip()) for cells in self.rows for cell in cells)

    def broken(self, row: int, fault: str, mend: str) -> BadAnnotation:
        """The error to raise about a row."""
        return self.fault(self.lines[row], fault, mend)

    def fault(self, line: int, fault: str, mend: str) -> BadAnnotation:
        """The error to raise about a line."""
        return BadAnnotation(f"{self.path}, line {line}: {fault}; {mend}")


def parse_table(text: str, path: str | Path) -> TextTable:
    """A table with a header. Blank lines are passed over; cells missing at a row's end are blank.

    Raises
    ------
    BadAnnotation
        for a row with more cells than the header, a last row that breaks off, or a quote that is never closed.
    """
    path, lines = Path(path), text_lines(text)
    first = next((k for k, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise BadAnnotation(f"{path}: empty, without even a header; the copy failed, or take the file out")
    if told := SEPARATOR.fullmatch(lines[first].strip()):
        lines[first] = ""
        text, first = "\n".join(lines), next((k for k, line in enumerate(lines) if line.strip()), first)
    separator = told[1] if told else max("\t;,", key=lines[first].count)
    records = _tabbed(lines) if separator == "\t" else _quoted(text, separator, path)
    records = [(line, cells) for line, cells in records if any(cell.strip() for cell in cells)]
    if not records:
        raise BadAnnotation(f"{path}: empty, without even a header; the copy failed, or take the file out")
    table = TextTable(path, column_names(records[0][1]), [], [])
    if len(records) == 1 and sum(number(cell) is not None and bool(cell.strip()) for cell in records[0][1]) > 1:
        raise table.fault(records[0][0], "a row and no header", "write the names of the columns above it")
    for line, cells in records[1:]:
        missing = len(table.columns) - len(cells)
        if missing < 0 and any(cell.strip() for cell in cells[missing:]):
            raise table.fault(line, f"{len(cells)} cells, the header has {len(table.columns)}", "take the surplus separator out, or put quotes around the text that holds it")
        lost = any(name.strip() for name in records[0][1][len(cells):])
        if lost and line == len(lines):  # no line end after it
            raise table.fault(line, f"breaks off after {len(cells)} of {len(table.columns)} cells", "copy the file again, or complete the row")
        table.rows.append((cells + [""] * missing)[:len(table.columns)])
        table.lines.append(line)
    return without_empty(table, records[0][1])


def without_empty(table: TextTable, header: list[str]) -> TextTable:
    """The table without columns that have neither a name nor a cell, as where each line ends with a
    separator."""
    used = [place for place, name in enumerate(header)
            if name.strip() or any(cells[place].strip() for cells in table.rows)]
    columns = [table.columns[place] for place in used]
    rows = [[cells[place] for place in used] for cells in table.rows]
    return replace(table, columns=columns, rows=rows)


def column_names(header: list[str]) -> list[str]:
    """Column names, each once: a blank one gets its place, a repeated one a number."""
    names = []
    for place, name in enumerate(header, start=1):
        name = name.strip() or f"Column {place}"
        names.append(name if name not in names else f"{name} ({sum(n == name or n.startswith(f'{name} (') for n in names) + 1})")
    return names


def _tabbed(lines: list[str]):
    """Raven knows no quotes; Excel puts them around whole cells."""
    for number_, line in enumerate(lines, start=1):
        yield number_, [unquoted(cell) for cell in line.split("\t")]


def _quoted(text: str, separator: str, path: Path):
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            yield line, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise BadAnnotation(f"{path}, line {line}: broken quotes ({error}); close or double them") from None


def unquoted(cell: str) -> str:
    """A cell without Excel's quotes: only where they stand around the whole of it and those within are doubled."""
    inner = cell[1:-1]
    whole = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if whole else cell


def tab_separated(rows: list[list[str]], path: str | Path) -> str:
    """Text of a table that Raven opens.

    Raises
    ------
    ValueError
        naming the row of a text with a tab or a line end in it, which such a table cannot hold.
    """
    for place, row in enumerate(rows):
        for column, cell in zip(rows[0], row):
            if re.search(r"[\t\r\n]", cell):
                raise ValueError(f"{path}: row {place} has a tab or a line end in its {column!r}, which the format cannot hold: {cell!r}; replace it by a blank")
    return "".join("\t".join(_fenced(cell) for cell in row) + "\n" for row in rows)


def _fenced(cell: str) -> str:
    """Quoted where `unquoted` would else take quotes off."""
    return cell if unquoted(cell) == cell else '"' + cell.replace('"', '""') + '"'


def own_name(column: str, columns: list[str]) -> str:
    """What a file's further column is called in the annotation table, where its name may be taken."""
    while column in TYPES:
        column = next(name for k in range(len(columns) + 1) if (name := column + TAKEN * (k + 1)) not in columns)
    return column


def extra_columns(table: pd.DataFrame) -> dict[str, list[str]]:
    """The further columns of an annotation or events table as text; what is missing is blank."""
    named = {"label"} if "label" in table else {"labels"}
    return {c: ["" if pd.isna(value) else str(value) for value in table[c]] for c in table if c not in {*TYPES, *named}}
