"""Collections of real noise: recordings in which the species does not call, parted by site,
declared in one YAML and not in code.

    table = noise_table(read_collection("sea_noise"), "/data/recordings", load_profile("beluga"))
    quiet = read_collection({"recordings": "/data/quiet", "sites_from": "folder"})
    table = noise_table(quiet, "/", load_profile("beluga"))

A collection is a file of `preprocessing/collections/`, a YAML anywhere, or a plain dict, with

    folders       [{folder, site, sound, sensitivity_db}]: `site` and `sound` are columns of the
                  folder's manifest.csv (column `file`; sample_rate_hz and duration_s spare a look
                  into each file), or, where there is no such column, `folder` (the first folder
                  below it) or a word for all
    recordings, sites_from    instead: one folder, and its `site`
    sites         {train, validation, test: [patterns]}; without it a fifth of the sites, at least
                  one, is the test, another validation; fewer than three sites leave nothing for a
                  test at a site never heard: then a quarter of the recordings is validation and the
                  rest train
    sounds        [{names: [patterns], present: [labels], unknown: [labels], animal: true}]: what a
                  clip of that sound says; first that fits
    unknown       labels that nothing is known about unless a sound says `present`: [Boat] if not
                  said
    other_animals unknown (as `sounds` says), negative (no call label is unknown in what is
                  `animal`), or leave out

Labels that the profile does not have are passed over: one collection serves many profiles. Levels:
without `sensitivity_db` the clips' are unknown.
"""

from __future__ import annotations

import fnmatch
import hashlib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from preprocessing.recordings import list_recordings
from spectrogram.profile import Profile
from spectrogram.recording import Recording

COLLECTIONS = Path(__file__).parent / "collections"
NOISE = "noise"  # `kind` of these recordings in a data set, and the first part of their names
SPLITS = ("train", "validation", "test")
OTHER_ANIMALS = ("unknown", "negative", "leave out")
VESSEL = "Boat"
FEWEST_SITES = 3
FOLDER_KEYS, SOUND_KEYS = (
    ("folder", "site", "sound", "sensitivity_db"),
    ("names", "present", "unknown", "animal"),
)


class BadCollection(ValueError):
    """A collection that cannot be used as it is written: which, the fault, the mend."""


@dataclass(frozen=True)
class Collection:
    """What a collection's YAML says; see the module."""

    name: str
    folders: tuple
    sites: dict | None = None
    sounds: tuple = ()
    unknown: tuple = (VESSEL,)
    other_animals: str = "unknown"


KEYS = (*(f.name for f in fields(Collection) if f.name != "name"), "recordings", "sites_from")


def read_collection(source: str | Path | dict) -> Collection:
    """A collection by its name, by the path of a YAML file, or as a dict.

    Raises
    ------
    BadCollection
        where there is none such, or it says something that nobody knows.
    """
    if isinstance(source, dict):
        return _checked(source, "noise")
    path = (
        Path(source) if str(source).endswith((".yaml", ".yml")) else COLLECTIONS / f"{source}.yaml"
    )
    if not path.exists():
        raise BadCollection(
            f"{path}: no such collection of noise; there are "
            f"{', '.join(sorted(p.stem for p in COLLECTIONS.glob('*.yaml')))}, or give the path "
            f"of a YAML file"
        )
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise BadCollection(
            f"{path}: not valid YAML ({str(error).splitlines()[0]}); mend that line"
        ) from None
    if not isinstance(given, dict):
        raise BadCollection(f"{path}: holds no table; begin with `folders:`")
    return _checked(given, str(path), path.stem)


def _checked(given: dict, where: str, name: str = "noise") -> Collection:
    _known(given, KEYS, where)
    given = dict(given)
    if ("recordings" in given) == ("folders" in given):
        raise BadCollection(
            f"{where}: give `folders`, a list, or `recordings`, one folder of recordings without "
            f"calls"
        )
    if "recordings" in given:
        given["folders"] = [
            {"folder": given.pop("recordings"), "site": given.pop("sites_from", "folder")}
        ]
    for key, keys, needed in (("folders", FOLDER_KEYS, "folder"), ("sounds", SOUND_KEYS, "names")):
        for line in given.get(key) or ():
            if not isinstance(line, dict) or needed not in line:
                raise BadCollection(f"{where}: a line of {key} is {line!r}; it needs {needed!r}")
            _known(line, keys, f"{where}, {key}")
    for split, patterns in (given.get("sites") or {}).items():
        if split not in SPLITS or not isinstance(patterns, list):
            raise BadCollection(
                f"{where}, sites: {split}: {patterns!r}; give train, validation and test, each a "
                f"list of patterns"
            )
    if given.get("other_animals", "unknown") not in OTHER_ANIMALS:
        raise BadCollection(
            f"{where}: other_animals is {given['other_animals']!r}; one of "
            f"{', '.join(OTHER_ANIMALS)}"
        )
    listed = {
        key: tuple(given.get(key) or ()) for key in ("folders", "sounds", "unknown") if key in given
    }
    return Collection(**(given | listed | {"name": name}))


def _known(given: dict, known: tuple, where: str) -> None:
    for key in given:
        if key not in known:
            near = get_close_matches(str(key), known, 1)
            raise BadCollection(
                f"{where}: {key!r} is not known; "
                + (f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}")
            )


def noise_table(collection: Collection, root: str | Path, profile: Profile) -> pd.DataFrame:
    """One row for each recording that is used.

    Parameters
    ----------
    root : folder that relative folders of the collection lie below.

    Returns
    -------
    recording (noise/FOLDER/FILE), path, set (the folder), site, sound, split, present and
    unknown (labels of the profile joined by +), animal, sensitivity_db (NaN: unknown),
    sample_rate_hz, duration_s. `.attrs`: "left_out" {why: how many}, "missing" (folders that are
    not there; all of them: an empty table).

    Raises
    ------
    BadCollection
        where a manifest names what is not there, a recording cannot be read, or a site is in no
        split.
    """
    parts, missing = [], []
    for entry in collection.folders:
        folder = Path(root) / entry["folder"]
        if folder.is_dir():
            parts.append(_read_folder(folder, entry, collection.name))
        else:
            missing.append(str(entry["folder"]))
    columns = [
        "recording",
        "path",
        "set",
        "site",
        "sound",
        "sensitivity_db",
        "sample_rate_hz",
        "duration_s",
    ]
    table = pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
    said = [_said(sound, collection, profile) for sound in table["sound"]]
    table = table.assign(
        **{key: [line[key] for line in said] for key in ("present", "unknown", "animal")}
    )
    table["split"] = _splits(table, collection)
    shows = np.array(
        [
            any(profile.observable(label, rate / 2) for label in profile.labels if label != VESSEL)
            for rate in table["sample_rate_hz"]
        ],
        bool,
    )
    animal = table["animal"].to_numpy(bool) & (collection.other_animals == "leave out")
    short = table["duration_s"].to_numpy(float) < profile.window_s
    why = np.select(
        [animal, ~shows, short],
        ["other animals", "too low a rate for every call", "shorter than a window"],
        "",
    )
    kept = table[why == ""].reset_index(drop=True)
    kept.attrs = {
        "left_out": {
            str(reason): int((why == reason).sum()) for reason in dict.fromkeys(why[why != ""])
        },
        "missing": missing,
    }
    return kept


def _read_folder(folder: Path, entry: dict, where: str) -> pd.DataFrame:
    """Recordings of one folder, by its manifest.csv or as they lie there."""
    manifest = folder / "manifest.csv"
    if manifest.exists():
        table = pd.read_csv(manifest)
        if "file" not in table:
            raise BadCollection(
                f"{manifest}: has no column `file`; it should name each recording's file below "
                f"{folder}"
            )
        table["path"] = [str(folder / name) for name in table["file"]]
        absent = [path for path in table["path"] if not Path(path).exists()]
        if absent:
            raise BadCollection(
                f"{absent[0]}: named by {manifest} but not there; copy it again or take its line "
                f"out"
            )
        if not {"sample_rate_hz", "duration_s"} <= set(table):
            heads = [Recording(path) for path in table["path"]]
            table = table.assign(
                sample_rate_hz=[r.sample_rate_hz for r in heads],
                duration_s=[r.duration_s for r in heads],
            )
    else:
        try:
            listed = list_recordings(folder)
        except FileNotFoundError as error:
            raise BadCollection(f"collection {where}: {error}") from None
        faults = listed["fault"][listed["fault"] != ""]
        if len(faults):
            raise BadCollection(f"collection {where}: {faults.iloc[0]}; take it out of {folder}")
        table = listed.rename(columns={"recording": "file"}).drop(columns="site")
    parent = [
        Path(name).parts[0] if len(Path(name).parts) > 1 else folder.name for name in table["file"]
    ]
    for column, default in (("site", "folder"), ("sound", "noise")):
        value = entry.get(column, default)
        table[column] = (
            table[value].fillna("").astype(str)
            if value in table and value != "folder"
            else parent
            if value == "folder"
            else str(value)
        )
    return table.assign(
        recording=[f"{NOISE}/{folder.name}/{name}" for name in table["file"]],
        set=str(entry["folder"]),
        sensitivity_db=float(entry.get("sensitivity_db", np.nan)),
    )


def _said(sound: str, collection: Collection, profile: Profile) -> dict:
    """What a clip of this sound says: present, unknown (labels joined by +) and animal."""
    line = next(
        (
            line
            for line in collection.sounds
            if any(fnmatch.fnmatchcase(sound, str(name)) for name in line["names"])
        ),
        {},
    )
    present = [label for label in profile.labels if label in (line.get("present") or ())]
    animal = bool(line.get("animal"))
    own = () if animal and collection.other_animals == "negative" else line.get("unknown") or ()
    unknown = [
        label
        for label in profile.labels
        if label in (*own, *collection.unknown) and label not in present
    ]
    return {"present": "+".join(present), "unknown": "+".join(unknown), "animal": animal}


def split_of_site(collection: Collection, site: str) -> str:
    """train, validation or test: the first pattern of the collection's sites that fits.

    Raises
    ------
    BadCollection
        where none does.
    """
    for split, patterns in (collection.sites or {}).items():
        if any(fnmatch.fnmatchcase(site, str(pattern)) for pattern in patterns):
            return split
    raise BadCollection(
        f"collection {collection.name}: site {site!r} is in no split; add it to sites, under "
        f"train, validation or test"
    )


def _splits(table: pd.DataFrame, collection: Collection) -> list[str]:
    """train, validation or test of each recording."""
    if collection.sites:
        return [split_of_site(collection, site) for site in table["site"]]
    order = sorted(
        table["site"].unique(), key=lambda site: hashlib.sha256(site.encode()).hexdigest()
    )  # by no property of the place
    if len(order) < FEWEST_SITES:
        rank = table["recording"].rank(method="first").astype(int) - 1
        return ["validation" if number % 4 == 3 else "train" for number in rank]
    held = -(-len(order) // 5)
    split_of = {
        site: "test" if k < held else "validation" if k < 2 * held else "train"
        for k, site in enumerate(order)
    }
    return [split_of[site] for site in table["site"]]
