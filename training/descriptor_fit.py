"""The fit of a `DescriptorNet`: ridge regressions, without epochs or chance, the same from the same windows in a second.

The logit's scale is that of false alarms on sources that were not trained on: groups are left out in turn, and of the clips in them that do not carry a label, one in twenty
answers above 0 (probability one half). Answers of differently trained models are so brought to one scale without a look at what they are judged on.
Sources: Hoerl and Kennard (1970), Ridge regression, Technometrics 12, 55; Auckenthaler, Carey and Lloyd-Thomas (2000), Score normalization, Digital Signal Processing 10, 42.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from preprocessing.dataset import DataSet
from preprocessing.splits import fold_numbers
from spectrogram.picture import normalise
from spectrogram.profile import Profile
from training.descriptor_net import CLIPPED, DescriptorNet
from training.descriptors import count_of, parts_of
from training.evaluate import CHUNK, columns

SHRINKAGE = {"mean": 0.1, "deviation": 1.1, "modulation": 0.6, "tones": 0.1, "contrast": 0.1}  # of the regressions, in units of a descriptor's variance
INNER_FOLDS = 4
FALSE_ALARMS = 0.05    # of clips without the label answer above one half
STEEPNESS = 3.0        # logit between the median of such clips and that point


@dataclass
class Descriptors:
    """Descriptors of windows, {bands: (windows, count)}, a row of NaN where a window does not hold these bands; and targets (windows, labels).

    `beside`: windows that every fit learns from too, each at its `weight` where all others together weigh 1 (see `training.simulated_calls`).
    """

    values: dict[int, np.ndarray]
    target: np.ndarray
    weight: np.ndarray | None = None
    beside: "Descriptors | None" = None

    def of(self, chosen: np.ndarray) -> "Descriptors":
        """Those of some windows (a mask or indices), the same beside them."""
        return Descriptors({bands: values[chosen] for bands, values in self.values.items()}, self.target[chosen], beside=self.beside)

    def held(self, bands: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values, targets and weights of the windows that hold these bands."""
        here = np.isfinite(self.values[bands]).all(axis=1)
        return self.values[bands][here], np.nan_to_num(self.target[here]), self.weight[here]


def descriptors_of(data: DataSet, rows: pd.DataFrame, profile: Profile, net: DescriptorNet) -> Descriptors:
    """Descriptors of manifest rows, read in pieces."""
    parts: dict[int, list] = {bands: [] for bands in net.limits}
    for start in range(0, len(rows), CHUNK):
        picture = torch.from_numpy(normalise(data.windows(rows.iloc[start:start + CHUNK]), profile))
        highest = net.limit_of(picture)
        for k, bands in enumerate(net.limits):
            values = torch.full((len(picture), count_of(bands)), torch.nan)
            mine = (highest >= k).nonzero()[:, 0] if k else torch.arange(len(picture))
            if len(mine):
                with torch.inference_mode():
                    values[mine] = net.describe(picture[mine], bands)
            parts[bands].append(values.numpy())
    return Descriptors({bands: np.concatenate(part) for bands, part in parts.items()}, columns(rows, "target", profile.labels))


def logits_of(net: DescriptorNet, known: Descriptors) -> np.ndarray:
    """Window logits (n, labels), as the network gives them for the same windows."""
    out = np.zeros(known.target.shape, np.float32)
    for bands in net.limits:  # the most bands that a window holds decide
        holds = np.isfinite(known.values[bands]).all(axis=1)
        with torch.inference_mode():
            out[holds] = net.decide(bands, torch.from_numpy(known.values[bands][holds])).numpy()
    return out


def window_weights(rows: pd.DataFrame, target: np.ndarray) -> np.ndarray:
    """A weight for each window: every kind of clip (its labels, or none) counts as much, and within it a group counts as the square root of its windows."""
    kind = pd.Series(["".join("1" if v == 1 else "0" for v in row) for row in target])
    group = rows["group"].reset_index(drop=True)
    weight = 1 / np.sqrt(kind.groupby([kind, group]).transform("size"))
    weight = weight / weight.groupby(kind).transform("sum")
    return (weight / weight.sum()).to_numpy()


def shrinkage_of(n_bands: int) -> np.ndarray:
    """`SHRINKAGE` of each descriptor of so many bands: (count,)."""
    return np.concatenate([np.full(count, SHRINKAGE[part]) for part, count in parts_of(n_bands).items()])


def ridge(values: np.ndarray, target: np.ndarray, weight: np.ndarray, shrinkage: np.ndarray, beside: tuple | None = None) -> tuple[np.ndarray, ...]:
    """Centre, spread, weight (count, labels) and bias (labels) of a ridge regression of 0/1 targets on standardised descriptors. `beside`: values, targets and weights of more windows."""
    values, weight = values.astype(float), weight / weight.sum()
    if beside:
        values, target, weight = (np.concatenate(both) for both in zip((values, target, weight), beside))
        weight = weight / weight.sum()
    centre = weight @ values
    spread = np.sqrt(weight @ (values - centre) ** 2) + 1e-6
    z = np.clip((values - centre) / spread, -CLIPPED, CLIPPED)
    share = weight @ target
    scatter = (z * weight[:, None]).T @ z + np.diag(shrinkage)
    found = np.linalg.solve(scatter, (z * weight[:, None]).T @ (target - share))
    return centre, spread, found, share


def answers(found: tuple, values: np.ndarray) -> np.ndarray:
    """What a ridge regression says of descriptors: (n, labels)."""
    centre, spread, weight, bias = found
    return np.clip((values - centre) / spread, -CLIPPED, CLIPPED) @ weight + bias


def fit_descriptors(net: DescriptorNet, known: Descriptors, rows: pd.DataFrame, seed: int = 0, by: str = "group") -> DescriptorNet:
    """Fit every limit to the windows that hold it (`rows` of a manifest in the order of `known`); `by`: the column of the inner folds."""
    for bands, values in known.values.items():
        holds = np.isfinite(values).all(axis=1)
        mine, x, target = rows[holds].reset_index(drop=True), values[holds], np.nan_to_num(known.target[holds])
        more, shrinkage = known.beside and known.beside.held(bands), shrinkage_of(bands)
        centre, spread, weight, bias = ridge(x, target, window_weights(mine, target), shrinkage, more)
        zero, unit = false_alarm_scale(x, target, mine, shrinkage, seed, by, more)
        for name, value in (("centre", centre), ("spread", spread), ("weight", weight / unit), ("bias", (bias - zero) / unit)):
            getattr(net, f"{name}_{bands}").copy_(torch.from_numpy(np.asarray(value, np.float32)))
    return net.eval()


def false_alarm_scale(values: np.ndarray, target: np.ndarray, rows: pd.DataFrame, shrinkage: np.ndarray, seed: int, by: str, beside: tuple | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Where 0 and 1 of each label's logit lie: from clips without the label, each judged by a regression that knows nothing of its group."""
    clips = rows.drop_duplicates("recording")
    folds = min(INNER_FOLDS, clips[by].nunique())
    if folds < 2:
        return np.zeros(target.shape[1]), np.ones(target.shape[1])
    inner = fold_numbers(clips.reset_index(drop=True), by, folds, "name", seed, complete=False).to_numpy()
    fold = rows["recording"].map(dict(zip(clips["recording"], inner))).to_numpy()
    answer = np.zeros(target.shape)
    for k in range(folds):
        here = fold == k
        answer[here] = answers(ridge(values[~here], target[~here], window_weights(rows[~here], target[~here]), shrinkage, beside), values[here])
    pooled, truth = (pd.DataFrame(part).groupby(rows["recording"].to_numpy(), sort=False) for part in (answer, target))
    pooled, truth = pooled.mean().to_numpy(), truth.max().to_numpy()
    middle, edge = np.stack([np.quantile(p[t == 0] if (t == 0).any() else p, (0.5, 1 - FALSE_ALARMS)) for p, t in zip(pooled.T, truth.T)], axis=1)
    edge = np.where((truth == 1).any(axis=0), edge, middle + 1)  # a label that was never met: as unlikely as for the median clip
    return edge, np.maximum(edge - middle, 1e-3) / STEEPNESS
