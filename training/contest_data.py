"""Pictures, ordinal series and sides of a contest's clips (`training.kaggle_clips`): what `training.contest` trains and judges on.

Folds are whole groups of neighbours; of what is not in the test fold, one group in `VALIDATION` is kept for choosing the epoch, the calibration and the threshold.
`sides_checked` looks for leaks before anything is trained: groups, the clips themselves, copies of their sound, and noised twins.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from preprocessing.dataset import DataSet, build_dataset, front_end_key
from preprocessing.duplicates import find_duplicates
from preprocessing.splits import fold_numbers
from spectrogram.profile import Profile
from training.clip_folds import folds_of
from training.complexity import ordinal_series
from training.data import WindowSet
from training.deployments import digest
from training.leaks import check_leaks, refuse_leaks
from training.noised import noised_data, noised_samples, read_samples, whole_clips
from training.spec import Experiment, Split

VALIDATION = 4
CLEAN = ("", np.nan)  # noise and SNR of a clip as it is


def conditions(experiment: Experiment) -> list[tuple[str, float]]:
    """Noise and SNR of each test set, the clips as they are first."""
    noised = experiment.noised or {"noises": [], "snr_db": []}
    return [CLEAN] + [(noise, float(snr)) for noise in noised["noises"] for snr in noised["snr_db"]]


def contest_data(clips: pd.DataFrame, profile: Profile, folder: Path, noise: str = "", snr_db: float = np.nan, seed: int = 0) -> DataSet:
    """One window a clip, as it is or noised. The folder's name tells front ends, clips and noises apart; finished pictures are kept."""
    key = digest([front_end_key(profile), profile.heads, profile.label_info, sorted(zip(clips["path"], clips["name"]))])
    place = folder / f"{profile.name}_{key}"
    if noise:
        return noised_data(clips, place.with_name(f"{place.name}_{noise}_{snr_db:g}_{seed}"), profile, noise, snr_db, seed)
    return build_dataset(clips.assign(split="all"), whole_clips(clips), place, profile, {"simulated": bool(clips["simulated"].all())}, padded=True)


def ordinal_rows(clips: pd.DataFrame, profile: Profile, noise: str = "", snr_db: float = np.nan, seed: int = 0) -> dict[str, np.ndarray]:
    """recording -> (frames, 4) ordinal series, less their middle for white noise, as they go below a picture."""
    out = {}
    for row in clips.itertuples():
        samples, recording = noised_samples(row, noise, snr_db, seed) if noise else read_samples(row.path)
        out[row.recording] = ordinal_series(samples, recording.sample_rate_hz, profile)
    return out


class SeriesSet(WindowSet):
    """Windows with four ordinal series as further rows below the bands: (batch, 1, bands + 4, frames)."""

    def __init__(self, data: DataSet, rows: pd.DataFrame, profile: Profile, how=None, seed: int = 0, series: dict[str, np.ndarray] | None = None):
        super().__init__(data, rows, profile, how, seed)
        self.series = series

    def __getitems__(self, numbers: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x, window, position = super().__getitems__(numbers)
        names = self.names[np.asarray(numbers) % len(self)]
        below = torch.from_numpy(np.stack([self.series[name].T for name in names]))[:, None]
        return torch.cat([x, below[..., :x.shape[3]]], dim=2), window, position


def sides_of(clips: pd.DataFrame, split: Split, seed: int) -> pd.DataFrame:
    """A column for each fold, "fold_0" ...: train, validation or test, by the table's index."""
    fold, out = folds_of(clips, split, seed).to_numpy(), {}
    by = "recording" if split.kind == "rows" else split.by
    for number in range(int(fold.max()) + 1):
        rest = clips[fold != number].reset_index(drop=True)
        kept = fold_numbers(rest, by, VALIDATION, "name", seed).to_numpy() == 0
        side = np.full(len(clips), "test", object)
        side[fold != number] = np.where(kept, "validation", "train")
        out[f"fold_{number}"] = side
    return pd.DataFrame(out, index=clips.index)


def sides_checked(clips: pd.DataFrame, experiment: Experiment, copies: pd.DataFrame | None = None) -> pd.DataFrame:
    """`sides_of`, refused where something lies on two sides. A noised twin is made of test clips alone and stands with the clip it was made from.

    `copies`: the table of `copies_of`, where it is known.

    Raises
    ------
    training.leaks.Leak
        unless the split is by rows, a leak for comparison.
    """
    sides = sides_of(clips, experiment.split, experiment.seed)
    clips = clips[["recording", "path", experiment.split.by]]  # no times: no clip overlaps another
    twins = [clips.assign(twin_of=clips["recording"])]
    where = [sides]
    for noise, snr_db in conditions(experiment)[1:]:
        twins.append(clips.assign(twin_of=clips["recording"], recording=clips["recording"] + f" + {noise} {snr_db:g} dB"))
        where.append(sides.where(sides == "test"))  # of the others no twin is made
    everything, where = pd.concat(twins, ignore_index=True), pd.concat(where, ignore_index=True)
    copies = copies_of(clips) if copies is None else copies
    leaks = check_leaks(everything, where, (experiment.split.by, "twin_of"), copies)
    refuse_leaks(leaks, allow=experiment.split.kind == "rows")
    return sides


def copies_of(clips: pd.DataFrame) -> pd.DataFrame:
    """Pairs of clips with the same samples."""
    return find_duplicates(clips[["recording", "path"]], near=False)
