"""From windows to one continuous trace of probabilities.

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
        self._held = np.empty((0, profile.n_bands), np.float32)
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
    """Joins the position probabilities of successive windows into one trace."""

    def __init__(self, profile: Profile):
        self.share = profile.step_frames / profile.window_frames
        self._last: np.ndarray | None = None
        self._begun = False

    def push(self, positions: np.ndarray, final: bool) -> np.ndarray:
        """(windows, labels, positions) of the next windows -> the next stretch of the trace (times, labels)."""
        parts = []
        for window in positions:
            n = window.shape[1]
            step = round(n * self.share)
            low = (n - step) // 2
            parts.append(window[:, 0 if not self._begun else low:low + step].T)
            self._begun, self._last = True, window[:, low + step:].T
        if final and self._last is not None:
            parts.append(self._last)
        n_labels = positions.shape[1]
        return np.concatenate(parts) if parts else np.empty((0, n_labels), np.float32)
