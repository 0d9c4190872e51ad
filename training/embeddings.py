"""Any network as a frozen feature extractor: what a window turns into before the last map to the labels, and what a simple classifier makes of it.

    net, profile = backbone(spec, "resnet", "beluga_default")        # its trunk, trained on something else
    x = embeddings(net, WindowSet(data, rows, profile))              # (windows, size), float32
    scores = judged(of_clips(x, rows), target, groups, fold)         # linear probe and nearest neighbours, each clip judged by clips of other folds

Nothing of the network is trained here. Both classifiers see only clips of the other folds, and the probe chooses its shrinkage on groups within these. Whoever shows such figures shows the same
network with weights drawn by chance beside them, and the plain descriptors: what is not above both has brought nothing along.

| weights | what |
| --- | --- |
| random | drawn from the seed, never trained |
| an experiment's name | the trunk of the model in `results/NAME`, whatever bands it was trained on (`training.merge.take_trunk`); for other networks than the own ResNet all that fits |
| published | of timm or transformers, from the hub or its cache |

Sources: Alain & Bengio 2016, arXiv:1610.01644 (linear probes); Hoerl & Kennard 1970, Technometrics 12, 55 (ridge regression); Hagiwara 2023, AVES, ICASSP (frozen audio embeddings for animal sounds).
"""
from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import nn

from preprocessing.splits import fold_numbers
from spectrogram.profile import Profile
from training.backbones import BadBackbone, make_net
from training.cook_nets import CookNet
from training.data import WindowSet
from training.descriptor_net import DescriptorNet
from training.merge import take_trunk
from training.model import MultiOutputResNet
from training.saved import find_folder, read_info, weights_of
from training.thresholds import sigmoid

BATCH = 64
RANDOM, PUBLISHED = "random", "published"
PROBE, NEIGHBOURS = "linear probe", "nearest neighbours"
SHRINKAGES = (0.01, 0.1, 1.0, 10.0, 100.0)   # of the ridge regressions; the probe takes one of them
INNER_FOLDS, STEEPNESS = 3, 4.0
NEIGHBOUR_COUNT = 5


def backbone(name: str, profile: Profile, weights: str = RANDOM, width: int = 16, seed: int = 0) -> nn.Module:
    """A frozen network for windows of a profile, in evaluation mode.

    Parameters
    ----------
    name : as for `training.backbones.make_net`, or cook:alexnet and the like, of `training.cook_nets`. weights : see the table above. width : of the own ResNet.

    Raises
    ------
    BadBackbone
        where the network does not fit the profile's picture, or weights cannot be had or have nothing in common with it.
    """
    torch.manual_seed(seed)
    try:
        if name.startswith("cook:"):
            net = CookNet(name.removeprefix("cook:"), len(profile.labels), pretrained=weights == PUBLISHED)
        else:
            net = make_net(name + (":pretrained" if weights == PUBLISHED else ""), profile, width)
    except BadBackbone:
        raise
    except ValueError as error:  # a picture too small or too large for it
        raise BadBackbone(f"backbone {name}: {error}") from None
    if weights not in (RANDOM, PUBLISHED):
        trained = weights_of(find_folder(weights))
        taken = take_trunk(net, trained) if isinstance(net, MultiOutputResNet) else take_fitting(net, trained)
        if not taken:
            raise BadBackbone(f"backbone {name}: nothing in results/{weights} fits it ({read_info(find_folder(weights))['architecture']}); name an experiment with the same network and width")
    return net.eval().requires_grad_(False)


def take_fitting(net: nn.Module, weights: dict[str, torch.Tensor]) -> list[str]:
    """Copy every weight whose name and shape fit, but for the last map's; returns their names."""
    own, last = net.state_dict(), last_map(net)[0]
    taken = [name for name, value in weights.items() if name in own and own[name].shape == value.shape and not name.startswith(last + ".")]
    net.load_state_dict(own | {name: weights[name] for name in taken})
    return taken


def last_map(net: nn.Module) -> tuple[str, nn.Module]:
    """Name and module of the last layer with weights: the map to the labels in every network of `training.backbones` and `training.cook_nets`."""
    return [(name, module) for name, module in net.named_modules() if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d))][-1]


def embed(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """(batch, 1, bands, frames) normalised pictures -> (batch, size).

    The own ResNet: mean and highest value in time of the trunk, for each channel and row of bands. `DescriptorNet`: its descriptors. All others: what the last map gets.
    """
    with torch.inference_mode():
        if isinstance(net, MultiOutputResNet):
            seen = net.trunk(torch.relu(net.stem(x + net.band_offset)))     # (batch, channels, bands / 16, frames / 16)
            return torch.cat([seen.mean(dim=3), seen.amax(dim=3)], dim=1).flatten(1)
        if isinstance(net, DescriptorNet):
            return net.describe(x[:, 0].transpose(1, 2), net.limits[-1])
        heard: list[torch.Tensor] = []
        hook = last_map(net)[1].register_forward_pre_hook(lambda module, given: heard.append(given[0]))
        try:
            net(x)
        finally:
            hook.remove()
        return heard[-1].flatten(1)


def embeddings(net: nn.Module, windows: WindowSet) -> np.ndarray:
    """(windows, size) float32; on CUDA where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net, parts = net.to(device), []
    for first in range(0, len(windows), BATCH):
        x = windows.__getitems__(list(range(first, min(first + BATCH, len(windows)))))[0]
        parts.append(embed(net, x.to(device)).float().cpu().numpy())
    net.cpu()
    return np.concatenate(parts)


def spread_windows(manifest: pd.DataFrame, each: int) -> pd.DataFrame:
    """At most `each` windows of every recording, evenly over it."""
    number, count = manifest.groupby("recording").cumcount(), manifest.groupby("recording")["recording"].transform("size")
    slot = (number * each // count.clip(lower=each)).where(count > each, number)
    return manifest[~pd.concat([manifest["recording"], slot], axis=1).duplicated()].reset_index(drop=True)


def of_clips(x: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
    """(clips, size): the mean over the windows of each recording, in the order of their first windows."""
    return pd.DataFrame(x).groupby(rows["recording"].to_numpy(), sort=False).mean().to_numpy(np.float32)


# ---- classifiers on top


def judged(x: np.ndarray, target: np.ndarray, groups: np.ndarray, fold: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Scores from 0 to 1 (clips, labels) by each method, every clip judged by clips of other folds only.

    Parameters
    ----------
    x : (clips, size). target : (clips, labels), 0 or 1. groups : (clips,) what is whole within a fold, by which the probe's shrinkage is chosen. fold : (clips,).
    """
    out = {method: np.zeros(target.shape, np.float32) for method in (PROBE, NEIGHBOURS)}
    for number in np.unique(fold):
        test = fold == number
        known, asked = standardised(x[~test], x[test])
        out[PROBE][test] = probe(known, target[~test], groups[~test], asked, seed)
        out[NEIGHBOURS][test] = vote(known, target[~test], asked)
    return out


def standardised(known: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both by mean and deviation of what is known, nothing further away than 5 deviations; turned into the directions that the known span, which changes no distance and no probe among them."""
    centre, spread = known.mean(axis=0), known.std(axis=0) + 1e-6
    known, asked = (np.clip((part - centre) / spread, -5, 5).astype(float) for part in (known, asked))
    if known.shape[1] > len(known):  # more numbers than clips: a rotation to as many as there are clips
        _, _, axes = np.linalg.svd(known, full_matrices=False)
        known, asked = known @ axes.T, asked @ axes.T
    return known, asked


def probe(known: np.ndarray, target: np.ndarray, groups: np.ndarray, asked: np.ndarray, seed: int = 0) -> np.ndarray:
    """(asked, labels) scores of a ridge regression of the targets, 0 to 1 by a sigmoid that crosses one half where the regression does; of the shrinkage with the lowest squared error on
    groups held out of the known."""
    errors = np.zeros(len(SHRINKAGES))
    if len(np.unique(groups)) >= INNER_FOLDS:
        inner = fold_numbers(pd.DataFrame({"group": groups}), "group", INNER_FOLDS, None, seed).to_numpy()
        for number in range(INNER_FOLDS):
            here = inner == number
            errors += [np.square(answer - target[here]).sum() for answer in ridges(known[~here], target[~here], known[here], SHRINKAGES)]
    best = SHRINKAGES[int(np.argmin(errors))]
    return sigmoid(STEEPNESS * (ridges(known, target, asked, (best,))[0] - 0.5))


def ridges(known: np.ndarray, target: np.ndarray, asked: np.ndarray, shrinkages: tuple) -> list[np.ndarray]:
    """(asked, labels) of ridge regressions of 0/1 targets, one for each shrinkage, in units of the mean variance of the known's directions."""
    centre, share = known.mean(axis=0), target.mean(axis=0)
    left, spread, right = np.linalg.svd(known - centre, full_matrices=False)
    turned, wanted, unit = (asked - centre) @ right.T, left.T @ (target - share), np.mean(spread ** 2) + 1e-9
    return [turned @ (wanted * (spread / (spread ** 2 + shrinkage * unit))[:, None]) + share for shrinkage in shrinkages]


def similarity(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """(asked, known) cosine of the angle between embeddings."""
    known, asked = (part / (np.linalg.norm(part, axis=1, keepdims=True) + 1e-9) for part in (known, asked))
    return asked @ known.T


def vote(known: np.ndarray, target: np.ndarray, asked: np.ndarray, count: int = NEIGHBOUR_COUNT) -> np.ndarray:
    """(asked, labels): the share of a label among the nearest known clips, nearer ones counting more (1 + cosine)."""
    near = similarity(known, asked)
    nearest = np.argsort(-near, axis=1, kind="stable")[:, :count]
    weight = 1 + np.take_along_axis(near, nearest, axis=1)
    return (target[nearest] * weight[:, :, None]).sum(axis=1) / weight.sum(axis=1, keepdims=True)


def neighbours(x: np.ndarray, rows: pd.DataFrame, at: int, count: int = NEIGHBOUR_COUNT) -> pd.DataFrame:
    """The clips most like clip `at`, those of its own group left out: rows with `similarity`, nearest first."""
    known, _ = standardised(x, x[:1])
    near = similarity(known, known[at:at + 1])[0]
    other = (rows["group"] != rows["group"].iloc[at]).to_numpy()
    order = [k for k in np.argsort(-near, kind="stable") if other[k]][:count]
    return rows.iloc[order].assign(similarity=near[order].round(3))
