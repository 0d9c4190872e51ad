"""Several networks of the same shape as one, which answers the mean of theirs: one file, one call.

Positions are averaged as logits before they are pooled to the window. Lakshminarayanan et al. (2017): members that differ by their seed alone disagree most
where they know least, so their mean is calmer there.
"""
from __future__ import annotations

import torch
from torch import nn

from training.backbones import StatisticsNet
from training.model import MultiOutputResNet


class ResNetEnsemble(nn.Module):
    """`members` networks side by side. Arguments as for `MultiOutputResNet`; answers as it does, in one piece and for overlapping windows."""

    def __init__(self, members: int, **arguments):
        super().__init__()
        self.members = nn.ModuleList(MultiOutputResNet(**arguments) for _ in range(members))
        self.arguments, self.tiles = {"members": members} | self.members[0].arguments, self.members[0].tiles

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Window logits (batch, labels) and position logits (batch, labels, positions) of (batch, 1, bands, frames)."""
        return self._mean([net(x)[1] for net in self.members])

    def forward_overlapping(self, tiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The same for windows that follow each other one tile on."""
        return self._mean([net.forward_overlapping(tiles)[1] for net in self.members])

    def _mean(self, answers: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        positions = torch.stack(answers).mean(dim=0)
        return self.members[0].pool(positions), positions

    def fused(self) -> "ResNetEnsemble":
        """A copy for inference; same outputs within rounding."""
        net = ResNetEnsemble(**self.arguments)
        net.members = nn.ModuleList(member.fused() for member in self.members)
        return net.eval()


ARCHITECTURES = {"ResNetEnsemble": ResNetEnsemble}  # what a saved model may name


def merge(nets: list[nn.Module]) -> nn.Module:
    """One network that answers the mean of the position logits of `nets` (all `MultiOutputResNet`, or all `StatisticsNet`), in evaluation mode.

    Raises
    ------
    ValueError
        if they differ in shape, or are of another kind.
    """
    arguments = nets[0].arguments
    if any(net.arguments != arguments for net in nets):
        raise ValueError("networks of different shapes cannot be merged; train all members with the same settings")
    if len(nets) == 1:
        return nets[0].eval()
    if isinstance(nets[0], StatisticsNet):
        parts = [net.state_dict() for net in nets]
        merged = StatisticsNet(**(arguments | {"members": len(nets)}))
        merged.load_state_dict({name: value if value.dim() == 0 else torch.cat([part[name] for part in parts]) for name, value in parts[0].items()})
        return merged.eval()
    if not isinstance(nets[0], MultiOutputResNet):
        raise ValueError(f"{type(nets[0]).__name__} cannot be merged; train one member, or use the backbones resnet or statistics")
    merged = ResNetEnsemble(len(nets), **arguments)
    for member, net in zip(merged.members, nets):
        member.load_state_dict(net.state_dict())
    return merged.eval()


def take_trunk(net: nn.Module, weights: dict[str, torch.Tensor]) -> list[str]:
    """Copy every weight of the trunk (stem and residual blocks) whose name and shape fit, from another network; returns their names."""
    own = net.state_dict()
    taken = [name for name, value in weights.items() if name.startswith(("stem.", "trunk.")) and name in own and own[name].shape == value.shape]
    net.load_state_dict(own | {name: weights[name] for name in taken})
    return taken
