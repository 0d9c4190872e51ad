"""Raven selection tables, read and written.

Raven's `Begin Time (s)` and `End Time (s)` count from the start of what was opened: one file, or a sequence of files. Where a selection lies in its
file is told by `Begin File` (or `Begin Path`) with `File Offset (s)`; its length is End - Begin. Channels count from 1, here from 0.

- Without `File Offset (s)` the durations of the recordings tell the file. The sequence begins with the recording after which the table is named
  (`NAME.Table.1.selections.txt`), else with the one of its folder for which every row falls into its own `Begin File`.
- A selection that runs over the end of its file in a sequence is cut in two, both parts with the same line and `Selection`; over the end of the last
  file, or of a file opened alone, it is clipped. Parts under a millisecond are left out.
- Raven writes a row for each view. Of rows with one selection number (where the table has them),
  channel and time in different views the spectrogram's is kept; cells that
  are blank in it, as a label that was typed in the waveform's row alone, are taken from the other.
- Times are kept and written to the nanosecond (Raven's own nine decimals), frequencies as they are.

Source: Raven Pro 1.6 User's Manual, Cornell Lab of Ornithology.
"""
from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from preprocessing.csv_columns import bounds_hz, column_of
from preprocessing.recordings import RecordingIndex
from preprocessing.sequence import SHORTEST_S, chain_of, pieces, place_named, place_unnamed
from preprocessing.text_table import BadAnnotation, TextTable, extra_columns, key, tab_separated
from spectrogram.recording import EXTENSIONS

COLUMNS = {"begin": "Begin Time (s)", "end": "End Time (s)", "channel": "Channel", "offset": "File Offset (s)",
           "file": "Begin File", "path": "Begin Path", "end_file": "End File", "view": "View", "selection": "Selection"}
DECIMALS = 9
TABLE_NAME = re.compile(r"(\.table\.\d+)?(\.selections)?\.(txt|tsv|csv)$", re.IGNORECASE)


def is_raven(table: TextTable) -> bool:
    """True if the columns are those of a selection table."""
    return all(table.find((key(COLUMNS[name]),)) is not None for name in ("begin", "end"))


def recording_of_table(path: Path, index: RecordingIndex) -> str:
    """The recording after which an annotation file is named; the only one there is; the sound file beside it; else the name itself."""
    name = TABLE_NAME.sub("", path.name)
    found = index.find(name, path)
    if found is None and len(index) == 1:
        found = next(iter(index.duration_s))
    if found is None and not len(index):
        endings = [ending for e in EXTENSIONS for ending in (e, e.upper())]
        found = next((f"{name}{ending}" for ending in ("", *endings) if (path.parent / f"{name}{ending}").is_file()), None)
    return found or name


def raven_places(table: TextTable, index: RecordingIndex, notes: list[str]) -> tuple[pd.DataFrame, set[int]]:
    """Where the selections lie.

    Parameters
    ----------
    notes : what the reader should be told is added to it, a line each.

    Returns
    -------
    DataFrame with row (of the table), recording, channel, start_s, end_s, low_hz, high_hz; and the places of the columns that it speaks for.

    Raises
    ------
    BadAnnotation
        naming the line.
    """
    at = {name: table.find((key(column),)) for name, column in COLUMNS.items()}
    begin_s, end_s = table.numbers(at["begin"], needed=True), table.numbers(at["end"], needed=True)
    low, high = (column_of(table, bound) for bound in ("low", "high"))  # DeepSqueak's are in kHz
    channel = np.full(len(table), np.nan) if at["channel"] is None else table.numbers(at["channel"])
    names, single = _named(table, at, index), recording_of_table(table.path, index)
    if at["offset"] is None:
        names, offset_s, sequence = _placed(table, begin_s, names, single, index, notes)
    else:
        offset_s = table.numbers(at["offset"], needed=True)
        sequence = bool((np.abs(begin_s - offset_s) > SHORTEST_S).any()) or len(set(names or [])) > 1 or _ends_elsewhere(table, at)
        names = names or [single] * len(table)
    nyquist_hz = np.array([index.sample_rate_hz.get(name, np.nan) for name in names], float) / 2
    low_hz, high_hz = bounds_hz(table, low, high, nyquist_hz, notes)
    rows = pd.DataFrame({"row": np.arange(len(table)), "recording": pd.Series(names, dtype="str"), "channel": np.where(np.isnan(channel), 0, channel - 1),
                         "start_s": offset_s, "end_s": offset_s + (end_s - begin_s), "low_hz": low_hz, "high_hz": high_hz})
    rows = _cut(table, _one_view(table, at, rows, notes), index, sequence, notes)
    spoken_for = {at[name] for name in ("begin", "end", "channel", "offset", "file")} - {None}
    spoken_for |= {bound.place for bound in (low, high) if bound is not None}
    if at["path"] is not None and [text.strip() for text in table.texts(at["path"])] == names:  # it only repeats the recording
        spoken_for.add(at["path"])
    return rows, spoken_for


def _named(table: TextTable, at: dict, index: RecordingIndex) -> list[str] | None:
    """The recording that each row names, None if there is no such column. A name that is not among the recordings stays as it is."""
    if at["file"] is None and at["path"] is None:
        return None
    known, names = {}, []
    for row, cells in enumerate(table.rows):
        said = tuple("" if at[name] is None else cells[at[name]].strip() for name in ("file", "path"))
        if said not in known:
            known[said] = _recording(table, row, *said, index)
        names.append(known[said])
    return names


def _recording(table: TextTable, row: int, file: str, path: str, index: RecordingIndex) -> str:
    if not file and not path:
        raise table.broken(row, f"{COLUMNS['file']!r} is blank", "name the recording, or take the row out")
    try:
        found = (path and index.find(path, table.path)) or (file and index.find(file, table.path))
    except LookupError as error:
        raise table.broken(row, str(error), f"give a {COLUMNS['path']!r} that tells them apart") from None
    own = path.replace("\\", "/")
    below_a_folder = own and not own.startswith("/") and ":" not in own
    return found or (own if below_a_folder else file or PurePosixPath(own).name)


def _ends_elsewhere(table: TextTable, at: dict) -> bool:
    """True if a selection ends in another file than it begins in."""
    if at["file"] is None or at["end_file"] is None:
        return False
    return any(last.strip() not in ("", first.strip()) for first, last in zip(table.texts(at["file"]), table.texts(at["end_file"])))


def _placed(table: TextTable, begin_s: np.ndarray, names: list[str] | None, single: str, index: RecordingIndex, notes: list[str]) -> tuple[list[str], np.ndarray, bool]:
    """Recording and offset of each row of a table without `File Offset (s)`, and whether it is about a sequence."""
    chain = chain_of(set(names or []), single, index)
    if not chain or not len(table):
        if len(set(names or [])) > 1:
            raise BadAnnotation(f"{table.path}: its times count over several files and it has no {COLUMNS['offset']!r}; give `recordings` with their duration_s, in the order in "
                                "which Raven opened them, or add that measurement in Raven")
        return names or [single] * len(table), begin_s, False
    if names is None:
        names, offset_s, behind = place_unnamed(begin_s, chain, single, index)
        if behind.any():
            row = int(np.flatnonzero(behind)[0])
            raise table.broken(row, f"begins at {begin_s[row]:g} s, after the end of the last recording, {chain[-1]}", "add the recordings that follow, or correct the time")
        return names, offset_s, len(set(names)) > 1
    fits = place_named(begin_s, names, chain, index)
    if len(fits) > 1 and single in fits:
        fits = {single: fits[single]}
    if len(fits) > 1:
        raise BadAnnotation(f"{table.path}: its sequence may begin with {' or '.join(fits)}; name the table after its first file, or add the measurement {COLUMNS['offset']!r} in Raven")
    if fits:
        first, offset_s = next(iter(fits.items()))
        return names, offset_s, set(names) != {first}
    own_s = np.array([index.duration_s[name] for name in names])
    if (begin_s > own_s).any():
        row = int(np.argmax(begin_s > own_s))
        raise table.broken(row, f"{begin_s[row]:g} s lies in {names[row]} for no sequence of the recordings", f"check their durations and order, or add {COLUMNS['offset']!r} in Raven")
    notes.append(f"{table.path}: times fit no sequence of the recordings; taken to count from the start of each row's {COLUMNS['file']!r}")
    return names, begin_s, False


def _one_view(table: TextTable, at: dict, rows: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Rows without those that only repeat a selection in another view."""
    if at["view"] is None or rows.empty:
        return rows
    view = pd.Series([text.strip().lower() for text in table.texts(at["view"])])
    selection = pd.Series(table.texts(at["selection"])).str.strip() if at["selection"] is not None else ""
    group = rows.assign(selection=selection).groupby(["selection", "recording", "channel", "start_s", "end_s"], sort=False).ngroup()
    order = pd.DataFrame({"group": group, "other": ~view.str.startswith("spectrogram"), "view": view}).sort_values(["group", "other"], kind="stable")
    kept = group.map(order.groupby("group")["view"].first())
    keep = kept == view  # rows of one and the same view are two annotations
    if not keep.all():
        _fill_from_other_views(table, list(rows["row"]), list(group), list(keep))
        notes.append(f"{table.path}: {int((~keep).sum())} rows show a selection in a second view; left out")
    return rows[keep]


def _fill_from_other_views(table: TextTable, rows: list[int], groups: list[int], keep: list[bool]) -> None:
    """Take the blank cells of rows that stay from the rows of the same selections that do not."""
    others: dict[int, list[int]] = {}
    for row, group, stays in zip(rows, groups, keep):
        if not stays:
            others.setdefault(group, []).append(row)
    for row, group, stays in zip(rows, groups, keep):
        for other in others.get(group, []) if stays else []:
            table.rows[row] = [own if own.strip() else cell for own, cell in zip(table.rows[row], table.rows[other])]


def _cut(table: TextTable, rows: pd.DataFrame, index: RecordingIndex, sequence: bool, notes: list[str]) -> pd.DataFrame:
    """Rows cut in two, or clipped, where their files end."""
    length_s = rows["recording"].map(index.duration_s).astype(float)
    if not (rows["end_s"] > length_s).any():
        return rows
    out = []
    for row, duration_s in zip(rows.to_dict("records"), length_s):
        if row["start_s"] > duration_s + SHORTEST_S:
            raise table.broken(row["row"], f"begins at {row['start_s']:g} s of {row['recording']}, which lasts {duration_s:g} s", "check that the recording is whole and the right one")
        if not row["end_s"] > duration_s:
            out.append(row)
            continue
        chain = index.sequence(row["recording"])
        chain = chain[chain.index(row["recording"]):] if sequence else [row["recording"]]
        parts, past_s = pieces(row["start_s"], row["end_s"], chain, index)
        out += [row | {"recording": name, "start_s": start_s, "end_s": end_s} for name, start_s, end_s in parts]
        if past_s > SHORTEST_S:
            notes.append(f"{table.path}, line {table.lines[row['row']]}: runs {past_s:.3f} s past the end of {chain[-1]}; clipped")
    return pd.DataFrame(out, columns=rows.columns).astype(rows.dtypes.to_dict())


def raven_table(table: pd.DataFrame, recordings: pd.DataFrame | None = None, label_column: str = "Label", annotator_column: str = "Annotator") -> pd.DataFrame:
    """Annotations or events as a Raven selection table; every cell is text.

    Parameters
    ----------
    table : recording, start_s, end_s and, where there are such, channel (from 0), low_hz, high_hz, label (or labels), annotator. All other columns follow under their own
        names, in their order.
    recordings : the sequence that Raven opens, in its order, those without a selection included: recording, duration_s. With sample_rate_hz, frequencies are
        held to its half, as Raven refuses a selection above it. May be left out for a single recording.
    label_column, annotator_column : their names in Raven.

    Raises
    ------
    ValueError
        if several recordings are in the table and nothing says how they follow each other.
    """
    names, extras = table["recording"].astype(str), extra_columns(table)
    begins_s = _begins_s(names, recordings)
    start_s, end_s = table["start_s"].astype(float), table["end_s"].astype(float)
    nyquist_hz = np.inf if recordings is None or "sample_rate_hz" not in recordings else names.map(dict(zip(recordings["recording"], recordings["sample_rate_hz"] / 2)))
    low_hz, high_hz = (table[column].astype(float).clip(upper=nyquist_hz) if column in table else pd.Series(np.nan, table.index) for column in ("low_hz", "high_hz"))
    label = next((column for column in ("label", "labels") if column in table), None)
    channels = [str(int(c) + 1) for c in table["channel"]] if "channel" in table else ["1"] * len(table)
    out = {"Selection": _numbered(extras.pop("Selection", None), channels), "View": extras.pop("View", ["Spectrogram 1"] * len(table)),
           "Channel": channels,
           "Begin Time (s)": _times(start_s + begins_s), "End Time (s)": _times(end_s + begins_s)}
    if not len(table) or low_hz.notna().any() or high_hz.notna().any():
        out |= {"Low Freq (Hz)": _floats(low_hz), "High Freq (Hz)": _floats(high_hz)}
    out |= {"Begin File": list(names.str.rsplit("/", n=1).str[-1]), "File Offset (s)": _times(start_s)}
    if names.str.contains("/").any() and "Begin Path" not in extras:
        out["Begin Path"] = list(names)
    out[label_column] = [""] * len(table) if label is None else list(table[label].astype(str))
    if "annotator" in table and (table["annotator"].astype(str) != "").any():
        out[annotator_column] = list(table["annotator"].astype(str))
    if twice := sorted(set(out) & set(extras)):
        raise ValueError(f"the table has a column {twice[0]!r} of its own; rename it, or give another label_column or annotator_column")
    return pd.DataFrame(out | extras, dtype="str")


def write_raven(table: pd.DataFrame, path: str | Path, recordings: pd.DataFrame | None = None, label_column: str = "Label", annotator_column: str = "Annotator") -> Path:
    """Write annotations or events as a Raven selection table: UTF-8, tabs, Unix line ends. Parameters and errors as for `raven_table`.

    Reading it gives the same table again: recordings, times to the nanosecond, frequencies, labels, annotators and every other column (`source` and `line` are those of
    the new file). Two exceptions: a table that had no `Selection` and `View` comes back with them, and where one selection number comes twice (tables
    joined, selections cut in two) the later rows get new ones, as Raven would take them for views of one selection.
    """
    cells = raven_table(table, recordings, label_column, annotator_column)
    text = tab_separated([list(cells.columns), *cells.to_numpy().tolist()], path)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8", newline="\n")
    return Path(path)


def _begins_s(names: pd.Series, recordings: pd.DataFrame | None) -> pd.Series:
    """Where each row's recording begins in the sequence."""
    if recordings is None:
        if names.nunique() > 1:
            raise ValueError(f"the table is about {names.nunique()} recordings; give `recordings` with their duration_s in the order in which Raven opens them, or write "
                             "a table for each")
        return pd.Series(0.0, names.index)
    begins = dict(zip(recordings["recording"], recordings["duration_s"].astype(float).cumsum().shift(fill_value=0.0)))
    strangers = names[~names.isin(list(begins))]
    if len(strangers):
        raise ValueError(f"{strangers.iloc[0]!r} is not among the recordings of the sequence; add it, with its duration_s")
    return names.map(begins).astype(float)


def _numbered(given: list[str] | None, channels: list[str]) -> list[str]:
    """Selection numbers: those given, as far as each comes once in a channel; new ones above them for the rest."""
    if given is None:
        return [str(k + 1) for k in range(len(channels))]
    seen, highest, numbers = set(), max((int(text) for text in given if text.strip().isdecimal()), default=0), []
    for text, channel in zip(given, channels):
        if not text.strip() or (text, channel) in seen:
            highest += 1
            text = str(highest)
        seen.add((text, channel))
        numbers.append(text)
    return numbers


def _times(seconds: pd.Series) -> list[str]:
    return [f"{value:.{DECIMALS}f}" for value in seconds]


def _floats(values: pd.Series) -> list[str]:
    return ["" if np.isnan(value) else repr(float(value)) for value in values]
