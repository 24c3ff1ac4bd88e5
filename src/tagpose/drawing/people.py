"""This file draws people, found or annotated, on the image that shows them."""

from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np

from tagpose.drawing.hues import identity_colour
from tagpose.drawing.labels import Named, box_around, draw_box, draw_labels
from tagpose.drawing.look import in_one_color, look_of
from tagpose.drawing.opacity import Opacity
from tagpose.drawing.person import draw_person
from tagpose.skeleton import Skeleton
from tagpose.structures import People

_BY_SCORE: Final = Opacity()
_Value = TypeVar("_Value")


def draw_people(
    image: np.ndarray,
    people: People,
    skeleton: Skeleton,
    *,
    min_score: float = 0.1,
    min_person_score: float = 0.0,
    opacity: Opacity = _BY_SCORE,
    labels: Sequence[str] | None = None,
    identities: Sequence[int | None] | None = None,
    boxes: bool = False,
    color_by_person: bool = False,
    line_width: float = 1.0,
) -> np.ndarray:
    """The image with people on it, the best of them in front; lines grow with the person.

    Args:
        image: [H, W, 3] uint8 RGB, left as it is.
        people: keypoints in pixels of that image; they may lie outside of it.
        skeleton: what the K keypoints are.
        min_score: keypoints below are not drawn, nor the lines that end in them.
        min_person_score: people below are not drawn.
        opacity: of a keypoint by its score; a line is as opaque as its less sure end.
        labels: [P] written by each person's box, in Latin letters (the font has few others); ""
            is no label.
        identities: [P] numbers that choose the colours of labels and boxes, so that people keep
            theirs from frame to frame, None for grey; by default their places in `people`.
        boxes: whether a box is drawn around each person.
        color_by_person: whether a person's lines have the color of the identity, which tells people
            in a crowd apart, instead of the colors of the parts.
        line_width: factor of the widths of lines and the sizes of dots.

    Returns:
        [H, W, 3] uint8 RGB, a new array.

    Raises:
        ValueError: there are not as many labels or identities as people.
    """
    keypoints, count = people.keypoints, len(people.scores)
    names = _one_each("labels", [""] * count if labels is None else labels, count)
    numbers = _one_each("identities", range(count) if identities is None else identities, count)
    known = (keypoints[..., 2] >= min_score) & np.isfinite(keypoints).all(axis=-1)  # [P, K]
    shown = known & (people.scores >= min_person_score)[:, None]
    opacities = np.where(shown, opacity(keypoints[..., 2]), 0.0)
    order = [p for p in np.argsort(people.scores, kind="stable").tolist() if shown[p].any()]
    told = [
        Named(box_around(keypoints[p, shown[p], :2]), names[p], identity_colour(numbers[p]))
        for p in order
    ]
    picture, look = image.copy(), look_of(skeleton)
    for person in told if boxes else ():
        draw_box(picture, person)
    for p in order:
        own = in_one_color(look, identity_colour(numbers[p])) if color_by_person else look
        draw_person(picture, keypoints[p, :, :2], opacities[p], own, line_width=line_width)
    draw_labels(picture, told[::-1])
    return picture


def draw_truth(image: np.ndarray, keypoints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """The image with annotated people on it, in the look of those that are found for sure.

    Args:
        image: [H, W, 3] uint8 RGB, left as it is.
        keypoints: [P, K, 3] x, y in pixels of that image, v > 0 where labelled.
        skeleton: what the K keypoints are.

    Returns:
        [H, W, 3] uint8 RGB, a new array.
    """
    found = np.concatenate([keypoints[..., :2], keypoints[..., 2:] > 0], axis=-1, dtype=np.float32)
    people = People(found, np.ones(len(found), np.float32))
    return draw_people(image, people, skeleton, min_score=1.0)


def _one_each(what: str, given: Sequence[_Value], count: int) -> Sequence[_Value]:
    """What is given for people, if it is as many."""
    if len(given) != count:
        raise ValueError(f"{what} has {len(given)} values for {count} people; give each one")
    return given
