"""The network: a slim residual trunk over half-second tiles of a window, several outputs, an answer at every position in time.

    picture (batch, 1, columns, frames) -> `tiles` tiles -> trunk over the bands -> (batch * tiles, channels, bands / 16, frames / tiles / 16),
    and, where the picture has a crest, three convolutions in time over its peaks -> (batch * tiles, CREST_FEATURES, frames / tiles / 16)
    -> all frequencies and channels of a position to `features` features -> tiles joined again
    -> two convolutions in time, which see across the tiles -> heads -> logit of each label at each position (12 a second for the beluga)
    -> logit of the window = log of the mean of exp(sharpness * logit) over positions / sharpness

Windows overlap by half. A tile lies in two of them and is looked at once (`encode`); only what joins tiles (`decide`) is done for each
window. That halves the cost of a recording and changes no answer.

The log-mean-exp (Pinheiro & Collobert 2015) lies between mean and maximum, so a 50-ms call can carry a one-second
window, and the trace of the positions says when the call was. A learnt offset for each band lets the trunk, which
otherwise treats all frequencies alike, know where it looks. The stages' channels grow as 1 : 4 : 6: the first works on the finest grid and costs
most for each channel. Residual blocks: He et al. 2016.

>>> net = MultiOutputResNet({"hf_call": ["ECHO", "HFPC", "BBPC"], "whistle": ["Whistle"], "vessel": ["Boat"]}, n_bands=96)
>>> window, position = net(torch.zeros(2, 1, 96, 192))
>>> tuple(window.shape), tuple(position.shape)
((2, 5), (2, 5, 12))
"""
from __future__ import annotations

import copy
import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

FRAMES_PER_POSITION = 16  # the trunk's stride in time
EIGHTS = 8  # channels come in eights, as processors take them
CREST_FEATURES = 16


def conv_bn(n_in: int, n_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, padded to keep the grid, then batch norm (which `fused` folds away)."""
    conv = nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n_out))


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut; the shortcut is a 1 x 1 convolution where the shape changes."""

    def __init__(self, n_in: int, n_out: int, stride: int):
        super().__init__()
        self.first = conv_bn(n_in, n_out, 3, stride)
        self.second = conv_bn(n_out, n_out, 3)
        same = n_in == n_out and stride == 1
        self.shortcut = nn.Identity() if same else conv_bn(n_in, n_out, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class MultiOutputResNet(nn.Module):
    """One shared trunk, one head for each group of labels that can sound together.

    Parameters
    ----------
    heads : dict of head name -> labels; the outputs follow this order.
    n_bands : bands of the picture (any number from 16). crest : columns behind them that hold the crest's blocks of each frame, 4 or none.
    width : the stages have width / 2, 2 width and 3 width channels, the stem as many as the first stage, all rounded up to eights.
    depth : residual blocks in each stage.
    tiles : into how many tiles a window is cut; its frames must be a multiple of 16 * tiles, unless tiles is 1.
    dropout : share of features dropped before the heads, in training.
    sharpness : 1/logit; how near the window's logit lies to the highest position.
    """

    def __init__(self, heads: dict, n_bands: int, width: int = 16, depth: int = 1, tiles: int = 2, dropout: float = 0.2, sharpness: float = 4.0,
                 crest: int = 0):
        super().__init__()
        self.arguments = {"heads": {k: list(v) for k, v in heads.items()}, "n_bands": n_bands, "width": width,
                          "depth": depth, "tiles": tiles, "dropout": dropout, "sharpness": sharpness, "crest": crest}
        self.tiles, self.sharpness, self.n_bands = tiles, sharpness, n_bands
        channels = [EIGHTS * math.ceil(share * width / EIGHTS) for share in (0.5, 2, 3)]
        self.band_offset = nn.Parameter(torch.zeros(1, 1, n_bands, 1))
        self.stem = conv_bn(1, channels[0], 5, 2)
        blocks, n_in, rows = [], channels[0], (n_bands + 1) // 2
        for n_out in channels:
            for block in range(depth):
                blocks.append(ResidualBlock(n_in, n_out, stride=2 if block == 0 else 1))
                n_in = n_out
            rows = (rows + 1) // 2
        self.trunk = nn.Sequential(*blocks)
        self.crest = nn.Sequential(*crest_layers(crest)) if crest else None
        self.join_bands = nn.Conv1d(n_in * rows + (CREST_FEATURES if crest else 0), n_in, 1)
        self.in_time = nn.ModuleList([nn.Conv1d(n_in, n_in, 5, padding=2) for _ in range(2)])
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({name: nn.Conv1d(n_in, len(labels), 1) for name, labels in heads.items()})
        for head in self.heads.values():
            nn.init.constant_(head.bias, -2.0)  # most seconds hold no call

    def encode(self, tile: torch.Tensor) -> torch.Tensor:
        """Tiles (n, 1, columns, tile frames) -> (n, features, tile positions), each by itself."""
        bands, peaks = tile[:, :, :self.n_bands], tile[:, 0, self.n_bands:]
        x = F.relu(self.stem(bands + self.band_offset))      # (n, width / 2, bands / 2, frames / 2)
        x = self.trunk(x).flatten(1, 2)                      # (n, 3 width * bands / 16, frames / 16)
        if self.crest is not None:
            in_time = peaks.transpose(1, 2).flatten(1)[:, None]  # (n, 1, 4 frames): blocks one after another
            x = torch.cat([x, self.crest(in_time)], dim=1)
        return F.relu(self.join_bands(x))                    # (n, 3 width, positions)

    def decide(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features of whole windows (batch, features, positions) -> window logits (batch, labels), position logits (batch, labels, positions)."""
        x = features
        for convolution in self.in_time:
            x = x + F.relu(convolution(x))
        x = self.dropout(x)
        positions = torch.cat([head(x) for head in self.heads.values()], dim=1)
        return self.pool(positions), positions

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Window logits (batch, labels) and position logits (batch, labels, positions) of (batch, 1, bands, frames), labels in the order of the heads."""
        batch, _, bands, frames = x.shape
        tiles = x.reshape(batch, 1, bands, self.tiles, frames // self.tiles).permute(0, 3, 1, 2, 4).flatten(0, 1)
        features = self.encode(tiles)                        # (batch * tiles, features, positions / tiles)
        features = features.unflatten(0, (batch, self.tiles)).transpose(1, 2).flatten(2, 3)
        return self.decide(features)

    def forward_overlapping(self, tiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The same for windows that follow each other one tile on: (windows + tiles - 1, 1, bands, tile frames) -> logits of each window."""
        features = self.encode(tiles)
        followed = [features[k:k - self.tiles + 1 or None] for k in range(self.tiles)]  # the windows' first tiles, second tiles ...
        return self.decide(torch.cat(followed, dim=2))

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


def crest_layers(blocks: int) -> list[nn.Module]:
    """Convolutions in time from `blocks` crest peaks a frame to CREST_FEATURES features a position.

    Raises
    ------
    ValueError
        where the strides do not come out even.
    """
    last = FRAMES_PER_POSITION * blocks // 16
    if last * 16 != FRAMES_PER_POSITION * blocks:
        raise ValueError(f"{blocks} crest blocks a frame do not make up positions of {FRAMES_PER_POSITION} frames")
    layers, n_in = [], 1
    for n_out, kernel, stride in ((8, 9, 4), (CREST_FEATURES, 9, 4), (CREST_FEATURES, 2 * last + 1, last)):
        layers += [nn.Conv1d(n_in, n_out, kernel, stride, padding=kernel // 2), nn.ReLU()]
        n_in = n_out
    return layers


def positions_of(n_frames: int) -> int:
    """Positions in time that the network answers for a picture of so many frames."""
    return math.ceil(n_frames / FRAMES_PER_POSITION)
