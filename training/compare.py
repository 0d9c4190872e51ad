"""Two experiments on the same recordings: is one better, or is it the draw of recordings?

    verdict = paired("results/front_end_mean", "results/front_end_minmax")
    paired(judged("results/boats", "with mixtures"), judged("results/boats", "without"))       # two trainings of a study, or variants of clips
    paired(judged("results/beluga_default"), judged("results/beluga_default", method="baseline"))
    paired_table(verdict), plot_paired(verdict)

The recordings (of clips: the groups) are drawn again with replacement, for both at once, so what makes a recording hard is hard for both and cancels. Two that were not judged on the
same recordings, or for which these recordings held something else, are refused.
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from training.evaluate import call_labels, columns, judged_rows
from training.metrics import average_precision, counts, draws_of, mean_known

FIGURES = ("f1", "average_precision")


class NotComparable(ValueError):
    """Two results that were not judged on the same recordings or labels. The message names what differs."""


@dataclass
class Judged:
    """What one method said of windows or clips: a row each in `table` (recording, start_s for windows, group, target_LABEL, prob_LABEL), `said` (rows, labels) bool."""

    name: str
    unit: str
    table: pd.DataFrame
    said: np.ndarray
    labels: tuple

    @property
    def key(self) -> list[str]:
        return ["recording", "start_s"] if self.unit == "windows" else ["recording"]


def judged(folder: str | Path, training: str | None = None, method: str = "network") -> Judged:
    """The test windows (or clips) of a results folder.

    Parameters
    ----------
    training : of a study, or variant of an experiment on clips; None: the first. method : network, baseline, or what else was judged beside (peer, int8).

    Raises
    ------
    NotComparable
        where the folder does not hold them.
    """
    folder = Path(folder)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    table, kind, labels = pd.read_parquet(folder / "predictions.parquet"), metrics.get("kind", "windows"), tuple(metrics["labels"])
    name = folder.name + (f": {training}" if training else "") + (f", {method}" if method != "network" else "")
    if kind not in ("windows", "study", "clips"):
        raise NotComparable(f"{folder.name}: an experiment of kind {kind} is compared in its own analysis, not here; give one with windows, a study or clips")
    if kind != "windows":
        trainings = list(dict.fromkeys(table["variant"]))
        if training is not None and training not in trainings:
            raise NotComparable(f"{folder.name}: has no training {training!r}; it has {', '.join(trainings)}")
        training = training or trainings[0]
        table = table[table["variant"] == training]
    elif "split" in table:
        table = judged_rows(table, "test")
    table = table.reset_index(drop=True)
    if kind == "clips":
        return clips_judged(name, table, labels, metrics["pool"], method)
    if method != "network" and f"{method}_{labels[0]}" not in table:
        raise NotComparable(f"{name}: its predictions were not kept (an older folder, or never judged); `make experiment NAME={folder.name} ARGS=--again` keeps them")
    limits = metrics["thresholds"] if kind == "windows" else metrics["thresholds"][training]
    if method != "network":
        table = table.assign(**{f"prob_{label}": table[f"{method}_{label}"] for label in labels})
        limits = metrics[method]["thresholds"] if kind == "windows" else dict.fromkeys(labels, 0.5)  # as `training.study.study_metrics` judges its baseline
    return windows_judged(name, table, labels, limits)


def windows_judged(name: str, table: pd.DataFrame, labels: tuple, limits: dict) -> Judged:
    """Windows with prob_LABEL, and a threshold for each label."""
    limit = np.array([limits[label]["window"] if isinstance(limits[label], dict) else limits[label] for label in labels])
    return Judged(name, "windows", table.assign(group=table["recording"]), columns(table, "prob", labels) >= limit, labels)


def clips_judged(name: str, table: pd.DataFrame, labels: tuple, pool: str, method: str = "network") -> Judged:
    """Clips, their windows pooled, each with the threshold that other folds chose for it."""
    from training.clip_verdict import pooled

    what = "prob" if method == "network" else method
    if f"{what}_{labels[0]}" not in table:
        raise NotComparable(f"{name}: there are no such predictions; give method network or baseline")
    clips = pooled(table, labels, pool, what)
    limit = columns(clips, "limit" if what == "prob" else f"{what}_limit", labels)
    prob = columns(clips, what, labels)
    return Judged(name, "clips", clips.assign(**{f"prob_{label}": prob[:, k] for k, label in enumerate(labels)}), prob >= limit, labels)


def paired(one: Judged | str | Path, other: Judged | str | Path, draws: int = 500, seed: int = 0) -> dict:
    """Difference (one less other) in F1 and average precision: of the macro figure and of each label that both know.

    Parameters
    ----------
    one, other : of `judged`, or results folders.

    Returns
    -------
    {"one", "other" (names), "unit", "rows", "groups", "labels", "macro_f1", "macro_average_precision", "by_label": {label: {"f1", "average_precision"}}}; each figure is {"one", "other",
    "difference", "low", "high", "share_better"}: the 95 % interval of the difference over groups, and the share of draws in which `one` is better.

    Raises
    ------
    NotComparable
        where they were not judged on the same recordings, or share no label.
    """
    one, other = (side if isinstance(side, Judged) else judged(side) for side in (one, other))
    labels = call_labels(tuple(label for label in one.labels if label in other.labels)) or tuple(label for label in one.labels if label in other.labels)
    if not labels:
        raise NotComparable(f"{one.name} and {other.name} have no label in common; compare experiments of one profile")
    rows = same_rows(one, other)
    target = [columns(side.table, "target", labels)[at] for side, at in zip((one, other), rows)]
    refuse_other_truth(one, other, target)
    truth = np.where(np.isfinite(target[1]), target[0], np.nan)
    prob = [columns(side.table, "prob", labels)[at] for side, at in zip((one, other), rows)]
    said = [side.said[at][:, [side.labels.index(label) for label in labels]] for side, at in zip((one, other), rows)]

    def figures(at: np.ndarray) -> np.ndarray:
        """(2 sides, 2 figures, labels + macro) of some rows."""
        out = np.array([[[counts(truth[at, k], side_said[at, k])["f1"] for k in range(len(labels))],
                         [average_precision(truth[at, k], side_prob[at, k]) for k in range(len(labels))]] for side_said, side_prob in zip(said, prob)])
        return np.concatenate([out, np.apply_along_axis(mean_known, 2, out)[..., None]], axis=2)

    groups = one.table["group"].to_numpy()[rows[0]]
    whole, drawn = figures(np.arange(len(truth))), np.array([figures(at) for at in draws_of(groups, draws, seed)])
    each = [[of_figure(whole[:, f, k], drawn[:, :, f, k]) for k in range(len(labels) + 1)] for f in range(len(FIGURES))]
    return {"one": one.name, "other": other.name, "unit": one.unit, "rows": len(truth), "groups": len(np.unique(groups)), "labels": list(labels)} | {
        f"macro_{name}": each[f][-1] for f, name in enumerate(FIGURES)} | {
        "by_label": {label: {name: each[f][k] for f, name in enumerate(FIGURES)} for k, label in enumerate(labels)}}


def of_figure(whole: np.ndarray, drawn: np.ndarray) -> dict:
    """A figure of both sides (2,), and drawn again (draws, 2)."""
    change = drawn[:, 0] - drawn[:, 1]
    change = change[np.isfinite(change)]
    low, high = (float(q) for q in np.quantile(change, (0.025, 0.975))) if len(change) else (np.nan, np.nan)
    return {"one": float(whole[0]), "other": float(whole[1]), "difference": float(whole[0] - whole[1]), "low": low, "high": high,
            "share_better": float((change > 0).mean()) if len(change) else np.nan}


def same_rows(one: Judged, other: Judged) -> tuple[np.ndarray, np.ndarray]:
    """Rows of both tables in one order; NotComparable where one judged what the other did not."""
    if one.unit != other.unit:
        raise NotComparable(f"{one.name} judged {one.unit}, {other.name} {other.unit}; compare like with like")
    mine, its = (set(side.table["recording"]) for side in (one, other))
    if mine != its:
        strangers = sorted(mine ^ its)
        raise NotComparable(f"{one.name} and {other.name} were not judged on the same recordings: {len(mine & its)} in common, {len(strangers)} in one alone (such as {strangers[0]}); "
                            "compare experiments on the same data (same recordings, split and seed)")
    numbered = [side.table[one.key].assign(row=np.arange(len(side.table))) for side in (one, other)]
    both = numbered[0].merge(numbered[1], on=one.key, how="outer", suffixes=("", "_other"))
    if both[["row", "row_other"]].isna().to_numpy().any() or len(both) != len(one.table):
        raise NotComparable(f"{one.name} and {other.name} were judged on the same recordings but not on the same {one.unit} of them; give both the same window and step")
    return both["row"].to_numpy(int), both["row_other"].to_numpy(int)


def refuse_other_truth(one: Judged, other: Judged, target: list[np.ndarray]) -> None:
    """NotComparable where recordings of one name hold different calls: another seed's, or annotated anew."""
    differ = (np.isfinite(target[0]) & np.isfinite(target[1]) & (target[0] != target[1])).any(axis=1)
    if differ.any():
        raise NotComparable(f"{one.name} and {other.name}: recordings of the same names, but what they hold differs in {int(differ.sum())} of {len(differ)} {one.unit} (another seed, or other "
                            "annotations); compare experiments on the same data")


def paired_table(verdict: dict) -> pd.DataFrame:
    """A row per figure: macro F1 and average precision, then those of each label."""
    names = {"f1": "F1", "average_precision": "average precision"}
    rows = {f"macro {names[name]}": verdict[f"macro_{name}"] for name in FIGURES}
    rows |= {f"{label}, {names[name]}": verdict["by_label"][label][name] for name in FIGURES for label in verdict["labels"]}
    return pd.DataFrame(rows).T.rename(columns={"one": verdict["one"], "other": verdict["other"]} if verdict["one"] != verdict["other"] else {})


def plot_paired(verdict: dict, ax=None):
    """Difference of each figure with its 95 % interval; right of 0 the first is better, and an interval that holds 0 tells nothing apart."""
    from training.figures import axes

    table = paired_table(verdict)
    ax, at = axes(ax, (8, 0.34 * len(table) + 1.3)), np.arange(len(table))[::-1]
    sure = (table["low"] > 0) | (table["high"] < 0)
    for y, (name, row) in zip(at, table.iterrows()):
        colour = "tab:blue" if sure[name] else "0.55"
        ax.plot([row["low"], row["high"]], [y, y], "-", color=colour, lw=3 if name.startswith("macro") else 1.5)
        ax.plot(row["difference"], y, "o", color=colour, ms=7 if name.startswith("macro") else 5)
    ax.axvline(0, color="0.3", lw=1)
    ax.set_yticks(at, table.index)
    own = f"{verdict['one']}, "  # "NAME, baseline" beside NAME
    other = f"its {verdict['other'].removeprefix(own)}" if verdict["other"].startswith(own) else verdict["other"]
    ax.set(xlabel=f"{verdict['one']} less {other}\n(95 % interval over {verdict['groups']} {'recordings' if verdict['unit'] == 'windows' else 'groups'})", ylim=(-0.7, len(table) - 0.3))
    ax.grid(axis="x", alpha=0.3)
    return ax
