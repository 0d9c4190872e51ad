"""The network: a slim residual trunk over a picture of one window, several outputs, an answer at every position in time.

    picture (batch, 1, bands, frames) -> trunk -> (batch, channels, bands / 16, frames / 8)
    -> mean and maximum over frequency -> (batch, features, positions) -> one small convolution in time
    -> heads -> logit of each label at each position (24 a second for the beluga)
    -> logit of the window = log of the mean of exp(sharpness * logit) over positions / sharpness

The log-mean-exp (Pinheiro & Collobert 2015) lies between mean and maximum, so a 50-ms call can carry a one-second
window, and the trace of the positions says when the call was. A learnt offset for each band row lets the trunk, which
otherwise treats all frequencies alike, know where it looks. Residual blocks: He et al. 2016.

>>> net = MultiOutputResNet({"hf_call": ["ECHO", "HFPC", "BBPC"], "whistle": ["Whistle"], "vessel": ["Boat"]}, n_bands=96)
>>> window, position = net(torch.zeros(2, 1, 96, 192))
>>> tuple(window.shape), tuple(position.shape)
((2, 5), (2, 5, 24))
"""
from __future__ import annotations

import copy
import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

FRAMES_PER_POSITION = 8  # the trunk's stride in time
STAGE_STRIDES = ((2, 2), (2, 2), (2, 1))  # (frequency, time) of each stage's first block; the stem has (2, 2) too


def conv_bn(n_in: int, n_out: int, kernel, stride=(1, 1)) -> nn.Sequential:
    """Convolution without bias, padded to keep the grid, then batch norm (which `fuse` folds away)."""
    kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
    conv = nn.Conv2d(n_in, n_out, kernel, stride, padding=tuple(k // 2 for k in kernel), bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n_out))


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut; the shortcut is a 1 x 1 convolution where the shape changes."""

    def __init__(self, n_in: int, n_out: int, stride: tuple[int, int]):
        super().__init__()
        self.first = conv_bn(n_in, n_out, 3, stride)
        self.second = conv_bn(n_out, n_out, 3)
        same = n_in == n_out and stride == (1, 1)
        self.shortcut = nn.Identity() if same else conv_bn(n_in, n_out, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class MultiOutputResNet(nn.Module):
    """One shared trunk, one head for each group of labels that can sound together.

    Parameters
    ----------
    heads : dict of head name -> labels; the outputs follow this order.
    n_bands : bands of the picture (any number from 16).
    width : channels of the first stage; the stem has half, the next stages two and four times as many.
    depth : residual blocks in each stage.
    dropout : share of features dropped before the heads, in training.
    sharpness : 1/logit; how near the window's logit lies to the highest position.
    """

    def __init__(self, heads: dict, n_bands: int, width: int = 16, depth: int = 1, dropout: float = 0.2, sharpness: float = 4.0):
        super().__init__()
        self.arguments = {"heads": {k: list(v) for k, v in heads.items()}, "n_bands": n_bands, "width": width,
                          "depth": depth, "dropout": dropout, "sharpness": sharpness}
        self.sharpness = sharpness
        stem_channels = max(8, width // 2)
        self.stem = conv_bn(1, stem_channels, 5, (2, 2))
        self.band_offset = nn.Parameter(torch.zeros(1, stem_channels, (n_bands + 1) // 2, 1))
        blocks, n_in = [], stem_channels
        for stage, stride in enumerate(STAGE_STRIDES):
            for block in range(depth):
                n_out = width * 2 ** stage
                blocks.append(ResidualBlock(n_in, n_out, stride if block == 0 else (1, 1)))
                n_in = n_out
        self.trunk = nn.Sequential(*blocks)
        self.neck = nn.Conv1d(2 * n_in, n_in, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({name: nn.Conv1d(n_in, len(labels), 1) for name, labels in heads.items()})
        for head in self.heads.values():
            nn.init.constant_(head.bias, -2.0)  # most seconds hold no call

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, 1, bands, frames) -> (batch, features, positions)."""
        x = F.relu(self.stem(x) + self.band_offset)       # (batch, stem, bands / 2, frames / 2)
        x = self.trunk(x)                                 # (batch, 4 width, bands / 16, frames / 8)
        x = torch.cat([x.mean(dim=2), x.amax(dim=2)], 1)  # (batch, 8 width, positions)
        return F.relu(self.neck(x))                       # (batch, 4 width, positions)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Window logits (batch, labels) and position logits (batch, labels, positions), labels in the order of the heads."""
        x = self.dropout(self.features(x))
        positions = torch.cat([head(x) for head in self.heads.values()], dim=1)
        return self.pool(positions), positions

    def pool(self, positions: torch.Tensor) -> torch.Tensor:
        """Window logit from position logits: log-mean-exp over the last axis."""
        r = self.sharpness
        return (torch.logsumexp(r * positions, dim=-1) - math.log(positions.shape[-1])) / r

    def fused(self) -> "MultiOutputResNet":
        """A copy for inference: batch norms folded into the convolutions; same outputs within rounding."""
        net = copy.deepcopy(self).eval()
        for module in list(net.modules()):
            if isinstance(module, nn.Sequential) and len(module) == 2 and isinstance(module[1], nn.BatchNorm2d):
                module[0], module[1] = fuse_conv_bn_eval(module[0], module[1]), nn.Identity()
        return net


def positions_of(n_frames: int) -> int:
    """Positions in time that the network answers for a picture of so many frames."""
    return math.ceil(n_frames / FRAMES_PER_POSITION)
