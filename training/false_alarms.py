"""How often a detector cries out where nothing calls: false alarms an hour at a stated recall, at
sites it never heard.

Windows of recorded noise that are positive for any call and touch or overlap are one alarm. Recall
is that of windows with calls, simulated ones at a stated SNR, at the same thresholds. A count of
rare things comes with its exact Poisson interval (Garwood 1936). Pure functions on arrays and
tables; the tables are those of `training.evaluate`: recording, start_s, site, kind, animal,
target_LABEL, snr_LABEL, prob_LABEL (NaN: the recording's rate cannot show the label).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from preprocessing.noise_collection import NOISE
from training.evaluate import call_labels
from training.metrics import share

RECALL = 0.9
FLOOR_DB = 10.0  # calls from here are plain to see
RECALLS = tuple(np.round(np.arange(0.5, 1.0, 0.05), 2))
REAL = "real"
NONE = "none"


def poisson_interval(count: int, exposure: float, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a rate, `count` events in `exposure` (hours), Garwood (1936): chi-squared
    quantiles with 2n and 2n + 2 degrees of freedom.

    >>> [round(x, 3) for x in poisson_interval(0, 1.0)]
    [0.0, 3.689]
    """
    from scipy.stats import chi2

    if not exposure > 0:
        return np.nan, np.nan
    low = 0.0 if count == 0 else chi2.ppf((1 - level) / 2, 2 * count) / 2
    return float(low / exposure), float(chi2.ppf((1 + level) / 2, 2 * count + 2) / 2 / exposure)


def without_calls(table: pd.DataFrame, labels: tuple, animals: bool = False) -> pd.DataFrame:
    """Windows of recorded noise that are known to hold none of the call `labels` that their rate
    could show, and could show one at least; other animals' apart, or only these.
    """
    noise = table[table["kind"] == NOISE] if "kind" in table else table.iloc[:0]
    noise = (
        noise[(noise["animal"].fillna(0).astype(float) > 0) == animals]
        if "animal" in noise
        else noise
    )
    target, seen = _of(noise, "target", labels), np.isfinite(_of(noise, "prob", labels))
    return noise[((target == 0) | ~seen).all(axis=1) & seen.any(axis=1)]


def positive(table: pd.DataFrame, limits: dict[str, float], labels: tuple) -> np.ndarray:
    """(windows,) bool: positive for any of the labels; a missing probability is not."""
    return (_of(table, "prob", labels) >= np.array([limits[label] for label in labels])).any(axis=1)


def alarms(table: pd.DataFrame, hit: np.ndarray, window_s: float) -> pd.DataFrame:
    """recording, site, start_s, end_s: positive windows that touch or overlap, joined. `hit`:
    (windows,) bool.
    """
    rows = table.loc[hit, ["recording", "site", "start_s"]].sort_values(["recording", "start_s"])
    if not len(rows):
        return rows.assign(end_s=np.zeros(0))
    begins = (rows["recording"] != rows["recording"].shift()) | (
        rows["start_s"] > rows["start_s"].shift() + window_s + 1e-9
    )
    joined = rows.groupby(begins.cumsum()).agg(
        recording=("recording", "first"),
        site=("site", "first"),
        start_s=("start_s", "min"),
        end_s=("start_s", "max"),
    )
    return joined.assign(end_s=joined["end_s"] + window_s).reset_index(drop=True)


def hours_of(table: pd.DataFrame, window_s: float, step_s: float) -> float:
    """Hours that the windows of a table cover, each moment once."""
    last = table.groupby("recording")["start_s"].shift(-1)
    ahead = (last - table["start_s"]).to_numpy()
    return float(np.where(np.isfinite(ahead), np.minimum(ahead, window_s), window_s).sum() / 3600)


def limits_at_recall(
    calls: pd.DataFrame, labels: tuple, recall: float = RECALL, floor_db: float = FLOOR_DB
) -> dict[str, float]:
    """The highest threshold of each label that finds this share of its windows whose best call has
    `floor_db` or more; NaN for a label without such windows.
    """
    limits = {}
    for label in labels:
        prob = calls.loc[_clear(calls, label, floor_db), f"prob_{label}"].to_numpy(float)
        prob = np.sort(prob[np.isfinite(prob)])[::-1]
        limits[label] = (
            float(prob[int(np.ceil(recall * len(prob) - 1e-9)) - 1]) if len(prob) else np.nan
        )
    return limits


def recall_at(
    calls: pd.DataFrame, limits: dict[str, float], labels: tuple, floor_db: float = FLOOR_DB
) -> dict:
    """label -> {recall, windows} at these thresholds, of windows whose best call has `floor_db` or
    more; "mean" over the labels.
    """
    out = {}
    for label in labels:
        prob = calls.loc[_clear(calls, label, floor_db), f"prob_{label}"].to_numpy(float)
        prob = prob[np.isfinite(prob)]
        out[label] = {
            "windows": len(prob),
            "recall": share(int((prob >= limits[label]).sum()), len(prob)),
        }
    known = [out[label]["recall"] for label in labels if out[label]["windows"]]
    return out | {"mean": float(np.mean(known)) if known else np.nan}


def rate_of(
    noise: pd.DataFrame, limits: dict[str, float], labels: tuple, window_s: float, step_s: float
) -> dict:
    """false_alarms, hours, per_hour, interval (95 %) and positive_share (of windows) of windows
    without calls, for any of `labels`.
    """
    hit, hours = positive(noise, limits, labels), hours_of(noise, window_s, step_s)
    count = len(alarms(noise, hit, window_s))
    return {
        "false_alarms": count,
        "hours": hours,
        "per_hour": share(count, hours),
        "interval": list(poisson_interval(count, hours)),
        "windows": len(noise),
        "positive_share": share(int(hit.sum()), len(noise)),
    }


def headline(
    table: pd.DataFrame,
    labels: tuple,
    thresholds: dict,
    window_s: float,
    step_s: float,
    recall: float = RECALL,
    floor_db: float = FLOOR_DB,
) -> dict:
    """The figures of one split, its recorded noise and its calls.

    Parameters
    ----------
    table : the split's windows, both. labels : call labels. thresholds : the model's, label ->
    probability or {"window": probability}.

    Returns
    -------
    "at_recall": every label at the threshold that finds `recall` of its clear calls
    (simulated, recorded water not counted): `rate_of` all, "by_set" (of recordings), "by_site",
    "by_label" (one label alone), and "limits"; "in_use": the same at the model's own thresholds, with "recall" there of simulated
    calls, of those in recorded water ("recall_in_noise"), and "other_animals", the same on
    recordings of other animals. Labels that no recording of noise could show are in "not_judged",
    and say nothing. Empty where there is no noise.
    """
    noise, animals = without_calls(table, labels), without_calls(table, labels, animals=True)
    if not len(noise):
        return {}
    calls, mixed = (
        table[table["kind"].isin(kinds)]
        for kinds in ([k for k in table["kind"].unique() if k not in (NOISE, REAL)], [REAL])
    )
    judged = tuple(label for label in labels if noise[f"prob_{label}"].notna().any())
    at = limits_at_recall(calls, judged, recall, floor_db)
    heard = tuple(label for label in judged if np.isfinite(at[label]))
    own = {
        label: thresholds[label]["window"]
        if isinstance(thresholds[label], dict)
        else thresholds[label]
        for label in labels
    }
    out = {
        "recall": recall,
        "floor_db": floor_db,
        "judged": list(heard),
        "not_judged": [label for label in labels if label not in heard],
    }
    for name, limits, chosen in (("at_recall", at, heard), ("in_use", own, judged)):
        if not chosen:
            continue
        out[name] = rate_of(noise, limits, chosen, window_s, step_s) | {
            "limits": {label: limits[label] for label in chosen}
        }
        sets = noise["recording"].str.split("/").str[1]
        for key, group in (("by_set", sets), ("by_site", noise["site"])):
            out[name][key] = {
                str(value): rate_of(part, limits, chosen, window_s, step_s)
                for value, part in noise.groupby(group)
            }
        out[name]["by_label"] = {
            label: rate_of(noise, limits, (label,), window_s, step_s) for label in chosen
        }
    out.setdefault("in_use", {})
    out["in_use"] |= {"recall": recall_at(calls, own, labels, floor_db)}
    if len(mixed):
        out["in_use"]["recall_in_noise"] = recall_at(mixed, own, labels, floor_db)
    if len(animals):
        out["in_use"]["other_animals"] = rate_of(animals, own, judged, window_s, step_s)
    return out


def noise_verdict(
    predictions: pd.DataFrame, thresholds: dict, labels: tuple, window_s: float, step_s: float
) -> dict:
    """{"real_noise": {split: `headline`}} of the splits that have recorded noise; {"real_noise":
    "none"} where none has.
    """
    figures = {
        split: headline(part, call_labels(labels), thresholds, window_s, step_s)
        for split, part in predictions.groupby("split", sort=False)
        if "kind" in part
    }
    return {"real_noise": {split: figure for split, figure in figures.items() if figure} or NONE}


def alarm_curve(
    table: pd.DataFrame,
    labels: tuple,
    window_s: float,
    step_s: float,
    recalls=RECALLS,
    floor_db: float = FLOOR_DB,
) -> pd.DataFrame:
    """recall, site ("all" too), per_hour, low, high, hours: false alarms an hour where every label
    finds that share of its clear calls.
    """
    noise, calls = without_calls(table, labels), table[~table["kind"].isin([NOISE, REAL])]
    rows = []
    for recall in recalls if len(noise) else ():
        limits = limits_at_recall(calls, labels, recall, floor_db)
        heard = tuple(
            label
            for label in labels
            if np.isfinite(limits[label]) and noise[f"prob_{label}"].notna().any()
        )
        for site, part in [("all", noise), *noise.groupby("site")] if heard else []:
            rate = rate_of(part, limits, heard, window_s, step_s)
            rows.append(
                {
                    "recall": recall,
                    "site": site,
                    "per_hour": rate["per_hour"],
                    "low": rate["interval"][0],
                    "high": rate["interval"][1],
                    "hours": rate["hours"],
                }
            )
    return pd.DataFrame(rows, columns=["recall", "site", "per_hour", "low", "high", "hours"])


def _clear(calls: pd.DataFrame, label: str, floor_db: float) -> np.ndarray:
    return ((calls[f"target_{label}"] == 1) & (calls[f"snr_{label}"] >= floor_db)).to_numpy()


def _of(table: pd.DataFrame, what: str, labels: tuple) -> np.ndarray:
    return table[[f"{what}_{label}" for label in labels]].to_numpy(float)
