"""Clips of checked detections, and the sensitive detector that makes detections where nobody gave any."""
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from preprocessing.detection_places import place_detections
from preprocessing.detections import read_detections
from preprocessing.energy_detector import EnergyDetector, background_db, detect_energy, reached, with_verdicts, write_detections
from preprocessing.recordings import list_recordings
from preprocessing.verdict_clips import meets, verdict_clips, verdict_dataset
from spectrogram.generator import SpectrogramGenerator
from spectrogram.profile import Profile, load_profile
from spectrogram.recording import Recording
from tests.toy_sound import noise, put, sweep, write
from training.data import WindowSet

RATE = 16000
WATKINS = load_profile("watkins").to_dict()
PROFILE = Profile.from_dict(WATKINS | {"name": "toy", "window_s": 2.0, "step_s": 1.0, "heads": {"animal": ["Beluga"]}, "labels": {"Beluga": WATKINS["labels"]["Beluga"]},
                                       "picture": WATKINS["picture"] | {"bands": 24}})


def table(*rows):
    """(recording, start_s, end_s, verdict)."""
    placed = pd.DataFrame(rows, columns=["recording", "start_s", "end_s", "verdict"])
    return placed.assign(detection=range(len(placed)))


def long(*names, seconds=60.0):
    return pd.DataFrame({"recording": names, "duration_s": seconds, "site": [name[0] for name in names], "day": "2017-06-23"})


def of(clips, name):
    return clips[clips["class"] == name][["recording", "start_s", "end_s"]].values.tolist()


# --- cutting

@pytest.mark.parametrize("place, starts", [("middle", [0, 21.5, 58]), ("start", [0.2, 20, 58]), ("tile", [0.2, 20, 22, 24, 58])])
def test_placement_and_the_edges_of_the_recording(place, starts):
    placed = table(("a", 0.2, 0.4, "true"), ("a", 20, 25, "true"), ("a", 59.5, 60, "true"))
    clips = verdict_clips(placed, long("a"), 2.0, place, nothing=0)
    assert of(clips, "B") == [["a", s, s + 2] for s in starts] and set(clips["mooring"]) == {"a"} and set(clips["day"]) == {"2017-06-23"}


def test_false_alarms_beside_calls_are_no_examples_and_unsure_ones_neither():
    placed = table(("a", 10, 10.5, "true"), ("a", 11, 11.2, "false"), ("a", 30, 31, "false"), ("a", 31.2, 31.3, "unsure"), ("a", 50, 50.1, "false"), ("a", 50.4, 50.5, "false"))
    clips = verdict_clips(placed, long("a"), 2.0, nothing=0)
    assert of(clips, "B") == [["a", 9.25, 11.25]] and of(clips, "F") == [["a", 49.05, 51.05]]
    assert any("2 clips of false alarms" in note for note in clips.attrs["notes"]) and any("1 clips begin within" in note for note in clips.attrs["notes"])


def test_nothing_lies_far_from_every_detection_without_overlap_evenly_and_by_seed():
    placed = table(*(("ab"[k % 2], 10.0 * k, 10.0 * k + 1, ("true", "false", "unsure")[k % 3]) for k in range(5)))
    recordings = pd.concat([long("a", "b", "c"), long("d", seconds=7)], ignore_index=True)
    clips = verdict_clips(placed, recordings, 2.0, nothing=24, guard_s=3.0, seed=4)
    nothing = clips[clips["class"] == "N"]
    assert nothing.groupby("recording").size().to_dict() == {"a": 7, "b": 7, "c": 7, "d": 3}  # d has no room for more
    widened = placed.assign(start_s=placed["start_s"] - 3 + 1e-6, end_s=placed["end_s"] + 3 - 1e-6)
    assert not meets(nothing, widened).any() and (nothing["detection"] == -1).all()
    lasts = nothing["recording"].map(dict(zip(recordings["recording"], recordings["duration_s"])))
    assert (nothing["start_s"] >= 0).all() and (nothing["end_s"] <= lasts + 1e-9).all()
    assert all((np.diff(mine["start_s"]) >= 2 - 1e-9).all() for _, mine in nothing.groupby("recording"))
    pd.testing.assert_frame_equal(clips, verdict_clips(placed, recordings, 2.0, nothing=24, guard_s=3.0, seed=4))
    assert not nothing.reset_index(drop=True).equals(verdict_clips(placed, recordings, 2.0, nothing=24, guard_s=3.0, seed=5).query("`class` == 'N'").reset_index(drop=True))


def test_fewer_than_asked_is_said_and_nothing_is_drawn_from_what_nobody_listened_to():
    listened = pd.DataFrame({"recording": ["a"], "start_s": [20.0], "end_s": [31.0]})
    clips = verdict_clips(table(("a", 5, 6, "true")), long("a", "b"), 2.0, nothing=9, listened=listened)
    nothing = clips[clips["class"] == "N"]
    assert len(nothing) == 5 and set(nothing["recording"]) == {"a"} and nothing["start_s"].min() >= 20 and nothing["end_s"].max() <= 31
    assert any(note.startswith("N: 5 of 9") for note in clips.attrs["notes"])


def test_short_recordings_strangers_and_limits():
    placed = table(("a", 1, 2, "true"), ("s", 0.1, 0.2, "true"), ("z", 1, 2, "true"), *(("b", 5.0 * k, 5.0 * k + 1, "false") for k in range(10)))
    clips = verdict_clips(placed, pd.concat([long("a", "b"), long("s", seconds=1.0)], ignore_index=True), 2.0, most={"F": 3}, guard_s=1)
    assert clips["class"].value_counts().to_dict() == {"N": 10, "F": 3, "B": 1} and set(clips["recording"]) == {"a", "b"}
    assert any(note.startswith("z: not among") for note in clips.attrs["notes"]) and any(note.startswith("s: shorter") for note in clips.attrs["notes"])
    for wrong in ({"place": "end"}, {"clip_s": 0}):
        with pytest.raises(ValueError):
            verdict_clips(placed, long("a", "b"), **wrong)


# --- sound: a detector that finds it, a table as experts fill it in, a data set

@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    """Two recorders, two recordings each; a sweep (the animal) at 3 s, a lower one (not the animal) at 9 s; the first of M1 goes on in the second."""
    folder = tmp_path_factory.mktemp("deployment")
    truth = []
    for site, serial in (("M1", "6872"), ("M2", "5675")):
        for start in ("170623120000", "170623120015"):
            name = f"{site}/{serial}.{start}.wav"
            x = noise(15, RATE, seed=len(truth))
            put(x, RATE, 3.0, sweep(0.6, RATE, 2500, 4000, 95))
            put(x, RATE, 9.0, sweep(0.4, RATE, 600, 900, 95))
            write(folder / name, x, RATE)
            truth.append((name, "Beluga", 3.0, 3.6, True))
    return folder, pd.DataFrame(truth, columns=["recording", "label", "start_s", "end_s", "audible"])


@pytest.fixture(scope="module")
def checked(deployment):
    folder, truth = deployment
    found = detect_energy(folder, PROFILE, EnergyDetector(bands_hz=((500, 1500), (1500, 4500), (20000, 40000)), threshold_db=3.0, background_s=8.0))
    return with_verdicts(found, truth, ("Beluga",))


def test_the_detector_finds_calls_and_false_alarms(deployment, checked):
    folder, truth = deployment
    assert reached(checked, truth, ("Beluga",)) == {"calls": 4, "reached": 4, "share": 1.0}
    for _, mine in checked.groupby("recording"):
        true, others = mine[mine["verdict"] == "true"], mine[mine["verdict"] == "false"]
        assert len(true) == 1 and abs(true["start_s"].iloc[0] - 3.0) < 0.15 and abs(true["end_s"].iloc[0] - 3.6) < 0.15 and true["low_hz"].iloc[0] == 1500
        assert ((others["start_s"] - 9.0).abs() < 0.15).any()
    assert (checked["end_s"] <= 15).all() and set(checked["site"]) == {"M1", "M2"}


def test_a_lower_threshold_never_finds_less_time():
    level = np.random.default_rng(0).normal(0, 2, (2000, 2))
    level[500:520] += 12
    found = [EnergyDetector(bands_hz=((0, 1), (1, 2)), threshold_db=db).spans(level, 0.05) for db in (10, 5, 3)]
    seconds = [(f["end_s"] - f["start_s"]).sum() for f in found]
    assert seconds == sorted(seconds) and len(found[0]) == 1 and found[0]["start_s"][0] == pytest.approx(25.0) and found[0]["end_s"][0] == pytest.approx(26.0)
    np.testing.assert_allclose(background_db(np.full((77, 1), 3.0), 30, 0.5), 3.0)


def test_faint_calls_are_unsure_and_broken_recordings_are_told(deployment, tmp_path):
    _, truth = deployment
    one = pd.DataFrame({"recording": [truth["recording"][0]] * 2, "start_s": [3.1, 8.0], "end_s": [3.2, 9.0]})
    assert with_verdicts(one, truth.assign(audible=False), ("Beluga",))["verdict"].tolist() == ["unsure", "false"]
    (tmp_path / "6872.170623120000.wav").write_bytes(b"nothing")
    broken = detect_energy(tmp_path, PROFILE)
    assert len(broken) == 0 and len(broken.attrs["notes"]) == 1 and "6872.170623120000.wav" in broken.attrs["notes"][0]


@pytest.mark.parametrize("ending", ["xlsx", "csv"])
def test_the_table_goes_out_and_comes_back(deployment, checked, tmp_path, ending):
    path = write_detections(checked, tmp_path / f"found.{ending}")
    placed = place_detections(read_detections(path), deployment[0])
    assert placed.attrs["notes"] == [] and not placed["cut"].any()
    assert placed[["recording", "verdict"]].values.tolist() == checked[["recording", "verdict"]].values.tolist()
    np.testing.assert_allclose(placed[["start_s", "end_s"]], checked[["start_s", "end_s"]], atol=0.002)


@pytest.fixture(scope="module")
def data(deployment, checked, tmp_path_factory):
    recordings = list_recordings(deployment[0])
    placed = checked.assign(detection=range(len(checked)))
    clips = verdict_clips(placed, recordings, 2.0, guard_s=0.5, nothing=6)
    return clips, verdict_dataset(clips, placed, recordings, tmp_path_factory.mktemp("set"), PROFILE)


def test_the_data_set_has_a_row_for_each_clip_with_the_picture_of_inference(deployment, data):
    clips, built = data
    rows = built.manifest
    assert rows["class"].tolist() == clips["class"].tolist() and {"mooring", "day", "detection"} <= set(rows)
    np.testing.assert_array_equal(rows["target_Beluga"], (rows["class"] == "B").astype(float))
    np.testing.assert_allclose(rows["start_s"], clips["start_s"], atol=0.5 / PROFILE.frame_rate_hz)
    whole = SpectrogramGenerator(PROFILE).picture(Recording(deployment[0] / rows["recording"][0]))
    first = rows["start_frame"][0]
    np.testing.assert_array_equal(built.windows(rows.iloc[:1])[0], whole[first:first + PROFILE.window_frames])


def test_training_sees_the_same_targets_and_a_moved_window_its_own(data):
    _, built = data
    windows = WindowSet(built, built.manifest, PROFILE)
    _, window, position = windows.__getitems__(list(range(len(windows))))
    np.testing.assert_array_equal(window[:, 0], built.manifest["target_Beluga"])
    b = int(np.flatnonzero(built.manifest["class"] == "B")[0])
    assert 0 < (position[b, 0] == 1).sum() < position.shape[2]
    assert windows.targets_at(b, int(built.manifest["start_frame"][b]) + 10 * PROFILE.window_frames)[0][0] == 0


def test_instants_are_calls_of_their_whole_clip(deployment, tmp_path):
    recordings = list_recordings(deployment[0])
    name = recordings["recording"][0]
    placed = table((name, 3.2, 3.2, "true"), (name, 9.0, 9.0, "false"))
    built = verdict_dataset(verdict_clips(placed, recordings, nothing=0), placed, recordings, tmp_path, PROFILE)
    assert built.manifest["target_Beluga"].tolist() == [1.0, 0.0] and built.calls[["start_s", "end_s"]].values.tolist() == [[2.2, 4.2]]


def test_clips_and_profile_must_fit(deployment, data, tmp_path):
    clips, _ = data
    with pytest.raises(ValueError, match="window is 1 s"):
        verdict_dataset(clips, clips.assign(verdict="true"), deployment[0], tmp_path, replace(PROFILE, window_s=1.0))
    with pytest.raises(ValueError, match="label=None"):
        verdict_dataset(clips, clips, deployment[0], tmp_path, load_profile("watkins"))
    with pytest.raises(ValueError, match="no clips"):
        verdict_dataset(clips.iloc[:0], clips, deployment[0], tmp_path, PROFILE)
