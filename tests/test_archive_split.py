"""A long recording split between workers gives the very tables that it gives whole: calls across a joint come out once, and nothing is made twice."""
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

import pipeline.archive
import pipeline.parts
from pipeline import run_multi_file_pipeline, run_pipeline_single_audio, splitting
from pipeline.denoised import beside
from pipeline.making import chunks_around, generator_of
from pipeline.splitting import limit_s
from pipeline.events import LONGEST_S
from pipeline.stretches import STRETCH_CHUNKS, Counting, Stretch, cut
from pipeline.tables import TABLES
from spectrogram.recording import Recording
from tests.toy_model import SpyModel, ToyModel, save_random_model
from tests.toy_sound import noise, put, scene, sweep, write

ROOT = Path(__file__).resolve().parents[1]
NAME = "6872.220716020000.wav"
NAMES = ["6872.220716000000.wav", "6872.220716010000.wav"]


def over_joints(seconds, rate, seed=1):
    """A scene with a whistle across every joint of 16 s, and one of 70 s, longer than most stretches."""
    x = scene(seconds, rate, seed)
    for joint in range(16, int(seconds) - 1, 16):
        put(x, rate, joint - 0.3, sweep(0.7, rate, 1500, 2500, 110))
    return put(x, rate, 20.0, sweep(70.0, rate, 3400, 3500, 112)) if seconds > 91 else x


def write_flac(path, x, rate):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, x, rate, subtype="PCM_16")
    return path


def run(folder, out="out", model=None, **kwargs):
    return run_multi_file_pipeline(folder / "in", folder / out, model or ToyModel(), workers=kwargs.pop("workers", 1), progress=False, **kwargs)


def assert_same(folder, out, other="whole"):
    for table in TABLES:
        pd.testing.assert_frame_equal(*(pd.read_parquet(folder / x / f"{table}.parquet") for x in (out, other)), check_exact=True, obj=table)
    parts = [sorted((folder / x / "parts").glob("*.zip")) for x in (out, other)]
    assert [p.name for p in parts[0]] == [p.name for p in parts[1]] and all(a.read_bytes() == b.read_bytes() for a, b in zip(*parts))
    assert not (folder / out / "parts" / "stretches").exists() and not list((folder / out).rglob("*.tmp")) and not list((folder / out).rglob("*.lock"))


@pytest.fixture
def made(monkeypatch):
    """Names of what was made in this process: recordings done whole, stretches as FIRST-LAST."""
    names = []
    for function in ("make_part", "make_stretch"):
        def noted(job, near, model, before=getattr(pipeline.parts, function)):
            names.append(f"{job.source.name} {job.stretch}" if job.stretch else job.source.name)
            return before(job, near, model)

        monkeypatch.setattr(pipeline.parts, function, noted)
    return names


@pytest.fixture(scope="module")
def season(tmp_path_factory):
    """Recordings of many kinds, and their tables when each is done whole."""
    folder = tmp_path_factory.mktemp("long")
    place = folder / "in"
    write(place / "6872.220716000000.wav", over_joints(100.3, 8000), 8000)
    write(place / "6872.220716010000.wav", over_joints(20, 44100, 2), 44100, "PCM_24")
    write(place / "6872.220716020000.wav", over_joints(17.01, 96000, 3), 96000, "PCM_16")
    write(place / "6872.220716030000.wav", over_joints(48, 8000, 4), 8000, "PCM_16")      # ends on a joint
    write(place / "6872.220716040000.wav", over_joints(32.004, 8000, 5), 8000)            # the last chunk is shorter than a frame's hop
    write_flac(place / "6872.220716060000.flac", over_joints(34, 16000, 7), 16000)
    bad = over_joints(50, 8000, 8)
    bad[[15 * 8000, 16 * 8000 - 1, 16 * 8000, 33 * 8000]], bad[31 * 8000:33 * 8000 - 8] = np.nan, 1.5
    write(place / "bad.wav", bad, 8000)
    write(place / "silent.wav", np.zeros(34 * 8000), 8000)
    short = write(place / "truncated.wav", over_joints(40, 8000, 9), 8000, "PCM_16")
    short.write_bytes(short.read_bytes()[:44 + 2 * round(33.7 * 8000)])
    muted = over_joints(66, 8000, 10)
    for first, last in ((31.95, 32.02), (33, 47.97), (47.99, 48.3), (63.93, 64.08)):  # on the joints, and short of a tenth of a second on one side
        muted[round(first * 8000):round(last * 8000)] = 0
    write(place / "muted.wav", muted, 8000)
    run(folder, "whole")
    return folder


@pytest.mark.parametrize("split_s", [16, 40])
def test_split_is_whole(season, tmp_path, split_s, made):
    out = os.path.relpath(tmp_path / "out", season)
    summary = run(season, out, split_s=split_s)
    assert_same(season, out)
    seconds = {name: Recording(season / "in" / name).duration_s for name in summary["recording"]}
    assert {name for name in made if " " not in name} == {name for name, length in seconds.items() if length <= split_s}
    each = split_s // 16
    assert len(made) == sum(-(-length // (16 * each)) if length > split_s else 1 for length in seconds.values())


def test_what_the_whole_is_has_calls_over_the_joints_and_every_fault(season):
    events, effort = (pd.read_parquet(season / "whole" / f"{table}.parquet") for table in ("events", "effort"))
    events = events[events["labels"].str.contains("Whistle")]
    for joint in (16, 32, 48, 64, 80, 96):
        across = events[(events["start_s"] < joint) & (events["end_s"] > joint) & (events["recording"] == "6872.220716000000.wav")]
        assert len(across) == 1, joint
    assert (events["end_s"] - events["start_s"]).max() <= LONGEST_S["Whistle"]  # also where one tone lasts 70 s
    reasons = " ".join(effort["reason"])
    for fault in ("4 samples are not numbers", "clipping: 15992 samples", "silence", "not listened to: 15.43 s of zeros", "the header promises 40.0 s, the file holds 33.7 s"):
        assert fault in reasons


def test_the_shipped_kind_of_network_is_called_as_in_one_go(tmp_path):
    """Batches of windows are the same, so the same bits come out of the network. Two workers, and a scheduler elsewhere: test_archive_engine.py."""
    model = str(save_random_model(tmp_path / "model"))
    write(tmp_path / "in" / NAME, over_joints(35, 48000), 48000, "PCM_16")
    run(tmp_path, "whole", model)
    run(tmp_path, "split", model, split_s=32)
    assert_same(tmp_path, "split")


def test_windows_are_those_of_the_whole(tmp_path):
    """What the model is given: the same windows in the same calls."""
    path, whole = write(tmp_path / NAME, over_joints(50, 8000), 8000), SpyModel()
    run_pipeline_single_audio(path, whole, workers=1)
    write(tmp_path / "in" / NAME, over_joints(50, 8000), 8000)
    split = SpyModel()
    run(tmp_path, "out", split, split_s=32)
    assert len(whole.seen) == len(split.seen) == 4
    for a, b in zip(whole.seen, split.seen):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("rate, stretch", [(8000, Stretch(0, 2, 6)), (8000, Stretch(1, 2, 6)), (8000, Stretch(3, 6, 6)), (22050, Stretch(2, 5, 6)), (8000, Stretch(5, 6, 6))])
def test_chunks_of_a_stretch_are_those_of_the_whole_and_only_its_own_samples_count(tmp_path, rate, stretch):
    x = noise(90, rate)
    x[::1000] = 1.2
    path = write(tmp_path / NAME, x, rate)
    generator, recording, counting = generator_of(ToyModel().profile), Recording(path), Counting(path)
    whole = {chunk.index: chunk for chunk, _ in beside(generator, recording, None, 7.3)}
    found = [chunk for chunk, _ in counting.chunks_of(stretch, generator)]
    before, after = chunks_around(generator.profile)
    assert [chunk.index for chunk in found] == list(range(max(0, stretch.first - before), min(stretch.last + after, stretch.of)))
    for chunk in found:
        same = whole[chunk.index]
        assert (chunk.origin, chunk.first, chunk.last, chunk.final) == (same.origin, same.first, same.last, same.final)
        np.testing.assert_array_equal(chunk.samples, same.samples)
    own = x[stretch.first * 16 * rate:stretch.last * 16 * rate]
    assert counting.frames_read == len(own) and counting.clipped_samples == (np.abs(own) >= 0.9999).sum()


def test_a_recording_that_breaks_off_is_done_whole(tmp_path, made):
    """Damage within the file is found where it lies; the tables are those of reading from the start."""
    path = write_flac(tmp_path / "in" / "6872.220716000000.flac", over_joints(50, 16000), 16000)
    data = bytearray(path.read_bytes())
    data[len(data) // 2:len(data) // 2 + 40_000] = os.urandom(40_000)
    path.write_bytes(data)
    assert run(tmp_path, "whole")["reason"].str.contains("damaged: the data break off").all()
    made.clear()
    run(tmp_path, "split", split_s=16)
    assert_same(tmp_path, "split")
    assert made[-1] == path.name and 1 < len(made) <= 5


def test_a_recording_that_changes_meanwhile_is_done_whole(tmp_path, made, monkeypatch):
    path = write(tmp_path / "in" / NAME, over_joints(50, 8000), 8000)
    taken = splitting.Splitter.keep

    def cut_short(self, part, unit):
        taken(self, part, unit)
        if unit.stretch.first == 0:
            write(path, over_joints(34, 8000), 8000)

    monkeypatch.setattr(splitting.Splitter, "keep", cut_short)
    summary = run(tmp_path, "out", split_s=16)
    assert summary["status"].tolist() == ["ok"] and summary["duration_s"].tolist() == [34.0] and made[-1] == NAME


def test_a_damaged_stretch_is_not_joined(tmp_path, made, monkeypatch):
    write(tmp_path / "in" / NAME, over_joints(50, 8000), 8000)
    run(tmp_path, "whole")
    made.clear()
    written = splitting.write_part

    def damaged(part, path):
        written(part, path)
        if "000001-" in path.name:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1  # as a disk may
            path.write_bytes(data)

    monkeypatch.setattr(splitting, "write_part", damaged)
    run(tmp_path, "out", split_s=16)
    assert made[-1] == NAME and len(made) == 5
    assert_same(tmp_path, "out")


def test_denoised_and_short_and_unreadable_recordings_stay_whole(tmp_path, made):
    write(tmp_path / "in" / NAME, over_joints(34, 8000), 8000)
    (tmp_path / "in" / "bad.wav").write_bytes(b"no sound" * 20_000)
    run(tmp_path, "gate", split_s=16, denoise="gate")
    assert made == [NAME, "bad.wav"]
    made.clear()
    assert run(tmp_path, "out", split_s=16)["status"].tolist() == ["ok", "failed"] and made[-1] == "bad.wav" and len(made) == 4


@pytest.mark.parametrize("split_s, recordings, workers, expected", [(None, 1, 1, np.inf), (None, 1, 2, 7200), (None, 7, 2, 7200), (None, 8, 2, np.inf), (60, 9, 1, 60),
                                                                     (np.inf, 1, 8, np.inf)])
def test_what_is_long(split_s, recordings, workers, expected):
    assert limit_s(split_s, recordings, workers) == expected


def test_where_recordings_are_cut():
    day = cut(86400 * 192000, 192000, 7200)
    assert [day[0].first, day[-1].last] == [0, 5400] and all(a.last == b.first for a, b in zip(day, day[1:]))
    assert {s.last - s.first for s in day} == {STRETCH_CHUNKS} and [str(s) for s in cut(100, 8000, np.inf)] == ["000000-000001"]
    for wrong in (3, 0, -1, np.nan):
        with pytest.raises(ValueError, match=f"split_s = {wrong}: give seconds, at least 16, or inf"):
            limit_s(wrong, 1, 1)


# ------------------------------------------------------------------------------------------------------------ killed, and two at once

SPLITS = """
import sys
import pipeline.parts as parts
from pipeline import run_multi_file_pipeline
from tests.toy_model import ToyModel

before = parts.make_stretch

def noted(job, near, model):
    with open(sys.argv[3], "a") as file:
        file.write(job.key + "\\n")
    return before(job, near, model)

parts.make_stretch = noted
run_multi_file_pipeline(sys.argv[1], sys.argv[2], ToyModel(), workers=1, progress=False, split_s=16)
"""


def start(folder):
    return subprocess.Popen([sys.executable, "-c", SPLITS, folder / "in", folder / "out", folder / "made.txt"], cwd=ROOT)


@pytest.fixture
def long(tmp_path):
    for k, name in enumerate(NAMES):
        write(tmp_path / "in" / name, over_joints(68, 8000, k), 8000)
    run(tmp_path, "whole")
    return tmp_path


def begun(folder):
    return (folder / "made.txt").read_text().split() if (folder / "made.txt").exists() else []


def test_killed_at_random_moments_and_restarted(long):
    """SIGKILL at any moment: what was kept is not made again, and the tables are those of a run that nobody disturbed and nothing split."""
    chance, n = random.Random(os.environ.get("SEA_CANARY_SEED", "4")), int(os.environ.get("SEA_CANARY_KILLS", "2"))
    kills, twice = 0, 0
    for _ in range(n):
        process, already = start(long), len(begun(long))
        while len(begun(long)) < already + chance.choice([2, 3]) and process.poll() is None:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.2))
        kills += process.poll() is None
        process.kill()
        process.wait()
        names = begun(long)
        twice += len(set(names[:already]) & set(names[already:]))
    assert kills and twice <= kills  # at most the one that a kill broke off
    run(long, "out", split_s=16)
    assert_same(long, "out")


def test_two_processes_make_no_stretch_twice(long, made, monkeypatch):
    """Ours goes slowly over its first stretch, so that the other, which needs longer to start, finds something to do."""
    monkeypatch.setattr(pipeline.archive, "LOOK_S", 0.05)
    other, noted = start(long), pipeline.parts.make_stretch

    def slowly(job, near, model):
        while not begun(long) and other.poll() is None:
            time.sleep(0.01)
        return noted(job, near, model)

    monkeypatch.setattr(pipeline.parts, "make_stretch", slowly)
    run(long, split_s=16)
    assert other.wait() == 0
    theirs = [name.split(".stretch-")[0].rsplit("-", 1)[0] for name in begun(long)]
    ours = [name.split(" ")[0] for name in made]
    assert len(set(theirs)) == len(set(ours)) == 1 and sorted(theirs + ours) == [name for name in NAMES for _ in range(5)]
    assert_same(long, "out")


def test_what_was_made_with_other_stretches_or_of_another_file_goes(long, made, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(splitting.Splitter, "joined", lambda self: pytest.fail("stop") if len(made) > 3 else [])
        with pytest.raises(pytest.fail.Exception):
            run(long, split_s=16)
    assert len(list((long / "out" / "parts" / "stretches").glob("*.zip"))) == 4
    (long / "in" / NAMES[1]).unlink()
    made.clear()
    run(long, "out", split_s=32)
    run(long, "one")
    assert len(made) == 3 + 1
    assert_same(long, "out", "one")
