"""`Skeleton`, and its assembly from the names of keypoints."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

PARENT_KEYPOINTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "foot": ("left_ankle", "right_ankle"),
        "face": ("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
        "lefthand": ("left_wrist",),
        "righthand": ("right_wrist",),
    }
)
TAG_PER_KEYPOINT: Final = "keypoint"
TAG_PER_PART: Final = "part"
TAG_SHARING_MODES: Final = (TAG_PER_KEYPOINT, TAG_PER_PART, "shared")


class ChannelFlipIndices(NamedTuple):
    """The channel that replaces each channel when an image is flipped horizontally."""

    heatmaps: tuple[int, ...]  # [K]
    tags: tuple[int, ...]  # [G]


class Skeleton(NamedTuple):
    """Keypoints of a person with their parts, bones, sigmas and flip pairs."""

    name: str
    keypoints: tuple[str, ...]  # [K] names
    flip_indices: tuple[int, ...]  # [K] left/right counterpart of each keypoint, or itself
    sigmas: tuple[float, ...]  # [K] spread of human labelling, in units of sqrt(area) (OKS)
    bones: tuple[tuple[int, int], ...]  # pairs of keypoints that are connected in drawings
    parts: Mapping[str, slice]  # parts with their own AP; if there are several, also all by `name`
    grouping_order: tuple[int, ...]  # [K] order in which keypoints are attached to people
    json_keys: Mapping[str, slice]  # keys in COCO JSON files, and the keypoints of each

    @property
    def size(self) -> int:
        """Number of keypoints, K."""
        return len(self.keypoints)

    @property
    def disjoint_parts(self) -> Mapping[str, slice]:
        """Parts that do not overlap, which excludes the whole skeleton if there are several."""
        disjoint = {part: at for part, at in self.parts.items() if part != self.name}
        return disjoint or self.parts

    @property
    def part_parents(self) -> tuple[tuple[int, ...], ...]:
        """[F] keypoints of the body to which each part is attached; empty for the body itself."""
        index = {name: k for k, name in enumerate(self.keypoints)}
        return tuple(
            tuple(index[name] for name in PARENT_KEYPOINTS.get(part, ()) if name in index)
            for part in self.disjoint_parts
        )

    @property
    def part_index(self) -> tuple[int, ...]:
        """[K] index of the part of each keypoint, in the order of `disjoint_parts`."""
        return tuple(
            f
            for f, at in enumerate(self.disjoint_parts.values())
            for _ in range(*at.indices(self.size))
        )

    def tag_index(self, tag_sharing: str = TAG_PER_KEYPOINT) -> tuple[int, ...]:
        """Return the tag map [K] that each keypoint uses.

        Args:
            tag_sharing: "keypoint" for one map per keypoint, as in MMPose, "part" for one map per
                part, or "shared" for a single map.

        Raises:
            ValueError: if `tag_sharing` is unknown.
        """
        if tag_sharing not in TAG_SHARING_MODES:
            raise ValueError(
                f"unknown tag_sharing {tag_sharing!r}; use one of {', '.join(TAG_SHARING_MODES)}"
            )
        if tag_sharing == TAG_PER_KEYPOINT:
            return tuple(range(self.size))
        return self.part_index if tag_sharing == TAG_PER_PART else (0,) * self.size

    def channel_flip_indices(self, tag_sharing: str = TAG_PER_KEYPOINT) -> ChannelFlipIndices:
        """Return the flip indices of heatmaps, and of tag maps shared as in `tag_index`."""
        index = self.tag_index(tag_sharing)
        flipped = dict(zip(index, (index[k] for k in self.flip_indices), strict=True))
        return ChannelFlipIndices(self.flip_indices, tuple(flipped[tag] for tag in sorted(flipped)))

    @property
    def part_flip_indices(self) -> tuple[int, ...]:
        """[F] left/right counterpart of each part, or itself."""
        part_index = self.part_index
        return tuple(part_index[self.flip_indices[at.start]] for at in self.disjoint_parts.values())

    def keypoint_mask(self, parts: Sequence[str] | None) -> np.ndarray:
        """Return which keypoints [K] bool belong to parts; None means all parts.

        Raises:
            ValueError: if the skeleton has no part of that name.
        """
        if parts is None:
            return np.ones(self.size, bool)
        unknown = [part for part in parts if part not in self.parts]
        if unknown:
            raise ValueError(
                f"unknown part {unknown[0]!r}; skeleton {self.name!r} has {', '.join(self.parts)}"
            )
        mask = np.zeros(self.size, bool)
        for part in parts:
            mask[self.parts[part]] = True
        return mask


def consecutive_slices(sizes: Mapping[str, int]) -> dict[str, slice]:
    """Return consecutive slices of the given sizes."""
    parts, start = {}, 0
    for part, size in sizes.items():
        parts[part] = slice(start, start + size)
        start += size
    return parts


def assemble_skeleton(
    name: str,
    sizes: Mapping[str, int],
    keypoints: tuple[str, ...],
    sigmas: tuple[float, ...],
    *,
    flip_partners: Mapping[str, str],
    bones: Sequence[Sequence[str]],
    order: Sequence[str],
    json_keys: Mapping[str, slice],
) -> Skeleton:
    """Assemble a skeleton from names, which must be consistent.

    Args:
        name: name of the skeleton.
        sizes: number of keypoints of each part, in the order of the keypoints.
        keypoints: [K] names.
        sigmas: [K] sigmas for OKS.
        flip_partners: left/right counterparts of keypoints; other keypoints have none.
        bones: pairs of names.
        order: names in the order of grouping.
        json_keys: keys in COCO JSON files, and the keypoints of each.
    """
    index = {keypoint: k for k, keypoint in enumerate(keypoints)}
    parts = consecutive_slices(sizes)
    parts.setdefault(name, slice(0, len(keypoints)))
    return Skeleton(
        name=name,
        keypoints=keypoints,
        flip_indices=tuple(index[flip_partners.get(keypoint, keypoint)] for keypoint in keypoints),
        sigmas=sigmas,
        bones=tuple((index[a], index[b]) for a, b in bones),
        parts=parts,  # a plain dict, because skeletons are deep-copied with their networks
        grouping_order=tuple(index[keypoint] for keypoint in order),
        json_keys=json_keys,
    )
