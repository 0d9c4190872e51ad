"""Figures of the training notebook. Each takes data (and axes, if given) and returns its axes."""
from __future__ import annotations

import numpy as np
import pandas as pd

from preprocessing.dataset import DataSet
from spectrogram.picture import normalise
from spectrogram.profile import Profile

COLOURS = {"ECHO": "#d95f02", "HFPC": "#7570b3", "BBPC": "#e7298a", "Whistle": "#1b9e77", "Boat": "#666666"}


def axes(ax=None, size=(6, 4)):
    """The given axes, or new ones."""
    import matplotlib.pyplot as plt

    return ax if ax is not None else plt.subplots(figsize=size, layout="constrained")[1]


def show_windows(data: DataSet, profile: Profile, rows: pd.DataFrame, count: int = 8, seed: int = 0):
    """Pictures of windows as the network sees them, one for each label in turn, drawn at random; the labels they carry above."""
    import matplotlib.pyplot as plt

    rng = np.random.default_rng(seed)
    figure, grid = plt.subplots(2, (count + 1) // 2, figsize=(3 * ((count + 1) // 2), 5.6), layout="constrained", sharex=True, sharey=True)
    for k, ax in enumerate(grid.flat):
        label = profile.labels[k % len(profile.labels)]
        having = rows[rows[f"target_{label}"] == 1]
        row = (having if len(having) else rows).sample(1, random_state=int(rng.integers(1 << 31)))
        x = normalise(data.windows(row), profile)[0]
        drawn = ax.imshow(x.T, origin="lower", aspect="auto", cmap="magma", extent=(0, profile.window_s, 0, profile.n_bands))
        carried = [name for name in profile.labels if row[f"target_{name}"].iloc[0] == 1]
        ax.set_title(f"{' + '.join(carried) or 'nothing'}\n{row['site'].iloc[0]}, {row['start_s'].iloc[0]:.1f} s", fontsize=9)
        ticks = np.searchsorted(profile.band_centres_hz, (1e3, 5e3, 2e4, 4e4, 8e4))
        ax.set_yticks(ticks, ["1", "5", "20", "40", "80"])
    figure.supxlabel("time, s")
    figure.supylabel("frequency, kHz")
    figure.colorbar(drawn, ax=grid, label="input of the network", shrink=0.8)
    return grid


def plot_history(history: list[dict], ax=None):
    """Validation average precision by epoch, for each label and their mean."""
    ax, table = axes(ax), pd.DataFrame(history).set_index("epoch")
    for column in table:
        label = column.removeprefix("val_ap_")
        mean = column == "val_macro_ap"
        ax.plot(table.index, table[column], label="mean" if mean else label, color="black" if mean else COLOURS.get(label), lw=2.5 if mean else 1.2)
    ax.set(xlabel="epoch", ylabel="validation average precision", ylim=(0, 1.02))
    ax.legend(fontsize=8)
    return ax


def plot_precision_recall(table: pd.DataFrame, labels: tuple, ax=None):
    """Precision against recall of the windows, a curve per label."""
    from sklearn.metrics import precision_recall_curve

    ax = axes(ax, (5, 4.5))
    for label in labels:
        truth, prob = table[f"target_{label}"].to_numpy(), table[f"prob_{label}"].to_numpy()
        known = np.isfinite(truth) & np.isfinite(prob)
        if (truth[known] == 1).any():
            precision, recall, _ = precision_recall_curve(truth[known], prob[known])
            ax.plot(recall, precision, label=label, color=COLOURS.get(label))
    ax.set(xlabel="recall of windows", ylabel="precision of windows", xlim=(0, 1.01), ylim=(0, 1.02))
    ax.legend(fontsize=8)
    return ax


def plot_reliability(by_label: dict, ax=None):
    """Share of positive windows against mean predicted probability; on the diagonal a probability means what it says."""
    ax = axes(ax, (5, 4.5))
    ax.plot([0, 1], [0, 1], color="0.8", lw=1)
    for label, rows in by_label.items():
        ax.plot([r["mean_probability"] for r in rows], [r["share_positive"] for r in rows], "o-", ms=4, label=label, color=COLOURS.get(label))
    ax.set(xlabel="predicted probability", ylabel="share of windows that hold the call", xlim=(0, 1), ylim=(0, 1.02))
    ax.legend(fontsize=8)
    return ax


def plot_recall_by_snr(by_label: dict, ax=None):
    """Recall of windows in bins of the best call's signal-to-noise ratio."""
    ax = axes(ax)
    for label, rows in by_label.items():
        ax.plot(range(len(rows)), [r["recall"] for r in rows], "o-", ms=4, label=label, color=COLOURS.get(label))
    names = [f"{r['snr_low_db']:g}–{r['snr_high_db']:g}" if np.isfinite(float(r["snr_high_db"])) else f"> {r['snr_low_db']:g}" for r in rows]
    ax.set_xticks(range(len(rows)), names)
    ax.set(xlabel="signal-to-noise ratio of the call, dB", ylabel="share of windows found", ylim=(0, 1.02))
    ax.legend(fontsize=8)
    return ax


def plot_crosstalk(table: pd.DataFrame, thresholds: dict, labels: tuple, ax=None):
    """What windows with one known label, or none, are called: a row per truth, a column per label given, the share of the row's windows."""
    import seaborn

    target, prob = (table[[f"{what}_{label}" for label in labels]].to_numpy() for what in ("target", "prob"))
    given = prob >= np.array([thresholds[label]["window"] if isinstance(thresholds[label], dict) else thresholds[label] for label in labels])
    rows, names = [], []
    for k, name in [(None, "nothing"), *enumerate(labels)]:
        only = (target == 0).all(axis=1) if k is None else (target[:, k] == 1) & (np.delete(target, k, axis=1) == 0).all(axis=1)
        rows.append(given[only].mean(axis=0) if only.any() else np.full(len(labels), np.nan))
        names.append(f"{name} ({int(only.sum())})")
    ax = axes(ax, (6.4, 4.2))
    shares = pd.DataFrame(rows, index=names, columns=list(labels))
    seaborn.heatmap(shares, annot=True, fmt=".2f", vmin=0, vmax=1, cmap="Blues", ax=ax, cbar_kws={"label": "share of the row's windows"})
    ax.set(xlabel="label given", ylabel="only label present (windows)")
    ax.tick_params(axis="y", rotation=0)
    return ax


def plot_event_recall(by_label: dict, ax=None):
    """Recall of events in bins of the call's signal-to-noise ratio, a line per label."""
    ax = axes(ax)
    for label, rows in by_label.items():
        names = [f"{r['snr_low_db']:g}–{float(r['snr_high_db']):g}" if np.isfinite(float(r["snr_high_db"])) else f"≥ {r['snr_low_db']:g}" for r in rows]
        ax.plot(names, [np.nan if r["recall"] is None else r["recall"] for r in rows], "o-", ms=4, label=label, color=COLOURS.get(label))
    ax.set(xlabel="signal-to-noise ratio of the call (dB)", ylabel="share of the calls found", ylim=(0, 1.02))
    ax.grid(alpha=0.3)
    ax.legend()
    return ax
