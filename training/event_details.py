"""What events say beyond label and time, against the truth: diphonic, how many calls, frequency bounds, start and end.

Tables as for `training.metrics.judge_events`: events (recording, start_s, end_s, labels, low_hz, high_hz, diphonic, n_calls) and truth (recording, label, start_s, end_s, low_hz, high_hz,
audible). Only calls that are audible count.
"""
from __future__ import annotations

import numpy as np
import pandas as pd

from training.metrics import by_label, share

PULSED, WHISTLE = ("HFPC", "BBPC"), "Whistle"
SHARE = 0.5       # of the shorter call that both sound, to be diphonic
LEAST_SHARED = 0.5  # of the shorter of event and call, to belong together
CONSTANT_HZ = 1.0


def diphonic_pairs(truth: pd.DataFrame) -> pd.DataFrame:
    """recording, start_s, end_s of each moment in which a whistle and a pulsed call, both audible, sound at once for half of the shorter."""
    rows = []
    for recording, calls in truth[truth["audible"].astype(bool)].groupby("recording"):
        pulsed = calls[calls["label"].isin(PULSED)]
        for whistle in calls[calls["label"] == WHISTLE].itertuples():
            start, end = np.maximum(pulsed["start_s"], whistle.start_s), np.minimum(pulsed["end_s"], whistle.end_s)
            shorter = np.minimum(pulsed["end_s"] - pulsed["start_s"], whistle.end_s - whistle.start_s)
            rows += [(recording, a, z) for a, z in zip(start[end - start >= SHARE * shorter], end[end - start >= SHARE * shorter])]
    return pd.DataFrame(rows, columns=["recording", "start_s", "end_s"])


def diphonic_metrics(events: pd.DataFrame, truth: pd.DataFrame) -> dict:
    """precision: of events that are said to be diphonic, the share that touches a true pair; recall: of true pairs, the share that such an event touches; with their counts."""
    said, pairs = events[events["diphonic"].astype(bool)], diphonic_pairs(truth)
    right, found = (sum(bool(_touching(row, other)) for row in one.itertuples()) for one, other in ((said, pairs), (pairs, said)))
    return {"events": len(said), "pairs": len(pairs), "precision": share(right, len(said)), "recall": share(found, len(pairs))}


def _touching(row, others: pd.DataFrame) -> int:
    mine = others[others["recording"] == row.recording]
    return int(((mine["start_s"] < row.end_s) & (mine["end_s"] > row.start_s)).sum())


def count_ratio(events: pd.DataFrame, truth: pd.DataFrame, labels: tuple) -> float:
    """Calls that the events count over audible calls of these labels; NaN without calls."""
    return share(int(events["n_calls"].sum()), int((truth["audible"].astype(bool) & truth["label"].isin(labels)).sum()))


def edge_errors(events: pd.DataFrame, truth: pd.DataFrame, labels: tuple) -> pd.DataFrame:
    """One row for each event of one label alone that belongs to one audible call of it alone: label, and found less true start_s, end_s, low_hz, high_hz."""
    calls, found = truth[truth["audible"].astype(bool)], by_label(events[~events["labels"].str.contains("+", regex=False)])
    edges, rows = ["start_s", "end_s", "low_hz", "high_hz"], []
    for (recording, label), mine in found[found["label"].isin(labels)].groupby(["recording", "label"]):
        true = calls[(calls["recording"] == recording) & (calls["label"] == label)]
        start, end = mine["start_s"].to_numpy()[:, None], mine["end_s"].to_numpy()[:, None]
        call_start, call_end = true["start_s"].to_numpy(), true["end_s"].to_numpy()
        shared = np.minimum(end, call_end) - np.maximum(start, call_start)
        together = shared >= LEAST_SHARED * np.minimum(end - start, call_end - call_start)
        touch = shared > 0
        for i, j in zip(*np.nonzero(together)):
            if touch[i].sum() == 1 and touch[:, j].sum() == 1:
                rows.append((label, *(mine[edges].to_numpy()[i] - true[edges].to_numpy()[j])))
    return pd.DataFrame(rows, columns=["label", *edges])


def median_errors(events: pd.DataFrame, truth: pd.DataFrame, labels: tuple) -> dict:
    """label -> median absolute error of start_s, end_s, low_hz, high_hz, and how many events were compared."""
    errors = edge_errors(events, truth, labels)
    return {label: part.drop(columns="label").abs().median().to_dict() | {"events": len(part)} for label, part in errors.groupby("label")}


def constant_bounds(events: pd.DataFrame, profile) -> float:
    """Share of events one of whose bounds is the border of a label's band or of an ROI band of the profile."""
    constants = np.array(sorted({hz for band in profile.label_band_hz.values() for hz in band} | {band[key] for band in profile.roi_bands for key in ("low_hz", "high_hz")}), float)
    near = (np.abs(events[["low_hz", "high_hz"]].to_numpy(float)[:, :, None] - constants) < CONSTANT_HZ).any(axis=(1, 2))
    return share(int(near.sum()), len(events))
