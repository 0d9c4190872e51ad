"""Figures of checked detections: precision and recall, ROC, how each class is called, moorings, weights, days, real sound. Each takes data and axes, and returns the axes."""
from __future__ import annotations

import numpy as np
import pandas as pd

from training.ensemble import BASELINE, CLASSES, ENSEMBLE, class_rates, curves, networks_of

COLOURS = {"alexnet": "tab:orange", "vgg16": "tab:green", "resnet50": "tab:red", "densenet121": "tab:purple", BASELINE: "0.6", ENSEMBLE: "tab:blue"}
MEANING = {"B": "B: true detection", "F": "F: false alarm", "N": "N: nothing"}
GRID = np.linspace(0.005, 1, 60)  # of recall, or of false alarms, where intervals are taken
DRAWS = 60


def style(name: str) -> dict:
    return {"color": COLOURS.get(name), "lw": 2 if name == ENSEMBLE else 1, "ls": ":" if name == BASELINE else "-"}


def band(table: pd.DataFrame, name: str, value, group: str = "recording", seed: int = 0) -> np.ndarray:
    """(2, grid) 95 % interval of a curve when recordings are drawn again; `value` (points of `curves`) -> its heights on a grid."""
    rng, rows = np.random.default_rng(seed), list(table.groupby(group).indices.values())
    drawn = [value(curves(table.iloc[np.concatenate([rows[k] for k in rng.integers(0, len(rows), len(rows))])], name)) for _ in range(DRAWS)]
    return np.nanquantile(drawn, [0.025, 0.975], axis=0)


def plot_precision_recall(table: pd.DataFrame, ax, legend: bool = True):
    """Precision against recall for each network; the ensemble's with its 95 % interval over recordings (shaded)."""
    def best_from(points):  # the highest precision that still reaches a recall
        return np.array([points["precision"][points["recall"] >= recall - 1e-9].max(initial=0.0) for recall in GRID])

    if ENSEMBLE in networks_of(table):
        ax.fill_between(GRID, *band(table, ENSEMBLE, best_from), color=COLOURS[ENSEMBLE], alpha=0.15, lw=0)
    for name in networks_of(table):
        points = curves(table, name)
        ax.step(points["recall"], points["precision"], where="post", label=name, **style(name))
    ax.set(xlabel="recall of B", ylabel="precision of B", xlim=(0, 1.01), ylim=(0, 1.02))
    if legend:
        ax.legend(loc="best", fontsize=8)
    return ax


def plot_roc(table: pd.DataFrame, ax, legend: bool = True):
    """True-positive share against false-positive share, which is drawn on a logarithmic axis: few false alarms are what matters."""
    least = 0.5 / max(int((table["target"] == 0).sum()), 1)
    grid = np.geomspace(least, 1, 60)

    def height(points):
        return np.array([points["true_rate"][points["false_rate"] <= rate + 1e-9].max(initial=0.0) for rate in grid])

    if ENSEMBLE in networks_of(table):
        ax.fill_between(grid, *band(table, ENSEMBLE, height), color=COLOURS[ENSEMBLE], alpha=0.15, lw=0)
    for name in networks_of(table):
        points = curves(table, name)
        ax.step(np.maximum(points["false_rate"], least), points["true_rate"], where="post", label=name, **style(name))
    ax.set(xlabel="share of F and N called B", ylabel="share of B called B", xscale="log", xlim=(least, 1), ylim=(0, 1.02))
    if legend:
        ax.legend(loc="best", fontsize=8)
    return ax


def plot_classes(table: pd.DataFrame, ax):
    """Share of each class that is called right, by network."""
    names = networks_of(table)
    wide = 0.8 / len(names)
    for k, name in enumerate(names):
        right = class_rates(table, name)["right"].reindex(list(CLASSES))
        ax.bar(np.arange(len(CLASSES)) + (k - (len(names) - 1) / 2) * wide, right, wide * 0.9, label=name, color=COLOURS.get(name))
    ax.set(xticks=range(len(CLASSES)), xticklabels=["B found", "F rejected", "N rejected"], ylabel="share of the class called right", ylim=(0, 1.02))
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
        line[0].set_ylabel(f"{MEANING[name]}\nfrequency (kHz)")
    for ax in axes[-1]:
        ax.set_xlabel("time (s)")
    return axes


def plot_moorings(judged: dict, ax):
    """Average precision of each network at each mooring; `judged` a split of `detection_verdict.metrics_of`."""
    places = list(judged["moorings"])
    names = list(judged["moorings"][places[0]])
    for k, name in enumerate(names):  # side by side, so that none hides another
        heights = [judged["moorings"][place][name]["average_precision"] for place in places]
        ax.plot(np.arange(len(places)) + 0.07 * (k - (len(names) - 1) / 2), [np.nan if h is None else h for h in heights], "s" if name == ENSEMBLE else "x" if name == BASELINE else "o", label=name, color=COLOURS.get(name), ms=7)
    ax.set(xticks=range(len(places)), xticklabels=places, xlim=(-0.5, len(places) - 0.5), ylim=(0, 1.02), xlabel="mooring that was left out", ylabel="average precision of B")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    return ax


def plot_weights(weights_by_fold: dict, ax):
    """How much each network weighs in the ensemble of each fold; `weights_by_fold` split -> fold -> network -> share."""
    rows = [(f"{split}: {fold}", own) for split, folds in weights_by_fold.items() for fold, own in folds.items()]
    left = np.zeros(len(rows))
    for name in rows[0][1]:
        share = np.array([own.get(name, 0.0) for _, own in rows])
        ax.barh(range(len(rows)), share, left=left, color=COLOURS.get(name), label=name)
        left += share
    ax.set(yticks=range(len(rows)), yticklabels=[where for where, _ in rows], xlim=(0, 1), xlabel="weight in the ensemble")
    ax.invert_yaxis()
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    return ax


def plot_presence(scores: pd.DataFrame, limit: float, axes):
    """Two axes: the ensemble's probability of every window in the order of time, what is called B marked; and the share of called windows by day and site."""
    top, below = axes
    scores = scores.sort_values(["site", "recording", "start_s"], ignore_index=True)
    prob, listened = scores[f"prob_{ENSEMBLE}"], scores["new_s"].cumsum()
    unit, seconds = ("hours", 3600) if listened.max() > 5400 else ("minutes", 60)
    hours = listened / seconds
    top.plot(hours, prob, color="0.6", lw=0.6)
    called = prob >= limit
    top.plot(hours[called], prob[called], ".", color=COLOURS[ENSEMBLE], ms=4, label="called B")
    top.axhline(limit, color="k", lw=0.8, ls="--", label=f"limit {limit:.2f}")
    top.set(xlabel=f"time listened ({unit})", ylabel="probability of B", ylim=(0, 1.02))
    top.legend(fontsize=8, loc="upper right")
    by = scores.assign(called=called, day=scores["start_utc"].dt.strftime("%Y-%m-%d")).groupby(["site", "day"])["called"].mean()
    below.bar(range(len(by)), by, color=COLOURS[ENSEMBLE], width=0.6)
    below.set(xticks=range(len(by)), xticklabels=[f"{site}\n{day}" for site, day in by.index], ylabel="share of windows called B", ylim=(0, max(0.05, 1.1 * float(by.max()))), xlim=(-0.8, len(by) - 0.2))
    return axes


def plot_real(real: dict, ax):
    """Share of the real clips that each network calls B, with its interval over groups, by what they are."""
    kinds = [kind for kind in real if kind != "roc_auc"]
    names = list(real[kinds[0]]["of"])
    wide = 0.8 / len(names)
    for k, name in enumerate(names):
        own = [real[kind]["of"][name] for kind in kinds]
        at, height = np.arange(len(kinds)) + (k - (len(names) - 1) / 2) * wide, np.array([one["share_of_clips"] for one in own])
        ends = np.abs(np.array([one["interval"] for one in own], float).T - height)
        ax.bar(at, height, wide * 0.9, color=COLOURS.get(name), label=name, yerr=ends, error_kw={"lw": 0.8, "ecolor": "0.3"})
    ax.set(xticks=range(len(kinds)), xticklabels=[f"{kind}\n{real[kind]['clips']} clips, {real[kind]['groups']} groups" for kind in kinds], ylabel="share of clips called B", ylim=(0, 1.02))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    return ax
