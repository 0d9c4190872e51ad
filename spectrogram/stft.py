"""The frame grid, and power spectra on it.

Frames sit on a grid in *time*, the same for every sample rate: frame i is centred at (i + 0.5) * hop / profile rate seconds. A
recording at another rate is not resampled: it gets a window of the same duration at its own rate (n_fft scaled with the rate) around the
nearest sample (at most half a sample off, never accumulating). So no filter colours the levels, 8 kHz costs a fraction of 192 kHz, and
nothing above Nyquist is invented.

Power spectra are one-sided mean-square spectral densities: |X|^2 * 2 / (fs * sum(w^2)), without the doubling at 0 Hz and Nyquist.
Source: Heinzel, Ruediger & Schilling (2002), Spectrum and spectral density estimation by the DFT, eq. 23.
"""
from __future__ import annotations

import numpy as np

from spectrogram.profile import Profile

GROUP_FRAMES = 192  # frames per FFT call: few enough for the cache, enough to hide Python's own time


class FrameGrid:
    """Where the frames of a recording at `rate_hz` lie, and their power spectra.

    Attributes
    ----------
    n_fft, n_bins, bin_hz : size, bins and bin width of the spectra at this rate.
    """

    def __init__(self, profile: Profile, rate_hz: int):
        self.rate_hz, self.hop, self.base_rate_hz = int(rate_hz), profile.hop, profile.sample_rate_hz
        self.n_fft = max(4, 2 * round(rate_hz * profile.n_fft / profile.sample_rate_hz / 2))
        self.n_bins = self.n_fft // 2 + 1
        self.bin_hz = rate_hz / self.n_fft
        hann = np.hanning(self.n_fft + 1)[:-1]  # periodic
        self._window = (hann * np.sqrt(2.0 / (rate_hz * np.sum(hann ** 2)))).astype(np.float32)  # scaled so that |X|^2 is a density
        self._scratch: list[tuple] = []  # working memory that no generator of `power` uses now: taken anew for each chunk, its pages would cost as much as a tenth of the FFT
        step = rate_hz * profile.hop / profile.sample_rate_hz
        self.whole_hop = int(step) if step == int(step) else None

    def n_frames(self, n_samples: int) -> int:
        """Frames whose whole hop lies within `n_samples`."""
        return n_samples * self.base_rate_hz // (self.rate_hz * self.hop)

    def first_sample(self, frame) -> int:
        """First sample of a frame's window (may be negative: before the recording)."""
        centre = ((2 * np.asarray(frame, dtype=np.int64) + 1) * self.rate_hz * self.hop + self.base_rate_hz) // (2 * self.base_rate_hz)
        return centre - self.n_fft // 2

    def power(self, samples: np.ndarray, origin: int, first_frame: int, n_frames: int):
        """Yield (frame offset, power) for groups of at most `GROUP_FRAMES` frames.

        Parameters
        ----------
        samples : (n,) float32, covering every window of the frames asked for; samples[0] is sample `origin` of the recording.

        Yields
        ------
        offset of the group's first frame from `first_frame`, and (frames, n_bins) float32 in full-scale^2 / Hz. The array is used again
        for the next group: copy what you keep.
        """
        import torch  # here: importing the spectrogram room must stay quick

        try:
            scratch = self._scratch.pop()
        except IndexError:  # every thread needs its own
            scratch = (torch.empty((GROUP_FRAMES, self.n_fft), dtype=torch.float32), torch.empty((GROUP_FRAMES, self.n_bins), dtype=torch.complex64),
                       np.empty((GROUP_FRAMES, self.n_bins), dtype=np.float32))
        (windowed, spectrum, power), window = scratch, torch.from_numpy(self._window)
        parts = spectrum.numpy().view(np.float32)  # real and imaginary parts in turns
        try:
            for offset in range(0, n_frames, GROUP_FRAMES):
                n = min(GROUP_FRAMES, n_frames - offset)
                torch.mul(torch.from_numpy(self._frames(samples, origin, first_frame + offset, n)), window, out=windowed[:n])
                torch.fft.rfft(windowed[:n], out=spectrum[:n])
                np.multiply(parts[:n], parts[:n], out=parts[:n])
                np.add(parts[:n, ::2], parts[:n, 1::2], out=power[:n])
                power[:n, 0] *= 0.5
                power[:n, -1] *= 0.5
                yield offset, power[:n]
        finally:
            self._scratch.append(scratch)

    def _frames(self, samples, origin, first_frame, n):
        """(n, n_fft) view or copy of the frames' samples."""
        if self.whole_hop:
            start = int(self.first_sample(first_frame)) - origin
            stride = samples.strides[0]
            return np.lib.stride_tricks.as_strided(samples[start:], (n, self.n_fft), (self.whole_hop * stride, stride))
        starts = self.first_sample(np.arange(first_frame, first_frame + n)) - origin
        return samples[starts[:, None] + np.arange(self.n_fft)]
