"""Where a time lies that counts over several recordings, opened one after the other as one sound.

Seconds throughout. The recordings of a folder follow each other as the recordings table lists them; pauses between them do not count.
"""
from __future__ import annotations

import numpy as np

from preprocessing.recordings import RecordingIndex

SHORTEST_S = 1e-3  # what hangs over a file's end by less is rounding


def chain_of(names: set[str], first: str, index: RecordingIndex) -> list[str]:
    """The recordings that may make up the sequence, in order: those of the folder that the table means; empty if it, or one's duration, is unknown."""
    start = first if first in index.duration_s else next(iter(names & set(index.duration_s)), None)
    if start is None and not names and index.one_folder:
        start = next(iter(index.duration_s))
    chain = [] if start is None else index.sequence(start)
    known = names <= set(chain) and not any(np.isnan(index.duration_s[name]) for name in chain)
    return chain if known else []


def place_unnamed(begin_s: np.ndarray, chain: list[str], first: str, index: RecordingIndex) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Recording and offset of times counted from the start of `first` (of the first of all, if it is not in the chain); and which times lie behind the last."""
    begins_at = chain.index(first) if first in chain else 0
    edges = np.cumsum([0.0, *(index.duration_s[name] for name in chain[begins_at:])])
    place = np.searchsorted(edges, begin_s + 1e-9, side="right") - 1
    behind = place >= len(edges) - 1
    place = place.clip(0, len(edges) - 2)
    return [chain[begins_at + k] for k in place], (begin_s - edges[place]).clip(min=0), behind


def place_named(begin_s: np.ndarray, names: list[str], chain: list[str], index: RecordingIndex) -> dict[str, np.ndarray]:
    """Offsets of times in the recordings they name, for each recording with which the sequence may have begun so that every time lies in its own."""
    lengths = np.array([index.duration_s[name] for name in chain])
    edges = np.cumsum([0.0, *lengths])
    place = np.array([chain.index(name) for name in names])
    offsets = {chain[first]: begin_s + edges[first] - edges[place] for first in range(place.min() + 1)}
    return {first: offset.clip(min=0) for first, offset in offsets.items()
            if (offset > -SHORTEST_S).all() and (offset < lengths[place] + SHORTEST_S).all()}


def pieces(start_s: float, end_s: float, chain: list[str], index: RecordingIndex) -> tuple[list[tuple[str, float, float]], float]:
    """(recording, start_s, end_s) of what begins in the first recording of a chain, in each that it runs through; and how far it runs past the last."""
    found = []
    for name in chain:
        duration_s = index.duration_s[name]
        ends_here = not end_s > duration_s  # also where the duration is not known
        found.append((name, start_s, end_s if ends_here else duration_s))
        if ends_here:
            end_s = 0.0
            break
        start_s, end_s = 0.0, end_s - duration_s
    long = [piece for piece in found if piece[2] - piece[1] > SHORTEST_S]
    return long or found[:1], end_s
