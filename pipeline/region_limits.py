"""From which probability a region of interest carries a label, chosen by the events that come of it on validation recordings.

    model = with_region_limits(model, data)         # a model with a region head, the data set that it was calibrated on
    python -m pipeline.region_limits results/NAME DATA_SET_FOLDER

Regions are not events: a whistle's harmonics are regions of their own and one call, and a region named twice over is one false event. So each label's limit is that of
the best F1 of events (half-coverage rule, `training.metrics`) over recordings with calls, or, where that surely gives more alarms an hour than MOST_FALSE in sound in which no
animal calls (recorded noise and simulated, each by itself), the lowest that does not. Surely: the 95 % interval of the rate (Garwood 1936) lies above it; of some minutes of
noise a single alarm would tell nothing. False events that follow each other within SERIES_S are one alarm: a sonar that transmits again is one thing to be told from a whale.
"""
from __future__ import annotations

import argparse
import sys
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pipeline.events import event_rows, event_table
from pipeline.naming import Namer
from pipeline.spans import Span, SpanCutter
from preprocessing.dataset import DataSet
from training.false_alarms import poisson_interval
from training.metrics import event_metrics, judge_events
from training.regions import call_labels, heard
from training.saved import SavedModel, load_model, save_regions

LIMITS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98)
MOST_FALSE = 20.0  # alarms of a label an hour in which nobody calls
SERIES_S = 10.0
QUIET = ("noise", "empty")  # kinds of recordings


@dataclass
class Named:
    """A whole recording as one span, all its regions with their probabilities."""

    recording: str
    span: Span
    namer: Namer

    def events(self, limits: dict[str, float]) -> list[dict]:
        """Rows of its events where regions carry a label from these probabilities on."""
        regions = self.span.regions
        least = np.array([limits.get(label, np.inf) for label in self.namer.labels])
        namer = copy(self.namer)
        namer.limits = least
        with np.errstate(invalid="ignore"):
            span = replace(self.span, regions=replace(regions, named=regions.prob >= least))
        return [row | {"recording": self.recording} for row in event_rows(span, namer)]


def named_recordings(model: SavedModel, data: DataSet, rows: pd.DataFrame) -> list[Named]:
    """Every recording of these manifest rows, heard once."""
    from tqdm.auto import tqdm

    profile, out = model.profile, []
    for row in tqdm(list(rows.drop_duplicates("recording").itertuples()), desc="regions", leave=False):
        nyquist_hz = row.sample_rate_hz / 2
        sound = heard(model, np.array(data.picture(row.picture)), nyquist_hz)
        namer = Namer(profile, model.thresholds, nyquist_hz, model.regions, profile.labels)
        cutter = SpanCutter(profile, namer, sound.trace_rate_hz, sound.cell_rate_hz)
        _, spans = cutter.push(sound.trace, sound.mean, sound.peak, sound.boxes, np.inf, final=True)
        out += [Named(row.recording, span, namer) for span in spans]
    return out


def events_of(recordings: list[Named], limits: dict[str, float], model: SavedModel) -> pd.DataFrame:
    """Their events in one table, with `recording`."""
    rows = [row for recording in recordings for row in recording.events(limits)]
    return event_table(rows, model.profile).assign(recording=[row["recording"] for row in rows])


def choose(model: SavedModel, data: DataSet, rows: pd.DataFrame, most_false: float = MOST_FALSE) -> tuple[dict, dict]:
    """Limits of the labels, and what they do on these recordings: {label: {precision, recall, false_per_hour {kind: per hour}}}.

    Parameters
    ----------
    rows : of the data set's manifest; the validation recordings. most_false : alarms of a label an hour in which nobody calls.
    """
    recordings = rows.drop_duplicates("recording").set_index("recording")
    recordings = recordings.assign(kind=recordings["kind"] if "kind" in recordings else "", unknown=recordings["unknown"] if "unknown" in recordings else "")
    animal = recordings["animal"].fillna(0).astype(bool) if "animal" in recordings else pd.Series(False, recordings.index)
    listed, labels = named_recordings(model, data, rows), call_labels(model.profile)
    truth = data.calls[data.calls["recording"].isin(recordings.index)]
    calling = recordings.index[~recordings["kind"].isin(QUIET)]
    hours = {kind: recordings.loc[(recordings["kind"] == kind) & ~animal, "duration_s"] / 3600 for kind in QUIET}
    tried = []
    for limit in LIMITS:
        events = events_of(listed, dict.fromkeys(labels, limit), model)
        metrics = event_metrics(events[events["recording"].isin(calling)], truth[truth["recording"].isin(calling)], labels)
        judged = judge_events(events, truth, labels)[0]
        false = judged[judged["verdict"] == "false"]
        tried.append({label: _figures(metrics[label], false[false["label"] == label], hours, recordings["unknown"], label) for label in labels})
    limits, told = {}, {}
    for label in labels:
        allowed = [i for i, figures in enumerate(tried) if all(poisson_interval(count, total)[0] <= most_false for count, total in figures[label]["quiet"].values())]
        best = max(allowed or [len(LIMITS) - 1], key=lambda i: (tried[i][label]["f1"], -LIMITS[i]))
        limits[label], found = LIMITS[best], tried[best][label]
        told[label] = {"precision": found["precision"], "recall": found["recall"], "false_per_hour": {kind: count / total for kind, (count, total) in found["quiet"].items()}}
    return limits, told


def _figures(metrics: dict, false: pd.DataFrame, hours: dict, unknown: pd.Series, label: str) -> dict:
    """precision, recall, f1 (0 where there is none) and quiet {kind: (alarms, hours)} of recordings of which it is known that the label is not in them."""
    quiet = {}
    for kind, lengths in hours.items():
        known = [name for name in lengths.index if label not in str(unknown[name]).split("+")]
        if lengths[known].sum() > 0:
            quiet[kind] = (_alarms(false[false["recording"].isin(known)]), float(lengths[known].sum()))
    return {name: float(np.nan_to_num(metrics[name])) for name in ("precision", "recall", "f1")} | {"quiet": quiet}


def _alarms(events: pd.DataFrame) -> int:
    """How many alarms these events are: those of a recording that begin within SERIES_S of the last one's end are one."""
    events = events.sort_values(["recording", "start_s"])
    begun = (events["recording"] != events["recording"].shift()) | (events["start_s"] > events["end_s"].shift() + SERIES_S)
    return int(begun.sum())


def with_region_limits(model: SavedModel, data: DataSet, rows: pd.DataFrame | None = None, most_false: float = MOST_FALSE) -> SavedModel:
    """The model with its region head's limits chosen by events of the validation split (or these rows of the manifest); itself where it has no region head."""
    if model.regions is None:
        return model
    limits, told = choose(model, data, data.rows(split="validation") if rows is None else rows, most_false)
    head = replace(model.regions, thresholds=limits, summary=model.regions.summary | {"events": told, "most_alarms_per_hour": most_false})
    thresholds = {label: values | ({"region": limits[label]} if label in limits else {}) for label, values in model.thresholds.items()}
    return replace(model, regions=head, thresholds=thresholds)


def main(words: list[str] | None = None) -> int:
    """Choose the limits of a saved model's region head by events, and put them there."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.region_limits", description=main.__doc__)
    parser.add_argument("model", help="folder of the model, or an experiment's name")
    parser.add_argument("data", help="folder of a data set made with the model's front end")
    parser.add_argument("--most-false", type=float, default=MOST_FALSE, help="alarms of a label an hour where nobody calls")
    options = parser.parse_args(words)
    model = with_region_limits(load_model(options.model), DataSet(options.data), most_false=options.most_false)
    if model.regions is None:
        parser.error(f"{options.model} has no region head; python -m training.regions fits one")
    print(save_regions(options.model, model.regions, model.profile.roi_bands))
    print(pd.DataFrame(model.regions.summary["events"]).T.to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main())
