"""From what comes chunk by chunk (trace, coarse picture, regions) to spans of time, whose regions are named and whose ends cut no call.

A region is named when what lies around it has come in (`ROI.describe`). The background here, for events and for what a region's surroundings look like, is that of blocks of BLOCK_S,
counted from the recording's start: the median over the blocks within BLOCK_REACH of each block's 20th percentile. So names, spans and events do not depend on how the sound was cut.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.naming import Namer
from ROI.describe import AROUND_S, BESIDE_S, BLOCK_REACH, BLOCK_S, Scene, block_background, block_level, logit_of, over_background
from ROI.detector import BOX
from spectrogram.profile import Profile

LONGEST_SPAN_S = 600.0
CUT_FROM_S = 60.0  # spans shorter than this are not cut
QUIET_S = 1.0      # on both sides of a cut nothing calls


@dataclass
class Regions:
    """Regions and what they were named: boxes (n,) BOX; prob (n, labels) float32, NaN where the recording cannot show a label; named (n, labels) bool; far (n,) bool: like
    nothing the region head was trained on."""

    boxes: np.ndarray
    prob: np.ndarray
    named: np.ndarray
    far: np.ndarray

    @classmethod
    def none(cls, n_labels: int) -> "Regions":
        return cls(np.zeros(0, BOX), np.zeros((0, n_labels), np.float32), np.zeros((0, n_labels), bool), np.zeros(0, bool))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows) -> "Regions":
        return Regions(self.boxes[rows], self.prob[rows], self.named[rows], self.far[rows])

    def sorted(self) -> "Regions":
        """In order of time, then frequency."""
        b = self.boxes
        return self[np.lexsort((b["band"], b["high_hz"], b["low_hz"], b["end_s"], b["start_s"]))]

    def then(self, other: "Regions") -> "Regions":
        return Regions(*(np.concatenate([mine, theirs]) for mine, theirs in zip(vars(self).values(), vars(other).values())))


@dataclass
class Span:
    """A stretch of a recording: trace (times, labels) at `trace_rate_hz` from `start_s`; coarse (mean) and peak power (times, bands) in µPa^2/Hz at `coarse_rate_hz`,
    with what lies around the span, from `coarse_start_s` (`start_s` unless given); background (blocks, bands) from the coarse picture's start on, or one row for all of it; the
    regions that begin in it (without a region head: that reach into it)."""

    start_s: float
    trace: np.ndarray
    trace_rate_hz: float
    coarse_psd: np.ndarray
    coarse_peak: np.ndarray
    coarse_rate_hz: float
    background: np.ndarray
    regions: Regions
    coarse_start_s: float | None = None
    block_s: float = BLOCK_S

    @property
    def picture_start_s(self) -> float:
        return self.start_s if self.coarse_start_s is None else self.coarse_start_s

    def background_at(self, when_s: float) -> np.ndarray:
        """(bands,) µPa^2/Hz."""
        if len(self.background) == 1:
            return self.background[0]
        return self.background[int(np.clip((when_s - self.picture_start_s) // self.block_s, 0, len(self.background) - 1))]


class SpanCutter:
    """Collects trace, coarse picture and boxes, names regions, and gives out spans at whose ends nothing calls for a second on both sides: no region
    is named there and, for a model without a region head, every call label's trace is below its `off`. After `LONGEST_SPAN_S` of unbroken calling it cuts all the same, at a fixed place.

    A span brings the coarse picture around it, so its events are those of the whole recording."""

    def __init__(self, profile: Profile, namer: Namer, trace_rate_hz: float, coarse_rate_hz: float):
        self.profile, self.namer = profile, namer
        self.off = np.array([namer.thresholds[x]["off"] if not namer.head and x in namer.shown else np.inf for x in profile.labels])
        self.trace_rate_hz, self.coarse_rate_hz = trace_rate_hz, coarse_rate_hz
        self.block = max(1, round(BLOCK_S * coarse_rate_hz))
        self.block_s = self.block / coarse_rate_hz
        self.start_s = self.kept_s = 0.0  # of the next span, and of what is held; the latter lies on a block
        self.trace = np.empty((0, len(profile.labels)), np.float32)
        self.coarse, self.peak = (np.empty((0, profile.n_bands), np.float32) for _ in range(2))
        self.levels = np.empty((0, profile.n_bands), np.float32)  # of the blocks from the one at kept_s on, BLOCK_REACH earlier ones before them
        self.levels_before = 0
        self.background = np.empty((0, profile.n_bands), np.float32)  # of the blocks from kept_s on, as far as it is known
        self.mean_ratio, self.peak_ratio = (np.empty((0, 0), np.float32) for _ in range(2))  # of the cells with a background
        self.waiting = self.near = np.zeros(0, BOX)  # regions without a name, and all that may lie beside one of them
        self.named = Regions.none(len(namer.labels))

    def push(self, trace: np.ndarray, coarse_psd: np.ndarray, coarse_peak: np.ndarray, boxes: np.ndarray, boxes_until_s: float, final: bool) -> tuple[Regions, list[Span]]:
        """Add what came; `boxes_until_s`: no later box will begin before. Returns regions that were named now, and the spans that are ready (none or one)."""
        self.trace = np.concatenate([self.trace, trace])
        self.coarse, self.peak = np.concatenate([self.coarse, coarse_psd]), np.concatenate([self.peak, coarse_peak])
        self.waiting, self.near = np.concatenate([self.waiting, boxes]), np.concatenate([self.near, boxes])
        self._more_background(final)
        seen_s = self.kept_s + len(self.mean_ratio) / self.coarse_rate_hz
        known_s = min(self.start_s + len(self.trace) / self.trace_rate_hz, seen_s, boxes_until_s - AROUND_S)
        news = self._name(np.inf if final else known_s - max(BESIDE_S, AROUND_S))
        self.named = self.named.then(news)
        end_s = self._end_s(min(known_s, self.waiting["start_s"].min(initial=np.inf)), final)
        return news, [self._span(end_s)] if end_s > self.start_s else []

    def _more_background(self, final: bool) -> None:
        """Levels of blocks that are whole, background and ratios of those whose surroundings are known."""
        n = -(-len(self.coarse) // self.block) if final else len(self.coarse) // self.block
        for k in range(len(self.levels) - self.levels_before, n):
            self.levels = np.concatenate([self.levels, block_level(self.coarse[k * self.block:(k + 1) * self.block])[None]])
        have, parts = len(self.background), []
        for k in range(have, len(self.levels) - self.levels_before - (0 if final else BLOCK_REACH)):
            at = k + self.levels_before
            background, cells = block_background(self.levels, at), slice(k * self.block, (k + 1) * self.block)
            parts.append((background, over_background(self.coarse[cells], background), over_background(self.peak[cells], background)))
        if parts:
            background, mean, peak = zip(*parts)
            self.background = np.concatenate([self.background, np.stack(background)])
            before = [] if not len(self.mean_ratio) else [self.mean_ratio]
            self.mean_ratio = np.concatenate([*before, *mean])
            self.peak_ratio = np.concatenate([*([self.peak_ratio] if before else []), *peak])

    def _name(self, until_s: float) -> Regions:
        """Name the waiting regions that end before."""
        ready = self.waiting["end_s"] <= until_s
        if not ready.any() or not len(self.mean_ratio) or not len(self.trace):
            return Regions.none(len(self.namer.labels))
        boxes, self.waiting = self.waiting[ready], self.waiting[~ready]
        scene = Scene(self.kept_s, self.coarse_rate_hz, self.mean_ratio, self.peak_ratio, self.start_s, self.trace_rate_hz, logit_of(self.trace))
        regions = Regions(boxes, *self.namer.name(boxes, self.near, scene))
        from_s = min(self.waiting["start_s"].min(initial=np.inf), boxes["end_s"].max()) - AROUND_S
        self.near = self.near[(self.near["end_s"] > from_s)]
        return regions

    def _end_s(self, known_s: float, final: bool) -> float:
        """Where the next span ends; its start where there is none yet."""
        if final:
            return self.kept_s + len(self.coarse) / self.coarse_rate_hz  # the last window's trace may reach beyond the recording
        whole = int(known_s - self.start_s)  # spans end on whole seconds
        if whole < CUT_FROM_S:
            return self.start_s
        rate = self.trace_rate_hz
        busy = (self.trace >= self.off).any(axis=1)
        calls = self.named.boxes[self.named.named.any(axis=1)]
        for second in range(whole - 1, int(CUT_FROM_S / 2), -1):
            cut_s = self.start_s + second
            called = ((calls["start_s"] < cut_s + QUIET_S) & (calls["end_s"] > cut_s - QUIET_S)).any()
            if not called and not busy[round((second - 1) * rate):round((second + 1) * rate)].any():
                return cut_s
        return self.start_s + LONGEST_SPAN_S if whole > LONGEST_SPAN_S else self.start_s

    def _span(self, end_s: float) -> Span:
        n = round((end_s - self.start_s) * self.trace_rate_hz)
        span = Span(self.start_s, self.trace[:n], self.trace_rate_hz, self.coarse, self.peak, self.coarse_rate_hz, self.background,
                    self.named[self.named.boxes["start_s"] < end_s].sorted(), self.kept_s, self.block_s)
        self.trace, self.start_s = self.trace[n:], end_s
        self.named = self.named[self.named.boxes["start_s"] >= end_s] if self.namer.head else self.named[self.named.boxes["end_s"] > end_s]
        held_s = min([end_s, *self.waiting["start_s"], *self.named.boxes["start_s"]]) - BESIDE_S
        blocks = int(max(0.0, held_s - self.kept_s) // self.block_s)
        cells = blocks * self.block
        self.kept_s += blocks * self.block_s
        self.coarse, self.peak, self.mean_ratio, self.peak_ratio = (x[cells:] for x in (self.coarse, self.peak, self.mean_ratio, self.peak_ratio))
        self.background = self.background[blocks:]
        first = max(0, self.levels_before + blocks - BLOCK_REACH)
        self.levels, self.levels_before = self.levels[first:], self.levels_before + blocks - first
        return span
