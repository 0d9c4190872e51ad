"""Windows and the trace: every moment once, whatever the pieces; and the model sees in use what it saw in training."""
import numpy as np
import pandas as pd
import pytest
import torch

from pipeline import run_pipeline_single_audio
from preprocessing.dataset import build_dataset
from spectrogram.background import contrast_db
from spectrogram.generator import SpectrogramGenerator
from spectrogram.picture import normalise
from spectrogram.profile import load_profile
from spectrogram.windows import TraceJoiner, WindowCutter, WindowPeaks, joined_peaks
from tests.toy_model import SpyModel
from tests.toy_sound import NAME, noise, scene, write
from training.evaluate import predict_rows
from training.model import MultiOutputResNet
from training.saved import load_model, save_model

PROFILE = load_profile("beluga")
SIZE, STEP, BANDS = PROFILE.window_frames, PROFILE.step_frames, PROFILE.n_bands
POSITIONS = 24


def numbered(n_frames: int) -> np.ndarray:
    """A picture whose cells hold the number of their frame."""
    return np.repeat(np.arange(n_frames, dtype=np.float32)[:, None], BANDS, axis=1)


def cut(picture: np.ndarray, sizes) -> np.ndarray:
    """All windows of a picture that comes in pieces of these sizes, over and over."""
    cutter, parts, at, k = WindowCutter(PROFILE), [], 0, 0
    while True:
        piece = picture[at:at + sizes[k % len(sizes)]]
        at, k = at + len(piece), k + 1
        parts.append(np.array(cutter.push(piece, final=at >= len(picture))))
        if at >= len(picture):
            return np.concatenate(parts)


@pytest.mark.parametrize("n_frames, windows", [
    (0, 0),              # a recording shorter than a frame
    (1, 1), (100, 1),    # shorter than a window: one, the rest not recorded
    (192, 1),            # exactly one
    (193, 2), (240, 2),  # 1.25 windows
    (288, 2), (289, 3),
    (1920, 19), (1921, 20),
])
def test_windows_hold_every_frame_in_its_place(n_frames, windows):
    picture = numbered(n_frames)
    found = cut(picture, [max(n_frames, 1)])
    assert found.shape == (windows, SIZE, BANDS)
    for k, window in enumerate(found):
        there = max(0, min(SIZE, n_frames - k * STEP))
        np.testing.assert_array_equal(window[:there, 0], np.arange(k * STEP, k * STEP + there))
        assert np.isnan(window[there:]).all()
    assert n_frames == 0 or (windows - 1) * STEP + SIZE >= n_frames  # the last frame too


@pytest.mark.parametrize("sizes", [[1], [3, 500, 7], [96], [192], [3072], [191, 1, 193], [5000]])
@pytest.mark.parametrize("n_frames", [50, 192, 240, 3072 + 17, 3072 * 2])
def test_pieces_of_any_size_give_the_same_windows(sizes, n_frames):
    picture = numbered(n_frames)
    np.testing.assert_array_equal(cut(picture, sizes), cut(picture, [n_frames]))


def positions_of(windows: int) -> np.ndarray:
    """Each position answers with the position in time it stands for."""
    share = POSITIONS * STEP // SIZE
    times = np.arange(windows)[:, None] * share + np.arange(POSITIONS)
    return np.repeat(times[:, None, :], len(PROFILE.labels), axis=1).astype(np.float32)


@pytest.mark.parametrize("windows", [1, 2, 3, 40])
@pytest.mark.parametrize("pieces", [1, 2, 7, 100])
def test_every_moment_is_answered_exactly_once(windows, pieces):
    joiner, parts = TraceJoiner(PROFILE), []
    groups = np.array_split(positions_of(windows), pieces)  # some of them empty
    for k, group in enumerate(groups):
        parts.append(joiner.push(group, final=k == len(groups) - 1))
    trace = np.concatenate(parts)
    np.testing.assert_array_equal(trace[:, 0], np.arange((windows + 1) * POSITIONS // 2))


def test_the_middle_of_a_window_answers():
    which = np.repeat(np.arange(5, dtype=np.float32)[:, None, None], POSITIONS, axis=2)  # a window answers with its own number
    trace = TraceJoiner(PROFILE).push(np.repeat(which, len(PROFILE.labels), axis=1), final=True)[:, 0]
    expected = [0] * 18 + [1] * 12 + [2] * 12 + [3] * 12 + [4] * 18  # the first and the last also their outer quarters
    assert trace.tolist() == expected


@pytest.mark.parametrize("windows", [1, 2, 3, 40])
@pytest.mark.parametrize("pieces", [1, 2, 7, 100])
def test_a_window_takes_the_highest_of_the_trace_within_it_however_it_came(windows, pieces):
    answers = np.random.default_rng(windows).random((windows, len(PROFILE.labels), POSITIONS)).astype(np.float32)
    trace = TraceJoiner(PROFILE).push(answers, final=True)
    expected = [trace[k * POSITIONS // 2:k * POSITIONS // 2 + POSITIONS].max(axis=0) for k in range(windows)]
    np.testing.assert_array_equal(joined_peaks(answers, PROFILE), expected)
    joiner, peaks, parts = TraceJoiner(PROFILE), WindowPeaks(PROFILE), []
    groups = np.array_split(answers, pieces)
    for k, group in enumerate(groups):
        parts.append(peaks.push(joiner.push(group, final=k == len(groups) - 1), POSITIONS))
    np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_no_window_no_trace():
    joiner = TraceJoiner(PROFILE)
    assert joiner.push(np.empty((0, len(PROFILE.labels), POSITIONS), np.float32), final=True).shape == (0, len(PROFILE.labels))


@pytest.mark.parametrize("rate, seconds", [(192000, 18.25), (44100, 5.0), (8000, 1.25), (48000, 0.4)])
def test_what_the_model_sees_in_use_is_what_it_saw_in_training_bit_for_bit(rate, seconds, tmp_path):
    path = write(tmp_path / NAME, scene(seconds, rate) if seconds > 4 else noise(seconds, rate), rate, "PCM_16")
    spy = SpyModel()
    windows = run_pipeline_single_audio(path, spy, workers=1, block_s=3.1).windows
    seen, inputs = np.concatenate(spy.seen), np.concatenate(spy.inputs)
    assert len(seen) == len(windows) == max(1, -(-int(seconds * 192 - SIZE) // STEP) + 1)
    if seconds >= 1:
        recordings = pd.DataFrame([{"recording": NAME, "path": str(path), "split": "train"}])
        truth = pd.DataFrame({"recording": [], "label": [], "start_s": [], "end_s": [], "snr_db": [], "audible": []})
        data = build_dataset(recordings, truth, tmp_path / "set", PROFILE)
        stored = data.windows(data.manifest)
        assert len(stored) >= len(seen) - 1  # training leaves out a last window that is not whole
        np.testing.assert_array_equal(seen[:len(stored)].view(np.uint32), stored.view(np.uint32))
        for k, window in enumerate(stored):  # one by one, as the training room takes them
            np.testing.assert_array_equal(inputs[k].view(np.uint32), normalise(window, PROFILE).view(np.uint32))
    else:
        np.testing.assert_array_equal(seen[0, :int(seconds * 192)], contrast_db(SpectrogramGenerator(PROFILE).picture(path), PROFILE)[:int(seconds * 192)])


def test_windows_judged_by_the_trace_are_the_same_in_training_and_in_use(tmp_path):
    path = write(tmp_path / NAME, scene(17.75, 192_000), 192_000, "PCM_16")
    calibration = {x: {"slope": 1.5, "intercept": 0.5, "position_slope": 0.7, "position_intercept": 1.0} for x in PROFILE.labels}
    torch.manual_seed(0)
    net = MultiOutputResNet(PROFILE.heads, PROFILE.n_bands, crest=PROFILE.crest_columns, width=4)
    save_model(tmp_path / "m", net, PROFILE, {x: {"window": 0.5, "on": 0.5, "off": 0.25} for x in PROFILE.labels}, calibration, by_trace=True)
    model = load_model(tmp_path / "m")
    used = run_pipeline_single_audio(path, model, block_s=3.1).windows
    recordings = pd.DataFrame([{"recording": NAME, "path": str(path), "split": "train"}])
    truth = pd.DataFrame({"recording": [], "label": [], "start_s": [], "end_s": [], "snr_db": [], "audible": []})
    data = build_dataset(recordings, truth, tmp_path / "set", PROFILE)
    judged = predict_rows(model, data, data.manifest)
    assert len(used) == len(judged) + 1  # training leaves out a last window that is not whole; it is a neighbour of the one before
    own = model.predict(data.windows(data.manifest))[0]
    for k, label in enumerate(PROFILE.labels):
        np.testing.assert_allclose(used[f"p_{label}"][:len(judged) - 1], judged[f"prob_{label}"][:-1], atol=1e-4)
        assert (judged[f"prob_{label}"] != own[:, k]).mean() > 0.3  # the neighbours had a say
