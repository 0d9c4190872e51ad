"""The model card: what the model is, what it was trained on and what it scored, written from the run so that it cannot say anything else.

Structure after Mitchell et al. (2019), Model cards for model reporting.
"""
from __future__ import annotations

import math

from training.false_alarms import NONE
from training.saved import SavedModel

PARTS = {"all": "all windows", "without_boats": "no boat in the window", "with_boats": "an audible boat in the window"}


def number(value, digits: int = 3) -> str:
    """A figure, or a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]])


def label_table(scores: dict, labels: tuple) -> str:
    """Average precision, F1, precision and recall of every label in one part of the data, and the precision where 1 % or 10 % of the windows hold the call."""
    names = ("average_precision", "roc_auc", "f1", "precision", "recall", "precision_at_1%", "precision_at_10%")
    rows = [[label, str(scores[label]["positives"]), *(number(scores[label].get(name)) for name in names)] for label in labels]
    rows.append(["**macro (calls)**", "", number(scores["macro"]["average_precision"]), number(scores["macro"]["roc_auc"]), number(scores["macro"]["f1"]), "", "", "", ""])
    return table(["label", "positive windows", "average precision", "ROC AUC", "F1", "precision", "recall", "precision at 1 %", "at 10 %"], rows)


def model_card(model_id: str, model: SavedModel, net, metrics: dict, summary: dict) -> str:
    """Markdown text.

    Parameters
    ----------
    metrics : as of `training.experiment.verdict`, with, where they were computed, "baseline" and "peer" (of `evaluate_windows`) and "events".
    summary : simulated, windows, recordings, hours for each split, parameters.
    """
    test, labels, profile = metrics["test"], model.labels, model.profile
    low, high = test["interval"]["macro_f1"]
    weights = sum(p.numel() for p in net.parameters())
    tested = "deployments" if summary.get("simulated") else "recordings"
    made_of = "SIMULATED" if summary.get("simulated") else "recorded sound"
    split_rows = [[split, str(summary["recordings"][split]), number(summary["hours"][split], 2), str(summary["windows"][split])] for split in summary["windows"]]
    thresholds = [[label, *(number(model.thresholds[label][key]) for key in ("window", "on", "off"))] for label in labels]
    lines = [
        f"# {model_id}",
        "",
        f"Names the sounds of {profile.species} in windows of {profile.window_s:g} s: {', '.join(labels)}. {type(net).__name__}, {weights:,} weights, "
        f"profile `{profile.name}` ({profile.hash()}).",
        "",
        *(noise_lines(metrics) if summary.get("simulated") else []),
        f"**All calls are {made_of}.** {noise_sentence(metrics.get('noise'))} Every figure below "
        f"is from simulated deployments whose seeds were not used in training; calls, "
        "weather and boats come from one simulator, so real recordings will score lower. No real "
        "recording of the species was used."
        if summary.get("simulated")
        else f"**Trained, tuned and tested on {made_of}.**",
        "",
        "## Data",
        "",
        table(["split", "recordings", "hours", "windows"], split_rows),
        "",
        (
            "Splits share no deployment. Thresholds and calibration were chosen on the validation "
            "split, simulated recordings packed with calls left out. A call under 6 dB SNR counts "
            "neither way, nor does a window "
            if summary.get("simulated")
            else f"{parted(summary)} Thresholds and calibration were chosen on the validation split. Neither way counts a window that nobody looked through, nor one "
        )
        + "that holds less than 50 ms (or half) of a call."
        + (
            " A window's answer is the highest moment within it of the trace that all windows "
            "make together."
            if model.by_trace
            else ""
        ),
        "",
        f"## Windows of the {'simulated ' if summary.get('simulated') else ''}test {tested}",
        "",
        f"Macro F1 {number(test['all']['macro']['f1'])} (95 % interval over recordings {number(low)} to {number(high)}); "
        f"{number(test.get('false_windows_per_empty_hour'), 1)} false windows per hour of windows "
        f"without calls.",
        "",
    ]
    for part, title in PARTS.items():
        if part in test:
            lines += [f"### {title[0].upper()}{title[1:]}", "", label_table(test[part], labels), ""]
    lines += ["### Recall by SNR of the best call in the window", "", snr_table(test["recall_by_snr"], labels), ""]
    if "site" in test:
        rows = [[site, number(s["macro"]["average_precision"]), number(s["macro"]["f1"])] for site, s in test["site"].items()]
        lines += ["### By site", "", table(["site", "macro AP", "macro F1"], rows), ""]
    lines += comparison(metrics, summary)
    lines += event_lines(metrics, tested)
    lines += ["## Thresholds", "", "On calibrated probability; an event begins at `on` and ends below `off`.", "", table(["label", "window", "on", "off"], thresholds), "",
              "## Use and limits", "",
              f"For finding and naming {'beluga calls' if profile.name == 'beluga' else f'the sounds of {profile.species}'} in hydrophone recordings, with a person checking what matters. Not for counting animals. A label whose band lies above "
              "a recording's Nyquist frequency is missing, not absent. Whoever has labelled recordings of a place should measure the model there first, and train again "
              "with `training/05_train.ipynb` if it falls short.", ""]
    return "\n".join(lines)


def snr_table(by_label: dict, labels: tuple) -> str:
    """Recall in bins of SNR, a column per label."""
    bins = by_label[labels[0]]
    rows = []
    for k, b in enumerate(bins):
        top = f" to {b['snr_high_db']:g}" if math.isfinite(float(b["snr_high_db"])) else " and more"
        rows.append([f"{b['snr_low_db']:g}{top}", *(f"{number(by_label[label][k]['recall'], 2)} ({by_label[label][k]['positives']})" for label in labels)])
    return table(["SNR, dB", *labels], rows)


def comparison(metrics: dict, summary: dict) -> list[str]:
    """Baseline and peer beside the model, where they were computed."""
    rows, epochs = [], summary.get("parameters", {}).get("peer_epochs")
    for key, title in (("test", "this model"), ("peer", "the closest peer's recipe, trained on the same data" + (f" for at most {epochs} epochs" if epochs else "")), ("baseline", "picture statistics + logistic regression"),
                       ("int8", "this model in int8, trained on for it (model_int8.onnx)")):
        if key in metrics:
            m = metrics[key]
            parts = [number(m[part]["macro"]["f1"]) if part in m else "–" for part in PARTS]
            rows.append([title, number(m["all"]["macro"]["average_precision"]), *parts])
    return ["## Beside it", "", table(["model", "macro AP", "macro F1", "without boats", "with boats"], rows), ""] if len(rows) > 1 else []


def rate(figures: dict) -> str:
    """ "3 in 0.32 h: 9.4 an hour (95 % interval 1.9 to 27.4)" """
    low, high = figures["interval"]
    return (f"{figures['false_alarms']} in {number(figures['hours'], 2)} h: "
            f"{number(figures['per_hour'], 1)} an hour (95 % interval {number(low, 1)} to "
            f"{number(high, 1)})")


def noise_lines(metrics: dict) -> list[str]:
    """What the model does on recorded noise, the test sites first; or that it was never asked."""
    figures = metrics.get("real_noise", NONE)
    if figures == NONE:
        return ["**real_noise: none.** Not judged on recorded noise: how often it cries out at sea "
                "is not known.", ""]
    split = "test" if "test" in figures else "validation"
    f = figures[split]
    use, at = f["in_use"], f.get("at_recall")
    sites = ("sites it never heard" if split == "test" else
             "validation sites, where thresholds were chosen (the test sites were left unheard)")
    lines = []
    if at:
        lines += [f"**False alarms at {f['recall']:.0%} recall, on recorded noise of {sites}: "
                  f"{rate(at)}.** Recall is of windows with simulated calls from {f['floor_db']:g} "
                  "dB; the rate is *unverified*: nobody has listened to what was cried.", ""]
    if "hours" in use:
        text = (f"At its own thresholds: {rate(use)}; {number(100 * use['positive_share'], 1)} % of "
                f"{use['windows']} windows are positive for a call. Recall there "
                f"{number(use['recall']['mean'], 2)}")
        if "recall_in_noise" in use:
            mixed = number(use["recall_in_noise"]["mean"], 2)
            text += f", of simulated calls in recorded noise {mixed}"
        if "other_animals" in use:
            text += f". On other animals: {rate(use['other_animals'])}"
        lines += [text + ".", "", place_table(use, at, f["recall"]), ""]
    if f["not_judged"]:
        lines += [f"Not judged on noise, of which no recording goes high enough, or for want of "
                  f"clear calls: {', '.join(f['not_judged'])}.", ""]
    return lines


def place_table(use: dict, at: dict | None, recall: float) -> str:
    """False alarms by set of recordings and by site, at the stated recall and in use."""
    rows = []
    for key in ("by_set", "by_site"):
        for place, own in use[key].items():
            alarms = str(at[key][place]["false_alarms"]) if at else "–"
            share = f"{number(100 * own['positive_share'], 1)} %"
            name = f"**{place}**" if key == "by_set" else place
            minutes = number(60 * own["hours"], 1)
            rows.append([name, minutes, alarms, str(own["false_alarms"]), share])
    return table(["place", "minutes", f"alarms at {recall:.0%} recall", "alarms at its thresholds",
                  "positive windows there"], rows)


def noise_sentence(noise) -> str:
    """What recorded noise it was trained with."""
    if not isinstance(noise, dict):
        return "real_noise: none."
    minutes = ", ".join(
        f"{split} {value:g} min of {noise['recordings'][split]} recordings"
        for split, value in noise["minutes"].items()
    )
    return (
        f"Recorded noise `{noise['collection']}`, parted by site: {minutes}; {noise['share']:.0%} "
        f"of the windows drawn in training."
        + (
            f" Folders that were not on the machine: {', '.join(noise['missing'])}."
            if noise.get("missing")
            else ""
        )
    )


def parted(summary: dict) -> str:
    """How the recordings were parted, in a sentence."""
    split = summary.get("parameters", {}).get("split", {})
    if split.get("kind") in ("grouped", "leave_one_out"):
        return f"No {split['by']} is in two splits."
    return "The recordings of the last fifth of the time are the test." if split.get("kind") == "held_out_in_time" else "No recording is in two splits."


def event_lines(metrics: dict, tested: str = "deployments") -> list[str]:
    """Event precision and recall by the half-coverage rule, where they were computed."""
    if "events" not in metrics:
        return []
    m = metrics["events"]
    labels = [name for name in m if isinstance(m[name], dict) and "annotations" in m[name]]
    rows = [[label, str(m[label]["annotations"]), *(number(m[label][name]) for name in ("precision", "recall", "f1"))] for label in labels]
    out = [f"## Events of the {'simulated ' if metrics.get('simulated') else ''}test {tested}", "", "An annotation is found when half of it is covered, a detection is true when half of it lies on annotations.", "",
           table(["label", "annotations", "precision", "recall", "F1"], rows), ""]
    if "false_per_empty_hour" in m:
        out += [f"False events per hour of empty sound: {number(m['false_per_empty_hour'], 1)}.", ""]
    return out


