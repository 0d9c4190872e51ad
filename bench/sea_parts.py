"""The parts of `bench.sea`: each makes or finds its sound, lets a model listen, gives figures."""
from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from bench import sea_sound
from bench.sea_figures import (
    MISSING,
    bound_errors,
    call_counts,
    constant_bounds,
    diphonic_figures,
    poisson_interval,
    positive_windows,
    windows_table,
)
from pipeline.flags import passes
from pipeline.single import run_pipeline_single_audio
from preprocessing.sea_clips import sea_clips
from spectrogram.recording import BadRecording
from training.evaluate import call_labels, evaluate_windows
from training.event_verdict import event_verdict
from training.metrics import bootstrap, judge_events, union
from training.species_score import PASS

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "output" / "sea"
MIX_EDGES_DB = (5, 10, 15, 20, 25)


class Sea:
    """A model and a split, and the runs made so far (each sound is heard once)."""

    def __init__(self, model, split: str, data: Path | None):
        self.model, self.split, self.data = model, split, data
        self.labels = call_labels(model.labels)
        self.heard: dict[str, tuple] = {}

    def hear(self, recordings: pd.DataFrame, title: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """(windows, events) of all recordings in two tables, named as `recordings` names them."""
        parts = []
        for row in tqdm(list(recordings.itertuples()), desc=title, unit="file"):
            if row.recording not in self.heard:
                try:
                    result = run_pipeline_single_audio(
                        row.path, self.model, name=row.recording, workers=1
                    )
                except BadRecording as error:
                    tqdm.write(str(error))
                    continue
                self.heard[row.recording] = (result.windows, result.events)
            parts.append(self.heard[row.recording])
        windows, events = zip(*parts)
        return _joined(windows), _joined(events)

    def clips(self) -> pd.DataFrame:
        """Real clips at whose rate at least one call label can be seen."""
        clips = sea_clips(self.data)
        lowest_hz = 2 * min(self.model.profile.label_min_nyquist_hz[x] for x in self.labels)
        return clips[clips["sample_rate_hz"] >= lowest_hz].reset_index(drop=True)

    def noise(self) -> pd.DataFrame:
        clips = self.clips()
        quiet = clips["kind"].isin(["noise", "fish"])
        return clips[quiet & (clips["part"] == self.split)].reset_index(drop=True)


def _joined(parts) -> pd.DataFrame:
    full = [part for part in parts if len(part)]
    return pd.concat(full, ignore_index=True) if full else parts[0]


def passing(events: pd.DataFrame):
    """Events that pass (`pipeline.flags.passes`); None where they carry no flags."""
    return events[passes(events)] if "flags" in events else None


def real(sea: Sea) -> dict:
    """False alarms by site and together; other whales of the split's sites."""
    clips, out = sea.clips(), {}
    own = clips[(clips["part"] == sea.split) & (clips["kind"] != "unknown")]
    windows, events = sea.hear(own, "real noise")
    own = own.assign(place=np.where(own["folder"] == "sanctsound", own["source"], own["folder"]))
    noise, whales = own[own["kind"].isin(["noise", "fish"])], own[own["kind"] == "whale"]
    trap = noise["folder"] == "soundtrap"
    sanctsound = noise["folder"] == "sanctsound"
    groups = {"all but SoundTrap": noise[~trap], "SanctSound": noise[sanctsound]}
    groups |= {f"site {place}": part for place, part in noise.groupby("place")}
    groups |= {"other whales of these sites": whales}
    for name, part in groups.items():
        if len(part):
            out[name] = _alarms(sea, part, windows, events)
    out["by sound"] = {
        sound: _alarms(sea, part, windows, events) for sound, part in noise.groupby("sound")
    }
    return out


def _alarms(sea: Sea, clips: pd.DataFrame, windows: pd.DataFrame, events: pd.DataFrame) -> dict:
    here = windows[windows["recording"].isin(clips["recording"])]
    events = events[events["recording"].isin(clips["recording"])]
    positive = positive_windows(here, sea.model.thresholds, sea.labels)
    seconds = float(clips["duration_s"].sum())
    hours, kept = seconds / 3600, passing(events)
    return {
        "clips": len(clips), "seconds": seconds, "windows": len(here),
        "windows_positive": float(positive.mean()),
        "clips_with_event": int(events["recording"].nunique()),
        "events": len(events), "per_hour": len(events) / hours,
        "per_hour_interval": poisson_interval(len(events), hours),
        "events_passing": MISSING if kept is None else len(kept),
        "passing_per_hour": MISSING if kept is None else len(kept) / hours,
        "labels": events["labels"].value_counts().to_dict(),
    }  # fmt: skip


def mixed(sea: Sea) -> dict:
    """Recall of calls in real noise, by label, maker and SNR, with intervals over clips."""
    noise = sea.noise()
    noise = noise[noise["sample_rate_hz"] >= sea_sound.LOWEST_MIX_RATE_HZ]
    noise = noise[noise["folder"] != "soundtrap"].reset_index(drop=True)
    recordings, truth = sea_sound.mixed(sea.split, noise, OUTPUT)
    _, events = sea.hear(recordings, "calls in real noise")
    _, calls = judge_events(events, truth, sea.labels)
    named = events.assign(labels="any") if len(events) else events
    calls["found_any"] = judge_events(named, truth.assign(label="any"), ("any",))[1]["found"]
    out = {"all": _recall(calls)}
    for label, part in calls.groupby("label"):
        out[label] = _recall(part)
        for maker, of_maker in part.groupby("maker"):
            out[f"{label}, {maker}"] = _recall(of_maker)
    for low, high in zip(MIX_EDGES_DB, MIX_EDGES_DB[1:]):
        for label, part in calls.groupby("label"):
            chosen = part["snr_db"].between(low, high, inclusive="left")
            out[f"{label}, {low}-{high} dB"] = _recall(part[chosen])
    return out


def _recall(calls: pd.DataFrame) -> dict:
    found, groups = calls["found"].to_numpy(float), calls["recording"].str.split("_", n=1).str[1]
    interval = bootstrap(groups.to_numpy(), lambda rows: float(found[rows].mean()))
    return {"calls": len(calls), "recall": float(found.mean()), "interval": interval,
            "recall_any_label": float(calls["found_any"].mean())}  # fmt: skip


def judged(sea: Sea, recordings: pd.DataFrame, truth: pd.DataFrame, title: str) -> dict:
    """Windows and events of simulated recordings against their truth."""
    windows, events = sea.hear(recordings, title)
    table = windows_table(windows, truth, recordings, sea.model.profile)
    of_windows = evaluate_windows(table, sea.model.thresholds, sea.model.labels)
    of_events = event_verdict(events, truth, recordings, sea.labels)
    out = {"recordings": len(recordings), "minutes": float(recordings["duration_s"].sum() / 60),
           "windows_macro_f1": of_windows["all"]["macro"]["f1"],
           "windows_interval": of_windows["interval"]["macro_f1"]}  # fmt: skip
    for part in ("without_boats", "with_boats"):
        if part in of_windows:
            out[f"windows_macro_f1_{part}"] = of_windows[part]["macro"]["f1"]
    out["windows_f1"] = {label: of_windows["all"][label]["f1"] for label in sea.labels}
    out["events_precision"] = of_events["macro"]["precision"]
    out["events_recall"] = of_events["macro"]["recall"]
    for part in ("precision", "recall", "annotations"):
        out[f"by_label_{part}"] = {label: of_events[label][part] for label in sea.labels}
    out["by_label_recall"]["least"] = float(np.nanmin(list(out["by_label_recall"].values())))
    out["false_per_empty_hour"] = of_events["false_per_empty_hour"]
    return out


def simulated(sea: Sea) -> dict:
    """New recordings of each version of the simulator."""
    out = {}
    for version in sea_sound.VERSIONS:
        made = sea_sound.simulated(sea.split, version, OUTPUT)
        name = f"version {version}"
        out[name] = MISSING if made is None else judged(sea, *made, f"simulated, {name}")
    return out


def unlike_sounds(sea: Sea) -> dict:
    """The unlike generator at three ranges of SNR."""
    out = {}
    for low_db, high_db in sea_sound.UNLIKE_SNR_DB:
        made = sea_sound.unlike_recordings(sea.split, (low_db, high_db), OUTPUT)
        out[f"{low_db}-{high_db} dB"] = judged(sea, *made, f"unlike, {low_db}-{high_db} dB")
    return out


def known_sounds(sea: Sea) -> dict[str, tuple]:
    """name -> recordings, truth of everything with an exact truth at 192 kHz."""
    made = {f"version {v}": sea_sound.simulated(sea.split, v, OUTPUT) for v in sea_sound.VERSIONS}
    made |= {f"version {v}, dense": sea_sound.simulated(sea.split, v, OUTPUT, dense=True)
             for v in sea_sound.VERSIONS}  # fmt: skip
    made["unlike, 10-20 dB"] = sea_sound.unlike_recordings(sea.split, (10, 20), OUTPUT)
    return {name: sound for name, sound in made.items() if sound is not None}


def bounds(sea: Sea) -> dict:
    """Bounds and constants, by sound."""
    out = {}
    for name, (recordings, truth) in known_sounds(sea).items():
        _, events = sea.hear(recordings, f"bounds, {name}")
        out[name] = {
            "errors": bound_errors(events, truth, sea.labels),
            "constants": constant_bounds(events, sea.model.profile),
        }
    return out


def diphonic_calls(sea: Sea) -> dict:
    """The flag and the count of calls, by sound."""
    out = {}
    for name, (recordings, truth) in known_sounds(sea).items():
        _, events = sea.hear(recordings, f"diphonic, {name}")
        out[name] = diphonic_figures(events, truth)
        if "dense" in name or "unlike" in name:
            out[name]["counts"] = call_counts(events, truth, sea.labels)
    return out


@contextlib.contextmanager
def emptied_regions():
    """The pipeline with no region of interest in any recording."""
    from ROI.detector import BOX, RoiDetector

    kept = {name: getattr(RoiDetector, name) for name in ("push_records", "finish_records")}
    for name, method in kept.items():

        def empty(self, *given, _method=method):
            return _method(self, *given)[:0] if given else np.zeros(0, BOX)

        setattr(RoiDetector, name, empty)
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(RoiDetector, name, method)


def regions(sea: Sea) -> dict:
    """Events of dense sound as it is, and with the regions emptied."""
    recordings, _ = sea_sound.simulated(sea.split, 1, OUTPUT, dense=True)
    before = sea.hear(recordings, "regions")[1]
    try:
        with emptied_regions():
            after = Sea(sea.model, sea.split, sea.data).hear(recordings, "regions emptied")[1]
    except AttributeError as error:
        return {"emptied": f"{MISSING}: {error}"}
    key = ["recording", "start_s", "end_s", "labels"]
    same = before[key].merge(after[key]) if len(after) else after
    return {"events": len(before), "events_emptied": len(after), "changed": len(before) - len(same)}


def watkins(sea: Sea) -> dict:
    """Real belugas and other animals: clips with an event, clips with an event that passes."""
    clips = sea.clips()
    animals = clips[clips["part"] == "animals"]
    _, events = sea.hear(animals, "animals")
    belugas, others = (animals[animals["kind"] == kind] for kind in ("beluga", "whale"))
    out = {"belugas": _answered(belugas, events), "other animals": _answered(others, events)}
    for source, part in belugas.groupby("source"):
        out[f"belugas, source {source}"] = _answered(part, events)
    out["others by species"] = {s: _answered(p, events) for s, p in others.groupby("sound")}
    out["others by source"] = {s: _answered(p, events) for s, p in others.groupby("source")}
    for name in ("with_event", "passing"):
        each = [o for o in out["others by source"].values() if o[name] != MISSING]
        mean = float(np.mean([o[name] / o["clips"] for o in each])) if each else MISSING
        out["other animals"][f"{name}_mean_of_sources"] = mean
    for name in ("passing", "passing_left_out"):
        if out["other animals"][name] != MISSING:
            out["other animals"][f"{name}_share"] = out["other animals"][name] / len(others)
    path = sea_sound.continuous(belugas, OUTPUT)
    result = run_pipeline_single_audio(path, sea.model, workers=1)
    length = (result.events["end_s"] - result.events["start_s"]).to_numpy()
    spans = result.events[["start_s", "end_s"]].to_numpy()
    joined = union(spans)
    whole_s = result.metadata["duration_s"]
    out["belugas without pause"] = {
        "seconds": whole_s, "events": len(result.events),
        "covered": float((joined[:, 1] - joined[:, 0]).sum() / whole_s),
        "longest_s": float(length.max()) if len(length) else 0.0,
    }  # fmt: skip
    return out


def _answered(clips: pd.DataFrame, events: pd.DataFrame) -> dict:
    """Clips with an event, with one that passes, and with one that passes by a species model that
    learnt from no clip of its source (the clip's score, its highest window's, stands for it)."""
    mine = events[events["recording"].isin(clips["recording"])]
    kept, scores = passing(mine), left_out_scores()
    out = {"clips": len(clips), "with_event": int(mine["recording"].nunique()),
           "passing": MISSING, "passing_left_out": MISSING}  # fmt: skip
    if kept is not None:
        out["passing"] = int(kept["recording"].nunique())
    if kept is not None and scores is not None:
        but_species = mine["flags"].str.replace("other_animal", "", regex=False)
        heard = mine[passes(mine.assign(flags=but_species))]["recording"].unique()
        out["passing_left_out"] = int(sum(not scores.get(name, np.nan) < PASS for name in heard))
    return out


def left_out_scores(folder: Path = ROOT / "results" / "beluga_species") -> dict | None:
    """recording -> score by a species model that knows nothing of its source; None: not kept."""
    path = folder / "predictions.parquet"
    if not path.is_file():
        return None
    table = pd.read_parquet(path, columns=["recording", "score"])
    return dict(zip(table["recording"], table["score"]))


MEASURES = {
    "real": real, "mixed": mixed, "simulated": simulated, "unlike": unlike_sounds,
    "bounds": bounds, "diphonic": diphonic_calls, "regions": regions, "watkins": watkins,
}  # fmt: skip
