"""The crest channel: how high the sound above 25 kHz peaks within a millisecond.

An echolocation click lasts some 50 µs (Au et al. 1985, beluga); averaged over a 10.7-ms spectrum it lies 20 dB below its
peak. So the sound is high-passed by a short filter, and each frame of the picture gets `PER_FRAME` blocks (1.3 ms at the
beluga's grid), each with its highest squared pressure. Units: full scale squared here, µPa^2 once calibrated.

A block depends on its own samples and some ten on either side, to the last bit, however the sound was cut.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from spectrogram.profile import CREST_MIN_NYQUIST as MIN_NYQUIST
from spectrogram.profile import CREST_PER_FRAME as PER_FRAME
from spectrogram.stft import FrameGrid

STOP, PASS = 0.48, 1.52  # edges of the filter's flank, in units of its corner frequency
TAPS = 1.6  # of the filter, in periods of its corner frequency


class CrestMeter:
    """Peaks of high-passed sound on a frame grid.

    Parameters
    ----------
    low_hz : corner (some -7 dB) of the linear-phase high-pass.
    """

    def __init__(self, grid: FrameGrid, low_hz: float):
        self.grid = grid
        self.visible = grid.rate_hz / 2 >= MIN_NYQUIST * low_hz
        self.taps = high_pass(grid.rate_hz, low_hz) if self.visible else np.zeros(1, np.float32)
        self.margin = len(self.taps) // 2  # samples that a block needs on either side

    def edges(self, first_frame: int, n_frames: int) -> np.ndarray:
        """(n_frames * PER_FRAME + 1,) first samples of the blocks, in samples of the recording."""
        blocks = np.arange(first_frame * PER_FRAME, (first_frame + n_frames) * PER_FRAME + 1, dtype=np.int64)
        return blocks * self.grid.rate_hz * self.grid.hop // (self.grid.base_rate_hz * PER_FRAME)

    def peaks(self, samples: np.ndarray, origin: int, first_frame: int, n_frames: int) -> np.ndarray:
        """(n_frames, PER_FRAME) float32, full scale squared: the highest squared sample of each block.

        Parameters
        ----------
        samples : (n,) float32 that cover the frames and `margin` on either side; samples[0] is sample `origin` of the recording.
        """
        edges = self.edges(first_frame, n_frames) - origin
        return _block_peaks()(samples, self.taps, edges).reshape(n_frames, PER_FRAME)


@lru_cache(maxsize=16)
def high_pass(rate_hz: int, low_hz: float) -> np.ndarray:
    """(taps,) float32, odd, symmetric: equiripple high-pass, -40 dB below half its corner, -7 dB at the corner.

    Source: Parks & McClellan (1972).
    """
    from scipy.signal import remez

    taps = 2 * max(3, round(TAPS * rate_hz / low_hz / 2)) + 1
    edges_hz = [0, STOP * low_hz, PASS * low_hz, rate_hz / 2]
    return remez(taps, edges_hz, [0, 1], weight=[3, 1], fs=rate_hz).astype(np.float32)


def block_peaks_plain(samples: np.ndarray, taps: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(edges - 1,) highest squared filtered sample between each two `edges`: the fallback, and the oracle of the tests."""
    margin = len(taps) // 2
    low, high = int(edges[0]), int(edges[-1])
    part = samples[low - margin:high + margin]
    size = high - low
    filtered = taps[margin] * part[margin:margin + size]
    for k in range(margin):
        filtered += taps[k] * (part[k:k + size] + part[2 * margin - k:2 * margin - k + size])
    return np.maximum.reduceat(filtered * filtered, edges[:-1] - low)


@lru_cache(maxsize=1)
def _block_peaks():
    """`block_peaks_plain` compiled, block by block within the cache, where numba works."""
    try:
        from numba import njit
    except ImportError:
        return block_peaks_plain

    def block_peaks(samples, taps, edges):
        longest, margin = 0, len(taps) // 2
        for b in range(len(edges) - 1):
            longest = max(longest, edges[b + 1] - edges[b])
        filtered, peaks = np.empty(longest, np.float32), np.empty(len(edges) - 1, np.float32)
        for b in range(len(edges) - 1):
            n = edges[b + 1] - edges[b]
            part = samples[edges[b] - margin:edges[b] + n + margin]  # slices: no index can be negative, so the loops become vector code
            middle, tap = part[margin:margin + n], taps[margin]
            for i in range(n):
                filtered[i] = tap * middle[i]
            for k in range(margin):
                tap, left, right = taps[k], part[k:k + n], part[2 * margin - k:2 * margin - k + n]
                for i in range(n):
                    filtered[i] += tap * (left[i] + right[i])
            peak = np.float32(0)
            for i in range(n):
                peak = max(peak, filtered[i] * filtered[i])
            peaks[b] = peak
        return peaks

    signature = "float32[::1](float32[::1], float32[::1], int64[::1])"
    for cache in (True, False):  # where the folder of the code cannot be written there is no cache
        try:
            return njit(signature, nogil=True, cache=cache, fastmath=True)(block_peaks)
        except Exception:  # of the compiler, whose errors have no common base
            continue
    return block_peaks_plain
