"""Sound of an experiment on humpbacks, as it was recorded and denoised.

    humpback:
      store: simulated        # or a folder of recordings with Raven tables beside them, below SEA_CANARY_DATA
      recordings: 24          # of the simulated store
      denoiser: {steps: 300, width: 8}

With `clips` and `names` in the experiment, the sound is clips with one label each (`training/clips.py`) instead, and `denoiser` names the clips that the U-Net is trained on:
{labels: [bowhead], noise_groups: [sanctsound/FK01]}. They are brought down to `rate_hz`, cut to `longest_s`, and left out below `least_rate_hz`. Either way the U-Net is trained on sound of which the experiment judges nothing: other recordings, other groups, no copy of them. That is checked,
and groups that share sound are one.

On disk, in the experiment's data folder: denoised copies of all recordings (float WAV, the whole recording as one stream, as the pipeline hears it), and a data set for each way.
"""
from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from preprocessing.acquire import NoisePlan, acquire, read_clips
from preprocessing.annotated import annotated_dataset
from preprocessing.dataset import DataSet, front_end_key
from preprocessing.denoise import denoise, load
from preprocessing.denoiser_training import DenoiserSettings, train_denoiser
from preprocessing.duplicates import NEAR_HOURS, find_duplicates
from preprocessing.humpbacks import simulate_store
from preprocessing.recordings import list_recordings
from spectrogram.profile import Profile
from spectrogram.recording import Recording
from training.annotated_experiment import placed
from training.clip_groups import JOINED, join_groups
from training.clips import clip_dataset, clip_table, data_folder, named, read_folder
from training.deployments import digest
from training.spec import BadExperiment, Experiment, check_keys

WAYS = (None, "gate", "unet")
DEFAULTS = {"store": "simulated", "label_map": "humpback", "recordings": 24, "recording_s": 60, "calls": 7, "rate_hz": 8000, "seed": 5, "portions": [0.1, 0.2, 0.4, 0.6, 0.8],
            "forgotten": 0.3, "mixtures": 16, "snrs_db": [-5, 0, 5, 10], "least_rate_hz": 0, "longest_s": None}
DENOISER = {"store": "simulated", "recordings": 8, "calls": 12, "seed": 1005, "labels": [], "noise_groups": [], "rate_hz": 8000, "held_out": 2, "steps": 300, "width": 8, "batch_size": 8}
LEAST_S = 0.75
CLIP_S = 20.0  # of a longer clip the first seconds are what the denoiser is trained on


def settings_of(spec: Experiment) -> tuple[dict, dict]:
    """The experiment's `humpback` and its `denoiser`, with all defaults.

    Raises
    ------
    BadExperiment
        for a key that nobody knows, or a way to denoise that is none.
    """
    where = f"experiment {spec.name}, humpback"
    given = dict(spec.humpback or {})
    check_keys(given, [*DEFAULTS, "denoiser"], where)
    check_keys(given.get("denoiser") or {}, list(DENOISER), f"{where}, denoiser")
    for name, change in ({"": {}} | spec.variants).items():
        if (way := (change or {}).get("denoise", spec.denoise)) not in WAYS:
            raise BadExperiment(f"{where}: variant {name!r} is denoised by {way!r}; give gate or unet, or leave it out")
    return DEFAULTS | given, DENOISER | (given.pop("denoiser", None) or {})


# ---- what the U-Net is trained on


def train_unet(spec: Experiment, judged: pd.DataFrame, data_dir: Path, folder: Path, progress: bool = False):
    """The experiment's U-Net, trained to the end of its schedule and saved in `folder`, or read from there; `judged`: the recordings (of `recordings_of`) that it must not know."""
    _, how = settings_of(spec)
    seal, said = folder / "trained_on.txt", digest([how, list(spec.clips)])
    if seal.exists() and seal.read_text(encoding="utf-8") == said and (folder / "model.json").exists():
        return load(folder)
    train, validation, rate_hz = _of_clips(spec, how, judged) if spec.clips else _of_store(how, judged, data_dir, spec.seed)
    settings = DenoiserSettings(width=how["width"], steps=how["steps"], batch_size=how["batch_size"], check_every=max(1, how["steps"] // 10), validation_pairs=32, seed=spec.seed)
    unet = train_denoiser(*train, rate_hz, folder, settings, validation, progress, info={"experiment": spec.name, "sound": "recorded" if spec.clips or how["store"] != "simulated" else "simulated"})
    seal.write_text(said, encoding="utf-8")
    return unet


def _of_store(how: dict, judged: pd.DataFrame, data_dir: Path, seed: int):
    """Calls and noise cut by annotation, out of recordings of their own; the last ones are for validation."""
    if how["store"] == "simulated":
        store = simulate_store(data_dir / f"store_{digest(how)}", how["recordings"], 60.0, how["calls"], how["seed"], how["rate_hz"])
    else:
        store = placed(how["store"])
    clips = read_clips(acquire(store, None, data_dir / f"acquired_{digest(how)}", "humpback", noise=NoisePlan((3.0, 5.0), 10, seed=seed), progress=False, say=lambda line: None).folder)
    names = clips["recording"] if how["store"] != "simulated" else f"denoiser {how['seed']}/" + clips["recording"]
    refuse_shared(set(names), judged)
    refuse_same_sound(list_recordings(store), judged)
    rate_hz = int(clips["sample_rate_hz"].mode().iloc[0])
    clips = clips[clips["sample_rate_hz"] == rate_hz]
    clips["samples"] = [soundfile.read(data_dir / f"acquired_{digest(how)}" / file, dtype="float32")[0] for file in clips["file"]]
    return *_parted(clips, "recording", how["held_out"]), rate_hz


def _of_clips(spec: Experiment, how: dict, judged: pd.DataFrame):
    """Clips that the experiment leaves out: whose label `denoiser: labels` names, and, as noise, clips of the groups in `noise_groups` that hold no animal."""
    table = pd.concat([read_folder(data_folder(), entry, spec.name) for entry in spec.clips], ignore_index=True)
    table["name"] = [named(raw, spec) for raw in table["raw"]]
    is_call, is_noise = table["raw"].isin(how["labels"]), table["group"].isin(how["noise_groups"]) & (table["name"] == "")
    table = table.assign(kind=np.where(is_call, "call", "noise"))[(is_call | is_noise) & (table["sample_rate_hz"] >= how["rate_hz"])]
    if not {"call", "noise"} <= set(table["kind"]):
        raise BadExperiment(f"experiment {spec.name}, humpback, denoiser: labels {how['labels']} and noise_groups {how['noise_groups']} name no clips, or none of {how['rate_hz']} Hz and more")
    refuse_shared(set(table["group"]), judged)
    refuse_same_sound(table, judged)
    table["samples"] = [resampled(path, how["rate_hz"], CLIP_S) for path in table["path"]]
    table = table[table["samples"].map(len) >= LEAST_S * how["rate_hz"]]
    fold = table.groupby("kind").cumcount() % 5 == 4  # calls may be of one source only: there, other clips; noise by group
    groups = sorted(table.loc[table["kind"] == "noise", "group"].unique())
    later = np.where(table["kind"] == "call", fold, table["group"].isin(groups[:max(1, len(groups) // 4)]))
    return *(tuple(list(part["samples"][part["kind"] == kind]) for kind in ("call", "noise")) for part in (table[~later], table[later])), how["rate_hz"]


def _parted(clips: pd.DataFrame, by: str, held_out: int):
    """(calls, noises) for training and for validation, whole values of `by`."""
    later = clips[by].isin(sorted(clips[by].unique())[-held_out:])
    return tuple(tuple(list(part["samples"][part["kind"] == kind]) for kind in ("call", "noise")) for part in (clips[~later], clips[later]))


def refuse_shared(trained: set[str], judged: pd.DataFrame) -> None:
    """BadExperiment where the denoiser would be trained on a recording, or a group, by which it is judged. Of joined groups each counts."""
    groups = {one for group in judged["group"] for one in group.split(JOINED)}
    if shared := trained & groups:
        raise BadExperiment(f"the denoiser would be trained on {sorted(shared)[0]} ({len(shared)} such recordings or groups), by which it is judged; take it out of one of the two")


def refuse_same_sound(trained: pd.DataFrame, judged: pd.DataFrame) -> None:
    """BadExperiment where a recording that the denoiser would be trained on holds the same sound as one by which it is judged. Both tables: recording, path, duration_s."""
    mark = "the denoiser's "
    rows = [(mark + str(row.recording), row.path, row.duration_s) for row in trained.itertuples()] + [(row.recording, row.path, row.duration_s) for row in judged.itertuples()]
    same = shared_sound(pd.DataFrame(rows, columns=["recording", "path", "duration_s"]))
    across = same[same["a"].str.startswith(mark) != same["b"].str.startswith(mark)]
    if len(across):
        raise BadExperiment(f"{across['a'].iloc[0]} and {across['b'].iloc[0]} hold the same sound ({len(across)} such pairs), and by one of them the denoiser is judged; take it out of one of the two")


def shared_sound(table: pd.DataFrame) -> pd.DataFrame:
    """Pairs of recordings with the same sound (`find_duplicates`); of much sound only exact copies."""
    return find_duplicates(table[["recording", "path"]], near=table["duration_s"].sum() <= 3600 * NEAR_HOURS)


def resampled(path: str | Path, rate_hz: int, longest_s: float | None = None) -> np.ndarray:
    """(n,) float32 of a recording, brought down to `rate_hz`."""
    import soxr

    recording = Recording(path)
    samples = recording.read(0, longest_s)
    return samples if recording.sample_rate_hz == rate_hz else soxr.resample(samples, recording.sample_rate_hz, rate_hz).astype(np.float32)


# ---- recordings and data sets, each way


def recordings_of(spec: Experiment, profile: Profile, data_dir: Path) -> pd.DataFrame:
    """Recordings that are judged: recording, path, group (those that share sound joined), and for clips what `clip_table` tells. `.attrs["same"]`: pairs that share sound."""
    told, how = settings_of(spec)
    if spec.clips:
        table = clip_table(spec, profile)
        left_out = table.attrs["left_out"]
        low, others = table["sample_rate_hz"] < told["least_rate_hz"], table["group"].isin(how["noise_groups"])
        table = brought_down(table[~low & ~others].reset_index(drop=True), told["rate_hz"], told["longest_s"], data_dir / f"clips_{told['rate_hz']}_{told['longest_s']}")
        table.attrs["left_out"] = left_out | {f"below {told['least_rate_hz']} Hz": int(low.sum()), "of sites that the denoiser is trained on": int((others & ~low).sum())}
        return in_whole_groups(table)
    folder = Path(placed(told["store"])) if told["store"] != "simulated" else simulate_store(
        data_dir / f"store_{digest([told[k] for k in ('recordings', 'recording_s', 'calls', 'seed', 'rate_hz')])}", told["recordings"], told["recording_s"], told["calls"], told["seed"],
        told["rate_hz"])
    table = list_recordings(folder)
    return in_whole_groups(table.assign(group=table["recording"]))


def in_whole_groups(table: pd.DataFrame) -> pd.DataFrame:
    """The table with groups that share sound joined, see `training.clip_groups`."""
    same = shared_sound(table)
    table = join_groups(table, same)
    table.attrs["same"] = same
    return table


def brought_down(table: pd.DataFrame, rate_hz: int, longest_s: float | None, folder: Path) -> pd.DataFrame:
    """Copies of clips, float WAV, at `rate_hz` where they have more, and cut to `longest_s`; a copy that exists is whole."""
    paths, rates_hz, durations_s = [], [], []
    for row in table.to_dict("records"):
        path, rate = folder / (row["recording"].replace("/", "__").rsplit(".", 1)[0] + ".wav"), min(rate_hz, int(row["sample_rate_hz"]))
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(path.with_suffix(".part"), resampled(row["path"], rate, longest_s), rate, "FLOAT", format="WAV")
            os.replace(path.with_suffix(".part"), path)
        paths.append(str(path)), rates_hz.append(rate), durations_s.append(soundfile.info(path).duration)
    return table.assign(path=paths, sample_rate_hz=rates_hz, duration_s=durations_s)


def data_sets(spec: Experiment, profile: Profile, recordings: pd.DataFrame, ways: dict, data_dir: Path) -> dict[str, DataSet]:
    """way -> data set of the same windows, of sound denoised that way. `ways`: name -> what `preprocessing.denoise` takes, None for sound as it is."""
    told, _ = settings_of(spec)
    made = {}
    for name, how in ways.items():
        own = [front_end_key(profile), profile.heads, profile.label_info, recordings[["recording", "path"]].to_numpy().tolist(), list(recordings.get("name", ())), denoiser_key(how)]
        folder, table = data_dir / f"{name}_{digest(own)}", recordings
        if how is not None:
            table = denoised_copies(recordings, how, folder / "sound")
        if spec.clips:
            made[name] = clip_dataset(table, folder, profile)
        else:
            source = Path(recordings["path"].iloc[0]).parent if told["store"] == "simulated" else Path(placed(told["store"]))
            tables = [str(p) for p in sorted(source.rglob("*.txt"))]
            made[name] = annotated_dataset(table, tables, folder, profile, told["label_map"], exhaustive=True, summary={"simulated": told["store"] == "simulated"})
    return made


def denoiser_key(how) -> str:
    """What tells one denoiser from another."""
    return "" if how is None else how if isinstance(how, str) else str(how.info.get("denoiser_id", "")) if hasattr(how, "info") else str(how)


def denoised_copies(recordings: pd.DataFrame, how, folder: Path) -> pd.DataFrame:
    """The table with paths of denoised copies, float WAV; a copy that exists is whole."""
    way, paths = load(how), []
    for row in recordings.to_dict("records"):
        path = folder / (row["recording"].replace("/", "__").rsplit(".", 1)[0] + ".wav")
        paths.append(str(path))
        if path.exists() or row.get("fault"):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        recording, aside = Recording(row["path"]), path.with_suffix(".part")
        with soundfile.SoundFile(aside, "w", recording.sample_rate_hz, 1, "FLOAT", format="WAV") as file:
            for block in denoise(recording, way):
                file.write(block)
        os.replace(aside, path)
    return recordings.assign(path=paths)
