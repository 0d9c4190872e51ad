"""Species profile: everything that ties a spectrogram, its regions and its model to a species.

A profile is a YAML file in `spectrogram/profiles/` (or any path), read into a frozen `Profile`. A saved model carries its
profile, so loading the model restores the front end exactly.

>>> profile = load_profile("beluga")
>>> profile.window_frames, profile.step_frames, profile.frame_rate_hz
(192, 96, 192.0)
"""
from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import yaml

from spectrogram.bands import warped_corners_hz

PROFILES = Path(__file__).parent / "profiles"
NYQUIST_MARGIN = 0.95  # bands above this share of the Nyquist frequency lie in the recorder's anti-alias filter
CREST_PER_FRAME = 4  # blocks of the crest in a frame
CREST_MIN_NYQUIST = 1.8  # in units of the crest's corner frequency: a recording with less has no crest
KEYS = {"name", "species", "sample_rate_hz", "n_fft", "hop", "window_s", "step_s", "picture", "heads", "labels", "roi_bands"}


@dataclass(frozen=True)
class Profile:
    """A species profile. Frequencies in Hz, times in seconds; see `profiles/beluga.yaml` for what each key means.

    Raises
    ------
    ValueError
        if a window or a step is not a whole number of frames, or a head names a label that is not described.
    """

    name: str
    species: str
    sample_rate_hz: int
    n_fft: int
    hop: int
    window_s: float
    step_s: float
    picture: dict
    heads: dict
    label_info: dict
    roi_bands: tuple

    def __post_init__(self):
        for what, seconds in (("window_s", self.window_s), ("step_s", self.step_s)):
            frames = seconds * self.sample_rate_hz / self.hop
            if frames != int(frames):
                raise ValueError(f"profile {self.name}: {what} = {seconds} s is {frames} frames; make it a whole number")
        unknown = [label for label in self.labels if label not in self.label_info]
        if unknown:
            raise ValueError(f"profile {self.name}: heads name {unknown}, which `labels` does not describe")

    @classmethod
    def from_dict(cls, d: dict) -> "Profile":
        """Build from a plain dict (YAML or JSON). Unknown and missing keys are errors."""
        wrong = set(d) ^ KEYS
        if wrong:
            raise ValueError(f"profile {d.get('name', '?')}: unknown or missing keys {sorted(wrong)}")
        d = dict(d)
        return cls(label_info=d.pop("labels"), roi_bands=tuple(d.pop("roi_bands")), **d)

    def to_dict(self) -> dict:
        """Plain dict; `Profile.from_dict(p.to_dict()) == p`."""
        d = {key: getattr(self, key) for key in KEYS - {"labels", "roi_bands"}}
        return d | {"labels": self.label_info, "roi_bands": [dict(b) for b in self.roi_bands]}

    def hash(self) -> str:
        """Twelve hex digits that change when anything in the profile changes."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, in the order of the heads: the order of every model output."""
        return tuple(label for labels in self.heads.values() for label in labels)

    @property
    def label_band_hz(self) -> dict[str, tuple[float, float]]:
        return {label: tuple(self.label_info[label]["band_hz"]) for label in self.labels}

    @property
    def label_min_nyquist_hz(self) -> dict[str, float]:
        return {label: self.label_info[label]["min_nyquist_hz"] for label in self.labels}

    def observable(self, label: str, nyquist_hz: float) -> bool:
        """True if a recording with this Nyquist frequency can show the label at all."""
        return nyquist_hz >= self.label_min_nyquist_hz[label]

    @property
    def frame_rate_hz(self) -> float:
        return self.sample_rate_hz / self.hop

    @property
    def window_frames(self) -> int:
        return int(self.window_s * self.sample_rate_hz / self.hop)

    @property
    def step_frames(self) -> int:
        return int(self.step_s * self.sample_rate_hz / self.hop)

    @property
    def n_bands(self) -> int:
        return self.picture["bands"]

    @property
    def crest_columns(self) -> int:
        """Columns of a picture behind its bands: crest peaks (`spectrogram.crest`), as many as blocks in a frame, or none."""
        return CREST_PER_FRAME if "crest" in self.picture else 0

    @property
    def n_columns(self) -> int:
        """Columns of a picture: bands, then the crest's."""
        return self.n_bands + self.crest_columns

    @property
    def normalisation(self) -> dict:
        return self.picture["normalisation"]

    @cached_property
    def band_edges_hz(self) -> np.ndarray:
        """(bands + 2,) corners of the picture's triangles."""
        p = self.picture
        return warped_corners_hz(p["bands"], p["low_hz"], p["high_hz"], p["break_hz"])

    @property
    def band_centres_hz(self) -> np.ndarray:
        """(bands,) peaks of the triangles."""
        return self.band_edges_hz[1:-1]

    @property
    def band_low_hz(self) -> np.ndarray:
        """(bands,) lower border: half-way to the neighbour's centre."""
        return (self.band_edges_hz[:-2] + self.band_edges_hz[1:-1]) / 2

    @property
    def band_high_hz(self) -> np.ndarray:
        """(bands,) upper border: half-way to the neighbour's centre."""
        return (self.band_edges_hz[1:-1] + self.band_edges_hz[2:]) / 2

    def visible_bands(self, nyquist_hz: float) -> np.ndarray:
        """(bands,) bool: bands that a recording with this Nyquist frequency really holds."""
        return self.band_edges_hz[2:] <= NYQUIST_MARGIN * nyquist_hz

    def visible_columns(self, nyquist_hz: float) -> np.ndarray:
        """(columns,) bool: as `visible_bands`, with the columns of the crest."""
        crest = self.crest_columns and nyquist_hz >= CREST_MIN_NYQUIST * self.picture["crest"]["low_hz"]
        return np.concatenate([self.visible_bands(nyquist_hz), np.full(self.crest_columns, bool(crest))])


def load_profile(name: str | Path | None = None) -> Profile:
    """Read a profile by name (`beluga`), by the path of a YAML file, or, given nothing, by `PROFILE` in the environment.

    Raises
    ------
    FileNotFoundError
        naming the profiles there are.
    """
    name = name or os.environ.get("PROFILE") or "beluga"
    path = PROFILES / f"{name}.yaml"
    if not path.exists():
        path = Path(name)
    if path.suffix not in (".yaml", ".yml") or not path.exists():
        known = ", ".join(sorted(p.stem for p in PROFILES.glob("*.yaml")))
        raise FileNotFoundError(f"no species profile {str(name)!r}: use one of {known}, or the path of a YAML file")
    return Profile.from_dict(yaml.safe_load(path.read_text(encoding="utf-8")))
