"""Cutting a stream of blocks into the fixed chunks that everything downstream works on.

However the sound was read (1 s, 7.3 s, whole), a chunk is the same `CHUNK_S` seconds of samples with the same margins, so every frame,
level, box and event comes out the same.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

CHUNK_S = 16


@dataclass(frozen=True)
class Chunk:
    """`samples` (float32) reach from sample `origin` of the recording, margins included; the chunk proper is
    [first, last) in samples. `final` marks the recording's last chunk."""

    index: int
    samples: np.ndarray
    origin: int
    first: int
    last: int
    final: bool


def cut_chunks(blocks: Iterable[np.ndarray], rate_hz: int, before: int, after: int, chunk_s: int = CHUNK_S, scale: float = 1.0) -> Iterator[Chunk]:
    """Yield chunks of `chunk_s` seconds with `before` and `after` samples of margin, float32.

    Beyond the recording's two ends the margin is the sound mirrored at its end: the frames there keep their level, and no step is made.

    Parameters
    ----------
    blocks : samples in order, of any number type; multiplied by `scale` as they are put into their chunk, in one pass.
    """
    size = int(chunk_s * rate_hz)
    index, start = 0, 0  # the chunk being filled, and the sample of the recording at the beginning of `held`
    held, n_held = np.empty(size + after, np.float32), 0
    for block in blocks:
        while len(block):
            taken = block[:len(held) - n_held]
            np.multiply(taken, np.float32(scale), out=held[n_held:n_held + len(taken)], dtype=np.float32, casting="unsafe")
            n_held += len(taken)
            block = block[len(taken):]
            if n_held == len(held):  # up to the end of the chunk's margin: at least `after` samples belong to the next one
                yield _chunk(held, start, index, size, before, after, final=False)
                index += 1
                keep = max(0, index * size - before)
                tail = held[keep - start:]
                start, n_held = keep, len(tail)
                held = np.empty((index + 1) * size + after - start, np.float32)
                held[:n_held] = tail
    held = held[:n_held]
    while start + n_held > index * size:
        yield _chunk(held, start, index, size, before, after, final=start + n_held <= (index + 1) * size)
        index += 1


def _chunk(held, start, index, size, before, after, final) -> Chunk:
    end = start + len(held)
    first, last = index * size, min((index + 1) * size, end)
    low, high = first - before, last + after
    part = held[max(low, start) - start:min(high, end) - start]
    pad = (max(0, -low), max(0, high - end))
    if any(pad):
        part = np.pad(part, pad, mode="symmetric")
    return Chunk(index, part, low, first, last, final)
