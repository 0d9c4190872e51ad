"""The same sound in two places: copies, and what is the same sound though it is louder, cut elsewhere, resampled or noisier.

Two recordings that share sound must not stand on both sides of a split, or a model is examined on what it has learnt by heart. Copies are
found by a hash of their samples, whatever the container or the name; the others by their fingerprints (`preprocessing.fingerprint`, after
Wang 2003): pairs that share landmarks at one offset in time are candidates, and a candidate is believed when far more of its peaks coincide
at that offset than at those half a second to either side. Two whistles of one animal, two boats or a steady hum do not bring that about.

    find_duplicates("clips")      # a folder, or paths, or a table with `recording` and `path`

Not found: sound played some 2 % faster or slower, and what is shared for less than some 0.2 s.
"""
from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.fingerprint import BLOCK_S, LAYERS, Fingerprint, fingerprint
from preprocessing.peak_match import near_pairs
from preprocessing.recordings import list_recordings
from spectrogram.recording import BadRecording, Recording

COLUMNS = ["a", "b", "kind", "score", "sure", "offset_s", "overlap_s"]
NEAR_HOURS = 2.0  # of sound in which experiments on recordings look for near copies; in more only for exact ones, by their samples
CERTAIN = 300.0  # the highest `sure`: beyond it numbers end


def sound_hash(recording: Recording) -> str:
    """Hash of the samples (32 hexadecimal digits): the same for WAV and FLAC, 16 bits and 24, whatever the name."""
    digest = hashlib.blake2b(digest_size=16)
    for block in recording.blocks(BLOCK_S):
        digest.update((block + np.float32(0)).astype("<f4").tobytes())  # adding 0 makes -0.0 a 0.0
    return digest.hexdigest()


def find_duplicates(recordings, near: bool = True, progress: bool = False) -> pd.DataFrame:
    """Pairs of recordings that hold the same sound.

    Parameters
    ----------
    recordings : a folder; paths; a table with `path` and, where the name is another, `recording` (as of `list_recordings`); or a dict of names and paths.
    near : look also for the same sound where the samples differ, which takes most of the time.

    Returns
    -------
    A row for each pair, surest first: `a` and `b` (names, in the order given), `kind` ("same samples" or "same sound"), `score` (share of the
    peaks in the overlap that coincide, beyond chance, 0 to 1), `sure` (-log10 of the probability that this is chance, at most 300),
    `offset_s` (where b begins on a's clock) and `overlap_s` (how long both run side by side). Copies are paired with the first of them.
    `attrs["left_out"]` has a line for each recording that was not compared: it cannot be read, or is silence, and all silence is alike.

    Raises
    ------
    ValueError
        for a name that is listed twice, or a table without `path`.
    """
    from tqdm.auto import tqdm

    names, durations_s, copies, left_out, first_with = [], [], [], [], {}
    prints: dict[str, list[Fingerprint]] = {layer.name: [] for layer in LAYERS}
    for name, path in tqdm(listed(recordings), desc="fingerprints", unit="file", disable=not progress):
        try:
            recording = Recording(path)
            digest = sound_hash(recording)
        except BadRecording as error:
            left_out.append(str(error))
            continue
        duration_s = recording.frames_read / recording.sample_rate_hz
        if not recording.frames_read:
            left_out.append(f"{path}: not a sample could be read; copy the file again or leave it out")
        elif any(fault.startswith("silence") for fault in recording.faults):
            left_out.append(f"{path}: every sample is the same; nothing to compare, check the hydrophone")
        elif digest in first_with:
            copies.append((first_with[digest], name, "same samples", 1.0, CERTAIN, 0.0, duration_s))
        else:
            first_with[digest] = name
            names.append(name), durations_s.append(duration_s)
            for layer in LAYERS if near else ():
                prints[layer.name].append(fingerprint(recording, layer))
    found = {}
    for layer in LAYERS if near else ():
        for a, b, score, sure, offset in near_pairs(prints[layer.name], progress):
            offset_s = offset * layer.hop_s
            overlap_s = max(0.0, min(durations_s[a], offset_s + durations_s[b]) - max(0.0, offset_s))
            if (a, b) not in found or sure > found[a, b][4]:
                found[a, b] = (names[a], names[b], "same sound", score, min(sure, CERTAIN), offset_s, overlap_s)
    table = pd.DataFrame([*copies, *found.values()], columns=COLUMNS).sort_values(["sure", "score"], ascending=False, ignore_index=True, kind="stable")
    table.attrs["left_out"] = left_out
    return table


def listed(recordings) -> list[tuple[str, Path]]:
    """(name, path) of each recording, given as for `find_duplicates`."""
    if isinstance(recordings, (str, Path)):
        recordings = list_recordings(recordings)
    if isinstance(recordings, pd.DataFrame):
        if "path" not in recordings:
            raise ValueError(f"the table of recordings has no column path; it has {', '.join(map(str, recordings.columns))}")
        named = list(zip(recordings.get("recording", recordings["path"]).astype(str), recordings["path"].map(Path)))
    elif isinstance(recordings, dict):
        named = [(name, Path(path)) for name, path in recordings.items()]
    else:
        named = [(str(path), Path(path)) for path in recordings]
    twice = pd.Series([name for name, _ in named], dtype=object).duplicated()
    if twice.any():
        raise ValueError(f"recording {named[int(twice.argmax())][0]!r} is listed twice; give each once")
    return named


def between_groups(duplicates: pd.DataFrame, groups: dict | pd.Series) -> pd.DataFrame:
    """Rows of `find_duplicates` whose two recordings belong to different groups (`groups`: recording -> group), with both groups:
    sound that a split by these groups would let through."""
    of_a, of_b = duplicates["a"].map(groups), duplicates["b"].map(groups)
    return duplicates.assign(group_a=of_a, group_b=of_b)[of_a != of_b].reset_index(drop=True)
