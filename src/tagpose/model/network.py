"""This file holds the network: an HRNet backbone and the heads of Associative Embedding."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from tagpose.codec.tta import merge_resolutions
from tagpose.model.backbone import hrnet
from tagpose.model.higher import HEAD_STD, HIGHER, FinerHead
from tagpose.own_skeleton import defined, definition
from tagpose.skeleton import KEYPOINT, FlipIndices, Skeleton
from tagpose.structures import SIDE, STRIDE, Fields, Pyramid

# of ImageNet in 0..255, which every HRNet of timm was trained with
MEAN: Final = (123.675, 116.28, 103.53)
STD: Final = (58.395, 57.12, 57.375)
FINER: Final = "finer."  # before the names of the finer head's tensors
FINER_INPUTS: Final = f"{FINER}layers.0.0.weight"


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


class Channels(NamedTuple):
    """Channels along the first axis of a tensor that depends on the skeleton.

    Feature channels come first, then K heatmaps, then G tag maps.
    """

    features: int
    tagged: bool  # whether there are channels of tag maps

    def count(self, facts: "Facts") -> int:
        """Return the number of channels of a network."""
        return self.features + facts.skeleton.size + self.tagged * facts.tag_maps


class Facts(NamedTuple):
    """What must be known to make a network again before its weights can be loaded."""

    architecture: str
    skeleton: Skeleton
    side: int = SIDE  # of the inputs it learned from, in input pixels
    sub_cell: bool = False  # whether its peaks stand between the cells, where the keypoints are
    tags: str = KEYPOINT  # how keypoints share tag maps; see `Skeleton.tag_index`

    @property
    def tag_index(self) -> tuple[int, ...]:
        """The tag map [K] of each keypoint."""
        return self.skeleton.tag_index(self.tags)

    @property
    def tag_maps(self) -> int:
        """The number G of tag maps."""
        return len(set(self.tag_index))

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
            str(said.get("tags", KEYPOINT)),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"it does not say which network it is of: {error}") from error


class PoseNetwork(nn.Module):
    """One pass from images to the fields of a skeleton.

    Args:
        architecture: an HRNet of timm, such as "hrnet_w32"; "higherhrnet_w32" is the same with the
            finer head of HigherHRNet.
        skeleton: whose keypoints it predicts.
        side: of the inputs that it learns from, in input pixels; a fact for those who test it.
        sub_cell: whether it learns peaks between the cells (see `Encoder`); a fact, too.
        tags: how keypoints share tag maps: "keypoint", "part" or "shared"; see
            `Skeleton.tag_index`.
        pretrained: whether the backbone starts from timm's ImageNet weights, or a file or https
            address of other weights; see `hrnet`.
        tag_std: of the initial weights of the tags' rows. 0.001 as published starts with the same
            tag for everybody, where the push has no gradient; short schedules want more.
        compiled: whether backbone and finer head are compiled; see `compile_backbone`.
    """

    def __init__(
        self,
        architecture: str,
        skeleton: Skeleton,
        *,
        side: int = SIDE,
        sub_cell: bool = False,
        tags: str = KEYPOINT,
        pretrained: bool | str = False,
        tag_std: float = HEAD_STD,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        self.architecture, self.skeleton = architecture, skeleton
        self.side, self.sub_cell, self.tags = side, sub_cell, tags
        keypoints, tag_maps = skeleton.size, self.facts.tag_maps
        name = architecture.removeprefix(HIGHER)
        self.backbone, channels = hrnet(name, pretrained=pretrained)
        self.head = nn.Conv2d(channels, keypoints + tag_maps, kernel_size=1)
        nn.init.normal_(self.head.weight.data[:keypoints], std=HEAD_STD)
        nn.init.normal_(self.head.weight.data[keypoints:], std=tag_std)
        nn.init.zeros_(self.head.get_parameter("bias"))
        is_finer = name != architecture
        self.finer = FinerHead(channels, keypoints, tag_maps) if is_finer else None
        # w18_small trains 1.1 times as fast on a CPU with it, 1.4 times in bf16
        self.to(memory_format=torch.channels_last)
        if compiled:
            self.compile_backbone()

    def compile_backbone(self) -> None:
        """Have torch.compile fuse all but the 1 x 1 head from the next pass on; it takes minutes.

        In place, so that parameters keep their names, and files of weights are the same without.
        """
        self.backbone.compile()
        if self.finer:
            self.finer.compile()

    @property
    def keypoint_channels(self) -> dict[str, Channels]:
        """The tensors whose channels depend on the skeleton, by name."""
        head = dict.fromkeys(("head.weight", "head.bias"), Channels(0, tagged=True))
        if not self.finer:
            return head
        finer = dict.fromkeys(
            (f"{FINER}head.weight", f"{FINER}head.bias"), Channels(0, tagged=False)
        )
        # the first axis of a transposed convolution is that of its inputs
        inputs = {FINER_INPUTS: Channels(self.head.in_channels, tagged=True)}
        return head | finer | inputs

    @property
    def strides(self) -> tuple[int, ...]:
        """Input pixels per cell of each resolution; tags are at the first, fields at the last."""
        return (STRIDE, STRIDE // 2) if self.finer else (STRIDE,)

    @property
    def facts(self) -> Facts:
        """What a file of its weights says of it."""
        return Facts(self.architecture, self.skeleton, self.side, self.sub_cell, self.tags)

    @property
    def tag_index(self) -> tuple[int, ...]:
        """The tag map [K] of each keypoint."""
        return self.facts.tag_index

    @property
    def decoder_options(self) -> dict[str, Any]:
        """The options of a decoder that follow from how the network was trained."""
        return {"subpixel": self.sub_cell, "tag_index": self.tag_index}

    @property
    def flip_indices(self) -> FlipIndices:
        """Which channels take the places of others when an image is flipped."""
        return self.skeleton.flip_indices(self.tags)

    def forward(self, image: Tensor) -> Fields:
        """Fields of images [B, 3, H, W] uint8 RGB; H and W are multiples of DEEPEST."""
        return merge_resolutions(self.pyramid(image))

    def pyramid(self, image: Tensor) -> Pyramid:
        """What the fields of images [B, 3, H, W] uint8 RGB are merged of, and what is learned."""
        return self.outputs(normalise(image))

    def outputs(self, inputs: Tensor) -> Pyramid:
        """The same of normalised images [B, 3, H, W], float32."""
        features = self.backbone(inputs)[0].float()
        # bf16 has too few digits for fields: neighbouring cells of a peak would be equal
        with torch.autocast(features.device.type, enabled=False):
            outputs = self.head(features).contiguous()
        heatmaps, tags = outputs.tensor_split([self.skeleton.size], dim=1)
        finer = (self.finer(features, outputs),) if self.finer else ()
        return Pyramid((heatmaps, *finer), tags[:, None])
