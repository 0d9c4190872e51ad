"""Model card and data card of an experiment on the right whale contest's clips, and the published figures beside which it will be read."""
from __future__ import annotations

import pandas as pd

from training.data_card import leak_line
from training.model_card import number, table
from training.spec import Experiment

ANCHORS = (  # name, ROC AUC, of what
    ("contest, best entry", 0.98384, "Marinexplore and Cornell's contest on Kaggle, 2013: the winners' score on the contest's hidden test clips"),
    ("H2O, best epoch", 0.9686, "ResNet50 with ImageNet weights in H2O Hydrogen Torch, 24 000 training and 6 000 validation clips, epoch 5 of 8 (0.96829 at the last, which was kept)"),
    ("complexity, InceptionTime", 0.906, "NN-whale-recognition, complexity series of mel bands 50-300 Hz (residual 0.909, self-attention 0.894)"),
)
SIMULATED_WHY = ("They do not compare: the sound here is SIMULATED (an easier or a harder sea than the contest's, nobody can say), at the small setting there are far fewer clips and the "
                 "large networks start from random weights, and folds hold whole hours, where the published splits are of single clips with the neighbours of test clips in training.")
RECORDED_WHY = ("They compare with caution: the clips are the contest's, but folds here hold whole blocks of neighbours, where the published splits are of single clips (the contest's hidden test "
                "clips come from the same days as its training clips). The row-wise variant, where there is one, is the like of them.")


def anchors() -> pd.DataFrame:
    """The published figures."""
    return pd.DataFrame([{"published": name, "ROC AUC": auc, "what it is": what, "grouped": "no"} for name, auc, what in ANCHORS]).set_index("published")


def why(simulated: bool) -> str:
    """Whether they compare with a figure of these clips, and why."""
    return SIMULATED_WHY if simulated else RECORDED_WHY


def contest_model_card(model_id: str, model, net, experiment: Experiment, metrics: dict, summary: dict) -> str:
    """Markdown text; `metrics` as of `training.contest_verdict.contest_metrics`."""
    profile, labels = model.profile, model.labels
    first, judged = next(iter(metrics["variants"].items()))
    network, label = judged["network"], labels[0]
    weights = sum(p.numel() for p in net.parameters())
    rows = []
    for name, variant in metrics["variants"].items():
        for method in ("network", "baseline"):
            m = variant[method]
            low, high = m["interval"]["macro_roc_auc"]
            rows.append([name, method, f"{number(m['macro']['roc_auc'])} ({number(low)} to {number(high)})", number(m["within_folds"][label]["roc_auc"]),
                         number(m["macro"]["average_precision"]), number(m["macro"]["f1"])])
    called = [[label, *(str(network[label][key]) for key in ("positives", "groups_positive")), *(number(network[label][key]) for key in ("precision", "recall", "precision_at_1%", "precision_at_10%"))]
              for label in labels]
    noised = [[row["noise"] or "none", number(row["snr_db"], 0), *(number(row[key]) for key in ("roc_auc", "baseline_roc_auc", "precision", "recall"))]
              for row in judged["noised"] if len(judged["noised"]) > 1]
    sound = "**Trained and judged on SIMULATED sound** (no whale was recorded)" if summary["simulated"] else "Trained and judged on the recorded clips of the right whale contest"
    lines = [f"# {model_id}", "", experiment.question, "",
             f"Answers {', '.join(labels)} for windows of {profile.window_s:g} s between {profile.picture['low_hz']:g} and {profile.picture['high_hz']:g} Hz. {type(net).__name__} "
             f"(`{experiment.backbone}`), {weights:,} weights, profile `{profile.name}` ({profile.hash()}).", "",
             f"{sound}: {sum(summary['clips'].values())} clips, {summary['clips'].get(label, 0)} with an up-call, {summary['groups']} groups of neighbours. What they are: [data_card.md](data_card.md).", "",
             "## Clips of groups that were not trained on", "",
             f"Variant `{first}`, {experiment.split.folds} folds; epoch, threshold and calibration of each fold from its validation groups. Intervals (95 %) are over groups.", "",
             table(["variant", "method", "ROC AUC", "mean of folds", "average precision", "F1"], rows), "",
             "baseline: picture statistics and a logistic regression on the same sides.", "",
             "At the thresholds (highest F1 on validation groups), and at the precision that would be left where 1 % or 10 % of clips hold a call:", "",
             table(["label", "clips", "groups", "precision", "recall", "precision at 1 %", "precision at 10 %"], called), ""]
    if noised:
        lines += ["## The same clips in noise", "", "SNR: the clip's own background over the added noise, 50-350 Hz. Networks and thresholds as they are, chosen on clips without it.", "",
                  table(["noise", "SNR, dB", "ROC AUC", "baseline ROC AUC", "precision", "recall"], noised), ""]
    lines += ["## Published figures", "", table(["published", "ROC AUC", "what it is", "grouped"], [[name, str(auc), what, "no"] for name, auc, what in ANCHORS]), "", why(summary["simulated"]), "",
              "## Use and limits", "",
              f"The weights that are kept are those of fold {summary['fold'].split('_')[1]}, judged on that fold's groups; thresholds and calibration from its validation groups. "
              "Clips are some 20 % calls, the sea is not: read the precision at 1 %. A recording below "
              f"{2 * min(profile.label_min_nyquist_hz.values()):g} Hz gets no answer." + (" A sea that the simulator never draws was never heard." if summary["simulated"] else ""), ""]
    return "\n".join(lines)


def contest_data_card(experiment: Experiment, clips: pd.DataFrame) -> str:
    """Markdown text: what the clips are, how they were parted, what is weak about them."""
    simulated, source = bool(clips["simulated"].all()), experiment.clips[0]
    rows = [[raw, str(len(part)), str(part["group"].nunique()), f"{part['duration_s'].sum() / 60:.1f}"] for raw, part in clips.groupby("raw")]
    made = (f"**SIMULATED** by `preprocessing.upcalls` in the contest's layout (`{source}`), and can be made again bit for bit. Labels are exact: an up-call counts from 6 dB on; those that are "
            "fainter are in the clip and not in its label." if simulated else f"The clips and labels of the right whale contest, from the user's own folder (`{source}`). © Cornell, not to be passed on.")
    weak = ("One simulator drew whales, ships, humpbacks and weather: what it never draws is not in here, and SNRs are drawn against each clip's own noise." if simulated else
            "Clips carry no times: that consecutive numbers are neighbours is taken from the sequel of the contest. Some labels are wrong, as the contest's forum says.")
    return "\n".join([f"# Data of {experiment.name}", "", made, "", table(["what is in them", "clips", "groups", "minutes"], rows), "",
                      "## Parted", "", f"By `{experiment.split.by}` ({'the simulated hour' if simulated else 'a block of consecutive numbers'}) into {experiment.split.folds} folds: no group, no copy of a "
                      "clip and no noised twin lies on two sides (looked for before training; clips with the same samples too). A quarter of the groups outside the test fold chooses epoch, calibration and threshold." + leak_line(experiment), "",
                      "## Known weaknesses", "", weak, ""])
