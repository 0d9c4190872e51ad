"""Bad input in a folder: each fault in one line and in `effort`, and the run goes on; nothing is lost."""
import errno
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import run_multi_file_pipeline
from pipeline.tables import TABLES
from spectrogram.generator import SpectrogramGenerator
from spectrogram.profile import load_profile
from tests.toy_faults import RATE, UNUSABLE, USABLE, clipping, not_numbers, truncated, zero_bytes
from tests.toy_model import ToyModel
from tests.toy_sound import NAME, noise, scene, write

pytestmark = pytest.mark.filterwarnings("error")
PROFILE = load_profile("beluga")
GOOD = "6872.220716030000.wav"


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
    for how in UNUSABLE:
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


def test_a_missing_channel(tmp_path):
    write(tmp_path / NAME, noise(2, RATE), RATE)
    write(tmp_path / GOOD, np.zeros((RATE, 3)) + noise(1, RATE)[:, None], RATE)
    summary = run_multi_file_pipeline(tmp_path, tmp_path / "out", ToyModel(), channel=2, progress=False)
    assert summary["status"].tolist() == ["failed", "ok"]


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
    assert {table: len(frame) for table, frame in frames.items()} == {"events": 0, "regions": 0, "windows": 0, "levels": 0, "effort": 1}
    assert list(frames["levels"]) == ["UTC", "recording", "start_s", "duration_s", "calibrated"]


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


@pytest.mark.parametrize("when", ["before it is opened", "before it is read"])
def test_a_file_that_vanishes_is_a_failure_of_its_own(when, tmp_path, monkeypatch, capsys):
    gone = write(tmp_path / "in" / NAME, noise(2, 8000), 8000)
    write(tmp_path / "in" / GOOD, noise(2, 8000), 8000)
    at, function = ("pipeline.multi", "find_recordings") if when == "before it is opened" else ("pipeline.parts", "run_pipeline_single_audio")
    before = getattr(sys.modules[at], function)

    def vanish(*args, **kwargs):
        found = before(*args, **kwargs) if function == "find_recordings" else None
        gone.unlink(missing_ok=True)
        return found or before(*args, **kwargs)

    monkeypatch.setattr(sys.modules[at], function, vanish)
    summary = run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), progress=False).set_index("recording")
    assert summary["status"].to_dict() == {NAME: "failed", GOOD: "ok"}
    assert "cannot be read" in summary.loc[NAME, "reason"] and summary.loc[NAME, "reason"] in capsys.readouterr().out
    monkeypatch.undo()
    write(gone, noise(2, 8000), 8000)
    assert run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), progress=False)["status"].tolist() == ["ok", "ok"]


def test_a_fault_nobody_thought_of_does_not_stop_the_run(tmp_path, monkeypatch, capsys):
    for name in (NAME, GOOD):
        write(tmp_path / "in" / name, noise(2, 8000), 8000)
    process = SpectrogramGenerator.process

    def break_once(self, chunk, rate_hz, sensitivity_db):
        if not (tmp_path / "broken").exists():
            (tmp_path / "broken").touch()
            raise ZeroDivisionError("a defect of ours")
        return process(self, chunk, rate_hz, sensitivity_db)

    monkeypatch.setattr(SpectrogramGenerator, "process", break_once)
    summary = run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), progress=False).set_index("recording")
    assert summary["status"].to_dict() == {NAME: "failed", GOOD: "ok"}
    assert "could not be processed (ZeroDivisionError: a defect of ours)" in capsys.readouterr().out
    again = run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), progress=False)
    assert (again["status"] == "ok").all()  # a failure is tried again
