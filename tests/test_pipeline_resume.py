"""A run that was killed goes on where it stopped: the same tables as an uninterrupted one, and nothing finished is done twice."""
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import pipeline.multi
from pipeline import run_multi_file_pipeline, run_pipeline_single_audio
from pipeline.tables import TABLES, read_provenance
from tests.toy_model import ToyModel, save_random_model
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

    monkeypatch.setattr(pipeline.multi, "run_pipeline_single_audio", noted)
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
    assert summary["recording"].tolist() == [NAMES[1], "sub/6872.220716030000.wav"] and summary["events"].tolist() == [4, 2]
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


def test_a_part_that_is_damaged_or_lost_is_made_anew(folder, done):
    run(folder)
    parts = folder / "out" / "parts"
    next(parts.glob(f"{NAMES[0]}*.effort.parquet")).write_bytes(b"")           # a power cut, before the disk wrote it
    broken = next(parts.glob(f"{NAMES[1]}*.events.parquet"))
    broken.write_bytes(broken.read_bytes()[:200])
    before = tables(folder, "out")
    done.clear()
    run(folder)
    assert done == NAMES
    for table, frame in tables(folder, "out").items():
        pd.testing.assert_frame_equal(frame, before[table])


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


def test_killed_while_it_changed_its_settings_the_old_settings_do_not_take_its_tables_for_theirs(folder, monkeypatch):
    run(folder)
    written = []

    def killed(frame, path, made):
        written.append(path)
        if len(written) == 3:  # events and windows of the first recording are those of the new settings, effort of the old
            raise KeyboardInterrupt
        write_parquet(frame, path, made)

    write_parquet = pipeline.multi.write_parquet
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.multi, "write_parquet", killed)
        with pytest.raises(KeyboardInterrupt):
            run(folder, thresholds={"Whistle": {"on": 0.99}})
    run(folder)
    run(folder, "fresh")
    assert_same(folder, "out", "fresh")


KILLED_WITHIN = """
import os, sys
import pipeline.multi as multi
from tests.toy_model import ToyModel

calls = []
write = multi.write_parquet

def dies(frame, path, made):
    calls.append(path)
    if len(calls) == 7:
        os._exit(9)  # like a power cut: no clean-up
    write(frame, path, made)

multi.write_parquet = dies
multi.run_multi_file_pipeline(sys.argv[1], sys.argv[2], ToyModel(), progress=False)
"""


def test_a_process_that_dies_while_it_writes(folder, done):
    died = subprocess.run([sys.executable, "-c", KILLED_WITHIN, folder / "in", folder / "out"], cwd=ROOT, capture_output=True, text=True)
    assert died.returncode == 9, died.stderr
    parts = folder / "out" / "parts"
    assert len(list(parts.glob(f"{NAMES[0]}*.parquet"))) == 4 and len(list(parts.glob(f"{NAMES[1]}*.parquet"))) == 2
    assert not (folder / "out" / "events.parquet").exists()
    run(folder)
    assert done == NAMES[1:]
    run(folder, "fresh")
    assert_same(folder, "out", "fresh")


def test_killed_from_outside_in_the_middle_of_a_recording(tmp_path):
    model = save_random_model(tmp_path / "model")
    for k, seconds in enumerate((10, 1200)):
        write(tmp_path / "in" / NAMES[k], scene(min(seconds, 20), 8000, k).repeat(max(1, seconds // 20)), 8000, "PCM_16")
    command = [sys.executable, "-m", "pipeline", str(tmp_path / "in"), str(tmp_path / "out"), "--model", str(model), "--quiet", "--workers", "1"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    parts = tmp_path / "out" / "parts"
    deadline = time.monotonic() + 300
    while not list(parts.glob(f"{NAMES[0]}*.effort.parquet")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()  # SIGKILL; TerminateProcess on Windows
    assert process.wait() != 0, process.stdout.read()
    assert len(list(parts.glob(f"{NAMES[0]}*.parquet"))) == 4 and not list(parts.glob(f"{NAMES[1]}*.effort.parquet"))
    before = {p: p.stat().st_mtime_ns for p in parts.glob(f"{NAMES[0]}*.parquet")}
    write(tmp_path / "in" / NAMES[1], scene(10, 8000, 1), 8000, "PCM_16")  # twenty minutes are too long for a test
    summary = run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", str(model), workers=1, progress=False)
    assert summary["status"].tolist() == ["ok", "ok"] and before == {p: p.stat().st_mtime_ns for p in before}
    run_multi_file_pipeline(tmp_path / "in", tmp_path / "fresh", str(model), progress=False)
    assert_same(tmp_path, "out", "fresh")


def test_joined_tables_say_what_made_them_and_keep_their_types(folder):
    run(folder, csv=True)
    made = {table: read_provenance(folder / "out" / f"{table}.parquet") for table in TABLES}
    for footer in made.values():
        assert footer["model_id"] == "toy" and footer["profile"] == "beluga" and footer["parts"] == 2 and footer["thresholds"]["Whistle"]["on"] == 0.5
        assert {"code_version", "profile_hash"} <= set(footer)
    single = run_pipeline_single_audio(folder / "in" / NAMES[0], ToyModel())
    for table, frame in tables(folder, "out").items():
        pd.testing.assert_series_equal(frame.dtypes, getattr(single, table).dtypes)
        assert len(pd.read_csv(folder / "out" / f"{table}.csv")) == len(frame)
    assert not list(folder.rglob("*.tmp")) and os.listdir(folder / "out" / "raven")


def test_one_file_given_instead_of_a_folder(folder):
    summary = run_multi_file_pipeline(folder / "in" / NAMES[1], folder / "one", ToyModel(), progress=False)
    assert summary["recording"].tolist() == [NAMES[1]] and summary["Whistle"].tolist() == [2]
    assert tables(folder, "one")["events"]["recording"].unique().tolist() == [NAMES[1]]
