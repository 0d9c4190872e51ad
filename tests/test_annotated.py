"""Data sets from annotations: absence only where somebody looked, the picture of inference, false alarms as examples."""
import numpy as np
import pandas as pd
import pytest

from preprocessing.annotated import annotated_dataset, hard_negatives
from preprocessing.annotations import read_annotations
from preprocessing.dataset import DataSet, pad_to_windows, targets
from preprocessing.label_map import UNSURE, LabelMap
from preprocessing.recordings import list_recordings
from preprocessing.snr import measured_snr_db
from preprocessing.spans import exhaustive_spans
from spectrogram import SPECT_GENERATOR
from spectrogram.background import ContrastStream
from spectrogram.profile import load_profile
from spectrogram.recording import Recording
from spectrogram.windows import WindowCutter
from tests.toy_sound import noise, put, sweep, write

PROFILE = load_profile("beluga")
RATE = 48000
LONG, LOW, CLIP = "BSM/6872.220716021453.wav", "BSM/6872.220717021453.wav", "KAM/clip.wav"
TABLE = """file,start,end,low,high,label,source,depth
6872.220716021453.wav,2.2,2.8,4000,9000,wistle,tape 1,12
6872.220716021453.wav,5.0,5.4,,,unsure,tape 1,12
6872.220716021453.wav,7.1,7.3,1000,20000,CC,tape 1,12
6872.220716021453.wav,7.5,7.6,,,noise,tape 1,12
clip.wav,0.1,0.3,,,Whistle,tape 2,3
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("annotated")
    write(folder / "audio" / LONG, put(noise(9.27, RATE), RATE, 2.2, sweep(0.6, RATE, 5000, 8000, 105)), RATE, "PCM_16")
    write(folder / "audio" / LOW, noise(3.5, 8000, seed=2), 8000, "PCM_16")
    write(folder / "audio" / CLIP, noise(0.4, RATE, seed=3), RATE, "PCM_16")
    (folder / "calls.csv").write_text(TABLE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def recordings(folder):
    return list_recordings(folder / "audio")


@pytest.fixture(scope="module")
def annotations(folder, recordings):
    return read_annotations(folder / "calls.csv", recordings)


def build(folder, recordings, annotations, name, **how):
    return annotated_dataset(recordings, annotations, folder / "sets" / name, PROFILE, "beluga", **how)


@pytest.fixture(scope="module")
def whole(folder, recordings, annotations):
    """Everything looked through, for whistles and pulsed calls, and two false alarms."""
    events = pd.DataFrame({"recording": [LONG, LOW, LONG], "start_s": [0.1, 1.4, 7.2], "end_s": [0.4, 1.9, 7.4], "labels": ["Whistle", "Whistle+ECHO", "Whistle"], "score_Whistle": 0.9})
    return build(folder, recordings, annotations, "whole", exhaustive=True, looked_for=("Whistle", "BBPC"), false_alarms=events, carry=("source", "depth"), summary={"by": "me"})


def of(data, recording, label):
    return data.rows(recording=recording)[f"target_{label}"].tolist()


def expect(data, recording, label, expected):
    np.testing.assert_equal(of(data, recording, label), [{"1": 1.0, "0": 0.0, ".": np.nan}[c] for c in expected])


# --- targets ---

def test_windows_are_named_by_the_targets_rule_and_silence_is_zero_where_somebody_looked(whole):
    # windows start at 0, 0.5, ... 8.5 s; whistle 2.2-2.8 s, unsure 5.0-5.4 s, pulsed call 7.1-7.3 s, and a dropped "noise" at 7.5 s
    expect(whole, LONG, "Whistle", "000111000..0000000")
    expect(whole, LONG, "BBPC", "000000000..0011000")
    expect(whole, LONG, "ECHO", "." * 18)      # 48 kHz cannot show it
    expect(whole, LONG, "Boat", "." * 18)      # nobody looked for boats
    expect(whole, LOW, "Whistle", "000000")
    expect(whole, LOW, "BBPC", "......")       # nor 8 kHz a pulsed call
    expect(whole, CLIP, "Whistle", "1")


def test_without_a_word_about_what_was_looked_through_nothing_is_silence(folder, recordings, annotations):
    data = build(folder, recordings, annotations, "none")
    expect(data, LONG, "Whistle", "...111............")
    expect(data, LONG, "BBPC", ".............11...")
    assert data.info["summary"]["looked_for"] == ["BBPC", "Whistle"] and data.info["summary"]["looked_through_s"] == {}
    assert not (data.manifest.filter(like="target_") == 0).any(axis=None)


def test_silence_is_only_where_the_whole_window_was_looked_through(folder, recordings, annotations):
    spans = pd.DataFrame({"recording": [LONG, LONG, CLIP], "start_s": [0.5, 2.0, 0.0], "end_s": [2.0, 4.0, np.nan], "label": ["", "Whistle", "BBPC"]})
    data = build(folder, recordings, annotations, "spans", exhaustive=spans)
    expect(data, LONG, "Whistle", ".001110...........")
    expect(data, LONG, "BBPC", ".00..........11...")
    expect(data, CLIP, "Whistle", "1")
    expect(data, CLIP, "BBPC", "0")
    assert data.info["summary"]["looked_through_s"] == {"BBPC": 1.5 + 0.4, "Whistle": 3.5}


def test_training_sees_the_same_at_any_start_and_in_finer_cells(whole):
    calls = whole.calls_by_recording[LONG]
    visible = np.array([PROFILE.observable(label, RATE / 2) for label in PROFILE.labels])
    rows = whole.rows(recording=LONG)
    again, _ = targets(calls, rows["start_s"].to_numpy(), PROFILE.window_s, PROFILE.labels, visible)
    np.testing.assert_array_equal(again, rows[[f"target_{label}" for label in PROFILE.labels]].to_numpy())
    cells, _ = targets(calls, np.array([2.0, 2.5, 4.9, 5.2, 6.0]), 1 / 24, PROFILE.labels, visible)
    np.testing.assert_equal(cells[:, PROFILE.labels.index("Whistle")], [0.0, 1.0, 0.0, np.nan, 0.0])


def test_what_was_made_of_the_labels_is_remembered(whole):
    said = whole.info["summary"]
    assert {(row["before"], row["after"], row["count"]) for row in said["labels"]} == {
        ("CC", "BBPC", 1), ("wistle", "Whistle", 1), ("Whistle", "Whistle", 1), ("unsure", UNSURE, 1), ("noise", "(dropped)", 1)}
    assert said["annotations"] == 5 and said["by"] == "me" and said["looked_through_s"]["Whistle"] == pytest.approx(9.27 + 3.5 + 0.4)
    kinds = whole.calls.groupby("kind").size().to_dict()
    assert kinds == {"call": 3, "unsure": 5, "unannotated": 3 * 3} and not whole.calls.query("kind != 'call'")["audible"].any()


def test_grouping_columns_are_carried_into_the_manifest(whole):
    by = whole.manifest.groupby("recording", sort=False).first()
    assert by["site"].tolist() == ["BSM", "BSM", "KAM"] and by["day"].tolist() == ["2022-07-16", "2022-07-17", ""]
    assert by["source"].tolist() == ["tape 1", "", "tape 2"] and by["depth"].tolist() == ["12", "", "3"]
    assert not {"path", "fault", "channels", "start_utc"} & set(whole.manifest)


# --- pictures ---

@pytest.mark.parametrize("recording, windows", [(LONG, 18), (LOW, 6), (CLIP, 1)])
def test_every_window_is_the_one_inference_makes_bit_for_bit(whole, folder, recording, windows):
    rows = whole.rows(recording=recording)
    stored = whole.windows(rows)
    for block_s in (16.0, 0.37, 3.001):
        contrast, cutter, cut = ContrastStream(PROFILE), WindowCutter(PROFILE), []
        for piece in SPECT_GENERATOR.stream(Recording(folder / "audio" / recording), block_s):
            cut += [cutter.push(seen_db, final).copy() for seen_db, final in contrast.push(piece.picture_db, piece.final, piece.final)]
        cut = np.concatenate(cut)
        assert len(cut) == len(rows) == windows
        np.testing.assert_array_equal(stored.view(np.uint32), np.ascontiguousarray(cut).view(np.uint32))  # NaN too


def test_padding_gives_the_windows_of_the_cutter_for_any_length():
    size, step = PROFILE.window_frames, PROFILE.step_frames
    for n in (1, size - 1, size, size + 1, size + step - 1, size + step, size + step + 1, 3 * size + 7):
        picture = np.arange(n * PROFILE.n_bands, dtype=np.float32).reshape(n, -1)
        padded, cut = pad_to_windows(picture, PROFILE), WindowCutter(PROFILE).push(picture, True)
        assert len(padded) == size + (len(cut) - 1) * step
        np.testing.assert_array_equal(padded[-size:], cut[-1])


def test_a_set_is_finished_not_made_again_and_not_mixed_with_unpadded_pictures(whole, folder, recordings, annotations):
    before = {p.name: p.stat().st_mtime_ns for p in (whole.folder / "pictures").glob("*.npy")}
    again = annotated_dataset(recordings, annotations, whole.folder, PROFILE, "beluga", exhaustive=[LONG])
    assert before == {p.name: p.stat().st_mtime_ns for p in (whole.folder / "pictures").glob("*.npy")} and again.info["summary"]["looked_through_s"].keys() == {"BBPC", "Whistle"}
    (folder / "sets" / "other").mkdir(parents=True)
    (folder / "sets" / "other" / "front_end.txt").write_text("another", encoding="utf-8")
    with pytest.raises(ValueError, match="another front end"):
        build(folder, recordings, annotations, "other")
    assert not (folder / "sets" / "other" / "pictures").exists()


# --- signal-to-noise ratio ---

def test_snr_is_measured_against_what_surrounds_the_box(whole, generator, folder):
    calls = whole.calls.set_index("label").query("kind == 'call'")
    assert 25 < calls.loc["Whistle", "snr_db"].iloc[0] < 45 and calls.loc["BBPC", "snr_db"] < 3  # a loud sweep; a box around nothing
    assert np.isnan(calls.loc["Whistle", "snr_db"].iloc[1])  # a clip of 0.4 s has nothing quiet in it
    picture = generator.picture(folder / "audio" / LONG)
    box = pd.DataFrame({"start_s": [2.2], "end_s": [2.8], "low_hz": [4000.0], "high_hz": [9000.0], "label": "Whistle"})
    expected = measured_snr_db(picture, PROFILE, box)
    assert measured_snr_db(picture + np.float32(30), PROFILE, box) == pytest.approx(expected, abs=1e-3)  # gain changes nothing
    burst = picture.copy()
    burst[round(3.5 * 192):round(4.0 * 192)] += 40  # nor a noise nearby that is short
    assert measured_snr_db(burst, PROFILE, box) == pytest.approx(expected, abs=0.3)
    marked = pd.concat([box, box.assign(start_s=0.0, end_s=8.0)], ignore_index=True)  # what is annotated there is no background, what is long is
    assert measured_snr_db(picture, PROFILE, marked.assign(start_s=[2.2, 0.5], end_s=[2.8, 8.0]))[0] != expected[0]
    assert measured_snr_db(picture, PROFILE, marked.assign(end_s=[2.8, 9.0]))[0] == expected[0]
    assert np.isnan(measured_snr_db(picture, PROFILE, box.assign(low_hz=30000.0, high_hz=40000.0)))  # above the Nyquist frequency


def test_an_snr_and_a_hearing_that_are_told_are_believed(folder, recordings, annotations):
    told = annotations.assign(**{"SNR (dB)": ["12.5", "", "4", "", ""], "audible": ["True", "True", "False", "True", "True"]})
    data = build(folder, recordings, told, "told", exhaustive=True)
    calls = data.calls.query("kind == 'call'").set_index(["recording", "label"])
    assert calls.loc[(LONG, "Whistle"), "snr_db"] == 12.5 and not calls.loc[(LONG, "BBPC"), "audible"]
    expect(data, LONG, "BBPC", "000000000..00..000")


# --- hard negatives ---

def test_false_alarms_are_kept_where_nothing_is_annotated_and_somebody_looked(recordings):
    events = pd.DataFrame({"recording": [LONG] * 6 + ["6872.220717021453.wav", "stranger.wav"], "start_s": [0.0, 2.7, 5.2, 6.0, 8.9, 8.0, 1.0, 1.0], "end_s": [0.5, 3.0, 5.3, 6.5, 9.6, 8.2, 2.0, 2.0],
                           "labels": ["Whistle", "BBPC", "ECHO", "Whistle+Boat", "BBPC", "Boat", "BBPC", "BBPC"], "score_BBPC": np.arange(8.0)})
    marked = pd.DataFrame({"recording": LONG, "start_s": [2.2, 5.0, 6.1], "end_s": [2.8, 5.4, 8.5], "label": ["Whistle", UNSURE, "Boat"]})
    found = hard_negatives(events, marked, True, recordings)
    assert found[["recording", "start_s", "labels", "score_BBPC"]].to_numpy(object).tolist() == [[LONG, 0.0, "Whistle", 0.0], [LONG, 6.0, "Whistle", 3.0], [LOW, 1.0, "BBPC", 6.0]]
    spans = pd.DataFrame({"recording": [LONG, LONG], "start_s": [0.2, 5.5], "end_s": [1.0, 9.0], "label": ["Whistle", ""]})
    assert hard_negatives(events, marked, spans, recordings)["start_s"].tolist() == [6.0]
    assert hard_negatives(events, marked, background=())["start_s"].tolist() == [0.0, 8.9, 1.0, 1.0]
    assert list(hard_negatives(events, marked, False, recordings)) == list(events) and len(hard_negatives(events, marked, False, recordings)) == 0
    assert len(hard_negatives(events.iloc[:0], marked, True, recordings)) == 0


def test_windows_that_hold_a_false_alarm_are_marked(whole):
    hard = whole.manifest.query("hard_negative")[["recording", "start_s"]].to_numpy(object).tolist()
    assert hard == [[LONG, 0.0], [LOW, 0.5], [LOW, 1.0], [LOW, 1.5]]  # the one at 7.2 s meets a BBPC
    assert whole.info["summary"]["hard_negatives"] == 2 and whole.manifest["hard_negative"].dtype == bool


# --- faults ---

def test_spans_and_faults_are_named(folder, recordings, annotations):
    spans = exhaustive_spans(pd.DataFrame({"recording": ["clip.wav", LONG, LONG], "start_s": [-1, 1, 2], "end_s": [5, 2, 3]}), recordings, ("Whistle",))
    assert spans.to_numpy(object).tolist() == [[CLIP, "Whistle", 0.0, 0.4], [LONG, "Whistle", 1.0, 3.0]]
    for how, fault in (({"exhaustive": ["x.wav"]}, "looked through is 'x.wav', which is not among the recordings"),
                       ({"exhaustive": pd.DataFrame({"recording": [LONG], "label": ["Boat"]})}, "looked through for 'Boat', which is not among the labels looked for"),
                       ({"looked_for": ("Wistle",)}, "looked_for names 'Wistle', which profile beluga does not know"),
                       ({"carry": ("depht",)}, "no column 'depht' to carry")):
        with pytest.raises(ValueError, match=fault):
            build(folder, recordings, annotations, "faults", **how)
    with pytest.raises(ValueError, match="calls.csv, line 6: about 'KAM/clip.wav', which is not among the recordings"):
        build(folder, recordings.iloc[:2], annotations, "faults")
    with pytest.raises(ValueError, match="have labels Calf that profile beluga does not know"):
        annotated_dataset(recordings, annotations.iloc[:1], folder / "sets" / "faults", PROFILE, LabelMap.from_dict({"labels": {"Calf": ["wistle"]}}))
    assert not (folder / "sets" / "faults").exists()


def test_broken_recordings_and_other_channels_are_left_out_with_a_note(folder, recordings, annotations):
    broken = recordings.assign(fault=["", "zero bytes", ""])
    data = build(folder, broken, annotations.assign(channel=[0, 1, 0, 0, 0]), "notes")
    assert set(data.manifest["recording"]) == {LONG, CLIP} and len(data.calls.query("kind == 'unsure'")) == 0
    assert data.info["summary"]["notes"] == ["zero bytes", "1 annotations are of another channel than the recordings table tells (the first, if it does not); left out"]


def test_no_annotation_at_all_is_silence_when_the_user_says_so(folder, recordings, annotations):
    data = build(folder, recordings, annotations.iloc[:0], "silence", exhaustive=[LONG], looked_for=("Whistle",))
    assert isinstance(data, DataSet) and set(of(data, LONG, "Whistle")) == {0.0} and data.rows(recording=LOW)["target_Whistle"].isna().all()
