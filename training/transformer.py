"""The Audio Spectrogram Transformer (Gong, Chung & Glass 2021, Interspeech, 571-575) as a backbone, by Hugging Face's transformers.

| name | what |
| --- | --- |
| ast:tiny | 3 layers of 96, on the picture's own bands and frames; learns in minutes on a processor |
| ast | the paper's size (12 layers of 768, 86 million weights), on the picture's own bands and frames, weights by chance |
| ast:pretrained | the paper's network, fine-tuned on AudioSet, from the hub or its cache |
| ast:PLACE:pretrained | another one: its name at the hub, or a folder in the hub's format (config.json, model.safetensors) |

Patches of 16 x 16 cells, 10 apart, go through the transformer; the mean of its two summary tokens, normalised, is mapped to the labels. Weights that were trained elsewhere bring their own
grid: the picture is brought to their bands and to 100 frames a second, and the position embeddings are cut or stretched in time to the window's length, as in the paper (2.2). Pictures of kind
`mean` are near the mean of 0 and the deviation of a half that it was trained with.
"""
from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from training.model import positions_of

AUDIOSET = "MIT/ast-finetuned-audioset-10-10-0.4593"
SIZES = {"": {}, "tiny": {"hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 192, "hidden_dropout_prob": 0.1}}
TRAINED_FRAME_RATE_HZ = 100.0


class BadTransformer(ValueError):
    """A transformer that cannot be had. The message names it, the fault and the mend."""


class AudioTransformer(nn.Module):
    """Window logits (batch, labels) of (batch, 1, bands, frames), and the same at every position.

    Parameters
    ----------
    config : of transformers' ASTConfig; its num_mel_bins and max_length are what the picture is brought to. frames : of a window.
    """

    def __init__(self, config: dict, n_labels: int, frames: int):
        super().__init__()
        ASTConfig, ASTModel = _transformers()
        self.arguments = {"config": dict(config), "n_labels": n_labels, "frames": frames}
        self.n_positions, self.grid = positions_of(frames), (config["num_mel_bins"], config["max_length"])
        self.body = ASTModel(ASTConfig(**config))
        self.norm, self.last = nn.LayerNorm(config["hidden_size"]), nn.Linear(config["hidden_size"], n_labels)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if x.shape[2:] != self.grid:
            x = F.interpolate(x, self.grid, mode="bilinear", align_corners=False)
        summary = self.body(x[:, 0].transpose(1, 2)).pooler_output  # of (batch, frames, bands)
        window = self.last(self.norm(summary))
        return window, window[..., None].expand(-1, -1, self.n_positions)


def audio_transformer(backbone: str, n_labels: int, n_bands: int, frames: int, window_s: float) -> AudioTransformer:
    """The network behind a name, see the module's docstring.

    Raises
    ------
    BadTransformer
        for an unknown size, transformers not installed, a picture smaller than a patch, or weights that cannot be had.
    """
    told = backbone.removeprefix("ast").removeprefix(":")
    if told == "pretrained" or told.endswith(":pretrained"):
        return _pretrained(told.removesuffix("pretrained").removesuffix(":") or AUDIOSET, n_labels, frames, window_s)
    if told not in SIZES:
        raise BadTransformer(f"backbone {backbone}: no such size; use ast, ast:tiny, ast:pretrained or ast:PLACE:pretrained")
    ASTConfig, _ = _transformers()
    config = _plain(ASTConfig(**SIZES[told], num_mel_bins=n_bands, max_length=frames))
    if min(n_bands, frames) < config["patch_size"]:
        raise BadTransformer(f"backbone {backbone}: a picture of {n_bands} bands and {frames} frames is smaller than its patch of {config['patch_size']}; give more bands, or a longer window")
    return AudioTransformer(config, n_labels, frames)


def _pretrained(place: str, n_labels: int, frames: int, window_s: float) -> AudioTransformer:
    """Weights of `place` on a window of this length; the map to the labels is new."""
    _, ASTModel = _transformers()
    try:
        trained = ASTModel.from_pretrained(place)
    except Exception as error:  # no network, no cache, no such name, a damaged file: the hub raises many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")
        raise BadTransformer(f"backbone ast, weights of {place}: cannot be had ({reason}); run it once with a network, or give a folder with its config.json and model.safetensors as "
                             "ast:FOLDER:pretrained, or leave out :pretrained") from None
    config = _plain(trained.config) | {"max_length": round(window_s * TRAINED_FRAME_RATE_HZ)}
    if config["max_length"] < config["patch_size"]:
        raise BadTransformer(f"backbone ast, weights of {place}: a window of {window_s:g} s is shorter than a patch; give a longer one")
    net, weights = AudioTransformer(config, n_labels, frames), trained.state_dict()
    name = "embeddings.position_embeddings"
    weights[name] = stretched(weights[name], patches(_plain(trained.config)), patches(config))
    net.body.load_state_dict(weights)
    return net


def patches(config: dict) -> tuple[int, int]:
    """Patches in frequency and in time."""
    return tuple((config[size] - config["patch_size"]) // config[stride] + 1 for size, stride in (("num_mel_bins", "frequency_stride"), ("max_length", "time_stride")))


def stretched(positions: torch.Tensor, old: tuple[int, int], new: tuple[int, int]) -> torch.Tensor:
    """Position embeddings (1, 2 + patches, size) for another number of patches in time: the middle of them, or, where there are too few, in between."""
    tokens, grid = positions[:, :2], positions[:, 2:].transpose(1, 2).unflatten(2, old)  # (1, size, in frequency, in time)
    first = max(0, (old[1] - new[1]) // 2)
    grid = grid[..., first:first + new[1]] if new[1] <= old[1] else F.interpolate(grid, new, mode="bilinear", align_corners=False)
    return torch.cat([tokens, grid.flatten(2).transpose(1, 2)], dim=1)


def _plain(config) -> dict:
    """What shapes the network, as plain numbers."""
    kept = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "layer_norm_eps",
            "patch_size", "qkv_bias", "frequency_stride", "time_stride", "max_length", "num_mel_bins")
    return {key: getattr(config, key) for key in kept}


def _transformers():
    """Its configuration and its model; imported late, for it takes seconds."""
    try:
        from transformers import ASTConfig, ASTModel
    except ImportError:
        raise BadTransformer("backbone ast: transformers is not installed here; pip install transformers, or use another backbone") from None
    return ASTConfig, ASTModel

