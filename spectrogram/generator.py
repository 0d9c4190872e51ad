"""The spectrogram generator: one power spectrum of each moment, and from it the picture and the levels.

    from spectrogram import SPECT_GENERATOR
    spectrogram = SPECT_GENERATOR.spectrogram("6872.220716021453.wav", start_s=60, end_s=70)
    spectrogram.plot()

Long recordings are streamed: `stream` (or `process` on the chunks of `chunks`, in any number of threads) yields `Piece`s in order.
A piece does not depend on how the sound was cut into blocks.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from pathlib import Path

import numpy as np

from spectrogram.bands import triangle_weights
from spectrogram.chunks import Chunk, cut_chunks
from spectrogram.crest import CrestMeter
from spectrogram.levels import FLOOR, LevelMeter, Seconds, level_table
from spectrogram.profile import Profile, load_profile
from spectrogram.recording import CLIPPED, Recording
from spectrogram.response import Curve
from spectrogram.stft import GROUP_FRAMES, FrameGrid
from spectrogram.threads import one_thread_per_call

BANDS_AT_ONCE = 16
COARSE_FRAMES = 8


@dataclass
class Piece:
    """Some consecutive frames of a recording.

    picture_db (frames, columns): bands in dB re 1 µPa^2/Hz, then, where the profile has a crest, its peaks in dB re 1 µPa^2; NaN where masked.
    psd (frames, bands): the bands in µPa^2/Hz. coarse_psd (frames / COARSE_FRAMES, bands): its means, from which the levels of windows and
    events are taken. crest (frames, blocks): the peaks in µPa^2. seconds: levels in decidecades and as PSD.
    """

    first_frame: int
    picture_db: np.ndarray
    psd: np.ndarray
    coarse_psd: np.ndarray
    crest: np.ndarray
    seconds: Seconds
    final: bool
    clipped: np.ndarray | None = None  # (seconds,) bool: samples at full scale; None: nowhere


@dataclass
class Spectrogram:
    """A passage to look at.

    times_s (frames,): centres, from the recording's start; freqs_hz (bins,); psd_db (frames, bins) and picture_db (frames, bands),
    both dB re 1 µPa^2/Hz.
    """

    recording: Recording
    profile: Profile
    times_s: np.ndarray
    freqs_hz: np.ndarray
    psd_db: np.ndarray
    picture_db: np.ndarray

    def plot(self, ax=None, **kwargs):
        """Draw it; see `spectrogram.plots.plot_spectrogram`."""
        from spectrogram.plots import plot_spectrogram

        return plot_spectrogram(self, ax=ax, **kwargs)


class FrontEnd:
    """What a profile means at one sample rate: frame grid, filterbank, level meter; and for a hydrophone whose sensitivity differs by frequency (`curve`): what is
    made of it is then at its nominal sensitivity."""

    def __init__(self, profile: Profile, rate_hz: int, curve: Curve | None = None):
        self.grid = FrameGrid(profile, rate_hz)
        self.meter = LevelMeter(self.grid, curve)
        self.n_visible = int(profile.visible_bands(rate_hz / 2).sum())  # the lowest ones
        weights = triangle_weights(profile.band_edges_hz, self.grid.bin_hz, self.grid.n_bins)
        if curve is not None:
            weights *= curve.gains(np.arange(self.grid.n_bins) * self.grid.bin_hz)[:, None].astype(np.float32)
        self._blocks = []  # (bands, bins, weights): triangles overlap few bins, so the product is taken in narrow strips
        for k in range(0, self.n_visible, BANDS_AT_ONCE):
            bands = slice(k, min(k + BANDS_AT_ONCE, self.n_visible))
            used = np.flatnonzero(weights[:, bands].any(axis=1))
            bins = slice(int(used[0]), int(used[-1]) + 1)
            self._blocks.append((bands, bins, np.ascontiguousarray(weights[bins, bands])))
        self.crest = CrestMeter(self.grid, profile.picture["crest"]["low_hz"]) if profile.crest_columns else None
        self.before = self.grid.n_fft + self.meter.lead
        self.after = self.grid.n_fft + self.meter.margin

    def picture(self, power: np.ndarray, out: np.ndarray) -> None:
        """(frames, bins) PSD -> (frames, bands) mean PSD of each visible band, written into `out`."""
        for bands, bins, weights in self._blocks:
            np.matmul(power[:, bins], weights, out=out[:, bands])


class SpectrogramGenerator:
    """Makes calibrated spectrograms with a species profile's front end. `SPECT_GENERATOR` is the one everybody shares."""

    def __init__(self, profile: Profile | str | None = None):
        self.profile = profile if isinstance(profile, Profile) else load_profile(profile)
        self.front_end = lru_cache(maxsize=16)(lambda rate_hz, curve=None: FrontEnd(self.profile, rate_hz, curve))

    def chunks(self, recording: Recording, block_s: float = 16.0) -> Iterator[Chunk]:
        """The recording's samples as fixed chunks with margins, read `block_s` seconds at a time."""
        end = self.front_end(recording.sample_rate_hz)
        return cut_chunks(recording.raw_blocks(block_s), recording.sample_rate_hz, end.before, end.after, scale=recording.scale)

    def process(self, chunk: Chunk, rate_hz: int, sensitivity_db: float) -> Piece:
        """Picture and levels of one chunk. Stateless: chunks may be processed side by side, in any order.

        sensitivity_db : a number, or a `Sensitivity` with a curve over frequency.
        """
        end = self.front_end(rate_hz, getattr(sensitivity_db, "curve", None))
        grid, frame_rate = end.grid, self.profile.frame_rate_hz
        first, last = grid.n_frames(chunk.first), grid.n_frames(chunk.last)
        n, n_seconds, n_bands = last - first, -(-(chunk.last - chunk.first) // rate_hz), self.profile.n_bands
        picture = np.full((n, self.profile.n_columns), np.nan, np.float32)
        psd_sum = np.zeros((n_seconds, grid.n_bins), np.float32)
        frames, ones = np.zeros(n_seconds, np.int64), np.ones(GROUP_FRAMES, np.float32)
        for offset, power in grid.power(chunk.samples, chunk.origin, first, n):
            end.picture(power, picture[offset:offset + len(power)])
            touched = range(int(offset // frame_rate), int((offset + len(power) - 1) // frame_rate) + 1)
            for second in touched:  # a group of frames may reach into the next second
                part = power[max(0, ceil(second * frame_rate) - offset):ceil((second + 1) * frame_rate) - offset]
                psd_sum[second] += ones[:len(part)] @ part
                frames[second] += len(part)
        if end.crest and end.crest.visible:
            picture[:, n_bands:] = end.crest.peaks(chunk.samples, chunk.origin, first, n)
        calibrated = np.float32(10 ** (-sensitivity_db / 10))
        psd, crest = picture[:, :n_bands] * calibrated, picture[:, n_bands:] * calibrated
        for columns in (slice(end.n_visible), slice(n_bands, None)):
            _to_decibels(picture[:, columns], sensitivity_db)
        seconds = end.meter.seconds(chunk, psd_sum, frames)
        return Piece(first, picture, psd, coarse_mean(psd), crest, seconds, chunk.final, clipped_seconds(chunk, rate_hz, len(seconds.start_s)))

    def stream(self, recording: Recording, block_s: float = 16.0) -> Iterator[Piece]:
        """Pictures and levels of a whole recording, piece by piece, in bounded memory."""
        for chunk in self.chunks(recording, block_s):
            with one_thread_per_call():
                piece = self.process(chunk, recording.sample_rate_hz, recording.sensitivity_db)
            yield piece

    def picture(self, recording: Recording | str | Path) -> np.ndarray:
        """(frames, columns) dB re 1 µPa^2/Hz (crest: dB re 1 µPa^2): the picture of a whole recording."""
        return np.concatenate([piece.picture_db for piece in self.stream(as_recording(recording))])

    def levels(self, recording: Recording | str | Path, row_s: float = 60.0):
        """Levels table of a whole recording, one row for each `row_s` seconds; its columns: `spectrogram.levels.level_table`."""
        recording = as_recording(recording)
        seconds = Seconds.join([piece.seconds for piece in self.stream(recording)])
        table = level_table(seconds, self.front_end(recording.sample_rate_hz).meter, recording.sensitivity_db, row_s=row_s,
                            timeline=recording.timeline, silences=recording.silences())
        table.insert(table.columns.get_loc("duration_s") + 1, "calibrated", recording.calibrated)
        return table

    def spectrogram(self, recording: Recording | str | Path, start_s: float = 0.0, end_s: float | None = None) -> Spectrogram:
        """A passage of a recording, to look at: every FFT bin and the picture.

        Raises
        ------
        BadRecording
            if the file cannot be read; ValueError if the passage holds no frame.
        """
        recording = as_recording(recording)
        curve = getattr(recording.sensitivity_db, "curve", None)
        end = self.front_end(recording.sample_rate_hz, curve)
        grid, rate, frame_rate = end.grid, recording.sample_rate_hz, self.profile.frame_rate_hz
        first = max(0, round(start_s * frame_rate))
        last = grid.n_frames(recording.frames)
        last = last if end_s is None else min(last, round(end_s * frame_rate))
        if last <= first:
            raise ValueError(f"{recording.path}: nothing between {start_s} s and {end_s} s; it lasts {recording.duration_s:.2f} s")
        low, high = int(grid.first_sample(first)), int(grid.first_sample(last - 1)) + grid.n_fft
        samples = recording.read(max(0, low) / rate, high / rate)
        samples = np.pad(samples, (max(0, -low), max(0, high - max(0, low) - len(samples))), mode="symmetric")
        power = np.concatenate([p.copy() for _, p in grid.power(samples, low, first, last - first)])
        picture = np.full((last - first, self.profile.n_bands), np.nan, np.float32)
        for k in range(0, len(power), GROUP_FRAMES):
            end.picture(power[k:k + GROUP_FRAMES], picture[k:k + GROUP_FRAMES])
        _to_decibels(picture[:, :end.n_visible], recording.sensitivity_db)
        psd_db = 10 * np.log10(np.maximum(power, FLOOR)) - np.float32(recording.sensitivity_db)
        if curve is not None:
            psd_db -= curve.at(np.arange(grid.n_bins) * grid.bin_hz).astype(np.float32)
        times_s = (np.arange(first, last) + 0.5) / frame_rate
        return Spectrogram(recording, self.profile, times_s, np.arange(grid.n_bins) * grid.bin_hz, psd_db, picture)


def as_recording(recording: Recording | str | Path) -> Recording:
    return recording if isinstance(recording, Recording) else Recording(recording)


def clipped_seconds(chunk: Chunk, rate_hz: int, count: int) -> np.ndarray | None:
    """(count,) bool: in which of a chunk's seconds samples lie at full scale; None where in none. What lies behind the last one counts as its own."""
    samples = chunk.samples[chunk.first - chunk.origin:chunk.last - chunk.origin]
    if not len(samples) or not count or max(samples.max(), -samples.min()) < CLIPPED:
        return None
    edges = [*range(0, count * rate_hz, rate_hz), len(samples)]
    return np.array([np.abs(samples[start:end]).max() >= CLIPPED for start, end in zip(edges[:-1], edges[1:])])


def coarse_mean(power: np.ndarray) -> np.ndarray:
    """Mean over every `COARSE_FRAMES` frames: (frames, bands) -> (ceil(frames / COARSE_FRAMES), bands)."""
    if len(power) % COARSE_FRAMES == 0:
        return power.reshape(-1, COARSE_FRAMES, power.shape[1]).mean(axis=1)
    starts = np.arange(0, len(power), COARSE_FRAMES)
    counts = np.diff(np.append(starts, len(power))).astype(np.float32)
    return np.add.reduceat(power, starts, axis=0) / counts[:, None]


def coarse_peak(power: np.ndarray) -> np.ndarray:
    """Highest of every `COARSE_FRAMES` frames: as `coarse_mean`, and clicks stay."""
    if len(power) % COARSE_FRAMES == 0:
        return power.reshape(-1, COARSE_FRAMES, power.shape[1]).max(axis=1)
    return np.maximum.reduceat(power, np.arange(0, len(power), COARSE_FRAMES), axis=0)


def _to_decibels(psd: np.ndarray, sensitivity_db: float) -> None:
    """Calibrated 10 log10, in place."""
    np.maximum(psd, np.float32(FLOOR), out=psd)
    np.log(psd, out=psd)  # several times as fast as log10
    psd *= np.float32(10 / np.log(10))
    psd -= np.float32(sensitivity_db)
