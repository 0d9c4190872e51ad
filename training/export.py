"""Networks as ONNX: on a processor the ONNX runtime answers about a third faster than the training framework, with the same numbers within rounding.

    export_onnx(net.fused(), example, "model.onnx")
    window_logits, position_logits = OnnxNet("model.onnx")(tiles)

Source: ONNX, Open Neural Network Exchange, operator set 17.
"""
from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch

OPERATOR_SET = 17


def export_onnx(net: torch.nn.Module, example: torch.Tensor, path: str | Path, method: str = "forward") -> None:
    """Write a network as ONNX. The first axis of input and outputs stays free.

    Parameters
    ----------
    net : in evaluation mode, on the CPU.  example : an input, (n, 1, bands, frames).
    method : which of the network's methods is called.
    """
    import onnx
    from torch.onnx import export

    with warnings.catch_warnings():  # the exporter announces its successor, which needs packages we have no other use for
        warnings.simplefilter("ignore")
        export(_Call(net, method).eval(), (example,), str(path), dynamo=False, opset_version=OPERATOR_SET, input_names=["pictures"],
               output_names=["window", "position"], dynamic_axes={name: {0: name} for name in ("pictures", "window", "position")})
    onnx.checker.check_model(str(path))


class _Call(torch.nn.Module):
    """A network whose `forward` is another of its methods."""

    def __init__(self, net: torch.nn.Module, method: str):
        super().__init__()
        self.net, self.method = net, method

    def forward(self, x):
        return getattr(self.net, self.method)(x)


class OnnxNet:
    """An exported network, on one thread of the processor. Calls from several threads at once are allowed."""

    def __init__(self, path: str | Path):
        from onnxruntime import InferenceSession, SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # see spectrogram.threads
        options.log_severity_level = 3
        self._session = InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, 1, bands, frames) float32 -> logits of windows and of positions."""
        return tuple(self._session.run(None, {"pictures": pictures}))
