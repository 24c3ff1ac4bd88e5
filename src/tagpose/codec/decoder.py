"""Associative Embedding decoder: poses from heatmaps and tags (Newell 2017)."""

import logging
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from tagpose.codec.compilation import finish_compilation
from tagpose.codec.decoding_maps import (
    DecodingMaps,
    FlippedOutputs,
    add_flipped,
    check_shapes,
)
from tagpose.codec.grouping import GroupedPoses, GroupingConfig, gather_poses, group_peaks
from tagpose.codec.interpolation import make_grid
from tagpose.codec.missing_keypoints import fill_missing
from tagpose.codec.peaks import Peaks, find_peaks
from tagpose.codec.tiling import make_tiling
from tagpose.skeletons.coco import coco_grouping_order
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import STRIDE, Poses

_LOGGER: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class AssociativeEmbeddingDecoder:
    """Decoder of the heatmaps and tags of a batch.

    Attributes:
        grouping: options of the grouping of peaks into people.
        max_people: maximum number of people per image, by falling score; None returns all.
        max_peaks: maximum number of peaks per heatmap.
        min_score: heatmap value that a peak must exceed.
        fill_missing: whether to fill in the missing keypoints of people.
        subpixel: whether the network was trained with sub-pixel targets; see `refine_peak`.
        tag_index: [K] tag map of each keypoint; if empty, every keypoint has its own.

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
            raise ValueError(f"min_score must be 0 or more, got {self.min_score}")
        if min(self.tag_index, default=0) < 0:
            raise ValueError(f"entries of tag_index must be 0 or more, got {self.tag_index}")
        if self.tag_index and len(self.tag_index) != len(self.grouping.order):
            raise ValueError(
                f"tag_index has {len(self.tag_index)} entries for {len(self.grouping.order)} "
                "keypoints; expected one for each keypoint, or none"
            )
        for name in ("max_people", "max_peaks"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}")

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
            heatmaps: [B, K, h, w] float32; their resolution may be higher than that of the tags, up
                to that of the network's input.
            tags: [B, L, G, h, w] float32.
            input_shape: height, width of the network's input; by default STRIDE times those of the
                tags.
            flipped: outputs for the flipped images, merged with those for the images.
            min_person_score: people with a lower score are dropped before the search for their
                missing keypoints, on which the score does not depend.

        Returns:
            The poses of each image by falling score, with keypoints in input pixels. The score of a
            person is the mean over all K keypoints of the peaks' scores; keypoints that were
            filled in do not count. Missing keypoints are rows of 0.

        Raises:
            ValueError: if the heatmaps or the tags that are read contain NaN or infinity, or if the
                maps do not fit the skeleton or the input.
        """
        if not len(heatmaps):
            return []
        finish_compilation()
        maps = self.prepare(heatmaps, tags, input_shape, flipped)
        peaks = find_peaks(maps, self.max_peaks, self.min_score, subpixel=self.subpixel)
        groups = [self.group(peaks, image, min_person_score) for image in range(len(heatmaps))]
        keypoints = np.concatenate([group.keypoints for group in groups])
        image = np.repeat(np.arange(len(groups)), [len(group.scores) for group in groups])
        if self.fill_missing:
            person_tags = np.concatenate([group.tags for group in groups])
            search_stats = fill_missing(
                keypoints, image, person_tags, maps, peaks.block_maxima, subpixel=self.subpixel
            )
            if unfinished := search_stats.unfinished.sum():
                _LOGGER.warning(
                    "Stopped the search for %d missing keypoints early because the tags are too "
                    "noisy; train the network longer or set fill_missing=false.",
                    unfinished,
                )
        first_people = np.cumsum([len(group.scores) for group in groups])[:-1]
        per_image = zip(np.split(keypoints, first_people), groups, strict=True)
        return [Poses(image_keypoints, group.scores) for image_keypoints, group in per_image]

    def group(self, peaks: Peaks, image: int, min_person_score: float = 0.0) -> GroupedPoses:
        """Group the peaks of one image of a batch into people, by falling score."""
        xy, scores, tags = peaks.xy[image], peaks.scores[image], peaks.tags[image]
        person_peaks = group_peaks(xy, scores, tags, self.grouping)
        return gather_poses(
            person_peaks,
            peaks.refined_xy[image],
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
        flipped: FlippedOutputs | None = None,
    ) -> DecodingMaps:
        """Check maps and lay them out for the compiled code; see `__call__` for the arguments."""
        height, width = tags.shape[-2:]
        input_shape = input_shape or (STRIDE * height, STRIDE * width)
        keypoints = len(self.grouping.order)
        tag_index = self.tag_index or tuple(range(keypoints))
        check_shapes(heatmaps.shape, tags.shape, input_shape, keypoints, 1 + max(tag_index))
        maps = DecodingMaps(
            # compiled code has other signatures for read-only and strided arrays
            np.require(heatmaps, np.float32, ["C", "W"]),
            np.require(tags, np.float32, ["C", "W"]),
            np.empty((0, *heatmaps.shape[1:]), np.float32),
            np.empty((len(tags), 0, *tags.shape[2:]), np.float32),
            np.arange(keypoints),
            np.arange(tags.shape[2]),
            np.array(tag_index, np.int64),
            make_grid(heatmaps.shape[-2:], input_shape),
            make_grid(tags.shape[-2:], input_shape),
            make_tiling(
                (height, width), input_shape[1] // width, input_shape[1] // heatmaps.shape[-1]
            ),
        )
        return maps if flipped is None else add_flipped(maps, flipped)


def build_decoder(
    skeleton: Skeleton,
    *,
    max_tag_distance: float = GroupingConfig.max_tag_distance,
    person_score_tie_break: bool = True,
    part_mean_tags: bool = False,
    require_near_parent: bool = False,
    coco_order: bool = False,
    **options: Any,
) -> AssociativeEmbeddingDecoder:
    """Build the decoder of a skeleton.

    Args:
        skeleton: skeleton of the network.
        max_tag_distance: see `GroupingConfig`.
        person_score_tie_break: see `GroupingConfig`; false decodes as MMPose.
        part_mean_tags: whether a person's tag is the mean over parts instead of over keypoints.
        require_near_parent: whether hands must be near their wrists, feet near their ankles and
            faces near the keypoints of the head.
        coco_order: whether hips are grouped before arms, as in MMPose for COCO's 17 keypoints.
        options: further arguments of `AssociativeEmbeddingDecoder`.
    """
    parents = tuple(skeleton.part_parents[part] for part in skeleton.part_index)
    grouping = GroupingConfig(
        order=coco_grouping_order(skeleton) if coco_order else skeleton.grouping_order,
        max_tag_distance=max_tag_distance,
        part_index=skeleton.part_index if part_mean_tags else (),
        person_score_tie_break=person_score_tie_break,
        parents=parents if require_near_parent else (),
    )
    return AssociativeEmbeddingDecoder(grouping, **options)


def decoder_to_dict(decoder: AssociativeEmbeddingDecoder) -> dict[str, Any]:
    """Return all options of a decoder for JSON, with those of its grouping nested."""
    return asdict(decoder)


def decoder_from_dict(options: dict[str, Any]) -> AssociativeEmbeddingDecoder:
    """Build a decoder from its options.

    Args:
        options: options from `decoder_to_dict`, possibly read from JSON, which turns tuples into
            lists.

    Raises:
        TypeError: if an option is unknown.
        ValueError: if the value of an option is invalid.
    """
    values = {name: _to_tuples(value) for name, value in options.items() if name != "grouping"}
    grouping = {name: _to_tuples(value) for name, value in options["grouping"].items()}
    return AssociativeEmbeddingDecoder(GroupingConfig(**grouping), **values)


def _to_tuples(value: Any) -> Any:
    """Convert lists to tuples, recursively."""
    return tuple(map(_to_tuples, value)) if isinstance(value, list | tuple) else value
