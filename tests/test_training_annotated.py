"""An experiment on one's own recordings and annotations: sides of the split, and what is refused."""
import numpy as np
import pandas as pd
import pytest
import soundfile

from training.annotated_experiment import annotated_data, sides
from training.leaks import Leak
from training.spec import BadExperiment, Experiment

RATE_HZ = 10_000
GIVEN = {"name": "mine", "profile": "watkins", "labels": ["Beluga"], "split": {"kind": "grouped", "by": "site", "folds": 3}}


@pytest.fixture
def folder(tmp_path):
    """Three sites with two recordings of 3 s, one call in each, in a CSV."""
    rng, rows = np.random.default_rng(0), []
    for site in "ABC":
        for n in range(2):
            name = f"{site}{n}_2022071{n}T000000Z.wav"
            (tmp_path / "sound" / site).mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / "sound" / site / name, rng.standard_normal(3 * RATE_HZ) * 0.01, RATE_HZ)
            rows.append((f"{site}/{name}", 1.0, 1.5, "Beluga"))
    pd.DataFrame(rows, columns=["recording", "start_s", "end_s", "label"]).to_csv(tmp_path / "calls.csv", index=False)
    return tmp_path


def spec_of(folder, **changes):
    return Experiment.from_dict(GIVEN | {"annotations": {"recordings": str(folder / "sound"), "table": str(folder / "calls.csv"), "exhaustive": True}} | changes)


def test_annotations_become_windows_and_a_site_is_on_one_side(folder):
    spec = spec_of(folder)
    data = annotated_data(spec, spec.front_end(), folder / "data")
    assert spec.kind == "annotations" and data.manifest.groupby("site")["split"].nunique().max() == 1 and set(data.manifest["split"]) == {"train", "validation", "test"}
    assert (data.manifest["target_Beluga"] == 1).sum() == 12 and not data.info["summary"]["simulated"]  # 0.5 to 1.5 and 1 to 2, of six recordings


def test_a_leak_is_refused_before_anything_is_made(folder):
    about = pd.DataFrame({"recording": [f"{s}/{s}{n}_2022071{n}T000000Z.wav" for s in "ABC" for n in range(2)], "split": ["train", "test", "validation", "train", "test", "test"]})
    about.to_csv(folder / "about.csv", index=False)
    one = spec_of(folder).annotations | {"about": str(folder / "about.csv")}
    spec = spec_of(folder, annotations=one, split={"kind": "given"})
    assert set(annotated_data(spec, spec.front_end(), folder / "data").manifest["split"]) == {"train", "validation", "test"}
    name = next((folder / "sound" / "A").glob("A0*"))
    name.with_name("A1_20220711T000000Z.wav").write_bytes(name.read_bytes())
    from preprocessing.duplicates import find_duplicates
    from preprocessing.recordings import describe, list_recordings
    from training.leaks import check_leaks, refuse_leaks

    recordings = describe(list_recordings(folder / "sound"), folder / "about.csv")
    with pytest.raises(Leak, match="same"):
        refuse_leaks(check_leaks(recordings, recordings["split"], "recording", sound=find_duplicates(recordings)))


@pytest.mark.parametrize("changes, said", [({"annotations": {"recordings": "x", "tabel": "y"}}, "did you mean 'table'"), ({"annotations": {"recordings": "x"}}, "lacks table")])
def test_what_is_misspelt_or_missing_is_named(folder, changes, said):
    spec = spec_of(folder, **changes)
    with pytest.raises(BadExperiment, match=said):
        annotated_data(spec, spec.front_end(), folder / "data")


@pytest.mark.parametrize("split, said", [({"kind": "given"}, "about"), ({"kind": "rows"}, "leaks")])
def test_a_split_that_cannot_be_made_says_what_it_needs(folder, split, said):
    table = pd.DataFrame({"recording": ["a", "b"], "site": ["A", "B"]})
    with pytest.raises(BadExperiment, match=said):
        sides(table, spec_of(folder, split=split))


def test_leave_one_out_takes_the_value_that_is_named(folder):
    table = pd.DataFrame({"recording": list("abcd"), "site": list("ABCD")})
    given = spec_of(folder).annotations | {"held": "C"}
    assert sides(table, spec_of(folder, annotations=given, split={"kind": "leave_one_out", "by": "site"})).tolist() == ["train", "train", "test", "validation"]
