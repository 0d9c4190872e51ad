"""Annotations of any program as one table, and back.

    annotations = read_annotations("/data/2022 BSM", recordings="/data/2022 BSM")
    write_raven(annotations, "checked.txt", recordings)

One row is one call in one recording: recording, channel (from 0), start_s and end_s (from the start of THAT recording), low_hz, high_hz (NaN where not told),
label and annotator (as written, blank where not told), source (the file) and line (its line in the file). Then follow the file's other columns,
untouched, as text, under their own names; one that bears a name above gets `_in_file` added. What the reader should be told stands in `.attrs["notes"]`.

Files, told by what is in them: Raven selection tables (`raven.py`), Audacity label files
(`audacity.py`), CSV. In a CSV columns are told by their
names, whatever their case, blanks and brackets, with units ("start (ms)", "begin_sample", "Low Freq
(kHz)"); `csv_columns.py` and `recording_columns.py` list the names, among them those of
Kaleidoscope, scikit-maad, crowsetta, APLOSE, PAMGuard and warbleR:

    recording   file, filename, audio, path, in_file; of several, the first that holds names of sound files. Without: the file is named after its recording
    start_s     start, begin, start_time, onset, min_t                       without: the row is about the whole recording
    end_s       end, stop, end_time, offset, max_t; or duration_s, duration
    low_hz      low, low_freq, min_freq, f_min; or low_khz                   high_hz likewise
    channel     counted from 0 (in Raven tables from 1)
    label       annotation, call_type, manual_id, species, common_name, tags, class, code, type
    annotator   analyst, observer, reviewer

A table without a known column of starts, in which anything looks like a time, is refused, and so is
one that may name its recordings in a way that nobody knows.
"""
from __future__ import annotations

from glob import glob, has_magic
from pathlib import Path

import pandas as pd

from preprocessing.audacity import clocked_line, is_audacity, parse_labels, write_audacity
from preprocessing.csv_annotations import NAMES, csv_places, is_annotations, label_texts
from preprocessing.raven import DECIMALS, is_raven, raven_places, raven_table, recording_of_table, write_raven
from preprocessing.recordings import RecordingIndex, as_recordings
from preprocessing.text_table import TYPES, BadAnnotation, TextTable, extra_columns, own_name, parse_table, read_text

__all__ = ["BadAnnotation", "empty_annotations", "raven_table", "read_annotations", "write_audacity", "write_csv", "write_raven"]

ENDINGS = (".txt", ".csv", ".tsv")
RAVEN, AUDACITY, CSV = "Raven selection tables", "Audacity label files", "CSV tables"


def empty_annotations() -> pd.DataFrame:
    """The annotation table without a row, with its columns and types."""
    return pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in TYPES.items()})


def read_annotations(path, recordings=None, label_column: str | list[str] | None = None, annotator: str | None = None) -> pd.DataFrame:
    """Read annotations into one table (see the module's docstring).

    Parameters
    ----------
    path : a file; a pattern (`/data/**/*.selections.txt`); a folder, of which every annotation file at any depth is read; or a list of these. Files are
        joined in the order given, within a folder in that of their paths. Other text files in a folder are passed over.
    recordings : what the annotations are about: a table (recording, duration_s, path; see `recordings.list_recordings`), a folder, or files. Needed for Raven tables
        over several files without `File Offset (s)`; with it, names are made those of the recordings, and annotations are cut or clipped where recordings end.
        A name that is not among them stays as it is.
    label_column : the column that holds the labels, where the names above do not tell; or several columns of 0 and 1, whose names are
        joined by +; where none is set the label is `absent`.
    annotator : who drew them, where the file does not say.

    Raises
    ------
    BadAnnotation
        naming the file, the line, the fault and the mend; also for a folder with annotations in two formats, which may tell the same calls twice.
    """
    index = RecordingIndex(None if recordings is None else as_recordings(recordings))
    tables = [_read_file(file, index, label_column, annotator) for file in _files(path)]
    joined = pd.concat([empty_annotations(), *tables], ignore_index=True)
    extras = dict.fromkeys((column for column in joined if column not in TYPES), "str")
    joined = joined.astype(TYPES | extras)
    for column in extras:
        joined[column] = joined[column].fillna("")
    joined.attrs = {"notes": [note for table in tables for note in table.attrs["notes"]]}
    return joined


def write_csv(table: pd.DataFrame, path: str | Path) -> Path:
    """Write annotations as CSV: UTF-8, comma, Unix line ends. Reading it gives the same table; `source` and `line` are then those of the new file."""
    own = {column: table[column] for column in TYPES if column in table and column not in ("source", "line")}
    extras = {name: pd.Series(cells, table.index, dtype="str") for name, cells in extra_columns(table).items()}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(own | extras).to_csv(path, index=False, encoding="utf-8", lineterminator="\n")
    return Path(path)


def _files(path) -> list[Path]:
    """The annotation files that a path, a pattern, a folder or a list of these means."""
    if not isinstance(path, (str, Path)):
        return [file for one in path for file in _files(one)]
    if Path(path).is_dir():
        return _files_of_folder(Path(path))
    if has_magic(str(path)) and not Path(path).exists():
        found = sorted(Path(file) for file in glob(str(path), recursive=True))
        if not found:
            raise BadAnnotation(f"{path}: no file fits this pattern; check the folder and the ending")
        return found
    return [Path(path)]


def _files_of_folder(folder: Path) -> list[Path]:
    kinds: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.suffix.lower() in ENDINGS and file.is_file() and not hidden and (kind := _kind(file)):
            kinds.setdefault(kind, []).append(file)
    if not kinds:
        raise BadAnnotation(f"{folder}: 0 annotation files found; looked for Raven selection tables, Audacity label files and CSV ({', '.join(ENDINGS)}) at any depth")
    if len(kinds) > 1:
        held = " and ".join(f"{len(files)} {kind} ({files[0].name}, ...)" for kind, files in kinds.items())
        raise BadAnnotation(f"{folder}: holds {held}, which may tell the same calls twice; say which, for instance {folder / '**' / '*.selections.txt'}")
    return next(iter(kinds.values()))


def _kind(file: Path) -> str | None:
    """What annotations a file in a folder holds; None for other texts. What is called a selection table counts as one: if it is none, reading it says so."""
    if file.name.lower().endswith("selections.txt"):
        return RAVEN
    try:
        text = read_text(file)
        if is_audacity(text) or clocked_line(text):
            return AUDACITY if file.suffix.lower() == ".txt" else None
        table = parse_table(text, file)
    except BadAnnotation:
        return None
    return RAVEN if is_raven(table) else CSV if is_annotations(table) else None


def _read_file(path: Path, index: RecordingIndex, label_column: str | list[str] | None, annotator: str | None) -> pd.DataFrame:
    notes: list[str] = []
    text = read_text(path)
    if clocked := clocked_line(text):
        raise BadAnnotation(f"{path}, line {clocked[0]}: start and end are hours, minutes and seconds ({clocked[1][:40]!r}); "
                            "write them in seconds, as Audacity does when it exports labels")
    if is_audacity(text) and path.suffix.lower() != ".csv" and not path.name.lower().endswith("selections.txt"):
        table, label_column = parse_labels(text, path), None
    else:
        table = parse_table(text, path)
    if is_raven(table):
        rows, spoken_for = raven_places(table, index, notes)
    elif path.name.lower().endswith("selections.txt"):
        raise BadAnnotation(f"{path}: no columns `Begin Time (s)` and `End Time (s)`, it has {', '.join(table.columns)}; save the selection table again from Raven")
    else:
        rows, spoken_for = csv_places(table, recording_of_table(path, index), index, notes)
    rows[["start_s", "end_s"]] = rows[["start_s", "end_s"]].round(DECIMALS)
    _check(table, rows)
    labels, places = label_texts(table, label_column, spoken_for)
    spoken_for |= places
    who = table.find(NAMES["annotator"])
    people = [""] * len(table) if who is None else table.texts(who)
    cells = {"label": labels, "annotator": [person if person.strip() else annotator or person for person in people], "source": [str(path)] * len(table), "line": table.lines}
    cells |= {own_name(column, table.columns): table.texts(place) for place, column in enumerate(table.columns) if place not in spoken_for | {who}}
    rest = pd.DataFrame(cells, index=range(len(table)), dtype=object).iloc[rows["row"]]
    frame = pd.concat([rows.drop(columns="row").reset_index(drop=True), rest.reset_index(drop=True)], axis=1)
    frame = frame[[*TYPES, *(column for column in frame if column not in TYPES)]].astype(TYPES | {column: "str" for column in frame if column not in TYPES})
    frame.attrs = {"notes": notes}
    return frame


def _check(table: TextTable, rows: pd.DataFrame) -> None:
    """Raise BadAnnotation, naming the line, for what cannot be."""
    faults = {"ends before it begins": (rows["end_s"] < rows["start_s"], "correct one of its times"),
              "begins before the recording": (rows["start_s"] < 0, "correct its begin"),
              "its low frequency lies above its high": (rows["low_hz"] > rows["high_hz"], "swap or correct them"),
              "has a negative frequency": ((rows["low_hz"] < 0) | (rows["high_hz"] < 0), "correct it"),
              "has a channel that is none": ((rows["channel"] < 0) | (rows["channel"] % 1 != 0), "Raven counts channels from 1, a CSV from 0")}
    for fault, (wrong, mend) in faults.items():
        if wrong.any():
            raise table.broken(int(rows["row"][wrong].iloc[0]), fault, mend)
