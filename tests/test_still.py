"""What was not listened to: still samples are found exactly, however the sound is cut, and leave no
level and no presence."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline import run_multi_file_pipeline, run_pipeline_single_audio
from pipeline.presence import presence
from preprocessing.quality import quality
from spectrogram.dropouts import Dropouts
from spectrogram.generator import SpectrogramGenerator
from spectrogram.recording import Recording
from spectrogram.still import Still, as_text, from_text, merged
from tests.toy_model import ToyModel
from tests.toy_sound import NAME, noise, write

RATE = 8000
ROW = r"^(BB|TOL|PSD)_"


def by_hand(x, least):
    """Runs of equal samples of at least so many, sample by sample."""
    edges = np.concatenate([[0], np.flatnonzero(x[1:] != x[:-1]) + 1, [len(x)]])
    return [(a, b, float(x[a])) for a, b in zip(edges, edges[1:]) if b - a >= least]


def runs_of(still):
    return [tuple(run) for run in still.runs]


def in_pieces(counter, x, cuts):
    """A counter that heard sound piece by piece, and one that was joined from those that heard a piece each."""
    whole, joined = counter(1000), counter(1000)
    for first, last in zip(cuts, cuts[1:]):
        whole.add(x[first:last])
        part = counter(1000, int(first))
        part.add(x[first:last])
        joined.append(json.loads(json.dumps(part.state)))
    return whole, joined


@pytest.mark.parametrize("kind", ["int16", "float32"])
def test_runs_are_those_found_by_hand_in_any_blocks_and_in_stretches_that_are_joined(kind):
    rng = np.random.default_rng(1)
    for _ in range(60):
        n = int(rng.integers(1, 5000))
        x = (rng.integers(-2, 3, n) if kind == "int16" else rng.normal(size=n)).astype(kind)
        for start in rng.integers(0, n, 4):
            x[start : start + int(rng.integers(1, 900))] = rng.integers(-1, 2)
        cuts = np.unique([0, n, *rng.integers(0, n + 1, 5)])
        whole, joined = in_pieces(Still, x, cuts)
        assert runs_of(whole) == runs_of(joined) == by_hand(x, whole.least)


@pytest.mark.parametrize("kind", ["int16", "float32"])
def test_short_dropouts_are_those_found_by_hand_in_any_blocks_and_in_stretches_that_are_joined(kind):
    rng = np.random.default_rng(2)
    for _ in range(60):
        n, steps = int(rng.integers(200, 6000)), 1 if kind == "int16" else 1e-3
        x = (rng.normal(0, 100, n).round() * steps).astype(kind)
        x[0] = 50 * steps
        for start in rng.integers(1, n, 5):
            x[start : start + int(rng.integers(1, 150))] = 0
        cuts = np.unique([0, n, *rng.integers(0, n + 1, 6)])
        whole, joined = in_pieces(Dropouts, x, cuts)
        some = np.abs(x[:: whole.least])[x[:: whole.least] != 0]
        step = steps if kind == "int16" else some.min()
        jump = [(a, b, max(abs(x[a - 1]), abs(x[b]) if b < n else 0)) for a, b, v in by_hand(x, 16) if v == 0 and b - a < whole.long]
        sharp = [[a, b] for a, b, size in jump if size >= 0.05 * some.mean() and size >= 4 * step]
        assert whole.runs.tolist() == joined.runs.tolist() == sharp


@pytest.mark.parametrize("rate_hz", [8000, 96000])
def test_zeros_of_quiet_smooth_or_gated_sound_are_no_dropouts(rate_hz):
    rng, n = np.random.default_rng(3), 20 * rate_hz
    t = np.arange(n) / rate_hz
    quiet = [rng.normal(0, rms, n).round() for rms in (0.2, 0.5, 1.0, 2.0)]
    smooth = [(size * np.sin(2 * np.pi * 20 * t) + rng.normal(0, 0.2, n)).round() for size in (2, 20, 200)]
    snaps = rng.normal(0, 0.15, n).round() + 60 * (rng.random(n) < 1e-3)
    for x in (*quiet, *smooth, snaps, np.zeros(n)):
        for scale in (1, 16):  # a converter of 12 bits in 16
            dropouts = Dropouts(rate_hz)
            dropouts.add((scale * x).astype("int16"))
            assert not len(dropouts.runs)


@pytest.mark.parametrize("split_s", [None, 16])
def test_short_dropouts_are_counted_in_the_reason_and_not_in_the_time_listened_to(tmp_path, split_s):
    """Twenty of 50 ms, one of 2 ms, and two seconds muted, which were known before."""
    x = noise(50, RATE)
    whole = write(tmp_path / "whole" / NAME, x, RATE)
    for start_s in [*(2 * k + 0.5 for k in range(20)), 45.0]:
        x[round(start_s * RATE) : round((start_s + (0.05 if start_s < 45 else 0.002)) * RATE)] = 0
    x[47 * RATE : 49 * RATE] = 0
    write(tmp_path / "in" / NAME, x, RATE)
    more = {} if split_s is None else {"split_s": split_s}
    run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), progress=False, workers=1, **more)
    effort = pd.read_parquet(tmp_path / "out" / "effort.parquet").iloc[0]
    assert "21 dropouts of less than 0.1 s, 1 s of zeros in all, the first at 0.500 s" in effort["reason"] and effort["status"] == "ok"
    assert effort["listened_s"] == pytest.approx(50 - 2 - 20 * 0.05 - 0.002, abs=2e-3) and effort["unlistened"] == "47-49"
    plain = run_pipeline_single_audio(whole, ToyModel())
    assert "dropouts" not in plain.effort["reason"][0] and plain.effort["listened_s"][0] == 50


def test_stretches_are_joined_clipped_and_kept_as_text():
    spans = merged([(5.0, 7.0, "a"), (-1.0, 2.0, "b"), (6.5, 99.0, "c"), (3.0, 3.0, "d")], 60.0)
    assert spans.tolist() == [[0.0, 2.0], [5.0, 60.0]]
    assert merged(spans_of(spans), 60.0, apart_s=3.0).tolist() == [[0.0, 60.0]]
    assert as_text(spans) == "0-2; 5-60" and from_text(as_text(spans)).tolist() == spans.tolist()
    assert as_text(np.empty((0, 2))) == "" and from_text("").shape == (0, 2)


def spans_of(spans):
    return [(start, end, "") for start, end in spans]


def recording_with(tmp_path, *silences, seconds=20, subtype="PCM_16"):
    x = noise(seconds, RATE)
    for start_s, end_s in silences:
        x[round(start_s * RATE) : round(end_s * RATE)] = 0
    return write(tmp_path / NAME, x, RATE, subtype)


def test_levels_are_those_of_the_seconds_that_were_listened_to(tmp_path):
    generator = SpectrogramGenerator("beluga")
    sound = generator.levels(recording_with(tmp_path), row_s=1)
    broken = Recording(recording_with(tmp_path, (5.0, 9.25), (15.5, 15.7)))
    levels = generator.levels(broken, row_s=1)
    silent = levels.filter(regex=ROW).isna().all(axis=1)
    touched = [4, 5, 6, 7, 8, 9, 15, 16]  # the low bands' windows reach a third of a second further
    assert (
        levels.index[silent].tolist() == touched and (levels.loc[silent, "duration_s"] == 0).all()
    )
    pd.testing.assert_frame_equal(levels[~silent], sound[~silent])
    minute = generator.levels(broken, row_s=20)
    assert minute["duration_s"].tolist() == [20.0 - len(touched)]
    assert minute["TOL_1000"][0] == pytest.approx(
        generator.levels(recording_with(tmp_path), row_s=20)["TOL_1000"][0], abs=0.2
    )


def test_a_muted_stretch_has_no_levels_no_answers_and_no_presence_and_is_said(tmp_path):
    path = recording_with(tmp_path, (60, 240), seconds=300)
    result = run_pipeline_single_audio(path, ToyModel())
    effort = result.effort.iloc[0]
    assert effort[["duration_s", "listened_s", "unlistened", "status"]].tolist() == [
        300.0,
        120.0,
        "60-240",
        "ok",
    ]
    assert "not listened to: 180 s of zeros between 60.0 s and 240.0 s" in effort["reason"]
    assert result.levels.filter(regex=ROW).isna().all(axis=1).tolist() == [
        False,
        True,
        True,
        True,
        False,
    ]
    inside = result.windows["start_s"].between(60, 239)
    assert (
        result.windows.loc[inside, "p_Whistle"].isna().all()
        and result.windows.loc[inside, "level_low_db"].isna().all()
    )
    assert (
        result.windows.loc[~result.windows["start_s"].between(59, 240), "level_low_db"]
        .notna()
        .all()
    )
    minutes = presence(result.events, result.effort, "minute", labels=["Whistle"])
    assert np.isnan(minutes["presence"]).tolist() == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]  # it begins at 53 s of a minute
    np.testing.assert_allclose(minutes["listened_s"], [7, 53, 0, 0, 7, 53], atol=1e-3)


def test_what_the_header_tells_counts_like_what_the_samples_tell(tmp_path):
    recording = Recording(recording_with(tmp_path, (2, 3)))
    recording.unlistened = [
        (10.0, 12.0, "gap told by the log"),
        (11.5, 30.0, "gap told by the log"),
    ]
    result = run_pipeline_single_audio(recording, ToyModel())
    assert result.effort["unlistened"][0] == "2-3; 10-20" and result.effort["listened_s"][0] == 9.0
    assert "not listened to: 10 s (gap told by the log)" in result.effort["reason"][0]
    again = run_pipeline_single_audio(recording, ToyModel())  # once more, and nothing twice
    pd.testing.assert_frame_equal(again.effort, result.effort)


def test_sound_that_is_only_faint_was_listened_to(tmp_path):
    steps = np.round(
        np.random.default_rng(0).normal(0, 0.4, 20 * RATE)
    )  # of a 16-bit converter: most samples are 0
    recording = Recording(write(tmp_path / NAME, steps / 32768, RATE, "PCM_16"))
    for _ in recording.blocks():
        pass
    assert (steps == 0).mean() > 0.7 and recording.unlistened == [] and recording.faults == []


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_quality_and_effort_find_the_same_stretches(tmp_path, subtype):
    planted = [(3.0, 3.5), (7.9, 8.3), (12.0, 13.0)]
    recording = Recording(recording_with(tmp_path, *planted, subtype=subtype))
    row = quality(recording)
    np.testing.assert_allclose(row["dropouts_at_s"], planted, atol=2 / RATE)
    np.testing.assert_allclose(
        [stretch[:2] for stretch in recording.unlistened], row["dropouts_at_s"], atol=1e-4
    )
