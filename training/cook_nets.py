"""The four networks of the Cook Inlet study, on one channel: an AlexNet-like one from scratch, VGG16, ResNet50 and DenseNet121, with ImageNet weights where they can be had.

    net = CookNet("densenet121", n_labels=1, pretrained=True)
    window, none = net(torch.zeros(4, 1, 96, 192))                     # logits (4, 1)

A spectrogram is one channel of decibels, not a picture in a colour map. The first convolution of an ImageNet network is therefore summed over its colours, which answers a grey picture as the
network with three equal channels does; pictures are normalised (`spectrogram.picture.normalise`) to about the mean 0 and spread 1 that it was trained on.

| name | body | head |
| --- | --- | --- |
| alexnet | five convolutions of 128 (stride 2, 3), 128, 192, 192, 128 | two of 256, dropout 0.5 |
| vgg16, resnet50, densenet121 | torchvision's, to the last features, mean over the picture | one of 512, dropout 0.5 |

Differences from the study: decibels instead of coloured pictures of 300 x 300; the AlexNet-like network has batch norms (its kernels, 7, 5, 3, 3, 3, are not published) and pools to 3 x 3, so that windows of any size fit; the others
pool to one cell. `size` shrinks the picture first, for a quick look on a processor. Weights: torchvision's IMAGENET1K_V1, in torch's hub cache (`TORCH_HOME`), fetched there if there is a network.
Sources: Krizhevsky et al. 2012; Simonyan & Zisserman 2015; He et al. 2016; Huang et al. 2017; Zhong et al. 2020, J. Acoust. Soc. Am. 147(3), 1834.
"""
from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from training.backbones import BadBackbone
from training.model import positions_of

NAMES = ("alexnet", "vgg16", "resnet50", "densenet121")
SMALLEST = 32  # bands and frames that the five halvings of the ImageNet networks need


class CookNet(nn.Module):
    """One of the four, `(batch, 1, bands, frames)` -> (window logits (batch, labels), None).

    Parameters
    ----------
    network : one of `NAMES`.
    frames : of a window. Given, the answer is repeated at every position in time in place of None, as a saved model of the pipeline wants it.
    pretrained : start from ImageNet weights (not alexnet).
    trainable_layers : how many of the body's last convolutions are trained, the head always is; None: all. The study trained 3 of VGG16, all of the others.
    size : (bands, frames) to which a picture is brought before the network; None: as it is.
    """

    def __init__(self, network: str, n_labels: int = 1, frames: int | None = None, pretrained: bool = False, trainable_layers: int | None = None, size: tuple[int, int] | None = None):
        super().__init__()
        if network not in NAMES:
            raise BadBackbone(f"network {network!r} is not one of the Cook Inlet study; use {', '.join(NAMES)}")
        if pretrained and network == "alexnet":
            raise BadBackbone("network alexnet: it was trained from scratch, there are no weights for it; pretrained=False")
        self.arguments = {"network": network, "n_labels": n_labels, "frames": frames, "trainable_layers": trainable_layers, "size": None if size is None else list(size)}
        self.size = None if size is None else tuple(size)
        self.smallest = 1 if network == "alexnet" else SMALLEST
        self.n_positions = None if frames is None else positions_of(frames)
        self.body, features = alexnet_body() if network == "alexnet" else image_body(network, pretrained)
        self.head = dense(features, (256, 256) if network == "alexnet" else (512,), n_labels)
        if trainable_layers is not None:
            freeze_all_but(self.body, trainable_layers)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.size is not None:
            x = F.interpolate(x, self.size, mode="bilinear", align_corners=False, antialias=True)
        if min(x.shape[2:]) < self.smallest:
            raise ValueError(f"{self.arguments['network']}: a picture of {x.shape[2]} bands and {x.shape[3]} frames is too small; it needs {self.smallest} of each")
        window = self.head(self.body(x))
        return window, None if self.n_positions is None else window[..., None].expand(-1, -1, self.n_positions)


def alexnet_body() -> tuple[nn.Module, int]:
    """Five convolutions and the number of features they give."""
    def layer(n_in, n_out, kernel, stride=1):
        return [nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]

    pool = [nn.MaxPool2d(3, 2, 1)]
    body = nn.Sequential(*layer(1, 128, 7, (2, 3)), *pool, *layer(128, 128, 5), *pool, *layer(128, 192, 3), *layer(192, 192, 3), *layer(192, 128, 3), *pool,
                         nn.AdaptiveAvgPool2d(3), nn.Flatten())
    return body, 128 * 9


def image_body(network: str, pretrained: bool) -> tuple[nn.Module, int]:
    """torchvision's network for one channel, up to its features (batch, features).

    Raises
    ------
    BadBackbone
        if its weights are neither in the cache nor to be fetched; it says where to put them.
    """
    from torchvision import models

    weights = {"vgg16": models.VGG16_Weights, "resnet50": models.ResNet50_Weights, "densenet121": models.DenseNet121_Weights}[network].IMAGENET1K_V1 if pretrained else None
    whole = _with_weights(network, vgg16_features if network == "vgg16" else getattr(models, network), weights)
    if network == "vgg16":
        body, count = nn.Sequential(whole, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 512
    elif network == "resnet50":
        body, count = whole, whole.fc.in_features
        body.fc = nn.Identity()
    else:
        body, count = whole, whole.classifier.in_features
        body.classifier = nn.Identity()
    one_channel(body, keep=pretrained)
    return body, count


def vgg16_features(weights) -> nn.Sequential:
    """VGG16 up to its features, without the 124 million weights of its own head."""
    from torchvision.models import vgg

    features = vgg.make_layers(vgg.cfgs["D"])
    if weights is not None:
        published = weights.get_state_dict(progress=False, check_hash=True)
        features.load_state_dict({key.removeprefix("features."): value for key, value in published.items() if key.startswith("features.")})
        return features
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu"), nn.init.zeros_(layer.bias)
    return features


def _with_weights(network: str, build, weights) -> nn.Module:
    """torchvision's network, its weights from the cache or the web."""
    try:
        return build(weights=weights)
    except Exception as error:  # no network, no cache, a broken file: urllib, pickle and torch raise many kinds
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        place = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]
        raise BadBackbone(f"network {network}: its ImageNet weights cannot be had ({reason}); fetch {weights.url} to {place}, or use pretrained=False") from None


def one_channel(body: nn.Module, keep: bool) -> None:
    """Replace the first convolution, of three colours, by one of one channel; `keep` its weights, summed over the colours."""
    name, first = next((name, module) for name, module in body.named_modules() if isinstance(module, nn.Conv2d))
    grey = nn.Conv2d(1, first.out_channels, first.kernel_size, first.stride, first.padding, bias=first.bias is not None)
    with torch.no_grad():
        if keep:
            grey.weight.copy_(first.weight.sum(dim=1, keepdim=True))
        else:
            nn.init.kaiming_normal_(grey.weight, mode="fan_out", nonlinearity="relu")
        if first.bias is not None:
            grey.bias.copy_(first.bias)
    parent, _, own = name.rpartition(".")
    setattr(body.get_submodule(parent), own, grey)


def dense(features: int, hidden: tuple[int, ...], n_labels: int) -> nn.Sequential:
    """Fully connected layers with dropout, then the logits."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip((features, *hidden), hidden):
        layers += [nn.Linear(n_in, n_out), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], n_labels))


def freeze_all_but(body: nn.Module, layers: int) -> None:
    """Hold the body's parameters, but for those of its last `layers` convolutions and of what follows each of them."""
    convolutions = [name for name, module in body.named_modules() if isinstance(module, nn.Conv2d)]
    kept, trained = set(convolutions[len(convolutions) - layers:] if layers else []), False
    for name, module in body.named_modules():
        if isinstance(module, nn.Conv2d):
            trained = name in kept
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad = trained


ARCHITECTURES = {"CookNet": CookNet}  # what a saved model may name
