"""A stand-in for a trained model: names calls by simple band energies, so that synthetic sounds get events whose truth is known.

Same interface as `training.saved.SavedModel`. A position (1/24 s) is named by how far its bands stand above the window's median:
few bands (a line) of 1-22 kHz: Whistle; many above 25 kHz: HFPC, or ECHO where the frames within a position differ much (clicks);
many both above 25 kHz and of 2-20 kHz: BBPC, without the others; bands below 1 kHz over the whole window: Boat.
Where a window holds none of a label's bands the answer is 0.9: a network too says something there, and the pipeline must not believe it.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np

from spectrogram.picture import normalise
from spectrogram.profile import Profile, load_profile

POSITIONS = 24
LOUD_DB = 8.0
THRESHOLDS = {"window": 0.5, "on": 0.5, "off": 0.25}


class ToyModel:
    """See the module's docstring. Stateless; `predict` gives the same answer for a window however windows are batched."""

    by_trace = False

    def __init__(self, profile: Profile | None = None, thresholds: dict | None = None, model_id: str = "toy"):
        self.profile = profile or load_profile("beluga")
        self.thresholds = {label: dict(THRESHOLDS) for label in self.labels} | (thresholds or {})
        self.calibration = {label: {"slope": 1.0, "intercept": 0.0, "position_slope": 1.0, "position_intercept": 0.0} for label in self.labels}
        self.model_id, self.info, self.device = model_id, {"model_id": model_id, "summary": {}}, "cpu"

    @property
    def labels(self) -> tuple[str, ...]:
        return self.profile.labels

    def to(self, device: str) -> "ToyModel":
        return self

    def predict(self, pictures_db: np.ndarray, overlapping: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """(n, frames, columns) dB, NaN where masked -> window (n, labels), position (n, labels, POSITIONS)."""
        expected = (self.profile.window_frames, self.profile.n_columns)
        if pictures_db.shape[1:] != expected:
            raise ValueError(f"pictures of shape {pictures_db.shape}, expected (n, {expected[0]}, {expected[1]})")
        positions = np.zeros((len(pictures_db), len(self.labels), POSITIONS), np.float32)
        for k, picture in enumerate(pictures_db):
            positions[k] = self._name(np.array(picture[:, :self.profile.n_bands]))
        return positions.max(axis=2), positions

    def _name(self, picture: np.ndarray) -> np.ndarray:
        """One window (frames, bands) -> (labels, positions)."""
        centres = self.profile.band_centres_hz
        seen = np.isfinite(picture).any(axis=0)
        low, high = seen & (centres > 1000) & (centres < 22000), seen & (centres > 25000)
        middle, deep = seen & (centres > 2000) & (centres < 20000), seen & (centres < 1000)
        if not seen.any():
            return np.full((len(self.labels), POSITIONS), 0.9, np.float32)
        level = np.where(np.isfinite(picture), picture, np.nanmedian(picture)) - np.nanmedian(picture)
        frames = level.reshape(POSITIONS, -1, level.shape[1])  # (positions, frames in each, bands)
        power = 10 * np.log10((10 ** (frames / 10)).mean(axis=1))  # (positions, bands)
        loud = power > LOUD_DB

        def share(bands):
            return loud[:, bands].mean(axis=1) if bands.any() else np.zeros(POSITIONS)

        tall, wide = share(high), share(middle)
        heights = frames[:, :, high].mean(axis=2) if high.any() else np.zeros((POSITIONS, 1))  # (positions, frames in each)
        peaked = heights.max(axis=1) - np.median(heights, axis=1) > 12
        clicky = peaked & (np.roll(peaked, 1) | np.roll(peaked, -1))  # two in a row: not just the edge of a burst
        broad = (wide > 0.5) & ((tall > 0.5) | ~high.any()) & (middle.sum() >= 12)
        line = power[:, low].max(axis=1) if low.any() else np.zeros(POSITIONS)
        boat = power[:, deep].mean() if deep.any() else 0.0
        answers = {
            "ECHO": _prob(tall, 0.25) * (clicky & ~broad),
            "HFPC": _prob(tall, 0.25) * (~clicky & ~broad),
            "BBPC": _prob(wide, 0.5) * broad,
            "Whistle": _prob(line / LOUD_DB, 1.25) * ((wide < 0.5) | (middle.sum() < 12)),
            "Boat": np.full(POSITIONS, _prob(boat / LOUD_DB, 1.0)),
        }
        for label, (low_hz, high_hz) in self.profile.label_band_hz.items():
            if not (seen & (centres > low_hz) & (centres < high_hz)).any():
                answers[label] = np.full(POSITIONS, 0.9)
        return np.array([answers[label] for label in self.labels], np.float32)


def _prob(x, half):
    """0.5 where x = half, steep; never certain."""
    return np.clip(1 / (1 + np.exp(-12 * (x - half) / half)), 0.01, 0.99)


class SpyModel(ToyModel):
    """Keeps every window it was given and what a network would make of it, in order of the recording (for one worker and one recording)."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen: list[np.ndarray] = []
        self.inputs: list[np.ndarray] = []

    def predict(self, pictures_db, overlapping=False):
        self.seen.append(np.array(pictures_db))
        self.inputs.append(normalise(pictures_db, self.profile))
        return super().predict(pictures_db)


def save_random_model(folder: Path, profile: Profile | None = None, thresholds: dict | None = None, seed: int = 0) -> Path:
    """A small network with random weights, saved as a trained one would be; its answers mean nothing but are always the same."""
    import torch

    from training.model import MultiOutputResNet
    from training.saved import save_model

    profile = profile or load_profile("beluga")
    torch.manual_seed(seed)
    net = MultiOutputResNet(profile.heads, profile.n_bands, width=4, crest=profile.crest_columns)
    calibration = {x: {"slope": 1.0, "intercept": 2.0, "position_slope": 1.0, "position_intercept": 2.0} for x in profile.labels}
    save_model(folder, net, profile, {x: dict(THRESHOLDS) for x in profile.labels} | (thresholds or {}), calibration, {"trained": "never"})
    return Path(folder)
