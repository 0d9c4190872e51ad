"""What an experiment on a detector's finds names, and its two settings: small, for two cores within the hour, and full, as the Cook Inlet study trained.

    detections: {recordings: /data/2017, table: /data/2017/206_CIB_2017_PG_WandM_Detector.xlsx, new: /data/2018, setting: full}
    detections: {recordings: simulated, moorings: [RDL, KAM, BSM], new: CAC}

| setting | recordings of a simulated mooring | pictures | weights of VGG16, ResNet50, DenseNet121 | epochs of the four |
| --- | --- | --- | --- | --- |
| small | 8 of 60 s | 64 x 96 shrunk to 32 x 32 | at random | 8, 1, 1, 1 |
| full | 240 of 300 s | 64 x 96 | ImageNet | 15, 30, 10, 10 |

`--full` takes the full one (table `full` of the experiment's YAML, see `training/spec.py`). What an experiment names beside `setting` goes before it: `networks: {alexnet: {}, vgg16: {epochs: 3}}`
trains these two, the one with another number; `pretrained: false` leaves the three large ones without weights of ImageNet. At the small setting the three large networks see a hundredth of what they
need: their figures say that everything runs, not what they can do.
"""
from __future__ import annotations

from dataclasses import dataclass, field, fields

from training.cook_nets import NAMES, SMALLEST
from training.spec import SITES, BadExperiment, Experiment, check_keys, suggestion

SIMULATED = "simulated"
LARGE = ("vgg16", "resnet50", "densenet121")
OF_NETWORK = ("pretrained", "trainable_layers", "size", "epochs", "batch_size", "learning_rate")
SMALL_SIZE = [SMALLEST, SMALLEST]
SETTINGS = {
    "small": {"recordings_each": 8, "recordings_new": 4, "recording_s": 60.0, "networks": {
        "alexnet": {"size": SMALL_SIZE, "epochs": 8, "batch_size": 16, "learning_rate": 1e-3},
        "vgg16": {"size": SMALL_SIZE, "epochs": 1, "batch_size": 8, "learning_rate": 3e-4},
        "resnet50": {"size": SMALL_SIZE, "epochs": 1, "batch_size": 8, "learning_rate": 1e-3},
        "densenet121": {"size": SMALL_SIZE, "epochs": 1, "batch_size": 8, "learning_rate": 1e-3}}},
    "full": {"recordings_each": 240, "recordings_new": 120, "recording_s": 300.0, "networks": {
        "alexnet": {"epochs": 15, "batch_size": 64, "learning_rate": 1e-4},
        "vgg16": {"pretrained": True, "trainable_layers": 3, "epochs": 30, "batch_size": 64, "learning_rate": 1e-4},
        "resnet50": {"pretrained": True, "epochs": 10, "batch_size": 16, "learning_rate": 1e-4},
        "densenet121": {"pretrained": True, "epochs": 10, "batch_size": 16, "learning_rate": 1e-4}}},
}


@dataclass(frozen=True)
class Detections:
    """One experiment's `detections`. Relative paths are below the data folder (`SEA_CANARY_DATA`).

    recordings : folder with a folder for each mooring, or "simulated". table : of checked detections, one file or several (see `preprocessing.detections`), or "simulated": a
    sensitive energy detector, checked by the simulation's truth. about : table that tells the moorings (recording, site). moorings, new : simulated sites to learn from and the
    one to score; new of one's own recordings: a folder.
    clock, length_s, verdict_column, verdicts, day_first, sheet : of the table, see `read_detections`. place, guard_s, nothing, most : of the clips, see `verdict_clips`.
    sample_rate_hz, call_rate_per_min, threshold_db, recordings_each, recordings_new, recording_s : of what is simulated. networks, pretrained : see above.
    """

    recordings: str = SIMULATED
    table: str | list = SIMULATED
    about: str | None = None
    moorings: tuple = ("RDL", "KAM", "BSM")
    new: str | None = "CAC"
    setting: str = "small"
    clock: str = "UTC"
    length_s: float | None = None
    verdict_column: str | None = None
    verdicts: dict = field(default_factory=dict)
    day_first: bool | None = None
    sheet: str | None = None
    place: str = "middle"
    guard_s: float = 2.0
    nothing: int | None = None
    most: dict = field(default_factory=dict)
    sample_rate_hz: int = 24000
    call_rate_per_min: float = 7.0
    threshold_db: float = 2.0
    recordings_each: int = 8
    recordings_new: int = 4
    recording_s: float = 60.0
    networks: dict = field(default_factory=dict)
    pretrained: bool | None = None

    @property
    def simulated(self) -> bool:
        return self.recordings == SIMULATED


def detections_of(experiment: Experiment) -> Detections:
    """The experiment's `detections`, whole and checked.

    Raises
    ------
    BadExperiment
        for a key, setting, network or mooring that nobody knows, or parts that do not fit together.
    """
    where, given = f"experiment {experiment.name}, detections", dict(experiment.detections or {})
    check_keys(given, [f.name for f in fields(Detections)], where)
    setting = given.get("setting", Detections.setting)
    if setting not in SETTINGS:
        raise BadExperiment(f"{where}: setting {setting!r} is not known; {suggestion(str(setting), list(SETTINGS))}")
    for key, default in (("epochs", Experiment.epochs), ("batch_size", Experiment.batch_size), ("learning_rate", Experiment.learning_rate)):
        if getattr(experiment, key) != default:
            raise BadExperiment(f"experiment {experiment.name}: {key} is each network's own here; write detections: {{networks: {{vgg16: {{{key}: {getattr(experiment, key):g}}}}}}}")
    networks = networks_of(given.get("networks") or {}, given.get("pretrained"), setting, where)
    made = Detections(**{key: value for key, value in SETTINGS[setting].items() if key != "networks"} | given | {"networks": networks})
    made = Detections(**{f.name: getattr(made, f.name) for f in fields(made)} | {"moorings": tuple(made.moorings), "verdicts": made.verdicts or {}, "most": made.most or {}})
    if made.simulated != (made.table == SIMULATED):
        raise BadExperiment(f"{where}: recordings is {made.recordings!r} and table is {made.table!r}; give both, or leave both simulated")
    unknown = [name for name in (*made.moorings, made.new) if name is not None and name not in SITES]
    if made.simulated and unknown:
        raise BadExperiment(f"{where}: mooring {unknown[0]!r} cannot be simulated; {suggestion(str(unknown[0]), list(SITES))}")
    if made.simulated and (len(set(made.moorings)) < 2 or made.new in made.moorings):
        raise BadExperiment(f"{where}: moorings are {', '.join(made.moorings)} and the new one is {made.new}; give two or more to learn from, and another one as new")
    return made


def networks_of(given: dict, pretrained: bool | None, setting: str, where: str) -> dict[str, dict]:
    """network -> its arguments: those of the setting, `pretrained` for the large ones, then what is given. Where any are given, only these take part."""
    for name, own in given.items():
        if name not in NAMES:
            raise BadExperiment(f"{where}: network {name!r} is not known; {suggestion(str(name), list(NAMES))}")
        check_keys(own or {}, list(OF_NETWORK), f"{where}, networks, {name}")
        for key in ("epochs", "batch_size", "learning_rate"):
            if key in (own or {}) and not own[key] > 0:
                raise BadExperiment(f"{where}, networks, {name}: {key} is {own[key]}; give a number above 0")
    usual = SETTINGS[setting]["networks"]
    flag = {} if pretrained is None else {"pretrained": pretrained}
    return {name: usual[name] | (flag if name in LARGE else {}) | (given.get(name) or {}) for name in (given or usual)}
