"""What denoising is worth: gain on known mixtures, and what a classifier finds with it and without it on the same recordings.

Everything is a function of the tables in a results folder: predictions.parquet (a row per window: variant, way, backbone, recording, group, fold, portion, target_, prob_, limit_,
baseline_ and baseline_limit_LABEL), mixtures.parquet (`preprocessing.mixtures.measured`) and refinement.parquet (`noise_refinement.passed_over`, for annotated recordings).
Rows with a `portion` are test windows that hold that share of one call and nothing else; the verdict itself is of the rows without.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.mixtures import difference, summary
from training.clip_verdict import clip_metrics, pooled
from training.metrics import bootstrap, counts, mean_known
from training.noise_refinement import refinement_metrics

NAMES = {"raw": "as recorded", "gate": "gated", "unet": "U-Net"}
GAINS = ("si_sdr_gain_db", "band_snr_gain_db", "level_db")


def metrics_of(predictions: pd.DataFrame, mixtures: pd.DataFrame, refinement: pd.DataFrame | None, given: dict) -> dict:
    """metrics.json of an experiment on humpbacks.

    Parameters
    ----------
    given : simulated, labels, pool, window_s, step_s, draws: what the tables do not say.

    Returns
    -------
    those, and {"variants": {name: {way, backbone, "network", "baseline": `clip_metrics`}}, "paired": [`paired`, a row for each backbone and way to denoise, also of the baseline],
    "portions": {variant: [{portion, macro_f1, low, high, windows}]}, "gains": {"means", "unet_over_gate"}, "refinement"}
    """
    labels, pool, draws = tuple(given["labels"]), given["pool"], given["draws"]
    whole = predictions[predictions["portion"].isna()]
    parts = dict(tuple(whole.groupby("variant", sort=False)))
    out = {"kind": "humpback"} | given | {"variants": {}, "paired": []}
    cheap: dict = {}  # the baseline knows of no backbone
    for name, part in parts.items():
        way = part["way"].iloc[0]
        if way not in cheap:
            cheap[way] = clip_metrics(part, labels, pool, "baseline", draws)
        out["variants"][name] = {"way": way, "backbone": part["backbone"].iloc[0], "network": clip_metrics(part, labels, pool, "prob", draws), "baseline": cheap[way]}
    for name, about in out["variants"].items():
        plain = next((other for other, v in out["variants"].items() if v["way"] == "raw" and v["backbone"] == about["backbone"]), None)
        if about["way"] != "raw" and plain is not None:
            row = {"backbone": about["backbone"], "way": about["way"]}
            out["paired"].append(row | {"method": "network"} | paired(parts[name], parts[plain], labels, pool, "prob", draws))
            if not any(r["method"] == "baseline" and r["way"] == about["way"] for r in out["paired"]):
                out["paired"].append(row | {"backbone": "baseline", "method": "baseline"} | paired(parts[name], parts[plain], labels, pool, "baseline", draws))
    if predictions["portion"].notna().any():
        out["portions"] = {name: portion_rows(part, labels, draws) for name, part in predictions.groupby("variant", sort=False)}
    if len(mixtures):
        out["gains"] = {"means": summary(mixtures, values=GAINS, draws=draws).reset_index().to_dict("records"), "unet_over_gate": difference(mixtures, "unet", "gate", draws=draws)}
    if refinement is not None:
        out["refinement"] = refinement_metrics(refinement, draws)
    return out


def metrics_again(folder: Path, predictions: pd.DataFrame, metrics: dict) -> dict:
    """`metrics_of` from the tables of a results folder."""
    refinement = folder / "refinement.parquet"
    given = {key: metrics[key] for key in ("simulated", "labels", "pool", "window_s", "step_s", "draws")}
    return metrics_of(predictions, pd.read_parquet(folder / "mixtures.parquet"), pd.read_parquet(refinement) if refinement.exists() else None, given)


def macro_f1(target: np.ndarray, positive: np.ndarray) -> float:
    """Mean F1 of the labels that occur; (rows, labels) each, NaN targets left out."""
    return mean_known([counts(target[:, k], positive[:, k])["f1"] for k in range(target.shape[1]) if (target[:, k] == 1).any()])


def paired(with_it: pd.DataFrame, without: pd.DataFrame, labels: tuple, pool: str, what: str = "prob", draws: int = 200, seed: int = 0) -> dict:
    """Macro F1 with and without denoising on the same clips, and the difference with its 95 % interval over groups: whole groups are drawn again, the same for both."""
    one, other = (pooled(part, labels, pool, what).set_index("recording") for part in (with_it, without))
    other = other.loc[one.index]
    limit = "limit" if what == "prob" else f"{what}_limit"
    target = one[[f"target_{x}" for x in labels]].to_numpy(float)
    yes = [part[[f"{what}_{x}" for x in labels]].to_numpy() >= part[[f"{limit}_{x}" for x in labels]].to_numpy() for part in (one, other)]
    everything = np.arange(len(one))
    scores = [macro_f1(target, found) for found in yes]
    low, high = bootstrap(one["group"].to_numpy(), lambda rows: macro_f1(target[rows], yes[0][rows]) - macro_f1(target[rows], yes[1][rows]), draws, seed)
    return {"with": scores[0], "without": scores[1], "difference": scores[0] - scores[1], "low": low, "high": high, "groups": int(one["group"].nunique()), "clips": len(everything)}


def portion_rows(part: pd.DataFrame, labels: tuple, draws: int = 200, seed: int = 0) -> list[dict]:
    """Macro F1 for each portion of a call that a window holds: those windows, and all windows without any call."""
    empty = part[part["portion"].isna() & (part[[f"target_{x}" for x in labels]] == 0).all(axis=1)]
    rows = []
    for portion, mine in part[part["portion"].notna()].groupby("portion"):
        table = pd.concat([mine, empty], ignore_index=True)
        target, prob, limit = (table[[f"{c}_{x}" for x in labels]].to_numpy(float) for c in ("target", "prob", "limit"))
        yes = prob >= limit
        low, high = bootstrap(table["group"].to_numpy(), lambda at: macro_f1(target[at], yes[at]), draws, seed)
        rows.append({"portion": round(float(portion), 3), "windows": len(mine), "macro_f1": macro_f1(target, yes), "low": low, "high": high})
    return rows


def overview_rows(metrics: dict) -> dict[str, dict]:
    """variant -> what `results/README.md` says beside its figures: baseline_ap, and the change in macro F1 with its interval where it was denoised."""
    rows = {}
    for name, v in metrics["variants"].items():
        row = next((r for r in metrics["paired"] if r["method"] == "network" and (r["backbone"], r["way"]) == (v["backbone"], v["way"])), {})
        rows[name] = {"baseline_ap": v["baseline"]["macro"]["average_precision"]} | {f"f1_change{end}": row.get(key) for end, key in (("", "difference"), ("_low", "low"), ("_high", "high"))}
    return rows


# ---- in words


def sentence(row: dict) -> str:
    """What one paired comparison says, from its numbers."""
    found = f"macro F1 {row['with']:.3f} {NAMES[row['way']]}, {row['without']:.3f} as recorded: {row['difference']:+.3f} (95 % interval over groups {row['low']:+.3f} to {row['high']:+.3f})"
    if row["low"] > 0:
        verdict = "it helps"
    elif row["high"] < 0:
        verdict = "it does harm"
    else:
        verdict = "whether it helps or harms cannot be told from so few groups"
    return f"{row['backbone']}, {NAMES[row['way']]}: {verdict}; {found}."


def conclusion(metrics: dict) -> str:
    """Whether denoising helps the classifier, and whether the networks are worth anything beside the baseline, in sentences made of the figures."""
    rows = [row for row in metrics["paired"] if row["method"] == "network"]
    helps, harms = [r for r in rows if r["low"] > 0], [r for r in rows if r["high"] < 0]
    gains = [r for r in metrics.get("gains", {}).get("means", [])]
    told = ""
    if gains:
        best, least = (end(gains, key=lambda r: r["si_sdr_gain_db"]) for end in (max, min))
        told = f"On known mixtures the largest gain is {best['si_sdr_gain_db']:+.1f} dB ({NAMES[best['how']]}, at {best['snr_db']:g} dB), the least {least['si_sdr_gain_db']:+.1f} dB ({NAMES[least['how']]}, at {least['snr_db']:g} dB). "
    if not helps:
        verdict = "**Denoising does not demonstrably help the classifier**: in none of the comparisons does the interval of the difference in macro F1 lie above 0" + (
            f"; in {len(harms)} of {len(rows)} it lies below 0." if harms else ".")
    else:
        verdict = f"**Denoising helps in {len(helps)} of {len(rows)} comparisons** ({', '.join(r['backbone'] + ' ' + NAMES[r['way']] for r in helps)})" + (f" and harms in {len(harms)}." if harms else ".")
    if gained := [NAMES[r["way"]] for r in metrics["paired"] if r["method"] == "baseline" and r["low"] > 0]:
        verdict += f" The cheap baseline gains by it ({', '.join(gained)})."
    scores = {method: max((v[method]["macro"]["f1"] for v in metrics.get("variants", {}).values()), default=0.0) for method in ("network", "baseline")}
    if scores["baseline"] > scores["network"]:
        verdict += f" The cheap baseline is better than every network here (macro F1 {scores['baseline']:.3f} against {scores['network']:.3f}): so little trained, they leave most unlearnt."
    elif scores["network"] > scores["baseline"]:
        verdict += f" The best network is above the best of the cheap baselines (macro F1 {scores['network']:.3f} against {scores['baseline']:.3f})."
    return told + verdict
