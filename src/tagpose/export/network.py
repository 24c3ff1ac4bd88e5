"""This file writes a network as ONNX, with all that stands between an image and its fields."""

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

_TOLERANCE: Final = 1e-3  # of the largest value; sums in another order differ by about 1e-6
_SIDES: Final = ("h32", "w32")  # what the sides are multiples of DEEPEST of
_FOLLOWED: Final = (2, 3, 128, 192)  # shape of the images with which torch follows the network
_TRIED: Final = (3, 3, 192, 64)  # another one, to see that no side was taken for a constant


class WholeTest(nn.Module):
    """From images to the fields that are decoded: normalisation, network, mirror test.

    Args:
        network: of any skeleton.
        mirror: whether the mirrored image is looked at too, and both merged.
    """

    def __init__(self, network: PoseNetwork, *, mirror: bool) -> None:
        super().__init__()
        self.network, self.mirror = network, mirror

    def forward(self, image: Tensor) -> Fields:
        """Fields of images [B, 3, H, W] uint8 RGB; L is 2 with the mirror test, 1 without."""
        if not self.mirror:
            return self.network(image)
        both = self.network(torch.cat([image, image.flip(-1)]))  # one pass halves the file's graph
        batch = image.shape[0]  # which torch.export leaves open, unlike len and chunk
        mirrored = Fields(*(each[batch:] for each in both))
        back = flip_maps(mirrored, self.network.skeleton.mirror)
        return Fields(
            heatmaps=(both.heatmaps[:batch] + back.heatmaps) / 2,
            tags=torch.cat([both.tags[:batch], back.tags], dim=1),
        )


def write_onnx(file: Path, test: WholeTest) -> float:
    """Write a network as ONNX: input `image`, outputs named as the fields are.

    Any batch will do for it, and any height and width that are multiples of DEEPEST from 64 on.

    Args:
        file: to write.
        test: on a CPU.

    Returns:
        How far its fields are from PyTorch's, in shares of the largest value of either map.

    Raises:
        ValueError: they are too far.
    """
    program = _followed(test.eval())
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # they name the files and lines of this machine
    strides = test.network.strides
    ends = strides[-1], strides[0]
    for fields, stride in zip(program.model.graph.outputs, ends, strict=True):
        for axis, side in zip((-2, -1), _SIDES, strict=True):
            fields.shape[axis] = f"{DEEPEST // stride}*{side}"
    program.save(file)
    return _difference(file, test)


def _followed(test: WholeTest) -> Any:
    """The program of a network."""
    images = torch.zeros(_FOLLOWED, dtype=torch.uint8)
    with torch.inference_mode():
        test(images)  # `normalise` keeps what it makes, which must not be while torch only follows
    for name in ("onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they tell of every node they touch
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
    """How far the fields of a file are from PyTorch's, in shares of the largest value."""
    images = np.random.default_rng(0).integers(0, 256, _TRIED, dtype=np.uint8)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    written = session.run(None, {INPUT: images})
    with torch.inference_mode():
        expected = [each.numpy() for each in test(torch.from_numpy(images))]
    apart = max(
        float(np.abs(ours - theirs).max() / np.abs(theirs).max())
        for ours, theirs in zip(written, expected, strict=True)
    )
    if not apart <= _TOLERANCE:  # nor if it is NaN
        raise ValueError(
            f"the fields of {file.name} differ from PyTorch's by {apart:.1e} of the largest value; "
            "do torch, onnxscript and onnxruntime fit each other?"
        )
    return apart
