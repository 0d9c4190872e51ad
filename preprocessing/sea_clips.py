"""The shared real clips as one table: what each is of, its source, which part may use it.

Real sound is parted by site before anything is trained or chosen on it, and that never changes:
`part` is what `preprocessing/collections/sea_noise.yaml` says of the site.

Whales (Watkins, srkw_calls, orcasound_lab, humpback_calls) have the part "animals": they are judged
by source, each source out in turn. `kind`: "noise" (vessels, weather, shrimp, sonar, bombs), "fish"
(and sea lions), "whale" (whales and dolphins other than belugas), "beluga", "unknown" (nobody said
what is in it). Clips of one sound at one moment (amplified, filtered, named twice) come once.
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from preprocessing.noise_collection import read_collection, split_of_site

ROOT = Path(__file__).resolve().parents[1]
NOISE = "sea_noise"  # the collection that parts the sites
WHALES = ("whale", "dolphin", "odontocete", "minke")
FISH = ("bocaccio", "midshipman", "grouper", "fish", "haddock", "sealion")
UNKNOWN = ("soundscape", "exemplarstd")
COLUMNS = [
    "recording",
    "path",
    "folder",
    "source",
    "sound",
    "kind",
    "part",
    "sample_rate_hz",
    "duration_s",
]


def data_folder(data: str | Path | None = None) -> Path | None:
    """The folder of real clips: as given, SEA_CANARY_DATA, or ../shared/data; None where absent."""
    folder = Path(data or os.environ.get("SEA_CANARY_DATA") or ROOT.parent / "shared" / "data")
    return folder if (folder / "sanctsound").is_dir() or (folder / "watkins").is_dir() else None


def sea_clips(data: str | Path | None = None) -> pd.DataFrame:
    """A row per clip (`COLUMNS`). `recording` is FOLDER/FILE; splits keep a `source` whole.

    Raises
    ------
    FileNotFoundError
        where there is no such folder.
    """
    folder = data_folder(data)
    if folder is None:
        raise FileNotFoundError(
            f"{data or ROOT.parent / 'shared' / 'data'}: no folder of real clips there; "
            "give --data, or set SEA_CANARY_DATA in .env"
        )
    tables = [_read(folder, name, make) for name, make in READERS.items()]
    return pd.concat([t for t in tables if t is not None], ignore_index=True)[COLUMNS]


def _read(data: Path, name: str, make) -> pd.DataFrame | None:
    manifest = data / name / "manifest.csv"
    if not (data / name).is_dir():
        return None
    text = dict.fromkeys(("site", "start_utc", "recording", "source", "sound", "species"), str)
    if manifest.exists():
        table = make(pd.read_csv(manifest, dtype=text, na_filter=False))
    else:
        table = make(data / name)
    table = table.astype({"sample_rate_hz": int, "duration_s": float})
    table["path"] = [str(data / name / file) for file in table["file"]]
    return table.assign(recording=name + "/" + table["file"], folder=name)


def _sanctsound(table: pd.DataFrame) -> pd.DataFrame:
    gain = table["gain_applied"].astype(str) == "True"
    family = table["sound"].map(
        lambda sound: sound.replace("whale", "").replace("sonar", "") or sound
    )
    order = table.assign(gain=gain, family=family).sort_values(["gain", "file"], kind="stable")
    timed = order["start_utc"] != ""
    twice = order.duplicated(["site", "start_utc", "family"]) & timed
    twice |= order["file"].str.startswith("filtered_")
    table = order[~twice].sort_index()
    kind = table["sound"].map(sound_kind)
    moment = table["site"] + table["start_utc"]
    whales = set(moment[(kind == "whale") & (table["start_utc"] != "")])
    kind = kind.mask((kind == "unknown") & moment.isin(whales), "whale")
    source = table["site"].replace("", "none")
    return table.assign(source=source, kind=kind, part=_parts(table["site"]))


def _parts(sites: pd.Series) -> pd.Series:
    collection = read_collection(NOISE)
    return sites.map(lambda site: split_of_site(collection, site))


def sound_kind(sound: str) -> str:
    """What a SanctSound name is of: noise, fish, whale or unknown."""
    for kind, words in (("whale", WHALES), ("unknown", UNKNOWN), ("fish", FISH)):
        if any(word in sound for word in words):
            return kind
    return "noise"


def _ships(table: pd.DataFrame) -> pd.DataFrame:
    sound = table["label"].str.lower()
    return table.assign(sound=sound, kind="noise", part=_parts(table["source"]))


def _soundtrap(folder: Path) -> pd.DataFrame:
    import soundfile

    files = sorted(path.name for path in folder.glob("*.flac"))
    about = [soundfile.info(folder / file) for file in files]
    return pd.DataFrame({
        "file": files, "source": "soundtrap", "sound": "ambient", "kind": "noise",
        "part": split_of_site(read_collection(NOISE), "soundtrap"),
        "sample_rate_hz": [a.samplerate for a in about], "duration_s": [a.duration for a in about],
    })  # fmt: skip


def _watkins(table: pd.DataFrame) -> pd.DataFrame:
    kind = table["species"].map(lambda species: "beluga" if species == "beluga" else "whale")
    return table.assign(sound=table["species"], kind=kind, part="animals")


def _one_source(name: str, sound: str):
    def make(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(source=name, sound=sound, kind="whale", part="animals")

    return make


READERS = {
    "sanctsound": _sanctsound,
    "ships": _ships,
    "soundtrap": _soundtrap,
    "watkins": _watkins,
    "srkw_calls": _one_source("srkw_calls", "killer_whale"),
    "orcasound_lab": _one_source("orcasound_lab", "killer_whale"),
    "humpback_calls": _one_source("humpback_calls", "humpback"),
}
