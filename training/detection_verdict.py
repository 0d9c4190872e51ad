"""What the networks on checked detections are worth, from the tables of a results folder alone.

    predictions.parquet    the clips judged: split, fold, recording, start_s, mooring, class, target, prob_ and limit_ of each network
    scores.parquet         windows of the new deployment; truth.parquet: what is in it (simulated deployments only)
    real.parquet           windows of real clips: recording, group, raw, name (the profile's label, blank for noise), prob_ of each network

Splits: "recording" (folds of whole recordings), "mooring" (each left out once), "row (a leak)" (clips shuffled, as in the study; its figure says how well neighbours are told apart).
Intervals are of 95 %, drawn over recordings, for real clips over groups (recording sessions, sites).
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.energy_detector import reached, with_verdicts
from training.ensemble import BASELINE, ENSEMBLE, gain, networks_of, verdict_metrics
from training.metrics import bootstrap, roc_auc, share

CALLS = ("ECHO", "HFPC", "BBPC", "Whistle")  # the simulator's; any of them is a beluga
BY_RECORDING, BY_MOORING, BY_ROW = "recording", "mooring", "row (a leak)"
NOISE = "noise"
TABLES = ("predictions", "scores", "truth", "real")


def read_tables(folder: str | Path) -> dict[str, pd.DataFrame]:
    """The tables that a results folder has, by name."""
    return {name: pd.read_parquet(Path(folder) / f"{name}.parquet") for name in TABLES if (Path(folder) / f"{name}.parquet").exists()}


def clear_tables(folder: str | Path) -> None:
    """Delete the tables of an earlier run, whose figures would otherwise be taken for this one's."""
    for name in TABLES:
        (Path(folder) / f"{name}.parquet").unlink(missing_ok=True)


def metrics_of(tables: dict[str, pd.DataFrame], limits: dict[str, float], draws: int = 200) -> dict:
    """Every figure that the tables give.

    Parameters
    ----------
    limits : of the networks that are kept, and of their ensemble, chosen on validation clips.

    Returns
    -------
    {"splits": {name: `verdict_metrics` with "moorings", "best", "gain_over_best", "gain_over_baseline"}, and where their tables are there "new_deployment" and "real"}
    """
    out = {"splits": {name: split_metrics(part.dropna(axis=1, how="all"), draws) for name, part in tables["predictions"].groupby("split", sort=False)}}
    if {"scores", "truth"} <= set(tables):
        out["new_deployment"] = new_metrics(tables["scores"], tables["truth"], limits[ENSEMBLE])
    if "real" in tables:
        out["real"] = real_metrics(tables["real"], limits, draws)
    return out


def split_metrics(table: pd.DataFrame, draws: int = 200) -> dict:
    """`verdict_metrics` of one split; average precision, precision and recall at each mooring; what the ensemble gains over the best single network, and over the baseline.

    The best network is the one that is best on these very clips, which is hard on the ensemble.
    """
    out = verdict_metrics(table, draws=draws)
    single = [name for name in networks_of(table) if name not in (ENSEMBLE, BASELINE)]
    out["moorings"] = {str(mooring): {name: {key: judged[name][key] for key in ("average_precision", "roc_auc", "precision", "recall")} for name in networks_of(part)}
                       for mooring, part in table.groupby("mooring") for judged in [verdict_metrics(part, draws=0)]}
    out["best"] = max(single, key=lambda name: np.nan_to_num(out[name]["average_precision"]))
    out["gain_over_best"] = gain(table, ENSEMBLE, out["best"], draws=draws)
    if BASELINE in networks_of(table):
        out["gain_over_baseline"] = gain(table, ENSEMBLE, BASELINE, draws=draws)
    return out


def new_metrics(scores: pd.DataFrame, truth: pd.DataFrame, limit: float) -> dict:
    """Calls that a called window touches, and called windows that touch none, by the hour of windows without a call."""
    checked = with_verdicts(scores, truth, CALLS)
    called, empty = (checked[f"prob_{ENSEMBLE}"] >= limit).to_numpy(), (checked["verdict"] == "false").to_numpy()
    hours = float(checked["new_s"][empty].sum()) / 3600
    return {"windows": len(checked), "calls": reached(checked[called], truth, CALLS), "false_windows": int((called & empty).sum()), "empty_hours": hours,
            "false_windows_per_empty_hour": share(int((called & empty).sum()), hours)}


def real_metrics(table: pd.DataFrame, limits: dict[str, float], draws: int = 200, seed: int = 0) -> dict:
    """How real sound is called, by what it is and by network.

    Returns
    -------
    {label or "noise": {clips, groups, windows, of: {network: {clips_called, share_of_clips, interval, share_of_windows}}}, "roc_auc": {network: of clips by their mean probability}}
    A clip is called when one of its windows is; long clips have more windows to be called by, so the share of windows stands beside.
    """
    known = table.dropna(subset=[f"prob_{ENSEMBLE}"])
    kind, out = known["name"].where(known["name"] != "", NOISE), {}
    for name, part in known.groupby(kind):
        by = part.groupby("recording")
        groups = by["group"].first().to_numpy()
        out[str(name)] = {"clips": len(groups), "groups": int(part["group"].nunique()), "windows": len(part), "of": {}}
        for network in networks_of(part):
            called = part[f"prob_{network}"] >= limits[network]
            clips = called.groupby(part["recording"]).any().to_numpy()
            out[str(name)]["of"][network] = {"clips_called": int(clips.sum()), "share_of_clips": float(clips.mean()), "share_of_windows": float(called.mean()),
                                             "interval": bootstrap(groups, lambda rows, clips=clips: float(clips[rows].mean()), draws, seed)}
    mean = known.assign(target=(known["name"] != "").astype(float)).groupby("recording")[[*(f"prob_{n}" for n in networks_of(known)), "target"]].mean()
    out["roc_auc"] = {network: roc_auc(mean["target"].to_numpy(), mean[f"prob_{network}"].to_numpy()) for network in networks_of(known)}
    return out


def split_table(metrics: dict) -> pd.DataFrame:
    """A row for each split and network: shares of B found and of F and N rejected, precision, recall, areas, log-loss."""
    rows = []
    for split, judged in metrics["splits"].items():
        for network in (name for name in judged if isinstance(judged[name], dict) and "classes" in judged[name]):
            m = judged[network]
            rows.append({"split": split, "network": network} | {f"{c} {what}": m["classes"][c]["right"] for c, what in (("B", "found"), ("F", "rejected"), ("N", "rejected"))}
                        | {"precision": m["precision"], "of B and F alone": m["precision_without_N"], "recall": m["recall"], "F1": m["f1"], "AP": m["average_precision"],
                           "AP from": m["interval"]["average_precision"][0], "AP to": m["interval"]["average_precision"][1], "ROC AUC": m["roc_auc"],
                           "AUC from": m["interval"]["roc_auc"][0], "AUC to": m["interval"]["roc_auc"][1], "log-loss": m["log_loss"]})
    return pd.DataFrame(rows).set_index(["split", "network"]).astype(float)


def overview_row(judged: dict) -> dict:
    """What `training.overview` shows of one split."""
    own, best = judged[ENSEMBLE], judged["best"]
    low, high = own["interval"]["average_precision"]
    return {"macro_ap": own["average_precision"], "low": low, "high": high, "macro_f1": own["f1"], "precision": own["precision"], "recall": own["recall"], "best": best,
            "best_ap": judged[best]["average_precision"], "baseline_ap": judged.get(BASELINE, {}).get("average_precision")}


def real_table(metrics: dict) -> pd.DataFrame:
    """A row for each kind of real sound and network: clips, groups, share of the clips called B with its interval, share of the windows."""
    rows = [{"sound": kind, "network": network, "clips": m["clips"], "groups": m["groups"], "share of clips called B": own["share_of_clips"], "from": own["interval"][0], "to": own["interval"][1],
             "share of windows called B": own["share_of_windows"]} for kind, m in metrics["real"].items() if kind != "roc_auc" for network, own in m["of"].items()]
    return pd.DataFrame(rows).set_index(["sound", "network"])


def new_table(metrics: dict) -> pd.DataFrame:
    """The figures of the new deployment, one a row; false windows by the hour only where an hour without calls was heard."""
    new = metrics["new_deployment"]
    rows = {"windows": new["windows"], "audible calls": new["calls"]["calls"], "of them touched by a window called B": new["calls"]["reached"],
            "windows called B without a call": new["false_windows"], "minutes without calls": f"{60 * new['empty_hours']:.1f}"}
    if new["empty_hours"] >= 1:
        rows["false windows per empty hour"] = f"{new['false_windows_per_empty_hour']:.1f}"
    return pd.Series(rows, name="figure").astype(str).to_frame()
