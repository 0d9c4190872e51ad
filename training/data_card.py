"""The data card: what an experiment was trained and judged on, how it was parted, what is weak about it.

Structure after Gebru et al. (2021), Datasheets for datasets, cut to what a reader of a result needs.
"""
from __future__ import annotations

import pandas as pd

from preprocessing.dataset import DataSet
from training.false_alarms import NONE
from training.model_card import noise_sentence, number, table
from training.spec import Experiment


STUDIES = {  # studies that part the windows by themselves, across the splits of the table
    "leak": "All windows are put together and parted anew, twice: into {folds} folds by `{by}`, where no {by} is in two splits; and row by row, **which leaks**: windows of one recording lie on both sides.",
    "sites": "For each site in turn: trained and tuned at the other sites, tested at it; of its own training windows none, 50, 100 or 250 are added. Deployments of different seeds: no deployment is in two splits.",
}


def window_data_card(experiment: Experiment, data: DataSet) -> str:
    """Markdown text for windows of recordings, simulated or annotated."""
    manifest, labels = data.manifest, data.profile.labels
    simulated = bool(data.info["summary"].get("simulated"))
    rows = []
    for keys, part in manifest.groupby([c for c in ("split", "site") if c in manifest], sort=False):
        hours = part.drop_duplicates("recording")["duration_s"].sum() / 3600 if "duration_s" in part else float("nan")
        rows.append([*map(str, keys), str(part["recording"].nunique()), number(hours, 2), str(len(part)), *(str(int((part[f"target_{label}"] == 1).sum())) for label in labels)])
    noise = data.info["summary"].get("real_noise", NONE)
    heard = isinstance(noise, dict)
    made = ("**All calls are SIMULATED**, the noise is recorded; seeds and plan" if heard else
            "**All sound is SIMULATED**; its seeds and plan")
    lines = [f"# Data of {experiment.name}", "", f"{made} are in parameters.yaml, from which it can be made again bit for bit." if simulated else
             "Recordings and annotations of the user's; see parameters.yaml.", "",
             table([*(c for c in ("split", "site") if c in manifest), "recordings", "hours", "windows", *(f"{label}, windows" for label in labels)], rows), "",
             "## Parted", "", parted_line(experiment, simulated), "",
             *([noise_sentence(noise), ""] if experiment.noise is not None else []),
             *annotated_lines(data.info["summary"]),
             "## Targets", "",
             "A window carries a label where at least half of it, 50 ms or half of the call, whichever is least, is in it; a window that is only touched, or whose call is too faint, "
             "counts neither way. A label whose band lies above a recording's Nyquist frequency is missing, not absent.", "",
             "## Known weaknesses", "", "One simulator drew calls, boats and weather alike: what it never draws is not in here." if simulated else
             "Absence is believed only where the annotations cover the recording.", ""]
    return "\n".join(lines)


def parted_line(experiment: Experiment, simulated: bool) -> str:
    """How the recordings came to their sides, in a sentence."""
    split = experiment.split
    if experiment.study in ("leak", "sites"):
        return STUDIES[experiment.study].format(by=split.by, folds=split.folds)
    if simulated:
        return "Deployments of different seeds: no deployment is in two splits."
    return {"given": "By the column `split` of the user's table of recordings.", "rows": "Row by row, **which leaks**: neighbouring windows lie on both sides.",
            "held_out_in_time": "By time: the last fifth of the recordings is the test, the fifth before it validation."
            }.get(split.kind, f"{split.kind}, by `{split.by}`: no {split.by} is in two splits.")


def annotated_lines(summary: dict) -> list[str]:
    """What was made of the annotations, which recordings hold the same sound, and what the reader of the tables noted; nothing for simulated sound."""
    if "labels" not in summary:
        return []
    rows = [[str(row["before"]), str(row["after"]), str(row["count"])] for row in summary["labels"]]
    same, notes = summary.get("same_sound", []), summary.get("notes", [])
    return ["## Annotations", "", table(["as written", "taken as", "annotations"], rows), "",
            "Looked through: " + (", ".join(f"{label} {seconds / 60:.1f} min" for label, seconds in summary["looked_through_s"].items()) or "nothing") + ".", "",
            "Recordings with the same sound, which no split may part: " + ("; ".join(same) or "none found") + ".", "", *(f"- {note}" for note in notes), *([""] if notes else [])]


def clip_data_card(experiment: Experiment, clips: pd.DataFrame) -> str:
    """Markdown text: what the clips are, where they come from, how they were parted, what was left out."""
    rows = [[name or "background", folder, str(len(part)), str(part["group"].nunique()), f"{part['duration_s'].sum() / 60:.1f}",
             f"{part['sample_rate_hz'].min() / 1000:g} to {part['sample_rate_hz'].max() / 1000:g}", shortened(part["raw"].value_counts())]
            for (name, folder), part in clips.groupby(["name", "set"])]
    left_out = clips.attrs.get("left_out", {})
    return "\n".join([
        f"# Data of {experiment.name}", "",
        table(["label", "folder", "clips", "groups", "minutes", "rates, kHz", "what they were called"], rows), "",
        "## Parted", "", f"By `{experiment.split.by}` into {experiment.split.folds} folds ({experiment.split.kind}): no {experiment.split.by} lies in two folds."
        + leak_line(experiment), "",
        *joined_lines(clips),
        "## Left out", "", ", ".join(f"{what}: {count}" for what, count in left_out.items()) or "nothing", "",
        "## Known weaknesses", "",
        "A clip carries its label throughout, although parts of it may be silent. Recorders, decades and recordists differ between species, so a method can do well "
        "by knowing the recorder: only figures on other groups say anything. Clips are read at their own rate and looked at in the common band only.", ""])


def leak_line(experiment: Experiment) -> str:
    """A sentence on the variants that are named a leak, for which what was just said does not hold; nothing where there are none."""
    leaks = [f"`{name}`" for name in experiment.variants if "leak" in name]
    return f" Not so {', '.join(leaks)}: parted otherwise, to show what that does." if leaks else ""


def joined_lines(clips: pd.DataFrame) -> list[str]:
    """Which groups were made one because they share sound, and by which clips; nothing where none were looked for."""
    joined = clips.attrs.get("joined")
    if joined is None:
        return []
    if not len(joined):
        return ["Clips of different groups were compared: none share sound.", ""]
    rows = []
    for name in sorted(name for name in clips["group"].unique() if " + " in name):
        of = joined[joined["group_a"].isin(name.split(" + ")) | joined["group_b"].isin(name.split(" + "))]
        pairs = [f"{a} and {b} ({kind})" for a, b, kind in zip(of["a"], of["b"], of["kind"])]
        rows.append([name.replace(" + ", ", "), str(int((clips["group"] == name).sum())), "; ".join(pairs[:2]) + (f" and {len(pairs) - 2} more" if len(pairs) > 2 else "")])
    return ["Groups that share sound, copied or cut twice from one tape, are one group:", "", table(["groups made one", "clips", "clips that share sound"], rows), ""]


def shortened(counts: pd.Series, most: int = 6) -> str:
    """ "sperm_whale 30, bowhead 49 and 3 more" """
    shown = ", ".join(f"{name} {count}" for name, count in counts.head(most).items())
    return shown + (f" and {len(counts) - most} more" if len(counts) > most else "")
