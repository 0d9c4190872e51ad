"""Windows of a data set as batches for training: shifted, augmented, normalised, the same for the same seed and epoch.

Whole batches are made at once (`__getitems__`), which is several times faster than window by window. What a batch is depends on (seed,
epoch, first index) and on nothing else, so a run that is resumed after an epoch, or that uses a worker process, sees the same batches.
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from preprocessing.dataset import DataSet, observable_labels, targets, unknown_labels
from preprocessing.noise_collection import NOISE
from spectrogram.picture import normalise
from spectrogram.profile import Profile
from training.augment import VESSEL, Augmentation, Batch, augment
from training.model import FRAMES_PER_POSITION, positions_of


class WindowSet(Dataset):
    """Windows of some manifest rows.

    Parameters
    ----------
    data, rows : a data set and rows of its manifest.
    profile : the front end to train for; its stored picture must be the data set's, its normalisation may differ.
    how : augmentation; None gives the windows as they stand in the manifest.
    """

    def __init__(self, data: DataSet, rows: pd.DataFrame, profile: Profile, how: Augmentation | None = None, seed: int = 0):
        self.data, self.rows, self.profile, self.how, self.seed = data, rows.reset_index(drop=True), profile, how, seed
        self.names, self.pictures = (self.rows[column].to_numpy(object) for column in ("recording", "picture"))
        self.start_frame = self.rows["start_frame"].to_numpy()
        self.observable = {rate: observable_labels(profile, rate) for rate in self.rows["sample_rate_hz"].unique()}
        self.rate_hz = self.rows["sample_rate_hz"].to_numpy()
        self.real = (
            (self.rows["kind"] == NOISE).to_numpy()
            if "kind" in self.rows
            else np.zeros(len(self.rows), bool)
        )
        said = (
            self.rows["unknown"].to_numpy(object)
            if "unknown" in self.rows
            else np.full(len(self.rows), None, object)
        )
        self.unknown, each = pd.factorize(said, use_na_sentinel=False)
        self.unknown_of = [unknown_labels(profile, names) for names in each]  # (labels,) bool each

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices, rng: np.random.Generator | None = None) -> Batch:
        """The windows of these rows as they are, or, given a generator and `how.shift`, up to half a step earlier or later."""
        length, half = self.profile.window_frames, self.profile.step_frames // 2
        pictures, windows, positions, snrs = [], [], [], []
        for i in indices:
            whole, start = self.data.picture(self.pictures[i]), int(self.start_frame[i])
            if rng is not None and self.how.shift:
                start = int(np.clip(start + rng.integers(-half, half + 1), 0, len(whole) - length))
            window, position, snr_db = self.targets_at(i, start)
            pictures.append(whole[start:start + length])
            windows.append(window), positions.append(position), snrs.append(snr_db)
        return Batch(np.stack(pictures), np.stack(windows), np.stack(positions), np.stack(snrs),
                     self.rate_hz[indices] / 2, self.real[indices])

    def targets_at(self, i: int, start_frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Window target (labels,), position target (labels, positions) and SNR (labels,) of the window that starts at this frame."""
        calls, p = self.data.calls_by_recording[self.names[i]], self.profile
        rate, start_s = p.frame_rate_hz, start_frame / p.frame_rate_hz
        near = calls[(calls["end_s"] > start_s) & (calls["start_s"] < start_s + p.window_s)]
        observable = self.observable[self.rate_hz[i]]
        unknown = self.unknown_of[self.unknown[i]]
        window, snr_db = targets(near, np.array([start_s]), p.window_s, p.labels, observable, unknown)
        starts = start_s + np.arange(positions_of(p.window_frames)) * FRAMES_PER_POSITION / rate
        position, _ = targets(near, starts, FRAMES_PER_POSITION / rate, p.labels, observable, unknown)
        return window[0], position.T, snr_db[0]

    def __getitems__(self, numbers: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A batch ready for the network. `numbers` are epoch * len(self) + index (see `EpochSampler`)."""
        epochs, indices = np.divmod(np.asarray(numbers), len(self))
        rng = np.random.default_rng((self.seed, int(epochs[0]), int(indices[0])))
        batch = self.batch(indices, rng if self.how else None)
        if self.how:
            batch = augment(batch, self.how, self.profile, rng)
        x = normalise(batch.picture_db, self.profile).transpose(0, 2, 1)[:, None]  # (batch, 1, columns, frames)
        return torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(batch.window), torch.from_numpy(batch.position)


class EpochSampler(Sampler):
    """A new order of the windows each epoch, from (seed, epoch); numbers carry the epoch to the data set.

    `per_epoch` limits an epoch to so many windows, drawn anew each time. `share` (size,): how often each window is drawn, with replacement.
    """

    def __init__(self, size: int, seed: int, per_epoch: int | None = None, share: np.ndarray | None = None):
        self.size, self.seed, self.epoch = size, seed, 0
        self.share = None if share is None else np.asarray(share, float) / np.sum(share)
        self.per_epoch = min(per_epoch or size, size) if share is None else per_epoch or size

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.per_epoch

    def __iter__(self):
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(self.size)[:self.per_epoch] if self.share is None else rng.choice(self.size, self.per_epoch, p=self.share)
        return iter((self.epoch * self.size + order).tolist())


def as_is(batch):
    """Collation for a data set that makes whole batches (a named function, so that worker processes can be started on Windows)."""
    return batch


def balanced(rows: pd.DataFrame, labels: tuple, group: str = "group") -> np.ndarray:
    """(rows,) shares that draw every combination of labels (none is one too) as often, and within it every value of `group` as often."""
    combination = (rows[[f"target_{label}" for label in labels]] == 1).to_numpy() @ (1 << np.arange(len(labels)))
    of_group = rows[group] if group in rows else rows["recording"]
    table = pd.DataFrame({"combination": combination, "group": of_group.to_numpy()})
    groups = table.groupby("combination")["group"].transform("nunique")
    windows = table.groupby(["combination", "group"])["group"].transform("size")
    return 1.0 / (groups * windows).to_numpy(float)


def half_calls(rows: pd.DataFrame, labels: tuple) -> np.ndarray:
    """(rows,) shares that draw windows with calls as often as windows without, and among the former every combination of call labels in the measure of the root of its number:
    at sea most time holds no call, and a rare call would hardly be seen."""
    calls = [f"target_{label}" for label in labels if label != VESSEL]
    combination = pd.Series((rows[calls] == 1).to_numpy() @ (1 << np.arange(len(calls))))
    size = combination.map(combination.value_counts()).to_numpy(float)
    share = np.where(combination == 0, 1 / size, size**-0.5)
    share[combination != 0] /= share[combination != 0].sum() or 1.0
    return share


DRAWN = {"none": None, "labels": balanced, "calls": half_calls}  # by `balance`


def loader(windows: WindowSet, batch_size: int, workers: int = 0, per_epoch: int | None = None, share: np.ndarray | None = None) -> DataLoader:
    """Batches in a new order each epoch if the windows are augmented, in the manifest's order otherwise."""
    sampler = EpochSampler(len(windows), windows.seed, per_epoch, share) if windows.how else None
    return DataLoader(windows, batch_size, sampler=sampler, collate_fn=as_is, num_workers=workers)


def with_normalisation(profile: Profile, normalisation: dict | None) -> Profile:
    """The profile with another normalisation of the picture (None: as it is)."""
    return profile if normalisation is None else replace(profile, picture=profile.picture | {"normalisation": normalisation})
