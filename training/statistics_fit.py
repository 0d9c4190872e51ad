"""Training of `StatisticsNet`: the statistics of all windows are computed once, then the two layers on top are fitted to them in seconds.

Windows are taken as they stand, and a second time as a recording at the lowest rate would show them (`band_limit_rates_hz` of the augmentation, if
`band_limit_share` is not 0), so that a masked band says nothing about the label. No other augmentation is applied.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from preprocessing.dataset import DataSet
from spectrogram.picture import normalise
from spectrogram.profile import Profile
from training.augment import Augmentation
from training.backbones import StatisticsNet, band_statistics
from training.data import DRAWN
from training.evaluate import CHUNK, columns
from training.fit import FitSettings
from training.losses import masked_bce


@dataclass
class Statistics:
    """Statistics (versions, windows, 9 * bands) and targets (versions, windows, labels) of the windows of a manifest: as they are, and at lower rates."""

    values: torch.Tensor
    target: torch.Tensor

    def of(self, chosen: np.ndarray) -> "Statistics":
        """Those of some windows (a mask or indices)."""
        return Statistics(self.values[:, chosen], self.target[:, chosen])


def statistics_of(data: DataSet, rows: pd.DataFrame, profile: Profile, how: Augmentation) -> Statistics:
    """Statistics of manifest rows, read in pieces."""
    rates = [None, *(how.band_limit_rates_hz if how.band_limit_share else ())]
    values, targets, target = [], [], columns(rows, "target", profile.labels)
    for rate_hz in rates:
        parts = []
        for start in range(0, len(rows), CHUNK):
            picture = data.windows(rows.iloc[start:start + CHUNK])
            if rate_hz:
                picture[:, :, ~profile.visible_bands(rate_hz / 2)] = np.nan
            x = np.ascontiguousarray(normalise(picture, profile).transpose(0, 2, 1))
            with torch.inference_mode():
                parts.append(band_statistics(torch.from_numpy(x)).clone())
        seen = [rate_hz is None or profile.observable(label, rate_hz / 2) for label in profile.labels]
        values.append(torch.cat(parts))
        targets.append(torch.from_numpy(np.where(seen, target, np.nan).astype(np.float32)))
    return Statistics(torch.stack(values).clone(), torch.stack(targets))


def fit_statistics(net: StatisticsNet, statistics: Statistics, rows: pd.DataFrame, labels: tuple, settings: FitSettings) -> StatisticsNet:
    """Fit the layers to windows (`rows` of a manifest, in the order of `statistics`) for a fixed number of epochs; the same for the same seed.

    An epoch is `windows_per_epoch` windows, drawn by `training.data.DRAWN`, each in a version drawn at random.
    """
    count = len(rows)
    draw = DRAWN[settings.balance]
    share = draw(rows, labels) if draw else np.ones(count)
    share = share / share.sum()
    rng = np.random.default_rng(settings.seed)
    torch.manual_seed(settings.seed)
    steps = settings.epochs * max(1, (settings.windows_per_epoch or count) // settings.batch_size)
    optimiser = torch.optim.AdamW(net.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=steps, pct_start=0.25)
    net.train()
    for _ in range(steps):
        window, version = rng.choice(count, settings.batch_size, p=share), rng.integers(0, len(statistics.values), settings.batch_size)
        target = statistics.target[version, window] * (1 - 2 * settings.smoothing) + settings.smoothing
        loss = masked_bce(net.decide(statistics.values[version, window]), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return net.eval()
