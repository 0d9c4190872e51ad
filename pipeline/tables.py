"""The tables that a run leaves: their columns, and writing them whole or not at all.

Parquet with a footer that says what made it; CSV and Raven selection tables on request. Every table exists even when it is empty,
with its columns and types. A file is written under a temporary name beside its own and renamed last, so what has the final name is whole.
"""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.drafts import draft
from pipeline.flags import passes
from spectrogram.profile import Profile
from spectrogram.sensitivity import UNKNOWN_DB

TABLES = ("events", "regions", "windows", "levels", "effort")
UTC = "datetime64[us, UTC]"


def event_types(profile: Profile) -> dict[str, str]:
    """Columns of `events` and their types."""
    return {"recording": "str", "recorder": "str", "channel": "int16", "start_s": "float64", "end_s": "float64", "low_hz": "float64", "high_hz": "float64",
            "peak_hz": "float64", "start_utc": UTC, "end_utc": UTC, "labels": "str", **{f"score_{x}": "float32" for x in profile.labels}, "n_calls": "int16",
            "overlap": "bool", "diphonic": "bool", "species_score": "float32", "flags": "str", "snr_db": "float32", "level_db": "float32", "calibrated": "bool", "model_id": "str"}


def region_types(profile: Profile) -> dict[str, str]:
    """Columns of `regions`: every region of interest, what band of the search (or "tonal", "crest") it is of, and a probability for each call label (NaN: the recording cannot show it)."""
    labels = [x for head, names in profile.heads.items() if head != "vessel" for x in names]
    return {"recording": "str", "channel": "int16", "start_s": "float64", "end_s": "float64", "start_utc": UTC, "end_utc": UTC, "low_hz": "float64", "high_hz": "float64",
            "peak_hz": "float64", "band": "str", "snr_db": "float32", **{f"p_{x}": "float32" for x in labels}, "labels": "str", "named": "bool"}


def window_types(profile: Profile) -> dict[str, str]:
    """Columns of `windows`: a probability for each label (NaN: the recording cannot show it), and the sound pressure level in each ROI band."""
    return {"recording": "str", "start_s": "float64", "start_utc": UTC, **{f"p_{x}": "float32" for x in profile.labels},
            **{f"level_{band['name']}_db": "float32" for band in profile.roi_bands}, "calibrated": "bool"}


EFFORT_TYPES = {"recording": "str", "recorder": "str", "channel": "int16", "start_utc": UTC, "end_utc": UTC, "duration_s": "float64", "listened_s": "float64",
                "unlistened": "str", "sample_rate_hz": "int32", "status": "str", "reason": "str", "gap_before_s": "float64", "calibrated": "bool", "sensitivity_db": "float64",
                "missing_labels": "str"}

LEVEL_TYPES = {"UTC": UTC, "recording": "str", "start_s": "float64", "duration_s": "float64", "calibrated": "bool"}  # and a column for each band that there is


def typed(frame: pd.DataFrame, types: dict[str, str]) -> pd.DataFrame:
    """The frame with exactly these columns and types, in this order; works on an empty frame."""
    empty = {"bool": False, "int16": 0, "str": ""}  # of what an older table has not
    new = {name: empty[kind] for name, kind in types.items() if kind in empty and len(frame) and (name not in frame or frame[name].isna().all())}
    frame = frame.assign(**new).reindex(columns=list(types))
    other = {column: types[column] for column, kind in zip(types, frame.dtypes) if str(kind) != types[column]}  # to convert a column takes longer than to look
    times = {column: pd.to_datetime(frame[column], utc=True) for column, kind in other.items() if kind == UTC}  # a column of NaT has no zone yet
    return frame.assign(**times).astype(other)


def table_of(columns: dict, types: dict[str, str], rows: int) -> pd.DataFrame:
    """A table of so many rows with exactly these columns and types, in this order: quicker than `typed` where every column is known.

    `columns`: name -> a value for each row, or one value for all of them.
    """
    made = {}
    for name, kind in types.items():
        values = columns[name]
        if kind == "str":
            made[name] = pd.array([values] * rows if isinstance(values, str) else values, dtype="str")
        elif kind == UTC:
            made[name] = pd.array(values, dtype=UTC)
        else:
            made[name] = np.full(rows, values, dtype=kind)
    return pd.DataFrame(made)


def write_parquet(frame: pd.DataFrame, path: Path, provenance: dict) -> None:
    """Write atomically, with `provenance` as JSON under the key `sea_canary` of the footer."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = arrow_table(frame).replace_schema_metadata({b"sea_canary": json.dumps(provenance, sort_keys=True).encode()})
    repeating = [field.name for field in table.schema if not pa.types.is_floating(field.type)]  # a dictionary of levels would hold each of them once
    with draft(path) as unfinished:
        pq.write_table(table, unfinished, use_dictionary=repeating)


def arrow_table(frame: pd.DataFrame):
    """The frame as an Arrow table without its index. Columns of one number type are taken out together, which for the hundreds of columns
    of `levels` takes a tenth of the time."""
    import pyarrow as pa

    kinds = [str(kind) for kind in frame.dtypes]
    columns = {}
    for kind in ("float64", "float32"):
        here = [i for i, other in enumerate(kinds) if other == kind]
        columns |= dict(zip(here, map(pa.array, frame.iloc[:, here].to_numpy().T)))
    columns |= {i: pa.Array.from_pandas(frame.iloc[:, i]) for i in range(len(kinds)) if i not in columns}
    return pa.table([columns[i] for i in range(len(kinds))], names=list(frame.columns))


def read_provenance(path: Path) -> dict:
    """What made a Parquet file of ours; an empty dict for a file of somebody else's."""
    import pyarrow.parquet as pq

    return json.loads((pq.read_schema(path).metadata or {}).get(b"sea_canary", b"{}"))


def write_text(text: str, path: Path) -> None:
    """Write a text file atomically, UTF-8, Unix line ends."""
    with draft(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", newline="\n")


FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a cell that begins so is one to Excel, and may run a program


def defused(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as a CSV may hold it: an apostrophe before each text that a spreadsheet would take for a formula.

    >>> defused(pd.DataFrame({"recording": ["=1+1.wav", "a.wav"], "low_hz": [-1.0, 2.0]}))["recording"].tolist()
    ["'=1+1.wav", 'a.wav']
    """
    texts = {name: frame[name] for name, kind in frame.dtypes.items() if pd.api.types.is_object_dtype(kind) or isinstance(kind, pd.StringDtype)}
    risky = {name: text.map(lambda cell: isinstance(cell, str) and cell.startswith(FORMULA)) for name, text in texts.items()}
    return frame.assign(**{name: texts[name].where(~cells, "'" + texts[name].astype("str")) for name, cells in risky.items() if cells.any()})


def csv_text(frame: pd.DataFrame, **kwargs) -> str:
    """The frame as CSV, defused: comma, Unix line ends; `kwargs` of `DataFrame.to_csv`."""
    return defused(frame).to_csv(index=False, lineterminator="\n", **kwargs)


def raven_table(events: pd.DataFrame, sample_rates_hz: dict[str, int], offsets_s: dict[str, float] | None = None, calibrated=None) -> pd.DataFrame:
    """Events as a Raven selection table.

    Parameters
    ----------
    sample_rates_hz : recording -> rate: Raven refuses a table with a frequency above Nyquist.
    offsets_s : recording -> where it begins in a sound list opened as one sequence; none for a single file.
    calibrated : whether the recordings are, a bool or one for each: for the name of the levels' column where there is no event.

    Returns
    -------
    DataFrame with Raven's column names, and `Passes` (yes or no), `Flags`: what speaks against the event; `Begin Time (s)` counts from the start of the sequence, `File Offset (s)` from the file's.
    """
    offsets = events["recording"].map(offsets_s or {}).fillna(0.0).astype(float)
    nyquist = events["recording"].map(sample_rates_hz).astype(float) / 2
    scores = events[[c for c in events if c.startswith("score_")]].round(3)
    table = pd.DataFrame({
        "Selection": range(1, len(events) + 1),
        "View": "Spectrogram 1",
        "Channel": events["channel"].astype(int) + 1,
        "Begin Time (s)": (events["start_s"] + offsets).round(4),
        "End Time (s)": (events["end_s"] + offsets).round(4),
        "Low Freq (Hz)": events["low_hz"].round(1),
        "High Freq (Hz)": events["high_hz"].clip(upper=nyquist).round(1),
        "Begin File": events["recording"].str.rsplit("/", n=1).str[-1],
        "File Offset (s)": events["start_s"].round(4),
        "Label": events["labels"],
        "Diphonic": events["diphonic"],
        "Passes": passes(events).map({True: "yes", False: "no"}),
        "Flags": events["flags"] if "flags" in events else "",
        "Species Score": events["species_score"].astype(float).round(3) if "species_score" in events else np.nan,
        "SNR (dB)": events["snr_db"].round(1),
        _level_name(events, calibrated): events["level_db"].round(1),
    })
    if "calibrated" in events:
        table["Calibrated"] = events["calibrated"].astype(bool)
    return pd.concat([table, scores], axis=1)


def _level_name(events: pd.DataFrame, calibrated=None) -> str:
    """Name of Raven's column of levels, which says where they are not calibrated."""
    if len(events):
        calibrated = events["calibrated"] if "calibrated" in events else True
    elif calibrated is None:
        calibrated = [True, False]  # nobody knows
    calibrated = np.atleast_1d(np.asarray(calibrated, bool))
    if calibrated.all():
        return "Level (dB re 1 uPa)"
    return "Level (dB re 1 uPa where calibrated)" if calibrated.any() else f"Level (dB re full scale, {UNKNOWN_DB:g} assumed)"


def write_raven(table: pd.DataFrame, path: Path) -> None:
    """Tab-separated, as Raven writes it."""
    write_text(table.to_csv(sep="\t", index=False, lineterminator="\n"), path)
