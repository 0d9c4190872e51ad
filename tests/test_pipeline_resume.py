"""A run that was killed goes on where it stopped: the same tables as an uninterrupted one, and nothing finished is done twice."""
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import pipeline.archive
import pipeline.parts
from pipeline import run_multi_file_pipeline, run_pipeline_single_audio
from pipeline.parts import PartFile
from pipeline.tables import TABLES, read_provenance
from tests.toy_model import ToyModel
from tests.toy_sound import scene, write

ROOT = Path(__file__).resolve().parents[1]
NAMES = [f"6872.22071602{minute:02d}00.wav" for minute in range(2)]


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate(NAMES):
        write(tmp_path / "in" / name, scene(7, 8000, seed), 8000)
    return tmp_path


@pytest.fixture
def done(monkeypatch):
    """Names of the recordings that were really processed, in order."""
    names = []

    def noted(recording, *args, **kwargs):
        names.append(recording.name)
        return run_pipeline_single_audio(recording, *args, **kwargs)

    monkeypatch.setattr(pipeline.parts, "run_pipeline_single_audio", noted)
    return names


def run(folder, out="out", model=None, **kwargs):
    return run_multi_file_pipeline(folder / "in", folder / out, model or ToyModel(), progress=False, **kwargs)


def tables(folder, out) -> dict[str, pd.DataFrame]:
    return {table: pd.read_parquet(folder / out / f"{table}.parquet") for table in TABLES}


def assert_same(folder, out, other):
    for (table, a), b in zip(tables(folder, out).items(), tables(folder, other).values()):
        pd.testing.assert_frame_equal(a, b, check_exact=True, obj=table)


def test_finished_recordings_are_not_done_again(folder, done):
    first = run(folder)
    assert done == NAMES and first["events"].tolist() == [2] * 2
    done.clear()
    pd.testing.assert_frame_equal(run(folder, workers=1), first)
    assert done == []
    run(folder, again=True)
    assert done == NAMES


@pytest.mark.parametrize("change", [{"thresholds": {"Whistle": 0.6}}, {"level_row_s": 10}, {"clock": "America/Toronto"}, {"model": ToyModel(model_id="other")}])
def test_another_setting_does_all_anew(change, folder, done):
    run(folder)
    done.clear()
    run(folder, **change)
    assert done == NAMES


def test_a_changed_a_new_and_a_removed_recording(folder, done):
    run(folder)
    done.clear()
    write(folder / "in" / "sub" / "6872.220716030000.wav", scene(7, 8000, 10), 8000)
    run(folder)
    assert done == ["6872.220716030000.wav"]
    done.clear()
    write(folder / "in" / NAMES[1], scene(12, 8000, 9), 8000)
    (folder / "in" / NAMES[0]).unlink()
    summary = run(folder)
    assert done == [NAMES[1]]
    assert summary["recording"].tolist() == [*NAMES, "sub/6872.220716030000.wav"] and summary["events"].tolist() == [2, 4, 2]
    assert summary["status"].tolist() == ["gone", "ok", "ok"] and "is not there any more, its rows are kept" in summary["reason"][0]
    assert set(tables(folder, "out")["events"]["recording"]) == set(summary["recording"])


def test_a_recording_that_turns_bad_leaves_nothing_of_its_better_days(folder):
    run(folder)
    (folder / "in" / NAMES[0]).write_bytes(b"")
    summary = run(folder)
    assert summary["status"].tolist() == ["failed", "ok"]
    for table in ("events", "windows", "levels"):
        assert NAMES[0] not in set(tables(folder, "out")[table]["recording"])
    assert len(list((folder / "out" / "raven").iterdir())) == 1
    write(folder / "in" / NAMES[0], scene(7, 8000, 0), 8000)
    assert run(folder)["status"].tolist() == ["ok"] * 2


def part(folder, name, out="out") -> Path:
    return next((folder / out / "parts").glob(f"{name}*.zip"))


def test_a_part_that_is_damaged_or_lost_is_made_anew(folder, done):
    run(folder)
    before = tables(folder, "out")
    part(folder, NAMES[0]).write_bytes(b"")                                    # a power cut, before the disk wrote it
    part(folder, NAMES[1]).write_bytes(part(folder, NAMES[1]).read_bytes()[:-200])
    done.clear()
    run(folder)
    assert done == NAMES
    part(folder, NAMES[1]).unlink()
    run(folder)
    assert done == [*NAMES, NAMES[1]]
    for table, frame in tables(folder, "out").items():
        pd.testing.assert_frame_equal(frame, before[table])


def test_a_part_holds_all_tables_of_a_recording_and_what_made_them(folder):
    run(folder)
    single = run_pipeline_single_audio(folder / "in" / NAMES[0], ToyModel())
    with PartFile(part(folder, NAMES[0])) as opened:
        for table in TABLES:
            pd.testing.assert_frame_equal(opened.table(table).to_pandas(), getattr(single, table), obj=table)
        made = opened.made
    stat = (folder / "in" / NAMES[0]).stat()
    assert made["input"] == NAMES[0] and made["where"] == str(folder / "in" / NAMES[0])
    assert made["input_size"] == stat.st_size and made["input_changed"] == str(stat.st_mtime_ns)
    assert made["model_id"] == "toy" and made["settings"]["level_row_s"] == 60 and made["settings"]["sensitivity_db"] == -177.6
    assert made["thresholds"]["Whistle"]["on"] == 0.5 and len(made["fingerprint"]) == len(made["code"]) == 12


def test_raven_tables_come_also_for_recordings_that_were_done_without(folder, done):
    run(folder, raven=False)
    assert not (folder / "out" / "raven").exists()
    done.clear()
    run(folder)
    assert done == []
    for name in NAMES:
        expected = run_pipeline_single_audio(folder / "in" / name, ToyModel()).raven()
        found = pd.read_csv(next((folder / "out" / "raven").glob(f"{name}*")), sep="\t")
        pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_another_setting_is_said_with_what_changed(folder, capsys):
    run(folder)
    (folder / "in" / NAMES[0]).touch()
    capsys.readouterr()
    run(folder)
    assert "1 recordings are done anew: the file changed since they were done" in capsys.readouterr().out
    run(folder, model=ToyModel(model_id="other"), thresholds={"Whistle": 0.6})
    assert "2 recordings are done anew: thresholds, model changed" in capsys.readouterr().out


def test_a_serial_that_becomes_known_does_its_recordings_anew(folder, done, monkeypatch):
    write(folder / "in" / "4711.220716020000.wav", scene(7, 8000, 3), 8000)
    run(folder)
    done.clear()
    monkeypatch.setitem(pipeline.archive.HYDROPHONE_SENSITIVITY._table, "4711", [{"sensitivity_db": -180.0}])
    run(folder)
    assert done == ["4711.220716020000.wav"]
    assert tables(folder, "out")["effort"].set_index("recording")["sensitivity_db"]["4711.220716020000.wav"] == -180.0


def test_a_log_that_comes_later_dates_its_recording_anew(folder, done):
    run(folder)
    done.clear()
    log = folder / "in" / NAMES[1].replace(".wav", ".log.xml")
    log.write_text('<ST><WAV SamplingStartTimeUTC="2022-07-16T06:01:00"/></ST>', encoding="utf-8")
    run(folder)
    assert done == [NAMES[1]]
    assert tables(folder, "out")["effort"]["start_utc"].tolist() == [pd.Timestamp("2022-07-16T02:00:00Z"), pd.Timestamp("2022-07-16T06:01:00Z")]


def test_unreadable_recordings_are_not_tried_for_ever(folder, done, capsys):
    bad = folder / "in" / "bad.wav"
    bad.write_bytes(b"no sound" * 20)
    assert run(folder)["status"].tolist() == ["ok", "ok", "failed"]
    tried = []
    opened = pipeline.parts.Recording

    def noted(path, *args, **kwargs):
        tried.append(path.name)
        return opened(path, *args, **kwargs)

    pipeline.parts.Recording = noted
    capsys.readouterr()
    try:
        assert run(folder)["status"].tolist() == ["ok", "ok", "failed"] and tried == []
        assert "1 recordings failed before and have not changed" in capsys.readouterr().out
        run(folder, again=True)
        assert sorted(tried) == [*NAMES, "bad.wav"]
        write(bad, scene(7, 8000, 3), 8000)
        assert run(folder)["status"].tolist() == ["ok"] * 3 and tried[3:] == ["bad.wav"]
    finally:
        pipeline.parts.Recording = opened


DIES = """
import os, sys
import {module} as module
from pipeline import run_multi_file_pipeline
from tests.toy_model import ToyModel

calls, before = [], module.{function}

def dies(*args, **kwargs):
    calls.append(args)
    if len(calls) == int(sys.argv[3]):
        os._exit(9)  # like a power cut: no clean-up
    return before(*args, **kwargs)

module.{function} = dies
run_multi_file_pipeline(sys.argv[1], sys.argv[2], ToyModel(), workers=1, progress=False)
"""


@pytest.mark.parametrize("module, function, call, parts, left", [
    ("os", "replace", 4, 1, 1),  # the second part is written, but has not got its name
    ("os", "replace", 6, 2, 3),  # in the middle of renaming the final tables
])
def test_a_process_that_dies_while_it_writes(module, function, call, parts, left, folder, done):
    died = subprocess.run([sys.executable, "-c", DIES.format(module=module, function=function), folder / "in", folder / "out", str(call)], cwd=ROOT,
                          capture_output=True, text=True)
    assert died.returncode == 9, died.stderr
    assert len(list((folder / "out" / "parts").glob("*.zip"))) == parts and len(list((folder / "out").rglob("*.tmp"))) >= left
    run(folder)
    assert done == NAMES[parts:]
    run(folder, "fresh")
    assert_same(folder, "out", "fresh")
    assert not list((folder / "out").rglob("*.tmp")) and not list((folder / "out").rglob("*.lock"))


KILLED = """
import sys, torch
from pipeline import run_multi_file_pipeline
from tests.toy_model import ToyModel

run_multi_file_pipeline(sys.argv[1], sys.argv[2], ToyModel(), workers=1, progress=False)
"""


def test_killed_at_random_moments_and_restarted(tmp_path):
    """SIGKILL (on Windows TerminateProcess) at any moment, then another run: the tables are those of a run that nobody disturbed."""
    chance, n = random.Random(os.environ.get("SEA_CANARY_SEED", "4")), int(os.environ.get("SEA_CANARY_KILLS", "2"))
    for k in range(3 * n + 2):
        write(tmp_path / "in" / f"6872.220716{k:02d}0000.wav", scene(7, 8000, k), 8000)
    (tmp_path / "in" / "bad.wav").write_bytes(b"")
    run_multi_file_pipeline(tmp_path / "in", tmp_path / "fresh", ToyModel(), workers=1, progress=False)

    def parts():
        return len(list((tmp_path / "out" / "parts").glob("*.zip")))

    kills, progress = 0, [0]
    for _ in range(n):
        process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "in", tmp_path / "out"], cwd=ROOT)
        while parts() < progress[-1] + chance.choice([1, 2, 3]) and process.poll() is None:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.1))
        kills += process.poll() is None
        process.kill()
        process.wait()
        progress.append(parts())
    assert kills and progress == sorted(progress), progress
    run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), workers=1, progress=False)
    assert_same(tmp_path, "out", "fresh")
    assert not list((tmp_path / "out").rglob("*.tmp")) and not list((tmp_path / "out").rglob("*.lock"))


def test_joined_tables_say_what_made_them_and_keep_their_types(folder):
    run(folder, csv=True)
    made = {table: read_provenance(folder / "out" / f"{table}.parquet") for table in TABLES}
    for footer in made.values():
        assert footer["model_id"] == "toy" and footer["profile"] == "beluga" and footer["parts"] == 2 and footer["thresholds"]["Whistle"]["on"] == 0.5
        assert {"code_version", "profile_hash", "settings"} <= set(footer)
    single = run_pipeline_single_audio(folder / "in" / NAMES[0], ToyModel())
    for table, frame in tables(folder, "out").items():
        pd.testing.assert_series_equal(frame.dtypes, getattr(single, table).dtypes)
        assert len(pd.read_csv(folder / "out" / f"{table}.csv")) == len(frame)
    assert not list(folder.rglob("*.tmp")) and os.listdir(folder / "out" / "raven")


def test_one_file_given_instead_of_a_folder(folder):
    summary = run_multi_file_pipeline(folder / "in" / NAMES[1], folder / "one", ToyModel(), progress=False)
    assert summary["recording"].tolist() == [NAMES[1]] and summary["Whistle"].tolist() == [2]
    assert tables(folder, "one")["events"]["recording"].unique().tolist() == [NAMES[1]]
