"""A linear model on `descriptors`: no hidden layer, one weighted sum for each label. `training/descriptor_fit.py` fits it.

    window -> descriptors of the bands that it holds -> standardised -> a weighted sum for each label -> logit

There is a sum for each number of bands that a recorder's rate may leave visible (`limits`), fitted to all windows that hold these bands: a recording at a lower rate is judged
by what it shows, and a missing band says nothing about the label.
"""
from __future__ import annotations

import torch
from torch import nn

from spectrogram.profile import Profile
from training.descriptors import FRAMES, MOST_BANDS, count_of, descriptors
from training.model import positions_of

FEWEST_BANDS = 16
CLIPPED = 4.0  # deviations: nothing is further away than that


class DescriptorNet(nn.Module):
    """Window logits from `descriptors`; the same at every position.

    Parameters
    ----------
    heads, n_bands, frames : as for the other networks. limits : numbers of bands, rising, the last one all. scale_db, masked : of the profile's normalisation.
    """

    def __init__(self, heads: dict, n_bands: int, frames: int, limits: list[int], scale_db: float, masked: float):
        super().__init__()
        if frames > FRAMES or n_bands > MOST_BANDS or min(limits) < FEWEST_BANDS:
            raise ValueError(f"descriptors take {FEWEST_BANDS} to {MOST_BANDS} bands and up to {FRAMES} frames, not {min(limits)} to {n_bands} bands and {frames} frames; change `bands` or the profile")
        self.arguments = {"heads": {k: list(v) for k, v in heads.items()}, "n_bands": n_bands, "frames": frames, "limits": list(limits), "scale_db": scale_db, "masked": masked}
        self.limits, self.scale_db, self.masked = list(limits), scale_db, masked
        self.n_labels, self.n_positions = sum(map(len, heads.values())), positions_of(frames)
        for bands in limits:
            self.register_buffer(f"centre_{bands}", torch.zeros(count_of(bands)))
            self.register_buffer(f"spread_{bands}", torch.ones(count_of(bands)))
            self.register_buffer(f"weight_{bands}", torch.zeros(count_of(bands), self.n_labels))
            self.register_buffer(f"bias_{bands}", torch.zeros(self.n_labels))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, 1, bands, frames) normalised -> window logits (batch, labels) and (batch, labels, positions)."""
        picture, window = x[:, 0].transpose(1, 2), x.new_zeros(len(x), self.n_labels)
        chosen = self.limit_of(picture)
        for k, bands in enumerate(self.limits):
            mine = (chosen == k).nonzero()[:, 0]
            if len(mine):
                window[mine] = self.decide(bands, self.describe(picture[mine], bands))
        return window, window[..., None].expand(-1, -1, self.n_positions)

    def seen(self, picture: torch.Tensor) -> torch.Tensor:
        """Cells that were recorded."""
        return picture > self.masked + 1e-3

    def limit_of(self, picture: torch.Tensor) -> torch.Tensor:
        """Which limit's bands each window (batch, frames, bands) holds, 0 the lowest."""
        bands = self.seen(picture).any(1).sum(1)
        return (bands[:, None] >= torch.tensor(self.limits, device=bands.device)).sum(1).sub(1).clamp(min=0)

    def describe(self, picture: torch.Tensor, bands: int) -> torch.Tensor:
        """`descriptors` of the lowest bands of normalised windows (batch, frames, bands); a masked band below the limit holds 0."""
        part = picture[:, :, :bands]
        seen = self.seen(part)
        return descriptors(torch.where(seen, part, 0.0) * self.scale_db, seen.any(2))

    def decide(self, bands: int, values: torch.Tensor) -> torch.Tensor:
        """Descriptors (batch, count) -> window logits (batch, labels)."""
        centre, spread, weight, bias = (getattr(self, f"{what}_{bands}") for what in ("centre", "spread", "weight", "bias"))
        return ((values - centre) / spread).clamp(-CLIPPED, CLIPPED) @ weight + bias


def descriptor_net(profile: Profile, rates_hz: tuple = ()) -> DescriptorNet:
    """A network for a profile, with a limit for each sample rate of `rates_hz` (and all bands)."""
    n = profile.normalisation
    limits = {int(profile.visible_bands(rate_hz / 2).sum()) for rate_hz in rates_hz} | {profile.n_bands}
    return DescriptorNet(profile.heads, profile.n_bands, profile.window_frames, sorted(limits), n["scale_db"], n["masked"])
