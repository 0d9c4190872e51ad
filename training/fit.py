"""The training loop: Lightning around the network, the same on CPU and on CUDA, resumable, seeded.

On disk, in `checkpoints/` of the run's folder (git-ignored): `last.ckpt` after every epoch, and `best.ckpt`, the epoch with the
highest validation macro average precision (with `keep: last` the last one, where there is nothing to choose by). A run that finds `last.ckpt` goes on from there and ends where an uninterrupted run would
have: the order of windows, their augmentation and the dropout depend on seed, epoch and step; the rest is in the checkpoint.
"""
from __future__ import annotations

import logging
import os
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar

from training.checkpoints import read_checkpoint
from training.data import DRAWN, WindowSet, loader
from training.devices import alike, gathered, shared, trainer_flags
from training.losses import call_loss
from training.metrics import average_precision


# oneDNN's AVX-512 kernels for the backward pass of channels-last convolutions write beyond their memory on some processors (torch 2.11.0: the process
# dies); those for AVX2 do not, are no slower here, and give the same weights on every processor. Read at the first convolution, so set before it.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")


@dataclass(frozen=True)
class FitSettings:
    """Schedule and loss. `windows_per_epoch` None: all; `patience` in epochs; `keep` the "best" epoch or the "last"; `balance`: see
    `training.data.DRAWN`; `smoothing`: targets lie this far inside 0..1; `trainer`: flags of the Trainer about the machine, see `training.devices`;
    `hard_negatives`: how many times as often windows with a detector's false alarm are drawn; `noise_share`: of the windows drawn, how many are recorded noise, see
    `training.real_noise`."""

    epochs: int = 16
    batch_size: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    position_weight: float = 0.5
    pos_weight: tuple | None = None
    patience: int = 6
    windows_per_epoch: int | None = None
    workers: int = 0
    seed: int = 0
    keep: str = "best"
    balance: str = "none"
    smoothing: float = 0.0
    trainer: dict | None = None
    hard_negatives: float = 1.0
    noise_share: float = 0.0


class CallModule(lightning.LightningModule):
    """Loss, optimiser and validation score around any network that answers (window logits, position logits).

    A network that answers no positions (the peer's) returns None in their place.
    """

    def __init__(self, net: torch.nn.Module, settings: FitSettings, labels: tuple, steps: int):
        super().__init__()
        self.net, self.settings, self.labels, self.steps = net, settings, labels, steps
        self.seen: list = []
        self.history: list[dict] = []

    def loss(self, batch) -> torch.Tensor:
        x, window, position = batch
        window_logits, position_logits = self.net(x.contiguous(memory_format=torch.channels_last))
        weight = self.settings.pos_weight and torch.tensor(self.settings.pos_weight, device=x.device)
        if self.settings.smoothing and self.training:
            window, position = (t * (1 - 2 * self.settings.smoothing) + self.settings.smoothing for t in (window, position))
        if position_logits is None:
            position_logits, position = window_logits, torch.full_like(window, torch.nan)
        return call_loss(window_logits, position_logits, window, position, self.settings.position_weight, weight), window_logits

    def training_step(self, batch, number):
        torch.manual_seed(self.settings.seed * 1_000_003 + self.global_step)  # the same dropout, whether resumed or not
        loss, _ = self.loss(batch)
        self.log("loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return loss

    def validation_step(self, batch, number):
        loss, logits = self.loss(batch)
        self.log("val_loss", loss, batch_size=len(batch[0]), sync_dist=self.trainer.world_size > 1)
        self.seen.append((logits.float().cpu().numpy(), batch[1].cpu().numpy()))

    def on_validation_epoch_start(self):
        alike(self.net)

    def on_validation_epoch_end(self):
        logits, target = (np.concatenate(part) for part in zip(*gathered(self.seen)))
        self.seen.clear()
        each = [average_precision(target[:, k], logits[:, k]) for k in range(len(self.labels))]
        macro = float(np.nanmean(each)) if np.isfinite(each).any() else 0.0
        self.log("val_macro_ap", macro, prog_bar=True)
        if not self.trainer.sanity_checking:
            numbers = {"epoch": self.current_epoch, "val_macro_ap": macro} | {f"val_ap_{label}": float(ap) for label, ap in zip(self.labels, each)}
            self.history.append(numbers)

    def on_save_checkpoint(self, checkpoint):
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint):
        self.history = checkpoint["history"]

    def configure_optimizers(self):
        optimiser = torch.optim.AdamW(self.net.parameters(), self.settings.learning_rate, weight_decay=self.settings.weight_decay)
        steps = max(3, self.steps)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, self.settings.learning_rate, total_steps=steps, pct_start=0.25 if steps > 4 else 2 / steps)  # the rise takes a step at least
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def share_of(train: WindowSet, settings: FitSettings) -> np.ndarray | None:
    """(windows,) how often each is drawn, by `balance`, `hard_negatives` and `noise_share`; None:
    each once.
    """
    draw = DRAWN[settings.balance]
    share = draw(train.rows, train.profile.labels) if draw else None
    if (
        settings.hard_negatives != 1
        and "hard_negative" in train.rows
        and train.rows["hard_negative"].any()
    ):
        share = (1.0 if share is None else share) * np.where(
            train.rows["hard_negative"], settings.hard_negatives, 1.0
        )
    if not settings.noise_share or not train.real.any() or train.real.all():
        return share
    share = (np.ones(len(train)) if share is None else np.asarray(share, float)) * train.rows[
        "weight"
    ].to_numpy()
    for part, total in (
        (train.real, settings.noise_share),
        (~train.real, 1 - settings.noise_share),
    ):
        share[part] *= total / share[part].sum()
    return share


class Patience(EarlyStopping):
    """Early stopping that still knows, when a run is taken up again, that it had stopped."""

    def on_train_start(self, trainer, module):
        if self.wait_count >= self.patience:
            trainer.should_stop = True


def fit(net: torch.nn.Module, train: WindowSet, validation: WindowSet | None, settings: FitSettings, folder: str | Path,
        progress: bool = True, stop_after: int | None = None) -> tuple[torch.nn.Module, list[dict]]:
    """Train, keep the best epoch, return the network (on the CPU, in evaluation mode) and the history, a dict per epoch.

    Parameters
    ----------
    validation : None with `keep` "last".
    folder : the run's folder; checkpoints go below it, and a run found there is resumed.
    stop_after : end after this epoch although the schedule is longer (used to test resuming).
    """
    folder = Path(folder) / "checkpoints"
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory.*exists and is not empty.*")
    if settings.keep == "best":
        best = ModelCheckpoint(folder, "best", monitor="val_macro_ap", mode="max", enable_version_counter=False)
        callbacks = [best, ModelCheckpoint(folder, "last", enable_version_counter=False), Patience("val_macro_ap", patience=settings.patience, mode="max")]
    else:
        callbacks = [ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)]
    callbacks += [TQDMProgressBar(refresh_rate=10)] if progress else []
    trainer = lightning.Trainer(
        **trainer_flags(settings.trainer), max_epochs=min(settings.epochs, stop_after or settings.epochs), callbacks=callbacks, logger=False, enable_progress_bar=progress,
        enable_model_summary=False, num_sanity_val_steps=0, gradient_clip_val=1.0, use_distributed_sampler=False)
    batches = shared(loader(train, settings.batch_size, settings.workers, settings.windows_per_epoch, share_of(train, settings)), trainer.world_size)
    examined = validation and shared(loader(validation, settings.batch_size, settings.workers), trainer.world_size, even=False)
    module = CallModule(net.to(memory_format=torch.channels_last), settings, train.profile.labels, len(batches) * settings.epochs)
    last = folder / "last.ckpt"
    if last.exists():
        read_checkpoint(last, ("state_dict", "loops", "history"))
    trainer.fit(module, batches, examined, ckpt_path=last if last.exists() else None, weights_only=True)
    if trainer.world_size > 1:  # other processes may have trained
        module.history = read_checkpoint(last)["history"]
    if settings.keep == "best" and best.best_model_path:
        module.load_state_dict(read_checkpoint(best.best_model_path)["state_dict"])
    return module.net.cpu().eval(), module.history


def settings_dict(settings: FitSettings) -> dict:
    """Plain dict for the saved model and the experiment's parameters."""
    return asdict(settings)
