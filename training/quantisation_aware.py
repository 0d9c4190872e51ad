"""Quantisation-aware training: some more epochs in which a network feels the rounding to int8, and the int8 network as ONNX.

    backbone: mobilenet_v3_small.8
    quantise_epochs: 4             # in an experiment's YAML: results/NAME/model_int8.onnx, judged beside the float network
    run_pipeline_single_audio("a.wav", model="results/NAME/model_int8.onnx")

Batch norms are folded first, then weights (per channel, 7 bits, so that the 16-bit sums of older processors cannot overflow) and activations (8 bits) are rounded in every
step, and the gradient passes the rounding as if it were not there. Ranges of activations follow the training windows alone, never those that are judged.
Sources: Jacob et al. (2018), arXiv:1712.05877; Krishnamoorthi (2018), arXiv:1806.08342; torch.ao.quantization, graph mode (torch 2.11; later versions move it to torchao).
"""
from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from preprocessing.dataset import DataSet
from spectrogram.profile import Profile
from training.augment import Augmentation
from training.backbones import PictureNet
from training.data import WindowSet
from training.evaluate import CHUNK, columns, judged_rows, with_probabilities
from training.experiment import calibrated, in_use, settings_of
from training.fit import FitSettings, fit
from training.quantise import BATCH, Int8Net, answer, example_of, export_onnx_windows, export_windows, inputs, session, short_names, windows_per_s
from training.saved import save_int8
from training.spec import Experiment
from training.thresholds import best_threshold, sigmoid

SMALLER_STEPS = 0.1   # of the float training's learning rate
ROUNDINGS = 0.1       # how far the int8 network may answer from the trained one, of the spread of its answers: sums that lie on an edge round either way


class CannotQuantise(ValueError):
    """A network that this way to int8 does not know. The message names it and the mend."""


class RoundedNet(PictureNet):
    """A `PictureNet` whose body rounds as int8 does; ranges are learnt in training mode only."""

    def __init__(self, net: PictureNet, body: nn.Module):
        nn.Module.__init__(self)
        self.arguments, self.size, self.n_positions, self.body = net.arguments, net.size, net.n_positions, body

    def train(self, mode: bool = True) -> "RoundedNet":
        from torch.ao.quantization import disable_observer, enable_observer

        super().train(mode)
        self.apply(enable_observer if mode else disable_observer)
        return self


class Rounding(nn.Module):
    """Rounding of activations to 8 bits with fixed steps, in plain numbers, which is how ONNX wants them."""

    def __init__(self, learnt: nn.Module):
        super().__init__()
        self.scale, self.zero = float(learnt.scale), int(learnt.zero_point)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero, 0, 255)


class WeightRounding(nn.Module):
    """Rounding of weights, per channel, over the whole range of int8, which is what ONNX knows: for weights that lie on the steps already."""

    def __init__(self, learnt: nn.Module):
        super().__init__()
        self.register_buffer("scale", learnt.scale.detach().clone())
        self.register_buffer("zero", torch.zeros_like(self.scale, dtype=torch.int32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fake_quantize_per_channel_affine(x, self.scale, self.zero, 0, -128, 127)


def prepared(net: nn.Module, example: torch.Tensor) -> RoundedNet:
    """A copy of a trained network that rounds weights and activations as int8 does. example : windows (n, 1, bands, frames), by which the ranges begin.

    Raises
    ------
    CannotQuantise
        for a network that is no picture classifier of torchvision or timm, or one whose steps depend on its input.
    """
    from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver, QConfig, QConfigMapping, default_fixed_qparams_range_0to1_fake_quant
    from torch.ao.quantization.quantize_fx import prepare_qat_fx
    from torch.fx.experimental.optimization import fuse

    if not isinstance(net, PictureNet):
        raise CannotQuantise(f"{type(net).__name__}: quantisation-aware training is for picture networks; take backbone mobilenet_v3_small.8 or resnet18, or leave out quantise_epochs")
    activation = FakeQuantize.with_args(observer=MovingAverageMinMaxObserver, quant_min=0, quant_max=255, dtype=torch.quint8)
    weight = FakeQuantize.with_args(observer=MovingAveragePerChannelMinMaxObserver, quant_min=-64, quant_max=63, dtype=torch.qint8, qscheme=torch.per_channel_symmetric, ch_axis=0)
    between_0_and_1 = QConfig(activation=default_fixed_qparams_range_0to1_fake_quant, weight=weight)
    how = QConfigMapping().set_global(QConfig(activation=activation, weight=weight)).set_object_type(nn.Hardsigmoid, between_0_and_1)
    with warnings.catch_warnings():  # torch announces that these tools move to another package
        warnings.simplefilter("ignore")
        try:
            body = prepare_qat_fx(fuse(net.body.eval()).train(), how, (example[:1],))
        except torch.fx.proxy.TraceError as error:
            raise CannotQuantise(f"{net.arguments['backbone']}: its steps depend on its input ({str(error)[:80]}); take backbone mobilenet_v3_small.8 or resnet18") from None
    rounded = RoundedNet(net, body)
    with torch.no_grad():
        rounded.train()(example)
    return rounded


def trained_int8(net: nn.Module, train: WindowSet, validation: WindowSet, settings: FitSettings, epochs: int, folder: Path, progress: bool = False) -> tuple[RoundedNet, list[dict]]:
    """`epochs` more of a trained network, rounded: the best epoch by the validation windows, and the history. A run that was cut off goes on from `folder`."""
    torch.manual_seed(settings.seed)
    x, _, _ = train.__getitems__(list(range(min(settings.batch_size, len(train)))))
    return fit(prepared(copy.deepcopy(net).cpu(), x), train, validation, replace(settings, epochs=epochs, learning_rate=SMALLER_STEPS * settings.learning_rate), folder, progress)


def int8_beside(net: nn.Module, data: DataSet, profile: Profile, spec: Experiment, folder: str | Path, path: str | Path | None = None,
                progress: bool = False) -> tuple[pd.DataFrame, dict[str, float], dict[str, dict]]:
    """The experiment's network in int8, trained for it, written to `model_int8.onnx` (with its own calibration and thresholds in `model_int8.json`) and judged on the same windows.

    Returns
    -------
    test windows with the int8 network's probabilities; its thresholds of highest F1 on the validation windows; {"float32", "int8": {"kB", "windows per s", "weights"}}, both as ONNX
    """
    folder = Path(folder)
    train, validation = WindowSet(data, data.rows(split="train"), profile, Augmentation(**spec.augmentation), spec.seed), WindowSet(data, data.rows(split="validation"), profile)
    small, _ = trained_int8(net, train, validation, settings_of(spec), spec.quantise_epochs, folder / "checkpoints" / "int8", progress)
    written = {"float32": export_windows(net, profile, folder / "checkpoints" / "float32.onnx"), "int8": export_int8(small, profile, Path(path or folder / "model_int8.onnx"))}
    save_int8(written["int8"], calibrated(Int8Net(written["int8"], net.n_positions), data, profile, spec.name, spec.target_precision, spec.thresholds))
    x = inputs(data, data.rows(split="train").iloc[:4 * BATCH], profile)
    weights = sum(p.numel() for p in net.parameters())
    sizes = {name: {"kB": made.stat().st_size / 1000, "windows per s": windows_per_s(made, x), "weights": weights} for name, made in written.items()}
    known, test = in_use(data.rows(split="validation")), judged_rows(data.manifest, "test")
    by, target = sigmoid(int8_logits(written["int8"], data, known, profile)), columns(known, "target", profile.labels)
    limits = {label: best_threshold(by[:, k], target[:, k], spec.target_precision) for k, label in enumerate(profile.labels)}
    return with_probabilities(test, sigmoid(int8_logits(written["int8"], data, test, profile)), profile.labels, profile), limits, sizes


def int8_logits(path: Path, data: DataSet, rows: pd.DataFrame, profile: Profile) -> np.ndarray:
    """Window logits (n, labels) of manifest rows by an exported network."""
    run = session(path)
    return np.concatenate([answer(path, inputs(data, rows.iloc[i:i + CHUNK], profile), run) for i in range(0, len(rows), CHUNK)])


def export_int8(net: RoundedNet, profile: Profile, path: Path) -> Path:
    """Write a rounded network as ONNX whose weights are int8 and biases int32, with its learnt ranges.

    Raises
    ------
    RuntimeError
        if what was written answers otherwise than the network that was trained.
    """
    from torch.ao.quantization import FakeQuantizeBase

    net = copy.deepcopy(net).cpu().eval()
    for module in list(net.modules()):
        for name, child in list(module._modules.items()):  # not named_children, which passes over what is used twice
            if name == "weight_fake_quant":
                with torch.no_grad():
                    module.weight.copy_(child(module.weight))
                module.weight_fake_quant = WeightRounding(child)
            elif isinstance(child, FakeQuantizeBase):
                setattr(module, name, Rounding(child))
    path.parent.mkdir(parents=True, exist_ok=True)
    export_onnx_windows(net, profile, path)
    whole_numbers(path)
    short_names(path)
    example = example_of(profile, 8)
    with torch.no_grad():
        expected = net(example)[0].numpy()
    difference = float(np.sqrt(np.mean((answer(path, example.numpy()) - expected) ** 2)))
    if difference > ROUNDINGS * max(1.0, float(expected.std())):
        raise RuntimeError(f"{path}: the int8 network's logits differ by {difference:.2g} from those of the network that was trained; do not use it")
    return path


def whole_numbers(path: Path) -> None:
    """Weights of an exported network stored as the int8 numbers that they are rounded to, biases as int32 in steps of input times weight."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(path))
    graph = model.graph
    value = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    value |= {node.output[0]: numpy_helper.to_array(node.attribute[0].t) for node in graph.node if node.op_type == "Constant" and node.attribute[0].name == "value"}
    made_by = {output: node for node in graph.node for output in node.output}
    gone, fresh, before = [], [], {}
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] in value:
            weight, step = value[node.input[0]], value[node.input[1]]
            step_of = step.reshape(-1, *[1] * (weight.ndim - 1)) if step.ndim else step
            fresh.append(numpy_helper.from_array(np.clip(np.rint(weight / step_of), -128, 127).astype(np.int8), node.output[0]))
            gone.append(node)
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3 or node.input[2] not in value:
            continue
        seen, weight = (made_by.get(name) for name in node.input[:2])
        if seen is None or weight is None or seen.op_type != "DequantizeLinear" or weight.op_type != "DequantizeLinear":
            continue
        step, name = (value[seen.input[1]] * value[weight.input[1]]).astype(np.float32), node.input[2]
        fresh += [numpy_helper.from_array(np.rint(value[name] / step).astype(np.int32), f"{name}_int32"), numpy_helper.from_array(step, f"{name}_step"),
                  numpy_helper.from_array(np.zeros(step.shape, np.int32), f"{name}_zero")]
        before[node.output[0]] = helper.make_node("DequantizeLinear", [f"{name}_int32", f"{name}_step", f"{name}_zero"], [f"{name}_rounded"], axis=0)
        node.input[2] = f"{name}_rounded"
    nodes = []
    for node in graph.node:
        nodes += [before[node.output[0]]] if node.output[0] in before else []
        nodes += [] if any(node is old for old in gone) else [node]
    used = {name for node in nodes for name in node.input}
    kept = [i for i in graph.initializer if i.name in used] + fresh
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
