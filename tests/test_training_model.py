"""The network, its saving and loading, and augmentation."""
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training_toy import PROFILE, toy_dataset
from spectrogram.profile import load_profile
from training.augment import Augmentation, Batch, added, augment, band_limit, either, end_early, mix
from training.backbones import make_net
from training.data import WindowSet, loader
from training.losses import masked_bce
from training.model import MultiOutputResNet, positions_of
from training.saved import BadModel, load_model, save_model
from training.thresholds import OFF_SHARE

LABELS = PROFILE.labels
PLAIN = {label: {"slope": 1.0, "intercept": 0.0, "position_slope": 1.0, "position_intercept": 0.0} for label in LABELS}
HALF = {label: {"window": 0.5, "on": 0.5, "off": 0.5 * OFF_SHARE} for label in LABELS}


def network(seed=0, **kwargs):
    torch.manual_seed(seed)
    """The beluga's with its crest, or one of `n_bands` without."""
    crest = 0 if "n_bands" in kwargs else PROFILE.crest_columns
    return MultiOutputResNet(PROFILE.heads, kwargs.pop("n_bands", PROFILE.n_bands), crest=crest, **kwargs).eval()


@pytest.mark.parametrize("bands, frames", [(96, 192), (64, 187), (33, 100), (16, 16)])
def test_any_number_of_bands_and_frames(bands, frames):
    net = network(n_bands=bands, width=8, depth=2, tiles=2 if frames % 32 == 0 else 1)
    window, position = net(torch.zeros(3, 1, bands, frames))
    assert window.shape == (3, 5) and position.shape == (3, 5, positions_of(frames))


def test_window_logit_lies_between_mean_and_highest_position():
    net = network()
    window, position = net(torch.randn(4, 1, 100, 192))
    assert (window <= position.amax(-1) + 1e-5).all() and (window >= position.mean(-1) - 1e-5).all()


def test_the_default_network_is_small_enough():
    net = network()
    assert sum(p.numel() for p in net.parameters()) < 1_000_000
    multiply_adds = 0

    def count(module, _, out):
        nonlocal multiply_adds
        multiply_adds += out[0].numel() * module.weight[0].numel()
    for module in net.modules():
        if isinstance(module, (torch.nn.Conv1d, torch.nn.Conv2d)):
            module.register_forward_hook(count)
    net(torch.zeros(1, 1, PROFILE.n_columns, PROFILE.window_frames))
    assert multiply_adds <= 10e6


def test_fused_network_answers_the_same():
    net = network()
    net.train()
    for _ in range(3):
        net(torch.randn(8, 1, 100, 192))  # gives the batch norms something to fold
    net.eval()
    x = torch.randn(4, 1, 100, 192)
    for plain, fused in zip(net(x), net.fused()(x)):
        torch.testing.assert_close(plain, fused, atol=1e-4, rtol=1e-4)


def test_overlapping_windows_share_their_tiles_and_change_no_answer(tmp_path):
    save_model(tmp_path / "m", network(), PROFILE, HALF, PLAIN)
    model = load_model(tmp_path / "m")
    picture_db = np.random.default_rng(1).normal(60, 10, (96 * 8, 100)).astype(np.float32)
    picture_db[700:], picture_db[:, 80:] = np.nan, np.nan  # the recording ends in the last tile, and lacks bands
    windows = np.lib.stride_tricks.sliding_window_view(picture_db, 192, axis=0)[::96].swapaxes(1, 2)
    assert model._shares_tiles()
    for shared, alone in zip(model.predict(windows, batch=3, overlapping=True), model.predict(windows)):
        np.testing.assert_allclose(shared, alone, atol=1e-5)


def test_saved_model_comes_back_the_same(tmp_path):
    net = network()
    model_id = save_model(tmp_path / "m", net, PROFILE, HALF, PLAIN, {"made_of": "nothing"})
    model = load_model(tmp_path / "m")
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["model.json", "model.onnx", "model.safetensors"]
    assert model.model_id == model_id and model.profile == PROFILE and model.labels == LABELS
    pictures_db = np.random.default_rng(0).normal(60, 10, (5, 192, 100)).astype(np.float32)
    pictures_db[:, :, 70:] = np.nan
    window, position = model.predict(pictures_db)
    assert window.dtype == np.float32 and window.shape == (5, 5) and position.shape == (5, 5, 12)
    assert ((window >= 0) & (window <= 1)).all()
    for batch in (1, 2, 5):
        np.testing.assert_allclose(model.predict(pictures_db, batch)[0], window, atol=1e-5)
    assert [a.shape for a in model.predict(pictures_db[:0])] == [(0, 5), (0, 5, 12)]


def test_calibration_is_applied_to_windows_and_positions(tmp_path):
    turned = {label: {"slope": 2.0, "intercept": 1.0, "position_slope": 0.5, "position_intercept": -1.0} for label in LABELS}
    save_model(tmp_path / "m", network(), PROFILE, HALF, turned)
    model = load_model(tmp_path / "m")
    pictures_db = np.random.default_rng(1).normal(60, 10, (2, 192, 100)).astype(np.float32)
    (window_logit, position_logit), (window, position) = model.logits(pictures_db), model.predict(pictures_db)
    np.testing.assert_allclose(window, 1 / (1 + np.exp(-(2 * window_logit + 1))), atol=1e-6)
    np.testing.assert_allclose(position, 1 / (1 + np.exp(-(0.5 * position_logit - 1))), atol=1e-6)


def test_bad_models_are_named(tmp_path):
    with pytest.raises(BadModel, match="model.json is missing"):
        load_model(tmp_path)
    save_model(tmp_path / "m", network(), PROFILE, HALF, PLAIN)
    good = json.loads((tmp_path / "m" / "model.json").read_text(encoding="utf-8"))

    def spoilt(**change):
        (tmp_path / "m" / "model.json").write_text(json.dumps(good | change), encoding="utf-8")
        return load_model(tmp_path / "m")
    with pytest.raises(BadModel, match="format 99"):
        spoilt(format=99)
    with pytest.raises(BadModel, match="built for 64 bands"):
        spoilt(arguments=good["arguments"] | {"n_bands": 64})
    with pytest.raises(BadModel, match="do not fit"):
        spoilt(arguments=good["arguments"] | {"width": 8})
    with pytest.raises(BadModel, match="thresholds"):
        spoilt(thresholds={})
    (tmp_path / "m" / "model.json").write_text(json.dumps({"format": good["format"]}), encoding="utf-8")
    with pytest.raises(BadModel, match="lacks model_id"):
        load_model(tmp_path / "m")
    with pytest.raises(ValueError, match="expected"):
        spoilt().predict(np.zeros((1, 187, 64), np.float32))


def test_loss_ignores_nan():
    logits = torch.tensor([[2.0, -1.0]])
    known = masked_bce(logits[:, :1], torch.tensor([[1.0]]))
    assert masked_bce(logits, torch.tensor([[1.0, torch.nan]])) == known
    assert masked_bce(logits, torch.full((1, 2), torch.nan)) == 0


ABSOLUTE = replace(PROFILE, picture=PROFILE.picture | {"normalisation": {"kind": "mean", "scale_db": 20, "low": -2, "high": 4, "masked": -2}})


def batch_of(n=6, seed=0):
    rng = np.random.default_rng(seed)
    window = (rng.random((n, 5)) < 0.4).astype(np.float32)
    position = np.repeat(window[..., None], 12, axis=-1)
    return Batch(rng.normal(60, 6, (n, 192, 100)).astype(np.float32), window, position, np.where(window == 1, 20, np.nan).astype(np.float32))


def test_augmentation_repeats_with_its_seed_and_leaves_the_input_alone():
    batch = batch_of()
    before = batch.picture_db.copy()
    one, two, three = (augment(batch, Augmentation(), PROFILE, np.random.default_rng(s)) for s in (4, 4, 5))
    np.testing.assert_array_equal(one.picture_db, two.picture_db)
    np.testing.assert_array_equal(one.window, two.window)
    assert not np.array_equal(one.picture_db, three.picture_db)
    np.testing.assert_array_equal(batch.picture_db, before)


def test_band_limit_masks_what_a_lower_rate_does_not_have():
    batch = band_limit(batch_of(), Augmentation(band_limit_share=1, band_limit_rates_hz=(16_000,)), PROFILE, np.random.default_rng(0))
    visible = PROFILE.visible_columns(8_000)
    assert np.isfinite(batch.picture_db[..., visible]).all() and np.isnan(batch.picture_db[..., ~visible]).all()
    for k, label in enumerate(LABELS):
        assert np.isfinite(batch.window[:, k]).all() == PROFILE.observable(label, 8_000)
        assert np.isfinite(batch.position[:, k]).all() == PROFILE.observable(label, 8_000)


def test_a_recording_that_ends_within_the_window_asks_only_for_what_is_there():
    batch = batch_of()
    batch.position[0, 3] = 0
    batch.position[0, 3, 11], batch.window[0, 3] = 1, 1  # a call in the last position only: always cut away
    early = end_early(batch, Augmentation(end_share=1), np.random.default_rng(0))
    for picture, position in zip(early.picture_db, early.position):
        recorded = np.isfinite(picture).all(axis=1)
        last = int(recorded.sum())
        assert 192 // 4 <= last < 192 and recorded[:last].all()
        assert np.isfinite(position[:, :last // 16]).all() and np.isnan(position[:, last // 16:]).all()
    assert np.isnan(early.window[0, 3]) and early.window[0, 0] == batch.window[0, 0]


def test_mix_adds_powers_joins_labels_and_forgets_what_it_buries():
    level_db = np.array([60.0, 60.0, 80.0], np.float32)
    batch = Batch(np.broadcast_to(level_db[:, None, None], (3, 192, 100)).copy(), np.eye(3, 5, dtype=np.float32), np.zeros((3, 5, 12), np.float32),
                  np.where(np.eye(3, 5) == 1, 12, np.nan).astype(np.float32))
    how = Augmentation(mix_share=1.0, mix_gain_db=0.0)
    for seed in range(8):
        partner = np.random.default_rng(seed)
        partner.random(3)
        partner = partner.permutation(3)
        mixed = mix(batch, how, ABSOLUTE, np.random.default_rng(seed))
        expected_db = 10 * np.log10(10 ** (level_db / 10) + 10 ** (level_db[partner] / 10))
        np.testing.assert_allclose(mixed.picture_db[:, 0, 0], expected_db, atol=1e-3)
        if partner[0] == 1:
            assert mixed.window[0].tolist() == [1, 1, 0, 0, 0]        # equal levels: 12 - 3 dB, both still heard
        if partner[0] == 2:
            np.testing.assert_array_equal(mixed.window[0], [np.nan, 0, 1, 0, 0])  # 20 dB more noise: the first is buried


def test_contrast_of_a_mixture_is_told_above_the_background_of_both():
    rng = np.random.default_rng(0)
    noise_db = 10 * np.log10(rng.standard_exponential((2, 192, 100))).astype(np.float32)
    noise_db[0, :, 40] = 20
    batch = Batch(noise_db, np.zeros((2, 5), np.float32), np.zeros((2, 5, 12), np.float32), np.full((2, 5), np.nan, np.float32))
    mixed = added(batch, np.array([0]), np.array([1]), np.array([10.0]), Augmentation(), PROFILE).picture_db[0]
    assert abs(10 * np.log10((10 ** (mixed[:, 50:90] / 10)).mean())) < 0.5  # still noise at its background
    assert mixed[:, 40].mean() == pytest.approx(10 * np.log10((100 + 10) / 11), abs=0.5)  # the call lies 10.4 dB lower in it


@pytest.mark.parametrize("boats", [True, False])
def test_boats_and_noise_are_added_at_a_set_snr(boats):
    """A call of 20 dB SNR on 60 dB, one of 8 dB, a boat, silence, and a boat that nobody could hear above 4 kHz."""
    picture_db = np.broadcast_to(np.array([60, 60, 50, 45, 70], np.float32)[:, None, None], (5, 192, 100)).copy()
    picture_db[4, :, ~PROFILE.visible_columns(4000)] = np.nan
    window = np.zeros((5, 5), np.float32)
    window[0, 0] = window[1, 0] = window[2, 4] = window[4, 4] = 1
    batch = Batch(picture_db, window, np.zeros((5, 5, 12), np.float32), np.where(window == 1, np.array([20, 8, 30, 0, 30], np.float32)[:, None], np.nan).astype(np.float32))
    share = {"boat_share": 1.0, "boat_snr_db": [10, 10]} if boats else {"noise_share": 1.0, "noise_snr_db": [10, 10]}
    mixed = augment(batch, replace(Augmentation.none(), **share), ABSOLUTE, np.random.default_rng(0))
    np.testing.assert_allclose(mixed.picture_db[0], 70, atol=0.01)  # a background 10 dB higher
    assert mixed.snr_db[0, 0] == pytest.approx(10, abs=0.01) and mixed.window[0].tolist() == [1, 0, 0, 0, float(boats)]
    np.testing.assert_array_equal(mixed.picture_db[1:], picture_db[1:])  # fainter already, or no call
    buried = augment(batch, replace(Augmentation.none(), **{key: [3, 3] if "snr" in key else value for key, value in share.items()}), ABSOLUTE, np.random.default_rng(0))
    np.testing.assert_array_equal(buried.window[:2, 0], [np.nan, np.nan])  # below what counts as audible: not asked for
    if boats:
        with pytest.raises(ValueError, match="profile watkins has no label Boat"):
            augment(batch, replace(Augmentation.none(), **share), load_profile("watkins"), np.random.default_rng(0))


def test_or_with_ignorance():
    np.testing.assert_array_equal(either(np.array([1, 0, 0, np.nan, np.nan]), np.array([np.nan, 0, 1, 0, 1])), [1, 0, 1, np.nan, 1])


def test_batches_depend_on_seed_and_epoch_only(tmp_path):
    data = toy_dataset(tmp_path / "d", files=2, seconds=5)
    windows = WindowSet(data, data.manifest, PROFILE, Augmentation(), seed=3)

    def epoch(number, workers=0):
        batches = loader(windows, 8, workers)
        batches.sampler.set_epoch(number)
        return [b[0] for b in batches]
    first, again, second = epoch(0), epoch(0), epoch(1)
    assert sum(len(b) for b in first) == len(data.manifest)
    assert all(torch.equal(a, b) for a, b in zip(first, again)) and not torch.equal(first[0], second[0])
    assert all(torch.isfinite(b).all() for b in first)


def test_windows_as_they_stand_have_the_manifests_targets(tmp_path):
    data = toy_dataset(tmp_path / "d", files=2, seconds=5)
    batches = list(loader(WindowSet(data, data.manifest, PROFILE), 7))
    target = torch.cat([b[1] for b in batches]).numpy()
    np.testing.assert_array_equal(target, data.manifest[[f"target_{label}" for label in LABELS]].to_numpy(np.float32))


def test_what_is_unknown_in_a_recording_is_not_asked_for_in_training_either(tmp_path):
    data = toy_dataset(tmp_path / "d", files=3, seconds=5)
    known = WindowSet(data, data.manifest, PROFILE)
    rows = data.manifest.assign(unknown=data.manifest["recording"].map({"r0.wav": "Boat+Whistle"}))
    window, position = WindowSet(data, rows, PROFILE).__getitems__(list(range(len(rows))))[1:]
    plain_window, plain_position = known.__getitems__(list(range(len(rows))))[1:]
    here = (rows["recording"] == "r0.wav").to_numpy(copy=True)
    for name, plain, told in (
        ("window", plain_window, window),
        ("position", plain_position, position),
    ):
        assert torch.equal(told[~here].nan_to_num(9), plain[~here].nan_to_num(9)), name
        for k, label in enumerate(LABELS):
            before, after = plain[here][:, k], told[here][:, k]
            assert torch.equal(
                after.nan_to_num(9),
                (
                    torch.where(before == 0, torch.nan, before)
                    if label in ("Boat", "Whistle")
                    else before
                ).nan_to_num(9),
            ), (name, label)


@pytest.mark.parametrize("name", ["beluga", "cook_inlet", "humpback", "right_whale", "right_whale_h2o", "watkins"])
def test_the_network_fits_every_profile(name):
    profile = load_profile(name)
    window, position = make_net("resnet", profile, 8).eval()(torch.zeros(2, 1, profile.n_columns, profile.window_frames))
    assert window.shape == (2, len(profile.labels)) and position.shape == (2, len(profile.labels), positions_of(profile.window_frames))
