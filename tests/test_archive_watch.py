"""A live folder: files are taken up when they are finished, once, and Ctrl-C ends it cleanly."""
import signal
import threading
import time

import numpy as np
import pandas as pd
import pytest
import soundfile

import pipeline.multi
from pipeline import run_multi_file_pipeline
from pipeline.sources import Source, list_recordings
from pipeline.tables import TABLES
from pipeline.watch import PATIENCE, Ripening, is_whole
from tests.toy_model import ToyModel
from tests.toy_sound import scene, write

FIRST, SECOND, THIRD = (f"6872.2207160{k}0000.wav" for k in range(3))


def half_written(path, seconds, of_s):
    """A recording in the making: the header is written first, for all of it."""
    write(path, scene(of_s, 8000), 8000, "PCM_16")
    path.write_bytes(path.read_bytes()[:44 + seconds * 8000 * 2])


def test_a_file_is_finished_when_it_has_rested_and_its_header_comes_true(tmp_path):
    ripening, clock = Ripening(settle_s=10), [100.0]

    def ready(after_s):
        clock[0] += after_s
        return [source.name for source in ripening.ready(list_recordings(tmp_path), clock[0])]

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
    assert len(ripening.ready(list_recordings(tmp_path), PATIENCE * 10.0)) == 2


def test_an_object_of_a_store_is_whole_when_it_is_there():
    ripening, objects = Ripening(settle_s=10), [Source("a.wav", "s3://b/a.wav", 5, "etag")]
    assert ripening.ready(objects, 0.0) == [] and ripening.ready(objects, 10.0) == objects and ripening.ready(objects, 20.0) == []


@pytest.mark.usefixtures("ctrl_c")
def test_watching_a_folder_until_ctrl_c(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pipeline.multi, "LIST_S", 0.05)
    monkeypatch.setattr(pipeline.engine, "PAUSE_S", 0.02)
    monkeypatch.setattr(pipeline.watch, "PATIENCE", 1e6)
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
            signal.raise_signal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else signal.pthread_kill(
                threading.main_thread().ident, signal.SIGINT)

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


def test_a_place_that_cannot_be_reached_is_tried_again(monkeypatch, capsys):
    def refuse(where):
        raise OSError(f"{where}: cannot be listed")

    monkeypatch.setattr(pipeline.multi, "list_recordings", refuse)
    assert pipeline.multi._listed("s3://b") == [] and "s3://b: cannot be listed; trying again" in capsys.readouterr().out


def test_a_folder_to_watch_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        run_multi_file_pipeline(tmp_path / "none", tmp_path / "out", ToyModel(), watch=True)
