"""What an animal says and how loud: one of the four labelled kinds of call, with its level one metre away.

The figures are chosen by the simulator's version; those of 2 are wider. Source levels: whistles and pulsed calls lie where Vergara et al. (2021, Polar Res. 40, 5521) modelled contact calls of St. Lawrence belugas, roughly
140-165 dB re 1 µPa rms (means and spreads assumed); clicks 210-220 dB peak-to-peak near the axis (Zahn et al. 2021, in West Greenland).
"""

from __future__ import annotations

import numpy as np

from . import clicks, pulses, whistles
from .clicks import click_train
from .pulses import broad_pulsed_call, high_pulsed_call
from .whistles import Utterance, whistle

LABELS = ("ECHO", "HFPC", "BBPC", "Whistle")
MAKERS = {"ECHO": click_train, "HFPC": high_pulsed_call, "BBPC": broad_pulsed_call, "Whistle": whistle}
RANGES = {"ECHO": clicks.RANGES, "HFPC": pulses.HIGH, "BBPC": pulses.BROAD, "Whistle": whistles.RANGES}  # label -> version -> ranges
# version -> label -> mean and standard deviation, dB re 1 µPa at 1 m; rms over the call, for ECHO peak-to-peak on the axis
SOURCE_LEVEL_DB = {
    1: {"ECHO": (212.0, 4.0), "HFPC": (160.0, 6.0), "BBPC": (157.0, 6.0), "Whistle": (148.0, 7.0)},
    2: {"ECHO": (208.0, 8.0), "HFPC": (161.0, 9.0), "BBPC": (158.0, 9.0), "Whistle": (149.0, 9.0)},
}


def make_call(label: str, rng: np.random.Generator, version: int = 1, length_s: float | None = None) -> Utterance:
    """Draw a call of this label, of this length if one is given; raises ValueError for another label."""
    if label not in MAKERS:
        raise ValueError(f"unknown call label {label!r}; one of {', '.join(LABELS)}")
    return MAKERS[label](rng, RANGES[label][version], length_s)


def draw_source_level_db(label: str, rng: np.random.Generator, version: int = 1) -> float:
    mean, spread = SOURCE_LEVEL_DB[version][label]
    return float(mean + spread * np.clip(rng.standard_normal(), -2.5, 2.5))


def orientation_loss_db(label: str, frequency_hz: np.ndarray, angle_deg: float) -> np.ndarray:
    """Loss (positive) above 10 kHz of a call made `angle_deg` away from the hydrophone; at most 14 dB (assumed; clicks carry their own beam)."""
    if label == "ECHO":
        return np.zeros_like(np.asarray(frequency_hz, dtype=np.float64))
    return 14 * (np.asarray(frequency_hz) / 90e3).clip(0, 1) * np.sin(np.radians(angle_deg) / 2) ** 2
