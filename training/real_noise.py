"""Recorded noise in an experiment on simulated calls: as windows without calls, and as what
simulated calls are put into.

    noise: {collection: sea_noise, share: 0.25}    # a file of preprocessing/collections
    noise: {recordings: /data/quiet, sites_from: folder, share: 0.25}   # a folder for each site
    recordings: {train: {natural: 40, real: 12}, ...}    # real: simulated calls in recorded noise

The recordings stand in the data set with `kind` noise, each in the split of its site. `share`: of
the windows drawn in training; within it every recording counts alike, however long, so that a
quarter of an hour does not swamp five-second clips. All keys of `preprocessing.noise_collection`
may be given in place of `collection`, and `other_animals` beside it. `judge_test: false` keeps the
sites of the test unheard until the last.

Where a collection's folders are not on this machine the experiment trains on simulated sound alone,
and says so (`real_noise: none`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.noise_collection import (
    KEYS,
    OTHER_ANIMALS,
    VESSEL,
    BadCollection,
    noise_table,
    read_collection,
)
from spectrogram.profile import Profile
from training.deployments import Background, digest
from training.false_alarms import NONE
from training.spec import BadExperiment, Experiment

SHARE = 0.25
LOWEST_RATE_HZ = 16_000  # of a background: below, little of the sea is left in it


def share_of_noise(spec: Experiment) -> float:
    """Share of the training windows that are recorded noise; 0 without."""
    return 0.0 if spec.noise is None else float(spec.noise.get("share", SHARE))


def noise_of(spec: Experiment, profile: Profile) -> pd.DataFrame | None:
    """The experiment's recordings of noise (`preprocessing.noise_collection.noise_table`); None
    where it has none, or they are not on this machine.

    Raises
    ------
    BadExperiment
        where the collection is faulty, or the user's own recordings are not there.
    """
    if spec.noise is None:
        return None
    from training.clips import data_folder

    where, given = (
        f"experiment {spec.name}, noise",
        {key: value for key, value in spec.noise.items() if key in KEYS},
    )
    try:
        collection = (
            read_collection(spec.noise["collection"])
            if "collection" in spec.noise
            else read_collection(given)
        )
        if "collection" in spec.noise and "other_animals" in spec.noise:
            collection = replace(collection, other_animals=spec.noise["other_animals"])
        try:
            root = data_folder()
        except BadExperiment:
            root = "."
        table = noise_table(collection, root, profile)
    except BadCollection as error:
        raise BadExperiment(f"{where}: {error}") from None
    missing = table.attrs["missing"]
    if missing and "collection" not in spec.noise:
        raise BadExperiment(
            f"{where}: {missing[0]}: no such folder; give one that is there, or leave noise out "
            f"to train on simulated sound alone"
        )
    if not spec.noise.get("judge_test", True):
        table = table[table["split"] != "test"].reset_index(drop=True)
    return table if len(table) else None


def backgrounds_of(noise: pd.DataFrame | None) -> dict[str, list[Background]]:
    """split -> clips that simulated calls are put into: those in which no animal is known or
    suspected to call, at `LOWEST_RATE_HZ` or more.
    """
    if noise is None:
        return {}
    doubtful = [bool(set(unknown.split("+")) - {"", VESSEL}) for unknown in noise["unknown"]]
    fast = noise["sample_rate_hz"] >= LOWEST_RATE_HZ
    fit = noise[fast & ~noise["animal"].astype(bool) & ~np.array(doubtful, bool)]
    stems = [Path(name).stem for name in fit["recording"]]
    counts = Counter(stem.casefold() for stem in stems)
    backgrounds: dict[str, list[Background]] = {}
    for row, stem in zip(fit.itertuples(), stems):
        sensitivity_db = None if pd.isna(row.sensitivity_db) else float(row.sensitivity_db)
        tag = f"{stem}_{digest(row.recording)}" if counts[stem.casefold()] > 1 else ""
        said = (row.recording, str(row.path), sensitivity_db, row.present, row.unknown, tag)
        backgrounds.setdefault(row.split, []).append(Background(*said))
    return backgrounds


def noise_key(noise: pd.DataFrame | None) -> str:
    """What must not change under a data set: which recordings, where they stand, what they say."""
    return (
        ""
        if noise is None
        else digest(
            noise[["recording", "split", "present", "unknown", "duration_s"]].values.tolist()
        )
    )


def noise_summary(spec: Experiment, noise: pd.DataFrame | None) -> dict | str:
    """What is written into the results: "none", or where the noise is from and how much of it is in
    each split.
    """
    if noise is None:
        return NONE
    groups = noise.groupby("split")
    return {
        "collection": str(
            spec.noise.get("collection")
            or spec.noise.get("recordings")
            or "given in the experiment"
        ),
        "share": share_of_noise(spec),
        "recordings": {split: len(part) for split, part in groups},
        "minutes": {
            split: round(float(part["duration_s"].sum()) / 60, 2) for split, part in groups
        },
        "sites": {split: sorted(part["site"].unique().tolist()) for split, part in groups},
        **noise.attrs,
    }


def truth_of(noise: pd.DataFrame, beyond_s: float = 0.0) -> pd.DataFrame:
    """Rows of truth of what is present throughout a recording, a vessel."""
    rows = [
        {
            "recording": row.recording,
            "label": label,
            "start_s": 0.0,
            "end_s": row.duration_s + beyond_s,
            "snr_db": 20.0,
            "audible": True,
            "call_id": "present",
            "group_id": "present",
        }
        for row in noise.itertuples()
        for label in row.present.split("+")
        if label
    ]
    return pd.DataFrame(
        rows,
        columns=[
            "recording",
            "label",
            "start_s",
            "end_s",
            "snr_db",
            "audible",
            "call_id",
            "group_id",
        ],
    )


def check_noise(experiment, where: str) -> None:
    """What an experiment says about noise can be done."""
    from training.spec_checks import check_keys

    where, noise = f"{where}, noise", experiment.noise
    if not isinstance(noise, dict) or not {"collection", "recordings", "folders"} & set(noise):
        raise BadExperiment(
            f"{where}: {noise!r}; give e.g. {{collection: sea_noise, share: 0.25}}, or "
            f"{{recordings: /data/quiet, sites_from: folder}}"
        )
    check_keys(noise, ["collection", "share", "judge_test", *KEYS], where)
    if "collection" in noise and (more := set(noise) & set(KEYS) - {"other_animals"}):
        raise BadExperiment(f"{where}: collection and {sorted(more)[0]}; give the one or the other")
    if (
        not isinstance(noise.get("share", SHARE), (int, float))
        or not 0 < noise.get("share", SHARE) < 1
    ):
        raise BadExperiment(
            f"{where}: share is {noise['share']!r}; give a number between 0 and 1, of the windows "
            f"drawn in training"
        )
    if noise.get("other_animals", "unknown") not in OTHER_ANIMALS:
        raise BadExperiment(
            f"{where}: other_animals is {noise['other_animals']!r}; one of "
            f"{', '.join(OTHER_ANIMALS)}"
        )
    if not isinstance(noise.get("judge_test", True), bool):
        raise BadExperiment(f"{where}: judge_test is {noise['judge_test']!r}; give true or false")
    if experiment.kind != "simulated":
        raise BadExperiment(
            f"{where}: only for experiments on simulated calls; recordings of your own bring "
            f"their own noise"
        )
    try:
        read_collection(
            noise["collection"]
            if "collection" in noise
            else {key: value for key, value in noise.items() if key in KEYS}
        )
    except BadCollection as error:
        raise BadExperiment(f"{where}: {error}") from None
