"""Figures and sounds of notebooks 09 and 10: labels that were acquired, clips, and a sound before and after denoising. Functions take data and an `ax`, draw, and return the `ax`."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from preprocessing.overlap_add import Grid, power


def plot_sound(samples: np.ndarray, sample_rate_hz: int, ax=None, title: str = "", low_db: float | None = None, high_db: float | None = None, top_hz: float | None = None):
    """Spectrogram of samples, dB re full scale; frames of 32 ms. The colours reach 60 dB down from the strongest cell unless told."""
    import matplotlib.pyplot as plt

    ax = ax if ax is not None else plt.subplots(figsize=(10, 3), layout="constrained")[1]
    grid = Grid(sample_rate_hz)
    level_db = 10 * np.log10(np.maximum(power(np.concatenate(list(grid.spectra([samples])))), 1e-16))
    high_db = float(level_db.max()) if high_db is None else high_db
    low_db = high_db - 60 if low_db is None else low_db
    image = ax.imshow(level_db.T, origin="lower", aspect="auto", cmap="magma", vmin=low_db, vmax=high_db, extent=(0, len(samples) / sample_rate_hz, 0, sample_rate_hz / 2e3))
    ax.set(xlabel="time (s)", ylabel="frequency (kHz)", ylim=(0, (top_hz or sample_rate_hz / 2) / 1e3))
    ax.set_title(title, loc="left", fontsize=10)
    ax.figure.colorbar(image, ax=ax, label="level (dB re full scale)", pad=0.01)
    return ax


def plot_before_after(sounds: dict[str, np.ndarray], sample_rate_hz: int, top_hz: float | None = None):
    """The same passage under several names, one below the other, in the colours of the first. Returns the axes."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(sounds), 1, figsize=(10, 2.5 * len(sounds)), layout="constrained", sharex=True, squeeze=False)
    low_db = high_db = None
    for ax, (name, samples) in zip(axes[:, 0], sounds.items()):
        plot_sound(samples, sample_rate_hz, ax, name, low_db, high_db, top_hz)
        low_db, high_db = ax.images[0].get_clim()
        ax.set_xlabel("time (s)" if ax is axes[-1, 0] else "")
    return axes[:, 0]


def play(sounds: dict[str, np.ndarray], sample_rate_hz: int) -> None:
    """A player for each, all equally loud as the first; for a notebook."""
    from IPython.display import Audio, display

    loudest = max(float(np.abs(next(iter(sounds.values()))).max()), 1e-9)
    for name, samples in sounds.items():
        print(name)
        display(Audio(np.clip(samples / loudest, -1, 1), rate=sample_rate_hz, normalize=False))


def plot_label_counts(clips: pd.DataFrame, ax=None):
    """Clips of each label, and of them those of each recording, side by side in one bar."""
    import matplotlib.pyplot as plt

    counts = pd.crosstab(clips["label"], clips["recording"])
    counts = counts.loc[counts.sum(axis=1).sort_values().index]
    ax = ax if ax is not None else plt.subplots(figsize=(10, 0.8 + 0.32 * len(counts)), layout="constrained")[1]
    left, colours = np.zeros(len(counts)), plt.get_cmap("viridis")(np.linspace(0.1, 0.9, counts.shape[1]))
    for column, colour in zip(counts, colours):
        ax.barh(range(len(counts)), counts[column], left=left, color=colour, edgecolor="white", linewidth=0.5, label=column)
        left += counts[column].to_numpy()
    for row, total in enumerate(left):
        ax.text(total, row, f" {total:.0f}", va="center", fontsize=8)
    ax.set_yticks(range(len(counts)), counts.index)
    ax.set(xlabel="clips")
    if counts.shape[1] <= 12:
        ax.legend(title="recording", fontsize=7, loc="lower left", bbox_to_anchor=(1, 0), alignment="left")
    return ax


def plot_extents(clips: pd.DataFrame, ax=None):
    """Each annotation as a point of duration and middle frequency, with a bar from its lowest to its highest; labels in colours."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullLocator

    ax = ax if ax is not None else plt.subplots(figsize=(10, 4), layout="constrained")[1]
    calls = clips[clips["kind"] == "call"].dropna(subset=["low_hz", "high_hz"])
    for k, (label, mine) in enumerate(calls.groupby("label")):
        colour, duration_s = plt.get_cmap("tab20")(k % 20), mine["call_end_s"] - mine["call_start_s"]
        ax.vlines(duration_s, mine["low_hz"].clip(lower=10) / 1e3, mine["high_hz"] / 1e3, color=colour, alpha=0.35, linewidth=1)
        ax.scatter(duration_s, np.sqrt(mine["low_hz"].clip(lower=10) * mine["high_hz"]) / 1e3, s=14, color=colour, label=f"{label} ({len(mine)})")
    for name, axis in (("x", ax.xaxis), ("y", ax.yaxis)):
        getattr(ax, f"set_{name}scale")("log")
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set(xlabel="duration (s)", ylabel="frequency, lowest to highest (kHz)")
    ax.grid(alpha=0.3)
    if len(calls):
        ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def show_clips(clips: pd.DataFrame, folder: str | Path, count: int = 8, seed: int = 0, top_hz: float | None = None):
    """One clip of each label, drawn by chance, at most `count`; the annotation between dashed lines. Returns the axes."""
    import matplotlib.pyplot as plt

    drawn = clips.groupby("label", sort=False).sample(1, random_state=seed).head(count)
    columns = min(4, len(drawn))
    figure, grid = plt.subplots(-(-len(drawn) // columns), columns, figsize=(12, 2.6 * -(-len(drawn) // columns)), layout="constrained", squeeze=False, sharey=True)
    for ax in grid.flat[len(drawn):]:
        ax.set_axis_off()
    for ax, row in zip(grid.flat, drawn.to_dict("records")):
        samples, rate_hz = soundfile.read(Path(folder) / row["file"], dtype="float32")
        spectra = power(np.concatenate(list(Grid(rate_hz).spectra([samples]))))
        level_db = 10 * np.log10(np.maximum(spectra, 1e-16))
        low, high = np.percentile(level_db, [20, 99.8])
        ax.imshow(level_db.T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=max(high, low + 20), extent=(row["start_s"], row["end_s"], 0, rate_hz / 2e3))
        for edge in (row["call_start_s"], row["call_end_s"]):
            ax.axvline(edge, color="white", linestyle="--", linewidth=0.8)
        ax.set_xlim(row["start_s"], row["end_s"])
        ax.set_ylim(0, (top_hz or rate_hz / 2) / 1e3)
        ax.set_title(f"{row['label']}\n{row['recording']}", fontsize=8, loc="left")
    figure.supxlabel("time from the recording's start (s)", fontsize=9)
    figure.supylabel("frequency (kHz)", fontsize=9)
    return grid


def plot_gains(summary: pd.DataFrame, ax=None, value: str = "si_sdr_gain_db", name: str = "gain in signal-to-distortion ratio (dB)"):
    """Means and 95 % intervals of `mixtures.summary` over the ratio that was set, a line for each way to denoise."""
    import matplotlib.pyplot as plt

    ax = ax if ax is not None else plt.subplots(figsize=(7, 3.4), layout="constrained")[1]
    table = summary.reset_index()
    for k, (how, mine) in enumerate(table.groupby("how", sort=False)):
        shift = 0.25 * (k - (table["how"].nunique() - 1) / 2)
        reach = np.abs(np.stack([mine[value] - mine[f"{value}_low"], mine[f"{value}_high"] - mine[value]]))
        ax.errorbar(mine["snr_db"] + shift, mine[value], yerr=np.nan_to_num(reach), marker="o", capsize=3, label=how)
    ax.axhline(0, color="0.4", linestyle="--", linewidth=1)
    ax.set(xlabel="signal-to-noise ratio of the mixture (dB)", ylabel=name)
    ax.grid(alpha=0.3)
    ax.legend()
    return ax


def plot_training(history: list[dict], ax=None):
    """Loss of training and of validation over the steps."""
    import matplotlib.pyplot as plt

    ax = ax if ax is not None else plt.subplots(figsize=(7, 3), layout="constrained")[1]
    table = pd.DataFrame(history)
    for column, name in (("loss", "training"), ("val_loss", "validation, other recordings")):
        if table[column].notna().any():
            ax.plot(table["step"], table[column].astype(float), marker=".", label=name)
    ax.set(xlabel="step", ylabel="loss (power over background,\nweighted)", ylim=(0, None))
    ax.grid(alpha=0.3)
    ax.legend()
    return ax
