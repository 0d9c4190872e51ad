"""One recording in, named calls out.

    from pipeline import run_pipeline_single_audio
    result = run_pipeline_single_audio("6872.220716021453.wav", debug=True)
    result.events

The way of one second of sound: blocks of samples -> one power spectrum -> levels and picture -> regions of interest, and the model on a
window every half second -> one trace of probability for each label -> events. With `denoise` the model's picture, and nothing else, is made of denoised sound. Chunks of 16 s pass through two worker threads (spectrogram, model) while
this thread finds the regions and joins the results in order; nothing depends on who was faster, and nothing holds a whole recording.
"""
from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from pipeline.denoised import beside, chosen
from pipeline.events import SpanCutter, event_rows
from pipeline.provenance import provenance
from pipeline.tables import EFFORT_TYPES, TABLES, event_types, raven_table, table_of, window_types, write_parquet, write_raven, write_text
from pipeline.traces import TraceJoiner, WindowCutter
from ROI.detector import BOX, RoiDetector, boxes_table
from spectrogram.chunks import CHUNK_S
from spectrogram.generator import COARSE_FRAMES, Piece, SpectrogramGenerator
from spectrogram.levels import FLOOR, Seconds, level_frame, level_rows
from spectrogram.memory import keep_freed_memory
from spectrogram.names import utc_times
from spectrogram.profile import Profile
from spectrogram.recording import BadRecording, Recording, reason
from spectrogram.threads import one_thread_per_call


@dataclass
class PipelineResult:
    """What a recording held.

    Attributes
    ----------
    events, windows, levels, effort : DataFrames, see README.md, "What comes out".
    regions : DataFrame of all regions of interest, named or not.
    metadata : dict: provenance, start, duration, rates, thresholds, missing labels, faults.
    """

    recording: Recording
    profile: Profile
    events: pd.DataFrame
    windows: pd.DataFrame
    levels: pd.DataFrame
    regions: pd.DataFrame
    effort: pd.DataFrame
    metadata: dict = field(default_factory=dict)

    def save(self, output_dir: str | Path, csv: bool = False, raven: bool = True) -> Path:
        """Write the tables into `output_dir` as `STEM.events.parquet` and so on; return the folder."""
        output_dir, stem = Path(output_dir), self.recording.path.stem
        for name in TABLES:
            frame = getattr(self, name)
            if csv:
                write_text(frame.to_csv(index=False, lineterminator="\n"), output_dir / f"{stem}.{name}.csv")
            write_parquet(frame, output_dir / f"{stem}.{name}.parquet", self.metadata["provenance"])
        if raven:
            write_raven(self.raven(), output_dir / f"{stem}.Table.1.selections.txt")
        return output_dir

    def raven(self) -> pd.DataFrame:
        """The events as a Raven selection table."""
        return raven_table(self.events, dict.fromkeys(self.events["recording"], self.recording.sample_rate_hz))

    def plot(self, start_s: float = 0.0, end_s: float | None = None, ax=None):
        """A calibrated spectrogram of a passage with the events' boxes and names on it."""
        from pipeline.plots import plot_events

        return plot_events(self, start_s, end_s, ax=ax)


def run_pipeline_single_audio(path, model=None, debug: bool = False, *, profile: str | Profile | None = None, thresholds: dict | None = None,
                              channel: int = 0, start_utc=None, serial: str | None = None, sensitivity_db: float | None = None,
                              clock: str | None = None, level_row_s: int = 60, block_s: float = CHUNK_S, workers: int = 2,
                              device: str | None = None, name: str | None = None, progress: bool = False, debug_at_s=None, denoise=None) -> PipelineResult:
    """Find and name the calls in one recording.

    Parameters
    ----------
    path : sound file (WAV, W64, FLAC, AIFF), any sample rate.
    model : a folder with a saved model (`results/NAME`), an experiment's name, or a loaded model; none: the profile's shipped default.
    debug : show each step as a picture for the moments `debug_at_s` (seconds; one or several; none: where most happens).
    profile : species profile by name, used to choose the default model; a model brings its own profile.
    thresholds : overrides, e.g. {"Whistle": 0.7} or {"Whistle": {"on": 0.7, "off": 0.4}}.
    channel, start_utc, serial, sensitivity_db, clock : as for `Recording`.
    level_row_s : whole seconds averaged in each row of `levels`.
    workers : threads. device : "cpu", "cuda" or none for CUDA where there is one.
    name : how the recording is called in the tables; the file's name unless told.
    denoise : what the model's picture is denoised by: "gate", or the folder of a trained U-Net; none: as the model was trained. Levels and regions are of the recorded sound.

    Returns
    -------
    PipelineResult with `.events`, `.windows`, `.levels` (DataFrames) and `.metadata`.

    Raises
    ------
    BadRecording
        if nothing in the file can be processed. Lesser faults are in `.metadata["faults"]` and in `.effort`.
    ValueError
        for wrong thresholds or rows of levels, and a denoiser that is none, or not the one that the model was trained with.
    """
    recording = path if isinstance(path, Recording) else Recording(path, channel, start_utc, serial, sensitivity_db, clock)
    model = load(model, profile, device)
    thresholds = override(model.thresholds, thresholds)
    way, denoised_by = chosen(denoise, model)
    try:
        result = _Runner(recording, model, thresholds, level_row_s, block_s, name or recording.name, way, denoised_by).run(workers, progress)
    except (OSError, soundfile.LibsndfileError) as error:  # moved away, a disk unplugged, a network lost
        raise BadRecording(f"{recording.path}: cannot be read any more ({getattr(error, 'strerror', None) or reason(error)}); "
                           "check the file and its disk, then run again") from None
    if debug:
        from pipeline.debug import show_steps

        show_steps(result, model, thresholds, debug_at_s, way)
    return result


def load(model=None, profile: str | Profile | None = None, device: str | None = None):
    """A loaded model, on CUDA where there is one (or on `device`)."""
    if hasattr(model, "predict"):
        return model
    import torch

    from training.saved import load_model

    name = profile.name if isinstance(profile, Profile) else profile or os.environ.get("PROFILE") or "beluga"
    return load_model(model, profile=name).to(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def override(thresholds: dict, changes: dict | None) -> dict:
    """The model's thresholds with the user's changes: a number sets `window` and `on`, and moves `off` in proportion.

    Raises
    ------
    ValueError
        for a label that the model does not know, a threshold outside 0..1, or an `off` above its `on`.
    """
    merged = {label: dict(values) for label, values in thresholds.items()}
    for label, change in (changes or {}).items():
        if label not in merged:
            raise ValueError(f"thresholds: no label {label!r}; the model knows {', '.join(merged)}")
        old = merged[label]
        if not isinstance(change, dict):
            change = {"window": change, "on": change, "off": change * old["off"] / old["on"]}
        if not all(key in old and 0 <= value <= 1 for key, value in change.items()):
            raise ValueError(f"thresholds of {label}: {change}; give numbers from 0 to 1 for {', '.join(old)}")
        merged[label] = old | change
        if merged[label]["off"] > merged[label]["on"]:
            raise ValueError(f"thresholds of {label}: off {merged[label]['off']} lies above on {merged[label]['on']}; an event ends below `off`, give a lower one")
    return merged


def check_level_row(level_row_s) -> None:
    """ValueError unless it is a whole number of seconds."""
    if level_row_s != int(level_row_s) or level_row_s < 1:
        raise ValueError(f"level_row_s = {level_row_s}: give a whole number of seconds, at least 1")


class _Runner:
    """The state of one run: what joins the chunks' results in order."""

    def __init__(self, recording: Recording, model, thresholds: dict, level_row_s: int, block_s: float, name: str, way=None, denoised_by: str | None = None):
        self.way, self.denoised_by = way, denoised_by
        self.recording, self.model, self.thresholds, self.level_row_s, self.block_s, self.name = recording, model, thresholds, level_row_s, block_s, name
        profile = self.profile = model.profile
        check_level_row(level_row_s)
        self.made = provenance(recording, profile, thresholds, model.model_id, {"level_row_s": level_row_s, "denoise": denoised_by})
        self.generator = _generator(profile)
        self.missing = [x for x in profile.labels if not profile.observable(x, recording.nyquist_hz)]
        self.detector = RoiDetector(profile, nyquist_hz=recording.nyquist_hz)
        self.cutter, self.joiner = WindowCutter(profile), TraceJoiner(profile)
        self.spans: SpanCutter | None = None
        self.coarse_rate_hz = profile.frame_rate_hz / COARSE_FRAMES
        self.window_parts, self.level_parts, self.region_parts, self.events = [], [], [], []
        self.pending_seconds: list[Seconds] = []
        self.coarse_tail = np.empty((0, profile.n_bands), np.float32)
        self.windows_levelled = 0

    def run(self, workers: int, progress: bool) -> PipelineResult:
        from tqdm.auto import tqdm

        keep_freed_memory()
        bar = tqdm(total=round(self.recording.duration_s, 1), unit="s", unit_scale=True, desc=self.name, disable=not progress)
        with one_thread_per_call(), ThreadPoolExecutor(max(1, workers)) as pool:
            for piece, windows, prediction in self._predictions(pool, max(1, workers) + 1):
                self._join(piece, windows, *prediction)
                bar.update(len(piece.picture_db) / self.profile.frame_rate_hz)
        bar.close()
        return self._result()

    def _pieces(self, pool, ahead: int) -> Iterator[tuple[Piece, np.ndarray]]:
        """Pieces in order, each with the picture that the model sees, `ahead` of them being made while one is used."""
        waiting: deque = deque()
        for chunk, quiet in beside(self.generator, self.recording, self.way, self.block_s):
            waiting.append(pool.submit(self._made, chunk, quiet))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _made(self, chunk, quiet) -> tuple[Piece, np.ndarray]:
        """A chunk's piece, and the picture (frames, bands) of the same seconds, denoised where they are to be."""
        rate_hz, sensitivity_db = self.recording.sample_rate_hz, self.recording.sensitivity_db
        piece = self.generator.process(chunk, rate_hz, sensitivity_db)
        return piece, piece.picture_db if quiet is None else self.generator.process(quiet, rate_hz, sensitivity_db).picture_db

    def _predictions(self, pool, ahead: int):
        """(piece, number of windows, probabilities) in order; the model works on one piece while the next are made."""
        waiting: deque = deque()
        for piece, seen_db in self._pieces(pool, ahead):
            windows = self.cutter.push(seen_db, piece.final)
            waiting.append((piece, len(windows), pool.submit(self.model.predict, windows, overlapping=True)))
            if len(waiting) > 2:
                done = waiting.popleft()
                yield *done[:2], done[2].result()
        while waiting:
            done = waiting.popleft()
            yield *done[:2], done[2].result()

    def _join(self, piece: Piece, n_windows: int, window_prob: np.ndarray, position_prob: np.ndarray) -> None:
        boxes = self.detector.push_records(piece.psd)
        if piece.final:
            boxes = np.concatenate([boxes, self.detector.finish_records()])
        self.region_parts.append(boxes)
        self._levels(piece)
        self._windows(piece, window_prob)
        if self.spans is None:
            trace_rate_hz = position_prob.shape[2] / self.profile.window_s
            shown = {label: values for label, values in self.thresholds.items() if label not in self.missing}
            self.spans = SpanCutter(self.profile, shown, trace_rate_hz, self.coarse_rate_hz)
        trace = self.joiner.push(position_prob, piece.final)
        for span in self.spans.push(trace, piece.coarse_psd, boxes, self.detector.settled_s, piece.final):
            self.events += event_rows(span, self.profile, self.thresholds, self.recording.nyquist_hz)

    def _levels(self, piece: Piece) -> None:
        """Keep seconds until they fill whole rows, so that long recordings do not gather them all."""
        self.pending_seconds.append(piece.seconds)
        end_s = piece.seconds.start_s[-1] + piece.seconds.duration_s[-1] if len(piece.seconds.start_s) else 0.0
        if piece.final or end_s % self.level_row_s == 0:
            self.level_parts.append(level_rows(Seconds.join(self.pending_seconds), self.recording.sensitivity_db, self.level_row_s))
            self.pending_seconds = []

    def _windows(self, piece: Piece, prob: np.ndarray) -> None:
        """Probabilities and band levels of the next windows. A window's level is the mean over what of it was recorded."""
        profile = self.profile
        size, step = profile.window_frames // COARSE_FRAMES, profile.step_frames // COARSE_FRAMES
        coarse = np.concatenate([self.coarse_tail, piece.coarse_psd])
        first = np.arange(len(prob)) * step
        last = np.minimum(first + size, len(coarse))
        table = {f"p_{x}": prob[:, i] if x not in self.missing else np.full(len(prob), np.nan, np.float32) for i, x in enumerate(profile.labels)}
        for band in profile.roi_bands:
            shared = np.minimum(profile.band_high_hz, band["high_hz"]) - np.maximum(profile.band_low_hz, band["low_hz"])
            use = (shared > 0) & profile.visible_bands(self.recording.nyquist_hz)
            power = coarse[:, use] @ shared[use] if use.any() else np.full(len(coarse), np.nan)
            total = np.concatenate([[0.0], np.cumsum(power, dtype=np.float64)])
            means = (total[last] - total[first]) / np.maximum(last - first, 1)
            silence = FLOOR * 10 ** (-self.recording.sensitivity_db / 10) * max(shared[use].sum(), 1.0)  # as in the picture and the levels
            table[f"level_{band['name']}_db"] = 10 * np.log10(np.maximum(means, silence))
        self.coarse_tail = coarse[len(prob) * step:]
        table["start_s"] = (self.windows_levelled + np.arange(len(prob))) * profile.step_s
        self.windows_levelled += len(prob)
        self.window_parts.append(table)

    def _result(self) -> PipelineResult:
        recording, profile = self.recording, self.profile
        status = "ok" if recording.complete and not recording.bad_samples else "partial"
        duration_s = (recording.frames_read or 0) / recording.sample_rate_hz
        common = {"recording": self.name, "channel": recording.channel, "calibrated": recording.calibrated, "model_id": self.model.model_id}
        effort = common | {
            "start_utc": self._times([0.0]), "end_utc": self._times([duration_s]), "duration_s": duration_s, "sample_rate_hz": recording.sample_rate_hz,
            "status": status, "reason": "; ".join(recording.faults), "gap_before_s": np.nan, "sensitivity_db": recording.sensitivity_db,
            "missing_labels": "+".join(self.missing)}
        levels = level_frame(self.level_parts, self.generator.front_end(recording.sample_rate_hz).meter, recording.start_utc)
        levels.insert(1, "recording", self.name)
        metadata = {"recording": self.name, "start_utc": recording.start_utc, "time_source": recording.time_source, "duration_s": duration_s,
                    "sample_rate_hz": recording.sample_rate_hz, "serial": recording.serial, "sensitivity_db": recording.sensitivity_db,
                    "calibrated": recording.calibrated, "missing_labels": self.missing, "thresholds": self.thresholds, "status": status,
                    "faults": list(recording.faults), "model_id": self.model.model_id, "denoise": self.denoised_by, "provenance": self.made}
        regions = boxes_table(np.concatenate([np.zeros(0, BOX), *self.region_parts]))
        return PipelineResult(recording, profile, self._event_table(common), self._window_table(), levels, regions, table_of(effort, EFFORT_TYPES, 1), metadata)

    def _event_table(self, common: dict) -> pd.DataFrame:
        types = event_types(self.profile)
        columns = {name: [row[name] for row in self.events] for name in types if name not in common and not name.endswith("_utc")}
        times = {f"{edge}_utc": self._times(columns[f"{edge}_s"]) for edge in ("start", "end")}
        return table_of(common | columns | times, types, len(self.events))

    def _window_table(self) -> pd.DataFrame:
        types = window_types(self.profile)
        columns = {name: np.concatenate([np.zeros(0), *(part[name] for part in self.window_parts)]) for name in types if name not in ("recording", "start_utc")}
        return table_of(columns | {"recording": self.name, "start_utc": self._times(columns["start_s"])}, types, len(columns["start_s"]))

    def _times(self, offsets_s):
        return utc_times(self.recording.start_utc, offsets_s)


_GENERATORS: dict[str, SpectrogramGenerator] = {}


def _generator(profile: Profile) -> SpectrogramGenerator:
    """One generator for each profile: filterbanks are made once, not for each recording."""
    return _GENERATORS.setdefault(profile.hash(), SpectrogramGenerator(profile))
