"""Figures of the training notebook. Each takes data (and axes, if given) and returns its axes."""
from __future__ import annotations

import textwrap

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
        x = normalise(data.windows(row), profile)[0, :, :profile.n_bands]
        drawn = ax.imshow(x.T, origin="lower", aspect="auto", cmap="magma", extent=(0, profile.window_s, 0, profile.n_bands))
        carried = [name for name in profile.labels if row[f"target_{name}"].iloc[0] == 1]
        ax.set_title(f"{' + '.join(carried) or 'nothing'}\n{row['site'].iloc[0]}, {row['start_s'].iloc[0]:.1f} s", fontsize=9)
        ticks = np.searchsorted(profile.band_centres_hz, (1e3, 5e3, 2e4, 4e4, 8e4))
        ax.set_yticks(ticks, ["1", "5", "20", "40", "80"])
    figure.supxlabel("time (s)")
    figure.supylabel("frequency (kHz)")
    figure.colorbar(drawn, ax=grid, label="input of the network", shrink=0.8)
    return grid


def plot_history(history: list[dict], ax=None):
    """Validation average precision by epoch, for each label and their mean."""
    from matplotlib.ticker import MaxNLocator

    ax, table = axes(ax), pd.DataFrame(history).set_index("epoch")
    for column in table:
        label = column.removeprefix("val_ap_")
        mean = column == "val_macro_ap"
        ax.plot(table.index, table[column], label="mean" if mean else label, color="black" if mean else COLOURS.get(label), lw=2.5 if mean else 1.2)
    ax.set(xlabel="epoch", ylabel="validation average precision", ylim=(0, 1.02))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
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


def plot_false_alarms(curve: pd.DataFrame, ax=None):
    """False alarms an hour against the share of clear calls found, for all sites together with its
    95 % interval, and for each that was heard for a minute or more
    (`training.false_alarms.alarm_curve`).
    """
    ax = axes(ax, (6.5, 4.5))
    for site, part in curve.groupby("site", sort=False):
        together = site == "all"
        if not together and part["hours"].max() < 1 / 60:
            continue
        if together:
            ax.fill_between(
                part["recall"],
                part["low"],
                part["high"],
                color="black",
                alpha=0.12,
                lw=0,
                label="95 % interval of all",
            )
        ax.plot(
            part["recall"],
            part["per_hour"],
            "o-" if together else "-",
            ms=4,
            label=f"{site} sites" if together else site,
            color="black" if together else None,
            lw=2.2 if together else 1,
        )
    ax.set(
        xlabel="recall of windows with simulated calls from 10 dB",
        ylabel="false alarms an hour",
        ylim=(0, None),
    )
    ax.legend(fontsize=8) if len(curve) else ax.text(
        0.5, 0.5, "no recorded noise", ha="center", va="center", transform=ax.transAxes
    )
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


def plot_recall_by_snr(by_label: dict, ax=None, found: str = "windows"):
    """Recall of windows (or of whatever is `found`) in bins of the best call's signal-to-noise ratio, a line per label."""
    ax = axes(ax)
    for label, rows in by_label.items():
        ax.plot(range(len(rows)), [np.nan if r["recall"] is None else r["recall"] for r in rows], "o-", ms=4, label=label, color=COLOURS.get(label))
    names = [f"{r['snr_low_db']:g}–{float(r['snr_high_db']):g}" if np.isfinite(float(r["snr_high_db"])) else f"≥ {r['snr_low_db']:g}" for r in rows]
    ax.set_xticks(range(len(rows)), names)
    ax.set(xlabel="signal-to-noise ratio of the call (dB)", ylabel=f"share of {found} found", xlim=(-0.3, len(rows) - 0.7), ylim=(0, 1.02))
    ax.grid(alpha=0.3)
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
    """Recall of events in the same bins."""
    return plot_recall_by_snr(by_label, ax, "calls")


def show_worst(worst: pd.DataFrame, folder, columns: int = 3):
    """The worst errors as calibrated pictures, each with its label and score, the truth, all scores, and the file and time at which to find it; the window lies between the white lines. Colours are dB re 1 µPa²/Hz, or above
    the background where that is what the network sees.

    Parameters
    ----------
    worst : of `training.worst.worst_windows` or `training.clip_verdict.worst_clips`. folder : the results folder that keeps the pictures; without any, one line says so, and None is returned.
    """
    import matplotlib.pyplot as plt

    from training.worst import not_kept, read_worst

    kept = read_worst(folder)
    if kept is None or not len(worst):
        print(not_kept(folder) if kept is None else "No errors at these thresholds.")
        return None
    lines = [part.iloc[k:k + columns] for _, part in worst.groupby(["label", "error"], sort=False) for k in range(0, len(part), columns)]  # a line for each label and kind of error
    if len(lines) * columns > 1.6 * len(worst):  # many labels with an error or two each
        lines = [worst.iloc[k:k + columns] for k in range(0, len(worst), columns)]
    figure, grid = plt.subplots(len(lines), columns, figsize=(3.3 * columns, 2.75 * len(lines)), layout="constrained", squeeze=False, dpi=64)
    for axes_of_line, part in zip(grid, lines):
        for ax in axes_of_line[len(part):]:
            ax.axis("off")
        for ax, row in zip(axes_of_line, part.to_dict("records")):
            draw_error(ax, row, kept)
    figure.supxlabel("time in the recording (s); dashed: the window; colours span what the corner says (dB)", fontsize=9)
    figure.supylabel("frequency (kHz)", fontsize=10)
    return grid


def draw_error(ax, row: dict, kept):
    """One picture of `show_worst`; colours span its own levels, which stand in its corner (dB re 1 µPa²/Hz, for what hydrophone and gain are known)."""
    import matplotlib.pyplot as plt

    scores = " ".join(f"{key.removeprefix('prob_')} {value:.2f}" for key, value in row.items() if key.startswith("prob_") and np.isfinite(value))
    snr = f", {row['snr_db']:.0f} dB SNR" if np.isfinite(row.get("snr_db", np.nan)) else ""
    said = f"{row['error']}: {row['label']} {row['probability']:.2f} (limit\u00a0{row['limit']:.2f}){snr}"
    ax.set_title("\n".join([*textwrap.wrap(said, 42), *textwrap.wrap(f"truth: {row['truth']}", 42), f"{wrapped(row['recording'])} at {row['start_s']:.1f} s"]), fontsize=8)
    number = kept.of(row["recording"], row["start_s"])
    if number is None:
        ax.text(0.5, 0.5, "picture not kept", ha="center", transform=ax.transAxes, fontsize=8)
        return ax.axis("off")
    level_db, first_s = kept.level_db[number], kept.first_s[number]
    low, high = np.nanpercentile(level_db, (1, 99.8)) if np.isfinite(level_db).any() else (0, 1)
    end_s = first_s + len(level_db) / kept.frame_rate_hz
    few_colours = plt.get_cmap("magma", 20)  # and no smoothing: a notebook in results/ stays below 2 MB
    ax.imshow(level_db.T, origin="lower", aspect="auto", cmap=few_colours, interpolation="nearest", vmin=low, vmax=max(high, low + 1), extent=(first_s, end_s, 0, len(kept.band_hz)))
    ax.set_facecolor("0.85")
    ax.xaxis.set_major_locator(plt.MaxNLocator(4))
    for at in (row["start_s"], row["start_s"] + kept.window_s):
        ax.axvline(at, color="white", lw=1, ls="--")
    ax.text(0.02, 0.97, f"{low:.0f} to {high:.0f} dB", color="white", fontsize=7, va="top", transform=ax.transAxes, bbox={"facecolor": "black", "alpha": 0.5, "edgecolor": "none", "pad": 1})
    ax.text(0.5, -0.12, scores, fontsize=7, ha="center", va="top", transform=ax.transAxes) if len(scores) < 75 else None
    band_ticks(ax, kept.band_hz)
    ax.tick_params(labelsize=7)
    return ax


def band_ticks(ax, band_hz: np.ndarray, hz=(20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 4e4, 8e4)) -> None:
    """Mark some frequencies, in kHz, on an axis that counts bands: those that the picture holds and that stand apart."""
    within = [f for f in hz if band_hz[0] <= f <= band_hz[-1]]
    at = np.interp(within, band_hz, np.arange(len(band_hz)) + 0.5)
    shown = [k for k in range(len(at)) if k == len(at) - 1 or at[k + 1] - at[k] > 0.08 * len(band_hz)]
    ax.set_yticks(at[shown], [f"{within[k] / 1000:g}" for k in shown])


def wrapped(name: str, longest: int = 32) -> str:
    """A recording's name in lines that fit above a picture, cut at its folders, and within a name that is longer than a line."""
    if len(name) <= longest:
        return name
    folder, _, file = name.rpartition("/")
    folder = folder if len(folder) < longest else f"{folder[:longest // 2]}…{folder[1 - longest // 2:]}"
    return "\n".join(([f"{folder}/"] if folder else []) + [file[k:k + longest] for k in range(0, len(file), longest)])
