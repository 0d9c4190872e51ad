"""Several networks of the same shape as one: the mean of their answers, for the price of one file and one call.

Of the ResNet, the members' weights stand as blocks on the diagonal of a network that is as many times as wide; the heads take the mean. Positions
are averaged as logits before they are pooled to the window. `StatisticsNet` has room for members side by side. Lakshminarayanan et al. (2017): members that differ by their seed alone disagree most where
they know least, so their mean is calmer there.
"""
from __future__ import annotations

import torch
from torch import nn

from training.backbones import StatisticsNet
from training.model import MultiOutputResNet


def merge(nets: list[nn.Module]) -> nn.Module:
    """One network that answers the mean of the position logits of `nets` (all `MultiOutputResNet`, or all `StatisticsNet`), in evaluation mode.

    Raises
    ------
    ValueError
        if they differ in shape, or are so narrow that a wider stem would have other channels.
    """
    arguments = nets[0].arguments
    if any(net.arguments != arguments for net in nets):
        raise ValueError("networks of different shapes cannot be merged; train all members with the same settings")
    if len(nets) == 1:
        return nets[0].eval()
    parts = [net.state_dict() for net in nets]
    if isinstance(nets[0], StatisticsNet):
        merged = StatisticsNet(**(arguments | {"members": len(nets)}))
        merged.load_state_dict({name: value if value.dim() == 0 else torch.cat([part[name] for part in parts]) for name, value in parts[0].items()})
        return merged.eval()
    if not isinstance(nets[0], MultiOutputResNet):
        raise ValueError(f"{type(nets[0]).__name__} cannot be merged; train one member, or use the backbones resnet or statistics")
    merged = MultiOutputResNet(**(arguments | {"width": arguments["width"] * len(nets)}))
    ours = merged.state_dict()
    for name, value in ours.items():
        value.copy_(joined(name, [part[name] for part in parts], value))
    merged.load_state_dict(ours)
    return merged.eval()


def joined(name: str, values: list[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    """The members' tensors as one of the shape of `like`: heads side by side, per-channel values one after the other, the rest block by block."""
    if name.endswith("num_batches_tracked"):
        return values[0]
    if name.startswith("heads."):
        whole = torch.cat(values, dim=1) / len(values) if values[0].dim() > 1 else torch.stack(values).mean(dim=0)
    elif name == "band_offset":
        whole = torch.cat(values, dim=1)
    elif values[0].dim() == 1 or name == "stem.0.weight":  # the stem's input, the picture, is shared
        whole = torch.cat(values, dim=0)
    else:
        whole = torch.zeros_like(like)
        for k, value in enumerate(values):
            n_out, n_in = value.shape[:2]
            whole[k * n_out:(k + 1) * n_out, k * n_in:(k + 1) * n_in] = value
    if whole.shape != like.shape:
        raise ValueError(f"{name}: {len(values)} members of width {values[0].shape[0]} do not fill {tuple(like.shape)}; train members of width 16 or more")
    return whole


def take_trunk(net: nn.Module, weights: dict[str, torch.Tensor]) -> list[str]:
    """Copy every weight of the trunk (stem and residual blocks) whose name and shape fit, from another network; returns their names."""
    own = net.state_dict()
    taken = [name for name, value in weights.items() if name.startswith(("stem.", "trunk.")) and name in own and own[name].shape == value.shape]
    net.load_state_dict(own | {name: weights[name] for name in taken})
    return taken
