"""This file says what a skeleton is, and assembles one from the names of its keypoints."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

TAG_PER_KEYPOINT: Final = "keypoint"
TAG_PER_PART: Final = "part"
TAG_SHARING_MODES: Final = (TAG_PER_KEYPOINT, TAG_PER_PART, "shared")


class ChannelFlipIndices(NamedTuple):
    """Which channel takes the place of each one when an image is flipped horizontally."""

    heatmaps: tuple[int, ...]  # [K]
    tags: tuple[int, ...]  # [G]


class Skeleton(NamedTuple):
    """What is known of the keypoints of one person, before any image is seen."""

    name: str
    keypoints: tuple[str, ...]  # [K] names
    flip_indices: tuple[int, ...]  # [K] the keypoint that a flipped image shows in its place
    sigmas: tuple[float, ...]  # [K] spread of human labelling, in units of sqrt(area) (OKS)
    bones: tuple[tuple[int, int], ...]  # pairs of keypoints that a drawing joins
    parts: Mapping[str, slice]  # what is scored on its own; where it is several, all by `name` too
    grouping_order: tuple[int, ...]  # [K] in which the decoder attaches keypoints to people
    json_keys: Mapping[str, slice]  # of the JSON formats, and the keypoints that each holds

    @property
    def size(self) -> int:
        """The number K of keypoints."""
        return len(self.keypoints)

    @property
    def disjoint_parts(self) -> Mapping[str, slice]:
        """The parts that do not overlap: without all of them together."""
        disjoint = {part: at for part, at in self.parts.items() if part != self.name}
        return disjoint or self.parts

    @property
    def part_parents(self) -> tuple[tuple[int, ...], ...]:
        """[F] the keypoints of the body that each part hangs on; none of the body itself."""
        index = {name: k for k, name in enumerate(self.keypoints)}
        return tuple(
            tuple(index[name] for name in PARENT_KEYPOINTS.get(part, ()) if name in index)
            for part in self.disjoint_parts
        )

    @property
    def part_index(self) -> tuple[int, ...]:
        """[K] the number of the part that each keypoint is of."""
        return tuple(
            f
            for f, at in enumerate(self.disjoint_parts.values())
            for _ in range(*at.indices(self.size))
        )

    def tag_index(self, tag_sharing: str = TAG_PER_KEYPOINT) -> tuple[int, ...]:
        """Return the tag map [K] that each keypoint uses.

        Args:
            tag_sharing: "keypoint" for a map of its own, as published; "part" for one map per part, or
                "shared" for a single one.

        Raises:
            ValueError: if `tag_sharing` is none of them.
        """
        if tag_sharing not in TAG_SHARING_MODES:
            raise ValueError(
                f"unknown tags {tag_sharing!r}; use one of {', '.join(TAG_SHARING_MODES)}"
            )
        if tag_sharing == TAG_PER_KEYPOINT:
            return tuple(range(self.size))
        return self.part_index if tag_sharing == TAG_PER_PART else (0,) * self.size

    def channel_flip_indices(self, tag_sharing: str = TAG_PER_KEYPOINT) -> ChannelFlipIndices:
        """Return the flip indices of heatmaps and of tags shared as in `tag_index`."""
        index = self.tag_index(tag_sharing)
        flipped = dict(zip(index, (index[k] for k in self.flip_indices), strict=True))
        return ChannelFlipIndices(self.flip_indices, tuple(flipped[tag] for tag in sorted(flipped)))

    @property
    def part_flip_indices(self) -> tuple[int, ...]:
        """[F] the part that a flipped image shows in the place of each one."""
        part_index = self.part_index
        return tuple(part_index[self.flip_indices[at.start]] for at in self.disjoint_parts.values())


PARENT_KEYPOINTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "foot": ("left_ankle", "right_ankle"),
        "face": ("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
        "lefthand": ("left_wrist",),
        "righthand": ("right_wrist",),
    }
)


def consecutive_slices(sizes: Mapping[str, int]) -> dict[str, slice]:
    """Parts laid one behind the other."""
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
    """A skeleton from names that fit together; everything that can be derived is.

    Args:
        name: of the skeleton.
        sizes: how many keypoints each part has, in their order.
        keypoints: [K].
        sigmas: [K].
        flip_partners: the counterpart of a keypoint in a flipped image; those that are not named stay.
        bones: pairs of keypoints.
        order: of grouping.
        json_keys: of the JSON formats.
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
        parts=parts,  # a plain dict, because skeletons are copied with their networks
        grouping_order=tuple(index[keypoint] for keypoint in order),
        json_keys=json_keys,
    )
