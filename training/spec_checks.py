"""What an experiment's description may say: known keys and values that make sense, told in one line with the nearest known one. See `training.spec`."""
from __future__ import annotations

import difflib
from dataclasses import MISSING, fields

SETTINGS = ("small", "full")
STUDIES = ("leak", "sites", "boats", "size", "recipe")
SIMULATED = {"label": None, "share": 0.05, "natural": 0, "busy": 0, "empty": 0, "recording_s": 30}
KAGGLE = {"kaggle": "simulated", "hours": 24, "clips_per_hour": 125, "seed": 1, "upcall_share": 0.23, "block_clips": 500, "guard_clips": 10, "clips": None}
FLAGS = ("accelerator", "devices", "num_nodes", "strategy", "precision", "sync_batchnorm", "deterministic", "benchmark")  # of Lightning's Trainer, see training/devices.py
NOISES = ("white", "ship")
SPLITS = ("given", "grouped", "leave_one_out", "held_out_in_time", "rows")


class BadExperiment(ValueError):
    """An experiment that cannot be run as it is written. The message names the experiment, the fault and the mend."""


def check_keys(given: dict, known: list[str], where: str) -> None:
    """Raise BadExperiment for the first key that is not known."""
    for key in given:
        if key not in known:
            raise BadExperiment(f"{where}: {key!r} is not known; {suggestion(str(key), known)}")


def suggestion(word: str, known: list[str]) -> str:
    """"did you mean 'epochs'?", or all that is known."""
    near = difflib.get_close_matches(word, known, 1, 0.6)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


def check_values(experiment, where: str) -> None:
    """Values that would fail an hour later fail here."""
    for what, value, known in (("setting", experiment.setting, SETTINGS), ("study", experiment.study, (None, *STUDIES)), ("split kind", experiment.split.kind, SPLITS),
                               ("loss balance", experiment.loss.balance, ("none", "labels", "calls")), ("pool", experiment.pool, ("mean", "max"))):
        if value not in known:
            raise BadExperiment(f"{where}: {what} {value!r} is not known; {suggestion(str(value), [k for k in known if k])}")
    for f in fields(experiment):
        default = f.default if f.default is not MISSING else None
        value = getattr(experiment, f.name)
        if isinstance(default, bool) and not isinstance(value, bool):
            raise BadExperiment(f"{where}: {f.name} is {value!r}; give true or false")
        if isinstance(default, (int, float)) and not isinstance(default, bool) and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise BadExperiment(f"{where}: {f.name} is {value!r}; give a number")
    for what in ("epochs", "batch_size", "width", "depth", "members", "learning_rate", "recording_s", "patience", "hard_negatives"):
        if getattr(experiment, what) <= 0:
            raise BadExperiment(f"{where}: {what} is {getattr(experiment, what)}; give a number above 0")
    if experiment.simulator not in (1, 2):
        raise BadExperiment(f"{where}: simulator is {experiment.simulator!r}; there are versions 1 and 2")
    if experiment.target_precision is not None and not 0 < experiment.target_precision < 1:
        raise BadExperiment(f"{where}: target_precision is {experiment.target_precision}; give a share between 0 and 1, or leave it out for the highest F1")
    if experiment.trainer is not None:
        if not isinstance(experiment.trainer, dict):
            raise BadExperiment(f"{where}: trainer is {experiment.trainer!r}; give flags, e.g. {{devices: 2, precision: bf16-mixed}}")
        check_keys(experiment.trainer, list(FLAGS), f"{where}, trainer")
    if experiment.noised is not None:
        _check_noised(experiment, where)
    _check_recordings(experiment, where)
    if experiment.noise is not None:
        from training.real_noise import check_noise

        check_noise(experiment, where)
    if experiment.thresholds is not None:
        _check_thresholds(experiment, where)
    share = experiment.augmentation.get("real_share", 0)
    if not isinstance(share, (int, float)) or not 0 <= share <= 0.1:
        raise BadExperiment(
            f"{where}, augmentation: real_share is {share!r}; give a share up to 0.1, more made "
            f"models worse"
        )
    if share and experiment.noise is None:
        mend = "add noise: {collection: sea_noise}"
        raise BadExperiment(f"{where}, augmentation: real_share without noise; {mend}")
    if experiment.quantise_epochs:
        _check_quantised(experiment, where)
    if experiment.simulated is not None:
        _check_simulated(experiment, where)
    for variant, change in experiment.variants.items():
        check_keys(change or {}, [f.name for f in fields(experiment)], f"{where}, variants, {variant}")
    for entry in experiment.clips:
        if isinstance(entry, dict) and "kaggle" in entry:
            check_keys(entry, list(KAGGLE), f"{where}, clips")
            continue
        missing = {"folder", "label"} - set(entry if isinstance(entry, dict) else ())
        if missing:
            raise BadExperiment(f"{where}: a line of clips lacks {', '.join(sorted(missing))}; e.g. {{folder: watkins, label: species, group: source}}")


def _check_simulated(experiment, where: str) -> None:
    """Simulated calls: a label to learn, deployments to take them from, and a model that can."""
    where = f"{where}, simulated"
    if not isinstance(experiment.simulated, dict) or not experiment.simulated.get("label"):
        raise BadExperiment(f"{where}: {experiment.simulated!r}; give e.g. {{label: Beluga, natural: 40, empty: 12}}")
    check_keys(experiment.simulated, list(SIMULATED), where)
    said = SIMULATED | experiment.simulated
    if not said["natural"] + said["busy"]:
        raise BadExperiment(f"{where}: no recordings with calls; give natural or busy a number above 0, of recordings for each site")
    if not 0 < said["share"] <= 1:
        raise BadExperiment(f"{where}: share is {said['share']}; give a number above 0 up to 1, the weight of simulated calls beside all clips")
    if experiment.kind != "clips" or experiment.backbone != "descriptors":
        raise BadExperiment(f"{where}: only clips with backbone: descriptors learn from simulated calls so; networks on pictures take pretrained: EXPERIMENT")


def _check_recordings(experiment, where: str) -> None:
    """Simulated recordings: whole numbers of known kinds, in known splits."""
    from training.deployments import KINDS, SPLIT_SEEDS

    for split, kinds in (experiment.recordings or {}).items():
        check_keys({split: kinds}, list(SPLIT_SEEDS), f"{where}, recordings")
        check_keys(kinds or {}, list(KINDS), f"{where}, recordings, {split}")
        for kind, count in (kinds or {}).items():
            if isinstance(count, bool) or not isinstance(count, int) or count < 0:
                here = f"{where}, recordings, {split}"
                raise BadExperiment(f"{here}: {kind} is {count!r}; give a whole number for each site")


def _check_thresholds(experiment, where: str) -> None:
    """Shares of false windows, and an experiment whose template chooses by them."""
    where, said = f"{where}, thresholds", experiment.thresholds
    if not isinstance(said, dict) or not said:
        raise BadExperiment(
            f"{where}: {said!r}; give e.g. {{max_real_false: 0.01, max_simulated_false: 0.005}}"
        )
    check_keys(said, ["max_real_false", "max_simulated_false"], where)
    for key, value in said.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
            raise BadExperiment(
                f"{where}: {key} is {value!r}; give a share between 0 and 1 of windows without a "
                f"call"
            )
    if experiment.kind != "simulated":
        raise BadExperiment(
            f"{where}: only for experiments on simulated calls; others take target_precision"
        )


def _check_noised(experiment, where: str) -> None:
    """The noised test set: known noises, numbers of dB, and clips to mix them with."""
    where = f"{where}, noised"
    if not isinstance(experiment.noised, dict) or not experiment.noised.get("noises") or not experiment.noised.get("snr_db"):
        raise BadExperiment(f"{where}: {experiment.noised!r}; give e.g. {{noises: [{', '.join(NOISES)}], snr_db: [10, 0, -10]}}")
    check_keys(experiment.noised, ["noises", "snr_db"], where)
    for noise in experiment.noised["noises"]:
        if noise not in NOISES:
            raise BadExperiment(f"{where}: noise {noise!r} is not known; {suggestion(str(noise), list(NOISES))}")
    if not all(isinstance(snr, (int, float)) for snr in experiment.noised["snr_db"]):
        raise BadExperiment(f"{where}: snr_db is {experiment.noised['snr_db']!r}; give a list of numbers")
    if experiment.kind != "contest":
        raise BadExperiment(f"{where}: only clips with `kaggle` can be mixed with noise; take it out")


def _check_quantised(experiment, where: str) -> None:
    """Quantisation-aware epochs: a whole number of them, where a template runs them, for a network that knows the way."""
    if not isinstance(experiment.quantise_epochs, int) or experiment.quantise_epochs < 0:
        raise BadExperiment(f"{where}: quantise_epochs is {experiment.quantise_epochs}; give a whole number, 0 for none")
    if experiment.kind not in ("simulated", "annotations", "study") or experiment.study not in (None, "size"):
        raise BadExperiment(f"{where}: quantise_epochs means nothing here; it is for experiments with windows and for study: size")
    if not experiment.backbone.startswith(("mobilenet_v3_small", "resnet18", "timm:")) and experiment.kind != "study":
        raise BadExperiment(f"{where}: quantise_epochs needs a picture network; give backbone: mobilenet_v3_small.8 or resnet18, not {experiment.backbone}")
