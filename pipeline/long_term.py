"""Sound levels of a whole deployment in one picture: long-term spectral average, and percentiles of the spectral density.

The levels table of two years is larger than memory, so it is read piece by piece into bins of time and, for percentiles, into counts of a quarter of a
decibel for each frequency. Averages are taken in power (Merchant et al. 2015, doi:10.1111/2041-210X.12330).
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.effort import epoch_s, one_each, with_places
from spectrogram.levels import PSD_BANDS_PER_DECADE
from spectrogram.units import all_calibrated

MAX_BINS = 1000
STEP_DB, LOWEST_DB, STEPS = 0.25, -50.0, 1200  # -50 to 250 dB re 1 µPa^2/Hz
ROWS_AT_ONCE = 2 ** 14


@dataclass
class LongTerm:
    """Spectral density of some recordings over time.

    edges_s (bins + 1,): seconds since 1970, or of sound, one recording after another, where `dated` is false; centres_hz (bands,);
    level_db (bins, bands): dB re 1 µPa^2/Hz, NaN where nothing was recorded; percentile_db (3, bands): p05, p50, p95 over rows of the levels table;
    row_s: their usual length; recordings: how many took part; calibrated: whether all of them are.
    """

    dated: bool
    edges_s: np.ndarray
    centres_hz: np.ndarray
    level_db: np.ndarray
    percentile_db: np.ndarray
    row_s: float
    recordings: int
    calibrated: bool = True

    @property
    def borders_hz(self) -> np.ndarray:
        """(bands + 1,) half-way between neighbours on a log axis, half a column's width beyond the first and the last."""
        half = 10 ** (0.5 / PSD_BANDS_PER_DECADE)
        return np.concatenate([[self.centres_hz[0] / half], np.sqrt(self.centres_hz[:-1] * self.centres_hz[1:]), [self.centres_hz[-1] * half]])


def long_term(levels: pd.DataFrame | str | Path, effort: pd.DataFrame, max_bins: int = MAX_BINS) -> LongTerm | None:
    """Average the PSD_ columns of a levels table (or of the `levels.parquet` at a path) over the recordings in `effort`; None where there is nothing.

    Recordings without a start time take part only where none has one; they then stand one after another.
    """
    columns = [c for c in _columns(levels) if c.startswith("PSD_") and c[4:].replace(".", "", 1).isdecimal()]
    effort = with_places(one_each(effort[effort["duration_s"] > 0]))
    dated = bool(effort["start_utc"].notna().any())
    effort = effort[effort["start_utc"].notna()] if dated else effort
    if not columns or not len(effort):
        return None
    begins_s = epoch_s(effort["start_utc"]) if dated else (effort["duration_s"].cumsum() - effort["duration_s"]).to_numpy()
    first_s, last_s = float(begins_s.min()), float((epoch_s(effort["end_utc"]) if dated and "end_utc" in effort else begins_s + effort["duration_s"].to_numpy()).max())
    width_s = max((last_s - first_s) / max_bins, min(effort["duration_s"].max(), 60.0))
    step_s = float(np.median(np.diff(np.sort(begins_s)))) if len(begins_s) > 30 else 0.0
    width_s = max(width_s, step_s if step_s < (last_s - first_s) / 30 else 0.0)  # a duty cycle's pauses are no gaps
    bins = max(1, int(np.ceil((last_s - first_s) / width_s - 1e-9)))
    numbers = np.round(PSD_BANDS_PER_DECADE * np.log10([float(c[4:]) / 1000 for c in columns])).astype(int)
    columns, numbers = [columns[i] for i in np.argsort(numbers)], np.sort(numbers)
    power, weight = np.zeros((bins, len(columns))), np.zeros((bins, len(columns)))
    counts, usual_s, used = np.zeros((len(columns), STEPS), np.int64), 0.0, np.zeros(len(effort), bool)
    names = pd.Index(effort["recording"])
    for batch in _batches(levels, ["UTC", "recording", "start_s", "duration_s", *columns]):
        row = names.get_indexer(batch["recording"])
        batch, row = batch[row >= 0], row[row >= 0]
        if not len(row):
            continue
        used[row] = True
        length_s = batch["duration_s"].to_numpy()
        usual_s = max(usual_s, length_s.max())
        level_db = batch[columns].to_numpy(dtype=np.float64)
        starts_s = begins_s[row] + batch["start_s"].to_numpy()
        if dated:  # the recorder may have paused inside a file
            told_s = epoch_s(batch["UTC"])
            starts_s = np.where(np.isnan(told_s), starts_s, told_s)
        at = np.clip(((starts_s + length_s / 2 - first_s) / width_s).astype(int), 0, bins - 1)
        _add(power, weight, at, level_db, length_s)
        _count(counts, level_db[length_s >= usual_s / 2])
    if not used.any():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        average_db = 10 * np.log10(power / np.where(weight > 0, weight, np.nan))
    centres_hz = 1000 * 10 ** (numbers / PSD_BANDS_PER_DECADE)  # names are rounded
    return LongTerm(dated, first_s + width_s * np.arange(bins + 1), centres_hz, average_db, _percentiles(counts, (0.05, 0.5, 0.95)), usual_s,
                    int(used.sum()), all_calibrated(effort[used]))


def _columns(levels) -> list[str]:
    if isinstance(levels, pd.DataFrame):
        return list(levels)
    import pyarrow.parquet as pq

    return pq.read_schema(levels).names


def _batches(levels, columns: list[str]):
    if isinstance(levels, pd.DataFrame):
        for k in range(0, len(levels), ROWS_AT_ONCE):
            yield levels[columns].iloc[k:k + ROWS_AT_ONCE]
        return
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(levels).iter_batches(ROWS_AT_ONCE, columns=columns):
        yield batch.to_pandas()


def _add(power: np.ndarray, weight: np.ndarray, at: np.ndarray, level_db: np.ndarray, length_s: np.ndarray) -> None:
    """Add rows to their bins, in power, weighted by their length; a missing level adds nothing."""
    known = np.isfinite(level_db)
    order = np.argsort(at, kind="stable")
    bins, starts = np.unique(at[order], return_index=True)
    power[bins] += np.add.reduceat((np.where(known, 10 ** (level_db / 10), 0) * length_s[:, None])[order], starts, axis=0)
    weight[bins] += np.add.reduceat((known * length_s[:, None])[order], starts, axis=0)


def _count(counts: np.ndarray, level_db: np.ndarray) -> None:
    """Count levels in steps of STEP_DB, for each band."""
    step = np.clip((np.nan_to_num(level_db, nan=LOWEST_DB) - LOWEST_DB) / STEP_DB, 0, STEPS - 1).astype(np.int64) + np.arange(len(counts)) * STEPS
    counts += np.bincount(step[np.isfinite(level_db)], minlength=counts.size).reshape(counts.shape)


def _percentiles(counts: np.ndarray, shares) -> np.ndarray:
    """(shares, bands): levels below which these shares of the counts lie, to a step; NaN for bands without a count."""
    so_far = np.cumsum(counts, axis=1)
    found = []
    for share in shares:
        step = (so_far < share * so_far[:, -1:]).sum(axis=1)
        found.append(np.where(so_far[:, -1] > 0, LOWEST_DB + (step + 0.5) * STEP_DB, np.nan))
    return np.array(found)
