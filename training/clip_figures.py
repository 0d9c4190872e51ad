"""Figures and tables of an experiment on clips. Each figure takes data (and axes, if given) and returns its axes."""
from __future__ import annotations

import numpy as np
import pandas as pd

from preprocessing.dataset import DataSet
from spectrogram.picture import normalise
from spectrogram.profile import Profile
from training.clip_verdict import pooled
from training.figures import axes
from training.thresholds import reliability

STYLES = {"network": "-", "baseline": ":"}


def colour_of(labels: tuple) -> dict[str, tuple]:
    """A colour for each label."""
    import matplotlib.pyplot as plt

    colours = plt.get_cmap("tab10").colors
    return {label: colours[k % 10] for k, label in enumerate(labels)}


def frequency_ticks(ax, profile: Profile, hz=(50, 100, 200, 500, 1000, 2000, 4000, 8000, 16000)) -> None:
    """Mark some frequencies on an axis that counts bands: those that the picture holds and that stand apart."""
    within = [f for f in hz if profile.picture["low_hz"] <= f <= profile.picture["high_hz"]]
    at = np.interp(within, profile.band_centres_hz, np.arange(profile.n_bands) + 0.5)
    shown = [k for k in range(len(at)) if k == len(at) - 1 or at[k + 1] - at[k] > 0.07 * profile.n_bands]
    ax.set_yticks(at[shown], [f"{within[k] / 1000:g}" for k in shown])


def draw_window(ax, picture_db: np.ndarray, profile: Profile, start_s: float = 0.0):
    """A window (frames, bands) as models see it, what was not recorded left white; returns the image."""
    x = normalise(picture_db[None], profile)[0, :, :profile.n_bands]
    x = np.where(np.isfinite(picture_db), x, np.nan)
    low, high = np.nanpercentile(x, (1, 99.8))
    return ax.imshow(x.T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high, extent=(start_s, start_s + profile.window_s, 0, profile.n_bands))


def show_clips(data: DataSet, profile: Profile, count: int = 10, seed: int = 0):
    """Windows as models see them (each in its own range of colours), one of each label (and of background) in turn, from groups drawn at random."""
    import matplotlib.pyplot as plt

    rng = np.random.default_rng(seed)
    manifest, names = data.manifest, (*profile.labels, "")
    figure, grid = plt.subplots(2, count // 2, figsize=(2.6 * (count // 2), 5.6), layout="constrained", sharex=True, sharey=True)
    for k, ax in enumerate(grid.flat):
        rows = manifest[manifest["name"] == names[k % len(names)]]
        rows = rows[rows["group"] == rng.choice(np.sort(rows["group"].unique()))] if len(rows) else manifest
        row = rows.iloc[[int(rng.integers(len(rows)))]]
        draw_window(ax, data.windows(row)[0], profile)
        ax.set_title(f"{row['name'].iloc[0] or 'background'}\n{row['raw'].iloc[0]}, {row['group'].iloc[0].split('/')[-1]}", fontsize=8)
        frequency_ticks(ax, profile)
    figure.supxlabel("time (s)")
    figure.supylabel("frequency (kHz)")
    return grid


def verdict_table(metrics: dict) -> pd.DataFrame:
    """A row per variant and method: macro figures, the intervals of macro AP and F1 over groups, and best-label macro F1; columns that no row has are left out."""
    rows = []
    for name, variant in metrics["variants"].items():
        for method in ("network", "baseline"):
            m = variant[method]
            (ap_from, ap_to), (f1_from, f1_to) = (m["interval"].get(f"macro_{figure}", (None, None)) for figure in ("average_precision", "f1"))
            rows.append({"variant": name, "method": method, "macro AP": m["macro"]["average_precision"], "AP from": ap_from, "AP to": ap_to, "macro ROC AUC": m["macro"].get("roc_auc"),
                         "macro F1": m["macro"]["f1"], "F1 from": f1_from, "F1 to": f1_to, "macro F1, best label": m.get("best_label", {}).get("macro_f1")})
    return pd.DataFrame(rows).set_index(["variant", "method"]).astype(float).dropna(axis=1, how="all")


def label_table(network: dict, labels: tuple) -> pd.DataFrame:
    """A row per label; `precision_at_1%`: what the threshold's precision would be if one clip in a hundred carried the label."""
    names = ["positives", "groups_positive", "average_precision", "roc_auc", "f1", "precision", "recall", "precision_at_1%", "precision_at_10%", "calibration_error"]
    within = network.get("within_folds", {})
    return pd.DataFrame({label: {name: network[label][name] for name in names} | {f"{name}, mean of folds": within.get(label, {}).get(name, np.nan) for name in ("average_precision", "roc_auc")}
                         for label in labels}).T.astype(float).astype({"positives": int, "groups_positive": int})


def plot_precision_recall(predictions: pd.DataFrame, labels: tuple, pool: str, ax=None):
    """Precision against recall of clips: the network (full line) and the baseline (dotted), first variant."""
    from sklearn.metrics import precision_recall_curve

    ax, colours = axes(ax, (5.5, 4.6)), colour_of(labels)
    part = predictions[predictions["variant"] == predictions["variant"].iloc[0]]
    for what, method in (("prob", "network"), ("baseline", "baseline")):
        clips = pooled(part, labels, pool, what)
        for label in labels:
            truth = clips[f"target_{label}"].to_numpy()
            if (truth == 1).any():
                precision, recall, _ = precision_recall_curve(truth, clips[f"{what}_{label}"])
                ax.plot(recall, precision, STYLES[method], color=colours[label], label=label if method == "network" else None)
    ax.plot([], [], ":", color="0.4", label="baseline")
    ax.set(xlabel="recall of clips", ylabel="precision of clips", xlim=(0, 1.01), ylim=(0, 1.02))
    return legend_beside(ax, labels)


def plot_reliability(predictions: pd.DataFrame, labels: tuple, pool: str, ax=None, bins: int = 5):
    """Share of clips that carry the label against the probability given; on the diagonal a probability means what it says."""
    ax, colours, clips = axes(ax, (5, 4.6)), colour_of(labels), pooled(predictions, labels, pool)
    ax.plot([0, 1], [0, 1], color="0.8", lw=1)
    for label in labels:
        rows = reliability(clips[f"prob_{label}"].to_numpy(), clips[f"target_{label}"].to_numpy(), bins)
        ax.plot([r["mean_probability"] for r in rows], [r["share_positive"] for r in rows], "o-", ms=4, label=label, color=colours[label])
    ax.set(xlabel="predicted probability", ylabel="share of clips that carry the label", xlim=(0, 1), ylim=(0, 1.02))
    return legend_beside(ax, labels)


def legend_beside(ax, labels: tuple):
    """A legend within the axes for few labels; for many, which would cover the curves, below them."""
    few = len(labels) <= 4
    ax.legend(fontsize=8, **({} if few else {"loc": "upper center", "bbox_to_anchor": (0.5, -0.13), "ncol": 2, "frameon": False}))
    return ax


def plot_claims(predictions: pd.DataFrame, labels: tuple, pool: str, ax=None, most: int = 24):
    """A row per name that clips had, a column per label: the share of the row's clips that the label claims at its threshold."""
    import seaborn

    clips = pooled(predictions, labels, pool)
    claimed = pd.DataFrame({label: clips[f"prob_{label}"] >= clips[f"limit_{label}"] for label in labels})
    counts = clips["raw"].value_counts().head(most)
    shares = claimed.groupby(clips["raw"]).mean().loc[counts.index]
    shares.index = [f"{name} ({count})" for name, count in counts.items()]
    many = len(labels) > 4  # their names stand upright below, and need the room
    ax = axes(ax, ((0.75 if many else 1.4) * len(labels) + 4, 0.3 * len(shares) + (3.4 if many else 1.6)))
    seaborn.heatmap(shares, annot=True, fmt=".2f", vmin=0, vmax=1, cmap="Blues", ax=ax, cbar_kws={"label": "share of the row's clips"})
    ax.set(xlabel="label given", ylabel="what the clips are (clips)")
    return ax


def plot_groups(predictions: pd.DataFrame, labels: tuple, pool: str, ax=None):
    """Mean probability of each group's clips for each label, groups that carry it apart from those that do not."""
    ax, clips, rng = axes(ax, (min(1.6 * len(labels) + 3, 13), 4.4)), pooled(predictions, labels, pool), np.random.default_rng(0)
    for k, label in enumerate(labels):
        for carries, colour, offset in ((1, "tab:blue", -0.18), (0, "0.6", 0.18)):
            means = clips[clips[f"target_{label}"] == carries].groupby("group")[f"prob_{label}"].mean()
            ax.plot(k + offset + rng.uniform(-0.1, 0.1, len(means)), means, "o", ms=5, alpha=0.7, color=colour, label=("carries the label" if carries else "does not") if k == 0 else None)
    ax.set_xticks(range(len(labels)), labels, rotation=30 if len(labels) > 4 else 0, ha="right" if len(labels) > 4 else "center")
    ax.set(ylabel="mean probability of a group's clips", ylim=(-0.02, 1.02))
    ax.legend(fontsize=8)
    return ax
