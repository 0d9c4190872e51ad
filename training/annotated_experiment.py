"""Your own recordings and annotations as the data of an experiment:

    annotations: {recordings: /data/2022 BSM, table: "/data/2022 BSM/**/*.selections.txt", label_map: beluga, exhaustive: true}
    split: {kind: grouped, by: day, folds: 5}

| split | train, validation, test |
| --- | --- |
| given | by the column `split` of the table `about` (recording, split, site, ...) |
| grouped | whole values of `by`: the first of `folds` parts is test, the next validation |
| leave_one_out | the first value of `by` (or `held`) is test, the next validation |
| held_out_in_time | the last fifth is test, the fifth before it validation; recordings whole |

`exhaustive`: true, a list of recordings, or a CSV of recording, start_s, end_s, label. `false_alarms`: a detector's events (the pipeline's events.parquet); windows with those that are surely false
are hard negatives, drawn `hard_negatives` times as often as others. Relative paths are below the data folder (`SEA_CANARY_DATA`). Recordings that hold the same sound, copied or recorded twice, are found first: folds keep them together. What then still
lies on two sides (a source, a sound, a time at one site) is an error before anything is trained, unless `allow: [same sound]` names its kind.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.annotated import annotated_dataset
from preprocessing.annotations import read_annotations
from preprocessing.dataset import DataSet, front_end_key
from preprocessing.duplicates import find_duplicates
from preprocessing.label_map import LabelMap, same_labels
from preprocessing.recordings import describe, list_recordings
from preprocessing.splits import grouped_folds, held_out_in_time, leave_one_out
from spectrogram.profile import Profile, load_profile
from training.deployments import digest
from training.evaluate import VESSEL, call_labels
from training.leaks import check_leaks, refuse_leaks
from training.spec import BadExperiment, Experiment, check_keys

KEYS = ("recordings", "table", "label_column", "label_map", "exhaustive", "looked_for", "carry", "about", "held", "allow", "false_alarms")
COMPARED_HOURS = 24  # of more sound only exact copies are looked for
TRUTH = ["recording", "label", "start_s", "end_s", "snr_db", "audible", "kind"]


def annotated_data(spec: Experiment, profile: Profile, data_dir: Path) -> DataSet:
    """The data set of the experiment's recordings and annotations, each recording on its side of the split.

    Raises
    ------
    BadExperiment
        where `annotations` lacks or misspells a key, the split cannot be made, or a label cannot be learnt; training.leaks.Leak where the same thing is on two sides.
    """
    given = spec.annotations
    check_keys(given, list(KEYS), f"experiment {spec.name}, annotations")
    missing = {"recordings", "table"} - set(given)
    if missing:
        raise BadExperiment(f"experiment {spec.name}: annotations lacks {', '.join(sorted(missing))}; e.g. {{recordings: /data/2022, table: /data/2022/*.txt}}")
    recordings = list_recordings(placed(given["recordings"]))
    if given.get("about"):
        recordings = describe(recordings, placed(given["about"]))
    readable = recordings[recordings["fault"] == ""]
    same = find_duplicates(readable, near=readable["duration_s"].sum() / 3600 <= COMPARED_HOURS)
    recordings["split"] = sides(recordings, spec, same)
    groups = ["recording"] if spec.split.kind in ("given", "held_out_in_time") else ["recording", spec.split.by]
    refuse_leaks(check_leaks(recordings, recordings["split"], groups, same), given.get("allow") or ())
    key = digest([front_end_key(profile), profile.heads, {k: str(v) for k, v in given.items()}, dict(zip(recordings["recording"], recordings["split"]))])
    label_map = LabelMap.read(given["label_map"]) if given.get("label_map") else same_labels(tuple(dict.fromkeys([*load_profile(spec.profile).labels, *profile.labels])))
    if spec.labels is not None:  # the profile's other calls are then nothing to learn
        label_map = label_map.only(profile.labels)
    table = read_annotations(placed(given["table"]), recordings, given.get("label_column"))
    looked = given.get("exhaustive", False)
    looked = pd.read_csv(placed(looked)) if str(looked).lower().endswith(".csv") else looked
    events = pd.read_parquet(placed(given["false_alarms"])) if given.get("false_alarms") else None
    data = annotated_dataset(recordings, table, data_dir / "annotated" / f"{spec.name}_{key}", profile, label_map, looked,
                             given.get("looked_for"), events, tuple(given.get("carry") or ()), summary={"simulated": False, "same_sound": [f"{pair.a} and {pair.b}: {pair.kind}" for pair in same.itertuples()]})
    check_learnable(spec, data)
    return data


def check_learnable(spec: Experiment, data: DataSet) -> None:
    """Raise BadExperiment for a label of which the training recordings show nothing, or nothing else."""
    train, where = data.rows(split="train"), f"experiment {spec.name}"
    for label in data.profile.labels:
        target = train[f"target_{label}"]
        if not (target == 1).any():
            there = [other for other in data.profile.labels if (train[f"target_{other}"] == 1).any()]
            mend = f"name the labels to learn, labels: [{', '.join(there)}], or split otherwise" if there else (
                "the annotations say " + ", ".join(dict.fromkeys(str(row["before"]) for row in data.info["summary"]["labels"])) + "; name one of these, or give a label_map")
            raise BadExperiment(f"{where}: no call {label} in the {train['recording'].nunique()} recordings to train on; {mend}")
        if not (target == 0).any():
            raise BadExperiment(f"{where}: no window to train on is known to be without {label}; say which recordings were looked through from end to end, "
                                "annotations: {exhaustive: true} for all")


def sound_of_side(spec: Experiment, data: DataSet, split: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Recordings (with path, kind and boats) and truth of a side of the split, as `training.event_verdict` takes them.

    kind is "empty" where no call is annotated; what nobody looked through stands in the truth as inaudible, so that events there count neither way.
    """
    listed = list_recordings(placed(spec.annotations["recordings"]))
    mine = data.rows(split=split).drop_duplicates("recording")
    truth = data.calls.loc[data.calls["recording"].isin(mine["recording"]), TRUTH].reset_index(drop=True)
    with_call, with_boat = (set(truth["recording"][(truth["kind"] == "call") & truth["label"].isin(labels)]) for labels in (call_labels(data.profile.labels), (VESSEL,)))
    recordings = mine[[column for column in ("recording", "split", "site", "duration_s") if column in mine]].reset_index(drop=True)
    name = recordings["recording"]
    return recordings.assign(path=name.map(dict(zip(listed["recording"], listed["path"]))), kind=np.where(name.isin(with_call), "annotated", "empty"), boats=name.isin(with_boat)), truth


def placed(path: str) -> str:
    """A path as it is, or below the data folder where it is relative and not there."""
    if Path(path).is_absolute() or Path(path).exists():
        return str(path)
    from training.clips import data_folder

    return str(data_folder() / path)


def sides(recordings: pd.DataFrame, spec: Experiment, same: pd.DataFrame | None = None) -> pd.Series:
    """train, validation or test of each recording; grouped folds keep those together that share sound (`same`, of `find_duplicates`)."""
    split, where = spec.split, f"experiment {spec.name}"
    if split.kind == "given":
        if "split" not in recordings or not set(recordings["split"].dropna()) >= {"train", "validation", "test"}:
            raise BadExperiment(f"{where}: split kind `given` needs a table `about` with columns recording and split (train, validation, test); or choose kind: grouped")
        return recordings["split"]
    if split.kind == "rows":
        raise BadExperiment(f"{where}: split kind `rows` leaks and trains no model to keep; use study: leak to show it, or kind: grouped")
    if split.kind == "grouped":
        return grouped_folds(recordings, split.by, split.folds, seed=spec.seed, same=same)["fold_0"]
    if split.kind == "held_out_in_time":
        return held_out_in_time(recordings, group="recording")["in_time"]
    folds = leave_one_out(recordings, split.by, seed=spec.seed)
    held = str(spec.annotations.get("held") or folds.columns[0])
    if held not in folds:
        raise BadExperiment(f"{where}: {held!r} is no value of {split.by}; it has {', '.join(folds.columns)}")
    return folds[held]
