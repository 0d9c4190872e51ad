"""`species_score` of a recording's events, while it is listened to.

The species model (`training.species_score`) looks at frames of 5 ms in the lowest bands of the
picture; a span of events (`pipeline.spans`) keeps coarser ones. So these few bands are kept beside
it, as far back as the next span may reach, and made into decibels only where there is an event.
The background is the span's own. Nothing here depends on how the sound was cut.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.spans import Span
from spectrogram.profile import Profile

if TYPE_CHECKING:
    from training.species_score import Judgement, SpeciesScorer

BESIDE_S = 1.0  # that the windows of a short event may reach beyond it
LEAST_POWER = np.float32(1e-30)  # µPa²/Hz, of digital silence


class SpeciesJudge:
    """The lowest bands of one recording, and what the species model says of its events."""

    def __init__(self, scorer: SpeciesScorer, profile: Profile):
        self.scorer, self.rate_hz = scorer, profile.frame_rate_hz
        self.bands = max(scorer.limits)
        self.parts: list[np.ndarray] = []  # (frames, bands) µPa²/Hz of consecutive chunks
        self.first = 0  # frame at which they begin

    def push(self, psd: np.ndarray) -> None:
        """The next chunk's picture (frames, all bands)."""
        self.parts.append(psd[:, : self.bands].copy())

    def forget(self, until_s: float) -> None:
        """Let go of whole chunks that end before."""
        while self.parts and self.first + len(self.parts[0]) <= int(until_s * self.rate_hz):
            self.first += len(self.parts.pop(0))

    def judge(self, span: Span, events: list) -> list[Judgement]:
        """Judge a span's events (with start_s, end_s, low_hz)."""
        windows = [self._windows(span, e.start_s, e.end_s, e.low_hz) for e in events]
        return self.scorer.judge_all(windows)

    def _windows(self, span: Span, start_s: float, end_s: float, low_hz: float):
        """What the model sees of an event, see `SpeciesScorer.windows_of`."""
        first = max(int((start_s - BESIDE_S) * self.rate_hz), self.first)
        last = int(np.ceil((end_s + BESIDE_S) * self.rate_hz))
        picture = decibels(self._frames(first, last))
        background = decibels(span.background_at(0.5 * (start_s + end_s))[: self.bands])
        at_s = first / self.rate_hz
        return self.scorer.windows_of(picture, start_s, end_s, at_s, low_hz, background)

    def _frames(self, first: int, last: int) -> np.ndarray:
        """(frames, bands) from `first` to before `last`, as far as there is sound."""
        pieces, at = [np.empty((0, self.bands), np.float32)], self.first
        for part in self.parts:
            if at < last and at + len(part) > first:
                pieces.append(part[max(first - at, 0) : last - at])
            at += len(part)
        return np.concatenate(pieces)


def decibels(power: np.ndarray) -> np.ndarray:
    """dB re 1 µPa²/Hz; NaN stays NaN."""
    return 10 * np.log10(np.maximum(power, LEAST_POWER))
