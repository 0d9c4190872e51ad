"""Networks by name. Each takes (batch, 1, bands, frames) and answers (window logits (batch, labels), position logits (batch, labels, positions)).

| name | what |
| --- | --- |
| resnet | the project's own slim ResNet (`training.model`), an answer at every 16 frames |
| statistics | whitened band statistics of the window and a small network on top: blind to the recorder's colour and level, for few and mixed clips |
| descriptors | a few hundred numbers for a window's colour, tones, contrast and modulation, and a linear model on top: for few sources (clips only, see `training.descriptor_net`) |
| resnet18 | torchvision's ResNet-18, one input channel |
| mobilenet_v3_small.8 | torchvision's MobileNetV3-small, cut after feature block 8 (any number from 1 to 12) |
| timm:NAME | any classifier of timm with one input channel; `timm:NAME:pretrained` with its published weights, for instance timm:legacy_xception, timm:resnet50 |
| ast:tiny, ast, ast:pretrained | the Audio Spectrogram Transformer, see `training.transformer` |
| complexity:BODY | series of signal complexity in the right whales' band, see `training.complexity_nets` |

All but the first two and the last see the window as a picture and give one answer for it, which stands at every position.
"""
from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from spectrogram.profile import Profile
from training.complexity_nets import ComplexityNet, complexity_net
from training.descriptor_net import DescriptorNet, descriptor_net
from training.model import FRAMES_PER_POSITION, MultiOutputResNet, positions_of
from training.transformer import AudioTransformer, BadTransformer, audio_transformer

MASKED = -1.999  # normalised cells at or below were not recorded


class BadBackbone(ValueError):
    """A backbone that cannot be had. The message names it, the fault and the mend."""


class StatisticsNet(nn.Module):
    """How each band of a window fluctuates, whatever its level: statistics over time after the band's mean is taken off, then two layers.

    Per band: deviation; mean of the highest 1 % and 10 % and of the lowest 10 % of the frames; mean step over 1, 4 and 16 frames; mean step to the bands 1 and 3 above.
    A recorder's frequency response, its gain and steady noise cancel; a masked band is 0.

    Parameters
    ----------
    heads, n_bands : as for `MultiOutputResNet`. frames : of a window. hidden : units. members : networks side by side whose mean is the answer.
    """

    STATISTICS = 9

    def __init__(self, heads: dict, n_bands: int, frames: int, hidden: int = 64, members: int = 1, dropout: float = 0.5):
        super().__init__()
        self.arguments = {"heads": {k: list(v) for k, v in heads.items()}, "n_bands": n_bands, "frames": frames, "hidden": hidden, "members": members, "dropout": dropout}
        self.n_labels, self.members, self.n_positions = sum(map(len, heads.values())), members, positions_of(frames)
        size = self.STATISTICS * n_bands
        self.standard = nn.BatchNorm1d(size * members, affine=False)
        self.input_dropout, self.dropout = nn.Dropout(dropout), nn.Dropout(dropout)
        self.first = nn.Conv1d(size * members, hidden * members, 1, groups=members)
        self.last = nn.Conv1d(hidden * members, self.n_labels * members, 1, groups=members)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Window logits (batch, labels) and the same at every position (batch, labels, positions)."""
        window = self.decide(band_statistics(x[:, 0]))
        return window, window[..., None].expand(-1, -1, self.n_positions)

    def decide(self, statistics: torch.Tensor) -> torch.Tensor:
        """`band_statistics` of windows (batch, 9 * bands) -> window logits (batch, labels)."""
        z = torch.cat([statistics] * self.members, dim=1)
        if self.training:
            z = self.standard(z)
        else:  # the same, in words that ONNX knows for any size
            z = (z - self.standard.running_mean) / (self.standard.running_var + self.standard.eps).sqrt()
        z = self.input_dropout(z.clamp(-4, 4))[..., None]
        z = self.last(self.dropout(F.relu(self.first(z))))[..., 0]
        return z.unflatten(1, (self.members, self.n_labels)).mean(dim=1)


def band_statistics(x: torch.Tensor) -> torch.Tensor:
    """(batch, bands, frames) normalised picture -> (batch, 9 * bands); see `StatisticsNet`."""
    seen = x > MASKED
    count = seen.sum(2, keepdim=True).clamp(min=1)
    x = torch.where(seen, x, 0.0)
    away = torch.where(seen, x - x.sum(2, keepdim=True) / count, 0.0)
    ordered, frames = away.sort(dim=2, descending=True).values, x.shape[2]
    out = [(away.square().sum(2) / count[..., 0]).sqrt(), ordered[:, :, :frames // 100 + 1].mean(2), ordered[:, :, :frames // 10].mean(2), ordered[:, :, -(frames // 10):].mean(2)]
    for step in (1, 4, 16):
        both = seen[:, :, step:] & seen[:, :, :-step]
        out.append(((x[:, :, step:] - x[:, :, :-step]).abs() * both).sum(2) / both.sum(2).clamp(min=1))
    for step in (1, 3):
        both = seen[:, step:] & seen[:, :-step]
        out.append(F.pad(((away[:, step:] - away[:, :-step]).abs() * both).sum(2) / both.sum(2).clamp(min=1), (0, step)))
    return torch.cat(out, dim=1)


class PictureNet(nn.Module):
    """A picture classifier of torchvision or timm; one logit per label for the window, repeated at every position.

    Parameters
    ----------
    backbone : "resnet18", "mobilenet_v3_small.8", "timm:NAME" or "timm:NAME:pretrained". n_labels, frames : of the profile. size : to which bands
        and frames are enlarged before the network, None: as they are.
    """

    def __init__(self, backbone: str, n_labels: int, frames: int, size: int | None = None):
        super().__init__()
        self.arguments = {"backbone": backbone.removesuffix(":pretrained"), "n_labels": n_labels, "frames": frames, "size": size}
        self.size, self.n_positions = size, positions_of(frames)
        self.body = picture_body(backbone, n_labels)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.size:
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", align_corners=False)
        window = self.body(x)
        return window, window[..., None].expand(-1, -1, self.n_positions)


def picture_body(backbone: str, n_labels: int) -> nn.Module:
    """The network (batch, 1, height, width) -> (batch, labels) behind a name.

    Raises
    ------
    BadBackbone
        for an unknown name, timm not installed, or weights that cannot be fetched.
    """
    if backbone == "resnet18":
        from torchvision.models import resnet18

        body = resnet18(weights=None, num_classes=n_labels)
        body.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
        return body
    if cut := re.fullmatch(r"mobilenet_v3_small(?:\.(\d+))?", backbone):
        from torchvision.models import mobilenet_v3_small

        block = int(cut[1] or 12)
        if not 1 <= block <= 12:
            raise BadBackbone(f"backbone {backbone}: MobileNetV3-small has feature blocks 1 to 12; cut it at one of them")
        features = mobilenet_v3_small(weights=None).features[:block + 1]
        features[0][0] = nn.Conv2d(1, 16, 3, 2, 1, bias=False)
        for module in features.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.1  # torchvision's 0.01 follows within hundreds of steps, and is for trainings of hundreds of thousands
        with torch.no_grad():
            channels = features.eval()(torch.zeros(1, 1, 64, 64)).shape[1]
        return nn.Sequential(features.train(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, n_labels))
    if backbone.startswith("timm:"):
        return timm_body(*(backbone.split(":") + [""])[1:3], n_labels)
    raise BadBackbone(f"backbone {backbone!r} is not known; use resnet, statistics, descriptors, resnet18, mobilenet_v3_small.8, ast:tiny, complexity:BODY or timm:NAME")


def timm_body(name: str, weights: str, n_labels: int) -> nn.Module:
    """A network of timm with one input channel, with its published weights where `weights` is "pretrained"."""
    try:
        import timm
    except ImportError:
        raise BadBackbone(f"backbone timm:{name}: timm is not installed here; pip install timm, or use another backbone") from None
    if name not in timm.list_models():
        raise BadBackbone(f"backbone timm:{name}: timm has no such model; timm.list_models() shows them")
    try:
        return timm.create_model(name, pretrained=weights == "pretrained", in_chans=1, num_classes=n_labels)
    except Exception as error:  # no network, no cache, no published weights: timm and its hub raise many kinds
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise BadBackbone(f"backbone timm:{name}:pretrained: its weights cannot be had ({reason}); {published(name)}, or leave out :pretrained (pretrained: false)") from None


def published(name: str) -> str:
    """Where timm's weights of a network come from and where they are looked for, as something to do."""
    from timm.models import get_pretrained_cfg

    source = get_pretrained_cfg(name)
    if source is None or not (source.hf_hub_id or source.url):
        return "timm publishes none for this network, take another"
    if source.hf_hub_id:
        repository = source.hf_hub_id.strip()
        return f"where there is a network, `hf download {repository} model.safetensors` puts them into the hub's cache (HF_HOME)"
    return f"fetch {source.url} to {Path(torch.hub.get_dir()) / 'checkpoints' / source.url.rsplit('/', 1)[-1]}"


def make_net(backbone: str, profile: Profile, width: int = 16, depth: int = 1) -> nn.Module:
    """A network for a profile, by name. `width` and `depth` are the resnet's; `width` times 4 the hidden units of `statistics`."""
    if backbone == "resnet":
        tiles = 2 if profile.window_frames % (2 * FRAMES_PER_POSITION) == 0 else 1  # a window too short for two tiles is looked at whole
        return MultiOutputResNet(profile.heads, profile.n_bands, width, depth, tiles, crest=profile.crest_columns)
    if backbone == "statistics":
        return StatisticsNet(profile.heads, profile.n_columns, profile.window_frames, 4 * width)
    if backbone.split(":")[0] == "ast":
        try:
            return audio_transformer(backbone, len(profile.labels), profile.n_columns, profile.window_frames, profile.window_s)
        except BadTransformer as error:
            raise BadBackbone(str(error)) from None
    if backbone.startswith("complexity:"):
        try:
            return complexity_net(backbone, profile)
        except ValueError as error:
            raise BadBackbone(str(error)) from None
    if backbone == "descriptors":
        return descriptor_net(profile)
    return PictureNet(backbone, len(profile.labels), profile.window_frames)


ARCHITECTURES = {"StatisticsNet": StatisticsNet, "DescriptorNet": DescriptorNet, "PictureNet": PictureNet, "ComplexityNet": ComplexityNet, "AudioTransformer": AudioTransformer}  # beside the own resnet: what a saved model may name
