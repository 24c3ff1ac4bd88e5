"""ONNX export of a network with its normalization and flip test."""

import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from tagpose.codec.tta import flip_maps
from tagpose.models.network import PoseNetwork
from tagpose.structures import MAX_STRIDE, MIN_SIDE, KeypointMaps

INPUT_NAME: Final = "image"
_TOLERANCE: Final = (
    1e-3  # relative to the largest output; a different order of summation changes about 1e-6
)
_SIZE_SYMBOLS: Final = ("h32", "w32")  # height and width of the input, in units of MAX_STRIDE
_TRACE_SHAPE: Final = (2, 3, 128, 192)  # shape of the images for tracing
# shape for the check of dynamic shapes; different, because tracing can turn a size into a constant
_CHECK_SHAPE: Final = (3, 3, 192, 64)


class ExportableNetwork(nn.Module):
    """Normalization, network and flip test: everything between images and the decoder.

    Args:
        network: network of any skeleton.
        flip_test: whether to merge the outputs for the images and for the flipped images.
    """

    def __init__(self, network: PoseNetwork, *, flip_test: bool) -> None:
        super().__init__()
        self.network, self.flip_test = network, flip_test

    def forward(self, image: Tensor) -> KeypointMaps:
        """Return the outputs for images [B, 3, H, W] uint8 RGB; the flip test doubles L."""
        if not self.flip_test:
            return self.network(image)
        both = self.network(torch.cat([image, image.flip(-1)]))  # a single pass halves the graph
        batch = image.shape[0]  # stays dynamic in torch.export, unlike len and chunk
        flipped = KeypointMaps(*(tensor[batch:] for tensor in both))
        flipped_back = flip_maps(flipped, self.network.channel_flip_indices)
        return KeypointMaps(
            heatmaps=(both.heatmaps[:batch] + flipped_back.heatmaps) / 2,
            tags=torch.cat([both.tags[:batch], flipped_back.tags], dim=1),
        )


def write_onnx(
    file: Path, module: ExportableNetwork, static_shape: tuple[int, int] | None = None
) -> None:
    """Write a network as ONNX, with input `image` and the fields of `KeypointMaps` as outputs.

    Height and width are multiples of MAX_STRIDE and at least MIN_SIDE.

    Args:
        file: ONNX file to write.
        module: network on the CPU.
        static_shape: height, width of the only input shape, with a batch size of 1; None for
            dynamic batch size, height and width.

    Raises:
        ValueError: if the outputs differ too much from those of PyTorch.
    """
    program = _trace(module.eval(), static_shape)
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # contains paths of this machine
    if not static_shape:
        _name_output_sizes(program, module.network.strides)
    program.save(file)
    difference = max_relative_difference(file, module, static_shape)
    if not difference <= _TOLERANCE:  # also if it is NaN
        raise ValueError(
            f"the outputs of {file.name} differ from PyTorch's by {difference:.1e} of the largest "
            f"value, but at most {_TOLERANCE:.0e} is allowed; update torch, onnxscript and "
            "onnxruntime"
        )


def _name_output_sizes(program: Any, strides: tuple[int, ...]) -> None:
    """Name the sizes of the outputs after those of the input, such as "8*h32"."""
    for output, stride in zip(program.model.graph.outputs, (strides[-1], strides[0]), strict=True):
        for axis, symbol in zip((-2, -1), _SIZE_SYMBOLS, strict=True):
            output.shape[axis] = f"{MAX_STRIDE // stride}*{symbol}"


def _trace(module: ExportableNetwork, static_shape: tuple[int, int] | None) -> Any:
    """Return the ONNX program of a network."""
    shape = (1, 3, *static_shape) if static_shape else _TRACE_SHAPE
    images = torch.zeros(shape, dtype=torch.uint8)
    with torch.inference_mode():
        module(images)  # `normalize_image` caches tensors, which must not be created by the trace
    for name in ("onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.WARNING)  # otherwise they log every node
    minimum = MIN_SIDE // MAX_STRIDE
    height, width = (MAX_STRIDE * torch.export.Dim(symbol, min=minimum) for symbol in _SIZE_SYMBOLS)
    dynamic_axes = {0: torch.export.Dim("batch"), 2: height, 3: width}
    return torch.onnx.export(
        module,
        (images,),
        dynamo=True,
        verbose=False,
        input_names=[INPUT_NAME],
        output_names=KeypointMaps._fields,
        dynamic_shapes=None if static_shape else {INPUT_NAME: dynamic_axes},
    )


def max_relative_difference(
    file: Path, module: ExportableNetwork, static_shape: tuple[int, int] | None
) -> float:
    """Return the maximum difference between ONNX and PyTorch, relative to the largest value.

    It is NaN if any output is NaN.

    Args:
        file: ONNX network.
        module: the same network in PyTorch.
        static_shape: height, width of the input if it is static.
    """
    shape = (1, 3, *static_shape) if static_shape else _CHECK_SHAPE
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    exported = session.run(None, {INPUT_NAME: images})
    with torch.inference_mode():
        expected = [tensor.numpy() for tensor in module(torch.from_numpy(images))]
    differences = [
        np.abs(actual - reference).max() / np.abs(reference).max()
        for actual, reference in zip(exported, expected, strict=True)
    ]
    return float(np.max(differences))  # unlike the max of Python, NaN if one is NaN
