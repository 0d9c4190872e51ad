"""Model card and data card of an experiment on humpbacks, written from the run."""
from __future__ import annotations

from training.humpback_verdict import NAMES, conclusion, sentence
from training.model_card import number, table
from training.spec import Experiment


def rows_of(metrics: dict) -> list[list[str]]:
    """A row per variant and method: macro AP with its interval, macro F1."""
    rows = []
    for name, variant in metrics["variants"].items():
        for method in ("network", "baseline"):
            m = variant[method]
            low, high = m["interval"]["macro_average_precision"]
            rows.append([name, method, f"{number(m['macro']['average_precision'])} ({number(low, 2)} to {number(high, 2)})", number(m["macro"]["roc_auc"]), number(m["macro"]["f1"])])
    return rows


def model_card(model_id: str, model, net, kept: dict, spec: Experiment, metrics: dict) -> str:
    """Markdown text; `metrics` as of `humpback_verdict.metrics_of`."""
    profile, labels, first = model.profile, model.labels, metrics["variants"][kept["variant"]]["network"]
    weights = sum(p.numel() for p in net.parameters())
    per_label = [[x, str(first[x]["positives"]), str(first[x]["groups_positive"]), *(number(first[x][key]) for key in ("average_precision", "f1", "precision", "recall"))] for x in labels]
    sound = "**simulated** sound" if metrics["simulated"] else "recorded sound"
    return "\n".join([
        f"# {model_id}", "", spec.question, "",
        f"Answers {', '.join(labels)} for windows of {profile.window_s:g} s. {type(net).__name__}, {weights:,} weights, profile `{profile.name}` ({profile.hash()}); variant `{kept['variant']}`, sound "
        f"{NAMES[kept['way']]}. Trained and judged on {sound}.", "",
        "## Groups that were not trained on", "", f"{spec.split.folds} folds, whole groups; thresholds and calibration of each fold from the other folds.", "",
        table(["label", "positives", "groups", "average precision", "F1", "precision", "recall"], per_label), "",
        "## With and without denoising", "", table(["variant", "method", "macro AP", "macro ROC AUC", "macro F1"], rows_of(metrics)), "",
        conclusion(metrics), "", *(f"- {sentence(row)}" for row in metrics["paired"]), "",
        "## Use and limits", "", ("Everything here was simulated: that it works on a real sea has to be shown on one. " if metrics["simulated"] else
                                  "Few sources, each with its own recorder and decade: the intervals are wide, and they are the truth about how much is known. ")
        + "`denoise=\"gate\"` or a folder with a U-Net in the pipeline denoises what the model sees; levels stay those of the recording.", ""])


def data_card(spec: Experiment, metrics: dict, summary: dict) -> str:
    """Markdown text: what was judged, how it was parted, what the denoiser was trained on."""
    denoiser = summary.get("denoiser") or {}
    return "\n".join([
        f"# Data of {spec.name}", "", "**All sound is SIMULATED**; its seeds are in parameters.yaml, from which it can be made again bit for bit." if metrics["simulated"] else
        "Recorded clips, one label each.", "",
        table(["label", "windows or clips", "groups"], [[x, str(v["positives"]), str(v["groups_positive"])] for x, v in next(iter(metrics["variants"].values()))["network"].items() if isinstance(v, dict) and "groups_positive" in v]), "",
        "## Parted", "", f"Into {spec.split.folds} folds, whole groups ({summary['groups']} of them); no group lies in two folds. Groups that share sound, copied or cut twice from one tape, are one: {', '.join(summary.get('joined') or ['none do'])}.", "",
        "## The denoiser", "", f"A U-Net of {denoiser.get('weights', 0):,} weights, trained on {denoiser.get('clips', 0)} noisy calls and {denoiser.get('noises', 0)} stretches of noise of other recordings "
        f"than these ({denoiser.get('sound', '')}), {denoiser.get('steps', 0)} steps.", "",
        "## Left out", "", ", ".join(f"{what}: {count}" for what, count in (summary.get("left_out") or {}).items()) or "nothing", ""])
