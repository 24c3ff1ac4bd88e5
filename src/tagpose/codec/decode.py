"""This file turns fields into people: peaks, groups, places between pixels, missing keypoints."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tagpose.codec.filling import fill_in
from tagpose.codec.grouping import (
    Groups,
    Ruled,
    best_people,
    gather_people,
    group_peaks,
    person_scores,
    person_tags,
)
from tagpose.codec.peaks import Peaks, adjust, find_peaks
from tagpose.official_skeletons import anatomical_order
from tagpose.skeleton import Skeleton
from tagpose.structures import STRIDE, Fields, People


def finite_images(fields: Fields) -> Tensor:
    """Which images [B] of a batch have fields of finite numbers alone."""
    # a sum is finite only if all summands are, and is had in one reading
    sums = [each.flatten(1).sum(1, dtype=torch.float32) for each in fields]
    return torch.stack(sums).isfinite().all(0)


def _check(fields: Fields, keypoints: int, size: tuple[int, int]) -> None:
    """Refuse what would be decoded to nonsense."""
    channels, (finer, cells) = fields.heatmaps.shape[1], (tuple(f.shape[-2:]) for f in fields)
    if channels != keypoints:
        raise ValueError(
            f"the fields have {channels} keypoints and the grouping order has {keypoints}; do"
            " network and decoder belong to the same skeleton?"
        )
    for whole, part in ((size, cells), (size, finer), (finer, cells)):
        ratios = {w / p for w, p in zip(whole, part, strict=True)}
        if len(ratios) > 1 or not ratios.pop().is_integer():
            raise ValueError(
                f"the input {size}, heatmaps {finer} and tags {cells} are no multiples of each"
                " other; were they made of the same image?"
            )
    if size[0] > STRIDE * finer[0]:
        raise ValueError(f"heatmaps {finer} of an input {size} are coarser than stride {STRIDE}")
    if not finite_images(fields).all():
        raise ValueError(
            "the fields hold NaN or infinity; the network diverged, or half precision overflowed"
        )


@dataclass(frozen=True)
class Decoder(Ruled):
    """Thresholds of the decoding; calling it decodes a batch.

    Attributes:
        grouping_order: in which keypoints are attached to people, from the skeleton.
        max_people: how many an image may have, the best ones; None for any number.
        max_peaks: how many a heatmap may have, the best ones.
        min_score: heatmap value that a peak must be above.
        max_tag_distance: how near a peak's tag must be to a person's.
        fill_in: whether people are given keypoints at which no peak was theirs.
        sub_cell: whether the network learned peaks between the cells; see `read_places`.
        limb_of: for tags of people that are means over limbs; see `Grouping`.
        nearest: whether the nearer one of equal assignments is taken; see `Grouping`.
        roots: near which keypoints must be; see `Grouping`.

    Raises:
        ValueError: if `min_score` is negative, as a score of 0 says that a keypoint is missing; or
            if nobody could be found.
    """

    grouping_order: tuple[int, ...]
    max_people: int | None = 30
    max_peaks: int = 30
    min_score: float = 0.1
    max_tag_distance: float = 1.0
    fill_in: bool = True
    sub_cell: bool = False
    limb_of: tuple[int, ...] = ()
    nearest: bool = False
    roots: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.min_score < 0:
            raise ValueError(f"min_score is {self.min_score}; it must be 0 or more")
        for name in ("max_people", "max_peaks"):
            if (most := getattr(self, name)) is not None and most < 1:
                raise ValueError(f"{name} is {most}; with fewer than 1 nobody is found")
        if self.max_tag_distance <= 0:
            raise ValueError(f"max_tag_distance is {self.max_tag_distance}; it must be above 0")

    @torch.inference_mode()
    def __call__(self, fields: Fields, size: tuple[int, int] | None = None) -> list[People]:
        """The people of every image of a batch.

        The batch is decoded together where its maps lie; only peaks and people leave the device.

        Args:
            fields: on any device; their heatmaps may have the size of the input already, as those
                merged over scales have.
            size: height, width of the input at scale 1; by default STRIDE times that of the tags.

        Returns:
            [B] people by falling score, keypoints in input pixels. A person's score is the mean of
            its peaks' over all K; a keypoint that was filled in does not count, and one that is
            missing is a row of 0.

        Raises:
            ValueError: if the fields are not finite, or do not fit the skeleton or the size.
        """
        height, width = fields.tags.shape[-2:]
        size = size or (STRIDE * height, STRIDE * width)
        # networks that hold channels last say so of their outputs
        fields = Fields(*(each.float().contiguous() for each in fields))
        _check(fields, len(self.grouping_order), size)
        peaks = find_peaks(fields, size, self.max_peaks, self.min_score)
        groups = [best_people(one, self.max_people) for one in self.group(peaks)]
        keypoints = self._place(groups, fields, size)
        each = np.split(keypoints, np.cumsum([len(one.tags) for one in groups])[:-1])
        scores = [person_scores(one.keypoints) for one in groups]
        return [People(*one) for one in zip(each, scores, strict=True)]

    def group(self, peaks: Peaks) -> list[Groups]:
        """The people of each image to whom peaks belong, in the order of their founding."""
        x, y, scores, tags = (values.cpu().numpy() for values in peaks)
        xy = np.stack([x, y], axis=-1)
        owned = (group_peaks(*one, self.grouping) for one in zip(scores, tags, xy, strict=True))
        return [gather_people(*one) for one in zip(owned, xy, scores, tags, strict=True)]

    def _place(self, groups: list[Groups], fields: Fields, size: tuple[int, int]) -> np.ndarray:
        """Keypoints [T, K, 3] of all people of a batch, image after image, in input pixels."""

        def sent(arrays: list[np.ndarray]) -> Tensor:
            return torch.from_numpy(np.concatenate(arrays)).to(fields.heatmaps.device)

        image = sent([np.full(len(one.tags), number) for number, one in enumerate(groups)])
        people = sent([one.keypoints for one in groups])
        people = adjust(people, image, fields.heatmaps, size, sub_cell=self.sub_cell)
        if self.fill_in:
            owners = sent([person_tags(one, self.limb_of) for one in groups])
            people = fill_in(people, image, owners, fields, size, sub_cell=self.sub_cell)
        return people.cpu().numpy()


def decoder_of(
    skeleton: Skeleton,
    *,
    by_limb: bool = False,
    near_roots: bool = False,
    anatomical: bool = False,
    **options: Any,
) -> Decoder:
    """The decoder of a skeleton's fields.

    Args:
        skeleton: whose.
        by_limb: whether a person's tag is the mean over limbs, not over keypoints.
        near_roots: whether hands must be near their wrists, feet near their ankles, and a face
            near the keypoints of the head.
        anatomical: whether hips come before arms, as published for the body alone.
        options: of `Decoder`, by name.
    """
    order = anatomical_order(skeleton) if anatomical else skeleton.grouping_order
    roots = tuple(skeleton.limb_roots[limb] for limb in skeleton.limb_of)
    return Decoder(
        order,
        limb_of=skeleton.limb_of if by_limb else (),
        roots=roots if near_roots else (),
        **options,
    )
