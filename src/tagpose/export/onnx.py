"""Export of a network to ONNX, with its normalisation and flip test."""

import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from tagpose.codec.tta import flip_maps
from tagpose.models.network import PoseNetwork
from tagpose.structures import MAX_STRIDE, KeypointMaps

INPUT_NAME: Final = "image"

_TOLERANCE: Final = 1e-3  # of the largest output; another order of summation makes about 1e-6
_SIZE_SYMBOLS: Final = ("h32", "w32")  # height and width of the input in units of MAX_STRIDE
_TRACE_SHAPE: Final = (2, 3, 128, 192)  # shape of the images with which torch traces the network
_CHECK_SHAPE: Final = (
    3,
    3,
    192,
    64,
)  # another one, because tracing can turn a size into a constant


class InferenceNetwork(nn.Module):
    """Normalisation, network and flip test: everything between images and the decoder.

    Args:
        network: of any skeleton.
        flip_test: whether the outputs for the flipped images are merged with those for the images.
    """

    def __init__(self, network: PoseNetwork, *, flip_test: bool) -> None:
        super().__init__()
        self.network, self.flip_test = network, flip_test

    def forward(self, image: Tensor) -> KeypointMaps:
        """Return the outputs for images [B, 3, H, W] uint8 RGB; L is 2 with the flip test."""
        if not self.flip_test:
            return self.network(image)
        both = self.network(torch.cat([image, image.flip(-1)]))  # one pass halves the graph
        batch = image.shape[0]  # stays dynamic in torch.export, unlike len and chunk
        flipped = KeypointMaps(*(each[batch:] for each in both))
        flipped_back = flip_maps(flipped, self.network.channel_flip_indices)
        return KeypointMaps(
            heatmaps=(both.heatmaps[:batch] + flipped_back.heatmaps) / 2,
            tags=torch.cat([both.tags[:batch], flipped_back.tags], dim=1),
        )


def write_onnx(file: Path, module: InferenceNetwork) -> float:
    """Write a network as ONNX: the input is `image`, the outputs are the fields of `KeypointMaps`.

    The batch size is dynamic, and so are height and width: multiples of MAX_STRIDE, at least 64.

    Args:
        file: ONNX file to write.
        module: network on a CPU.

    Returns:
        The largest difference from PyTorch's outputs, relative to the largest value of each output.

    Raises:
        ValueError: if the outputs differ too much.
    """
    program = _trace(module.eval())
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # they contain paths of this machine
    strides = module.network.strides
    output_strides = strides[-1], strides[0]
    for output, stride in zip(program.model.graph.outputs, output_strides, strict=True):
        for axis, symbol in zip((-2, -1), _SIZE_SYMBOLS, strict=True):
            output.shape[axis] = f"{MAX_STRIDE // stride}*{symbol}"
    program.save(file)
    return _max_relative_difference(file, module)


def _trace(module: InferenceNetwork) -> Any:
    """Return the ONNX program of a network."""
    images = torch.zeros(_TRACE_SHAPE, dtype=torch.uint8)
    with torch.inference_mode():
        module(images)  # `normalise` caches tensors, which must not be those of the trace
    for name in ("onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they log every node
    height, width = (MAX_STRIDE * torch.export.Dim(symbol, min=2) for symbol in _SIZE_SYMBOLS)
    return torch.onnx.export(
        module,
        (images,),
        dynamo=True,
        verbose=False,
        input_names=[INPUT_NAME],
        output_names=KeypointMaps._fields,
        dynamic_shapes={INPUT_NAME: {0: torch.export.Dim("batch"), 2: height, 3: width}},
    )


def _max_relative_difference(file: Path, module: InferenceNetwork) -> float:
    """Return the largest difference between ONNX and PyTorch, relative to the largest value."""
    images = np.random.default_rng(0).integers(0, 256, _CHECK_SHAPE, dtype=np.uint8)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    exported = session.run(None, {INPUT_NAME: images})
    with torch.inference_mode():
        expected = [each.numpy() for each in module(torch.from_numpy(images))]
    difference = max(
        float(np.abs(ours - theirs).max() / np.abs(theirs).max())
        for ours, theirs in zip(exported, expected, strict=True)
    )
    if not difference <= _TOLERANCE:  # NaN is refused, too
        raise ValueError(
            f"the outputs of {file.name} differ from PyTorch's by {difference:.1e} of the largest "
            f"value, and {_TOLERANCE:.0e} is allowed; update torch, onnxscript and onnxruntime"
        )
    return difference
