"""A picture cut into windows, and what windows answer joined into one continuous trace.

Windows overlap by half, and each answers at every position in time (12 a second for the beluga). A position is
answered best where it lies in the middle of a window, so the trace takes each window's central part; the first and the last window also give
their outer quarters. Every moment is thus answered exactly once.
"""
from __future__ import annotations

import numpy as np

from spectrogram.profile import Profile


class WindowCutter:
    """Cuts a stream of picture pieces into the profile's windows, whatever the pieces' length.

    The last window of a recording may reach beyond its end; there its frames are NaN ("not recorded"). A recording shorter than a window
    gives one window.
    """

    def __init__(self, profile: Profile):
        self.size, self.step = profile.window_frames, profile.step_frames
        self._held = np.empty((0, profile.n_columns), np.float32)
        self.count = 0

    def begin_after(self, picture_db: np.ndarray, first_frame: int) -> None:
        """As if a recording had been pushed up to the end of this picture, which begins at its frame `first_frame`; it has to be as long as a window."""
        end = first_frame + len(picture_db)
        self.count = max(0, (end - self.size) // self.step + 1)
        self._held = picture_db[self.count * self.step - first_frame:]

    def push(self, picture_db: np.ndarray, final: bool) -> np.ndarray:
        """Windows complete so far: a view (n, frames, bands)."""
        held = np.concatenate([self._held, picture_db]) if len(self._held) else picture_db
        if final:
            missing = -(len(held) - self.size) % self.step if len(held) > self.size else self.size - len(held)
            beyond = self.count > 0 and len(held) <= self.size - self.step  # nothing that a window has not held yet
            if missing and not beyond and len(held):
                held = np.concatenate([held, np.full((missing, held.shape[1]), np.nan, np.float32)])
        n = max(0, (len(held) - self.size) // self.step + 1)
        windows = np.lib.stride_tricks.sliding_window_view(held, self.size, axis=0)[::self.step].swapaxes(1, 2)[:n] if n else \
            np.empty((0, self.size, held.shape[1]), np.float32)
        self._held = held[n * self.step:]
        self.count += n
        return windows


class TraceJoiner:
    """Joins the positions' answers of successive windows into one trace."""

    def __init__(self, profile: Profile):
        self.share = profile.step_frames / profile.window_frames
        self._last: np.ndarray | None = None  # the outer end of the last window so far

    def push(self, positions: np.ndarray, final: bool) -> np.ndarray:
        """(windows, labels, positions) of the next windows -> the next stretch of the trace (times, labels)."""
        n, n_labels, size = positions.shape
        step = round(size * self.share)
        low = (size - step) // 2
        parts = [np.empty((0, n_labels), np.float32)]
        if n:
            parts += [positions[0, :, :low].T] if self._last is None else []
            parts.append(positions[:, :, low:low + step].swapaxes(1, 2).reshape(n * step, n_labels))
            self._last = positions[-1, :, low + step:].T
        if final and self._last is not None:
            parts.append(self._last)
        return np.concatenate(parts)


class WindowPeaks:
    """The trace's highest value within each window, from a trace that comes in stretches.

    A call at a window's rim is seen best by the next window, in whose middle it lies; the trace knows what both made of it.
    """

    def __init__(self, profile: Profile):
        self.share = profile.step_frames / profile.window_frames
        self._held: np.ndarray | None = None

    def push(self, trace: np.ndarray, positions: int) -> np.ndarray:
        """The next stretch (times, labels) of a trace with so many `positions` in a window -> (windows, labels), those windows that are now complete."""
        held = trace if self._held is None else np.concatenate([self._held, trace])
        step = round(positions * self.share)
        n = max(0, (len(held) - positions) // step + 1)
        self._held = held[n * step:]
        if not n:
            return np.empty((0, trace.shape[1]), np.float32)
        return np.lib.stride_tricks.sliding_window_view(held, positions, axis=0)[::step][:n].max(axis=2)


def joined_peaks(positions: np.ndarray, profile: Profile) -> np.ndarray:
    """Answers (windows, labels, positions) of windows that follow each other -> the trace's highest value within each, (windows, labels)."""
    if not len(positions):
        return np.empty(positions.shape[:2], np.float32)
    return WindowPeaks(profile).push(TraceJoiner(profile).push(positions, final=True), positions.shape[2])
