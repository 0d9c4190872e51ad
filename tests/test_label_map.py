"""Written labels become ours: typing errors, merges, drops, one that means several; nothing unknown passes unseen."""
import unicodedata

import pandas as pd
import pytest

from preprocessing.annotations import empty_annotations
from preprocessing.label_map import DROPPED, UNSURE, LabelMap, same_labels
from spectrogram.profile import load_profile

MAP = {"labels": {"Whistle": ["wistle", "W", "sifflé"], "HFPC": ["HFPC-M"], "ECHO": None}, "multi": {"diphonic": ["HFPC", "Whistle"]}, "split": "+", "unsure": ["?"],
       "drop": ["noise", None, 7]}


def table(*labels):
    return pd.DataFrame({"label": labels, "start_s": [float(k) for k in range(len(labels))]}).astype({"label": "str"})


def test_labels_are_mended_merged_dropped_and_split_with_counts():
    before = table(" Wistle ", "w", "hfpc-m", "noise", "Diphonic", "ECHO + w", "?", "", "7", "w")
    before.attrs = {"notes": ["one"]}
    cleaned, report = LabelMap.from_dict(MAP).apply(before)
    assert cleaned["label"].tolist() == ["Whistle", "Whistle", "HFPC", "HFPC", "Whistle", "ECHO", "Whistle", UNSURE, "Whistle"]
    assert cleaned["start_s"].tolist() == [0, 1, 2, 4, 4, 5, 5, 6, 9] and cleaned.attrs == {"notes": ["one"]} and cleaned["label"].dtype == "str"
    assert report.to_numpy(object).tolist() == [
        ["w", "Whistle", 2], [" Wistle ", "Whistle", 1], ["Diphonic", "Whistle", 1], ["ECHO + w", "Whistle", 1], ["Diphonic", "HFPC", 1], ["hfpc-m", "HFPC", 1], ["ECHO + w", "ECHO", 1],
        ["?", UNSURE, 1], ["", DROPPED, 1], ["7", DROPPED, 1], ["noise", DROPPED, 1]]
    assert report["count"].sum() == len(before) + 2 and before["label"].tolist()[0] == " Wistle "  # two labels count twice; the table given stays


def test_accents_are_the_same_however_unicode_writes_them():
    assert LabelMap.from_dict(MAP).look_up(unicodedata.normalize("NFD", "SIFFLÉ")) == ("Whistle",)


def test_unknown_labels_are_listed_with_counts_and_near_matches_or_kept():
    mapped = LabelMap.from_dict(MAP, "map.yaml")
    with pytest.raises(ValueError, match=r"map.yaml: 3 labels are not in it: 'wissle' 2 times \(wistle\?\); 'moo' 1 times; 'ECHO\+moo' 1 times; add them under"):
        mapped.apply(table("wissle", "moo", "W", "wissle", "ECHO+moo"))
    cleaned, report = mapped.apply(table("moo", "W"), unknown="keep")
    assert cleaned["label"].tolist() == ["moo", "Whistle"] and report.iloc[-1].tolist() == ["moo", "moo", 1]
    with pytest.raises(ValueError, match="use error or keep"):
        mapped.apply(table("W"), unknown="drop")


def test_a_table_without_rows_keeps_its_types():
    cleaned, report = LabelMap.from_dict(MAP).apply(empty_annotations())
    assert cleaned.dtypes.equals(empty_annotations().dtypes) and list(report) == ["before", "after", "count"] and len(report) == 0


@pytest.mark.parametrize("told, fault", [
    ({"label": {"A": []}}, "no `labels"),
    ({"labels": {"A": []}, "dropp": ["x"]}, r"unknown key 'dropp' \(drop\?\)"),
    ({"labels": {"A": ["x"], "B": [" X"]}}, "'x' is told twice, as A and as B; if it means both, say so under `multi`"),
    ({"labels": {"A": ["x"]}, "drop": ["X"]}, r"'x' is told twice, as A and as \(dropped\)"),
    ({"labels": {"Whistle": []}, "multi": {"x": ["Wistle"]}}, r"`multi` makes 'x' a 'Wistle', which is not under `labels` \(Whistle\?\)"),
    ({"labels": {"A": [False]}}, "reads one of the labels as false .* put quotes around it"),
])
def test_a_map_that_contradicts_itself_is_refused(told, fault):
    with pytest.raises(ValueError, match=fault):
        LabelMap.from_dict(told)


def test_maps_are_read_by_name_or_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text('labels: {Sifflé: [S, "?"]}\n', encoding="utf-8")
    assert LabelMap.read(path).look_up("?") == ("Sifflé",)
    with pytest.raises(FileNotFoundError, match="no label map 'belugas': use one of beluga"):
        LabelMap.read("belugas")
    path.write_text("labels: {A: [?: x}", encoding="utf-8")
    with pytest.raises(ValueError, match="mine.yaml: not YAML"):
        LabelMap.read(path)


def test_the_beluga_map_speaks_the_profiles_labels():
    beluga = LabelMap.read("beluga")
    assert set(beluga.labels) == set(load_profile("beluga").labels)
    expected = {"CC": ("BBPC",), "b": ("BBPC",), "HFPC-M": ("HFPC",), "W": ("Whistle",), "w": ("Whistle",), "e": ("ECHO",), "H": ("HFPC",), "a": (), "Unsure": (UNSURE,), "": (UNSURE,),
                "HFPC+Whistle": ("HFPC", "Whistle"), "CC/W": ("BBPC", "Whistle"), "cc+w+e": ("BBPC", "Whistle", "ECHO"), "boat_passage": ("Boat",), "right whale": None}
    assert {label: beluga.look_up(label) for label in expected} == expected


def test_labels_that_are_ours_already_need_no_map():
    ours = same_labels(("ECHO", "Whistle"))
    assert [ours.look_up(label) for label in ("whistle ", "ECHO+Whistle", "absent", UNSURE, "CC")] == [("Whistle",), ("ECHO", "Whistle"), (), (UNSURE,), None]
