"""The model card of an experiment on clips, written from the run."""
from __future__ import annotations

from training.model_card import number, table
from training.spec import Experiment


def clip_rows(metrics: dict, labels: tuple) -> list[list[str]]:
    """A row per variant and method: AP, ROC AUC, F1 of the first label, macro AP and F1, best-label macro F1."""
    rows = []
    for name, variant in metrics["variants"].items():
        for method in ("network", "baseline"):
            m = variant[method]
            low, high = m["interval"]["macro_average_precision"]
            best = m.get("best_label", {}).get("macro_f1")
            rows.append([name, method, f"{number(m['macro']['average_precision'])} ({number(low, 2)} to {number(high, 2)})", number(m["macro"]["roc_auc"]),
                         number(m["macro"]["f1"]), *([number(best)] if best is not None else [])])
    return rows


def trained_on(experiment: Experiment, first: str) -> str:
    """Of what the model that is kept learned: recorded sound, or simulated calls before."""
    said = (experiment.variants.get(first) or {}).get("simulated") or experiment.simulated
    return f"Trained on recorded sound and on simulated {said['label']} calls, judged on recorded sound alone" if said else "Trained and judged on recorded sound"


def clip_model_card(model_id: str, model, net, experiment: Experiment, metrics: dict, summary: dict) -> str:
    """Markdown text; `metrics` as of `training.clip_experiment.metrics_of`."""
    profile, labels = model.profile, model.labels
    first, judged = next(iter(metrics["variants"].items()))
    network = judged["network"]
    weights = sum(value.numel() for value in net.state_dict().values())
    per_label = [[label, str(network[label]["positives"]), str(network[label]["groups_positive"]),
                  *(number(network[label][key]) for key in ("average_precision", "roc_auc", "f1", "precision", "recall"))] for label in labels]
    made = " (a linear model on descriptors)" if experiment.backbone == "descriptors" else f" ({experiment.members} networks of other seeds, merged)"
    lines = [
        f"# {model_id}", "", experiment.question, "",
        f"Answers {', '.join(labels)} for windows of {profile.window_s:g} s between {profile.picture['low_hz']:g} and {profile.picture['high_hz']:g} Hz. "
        f"{type(net).__name__}, {weights:,} numbers{made}, profile `{profile.name}` ({profile.hash()}).", "",
        f"**{trained_on(experiment, first)}**: {sum(summary['clips'].values())} clips, {summary['hours']:.2f} h, {summary['groups']} groups "
        f"(`{experiment.split.by}`). What they are: [data_card.md](data_card.md).", "",
        "## Clips of groups that were not trained on", "",
        f"Variant `{first}`; {experiment.split.folds} folds; thresholds and calibration of each fold from the other folds. A clip's answer is the {metrics['pool']} of its windows' logits.", "",
        table(["label", "clips", "groups", "average precision", "ROC AUC", "F1", "precision", "recall"], per_label), "",
        "Within the folds that hold the label (the mean of their ROC AUC): " + "; ".join(
            f"{label} {number(network['within_folds'][label]['roc_auc'])} ({', '.join(number(r['roc_auc'], 2) for r in network['within_folds'][label]['folds'])}; baseline "
            f"{number(judged['baseline']['within_folds'][label]['roc_auc'])})" for label in labels) + ".", "",
        "## Beside it", "", "baseline: picture statistics and a logistic regression, same folds. Intervals (95 %) are over groups.", "",
        table(["variant", "method", "macro AP", "macro ROC AUC", "macro F1", *(["macro F1, best label"] if judged["network"].get("best_label") else [])], clip_rows(metrics, labels)), "",
        "## Thresholds of the model that is kept", "", "It was trained on all clips; calibration and thresholds are from the clips judged out of fold.", "",
        table(["label", "window", "on", "off"], [[label, *(number(model.thresholds[label][key]) for key in ("window", "on", "off"))] for label in labels]), "",
        "## Use and limits", "",
        "For asking whether a short recording holds one of these sounds. The clips were cut around calls by those who made the collection: how often the model fires on "
        "long stretches of open water is only touched by the background clips. A recording below "
        f"{2 * min(profile.label_min_nyquist_hz.values()):g} Hz gets no answer. With so few groups the intervals are wide, and they are the truth about how much is known.", ""]
    return "\n".join(lines)
