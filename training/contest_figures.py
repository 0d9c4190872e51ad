"""Figures of an experiment on the right whale contest's clips. Each takes data (and axes, if given) and returns its axes."""
from __future__ import annotations

import numpy as np
import pandas as pd

from preprocessing.dataset import DataSet
from spectrogram.picture import normalise
from spectrogram.profile import Profile
from training.clip_figures import frequency_ticks
from training.contest_cards import ANCHORS
from training.contest_verdict import noised_table
from training.figures import axes


def colours(names) -> dict[str, tuple]:
    """A colour for each variant."""
    import matplotlib.pyplot as plt

    return {name: plt.get_cmap("tab10").colors[k % 10] for k, name in enumerate(names)}


def show_contest(data: DataSet, profile: Profile, count: int = 8, seed: int = 0):
    """Clips as the network sees them: the first half with an up-call, then one of each other content in turn, from groups drawn at random."""
    import matplotlib.pyplot as plt

    rng, manifest, masked = np.random.default_rng(seed), data.manifest, False
    others = sorted(set(manifest.loc[manifest["name"] == "", "raw"])) or [""]
    figure, grid = plt.subplots(2, count // 2, figsize=(2.7 * (count // 2), 5.4), layout="constrained", sharex=True, sharey=True)
    for k, ax in enumerate(grid.flat):
        rows = manifest[manifest["name"] != ""] if k < count // 2 else manifest[manifest["raw"] == others[k % len(others)]]
        rows = rows if len(rows) else manifest
        rows = rows[rows["group"] == rng.choice(np.sort(rows["group"].unique()))]
        row = rows.iloc[[int(rng.integers(len(rows)))]]
        picture = normalise(data.windows(row), profile)[0, :, :profile.n_bands]
        picture = np.where(picture <= profile.normalisation["masked"], np.nan, picture)
        masked |= bool(np.isnan(picture).any())
        drawn = ax.imshow(picture.T, origin="lower", aspect="auto", cmap="magma", extent=(0, profile.window_s, 0, profile.n_bands), interpolation="nearest")
        ax.set_facecolor("0.85")
        ax.set_title(f"{row['raw'].iloc[0]}\n{row['recording'].iloc[0].split('/')[-1]}, {row['group'].iloc[0].split('/')[-1]}", fontsize=8)
        frequency_ticks(ax, profile)
        figure.colorbar(drawn, ax=ax, shrink=0.8)
    figure.supxlabel(f"time (s); colour: input of the network, {profile.normalisation.get('scale_db', 1):g} dB a unit")
    figure.supylabel("frequency (kHz)" + ("; grey: above what was recorded" if masked else ""))
    return grid


def plot_roc(predictions: pd.DataFrame, label: str, ax=None):
    """ROC of each variant on the clips as they are; the first variant's baseline dotted."""
    from sklearn.metrics import roc_curve

    clean = predictions[predictions["noise"] == ""]
    ax, colour = axes(ax, (5.6, 5)), colours(clean["variant"].unique())
    ax.plot([0, 1], [0, 1], color="0.85", lw=1)
    for name, part in clean.groupby("variant", sort=False):
        wrong, right, _ = roc_curve(part[f"target_{label}"], part[f"prob_{label}"])
        ax.plot(wrong, right, color=colour[name], label=name)
    first = clean[clean["variant"] == clean["variant"].iloc[0]]
    wrong, right, _ = roc_curve(first[f"target_{label}"], first[f"baseline_{label}"])
    ax.plot(wrong, right, ":", color="0.3", label=f"baseline of {first['variant'].iloc[0]}")
    ax.set(xlabel="share of clips without an up-call that are called one", ylabel="share of up-calls found", xlim=(-0.01, 1), ylim=(0, 1.01))
    ax.legend(fontsize=8, loc="lower right")
    return ax


def plot_variants(metrics: dict, ax=None):
    """ROC AUC of every variant with its interval over groups, its baseline as a cross, and the published figures as lines that do not compare."""
    names = list(metrics["variants"])
    ax, colour = axes(ax, (7.2, 0.5 * len(names) + 2)), colours(names)
    for at, (name, variant) in zip(range(len(names))[::-1], metrics["variants"].items()):
        low, high = variant["network"]["interval"]["macro_roc_auc"]
        ax.plot([low, high], [at, at], "-", color=colour[name], lw=2)
        ax.plot(variant["network"]["macro"]["roc_auc"], at, "o", color=colour[name])
        ax.plot(variant["baseline"]["macro"]["roc_auc"], at, "x", color="0.3")
    for k, (name, auc, _) in enumerate(ANCHORS):
        ax.axvline(auc, color="0.6", lw=1, ls=("-", "--", ":")[k], label=f"{name}, {auc} (published, not grouped)")
    ax.plot([], [], "x", color="0.3", label="baseline")
    lowest = min([0.5] + [v["network"]["interval"]["macro_roc_auc"][0] - 0.02 for v in metrics["variants"].values()])
    ax.set(xlabel=f"ROC AUC of {'simulated ' if metrics['simulated'] else ''}clips (95 % interval over groups)", xlim=(lowest, 1.005), ylim=(-0.6, len(names) - 0.4))
    ax.set_yticks(range(len(names))[::-1], names)
    ax.legend(fontsize=7.5, loc="upper center", bbox_to_anchor=(0.45, -0.8 / (0.5 * len(names) + 1)), ncol=2, frameon=False)
    return ax


def plot_noised(metrics: dict):
    """ROC AUC against SNR, a panel for each noise, a line for each variant, the first variant's baseline dotted; no noise stands at the right."""
    import matplotlib.pyplot as plt

    table = noised_table(metrics)
    noises = [noise for noise in table["noise"].unique() if noise != "none"]
    colour, levels = colours(metrics["variants"]), sorted(table["snr_db"].dropna().unique())
    places = {snr: k for k, snr in enumerate(levels)}
    figure, grid = plt.subplots(1, len(noises), figsize=(5 * len(noises) + 0.6, 4.4), layout="constrained", sharey=True, squeeze=False)
    for ax, noise in zip(grid.flat, noises):
        for k, (name, part) in enumerate(table.groupby("variant", sort=False)):
            part = part[part["noise"].isin([noise, "none"])]
            at = part["snr_db"].map(places).fillna(len(levels)) + 0.05 * k
            order = np.argsort(at.to_numpy())
            ax.errorbar(at.iloc[order], part["roc_auc"].iloc[order], [(part["roc_auc"] - part["low"]).iloc[order].clip(lower=0), (part["high"] - part["roc_auc"]).iloc[order].clip(lower=0)], fmt="o-", ms=4,
                        color=colour[name], capsize=2, label=name)
            if k == 0:
                ax.plot(at.iloc[order], part["baseline_roc_auc"].iloc[order], "x:", color="0.3", label=f"baseline of {name}")
        ax.set_xticks(range(len(levels) + 1), [f"{snr:g}" for snr in levels] + ["none\nadded"])
        ax.set(xlabel=f"{noise} noise: clip's background over it, 50-350 Hz (dB)")
        ax.axhline(0.5, color="0.85", lw=1)
    grid[0, 0].set_ylabel("ROC AUC of clips (95 % interval over groups)")
    grid[0, 0].legend(fontsize=8)
    return grid


def plot_hours(predictions: pd.DataFrame, label: str, ax=None):
    """A dot for each group of the first variant: share of its clips with an up-call, and share that is called one."""
    part = predictions[(predictions["variant"] == predictions["variant"].iloc[0]) & (predictions["noise"] == "")]
    of_group = pd.DataFrame({"there": part[f"target_{label}"], "called": part[f"prob_{label}"] >= part[f"limit_{label}"]}).groupby(part["group"]).mean()
    ax = axes(ax, (5, 4.6))
    ax.plot([0, 1], [0, 1], color="0.85", lw=1)
    ax.plot(of_group["there"], of_group["called"], "o", ms=5, alpha=0.7)
    ax.set(xlabel="share of the group's clips with an up-call", ylabel="share of them that is called one", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.set_title(f"{part['variant'].iloc[0]}: a dot for each group of neighbours", fontsize=10)
    return ax
