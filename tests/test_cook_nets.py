"""The Cook Inlet networks: one channel, weights in the hub's format, errors that say what to do."""
import re
import urllib.error

import pytest
import torch
from torch import nn

from training.backbones import BadBackbone
from training.cook_nets import NAMES, CookNet, image_body, one_channel, vgg16_features
from training.model import positions_of

SMALL = torch.zeros(2, 1, 32, 40)


@pytest.fixture(scope="module")
def nets():
    torch.manual_seed(0)
    return {name: CookNet(name, n_labels=2).eval() for name in NAMES}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("torch.hub.urlopen", offline)
    return tmp_path / "hub" / "checkpoints"


@pytest.mark.parametrize("name", NAMES)
def test_one_channel_in_logits_out(nets, name):
    with torch.inference_mode():
        window, position = nets[name](SMALL)
    assert window.shape == (2, 2) and position is None and torch.isfinite(window).all()
    first = next(module for module in nets[name].modules() if isinstance(module, nn.Conv2d))
    assert first.in_channels == 1
    assert not any(isinstance(module, nn.Linear) and module.in_features > 4096 for module in nets[name].modules())


def test_the_alexnet_of_the_study(nets):
    convolutions = [module for module in nets["alexnet"].modules() if isinstance(module, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [128, 128, 192, 192, 128] and convolutions[0].stride == (2, 3)
    assert [m.out_features for m in nets["alexnet"].head if isinstance(m, nn.Linear)] == [256, 256, 2]
    with torch.inference_mode():
        assert nets["alexnet"](torch.zeros(1, 1, 24, 256))[0].shape == (1, 2)  # windows of any size


def test_the_answer_at_positions_where_a_saved_model_asks_for_it():
    net = CookNet("alexnet", frames=40).eval()
    window, position = net(SMALL)
    assert position.shape == (2, 1, positions_of(40)) and torch.equal(position[..., -1], window)
    again = CookNet(**net.arguments).eval()
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(SMALL)[0], window)


def test_a_sum_over_colours_answers_as_three_equal_channels():
    torch.manual_seed(1)
    colour = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
    grey = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
    grey.load_state_dict(colour.state_dict())
    one_channel(grey, keep=True)
    x = torch.randn(2, 1, 8, 9)
    torch.testing.assert_close(grey(x), colour(x.expand(-1, 3, -1, -1)))


def test_weights_in_the_hubs_format_are_taken_over(hub):
    """DenseNet's published file has names of an older torch (norm.1 for norm1), as this one."""
    from torchvision.models import DenseNet121_Weights, densenet121

    torch.manual_seed(2)
    published = densenet121(weights=None).eval()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): value for key, value in published.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    hub.mkdir(parents=True)
    torch.save(old, hub / DenseNet121_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[-1])
    body, features = image_body("densenet121", pretrained=True)
    x = torch.randn(1, 1, 32, 32)
    published.classifier = nn.Identity()
    with torch.inference_mode():
        torch.testing.assert_close(body.eval()(x), published(x.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)
    assert features == 1024


def test_of_vgg16_only_the_features_are_taken_from_its_file(hub):
    from torchvision.models import VGG16_Weights

    torch.manual_seed(3)
    published = vgg16_features(None)
    file = {f"features.{key}": value for key, value in published.state_dict().items()} | {"classifier.0.weight": torch.zeros(1)}
    hub.mkdir(parents=True)
    torch.save(file, hub / VGG16_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[-1])
    net = CookNet("vgg16", pretrained=True, trainable_layers=3).eval()
    x = torch.randn(1, 1, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(net.body(x), published(x.expand(-1, 3, -1, -1)).mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)
    (hub / VGG16_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[-1]).unlink()
    with pytest.raises(BadBackbone, match="vgg16: its ImageNet weights cannot be had .*pretrained=False"):
        CookNet("vgg16", pretrained=True)


def test_a_smaller_picture_on_the_way_in():
    torch.manual_seed(4)
    net = CookNet("alexnet", frames=96, size=(32, 32)).eval()
    x = torch.randn(2, 1, 64, 96)
    with torch.inference_mode():
        small = nn.functional.interpolate(x, (32, 32), mode="bilinear", align_corners=False, antialias=True)
        assert torch.equal(net(x)[0], net(small)[0]) and not torch.equal(net(x)[0], CookNet(**net.arguments).eval()(x)[0])
    assert net.arguments["size"] == [32, 32] and net(x)[1].shape == (2, 1, positions_of(96))


@pytest.mark.parametrize("name", ["resnet50", "densenet121"])
def test_without_cache_and_network_the_error_says_what_to_do(hub, name):
    with pytest.raises(BadBackbone) as caught:
        CookNet(name, pretrained=True)
    message = str(caught.value)
    assert "\n" not in message and f"https://download.pytorch.org/models/{name}" in message and str(hub) in message and "pretrained=False" in message


def test_a_broken_file_in_the_cache_is_told_too(hub):
    from torchvision.models import ResNet50_Weights

    hub.mkdir(parents=True)
    (hub / ResNet50_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[-1]).write_bytes(b"half a file")
    with pytest.raises(BadBackbone, match="resnet50: its ImageNet weights cannot be had"):
        CookNet("resnet50", pretrained=True)


def test_what_there_is_not(nets):
    with pytest.raises(BadBackbone, match="alexnet, vgg16, resnet50, densenet121"):
        CookNet("lenet")
    with pytest.raises(BadBackbone, match="from scratch"):
        CookNet("alexnet", pretrained=True)
    with pytest.raises(ValueError, match="24 bands and 40 frames is too small"):
        nets["resnet50"](torch.zeros(1, 1, 24, 40))


@pytest.mark.parametrize("layers", [0, 3])
def test_held_layers_do_not_learn(layers):
    net = CookNet("vgg16", trainable_layers=layers)
    learning = [p for p in net.body.parameters() if p.requires_grad]
    assert len(learning) == 2 * layers and all(p.requires_grad for p in net.head.parameters())


def test_the_alexnet_learns_a_bright_band():
    torch.manual_seed(0)
    net = CookNet("alexnet")
    x, y = 0.3 * torch.randn(16, 1, 24, 32), (torch.arange(16) % 2).float()[:, None]
    x[1::2, :, 8:12] += 1.5
    optimiser, losses = torch.optim.Adam(net.parameters(), 1e-3), []
    for _ in range(6):
        loss = nn.functional.binary_cross_entropy_with_logits(net(x)[0], y)
        optimiser.zero_grad(), loss.backward(), optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
