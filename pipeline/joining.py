"""What has to go in order of time: from what was made of each chunk (`pipeline.making`) to a recording's tables.

The regions' background, the events, the windows' levels and the rows of levels look back at earlier chunks, so one `Joiner` takes all chunks of a recording in
order. That is a sixth of the work. It holds what is still open and the finished rows, not the recording.
"""
from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.events import event_rows
from pipeline.making import Made, generator_of
from pipeline.naming import Namer
from pipeline.provenance import provenance
from pipeline.result import PipelineResult
from pipeline.spans import Regions, SpanCutter
from pipeline.species import SpeciesJudge
from pipeline.tables import EFFORT_TYPES, event_types, region_types, table_of, window_types
from ROI.detector import RoiDetector
from spectrogram.generator import COARSE_FRAMES, coarse_peak
from spectrogram.levels import FLOOR, Seconds, level_frame, level_rows, row_numbers
from spectrogram.recording import Recording
from spectrogram.still import WORTH_S, as_text, merged, stretch_of
from spectrogram.windows import TraceJoiner, WindowPeaks


def check_level_row(level_row_s) -> None:
    """ValueError unless it is a whole number of seconds."""
    if level_row_s != int(level_row_s) or level_row_s < 1:
        raise ValueError(f"level_row_s = {level_row_s}: give a whole number of seconds, at least 1")


class Joiner:
    """The state of one recording's way through. Parameters as for `run_pipeline_single_audio`; `denoised_by`: what the tables call the denoiser;
    `species`: who gives `species_score` (`training.species_score`), or None."""

    def __init__(self, recording: Recording, model, thresholds: dict, level_row_s: int, name: str, denoised_by: str | None = None, species=None):
        check_level_row(level_row_s)
        self.recording, self.model, self.thresholds, self.level_row_s, self.name, self.denoised_by = recording, model, thresholds, level_row_s, name, denoised_by
        profile = self.profile = model.profile
        self.provenance = provenance(recording, profile, thresholds, model.model_id, {"level_row_s": level_row_s, "denoise": denoised_by, "species": species and species.model_id})
        self.species_id = species and species.model_id
        self.species = SpeciesJudge(species, profile) if species else None
        self.missing = [x for x in profile.labels if not profile.observable(x, recording.nyquist_hz)]
        self.traces, self.peaks = TraceJoiner(profile), WindowPeaks(profile)
        when = getattr(model, "says_when", None)  # labels of which the model tells moments; of the others each moment has its window's answer
        self.by_window = [k for k, label in enumerate(profile.labels) if when is not None and label not in when]
        limits = {label: thresholds[label]["window"] for label in (profile.labels[k] for k in self.by_window)}
        of_moments = thresholds | {label: thresholds[label] | {"on": limit, "off": limit} for label, limit in limits.items()}
        self.namer = Namer(profile, of_moments, recording.nyquist_hz, getattr(model, "regions", None), profile.labels if when is None else when)
        self.detector: RoiDetector | None = None
        self.spans: SpanCutter | None = None
        self.coarse_rate_hz = profile.frame_rate_hz / COARSE_FRAMES
        self.window_parts, self.prob_parts, self.level_parts, self.events = [], [], [], []
        self.regions, self.clipped_s = Regions.none(len(self.namer.labels)), np.zeros(0)
        self.pending_seconds: list[Seconds] = []
        self.breaks_s = recording.timeline.breaks_s
        self.rows_are_full = False
        self.coarse_tail = np.empty((0, profile.n_bands), np.float32)
        self.windows_levelled = 0

    def push(self, made: Made) -> None:
        """The next chunk's, in order of time; after the final one comes `result`."""
        crest = getattr(made, "crest", None)
        if self.detector is None:
            blocks = crest.shape[1] if crest is not None and crest.size and np.isfinite(crest[0, 0]) else 0
            self.detector = RoiDetector(self.profile, nyquist_hz=self.recording.nyquist_hz, crest_blocks=blocks)
        boxes = self.detector.push_records(made.psd, crest)
        if made.final:
            boxes = np.concatenate([boxes, self.detector.finish_records()])
        self._levels(made)
        self._window_levels(made)
        if self.spans is None:
            trace_rate_hz = made.position_prob.shape[2] / self.profile.window_s
            self.spans = SpanCutter(self.profile, self.namer, trace_rate_hz, self.coarse_rate_hz)
        positions = made.position_prob
        if self.by_window:
            positions = positions.copy()
            positions[:, self.by_window] = made.window_prob[:, self.by_window, None]
        trace = self.traces.push(positions, made.final)
        self.prob_parts.append(self.model.windows_of(self.peaks.push(trace, positions.shape[2])) if self.model.by_trace else made.window_prob)
        if made.clipped is not None:
            self.clipped_s = np.concatenate([self.clipped_s, made.seconds.start_s[made.clipped]])
        if self.species:
            self.species.push(made.psd)
        regions, spans = self.spans.push(trace, made.coarse_psd, coarse_peak(made.psd), boxes, self.detector.settled_s, made.final)
        self.regions = self.regions.then(regions)
        for span in spans:
            self.events += event_rows(span, self.namer, self.clipped_s, self.species)
        if self.species:
            self.species.forget(self.spans.kept_s)

    def _levels(self, made: Made) -> None:
        """Keep seconds until they fill whole rows, so that long recordings do not gather them all, and until the chunk after them
        has been read: a stretch without sound that begins at a row's end is known then."""
        if self.rows_are_full:
            self._close_rows()
        self.pending_seconds.append(made.seconds)
        end_s = made.seconds.start_s[-1] + made.seconds.duration_s[-1] if len(made.seconds.start_s) else 0.0
        self.rows_are_full = bool(self.breaks_s) or end_s % self.level_row_s == 0
        if made.final:
            self._close_rows(final=True)

    def _close_rows(self, final: bool = False) -> None:
        seconds, self.pending_seconds = Seconds.join(self.pending_seconds), []
        if self.breaks_s and not final:  # rows begin anew after each pause, so the last one may be open still
            rows = row_numbers(seconds, self.level_row_s, self.breaks_s)
            done = int(np.searchsorted(rows, rows[-1])) if len(rows) else 0
            seconds, self.pending_seconds = seconds.cut(0, done), [seconds.cut(done)]
        self.level_parts.append(level_rows(seconds, self.recording.sensitivity_db, self.level_row_s, self.breaks_s, self.recording.silences()))

    def _window_levels(self, made: Made) -> None:
        """Band levels of the next windows. A window's level is the mean over what of it was recorded."""
        profile, n = self.profile, len(made.window_prob)
        size, step = profile.window_frames // COARSE_FRAMES, profile.step_frames // COARSE_FRAMES
        coarse = np.concatenate([self.coarse_tail, made.coarse_psd])
        first = np.arange(n) * step
        last = np.minimum(first + size, len(coarse))
        table = {"start_s": (self.windows_levelled + np.arange(n)) * profile.step_s}
        for band in profile.roi_bands:
            shared = np.minimum(profile.band_high_hz, band["high_hz"]) - np.maximum(profile.band_low_hz, band["low_hz"])
            use = (shared > 0) & profile.visible_bands(self.recording.nyquist_hz)
            power = coarse[:, use] @ shared[use] if use.any() else np.full(len(coarse), np.nan)
            total = np.concatenate([[0.0], np.cumsum(power, dtype=np.float64)])
            means = (total[last] - total[first]) / np.maximum(last - first, 1)
            silence = FLOOR * 10 ** (-self.recording.sensitivity_db / 10) * max(shared[use].sum(), 1.0)  # as in the picture and the levels
            table[f"level_{band['name']}_db"] = 10 * np.log10(np.maximum(means, silence))
        self.coarse_tail = coarse[n * step:]
        self.windows_levelled += n
        self.window_parts.append(table)

    def result(self) -> PipelineResult:
        recording, profile = self.recording, self.profile
        status = "ok" if recording.complete and not recording.bad_samples else "partial"
        duration_s = (recording.frames_read or 0) / recording.sample_rate_hz
        common = {"recording": self.name, "recorder": recording.recorder, "channel": recording.channel, "calibrated": recording.calibrated, "model_id": self.model.model_id}
        begin_s, end_s, start_utc = (list(column) for column in zip(*recording.timeline.stretches(duration_s)))
        silences, worth = recording.silences(), merged(recording.unlistened, duration_s, WORTH_S)
        unheard = merged([*silences, *recording.dropouts_s()], duration_s)
        silent_s = [float(np.diff(stretch_of(unheard, *edges)).sum()) for edges in zip(begin_s, end_s)]
        effort = common | {
            "start_utc": start_utc, "end_utc": recording.utc(end_s, begin_s), "duration_s": np.subtract(end_s, begin_s),
            "listened_s": np.subtract(end_s, begin_s) - silent_s, "unlistened": [as_text(stretch_of(worth, *edges)) for edges in zip(begin_s, end_s)],
            "sample_rate_hz": recording.sample_rate_hz, "status": status, "reason": "; ".join(recording.faults), "gap_before_s": np.nan, "sensitivity_db": recording.sensitivity_db,
            "missing_labels": "+".join(self.missing)}
        levels = level_frame(self.level_parts, generator_of(profile).front_end(recording.sample_rate_hz).meter, timeline=recording.timeline)
        levels.insert(1, "recording", self.name)
        levels.insert(levels.columns.get_loc("duration_s") + 1, "calibrated", recording.calibrated)
        metadata = {"recording": self.name, "start_utc": recording.start_utc, "time_source": recording.time_source, "duration_s": duration_s,
                    "sample_rate_hz": recording.sample_rate_hz, "serial": recording.serial, "recorder": recording.recorder, "sensitivity_db": recording.sensitivity_db,
                    "calibrated": recording.calibrated, "missing_labels": self.missing, "thresholds": self.thresholds, "status": status,
                    "faults": list(recording.faults), "model_id": self.model.model_id, "denoise": self.denoised_by, "species": self.species_id, "provenance": self.provenance}
        return PipelineResult(recording, profile, self._event_table(common), self._window_table(), levels, self._region_table(), table_of(effort, EFFORT_TYPES, len(begin_s)), metadata)

    def _event_table(self, common: dict) -> pd.DataFrame:
        types = event_types(self.profile)
        columns = {name: [row[name] for row in self.events] for name in types if name not in common and not name.endswith("_utc")}
        times = {f"{edge}_utc": self.recording.utc(columns[f"{edge}_s"], columns["start_s"]) for edge in ("start", "end")}
        return table_of(common | columns | times, types, len(self.events))

    def _region_table(self) -> pd.DataFrame:
        regions, labels = self.regions.sorted(), self.namer.labels
        boxes = regions.boxes
        columns = {name: boxes[name] for name in ("start_s", "end_s", "low_hz", "high_hz", "peak_hz", "snr_db")} | {"band": boxes["band"].tolist()}
        columns |= {f"p_{label}": regions.prob[:, k] for k, label in enumerate(labels)}
        columns |= {"labels": ["+".join(label for label, has in zip(labels, row) if has) for row in regions.named], "named": regions.named.any(axis=1)}
        columns |= {f"{edge}_utc": self.recording.utc(boxes[f"{edge}_s"], boxes["start_s"]) for edge in ("start", "end")}
        return table_of(columns | {"recording": self.name, "channel": self.recording.channel}, region_types(self.profile), len(boxes))

    def _window_table(self) -> pd.DataFrame:
        labels, types = self.profile.labels, window_types(self.profile)
        prob = np.concatenate([np.empty((0, len(labels)), np.float32), *self.prob_parts])
        prob[:, [label in self.missing for label in labels]] = np.nan
        columns = {f"p_{label}": prob[:, k] for k, label in enumerate(labels)}
        columns |= {name: np.concatenate([np.zeros(0), *(part[name] for part in self.window_parts)]) for name in types if name not in {*columns, "recording", "start_utc", "calibrated"}}
        self._hush(columns)
        return table_of(columns | {"recording": self.name, "start_utc": self.recording.utc(columns["start_s"]), "calibrated": self.recording.calibrated}, types, len(columns["start_s"]))

    def _hush(self, columns: dict[str, np.ndarray]) -> None:
        """NaN for levels of windows that touch what was not listened to, and for probabilities of those of which it is half or more."""
        silences = self.recording.silences()
        if not len(silences):
            return
        so_far = np.concatenate([[0.0], np.cumsum(np.repeat(np.diff(silences).ravel(), 2) * np.tile([0, 1], len(silences)))])
        edges = np.concatenate([[0.0], silences.ravel()])
        start_s = columns["start_s"]
        silent_s = np.interp(start_s + self.profile.window_s, edges, so_far) - np.interp(start_s, edges, so_far)
        for name in columns:
            if name.startswith("level_"):
                columns[name][silent_s > 1e-9] = np.nan
            elif name.startswith("p_"):
                columns[name][silent_s >= self.profile.window_s / 2] = np.nan
