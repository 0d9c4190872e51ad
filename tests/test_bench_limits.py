"""The bench of the limits makes what it says, and the soak sees what is wrong with tables."""

import random
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile

from bench.archive import measure
from bench.limits import CASES, WAYS, make, spoil
from bench.recorder import RATE_HZ, Recorder
from bench.soak import Looker
from pipeline import run_multi_file_pipeline
from pipeline.ripening import is_whole
from tests.toy_model import ToyModel
from tests.toy_sound import noise, write


def test_cases_are_written_in_their_sizes_and_the_full_ones_are_ten_times_as_large(tmp_path):
    sound = np.arange(-500, 500, dtype=np.int16)
    folder = make(tmp_path / "in", sound, 3, 2, 4, 8000)
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == [
        f"6872.22071600{minute:02d}00.wav" for minute in range(3)
    ]
    for path in files:
        data, rate_hz = soundfile.read(path, dtype="int16")
        assert data.shape == (16000, 4) and rate_hz == 8000 and (data == data[:, :1]).all()
    for _, quick, full in CASES.values():
        assert full[0] * full[1] >= 10 * quick[0] * quick[1] and full[2:] == quick[2:]
    assert {full[0] for _, _, full in CASES.values()} >= {5000} and {
        full[1] for _, _, full in CASES.values()
    } >= {12 * 3600}


def test_bad_input_is_spoilt_in_every_way_and_has_the_status_that_its_folder_tells(tmp_path):
    sound = (noise(1, 8000) * 3000).astype(np.int16)
    folder = make(tmp_path / "in", sound, 2 * len(WAYS), 2, 1, 8000)
    spoil(folder)
    summary = run_multi_file_pipeline(
        folder, tmp_path / "out", ToyModel(), workers=1, progress=False
    )
    statuses = [
        (name.rpartition("/")[0] or "ok", status)
        for name, status in zip(summary["recording"], summary["status"])
    ]
    assert len(statuses) == 2 * len(WAYS) and all(told == status for told, status in statuses)
    assert Counter(status for _, status in statuses) == Counter(WAYS.values()) + Counter(
        ok=len(WAYS)
    )


@pytest.mark.parametrize(
    "action",
    [action for action in Recorder.ACTIONS if action not in ("no sound", "empty", "again")],
)
def test_whatever_a_recorder_does_leaves_whole_recordings_of_known_length(
    action, tmp_path, monkeypatch
):
    monkeypatch.setattr("bench.recorder.STALL_S", 0.02)
    (tmp_path / "in").mkdir()
    recorder = Recorder(tmp_path / "in", 3)
    for _ in range(3):
        recorder._do("at once")
    recorder._do(action)
    assert recorder.errors == [] and recorder.counts[action] >= 1 and not recorder.busy
    there = {recorder.name(path): path for path in (tmp_path / "in").rglob("*") if path.is_file()}
    assert len(there) == {"at once": 4, "deleted": 2, "moved": 3, "clock jumps": 3}.get(action, 4)
    for name, path in there.items():
        assert is_whole(path) and soundfile.info(path).frames / RATE_HZ in recorder.lengths[name]


def test_the_soak_sees_lost_doubled_and_half_recordings(tmp_path):
    recorder = SimpleNamespace(
        moved={"moved.wav"}, lengths={name: {6.0} for name in ("a.wav", "b.wav", "moved.wav")}
    )
    looker = Looker(tmp_path, recorder)

    def look(*rows):
        pd.DataFrame(rows, columns=["recording", "status", "duration_s"]).to_parquet(
            tmp_path / "effort.parquet"
        )
        looker.changed = random.random()
        looker.look()
        wrong, looker.wrong = looker.wrong, []
        return wrong

    ok = [(name, "ok", 6.0) for name in ("a.wav", "b.wav", "moved.wav")]
    assert look(*ok) == look(*ok[:2]) == []
    assert look(ok[0]) == ["lost b.wav"]
    assert look(*ok[:2], ok[1]) == ["doubled b.wav"]
    assert (
        look(ok[0], ("b.wav", "ok", 3.0)) == ["half a file is ok: b.wav 3.0"]
        and look(ok[0], ("b.wav", "partial", 3.0)) == []
    )


def test_an_archive_is_timed_by_a_worker_that_lets_nobody_else_in(tmp_path):
    path = write(tmp_path / "6872.220716021453.wav", noise(8, 48_000), 48_000)
    told = measure(path, 1, 1)
    assert told["sound_s"] == 8 and 0 < told["seconds"][0] and 0 < told["peak_mb"] < 1200
