"""Networks on series of signal complexity (`training.complexity`) in place of a picture: a few numbers a frame, in the right whales' band.

The series are computed within the network, from the normalised picture: whitened, they do not change with a gain or a colour, so the picture's contrast in dB is
all that is needed (`normalisation` of kind mean, without tiles, of a range that clips nothing), and a saved model works in the pipeline as any other.
Ordinal series are of samples, which a picture does not hold: with `:ordinal` the network is given them as four further rows below the picture's bands
(`training.contest_data.SeriesSet`); such a network is for experiments only.

| name | network |
| --- | --- |
| complexity:inception | after InceptionTime (Fawaz et al. 2020, Data Min. Knowl. Discov. 34:1936): three modules of kernels 5, 9, 19 and a pooled branch, a residual over them |
| complexity:residual | after the ResNet for series of Wang, Yan & Oates 2017 (IJCNN): three blocks of kernels 7, 5, 3 |
| complexity:attention | an LSTM over the frames, then self-attention of eight heads (Vaswani et al. 2017) and the mean over time |
"""
from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from spectrogram.profile import Profile
from training.model import positions_of

BODIES = ("inception", "residual", "attention")
SERIES = 4          # entropy and three complexities
LOW_HZ, HIGH_HZ = 50.0, 300.0


class ComplexityNet(nn.Module):
    """(batch, 1, bands, frames) normalised picture -> (window logits (batch, labels), the same at every position (batch, labels, positions)).

    Parameters
    ----------
    body : one of BODIES. n_labels, frames : of the profile. first, last : bands from which the series are computed, [first, last).
    scale_db : dB of one unit of the picture. masked : cells at or below were not recorded. n_bands : of the picture. ordinal : four ordinal series follow the bands.
    """

    def __init__(self, body: str, n_labels: int, frames: int, first: int, last: int, scale_db: float, masked: float, n_bands: int, ordinal: bool = False):
        super().__init__()
        self.arguments = {"body": body, "n_labels": n_labels, "frames": frames, "first": first, "last": last, "scale_db": scale_db, "masked": masked, "n_bands": n_bands,
                          "ordinal": ordinal}
        self.bands, self.scale_db, self.masked, self.n_bands, self.ordinal = slice(first, last), scale_db, masked, n_bands, ordinal
        self.n_positions = positions_of(frames)
        channels = SERIES * (2 if ordinal else 1)
        self.standard = nn.BatchNorm1d(channels, affine=False)
        self.body, features = {"inception": inception, "residual": residual, "attention": attention}[body](channels)
        self.dropout, self.head = nn.Dropout(0.2), nn.Linear(features, n_labels)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = self.n_bands + (SERIES if self.ordinal else 0)
        if x.shape[2] != rows:
            raise ValueError(f"a picture of {x.shape[2]} rows, this network takes {rows}: {self.n_bands} bands" + (" and four ordinal series" if self.ordinal else ""))
        picture = x[:, 0, :self.n_bands]
        series, recorded = spectral_series(picture[:, self.bands].float(), self.scale_db, self.masked)
        if self.ordinal:
            series = torch.cat([series, x[:, 0, self.n_bands:]], dim=1)
        series = self.standard(series).clamp(-6, 6) * recorded[:, None]    # (batch, channels, frames)
        window = self.head(self.dropout(self.body(F.avg_pool1d(series, 2))))  # two frames a step: 25 ms of an up-call of a second
        return window, window[..., None].expand(-1, -1, self.n_positions)


def spectral_series(picture: torch.Tensor, scale_db: float, masked: float) -> tuple[torch.Tensor, torch.Tensor]:
    """`training.complexity.spectral_series` of whitened bands, from normalised pictures (batch, bands, frames) -> (batch, 4, frames), and which frames were recorded."""
    recorded = (picture > masked + 1e-3).any(dim=1)                                       # (batch, frames)
    median = torch.where(recorded[:, None], picture, torch.nan).nanmedian(dim=2, keepdim=True).values.nan_to_num(0.0)
    power = torch.exp((picture - median) * (scale_db * 0.1 * 2.302585093))
    p = power / power.sum(dim=1, keepdim=True)
    n = p.shape[1]
    log_n = torch.log(torch.tensor(float(n), device=p.device))
    most = -0.5 * ((n + 1) / n * torch.log(torch.tensor(n + 1.0, device=p.device)) - 2 * torch.log(torch.tensor(2.0 * n, device=p.device)) + log_n)
    shannon = -torch.xlogy(p, p).sum(dim=1)
    both = (p + 1 / n) / 2
    off = p - 1 / n
    divergence = ((-torch.xlogy(both, both).sum(dim=1) - shannon / 2 - log_n / 2) / most).clamp(min=0)
    entropy = shannon / log_n
    distance = torch.stack([torch.ones_like(entropy), off.square().sum(dim=1), divergence, off.abs().sum(dim=1) / 2], dim=1)
    return entropy[:, None] * distance, recorded


def complexity_net(backbone: str, profile: Profile) -> ComplexityNet:
    """The network behind "complexity:BODY" or "complexity:BODY:ordinal".

    Raises
    ------
    ValueError
        for an unknown body, a normalisation from which the series cannot be had, or a band that the profile does not hold.
    """
    _, body, *more = backbone.split(":")
    if body not in BODIES or more not in ([], ["ordinal"]):
        raise ValueError(f"backbone {backbone!r} is not known; use complexity:{', complexity:'.join(BODIES)}, with :ordinal after it for ordinal series too")
    n = profile.normalisation
    if n["kind"] not in ("mean", "absolute") or "tile_s" in n:
        raise ValueError(f"backbone {backbone}: the series need the window's contrast in dB; give the experiment normalisation: {{kind: mean, scale_db: 20, low: -4, high: 4, masked: -4}}")
    inside = [k for k, hz in enumerate(profile.band_centres_hz) if LOW_HZ <= hz <= HIGH_HZ]
    if len(inside) < 2:
        raise ValueError(f"backbone {backbone}: profile {profile.name} has {len(inside)} bands between {LOW_HZ:g} and {HIGH_HZ:g} Hz; at least two are needed")
    return ComplexityNet(body, len(profile.labels), profile.window_frames, inside[0], inside[-1] + 1, n["scale_db"], n["masked"], profile.n_bands, bool(more))


# ---- bodies: (batch, channels, frames) -> (batch, features)


def conv(n_in: int, n_out: int, kernel: int) -> nn.Conv1d:
    return nn.Conv1d(n_in, n_out, kernel, padding=kernel // 2, bias=False)


class InceptionModule(nn.Module):
    """Three kernels side by side behind a bottleneck, and a pooled branch, joined."""

    def __init__(self, n_in: int, filters: int = 16, bottleneck: int = 16, kernels: tuple = (5, 9, 19)):
        super().__init__()
        self.bottleneck = conv(n_in, bottleneck, 1) if n_in > bottleneck else nn.Identity()
        self.branches = nn.ModuleList([conv(min(n_in, bottleneck), filters, kernel) for kernel in kernels])
        self.pooled = nn.Sequential(nn.MaxPool1d(3, 1, 1), conv(n_in, filters, 1))
        self.norm = nn.BatchNorm1d(filters * (len(kernels) + 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        narrow = self.bottleneck(x)
        return F.relu(self.norm(torch.cat([branch(narrow) for branch in self.branches] + [self.pooled(x)], dim=1)))


class Shortcut(nn.Module):
    """relu(layers(x) + a 1 x 1 convolution of x)."""

    def __init__(self, layers: nn.Module, n_in: int, n_out: int):
        super().__init__()
        self.layers, self.short = layers, nn.Sequential(conv(n_in, n_out, 1), nn.BatchNorm1d(n_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.layers(x) + self.short(x))


class LstmAttention(nn.Module):
    """An LSTM over every second step, self-attention with eight heads, their sum normed, the mean over time."""

    def __init__(self, n_in: int, size: int = 64, heads: int = 8):
        super().__init__()
        self.embed = nn.Sequential(nn.Conv1d(n_in, size, 5, 2, 2), nn.ReLU())
        self.lstm = nn.LSTM(size, size, batch_first=True)
        self.attention, self.norm = nn.MultiheadAttention(size, heads, batch_first=True), nn.LayerNorm(size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps, _ = self.lstm(self.embed(x).transpose(1, 2))
        looked, _ = self.attention(steps, steps, steps, need_weights=False)
        return self.norm(steps + looked).mean(dim=1)


def inception(channels: int) -> tuple[nn.Module, int]:
    modules = nn.Sequential(InceptionModule(channels), InceptionModule(64), InceptionModule(64))
    return nn.Sequential(Shortcut(modules, channels, 64), nn.AdaptiveAvgPool1d(1), nn.Flatten()), 64


def residual(channels: int) -> tuple[nn.Module, int]:
    blocks, n_in = [], channels
    for n_out in (32, 64, 64):
        layers = nn.Sequential(conv(n_in, n_out, 7), nn.BatchNorm1d(n_out), nn.ReLU(), conv(n_out, n_out, 5), nn.BatchNorm1d(n_out), nn.ReLU(), conv(n_out, n_out, 3), nn.BatchNorm1d(n_out))
        blocks.append(Shortcut(layers, n_in, n_out))
        n_in = n_out
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten()), 64


def attention(channels: int) -> tuple[nn.Module, int]:
    return LstmAttention(channels), 64
