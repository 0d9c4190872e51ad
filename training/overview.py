"""All of `results/` in one table, and `results/README.md` written from it.

    python -m training.overview        # writes results/README.md
"""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from training.model_card import number, table
from training.run import RESULTS

SOUND = {True: "**simulated**", False: "recorded"}


def overview(results: Path = RESULTS) -> pd.DataFrame:
    """A row per experiment, and per training of a study or variant of clips.

    Columns: experiment, training, kind, question, sound, macro_ap, low, high (95 % over recordings, for clips over groups), macro_f1, baseline_ap, best_label_f1 (clips with one
    label each), event_f1, false_events_per_empty_hour, false_windows_per_empty_hour; NaN where an experiment has no such figure.
    """
    rows = [row for folder in sorted(p.parent for p in results.glob("*/metrics.json")) for row in rows_of(folder)]
    return pd.DataFrame(rows)


def rows_of(folder: Path) -> list[dict]:
    """The rows of one results folder."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    parameters = yaml.safe_load((folder / "parameters.yaml").read_text(encoding="utf-8")) if (folder / "parameters.yaml").exists() else {}
    common = {"experiment": folder.name, "kind": metrics.get("kind", "windows"), "question": parameters.get("question") or "", "published": parameters.get("published") or "", "simulated": bool(metrics["simulated"])}
    if common["kind"] == "clips":
        return [common | {"training": name} | figures_of(v["network"]) | {"baseline_ap": v["baseline"]["macro"]["average_precision"],
                                                                          "false_windows_per_empty_hour": v.get("false_windows_per_empty_hour")} for name, v in metrics["variants"].items()]
    if common["kind"] == "detections":
        from training.detection_verdict import overview_row

        return [common | {"training": f"by {split}"} | overview_row(judged) for split, judged in metrics["splits"].items()]
    if common["kind"] == "contest":
        return [common | {"training": name} | figures_of(v["network"]) | {"roc_auc": v["network"]["macro"]["roc_auc"], "auc_low": v["network"]["interval"]["macro_roc_auc"][0],
                          "auc_high": v["network"]["interval"]["macro_roc_auc"][1], "baseline_ap": v["baseline"]["macro"]["average_precision"],
                          "baseline_auc": v["baseline"]["macro"]["roc_auc"]} for name, v in metrics["variants"].items()]
    if common["kind"] == "humpback":
        from training.humpback_verdict import overview_rows

        return [common | {"training": name} | figures_of(metrics["variants"][name]["network"]) | row for name, row in overview_rows(metrics).items()]
    if common["kind"] == "study":
        return [common | {"training": name} | figures_of(v["network"]) | {"baseline_ap": v["baseline"]["all"]["macro"]["average_precision"]} | metrics.get("sizes", {}).get(name, {})
                for name, v in metrics["variants"].items()]
    events = metrics.get("events", {})
    return [common | {"training": ""} | figures_of(metrics["test"]) | {
        "baseline_ap": metrics.get("baseline", {}).get("all", {}).get("macro", {}).get("average_precision"), "event_f1": events.get("macro", {}).get("f1"),
        "false_events_per_empty_hour": events.get("false_per_empty_hour"), "false_windows_per_empty_hour": metrics["test"].get("false_windows_per_empty_hour")}]


def figures_of(judged: dict) -> dict:
    """Macro figures with the interval, of `evaluate_windows` or `clip_metrics`."""
    macro = judged["all"]["macro"] if "all" in judged else judged["macro"]
    low, high = judged["interval"]["macro_average_precision"]
    boats = {part: judged[part]["macro"]["f1"] for part in ("without_boats", "with_boats") if part in judged}
    first = {f"ap_{label}": judged[label]["average_precision"] for label in ("Beluga",) if label in judged}
    return {"macro_ap": macro["average_precision"], "low": low, "high": high, "macro_f1": macro["f1"], "best_label_f1": judged.get("best_label", {}).get("macro_f1")} | boats | first


def readme(rows: pd.DataFrame) -> str:
    """The text of `results/README.md`."""
    def cell(row, name, digits=3):
        value = row.get(name)
        return number(None if value is None or pd.isna(value) else float(value), digits)

    lines = ["# Results", "",
             "One folder per experiment: parameters, metrics, predictions, cards, the executed training notebook and its analysis, which reads only its own folder. This page is written by",
             "`python -m training.overview`; [06_compare](../training/06_compare.ipynb) draws it. `make experiment NAME=…` makes a folder again, `make experiments` all that are missing or changed.", "",
             "AP is the mean average precision over the labels, its 95 % interval drawn over recordings (clips: over groups). Folds and splits are grouped, except where a row says it leaks.", "",
             "[zoo](zoo/) holds the executed [11_zoo](../training/11_zoo.ipynb): every network beside the others by task, size and speed, and frozen networks as feature extractors.", ""]
    for kind, title in (("windows", "Models judged on windows and events"), ("study", "Studies: one thing changed"), ("clips", "Recorded clips of animals"), ("contest", "Right whale up-calls"),
                        ("detections", "A detector's finds, checked"), ("humpback", "Humpbacks, with and without denoising")):
        part = rows[rows["kind"] == kind] if len(rows) else rows
        if not len(part):
            continue
        lines += [f"## {title}", ""]
        if kind == "windows":
            head = ["experiment", "sound", "AP", "F1", "F1 without / with boats", "events F1", "false events per empty hour", "false windows per empty hour", "baseline AP"]
            body = [[link(r), SOUND[r["simulated"]], with_interval(r), cell(r, "macro_f1"), f"{cell(r, 'without_boats')} / {cell(r, 'with_boats')}", cell(r, "event_f1"),
                     cell(r, "false_events_per_empty_hour", 1), cell(r, "false_windows_per_empty_hour", 0), cell(r, "baseline_ap")] for r in part.to_dict("records")]
        elif kind == "detections":
            head = ["experiment", "folds", "sound", "AP of the ensemble", "precision", "recall", "best network alone", "its AP", "baseline AP"]
            body = [[link(r), r["training"], SOUND[r["simulated"]], with_interval(r), cell(r, "precision"), cell(r, "recall"), r["best"], cell(r, "best_ap"), cell(r, "baseline_ap")]
                    for r in part.to_dict("records")]
        elif kind == "humpback":
            head = ["experiment", "training", "sound", "AP", "F1", "F1 minus that of the sound as recorded", "baseline AP"]
            body = [[link(r), r["training"], SOUND[r["simulated"]], with_interval(r), cell(r, "macro_f1"),
                     f"{cell(r, 'f1_change')} ({cell(r, 'f1_change_low', 2)} to {cell(r, 'f1_change_high', 2)})" if pd.notna(r["f1_change"]) else "–", cell(r, "baseline_ap")] for r in part.to_dict("records")]
        elif kind == "contest":
            head = ["experiment", "training", "sound", "ROC AUC", "baseline ROC AUC", "AP", "F1", "baseline AP"]
            body = [[link(r), r["training"], SOUND[r["simulated"]], f"{cell(r, 'roc_auc')} ({cell(r, 'auc_low', 2)} to {cell(r, 'auc_high', 2)})", cell(r, "baseline_auc"), with_interval(r),
                     cell(r, "macro_f1"), cell(r, "baseline_ap")] for r in part.to_dict("records")]
        else:
            head = ["experiment", "training", "sound", "AP", "F1", "best label F1" if kind == "clips" else "F1 without / with boats", "kB" if kind == "study" else "AP of Beluga", "baseline AP"]
            body = [[link(r), r["training"], SOUND[r["simulated"]], with_interval(r), cell(r, "macro_f1"),
                     cell(r, "best_label_f1") if kind == "clips" else f"{cell(r, 'without_boats')} / {cell(r, 'with_boats')}",
                     cell(r, "kB", 0) if kind == "study" else cell(r, "ap_Beluga"), cell(r, "baseline_ap")] for r in part.to_dict("records")]
        lines += [table(head, body), ""]
        questions = {r["experiment"]: r["question"] for r in part.to_dict("records") if r["question"]}
        lines += [f"- `{name}`: {question}" for name, question in questions.items()]
        published = {r["experiment"]: r["published"] for r in part.to_dict("records") if r["published"]}
        lines += [f"- `{name}`, published: {text}" for name, text in published.items()] + ([""] if questions or published else [])
    return "\n".join(lines)


def link(row: dict) -> str:
    """The experiment's name, leading to its analysis."""
    return f"[{row['experiment']}]({row['experiment']}/)"


def with_interval(row: dict) -> str:
    """ "0.827 (0.77 to 0.88)" """
    return f"{number(row['macro_ap'])} ({number(row['low'], 2)} to {number(row['high'], 2)})" if np.isfinite(row["low"] if row["low"] is not None else np.nan) else number(row["macro_ap"])


def plot_overview(rows: pd.DataFrame, ax=None):
    """Macro AP of every training with its interval, the baseline as a cross; simulated and recorded sound apart by colour."""
    from training.figures import axes

    ax = axes(ax, (8, 0.36 * len(rows) + 1.4))
    for at, row in zip(range(len(rows))[::-1], rows.to_dict("records")):
        colour = "tab:blue" if row["simulated"] else "tab:orange"
        ax.plot([row["low"], row["high"]], [at, at], "-", color=colour, lw=2)
        ax.plot(row["macro_ap"], at, "o", color=colour)
        if row["baseline_ap"] is not None:
            ax.plot(row["baseline_ap"], at, "x", color="0.4")
    ax.set_yticks(range(len(rows))[::-1], [f"{r['experiment']}{': ' if r['training'] else ''}{r['training']}" for r in rows.to_dict("records")], fontsize=8)
    for colour, marker, what in (("tab:blue", "o", "simulated sound"), ("tab:orange", "o", "recorded sound"), ("0.4", "x", "baseline")):
        ax.plot([], [], marker, color=colour, label=what)
    ax.set(xlabel="macro average precision", xlim=(0, 1.02), ylim=(-0.7, len(rows) - 0.3))
    number = pd.factorize(rows["experiment"])[0]
    for at in range(len(rows))[::-1]:
        if number[at] % 2:  # every other experiment on a grey ground
            ax.axhspan(len(rows) - at - 1.5, len(rows) - at - 0.5, color="0.95", zorder=0)
    ax.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1.0 + 0.5 / max(len(rows), 1)), ncols=3, frameon=False)
    ax.tick_params(top=True, labeltop=True)
    ax.grid(axis="x", alpha=0.3)
    return ax


if __name__ == "__main__":
    (RESULTS / "README.md").write_text(readme(overview()), encoding="utf-8")
    print(f"Wrote {RESULTS / 'README.md'}")
