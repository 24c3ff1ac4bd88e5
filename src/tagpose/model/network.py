"""This file holds the network: an HRNet backbone and the head of Associative Embedding."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from tagpose.model.backbone import hrnet
from tagpose.own_skeleton import defined, definition
from tagpose.skeleton import Skeleton
from tagpose.structures import SIDE, Fields

# of ImageNet in 0..255, which every HRNet of timm was trained with
MEAN: Final = (123.675, 116.28, 103.53)
STD: Final = (58.395, 57.12, 57.375)

_HEAD_STD: Final = 0.001  # of the initial weights, as published


def normalise(image: Tensor) -> Tensor:
    """Image [B, 3, H, W] uint8 RGB as the backbone expects it, float32."""
    mean, deviation = _statistics(image.device)
    return (image.float() - mean) / deviation


@cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """MEAN and STD [3, 1, 1] on a device, sent once: the CPU waits for a GPU whenever it sends."""
    with torch.inference_mode(False):  # whoever asks first
        mean, deviation = (
            torch.tensor(v, dtype=torch.float32, device=device)[:, None, None] for v in (MEAN, STD)
        )
        return mean, deviation


class Facts(NamedTuple):
    """What must be known to make a network again before its weights can be loaded."""

    architecture: str
    skeleton: Skeleton
    side: int = SIDE  # of the inputs it learned from, in input pixels
    sub_cell: bool = False  # whether its peaks stand between the cells, where the keypoints are

    def __str__(self) -> str:
        return f"{self.architecture} with the skeleton {self.skeleton.name}"

    def written(self) -> dict[str, Any]:
        """What a file keeps of them: names and numbers."""
        said = definition(self.skeleton)
        return self._asdict() | {"skeleton": said["name"] if len(said) == 1 else said}


def facts_of(said: Mapping[str, Any]) -> Facts:
    """The facts that a file keeps.

    Raises:
        ValueError: they are not what `Facts.written` writes.
    """
    try:
        skeleton = said["skeleton"]
        skeleton = defined(skeleton) if isinstance(skeleton, str) else defined(**skeleton)
        return Facts(
            str(said["architecture"]),
            skeleton,
            int(said.get("side", SIDE)),
            bool(said.get("sub_cell", False)),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"it does not say which network it is of: {error}") from error


class PoseNetwork(nn.Module):
    """One pass from images to the fields of a skeleton.

    Args:
        architecture: an HRNet of timm, such as "hrnet_w32".
        skeleton: whose keypoints it predicts.
        side: of the inputs that it learns from, in input pixels; a fact for those who test it.
        sub_cell: whether it learns peaks between the cells (see `Encoder`); a fact, too.
        pretrained: whether the backbone starts from ImageNet weights.
        tag_std: of the initial weights of the tags' rows. 0.001 as published starts with the same
            tag for everybody, where the push has no gradient; short schedules want more.
        compiled: whether the backbone is compiled; see `compile_backbone`.
    """

    def __init__(
        self,
        architecture: str,
        skeleton: Skeleton,
        *,
        side: int = SIDE,
        sub_cell: bool = False,
        pretrained: bool = False,
        tag_std: float = _HEAD_STD,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        self.architecture, self.skeleton = architecture, skeleton
        self.side, self.sub_cell = side, sub_cell
        self.backbone, channels = hrnet(architecture, pretrained=pretrained)
        self.head = nn.Conv2d(channels, 2 * self.skeleton.size, kernel_size=1)
        heatmaps, tags = self.head.weight.data.chunk(2)
        nn.init.normal_(heatmaps, std=_HEAD_STD)
        nn.init.normal_(tags, std=tag_std)
        nn.init.zeros_(self.head.get_parameter("bias"))
        # w18_small trains 1.1 times as fast on a CPU with it, 1.4 times in bf16
        self.to(memory_format=torch.channels_last)
        if compiled:
            self.compile_backbone()

    def compile_backbone(self) -> None:
        """Have torch.compile fuse the backbone from its next pass on, which takes minutes.

        In place, so that parameters keep their names, and files of weights are the same without.
        """
        self.backbone.compile()

    @property
    def facts(self) -> Facts:
        """What a file of its weights says of it."""
        return Facts(self.architecture, self.skeleton, self.side, self.sub_cell)

    def forward(self, image: Tensor) -> Fields:
        """Fields of images [B, 3, H, W] uint8 RGB; H and W are multiples of 32."""
        return self.fields(normalise(image))

    def fields(self, inputs: Tensor) -> Fields:
        """Fields of normalised images [B, 3, H, W], float32."""
        features = self.backbone(inputs)[0].float()
        # bf16 has too few digits for fields: neighbouring cells of a peak would be equal
        with torch.autocast(features.device.type, enabled=False):
            heatmaps, tags = self.head(features).contiguous().chunk(2, dim=1)
        return Fields(heatmaps, tags[:, None])
