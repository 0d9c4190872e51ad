"""A network as ONNX, in float32 and in int8: its size, its speed, and what it answers.

int8 here is quantisation after training (Jacob et al. 2018) by onnxruntime: weights per channel, activations with ranges seen on some training windows; no training
follows. With some: `training.quantisation_aware`.
"""
from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from preprocessing.dataset import DataSet
from spectrogram.picture import normalise
from spectrogram.profile import Profile

BATCH = 32
PARITY = 1e-3  # largest difference of logits between torch and the exported network, of the largest logit (of 1 where all are smaller)


class WindowsOnly(torch.nn.Module):
    """The network without its positions: (batch, 1, bands, frames) -> window logits."""

    def __init__(self, net: torch.nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)[0]


def export_windows(net: torch.nn.Module, profile: Profile, path: Path) -> Path:
    """Write the network as ONNX for any number of windows.

    Raises
    ------
    RuntimeError
        if the exported network answers otherwise than the original.
    """
    net = (net.fused() if hasattr(net, "fused") else net).eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    export_onnx_windows(net, profile, path)
    short_names(path)
    example = example_of(profile)
    with torch.no_grad():
        expected = net(example)[0].numpy()
    difference = float(np.abs(answer(path, example.numpy()) - expected).max())
    if difference > PARITY * max(1.0, float(np.abs(expected).max())):
        raise RuntimeError(f"{path}: the exported network's logits differ by {difference:.2g} from the original's; do not use it")
    return path


def export_onnx_windows(net: torch.nn.Module, profile: Profile, path: Path) -> None:
    """The file of `export_windows`, not yet compared."""
    with torch.no_grad(), warnings.catch_warnings():  # the exporter announces its successor
        warnings.simplefilter("ignore")
        torch.onnx.export(WindowsOnly(net).eval(), (example_of(profile),), str(path), input_names=["picture"], output_names=["window"], dynamic_axes={"picture": {0: "n"}, "window": {0: "n"}},
                          opset_version=17, dynamo=False)


def short_names(path: Path) -> None:
    """Tensors of an exported network called t0, t1 and so on: the exporter's names would be a quarter of a small network's file."""
    import onnx

    model = onnx.load(str(path))
    graph, names = model.graph, {}
    fixed = {"", *(value.name for value in (*graph.input, *graph.output))}

    def short(name: str) -> str:
        return name if name in fixed else names.setdefault(name, f"t{len(names)}")

    for node in graph.node:
        node.name = ""
        node.input[:], node.output[:] = [short(name) for name in node.input], [short(name) for name in node.output]
    for weights in graph.initializer:
        weights.name = short(weights.name)
    del graph.value_info[:]
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def example_of(profile: Profile, count: int = 2) -> torch.Tensor:
    """(count, 1, bands, frames) random windows, the same each time."""
    return torch.randn(count, 1, profile.n_columns, profile.window_frames, generator=torch.Generator().manual_seed(0))


class Int8Net(torch.nn.Module):
    """A network in int8 where a float one is expected: (batch, 1, bands, frames) -> window logits, and the same at every position. It answers on the processor, whatever the
    device, and cannot be trained."""

    def __init__(self, path: Path, n_positions: int):
        super().__init__()
        self.n_positions, self._session = n_positions, session(path)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        window = torch.from_numpy(self._session.run(None, {"picture": np.ascontiguousarray(x.cpu().numpy())})[0])
        return window, window[..., None].expand(-1, -1, self.n_positions)


def session(path: Path):
    """An onnxruntime session on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def answer(path: Path, x: np.ndarray, run=None) -> np.ndarray:
    """Window logits of (n, 1, bands, frames)."""
    run = run or session(path)
    return np.concatenate([run.run(None, {"picture": x[i:i + BATCH]})[0] for i in range(0, len(x), BATCH)])


def inputs(data: DataSet, rows: pd.DataFrame, profile: Profile) -> np.ndarray:
    """(n, 1, bands, frames) of manifest rows, as the network sees them."""
    return np.ascontiguousarray(normalise(data.windows(rows), profile).transpose(0, 2, 1)[:, None])


def to_int8(path: Path, seen: np.ndarray) -> Path:
    """The network of `path` in int8 (`..._int8.onnx`), ranges from the windows `seen` (n, 1, bands, frames)."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.batches = iter([{"picture": seen[i:i + BATCH]} for i in range(0, len(seen), BATCH)])

        def get_next(self):
            return next(self.batches, None)

    small = path.with_name(path.stem + "_int8.onnx")
    quantize_static(str(path), str(small), Reader(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                    reduce_range=True)  # weights of 7 bits: with 8, the 16-bit sums of processors without VNNI overflow without a word
    short_names(small)
    return small


def windows_per_s(path: Path, x: np.ndarray, turns: int = 5) -> float:
    """Median of some timed turns on one thread, after one to warm up; in seconds of the processor, so that what else the machine does does not count."""
    run, took = session(path), []
    answer(path, x, run)
    for _ in range(turns):
        begun = time.process_time()
        answer(path, x, run)
        took.append(time.process_time() - begun)
    return len(x) / float(np.median(took))


def measured(net: torch.nn.Module, profile: Profile, data: DataSet, some: pd.DataFrame, test: pd.DataFrame, path: Path) -> tuple[dict, dict, np.ndarray]:
    """Size and speed in float32 and in int8 ({"kB", "windows per s", "weights"}), and the int8 network's logits of the test rows. `some`: rows to learn the ranges from."""
    seen = inputs(data, some, profile)
    whole = export_windows(net, profile, path)
    small = to_int8(whole, seen)
    weights = sum(p.numel() for p in net.parameters())
    sizes = [{"kB": p.stat().st_size / 1000, "windows per s": windows_per_s(p, seen[:4 * BATCH]), "weights": weights} for p in (whole, small)]
    run = session(small)
    logits = np.concatenate([answer(small, inputs(data, test.iloc[i:i + 512], profile), run) for i in range(0, len(test), 512)])
    return *sizes, logits
