"""A user's table of start times, serials and sensitivities, for recordings whose names do not tell them."""
from __future__ import annotations

from csv import Error as CsvError
from csv import reader
from datetime import datetime, timezone
from pathlib import Path

from pipeline.tables import FORMULA
from spectrogram.sensitivity import checked

OVERRIDES = ("file", "start_utc", "serial", "sensitivity_db", "gain")


def read_overrides(path: str | Path | None) -> dict[str, dict]:
    """Start times, serials and sensitivities from a CSV: columns `file` and any of `start_utc`, `serial`, `sensitivity_db`, `gain`.

    `file` is a recording's path below the input folder, or its name alone. A time without a zone is UTC.

    Raises
    ------
    ValueError
        naming the file, the line and the fault.
    """
    if path is None:
        return {}
    with open(path, encoding="utf-8-sig", newline="") as file:  # -sig: Excel's CSV begins with a mark
        try:
            lines = list(reader(file))
        except (UnicodeDecodeError, CsvError) as error:
            raise ValueError(f"{path}: not a CSV table in UTF-8 ({error}); save it as \"CSV UTF-8\", comma separated") from None
    columns = [name.strip() for name in lines[0]] if lines else []
    if "file" not in columns or set(columns) - set(OVERRIDES):
        raise ValueError(f"{path}: columns {columns}; expected `file` and any of {', '.join(OVERRIDES[1:])}, comma separated")
    overrides = {}
    for number, line in enumerate(lines[1:], start=2):
        if not any(value.strip() for value in line):
            continue
        try:
            name, given = _read_line(line, columns)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}; write times as 2022-07-16T02:14:53Z and sensitivities as -176.3") from None
        overrides[name.replace("\\", "/")] = given
    return overrides


def _read_line(line: list[str], columns: list[str]) -> tuple[str, dict]:
    """A line's file and what it gives; ValueError says what is wrong."""
    if len(line) != len(columns):
        raise ValueError(f"{len(line)} values for {len(columns)} columns")
    given = {key: value.strip() for key, value in zip(columns, line) if value.strip()}
    name = given.pop("file", None)
    if name is None:
        raise ValueError("no file name")
    if name.startswith("'") and name[1:].startswith(FORMULA):  # copied from a table of ours
        name = name[1:]
    if "start_utc" in given:
        start = datetime.fromisoformat(given["start_utc"])
        given["start_utc"] = start.replace(tzinfo=timezone.utc) if start.tzinfo is None else start.astimezone(timezone.utc)
    if "sensitivity_db" in given:
        given["sensitivity_db"] = checked(given.get("serial", name), float(given["sensitivity_db"]))
    return name, given


def given_for(overrides: dict[str, dict], name: str) -> dict:
    """What the table says of a recording: by its path below the input, or else by its file name."""
    return overrides.get(name, overrides.get(name.rsplit("/", 1)[-1], {}))


def strangers(overrides: dict[str, dict], names: list[str]) -> list[str]:
    """Files of the table that are no recording."""
    return sorted(set(overrides) - set(names) - {name.rsplit("/", 1)[-1] for name in names})
