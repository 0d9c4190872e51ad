"""`python -m training NAME ...`: run experiments; see `training/run.py`.

Their kernels count on one thread unless OMP_NUM_THREADS says otherwise: sums taken by two threads differ in their last digits, and after some thousand steps the networks do too.
The same seed so gives the same numbers whatever the number of cores. For large networks without a graphics card: OMP_NUM_THREADS=16 make experiment NAME=...
"""
from __future__ import annotations

import argparse
import os
import sys
import time

import yaml

from training.run import RESULTS, ROOT, every_experiment, run_experiment, state
from training.spec import BadExperiment, Experiment, read_experiment

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main(words: list[str] | None = None) -> int:
    """Run what was asked for; 0 when all of it stands in results/, 2 for a mistake in the call or in a YAML file, 1 where a run failed."""
    parser = argparse.ArgumentParser(prog="python -m training", description="Run experiments: training/experiments/NAME.yaml to results/NAME/.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments to run")
    parser.add_argument("--all", action="store_true", help="all that are missing or whose parameters changed")
    parser.add_argument("--list", action="store_true", help="say which are done, missing or changed")
    parser.add_argument("--full", action="store_true", help="at the full setting of the YAML's table `full`, to results/NAME_full")
    parser.add_argument("--again", action="store_true", help="run also what is done already, from the start")
    parser.add_argument("--trainer", nargs="+", default=[], metavar="FLAG=VALUE", help="flags of Lightning's Trainer about this machine, e.g. devices=4 precision=bf16-mixed; see training/devices.py")
    options = parser.parse_args(words)
    if options.full and (options.all or options.list):
        parser.error("--full goes with names: each is hours of work, name one")
    try:
        chosen = every_experiment() if options.all or options.list else [read_experiment(name, options.full) for name in options.names]
        chosen = [with_flags(experiment, options.trainer) for experiment in chosen]
    except BadExperiment as error:
        print(error, file=sys.stderr)
        return 2
    if not chosen:
        parser.error("name an experiment, or give --all or --list")
    if rank():
        return along(chosen, options.again)
    if options.list:
        for experiment in chosen:
            print(f"{state(experiment):8} {experiment.name:20} {experiment.question}")
        return 0
    return max(one(experiment, options.again) for experiment in chosen)


def rank() -> int:
    """The number of this process among those that torchrun or srun started; 0 where it is the only one."""
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0)


def along(chosen: list[Experiment], again: bool) -> int:
    """What every process but the first does: help to train what is not done."""
    from training.devices import join

    try:
        for experiment in chosen:
            if again or state(experiment) != "done":
                join(experiment, ROOT / "data", RESULTS)
    except BadExperiment as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def with_flags(experiment: Experiment, flags: list[str]) -> Experiment:
    """The experiment with flags of the Trainer, "devices=4", beside or in place of its own."""
    if not flags:
        return experiment
    for flag in flags:
        if "=" not in flag:
            raise BadExperiment(f"--trainer {flag}: no value; write e.g. devices=4")
    given = {key: yaml.safe_load(value) for key, value in (flag.split("=", 1) for flag in flags)}
    return Experiment.from_dict(experiment.to_dict() | {"trainer": (experiment.trainer or {}) | given})


def one(experiment, again: bool) -> int:
    """Run one experiment and say how it went."""
    from papermill import PapermillExecutionError

    from training.backbones import BadBackbone

    print(f"{experiment.name}: {state(experiment)}", flush=True)
    begun = time.monotonic()
    for name in THREADS:
        os.environ.setdefault(name, os.environ.get("OMP_NUM_THREADS", "1"))
    try:
        found = run_experiment(experiment, again=again)
    except BadBackbone as error:
        print(f"{experiment.name}: {error}", file=sys.stderr)
        return 1
    except PapermillExecutionError as error:
        print(f"{experiment.name}: {error.ename}: {error.evalue}\nHow far it came: results/{experiment.name}/train.ipynb", file=sys.stderr)
        return 1
    print(f"{experiment.name}: " + ("nothing to do (--again runs it all the same)" if found == "done" and not again else
                                    f"done in {(time.monotonic() - begun) / 60:.1f} minutes, see results/{experiment.name}/analysis.ipynb"), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
