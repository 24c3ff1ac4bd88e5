"""Export of a network to ONNX, with its normalisation and flip test."""

import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from tagpose.codec.tta import flip_maps
from tagpose.model.network import PoseNetwork
from tagpose.structures import DEEPEST, Fields

INPUT: Final = "image"

_TOLERANCE: Final = 1e-3  # of the largest output; another order of summation makes about 1e-6
_SIDES: Final = ("h32", "w32")  # height and width of the input in units of DEEPEST
_TRACED: Final = (2, 3, 128, 192)  # shape of the images with which torch traces the network
_COMPARED: Final = (3, 3, 192, 64)  # another one, because tracing can turn a size into a constant


class WholeTest(nn.Module):
    """Normalisation, network and flip test: everything between images and the decoder.

    Args:
        network: of any skeleton.
        mirror: whether the outputs for the flipped images are merged with those for the images.
    """

    def __init__(self, network: PoseNetwork, *, mirror: bool) -> None:
        super().__init__()
        self.network, self.mirror = network, mirror

    def forward(self, image: Tensor) -> Fields:
        """Return the outputs for images [B, 3, H, W] uint8 RGB; L is 2 with the flip test."""
        if not self.mirror:
            return self.network(image)
        both = self.network(torch.cat([image, image.flip(-1)]))  # one pass halves the graph
        batch = image.shape[0]  # stays dynamic in torch.export, unlike len and chunk
        mirrored = Fields(*(each[batch:] for each in both))
        back = flip_maps(mirrored, self.network.flip_indices)
        return Fields(
            heatmaps=(both.heatmaps[:batch] + back.heatmaps) / 2,
            tags=torch.cat([both.tags[:batch], back.tags], dim=1),
        )


def write_onnx(file: Path, test: WholeTest) -> float:
    """Write a network as ONNX: the input is `image`, the outputs are the fields of `Fields`.

    The batch size is dynamic, and so are height and width: multiples of DEEPEST, at least 64.

    Args:
        file: ONNX file to write.
        test: network on a CPU.

    Returns:
        The largest difference from PyTorch's outputs, relative to the largest value of each output.

    Raises:
        ValueError: if the outputs differ too much.
    """
    program = _trace(test.eval())
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # they contain paths of this machine
    strides = test.network.strides
    ends = strides[-1], strides[0]
    for fields, stride in zip(program.model.graph.outputs, ends, strict=True):
        for axis, side in zip((-2, -1), _SIDES, strict=True):
            fields.shape[axis] = f"{DEEPEST // stride}*{side}"
    program.save(file)
    return _difference(file, test)


def _trace(test: WholeTest) -> Any:
    """Return the ONNX program of a network."""
    images = torch.zeros(_TRACED, dtype=torch.uint8)
    with torch.inference_mode():
        test(images)  # `normalise` caches tensors, which must not be those of the trace
    for name in ("onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they log every node
    height, width = (DEEPEST * torch.export.Dim(side, min=2) for side in _SIDES)
    return torch.onnx.export(
        test,
        (images,),
        dynamo=True,
        verbose=False,
        input_names=[INPUT],
        output_names=Fields._fields,
        dynamic_shapes={INPUT: {0: torch.export.Dim("batch"), 2: height, 3: width}},
    )


def _difference(file: Path, test: WholeTest) -> float:
    """Return the largest difference between ONNX and PyTorch, relative to the largest value."""
    images = np.random.default_rng(0).integers(0, 256, _COMPARED, dtype=np.uint8)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    written = session.run(None, {INPUT: images})
    with torch.inference_mode():
        expected = [each.numpy() for each in test(torch.from_numpy(images))]
    difference = max(
        float(np.abs(ours - theirs).max() / np.abs(theirs).max())
        for ours, theirs in zip(written, expected, strict=True)
    )
    if not difference <= _TOLERANCE:  # NaN is refused, too
        raise ValueError(
            f"the outputs of {file.name} differ from PyTorch's by {difference:.1e} of the largest "
            f"value, and {_TOLERANCE:.0e} is allowed; update torch, onnxscript and onnxruntime"
        )
    return difference
