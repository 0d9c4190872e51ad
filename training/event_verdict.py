"""The verdict on events: a pipeline's events on whole test recordings against the truth, by the half-coverage rule.

This room does not know the pipeline; it is handed in as a function:

    events = run_over(recordings, lambda path: run_pipeline_single_audio(path, model=model).events)
    metrics["events"] = event_verdict(events, truth, recordings, labels)
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from training.metrics import COVERAGE, bootstrap, covered_share, event_metrics, false_events_per_empty_hour, judge_events, mean_known

SNR_EDGES_DB = (6.0, 10.0, 15.0, 20.0, 30.0, np.inf)


def run_over(recordings: pd.DataFrame, run: Callable[[str], pd.DataFrame], progress: bool = True) -> pd.DataFrame:
    """Events of every recording (`recording`, `path`), named as the truth names them."""
    from tqdm.auto import tqdm

    parts = [run(row.path).assign(recording=row.recording) for row in tqdm(list(recordings.itertuples()), desc="events", disable=not progress)]
    full = [part for part in parts if len(part)]
    return pd.concat(full, ignore_index=True) if full else parts[0]


def event_verdict(events: pd.DataFrame, truth: pd.DataFrame, recordings: pd.DataFrame, labels: tuple, draws: int = 200, seed: int = 0) -> dict:
    """Everything about events.

    Parameters
    ----------
    events, truth : as for `judge_events`. recordings : recording, duration_s, kind ("empty": nobody calls) and boats (bool).
    labels : the call labels.

    Returns
    -------
    Per label and macro precision, recall, F1 (`event_metrics`) of all recordings; the same under "without_boats" and "with_boats" (by recording);
    "recall_by_snr" {label: [{snr_low_db, snr_high_db, annotations, recall}]}; "false_per_empty_hour", "empty_hours" and "false_events" over all time
    in which nothing calls; "silent_recordings" the same on recordings without any call; "interval" of the macro F1, bootstrapped over recordings.
    """
    truth = truth[truth["recording"].isin(recordings["recording"])]
    out = event_metrics(events, truth, labels)
    for name, boats in (("without_boats", False), ("with_boats", True)):
        mine = recordings.loc[recordings["boats"].astype(bool) == boats, "recording"]
        out[name] = event_metrics(events[events["recording"].isin(mine)], truth[truth["recording"].isin(mine)], labels)
    _, annotations = judge_events(events, truth, labels)
    annotations = annotations[annotations["audible"].astype(bool)]
    out["recall_by_snr"] = {label: _recall_by_snr(annotations[annotations["label"] == label]) for label in labels}
    empty = false_events_per_empty_hour(events, truth, recordings, labels)
    silent = recordings[recordings["kind"] == "empty"]
    out |= {"false_per_empty_hour": empty["per_hour"], "empty_hours": empty["empty_hours"], "false_events": empty["false_events"],
            "silent_recordings": false_events_per_empty_hour(events, truth, silent, labels)}
    out["interval"] = {"macro_f1": _interval(events, truth, recordings, labels, draws, seed)}
    return out


def event_table(verdict: dict) -> pd.DataFrame:
    """Annotations, detections, precision, recall and F1 of each label and their mean, for reading."""
    columns = ["annotations", "detections", "precision", "recall", "f1"]
    labels = [name for name, value in verdict.items() if isinstance(value, dict) and "annotations" in value]
    return pd.DataFrame({label: verdict[label] for label in [*labels, "macro"]}).T.reindex(columns=columns)


def _recall_by_snr(annotations: pd.DataFrame) -> list[dict]:
    rows = []
    for low, high in zip(SNR_EDGES_DB, SNR_EDGES_DB[1:]):
        here = annotations[(annotations["snr_db"] >= low) & (annotations["snr_db"] < high)]
        rows.append({"snr_low_db": low, "snr_high_db": high, "annotations": len(here), "recall": float(here["found"].mean()) if len(here) else float("nan")})
    return rows


def _interval(events, truth, recordings, labels, draws, seed) -> tuple[float, float]:
    """95 % interval of the macro F1 over recordings drawn with replacement, from each recording's counts."""
    names = recordings["recording"].to_numpy()
    counts = np.zeros((len(names), len(labels), 4))  # true, false, found, annotations
    detections, annotations = judge_events(events, truth, labels)
    annotations = annotations[annotations["audible"].astype(bool)]
    for k, label in enumerate(labels):
        mine, calls = detections[detections["label"] == label], annotations[annotations["label"] == label]
        for j, values in enumerate((mine["recording"][mine["verdict"] == "true"], mine["recording"][mine["verdict"] == "false"],
                                    calls["recording"][calls["found"]], calls["recording"])):
            counts[:, k, j] = pd.Series(names).map(values.value_counts()).fillna(0)

    def macro_f1(rows: np.ndarray) -> float:
        true, false, found, total = counts[rows].sum(axis=0).T
        with np.errstate(invalid="ignore", divide="ignore"):
            precision, recall = true / (true + false), found / total
            return mean_known(2 * precision * recall / (precision + recall))

    return bootstrap(names, macro_f1, draws, seed)


def choose_on(events: pd.DataFrame, truth: pd.DataFrame, recordings: pd.DataFrame, thresholds: dict, labels: tuple, most_false_per_hour: float = 2.5) -> dict:
    """Thresholds with each label's `on` chosen on validation events: highest event F1 with no more false events than asked, per empty hour.

    Parameters
    ----------
    events : of a run with `on` = `off`. Hysteresis keeps a stretch when its highest probability reaches `on`, so a higher `on` just
        drops the events whose score lies below it, and one run serves all.
    """
    chosen = {label: dict(values) for label, values in thresholds.items()}
    detections, annotations = judge_events(events, truth, labels)
    annotations = annotations[annotations["audible"].astype(bool)]
    for label in labels:
        mine = detections[detections["label"] == label]
        calls = annotations[annotations["label"] == label]
        score = mine[f"score_{label}"].to_numpy(float)
        best = (-1.0, thresholds[label]["on"])
        for on in np.unique(np.clip(np.quantile(score, np.linspace(0, 1, 60)) if len(score) else [thresholds[label]["on"]], thresholds[label]["off"], 1)):
            kept = mine[score >= on]
            true, false = (int((kept["verdict"] == verdict).sum()) for verdict in ("true", "false"))
            recall = _recall(calls, kept)
            precision = true / max(true + false, 1)
            empty = false_events_per_empty_hour(kept, truth, recordings, (label,))
            f1 = 2 * precision * recall / max(precision + recall, 1e-9)
            if (f1 > best[0]) and not empty["per_hour"] > most_false_per_hour:
                best = (f1, float(on))
        chosen[label]["on"] = best[1]
    return chosen


def lowest(thresholds: dict) -> dict:
    """The thresholds with every `on` at its `off`: what `choose_on` wants the events of."""
    return {label: values | {"on": values["off"]} for label, values in thresholds.items()}


def _recall(calls: pd.DataFrame, kept: pd.DataFrame) -> float:
    """Share of the calls of which half is covered by the kept detections."""
    found_in = dict(tuple(kept.groupby("recording")))
    found = sum(int((covered_share(part[["start_s", "end_s"]].to_numpy(), found_in[name][["start_s", "end_s"]].to_numpy()) >= COVERAGE).sum())
                for name, part in calls.groupby("recording") if name in found_in)
    return found / max(len(calls), 1)
