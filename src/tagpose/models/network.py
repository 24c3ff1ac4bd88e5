"""This file holds the network: an HRNet backbone and the heads of Associative Embedding."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from tagpose.codec.tta import merge_resolutions
from tagpose.models.backbone import build_hrnet
from tagpose.models.higherhrnet import HEAD_INIT_STD, HIGHER_PREFIX, HigherHRNetHead
from tagpose.skeletons.custom import build_skeleton, skeleton_to_dict
from tagpose.skeletons.skeleton import TAG_PER_KEYPOINT, ChannelFlipIndices, Skeleton
from tagpose.structures import DEFAULT_INPUT_SIZE, STRIDE, KeypointMaps, MultiResolutionMaps

# of ImageNet in 0..255, which every HRNet of timm was trained with
IMAGENET_MEAN: Final = (123.675, 116.28, 103.53)
IMAGENET_STD: Final = (58.395, 57.12, 57.375)
HIGHER_HEAD_PREFIX: Final = "higher_head."  # before the names of the HigherHRNet head's tensors
HIGHER_HEAD_INPUT_WEIGHT: Final = f"{HIGHER_HEAD_PREFIX}layers.0.0.weight"


def normalize(image: Tensor) -> Tensor:
    """Image [B, 3, H, W] uint8 RGB as the backbone expects it, float32."""
    mean, deviation = _mean_and_std(image.device)
    return (image.float() - mean) / deviation


@cache
def _mean_and_std(device: torch.device) -> tuple[Tensor, Tensor]:
    """IMAGENET_MEAN and IMAGENET_STD [3, 1, 1] on a device, sent once: the CPU waits for a GPU whenever it sends."""
    with torch.inference_mode(False):  # whoever asks first
        mean, deviation = (
            torch.tensor(v, dtype=torch.float32, device=device)[:, None, None]
            for v in (IMAGENET_MEAN, IMAGENET_STD)
        )
        return mean, deviation


class ChannelLayout(NamedTuple):
    """ChannelLayout along the first axis of a tensor that depends on the skeleton.

    Feature channels come first, then K heatmaps, then G tag maps.
    """

    features: int
    has_tags: bool  # whether there are channels of tag maps

    def count(self, spec: "ModelSpec") -> int:
        """Return the number of channels of a network."""
        return self.features + spec.skeleton.size + self.has_tags * spec.tag_maps


class ModelSpec(NamedTuple):
    """What must be known to make a network again before its weights can be loaded."""

    architecture: str
    skeleton: Skeleton
    input_size: int = DEFAULT_INPUT_SIZE  # of the inputs it learned from, in input pixels
    subpixel: bool = (
        False  # whether its peaks stand at sub-pixel positions, where the keypoints are
    )
    tag_sharing: str = TAG_PER_KEYPOINT  # how keypoints share tag maps; see `Skeleton.tag_index`

    @property
    def tag_index(self) -> tuple[int, ...]:
        """The tag map [K] of each keypoint."""
        return self.skeleton.tag_index(self.tag_sharing)

    @property
    def tag_maps(self) -> int:
        """The number G of tag maps."""
        return len(set(self.tag_index))

    def __str__(self) -> str:
        return f"{self.architecture} with the skeleton {self.skeleton.name}"

    def to_dict(self) -> dict[str, Any]:
        """What a file keeps of them: names and numbers."""
        content = skeleton_to_dict(self.skeleton)
        return self._asdict() | {"skeleton": content["name"] if len(content) == 1 else content}


def spec_from_dict(content: Mapping[str, Any]) -> ModelSpec:
    """The spec that a file keeps.

    Raises:
        ValueError: they are not what `ModelSpec.to_dict` writes.
    """
    try:
        skeleton = content["skeleton"]
        skeleton = (
            build_skeleton(skeleton) if isinstance(skeleton, str) else build_skeleton(**skeleton)
        )
        return ModelSpec(
            str(content["architecture"]),
            skeleton,
            int(content.get("input_size", DEFAULT_INPUT_SIZE)),
            bool(content.get("subpixel", False)),
            str(content.get("tag_sharing", TAG_PER_KEYPOINT)),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"it does not say which network it is of: {error}") from error


class PoseNetwork(nn.Module):
    """One pass from images to the fields of a skeleton.

    Args:
        architecture: an HRNet of timm, such as "hrnet_w32"; "higherhrnet_w32" is the same with the
            head of HigherHRNet.
        skeleton: whose keypoints it predicts.
        input_size: of the inputs that it learns from, in input pixels; a fact for those who test it.
        subpixel: whether it learns sub-pixel peaks (see `HeatmapEncoder`); a fact, too.
        tag_sharing: how keypoints share tag maps: "keypoint", "part" or "shared"; see
            `Skeleton.tag_index`.
        pretrained: whether the backbone starts from timm's ImageNet weights, or a file or https
            address of other weights; see `build_hrnet`.
        tag_init_std: of the initial weights of the tags' rows. 0.001 as published starts with the same
            tag for everybody, where the push has no gradient; short schedules want more.
        compiled: whether backbone and HigherHRNet head are compiled; see `compile_backbone`.
    """

    def __init__(
        self,
        architecture: str,
        skeleton: Skeleton,
        *,
        input_size: int = DEFAULT_INPUT_SIZE,
        subpixel: bool = False,
        tag_sharing: str = TAG_PER_KEYPOINT,
        pretrained: bool | str = False,
        tag_init_std: float = HEAD_INIT_STD,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        self.architecture, self.skeleton = architecture, skeleton
        self.input_size, self.subpixel, self.tag_sharing = input_size, subpixel, tag_sharing
        keypoints, tag_maps = skeleton.size, self.spec.tag_maps
        name = architecture.removeprefix(HIGHER_PREFIX)
        self.backbone, channels = build_hrnet(name, pretrained=pretrained)
        self.head = nn.Conv2d(channels, keypoints + tag_maps, kernel_size=1)
        nn.init.normal_(self.head.weight.data[:keypoints], std=HEAD_INIT_STD)
        nn.init.normal_(self.head.weight.data[keypoints:], std=tag_init_std)
        nn.init.zeros_(self.head.get_parameter("bias"))
        has_higher_head = name != architecture
        self.higher_head = (
            HigherHRNetHead(channels, keypoints, tag_maps) if has_higher_head else None
        )
        # w18_small trains 1.1 times as fast on a CPU with it, 1.4 times in bf16
        self.to(memory_format=torch.channels_last)
        if compiled:
            self.compile_backbone()

    def compile_backbone(self) -> None:
        """Have torch.compile fuse all but the 1 x 1 head from the next pass on; it takes minutes.

        In place, so that parameters keep their names, and files of weights are the same without.
        """
        self.backbone.compile()
        if self.higher_head:
            self.higher_head.compile()

    @property
    def keypoint_channels(self) -> dict[str, ChannelLayout]:
        """The tensors whose channels depend on the skeleton, by name."""
        head = dict.fromkeys(("head.weight", "head.bias"), ChannelLayout(0, has_tags=True))
        if not self.higher_head:
            return head
        finer = dict.fromkeys(
            (f"{HIGHER_HEAD_PREFIX}head.weight", f"{HIGHER_HEAD_PREFIX}head.bias"),
            ChannelLayout(0, has_tags=False),
        )
        # the first axis of a transposed convolution is that of its inputs
        inputs = {HIGHER_HEAD_INPUT_WEIGHT: ChannelLayout(self.head.in_channels, has_tags=True)}
        return head | finer | inputs

    @property
    def strides(self) -> tuple[int, ...]:
        """Input pixels per heatmap pixel of each resolution; tags are at the first, fields at the last."""
        return (STRIDE, STRIDE // 2) if self.higher_head else (STRIDE,)

    @property
    def spec(self) -> ModelSpec:
        """What a file of its weights says of it."""
        return ModelSpec(
            self.architecture, self.skeleton, self.input_size, self.subpixel, self.tag_sharing
        )

    @property
    def tag_index(self) -> tuple[int, ...]:
        """The tag map [K] of each keypoint."""
        return self.spec.tag_index

    @property
    def decoder_options(self) -> dict[str, Any]:
        """The options of a decoder that follow from how the network was trained."""
        return {"subpixel": self.subpixel, "tag_index": self.tag_index}

    @property
    def channel_flip_indices(self) -> ChannelFlipIndices:
        """Which channels take the places of others when an image is flipped."""
        return self.skeleton.channel_flip_indices(self.tag_sharing)

    def forward(self, image: Tensor) -> KeypointMaps:
        """KeypointMaps of images [B, 3, H, W] uint8 RGB; H and W are multiples of MAX_STRIDE."""
        return merge_resolutions(self.forward_resolutions(image))

    def forward_resolutions(self, image: Tensor) -> MultiResolutionMaps:
        """What the fields of images [B, 3, H, W] uint8 RGB are merged of, and what is learned."""
        return self.forward_normalized(normalize(image))

    def forward_normalized(self, inputs: Tensor) -> MultiResolutionMaps:
        """The same of normalised images [B, 3, H, W], float32."""
        features = self.backbone(inputs)[0].float()
        # bf16 has too few digits for fields: neighbouring heatmap pixels of a peak would be equal
        with torch.autocast(features.device.type, enabled=False):
            outputs = self.head(features).contiguous()
        heatmaps, tags = outputs.tensor_split([self.skeleton.size], dim=1)
        finer = (self.higher_head(features, outputs),) if self.higher_head else ()
        return MultiResolutionMaps((heatmaps, *finer), tags[:, None])
