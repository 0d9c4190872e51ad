"""One recording in, named calls out.

    from pipeline import run_pipeline_single_audio
    result = run_pipeline_single_audio("6872.220716021453.wav", debug=True)
    result.events

The way of one second of sound: blocks of samples -> one power spectrum -> levels and picture -> regions of interest, and the model on a
window every half second -> one trace of probability for each label -> events. With `denoise` the model's picture, and nothing else, is made of denoised sound. Chunks of 16 s pass through two threads (spectrogram, model), of which this
one also finds the regions and joins the results in order; nothing depends on who was faster, and nothing holds a whole recording.
"""
from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import soundfile

from pipeline.denoised import beside, chosen
from pipeline.joining import Joiner
from pipeline.making import generator_of, make
from pipeline.pool import HelpingPool
from pipeline.result import PipelineResult
from spectrogram.chunks import CHUNK_S
from spectrogram.memory import keep_freed_memory
from spectrogram.profile import Profile
from spectrogram.recording import BadRecording, Recording, reason
from spectrogram.threads import one_thread_per_call


def run_pipeline_single_audio(path, model=None, debug: bool = False, *, profile: str | Profile | None = None, thresholds: dict | None = None,
                              channel: int = 0, start_utc=None, serial: str | None = None, sensitivity_db: float | None = None,
                              clock: str | None = None, level_row_s: int = 60, block_s: float = CHUNK_S, workers: int = 2,
                              device: str | None = None, name: str | None = None, progress: bool = False, debug_at_s=None, denoise=None,
                              species: bool = True) -> PipelineResult:
    """Find and name the calls in one recording.

    Parameters
    ----------
    path : sound file (WAV, W64, FLAC, AIFF), any sample rate.
    model : a folder with a saved model (`results/NAME`), an experiment's name, or a loaded model; none: the profile's shipped default.
    debug : show each step as a picture for the moments `debug_at_s` (seconds; one or several; none: where most happens); outside a notebook the pictures are
        written into the current folder.
    profile : species profile by name, used to choose the default model; a model brings its own profile.
    thresholds : overrides, e.g. {"Whistle": 0.7} or {"Whistle": {"on": 0.7, "off": 0.4}}.
    channel, start_utc, serial, sensitivity_db, clock : as for `Recording`.
    level_row_s : whole seconds averaged in each row of `levels`.
    workers : threads. device : "cpu", "cuda" or none for CUDA where there is one.
    name : how the recording is called in the tables; the file's name unless told.
    denoise : what the model's picture is denoised by: "gate", or the folder of a trained U-Net; none: as the model was trained. Levels and regions are of the recorded sound.
    species : ask the profile's species model, where it has one, for `species_score` (`results/PROFILE_species`); else it is missing (NaN).

    Returns
    -------
    PipelineResult with `.events`, `.windows`, `.levels` (DataFrames) and `.metadata`.

    Raises
    ------
    BadRecording
        if nothing in the file can be processed. Lesser faults are in `.metadata["faults"]` and in `.effort`.
    ValueError
        for wrong thresholds or rows of levels, and a denoiser that is none, or not the one that the model was trained with.
    """
    recording = path if isinstance(path, Recording) else Recording(path, channel, start_utc, serial, sensitivity_db, clock)
    model = load(model, profile, device)
    thresholds = override(model.thresholds, thresholds)
    way, denoised_by = chosen(denoise, model)
    try:
        joiner = Joiner(recording, model, thresholds, level_row_s, name or recording.name, denoised_by, species_of(model.profile, species))
        result = _run(joiner, beside(generator_of(model.profile), recording, way, block_s), max(1, workers), progress)
    except (OSError, soundfile.LibsndfileError) as error:  # moved away, a disk unplugged, a network lost
        raise BadRecording(f"{recording.path}: cannot be read any more ({getattr(error, 'strerror', None) or reason(error)}); "
                           "check the file and its disk, then run again") from None
    if debug:
        from pipeline.debug import show_steps

        show_steps(result, model, thresholds, debug_at_s, way)
    return result


def _run(joiner: Joiner, chunks, workers: int, progress: bool) -> PipelineResult:
    from tqdm.auto import tqdm

    keep_freed_memory()
    recording, frame_rate_hz = joiner.recording, joiner.profile.frame_rate_hz
    plain_name = "".join(letter if letter.isprintable() else "?" for letter in joiner.name)  # control bytes are none of a terminal's business
    bar = tqdm(total=round(recording.duration_s, 1), unit="s", unit_scale=True, desc=plain_name, disable=not progress)
    with one_thread_per_call(), HelpingPool(workers) as pool:
        for made in make(recording, joiner.model, chunks, pool, workers + 2):
            joiner.push(made)
            bar.update(len(made.psd) / frame_rate_hz)
    bar.close()
    return joiner.result()


def load(model=None, profile: str | Profile | None = None, device: str | None = None):
    """A loaded model, on CUDA where there is one (or on `device`). The last one is kept for the next recording, as long as its files stay the same."""
    if hasattr(model, "predict"):
        return model
    import torch

    from training.saved import find_folder

    name = profile.name if isinstance(profile, Profile) else profile or os.environ.get("PROFILE") or "beluga"
    model = f"{name}_default" if model is None else str(model)
    folder = find_folder(Path(model).parent if model.endswith(".onnx") else model)
    files = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(folder.rglob("model*.*")))
    return _loaded(model, files, device or ("cuda" if torch.cuda.is_available() else "cpu"))


def species_of(profile: Profile, wanted: bool = True):
    """The profile's species model (`training.species_score.SpeciesScorer`); None where it is not wanted, or there is none for this front end.

    Raises
    ------
    BadSpeciesModel
        (ValueError) where it is damaged.
    """
    from training.species_score import SpeciesScorer

    scorer = SpeciesScorer.load(profile=profile.name) if wanted else None
    return scorer if scorer is not None and scorer.fits(profile) else None


@lru_cache(maxsize=1)
def _loaded(model: str, files: tuple, device: str):
    from training.saved import load_model

    return load_model(model).to(device)


def override(thresholds: dict, changes: dict | None) -> dict:
    """The model's thresholds with the user's changes: a number sets `window`, `on` and `region`, where there is one, and moves `off` in proportion.

    Raises
    ------
    ValueError
        for a label that the model does not know, a threshold outside 0..1, or an `off` above its `on`.
    """
    merged = {label: dict(values) for label, values in thresholds.items()}
    for label, change in (changes or {}).items():
        if label not in merged:
            raise ValueError(f"thresholds: no label {label!r}; the model knows {', '.join(merged)}")
        old = merged[label]
        if not isinstance(change, dict):
            change = {key: change * old["off"] / old["on"] if key == "off" else change for key in old}
        if not all(key in old and 0 <= value <= 1 for key, value in change.items()):
            raise ValueError(f"thresholds of {label}: {change}; give numbers from 0 to 1 for {', '.join(old)}")
        merged[label] = old | change
        if merged[label]["off"] > merged[label]["on"]:
            raise ValueError(f"thresholds of {label}: off {merged[label]['off']} lies above on {merged[label]['on']}; an event ends below `off`, give a lower one")
    return merged
