"""Runs on the same output folder share the work: nothing is done twice, nothing waits for the dead, and nothing is mixed."""
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

import pipeline.archive
from pipeline import run_multi_file_pipeline, run_pipeline_single_audio
from pipeline.claims import Claims
from pipeline.join import PartChanged
from pipeline.runs import OtherSettings, enter
from pipeline.tables import TABLES
from tests.toy_model import ToyModel
from tests.toy_sound import scene, write

ROOT = Path(__file__).resolve().parents[1]
NAMES = [f"6872.22071602{minute:02d}00.wav" for minute in range(4)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline.archive, "LOOK_S", 0.05)
    for seed, name in enumerate(NAMES):
        write(tmp_path / "in" / name, scene(7, 8000, seed), 8000)
    return tmp_path


def run(folder, out="out", **kwargs):
    return run_multi_file_pipeline(folder / "in", folder / out, kwargs.pop("model", ToyModel()), workers=1, progress=False, **kwargs)


def assert_same(folder, out, other):
    for table in TABLES:
        pd.testing.assert_frame_equal(*(pd.read_parquet(folder / x / f"{table}.parquet") for x in (out, other)), check_exact=True, obj=table)


OTHER = """
import sys
import pipeline.parts as parts
from pipeline import run_multi_file_pipeline
from tests.toy_model import ToyModel

before = parts.run_pipeline_single_audio

def noted(recording, *args, **kwargs):
    print(recording.name, flush=True)
    return before(recording, *args, **kwargs)

parts.run_pipeline_single_audio = noted
run_multi_file_pipeline(sys.argv[1], sys.argv[2], ToyModel(), workers=1, progress=False)
"""


def test_two_processes_share_the_work(folder, monkeypatch):
    """Ours goes slowly, so that the other, which needs longer to start, finds something to do; then both have the same summary and tables."""
    run(folder, "alone")
    mine, begun = [], threading.Event()

    def noted(recording, *args, **kwargs):
        mine.append(recording.name)
        begun.wait(120)
        return run_pipeline_single_audio(recording, *args, **kwargs)

    monkeypatch.setattr("pipeline.parts.run_pipeline_single_audio", noted)
    other = subprocess.Popen([sys.executable, "-c", OTHER, folder / "in", folder / "out"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    theirs = []

    def listen():
        for line in other.stdout:
            theirs.append(line.strip())
            begun.set()
        begun.set()

    listener = threading.Thread(target=listen)
    listener.start()
    summary = run(folder)
    listener.join()
    assert other.wait() == 0
    done = [x for x in theirs if x in NAMES]
    assert mine and done and sorted(mine + done) == NAMES
    assert summary["recording"].tolist() == NAMES and (summary["status"] == "ok").all()
    assert_same(folder, "out", "alone")
    assert not list((folder / "out").rglob("*.lock")) and not list((folder / "out").rglob("*.tmp"))


def test_a_run_waits_for_what_another_does_and_does_what_it_leaves(folder, monkeypatch, capsys):
    run(folder, "alone")
    other = Claims(folder / "out" / "parts" / "claims")
    keys = [next((folder / "alone" / "parts").glob(f"{name}*.zip")).stem for name in NAMES[:2]]
    assert all(map(other.take, keys))
    done, finished = [], []
    monkeypatch.setattr("pipeline.parts.run_pipeline_single_audio",
                        lambda recording, *a, **k: done.append(recording.name) or run_pipeline_single_audio(recording, *a, **k))
    ours = threading.Thread(target=lambda: finished.append(run(folder)))
    ours.start()
    while done != NAMES[2:]:
        time.sleep(0.01)
    time.sleep(0.3)
    assert not finished and done == NAMES[2:]
    (folder / "out" / "parts" / f"{keys[0]}.zip").write_bytes((folder / "alone" / "parts" / f"{keys[0]}.zip").read_bytes())  # the other finished this one
    other.free(keys[0])
    other.free(keys[1])                                                                                                      # and died over that one
    ours.join()
    assert done == [*NAMES[2:], NAMES[1]] and "another run works on 2 of the recordings; waiting for it" in capsys.readouterr().out
    assert_same(folder, "out", "alone")


def test_claims_end_with_their_process(tmp_path):
    code = "import sys, time\nfrom pathlib import Path\nfrom pipeline.claims import Claims\nclaims = Claims(Path(sys.argv[1]))\nprint(claims.take('a'), flush=True)\ntime.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    claims = Claims(tmp_path)
    assert not claims.take("a") and claims.take("b") and claims.take("b")
    process.kill()
    process.wait()
    assert claims.take("a")
    claims.free_all()
    assert not list(tmp_path.iterdir())


def test_who_frees_all_clears_away_what_the_dead_left_and_nothing_of_the_living(tmp_path):
    (tmp_path / "6872.wav-1.lock").touch()  # of a process that was killed
    living, mine = Claims(tmp_path), Claims(tmp_path)
    assert living.take("6872.wav-2") and mine.take("6872.wav-3")
    mine.free_all()
    assert [path.name for path in tmp_path.iterdir()] == ["6872.wav-2.lock"] and not Claims(tmp_path).take("6872.wav-2")
    living.free_all()
    assert not list(tmp_path.iterdir())


def test_a_claim_is_given_to_one_of_many(tmp_path):
    """Threads stand for processes: the system's locks count open files, not processes."""
    holding, most, got = [], [], []

    def worker(k):
        claims = Claims(tmp_path)
        for _ in range(150):
            if claims.take("a"):
                holding.append(k)
                most.append(len(holding))
                got.append(k)
                holding.remove(k)
                claims.free("a")

    threads = [threading.Thread(target=worker, args=(k,)) for k in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert set(most) == {1} and len(set(got)) >= 2


def test_drafts_of_the_dead_are_cleared_away_and_those_of_the_living_are_not(folder):
    run(folder)
    key = next((folder / "out" / "parts").glob(f"{NAMES[0]}*.zip")).stem
    alive, dead = f".{key}.zip.0123456789ab.tmp", f".{NAMES[1]}-00000000.zip.0123456789ab.tmp"
    for path in ("out/.events.parquet.0123456789ab.tmp", f"out/parts/{alive}", f"out/parts/{dead}", f"out/raven/.{key}.Table.1.selections.txt.77.tmp"):
        (folder / path).write_bytes(b"half")
    other = Claims(folder / "out" / "parts" / "claims")
    other.take(key)
    try:
        run(folder)
    finally:
        other.free_all()
    assert [p.name for p in (folder / "out").rglob("*.tmp") if p.parent.name == "parts"] == [alive]
    assert not (folder / "out" / ".events.parquet.0123456789ab.tmp").exists()
    run(folder)
    assert not list((folder / "out").rglob("*.tmp"))


OTHER_SETTINGS = [{"thresholds": {"Whistle": 0.6}}, {"level_row_s": 10}, {"clock": "America/Toronto"}, {"model": ToyModel(model_id="other")}, {"channel": 1}, {"denoise": "gate"}]


@pytest.mark.parametrize("other", OTHER_SETTINGS, ids=lambda other: next(iter(other)))
def test_a_run_with_other_settings_is_refused_at_its_start_while_one_is_at_work(other, folder, monkeypatch):
    """When the first has ended the way is free."""
    refused = []

    def meanwhile(recording, *args, **kwargs):
        if not refused:
            before = sorted((folder / "out").rglob("*"))
            with pytest.raises(OtherSettings, match="out: a run with other settings .* is at work here; let it end first, or choose another output folder") as caught:
                run(folder, **other)
            refused.append(caught)
            assert sorted((folder / "out").rglob("*")) == before
        return run_pipeline_single_audio(recording, *args, **kwargs)

    monkeypatch.setattr("pipeline.parts.run_pipeline_single_audio", meanwhile)
    summary = run(folder)
    assert len(refused) == 1 and (summary["status"] == "ok").all() and len(summary) == len(NAMES)
    run(folder, **other)


def test_runs_with_the_same_settings_enter_one_after_another_and_the_dead_do_not_count(tmp_path):
    claims = tmp_path / "out" / "parts" / "claims"
    one, two, three = (Claims(claims) for _ in range(3))
    (claims / "run.0123456789ab.00000000.lock").touch()  # of a run that was killed
    enter(one, {"a": 1})
    enter(two, {"a": 1})
    for ended in (one, two):
        with pytest.raises(OtherSettings):
            enter(three, {"a": 2})
        ended.free_all()
    enter(three, {"a": 2})
    assert [path.name.split(".")[0] for path in claims.iterdir()] == ["run"]


def test_a_part_that_another_run_made_with_other_settings_is_not_joined(folder, monkeypatch):
    """As where the network drive knows no locks. One that was made anew because its file has changed is."""
    join_parts = pipeline.archive.join_parts

    def meanwhile(*args, **kwargs):
        monkeypatch.undo()
        part.write_bytes(made)
        return join_parts(*args, **kwargs)

    run(folder, thresholds={"Whistle": {"on": 0.99, "window": 0.99}})
    part = next((folder / "out" / "parts").glob(f"{NAMES[1]}*"))
    for made, fits in ((part.read_bytes(), False), (None, True)):
        if made is None:
            write(folder / "in" / NAMES[1], scene(12, 8000, 9), 8000)
            run(folder, "newer")
            made = (folder / "newer" / "parts" / part.name).read_bytes()
            os.utime(folder / "in" / NAMES[1])
        monkeypatch.setattr(pipeline.archive, "join_parts", meanwhile)
        if fits:
            assert run(folder).set_index("recording")["duration_s"][NAMES[1]] == 12
        else:
            with pytest.raises(PartChanged, match="was made anew meanwhile, by a run with other settings"):
                run(folder)
    run(folder)
    run(folder, "fresh")
    assert_same(folder, "out", "fresh")
