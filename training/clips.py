"""Short recordings with one label each (a folder of clips) as a data set: the same rooms, the same pictures, windows of what a clip holds.

An experiment names folders below the data folder, `SEA_CANARY_DATA` in `.env` (or `../shared/data` beside the project):

    clips:
      - {folder: watkins, label: species, group: source}      # columns of watkins/manifest.csv
      - {folder: my_clips, label: folder, group: folder}      # no manifest: the name of the sub-folder
      - {folder: srkw_calls, label: killer_whale, group: srkw_calls}   # neither: the same for all
    names: {beluga: Beluga, "*whale": OtherAnimal, exemplarstd: leave out, "*": }

`names` maps a clip's label to a label of the profile, to nothing (background, an example of silence), or to `leave out`; the first pattern that
fits holds. `group` is what must never lie on both sides of a split: the recording session, the site, the individual. `record` (optional) is a finer column, the tape or
file that a clip was cut from, for a split `by: record`.

Clips are cut around calls, so every window of a clip carries its label. The last window reaches beyond the end, as the pipeline's does: there
the picture is NaN. What lies above the common band is masked for all by the profile; a clip whose rate shows no label of the profile is left out.
"""
from __future__ import annotations

import fnmatch
import os
from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.dataset import DataSet, build_dataset
from spectrogram.profile import Profile
from spectrogram.recording import EXTENSIONS, Recording
from training.kaggle_clips import read_kaggle
from training.spec import BadExperiment, Experiment

ROOT = Path(__file__).resolve().parents[1]
LEAVE_OUT = "leave out"
SNR_DB = 20.0  # noted for a clip's label: plain to hear; a mixture that buries it is not asked for it


def data_folder() -> Path:
    """The folder of real recordings.

    Raises
    ------
    BadExperiment
        if there is none.
    """
    given = os.environ.get("SEA_CANARY_DATA")
    folder = Path(given) if given else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        raise BadExperiment(f"{folder}: no folder of real recordings there; set SEA_CANARY_DATA in .env to the folder that holds them")
    return folder


def clip_table(experiment: Experiment, profile: Profile, folder: Path | None = None) -> pd.DataFrame:
    """One row per clip that is used: recording (FOLDER/FILE), path, set, group, record, raw (its own label), name (of the profile, "" for background),
    sample_rate_hz, duration_s. What was left out, and why, is in `.attrs["left_out"]`.

    Raises
    ------
    BadExperiment
        where a folder is missing, a label has no name, or a name is not the profile's.
    """
    if experiment.kind == "contest":
        table = pd.concat([read_kaggle(entry, experiment.name) for entry in experiment.clips], ignore_index=True)
    else:
        folder = folder or data_folder()
        table = pd.concat([read_folder(folder, entry, experiment.name) for entry in experiment.clips], ignore_index=True)
    table["name"] = [named(raw, experiment) for raw in table["raw"]]
    unknown = set(table["name"]) - {"", LEAVE_OUT, *profile.labels}
    if unknown:
        raise BadExperiment(f"experiment {experiment.name}: names gives {sorted(unknown)[0]!r}, which is not a label of profile {profile.name} ({', '.join(profile.labels)})")
    lowest_hz = 2 * min(profile.label_min_nyquist_hz.values())
    why = np.where(table["name"] == LEAVE_OUT, "by name", np.where(table["sample_rate_hz"] < lowest_hz, f"below {lowest_hz:g} Hz", ""))
    kept = table[why == ""].reset_index(drop=True)
    out = pd.DataFrame({"raw": table["raw"], "why": why})[why != ""]
    kept.attrs["left_out"] = {f"{raw}, {reason}": int(n) for (raw, reason), n in out.value_counts().items()}
    return kept


def read_folder(folder: Path, entry: dict, experiment: str) -> pd.DataFrame:
    """The clips of one line of `clips`."""
    here = folder / entry["folder"]
    if not here.is_dir():
        raise BadExperiment(f"experiment {experiment}: {here} is missing; the folder {entry['folder']!r} is expected below {folder} (SEA_CANARY_DATA in .env)")
    manifest = here / "manifest.csv"
    if manifest.exists():
        table = pd.read_csv(manifest)
        if "file" not in table:
            raise BadExperiment(f"{manifest}: has no column `file`; it should name each clip's file below {here}")
    else:
        files = sorted(p.relative_to(here).as_posix() for p in here.rglob("*") if p.suffix.lower() in EXTENSIONS)
        table = pd.DataFrame({"file": files})
    if not len(table):
        raise BadExperiment(f"experiment {experiment}: no clips in {here}; expected {', '.join(EXTENSIONS)}")
    parent = table["file"].map(lambda f: Path(f).parent.as_posix())
    made = pd.DataFrame({"recording": entry["folder"] + "/" + table["file"], "path": [str(here / f) for f in table["file"]], "set": entry["folder"]})
    group = entry.get("group", entry["label"])
    for column, value in (("raw", entry["label"]), ("group", group), ("record", entry.get("record", group))):
        found = parent if value == "folder" else table[value].astype(str) if value in table else pd.Series(str(value), index=table.index)
        made[column] = found if column == "raw" else entry["folder"] + "/" + found.astype(str)
    missing = [path for path in made["path"] if not Path(path).exists()]
    if missing:
        raise BadExperiment(f"{missing[0]}: named by {manifest} but not there; copy it again or take its line out")
    known = {"sample_rate_hz", "duration_s"} <= set(table)
    heads = None if known else [Recording(path) for path in made["path"]]
    made["sample_rate_hz"] = table["sample_rate_hz"].astype(int) if known else [r.sample_rate_hz for r in heads]
    made["duration_s"] = table["duration_s"].astype(float) if known else [r.duration_s for r in heads]
    return made


def named(raw: str, experiment: Experiment) -> str:
    """What a clip's own label means by `names`; itself where `names` is empty."""
    if not experiment.names:
        return raw
    for pattern, name in experiment.names.items():
        if fnmatch.fnmatchcase(raw, str(pattern)):
            return raw if name == "=" else name or ""
    raise BadExperiment(f"experiment {experiment.name}: no name for clips labelled {raw!r}; add it to names, or \"*\" for all others")


def clip_dataset(table: pd.DataFrame, folder: str | Path, profile: Profile) -> DataSet:
    """Pictures and windows of a table of clips; finished pictures are kept. Manifest columns: those of the table."""
    beyond_s = profile.window_s + profile.step_s  # the label holds to the end of the last window
    labelled = table[table["name"] != ""]
    truth = pd.DataFrame({"recording": labelled["recording"], "label": labelled["name"], "start_s": 0.0, "end_s": labelled["duration_s"] + beyond_s,
                          "snr_db": SNR_DB, "audible": True})
    return build_dataset(table.assign(split="all"), truth, folder, profile, {"simulated": False}, padded=True)
