"""Pose network: an HRNet backbone and the heads of Associative Embedding."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from tagpose.codec.spatial_tags import append_spatial_tags
from tagpose.codec.tta import merge_resolutions
from tagpose.data.preprocessing import normalize_image
from tagpose.models.higherhrnet import HEAD_INIT_STD, HIGHER_PREFIX, HigherHRNetHead
from tagpose.models.hrnet import build_hrnet, init_normal
from tagpose.skeletons.custom import build_skeleton, skeleton_to_dict
from tagpose.skeletons.skeleton import TAG_PER_KEYPOINT, ChannelFlipIndices, Skeleton
from tagpose.structures import DEFAULT_INPUT_SIZE, STRIDE, KeypointMaps, MultiResolutionMaps

_OFFSET_UNIT: Final = 32.0  # heatmap pixels per unit of output; outputs for people are about 1
HIGHER_HEAD_PREFIX: Final = "higher_head."  # of tensor names of the HigherHRNet head
HIGHER_HEAD_INPUT_WEIGHT: Final = f"{HIGHER_HEAD_PREFIX}layers.0.0.weight"


class ChannelLayout(NamedTuple):
    """Channels along the first axis of a tensor that depends on the skeleton.

    Feature channels come first, then K heatmaps, then G tag maps, then offsets.
    """

    features: int
    has_tags: bool  # whether there are channels for tag maps
    has_offsets: bool = False  # whether there are channels for offsets if the network predicts them

    def count(self, spec: "ModelSpec") -> int:
        """Return the number of channels for a network specification."""
        tags, offsets = self.has_tags * spec.tag_maps, self.has_offsets * spec.offset_channels
        return self.features + spec.skeleton.size + tags + offsets


_HEAD_LAYOUT: Final = ChannelLayout(0, has_tags=True, has_offsets=True)


class ModelSpec(NamedTuple):
    """Specification of a network, from which it can be rebuilt before its weights are loaded."""

    architecture: str
    skeleton: Skeleton
    input_size: int = DEFAULT_INPUT_SIZE  # training input size in input pixels
    subpixel: bool = False  # whether it was trained with sub-pixel targets
    tag_sharing: str = TAG_PER_KEYPOINT  # how keypoints share tag maps; see `Skeleton.tag_index`
    spatial_tags: float = 0.0  # weight of spatial tags; see `append_spatial_tags`

    @property
    def tag_index(self) -> tuple[int, ...]:
        """[K] tag map of each keypoint."""
        return self.skeleton.tag_index(self.tag_sharing)

    @property
    def tag_maps(self) -> int:
        """Number of tag maps, G."""
        return len(set(self.tag_index))

    @property
    def offset_channels(self) -> int:
        """Number of channels of the offsets to the centers of people."""
        return 2 if self.spatial_tags else 0

    @property
    def tag_count(self) -> int:
        """Number of tags of a keypoint in network outputs, L."""
        return 1 + self.offset_channels

    def __str__(self) -> str:
        return f"{self.architecture} with the skeleton {self.skeleton.name}"

    def to_dict(self) -> dict[str, Any]:
        """Convert to names and numbers for a checkpoint; `spec_from_dict` is the inverse."""
        content = skeleton_to_dict(self.skeleton)
        return self._asdict() | {"skeleton": content["name"] if len(content) == 1 else content}


def spec_from_dict(content: Mapping[str, Any]) -> ModelSpec:
    """Read a specification from the output of `ModelSpec.to_dict`.

    Raises:
        ValueError: if the content is incomplete or invalid.
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
            float(content.get("spatial_tags", 0)),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the network specification is incomplete or invalid: {error}") from error


class PoseNetwork(nn.Module):
    """Network that predicts the heatmaps and tags of a skeleton in a single forward pass.

    Args:
        architecture: key of `HRNETS`, such as "hrnet_w32"; "higherhrnet_w32" adds the second head
            of HigherHRNet.
        skeleton: skeleton of the predicted keypoints.
        input_size: training input size in input pixels, which is stored in checkpoints.
        subpixel: whether targets are sub-pixel (see `HeatmapEncoder`), which is stored as well.
        tag_sharing: how keypoints share tag maps: "keypoint", "part" or "shared"; see
            `Skeleton.tag_index`.
        spatial_tags: weight of the predicted centers of people as two further tags of every
            keypoint; 0 predicts none. See `append_spatial_tags`.
        pretrained: initial weights of the backbone; see `build_hrnet`.
        tag_init_std: standard deviation of the initial weights of the tag channels. With 0.001, as
            in MMPose, all tags are nearly equal at first, where the push term has no gradient;
            short schedules need larger values.
        compiled: whether to compile the backbone and the HigherHRNet head; see `compile_backbone`.

    Raises:
        ValueError: if `spatial_tags` is negative.
    """

    def __init__(
        self,
        architecture: str,
        skeleton: Skeleton,
        *,
        input_size: int = DEFAULT_INPUT_SIZE,
        subpixel: bool = False,
        tag_sharing: str = TAG_PER_KEYPOINT,
        spatial_tags: float = 0.0,
        pretrained: bool | str = False,
        tag_init_std: float = HEAD_INIT_STD,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        if spatial_tags < 0:
            raise ValueError(f"spatial_tags must be 0 or more, got {spatial_tags}")
        self.architecture, self.skeleton = architecture, skeleton
        self.input_size, self.subpixel = input_size, subpixel
        self.tag_sharing, self.spatial_tags = tag_sharing, spatial_tags
        keypoints, tag_maps = skeleton.size, self.spec.tag_maps
        name = architecture.removeprefix(HIGHER_PREFIX)
        self.backbone = build_hrnet(name, pretrained=pretrained)
        channels = self.backbone.channels
        self.head = nn.Conv2d(channels, _HEAD_LAYOUT.count(self.spec), kernel_size=1)
        offsets = keypoints + tag_maps  # first channel
        init_normal(self.head.weight.data[:keypoints], HEAD_INIT_STD)
        init_normal(self.head.weight.data[keypoints:offsets], tag_init_std)
        init_normal(self.head.weight.data[offsets:], HEAD_INIT_STD)
        nn.init.zeros_(self.head.get_parameter("bias"))
        has_higher_head = name != architecture
        self.higher_head = (
            HigherHRNetHead(channels, keypoints, tag_maps) if has_higher_head else None
        )
        # hrnet_w18_small trains 1.1 times as fast on a CPU with it, and 1.4 times in bf16
        self.to(memory_format=torch.channels_last)
        if compiled:
            self.compile_backbone()

    def compile_backbone(self) -> None:
        """Compile all but the 1 x 1 head with torch.compile; the next forward pass takes minutes.

        Modules are compiled in place, so that parameters keep their names in checkpoints.
        """
        self.backbone.compile()
        if self.higher_head:
            self.higher_head.compile()

    @property
    def keypoint_channels(self) -> dict[str, ChannelLayout]:
        """Layouts of the tensors whose channels depend on the skeleton, by name."""
        head = dict.fromkeys(("head.weight", "head.bias"), _HEAD_LAYOUT)
        if not self.higher_head:
            return head
        higher_head = dict.fromkeys(
            (f"{HIGHER_HEAD_PREFIX}head.weight", f"{HIGHER_HEAD_PREFIX}head.bias"),
            ChannelLayout(0, has_tags=False),
        )
        # the first axis of the weight of a transposed convolution is that of its inputs
        inputs = {HIGHER_HEAD_INPUT_WEIGHT: ChannelLayout(self.head.in_channels, has_tags=True)}
        return head | higher_head | inputs

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the heatmap resolutions; tags have the first, merged heatmaps the last."""
        return (STRIDE, STRIDE // 2) if self.higher_head else (STRIDE,)

    @property
    def spec(self) -> ModelSpec:
        """Specification of the network, which is stored in checkpoints."""
        return ModelSpec(
            self.architecture,
            self.skeleton,
            self.input_size,
            self.subpixel,
            self.tag_sharing,
            self.spatial_tags,
        )

    @property
    def tag_index(self) -> tuple[int, ...]:
        """[K] tag map of each keypoint."""
        return self.spec.tag_index

    @property
    def decoder_options(self) -> dict[str, Any]:
        """Decoder options that are determined by the training of the network."""
        return {"subpixel": self.subpixel, "tag_index": self.tag_index}

    @property
    def channel_flip_indices(self) -> ChannelFlipIndices:
        """Flip indices of the output channels."""
        return self.skeleton.channel_flip_indices(self.tag_sharing)

    def forward(self, image: Tensor) -> KeypointMaps:
        """Predict heatmaps and tags for images [B, 3, H, W] uint8 RGB.

        H and W must be multiples of MAX_STRIDE.
        """
        return self.merge(self.forward_resolutions(image))

    def merge(self, resolutions: MultiResolutionMaps) -> KeypointMaps:
        """Merge the outputs of all resolutions, and append spatial tags to the learned ones."""
        keypoint_maps = merge_resolutions(resolutions)
        if resolutions.offsets is None:
            return keypoint_maps
        tags = append_spatial_tags(keypoint_maps.tags, resolutions.offsets, self.spatial_tags)
        return keypoint_maps._replace(tags=tags)

    def forward_resolutions(self, image: Tensor) -> MultiResolutionMaps:
        """Predict the unmerged outputs for images [B, 3, H, W] uint8 RGB, as used in training."""
        return self.forward_normalized(normalize_image(image))

    def forward_normalized(self, inputs: Tensor) -> MultiResolutionMaps:
        """Predict the unmerged outputs for normalized images [B, 3, H, W] float32."""
        features = self.backbone(inputs).float()
        # bf16 is too coarse for outputs: neighboring heatmap pixels at a peak would be equal
        with torch.autocast(features.device.type, enabled=False):
            outputs = self.head(features).contiguous()
        channels = self.head.out_channels - self.spec.offset_channels
        outputs, offsets = outputs[:, :channels], outputs[:, channels:]
        heatmaps, tags = outputs.tensor_split([self.skeleton.size], dim=1)
        fine = (self.higher_head(features, outputs),) if self.higher_head else ()
        in_pixels = _OFFSET_UNIT * offsets if self.spatial_tags else None
        return MultiResolutionMaps((heatmaps, *fine), tags[:, None], in_pixels)
