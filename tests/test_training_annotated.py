"""An experiment on one's own recordings and annotations: sides of the split, and what is refused."""
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from training.annotated_experiment import annotated_data, sides
from training.data_card import window_data_card
from training.event_verdict import event_verdict
from training.data import WindowSet
from training.deployments import forget_sound
from training.experiment import judged_sound, settings_of
from training.fit import share_of
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


def about(folder, **split_of):
    """A table of the six recordings with a column `split`; A0="test" changes one."""
    table = pd.DataFrame([(f"{s}/{s}{n}_2022071{n}T000000Z.wav", split_of.get(f"{s}{n}", {"A": "train", "B": "validation", "C": "test"}[s])) for s in "ABC" for n in range(2)], columns=["recording", "split"])
    table.to_csv(folder / "about.csv", index=False)
    return {"kind": "given"}, {"about": str(folder / "about.csv")}


def test_a_planted_copy_is_found_before_anything_is_made(folder):
    one = soundfile.read(next((folder / "sound" / "A").glob("A0*")))[0]
    soundfile.write(next((folder / "sound" / "B").glob("B1*")), one, RATE_HZ)  # a copy under another name, at another site
    split, more = about(folder)
    given = spec_of(folder).annotations | more
    spec = spec_of(folder, annotations=given, split=split)
    with pytest.raises(Leak, match="(?s)same samples: 1.*A/A0_20220710T000000Z.wav and B/B1_20220711T000000Z.wav"):
        annotated_data(spec, spec.front_end(), folder / "data")
    assert not (folder / "data").exists()
    allowed = spec_of(folder, annotations=given | {"allow": ["same samples"]}, split=split)
    assert set(annotated_data(allowed, spec.front_end(), folder / "data").manifest["split"]) == {"train", "validation", "test"}
    by_recording = spec_of(folder, split={"kind": "grouped", "by": "recording", "folds": 3})
    data = annotated_data(by_recording, spec.front_end(), folder / "data")  # folds keep the two together
    side = data.manifest.groupby("recording")["split"].first()
    assert side["A/A0_20220710T000000Z.wav"] == side["B/B1_20220711T000000Z.wav"] and "A/A0_20220710T000000Z.wav and B/B1_20220711T000000Z.wav: same samples" in window_data_card(by_recording, data)


def test_a_planted_leak_is_found_before_anything_is_made(folder):
    split, more = about(folder, A1="test")
    (folder / "sound" / "A" / "A1_20220711T000000Z.wav").rename(folder / "sound" / "A" / "A1_20220710T000001Z.wav")  # it now begins while A0, on the other side, goes on
    for name in ("calls.csv", "about.csv"):
        (folder / name).write_text((folder / name).read_text().replace("A1_20220711T000000Z", "A1_20220710T000001Z"))
    spec = spec_of(folder, annotations=spec_of(folder).annotations | more, split=split)
    with pytest.raises(Leak, match="same time and site, A/A0_20220710T000000Z.wav and A/A1_20220710T000001Z.wav"):
        annotated_data(spec, spec.front_end(), folder / "data")
    assert not (folder / "data").exists()


def test_events_are_judged_on_the_users_recordings_which_stay(folder):
    calls = pd.read_csv(folder / "calls.csv")
    calls[~calls["recording"].str.startswith("C/C1")].to_csv(folder / "calls.csv", index=False)
    spec = spec_of(folder)
    data = annotated_data(spec, spec.front_end(), folder / "data")
    side = data.manifest.groupby("recording")["split"].first()["C/C1_20220711T000000Z.wav"]
    recordings, truth = judged_sound(spec, data, [], side, folder)
    assert dict(zip(recordings["recording"], recordings["kind"])) == {"C/C0_20220710T000000Z.wav": "annotated", "C/C1_20220711T000000Z.wav": "empty"} and not recordings["boats"].any()
    events = pd.DataFrame({"recording": ["C/C0_20220710T000000Z.wav", "C/C1_20220711T000000Z.wav"], "start_s": [1.0, 1.0], "end_s": [1.5, 1.5], "labels": "Beluga"})
    verdict = event_verdict(events, truth, recordings, ("Beluga",), draws=5)
    assert (verdict["Beluga"]["true"], verdict["Beluga"]["false"], verdict["Beluga"]["found"]) == (1, 1, 1) and verdict["silent_recordings"]["false_events"] == 1
    forget_sound(recordings)
    assert all(Path(path).exists() for path in recordings["path"])


def test_what_cannot_be_learnt_is_refused(folder):
    """Nobody said that the recordings were looked through; and a label that no annotation bears."""
    given = {key: value for key, value in spec_of(folder).annotations.items() if key != "exhaustive"}
    for changes, said in (({"annotations": given}, "known to be without Beluga; say which recordings were looked through"), ({"labels": ["Beluga", "Orca"]}, r"no call Orca in the 2 .*labels: \[Beluga\]")):
        spec = spec_of(folder, **changes)
        with pytest.raises(BadExperiment, match=said):
            annotated_data(spec, spec.front_end(), folder / "data")


def test_calls_that_the_experiment_is_not_about_are_nothing(folder):
    calls = pd.read_csv(folder / "calls.csv")
    pd.concat([calls, calls.assign(label="Boat", start_s=2.0, end_s=2.4), calls.assign(label="whistle + Boat", start_s=0.1, end_s=0.3)]).to_csv(folder / "calls.csv", index=False)
    spec = spec_of(folder, profile="beluga", labels=["Boat"], annotations=spec_of(folder).annotations | {"label_map": str(folder / "map.yaml")})
    (folder / "map.yaml").write_text("labels: {Boat: , Whistle: }\nsplit: '+'\ndrop: [Beluga]\n")
    data = annotated_data(spec, spec.front_end(), folder / "data")
    assert set(data.calls["label"]) == {"Boat"} and len(data.calls) == 12


def test_false_alarms_become_hard_negatives_that_are_drawn_more_often(folder):
    name = "A/A0_20220710T000000Z.wav"
    pd.DataFrame({"recording": [name, name], "start_s": [2.1, 1.1], "end_s": [2.6, 1.4], "labels": "Beluga"}).to_parquet(folder / "events.parquet")  # after the call, and on it
    pd.DataFrame({"recording": [f"{s}/{s}{n}_2022071{n}T000000Z.wav" for s in "ABC" for n in range(2)], "start_s": 0.0, "end_s": 3.0}).to_csv(folder / "looked.csv", index=False)
    given = spec_of(folder).annotations | {"exhaustive": str(folder / "looked.csv"), "false_alarms": str(folder / "events.parquet")}
    spec = spec_of(folder, annotations=given, hard_negatives=5)
    data = annotated_data(spec, spec.front_end(), folder / "data")
    hard = data.manifest[data.manifest["hard_negative"]]
    assert hard["start_s"].tolist() == [1.5, 2.0] and set(hard["recording"]) == {name} and data.info["summary"]["hard_negatives"] == 1
    share = share_of(WindowSet(data, data.manifest, data.profile), settings_of(spec))
    assert (share[data.manifest["hard_negative"]] == 5).all() and (share[~data.manifest["hard_negative"]] == 1).all()
    assert spec_of(folder).digest() == spec_of(folder, hard_negatives=1.0).digest() != spec_of(folder, hard_negatives=5).digest()


def test_the_column_of_labels_may_be_named(folder):
    pd.read_csv(folder / "calls.csv").rename(columns={"label": "GROUNDTRUTH"}).to_csv(folder / "calls.csv", index=False)
    spec = spec_of(folder, annotations=spec_of(folder).annotations | {"label_column": "GROUNDTRUTH"})
    assert (annotated_data(spec, spec.front_end(), folder / "data").manifest["target_Beluga"] == 1).sum() == 12


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
