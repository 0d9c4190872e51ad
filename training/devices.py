"""One training on several graphics cards or machines, by the flags of Lightning's Trainer.

    python -m training NAME --trainer devices=4                                   # the four cards of this machine
    torchrun --nnodes 2 --nproc-per-node 4 -m training NAME --trainer devices=4 num_nodes=2      # on each of two machines; or srun, with one task for each card
    trainer: {devices: 4, precision: bf16-mixed}                                  # the same, in an experiment's YAML

The flags say how a machine does it, not what is done: they change no digest. `batch_size` stays the batch of all devices together, so that steps and schedule
stay; each device gets its share of every batch, and no window comes twice in an epoch. Validation is shared out likewise and judged together.
Numbers differ a little from those of one device: batch norm sees a share, and each share is augmented by itself.

Where processes are started from outside, the first executes the notebook, and the others, `join`, only train along.
"""
from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Sampler

LONGEST_WAIT = timedelta(days=7)  # of the other processes, while the first makes the data


def started_outside() -> bool:
    """Whether torchrun or srun started several processes."""
    return int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1) > 1


def trainer_flags(given: dict | None) -> dict:
    """Arguments of the Trainer about the machine: one device, a graphics card in half precision where there is one, unless the flags say otherwise."""
    from lightning.fabric.accelerators.cuda import is_cuda_available  # torch's own may wake the card up, which a notebook's processes could then no more share

    given = dict(given or {})
    cuda = given.get("accelerator") in (None, "auto", "gpu", "cuda") and is_cuda_available()
    flags = {"accelerator": "cuda" if cuda else "cpu", "devices": 1, "precision": "16-mixed" if cuda else "32-true", "deterministic": not cuda} | given
    if given and started_outside() and given.get("strategy", "ddp") == "ddp":
        flags["strategy"] = among_others()
    return flags


def among_others():
    """Data-parallel training of processes that are there already. Lightning's own strategy refuses a notebook, because it would start some."""
    from lightning.pytorch.strategies import DDPStrategy

    class AmongOthers(DDPStrategy):
        def _configure_launcher(self):
            self._launcher = None

    return AmongOthers()


class Share(Sampler):
    """A device's share of another sampler's windows: every n-th of the same order, so that the devices' batches make up the batch of one device.

    even : drop the last few, so that all devices have as many (in training, where they wait for each other).
    """

    def __init__(self, whole: Sampler, devices: int, even: bool):
        self.whole, self.devices, self.even = whole, devices, even

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch."""
        if hasattr(self.whole, "set_epoch"):
            self.whole.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.whole) // self.devices if self.even else len(range(_own_rank(), len(self.whole), self.devices))

    def __iter__(self) -> Iterator[int]:
        mine = list(self.whole)[_own_rank()::self.devices]
        return iter(mine[:len(self)] if self.even else mine)


def _own_rank() -> int:
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def shared(batches: DataLoader, devices: int, even: bool = True) -> DataLoader:
    """The batches of one of so many devices.

    Raises
    ------
    ValueError
        where a batch cannot be shared out evenly.
    """
    if devices == 1:
        return batches
    if batches.batch_size % devices:
        raise ValueError(f"batch_size {batches.batch_size} cannot be shared by {devices} devices; take a multiple of {devices}")
    return DataLoader(batches.dataset, batches.batch_size // devices, sampler=Share(batches.sampler, devices, even), collate_fn=batches.collate_fn, num_workers=batches.num_workers)


def gathered(mine: list) -> list:
    """The lists of all devices, one after another."""
    if not torch.distributed.is_initialized():
        return mine
    parts: list = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, mine)
    return [value for part in parts for value in part]


def alike(net: torch.nn.Module) -> None:
    """Give every device the first one's running statistics, of which each has its own after a step."""
    if torch.distributed.is_initialized():
        for buffer in net.buffers():
            torch.distributed.broadcast(buffer, 0)


def join(experiment, data_dir: str | Path, results: str | Path) -> None:
    """Train along in a process that is not the first. It waits until that one has made the data and begins to train, and writes nothing.

    Raises
    ------
    training.spec.BadExperiment
        for an experiment that is more than one training.
    """
    from training import experiment as steps
    from training.augment import Augmentation
    from training.data import WindowSet
    from training.quantisation_aware import trained_int8
    from training.spec import BadExperiment

    if experiment.kind not in ("simulated", "annotations"):
        raise BadExperiment(f"{experiment.name}: an experiment of kind {experiment.kind} is several trainings; start it once, on one machine")
    cuda = trainer_flags(experiment.trainer)["accelerator"] in ("cuda", "gpu")
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0))
    where = {} if "RANK" in os.environ else slurm_address()
    torch.distributed.init_process_group("nccl" if cuda else "gloo", timeout=LONGEST_WAIT, **where)
    spec = steps.spec_of(experiment.to_dict())
    profile, folder = spec.front_end(), Path(results) / spec.name
    data, _ = steps.data_of(spec, data_dir)
    net, _ = steps.train_network(data, profile, spec, folder, progress=False)
    if spec.quantise_epochs:
        train, validation = WindowSet(data, data.rows(split="train"), profile, Augmentation(**spec.augmentation), spec.seed), WindowSet(data, data.rows(split="validation"), profile)
        trained_int8(net, train, validation, steps.settings_of(spec), spec.quantise_epochs, folder / "checkpoints" / "int8")


def slurm_address() -> dict:
    """Where the processes of srun meet, as Lightning reckons it."""
    from lightning.fabric.plugins.environments import SLURMEnvironment

    here = SLURMEnvironment()
    return {"init_method": f"tcp://{here.main_address}:{here.main_port}", "rank": here.global_rank(), "world_size": here.world_size()}
