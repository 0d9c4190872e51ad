"""The windows that a species model learns from: real clips and simulated sound, their
background taken off; and mel statistics for the baseline beside it."""
from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ROI.describe import BLOCK_S
from spectrogram.generator import SpectrogramGenerator
from spectrogram.profile import load_profile
from spectrogram.recording import Recording
from training.species_score import backgrounds_of, cut

PERCENTILES = (10, 50, 90)
LOWEST_NOISE_RATE_HZ = 30_000


class Windows:
    """Windows of sound: `above` (n, frames, bands) dB above the background, `plain` the same in dB,
    `clip` (n,) row of the table of clips, -1 for simulated ones, `target` (n,) 1 for a beluga."""

    def __init__(self, size: int):
        self.size, self.above, self.plain, self.clip, self.target = size, [], [], [], []

    def add(self, picture_db: np.ndarray, starts, rate_hz: float, clip: int, target: int) -> None:
        blocks = backgrounds_of(picture_db, rate_hz)
        for start in starts:
            middle_s = 0.5 * (start + min(start + self.size, len(picture_db))) / rate_hz
            window = cut(picture_db, [start], self.size)[0]
            self.above.append(window - blocks[min(int(middle_s // BLOCK_S), len(blocks) - 1)])
            self.plain.append(window)
            self.clip.append(clip)
            self.target.append(target)

    def ready(self) -> Windows:
        self.above, self.plain = np.stack(self.above), np.stack(self.plain)
        self.clip, self.target = np.array(self.clip), np.array(self.target)
        return self


def gather(spec, clips: pd.DataFrame) -> Windows:
    """Windows of all clips and of the simulated sound."""
    profile = load_profile(spec.profile)
    bands = int(profile.visible_bands(max(spec.rates_hz) / 2).sum())
    size, step, rate_hz = profile.window_frames, profile.step_frames, profile.frame_rate_hz
    generator, windows = SpectrogramGenerator(profile), Windows(size)
    for k, row in enumerate(tqdm(list(clips.itertuples()), desc="clips", unit="clip")):
        picture = generator.picture(Recording(row.path))[:, :bands]
        starts = np.arange(0, max(len(picture) - size + step // 2, 0) + 1, step)
        starts = starts[:: -(-len(starts) // spec.most_windows)]
        windows.add(picture, starts, rate_hz, k, int(row.kind == "beluga"))
    noise = clips[(clips["part"] == "train") & (clips["kind"] == "noise")]
    noise = noise[noise["sample_rate_hz"] >= LOWEST_NOISE_RATE_HZ]
    made = simulated(spec, generator, noise["path"].tolist())
    for picture, truth in tqdm(made, desc="simulated", unit="recording"):
        picture = picture[:, :bands]
        if truth is None:
            windows.add(picture, range(0, len(picture) - size, size), rate_hz, -1, 0)
            continue
        low = truth["label"].isin(["Whistle", "BBPC"]) & truth["audible"].astype(bool)
        for call in truth[low].itertuples():
            middle = round((call.start_s + call.end_s) / 2 * rate_hz) - size // 2
            windows.add(picture, [int(np.clip(middle, 0, len(picture) - size))], rate_hz, -1, 1)
    return windows.ready()


def simulated(spec, generator: SpectrogramGenerator, noise: list[str]):
    """(picture, truth or None for an empty sea) of simulated recordings at all sites."""
    from preprocessing.soundscape import SITES, simulate_deployment

    said = spec.simulated
    mix = {"ECHO": 0.15, "HFPC": 0.1, "BBPC": 0.35, "Whistle": 0.4}
    for k, site in enumerate(SITES):
        for j in range(said["recordings"] + said["empty"]):
            calls = j < said["recordings"]
            settings = {"call_rate_per_min": 24.0, "call_mix": mix} if calls else {
                "call_rate_per_min": 0.0, "confusers_per_min": 8.0}  # fmt: skip
            if noise and j % 2:
                settings["background"] = noise[(3 * k + j // 2) % len(noise)]
            with tempfile.TemporaryDirectory() as folder:
                simulate_deployment(folder, site, said["seed"] + 100 * k + j, 1, said["seconds"],
                                    boats=[j % 3 == 0], progress=False,
                                    sample_rate_hz=said["sample_rate_hz"], **settings)  # fmt: skip
                truth = pd.read_csv(Path(folder) / "truth.csv") if calls else None
                yield generator.picture(Recording(next(Path(folder).glob("*.wav")))), truth


def mel_statistics(windows_db: np.ndarray) -> np.ndarray:
    """Mean, deviation and percentiles of each band (n, 5 x bands), the window's level taken off."""
    x = windows_db - np.nanmean(windows_db, axis=(1, 2), keepdims=True)
    spread = np.nanpercentile(x, PERCENTILES, axis=1)
    return np.concatenate([np.nanmean(x, 1), np.nanstd(x, 1), *spread], axis=1)


def limits_of(spec) -> list[int]:
    profile = load_profile(spec.profile)
    return sorted({int(profile.visible_bands(rate / 2).sum()) for rate in spec.rates_hz})


def holds(windows: Windows, limit: int) -> np.ndarray:
    """(n,) bool: windows of recordings that have all of the lowest bands."""
    return np.isfinite(windows.above[:, :, :limit]).any(axis=1).all(axis=1)
