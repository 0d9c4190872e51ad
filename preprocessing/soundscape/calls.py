"""What an animal says and how loud: one of the four labelled kinds of call, with its level one metre away.

Source levels: whistles and pulsed calls lie where Vergara et al. (2021, Polar Res. 40, 5521) modelled contact calls of St. Lawrence belugas, roughly
140-165 dB re 1 µPa rms (means and spreads assumed); clicks 210-220 dB peak-to-peak near the axis (Zahn et al. 2021, in West Greenland).
"""

from __future__ import annotations

import numpy as np

from .clicks import click_train
from .pulses import broad_pulsed_call, high_pulsed_call
from .whistles import Utterance, whistle

LABELS = ("ECHO", "HFPC", "BBPC", "Whistle")
MAKERS = {"ECHO": click_train, "HFPC": high_pulsed_call, "BBPC": broad_pulsed_call, "Whistle": whistle}
# mean and standard deviation, dB re 1 µPa at 1 m; rms over the call, for ECHO peak-to-peak on the axis
SOURCE_LEVEL_DB = {"ECHO": (212.0, 4.0), "HFPC": (160.0, 6.0), "BBPC": (157.0, 6.0), "Whistle": (148.0, 7.0)}


def make_call(label: str, rng: np.random.Generator) -> Utterance:
    """Draw a call of this label; raises ValueError for another label."""
    if label not in MAKERS:
        raise ValueError(f"unknown call label {label!r}; one of {', '.join(LABELS)}")
    return MAKERS[label](rng)


def draw_source_level_db(label: str, rng: np.random.Generator) -> float:
    mean, spread = SOURCE_LEVEL_DB[label]
    return float(mean + spread * np.clip(rng.standard_normal(), -2.5, 2.5))


def orientation_loss_db(label: str, frequency_hz: np.ndarray, angle_deg: float) -> np.ndarray:
    """Loss (positive) above 10 kHz of a call made `angle_deg` away from the hydrophone; at most 14 dB (assumed; clicks carry their own beam)."""
    if label == "ECHO":
        return np.zeros_like(np.asarray(frequency_hz, dtype=np.float64))
    return 14 * (np.asarray(frequency_hz) / 90e3).clip(0, 1) * np.sin(np.radians(angle_deg) / 2) ** 2
