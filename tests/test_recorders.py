"""Who recorded, and when, in the tables of a run: by what the user, the file, its name and its folder say; and a recorder that paused inside a file."""
import numpy as np
import pandas as pd
import pytest
import soundfile

from pipeline import run_multi_file_pipeline, run_pipeline_single_audio
from pipeline.effort import gaps, one_each
from pipeline.presence import presence
from pipeline.sources import NothingFound, find_recordings
from spectrogram.sensitivity import HYDROPHONE_SENSITIVITY
from tests.test_spectrogram_header import RATE, wav
from tests.test_spectrogram_metadata import MOTH, harp, info
from tests.toy_model import ToyModel
from tests.toy_sound import scene, write


def tables(folder, out, **more):
    run_multi_file_pipeline(folder, out, ToyModel(), progress=False, raven=False, workers=1, **more)
    return {name: pd.read_parquet(out / f"{name}.parquet") for name in ("events", "windows", "levels", "effort")}


@pytest.fixture
def paused(tmp_path):
    """Three pieces of 20 s in one file, a quarter of an hour apart, with calls in each."""
    folder = tmp_path / "in"
    path = write(folder / "BEL_A_220716_021500.x.wav", scene(60, 48000), 48000, "PCM_16")
    content, rate = path.read_bytes(), 48000 // RATE
    path.write_bytes(content[:36] + harp([(2, 15, 0), (2, 30, 0), (2, 45, 0)], 20.0 * rate) + content[36:])
    return folder


def test_every_table_follows_the_clock_of_a_recorder_that_paused(paused, tmp_path):
    made = tables(paused, tmp_path / "out")
    effort, levels, windows, events = (made[name] for name in ("effort", "levels", "windows", "events"))
    begins = [pd.Timestamp(f"2022-07-16 02:{minute}:00.25", tz="UTC") for minute in (15, 30, 45)]
    assert effort["start_utc"].tolist() == begins and effort["duration_s"].tolist() == [20.0] * 3 and effort["recorder"].tolist() == ["DL55"] * 3
    assert levels["UTC"].tolist() == begins and levels["start_s"].tolist() == [0.0, 20.0, 40.0]
    for table, column in ((windows, "start_utc"), (events, "start_utc")):
        piece = (table["start_s"] // 20).astype(int)
        expected = [begins[k] + pd.Timedelta(seconds=s - 20 * k) for k, s in zip(piece, table["start_s"])]
        assert ((table[column] - pd.Series(expected)).abs() < pd.Timedelta("1us")).all()
    assert len(events) and ((events["end_utc"] - events["start_utc"]).dt.total_seconds() - (events["end_s"] - events["start_s"])).abs().max() < 1e-5
    assert gaps(effort)["gap_s"].tolist() == [880.0, 880.0]
    minutes = presence(events, effort, "minute")
    heard = minutes[(minutes["label"] == "Whistle") & (minutes["listened_s"] > 0)]
    assert heard["start_utc"].dt.minute.tolist() == [15, 30, 45]
    assert one_each(effort)["duration_s"].tolist() == [60.0]
    single = run_pipeline_single_audio(paused / "BEL_A_220716_021500.x.wav", ToyModel())
    pd.testing.assert_frame_equal(single.levels, levels)
    pd.testing.assert_frame_equal(single.events, events)


def test_silence_across_a_pause_is_told_in_each_stretch_and_in_the_whole_file(paused, tmp_path):
    path = paused / "BEL_A_220716_021500.x.wav"
    content = bytearray(path.read_bytes())
    first = len(content) - 60 * 48000 * 2
    content[first + 5 * 48000 * 2:first + 30 * 48000 * 2] = bytes(25 * 48000 * 2)
    path.write_bytes(content)
    made = tables(paused, tmp_path / "out")
    effort, levels = made["effort"], made["levels"]
    assert effort["unlistened"].tolist() == ["5-20", "0-10", ""] and effort["duration_s"].tolist() == [20.0] * 3
    assert effort["listened_s"].tolist() == pytest.approx([5, 10, 20], abs=1e-3)
    whole = one_each(effort)
    assert whole["unlistened"].tolist() == ["5-20; 20-30"] and whole["listened_s"][0] == pytest.approx(35, abs=1e-3)
    assert levels["start_s"].tolist() == [0.0, 20.0, 40.0] and levels["duration_s"].tolist() == [4.0, 9.0, 20.0]  # whole seconds of sound
    minutes = presence(made["events"], effort, "minute", labels=["Whistle"])
    assert minutes.loc[minutes["listened_s"] > 0, "listened_s"].tolist() == pytest.approx([5, 10, 20], abs=1e-3)


def test_a_run_takes_the_calibration_of_the_day_that_the_file_itself_tells(paused, tmp_path, monkeypatch):
    monkeypatch.setattr(HYDROPHONE_SENSITIVITY, "_table", dict(HYDROPHONE_SENSITIVITY._table))
    HYDROPHONE_SENSITIVITY.add("DL55", -170.5, valid_from="2020-01-01", save=False)
    HYDROPHONE_SENSITIVITY.add("DL55", -175.5, valid_from="2022-07-01", save=False)
    (paused / "BEL_A_220716_021500.x.wav").rename(paused / "BEL_A_210716_021500.x.wav")  # a wrong year
    effort = tables(paused, tmp_path / "out")["effort"]
    assert (effort["sensitivity_db"] == -175.5).all() and effort["calibrated"].all() and (effort["start_utc"].dt.year == 2022).all()


def test_level_rows_begin_anew_after_a_pause_however_chunks_fall(paused, tmp_path):
    """Rows of 7 s: 7, 7 and 6 in each piece, whatever the chunks of 16 s are."""
    levels = run_pipeline_single_audio(paused / "BEL_A_220716_021500.x.wav", ToyModel(), level_row_s=7).levels
    assert levels["start_s"].tolist() == [0, 7, 14, 20, 27, 34, 40, 47, 54] and levels["duration_s"].tolist() == [7.0, 7.0, 6.0] * 3


def test_recorders_are_told_apart_by_letters_by_their_own_word_and_by_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(HYDROPHONE_SENSITIVITY, "_table", dict(HYDROPHONE_SENSITIVITY._table))
    HYDROPHONE_SENSITIVITY.add("ICLISTENHF1353", -171.0, save=False)
    HYDROPHONE_SENSITIVITY.add("0123456789ABCDEF", -165.0, save=False)
    names = ["ICLISTENHF1353_20180101T000000.000Z.wav", "ICLISTENHF1354_20180101T000000.000Z.wav", "siteA/20180101_000000.WAV", "siteB/20180101_000000.WAV",
             "siteC/20180101_000000.WAV", "20180101_000000.WAV", "told/5725_20180101_000000.wav"]
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(wav(before=info(MOTH % b"") if "siteC" in name else b""))
    (tmp_path / "over.csv").write_text("file,serial\ntold/5725_20180101_000000.wav,T7\n", encoding="utf-8")
    made = tables(tmp_path / "in", tmp_path / "out", overrides=tmp_path / "over.csv")
    effort = made["effort"].set_index("recording")
    assert effort["recorder"].to_dict() == dict(zip(names, ["ICLISTENHF1353", "ICLISTENHF1354", "siteA", "siteB", "0123456789ABCDEF", "in", "T7"]))
    assert effort.loc[names[0], ["sensitivity_db", "calibrated"]].tolist() == [-171.0, True] and not effort.loc[names[1], "calibrated"]
    assert effort.loc[names[4], ["sensitivity_db", "calibrated"]].tolist() == [-165.0, True]  # by what the file says
    assert effort["gap_before_s"].isna().all() and not effort["reason"].str.contains("overlaps").any()
    assert presence(made["events"], made["effort"], "minute")["site"].nunique() == len(names)


def test_a_folder_of_packed_sound_says_how_to_unpack_it(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "6872.220716021453.sud").write_bytes(b"packed")
    with pytest.raises(NothingFound, match="0 recordings found in .*1 files such as 6872.220716021453.sud are SoundTrap's packed sound; unpack them"):
        find_recordings(tmp_path / "in")
    (tmp_path / "in" / "6872.220716031453.wav").write_bytes(wav())
    assert len(find_recordings(tmp_path / "in")) == 1 and "unpack them" in capsys.readouterr().out
    (tmp_path / "in" / "6872.220716021453.wav").write_bytes(wav())
    assert len(find_recordings(tmp_path / "in")) == 2 and capsys.readouterr().out == ""


def test_an_archive_takes_the_calibration_of_the_gain_that_each_file_says_as_a_single_run_does(tmp_path, monkeypatch):
    """WAV, FLAC, a name that says nothing; two days, two gains; an override's gain goes first."""
    monkeypatch.setattr(HYDROPHONE_SENSITIVITY, "_table", dict(HYDROPHONE_SENSITIVITY._table))
    for gain, day, value in (("medium", "2020-01-01", -160.0), ("medium", "2022-10-01", -161.5), ("high", "2020-01-01", -170.5)):
        HYDROPHONE_SENSITIVITY.add("0123456789ABCDEF", value, gain=gain, valid_from=day, save=False)
    folder = tmp_path / "in"
    folder.mkdir()
    says = {"a.wav": MOTH % b"", "b.wav": (MOTH % b"").replace(b"28/09", b"28/10"), "c.wav": (MOTH % b"").replace(b"medium", b"high"), "d.wav": (MOTH % b"").replace(b"medium", b"low"),
            "e.wav": MOTH % b""}
    for name, comment in says.items():
        (folder / name).write_bytes(wav(after=info(comment)))
    with soundfile.SoundFile(folder / "f.flac", "w", RATE, 1, "PCM_16") as file:
        file.comment = (MOTH % b"").replace(b"medium", b"high").decode()
        file.write(np.random.default_rng(0).uniform(-0.1, 0.1, RATE).astype(np.float32))
    (tmp_path / "over.csv").write_text("file,gain\ne.wav,high\n", encoding="utf-8")
    effort = tables(folder, tmp_path / "out", overrides=tmp_path / "over.csv")["effort"].set_index("recording")
    expected = {"a.wav": -160.0, "b.wav": -161.5, "c.wav": -170.5, "d.wav": -170.0, "e.wav": -170.5, "f.flac": -170.5}
    assert effort["sensitivity_db"].to_dict() == expected and effort["calibrated"].to_dict() == {name: name != "d.wav" for name in expected}
    assert (effort["recorder"] == "0123456789ABCDEF").all()
    for name in ("a.wav", "d.wav", "f.flac"):
        single = run_pipeline_single_audio(folder / name, ToyModel()).effort
        assert (single["sensitivity_db"][0], single["calibrated"][0]) == (effort.loc[name, "sensitivity_db"], effort.loc[name, "calibrated"])
