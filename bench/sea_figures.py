"""Figures of merit of `bench.sea` that `training` has not: bounds, diphonic pairs, counts of calls.

Pure functions on the tables of a run: `windows` and `events` as the pipeline gives them (all
recordings in one table) and `truth` as the simulators write it.
"""
from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import chi2

from preprocessing.dataset import observable_labels, targets
from preprocessing.unlike import diphonic
from spectrogram.profile import Profile
from training.metrics import by_label

MISSING = "missing"
LEAST_IOU, PAIR_SNR_DB, SAME_HZ = 0.3, 6.0, 1.0
EDGES = ("low_hz", "high_hz", "start_s", "end_s")


def poisson_interval(count: int, hours: float, level: float = 0.95) -> list[float]:
    """Exact interval of a rate an hour from a count (Garwood 1936)."""
    if not hours:
        return [np.nan, np.nan]
    tail = (1 - level) / 2
    low = chi2.ppf(tail, 2 * count) / 2 if count else 0.0
    return [float(low / hours), float(chi2.ppf(1 - tail, 2 * count + 2) / 2 / hours)]


def positive_windows(windows: pd.DataFrame, thresholds: dict, labels: tuple) -> np.ndarray:
    """(windows,) bool: at least one of the labels is at or above its window threshold."""
    columns = [windows[f"p_{label}"].to_numpy() >= thresholds[label]["window"] for label in labels]
    return np.any(columns, axis=0)


def windows_table(windows: pd.DataFrame, truth: pd.DataFrame, recordings: pd.DataFrame,
                  profile: Profile, rate_hz: float = 192_000) -> pd.DataFrame:
    """Windows with target_LABEL, snr_LABEL, prob_LABEL and the recording's columns, for
    `training.evaluate.evaluate_windows`. A last window that is not whole is left out."""
    parts, labels = [], profile.labels
    observable = observable_labels(profile, rate_hz)
    observable &= np.array([label != "Boat" or "Boat" in set(truth["label"]) for label in labels])
    by_recording = dict(tuple(windows.groupby("recording")))
    for row in recordings.itertuples():
        part = by_recording[row.recording]
        part = part[part["start_s"] + profile.window_s <= row.duration_s + 1e-6]
        calls = truth[truth["recording"] == row.recording]
        starts_s = part["start_s"].to_numpy()
        target, snr_db = targets(calls, starts_s, profile.window_s, labels, observable)
        columns = {f"target_{label}": target[:, k] for k, label in enumerate(labels)}
        columns |= {f"snr_{label}": snr_db[:, k] for k, label in enumerate(labels)}
        columns |= {f"prob_{label}": part[f"p_{label}"].to_numpy() for label in labels}
        parts.append(pd.DataFrame(columns | {
            "recording": row.recording, "start_s": starts_s, "site": row.site}))
    return pd.concat(parts, ignore_index=True)


def matches(events: pd.DataFrame, truth: pd.DataFrame, labels: tuple) -> pd.DataFrame:
    """Each audible call with the event of its label alone that shares most of its time.

    Events of several labels, and calls of which no event shares `LEAST_IOU` of the joint time, are
    left out. Columns: label and, for each of `EDGES`, the event's value less the call's.
    """
    single = events[events["labels"].isin(labels)]
    single_of = dict(tuple(single.groupby(["recording", "labels"])))
    rows = []
    for call in truth[truth["audible"].astype(bool) & truth["label"].isin(labels)].itertuples():
        near = single_of.get((call.recording, call.label))
        if near is None:
            continue
        shared = np.minimum(near["end_s"], call.end_s) - np.maximum(near["start_s"], call.start_s)
        joint = np.maximum(near["end_s"], call.end_s) - np.minimum(near["start_s"], call.start_s)
        share = (shared / joint).to_numpy()
        if share.max() >= LEAST_IOU:
            event = near.iloc[int(share.argmax())]
            rows.append({"label": call.label} | {e: event[e] - getattr(call, e) for e in EDGES})
    return pd.DataFrame(rows, columns=["label", *EDGES])


def bound_errors(events: pd.DataFrame, truth: pd.DataFrame, labels: tuple) -> dict:
    """label -> {calls, and the median absolute error of each of `EDGES`} of `matches`."""
    table = matches(events, truth, labels)
    out = {}
    for label in labels:
        part = table[table["label"] == label]
        middle = {edge: float(part[edge].abs().median()) if len(part) else np.nan for edge in EDGES}
        out[label] = {"calls": len(part)} | middle
    return out


def profile_constants(profile: Profile) -> np.ndarray:
    """Frequencies (Hz) that a bound has of the profile and not of the sound."""
    edges = [edge for band in profile.label_band_hz.values() for edge in band]
    edges += [band[key] for band in profile.roi_bands for key in ("low_hz", "high_hz")]
    return np.unique([*edges, profile.picture["low_hz"], profile.picture["high_hz"]])


def constant_bounds(events: pd.DataFrame, profile: Profile) -> dict:
    """How many events have a bound that is a constant of the profile, and which."""
    constants = profile_constants(profile)
    same = {
        edge: np.abs(events[edge].to_numpy(float)[:, None] - constants) < SAME_HZ
        for edge in ("low_hz", "high_hz")
    }
    either = np.any([s.any(axis=1) for s in same.values()], axis=0)
    which = {f"{edge} {c:g}": int(s[:, k].sum()) for edge, s in same.items()
             for k, c in enumerate(constants) if s[:, k].any()}  # fmt: skip
    share = float(either.mean()) if len(events) else np.nan
    return {"events": len(events), "share": share, "which": which}


def pairs_of(truth: pd.DataFrame, least_db: float) -> pd.DataFrame:
    """Stretches (recording, start_s, end_s) shared by a whistle and a pulsed call, both from
    `least_db`, that share half of the shorter."""
    rows = []
    loud = truth[truth["snr_db"] >= least_db]
    for name, part in loud.groupby("recording"):
        tonal = part[part["label"] == "Whistle"]
        for call in part[part["label"].isin(["HFPC", "BBPC"])].itertuples():
            for other in tonal.itertuples():
                two = pd.DataFrame({"label": ["Whistle", call.label],
                                    "start_s": [other.start_s, call.start_s],
                                    "end_s": [other.end_s, call.end_s]})  # fmt: skip
                if diphonic(two).all():
                    rows.append((name, two["start_s"].max(), two["end_s"].min()))
    return pd.DataFrame(rows, columns=["recording", "start_s", "end_s"])


def touched(spans: pd.DataFrame, by: pd.DataFrame) -> np.ndarray:
    """(spans,) bool: at least one of the other spans in the same recording shares time with it."""
    others = {name: part for name, part in by.groupby("recording")}
    out = []
    for row in spans.itertuples():
        part = others.get(row.recording)
        out.append(part is not None and bool(
            ((part["start_s"] < row.end_s) & (part["end_s"] > row.start_s)).any()))  # fmt: skip
    return np.array(out, bool)


def diphonic_figures(events: pd.DataFrame, truth: pd.DataFrame) -> dict:
    """Precision and recall of the `diphonic` flag against the pairs of the truth.

    A flagged event that touches a pair of which a part is faint counts neither way.
    """
    flagged = events[events["diphonic"].astype(bool)]
    pairs, any_pairs = pairs_of(truth, PAIR_SNR_DB), pairs_of(truth, -np.inf)
    true, known = touched(flagged, pairs), touched(flagged, any_pairs)
    false, found = int((~known).sum()), touched(pairs, flagged)
    total = int(true.sum()) + false
    return {
        "pairs": len(pairs), "flagged": len(flagged),
        "precision": int(true.sum()) / total if total else np.nan,
        "recall": float(found.mean()) if len(pairs) else np.nan,
    }  # fmt: skip


def call_counts(events: pd.DataFrame, truth: pd.DataFrame, labels: tuple) -> dict:
    """The truth's number of audible calls beside the sum of the events' `n_calls`."""
    audible = truth[truth["audible"].astype(bool) & truth["label"].isin(labels)]
    out = {"truth": len(audible), "events": len(events), "n_calls": MISSING, "error": MISSING}
    if "n_calls" in events:
        total = float(events["n_calls"].sum())
        error = (total - len(audible)) / max(len(audible), 1)
        out |= {"n_calls": total, "error": error, "error_size": abs(error)}
    else:
        out["labels_of_events"] = len(by_label(events))
    return out
