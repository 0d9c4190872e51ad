"""A U-Net that tells, for each cell of a spectrogram, how much of it is call.

    denoiser = Denoiser.load("results/denoiser")
    quiet = np.concatenate(list(denoiser.denoised(blocks, sample_rate_hz)))

It sees power over the adaptive background (`gating.above_background`), so levels do not matter, and answers a gain between 0 and 1 that is put on the complex spectrum: level and
phase of what passes stay. It is trained from noisy recordings only (`denoiser_training.py`), after the idea of ORCA-CLEAN (Bergler et al. 2020, Interspeech, 1136-1140).

Long recordings pass in windows of BLOCK frames counted from the first. Of each, EDGE frames on either side, which the network sees without all of their surroundings, are dropped; between
two windows the gains are cross-faded over FADE frames. Memory does not grow with the recording, and blocks of any size give the same sound. At another sample rate the frames last as long
and the bins are as wide: bins above what was trained on get the classical gate's gain, bins that the recording does not have are left out.

On disk: `model.safetensors` and `model.json` in a folder. Shapes are (batch, channel, bin, frame); torch is imported where it is used.
"""
from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import tee
from pathlib import Path

import numpy as np

from preprocessing.gating import UNKNOWN, Gate, above_background, gate_gains
from preprocessing.overlap_add import Grid

FORMAT = 1
BLOCK, EDGE, FADE = 384, 48, 32  # frames; EDGE covers what the network sees on either side (44 frames at depth 3)
NEEDED = ("denoiser_id", "sample_rate_hz", "window_s", "bins", "width", "depth", "floor_db")


class BadDenoiser(ValueError):
    """A folder that holds no denoiser this code can use. The message names the folder, the fault and the mend."""


def make_net(width: int = 16, depth: int = 3):
    """The U-Net: (batch, 2, bins, frames) -> logits (batch, 1, bins, frames); bins and frames are multiples of 2^depth.

    Its two inputs are the logarithm of power over background and the bin's place between 0 and 1, for noise and calls have their bands. Everything in it is local: what a frame is
    told does not depend on frames farther than EDGE.
    """
    import torch
    from torch import nn

    def twice(n_in: int, n_out: int) -> nn.Sequential:
        layers = [nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.LeakyReLU(0.1),
                  nn.Conv2d(n_out, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.LeakyReLU(0.1)]
        return nn.Sequential(*layers)

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            sizes = [width * 2 ** k for k in range(depth + 1)]
            self.down = nn.ModuleList(twice(n_in, n_out) for n_in, n_out in zip([2, *sizes[:-1]], sizes))
            self.up = nn.ModuleList(twice(n_deep + n_skip, n_skip) for n_deep, n_skip in zip(sizes[:0:-1], sizes[-2::-1]))
            self.last = nn.Conv2d(width, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            skips = []
            for k, block in enumerate(self.down):
                x = block(x if k == 0 else nn.functional.max_pool2d(x, 2))
                skips.append(x)
            x = skips.pop()
            for block in self.up:
                x = block(torch.cat([nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"), skips.pop()], dim=1))
            return self.last(x)

    return UNet()


def features(above: np.ndarray) -> np.ndarray:
    """What the network sees: (..., frames, bins) power over background -> (..., 2, bins, frames) float32."""
    known = np.where(above == UNKNOWN, 0, above)
    seen = np.swapaxes(np.log10(1 + known), -1, -2).astype(np.float32)
    place = np.broadcast_to(np.linspace(0, 1, seen.shape[-2], dtype=np.float32)[:, None], seen.shape)
    return np.stack([seen, place], axis=-3)


@dataclass
class Denoiser:
    """A trained network with its front end.

    Attributes
    ----------
    sample_rate_hz, window_s : of the sound it was trained on; bins : of its spectra from the first above 0 Hz, as many as the network sees.
    floor_db : gain of what is surely noise. info : whatever else `model.json` says.
    """

    net: object
    sample_rate_hz: int
    window_s: float
    bins: int
    width: int
    depth: int
    floor_db: float = -30.0
    info: dict = field(default_factory=dict)
    device: str = "cpu"

    def denoised(self, blocks: Iterable[np.ndarray], sample_rate_hz: int, gate: Gate = Gate()) -> Iterator[np.ndarray]:
        """The sound without what the network takes for noise: float32 blocks, as long in all as what came in, the same whatever the blocks.

        Parameters
        ----------
        blocks : float32 samples in order, at any rate. gate : for the bins above those that the network knows.
        """
        grid = Grid(sample_rate_hz, self.window_s)
        return grid.filtered(blocks, lambda spectra: self._gains(above_background(spectra, grid), gate))

    def mask(self, above: np.ndarray) -> np.ndarray:
        """(frames, bins) gains between 0 and 1 of power over background (frames, bins), all at once."""
        import torch

        frames, step = len(above), 2 ** self.depth
        wide = np.zeros((-(-frames // step) * step, self.bins), np.float32)
        wide[:frames, :above.shape[1]] = above
        self.net.eval().to(self.device)
        with torch.inference_mode():
            answer = torch.sigmoid(self.net(torch.from_numpy(features(wide))[None].to(self.device)))[0, 0]
        return answer.float().cpu().numpy().T[:frames, :above.shape[1]]

    def _gains(self, above: Iterator[np.ndarray], gate: Gate) -> Iterator[np.ndarray]:
        """Gains of each segment, (frames, bins)."""
        top, floor = 1 + self.bins, np.float32(10 ** (self.floor_db / 20))
        seen, beyond, all_bins = tee(above, 3)
        classical = gate_gains((ratio[:, min(top, ratio.shape[1]) - 1:] for ratio in beyond), gate)
        for mask, upper, ratio in zip(cross_faded((part[:, 1:top] for part in seen), self.mask), classical, all_bins):
            own = np.where(ratio[:, 1:top] == UNKNOWN, 1, np.maximum(mask, floor))
            yield np.concatenate([own[:, :1], own, upper[:, 1:]], axis=1)  # 0 Hz like the bin above it

    # ---- on disk

    def save(self, folder: str | Path) -> Path:
        """Write `model.safetensors` and `model.json`; the folder."""
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.net.state_dict().items()}
        save_file(weights, folder / "model.safetensors")
        digest = hashlib.sha256(b"".join(name.encode() + tensor.numpy().tobytes() for name, tensor in sorted(weights.items()))).hexdigest()
        self.info["denoiser_id"] = f"denoiser-{digest[:12]}"
        told = {"format": FORMAT, "kind": "denoiser"} | {name: getattr(self, name) for name in NEEDED if name != "denoiser_id"} | self.info
        (folder / "model.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Denoiser:
        """A saved denoiser, on the CPU.

        Raises
        ------
        BadDenoiser
            for a folder that is none, or whose two files do not fit.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = Path(folder)
        try:
            told = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            if not isinstance(told, dict) or told.get("kind") != "denoiser":
                raise BadDenoiser(f"{folder}: its model.json is not that of a denoiser; give a folder that `train_denoiser` wrote, or how=\"gate\"")
            missing = [name for name in NEEDED if name not in told]
            if told.get("format") != FORMAT or missing:
                raise BadDenoiser(f"{folder}/model.json: format {told.get('format')}, without {', '.join(missing) or 'nothing'}; this code reads format {FORMAT}, train again")
            net = make_net(told["width"], told["depth"])
            net.load_state_dict(load_file(folder / "model.safetensors"))
        except (OSError, json.JSONDecodeError, SafetensorError, RuntimeError) as error:
            raise BadDenoiser(f"{folder}: no denoiser that can be read ({' '.join(str(error).split())[:200]}); copy model.json and model.safetensors again, or train again") from None
        return cls(net.eval(), *(told[name] for name in NEEDED[1:]), info={name: value for name, value in told.items() if name not in ("format", "kind", *NEEDED[1:])})


def cross_faded(segments: Iterable[np.ndarray], answer: Callable[[np.ndarray], np.ndarray], block: int = BLOCK, edge: int = EDGE, fade: int = FADE) -> Iterator[np.ndarray]:
    """What `answer` says of rows that come in segments, in windows of `block` rows; segments of the same lengths go out.

    Parameters
    ----------
    answer : (rows, columns) -> (rows, columns). edge : rows at either end of a window that are not used (but at the two ends of all). fade : rows over which one window gives way to the next.
    """
    step = block - 2 * edge - fade
    rise = ((np.arange(fade) + 0.5) / fade).astype(np.float32)[:, None]
    lengths: deque = deque()
    held, ready, leaving = [], [], None  # rows from the window's first; rows answered; the end of the window before

    def window(final: bool) -> None:
        nonlocal held, ready, leaving
        rows = np.concatenate(held)
        said = answer(rows if final else rows[:block])
        start = 0
        if leaving is not None:
            start = edge + fade
            ready.append(said[edge:start] * rise + leaving * (1 - rise))
        stop = len(said) if final else block - edge - fade
        ready.append(said[start:stop])
        leaving = None if final else said[stop:stop + fade]
        held = [rows[step:]]

    def given() -> Iterator[np.ndarray]:
        nonlocal ready
        while lengths and sum(map(len, ready)) >= lengths[0]:
            rows, size = np.concatenate(ready), lengths.popleft()
            ready = [rows[size:]]
            yield rows[:size]

    for segment in segments:
        lengths.append(len(segment))
        held.append(segment)
        while sum(map(len, held)) > block:
            window(final=False)
        yield from given()
    if lengths:
        window(final=True)
        yield from given()
