"""Every figure of a results folder once more, from its tables alone: nothing in `metrics.json` has to be believed.

    again, missing = recomputed("results/watkins_beluga")
    differences("results/watkins_beluga")      # [] when all is as it says
"""
from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd

from training.evaluate import (
    call_labels,
    evaluate_windows,
    false_windows_per_empty_hour,
    json_ready,
    judged_rows,
)
from training.false_alarms import noise_verdict
from training.thresholds import reliability

GIVEN = {"kind", "study", "simulated", "labels", "thresholds", "window_s", "step_s", "pool", "draws", "sizes", "settings", "noise"}  # chosen or measured, not computed from predictions
BESIDE = ("baseline", "peer", "int8")  # methods judged on the same windows as the network
DEFAULT_WINDOW_S, DEFAULT_STEP_S = 1.0, 0.5  # of folders that do not say it


def recomputed(folder: str | Path) -> tuple[dict, list[str]]:
    """The metrics of a folder, computed from its tables; and the top-level keys of `metrics.json` that its tables do not hold (of older code)."""
    folder = Path(folder)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    predictions = pd.read_parquet(folder / "predictions.parquet")
    labels = tuple(metrics["labels"])
    if metrics.get("kind") == "clips":
        from training.clip_experiment import metrics_of

        return json_ready(metrics_of(predictions, labels, metrics["pool"], metrics["window_s"], metrics["step_s"], metrics["draws"])), []
    if metrics.get("kind") == "detections":
        from training import detection_verdict

        return json_ready(detection_verdict.metrics_of(detection_verdict.read_tables(folder), metrics["settings"]["limits"], metrics["draws"])), []
    if metrics.get("kind") == "contest":
        from training.contest_verdict import contest_metrics

        return json_ready(contest_metrics(predictions, metrics)), []
    if metrics.get("kind") == "humpback":
        from training import humpback_verdict

        return json_ready(humpback_verdict.metrics_again(folder, predictions, metrics)), []
    if metrics.get("kind") == "study":
        from training.study import study_metrics

        return json_ready(study_metrics(predictions, metrics)), []
    again, missing = windows_again(predictions, metrics, labels), []
    for method in BESIDE:
        if method in metrics and f"{method}_{labels[0]}" not in predictions:
            missing.append(method)
    if "events" in metrics:
        from training.event_verdict import event_verdict

        events, truth, recordings = (pd.read_parquet(folder / f"{name}.parquet") for name in ("events", "truth", "recordings"))
        again["events"] = event_verdict(events, truth, recordings, call_labels(labels))
    return json_ready(again), missing


def windows_again(predictions: pd.DataFrame, metrics: dict, labels: tuple) -> dict:
    """What `training.experiment.verdict` and `beside` wrote."""
    again, window_s, step_s = {}, metrics.get("window_s", DEFAULT_WINDOW_S), metrics.get("step_s", DEFAULT_STEP_S)
    for split in ("validation", "test"):
        part = judged_rows(predictions, split)
        again[split] = evaluate_windows(part, metrics["thresholds"], labels)
        again[split]["false_windows_per_empty_hour"] = false_windows_per_empty_hour(part, metrics["thresholds"], labels, window_s, step_s)
    again |= noise_verdict(predictions, metrics["thresholds"], labels, window_s, step_s)
    test = judged_rows(predictions, "test")
    again["reliability"] = {label: reliability(test[f"prob_{label}"].to_numpy(), test[f"target_{label}"].to_numpy()) for label in labels}
    for method in BESIDE:
        if method in metrics and f"{method}_{labels[0]}" in predictions:
            swapped = test.assign(**{f"prob_{label}": test[f"{method}_{label}"] for label in labels})
            again[method] = evaluate_windows(swapped, metrics[method]["thresholds"], labels)
    return again


def differences(folder: str | Path, tolerance: float = 1e-6, found: tuple[dict, list[str]] | None = None) -> list[str]:
    """Where `metrics.json` and what its tables give do not agree: "test/all/ECHO/f1: 0.9 in metrics.json, 0.8 again". Figures that only newer code computes do not count.

    `found`: what `recomputed` gave, where it was asked already.
    """
    metrics = json.loads((Path(folder) / "metrics.json").read_text(encoding="utf-8"))
    again, missing = found or recomputed(folder)
    said = {key: value for key, value in metrics.items() if key not in GIVEN and key not in missing}
    return list(unlike(said, again, "", tolerance))


def unlike(said, again, where: str, tolerance: float):
    """Paths at which two nested values differ."""
    if isinstance(said, dict):
        for key, value in said.items():
            if where and key in GIVEN:
                continue
            here = f"{where}/{key}" if where else key
            if not isinstance(again, dict) or key not in again:
                yield f"{here}: not to be had from the tables"
            else:
                yield from unlike(value, again[key], here, tolerance)
    elif isinstance(said, list):
        if not isinstance(again, list) or len(said) != len(again):
            yield f"{where}: {said} in metrics.json, {again} again"
        else:
            for k, (one, other) in enumerate(zip(said, again)):
                yield from unlike(one, other, f"{where}/{k}", tolerance)
    elif isinstance(said, float) and isinstance(again, (int, float)) and not isinstance(again, bool):
        if not math.isclose(said, again, rel_tol=tolerance, abs_tol=tolerance):
            yield f"{where}: {said} in metrics.json, {again} again"
    elif said != again:
        yield f"{where}: {said} in metrics.json, {again} again"
