"""Decoder of Associative Embedding: from heatmaps and tags to people (Newell 2017)."""

import logging
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tagpose.codec.compilation import finish_compilation
from tagpose.codec.flip_test import FlippedOutputs, scan_flip_test
from tagpose.codec.grouping import GroupedPoses, GroupingConfig, gather_poses, group_peaks
from tagpose.codec.interpolation import make_grid
from tagpose.codec.missing_keypoints import fill_missing
from tagpose.codec.peaks import DecodingMaps, Peaks, find_peaks, refine_peaks
from tagpose.skeletons.coco import coco_grouping_order
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import STRIDE, Poses

_LOGGER: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class AssociativeEmbeddingDecoder:
    """Decodes the heatmaps and tags of a batch to people.

    Attributes:
        grouping: the rule by which peaks become people.
        max_people: the largest number of people of an image, the best ones; None for all.
        max_peaks: the largest number of peaks of a heatmap.
        min_score: heatmap value that a peak must exceed.
        fill_missing: whether to fill in the missing keypoints of people.
        subpixel: whether the network was trained with sub-pixel targets; see `refine_peak`.
        tag_index: [K] the tag map of each keypoint; if empty, each keypoint has its own.

    Raises:
        ValueError: if `min_score` is negative, as a score of 0 marks a missing keypoint, or if
            fewer than one person or peak is allowed.
    """

    grouping: GroupingConfig
    max_people: int | None = 30
    max_peaks: int = 30
    min_score: float = 0.1
    fill_missing: bool = True
    subpixel: bool = False
    tag_index: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.min_score < 0:
            raise ValueError(f"min_score is {self.min_score}; it must be 0 or more")
        if any(tag < 0 for tag in self.tag_index):
            raise ValueError(f"tag_index is {self.tag_index}; its entries must be 0 or more")
        if self.tag_index and len(self.tag_index) != len(self.grouping.order):
            raise ValueError(
                f"tag_index has {len(self.tag_index)} entries and there are "
                f"{len(self.grouping.order)} keypoints; give one for each, or none"
            )
        for name in ("max_people", "max_peaks"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be 1 or more")

    def __call__(
        self,
        heatmaps: np.ndarray,
        tags: np.ndarray,
        input_shape: tuple[int, int] | None = None,
        *,
        flipped: FlippedOutputs | None = None,
        min_person_score: float = 0.0,
    ) -> list[Poses]:
        """Decode a batch.

        Args:
            heatmaps: [B, K, h, w] float32; they may be finer than the tags, up to the size of the
                network's input.
            tags: [B, L, G, h, w] float32.
            input_shape: height, width of the network's input; by default that of tags at STRIDE.
            flipped: outputs for the flipped images, which are merged with the others.
            min_person_score: people with a lower score are dropped before their missing keypoints
                are searched, on which the score does not depend.

        Returns:
            The people of each image by falling score, keypoints in input pixels. The score of a
            person is the mean over all K of its peaks' scores; filled-in keypoints do not count,
            and missing ones are rows of 0.

        Raises:
            ValueError: if the heatmaps, or tags that are read, are NaN or infinity, or if the maps
                do not fit the skeleton or the size.
        """
        if not len(heatmaps):
            return []
        finish_compilation()
        maps, peaks = self._scan(heatmaps, tags, input_shape, flipped)
        groups = [self.group(peaks, image, min_person_score) for image in range(len(heatmaps))]
        keypoints = np.concatenate([group.keypoints for group in groups])
        image = np.repeat(np.arange(len(groups)), [len(group.scores) for group in groups])
        refine_peaks(keypoints, image, maps, subpixel=self.subpixel)
        if self.fill_missing:
            person_tags = np.concatenate([group.tags for group in groups])
            effort = fill_missing(keypoints, image, person_tags, maps, subpixel=self.subpixel)
            if unfinished := effort.unfinished.sum():
                _LOGGER.warning(
                    "the search for %d missing keypoints stopped early because the tags are too "
                    "noisy; train the network longer, or set fill_missing=false",
                    unfinished,
                )
        parts = np.split(keypoints, np.cumsum([len(group.scores) for group in groups])[:-1])
        return [Poses(*one) for one in zip(parts, (g.scores for g in groups), strict=True)]

    def _scan(
        self,
        heatmaps: np.ndarray,
        tags: np.ndarray,
        input_shape: tuple[int, int] | None,
        flipped: FlippedOutputs | None,
    ) -> tuple[DecodingMaps, Peaks]:
        """Return maps laid out for the compiled code and their peaks."""
        original = self.prepare(heatmaps, tags, input_shape)
        as_topk = not self.subpixel
        if flipped is None:
            return original, find_peaks(original, self.max_peaks, self.min_score, as_topk=as_topk)
        types = (np.float32, np.float32, np.int64, np.int64)
        flipped = FlippedOutputs(
            *(np.require(each, t, ["C", "W"]) for each, t in zip(flipped, types, strict=True))
        )
        _check_flipped(original, flipped)
        maps = original._replace(
            heatmaps=np.empty_like(original.heatmaps),
            flipped_tags=flipped.tags,
            tag_flip_indices=flipped.tag_flip_indices,
        )
        return maps, scan_flip_test(
            original.heatmaps, flipped, maps, self.max_peaks, self.min_score, as_topk=as_topk
        )

    def group(self, peaks: Peaks, image: int, min_person_score: float = 0.0) -> GroupedPoses:
        """Return the people of one image of a batch to whom its peaks belong, by falling score."""
        xy, scores, tags = peaks.xy[image], peaks.scores[image], peaks.tags[image]
        owned = group_peaks(xy, scores, tags, self.grouping)
        return gather_poses(
            owned,
            xy,
            scores,
            tags,
            self.grouping.part_index,
            max_people=self.max_people,
            min_person_score=min_person_score,
        )

    def prepare(
        self,
        heatmaps: np.ndarray,
        tags: np.ndarray,
        input_shape: tuple[int, int] | None = None,
    ) -> DecodingMaps:
        """Check maps and lay them out for the compiled code; arguments are those of a call."""
        height, width = tags.shape[-2:]
        size = input_shape or (STRIDE * height, STRIDE * width)
        keypoints = len(self.grouping.order)
        tag_index = self.tag_index or tuple(range(keypoints))
        _check_shapes(heatmaps.shape, tags.shape, size, keypoints, 1 + max(tag_index))
        return DecodingMaps(
            # compiled code distinguishes arrays that are read-only
            np.require(heatmaps, np.float32, ["C", "W"]),
            np.require(tags, np.float32, ["C", "W"]),
            np.empty((len(tags), 0, *tags.shape[2:]), np.float32),
            np.arange(tags.shape[2]),
            np.array(tag_index, np.int32),
            make_grid(heatmaps.shape[-2:], size),
            make_grid(tags.shape[-2:], size),
        )


def _check_flipped(original: DecodingMaps, flipped: FlippedOutputs) -> None:
    """Raise a ValueError unless the outputs for flipped images fit the others."""
    shapes = flipped.heatmaps.shape, flipped.tags.shape
    if shapes != (original.heatmaps.shape, original.tags.shape):
        raise ValueError(
            f"the outputs for flipped images have shapes {shapes}, and the others "
            f"{(original.heatmaps.shape, original.tags.shape)}; use outputs of the same network and images"
        )
    for name, indices, channels in (
        ("flip indices", flipped.flip_indices, original.heatmaps.shape[1]),
        ("flip indices of tag maps", flipped.tag_flip_indices, original.tags.shape[2]),
    ):
        if sorted(indices) != list(range(channels)):
            raise ValueError(
                f"there are {len(indices)} {name} for {channels} channels; a permutation of all "
                "channels is needed, such as `network.channel_flip_indices`"
            )


def _check_shapes(
    heatmaps: tuple[int, ...],
    tags: tuple[int, ...],
    size: tuple[int, int],
    keypoints: int,
    tag_maps: int,
) -> None:
    """Validate the shapes of heatmaps and tags."""
    if len(heatmaps) != 4 or len(tags) != 5 or heatmaps[0] != tags[0]:
        raise ValueError(
            f"heatmaps {list(heatmaps)} and tags {list(tags)} have the wrong shapes; [B, K, h, w] "
            "and [B, L, G, h, w] of the same batch are needed"
        )
    if (heatmaps[1], tags[2]) != (keypoints, tag_maps):
        raise ValueError(
            f"the network has {heatmaps[1]} heatmaps and {tags[2]} tag maps, and the decoder "
            f"expects {keypoints} and {tag_maps}; use those of the same skeleton"
        )
    fine, coarse = heatmaps[-2:], tags[-2:]
    for whole, part in ((size, coarse), (size, fine), (fine, coarse)):
        ratios = {w / p for w, p in zip(whole, part, strict=True)}
        if len(ratios) > 1 or not ratios.pop().is_integer():
            raise ValueError(
                f"the input size {size}, heatmaps {fine} and tags {coarse} are not multiples of "
                "each other; pass outputs of the same image"
            )
    if size[0] > STRIDE * fine[0]:
        raise ValueError(
            f"heatmaps {fine} of an input {size} are coarser than the network's stride of {STRIDE}"
        )


def build_decoder(
    skeleton: Skeleton,
    *,
    max_tag_distance: float = GroupingConfig.max_tag_distance,
    distance_tie_break: bool = False,
    part_mean_tags: bool = False,
    require_near_parent: bool = False,
    coco_order: bool = False,
    **options: Any,
) -> AssociativeEmbeddingDecoder:
    """Build the decoder of a skeleton.

    Args:
        skeleton: skeleton of the network.
        max_tag_distance: see `GroupingConfig`.
        distance_tie_break: see `GroupingConfig`.
        part_mean_tags: whether a person's tag is the mean over its parts, not over its keypoints.
        require_near_parent: whether hands must be near their wrists, feet near their ankles, and a face near
            the keypoints of the head.
        coco_order: whether hips are grouped before arms, as MMPose does for COCO's 17 keypoints.
        options: of `AssociativeEmbeddingDecoder`, by name.
    """
    parents = tuple(skeleton.part_parents[part] for part in skeleton.part_index)
    grouping = GroupingConfig(
        order=coco_grouping_order(skeleton) if coco_order else skeleton.grouping_order,
        max_tag_distance=max_tag_distance,
        part_index=skeleton.part_index if part_mean_tags else (),
        distance_tie_break=distance_tie_break,
        parents=parents if require_near_parent else (),
    )
    return AssociativeEmbeddingDecoder(grouping, **options)
