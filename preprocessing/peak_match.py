"""Which fingerprints share sound: landmarks make candidates, and peaks that coincide far beyond chance make sure.

Times are frames of the fingerprints' layer; `offset` is where the second of a pair begins on the first one's clock.
"""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from preprocessing.fingerprint import Fingerprint

OFFSET_STEP = 4  # frames to which offsets are rounded when landmarks are counted
LEAST_LANDMARKS = 5  # shared at one offset, and beyond what a pair shares at any offset; reached by chance in one pair of a hundred
OFFSETS_TRIED = 3  # of a pair, those with the most landmarks
MOST_IN_COMMON = 400  # a landmark is compared with so many of its like: what is in everything (hum, clicks) tells nothing
LANDMARKS_AT_ONCE = 20000  # of one recording, a minute or two
SIDE_FRAMES = 64  # chance is measured up to so far on both sides of the offset
STANDS_OUT = 1.5  # more peaks coincide than at any other offset, by this factor: regular clicks coincide at many
SURE = 6.0  # -log10 of the probability that so many coincide by chance; 120 000 pairs of real clips that share nothing reached 4.1,
FALSE_SETS = 2.0  # and 10 times the pairs reach about 1 more: no false pair is wanted in 99 of 100 sets of recordings
LEAST_SCORE = 0.05


def near_pairs(prints: list[Fingerprint], progress: bool = False) -> Iterator[tuple[int, int, float, float, int]]:
    """Pairs of fingerprints of one layer that hold the same sound.

    Landmarks lie in one sorted index, and each recording asks it for its own: memory does not grow with the number of pairs.

    Yields
    ------
    a, b (numbers in the list, a < b), score (0 to 1), sure (-log10 of the probability of chance), offset in frames.
    """
    from tqdm.auto import tqdm

    index = _Index(prints)
    places = [_Places(p.peaks) for p in prints]
    sure_from = max(SURE, FALSE_SETS + np.log10(max(1, len(prints) * (len(prints) - 1) / 2)))
    for a in tqdm(range(len(prints)), desc="comparing", unit="sound", disable=not progress):
        for b, offsets in index.candidates(a).items():
            score, sure, offset = max((judge(places[a], places[b], offset) for offset in offsets), key=lambda verdict: verdict[1])
            if sure >= sure_from and score >= LEAST_SCORE:
                yield a, b, score, sure, offset


class _Index:
    """The landmarks of all fingerprints, sorted by hash and, within a hash, by fingerprint."""

    def __init__(self, prints: list[Fingerprint]):
        self.prints = prints
        self.spans = np.array([np.ptp(p.frames) + 1 if len(p.frames) else 1 for p in prints])
        owner = np.repeat(np.arange(len(prints)), [len(p.hashes) for p in prints])
        keys = self._keys(np.concatenate([p.hashes for p in prints] or [np.empty(0, np.uint32)]), owner)
        order = np.argsort(keys, kind="stable")
        self.keys, self.owner = keys[order], owner[order]
        self.frames = np.concatenate([p.frames for p in prints] or [np.empty(0, np.int32)])[order]

    @staticmethod
    def _keys(hashes: np.ndarray, owner) -> np.ndarray:
        return hashes.astype(np.int64) << 24 | owner

    def candidates(self, a: int) -> dict[int, list[int]]:
        """Later fingerprints that share landmarks with number `a`, and the offsets at which they share many, the best first."""
        mine, keys, counts = self.prints[a], [], []
        for k in range(0, len(mine.hashes), LANDMARKS_AT_ONCE):
            order = np.argsort(mine.hashes[k:k + LANDMARKS_AT_ONCE], kind="stable") + k  # neighbours in the index are asked for together
            key, count = self._shared(a, mine.hashes[order], mine.frames[order])
            keys.append(key), counts.append(count)
        found: dict[int, list[int]] = {}
        if keys:
            key, count = np.concatenate(keys), np.concatenate(counts)
            key = key[np.argsort(-count, kind="stable")]
            for b, step in zip((key >> 32).tolist(), ((key & 0xFFFFFFFF) - (1 << 31)).tolist()):
                offsets = found.setdefault(b, [])
                if len(offsets) < OFFSETS_TRIED:
                    offsets.append(step * OFFSET_STEP + OFFSET_STEP // 2)
        return found

    def _shared(self, a: int, hashes: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keys (fingerprint and offset) at which many of these landmarks of `a` are shared, and how many."""
        first = np.searchsorted(self.keys, self._keys(hashes, a + 1))  # of the same hash, those after a
        n = np.minimum(np.searchsorted(self.keys, self._keys(hashes + np.uint32(1), 0)) - first, MOST_IN_COMMON)
        theirs = ranges(first, n)
        step = (np.repeat(frames, n).astype(np.int64) - self.frames[theirs]) // OFFSET_STEP
        key, count = np.unique(self.owner[theirs] << 32 | step + (1 << 31), return_counts=True)
        shared = np.bincount(self.owner[theirs], minlength=len(self.prints))
        b = key >> 32
        by_chance = (shared[b] - count) * OFFSET_STEP / (np.ptp(frames) + self.spans[b])  # at any one offset, were the others spread evenly
        many = count >= LEAST_LANDMARKS + 4 * by_chance
        return key[many], count[many]


class _Places:
    """Peaks as sorted numbers (band and frame in one), alone and with both neighbouring bands."""

    def __init__(self, peaks: np.ndarray):
        frame, band = peaks.T.astype(np.int64)
        self.frames = frame
        self.exact = np.sort(band + 1 << 32 | frame)
        self.wide = np.sort(np.concatenate([band + k << 32 | frame for k in (0, 1, 2)]))


def judge(a: _Places, b: _Places, offset: int) -> tuple[float, float, int]:
    """Score, sure and the exact offset, near the given one.

    Peaks coincide when they lie within a frame and a band of each other; how many do by chance is seen at the offsets to both sides.
    """
    from scipy.special import gammainc

    shift = np.arange(-SIDE_FRAMES, SIDE_FRAMES + 1)
    begin_a, end_a, begin_b, end_b = a.frames[0], a.frames[-1], b.frames[0] + offset, b.frames[-1] + offset
    length = np.maximum(0, np.minimum(end_a, end_b + shift) - np.maximum(begin_a, begin_b + shift) + 1)
    hits, length = (np.convolve(x, (1, 1, 1), "same") for x in (coinciding(a, b, offset), length))
    middle = np.flatnonzero(np.abs(shift) <= 2 * OFFSET_STEP)
    best = middle[np.argmax(hits[middle])]
    aside = (np.abs(shift - shift[best]) > OFFSET_STEP) & (length >= length[best] / 2)
    if not aside.any():
        return 0.0, 0.0, offset
    expected = (hits[aside].sum() + 1) / length[aside].sum() * length[best]  # the 1 keeps it above 0
    rival = (hits[aside] / length[aside]).max() * length[best]
    exact = offset + int(shift[best])
    start, stop = max(begin_a, b.frames[0] + exact) - 1, min(end_a, b.frames[-1] + exact) + 1
    fewer = min(int(np.sum((at >= start) & (at <= stop))) for at in (a.frames, b.frames + exact))
    score = float(np.clip((hits[best] - expected) / max(fewer - expected, 1), 0, 1))
    if hits[best] < STANDS_OUT * rival:
        return score, 0.0, exact
    chance = gammainc(hits[best], expected)  # of a Poisson count of at least so many
    return score, float(-np.log10(max(chance, 1e-300))), exact


def coinciding(a: _Places, b: _Places, offset: int) -> np.ndarray:
    """(2 * SIDE_FRAMES + 1,) peaks of b that, moved by `offset` and each of the shifts, fall on one of a's in time and, within a band, in frequency."""
    asked, index, sign = (b.exact + offset, a.wide, 1) if len(b.exact) <= len(a.exact) else (a.exact - offset, b.wide, -1)
    first = np.searchsorted(index, asked - SIDE_FRAMES)
    n = np.searchsorted(index, asked + SIDE_FRAMES, "right") - first
    shift = sign * (index[ranges(first, n)] - np.repeat(asked, n))
    return np.bincount(shift + SIDE_FRAMES, minlength=2 * SIDE_FRAMES + 1)


def ranges(first: np.ndarray, n: np.ndarray) -> np.ndarray:
    """first[0], first[0] + 1, ... (n[0] of them), first[1], ...: all ranges one after the other."""
    return np.repeat(first - np.cumsum(n) + n, n) + np.arange(n.sum())
