"""Splits: groups stay whole, labels are spread, the same seed gives the same, and what cannot be done is said; leaks are found and refused."""
import numpy as np
import pandas as pd
import pytest

from preprocessing.splits import fold_numbers, grouped_folds, held_out_in_time, joined_groups, leave_one_out, rows_at_random
from training.leaks import Leak, check_leaks, refuse_leaks

SIDES = {"train", "validation", "test"}


def clips(seed=0, sources=30, labels=("beluga", "orca", "ship")):
    """Clips of sources of very unequal size; a source holds one label, as real ones mostly do."""
    rng = np.random.default_rng(seed)
    rows = [(f"{s:02d}_{k}.wav", f"tape {s:02d}", labels[s % len(labels)], f"day {s // 2}") for s in range(sources) for k in range(rng.integers(1, 20))]
    table = pd.DataFrame(rows, columns=["recording", "source", "species", "day"])
    return table.sample(frac=1, random_state=seed)  # rows in no order, an index that is not 0, 1, 2


def one_side_each(table, column, split):
    return (split.groupby(table[column]).nunique() == 1).all()


# -------------------------------------------------------------------------------------------------------------- groups

def test_groups_are_joined_through_chains():
    table = pd.DataFrame({"source": ["a", "a", "b", "c", "d"], "recording": [1, 2, 2, 3, 4], "day": ["x", "y", "z", "z", "w"]})
    assert joined_groups(table, "source").tolist() == [0, 0, 1, 2, 3]
    assert joined_groups(table, ["source", "recording"]).tolist() == [0, 0, 0, 1, 2]        # a and b share recording 2
    assert joined_groups(table, ["source", "recording", "day"]).tolist() == [0, 0, 0, 0, 1]  # and b and c share day z


def test_recordings_of_the_same_sound_are_one_group():
    table = pd.DataFrame({"recording": list("abcde"), "source": [1, 1, 2, 3, 4]})
    same = pd.DataFrame({"a": ["b", "e", "not here"], "b": ["c", "not here", "d"]})
    assert joined_groups(table, "source", same).tolist() == [0, 0, 0, 1, 2]
    assert joined_groups(table, "recording", same).tolist() == [0, 1, 1, 2, 3]


def test_groups_that_are_not_known_are_an_error():
    table = pd.DataFrame({"source": ["a", None, "b"]}, index=[7, 8, 9])
    with pytest.raises(ValueError, match="group column source: 1 rows have no value, the first is row 8; fill it in"):
        joined_groups(table, "source")
    with pytest.raises(ValueError, match="no column tape; it has source"):
        joined_groups(table, "tape")


# --------------------------------------------------------------------------------------------------------------- folds

def test_grouped_folds_keep_groups_whole_and_examine_each_row_once():
    table = clips()
    folds = grouped_folds(table, ["source", "day"], 5, "species", seed=3)
    assert list(folds) == [f"fold_{k}" for k in range(5)] and folds.index.equals(table.index)
    for name in folds:
        assert set(folds[name]) == SIDES
        assert one_side_each(table, "source", folds[name]) and one_side_each(table, "day", folds[name])
    assert ((folds == "test").sum(axis=1) == 1).all() and ((folds == "validation").sum(axis=1) == 1).all()


def test_labels_are_spread_as_well_as_the_groups_allow():
    """Single labels: no worse than scikit-learn's splitter on the same table, by its own measure, within a tenth."""
    from sklearn.model_selection import StratifiedGroupKFold

    def unevenness(fold, table):
        shares = pd.crosstab(np.asarray(fold), table["species"].to_numpy(), normalize="columns")
        return ((shares - 1 / 4) ** 2).to_numpy().sum()

    for seed in range(4):
        table = clips(seed)
        ours = unevenness(fold_numbers(table, "source", 4, "species", seed), table)
        theirs = np.zeros(len(table), int)
        for k, (_, held) in enumerate(StratifiedGroupKFold(4).split(table, table["species"], table["source"])):
            theirs[held] = k
        assert ours <= 1.1 * unevenness(theirs, table)
        shuffled = table.assign(species=np.random.default_rng(0).permutation(table["species"]))
        assert ours < unevenness(pd.Series(pd.factorize(shuffled["source"])[0] % 4), table)  # dealt out without looking


def test_several_labels_at_once_are_spread():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"recording": np.repeat(np.arange(60), 5)})
    table["target_Whistle"] = (rng.random(60) < 0.5).astype(float)[table["recording"]]
    table["target_ECHO"] = (rng.random(60) < 0.15).astype(float)[table["recording"]]
    table["target_Boat"] = np.where(table["recording"] % 3 == 0, np.nan, (table["recording"] % 2).astype(float))  # not known everywhere
    labels = ["target_Whistle", "target_ECHO", "target_Boat"]
    fold = fold_numbers(table, "recording", 4, labels)
    for label in labels:
        share = table[label].groupby(fold).sum() / table[label].sum()
        assert share.between(0.12, 0.38).all()
    assert (table.groupby(fold).size() / len(table)).between(0.2, 0.3).all()


def test_a_rare_label_reaches_every_fold():
    """Three small sources with the rare label among many large ones without it."""
    table = pd.DataFrame({"source": np.repeat(np.arange(23), [40] * 20 + [1] * 3), "species": ["common"] * 800 + ["rare"] * 3})
    for seed in range(10):
        fold = fold_numbers(table, "source", 3, "species", seed)
        assert sorted(fold[table["species"] == "rare"]) == [0, 1, 2]


def test_same_seed_same_folds_and_another_seed_others():
    table = clips()
    first = grouped_folds(table, "source", 4, "species", seed=1)
    assert first.equals(grouped_folds(table, "source", 4, "species", seed=1))
    assert any(not first.equals(grouped_folds(table, "source", 4, "species", seed=seed)) for seed in (2, 3, 4))


def test_too_few_groups_name_the_label_and_the_mend():
    table = clips(sources=12)
    with pytest.raises(ValueError, match="label beluga occurs in 4 groups by source, 5 folds need 5; take fewer folds.*complete=False"):
        grouped_folds(table, "source", 5, "species")
    with pytest.raises(ValueError, match="13 folds need at least 13 groups by source, there are 12"):
        grouped_folds(table, "source", 13)
    allowed = grouped_folds(table, "source", 5, "species", complete=False)
    assert all(one_side_each(table, "source", allowed[name]) for name in allowed)
    with pytest.raises(ValueError, match="2 folds leave nothing to train on.*validation_group"):
        grouped_folds(table, "source", 2, "species")


def test_validation_from_a_finer_group_serves_two_folds():
    table = clips(sources=6, labels=("beluga", "orca"))
    folds = grouped_folds(table, "source", 2, "species", validation_group="recording")
    for name in folds:
        assert set(folds[name]) == SIDES and one_side_each(table, "recording", folds[name])
        assert not set(table["source"][folds[name] == "test"]) & set(table["source"][folds[name] != "test"])
        assert set(table["species"][folds[name] == "validation"]) == {"beluga", "orca"}


def test_duplicates_go_to_one_fold():
    table = clips()
    for seed in range(5):
        plain = fold_numbers(table, "source", 5, seed=seed)
        first, other = table["recording"][plain == 0].iloc[0], table["recording"][plain == 1].iloc[0]
        same = pd.DataFrame({"a": [first], "b": [other]})
        fold = fold_numbers(table, "source", 5, seed=seed, same=same)
        assert fold[table["recording"] == first].iloc[0] == fold[table["recording"] == other].iloc[0]
        assert one_side_each(table, "source", fold)


# -------------------------------------------------------------------------------------------------------- other splits

def test_leave_one_site_out():
    table = clips().assign(site=lambda t: "site " + t["day"].str[-1])
    folds = leave_one_out(table, "site")
    assert list(folds) == sorted(table["site"].unique())
    for site in folds:
        assert set(table["site"][folds[site] == "test"]) == {site} and (folds[site][table["site"] == site] == "test").all()
        assert one_side_each(table, "site", folds[site]) and set(folds[site]) == SIDES
    with pytest.raises(ValueError, match="site has 2 values"):
        leave_one_out(table[table["site"].isin(["site 1", "site 2"])], "site")
    two = table[table["site"].isin(["site 1", "site 2"])]
    assert set(leave_one_out(two, "site", validation_group="source")["site 1"]) == SIDES


def test_held_out_in_time():
    start = pd.date_range("2022-07-01", periods=100, freq="10min", tz="UTC")
    table = pd.DataFrame({"start_utc": start, "day": start.floor("3h").astype(str)}).sample(frac=1, random_state=0)
    split = held_out_in_time(table, "start_utc", 0.2)["in_time"]
    assert split.value_counts().to_dict() == {"train": 60, "test": 20, "validation": 20}
    first, last = (table["start_utc"].groupby(split).agg(how) for how in ("min", "max"))
    assert last["train"] < first["validation"] and last["validation"] < first["test"]
    by_day = held_out_in_time(table, "start_utc", 0.2, group="day")["in_time"]
    assert one_side_each(table, "day", by_day) and set(by_day) == SIDES
    assert set(held_out_in_time(table, "start_utc", 0.2, validation_share=0)["in_time"]) == {"train", "test"}
    with pytest.raises(ValueError, match="start_utc: 1 of 100 rows have no time"):
        held_out_in_time(table.assign(start_utc=table["start_utc"].where(table.index != 5)), "start_utc", 0.2)
    with pytest.raises(ValueError, match="leave something to train on"):
        held_out_in_time(table, "start_utc", 0.6, 0.5)
    with pytest.raises(ValueError, match="too many share one"):
        held_out_in_time(table.assign(start_utc=start[0]), "start_utc", 0.2)


def test_rows_at_random_are_named_as_the_leak_they_are():
    table = clips()
    folds = rows_at_random(table, 4, "species", seed=1)
    assert list(folds) == [f"leak_{k}" for k in range(4)]
    assert set(check_leaks(table, folds, "source")["split"]) == set(folds)  # a source on two sides in each
    share = pd.crosstab(folds["leak_0"] == "test", table["species"], normalize="columns").loc[True]
    assert share.between(0.2, 0.3).all()


# --------------------------------------------------------------------------------------------------------------- leaks

def windows():
    """Windows of 1 s every half second of six recordings from three sources, split by source: without a leak."""
    rows = [(f"{name}.wav", source, start) for name, source in zip("abcdef", "xxyyzz") for start in np.arange(0, 5, 0.5)]
    table = pd.DataFrame(rows, columns=["recording", "source", "start_s"])
    return table, table["source"].map({"x": "train", "y": "validation", "z": "test"}).rename("split")


def test_no_leak_no_word():
    table, split = windows()
    leaks = check_leaks(table, split, ("recording", "source"), pd.DataFrame({"a": ["a.wav"], "b": ["b.wav"], "kind": "same sound", "score": 1.0, "offset_s": 0.0, "overlap_s": 5.0}), 1.0)
    assert len(leaks) == 0
    refuse_leaks(leaks)


def test_a_source_on_two_sides_is_found_and_refused():
    table, split = windows()
    split[table["recording"] == "b.wav"] = "test"
    leaks = check_leaks(table, split, ("recording", "source"), window_s=1.0)
    assert leaks[["split", "kind", "what", "rows", "a", "b"]].to_dict("records") == [{"split": "split", "kind": "same source", "what": "x", "rows": 20, "a": "b.wav", "b": "a.wav"}]
    with pytest.raises(Leak, match=r"1 leaks .*same source: 1\)\n  split: same source, x \(test: 10, train: 10\)\nSplit by groups that hold these together"):
        refuse_leaks(leaks)
    refuse_leaks(leaks, allow="same source")
    refuse_leaks(leaks, allow=True)
    with pytest.raises(Leak):
        refuse_leaks(leaks, allow=("same recording",))


def test_windows_that_overlap_across_sides_are_found():
    table, split = windows()
    split[(table["recording"] == "a.wav") & (table["start_s"] >= 3)] = "test"
    leaks = check_leaks(table, split, (), window_s=1.0)  # windows at 2.0 and 2.5 s train, at 3.0 s test: 2.5 to 3.5 s overlaps
    assert leaks[["kind", "what", "rows", "a", "b"]].to_dict("records") == [{"kind": "overlap in time", "what": "a.wav at 3.00 s", "rows": 1, "a": "a.wav", "b": "a.wav"}]
    assert len(check_leaks(table, split, (), window_s=0.5)) == 0  # they only touch
    split[(table["recording"] == "a.wav") & (table["start_s"] == 2.5)] = np.nan  # left out of both
    assert len(check_leaks(table, split, (), window_s=1.0)) == 0
    long = table.assign(end_s=np.where(table["start_s"] == 0, 5.0, table["start_s"] + 0.5))  # the first window lasts throughout
    assert check_leaks(long, split, ())["rows"].tolist() == [4]


def test_recordings_made_at_once_at_one_site_are_found():
    table = pd.DataFrame({"recording": list("abcd"), "site": ["N", "N", "N", "S"], "duration_s": 60.0,
                          "start_utc": pd.to_datetime(["2022-07-01 10:00:00", "2022-07-01 10:00:30", "2022-07-01 11:00:00", "2022-07-01 10:00:10"], utc=True)})
    split = pd.Series(["train", "test", "test", "test"], name="split")
    leaks = check_leaks(table, split)
    assert leaks[["kind", "what", "a", "b"]].to_dict("records") == [{"kind": "same time and site", "what": "a and b at N", "a": "a", "b": "b"}]


def test_the_same_sound_on_two_sides_is_found_where_windows_hear_it():
    table, split = windows()
    pair = {"a": "a.wav", "b": "f.wav", "kind": "same sound", "score": 0.4, "sure": 30.0, "offset_s": 4.0, "overlap_s": 1.0}  # train and test
    sound = pd.DataFrame([pair])
    leaks = check_leaks(table, split, ("source",), sound, window_s=1.0)
    assert leaks[["kind", "a", "b", "rows", "score"]].to_dict("records") == [{"kind": "same sound", "a": "a.wav", "b": "f.wav", "rows": 5, "score": 0.4}]  # 3.5, 4, 4.5 s; 0, 0.5 s
    elsewhere = ~((table["recording"] == "f.wav") & (table["start_s"] < 1))
    assert len(check_leaks(table[elsewhere], split[elsewhere], ("source",), sound, window_s=1.0)) == 0
    assert len(check_leaks(table[elsewhere], split[elsewhere], ("source",), sound)) == 1  # without the windows' length: the recordings count
    together = grouped_folds(table, "source", 2, same=sound, validation_group="recording")
    assert len(check_leaks(table, together.replace("validation", "train"), ("source",), sound)) == 0
    with pytest.raises(ValueError, match="no recording in the table of sounds is in the manifest"):
        check_leaks(table, split, (), sound.assign(a="q", b="r"))


def test_several_assignments_are_checked_at_once():
    table = clips()
    folds = grouped_folds(table, "source", 4, "species")
    assert len(check_leaks(table, folds, ("source", "recording"))) == 0
    folds["fold_2"] = rows_at_random(table, 4)["leak_2"]
    assert set(check_leaks(table, folds, ("source",))["split"]) == {"fold_2"}
    with pytest.raises(ValueError, match="do not have the same index"):
        check_leaks(table.reset_index(drop=True), folds)
    with pytest.raises(ValueError, match="no column site"):
        check_leaks(table, folds, "site")
    with pytest.raises(Leak, match=r"\.\.\. and \d+ more"):
        refuse_leaks(check_leaks(table, rows_at_random(table, 4), ("source",)))
