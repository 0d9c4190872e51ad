"""A live folder: files are taken up when they are finished, once, whatever a recorder, a copy or a disk does meanwhile; Ctrl-C ends it cleanly."""
import errno
import os
import signal
import struct
import threading
import time
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
import soundfile

import pipeline.engine
import pipeline.multi
import pipeline.parts
import pipeline.ripening
import pipeline.watch
from pipeline import run_multi_file_pipeline
from pipeline.archive import Archive
from pipeline.drafts import RUN_AGAIN
from pipeline.fetching import Crowded, OutOfRoom
from pipeline.ripening import PATIENCE, Ripening, is_whole, told_bytes
from pipeline.sources import Source, list_recordings
from pipeline.tables import TABLES
from pipeline.watch import Watch
from pipeline.worker import NoWorkers
from tests.toy_model import ToyModel
from tests.toy_sound import noise, scene, write

FIRST, SECOND, THIRD, FOURTH = (f"6872.2207160{k}0000.wav" for k in range(4))


def half_written(path, seconds, of_s):
    """A recording in the making: the header is written first, for all of it."""
    write(path, scene(of_s, 8000), 8000, "PCM_16")
    path.write_bytes(path.read_bytes()[:44 + seconds * 8000 * 2])


def test_a_file_is_finished_when_it_has_rested_and_its_header_comes_true(tmp_path):
    ripening, clock = Ripening(settle_s=10), [100.0]

    def ready(after_s):
        clock[0] += after_s
        return [source.name for source, whole in ripening.ready(list_recordings(tmp_path), clock[0]) if whole]

    half_written(tmp_path / FIRST, 2, 6)
    write(tmp_path / SECOND, scene(6, 8000), 8000, "PCM_16")
    assert ready(0) == [] and ready(9) == []
    assert ready(1) == [SECOND]                       # the first has rested too, but promises more
    half_written(tmp_path / FIRST, 4, 6)
    assert ready(1) == [] and ready(9) == [] and ready(5) == []
    write(tmp_path / FIRST, scene(6, 8000), 8000, "PCM_16")
    assert ready(1) == [] and ready(10) == [FIRST] and ready(1000) == []
    write(tmp_path / SECOND, scene(7, 8000), 8000, "PCM_16")  # written anew
    assert ready(1) == [] and ready(10) == [SECOND]


def test_a_header_that_never_comes_true_is_not_waited_for_for_ever(tmp_path):
    ripening = Ripening(settle_s=10)
    half_written(tmp_path / FIRST, 2, 6)
    (tmp_path / SECOND).write_bytes(b"")
    assert not is_whole(tmp_path / FIRST) and not is_whole(tmp_path / SECOND)
    assert ripening.ready(list_recordings(tmp_path), 0.0) == ripening.ready(list_recordings(tmp_path), PATIENCE * 10 - 1) == []
    assert [(source.name, whole) for source, whole in ripening.ready(list_recordings(tmp_path), PATIENCE * 10.0)] == [(FIRST, False), (SECOND, False)]


def test_an_object_of_a_store_is_whole_when_it_is_there():
    ripening, objects = Ripening(settle_s=10), [Source("a.wav", "s3://b/a.wav", 5, "etag")]
    assert ripening.ready(objects, 0.0) == [] and ripening.ready(objects, 10.0) == [(objects[0], True)] and ripening.ready(objects, 20.0) == []


# ------------------------------------------------------------------------------------------------------------ what is whole


def in_the_making(kind, data, how):
    """The bytes of a recording of which a recorder or a copy has written so much."""
    data = bytearray(data)
    if how == "header last":  # sizes come with the last write
        at = {"WAV": (4, 40), "RF64": (20, 28), "AIFF": (4,), "W64": (16,), "FLAC": (21,)}[kind]
        for place in at:
            size = 4 if kind in ("WAV", "AIFF", "FLAC") else 8
            data[place:place + size] = bytes([data[place] & 0xF0 if kind == "FLAC" else 0, *bytes(size - 1)])
    if how == "room reserved":
        data[len(data) // 2:] = bytes(len(data) - len(data) // 2)
        return data
    return data[:len(data) // 2] if how != "whole" else data


@pytest.mark.parametrize("how", ["a copy stalls", "header last", "room reserved", "whole"])
@pytest.mark.parametrize("kind", ["WAV", "RF64", "AIFF", "W64", "FLAC"])
def test_half_a_file_is_not_whole_whatever_its_kind(kind, how, tmp_path):
    path = tmp_path / "6872.220716000000.wav"
    soundfile.write(path, noise(4, 8000), 8000, format=kind, subtype="PCM_16")
    path.write_bytes(in_the_making(kind, path.read_bytes(), how))
    assert is_whole(path) == (how == "whole")


def test_the_size_that_a_header_tells(tmp_path):
    for kind in ("WAV", "RF64", "AIFF", "W64"):
        soundfile.write(tmp_path / kind, noise(1, 8000), 8000, format=kind, subtype="PCM_16")
        assert told_bytes(tmp_path / kind) == (tmp_path / kind).stat().st_size
    (tmp_path / "text").write_text("no sound", encoding="utf-8")
    assert told_bytes(tmp_path / "text") is None and not is_whole(tmp_path / "text") and not is_whole(tmp_path / "none")


def test_silence_and_a_header_that_is_off_by_a_few_bytes_are_whole(tmp_path):
    silent = write(tmp_path / FIRST, np.zeros(8000 * 4), 8000, "PCM_16")
    odd = write(tmp_path / SECOND, noise(4, 8000), 8000, "PCM_16")
    data = odd.read_bytes()
    odd.write_bytes(data[:4] + struct.pack("<I", len(data)) + data[8:])  # counts its own eight bytes
    assert is_whole(silent) and is_whole(odd)


# ------------------------------------------------------------------------------------------------------------ watching


@pytest.fixture
def quick(monkeypatch):
    """Looks often, and never loses patience."""
    monkeypatch.setattr(pipeline.watch, "LIST_S", 0.05)
    monkeypatch.setattr(pipeline.engine, "PAUSE_S", 0.02)
    monkeypatch.setattr(pipeline.ripening, "PATIENCE", 1e6)
    monkeypatch.setattr(pipeline.watch, "PASSED_S", 0.0)


def ctrl_c_now():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def watched(source, out, meanwhile, **kwargs):
    """The summary of a run that watches until `meanwhile(effort)` is done; `effort()`: recording -> status in the tables now."""
    raised = []

    def effort():
        return pd.read_parquet(out / "effort.parquet").set_index("recording")["status"].to_dict() if (out / "effort.parquet").exists() else {}

    def recorder():
        try:
            meanwhile(effort)
        except BaseException as error:
            raised.append(error)
        finally:
            ctrl_c_now()

    thread = threading.Thread(target=recorder)
    thread.start()
    try:
        return run_multi_file_pipeline(source, out, ToyModel(), watch=True, settle_s=0.3, progress=False, **{"workers": 1, **kwargs})
    finally:
        with suppress(KeyboardInterrupt):  # the run ended by itself
            thread.join()
        if raised:
            raise raised[0]


def wait_until(true, seconds=240):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def assert_as_if_undisturbed(source, out):
    """The tables are those of a run over what lies there at the end."""
    run_multi_file_pipeline(source, out.parent / "fresh", ToyModel(), progress=False, workers=1)
    for table in TABLES:
        pd.testing.assert_frame_equal(*(pd.read_parquet(x / f"{table}.parquet") for x in (out, out.parent / "fresh")), check_exact=True, obj=table)
    assert not list(out.rglob("*.tmp")) and not list(out.rglob("*.lock"))


@pytest.mark.usefixtures("ctrl_c", "quick")
def test_watching_a_folder_until_ctrl_c(tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (tmp_path / "before").mkdir()
    seen = []

    def recorder():
        try:
            write(tmp_path / "before" / FIRST, scene(20, 8000, 1), 8000, "PCM_16").rename(source / FIRST)
            with soundfile.SoundFile(source / SECOND, "w", 8000, 1, "PCM_16") as file:  # grows, while its header says less or more
                for block in np.split(scene(6, 8000, 2), 6):
                    file.write(block)
                    file.flush()
                    time.sleep(0.05)
            half_written(source / THIRD, 2, 6)
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and len(seen) < 2:
                time.sleep(0.05)
                if (out / "effort.parquet").exists():
                    seen[:] = pd.read_parquet(out / "effort.parquet")["recording"].tolist()  # joined while it goes on
        finally:
            ctrl_c_now()

    thread = threading.Thread(target=recorder)
    thread.start()
    summary = run_multi_file_pipeline(source, out, ToyModel(), watch=True, settle_s=0.3, progress=False, split_s=16)
    thread.join()
    said = capsys.readouterr().out
    assert summary["recording"].tolist() == [FIRST, SECOND] == seen and (summary["status"] == "ok").all()
    assert f"watching {source}" in said and said.count(f"{FIRST}: 20 s done") == 1 and "stopped; the tables are brought up to date" in said

    (source / THIRD).unlink()
    run_multi_file_pipeline(source, tmp_path / "fresh", ToyModel(), progress=False)
    for table in TABLES:
        pd.testing.assert_frame_equal(*(pd.read_parquet(x / f"{table}.parquet") for x in (out, tmp_path / "fresh")), obj=table)
    assert not list(out.rglob("*.tmp")) and not list(out.rglob("*.lock"))


@pytest.mark.usefixtures("ctrl_c", "quick")
@pytest.mark.parametrize("split_s", [None, 16])
def test_a_file_that_changes_while_it_is_worked_on_is_taken_up_again(split_s, tmp_path, monkeypatch, capsys):
    """Its time changes (a copy that sets it at the end), then its content (a recorder that starts anew): what was made of the earlier state is not kept."""
    source, out, seen = tmp_path / "in", tmp_path / "out", []
    path = write(source / FIRST, scene(40, 8000, 1), 8000, "PCM_16")
    function = "make_part" if split_s is None else "make_stretch"
    make = getattr(pipeline.parts, function)

    def disturbed(job, near, model):
        part = make(job, near, model)
        seen.append(job.source.changed)
        if len(seen) == 1:
            os.utime(path, ns=(1, 1_658_000_000_123_456_789))
        elif len(set(seen)) == 2 and len(seen) < 9:
            write(path, scene(22, 8000, 2), 8000, "PCM_16")
        return part

    monkeypatch.setattr(pipeline.parts, function, disturbed)
    summary = watched(source, out, lambda effort: wait_until(lambda: effort() == {FIRST: "ok"}), split_s=split_s)
    monkeypatch.undo()
    assert summary["duration_s"].tolist() == [22.0] and len(set(seen)) == 3
    assert "changed while it was worked on; it is taken up again" in capsys.readouterr().out
    assert_as_if_undisturbed(source, out)


@pytest.mark.usefixtures("ctrl_c", "quick")
def test_half_files_are_never_ok_and_tables_never_shrink_while_recorders_write_as_they_do(tmp_path):
    """Header first and header last, a FLAC whose copy stalls, a rename into place, a restart that writes the same name again, a name given up for another."""
    source, out, states = tmp_path / "in", tmp_path / "out", []
    source.mkdir()
    whole, other = (write(tmp_path / "x.wav", scene(6, 8000, seed), 8000, "PCM_16").read_bytes() for seed in (1, 3))
    soundfile.write(tmp_path / "x.flac", scene(6, 8000, 2), 8000, subtype="PCM_16")
    flac = (tmp_path / "x.flac").read_bytes()

    def note(effort):
        states.append(effort())
        return states[-1]

    def meanwhile(effort):
        (tmp_path / "y.wav").write_bytes(whole)
        os.rename(tmp_path / "y.wav", source / FIRST)
        with open(source / SECOND, "wb") as last, open(source / "6872.220716030000.flac", "wb") as stalls, open(source / THIRD, "wb") as first:
            for file, data in ((last, in_the_making("WAV", other, "header last")), (stalls, flac[:len(flac) // 2]), (first, whole[:len(whole) // 2])):
                file.write(data)
                file.flush()
            wait_until(lambda: FIRST in note(effort))
            until = time.monotonic() + 1.0
            while time.monotonic() < until:
                assert note(effort) == {FIRST: "ok"}  # three settle times
                time.sleep(0.05)
            for file, data in ((last, other), (stalls, flac), (first, whole)):
                file.seek(0)
                file.write(data)
        wait_until(lambda: len(note(effort)) == 4)
        (source / FIRST).write_bytes(whole[:len(whole) // 3])
        time.sleep(0.5)
        (source / FIRST).write_bytes(whole)
        os.rename(source / THIRD, source / "6872.220716050000.wav")
        wait_until(lambda: set(note(effort)) == {FIRST, SECOND, "6872.220716030000.flac", "6872.220716050000.wav"})

    summary = watched(source, out, meanwhile)
    assert (summary["duration_s"] == 6).all() and (summary["status"] == "ok").all()
    sizes = [len(state) for state in states]
    assert sizes == sorted(sizes) and {status for state in states for status in state.values()} <= {"ok", "gone"}
    assert_as_if_undisturbed(source, out)


@pytest.mark.usefixtures("ctrl_c", "quick")
def test_a_header_that_never_comes_true_is_partial_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline.ripening, "PATIENCE", 3)
    source, out = tmp_path / "in", tmp_path / "out"
    whole = write(tmp_path / "x.wav", noise(4, 8000), 8000, "PCM_16").read_bytes()
    source.mkdir()
    (source / FIRST).write_bytes(bytearray(whole[:4]) + bytes(4) + whole[8:])  # the sound's size is right, the file's was never written
    summary = watched(source, out, lambda effort: wait_until(lambda: FIRST in effort()))
    assert summary["status"].tolist() == ["partial"] and "was never finished" in summary["reason"][0] and summary["duration_s"].tolist() == [4.0]


@pytest.mark.usefixtures("ctrl_c", "quick")
def test_a_full_disk_and_a_part_that_is_taken_away_are_waited_for(tmp_path, monkeypatch, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    write(source / FIRST, scene(6, 8000, 1), 8000, "PCM_16")
    replace_, full, refused = os.replace, [True], []

    def disk(a, b):
        if full[0]:
            refused.append(b)
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace_(a, b)

    monkeypatch.setattr(os, "replace", disk)

    def meanwhile(effort):
        wait_until(lambda: len(refused) >= 3)
        assert effort() == {}
        full[0] = False
        wait_until(lambda: effort() == {FIRST: "ok"})
        full[0], before = True, len(refused)
        write(source / SECOND, scene(6, 8000, 2), 8000, "PCM_16")
        wait_until(lambda: len(refused) >= before + 3)
        full[0] = False
        wait_until(lambda: effort() == {FIRST: "ok", SECOND: "ok"})
        next((out / "parts").glob("*.zip")).unlink()
        write(source / THIRD, scene(6, 8000, 3), 8000, "PCM_16")
        wait_until(lambda: len(effort()) == 3)

    watched(source, out, meanwhile)
    said = capsys.readouterr().out
    assert "No space left on device" in said and "trying again" in said and said.count("trying again") <= 3
    assert_as_if_undisturbed(source, out)


@pytest.mark.usefixtures("ctrl_c", "quick")
@pytest.mark.parametrize("kind", [OutOfRoom, Crowded])  # while it is fetched, or before
def test_a_temporary_folder_without_room_is_waited_for_and_nothing_is_done_twice(kind, tmp_path, monkeypatch, capsys):
    """It is full when the watch begins, and again when two more come: that is said once each time. Ctrl-C ends it cleanly."""
    source, out, full, asked, done = tmp_path / "in", tmp_path / "out", [True], [], []
    write(source / FIRST, scene(6, 8000, 1), 8000, "PCM_16")
    bring, single = pipeline.parts.bring, pipeline.parts.run_pipeline_single_audio

    def brought(recording, *args, **kwargs):
        asked.append(recording.name)
        if full[0]:
            raise kind(f"/tmp: no room for {recording.where} (1 MB); free disk space{RUN_AGAIN}")
        return bring(recording, *args, **kwargs)

    monkeypatch.setattr(pipeline.parts, "bring", brought)
    monkeypatch.setattr(pipeline.parts, "run_pipeline_single_audio", lambda recording, *a, **k: done.append(recording.name) or single(recording, *a, **k))

    def meanwhile(effort):
        wait_until(lambda: len(asked) >= 3)
        assert effort() == {} and not done
        full[0] = False
        wait_until(lambda: effort() == {FIRST: "ok"})
        full[0] = True
        for k, name in enumerate((SECOND, THIRD)):
            write(source / name, scene(6, 8000, 2 + k), 8000, "PCM_16")
        wait_until(lambda: min(asked.count(SECOND), asked.count(THIRD)) >= 2)
        full[0] = False
        wait_until(lambda: len(effort()) == 3)
        full[0] = True
        write(source / FOURTH, scene(6, 8000, 4), 8000, "PCM_16")
        wait_until(lambda: FOURTH in asked)

    summary = watched(source, out, meanwhile)
    said = [line for line in capsys.readouterr().out.splitlines() if "no room" in line]
    assert summary["recording"].tolist() == sorted(done) == [FIRST, SECOND, THIRD] and (summary["status"] == "ok").all()
    assert len(said) <= 3 and all(line.endswith(" (1 MB); free disk space; trying again") for line in said)
    assert FIRST in said[0] and (SECOND in said[1] or THIRD in said[1])
    monkeypatch.undo()
    (source / FOURTH).unlink()
    assert_as_if_undisturbed(source, out)


@pytest.mark.usefixtures("ctrl_c", "quick")
def test_a_card_that_is_pulled_keeps_its_rows_and_is_taken_up_again(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    for k, name in enumerate((FIRST, SECOND)):
        write(source / name, scene(6, 8000, k), 8000, "PCM_16")

    def meanwhile(effort):
        wait_until(lambda: effort() == {FIRST: "ok", SECOND: "ok"})
        (source / FIRST).rename(tmp_path / "pulled.wav")
        wait_until(lambda: effort() == {FIRST: "gone", SECOND: "ok"})
        (tmp_path / "pulled.wav").rename(source / FIRST)
        write(source / THIRD, scene(6, 8000, 4), 8000, "PCM_16")
        wait_until(lambda: effort() == dict.fromkeys((FIRST, SECOND, THIRD), "ok"))

    watched(source, out, meanwhile)
    assert_as_if_undisturbed(source, out)


@pytest.mark.usefixtures("ctrl_c", "quick")
def test_a_watch_that_starts_again_has_all_rows_from_its_first_joining_on(tmp_path, monkeypatch):
    source, out, sizes = tmp_path / "in", tmp_path / "out", []
    for k, name in enumerate((FIRST, SECOND)):
        write(source / name, scene(6, 8000, k), 8000, "PCM_16")
    run_multi_file_pipeline(source, out, ToyModel(), progress=False, workers=1)
    ready = Ripening.ready

    def slowly(self, sources, now):  # the second is noticed late
        return [pair for pair in ready(self, sources, now) if pair[0].name != SECOND]

    monkeypatch.setattr(Ripening, "ready", slowly)
    joined = Archive.join
    monkeypatch.setattr(Archive, "join", lambda self, *a, **k: sizes.append(len(summary := joined(self, *a, **k))) or summary)
    watched(source, out, lambda effort: wait_until(lambda: sizes))
    assert set(sizes) == {2}


@pytest.mark.usefixtures("quick")
def test_tables_are_up_to_date_where_the_workers_are_lost(tmp_path, monkeypatch):
    source, out = tmp_path / "in", tmp_path / "out"
    for k, name in enumerate((FIRST, SECOND)):
        write(source / name, scene(6, 8000, k), 8000, "PCM_16")
    monkeypatch.setattr(Watch, "_join", lambda self: None)  # not in between

    class Lost(pipeline.multi.ThisProcess):
        def parts(self, jobs):
            yield from (part for _, part in zip(range(2), filter(None, super().parts(jobs))))
            raise NoWorkers("the scheduler was lost")

    monkeypatch.setattr(pipeline.multi, "ThisProcess", Lost)
    with pytest.raises(NoWorkers):
        run_multi_file_pipeline(source, out, ToyModel(), watch=True, settle_s=0.2, progress=False, workers=1)
    assert pd.read_parquet(out / "effort.parquet")["status"].tolist() == ["ok", "ok"]


def test_a_place_that_cannot_be_reached_is_tried_again_and_said_now_and_then(monkeypatch, capsys):
    def refuse(where):
        raise OSError(f"{where}: cannot be listed")

    monkeypatch.setattr(pipeline.watch, "list_recordings", refuse)
    watching, clock = Watch("s3://b", None, None), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    for clock[0] in range(0, 1300, 5):
        assert watching._list() == []
    assert capsys.readouterr().out.count("s3://b: cannot be listed; trying again") == 3


def test_a_folder_to_watch_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        run_multi_file_pipeline(tmp_path / "none", tmp_path / "out", ToyModel(), watch=True)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_ends_a_watch_also_where_its_exception_is_lost(tmp_path, capsys):
    asked = []

    class Destroyed:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    def done(*_):
        Destroyed()
        for k in range(3):
            asked.append(k)
            yield None, None

    assert Watch(tmp_path, None, None).run(done) == [] and asked == [0]
    assert "stopped" in capsys.readouterr().out and signal.getsignal(signal.SIGINT) is signal.default_int_handler
