"""The peer's recipe: the network's shape, its pictures, and its way through a file."""
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from tests.test_training_fit import Planted
from training.checkpoints import BadCheckpoint
from training.peer_recipe import PeerNet, PeerWindows, level_statistics, make_peer_pictures, min_max, reference_process, train_peer


@pytest.fixture(scope="module")
def noise_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("peer") / "6872.220716021453.wav"
    soundfile.write(path, 0.01 * np.random.default_rng(0).standard_normal(9 * 192_000), 192_000, subtype="PCM_16")
    return path


def test_the_network_is_the_peers():
    net = PeerNet(4)
    weights = sum(p.numel() for p in net.parameters())
    assert 4 * weights == pytest.approx(866_000, rel=0.15)  # float32 bytes of the peer's "8 blocks float"
    assert net.head[0].in_features == 48 and net.eval()(torch.zeros(2, 1, 244, 244))[0].shape == (2, 4)


def test_min_max_of_a_constant_is_zero():
    assert min_max(np.full((3, 4), 7.0)).tolist() == np.zeros((3, 4)).tolist()
    assert min_max(np.array([1.0, 3.0])).tolist() == [0, 1]


def test_reference_process_answers_every_second_after_the_first_four(noise_file):
    table = reference_process(noise_file)
    assert table["seconds_since_file_start"].tolist() == [4, 5, 6, 7, 8]
    assert not table[["ECHO", "HFPC", "BBPC", "Whistle"]].any(axis=None) and len(table.columns) == 34
    # white noise at an amplitude of 0.01 with a sensitivity of -170 dB is 10 log10(1e-4 / 96000) + 170 = 80.2 dB re 1 uPa^2/Hz; the peer's error comes on top
    assert table["db_window_hf_range_mean"].between(80.2 + 30, 80.2 + 45).all()


def test_noise_against_itself_has_no_signal():
    rng = np.random.default_rng(0)
    row = level_statistics(rng.normal(80, 3, (20, 187)), rng.normal(80, 3, (20, 935)), "w")
    assert row["snr_w_range_signal_present"] is False and row["snr_w_range_signal_active_time"] < 0.05


def test_pictures_are_made_once_and_read_as_windows(noise_file, tmp_path):
    folder = make_peer_pictures(pd.DataFrame({"recording": ["d/a.wav"], "path": [str(noise_file)]}), tmp_path)
    picture = np.load(folder / "d__a.wav.npy")
    assert picture.shape == (64, 1 + 9 * 192_000 // 1024)
    rows = pd.DataFrame({"picture": "d__a.wav.npy", "start_s": [0.0, 0.5, 8.0], "target_ECHO": [0.0, 1.0, np.nan]})
    x, target = PeerWindows(rows, folder, ("ECHO",)).__getitems__([0, 1, 2])
    assert x.shape == (3, 1, 244, 244) and 0 <= x.min() and x.max() <= 1 and target.shape == (3, 1)


def test_training_that_was_cut_off_ends_as_an_uninterrupted_one(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", rng.normal(60, 5, (64, 8 * 188)).astype(np.float32))
    rows = pd.DataFrame({"picture": "a.npy", "start_s": np.arange(6.0), "split": ["train"] * 4 + ["validation"] * 2, "target_ECHO": [0.0, 1.0, 0.0, 1.0, 0.0, 1.0],
                         "recording": "a"})
    whole, history = train_peer(rows, tmp_path, ("ECHO",), epochs=2, batch_size=2)
    train_peer(rows, tmp_path, ("ECHO",), epochs=1, batch_size=2, kept=tmp_path / "state.ckpt")
    resumed, again = train_peer(rows, tmp_path, ("ECHO",), epochs=2, batch_size=2, kept=tmp_path / "state.ckpt")
    assert history == again and len(history) == 2
    for name, value in whole.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), resumed.state_dict()[name].numpy(), err_msg=name)


def test_a_state_of_training_that_holds_code_is_refused_and_runs_none(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((64, 8 * 188), np.float32))
    rows = pd.DataFrame({"picture": "a.npy", "start_s": [0.0, 1.0], "split": ["train", "validation"], "target_ECHO": [0.0, 1.0], "recording": "a"})
    torch.save({"net": Planted(tmp_path / "ran")}, tmp_path / "state.ckpt")
    with pytest.raises(BadCheckpoint, match="state.ckpt: is not read, because it holds more than numbers"):
        train_peer(rows, tmp_path, ("ECHO",), epochs=1, batch_size=1, kept=tmp_path / "state.ckpt")
    assert not (tmp_path / "ran").exists()
