"""Denoised sound for the model alone, beside the sound as it was recorded.

    way, name = chosen("gate", model)
    for chunk, quiet in beside(generator, recording, way, block_s): ...

Calibration holds for recorded sound only, so levels, regions and their signal-to-noise ratios come from `chunk`; from `quiet`, the same seconds denoised, comes nothing but
the picture that the model sees. The recording is read once; the denoiser lags some 20 s behind and holds them, however long the recording, and its sound does not depend on
the blocks in which it was read.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import tee

import numpy as np

from spectrogram.background import contrast_db
from spectrogram.chunks import Chunk, cut_chunks
from spectrogram.generator import SpectrogramGenerator
from spectrogram.recording import Recording


def chosen(denoise, model) -> tuple[object | None, str | None]:
    """What to denoise with and how the tables name it; (None, None) for sound as it is.

    Parameters
    ----------
    denoise : None: as the model was trained (`denoise` in its model.json; without one, not at all). "gate", a folder with a trained U-Net, a `Gate`, a `Denoiser`.

    Raises
    ------
    ValueError
        for something that is no denoiser, or for another one than the model was trained with: what it saw in training it has to see now.
    """
    trained = getattr(model, "denoise", None)
    if denoise is None and trained is None:
        return None, None
    from preprocessing.denoise import load

    way = load(trained if denoise is None else denoise)
    name = name_of(way)
    if denoise is not None and trained is not None and name != name_of(load(trained)):
        raise ValueError(f"model {model.model_id}: was trained on sound denoised by {name_of(load(trained))!r}, not by {name!r}; leave `denoise` out, and its own is used")
    return way, name


def name_of(way) -> str:
    """"gate", with what differs from its defaults, or the U-Net's id, which holds a hash of its weights."""
    from preprocessing.gating import Gate

    if isinstance(way, Gate):
        changed = {key: value for key, value in asdict(way).items() if value != getattr(Gate(), key)}
        return "gate" + "".join(f" {key}={value:g}" for key, value in changed.items())
    return way.info.get("denoiser_id") or "a U-Net that was not saved"


def beside(generator: SpectrogramGenerator, recording: Recording, way, block_s: float) -> Iterator[tuple[Chunk, Chunk | None]]:
    """Chunks of the recording, each with the same seconds denoised (None without a `way`)."""
    if way is None:
        yield from ((chunk, None) for chunk in generator.chunks(recording, block_s))
        return
    from preprocessing.denoise import denoise

    end, rate_hz = generator.front_end(recording.sample_rate_hz), recording.sample_rate_hz
    blocks, again = tee(recording.raw_blocks(block_s))
    scaled = (np.multiply(block, np.float32(recording.scale), dtype=np.float32, casting="unsafe") for block in again)
    as_it_is = cut_chunks(blocks, rate_hz, end.before, end.after, scale=recording.scale)
    yield from zip(as_it_is, cut_chunks(denoise(scaled, way, rate_hz), rate_hz, end.before, end.after), strict=True)


def passage_picture(generator: SpectrogramGenerator, recording: Recording, way, start_s: float, end_s: float, context_s: float = 20.0) -> np.ndarray:
    """(frames, columns) dB: the model's picture of a passage, to look at; denoiser (None: no one) and background are given `context_s` around it."""
    first_s, rate_hz = int(max(0.0, start_s - context_s)), recording.sample_rate_hz
    end = generator.front_end(rate_hz)
    sound = recording.read(first_s, min(recording.duration_s, end_s + context_s))
    blocks = [sound]
    if way is not None:
        from preprocessing.denoise import denoise

        blocks = denoise(sound, way, rate_hz)
    picture = np.concatenate([generator.process(chunk, rate_hz, recording.sensitivity_db).picture_db for chunk in cut_chunks(blocks, rate_hz, end.before, end.after)])
    frame_rate, picture = generator.profile.frame_rate_hz, contrast_db(picture, generator.profile)
    return picture[round((start_s - first_s) * frame_rate):round((end_s - first_s) * frame_rate)]
