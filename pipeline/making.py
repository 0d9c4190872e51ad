"""What needs no order: from chunks of sound to power spectra, levels and the model's answers.

What is made of a chunk depends on the sound in it and around it alone, to the last bit: chunks are made side by side in threads, and stretches of a long
recording on different workers (`pipeline.stretches`). `pipeline.joining` then takes them in order of time.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from spectrogram.background import REACH, SEGMENT_S, ContrastStream, has_contrast
from spectrogram.chunks import CHUNK_S, Chunk
from spectrogram.generator import Piece, SpectrogramGenerator
from spectrogram.levels import Seconds
from spectrogram.profile import Profile
from spectrogram.recording import Recording
from spectrogram.windows import WindowCutter


@dataclass
class Made:
    """What is made of one chunk.

    psd (frames, bands), coarse_psd, crest (frames, blocks), seconds, final : as in `spectrogram.generator.Piece`. window_prob (n, labels), position_prob (n, labels, positions) : the model's
    answers for the n windows that end in the chunk.
    """

    psd: np.ndarray
    coarse_psd: np.ndarray
    crest: np.ndarray
    seconds: Seconds
    final: bool
    window_prob: np.ndarray
    position_prob: np.ndarray
    clipped: np.ndarray | None = None  # (seconds,) bool: samples at full scale; None: nowhere


def make(recording: Recording, model, chunks: Iterable[tuple[Chunk, Chunk | None]], pool: Executor, ahead: int, first: int = 0) -> Iterator[Made]:
    """What is made of consecutive chunks, in order; the model works on one while the next are made in `pool`, `ahead` of them at most.

    Parameters
    ----------
    chunks : each with the same seconds denoised for the model, or None (`pipeline.denoised.beside`).
    first : chunk from which on something is wanted. As many before as `chunks_around` says have to be among the chunks: windows and background reach
        back into them.
    """
    cutter, contrast, waiting = WindowCutter(model.profile), ContrastStream(model.profile), deque()
    for newest, newest_piece, seen_db in _pieces(recording, generator_of(model.profile), chunks, pool, ahead):
        for picture_db, (index, piece) in contrast.push(
            seen_db, (newest, newest_piece), newest_piece.final
        ):
            if index < first:
                cutter.begin_after(picture_db, piece.first_frame)
                continue
            windows = cutter.push(picture_db, piece.final)
            waiting.append((piece, pool.submit(model.predict, windows, overlapping=True)))
            if len(waiting) > 2:
                yield _made(*waiting.popleft())
    while waiting:
        yield _made(*waiting.popleft())


def chunks_around(profile: Profile) -> tuple[int, int]:
    """Chunks before and after a stretch without which its windows are not what they are in the whole recording."""
    if not has_contrast(profile):
        return 1, 0
    reach = -(-REACH * SEGMENT_S // CHUNK_S)
    return 1 + reach, reach


def _made(piece: Piece, prediction) -> Made:
    return Made(piece.psd, piece.coarse_psd, piece.crest, piece.seconds, piece.final, *prediction.result(), piece.clipped)


def _pieces(recording: Recording, generator: SpectrogramGenerator, chunks, pool: Executor, ahead: int) -> Iterator[tuple[int, Piece, np.ndarray]]:
    """(index, piece, picture that the model sees) of each chunk, in order."""
    rate_hz, sensitivity_db, waiting = recording.sample_rate_hz, recording.sensitivity_db, deque()

    def made(chunk: Chunk, quiet: Chunk | None) -> tuple[int, Piece, np.ndarray]:
        piece = generator.process(chunk, rate_hz, sensitivity_db)
        return chunk.index, piece, piece.picture_db if quiet is None else generator.process(quiet, rate_hz, sensitivity_db).picture_db

    for chunk, quiet in chunks:
        waiting.append(pool.submit(made, chunk, quiet))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


_GENERATORS: dict[str, SpectrogramGenerator] = {}


def generator_of(profile: Profile) -> SpectrogramGenerator:
    """One generator for each profile: filterbanks are made once, not for each recording."""
    return _GENERATORS.setdefault(profile.hash(), SpectrogramGenerator(profile))
