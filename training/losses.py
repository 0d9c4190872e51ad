"""The training loss: binary cross-entropy on windows and on positions in time, blind where the target is NaN."""
from __future__ import annotations

import torch
from torch.nn import functional as F


def masked_bce(logits: torch.Tensor, target: torch.Tensor, pos_weight: torch.Tensor | None = None) -> torch.Tensor:
    """Mean binary cross-entropy over the cells whose target is not NaN; 0 where there are none.

    Parameters
    ----------
    logits, target : (batch, labels) or (batch, labels, positions); target 0, 1 or NaN.
    pos_weight : (labels,) weight of a positive.
    """
    known = torch.isfinite(target)
    if pos_weight is not None and logits.dim() == 3:
        pos_weight = pos_weight[:, None]
    loss = F.binary_cross_entropy_with_logits(logits, torch.nan_to_num(target), pos_weight=pos_weight, reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)


def call_loss(window_logits, position_logits, window, position, position_weight: float = 0.5, pos_weight=None) -> torch.Tensor:
    """Loss of a batch: windows plus `position_weight` times positions."""
    return masked_bce(window_logits, window, pos_weight) + position_weight * masked_bce(position_logits, position, pos_weight)
