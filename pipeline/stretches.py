"""Stretches of a long recording: made apart, on any worker, and joined exactly.

A stretch is so many whole chunks of 16 s, counted from the recording's start. Its worker reads the sound around it as well, so that each chunk has its margins and the
windows across its beginning are whole: what is made of a chunk is, to the last bit, what a run over the whole recording makes of it. `Rejoined` then takes the stretches
in order of time, so that a call across a joint comes out once.

A stretch's file holds what was made of its chunks (75 kB for a second of sound, the same for every sample rate; a fifth of a 192 kHz recording), chunk by
chunk, as arrays in a zip archive; the archive's comment tells fingerprint, chunks and what was counted. The wrong samples, too, are counted once.
"""
from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from itertools import count
from pathlib import Path

import numpy as np

from pipeline.joining import Joiner
from pipeline.making import Made, chunks_around, generator_of, make
from pipeline.pool import HelpingPool
from pipeline.result import PipelineResult
from spectrogram.chunks import CHUNK_S, Chunk
from spectrogram.dropouts import Dropouts
from spectrogram.generator import SpectrogramGenerator, coarse_mean
from spectrogram.levels import Seconds
from spectrogram.memory import keep_freed_memory
from spectrogram.recording import Recording
from spectrogram.still import Still
from spectrogram.threads import one_thread_per_call

STRETCH_CHUNKS = 40  # at most: some 11 minutes, 50 MB in the worker's memory


class CannotJoin(ValueError):
    """Stretches that do not make up the recording."""


@dataclass(frozen=True)
class Stretch:
    """Chunks [first, last) of a recording that has `of` chunks."""

    first: int
    last: int
    of: int

    @property
    def share(self) -> tuple[float, float]:
        return self.first / self.of, self.last / self.of

    def __str__(self) -> str:
        return f"{self.first:06d}-{self.last:06d}"


def cut(frames: int, rate_hz: int, stretch_s: float) -> list[Stretch]:
    """Stretches of at most `stretch_s` and STRETCH_CHUNKS that make up a recording of so many samples; one where nothing is to be cut.

    >>> [str(stretch) for stretch in cut(70 * 8000, 8000, 33.0)]
    ['000000-000002', '000002-000004', '000004-000005']
    """
    of = -(-frames // (CHUNK_S * rate_hz))
    each = max(1, min(STRETCH_CHUNKS, int(min(stretch_s, of * CHUNK_S) // CHUNK_S)))
    return [Stretch(first, min(first + each, of), of) for first in range(0, of, each)]


# ------------------------------------------------------------------------------------------------------------ making


class Counting(Recording):
    """A recording whose counts of samples can be told and taken."""

    COUNTS = ("frames_read", "bad_samples", "clipped_samples", "_lowest", "_highest")
    begun = False  # whether a stretch has been taken

    @property
    def counts(self) -> list:
        return [getattr(self, name) for name in self.COUNTS]

    @counts.setter
    def counts(self, values: list) -> None:
        for name, value in zip(self.COUNTS, values):
            setattr(self, name, value)

    def read_on(self, counts: list, still: list, dropouts: list | None) -> None:
        """As if the next stretch had been read, with these counts, still samples and dropouts in it."""
        before = self.counts if self.begun else [0, 0, 0, np.inf, -np.inf]
        self.counts = [join(pair) for join, pair in zip((sum, sum, sum, min, max), zip(before, counts))]
        self.still.append(still)
        self.dropouts.append(dropouts)
        self.begun = True

    def read_all(self) -> None:
        """As if it had been read to its end; notes its faults."""
        self._note_what_was_read()

    def chunks_of(self, stretch: Stretch, generator: SpectrogramGenerator) -> Iterator[tuple[Chunk, None]]:
        """The stretch's chunks, and those around it whose pictures are needed. What lies outside the stretch is not counted.

        Raises
        ------
        OSError, soundfile.LibsndfileError
            where the file cannot be read.
        """
        before, after = chunks_around(generator.profile)
        wanted = max(0, stretch.first - before)
        self._begin, self._stretch = max(0, wanted - 1), stretch  # and one more, for the margin
        size = CHUNK_S * self.sample_rate_hz
        for chunk in generator.chunks(self):
            moved = self._begin * size
            chunk = replace(chunk, index=chunk.index + self._begin, origin=chunk.origin + moved, first=chunk.first + moved, last=chunk.last + moved)
            if chunk.index >= wanted:
                yield chunk, None
            if chunk.index == stretch.last - 1 + after:
                return

    def raw_blocks(self, block_s: float = CHUNK_S) -> Iterator[np.ndarray]:
        """As `Recording.raw_blocks`, from the chunk `_begin` on, chunk by chunk; a file that breaks off raises."""
        size, stretch = CHUNK_S * self.sample_rate_hz, self._stretch
        self.counts = [0, 0, 0, np.inf, -np.inf]
        self.still, self.dropouts = (kind(self.sample_rate_hz, stretch.first * size) for kind in (Still, Dropouts))
        with self.opened() as file:
            file.seek(self._begin * size)
            for index in count(self._begin):
                data = self._read_channel(file, size)
                if len(data) == 0:
                    return
                before = self.counts
                block = self._checked_samples(data)
                if stretch.first <= index < stretch.last:
                    self._look_for_silence(block)
                else:
                    self.counts = before
                yield block


def pack_stretch(stretch: Stretch, opened: Callable[[type], Counting], model, threads: int, fingerprint: str) -> tuple[bytes, float]:
    """What is made of a stretch, as the bytes of its file, and its seconds of sound. `opened` gives the recording as an object of a class.

    Raises
    ------
    CannotJoin
        where the recording is not as long as it was. OSError, BadRecording, soundfile.LibsndfileError: where it cannot be read.
    """
    recording, generator, buffer = opened(Counting), generator_of(model.profile), io.BytesIO()
    keep_freed_memory()
    with one_thread_per_call(), HelpingPool(threads) as pool, zipfile.ZipFile(buffer, "w") as archive:
        makings = make(recording, model, recording.chunks_of(stretch, generator), pool, threads + 2, stretch.first)
        for index, made in zip(range(stretch.first, stretch.last), makings):
            if made.final != (index == stretch.of - 1):
                raise CannotJoin(f"{recording.path}: ends elsewhere than it did")
            for name, array in _arrays(made).items():
                with archive.open(f"{index:06d}/{name}.npy", "w") as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
        archive.comment = json.dumps({"fingerprint": fingerprint, "stretch": asdict(stretch), "counts": recording.counts,
                                      "still": recording.still.state, "dropouts": recording.dropouts.state}).encode()
    size = CHUNK_S * recording.sample_rate_hz
    if recording.frames_read != min(stretch.last * size, recording.frames) - stretch.first * size:
        raise CannotJoin(f"{recording.path}: breaks off")
    return buffer.getvalue(), recording.frames_read / recording.sample_rate_hz


# ------------------------------------------------------------------------------------------------------------ the file


def _arrays(made: Made) -> dict[str, np.ndarray]:
    """All that joining needs; `coarse_psd` is made anew from psd."""
    arrays = {"psd": made.psd, "crest": made.crest, "window_prob": made.window_prob, "position_prob": made.position_prob, "final": np.array(made.final)}
    arrays["clipped"] = np.zeros(0, bool) if made.clipped is None else made.clipped
    return arrays | {f"seconds_{field.name}": getattr(made.seconds, field.name) for field in fields(Seconds)}


def read_stretch(path: Path) -> Iterator[Made]:
    """What was made of each chunk, one at a time. OSError, BadZipFile, KeyError or ValueError where the file is damaged."""
    with zipfile.ZipFile(path) as archive:
        stretch = Stretch(**json.loads(archive.comment)["stretch"])

        def array(index: int, name: str) -> np.ndarray:
            with archive.open(f"{index:06d}/{name}.npy") as file:
                return np.lib.format.read_array(file, allow_pickle=False)

        for k in range(stretch.first, stretch.last):
            psd, clipped, seconds = array(k, "psd"), array(k, "clipped"), Seconds(*(array(k, f"seconds_{field.name}") for field in fields(Seconds)))
            yield Made(psd, coarse_mean(psd), array(k, "crest"), seconds, bool(array(k, "final")), array(k, "window_prob"), array(k, "position_prob"), clipped if len(clipped) else None)


def stretch_footer(path: Path) -> dict:
    """fingerprint, stretch, counts, still; an empty dict where there is no such file, or it was damaged by a crash of the machine."""
    try:
        with zipfile.ZipFile(path) as archive:
            footer = json.loads(archive.comment)
        return footer | {"stretch": Stretch(**footer["stretch"])}
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError):
        return {}


# ------------------------------------------------------------------------------------------------------------ joining


class Rejoined:
    """A recording whose stretches come in order of time."""

    def __init__(self, recording: Counting, model, thresholds: dict, level_row_s: int, name: str, species=None):
        self.recording, self.joiner = recording, Joiner(recording, model, thresholds, level_row_s, name, species=species)

    def push(self, path: Path) -> None:
        """The next stretch's file."""
        footer = stretch_footer(path)
        self.recording.read_on(footer["counts"], footer["still"], footer["dropouts"])
        with one_thread_per_call():
            for made in read_stretch(path):
                self.joiner.push(made)

    def result(self) -> PipelineResult:
        """The tables, when all have come. CannotJoin where they are not the whole recording."""
        self.recording.read_all()
        if self.recording.frames_read != self.recording.frames:
            raise CannotJoin(f"{self.recording.path}: was of another length when its stretches were made")
        return self.joiner.result()
