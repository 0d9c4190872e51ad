"""Training the denoiser without a clean recording.

Noise2Noise (Lehtinen et al. 2018, ICML): a network that is shown a call in one noise and asked for the same call in another cannot foretell the other noise, so it learns the call. ORCA-CLEAN
(Bergler et al. 2020, Interspeech, 1136-1140) carries this to recordings of whales, with several kinds of noise and with machine-made binary masks as targets that say where the call
is. What follows is written from that description; what differs:

- Noises are added to the sound, and compared are complex spectra, not decibels: there noise has a mean of zero, as Noise2Noise needs. The best real gain is then the share of the cell that is
  common to both, without bias; in decibels it would be the noise's mean level.
- The two noises are only as good as the recording is quiet: its own noise is in the input and in the target, and would be kept. Targets under a mask, and noise with nothing as its
  target, teach the network to leave that out, too.
- Equalised histograms are left out: they have no meaning for sound.

A pair is (input, target), `x` a cut call with what noise it has, `mask` the cells that the gate leaves wide open:

    noisy        x + one noise      ->  x + another        (each of KINDS)
    noisier      x + recorded noise ->  x
    masked       x + a noise        ->  mask x
    mask         x                  ->  mask x
    nothing      recorded noise     ->  0

The loss is |gain * input - target|^2 over the background of the input, divided by 1 + the input's power + the background of the target, both over it as well: a weight that knows nothing of the
target but how loud its noise is on the whole leaves the best answer where it is, and no loud target outweighs all others.

On disk: `checkpoints/last.pt` (tensors and numbers), from which a run that was broken off goes on and ends where it would have; then `model.safetensors` and `model.json`, the step with the
lowest validation loss.
"""
from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from preprocessing.denoiser import Denoiser, features, make_net
from preprocessing.gating import UNKNOWN, Gate, above_background, gate_gains
from preprocessing.overlap_add import WINDOW_S, Grid

KINDS = ("gaussian", "exponential", "chi2", "poisson", "coloured", "recorded")
CASES = {"noisy": 0.3, "noisier": 0.15, "masked": 0.3, "mask": 0.1, "nothing": 0.15}
CROP_S = 3.0  # of a clip, for the background of an example
ON_CALL = 0.8  # of the examples lie on what the gate lets through, the rest anywhere
MASK = Gate(floor_db=-40)


@dataclass(frozen=True)
class DenoiserSettings:
    """`snr_db`: of the clip over an added noise, drawn between; `patch_frames`: of an example; `check_every` steps the validation pairs are asked; `cases`: share of each kind of pair."""

    width: int = 16
    depth: int = 3
    window_s: float = WINDOW_S
    steps: int = 3000
    batch_size: int = 16
    learning_rate: float = 2e-3
    patch_frames: int = 128
    snr_db: tuple[float, float] = (-8.0, 6.0)
    cases: dict = field(default_factory=lambda: dict(CASES))
    check_every: int = 100
    validation_pairs: int = 48
    floor_db: float = -30.0
    seed: int = 0


def noise_of(kind: str, n: int, rng: np.random.Generator, recorded: Sequence[np.ndarray] = ()) -> np.ndarray:
    """(n,) noise of mean 0 and rms 1.

    gaussian: hiss. exponential: two-sided, more of large values. chi2: squared hiss, one-sided. poisson: clicks at random times, sparse to dense. coloured: hiss that falls by 3 to 9 dB an
    octave and throbs, like a ship. recorded: a stretch of a noise segment, mirrored where it is too short.
    """
    if kind == "gaussian":
        x = rng.standard_normal(n)
    elif kind == "exponential":
        x = rng.laplace(size=n)
    elif kind == "chi2":
        x = rng.standard_normal(n) ** 2
    elif kind == "poisson":
        x = rng.poisson(10 ** rng.uniform(-3, -0.5), n) * rng.choice([-1.0, 1.0], n)
    elif kind == "coloured":
        spectrum = np.fft.rfft(rng.standard_normal(n))
        spectrum[1:] *= np.arange(1, len(spectrum)) ** (-rng.uniform(0.5, 1.5))
        beat = 1 + rng.uniform(0, 0.9) * np.sin(2 * np.pi * (rng.uniform(2, 40) * np.arange(n) / n + rng.uniform()))
        x = np.fft.irfft(spectrum, n) * beat
    elif kind == "recorded":
        source = recorded[rng.integers(len(recorded))]
        first = rng.integers(max(len(source) - n, 0) + 1)
        x = np.asarray(source[first:first + n], float)
        x = np.pad(x, (0, n - len(x)), mode="symmetric")
    else:
        raise ValueError(f"unknown kind of noise {kind!r}; one of {', '.join(KINDS)}")
    x = x - x.mean()
    return (x / max(np.sqrt(np.mean(x ** 2)), 1e-12)).astype(np.float32)


class Pairs:
    """Draws examples: what the network sees, and input and target that its gain is judged by.

    Parameters
    ----------
    clips, noises : float32 sounds at one sample rate, cut calls and stretches without a call; `noises` may be empty, then recorded noise is left out.
    """

    def __init__(self, clips: Sequence[np.ndarray], noises: Sequence[np.ndarray], sample_rate_hz: int, settings: DenoiserSettings):
        self.grid, self.settings, self.noises = Grid(sample_rate_hz, settings.window_s), settings, [x for x in noises if len(x) and np.any(x)]
        self.bins = (self.grid.n_bins - 1) // 2 ** settings.depth * 2 ** settings.depth
        least = settings.patch_frames * self.grid.hop
        self.clips = [np.pad(x, (0, max(0, least - len(x))), mode="symmetric") for x in clips if len(x) and np.any(x)]
        if not self.clips:
            raise ValueError("no clip with a sound in it to train on; acquire some first (preprocessing/09_acquire.ipynb)")
        if settings.patch_frames % 2 ** settings.depth:
            raise ValueError(f"patch_frames {settings.patch_frames}: give a multiple of {2 ** settings.depth}")
        self.kinds = KINDS if self.noises else KINDS[:-1]
        cases = {case: share for case, share in settings.cases.items() if self.noises or case not in ("noisier", "nothing")}
        if set(cases) - set(CASES) or not sum(cases.values()):
            raise ValueError(f"cases {settings.cases}: give shares of {', '.join(CASES)}")
        self.cases, self.shares = list(cases), np.array(list(cases.values())) / sum(cases.values())

    def draw(self, rng: np.random.Generator, case: str | None = None) -> tuple[np.ndarray, ...]:
        """(2, bins, frames) features; input and target (2, bins, frames), real and imaginary parts over the root of the background's power; weight (1, bins, frames)."""
        case = case or self.cases[rng.choice(len(self.cases), p=self.shares)]
        clip = self.clips[rng.integers(len(self.clips))]
        size = min(len(clip), max(round(CROP_S * self.grid.sample_rate_hz), self.settings.patch_frames * self.grid.hop))
        first = rng.integers(len(clip) - size + 1)
        x = clip[first:first + size]
        rms = max(float(np.sqrt(np.mean(x ** 2))), 1e-9)

        def noise(kind: str) -> np.ndarray:
            return noise_of(kind, size, rng, self.noises) * np.float32(rms * 10 ** (-rng.uniform(*self.settings.snr_db) / 20))

        kinds = rng.choice(self.kinds, 2, replace=False)
        given = {"noisy": lambda: x + noise(kinds[0]), "noisier": lambda: x + noise("recorded"), "masked": lambda: x + noise(kinds[0]), "mask": lambda: x,
                 "nothing": lambda: noise("recorded")}[case]()
        own = self._spectra(x)
        open_cells = self._mask(own)
        wanted = {"noisy": lambda: self._spectra(x + noise(kinds[1])), "noisier": lambda: own, "masked": lambda: own * open_cells, "mask": lambda: own * open_cells,
                  "nothing": lambda: np.zeros_like(own)}[case]()
        seen = self._spectra(given)
        above, above_target = (np.concatenate(list(above_background([x], self._whole(len(x))))) for x in (seen, wanted))
        at = self._place(rng, open_cells)
        cut = np.s_[at:at + self.settings.patch_frames, 1:1 + self.bins]
        ratio, scale = above[cut], _scale(seen[cut], above[cut])
        scale_target = _scale(wanted[cut], above_target[cut]) if case == "noisy" else np.zeros_like(scale)  # other targets hold no noise but the input's
        louder = np.divide(scale ** 2, scale_target ** 2, out=np.zeros_like(scale), where=scale_target > 0)
        weight = 1 / (1 + np.where(ratio == UNKNOWN, 0, ratio) + louder)
        return features(ratio), _parts(seen[cut] * scale), _parts(wanted[cut] * scale), weight.T[None]

    def batch(self, size: int, rng: np.random.Generator):
        """What `draw` gives, `size` times: four tensors."""
        import torch

        return [torch.from_numpy(np.stack(part).astype(np.float32)) for part in zip(*(self.draw(rng) for _ in range(size)))]

    def _spectra(self, x: np.ndarray) -> np.ndarray:
        return np.concatenate(list(self.grid.spectra([x])))

    def _whole(self, frames: int) -> Grid:
        """The grid with one segment for all of a clip: its background is one low quantile, as of a recording this short."""
        grid = Grid(self.grid.sample_rate_hz, self.grid.window_s)
        grid.segment_frames = frames
        return grid

    def _mask(self, spectra: np.ndarray) -> np.ndarray:
        """(frames, bins) True where the gate is open by half."""
        above = above_background([spectra], self._whole(len(spectra)))
        return np.concatenate(list(gate_gains(above, MASK))) > 0.5

    def _place(self, rng: np.random.Generator, open_cells: np.ndarray) -> int:
        """First frame of the patch."""
        last = len(open_cells) - self.settings.patch_frames
        weight = open_cells[:, 1:].sum(axis=1).astype(float)
        if rng.uniform() > ON_CALL or weight.sum() == 0:
            return int(rng.integers(last + 1))
        middle = rng.choice(len(weight), p=weight / weight.sum())
        return int(np.clip(middle - rng.integers(self.settings.patch_frames), 0, last))


def pair_loss(logits, given, wanted, weight):
    """Mean over cells; shapes (batch, 1, bins, frames), twice (batch, 2, bins, frames), (batch, 1, bins, frames)."""
    import torch

    return (weight * ((torch.sigmoid(logits) * given - wanted) ** 2).sum(dim=1, keepdim=True)).mean()


def train_denoiser(clips: Sequence[np.ndarray], noises: Sequence[np.ndarray], sample_rate_hz: int, folder: str | Path, settings: DenoiserSettings = DenoiserSettings(),
                   validation: tuple[Sequence[np.ndarray], Sequence[np.ndarray]] | None = None, progress: bool = True, stop_after: int | None = None, info: dict | None = None) -> Denoiser:
    """Train (or go on training) and save; the denoiser with the lowest validation loss.

    Parameters
    ----------
    clips, noises : sounds at `sample_rate_hz`; noisy calls, and stretches without a call.
    validation : the same of *other recordings*; without, the last step is kept.
    stop_after : end at this step although the schedule is longer (then nothing is saved but the checkpoint).
    info : goes into `model.json`, under "trained_on".
    """
    import torch
    from tqdm.auto import tqdm

    folder, device = Path(folder), "cuda" if torch.cuda.is_available() else "cpu"
    pairs = Pairs(clips, noises, sample_rate_hz, settings)
    held_out = None if validation is None else Pairs(*validation, sample_rate_hz, settings).batch(settings.validation_pairs, np.random.default_rng((settings.seed, 1_000_000_007)))
    same = f"{settings} {_digest(clips, noises)}"  # what a run that goes on must have in common with the one that was broken off
    torch.manual_seed(settings.seed)
    net = make_net(settings.width, settings.depth).to(device)
    optimiser = torch.optim.AdamW(net.parameters(), settings.learning_rate, weight_decay=0.01)
    kept, done, best, history = None, 0, np.inf, []
    last = folder / "checkpoints" / "last.pt"
    if last.exists():
        state = torch.load(last, map_location=device, weights_only=True)
        if state["same"] != same:
            raise ValueError(f"{last}: left by a training with other settings or sounds; give another folder, or remove it")
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        kept, done, best, history = state["kept"], state["done"], state["best"], state["history"]
    end, losses = min(settings.steps, stop_after or settings.steps), []
    for step in tqdm(range(done, end), desc="training", unit="step", disable=not progress, initial=done, total=end):
        seen, *pair = (part.to(device) for part in pairs.batch(settings.batch_size, np.random.default_rng((settings.seed, step))))
        net.train()
        loss = pair_loss(net(seen), *pair)
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * pace(step, settings.steps)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        if (step + 1) % settings.check_every and step + 1 != end:
            continue
        row = {"step": step + 1, "loss": float(np.mean(losses)), "val_loss": _loss(net, held_out, settings.batch_size, device) if held_out else None}
        losses = []
        history.append(row)
        if held_out is None or row["val_loss"] < best:
            kept, best = {name: tensor.detach().cpu().clone() for name, tensor in net.state_dict().items()}, row["val_loss"] if held_out else best
        _checkpoint(last, {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "kept": kept, "done": step + 1, "best": best,
                           "history": history, "same": same})
    net.load_state_dict(kept)
    told = {"settings": asdict(settings), "history": history, "trained_on": {"clips": len(pairs.clips), "noises": len(pairs.noises)} | (info or {})}
    denoiser = Denoiser(net.cpu().eval(), int(sample_rate_hz), settings.window_s, pairs.bins, settings.width, settings.depth, settings.floor_db, told)
    if end == settings.steps:
        denoiser.save(folder)
    return denoiser


def pace(step: int, steps: int) -> float:
    """Share of the learning rate: rises over the first tenth, then falls along a cosine to nothing."""
    rise = max(1, steps // 10)
    return float(min((step + 1) / rise, 0.5 * (1 + np.cos(np.pi * max(0, step - rise) / max(1, steps - rise)))))


def _loss(net, held_out, batch_size: int, device: str) -> float:
    import torch

    net.eval()
    with torch.inference_mode():
        batches = zip(*(part.to(device).split(batch_size) for part in held_out))
        parts = [pair_loss(net(seen), *pair) * len(seen) for seen, *pair in batches]
    return float(sum(parts) / len(held_out[0]))


def _digest(*sounds: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for sound in (np.asarray(x, np.float32) for part in sounds for x in part):
        digest.update(len(sound).to_bytes(8, "big") + sound.tobytes())
    return digest.hexdigest()[:16]


def _checkpoint(path: Path, state: dict) -> None:
    """Whole or not at all."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


def _scale(spectra: np.ndarray, above: np.ndarray) -> np.ndarray:
    """1 / root of the background's power; 0 where it is unknown."""
    power = spectra.real ** 2 + spectra.imag ** 2
    return np.where((above > 0) & (above != UNKNOWN), np.sqrt(np.where(above == UNKNOWN, 0, above) / np.maximum(power, 1e-30)), 0)


def _parts(spectra: np.ndarray) -> np.ndarray:
    """(frames, bins) complex -> (2, bins, frames), real and imaginary."""
    return np.stack([spectra.real.T, spectra.imag.T]).astype(np.float32)
