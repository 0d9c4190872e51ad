"""Bad input, one recording: one clear line with the file, the fault and the mend; what can be used of it is used."""
import errno
import os
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from pipeline import run_pipeline_single_audio
from pipeline.tables import TABLES, write_parquet, write_text
from spectrogram.recording import BadRecording
from tests.toy_faults import RATE, UNUSABLE, USABLE, silence
from tests.toy_model import ToyModel
from tests.toy_sound import NAME, noise, scene, write

pytestmark = pytest.mark.filterwarnings("error")


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


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
    assert np.isfinite(numbers).all() == (how is not silence)  # 48 kHz shows all but these three


def test_a_silent_recording_was_not_listened_to_and_has_no_levels(tmp_path):
    silence(tmp_path / NAME)
    result = run_pipeline_single_audio(tmp_path / NAME, ToyModel())
    assert result.effort["listened_s"][0] == 0 and result.effort["duration_s"][0] > 0
    assert result.levels.filter(regex="BB_|TOL_|PSD_").isna().to_numpy().all()
    assert result.windows["level_low_db"].isna().all() and result.windows.filter(regex="^p_").isna().to_numpy().all()


@pytest.mark.parametrize("seconds", [0.3, 2.5, 5.003, 16.2])
def test_a_recording_at_full_scale_is_done_wherever_in_a_second_it_ends(seconds, tmp_path):
    x = 3 * np.sin(np.arange(round(seconds * RATE)) / 3)
    effort = run_pipeline_single_audio(write(tmp_path / NAME, x, RATE, "PCM_16"), ToyModel()).effort
    assert effort["status"][0] == "ok" and "clipping" in effort["reason"][0]


@pytest.mark.parametrize("samples", [1, 100, 249, 250, 251, 5000, 48000])
def test_recordings_of_a_few_samples_have_all_tables(samples, tmp_path):
    x = noise(1, RATE)[:samples]
    result = run_pipeline_single_audio(write(tmp_path / NAME, x, RATE), ToyModel())
    assert not len(result.events) and len(result.windows) == (samples >= 250)  # a frame is 250 samples
    assert result.effort["duration_s"][0] == samples / RATE and len(result.levels) == (samples >= 250)
    result.save(tmp_path / "out", csv=True)
    assert len(list((tmp_path / "out").iterdir())) == 2 * len(TABLES) + 1


def test_a_missing_channel(tmp_path):
    write(tmp_path / NAME, noise(2, RATE), RATE)
    with pytest.raises(BadRecording, match="has no channel 2; it has channel 0"):
        run_pipeline_single_audio(tmp_path / NAME, ToyModel(), channel=2)


@pytest.mark.parametrize("name, start", [("6872.221316021453.wav", None), ("6872.220716256161.wav", None), ("hydrophone one.wav", None),
                                         ("6872.220716021453.wav", "2022-07-16 02:14:53")])
def test_a_wrong_or_missing_time_leaves_times_unknown(name, start, tmp_path):
    result = run_pipeline_single_audio(write(tmp_path / name, scene(6, RATE), RATE), ToyModel())
    assert len(result.events) and len(result.windows) and len(result.levels)
    for table in (result.events["start_utc"], result.events["end_utc"], result.windows["start_utc"], result.levels["UTC"], result.effort["start_utc"]):
        assert str(table.dtype) == "datetime64[us, UTC]" and table.isna().all() == (start is None)
    assert ("no start time in the file name" in result.effort["reason"][0]) == (start is None)


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_opened(tmp_path):
    path = write(tmp_path / NAME, noise(2, 8000), 8000)
    path.chmod(0)
    with pytest.raises(BadRecording, match="cannot be read .Permission denied"):
        run_pipeline_single_audio(path, ToyModel())


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


def test_a_recording_clipped_in_a_last_stub_of_a_second_has_its_tables(tmp_path):
    path = write(tmp_path / NAME, np.ones(48_000 * 5 + 20, np.float32), 48_000, "PCM_16")
    result = run_pipeline_single_audio(path, ToyModel())
    assert len(result.windows) and "clipping" in result.effort["reason"][0]
