"""How the spectra of simulated noise compare with those of recorded noise: percentiles, and the figure of them.

Levels are of decidecade bands (IEC 61260), as mean density in dB, over one second each. The clips at hand have
no known sensitivity, so the mean of the bands from 1 to 10 kHz is taken off each recording's levels, and only
shapes are compared: how spectra fall, and how far seconds and places differ. A clip counts in the band in which
it holds sound (`soundscape.background.held_band_hz`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.signal import welch

from preprocessing.sea_clips import sea_clips
from preprocessing.soundscape import SITES, simulate_recording
from preprocessing.soundscape.background import held_band_hz

CENTRES_HZ = 1000 * 10 ** (np.arange(-10, 14) / 10)  # 100 Hz to 20 kHz
PERCENTILES = (5, 25, 50, 75, 95)
REFERENCE_HZ = (1e3, 10e3)
FOLDERS = ("sanctsound", "ships")


def training_noise(shared: str | Path) -> list[Path]:
    """Clips of noise in `shared/data` that training hears (`preprocessing.sea_clips`): SanctSound, of no whale, seal or dolphin, and passages of ships.

    Raises FileNotFoundError where the collection is not there.
    """
    clips = sea_clips(Path(shared) / "data")
    chosen = (clips["part"] == "train") & (clips["kind"] == "noise") & clips["folder"].isin(FOLDERS)
    return [Path(path) for path in clips["path"][chosen]]


def relative_levels_db(sound: np.ndarray, rate_hz: int) -> np.ndarray:
    """(seconds, bands) mean density of decidecades in dB over the recording's mean at 1-10 kHz; NaN where it holds no sound."""
    low_hz, high_hz = held_band_hz(sound, rate_hz)
    rows = []
    for start in range(0, len(sound) - rate_hz + 1, rate_hz):
        f, psd = welch(sound[start : start + rate_hz], rate_hz, nperseg=min(rate_hz // 10, 8192))
        rows.append([
            10 * np.log10(psd[(f >= c * 10**-0.05) & (f < c * 10**0.05)].mean() + 1e-30)
            if low_hz < c * 10**-0.05 and c * 10**0.05 < high_hz and ((f >= c * 10**-0.05) & (f < c * 10**0.05)).any() else np.nan
            for c in CENTRES_HZ
        ])  # fmt: skip
    levels_db = np.array(rows).reshape(-1, len(CENTRES_HZ))
    reference = levels_db[:, (CENTRES_HZ >= REFERENCE_HZ[0]) & (CENTRES_HZ <= REFERENCE_HZ[1])]
    return levels_db - np.nanmean(reference) if np.isfinite(reference).any() else levels_db * np.nan


def recorded_levels_db(clips: list[Path]) -> list[np.ndarray]:
    """`relative_levels_db` of each clip that reaches the reference band."""
    import soundfile

    levels = []
    for path in clips:
        sound, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        if rate_hz >= 2 * REFERENCE_HZ[1]:
            levels.append(relative_levels_db(sound[:, 0], rate_hz))
    return levels


def simulated_levels_db(recordings: int = 24, seconds: float = 10.0, version: int = 2, seed: int = 0, **settings) -> list[np.ndarray]:
    """`relative_levels_db` of simulated recordings without calls, the sites in turn, at 48 kHz."""
    levels = []
    for k in range(recordings):
        site = list(SITES)[k % len(SITES)]
        sound, _ = simulate_recording(site, seed, seconds, 48_000, index=k, version=version, call_rate_per_min=0, start_artefact=False, **settings)
        levels.append(relative_levels_db(sound, 48_000))
    return levels


def percentiles_db(levels_db: list[np.ndarray]) -> np.ndarray:
    """(percentiles, bands) over seconds, every recording counted alike whatever its length."""
    fewest = 24
    even = [part[np.linspace(0, len(part) - 1, fewest).round().astype(int)] for part in levels_db if len(part)]
    return np.nanpercentile(np.concatenate(even), PERCENTILES, axis=0)


def plot_percentiles(recorded_db: list[np.ndarray], simulated_db: list[np.ndarray], ax=None):
    """Percentiles of recorded (orange) and simulated (blue) spectra: median, quarter and three quarters, 5 and 95 %. Returns the ax."""
    import matplotlib.pyplot as plt

    ax = ax if ax is not None else plt.subplots(figsize=(10, 4.2), layout="constrained")[1]
    for levels_db, colour, name in ((recorded_db, "#d95f02", "recorded"), (simulated_db, "#1f78b4", "SIMULATED")):
        low, quarter, median, three, high = percentiles_db(levels_db)
        ax.fill_between(CENTRES_HZ / 1e3, quarter, three, color=colour, alpha=0.25, linewidth=0)
        ax.plot(CENTRES_HZ / 1e3, median, color=colour, linewidth=2, label=f"{name}: {len(levels_db)} recordings, median and quartiles")
        for line in (low, high):
            ax.plot(CENTRES_HZ / 1e3, line, color=colour, linewidth=1, linestyle="--", label=f"{name}: 5 and 95 %" if line is low else None)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set(xlabel="frequency (kHz)", ylabel="spectral density level\nover its mean at 1-10 kHz (dB)")
    ax.grid(alpha=0.3)
    ax.legend(fontsize="small", ncols=2)
    return ax
