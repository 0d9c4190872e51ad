"""Networks on series of signal complexity: the series in the network are those of `training.complexity`, and what the network may not see changes no answer."""
import numpy as np
import pytest
import torch

from spectrogram.picture import normalise
from training.backbones import BadBackbone, make_net
from training.complexity import spectral_series as reference
from training.complexity_nets import BODIES, HIGH_HZ, LOW_HZ, spectral_series
from training.model import positions_of
from training.saved import load_model, save_model
from training.spec import Experiment

NORMALISATION = {"kind": "mean", "scale_db": 20, "low": -4, "high": 4, "masked": -4}


@pytest.fixture(scope="module")
def profile():
    return Experiment.from_dict({"name": "t", "profile": "right_whale", "normalisation": NORMALISATION}).front_end()


def pictures(profile, count=3, seed=0, rise=0.0):
    """dB as of noise; `rise` dB on a band that climbs, in every second picture."""
    rng = np.random.default_rng(seed)
    picture = 60 + 10 * np.log10(rng.standard_exponential((count, profile.window_frames, profile.n_bands)) + 1e-3) + np.linspace(10, -10, profile.n_bands)
    if rise:
        for frame in range(40, 120):
            picture[::2, frame, 10 + (frame - 40) // 8] += rise
    return picture.astype(np.float32)


def as_input(picture_db, profile):
    return torch.from_numpy(np.ascontiguousarray(normalise(picture_db, profile).transpose(0, 2, 1)))[:, None]


def test_series_in_the_network_are_those_of_the_complexity_module(profile):
    picture = pictures(profile, rise=15)
    picture[2, 100:] = np.nan  # ends early
    inside = (profile.band_centres_hz >= LOW_HZ) & (profile.band_centres_hz <= HIGH_HZ)
    ours, recorded = spectral_series(as_input(picture, profile)[:, 0, inside], 20.0, -4.0)
    theirs = reference(picture, profile, LOW_HZ, HIGH_HZ, whiten=True)
    assert recorded.sum(dim=1).tolist() == [160, 160, 100] and torch.isfinite(ours).all()
    np.testing.assert_allclose(ours.numpy().transpose(0, 2, 1)[recorded.numpy()], theirs[recorded.numpy()], rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("body", BODIES)
def test_gain_and_colour_change_no_answer_and_every_weight_learns(profile, body):
    torch.manual_seed(0)
    net = make_net(f"complexity:{body}", profile)
    net(as_input(pictures(profile, 8), profile))[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for name, p in net.named_parameters())
    net.eval()
    picture = pictures(profile, 2, seed=1)
    coloured = picture + 7 + 5 * np.sin(np.linspace(0, 3, profile.n_bands)).astype(np.float32)
    with torch.inference_mode():
        plain, other = (net(as_input(p, profile))[0] for p in (picture, coloured))
    torch.testing.assert_close(plain, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("body", BODIES)
def test_a_rising_band_is_learnt(profile, body):
    torch.manual_seed(1)
    net = make_net(f"complexity:{body}", profile)
    x, target = as_input(pictures(profile, 16, rise=18), profile), torch.tensor([1.0, 0.0] * 8)
    optimiser = torch.optim.AdamW(net.parameters(), 1e-2)
    for _ in range(15):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(net(x)[0][:, 0], target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    new = as_input(pictures(profile, 16, seed=9, rise=18), profile)
    with torch.inference_mode():
        answer = net.eval()(new)[0][:, 0]
    assert (answer[::2].mean() - answer[1::2].mean()) > 1


def test_a_saved_network_comes_back_and_says_what_it_cannot_take(profile, tmp_path):
    net = make_net("complexity:residual", profile).eval()
    plain = {"UpCall": {"slope": 1.0, "intercept": 0.0, "position_slope": 1.0, "position_intercept": 0.0}}
    save_model(tmp_path / "m", net, profile, {"UpCall": {"window": 0.5, "on": 0.5, "off": 0.25}}, plain)
    picture = pictures(profile, 2)
    window, position = load_model(tmp_path / "m").predict(picture)
    with torch.inference_mode():
        np.testing.assert_allclose(window, torch.sigmoid(net(as_input(picture, profile))[0]).numpy(), atol=1e-6)
    assert position.shape == (2, 1, positions_of(profile.window_frames))
    both = make_net("complexity:residual:ordinal", profile)
    assert both(torch.zeros(2, 1, profile.n_bands + 4, 160))[0].shape == (2, 1)
    with pytest.raises(ValueError, match="68: 64 bands and four ordinal series"):
        both(torch.zeros(2, 1, profile.n_bands, 160))


def test_what_cannot_be_is_said(profile):
    tiled = Experiment.from_dict({"name": "t", "profile": "right_whale"}).front_end()
    with pytest.raises(BadBackbone, match="normalisation: {kind: mean"):
        make_net("complexity:inception", tiled)
    for name in ("complexity:lstm", "complexity:inception:more"):
        with pytest.raises(BadBackbone, match="complexity:inception, complexity:residual, complexity:attention"):
            make_net(name, profile)
    high = Experiment.from_dict({"name": "t", "profile": "right_whale", "normalisation": NORMALISATION, "bands": {"low_hz": 400}}).front_end()
    with pytest.raises(BadBackbone, match="0 bands between 50 and 300 Hz"):
        make_net("complexity:inception", high)
