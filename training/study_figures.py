"""Figures of a study; each takes its metrics (and axes, if given) and returns its axes. And the sizes of its networks, float32 and int8."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from training.evaluate import call_labels, with_probabilities
from training.figures import axes
from training.metrics import mean_known
from training.study import study_metrics, study_table, trainings_of
from training.thresholds import sigmoid


def plot_study(metrics: dict, ax=None):
    """Macro average precision of each training with its 95 % interval over recordings, the baseline beside, one below the other; of a study of sizes the figures of `plot_sizes`."""
    table = study_table(metrics)
    if "kB" in table:
        return plot_sizes(metrics, ax)
    ax = axes(ax, (7, 0.5 * len(table) + 1.4))
    at = np.arange(len(table))[::-1]
    value, spread = table["macro AP"].to_numpy(), np.abs(np.stack([table["macro AP"] - table["from"], table["to"] - table["macro AP"]]))
    ax.errorbar(value, at, xerr=spread, fmt="o", capsize=3, label="network")
    ax.plot(table["baseline AP"], at, "x", color="0.5", label="baseline")
    ax.set_yticks(at, table.index)
    ax.set(xlabel=f"macro average precision of {'simulated ' if metrics['simulated'] else ''}windows\n(95 % interval over recordings)", xlim=(0, 1.02), ylim=(-0.6, len(table) - 0.4))
    ax.legend(fontsize=8)
    return ax


def plot_sizes(metrics: dict, ax=None):
    """Macro F1 with its 95 % interval over recordings against kB and against windows per second (two axes, if given), a colour for each network; hollow: in int8."""
    from matplotlib.ticker import LogLocator

    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True, layout="constrained")[1]
    colours: dict[str, str] = {}
    for name, sizes in metrics["sizes"].items():
        network = name.split(", int8")[0]
        colour = colours.setdefault(network, f"C{len(colours)}")
        found = metrics["variants"][name]["network"]
        f1, (low, high) = found["all"]["macro"]["f1"], found["interval"]["macro_f1"]
        for one, x in zip(ax, (sizes["kB"], sizes["windows per s"])):
            one.errorbar(x, f1, [[max(0, f1 - low)], [max(0, high - f1)]], fmt="o" if name == network else "^" if "trained" in name else "s", color=colour, capsize=3,
                         mfc=colour if name == network else "white", label=name)
    ax[0].set(xscale="log", xlabel="size of the network (kB)", ylabel=f"macro F1 of {'simulated ' if metrics['simulated'] else ''}windows")
    ax[1].set(xscale="log", xlabel="windows per second of one processor")
    for one in ax:
        one.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        one.xaxis.set_major_formatter("{x:g}")
        one.xaxis.set_minor_formatter("")
    ax[1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    return ax


def plot_paired(metrics: dict, ax=None):
    """Differences in macro F1 and macro average precision of each training from the one it is compared with, with 95 % intervals over recordings."""
    found = metrics["paired"]
    ax, at = axes(ax, (7, 0.5 * len(found) + 1.6)), np.arange(len(found))[::-1]
    for up, key, name in ((0.12, "macro_average_precision", "average precision"), (-0.12, "macro_f1", "F1")):
        d = np.array([[one[key][part] for part in ("difference", "low", "high")] for one in found.values()], float).T
        ax.errorbar(d[0], at + up, xerr=np.maximum(0, [d[0] - d[1], d[2] - d[0]]), fmt="o", capsize=3, label=f"macro {name}")
    ax.axvline(0, color="0.6", lw=1)
    ax.set_yticks(at, [f"{name}\nless {one['other']}" for name, one in found.items()], fontsize=8)
    ax.set(xlabel="difference on the same windows (95 % interval over recordings)", ylim=(-0.6, len(found) - 0.4))
    ax.legend(fontsize=8)
    return ax


def plot_snr(metrics: dict, ax=None):
    """Recall of windows by the call's SNR, mean over the call labels, a line per training (int8 in its network's colour, dotted); below each bin the windows with a call, of all labels."""
    ax, labels = axes(ax, (9, 4.2)), call_labels(tuple(metrics["labels"]))
    groups = list(dict.fromkeys(name.split(",")[0] for name in metrics["variants"])) if metrics["study"] == "sites" else []
    networks = list(dict.fromkeys(name.split(", int8")[0] for name in metrics["variants"]))
    tested = {tuple(bin["positives"] for label in labels for bin in variant["network"]["recall_by_snr"][label]) for variant in metrics["variants"].values()}
    for k, (name, variant) in enumerate(metrics["variants"].items()):
        by_label = variant["network"]["recall_by_snr"]
        bins = by_label[labels[0]]
        recall = [mean_known([by_label[label][k]["recall"] for label in labels if by_label[label][k]["recall"] is not None]) for k in range(len(bins))]
        names = [f"{b['snr_low_db']:g}–{float(b['snr_high_db']):g}" if np.isfinite(float(b["snr_high_db"])) else f"≥ {b['snr_low_db']:g}" for b in bins]
        counts = [sum(by_label[label][at]["positives"] for label in labels) for at in range(len(bins))]
        names = [f"{name}\n({count})" for name, count in zip(names, counts)] if len(tested) == 1 else names
        network = networks.index(name.split(", int8")[0])
        colour, line = (f"C{groups.index(name.split(',')[0])}", (":", "-.", "--", "-")[k % 4]) if groups else (f"C{network}", ":" if ", int8" in name else "-")  # sites by colour, more windows by fuller lines
        ax.plot(names, recall, "o", ls=line, color=colour, ms=4, label=name)
    ax.set(xlabel=f"signal-to-noise ratio of the call (dB){'; in brackets: windows with a call' if len(tested) == 1 else ''}", ylabel="share of windows found", ylim=(0, 1.02))
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    ax.figure.set_layout_engine("constrained")
    return ax


def shown_table(metrics: dict) -> pd.DataFrame:
    """`study_table` as a notebook shows it: three decimals, sizes as whole numbers, the interval named."""
    table = study_table(metrics).rename(columns={"from": "AP from", "to": "AP to"})
    sizes = [name for name in ("kB", "windows per s", "weights") if name in table]
    return table.round(3).assign(**{name: table[name].round().astype("Int64") for name in sizes})


def label_table(metrics: dict) -> pd.DataFrame:
    """Average precision of each label, a row per training."""
    labels = metrics["labels"]
    return pd.DataFrame({name: {label: v["network"]["all"][label]["average_precision"] for label in labels} for name, v in metrics["variants"].items()}).T.astype(float)


def with_sizes(predictions: pd.DataFrame, metrics: dict, nets: dict, data, spec, folder: Path) -> tuple[pd.DataFrame, dict]:
    """A study of sizes completed: each network exported and quantised to int8, both measured; the int8 answers are judged as trainings of their own. A training with
    `quantise_epochs` is also trained on for int8: "NAME, int8 (trained for it)"."""
    from training.quantise import measured

    profile, parts, sizes, limits = data.profile, [predictions], {}, dict(metrics["thresholds"])
    test, train = data.rows(split="test"), data.rows(split="train")
    some = train.iloc[np.sort(np.random.default_rng(spec.seed).permutation(len(train))[:256])]
    specs = {part.name: part.spec for part in trainings_of(spec, data.manifest)}

    def add(name: str, table: pd.DataFrame, of: str) -> None:
        own = predictions[predictions["variant"] == of].reset_index(drop=True)
        parts.append(table.assign(variant=name)[[c for c in predictions if c in table or c == "variant"]].join(own[[c for c in own if c.startswith("baseline_")]]))

    for name, net in nets.items():
        kept = folder / "checkpoints" / name.replace(" ", "_").replace(",", "")
        sizes[name], sizes[f"{name}, int8"], logits = measured(net, profile, data, some, test, folder / "checkpoints" / f"{name.replace(' ', '_')}.onnx")
        add(f"{name}, int8", with_probabilities(test, sigmoid(logits), profile.labels, profile), name)
        limits[f"{name}, int8"] = limits[name]
        if specs[name].quantise_epochs:
            from training.quantisation_aware import int8_beside

            trained = f"{name}, int8 (trained for it)"
            table, limits[trained], both = int8_beside(net, data, profile, specs[name], kept, kept / "int8.onnx")
            sizes[trained] = both["int8"]
            add(trained, table, name)
    joined = pd.concat(parts, ignore_index=True)
    return joined, study_metrics(joined, metrics | {"thresholds": limits, "sizes": sizes})
