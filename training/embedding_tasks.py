"""Frozen networks asked to tell clips apart: `training.embeddings` on the clips of an experiment, in its grouped folds, with intervals over its groups.

    task = task_of(spec, "data/clips")                     # an experiment of kind clips or contest: its clips, groups that share sound joined, its folds
    answers, told = answers_of(task, NETWORKS)             # every network x (linear probe, nearest neighbours)
    figures(answers, task.labels)                          # macro average precision, ROC AUC and, where each clip has one label, macro F1 of the likeliest label

`NETWORKS` are tables {name, backbone, weights, width, normalisation}. A network that does not fit the picture, or whose weights cannot be had, is left out and says why.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from preprocessing.dataset import DataSet
from spectrogram.profile import Profile
from training.backbones import BadBackbone
from training.baseline import features
from training.clip_experiment import clip_data
from training.clip_folds import folds_of
from training.clip_verdict import clip_metrics
from training.clips import clip_table
from training.contest_data import contest_data, copies_of
from training.data import WindowSet, with_normalisation
from training.embeddings import PROBE, PUBLISHED, RANDOM, backbone, embeddings, judged, of_clips, spread_windows
from training.metrics import average_precision, bootstrap, mean_known
from training.run import RESULTS
from training.saved import BadModel
from training.spec import Experiment, Split
from training.spec_checks import KAGGLE

STATISTICS = "statistics of the picture"   # the cheap baseline's numbers, no network at all
GROUPED, ROWS = "grouped", "row-wise (a leak)"
KEY = ["network", "method", "split"]
WINDOWS_EACH = 4                           # of a clip

# Eight species of the Watkins collection, by recording session, in the band that every recorder here holds, so that the sample rate says nothing. Species of one session alone are
# left out: whoever is judged on it was trained on none.
SPECIES = {"name": "zoo_species", "profile": "watkins", "bands": {"high_hz": 3800}, "clips": [{"folder": "watkins", "label": "species", "group": "source"}],
           "labels": ["beluga", "false_killer_whale", "humpback", "killer_whale", "long_finned_pilot_whale", "north_atlantic_right_whale", "short_finned_pilot_whale", "sperm_whale"],
           "names": {"bowhead": "leave out", "melon_headed_whale": "leave out", "fin_whale": "leave out", "minke": "leave out", "southern_right_whale": "leave out", "*": "="}, "split": {"kind": "grouped", "by": "group", "folds": 5}}
# Simulated up-calls by whole hours, of another seed than the experiments' (1), so that no trunk was trained on these hours.
UPCALLS = {"name": "zoo_upcalls", "profile": "right_whale", "clips": [{"kaggle": "simulated", "hours": 16, "clips_per_hour": 30, "seed": 7}], "names": {"up-call": "UpCall", "*": None},
           "split": {"kind": "grouped", "by": "group", "folds": 4}}


@dataclass
class Task:
    """Clips to tell apart: windows of a data set (rows of its manifest), and a row for each clip with group, fold and target_LABEL."""

    spec: Experiment
    profile: Profile
    data: DataSet
    rows: pd.DataFrame
    clips: pd.DataFrame
    simulated: bool

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def labels(self) -> tuple:
        return self.profile.labels

    @property
    def target(self) -> np.ndarray:
        return (self.clips[[f"target_{label}" for label in self.labels]] == 1).to_numpy(float)


def task_of(spec: Experiment, data_folder: str | Path, windows_each: int = WINDOWS_EACH, progress: bool = False) -> Task:
    """The clips of an experiment of kind clips or contest, in its folds; a leak is refused.

    Raises
    ------
    BadExperiment
        where its clips are not there. training.leaks.Leak where something lies in two folds.
    """
    profile, same = spec.front_end(), None
    if spec.kind == "contest":
        table = clip_table(spec, profile)
        data, same = contest_data(table, profile, Path(data_folder)), copies_of(table)
    else:
        table, data = clip_data(spec, profile, Path(data_folder), progress)
        same = table.attrs["same"]
    rows = spread_windows(data.manifest.reset_index(drop=True), windows_each)
    clips = rows.drop_duplicates("recording").reset_index(drop=True)
    clips["fold"] = clips["recording"].map(folds_of(clips, spec.split, spec.seed, same)).to_numpy()
    return Task(spec, profile, data, rows, clips, "simulated" in table and bool(table["simulated"].all()))


def embedded(task: Task, network: dict) -> np.ndarray:
    """(clips, size) of one network; `training.embeddings.backbone` says what it raises."""
    if network["backbone"] == STATISTICS:
        return of_clips(features(task.data, task.rows, task.profile), task.rows)
    profile, weights = with_normalisation(task.profile, network.get("normalisation")), network.get("weights", RANDOM)
    refuse_known(weights, task.spec)
    net = backbone(network["backbone"], profile, weights, network.get("width", 16))
    return of_clips(embeddings(net, WindowSet(task.data, task.rows, profile)), task.rows)


def refuse_known(weights: str, spec: Experiment, results: Path = RESULTS) -> None:
    """BadBackbone where weights were trained on the clips that an experiment judges: the same folder, or the same simulated hours."""
    told = results / weights.split("/")[0] / "parameters.yaml"
    if weights in (RANDOM, PUBLISHED) or not told.exists():
        return
    trained = Experiment.from_dict(yaml.safe_load(told.read_text(encoding="utf-8")))
    if trained.kind != "detections" and (shared := sources(trained) & sources(spec)):  # of checked detections, clips are judged and never trained on
        raise BadBackbone(f"weights of {weights}: trained on {' '.join(map(str, sorted(shared)[0]))}, of which clips are judged here; take others, or other clips (of simulated ones, another seed)")


def sources(spec: Experiment) -> set[tuple]:
    """Where an experiment's clips come from."""
    return {("contest", str(entry["kaggle"]), (KAGGLE | entry)["seed"]) if "kaggle" in entry else ("folder", entry["folder"]) for entry in spec.clips}


def answers_of(task: Task, networks: list[dict], progress: bool = False) -> tuple[pd.DataFrame, dict[str, str]]:
    """Every network's answers to every clip, and why some gave none.

    Returns
    -------
    table : network, method, split ("grouped", and for the probe "row-wise (a leak)"), size (numbers of an embedding), recording, group, raw, fold, target_LABEL, prob_LABEL.
    left out : name of a network -> the reason.
    """
    from tqdm.auto import tqdm

    parts, left_out, target, groups = [], {}, task.target, task.clips["group"].to_numpy()
    about = task.clips[["recording", "group", "raw", "fold"] + [f"target_{label}" for label in task.labels]]
    shuffled = task.clips["recording"].map(folds_of(task.clips, Split("rows", "recording", int(task.clips["fold"].max()) + 1), 0)).to_numpy()
    for network in tqdm(networks, desc=task.name, disable=not progress):
        try:
            x = embedded(task, network)
        except (BadBackbone, BadModel) as error:
            left_out[network["name"]] = str(error)
            continue
        for split, fold, own in ((GROUPED, task.clips["fold"].to_numpy(), groups), (ROWS, shuffled, task.clips["recording"].to_numpy())):
            for method, p in judged(x, target, own, fold).items():
                if split == ROWS and method != PROBE:
                    continue
                probabilities = pd.DataFrame(p, columns=[f"prob_{label}" for label in task.labels])
                parts.append(pd.concat([about.assign(network=network["name"], method=method, split=split, size=x.shape[1], fold=fold), probabilities], axis=1))
    if not parts:
        raise BadBackbone(f"{task.name}: no network fits; " + "; ".join(left_out.values()))
    return pd.concat(parts, ignore_index=True), left_out


def figures(answers: pd.DataFrame, labels: tuple, draws: int = 100) -> pd.DataFrame:
    """A row for each network, method and split: size, AP, ROC AUC and F1 (macro; F1 of the likeliest label, where every clip has one label), each with `low` and `high`, 95 % over groups."""
    rows = []
    for key, part in answers.groupby(KEY, sort=False):
        judgement = clip_metrics(part.assign(**{f"limit_{label}": 0.5 for label in labels}), labels, draws=draws)
        row = dict(zip(KEY, key)) | {"size": int(part["size"].iloc[0]), "clips": judgement["clips"], "groups": judgement["groups"]}
        for name, figure in (("AP", "average_precision"), ("ROC AUC", "roc_auc")):
            low, high = judgement["interval"][f"macro_{figure}"]
            row |= {name: judgement["macro"][figure], f"{name} low": low, f"{name} high": high}
        if "best_label" in judgement:
            low, high = judgement["best_label"]["interval"]["macro_f1"]
            row |= {"F1": judgement["best_label"]["macro_f1"], "F1 low": low, "F1 high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def gain(answers: pd.DataFrame, one: str, other: str, labels: tuple, method: str = PROBE, draws: int = 100, seed: int = 0) -> dict:
    """Macro average precision of one network less another's on the same clips, its 95 % interval over groups: whole groups are drawn again, the same for both."""
    chosen = answers[(answers["method"] == method) & (answers["split"] == GROUPED)]
    first, second = (chosen[chosen["network"] == name].set_index("recording") for name in (one, other))
    second = second.loc[first.index]
    target = first[[f"target_{label}" for label in labels]].to_numpy(float)
    prob = [part[[f"prob_{label}" for label in labels]].to_numpy(float) for part in (first, second)]

    def macro(p, rows):
        return mean_known([average_precision(target[rows, k], p[rows, k]) for k in range(len(labels))])

    everything = np.arange(len(first))
    low, high = bootstrap(first["group"].to_numpy(), lambda rows: macro(prob[0], rows) - macro(prob[1], rows), draws, seed)
    return {"network": one, "against": other, "difference": macro(prob[0], everything) - macro(prob[1], everything), "low": low, "high": high}


def sentence(row: dict) -> str:
    """What one paired comparison says."""
    verdict = "better" if row["low"] > 0 else "worse" if row["high"] < 0 else "not told apart"
    return f"{row['network']} against {row['against']}: {verdict}, {row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"


def keep(folder: Path, tasks: dict[str, tuple], compared: dict[str, list[dict]]) -> None:
    """Write, for each task that there was, its answers and figures, from the first of which the second come again; and all comparisons.

    tasks : name -> (answers, figures), None and None where the clips were not there.
    """
    for name, (answers, table) in tasks.items():
        if answers is not None:
            small = answers.copy()
            for column in [c for c in small if c.startswith(("prob_", "target_"))]:
                small[column] = small[column].astype(np.float32)
            small.to_parquet(folder / f"answers_{name}.parquet", index=False)
            table.to_parquet(folder / f"figures_{name}.parquet", index=False)
    rows = [{"task": name} | row for name, mine in compared.items() for row in mine]
    pd.DataFrame(rows).to_parquet(folder / "compared.parquet", index=False)


def plot_figures(table: pd.DataFrame, figure: str = "AP", ax=None, chance: float | None = None):
    """One figure of every network, probe and neighbours, with intervals; the row-wise leak as a cross."""
    from training.figures import axes

    names = list(dict.fromkeys(table["network"]))
    ax = axes(ax, (8, 0.45 * len(names) + 1.3))
    for (method, split), part in table.groupby(["method", "split"], sort=False):
        at = np.array([len(names) - 1 - names.index(name) for name in part["network"]], float)
        if split == ROWS:
            ax.plot(part[figure], at, "x", color="tab:red", label="linear probe, shuffled clips (a leak)")
            continue
        at += 0.12 if method == PROBE else -0.12
        spread = np.abs(np.stack([part[figure] - part[f"{figure} low"], part[f"{figure} high"] - part[figure]]))
        ax.errorbar(part[figure], at, xerr=spread, fmt="o" if method == PROBE else "s", ms=5, capsize=2, color="tab:blue" if method == PROBE else "tab:green", label=method)
    if chance is not None:
        ax.axvline(chance, color="0.6", lw=1, ls=":")
    ax.set_yticks(range(len(names))[::-1], names)
    ax.set(xlabel={"AP": "macro average precision", "F1": "macro F1 of the likeliest label"}.get(figure, figure), ylim=(-0.6, len(names) - 0.4), xlim=(0, 1.02))
    ax.grid(axis="x", alpha=0.3)
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.75 / (0.45 * len(names) + 0.5)), ncol=3, frameon=False)
    return ax
