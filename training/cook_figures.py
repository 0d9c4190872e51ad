"""Figures of checked detections: precision and recall, ROC, and how each class is called."""
from __future__ import annotations

import numpy as np
import pandas as pd

from training.ensemble import CLASSES, ENSEMBLE, class_rates, curves, networks_of


def plot_precision_recall(table: pd.DataFrame, ax):
    """Precision against recall for each network."""
    for name in networks_of(table):
        points = curves(table, name)
        ax.step(points["recall"], points["precision"], where="post", label=name, lw=2 if name == ENSEMBLE else 1)
    ax.set(xlabel="recall of B", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
    ax.legend(loc="best", fontsize=8)
    return ax


def plot_roc(table: pd.DataFrame, ax):
    """True-positive share against false-positive share, which is drawn on a logarithmic axis: few false alarms are what matters."""
    least = 0.5 / max(int((table["target"] == 0).sum()), 1)
    for name in networks_of(table):
        points = curves(table, name)
        ax.step(np.maximum(points["false_rate"], least), points["true_rate"], where="post", label=name, lw=2 if name == ENSEMBLE else 1)
    ax.set(xlabel="share of F and N called B", ylabel="share of B called B", xscale="log", xlim=(least, 1), ylim=(0, 1.02))
    ax.legend(loc="best", fontsize=8)
    return ax


def plot_classes(table: pd.DataFrame, ax):
    """Share of each class that is called right, by network."""
    names = networks_of(table)
    wide = 0.8 / len(names)
    for k, name in enumerate(names):
        right = class_rates(table, name)["right"].reindex(list(CLASSES))
        ax.bar(np.arange(len(CLASSES)) + (k - (len(names) - 1) / 2) * wide, right, wide * 0.9, label=name)
    ax.set(xticks=range(len(CLASSES)), xticklabels=["B found", "F rejected", "N rejected"], ylabel="share", ylim=(0, 1))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    return ax


def plot_examples(data, rows: pd.DataFrame, axes):
    """Pictures of clips, a row of axes for each class; `rows` of the manifest, the first of each class are taken. dB re 1 µPa²/Hz."""
    profile = data.profile
    edges_hz, edges_s = np.append(profile.band_low_hz, profile.band_high_hz[-1]), np.arange(profile.window_frames + 1) / profile.frame_rate_hz
    for line, name in zip(axes, CLASSES):
        mine = rows[rows["class"] == name].iloc[:len(line)]
        for ax, picture in zip(line, data.windows(mine) if len(mine) else []):
            low, high = np.nanquantile(picture, [0.05, 0.995])
            ax.pcolormesh(edges_s, edges_hz / 1000, picture.T, vmin=low, vmax=high, cmap="magma", rasterized=True)
            ax.set_yscale("log")
            ax.set_yticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
            ax.minorticks_off()
            ax.set_ylim(edges_hz[0] / 1000, edges_hz[-1] / 1000)
        line[0].set_ylabel(f"{name}: frequency (kHz)")
    for ax in axes[-1]:
        ax.set_xlabel("time (s)")
    return axes
