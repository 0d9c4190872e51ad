"""A new deployment scored: every window with the probability of each network and of the ensemble, and presence by day.

    scored = score_deployment(recordings, {"vgg16": load_model("results/a"), "resnet50": load_model("results/b")}, {"vgg16": 0.3, "resnet50": 0.7}, "out/scores.parquet", limit=0.6)
    scored.daily

    python -m training.score_table results/cook_inlet /data/2018 out/2018      # an ensemble that is kept: out/2018/scores.parquet, out/2018/daily.csv

Networks share one front end, so one picture serves all. Recordings are streamed and the table is written as it grows (Parquet: no end at 1 048 576 rows, as Excel has); it is written aside and renamed, so
a table that is there is whole. What cannot be read is told in a line each, and the rest goes on. A day without sound is not in the daily table: nobody listened, which is not absence.
"""
from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.dataset import front_end_key, pad_to_windows
from preprocessing.detection_places import usable
from spectrogram.generator import SpectrogramGenerator
from spectrogram.names import zone
from spectrogram.recording import BadRecording, Recording
from training.ensemble import ENSEMBLE, ensemble

BATCH = 64
DAILY = ["site", "day", "listened_s", "windows", "windows_with", "presence", "highest"]


@dataclass
class Scored:
    """path of the table of windows; daily: see `daily_presence`; windows: rows of the table; notes: what could not be read or placed in time."""

    path: Path
    daily: pd.DataFrame
    windows: int
    notes: list[str] = field(default_factory=list)


def score_deployment(recordings, models: dict, weights: dict[str, float], path: str | Path, limit: float, label: str | None = None, least_windows: int = 1,
                     time_zone: str = "UTC") -> Scored:
    """Score recordings and write the table.

    Parameters
    ----------
    recordings : table, folder or files. models : network -> `SavedModel`, all of one front end. weights : network -> share in the ensemble (`ensemble.convex_weights`).
    path : Parquet file: recording, site, serial, start_s, end_s, start_utc, prob_NETWORK ..., prob_ensemble (NaN where the recording's rate cannot show the label), new_s (seconds
        that no window before it held).
    limit : probability of the ensemble from which a window counts. label : which one of the models'; None: their only one.
    least_windows : how many such windows make a day present. time_zone : whose days.

    Raises
    ------
    ValueError
        where models, weights and label do not fit together.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    profile, label, names = _common(models, weights, label)
    zone(time_zone)
    share = np.array([weights[name] for name in names], float)
    recordings, notes = usable(recordings)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside, writer, days, count = path.with_name(path.name + ".part"), None, [], 0
    generator = SpectrogramGenerator(profile)
    try:
        for row in recordings.itertuples():
            try:
                table = score_recording(row.path, generator, models, share, label, row.recording, row.site, row.serial, getattr(row, "start_utc", None))
            except BadRecording as error:
                notes.append(str(error))
                continue
            block = pa.Table.from_pandas(table, preserve_index=False)
            writer = writer or pq.ParquetWriter(aside, block.schema)
            writer.write_table(block)
            days.append(daily_presence(table, limit, 1, time_zone))
            count += len(table)
            if table["start_utc"].isna().any():
                notes.append(f"{row.recording}: no start time; its windows are in the table, but on no day")
        if writer is None:
            raise ValueError(f"{path}: none of {len(recordings)} recordings could be scored" + (f"; the first: {notes[0]}" if notes else ""))
    finally:
        if writer is not None:
            writer.close()
    os.replace(aside, path)
    return Scored(path, _joined_days(days, least_windows), count, notes)


def score_recording(path, generator: SpectrogramGenerator, models: dict, share: np.ndarray, label: str, recording: str, site: str = "", serial: str = "", start_utc=None) -> pd.DataFrame:
    """Windows of one recording, in order; columns as in `score_deployment`."""
    sound, profile = Recording(path), generator.profile
    start_utc = pd.Timestamp(sound.start_utc if start_utc is None or pd.isna(start_utc) else start_utc)
    prob = np.concatenate([np.column_stack([model.predict(batch)[0][:, model.labels.index(label)] for model in models.values()]) for batch in windows_of(generator, sound)])
    if not profile.observable(label, sound.nyquist_hz):
        prob = np.full_like(prob, np.nan)
    start_s = np.arange(len(prob)) * profile.step_s
    end_s = np.minimum(start_s + profile.window_s, sound.duration_s)
    table = pd.DataFrame({"recording": recording, "site": site, "serial": serial, "start_s": start_s, "end_s": end_s})
    start = pd.Series(start_utc, table.index) if not pd.isna(start_utc) else pd.Series(pd.NaT, table.index)
    table["start_utc"] = (pd.to_datetime(start, utc=True) + pd.to_timedelta(start_s, unit="s")).astype("datetime64[us, UTC]")
    for k, name in enumerate(models):
        table[f"prob_{name}"] = prob[:, k].astype(np.float32)
    table[f"prob_{ENSEMBLE}"] = ensemble(prob, share).astype(np.float32)
    table["new_s"] = np.diff(end_s, prepend=0.0)
    return table


def windows_of(generator: SpectrogramGenerator, sound: Recording) -> Iterator[np.ndarray]:
    """The profile's windows of a recording, in batches (n, frames, bands) dB, the same as those of a data set: the last one is filled with NaN beyond the recording's end."""
    profile = generator.profile
    size, step = profile.window_frames, profile.step_frames
    held, count = np.empty((0, profile.n_bands), np.float32), 0

    def cut(picture: np.ndarray) -> np.ndarray:
        return np.lib.stride_tricks.sliding_window_view(picture, size, axis=0)[::step].swapaxes(1, 2)

    for piece in generator.stream(sound):
        held = np.concatenate([held, piece.picture_db])
        if len(held) >= size:
            windows = cut(held)
            held, count = held[len(windows) * step:], count + len(windows)
            yield from (windows[k:k + BATCH] for k in range(0, len(windows), BATCH))
    if count == 0 or len(held) > size - step:  # something that no window has held yet
        yield cut(pad_to_windows(held, profile))[:1]


def daily_presence(scores: pd.DataFrame, limit: float, least_windows: int = 1, time_zone: str = "UTC") -> pd.DataFrame:
    """Presence by site and day.

    Parameters
    ----------
    scores : windows as of `score_deployment`. A window counts for the day in which it starts.

    Returns
    -------
    site, day (date in `time_zone`), listened_s, windows, windows_with (probability of the ensemble at `limit` or above), presence, highest (probability). Windows without a time or a
    probability take no part.
    """
    known = scores[scores["start_utc"].notna() & scores[f"prob_{ENSEMBLE}"].notna()]
    day = known["start_utc"].dt.tz_convert(zone(time_zone)).dt.strftime("%Y-%m-%d")
    rows = pd.DataFrame({"site": known["site"], "day": day, "listened_s": known["new_s"], "windows": 1, "windows_with": (known[f"prob_{ENSEMBLE}"] >= limit).astype(int),
                         "highest": known[f"prob_{ENSEMBLE}"]})
    return _joined_days([rows], least_windows)


def _joined_days(parts: list[pd.DataFrame], least_windows: int) -> pd.DataFrame:
    rows = pd.concat(parts, ignore_index=True)
    out = rows.groupby(["site", "day"], as_index=False).agg({"listened_s": "sum", "windows": "sum", "windows_with": "sum", "highest": "max"})
    return out.assign(presence=out["windows_with"] >= least_windows)[DAILY]


def _common(models: dict, weights: dict[str, float], label: str | None):
    """The profile and label of all models, and their names in order."""
    if not models or set(models) != set(weights):
        raise ValueError(f"models are {', '.join(models) or 'none'}, weights are of {', '.join(weights) or 'none'}; give one weight for each model")
    total = sum(weights.values())
    if min(weights.values()) < 0 or abs(total - 1) > 1e-6:
        raise ValueError(f"weights sum to {total:g}, the lowest is {min(weights.values()):g}; they must not be negative and sum to 1, as convex_weights gives them")
    first = next(iter(models.values()))
    for name, model in models.items():
        one, other = ((front_end_key(m.profile), m.profile.window_s, m.profile.step_s) for m in (first, model))
        if one != other:
            raise ValueError(f"model {name} has another front end than {next(iter(models))}; score with models of one profile")
    label = label or (first.labels[0] if len(first.labels) == 1 else None)
    lacking = [name for name, model in models.items() if label not in model.labels]
    if lacking:
        raise ValueError(f"model {lacking[0]} answers {', '.join(models[lacking[0]].labels)}, not {label!r}; say which label")
    return first.profile, label, list(models)


def main(words: list[str] | None = None) -> int:
    """Score a folder of recordings by the ensemble of an experiment; 2 where it cannot be had, or none of the recordings can be read."""
    import argparse
    import sys

    from training.saved_ensemble import BadModel, load_ensemble

    parser = argparse.ArgumentParser(prog="python -m training.score_table", description="Score recordings by an experiment's ensemble: scores.parquet and daily.csv.")
    parser.add_argument("ensemble", help="an experiment's folder, such as results/cook_inlet")
    parser.add_argument("recordings", help="a folder, with a folder for each mooring")
    parser.add_argument("output", help="folder for the tables")
    parser.add_argument("--time-zone", default="UTC", help="whose days are counted")
    a = parser.parse_args(words)
    try:
        made = load_ensemble(a.ensemble)
        scored = score_deployment(a.recordings, made.models, made.weights, Path(a.output) / "scores.parquet", made.limit, time_zone=a.time_zone)
    except (BadModel, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    scored.daily.to_csv(Path(a.output) / "daily.csv", index=False)
    print(*scored.notes, f"{scored.windows} windows in {scored.path}", sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
