"""Collections of noise: which recordings, in which split, and what they say about labels."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from preprocessing.noise_collection import COLLECTIONS, BadCollection, noise_table, read_collection
from spectrogram.profile import load_profile
from training.clips import ROOT

PROFILE = load_profile("beluga")
SHARED = ROOT.parent / "shared" / "data"


def write(folder, name, rate_hz=16_000, seconds=2.0, seed=0):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(
        path, 0.01 * np.random.default_rng(seed).standard_normal(int(rate_hz * seconds)), rate_hz
    )


def clips(folder, rows):
    """A folder with a manifest of (file, site, sound, rate)."""
    for name, _, _, rate_hz in rows:
        write(folder, name, rate_hz)
    table = pd.DataFrame(rows, columns=["file", "site", "sound", "sample_rate_hz"]).assign(
        duration_s=2.0
    )
    table.to_csv(folder / "manifest.csv", index=False)


GIVEN = {
    "folders": [
        {"folder": "sea", "site": "site", "sound": "sound"},
        {"folder": "trap", "site": "T1", "sensitivity_db": -172.8},
    ],
    "sites": {"train": ["A*"], "validation": ["B*", ""], "test": ["T*"]},
    "sounds": [
        {"names": ["*boat"], "present": ["Boat"]},
        {"names": ["dolphin"], "unknown": ["Whistle"], "animal": True},
    ],
}


@pytest.fixture
def sea(tmp_path):
    clips(
        tmp_path / "sea",
        [
            ("1.flac", "A1", "smallboat", 16_000),
            ("2.flac", "A2", "dolphin", 48_000),
            ("3.flac", "B1", "rain", 16_000),
            ("4.flac", None, "rain", 16_000),
            ("5.flac", "B1", "rain", 2000),
        ],
    )
    write(tmp_path / "trap", "6872.220716021453.wav")
    return tmp_path


def test_what_a_clip_says_follows_from_what_it_is(sea):
    table = noise_table(read_collection(GIVEN), sea, PROFILE).set_index("recording")
    assert table["split"].to_dict() == {
        "noise/sea/1.flac": "train",
        "noise/sea/2.flac": "train",
        "noise/sea/3.flac": "validation",
        "noise/sea/4.flac": "validation",
        "noise/trap/6872.220716021453.wav": "test",
    }
    assert table["present"].tolist() == ["Boat", "", "", "", ""] and table["unknown"].tolist() == [
        "",
        "Whistle+Boat",
        "Boat",
        "Boat",
        "Boat",
    ]
    assert (
        table["animal"].tolist() == [False, True, False, False, False]
        and table["sensitivity_db"].tolist()[-1] == -172.8
        and table["sensitivity_db"][:-1].isna().all()
    )
    assert (
        table.attrs["left_out"] == {"too low a rate for every call": 1}
        and table.attrs["missing"] == []
    )


def test_whistles_of_other_animals_are_unknown_negative_or_left_out_as_told(sea):
    unknown = {
        told: noise_table(read_collection(GIVEN | {"other_animals": told}), sea, PROFILE)
        .set_index("recording")["unknown"]
        .get("noise/sea/2.flac")
        for told in ("unknown", "negative", "leave out")
    }
    assert unknown == {"unknown": "Whistle+Boat", "negative": "Boat", "leave out": None}


def test_labels_that_a_profile_does_not_have_are_passed_over(sea):
    table = noise_table(read_collection(GIVEN), sea, load_profile("watkins"))
    assert set(table["present"]) | set(table["unknown"]) == {""}


def test_folders_that_are_not_there_are_told(sea):
    more = GIVEN | {"folders": [*GIVEN["folders"], {"folder": "elsewhere"}]}
    assert noise_table(read_collection(more), sea, PROFILE).attrs["missing"] == ["elsewhere"]
    none = noise_table(read_collection(more), sea / "nowhere", PROFILE)
    assert len(none) == 0 and none.attrs["missing"] == ["sea", "trap", "elsewhere"]


@pytest.mark.parametrize("sites", [3, 7])
def test_a_folder_of_quiet_recordings_is_enough_and_no_site_is_in_two_splits(tmp_path, sites):
    for k in range(sites):
        for n in range(2):
            write(tmp_path / "quiet", f"bay {k}/{n}.wav", seed=k)
    table = noise_table(
        read_collection({"recordings": str(tmp_path / "quiet"), "sites_from": "folder"}),
        "/",
        PROFILE,
    )
    assert (
        len(table) == 2 * sites
        and (table["unknown"] == "Boat").all()
        and set(table["sensitivity_db"].isna()) == {True}
    )
    split_of = table.groupby("site")["split"].unique()
    assert (split_of.map(len) == 1).all() and set(table["split"]) == {"train", "validation", "test"}
    pd.testing.assert_frame_equal(
        table, noise_table(read_collection({"recordings": str(tmp_path / "quiet")}), "/", PROFILE)
    )


def test_one_site_leaves_no_test_at_a_site_never_heard(tmp_path):
    for n in range(8):
        write(tmp_path / "quiet", f"{n}.wav")
    table = noise_table(read_collection({"recordings": str(tmp_path / "quiet")}), "/", PROFILE)
    assert table["split"].value_counts().to_dict() == {"train": 6, "validation": 2} and set(
        table["site"]
    ) == {"quiet"}


@pytest.mark.parametrize(
    "given, said",
    [
        ("sea_nois", "no such collection"),
        ({}, "give `folders`"),
        ({"recordings": "a", "folders": []}, "give `folders`"),
        ({"recording": "a"}, "did you mean 'recordings'"),
        ({"folders": [{"site": "A"}]}, "needs 'folder'"),
        ({"folders": [{"folder": "a", "sit": "A"}]}, "did you mean 'site'"),
        ({"recordings": "a", "sites": {"tests": ["A"]}}, "a list of patterns"),
        ({"recordings": "a", "other_animals": "yes"}, "one of unknown, negative, leave out"),
        ({"recordings": "a", "sounds": [{"name": ["x"]}]}, "needs 'names'"),
    ],
)
def test_what_cannot_be_used_is_named(given, said):
    with pytest.raises(BadCollection, match=said):
        read_collection(given)


def test_a_site_in_no_split_and_a_clip_that_is_not_there_are_named(sea):
    with pytest.raises(BadCollection, match="site 'B1' is in no split"):
        noise_table(
            read_collection(
                GIVEN | {"sites": {"train": ["A*"], "test": ["T*"], "validation": [""]}}
            ),
            sea,
            PROFILE,
        )
    (sea / "sea" / "3.flac").unlink()
    with pytest.raises(BadCollection, match="3.flac: named by .*manifest.csv but not there"):
        noise_table(read_collection(GIVEN), sea, PROFILE)


@pytest.mark.parametrize("path", sorted(COLLECTIONS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_collections_of_the_project_can_be_read(path):
    assert read_collection(path.stem) == read_collection(path)


@pytest.mark.skipif(
    not (SHARED / "sanctsound").is_dir(),
    reason="needs ../shared/data/sanctsound, ships and soundtrap",
)
def test_sea_noise_is_parted_by_site_as_it_was_before_anything_was_trained():
    table = noise_table(read_collection("sea_noise"), SHARED, PROFILE)
    letters = table["site"].where(table["set"] != "sanctsound", table["site"].str[:2])
    parted = table.groupby("split").apply(
        lambda part: set(letters[part.index]), include_groups=False
    )
    assert parted["train"] == {
        "CI",
        "GR",
        "Passengership_12",
        "Passengership_16",
        "Passengership_17",
        "Passengership_5",
        "Passengership_6",
        "Tanker_10",
        "Tanker_14",
        "Tanker_19",
    }
    assert parted["test"] == {"FK", "HI", "soundtrap"} and {"OC", "PM"} < parted["validation"]
    assert set(
        table.loc[
            table["sound"].isin(["sonar", "lfasonar", "rain", "pinger", "sealbomb"]), "unknown"
        ]
    ) == {"Boat"}
    assert set(table.loc[table["sound"].isin(["largeship", "vessel", "Tanker"]), "present"]) == {
        "Boat"
    }
    assert (
        table.loc[table["sound"].isin(["dolphin", "killerwhale"]), "unknown"]
        .str.contains("Whistle")
        .all()
    )
