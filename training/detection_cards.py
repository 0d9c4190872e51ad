"""The cards of an experiment on a detector's checked finds: what the ensemble is and what it scored, and what it was trained on. Written from the run."""
from __future__ import annotations

import pandas as pd

from training.detection_settings import LARGE, Detections
from training.ensemble import BASELINE, ENSEMBLE
from training.model_card import number, table
from training.saved_ensemble import SavedEnsemble
from training.spec import Experiment


def detection_model_card(experiment: Experiment, asked: Detections, made: SavedEnsemble, metrics: dict, left_out: list[str]) -> str:
    """Markdown text; `left_out`: the networks whose weights are not kept with the code."""
    profile = next(iter(made.models.values())).profile
    rows = [[name, f"{sum(p.numel() for p in made.models[name].net.parameters()):,}", "ImageNet" if own.get("pretrained") else "at random", str(own["epochs"]), number(made.weights[name], 2),
             number(made.limits[name], 2)] for name, own in asked.networks.items()]
    judged = [[split, name, *(number(m[name]["classes"][c]["right"], 2) for c in "BFN"), number(m[name]["precision"]), number(m[name]["recall"]),
               f"{number(m[name]['average_precision'])} ({' to '.join(number(end, 2) for end in m[name]['interval']['average_precision'])})", number(m[name]["roc_auc"])]
              for split, m in metrics["splits"].items() for name in (*asked.networks, BASELINE, ENSEMBLE) if name in m]
    scratch = [name for name in asked.networks if name in LARGE and not asked.networks[name].get("pretrained")]
    lines = [
        f"# {experiment.name}", "", experiment.question, "",
        f"Says of windows of {profile.window_s:g} s, between {profile.picture['low_hz']:g} and {profile.picture['high_hz']:g} Hz, whether they hold a true detection (B). Profile `{profile.name}` "
        f"({profile.hash()}), one channel of decibels.", "",
        "**Trained, tuned and tested on SIMULATED sound only.** Moorings, weather, boats and calls come from one simulator, and a simulated detector was checked by the simulation's truth: "
        "real recordings will score lower." if asked.simulated else "**Trained, tuned and tested on recorded sound.**", "",
        "## Networks", "", table(["network", "weights", "began", "epochs", "share in the ensemble", "limit"], rows), "",
        *([f"{', '.join(scratch)} began from random weights and met what they were trained on, of {metrics['splits']['recording']['clips']} clips in all, {', '.join(str(asked.networks[n]['epochs']) for n in scratch)} times: these figures show that they run, not what they can do. "
           f"`make experiment NAME={experiment.name} ARGS=--full` begins from ImageNet.", ""] if scratch else []),
        *([f"Weights of {', '.join(left_out)} are above 5 MB and not kept with the code: `make experiment NAME={experiment.name} ARGS=--again` makes them again, the same.", ""] if left_out else []),
        "The ensemble is their convex sum; shares, calibration (Platt) and limits come from validation recordings.", "",
        "## Clips that were not trained on", "", "Intervals (95 %) are drawn over recordings. The baseline is a logistic regression on statistics of the picture. "
        "Row-wise is a leak, shown for what it does.", "",
        table(["folds by", "network", "B found", "F rejected", "N rejected", "precision", "recall", "average precision", "ROC AUC"], judged), "",
        "The ensemble less the best network alone, in average precision: " + "; ".join(
            f"by {split} {m['gain_over_best']['difference']:+.3f} ({' to '.join(f'{end:+.3f}' for end in m['gain_over_best']['interval'])}) over {m['best']}"
            for split, m in metrics["splits"].items()) + ". Where an interval holds 0 nothing was shown.", ""]
    if "new_deployment" in metrics:
        new = metrics["new_deployment"]
        lines += ["## A mooring that nobody checked", "", f"{new['windows']} windows of {asked.new}: {new['calls']['reached']} of {new['calls']['calls']} audible calls touched, "
                  f"{new['false_windows']} false window{'' if new['false_windows'] == 1 else 's'} in {60 * new['empty_hours']:.1f} minutes without calls"
                  + (f" ({number(new['false_windows_per_empty_hour'], 0)} an hour)." if new["empty_hours"] >= 1 else ": too little sound to speak of a rate."), ""]
    if "real" in metrics:
        lines += ["## Real sound", "", *(f"- {kind}: {number(100 * m['of'][ENSEMBLE]['share_of_clips'], 0)} % of {m['clips']} clips called B, {number(100 * m['of'][ENSEMBLE]['share_of_windows'], 0)} % of "
                                         f"{m['windows']} windows" for kind, m in metrics["real"].items() if kind != "roc_auc"),
                  f"- belugas against noise, clips by their mean probability: ROC AUC {number(metrics['real']['roc_auc'][ENSEMBLE])}", ""]
    lines += ["## Use and limits", "", "For ordering what a sensitive detector found, with a person checking what matters. What the first detector does not find, no later step finds. "
              "A recording whose rate cannot show the calls gets no answer.", ""]
    return "\n".join(lines)


def detection_data_card(experiment: Experiment, asked: Detections, clips: pd.DataFrame, settings: dict, notes: list[str]) -> str:
    """Markdown text: recordings, detector, clips by mooring and class, folds, what was left out."""
    counts = clips.groupby(["mooring", "class"]).size().unstack(fill_value=0).reindex(columns=list("BFN"), fill_value=0)
    detector = settings.get("detector")
    said = (f"A simulated energy detector, {detector['detector']['threshold_db']:g} dB above its background: {number(detector['precision'], 2)} of what it found and could be judged is true; it touched "
            f"{detector['reached']['reached']} of {detector['reached']['calls']} audible calls.") if detector else f"Detections as checked in {asked.table}."
    lines = [
        f"# Data of {experiment.name}", "",
        f"{settings['recordings']} recordings, {settings['hours']:.2f} h" + (", **simulated**. " if asked.simulated else ". ") + said, "",
        "B: a true detection; F: a false alarm; N: nothing, far from every detection.", "",
        table(["mooring", "B", "F", "N"], [[str(mooring), *(str(int(n)) for n in row)] for mooring, row in zip(counts.index, counts.to_numpy())]), "",
        "## Parted", "", f"Into {experiment.split.folds} folds of whole recordings, the pieces of one detection together; and with each mooring left out once. Validation is a fifth of the other recordings. "
        "Leaks found (shared recordings, detections, copied sound, overlaps in time, moorings): " + ", ".join(f"by {name} {count}" for name, count in settings["leaks"].items()) + ".", "",
        "## Left out", "", *([f"- {note}" for note in notes] or ["nothing"]), "",
        "## Known weaknesses", "", "One simulator drew calls, boats and weather alike: what it never draws is not in here." if asked.simulated else
        "The first detector is the gate: nothing is known of what it did not find.", ""]
    return "\n".join(lines)
