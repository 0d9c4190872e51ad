"""An experiment's description: ten lines of YAML into a checked, frozen `Experiment`. Everything but the name has a default.

    name: watkins_beluga
    question: Is it a beluga? Real clips, judged on sources that were not trained on.
    profile: watkins
    clips:
      - {folder: watkins, label: species, group: source}
    names: {beluga: Beluga, "*": OtherAnimal}
    split: {kind: grouped, by: group, folds: 5}

What kind of experiment it is follows from what it names: `study` (several trainings compared), else `detections` (a detector's finds, checked), else `clips` (short recordings,
one label each; a line with `kaggle` makes it a `contest`: numbered clips in the right whale contest's layout), else `annotations` (recordings with a table of boxes), else a plan of simulated deployments. A key that nobody knows is an error with a suggestion.

What is committed runs on two cores within the hour. The size at which the thing is really done stands in the YAML's table `full`: what it names goes before the rest, tables within tables key by
key, where the YAML says `setting: full` or the experiment is called NAME_full (`make experiment NAME=right_whale_h2o ARGS=--full`), which has a results folder of its own.

>>> Experiment.from_dict({"name": "trial", "epoch": 3})
Traceback (most recent call last):
training.spec.BadExperiment: experiment trial: 'epoch' is not known; did you mean 'epochs'?
"""
from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import yaml

from spectrogram.profile import Profile, load_profile
from training.augment import Augmentation
from training.spec_checks import BadExperiment, check_keys, check_values, suggestion

EXPERIMENTS = Path(__file__).parent / "experiments"
FULL = "_full"  # ends the name of an experiment, and of its results folder, at the full setting
ADDED = {"detections": None, "noised": None, "humpback": None, "denoise": None, "quantise_epochs": 0, "simulated": None, "hard_negatives": 1.0, "setting": "small", "noise": None, "thresholds": None, "simulator": 1}  # keys that came later: at their defaults they change no digest
RECORDINGS = {"train": {"natural": 4, "busy": 6, "empty": 1}, "validation": {"natural": 4, "empty": 1}, "test": {"natural": 4, "empty": 1}}
SITES = ("RDL", "CAC", "BSM", "KAM")


@dataclass(frozen=True)
class Split:
    """How recordings are parted. kind: given (a `split` column or plan), grouped folds, leave_one_out of `by`, held_out_in_time, rows (a leak, for
    comparison). by: the column whose values never lie on both sides."""

    kind: str = "given"
    by: str = "recording"
    folds: int = 5


@dataclass(frozen=True)
class Loss:
    """position_weight: of the positions in time beside the window. balance: "none" draws windows as they come, "labels" every label (and nothing) as
    often, within it every group as often, "calls" windows with calls as often as without. smoothing: targets lie this far inside 0..1."""

    position_weight: float = 0.5
    balance: str = "none"
    smoothing: float = 0.0


@dataclass(frozen=True)
class Experiment:
    """One experiment. Lengths in seconds, frequencies in Hz; see `training/experiments/` for examples."""

    name: str
    question: str = ""
    published: str = ""                  # figures of others on this task, and why they do or do not compare
    setting: str = "small"               # full: what the YAML's table `full` changes, see above
    profile: str = "beluga"
    labels: tuple | None = None          # overrides the profile's: label names, or {head: [labels]}
    normalisation: dict | None = None    # overrides the profile's
    bands: dict | None = None            # overrides of the picture, e.g. {break_hz: 700}, and of the length of the transform, {n_fft: 1024}
    study: str | None = None             # leak, sites, boats, size, recipe
    base: str | None = None              # of a study: the experiment whose data and model it takes
    variants: dict = field(default_factory=dict)    # of a study: what each training changes
    clips: tuple = ()                    # [{folder, label, group, ...}], see training/clips.py; or [{kaggle, ...}], see training/kaggle_clips.py
    names: dict = field(default_factory=dict)       # what a clip's label means: a label of the profile, or nothing
    simulated: dict | None = None        # of clips, backbone descriptors: simulated calls to learn from before, {label: Beluga, share: 0.05, natural: 40, ...}, see training/simulated_calls.py
    annotations: dict | None = None      # {recordings: folder, table: file, labels: file, split columns}
    detections: dict | None = None       # {recordings: folder or simulated, table: file or simulated, ...}, see training/detection_settings.py
    recordings: dict = field(default_factory=lambda: RECORDINGS)  # simulated: split -> kind -> recordings for each site
    recording_s: float = 60
    simulator: int = 2
    noise: dict | None = None            # recorded, {collection: sea_noise}; training/real_noise.py
    sites: tuple = SITES
    split: Split = Split()
    backbone: str = "resnet"             # see training/backbones.py
    width: int = 16
    depth: int = 1
    pretrained: str | None = None        # an experiment whose trunk is taken over; true: the published weights of a timm: backbone
    members: int = 1                     # networks of other seeds, merged into one
    augmentation: dict = field(default_factory=dict)  # overrides of training.augment.Augmentation
    loss: Loss = Loss()
    epochs: int = 24
    batch_size: int = 64
    learning_rate: float = 4e-3
    windows_per_epoch: int | None = None
    hard_negatives: float = 1.0          # how many times as often as others windows are drawn that hold a detector's false alarm (annotations: {false_alarms: ...})
    patience: int = 6
    quantise_epochs: int = 0             # more epochs that feel the rounding to int8; the int8 network is judged beside the float one, see training/quantisation_aware.py
    seed: int = 0
    target_precision: float | None = None  # aim of the thresholds; None: highest F1
    thresholds: dict | None = None       # by false alarms, {max_real_false: 0.01, max_simulated_false: 0.005}
    pool: str = "mean"                   # of a clip's windows: mean or max of the logits
    humpback: dict | None = None         # calls with and without denoising, {store: simulated, denoiser: {steps: 300}, ...}, see training/humpback_data.py
    denoise: str | None = None           # of such an experiment: gate or unet
    noised: dict | None = None           # of a contest: test clips mixed with noise, {noises: [white, ship], snr_db: [10, 0, -10]}
    peer: bool = False                   # the closest peer's recipe beside the network; of a variant of the study recipe: the peer's pictures instead of ours
    peer_epochs: int = 30
    trainer: dict | None = None          # flags of the Trainer about the machine, {devices: 4, precision: bf16-mixed}, see training/devices.py; they change no digest
    judge_events: bool = True
    quick: bool = False

    @classmethod
    def from_dict(cls, given: dict) -> "Experiment":
        """Check a plain dict (of YAML) and build.

        Raises
        ------
        BadExperiment
            for a key or value that nobody knows, with the nearest known one; for a missing name.
        """
        given = dict(given)
        name = given.get("name")
        if not name or not isinstance(name, str):
            raise BadExperiment("an experiment needs a name: the name of its YAML file, and of its folder in results/")
        where = f"experiment {name}"
        if "full" in given:
            given = at_setting(given, where)
        check_keys(given, [f.name for f in fields(cls)], where)
        for key, kind in (("split", Split), ("loss", Loss)):
            if key in given:
                part = given[key] or {}
                if not isinstance(part, dict):
                    raise BadExperiment(f"{where}: {key} is {part!r}; give a table, e.g. {{{', '.join(f.name for f in fields(kind))}}}")
                check_keys(part, [f.name for f in fields(kind)], f"{where}, {key}")
                given[key] = kind(**part)
        check_keys(given.get("augmentation") or {}, [f.name for f in fields(Augmentation)], f"{where}, augmentation")
        for key in ("augmentation", "names", "variants"):
            given[key] = given.get(key) or {}
        for key in ("clips", "sites"):
            if key in given:
                given[key] = tuple(given[key] or ())
        if isinstance(given.get("labels"), list):
            given["labels"] = tuple(given["labels"])
        if isinstance(given.get("pretrained"), bool):
            given |= published_weights(given, where)
        made = cls(**given)
        check_values(made, where)
        return made

    @property
    def kind(self) -> str:
        """study, humpback, detections, contest, clips, annotations or simulated."""
        if self.humpback is not None:
            return "humpback"
        if not self.study and self.detections is None and any(isinstance(entry, dict) and "kaggle" in entry for entry in self.clips):
            return "contest"
        return "study" if self.study else "detections" if self.detections is not None else "clips" if self.clips else "annotations" if self.annotations else "simulated"

    def to_dict(self) -> dict:
        """Plain dict that YAML and JSON can write; `Experiment.from_dict(e.to_dict()) == e`."""
        return json.loads(json.dumps(asdict(self)))

    def digest(self) -> str:
        """Twelve hex digits that change when anything that matters to the numbers changes. A default written out changes nothing."""
        known = {key: value for key, value in self.to_dict().items() if key not in ("question", "published", "trainer") and not (key in ADDED and value == ADDED[key])}
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]

    def front_end(self) -> Profile:
        """The species profile with this experiment's labels, bands and normalisation."""
        profile = load_profile(self.profile)
        bands = dict(self.bands or {})
        n_fft = bands.pop("n_fft", profile.n_fft)
        picture = profile.picture | bands | ({"normalisation": self.normalisation} if self.normalisation else {})
        profile = replace(profile, n_fft=n_fft, picture=picture)
        if self.labels is None:
            return profile
        heads = self.labels if isinstance(self.labels, dict) else {"label": list(self.labels)}
        known = list(profile.label_info.values())
        info = {label: profile.label_info.get(label) or {"name": label.replace("_", " "), "band_hz": [picture["low_hz"], picture["high_hz"]],
                                                        "min_nyquist_hz": min(k["min_nyquist_hz"] for k in known)}
                for labels in heads.values() for label in labels}
        return replace(profile, heads=heads, label_info=info)


def at_setting(given: dict, where: str) -> dict:
    """A description without its table `full`, which at `setting: full` has gone before the rest.

    Raises
    ------
    BadExperiment
        for a table `full` that could not be run, at the small setting too.
    """
    given, own = dict(given), [f.name for f in fields(Experiment) if f.name not in ("name", "setting")]
    full = given.pop("full")
    if not isinstance(full, dict) or not full:
        raise BadExperiment(f"{where}: full is {full!r}; give a table of what is other at the full setting, e.g. {{epochs: 60}}, or leave it out")
    check_keys(full, own, f"{where}, full")
    check_keys(full.get("variants") or {}, list(given.get("variants") or {}), f"{where}, full, variants")
    large = merged(given, full) | {"setting": "full"}
    if given.get("setting") == "full":
        return large
    try:
        Experiment.from_dict(large)
    except BadExperiment as error:
        raise BadExperiment(f"{error} (in full)") from None
    return given


def merged(base: dict, change: dict) -> dict:
    """`base` with what `change` names: tables within tables key by key, anything else, lists too, as a whole.

    >>> merged({"epochs": 3, "split": {"kind": "rows", "folds": 2}}, {"split": {"folds": 5}})
    {'epochs': 3, 'split': {'kind': 'rows', 'folds': 5}}
    """
    return base | {key: merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value for key, value in change.items()}


def published_weights(given: dict, where: str) -> dict:
    """`pretrained: true` and `false` in the words of `training.backbones`: timm:NAME:pretrained and timm:NAME."""
    backbone = str(given.get("backbone", "resnet")).removesuffix(":pretrained")
    if given["pretrained"] and not backbone.startswith("timm:"):
        raise BadExperiment(f"{where}: there are no published weights for backbone {backbone!r}; give the name of an experiment, or a backbone timm:NAME")
    return {"backbone": backbone + (":pretrained" if given["pretrained"] else ""), "pretrained": None}


def read_experiment(name: str | Path, full: bool = False) -> Experiment:
    """Read `training/experiments/NAME.yaml`, or the YAML file of this path.

    full : at its full setting, called NAME_full; the same as to ask for NAME_full.

    Raises
    ------
    BadExperiment
        if there is no such file, it is no YAML table, its name is not the file's, a key is not known, or there is no full setting where one is asked for.
    """
    path = experiment_file(name)
    if not path.exists() and path.stem.endswith(FULL):
        path, full = path.with_name(path.stem.removesuffix(FULL) + path.suffix), True
    if not path.exists():
        have = sorted(p.stem for p in EXPERIMENTS.glob("*.yaml"))
        raise BadExperiment(f"{path}: no such experiment; {suggestion(str(name), have)}")
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise BadExperiment(f"{path}: not valid YAML ({str(error).splitlines()[0]}, near line {getattr(getattr(error, 'problem_mark', None), 'line', 0) + 1}); "
                            "mend that line") from None
    if not isinstance(given, dict):
        raise BadExperiment(f"{path}: holds no table of parameters; begin with `name: {path.stem}`")
    if given.get("name") != path.stem:
        raise BadExperiment(f"{path}: its name is {given.get('name')!r}; call it {path.stem!r}, like the file")
    if (full or given.get("setting") == "full") and not given.get("full"):
        raise BadExperiment(f"{path}: has no full setting; run it as it is, or give it a table `full` of what is other there, e.g. full: {{epochs: 60}}")
    return Experiment.from_dict(given | ({"name": path.stem + FULL, "setting": "full"} if full else {}))


def experiment_file(name: str | Path) -> Path:
    """The YAML file of a name, or that path."""
    return Path(name) if str(name).endswith((".yaml", ".yml")) else EXPERIMENTS / f"{name}.yaml"
