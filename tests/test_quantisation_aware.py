"""Quantisation-aware training: the network learns on, becomes int8, is small, and answers nearly as it did."""
import numpy as np
import pandas as pd
import pytest
import torch

from tests.training_toy import PROFILE, toy_dataset
from training.backbones import make_net
from training.evaluate import evaluate_windows, json_ready
from training.experiment import beside
from training.quantisation_aware import CannotQuantise, export_int8, int8_beside, prepared
from training.quantise import answer, example_of, export_windows, to_int8
from training.recompute import unlike, windows_again
from training.spec import BadExperiment, Experiment

BACKBONE = "mobilenet_v3_small.2"


def squares(count, seed):
    """Windows of noise in which some labels are there as a bright rectangle in bands of their own."""
    drawn = torch.Generator().manual_seed(seed)
    x, target = torch.randn(count, 1, 100, 192, generator=drawn), (torch.rand(count, 5, generator=drawn) < 0.4).float()
    for k in range(5):
        x[:, 0, 10 + 15 * k:20 + 15 * k, 40:120] += 2.0 * target[:, k, None, None]
    return x.clamp(-2, 4), target


def learn(net, steps, rate):
    optimiser = torch.optim.AdamW(net.train().parameters(), rate)
    for step in range(steps):
        x, target = squares(16, step)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(net(x)[0], target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval()


@pytest.fixture(scope="module")
def nets():
    """A network that learnt a little, and the same one trained on as int8."""
    torch.manual_seed(0)
    net = learn(make_net(BACKBONE, PROFILE), 20, 4e-3)
    return net, learn(prepared(net, squares(16, 100)[0]), 6, 1e-4)


def test_the_int8_network_is_small_and_answers_nearly_as_the_float_one(nets, tmp_path):
    import onnx

    net, small = nets
    x, target = squares(48, 999)
    with torch.no_grad():
        exact, rounded = net(x)[0].numpy(), small(x)[0].numpy()
    written, whole = export_int8(small, PROFILE, tmp_path / "int8.onnx"), export_windows(net, PROFILE, tmp_path / "float.onnx")
    assert np.sqrt(np.mean((answer(written, x.numpy()) - rounded) ** 2)) < 0.1 * rounded.std()
    assert np.corrcoef(exact.ravel(), answer(written, x.numpy()).ravel())[0, 1] > 0.9
    model = onnx.load(str(written))
    kinds = {i.data_type for i in model.graph.initializer if np.prod(i.dims) > 300}
    assert kinds == {onnx.TensorProto.INT8}, "every larger tensor is int8"
    assert sum(np.prod(i.dims) for i in model.graph.initializer if i.data_type == onnx.TensorProto.INT8) > 0.9 * sum(p.numel() for p in net.parameters() if p.ndim > 1)
    assert written.stat().st_size < whole.stat().st_size


def test_int8_sums_do_not_overflow(nets, tmp_path):
    """Optimised for this processor, an int8 network answers as it does step by step in float: the network trained for it, and the one that was only quantised."""
    import onnxruntime

    x = squares(24, 999)[0].numpy()
    plain = onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    for path in (export_int8(nets[1], PROFILE, tmp_path / "trained.onnx"), to_int8(export_windows(nets[0], PROFILE, tmp_path / "float.onnx"), squares(16, 100)[0].numpy())):
        exact = onnxruntime.InferenceSession(str(path), plain, providers=["CPUExecutionProvider"]).run(None, {"picture": x})[0]
        assert np.sqrt(np.mean((answer(path, x) - exact) ** 2)) < 0.1 * exact.std()


def test_ranges_are_learnt_in_training_and_rest_in_use(nets):
    small = nets[1]
    before = {k: v.clone() for k, v in small.state_dict().items()}
    with torch.no_grad():
        small.eval()(100 * squares(4, 1)[0])
    assert all(torch.equal(v, before[k]) for k, v in small.state_dict().items())
    again = prepared(nets[0], squares(16, 100)[0])
    start = {k: v.clone() for k, v in again.state_dict().items() if k.endswith("max_val")}
    again.train()(100 * squares(4, 1)[0])
    assert any(not torch.equal(v, start[k]) for k, v in again.state_dict().items() if k in start)


def test_weights_lie_on_seven_bits(nets):
    for module in nets[1].modules():
        if hasattr(module, "weight_fake_quant"):
            rounding = module.weight_fake_quant
            steps = (rounding(module.weight) / rounding.scale.reshape(-1, *[1] * (module.weight.ndim - 1))).detach()
            assert torch.allclose(steps, steps.round(), atol=1e-3) and steps.abs().max() <= 64.01


def test_an_experiment_judges_its_int8_network_beside_and_the_figures_come_again(tmp_path):
    data = toy_dataset(tmp_path / "d", seconds=4)
    spec = Experiment.from_dict({"name": "toy", "backbone": BACKBONE, "quantise_epochs": 1, "epochs": 1, "batch_size": 8, "windows_per_epoch": 8})
    net = make_net(BACKBONE, PROFILE).eval()
    table, limits, sizes = int8_beside(net, data, PROFILE, spec, tmp_path)
    assert (tmp_path / "model_int8.onnx").stat().st_size / 1000 == sizes["int8"]["kB"] < sizes["float32"]["kB"] and sizes["int8"]["windows per s"] > 0
    assert set(limits) == set(PROFILE.labels) and len(table) == len(data.rows(split="test"))
    validation = data.rows(split="validation").assign(**{f"prob_{label}": np.float32(0.5) for label in PROFILE.labels})
    predictions, metrics = beside(pd.concat([validation, table], ignore_index=True), {"labels": list(PROFILE.labels), "thresholds": limits}, {"int8": table}, {"int8": limits}, PROFILE.labels)
    again = json_ready(windows_again(predictions, metrics, PROFILE.labels))
    said = {key: value for key, value in json_ready(metrics["int8"]).items() if key != "thresholds"}
    assert list(unlike(said, again["int8"], "", 1e-6)) == []
    assert metrics["int8"]["all"]["macro"] == evaluate_windows(table, limits, PROFILE.labels)["all"]["macro"]


def test_the_pipeline_uses_the_int8_network(tmp_path):
    from pipeline import run_pipeline_single_audio
    from spectrogram.background import contrast_db
    from spectrogram.generator import SpectrogramGenerator
    from spectrogram.picture import normalise
    from tests.signals import white_noise, write
    from training.saved import BadModel, load_model, save_model
    from training.thresholds import sigmoid

    data, folder = toy_dataset(tmp_path / "d", seconds=4), tmp_path / "model"
    spec = Experiment.from_dict({"name": "toy", "backbone": BACKBONE, "quantise_epochs": 1, "epochs": 1, "batch_size": 8, "windows_per_epoch": 8})
    net = make_net(BACKBONE, PROFILE).eval()
    int8_beside(net, data, PROFILE, spec, folder)
    plain = {label: {"slope": 1.0, "intercept": 0.0, "position_slope": 1.0, "position_intercept": 0.0} for label in PROFILE.labels}
    limits = {label: {"window": 0.5, "on": 0.5, "off": 0.25} for label in PROFILE.labels}
    save_model(folder, net, PROFILE, limits, plain)
    small, whole, path = load_model(folder / "model_int8.onnx"), load_model(folder), tmp_path / "a.wav"
    assert small.model_id.startswith(f"{whole.model_id}-int8-") and small.thresholds != limits and small.calibration != plain  # its own
    write(path, white_noise(192_000, 3.0), 192_000, "PCM_16")
    found = run_pipeline_single_audio(path, model=folder / "model_int8.onnx")
    picture = contrast_db(SpectrogramGenerator(PROFILE).picture(path), PROFILE)
    starts = np.arange(5) * PROFILE.step_frames
    x = np.stack([normalise(picture[None, a:a + PROFILE.window_frames], PROFILE)[0].T for a in starts])[:, None].astype(np.float32)
    logits = answer(folder / "model_int8.onnx", np.ascontiguousarray(x))
    for k, label in enumerate(PROFILE.labels):
        how = small.calibration[label]
        np.testing.assert_allclose(found.windows[f"p_{label}"].to_numpy()[:5], sigmoid(how["slope"] * logits[:, k] + how["intercept"]), atol=1e-5)
    assert found.metadata["model_id"] == small.model_id
    with pytest.raises(BadModel, match="no int8 network there"):
        load_model(folder / "model.onnx")
    (folder / "model_int8.json").write_text((folder / "model_int8.json").read_text().replace('"onnx_sha256": "', '"onnx_sha256": "0'))
    with pytest.raises(BadModel, match="does not belong to the model_int8.json"):
        load_model(folder / "model_int8.onnx")


def test_a_study_of_sizes_has_a_row_for_the_network_that_was_trained_for_int8(tmp_path):
    from training import study
    from training.study_figures import with_sizes

    data = toy_dataset(tmp_path / "d", seconds=4)
    spec = Experiment.from_dict({"name": "size", "study": "size", "variants": {"small": {"backbone": BACKBONE, "quantise_epochs": 1}, "own": {"width": 8}}, "epochs": 1, "batch_size": 8,
                                 "windows_per_epoch": 8})
    parts, nets = study.trainings_of(spec, data.manifest), {"small": make_net(BACKBONE, PROFILE).eval()}
    table, limits = study.judged(parts[0], nets["small"], PROFILE, data)
    table = table.assign(**{f"baseline_{label}": np.float32(0.5) for label in PROFILE.labels})
    metrics = study.study_metrics(table, {"study": "size", "labels": list(PROFILE.labels), "thresholds": {"small": limits}, "simulated": True})
    joined, metrics = with_sizes(table, metrics, nets, data, spec, tmp_path)
    trained = "small, int8 (trained for it)"
    assert list(metrics["variants"]) == ["small", "small, int8", trained] and set(joined["variant"]) == set(metrics["variants"])
    assert metrics["sizes"][trained]["kB"] < metrics["sizes"]["small"]["kB"] and joined.groupby("variant").size().nunique() == 1
    assert joined[[f"baseline_{label}" for label in PROFILE.labels]].notna().to_numpy().all()


def test_what_cannot_be_trained_for_int8_is_named():
    with pytest.raises(CannotQuantise, match="MultiOutputResNet"):
        prepared(make_net("resnet", PROFILE, 8), example_of(PROFILE))
    for given, said in (({"quantise_epochs": 2}, "not resnet"), ({"quantise_epochs": -1, "backbone": BACKBONE}, "whole number"), ({"quantize_epochs": 2}, "did you mean 'quantise_epochs'"),
                        ({"quantise_epochs": 2, "backbone": "resnet18", "study": "boats"}, "study: size")):
        with pytest.raises(BadExperiment, match=said):
            Experiment.from_dict({"name": "t"} | given)
    assert Experiment("t").digest() == Experiment.from_dict({"name": "t", "quantise_epochs": 0}).digest()
