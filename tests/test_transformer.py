"""The Audio Spectrogram Transformer: by name, with weights in the hub's format, saved, loaded and in the pipeline."""
import json

import numpy as np
import pytest
import torch

from pipeline import run_pipeline_single_audio
from spectrogram.profile import load_profile
from tests.toy_sound import NAME, noise, write
from training import transformer
from training.backbones import BadBackbone, make_net
from training.model import positions_of
from training.saved import load_model, save_model
from training.transformer import AudioTransformer, BadTransformer, patches, stretched

PROFILE = load_profile("watkins")  # 48 bands, 128 frames, 1 s


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory):
    """A small network of random weights as the hub keeps one: a classifier of other labels, with 128 bands and 2.56 s."""
    from transformers import ASTConfig, ASTForAudioClassification

    torch.manual_seed(3)
    config = ASTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_length=256, num_labels=5)
    net = ASTForAudioClassification(config)
    torch.nn.init.normal_(net.audio_spectrogram_transformer.embeddings.position_embeddings)
    folder = tmp_path_factory.mktemp("hub")
    net.save_pretrained(folder)
    return folder, net


def test_a_window_is_answered_once_for_all_its_positions_and_the_net_learns():
    torch.manual_seed(0)
    net = make_net("ast:tiny", PROFILE)
    x = torch.randn(3, 1, PROFILE.n_bands, PROFILE.window_frames)
    window, position = net(x)
    assert window.shape == (3, 2) and position.shape == (3, 2, positions_of(PROFILE.window_frames)) and torch.equal(position[..., 0], window)
    window.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    assert sum(p.numel() for p in net.parameters()) < 400_000


def test_weights_of_the_hub_are_taken_over_all_but_the_labels(hub_folder):
    folder, hub = hub_folder
    net = make_net(f"ast:{folder}:pretrained", PROFILE)
    mine, theirs = net.body.state_dict(), hub.audio_spectrogram_transformer.state_dict()
    moved = "embeddings.position_embeddings"
    assert set(mine) == set(theirs) and all(torch.equal(mine[k], theirs[k]) for k in mine if k != moved)
    assert net.grid == (128, 100) and mine[moved].shape[1] == 2 + 12 * 9  # 1 s at 100 frames a second
    at = (25 - 9) // 2  # the middle of 25 patches in time
    torch.testing.assert_close(mine[moved][:, 2:].unflatten(1, (12, 9)), theirs[moved][:, 2:].unflatten(1, (12, 25))[:, :, at:at + 9])
    net.eval()
    x = torch.randn(2, 1, 48, 128)
    with torch.no_grad():
        grid = torch.nn.functional.interpolate(x, (128, 100), mode="bilinear", align_corners=False)[:, 0].transpose(1, 2)
        torch.testing.assert_close(net(x)[0], net.last(net.norm(net.body(grid).pooler_output)))


def test_positions_are_stretched_where_the_window_is_longer():
    old = torch.arange(6.0).reshape(1, 6, 1)  # two tokens, 2 x 2 patches
    new = stretched(old, (2, 2), (2, 4))
    assert new[0, :2, 0].tolist() == [0, 1] and new[0, 2:, 0].tolist() == [2, 2.25, 2.75, 3, 4, 4.25, 4.75, 5]
    assert patches({"num_mel_bins": 128, "max_length": 1024, "patch_size": 16, "frequency_stride": 10, "time_stride": 10}) == (12, 101)


def test_saved_and_loaded_it_answers_in_the_pipeline(hub_folder, tmp_path):
    torch.manual_seed(0)
    net = make_net(f"ast:{hub_folder[0]}:pretrained", PROFILE)
    limits = {x: {"window": 0.5, "on": 0.5, "off": 0.25} for x in PROFILE.labels}
    plain = {x: {"slope": 1.0, "intercept": 0.0, "position_slope": 1.0, "position_intercept": 0.0} for x in PROFILE.labels}
    save_model(tmp_path / "m", net, PROFILE, limits, plain)
    assert "pretrained" not in json.dumps(json.loads((tmp_path / "m" / "model.json").read_text())["arguments"])  # loads without a hub
    model = load_model(tmp_path / "m")
    assert isinstance(model.net, AudioTransformer)
    x = np.random.default_rng(0).normal(60, 6, (2, PROFILE.window_frames, PROFILE.n_bands)).astype(np.float32)
    with torch.no_grad():
        from spectrogram.picture import normalise

        ours = torch.sigmoid(net.eval()(torch.from_numpy(normalise(x, PROFILE)).transpose(1, 2)[:, None])[0]).numpy()
    np.testing.assert_allclose(model.predict(x)[0], ours, atol=1e-5)
    result = run_pipeline_single_audio(write(tmp_path / NAME, noise(3, 16000), 16000), model)
    assert len(result.windows) == 5 and result.windows["p_Beluga"].between(0, 1).all()


def test_what_cannot_be_had_is_said_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(BadBackbone, match="no such size; use ast, ast:tiny"):
        make_net("ast:huge", PROFILE)
    (tmp_path / "config.json").write_text("{}")
    for place in (tmp_path, "somebody/no_such_network"):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(BadBackbone, match="cannot be had .*run it once with a network, or give a folder") as error:
            make_net(f"ast:{place}:pretrained", PROFILE)
        assert "\n" not in str(error.value)
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(BadTransformer, match="pip install transformers"):
        transformer.audio_transformer("ast", 2, 48, 128, 1.0)
