"""This file says what a skeleton is, and assembles one from the names of its keypoints."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

KEYPOINT: Final = "keypoint"
PART: Final = "part"
TAG_SHARING: Final = (KEYPOINT, PART, "shared")


class FlipIndices(NamedTuple):
    """Which channel takes the place of each one when an image is flipped horizontally."""

    heatmaps: tuple[int, ...]  # [K]
    tags: tuple[int, ...]  # [G]


class Skeleton(NamedTuple):
    """What is known of the keypoints of one person, before any image is seen."""

    name: str
    keypoints: tuple[str, ...]  # [K] names
    mirror: tuple[int, ...]  # [K] the keypoint that a mirrored image shows in its place
    sigmas: tuple[float, ...]  # [K] spread of human labelling, in units of sqrt(area) (OKS)
    bones: tuple[tuple[int, int], ...]  # pairs of keypoints that a drawing joins
    parts: Mapping[str, slice]  # what is scored on its own; where it is several, all by `name` too
    grouping_order: tuple[int, ...]  # [K] in which the decoder attaches keypoints to people
    fields: Mapping[str, slice]  # of the JSON formats, and the keypoints that each holds

    @property
    def size(self) -> int:
        """The number K of keypoints."""
        return len(self.keypoints)

    @property
    def limbs(self) -> Mapping[str, slice]:
        """The parts that do not overlap: without all of them together."""
        alone = {part: at for part, at in self.parts.items() if part != self.name}
        return alone or self.parts

    @property
    def limb_roots(self) -> tuple[tuple[int, ...], ...]:
        """[F] the keypoints of the body that each limb hangs on; none of the body itself."""
        index = {name: k for k, name in enumerate(self.keypoints)}
        return tuple(
            tuple(index[name] for name in LIMB_ROOTS.get(limb, ()) if name in index)
            for limb in self.limbs
        )

    @property
    def limb_of(self) -> tuple[int, ...]:
        """[K] the number of the limb that each keypoint is of."""
        return tuple(
            f for f, at in enumerate(self.limbs.values()) for _ in range(*at.indices(self.size))
        )

    def tag_index(self, sharing: str = KEYPOINT) -> tuple[int, ...]:
        """Return the tag map [K] that each keypoint uses.

        Args:
            sharing: "keypoint" for a map of its own, as published; "part" for one map per part, or
                "shared" for a single one.

        Raises:
            ValueError: if `sharing` is none of them.
        """
        if sharing not in TAG_SHARING:
            raise ValueError(f"unknown tags {sharing!r}; use one of {', '.join(TAG_SHARING)}")
        if sharing == KEYPOINT:
            return tuple(range(self.size))
        return self.limb_of if sharing == PART else (0,) * self.size

    def flip_indices(self, sharing: str = KEYPOINT) -> FlipIndices:
        """Return the flip indices of heatmaps and of tags shared as in `tag_index`."""
        index = self.tag_index(sharing)
        flipped = dict(zip(index, (index[k] for k in self.mirror), strict=True))
        return FlipIndices(self.mirror, tuple(flipped[tag] for tag in sorted(flipped)))

    @property
    def limb_mirror(self) -> tuple[int, ...]:
        """[F] the limb that a mirrored image shows in the place of each one."""
        limb_of = self.limb_of
        return tuple(limb_of[self.mirror[at.start]] for at in self.limbs.values())


LIMB_ROOTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "foot": ("left_ankle", "right_ankle"),
        "face": ("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
        "lefthand": ("left_wrist",),
        "righthand": ("right_wrist",),
    }
)


def consecutive(sizes: Mapping[str, int]) -> dict[str, slice]:
    """Parts laid one behind the other."""
    parts, start = {}, 0
    for part, size in sizes.items():
        parts[part] = slice(start, start + size)
        start += size
    return parts


def assemble(
    name: str,
    sizes: Mapping[str, int],
    keypoints: tuple[str, ...],
    sigmas: tuple[float, ...],
    *,
    mirror: Mapping[str, str],
    bones: Sequence[Sequence[str]],
    order: Sequence[str],
    fields: Mapping[str, slice],
) -> Skeleton:
    """A skeleton from names that fit together; everything that can be derived is.

    Args:
        name: of the skeleton.
        sizes: how many keypoints each part has, in their order.
        keypoints: [K].
        sigmas: [K].
        mirror: what stands in a mirror where a keypoint stood; those that are not named stay.
        bones: pairs of keypoints.
        order: of grouping.
        fields: of the JSON formats.
    """
    index = {keypoint: k for k, keypoint in enumerate(keypoints)}
    parts = consecutive(sizes)
    parts.setdefault(name, slice(0, len(keypoints)))
    return Skeleton(
        name=name,
        keypoints=keypoints,
        mirror=tuple(index[mirror.get(keypoint, keypoint)] for keypoint in keypoints),
        sigmas=sigmas,
        bones=tuple((index[a], index[b]) for a, b in bones),
        parts=parts,  # a plain dict, because skeletons are copied with their networks
        grouping_order=tuple(index[keypoint] for keypoint in order),
        fields=fields,
    )
