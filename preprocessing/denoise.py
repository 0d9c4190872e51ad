"""Denoising, one interface: `denoise(recording, how)` yields the sound in blocks, `write_denoised` writes it as WAV.

    for block in denoise("6872.220716021453.wav", "gate"): ...
    write_denoised("6872.220716021453.wav", "denoised", "results/denoiser")       # denoised/6872.220716021453.wav

`how` is "gate" (spectral gating, `gating.py`), the folder of a trained U-Net (`denoiser.py`), or a `Gate` or a `Denoiser`. Level and phase of what passes stay, so a calibration holds for the calls;
noise levels measured on denoised sound mean nothing. From the shell, a folder at once:

    python -m preprocessing.denoise INPUT OUTPUT --how gate

A WAV has the recording's rate, length, channel and sample format (at least 16 bit), and its name, so its start time and serial; the recorder's log goes along. It is written under another name
until it is whole: a file that exists is done, and is not made again.
"""
from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from preprocessing.denoiser import Denoiser
from preprocessing.gating import Gate, gated
from preprocessing.overlap_add import in_blocks
from spectrogram.header import BYTES
from spectrogram.recording import BadRecording, Recording

BLOCK_S = 16.0
WAV_BYTES = 4 * 2 ** 30 - 2 ** 16  # beyond, RF64
SUBTYPES = ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")


def denoise(sound, how="gate", sample_rate_hz: int | None = None, block_s: float = BLOCK_S) -> Iterator[np.ndarray]:
    """The sound, denoised: float32 blocks, as long in all as the sound; the same whatever `block_s`.

    Parameters
    ----------
    sound : path, `Recording`, samples (n,), or samples block by block; the last two with their `sample_rate_hz`.
    how : "gate", a folder with a trained U-Net, a `Gate`, a `Denoiser`; None: the sound as it is.

    Raises
    ------
    ValueError
        for another `how`, samples of several channels or without a rate; BadDenoiser, a BadRecording where a folder or a file is none.
    """
    way = load(how)
    if isinstance(sound, (str, Path)):
        sound = Recording(sound)
    if isinstance(sound, Recording):
        sample_rate_hz, blocks = sound.sample_rate_hz, sound.blocks(block_s)
    elif sample_rate_hz is None:
        raise ValueError("samples without a rate: give sample_rate_hz, or a recording")
    elif isinstance(sound, np.ndarray):
        if sound.ndim != 1:
            raise ValueError(f"samples of shape {sound.shape}: give one channel, (n,)")
        blocks = in_blocks(sound, max(1, round(block_s * sample_rate_hz)))
    else:
        blocks = iter(sound)
    if way is None:
        return (np.nan_to_num(np.asarray(block, np.float32), nan=0.0, posinf=0.0, neginf=0.0) for block in blocks)
    return gated(blocks, sample_rate_hz, way) if isinstance(way, Gate) else way.denoised(blocks, sample_rate_hz)


def load(how) -> Gate | Denoiser | None:
    """What `how` means, loaded once, to be used for many recordings."""
    if how is None or isinstance(how, (Gate, Denoiser)):
        return how
    if how == "gate":
        return Gate()
    if isinstance(how, (str, Path)) and (Path(how) / "model.json").exists():
        return Denoiser.load(how)
    raise ValueError(f"no denoiser {str(how)!r}: give \"gate\", or a folder with a trained U-Net (model.json, model.safetensors)")


def write_denoised(recording, folder: str | Path, how="gate", name: str | None = None) -> Path:
    """Write the denoised recording into `folder`; the file, which is left as it is where it exists.

    Parameters
    ----------
    recording : path or `Recording`. name : path below `folder`; by default the recording's file name, ending in .wav.

    Raises
    ------
    BadRecording, BadDenoiser; ValueError
        where it would overwrite the recording itself.
    """
    recording = recording if isinstance(recording, Recording) else Recording(recording)
    path = Path(folder) / (name or recording.path.name)
    path = path.with_name(path.name[:len(path.name) - len(path.suffix)] + ".wav")
    if path.exists() and path.samefile(recording.path):
        raise ValueError(f"{path}: is the recording itself; give another folder")
    if path.exists():
        return path
    way = load(how)
    path.parent.mkdir(parents=True, exist_ok=True)
    subtype = recording.subtype if recording.subtype in SUBTYPES else "PCM_16"
    large = recording.frames * BYTES[subtype] > WAV_BYTES
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        with soundfile.SoundFile(unfinished, "w", recording.sample_rate_hz, 1, subtype, format="RF64" if large else "WAV") as file:
            for block in denoise(recording, way):
                file.write(np.clip(block, -1, 1) if subtype.startswith("PCM") else block)
        for ending in (".log.xml", ".xml"):
            if recording.path.with_suffix(ending).is_file():
                shutil.copyfile(recording.path.with_suffix(ending), path.with_suffix(ending))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def denoise_folder(source: str | Path, folder: str | Path, how="gate", progress: bool = True) -> list[Path]:
    """Denoise all recordings of a folder, any depth, into the same places below `folder`; a file that cannot be read gets a line, the rest goes on. The files that exist."""
    from tqdm.auto import tqdm

    from preprocessing.recordings import list_recordings

    way, written = load(how), []
    for row in tqdm(list_recordings(source).to_dict("records"), desc="denoising", unit="file", disable=not progress):
        try:
            if row["fault"]:
                raise BadRecording(row["fault"])
            recording = Recording(row["path"])
            written.append(write_denoised(recording, folder, way, row["recording"]))
            for fault in recording.faults:
                print(f"{row['recording']}: {fault}")
        except (BadRecording, OSError, soundfile.LibsndfileError) as error:
            print(error)
    return written


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    from argparse import ArgumentParser

    parser = ArgumentParser(prog="python -m preprocessing.denoise", description="Denoise the recordings of a folder.")
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--how", default="gate", help='"gate", or the folder of a trained U-Net')
    told = parser.parse_args(arguments)
    try:
        written = denoise_folder(told.input, told.output, told.how)
    except (ValueError, FileNotFoundError) as error:
        print(error)
        return 2
    print(f"{len(written)} recordings in {told.output}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
