"""Simulated deployments as the sound of an experiment: which there are, where they lie, and the data set that is made of them.

Sound: `DATA/deployments/SPLIT_SITE_KIND_DIGEST/` as the simulator writes it; the WAVs are deleted once their pictures are made, unless
they are wanted for another front end. Pictures and targets: `DATA/NAME/` (see `preprocessing.dataset`).
The three splits never share a deployment or a seed. All of it is SIMULATED, and every output says
so; deployments of kind `real` have simulated calls in recorded water (`Background`), a clip each.
A folder's digest tells the simulator's draws too, so that no truth is read beside older sound.
"""
from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.dataset import IDENTIFIERS, DataSet, add_recording, build_dataset, front_end_key
from preprocessing.noise_collection import NOISE, VESSEL
from preprocessing.soundscape import Settings, simulate_deployment
from preprocessing.soundscape.deployment import DRAWS
from spectrogram.generator import SpectrogramGenerator
from spectrogram.profile import Profile
from training.evaluate import json_ready
from training.spec import SITES

LATEST = Settings().version  # of the simulator
SPLIT_SEEDS = {"train": 1_000_000, "validation": 2_000_000, "test": 3_000_000}
BOATS = (False, True)  # recording by recording
REAL = "real"
KINDS = {  # what is turned away from the site's own habits
    "natural": {},
    "busy": {"call_rate_per_min": 24.0, "call_mix": {"ECHO": 0.22, "HFPC": 0.26, "BBPC": 0.26, "Whistle": 0.26}},
    "empty": {"call_rate_per_min": 0.0},
    "real": {},
    "earlier": {},
}
EARLIER = "earlier"  # a site's own habits, by version 1 of the simulator
APART = 10_000_000  # between the seeds of deployments that differ in their background alone


def digest(value) -> str:
    """Six hex digits that change with a plain value."""
    return hashlib.sha256(json.dumps(json_ready(value), sort_keys=True).encode()).hexdigest()[:6]


@dataclass(frozen=True)
class Background:
    """A recorded clip that stands in for the water. present, unknown: labels joined by +, as in a
    recordings table; sensitivity_db None: as loud as the simulated sea would be; tag: what it is
    called in names of deployments, where the file's own name is another clip's too.
    """

    name: str
    path: str = field(compare=False)
    sensitivity_db: float | None = None
    present: str = ""
    unknown: str = ""
    tag: str = field(default="", compare=False)


@dataclass(frozen=True)
class Deployment:
    """One simulated deployment of a split."""

    split: str
    site: str
    kind: str
    seed: int
    recordings: int
    recording_s: float
    sample_rate_hz: int = 192_000
    background: Background | None = None
    simulator: int = LATEST

    @property
    def name(self) -> str:
        """Unique in a plan."""
        water = self.background
        clip = "" if water is None else f"_{water.tag or Path(water.name).stem}"
        return f"{self.split}_{self.site}_{self.kind}{clip}"

    @property
    def boats(self) -> list[bool]:
        """Whether a boat passes in each recording: in every other; in none where recorded water has
        one already.
        """
        if self.background is not None and VESSEL in self.background.present.split("+"):
            return [False] * self.recordings
        return [BOATS[(i + self.seed // APART) % len(BOATS)] for i in range(self.recordings)]

    def described(self) -> dict:
        """All that matters to the sound, and not where on this machine a clip lies."""
        said = asdict(self) | {"draws": DRAWS[self.simulator]}
        water = said.pop("background")
        if water is None:
            return said
        return said | {"background": {k: v for k, v in water.items() if k not in ("path", "tag")}}

    @property
    def folder_name(self) -> str:
        """Name and a digest of everything: another length or seed is another folder."""
        return f"{self.name}_{digest(self.described())}"


def plan_splits(
    recordings: dict[str, dict[str, int]],
    recording_s: float,
    seed: int = 0,
    sites: tuple = SITES,
    backgrounds: dict[str, list[Background]] | None = None,
    simulator: int = LATEST,
) -> list[Deployment]:
    """Deployments for every split, site and kind.

    Parameters
    ----------
    recordings : split -> kind -> recordings per site, e.g. {"train": {"natural": 8, "empty": 2}}
    seed : 0 to 9999; the splits' seeds are far apart, so no deployment is ever in two.
    backgrounds : split -> recorded clips for kind `real`, each as often as any other, give or take
        one, in an order of its own at every site. Without clips there are no such recordings.
    simulator : its version, 1 or 2; deployments of kind `earlier` have version 1.
    """
    plan = []
    for split, kinds in recordings.items():
        for k, site in enumerate(sites):
            for kind, count in kinds.items():
                by = {"simulator": 1 if kind == EARLIER else simulator}
                own_seed = SPLIT_SEEDS[split] + 100 * seed + 10 * k + list(KINDS).index(kind)
                if count and kind != REAL:
                    plan.append(Deployment(split, site, kind, own_seed, count, recording_s, **by))
                clips = (backgrounds or {}).get(split, []) if kind == REAL else []
                for j, at in enumerate(
                    np.random.default_rng(own_seed).permutation(len(clips))[:count]
                ):
                    each = count // len(clips) + (j < count % len(clips))
                    far = own_seed + APART * (j + 1)
                    water = by | {"background": clips[at]}
                    plan.append(Deployment(split, site, kind, far, each, recording_s, **water))
    return plan


def simulate(deployment: Deployment, sound: Path, jobs: int = 1) -> Path:
    """The deployment's folder, simulated unless it is already there whole (sound or, once it is deleted, its truth)."""
    folder = sound / deployment.folder_name
    seal = folder / "plan.json"
    if seal.exists():
        return folder
    water = deployment.background
    settings = KINDS[deployment.kind] | (
        {}
        if water is None
        else {"background": water.path, "background_sensitivity_db": water.sensitivity_db}
    )
    simulate_deployment(
        folder,
        deployment.site,
        deployment.seed,
        deployment.recordings,
        deployment.recording_s,
        boats=deployment.boats,
        n_jobs=jobs,
        sample_rate_hz=deployment.sample_rate_hz,
        progress=False,
        version=deployment.simulator,
        **settings,
    )
    seal.write_text(json.dumps(json_ready(deployment.described())), encoding="utf-8")
    return folder


def read_deployment(deployment: Deployment, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Recordings table and truth table of a simulated deployment, recordings named DEPLOYMENT/FILE."""
    texts = dict.fromkeys(IDENTIFIERS, str)  # 00012, 00012.1: no numbers
    truth = pd.read_csv(folder / "truth.csv", dtype=texts)
    truth["recording"] = deployment.name + "/" + truth["recording"].astype(str)
    names = sorted(json.loads((folder / "deployment.json").read_text(encoding="utf-8"))["recordings"])
    recordings = pd.DataFrame(
        {
            "recording": [f"{deployment.name}/{name}" for name in names],
            "path": [str(folder / name) for name in names],
            "split": deployment.split,
            "site": deployment.site,
            "kind": deployment.kind,
            "boats": deployment.boats[: len(names)],
            "duration_s": deployment.recording_s,
        }
    )
    water = deployment.background
    if water is None:
        return recordings, truth
    present = [
        {
            "recording": name,
            "label": label,
            "start_s": 0.0,
            "end_s": deployment.recording_s,
            "snr_db": 20.0,
            "audible": True,
            "diphonic": False,
            "site": deployment.site,
            "call_id": "present",
            "group_id": "present",
        }
        for name in recordings["recording"]
        for label in water.present.split("+")
        if label
    ]
    truth = (
        pd.concat(
            [
                truth,
                pd.DataFrame(present)
                .reindex(columns=truth.columns)
                .astype({"diphonic": bool, "audible": bool}),
            ],
            ignore_index=True,
        )
        if present
        else truth
    )
    boats = recordings["boats"] | (VESSEL in water.present.split("+"))
    return recordings.assign(boats=boats, water=water.name, unknown=water.unknown), truth


def sound_of(deployment: Deployment, data_folder: str | Path, jobs: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`read_deployment` with its sound on disk: simulated again, the same bit for bit, where it was deleted since."""
    sound = Path(data_folder) / "deployments"
    folder = simulate(deployment, sound, jobs)
    recordings, truth = read_deployment(deployment, folder)
    if not all(Path(path).exists() for path in recordings["path"]):
        (folder / "plan.json").unlink()
        simulate(deployment, sound, jobs)
    return recordings, truth


def sound_of_split(plan: list[Deployment], split: str, data_folder: str | Path, jobs: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Recordings and truth of all deployments of a split, their sound on disk."""
    parts = [sound_of(d, data_folder, jobs) for d in plan if d.split == split]
    recordings, truth = (pd.concat(tables, ignore_index=True) for tables in zip(*parts))
    return recordings, truth


def forget_sound(recordings: pd.DataFrame) -> None:
    """Delete the simulated WAVs of a recordings table; `sound_of` makes them again. A file that lies in no simulated deployment is somebody's recording, and stays."""
    for path in map(Path, recordings["path"]):
        if (path.parent / "deployment.json").exists():
            path.unlink(missing_ok=True)


def simulated_dataset(
    plan: list[Deployment],
    data_folder: str | Path,
    name: str,
    profile: Profile,
    keep_sound: bool = False,
    jobs: int = 1,
    truth_as=None,
    beside: tuple[pd.DataFrame, pd.DataFrame] | None = None,
    summary: dict | None = None,
) -> DataSet:
    """Simulate every deployment of the plan, make its pictures, and index the windows. What is already there is not made again.

    `beside`: recordings and truth that stand in the data set as they are. `truth_as`: makes of the table of calls one with the profile's labels, where these are others. Without `keep_sound` the WAVs that were simulated for this are deleted afterwards; sound that was there before is left alone.
    """
    from tqdm.auto import tqdm

    data_folder, generator, tables = Path(data_folder), SpectrogramGenerator(profile), []
    for deployment in tqdm(plan, desc="deployments"):
        pictures = data_folder / name / "pictures"
        there = (data_folder / "deployments" / deployment.folder_name / "plan.json").exists()
        recordings, truth = read_deployment(deployment, simulate(deployment, data_folder / "deployments", jobs))
        there = there and all(Path(path).exists() for path in recordings["path"])
        if not all((pictures / f"{name.replace('/', '__')}.npy").exists() for name in recordings["recording"]):
            sound_of(deployment, data_folder, jobs)
        for row in recordings.itertuples():
            add_recording(data_folder / name, row.recording.replace("/", "__") + ".npy", Path(row.path), generator)
        if not keep_sound and not there:
            forget_sound(recordings)
        tables.append((recordings, truth))
    recordings, truth = (
        pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
        for parts in zip(*tables)
    )
    truth = truth_as(truth) if truth_as else truth
    if beside is not None:
        recordings, truth = (
            pd.concat([part for part in parts if len(part)], ignore_index=True)
            for parts in zip((recordings, truth), beside)
        )
    described = {"simulated": True, "deployments": [d.described() for d in plan]} | (summary or {})
    return build_dataset(recordings, truth, data_folder / name, profile, described, mark=weighted)


def weighted(manifest: pd.DataFrame) -> pd.DataFrame:
    """The manifest with `weight`: of a window among those of recorded noise, where every recording
    counts alike; 1 elsewhere.
    """
    size = manifest.groupby("recording")["recording"].transform("size")
    return manifest.assign(weight=np.where(manifest["kind"] == NOISE, 1 / size, 1.0))


def data_name(profile: Profile, plan: list[Deployment], beside: str = "") -> str:
    """Folder name of a data set: another plan, another front end or other recordings beside it (a
    key of theirs) are another folder.
    """
    key = [front_end_key(profile), [d.described() for d in plan], *([beside] if beside else [])]
    return f"{profile.name}_{digest(key)}"
