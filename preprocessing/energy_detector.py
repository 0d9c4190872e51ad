"""A detector that would rather cry wolf: the energy of a few bands against its own running background, with a low threshold.

    found = detect_energy(recordings, profile)                         # recording, start_s, end_s, low_hz, high_hz, excess_db, start_utc, end_utc
    checked = with_verdicts(found, truth, ("Whistle", "BBPC"))         # true, false, unsure: what an expert would have written
    write_detections(checked, "found.xlsx")                            # as `read_detections` reads it

It stands where the basic detector of the Cook Inlet study stood (most of what it finds is false), so that the validation of detections can be shown on simulated deployments,
whose truth is known. What this gate does not let through no later step finds: `reached` says how much of the truth it touched.

The picture (dB re 1 µPa²/Hz) is averaged in power over each band and `cell_s`; the background is the running `quantile` of this level over `background_s`. What exceeds it by `threshold_db` is
a find; those closer than `merge_s`, in any band, are one. Recordings are streamed, of any length.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import percentile_filter

from preprocessing.detection_places import usable
from preprocessing.spans import merged
from preprocessing.verdicts import FALSE, TRUE, UNSURE
from spectrogram.generator import SpectrogramGenerator
from spectrogram.profile import Profile
from spectrogram.recording import BadRecording, Recording

TYPES = {"recording": "str", "start_s": "float64", "end_s": "float64", "low_hz": "float64", "high_hz": "float64", "excess_db": "float64",
         "start_utc": "datetime64[us, UTC]", "end_utc": "datetime64[us, UTC]", "serial": "str", "site": "str"}
SHORTHAND = {TRUE: "B", FALSE: "F", UNSURE: "?"}
MEETS_S = 0.05  # a detection meets a call if they share this much, or half the call


@dataclass(frozen=True)
class EnergyDetector:
    """bands_hz: each watched by itself; one that a recording does not hold is passed over. Times in seconds, threshold in dB above the background."""

    bands_hz: tuple = ((500, 4000), (4000, 12000), (12000, 40000))
    threshold_db: float = 2.0
    cell_s: float = 0.05
    background_s: float = 20.0
    quantile: float = 0.5
    merge_s: float = 0.3
    least_s: float = 0.1

    def spans(self, level_db: np.ndarray, cell_s: float) -> pd.DataFrame:
        """Finds in band levels (cells, bands) dB: start_s, end_s, low_hz, high_hz (the hull of the bands that rose), excess_db (the highest)."""
        excess = level_db - background_db(level_db, max(3, round(self.background_s / cell_s)), self.quantile)
        above = excess > self.threshold_db
        per_band = [_runs(above[:, k]) * cell_s for k in range(above.shape[1])]
        half = self.merge_s / 2
        joined = merged(np.concatenate([np.empty((0, 2)), *per_band]) + (-half, half)) - (-half, half)
        joined = joined[joined[:, 1] - joined[:, 0] >= self.least_s - 1e-9]
        rows = []
        for start_s, end_s in joined:
            part = slice(round(start_s / cell_s), round(end_s / cell_s))
            rose = np.flatnonzero(above[part].any(axis=0))
            rows.append((start_s, end_s, self.bands_hz[rose[0]][0], self.bands_hz[rose[-1]][1], np.nanmax(excess[part])))
        return pd.DataFrame(rows, columns=["start_s", "end_s", "low_hz", "high_hz", "excess_db"])


def detect_energy(recordings, profile: Profile, detector: EnergyDetector = EnergyDetector()) -> pd.DataFrame:
    """Everything the detector finds, columns as in `TYPES`; recordings that cannot be read are told in `.attrs["notes"]`.

    Parameters
    ----------
    recordings : table, folder or files (`list_recordings`).
    """
    recordings, notes = usable(recordings)
    generator, tables = SpectrogramGenerator(profile), []
    for row in recordings.itertuples():
        try:
            sound = Recording(row.path)
            levels, cell_s = band_levels_db(generator, sound, detector.bands_hz, detector.cell_s)
        except BadRecording as error:
            notes.append(str(error))
            continue
        found = detector.spans(levels, cell_s)
        found["end_s"] = np.minimum(found["end_s"], sound.duration_s)
        start_utc = pd.to_datetime(getattr(row, "start_utc", pd.NaT), utc=True)
        found = found[found["end_s"] > found["start_s"]].assign(recording=row.recording, serial=row.serial, site=row.site)
        tables.append(found.assign(**{f"{edge}_utc": start_utc + pd.to_timedelta(found[f"{edge}_s"], unit="s") for edge in ("start", "end")}))
    nothing = pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in TYPES.items()})
    out = pd.concat([nothing, *(table.astype(TYPES) for table in tables)], ignore_index=True)
    out.attrs = {"notes": notes}
    return out


def band_levels_db(generator: SpectrogramGenerator, sound: Recording, bands_hz, cell_s: float) -> tuple[np.ndarray, float]:
    """(cells, bands) dB, NaN for a band of which the recording shows nothing; and the seconds of a cell, a whole number of frames. A last cell that is not whole is left out."""
    profile = generator.profile
    per_cell = max(1, round(cell_s * profile.frame_rate_hz))
    centres = profile.band_centres_hz
    chosen = [(centres >= low_hz) & (centres < high_hz) & profile.visible_bands(sound.nyquist_hz) for low_hz, high_hz in bands_hz]
    held, cells = np.empty((0, len(chosen)), np.float32), []
    for piece in generator.stream(sound):
        power = np.power(10, piece.picture_db / 10)
        bands = np.stack([power[:, mine].mean(axis=1) if mine.any() else np.full(len(power), np.nan, np.float32) for mine in chosen], axis=1)
        held = np.concatenate([held, bands])
        whole = len(held) // per_cell * per_cell
        cells.append(held[:whole].reshape(-1, per_cell, len(chosen)).mean(axis=1))
        held = held[whole:]
    return 10 * np.log10(np.maximum(np.concatenate(cells), 1e-20)), per_cell / profile.frame_rate_hz


def background_db(level_db: np.ndarray, cells: int, quantile: float) -> np.ndarray:
    """(cells, bands) running quantile over so many cells, mirrored at the ends; taken of means over tenths of the span, which changes little and costs little."""
    step = max(1, cells // 10)
    whole = -(-len(level_db) // step) * step
    coarse = np.pad(level_db, ((0, whole - len(level_db)), (0, 0)), mode="edge").reshape(-1, step, level_db.shape[1])
    coarse = np.nan_to_num(np.median(coarse, axis=1), nan=0.0)
    running = percentile_filter(coarse, 100 * quantile, size=(min(max(1, cells // step), len(coarse)), 1), mode="reflect")
    at, middles = np.arange(len(level_db)), np.arange(len(coarse)) * step + (step - 1) / 2
    return np.stack([np.interp(at, middles, running[:, k]) for k in range(level_db.shape[1])], axis=1)


def with_verdicts(detections: pd.DataFrame, truth: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    """The detections with `verdict`: true if one meets a call of `labels` that can be heard, unsure if only one that cannot, else false.

    Parameters
    ----------
    truth : recording, label, start_s, end_s, audible; of the same recording names.
    """
    heard, faint = _meets(detections, truth, labels)
    return detections.assign(verdict=np.where(heard, TRUE, np.where(faint, UNSURE, FALSE)))


def reached(detections: pd.DataFrame, truth: pd.DataFrame, labels: tuple[str, ...]) -> dict:
    """How many of the calls that can be heard the detector touched: {calls, reached, share}."""
    calls = truth[truth["label"].isin(labels) & truth["audible"].astype(bool)]
    touched, _ = _meets(calls, detections.assign(label=labels[0], audible=True), labels)
    return {"calls": len(calls), "reached": int(touched.sum()), "share": float(touched.mean()) if len(calls) else np.nan}


def write_detections(detections: pd.DataFrame, path: str | Path) -> Path:
    """Detections with verdicts as a table to check: UTC, UTCMilliseconds, Duration (s), Serial, Mooring, Species (B, F or ?); .xlsx, else CSV."""
    if detections["start_utc"].isna().any():
        raise ValueError(f"{path}: {int(detections['start_utc'].isna().sum())} detections have no time, their recordings' names tell none; name the recordings by their start")
    moment = detections["start_utc"].dt.tz_convert("UTC").dt.tz_localize(None)
    table = pd.DataFrame({"UTC": moment.dt.floor("s"), "UTCMilliseconds": moment.dt.microsecond // 1000, "Duration (s)": (detections["end_s"] - detections["start_s"]).round(3),
                          "Serial": detections["serial"], "Mooring": detections["site"], "Species": detections["verdict"].map(SHORTHAND)})
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if Path(path).suffix.lower() == ".xlsx":
        table.to_excel(path, index=False, sheet_name="detections", engine="openpyxl")
    else:
        table.to_csv(path, index=False)
    return Path(path)


def _meets(spans: pd.DataFrame, calls: pd.DataFrame, labels: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(n,) bool twice: whether each span meets a call that can be heard, and one that cannot."""
    heard, faint = np.zeros(len(spans), bool), np.zeros(len(spans), bool)
    theirs = dict(tuple(calls[calls["label"].isin(labels)].groupby("recording")))
    for name, rows in spans.groupby("recording").indices.items():
        mine = theirs.get(name)
        if mine is None:
            continue
        start, end = (spans[edge].to_numpy()[rows, None] for edge in ("start_s", "end_s"))
        first, last = mine["start_s"].to_numpy(), mine["end_s"].to_numpy()
        shared = np.minimum(end, last) - np.maximum(start, first)
        met = shared >= np.minimum(MEETS_S, np.minimum(last - first, end - start) / 2)
        audible = mine["audible"].to_numpy().astype(bool)
        heard[rows], faint[rows] = (met & audible).any(axis=1), (met & ~audible).any(axis=1)
    return heard, faint


def _runs(flags: np.ndarray) -> np.ndarray:
    """(m, 2) first and one past the last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return edges.reshape(-1, 2).astype(float)
