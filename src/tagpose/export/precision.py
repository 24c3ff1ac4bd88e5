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

from tagpose.data.image_files import list_images
from tagpose.export.onnx import INPUT_NAME

_CALIBRATION_IMAGES: Final = 32  # maximum; with 8 to 128 images the AP differs by 0.004
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


def find_calibration_images(precision: str, source: str | None) -> list[Path]:
    """Return the images to calibrate int8 with, evenly spaced in the order of their names.

    Args:
        precision: precision of the export; only int8 is calibrated.
        source: path or pattern of the images, or None.

    Raises:
        FileNotFoundError: if there are no images.
        ValueError: if images are given for another precision, or none for int8.
    """
    if precision != "int8":
        if source:
            raise ValueError(
                f"calibration_images={source} has no effect with precision={precision}; remove it, "
                "or set precision=int8"
            )
        return []
    if not source:
        raise ValueError(
            "precision=int8 is calibrated with images, but calibration_images is missing; set it "
            "to a folder of about 30 images like those of later use"
        )
    files = list_images(source, "calibration_images")
    return files[:: max(1, len(files) // _CALIBRATION_IMAGES)][:_CALIBRATION_IMAGES]


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
