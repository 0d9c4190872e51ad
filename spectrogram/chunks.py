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


def cut_chunks(blocks: Iterable[np.ndarray], rate_hz: int, before: int, after: int, chunk_s: int = CHUNK_S) -> Iterator[Chunk]:
    """Yield chunks of `chunk_s` seconds with `before` and `after` samples of margin.

    Beyond the recording's two ends the margin is the sound mirrored at its end: the frames there keep their level, and no step is made.
    """
    size = int(chunk_s * rate_hz)
    held, start = np.empty(0, np.float32), 0  # samples [start, start + len(held)) of the recording
    index = 0
    for block in blocks:
        held = np.concatenate([held, block]) if len(held) else np.asarray(block, np.float32)
        while start + len(held) > (index + 1) * size + after:
            yield _chunk(held, start, index, size, before, after, final=False)
            index += 1
            keep = max(0, index * size - before)
            held, start = held[keep - start:], keep
    while start + len(held) > index * size:
        yield _chunk(held, start, index, size, before, after, final=start + len(held) <= (index + 1) * size)
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
