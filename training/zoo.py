"""Every network x every task that fits, in one table: figures from the folders of `results/`, size and speed measured here.

    rows = zoo_table("results")              # a row for each network that an experiment trained: its task, figures with intervals, the baseline's
    sizes = measured(rows)                   # parameters, kB and windows per second of each different network
    across(rows)                             # networks x tasks

A task is an experiment; its networks are its own and those of its variants, or the networks that check detections. Splits that leak are left out.
Speed is windows per second of processor time on one thread, batches of 32, from normalised pictures to logits: what else the machine does changes little.
"""
from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from spectrogram.profile import Profile
from training.backbones import make_net
from training.cook_nets import CookNet
from training.detection_settings import detections_of
from training.merge import merge
from training.overview import rows_of
from training.run import RESULTS
from training.spec import Experiment

BATCH, TURNS = 32, 3
LEAK = "a leak"
SHOWN = ["task", "training", "network", "simulated", "AP", "AP low", "AP high", "ROC AUC", "ROC AUC low", "ROC AUC high", "F1", "baseline AP", "baseline ROC AUC"]


def zoo_table(results: str | Path = RESULTS) -> pd.DataFrame:
    """A row for each network that was trained and judged: the columns of `SHOWN`, and `spec`, the experiment as this network saw it."""
    rows = []
    for folder in sorted(p.parent for p in Path(results).glob("*/metrics.json")):
        spec = Experiment.from_dict(yaml.safe_load((folder / "parameters.yaml").read_text(encoding="utf-8")))
        found = cook_rows(folder) if spec.kind == "detections" else [row_of(row, spec) for row in rows_of(folder) if LEAK not in row["training"] and spec.split.kind != "rows"]
        rows += [{"task": folder.name, "spec": spec} | row for row in found]
    return pd.DataFrame(rows).reindex(columns=[*SHOWN, "spec"])


def row_of(row: dict, spec: Experiment) -> dict:
    """What `training.overview` says of one training, in the words of this table."""
    name = row["training"].removesuffix(", int8")
    plain = spec.to_dict() | {"variants": {}, "study": None}
    own = Experiment.from_dict(plain | (spec.variants.get(name) or {}))
    return {"spec": own, "training": row["training"], "network": name_of(own) + (" int8" if row["training"] != name else ""), "simulated": row["simulated"], "AP": row["macro_ap"],
            "AP low": row["low"], "AP high": row["high"], "ROC AUC": row.get("roc_auc"), "ROC AUC low": row.get("auc_low"), "ROC AUC high": row.get("auc_high"), "F1": row["macro_f1"],
            "baseline AP": row.get("baseline_ap"), "baseline ROC AUC": row.get("baseline_auc")}


def cook_rows(folder: Path) -> list[dict]:
    """Each network of checked detections, in the folds that do not leak."""
    metrics, rows = json.loads((folder / "metrics.json").read_text(encoding="utf-8")), []
    for split, judged in metrics["splits"].items():
        if LEAK in split:
            continue
        cheap = judged.get("baseline", {})
        for name in [key for key in judged if key in ("alexnet", "vgg16", "resnet50", "densenet121")]:
            at, interval = judged[name], judged[name]["interval"]
            rows.append({"training": f"by {split}", "network": f"cook:{name}", "simulated": bool(metrics["simulated"]), "AP": at["average_precision"], "ROC AUC": at["roc_auc"], "F1": at["f1"],
                         "baseline AP": cheap.get("average_precision"), "baseline ROC AUC": cheap.get("roc_auc")}
                        | {f"{what} {end}": interval[key][k] for what, key in (("AP", "average_precision"), ("ROC AUC", "roc_auc")) for k, end in enumerate(("low", "high"))})
    return rows


def name_of(spec: Experiment) -> str:
    """The network's name: the backbone, with the own ResNet's width and the number of members where they are not one."""
    width = f" {spec.width}" if spec.backbone == "resnet" else ""
    return spec.backbone + width + (f" x {spec.members}" if spec.members > 1 and spec.backbone != "descriptors" else "")


# ---- size and speed


def measured(rows: pd.DataFrame, turns: int = TURNS) -> pd.DataFrame:
    """Every different network of a zoo table on the picture that it saw: network, picture (bands x frames), parameters, kB (32-bit weights), windows_per_s (see the module)."""
    found = {}
    for row in rows.to_dict("records"):
        profile = row["spec"].front_end()
        key = (row["network"].removesuffix(" int8"), profile.n_bands, profile.window_frames)
        if key not in found:
            net = network_of(row)
            found[key] = {"network": key[0], "picture": f"{profile.n_bands} x {profile.window_frames}"} | size(net) | {"windows_per_s": windows_per_s(net, profile, turns)}
    return pd.DataFrame(list(found.values())).sort_values("kB", ignore_index=True)


def network_of(row: dict) -> torch.nn.Module:
    """A row's network with weights drawn by chance; several members merged into one, as they are saved."""
    spec = row["spec"]
    if row["network"].startswith("cook:"):
        name = row["network"].split(":")[1]
        return CookNet(name, 1, size=detections_of(spec).networks[name].get("size"))
    one = lambda: make_net(spec.backbone.removesuffix(":pretrained"), spec.front_end(), spec.width, spec.depth)  # noqa: E731
    return merge([one() for _ in range(1 if spec.backbone == "descriptors" else spec.members)])


def size(net: torch.nn.Module) -> dict:
    """parameters, and kB of everything that is saved."""
    return {"parameters": sum(p.numel() for p in net.parameters()), "kB": round(sum(v.numel() * v.element_size() for v in net.state_dict().values()) / 1024)}


def windows_per_s(net: torch.nn.Module, profile: Profile, turns: int = TURNS) -> float:
    """Windows answered in a second of processor time by one thread; the best of some turns."""
    rows = profile.n_bands + (4 if getattr(net, "ordinal", False) else getattr(net, "arguments", {}).get("crest", 0))
    x, threads, best = torch.randn(BATCH, 1, rows, profile.window_frames, generator=torch.Generator().manual_seed(0)), torch.get_num_threads(), np.inf
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            net.eval()(x[:2])
            for _ in range(turns):
                begun = time.thread_time()
                net(x)
                best = min(best, time.thread_time() - begun)
    finally:
        torch.set_num_threads(threads)
    return BATCH / best


# ---- to look at


def across(rows: pd.DataFrame, figure: str = "AP") -> pd.DataFrame:
    """Networks x tasks: "0.83 (0.79 to 0.88)", the best training where a task has several of a network; blank where it was not trained. The last row is the cheap baseline."""
    parted = (rows["task"] + np.where(rows["training"].str.startswith("by ") & rows["network"].str.startswith("cook:"), ", " + rows["training"], "")).rename("task")
    table = rows.assign(task=parted).dropna(subset=[figure]).sort_values(figure, ascending=False)
    cell = [f"{v:.2f} ({low:.2f} to {high:.2f})" for v, low, high in zip(table[figure], table[f"{figure} low"], table[f"{figure} high"])]
    wide = table.assign(cell=cell).drop_duplicates(["network", "task"]).pivot(index="network", columns="task", values="cell")
    cheap = table.groupby("task")[f"baseline {figure}"].max()
    wide.loc["cheap baseline"] = [f"{cheap[task]:.2f}" if np.isfinite(cheap[task]) else None for task in wide.columns]
    return wide.fillna("")


def plot_sizes(sizes: pd.DataFrame, ax=None):
    """Windows per second against kB, both logarithmic."""
    from training.figures import axes

    ax, marks = axes(ax, (9, 5)), "os^vD<>Pp*Xhd"
    for k, (name, part) in enumerate(sizes.groupby("network", sort=False)):
        ax.plot(part["kB"], part["windows_per_s"], marks[k % len(marks)], color=f"C{k % 10}", label=name)
    ax.set(xscale="log", yscale="log", xlabel="size, kB of 32-bit weights", ylabel="windows per second of one thread")
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return ax
