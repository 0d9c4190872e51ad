"""Figures and tables of an experiment on humpbacks. Functions take data and an `ax`, draw, and return the `ax`."""
from __future__ import annotations

import numpy as np
import pandas as pd

from preprocessing.dataset import DataSet
from spectrogram.picture import normalise
from training.clip_figures import frequency_ticks
from training.clip_figures import verdict_table as verdict_table  # the same table, for the notebooks of humpbacks
from training.humpback_verdict import NAMES

COLOURS = {"raw": "#444444", "gate": "#1f77b4", "unet": "#d95f02"}
STYLES = ("-", "--", ":")
TICKS_HZ = (100, 200, 500, 1000, 2000, 3000)


def show_ways(data: dict[str, DataSet], labels: list[str] | None = None, count: int = 4, seed: int = 0):
    """The same windows each way: a row for each way to denoise, a column for each label. Returns the axes."""
    import matplotlib.pyplot as plt

    first = next(iter(data.values()))
    profile, rng, chosen = first.profile, np.random.default_rng(seed), []
    for label in (labels or first.profile.labels)[:count]:
        rows = np.flatnonzero(first.manifest[f"target_{label}"] == 1)
        if len(rows):
            chosen.append((label, first.manifest.iloc[[int(rng.choice(rows))]]))
    figure, grid = plt.subplots(len(data), len(chosen), figsize=(2.9 * len(chosen), 2.2 * len(data)), layout="constrained", sharex=True, sharey=True, squeeze=False)
    for line, (way, own) in zip(grid, data.items()):
        for ax, (label, row) in zip(line, chosen):
            drawn = ax.imshow(normalise(own.windows(row), profile)[0, :, :profile.n_bands].T, origin="lower", aspect="auto", cmap="magma", vmin=-1, vmax=2, extent=(0, profile.window_s, 0, profile.n_bands))
            ax.set_title(f"{label}, {NAMES[way]}", fontsize=9)
            frequency_ticks(ax, profile, TICKS_HZ)
    figure.supxlabel("time (s)")
    figure.supylabel("frequency (kHz)")
    figure.colorbar(drawn, ax=grid, label="input of the network", shrink=0.8)
    return grid


def plot_paired(metrics: dict, ax=None):
    """Difference in macro F1 that denoising makes, with its interval, a line for each comparison."""
    import matplotlib.pyplot as plt

    rows = metrics["paired"][::-1]
    ax = ax if ax is not None else plt.subplots(figsize=(8, 0.9 + 0.45 * len(rows)), layout="constrained")[1]
    for k, row in enumerate(rows):
        ax.plot([row["low"], row["high"]], [k, k], color=COLOURS[row["way"]], linewidth=3, solid_capstyle="butt")
        ax.plot(row["difference"], k, "o", color=COLOURS[row["way"]], markersize=7)
    ax.axvline(0, color="0.4", linestyle="--", linewidth=1)
    ax.set_yticks(range(len(rows)), [f"{row['backbone']}, {NAMES[row['way']]}" for row in rows])
    ax.set(xlabel="macro F1 denoised minus as recorded, on the same recordings (95 % interval over groups)", ylim=(-0.6, len(rows) - 0.4))
    ax.grid(axis="x", alpha=0.3)
    return ax


def plot_portions(metrics: dict, ax=None):
    """Macro F1 over the portion of a call that a window holds, a line for each variant."""
    import matplotlib.pyplot as plt

    ax = ax if ax is not None else plt.subplots(figsize=(8, 4), layout="constrained")[1]
    backbones = list(dict.fromkeys(v["backbone"] for v in metrics["variants"].values()))
    for k, (name, rows) in enumerate(metrics["portions"].items()):
        variant, table = metrics["variants"][name], pd.DataFrame(rows)
        shift = (k - (len(metrics["portions"]) - 1) / 2) * 0.5
        reach = np.abs(np.stack([table["macro_f1"] - table["low"], table["high"] - table["macro_f1"]]))
        ax.errorbar(100 * table["portion"] + shift, table["macro_f1"], yerr=np.nan_to_num(reach), color=COLOURS[variant["way"]], linestyle=STYLES[backbones.index(variant["backbone"]) % 3],
                    marker="o", markersize=4, capsize=2, linewidth=1.3, label=name)
    ax.set(xlabel="portion of the call within the window (%)", ylabel="macro F1", ylim=(0, None))
    ax.set_xticks(sorted({100 * row["portion"] for rows in metrics["portions"].values() for row in rows}))
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def plot_refinement(table: pd.DataFrame, ax=None):
    """Scores of noise segments, those with a forgotten call beside those without, and of annotated calls; the limit above which noise is dropped."""
    import matplotlib.pyplot as plt

    ax = ax if ax is not None else plt.subplots(figsize=(8, 3), layout="constrained")[1]
    bins = np.linspace(0, 1, 26)
    parts = {"annotated calls": table["is_call"], "noise that is noise": ~table["is_call"] & ~table["forgotten"], "noise with a forgotten call": table["forgotten"]}
    for (name, mine), colour in zip(parts.items(), ("#1f77b4", "0.6", "#d95f02")):
        ax.hist(table.loc[mine, "score"], bins, density=True, histtype="step", linewidth=2, color=colour, label=f"{name} ({int(mine.sum())})")
    ax.axvline(table.loc[~table["is_call"] & ~table["kept"], "score"].min(), color="black", linestyle="--", linewidth=1, label="noise above is dropped")
    ax.set(xlabel="how much a segment looks like a call", ylabel="density of segments", xlim=(0, 1))
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return ax
