"""Published weights of timm: taken over from files in the hub's format, and asked for in plain words where they are not to be had."""
import urllib.error

import pytest
import torch
from safetensors.torch import save_file

from training.__main__ import one
from training.backbones import BadBackbone, picture_body
from training.run import run_experiment
from training.spec import Experiment

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hubs(tmp_path, monkeypatch):
    """Empty caches of both hubs, and no network."""
    import huggingface_hub.constants as constants

    def offline(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub.urlopen", offline)
    monkeypatch.setattr("urllib.request.urlopen", offline)
    return tmp_path


def put_into_hub(cache, repository, weights):
    """A repository of one file as huggingface_hub keeps it."""
    folder = cache / ("models--" + repository.replace("/", "--"))
    (folder / "snapshots" / REVISION).mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(REVISION, encoding="utf-8")
    save_file(weights, folder / "snapshots" / REVISION / "model.safetensors")


def test_resnet50_from_the_hubs_cache_sees_one_channel_as_three_equal_ones(hubs):
    import timm

    torch.manual_seed(3)
    colour = timm.create_model("resnet50", num_classes=1000).eval()
    put_into_hub(hubs / "hf", "timm/resnet50.a1_in1k", {name: value.contiguous() for name, value in colour.state_dict().items()})
    grey = picture_body("timm:resnet50:pretrained", 1).eval()
    x = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(grey.forward_features(x), colour.forward_features(x.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-3)
        assert grey(x).shape == (1, 1)


def test_xception_from_its_file_in_torchs_cache(hubs):
    import timm

    torch.manual_seed(4)
    colour = timm.create_model("legacy_xception", num_classes=1000).eval()
    place = hubs / "torch" / "hub" / "checkpoints" / "xception-43020ad28.pth"
    place.parent.mkdir(parents=True)
    torch.save(colour.state_dict(), place)
    grey = picture_body("timm:legacy_xception:pretrained", 2).eval()
    x = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(grey.forward_features(x), colour.forward_features(x.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name, mend", [("resnet50", "hf download timm/resnet50.a1_in1k model.safetensors"), ("legacy_xception", "xception-43020ad28.pth to ")])
def test_without_cache_and_network_one_line_says_what_to_do(hubs, name, mend):
    with pytest.raises(BadBackbone) as caught:
        picture_body(f"timm:{name}:pretrained", 1)
    message = str(caught.value)
    assert "\n" not in message and mend in message and "pretrained: false" in message and name in message


@pytest.mark.parametrize("given, mend", [
    ({"clips": [{"kaggle": "simulated"}], "profile": "right_whale", "variants": {"own": {}, "large": {"backbone": "timm:resnet50", "pretrained": True}}}, "hf download timm/resnet50.a1_in1k"),
    ({"humpback": {}, "profile": "humpback", "backbone": "ast:pretrained"}, "run it once with a network"), ({"detections": {"setting": "full"}, "profile": "cook_inlet"}, "fetch https://download.pytorch.org")])
def test_an_experiment_asks_for_its_weights_before_anything_else(hubs, monkeypatch, capsys, given, mend):
    experiment = Experiment.from_dict({"name": "toy"} | given)
    with pytest.raises(BadBackbone, match=mend):
        run_experiment(experiment, hubs / "results")
    assert not (hubs / "results").exists()
    monkeypatch.setattr("training.__main__.run_experiment", lambda experiment, again: run_experiment(experiment, hubs / "results", again))
    assert one(experiment, False) == 1 and mend in (said := capsys.readouterr().err) and said.count("\n") == 1


def test_without_published_weights_nothing_is_asked_of_a_hub(hubs):
    assert picture_body("timm:resnet18", 3)(torch.zeros(2, 1, 32, 32)).shape == (2, 3)
