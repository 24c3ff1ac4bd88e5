"""Conversion of ONNX networks to float16 and int8 with the tools of onnxruntime.

The head stays in float32, because its outputs are the positions and tags: quantizing it to int8
costs 8 points of AP in the body (`docs/export.md`).
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16

from tagpose.export.onnx import INPUT_NAME

_CONVOLUTIONS: Final = ("Conv", "ConvTranspose")
_HEAD_WEIGHT: Final = "head.weight"  # suffix of the names of the weights of both heads


def convert_to_float16(file: Path) -> None:
    """Convert a network in place to float16, other than its head and everything after it.

    Args:
        file: ONNX network in float32; its inputs and outputs keep their types.
    """
    model = onnx.load(file)
    head = _head_nodes(model.graph)
    onnx.save(convert_float_to_float16(model, keep_io_types=True, node_block_list=head), file)


def convert_to_int8(file: Path, inputs: Iterable[np.ndarray]) -> None:
    """Quantize the convolutions of a network in place to int8, other than its head.

    Weights have a scale per output channel, and activations have the range of the calibration
    inputs. Activations are unsigned, because signed ones take three times as long on x86.

    Args:
        file: ONNX network in float32; its inputs and outputs keep their types.
        inputs: calibration inputs [B, 3, H, W] uint8.
    """
    model = onnx.load(file)
    logging.disable(logging.WARNING)  # onnxruntime recommends steps that the exporter did already
    try:
        quantize_static(
            model,
            file,
            _CalibrationInputs(inputs),
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=_head_nodes(model.graph),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    finally:
        logging.disable(logging.NOTSET)


def _head_nodes(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the convolutions of both heads, and of all nodes after the last one."""
    features: set[str] = set()  # tensors that a convolution needs
    head = []
    for node in reversed(graph.node):  # in topological order
        precedes = node.op_type in _CONVOLUTIONS or not features.isdisjoint(node.output)
        if precedes:
            features.update(node.input)
        if not precedes or any(name.endswith(_HEAD_WEIGHT) for name in node.input):
            head.append(node.name)
    return head


class _CalibrationInputs:
    """Network inputs in the form that onnxruntime reads them."""

    def __init__(self, inputs: Iterable[np.ndarray]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        images = next(self._inputs, None)
        return None if images is None else {INPUT_NAME: images}
