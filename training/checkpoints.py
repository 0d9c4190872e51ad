"""Reading what a training left behind to go on from: numbers, tensors and texts, never code.

A pickle runs whatever code whoever made it put there, and results folders are handed around. So checkpoints are read with
`weights_only`, and what holds more is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch


class BadCheckpoint(ValueError):
    """A checkpoint that nobody should go on from. The message names it, the fault and the mend."""


def read_checkpoint(path: str | Path, keys: Iterable[str] = (), device: str = "cpu") -> dict:
    """The checkpoint's dict; `keys`: what it has to hold.

    Raises
    ------
    BadCheckpoint
        where it is damaged, holds code, or is not of this kind.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        lacking = sorted(set(keys) - set(state))
    except Exception as error:  # pickle, zipfile and torch raise many kinds
        fault = (
            "it holds more than numbers, which may be somebody's code"
            if "weights_only" in str(error).lower().replace(" ", "_")
            else "it is damaged"
        )
        raise BadCheckpoint(
            f"{path}: is not read, because {fault}; remove it, and the training begins anew"
        ) from None
    if lacking:
        raise BadCheckpoint(
            f"{path}: is no checkpoint of this training (it lacks {', '.join(lacking)}); remove it, and the training begins anew"
        )
    return state
