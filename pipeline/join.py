"""All parts of a run, joined into the final tables: streamed, in order of the recordings' paths, whoever finished first.

Memory holds one batch of rows, and the effort: a hundred thousand recordings are joined as one hundred are. The final tables are replaced
together when all of them are written.
"""
from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from zipfile import BadZipFile

import pandas as pd

from pipeline.drafts import draft
from pipeline.effort import CRYSTAL, OVERLAP_S, one_each, with_places
from pipeline.events import call_labels
from pipeline.flags import passes
from pipeline.parts import PartFile
from pipeline.tables import EFFORT_TYPES, LEVEL_TYPES, TABLES, csv_text, event_types, region_types, typed, window_types
from spectrogram.dating import IMPOSSIBLE

SMALL = 100  # tables that are merged at once
BATCH_BYTES = 32_000_000
CSV_ROWS = 100_000
CSV_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


class PartChanged(RuntimeError):
    """A part is not the one that this run made or found."""


def join_parts(folder: Path, parts: list[tuple[Path, str]], made: dict, profile, csv: bool = False, tick: Callable[[], None] = lambda: None,
               marks: dict[Path, tuple[str, str]] | None = None) -> pd.DataFrame:
    """Join parts into `folder`/TABLE.parquet (and .csv).

    Parameters
    ----------
    parts : (file, fingerprint) of each recording, in the order of the tables' rows. made : what stands in the tables' footers.
    tick : called for each part, twice. marks : (status, line of its reason) for parts of earlier runs; "": as the part has it.

    Returns
    -------
    Summary, one row for each recording: effort and how many events of each label it holds.

    Raises
    ------
    PartChanged
        where a part is missing or not of this fingerprint: another run with other settings is at work here.
    OSError
        where the tables cannot be written; the old ones stay.
    """
    efforts, level_schema, seen = [], _schema(typed(pd.DataFrame(), LEVEL_TYPES)), []
    merged = []
    for path, fingerprint in parts:
        with _opened(path, fingerprint) as part:
            effort = part.table("effort").replace_schema_metadata(None)
            efforts.append(_marked(effort, *marks[path]) if marks and path in marks else effort)
            if len(efforts) >= SMALL:
                merged, efforts = [*merged, _merged(efforts)], []
            levels = part.schema("levels")
            if not any(levels.equals(other) for other in seen):
                seen.append(levels)
                level_schema = _with_fields(level_schema, levels)
        tick()
    effort = with_gaps(_effort([*merged, *efforts]))
    schemas = {"events": _schema(typed(pd.DataFrame(), event_types(profile))), "regions": _schema(typed(pd.DataFrame(), region_types(profile))), "windows": _schema(typed(pd.DataFrame(), window_types(profile))),
               "levels": _of_frame(level_schema)}
    counts: dict[str, Counter] = defaultdict(Counter)
    with ExitStack() as finished:  # drafts take their names when all is written
        drafts = {table: finished.enter_context(draft(folder / f"{table}.parquet")) for table in TABLES}
        with ExitStack() as writing:
            writers = {table: writing.enter_context(BatchWriter(drafts[table], schema, made)) for table, schema in schemas.items()}
            for path, fingerprint in parts:
                with _opened(path, fingerprint) as part:
                    for table, writer in writers.items():
                        rows = part.table(table)
                        writer.add(rows)
                        if table == "events":
                            _count(rows, counts)
                tick()
            with BatchWriter(drafts["effort"], _schema(effort), made) as writer:
                writer.add(_arrow(effort))
        if csv:
            for table in TABLES:
                _write_csv(drafts[table], finished.enter_context(draft(folder / f"{table}.csv")))
    return _summary(effort, counts, profile)


def _opened(path: Path, fingerprint: str) -> PartFile:
    try:
        part = PartFile(path)
    except (OSError, BadZipFile) as error:
        raise PartChanged(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}), though this run made or found it; run again") from None
    if part.made.get("fingerprint") != fingerprint:
        part.archive.close()
        raise PartChanged(f"{path}: was made anew meanwhile, by a run with other settings or from a changed file; let the other run end and run again, "
                          "or choose another output folder")
    return part


# ------------------------------------------------------------------------------------------------------------ Arrow


class BatchWriter:
    """Writes tables one after another into a Parquet file, in row groups of some BATCH_BYTES; columns that a table lacks are missing values."""

    def __init__(self, path: Path, schema, made: dict):
        import pyarrow.parquet as pq

        self.schema = schema.with_metadata({**(schema.metadata or {}), b"sea_canary": json.dumps(made, sort_keys=True, default=str).encode()})
        self.writer = pq.ParquetWriter(path, self.schema)
        self.small, self.waiting, self.bytes = [], [], 0

    def __enter__(self) -> "BatchWriter":
        return self

    def __exit__(self, *broken) -> None:
        try:
            if broken[0] is None:
                self._flush()
        finally:
            self.writer.close()

    def add(self, table) -> None:
        if len(table):
            unknown = [name for name in table.column_names if self.schema.get_field_index(name) < 0]  # of earlier code
            self.small.append((table.drop_columns(unknown) if unknown else table).replace_schema_metadata(None))
        if len(self.small) >= SMALL:
            self._merge()
        if self.bytes >= BATCH_BYTES:
            self._flush()

    def _merge(self) -> None:
        """Small tables into one: a few rows in hundreds of columns take many times their bytes."""
        import pyarrow as pa

        if self.small:
            bare = self.schema.remove_metadata()
            self.waiting.append(pa.concat_tables([bare.empty_table(), *self.small], promote_options="default").cast(bare).combine_chunks())
            self.small, self.bytes = [], self.bytes + self.waiting[-1].nbytes

    def _flush(self) -> None:
        import pyarrow as pa

        self._merge()
        if self.waiting:
            batch = pa.concat_tables(self.waiting).combine_chunks()
            self.writer.write_table(batch.replace_schema_metadata(self.schema.metadata), row_group_size=max(len(batch), 1))
        self.waiting, self.bytes = [], 0


def _arrow(frame: pd.DataFrame):
    import pyarrow as pa

    return pa.Table.from_pandas(frame, preserve_index=False)


def _schema(frame: pd.DataFrame):
    return _arrow(frame).schema


def _with_fields(schema, more):
    """The schema with the fields that it lacks: recordings at different rates have levels in different bands."""
    known = set(schema.names)
    for field in more:
        if field.name not in known:
            schema = schema.append(field)
    return schema


def _of_frame(schema):
    """The schema as pandas would write it, so that it reads back the same types."""
    return _schema(schema.remove_metadata().empty_table().to_pandas().astype({"UTC": LEVEL_TYPES["UTC"], "recording": "str"}))


def _marked(effort, status: str, reason: str):
    """A part's effort with another status, and a line more in its reason."""
    import pyarrow as pa

    for name, value in {"status": status, "reason": "; ".join(filter(None, [effort["reason"][0].as_py(), reason]))}.items():
        if value:
            field = effort.schema.field(name)
            effort = effort.set_column(effort.schema.get_field_index(name), field, pa.array([value], field.type))
    return effort


def _merged(tables: list):
    """Small tables of one schema as one: each by itself, of one row, takes some 20 kB."""
    import pyarrow as pa

    return pa.concat_tables(tables, promote_options="default").combine_chunks()  # parts of earlier code may lack a column


def _effort(tables: list) -> pd.DataFrame:
    return typed(_merged(tables).to_pandas() if tables else pd.DataFrame(), EFFORT_TYPES)


def _write_csv(parquet: Path, path: Path) -> None:
    import pyarrow.parquet as pq

    with open(path, "w", encoding="utf-8", newline="") as file, pq.ParquetFile(parquet) as source:
        file.write(",".join(source.schema_arrow.names) + "\n")
        for batch in source.iter_batches(CSV_ROWS):
            file.write(csv_text(batch.to_pandas(), header=False, date_format=CSV_TIME))


# ------------------------------------------------------------------------------------------------------------ what was done


def with_gaps(effort: pd.DataFrame) -> pd.DataFrame:
    """Effort in order of time, each recording with the gap since the same recorder's last sound (negative: it overlaps an earlier
    recording, and where that is more than a crystal that runs fast explains, its reason says so). A date that cannot be right is said, and makes no gap.
    Recorders are told apart as `pipeline.effort.recorders` does."""
    effort = effort.sort_values(["start_utc", "recording"], ignore_index=True)
    placed = with_places(effort)
    recorder, start, end = (placed[column] for column in ("recorder", "start_utc", "end_utc"))
    ends = end.groupby(recorder).cummax().groupby(recorder).shift()
    before_s = ((end - start) / timedelta(seconds=1)).groupby(recorder).shift().fillna(0.0)
    effort["gap_before_s"] = (start - ends) / timedelta(seconds=1)
    for i in effort.index[effort["gap_before_s"] < -OVERLAP_S - CRYSTAL * before_s]:
        _say(effort, i, f"overlaps an earlier recording by {-effort.at[i, 'gap_before_s']:.1f} s; check the recorders' clocks")
    for i in effort.index[(placed["impossible"] != "") & ~effort["reason"].str.contains(IMPOSSIBLE, regex=False).fillna(False)]:
        _say(effort, i, f"its date, {effort.at[i, 'start_utc']:%Y-%m-%d %H:%M:%S}, {IMPOSSIBLE}: it {placed.at[i, 'impossible']}; "
                        "tables of time leave it out, give its start with --overrides")
    return effort


def _say(effort: pd.DataFrame, row: int, line: str) -> None:
    """Add a line to a recording's reason."""
    effort.at[row, "reason"] = "; ".join(filter(None, [effort.at[row, "reason"], line]))


def _count(events, counts: dict[str, Counter]) -> None:
    """Add a part's events to the counts of its recording: by label, diphonic ones, and all."""
    if not len(events):
        return
    count = counts[events["recording"][0].as_py()]
    for labels in events["labels"].to_pylist():
        count.update(labels.split("+"))
    count["diphonic"] += sum(events["diphonic"].to_pylist())
    count["events"] += len(events)
    count["passing"] += int(passes(events.select(["flags"]).to_pandas()).sum()) if "flags" in events.column_names else len(events)


def _summary(effort: pd.DataFrame, counts: dict[str, Counter], profile) -> pd.DataFrame:
    """Effort with the number of events of each label, of diphonic ones, of all and of those that pass, for each recording."""
    table = one_each(effort)[["recording", "start_utc", "duration_s", "sample_rate_hz", "status", "reason", "gap_before_s", "missing_labels"]].copy()
    for what in (*call_labels(profile), "diphonic", "events", "passing"):
        table[what] = pd.Series([counts[name][what] if name in counts else 0 for name in table["recording"]], dtype="int64")
    return table
