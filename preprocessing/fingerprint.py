"""The fingerprint of a sound: where the peaks of its spectrogram lie, and pairs of peaks by which the same sound is found again.

A peak is a cell of a band-level picture that no cell nearby exceeds. Peaks keep their places when the sound is louder or fainter, cut
elsewhere, resampled, or buried in some noise, and two different noises have theirs in different places. Bands are fixed in Hz and frames
in seconds, whatever the sample rate, so that a clip at 16 kHz and one at 80 kHz compare in the bands that both hold. Two layers: a fine
one for calls and clicks, and a coarse one, below 1.1 kHz, for the long calls of baleen whales and for low sample rates.

Source: Wang (2003), An industrial-strength audio search algorithm, ISMIR: peaks, pairs of peaks as hashes, matches that agree in time.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from spectrogram.recording import Recording

BLOCK_S = 10.0
PIECE_FRAMES = 2048  # peaks are sought in so many frames at a time: bounded memory
BANDS_PER_OCTAVE = 24
FLOOR = 1e-18  # full-scale^2/Hz, below the rounding of 24 bits: digital silence is flat and has no peaks
USED = 0.47  # of the sample rate; above lies the flank of the anti-alias filter
NEAR_FRAMES, NEAR_BANDS = 6, 4  # a peak is the highest within so many on each side: some 90 peaks a second, in noise as in calls
EXCESS_DB = 3.0  # and stands so far above the mean around it
LEVEL_FRAMES = 125  # before that, each band loses its own mean over so many frames on each side (1 s, 16 s), or steady lines would win
PARTNERS = 4  # a peak is paired with the next so many,
MOST_FRAMES, MOST_BANDS = 60, 24  # at most so far from it in time and in frequency (an octave)
TIME_STEP = 2  # distances in time are rounded to so many frames: a cut elsewhere moves peaks by up to half a frame


@dataclass(frozen=True)
class Layer:
    """A resolution: window and step in s, the range of the bands in Hz, and the rate to which faster recordings are brought (0: none)."""

    name: str
    window_s: float
    hop_s: float
    low_hz: float
    high_hz: float
    rate_hz: int = 0

    def edges_hz(self) -> np.ndarray:
        """Limits of the bands: 1 / window wide at the low end, a 24th of an octave where that is wider."""
        edges, width_hz = [self.low_hz], 1 / self.window_s
        while edges[-1] < self.high_hz:
            edges.append(max(edges[-1] + width_hz, edges[-1] * 2 ** (1 / BANDS_PER_OCTAVE)))
        return np.array(edges)


LAYERS = (Layer("fine", 0.032, 0.008, 100.0, 96000.0), Layer("coarse", 0.512, 0.128, 6.0, 1100.0, rate_hz=2400))


@dataclass(frozen=True)
class Fingerprint:
    """Peaks and landmarks of one layer.

    Attributes
    ----------
    peaks : (n, 2) int32, frame and band, by frame.
    hashes, frames : (m,) uint32 and int32 of each landmark: its two bands and their distance in time; the frame of its first peak.
    """

    peaks: np.ndarray
    hashes: np.ndarray
    frames: np.ndarray


def fingerprint(recording: Recording, layer: Layer) -> Fingerprint:
    """Fingerprint of a recording, of any length in bounded memory (some 4 kB for a second of sound).

    Empty where the sound is shorter than two frames or holds fewer than three of the layer's bands.
    """
    return fingerprint_of(recording.blocks(BLOCK_S), recording.sample_rate_hz, layer)


def fingerprint_of(blocks: Iterable[np.ndarray], rate_hz: float, layer: Layer) -> Fingerprint:
    """The same of blocks of samples, float32, at `rate_hz`; however the sound was cut into blocks."""
    if layer.rate_hz and rate_hz > layer.rate_hz:
        blocks, rate_hz = _resampled(blocks, rate_hz, layer.rate_hz), layer.rate_hz
    peaks = list(_peaks_by_piece(_levels_db(blocks, rate_hz, layer)))
    return _landmarks(np.concatenate(peaks) if peaks else np.empty((0, 2), np.int32))


def _resampled(blocks, rate_hz, new_rate_hz) -> Iterator[np.ndarray]:
    import soxr

    stream = soxr.ResampleStream(rate_hz, new_rate_hz, 1, dtype="float32", quality="LQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block))
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def _levels_db(blocks, rate_hz, layer: Layer) -> Iterator[np.ndarray]:
    """Yield (frames, bands) float32, dB re full-scale^2/Hz, frame after frame; bands above the rate are missing."""
    from scipy.fft import next_fast_len, rfft

    size, hop = next_fast_len(round(layer.window_s * rate_hz), real=True), layer.hop_s * rate_hz
    bins = np.floor(layer.edges_hz() * size / rate_hz + 0.5).astype(int)
    bins = bins[bins <= USED * size]
    if len(bins) < 4:
        return
    window = np.hanning(size + 1)[:-1]
    window = (window * np.sqrt(2 / (rate_hz * np.sum(window ** 2)))).astype(np.float32)
    held, first, frame = np.empty(0, np.float32), 0, 0  # samples from number `first` on; the next frame
    for block in blocks:
        held = np.concatenate([held, block])
        starts = np.round(np.arange(frame, frame + len(held) / hop + 1) * hop).astype(int) - first
        starts = starts[starts + size <= len(held)]
        for k in range(0, len(starts), 128):  # few enough for the cache
            frames = held[starts[k:k + 128, None] + np.arange(size)]
            spectrum = rfft(frames * window, axis=1)
            power = np.add.reduceat(spectrum.real ** 2 + spectrum.imag ** 2, bins, axis=1)[:, :-1] / np.diff(bins)
            yield 10 * np.log10(power.astype(np.float32) + np.float32(FLOOR))
        frame += len(starts)
        keep = round(frame * hop) - first
        held, first = held[keep:], first + keep


def _peaks_by_piece(rows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Peaks (n, 2) of a picture that comes row by row: the same as those of the whole picture, for their surroundings are always there."""
    margin = LEVEL_FRAMES + 3 * NEAR_FRAMES
    held, first, done = None, 0, 0  # rows from frame `first` on; frames before `done` have been searched
    for row in rows:
        held = row if held is None else np.concatenate([held, row])
        if first + len(held) >= done + PIECE_FRAMES + margin:
            stop = first + len(held) - margin
            yield _between(find_peaks(held), done - first, stop - first, first)
            done, drop = stop, max(0, stop - margin - first)
            held, first = held[drop:], first + drop
    if held is not None:
        yield _between(find_peaks(held), done - first, len(held), first)


def _between(peaks, start, stop, first) -> np.ndarray:
    return peaks[(peaks[:, 0] >= start) & (peaks[:, 0] < stop)] + np.array([first, 0], np.int32)


def find_peaks(levels_db: np.ndarray) -> np.ndarray:
    """Frame and band (n, 2) of the peaks of a picture (frames, bands) in dB."""
    from scipy.ndimage import maximum_filter, uniform_filter1d

    if len(levels_db) < 2:
        return np.empty((0, 2), np.int32)
    level = levels_db - uniform_filter1d(levels_db, 2 * LEVEL_FRAMES + 1, axis=0)
    around = uniform_filter1d(uniform_filter1d(level, 4 * NEAR_FRAMES + 1, axis=0), 4 * NEAR_BANDS + 1, axis=1)
    highest = maximum_filter(level, (2 * NEAR_FRAMES + 1, 2 * NEAR_BANDS + 1))
    return np.argwhere((level >= highest) & (level > around + EXCESS_DB)).astype(np.int32)


def _landmarks(peaks: np.ndarray) -> Fingerprint:
    """Pair each peak with the next `PARTNERS` peaks that are near enough; at least a frame later, so that a click is no landmark by itself."""
    frame, band = peaks.T
    firsts, seconds, partners, k = [], [], np.zeros(len(peaks), int), 1
    while k < len(peaks):
        apart = frame[k:] - frame[:-k]
        if apart.min() > MOST_FRAMES:
            break
        near = (apart >= 1) & (apart <= MOST_FRAMES) & (np.abs(band[k:] - band[:-k]) <= MOST_BANDS) & (partners[:-k] < PARTNERS)
        i = np.flatnonzero(near)
        partners[i] += 1
        firsts.append(i), seconds.append(i + k)
        k += 1
    if not firsts:
        return Fingerprint(peaks, np.empty(0, np.uint32), np.empty(0, np.int32))
    i, j = np.concatenate(firsts), np.concatenate(seconds)
    hashes = (band[i].astype(np.uint32) * 64 + (band[j] - band[i] + 32).astype(np.uint32)) * 32 + ((frame[j] - frame[i]) // TIME_STEP).astype(np.uint32)
    return Fingerprint(peaks, hashes, frame[i])
