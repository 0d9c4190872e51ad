"""From sound to overlapping spectra and back, a segment at a time: what every denoiser here stands on.

    grid = Grid(sample_rate_hz=16000)
    for block in grid.filtered(blocks, gains): ...          # `gains` turns the spectra of each segment into a gain for each cell

Frames of `window_s` under a Hann window overlap by three quarters; after the gain they are windowed again and added, so that a gain of 1 gives the sound back
(to float32's rounding) and a changing gain makes no clicks. A gain is real: phases stay as they are. Frames and segments are counted from the recording's first
sample whatever the blocks in which it arrives, so blocks of any size give the same sound, bit for bit. Beyond its two ends the recording is mirrored.

Spectra are scaled so that a sine of amplitude 1 has a power of 1/4 in its bin (full scale^2). Source: Griffin & Lim (1984), IEEE Trans. ASSP 32:236, weighted overlap-add.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from scipy.fft import irfft, rfft

OVERLAP = 4       # frames that share a sample
WINDOW_S = 0.032  # long enough for tones, short enough for the onset of a call
SEGMENT_S = 2.0


class Grid:
    """Where the frames of sound at `sample_rate_hz` lie.

    Attributes
    ----------
    n_fft, hop (samples), n_bins, bin_hz, frame_rate_hz; segment_frames : frames in a segment of SEGMENT_S.
    """

    def __init__(self, sample_rate_hz: int, window_s: float = WINDOW_S):
        self.sample_rate_hz, self.window_s = int(sample_rate_hz), window_s
        self.hop = max(2, round(sample_rate_hz * window_s / OVERLAP))
        self.n_fft = OVERLAP * self.hop
        self.n_bins, self.bin_hz = self.n_fft // 2 + 1, sample_rate_hz / self.n_fft
        self.frame_rate_hz = sample_rate_hz / self.hop
        self.segment_frames = max(2 * OVERLAP, round(SEGMENT_S * self.frame_rate_hz))
        hann = np.hanning(self.n_fft + 1)[:-1]
        self._analysis = (hann / hann.sum()).astype(np.float32)
        self._synthesis = (hann * hann.sum() / (hann ** 2).reshape(OVERLAP, self.hop).sum(axis=0).mean()).astype(np.float32)

    def filtered(self, blocks: Iterable[np.ndarray], gains: Callable[[Iterator[np.ndarray]], Iterator[np.ndarray]]) -> Iterator[np.ndarray]:
        """Yield the sound with a gain on each of its cells, as long as it was.

        Parameters
        ----------
        blocks : float32 samples in order, in pieces of any size; what is no number counts as silence.
        gains : takes the spectra, (frames, bins) complex64 for each segment, and yields a gain (frames, bins) for each, in order; it may look some segments ahead.
        """
        held: deque = deque()
        length = [0]

        def spectra() -> Iterator[np.ndarray]:
            for segment in self.spectra(blocks, length):
                held.append(segment)
                yield segment

        tail, skip, given = np.zeros(self.n_fft - self.hop, np.float32), self.n_fft - self.hop, 0
        before = np.zeros(0, np.float32)  # a segment's sound waits for the next, for only the stream's end tells how long it was
        for gain in gains(spectra()):
            sound, tail = self._added(held.popleft() * gain, tail)
            sound, skip = sound[skip:], 0
            if len(before):
                yield before
                given += len(before)
            before = sound
        rest = before[:length[0] - given]
        if len(rest):
            yield rest

    def spectra(self, blocks: Iterable[np.ndarray], length: list | None = None) -> Iterator[np.ndarray]:
        """Yield (frames, bins) complex64 of each segment; the last may have fewer frames. `length[0]` counts the samples."""
        edge, step = self.n_fft - self.hop, self.segment_frames * self.hop
        length = [0] if length is None else length
        held, frames, begun = np.zeros(0, np.float32), 0, False
        for block in blocks:
            block = np.nan_to_num(np.asarray(block, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
            held, length[0] = np.concatenate([held, block]), length[0] + len(block)
            if not begun:
                if len(held) < edge:
                    continue
                held, begun = np.concatenate([held[:edge][::-1], held]), True
            at = 0
            while len(held) - at >= step + edge:
                yield self._spectra(held[at:], self.segment_frames)
                at, frames = at + step, frames + self.segment_frames
            held = held[at:]
        if length[0] == 0:
            return
        if not begun:
            held = np.pad(held, (edge, 0), mode="symmetric")
        left = -(-length[0] // self.hop) + OVERLAP - 1 - frames
        held = np.pad(held, (0, max(0, (left - 1) * self.hop + self.n_fft - len(held))), mode="symmetric")
        for first in range(0, left, self.segment_frames):
            yield self._spectra(held[first * self.hop:], min(self.segment_frames, left - first))

    def _spectra(self, samples: np.ndarray, n_frames: int) -> np.ndarray:
        frames = np.lib.stride_tricks.sliding_window_view(samples, self.n_fft)[::self.hop][:n_frames]
        return rfft(frames * self._analysis, axis=1)

    def _added(self, spectra: np.ndarray, tail: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sound that is complete, and what the next frames are added to."""
        frames = irfft(spectra, self.n_fft, axis=1) * self._synthesis
        total = np.zeros((len(frames) + OVERLAP - 1, self.hop), np.float32)
        total.ravel()[:len(tail)] = tail
        for k in range(OVERLAP):
            total[k:k + len(frames)] += frames[:, k * self.hop:(k + 1) * self.hop]
        return total[:len(frames)].ravel(), total[len(frames):].ravel()


def power(spectra: np.ndarray) -> np.ndarray:
    """|X|^2, float32."""
    return spectra.real ** 2 + spectra.imag ** 2


def in_blocks(samples: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Pieces of `size` samples."""
    return (samples[k:k + size] for k in range(0, len(samples), size))
