"""Simulated calls for a linear model on descriptors to learn from before it meets the clips: the pre-training of a model that has no trunk.

    simulated: {label: Beluga, share: 0.05, natural: 40, empty: 12}     # recordings of 30 s for each of the experiment's sites, with its seed

A ridge regression on simulated windows is a guess (mean and certainty of each weight) that a second one on recorded clips corrects; for a linear model that is the same as one
regression on both, the simulated windows at a weight. `share` is the weight of all simulated calls, and again of all simulated water without, where that of all clips is 1.

A simulated call counts where it begins below the profile's highest band; clicks, which are above, and boats do not, and are in neither.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.dataset import DataSet
from spectrogram.profile import Profile
from training.spec import Experiment
from training.spec_checks import SIMULATED

CALLS = ("HFPC", "BBPC", "Whistle")


def simulated_calls(spec: Experiment, profile: Profile, folder: str | Path) -> DataSet:
    """Windows of the simulated recordings that an experiment names, in its own front end, the calls that reach into its bands under its label; made where they are not in `folder` yet."""
    from training.deployments import data_name, plan_splits, simulated_dataset

    said = SIMULATED | spec.simulated
    plan = plan_splits({"train": {kind: said[kind] for kind in ("natural", "busy", "empty")}}, said["recording_s"], spec.seed, tuple(spec.sites), simulator=spec.simulator)

    def renamed(truth: pd.DataFrame) -> pd.DataFrame:
        return truth[truth["label"].isin(CALLS) & (truth["low_hz"] < profile.picture["high_hz"])].assign(label=said["label"])

    return simulated_dataset(plan, folder, data_name(profile, plan), profile, truth_as=renamed)


def beside_clips(spec: Experiment, profile: Profile, net, folder: str | Path):
    """`Descriptors` of the simulated windows, with their weights; windows that are only touched by a call, or hold a faint one, are left out."""
    from training.descriptor_fit import descriptors_of

    data = simulated_calls(spec, profile, folder)
    label = f"target_{spec.simulated['label']}"
    rows = data.manifest[data.manifest[label].notna()]
    known, called = descriptors_of(data, rows, profile, net), (rows[label] == 1).to_numpy()
    share = (SIMULATED | spec.simulated)["share"]
    known.weight = share * np.where(called, 1 / max(1, called.sum()), 1 / max(1, (~called).sum()))
    return known
