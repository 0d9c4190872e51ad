"""Bad input: one clear line with the file, the fault and the mend; the run goes on; `effort` says so; nothing is lost."""
import errno
import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

import pipeline.single
from pipeline import run_multi_file_pipeline, run_pipeline_single_audio
from pipeline.multi import NothingFound, find_recordings, read_overrides
from pipeline.tables import TABLES, write_parquet, write_text
from spectrogram.profile import load_profile
from spectrogram.recording import BadRecording, Recording
from tests.toy_model import ToyModel
from tests.toy_sound import NAME, noise, scene, write

pytestmark = pytest.mark.filterwarnings("error")
PROFILE = load_profile("beluga")
RATE = 48000
GOOD = "6872.220716030000.wav"


def zero_bytes(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("Station RDL, 16 July, calm sea.\n" * 40, encoding="utf-8")


def header_only(path):
    soundfile.write(path, np.zeros(0, np.float32), RATE, subtype="PCM_16")


def truncated(path):
    write(path, scene(8, RATE), RATE, "PCM_16")
    path.write_bytes(path.read_bytes()[:round(44 + 6.0 * RATE * 2)])  # the header promises 8 s, 6 are there


def not_numbers(path):
    x = scene(8, RATE)
    x[5 * RATE:5 * RATE + 3] = np.nan, np.inf, -np.inf
    write(path, x, RATE, "FLOAT")


def silence(path):
    write(path, np.zeros(8 * RATE, np.float32), RATE, "PCM_16")


def clipping(path):
    x = scene(8, RATE)
    x[3 * RATE:3 * RATE + 480] = 1.5
    write(path, x, RATE, "PCM_16")


UNUSABLE = {zero_bytes: "zero bytes.*copy it again", text: "not audio that can be read.*expected WAV", header_only: "holds no samples"}
USABLE = {  # how: (status, the line, seconds that are processed, whistles found)
    truncated: ("partial", r"truncated: the header promises 8\.0 s, the file holds 6\.0 s.*copy the file again", 6.0, 2),
    not_numbers: ("partial", "3 samples are not numbers", 8.0, 2),
    silence: ("ok", "silence: every sample is the same; check the hydrophone", 8.0, 0),
    clipping: ("ok", r"clipping: 480 samples \(0\.12%\) at full scale", 8.0, 2),
}


@pytest.mark.parametrize("how", UNUSABLE, ids=lambda f: f.__name__)
def test_a_file_that_cannot_be_used_raises_one_line(how, tmp_path):
    how(tmp_path / NAME)
    with pytest.raises(BadRecording, match=UNUSABLE[how]) as caught:
        run_pipeline_single_audio(tmp_path / NAME, ToyModel())
    assert str(tmp_path / NAME) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("how", USABLE, ids=lambda f: f.__name__)
def test_what_can_be_used_of_a_file_is_used_and_the_fault_noted(how, tmp_path):
    status, line, seconds, whistles = USABLE[how]
    how(tmp_path / NAME)
    result = run_pipeline_single_audio(tmp_path / NAME, ToyModel())
    effort = result.effort.iloc[0]
    assert effort["status"] == result.metadata["status"] == status
    assert len(result.metadata["faults"]) == 1 and effort["reason"] == result.metadata["faults"][0]
    pd.testing.assert_series_equal(pd.Series(effort["reason"]).str.contains(line), pd.Series([True]))
    assert effort["duration_s"] == pytest.approx(seconds) and effort["end_utc"] - effort["start_utc"] == timedelta(seconds=seconds)
    assert len(result.events) >= whistles if whistles else not len(result.events)
    numbers = result.windows.drop(columns=["recording", "start_utc", "p_ECHO", "p_HFPC", "level_high_db"]).to_numpy(dtype=float)
    assert np.isfinite(numbers).all()  # 48 kHz shows all but these three


def test_a_folder_with_every_fault_goes_on_and_says_each_once(tmp_path, capsys):
    source, names = tmp_path / "in", {}
    source.mkdir()
    for k, how in enumerate([*UNUSABLE, *USABLE]):
        names[how] = f"6872.2207160{k}0000.wav"
        how(source / names[how])
    write(source / "last.wav", scene(6, RATE), RATE)
    summary = run_multi_file_pipeline(source, tmp_path / "out", ToyModel(), progress=False)
    said = capsys.readouterr().out.splitlines()
    effort = pd.read_parquet(tmp_path / "out" / "effort.parquet").set_index("recording")
    assert len(summary) == len(effort) == 8
    for how, line in UNUSABLE.items():
        row = effort.loc[names[how]]
        assert row["status"] == "failed" and row["duration_s"] == 0 and not row["calibrated"]
        assert row["missing_labels"] == "+".join(PROFILE.labels)
        assert row["start_utc"] == row["end_utc"] == pd.Timestamp(f"2022-07-16 0{names[how][12]}:00", tz="UTC")  # when it was to begin
        mine = [x for x in said if names[how] in x]
        assert len(mine) == 1 and mine[0] == row["reason"] and str(source) in mine[0]
    for how, (status, *_) in USABLE.items():
        row = effort.loc[names[how]]
        mine = [x for x in said if names[how] in x]
        assert row["status"] == status and len(mine) == 1 and mine[0] == f"{source / names[how]}: {row['reason']}"
    undated = effort.loc["last.wav"]
    assert undated["status"] == "ok" and pd.isna(undated["start_utc"]) and undated["reason"].startswith("no start time in the file name")
    events = pd.read_parquet(tmp_path / "out" / "events.parquet")
    assert set(events["recording"]) == {names[truncated], names[not_numbers], names[clipping], "last.wav"}
    assert events.loc[events["recording"] == "last.wav", "start_utc"].isna().all()
    for table in TABLES:
        assert (tmp_path / "out" / f"{table}.parquet").exists()


def test_levels_of_silence_are_the_floor_and_finite(tmp_path):
    silence(tmp_path / NAME)
    result = run_pipeline_single_audio(tmp_path / NAME, ToyModel())
    assert result.levels["TOL_1000"][0] == pytest.approx(-200 + 177.6)
    assert np.isfinite(result.windows["level_low_db"]).all() and result.windows["level_low_db"].max() < 40


@pytest.mark.parametrize("samples", [1, 100, 249, 250, 251, 5000, 48000])
def test_recordings_of_a_few_samples_have_all_tables(samples, tmp_path):
    x = noise(1, RATE)[:samples]
    result = run_pipeline_single_audio(write(tmp_path / NAME, x, RATE), ToyModel())
    assert not len(result.events) and len(result.windows) == (samples >= 250)  # a frame is 250 samples
    assert result.effort["duration_s"][0] == samples / RATE and len(result.levels) == (samples >= 250)
    result.save(tmp_path / "out", csv=True)
    assert len(list((tmp_path / "out").iterdir())) == 9


def test_a_missing_channel(tmp_path):
    write(tmp_path / NAME, noise(2, RATE), RATE)
    with pytest.raises(BadRecording, match="has no channel 2; it has channel 0"):
        run_pipeline_single_audio(tmp_path / NAME, ToyModel(), channel=2)
    write(tmp_path / GOOD, np.zeros((RATE, 3)) + noise(1, RATE)[:, None], RATE)
    summary = run_multi_file_pipeline(tmp_path, tmp_path / "out", ToyModel(), channel=2, progress=False)
    assert summary["status"].tolist() == ["failed", "ok"]


@pytest.mark.parametrize("name, start", [("6872.221316021453.wav", None), ("6872.220716256161.wav", None), ("hydrophone one.wav", None),
                                         ("6872.220716021453.wav", "2022-07-16 02:14:53")])
def test_a_wrong_or_missing_time_leaves_times_unknown(name, start, tmp_path):
    result = run_pipeline_single_audio(write(tmp_path / name, scene(6, RATE), RATE), ToyModel())
    assert len(result.events) and len(result.windows) and len(result.levels)
    for table in (result.events["start_utc"], result.events["end_utc"], result.windows["start_utc"], result.levels["UTC"], result.effort["start_utc"]):
        assert str(table.dtype) == "datetime64[us, UTC]" and table.isna().all() == (start is None)
    assert ("no start time in the file name" in result.effort["reason"][0]) == (start is None)


def test_recordings_that_overlap_in_time_say_so(tmp_path):
    for name in ("6872.220716020000.wav", "6872.220716020008.wav", "6872.220716020030.wav"):  # 12 s each
        write(tmp_path / "in" / name, noise(12, 8000), 8000)
    run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), progress=False)
    effort = pd.read_parquet(tmp_path / "out" / "effort.parquet")
    np.testing.assert_allclose(effort["gap_before_s"], [np.nan, -4.0, 10.0])
    assert effort["reason"].tolist() == ["", "overlaps an earlier recording by 4.0 s; check the recorders' clocks", ""]


def test_two_recorders_at_the_same_time_do_not_overlap(tmp_path):
    for name in ("RDL/6872.220716020000.wav", "KAM/5725.220716020004.wav", "RDL/6872.220716020020.wav", "KAM/5725.220716020010.wav"):  # 12 s each
        write(tmp_path / "in" / name, noise(12, 8000), 8000)
    run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), progress=False)
    effort = pd.read_parquet(tmp_path / "out" / "effort.parquet").set_index("recording")["gap_before_s"]
    expected = {"RDL/6872.220716020000.wav": np.nan, "KAM/5725.220716020004.wav": np.nan, "KAM/5725.220716020010.wav": -6.0, "RDL/6872.220716020020.wav": 8.0}
    pd.testing.assert_series_equal(effort, pd.Series(expected), check_names=False)


def test_a_fault_that_all_share_is_not_said_for_each(tmp_path, capsys):
    for k in range(5):
        write(tmp_path / "in" / f"clip{k}.wav", noise(1, 8000), 8000)
    run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), progress=False)
    said = [line for line in capsys.readouterr().out.splitlines() if "no start time" in line]
    assert len(said) == 4 and said[-1].startswith("2 more recordings, named in ")
    assert pd.read_parquet(tmp_path / "out" / "effort.parquet")["reason"].str.contains("no start time").all()


def test_an_unknown_serial_is_told_in_the_tables_of_a_folder(tmp_path):
    write(tmp_path / "in" / "4711.220716020000.wav", scene(6, RATE), RATE)
    run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), progress=False)
    for table in ("events", "effort"):
        frame = pd.read_parquet(tmp_path / "out" / f"{table}.parquet")
        assert len(frame) and not frame["calibrated"].any()


def test_only_recordings_too_low_for_any_label(tmp_path):
    write(tmp_path / "in" / NAME, noise(8, 600), 600)
    summary = run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), progress=False)
    assert summary["missing_labels"][0] == "+".join(PROFILE.labels) and summary["events"][0] == 0
    assert len(pd.read_parquet(tmp_path / "out" / "levels.parquet")) == 1


def test_a_folder_where_nothing_can_be_used_has_all_tables(tmp_path):
    (tmp_path / "in").mkdir()
    zero_bytes(tmp_path / "in" / "a.wav")
    summary = run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), progress=False, csv=True)
    assert summary["status"].tolist() == ["failed"]
    frames = {table: pd.read_parquet(tmp_path / "out" / f"{table}.parquet") for table in TABLES}
    assert {table: len(frame) for table, frame in frames.items()} == {"events": 0, "windows": 0, "levels": 0, "effort": 1}
    assert list(frames["levels"]) == ["UTC", "recording", "start_s", "duration_s"]


# --------------------------------------------------------------------------------------------- folders, names, vanishing files


def test_an_empty_folder_and_a_folder_that_is_not_there(tmp_path):
    (tmp_path / "notes.txt").write_text("no sound", encoding="utf-8")
    with pytest.raises(NothingFound, match="0 recordings found in .*looked for .wav"):
        find_recordings(tmp_path)
    with pytest.raises(NothingFound, match="no such file or folder"):
        find_recordings(tmp_path / "nowhere")


def test_any_case_any_depth_blanks_accents_and_the_same_name_twice(tmp_path):
    deep = Path("Été 2022") / "Baie Sainte-Marguerite (BSM)" / "carte n°1"
    for path in (deep / "6872.220716021453.WAV", Path("KAM") / NAME, Path("RDL") / NAME, Path(".hidden") / NAME, Path("RDL") / "._6872.220716021453.wav"):
        write(tmp_path / "in" / path, scene(6, 8000), 8000)
    run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), progress=False)
    expected = sorted([(deep / "6872.220716021453.WAV").as_posix(), f"KAM/{NAME}", f"RDL/{NAME}"])
    effort = pd.read_parquet(tmp_path / "out" / "effort.parquet")
    assert sorted(effort["recording"]) == expected and (effort["status"] == "ok").all()
    events = pd.read_parquet(tmp_path / "out" / "events.parquet")
    assert events.groupby("recording").size().to_dict() == dict.fromkeys(expected, 2)
    raven = sorted((tmp_path / "out" / "raven").iterdir())
    assert len(raven) == 3 and all(pd.read_csv(p, sep="\t")["Begin File"].str.lower().eq(NAME).all() for p in raven)


@pytest.mark.skipif(os.name == "nt", reason="names on Windows are always Unicode")
def test_a_name_that_is_not_utf_8(tmp_path):
    (tmp_path / "in").mkdir()
    good = write(tmp_path / "in" / GOOD, noise(2, 8000), 8000)
    try:
        os.link(good, os.fsencode(tmp_path / "in") + b"/\xe9t\xe9.wav")  # Latin-1, as old recorders' cards have it
    except OSError:
        pytest.skip("this disk takes only UTF-8 names")
    run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), progress=False)
    effort = pd.read_parquet(tmp_path / "out" / "effort.parquet").set_index("recording")
    assert effort.loc[GOOD, "status"] == "ok"
    assert effort.loc["?t?.wav", "status"] == "failed" and "not valid UTF-8; rename the file" in effort.loc["?t?.wav", "reason"]


def test_a_folder_that_may_not_be_opened_is_named_and_the_others_are_done(tmp_path, monkeypatch, capsys):
    write(tmp_path / "in" / "open" / NAME, noise(2, 8000), 8000)
    write(tmp_path / "in" / "shut" / NAME, noise(2, 8000), 8000)
    scandir = os.scandir

    def refuse(path="."):
        if Path(path).name == "shut":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # chmod would not stop root
    summary = run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), progress=False)
    assert summary["recording"].tolist() == [f"open/{NAME}"]
    assert f"{tmp_path / 'in' / 'shut'}: folder cannot be read (Permission denied); check its permissions" in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_opened(tmp_path):
    path = write(tmp_path / NAME, noise(2, 8000), 8000)
    path.chmod(0)
    with pytest.raises(BadRecording, match="cannot be read .Permission denied"):
        run_pipeline_single_audio(path, ToyModel())


@pytest.mark.parametrize("when", ["before it is opened", "before it is read"])
def test_a_file_that_vanishes_is_a_failure_of_its_own(when, tmp_path, monkeypatch, capsys):
    gone, stays = write(tmp_path / "in" / NAME, noise(2, 8000), 8000), write(tmp_path / "in" / GOOD, noise(2, 8000), 8000)
    if when == "before it is opened":
        monkeypatch.setattr("pipeline.multi.find_recordings", lambda source: [gone, stays])
        gone.unlink()
    else:
        blocks = Recording.blocks

        def vanish(self, block_s):
            self.path.unlink() if self.path == gone else None
            yield from blocks(self, block_s)

        monkeypatch.setattr(Recording, "blocks", vanish)
    summary = run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), progress=False).set_index("recording")
    assert summary["status"].to_dict() == {NAME: "failed", GOOD: "ok"}
    assert "cannot be read" in summary.loc[NAME, "reason"] and summary.loc[NAME, "reason"] in capsys.readouterr().out


def test_a_fault_nobody_thought_of_does_not_stop_the_run(tmp_path, monkeypatch, capsys):
    for name in (NAME, GOOD):
        write(tmp_path / "in" / name, noise(2, 8000), 8000)
    process = pipeline.single.SpectrogramGenerator.process

    def break_once(self, chunk, rate_hz, sensitivity_db):
        if not (tmp_path / "broken").exists():
            (tmp_path / "broken").touch()
            raise ZeroDivisionError("a defect of ours")
        return process(self, chunk, rate_hz, sensitivity_db)

    monkeypatch.setattr(pipeline.single.SpectrogramGenerator, "process", break_once)
    summary = run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), progress=False).set_index("recording")
    assert summary["status"].to_dict() == {NAME: "failed", GOOD: "ok"}
    assert "could not be processed (ZeroDivisionError: a defect of ours)" in capsys.readouterr().out
    again = run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), progress=False)
    assert (again["status"] == "ok").all()  # a failure is tried again


# ----------------------------------------------------------------------------------------------------- tables of overrides


@pytest.mark.parametrize("line, fault", [
    ("a.wav,tomorrow,,", "line 3.*tomorrow"), ("a.wav,2022-13-01T00:00:00Z,,", "line 3.*month"), ("a.wav,,,176.3", "line 3.*minus sign"),
    ("a.wav,,,loud", "line 3.*loud"), ("a.wav,2022-07-16", "line 3.*2 values for 4 columns"), (",2022-07-16T00:00:00,,", "line 3.*no file name"),
])
def test_a_bad_line_in_a_table_of_overrides_is_named(line, fault, tmp_path):
    table = tmp_path / "over.csv"
    table.write_text("file,start_utc,serial,sensitivity_db\nb.wav,2022-07-16T02:14:53Z,6872,-176.3\n" + line + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=fault) as caught:
        read_overrides(table)
    assert str(table) in str(caught.value) and "-176.3" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"name,start\na.wav,2022\n", b"file;start_utc\na.wav;2022-07-16\n", "file,start_utc\né.wav,\n".encode("latin-1"),
                                     b"start_utc\n2022-07-16\n"])
def test_a_table_of_overrides_that_is_none_is_named(content, tmp_path):
    table = tmp_path / "over.csv"
    table.write_bytes(content)
    with pytest.raises(ValueError, match="over.csv: (columns|not a CSV)"):
        read_overrides(table)


def test_overrides_date_and_calibrate_by_path_or_by_name(tmp_path, capsys):
    for path in ("RDL/one.wav", "KAM/one.wav", "KAM/two.wav"):
        write(tmp_path / "in" / path, scene(6, 8000), 8000)
    table = tmp_path / "over.csv"
    table.write_bytes("\ufefffile,start_utc,serial,sensitivity_db\r\n one.wav ,2022-07-16T02:00:00-04:00,,\r\nKAM\\one.wav,2022-07-17 03:00,6872,\r\n\r\ntwo.wav,,,-180.1\r\n"
                      "three.wav,,6872,\r\n".encode("utf-8"))
    run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), overrides=table, progress=False)
    effort = pd.read_parquet(tmp_path / "out" / "effort.parquet").set_index("recording")
    assert effort.loc["RDL/one.wav", "start_utc"] == pd.Timestamp("2022-07-16T06:00:00Z")
    assert effort.loc["KAM/one.wav", "start_utc"] == pd.Timestamp("2022-07-17T03:00:00Z")
    assert effort["sensitivity_db"].to_dict() == {"RDL/one.wav": -170.0, "KAM/one.wav": -177.6, "KAM/two.wav": -180.1}
    assert effort["calibrated"].to_dict() == {"RDL/one.wav": False, "KAM/one.wav": True, "KAM/two.wav": True}
    assert f"{table}: no recording is called three.wav" in capsys.readouterr().out


# ----------------------------------------------------------------------------------------------------- tables that cannot be written


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("what", ["os.replace", "pyarrow.parquet.write_table"])
def test_a_full_disk_is_said_and_nothing_half_written_is_taken_for_done(what, tmp_path, monkeypatch):
    for name in (NAME, GOOD):
        write(tmp_path / "in" / name, scene(6, 8000), 8000)
    out = tmp_path / "out"
    expected = run_multi_file_pipeline(tmp_path / "in", tmp_path / "expected", ToyModel(), progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(what, full_disk)
        with pytest.raises(OSError, match="parquet: cannot be written .No space left on device.*run again: finished recordings are kept"):
            run_multi_file_pipeline(tmp_path / "in", out, ToyModel(), progress=False)
    assert not list(out.rglob("*.tmp")) and not list(out.rglob("*.parquet"))
    pd.testing.assert_frame_equal(run_multi_file_pipeline(tmp_path / "in", out, ToyModel(), progress=False), expected)


def test_a_disk_that_fills_up_in_the_middle_keeps_what_was_finished(tmp_path, monkeypatch):
    for name in (NAME, GOOD):
        write(tmp_path / "in" / name, scene(6, 8000), 8000)
    out, replace, left = tmp_path / "out", os.replace, [7]  # the first recording's four tables and its Raven table, and two of the second

    def fill_up(source, target):
        left[0] -= 1
        full_disk() if left[0] < 0 else replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fill_up)
        with pytest.raises(OSError, match="No space left"):
            run_multi_file_pipeline(tmp_path / "in", out, ToyModel(), progress=False)
    first = {p: p.stat().st_mtime_ns for p in (out / "parts").glob(f"{NAME}*")}
    assert len(first) == 4
    done = []
    monkeypatch.setattr("pipeline.multi.run_pipeline_single_audio", lambda recording, *a, **k: done.append(recording.name) or run_pipeline_single_audio(recording, *a, **k))
    summary = run_multi_file_pipeline(tmp_path / "in", out, ToyModel(), progress=False)
    assert done == [GOOD] and summary["events"].tolist() == [2, 2]
    assert first == {p: p.stat().st_mtime_ns for p in first}


def test_an_output_folder_that_cannot_be_made(tmp_path):
    path = write(tmp_path / NAME, noise(1, 8000), 8000)
    (tmp_path / "file").write_text("", encoding="utf-8")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="the output folder cannot be made.*choose another one"):
            run_multi_file_pipeline(path, output, ToyModel(), progress=False)
        with pytest.raises(OSError, match="cannot be written"):
            run_pipeline_single_audio(path, ToyModel()).save(output)


def test_a_table_is_whole_or_not_there(tmp_path, monkeypatch):
    old = pd.DataFrame({"a": [1]})
    write_parquet(old, tmp_path / "t.parquet", {})
    write_text("old", tmp_path / "t.txt")
    monkeypatch.setattr(os, "replace", full_disk)
    for attempt in (lambda: write_parquet(pd.DataFrame({"a": [2]}), tmp_path / "t.parquet", {}), lambda: write_text("new", tmp_path / "t.txt")):
        with pytest.raises(OSError):
            attempt()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), old)
    assert (tmp_path / "t.txt").read_text(encoding="utf-8") == "old" and len(list(tmp_path.iterdir())) == 2
