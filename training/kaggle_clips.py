"""Clips in the layout of the right whale contest (`preprocessing.kaggle_whales`), or its simulation, as a table for experiments.

    clips:
      - {kaggle: simulated, hours: 24, clips_per_hour: 40}       # no account, no download: SIMULATED sound, made into data/simulated/
      - {kaggle: /data/whale_data, block_clips: 500, guard_clips: 10}   # the contest's own folder with train.csv
      - {kaggle: , hours: 24}                                     # `whale_data` below SEA_CANARY_DATA where it is, simulated where it is not

The group of a clip is what neighbours share: the simulated hour, or the contest's block of consecutive numbers. `clips: 3000` takes so many, evenly from all
groups, the first of each. Labels: "up-call", "no up-call"; of simulated clips without an audible up-call what else is in them ("no up-call, gunshot").
"""
from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.kaggle_whales import kaggle_clips
from training.spec_checks import KAGGLE, BadExperiment

ROOT = Path(__file__).resolve().parents[1]
SIMULATED = ROOT / "data" / "simulated"
USUAL = "whale_data"
CALL, NONE = "up-call", "no up-call"


def read_kaggle(entry: dict, experiment: str, simulated: Path | None = None) -> pd.DataFrame:
    """The clips of one line of `clips` with `kaggle`.

    Returns
    -------
    DataFrame: recording (SET/CLIP), path, set, raw, group (SET/BLOCK), order, sample_rate_hz, duration_s, simulated (bool).

    Raises
    ------
    BadExperiment
        for a folder that is named but not there, or that is not the contest's.
    """
    how = KAGGLE | entry
    folder = contest_folder(how["kaggle"], experiment)
    is_simulated = folder is None
    if is_simulated:
        folder, blocks, guards, name = simulated_contest(how, simulated or SIMULATED), how["clips_per_hour"], 0, "simulated"
    else:
        blocks, guards, name = how["block_clips"], how["guard_clips"], folder.name
    try:
        clips = kaggle_clips(folder, blocks, guards)
    except (FileNotFoundError, ValueError) as error:
        raise BadExperiment(f"experiment {experiment}: {error}") from None
    for line in clips.attrs["faults"][:5]:
        print(line)
    if len(clips.attrs["faults"]) > 5:
        print(f"... and {len(clips.attrs['faults']) - 5} more clips that cannot be used")
    if how["clips"]:
        each = max(1, round(how["clips"] / clips["group"].nunique()))
        clips = clips[clips.groupby("group").cumcount() < each].reset_index(drop=True)
    raw = np.where(clips["label"] == 1, CALL, NONE).astype(object)
    made = clips.drop(columns="label").assign(recording=name + "/" + clips["recording"], group=name + "/" + clips["group"], set=name, simulated=is_simulated,
                                              raw=described(folder, clips, raw) if is_simulated else raw)
    made.attrs = {}
    return made


def contest_folder(said: str | None, experiment: str) -> Path | None:
    """The contest's folder that `kaggle` means; None for a simulated one."""
    if said == "simulated":
        return None
    below = os.environ.get("SEA_CANARY_DATA")
    if said is None:
        usual = Path(below) / USUAL if below else None
        return usual if usual and (usual / "train.csv").is_file() else None
    places = [Path(said).expanduser()] + ([Path(below) / said] if below else [])
    for place in places:
        if place.is_dir():
            return place
    raise BadExperiment(f"experiment {experiment}: {said}: no such folder; give the contest's folder, which holds train.csv and the clips, or `kaggle: simulated`")


def simulated_contest(how: dict, below: Path) -> Path:
    """The folder of this simulated contest, made unless it is there whole. SIMULATED."""
    from preprocessing.upcalls import VERSION, simulate_upcalls

    folder = below / f"upcalls_{how['hours']}x{how['clips_per_hour']}_{how['upcall_share']:g}_seed{how['seed']}_v{VERSION}"
    if not (folder / "simulation.json").exists():
        simulate_upcalls(folder, how["seed"], how["hours"], how["clips_per_hour"], how["upcall_share"])
    return folder


def described(folder: Path, clips: pd.DataFrame, raw: np.ndarray) -> np.ndarray:
    """Of simulated clips without an audible up-call, what is in them: the loudest sound, else a near ship, else nothing but the sea."""
    truth, about = pd.read_csv(folder / "truth.csv"), pd.read_csv(folder / "clips.csv").set_index("recording")
    loudest = truth.sort_values("snr_db").drop_duplicates("recording", keep="last").set_index("recording")["kind"]
    loudest = loudest.str.replace(r"humpback .*", "humpback", regex=True).replace("UpCall", "up-call too faint")
    what = clips["recording"].map(loudest)
    near_ship = (about["ship_db"] > about["noise_db"] - 3).reindex(clips["recording"]).to_numpy()
    what = what.fillna(pd.Series(np.where(near_ship, "ship", "sea"), index=clips.index))
    return np.where(raw == CALL, CALL, NONE + ", " + what)


def call_snr_db(recordings: pd.Series, folder: Path) -> np.ndarray:
    """SNR of the audible up-call in each simulated clip (`recording` as of `read_kaggle`), dB; NaN without one."""
    truth = pd.read_csv(folder / "truth.csv")
    calls = truth[(truth["kind"] == "UpCall") & truth["audible"]].groupby("recording")["snr_db"].max()
    return recordings.str.split("/").str[-1].map(calls).to_numpy(float)


def simulation_of(folder: Path) -> dict:
    """What simulation.json says."""
    return json.loads((folder / "simulation.json").read_text(encoding="utf-8"))
