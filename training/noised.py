"""A noised test set: the clips again, mixed with noise at set SNRs, judged by the same networks.

What a clip's SNR is: its own background in the up-call's band over the added noise there, both as mean power between LOW_HZ and HIGH_HZ. The background is the QUIET
quantile of the clip's frames, so that a call, or a gunshot, does not call for louder noise: with and without a call clips of one sea get the same noise. At 0 dB the
background rises by 3 dB and a call's SNR falls by as much, at -10 dB by 10.4 dB.

    white    even over frequency
    ship     a simulated ship that passes (`preprocessing.upcalls.ship_noise`): hump near 60 Hz, beat of the blades, lines. SIMULATED

The noise of a clip is drawn from (seed, noise, its number): the same waveform at every SNR.
"""
from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.dataset import DataSet, build_dataset, picture_name, seal_folder
from preprocessing.kaggle_whales import SNR_DB
from preprocessing.upcalls import ship_noise
from spectrogram.chunks import cut_chunks
from spectrogram.generator import SpectrogramGenerator
from spectrogram.profile import Profile
from spectrogram.recording import Recording

LOW_HZ, HIGH_HZ = 50.0, 350.0
QUIET = 0.25
FRAME_S = 0.128
NOISES = {"white": 1, "ship": 2}  # the number goes into the seed


def band_power(samples: np.ndarray, rate_hz: int, low_hz: float = LOW_HZ, high_hz: float = HIGH_HZ) -> np.ndarray:
    """(frames,) mean square in the band of Hann frames of FRAME_S, half overlapping; of any unit squared."""
    size = round(FRAME_S * rate_hz)
    window = np.hanning(size + 1)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(samples, np.float64), size)[::size // 2]
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2 * (2 / (size * (window ** 2).sum()))
    f = np.fft.rfftfreq(size, 1 / rate_hz)
    return power[:, (f >= low_hz) & (f <= high_hz)].sum(axis=1)


def noise_of(noise: str, count: int, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) samples of noise of any level.

    Raises
    ------
    ValueError
        for noise that nobody knows, or a ship at another rate or longer than it is simulated at.
    """
    if noise == "white":
        return rng.standard_normal(count)
    if noise != "ship":
        raise ValueError(f"noise {noise!r} is not known; use {' or '.join(NOISES)}")
    sound = ship_noise(rng)
    if rate_hz != 2000 or count > len(sound):
        raise ValueError(f"{count} samples at {rate_hz} Hz: a ship's noise is simulated for {len(sound) / 2000:g} s at 2000 Hz; take white noise for other clips")
    return sound[:count].astype(np.float64)


def mixed(samples: np.ndarray, noise: np.ndarray, snr_db: float, rate_hz: int) -> np.ndarray:
    """Samples with the noise added so that the clip's background lies `snr_db` above it in the band."""
    background = np.quantile(band_power(samples, rate_hz), QUIET)
    gain = np.sqrt(background / band_power(noise, rate_hz).mean() * 10 ** (-snr_db / 10))
    return (samples + gain * noise).astype(np.float32)


def read_samples(path: str | Path) -> tuple[np.ndarray, Recording]:
    """Samples of a whole clip, float32, full scale 1, and the recording they are from."""
    recording = Recording(path)
    return np.concatenate(list(recording.blocks(16.0))).astype(np.float32), recording


def noised_samples(row, noise: str, snr_db: float, seed: int) -> tuple[np.ndarray, Recording]:
    """A clip of a table (`path`, `order`) with its noise."""
    samples, recording = read_samples(row.path)
    rng = np.random.default_rng([seed, NOISES[noise], int(row.order)])
    return mixed(samples, noise_of(noise, len(samples), recording.sample_rate_hz, rng), snr_db, recording.sample_rate_hz), recording


def picture_of(samples: np.ndarray, recording: Recording, generator: SpectrogramGenerator) -> np.ndarray:
    """(frames, bands) dB of samples as the generator makes it of the recording's own."""
    rate_hz, end = recording.sample_rate_hz, generator.front_end(recording.sample_rate_hz)
    chunks = cut_chunks([samples], rate_hz, end.before, end.after)
    return np.concatenate([generator.process(chunk, rate_hz, recording.sensitivity_db).picture_db for chunk in chunks])


def noised_data(clips: pd.DataFrame, folder: Path, profile: Profile, noise: str, snr_db: float, seed: int) -> DataSet:
    """A data set of the same clips with noise; finished pictures are kept. The clips keep their names and groups: each is the twin of the clip it was made from."""
    seal_folder(folder, profile, True)
    generator = SpectrogramGenerator(profile)
    (folder / "pictures").mkdir(exist_ok=True)
    for row in clips.itertuples():
        place = folder / "pictures" / picture_name(row.recording)
        if not place.exists():
            samples, recording = noised_samples(row, noise, snr_db, seed)
            place.with_suffix(".rate").write_text(str(int(recording.sample_rate_hz)), encoding="utf-8")
            aside = place.with_suffix(".part")
            with open(aside, "wb") as file:
                np.save(file, np.ascontiguousarray(picture_of(samples, recording, generator), np.float32))
            os.replace(aside, place)
    return build_dataset(clips.assign(split="test"), whole_clips(clips), folder, profile, {"noise": noise, "snr_db": snr_db}, padded=True)


def whole_clips(clips: pd.DataFrame, snr_db: float = SNR_DB) -> pd.DataFrame:
    """Truth: each named clip carries its label throughout, for nobody said when the call was."""
    named = clips[clips["name"] != ""]
    return pd.DataFrame({"recording": named["recording"], "label": named["name"], "start_s": 0.0, "end_s": named["duration_s"].astype(float), "snr_db": snr_db, "audible": True})
