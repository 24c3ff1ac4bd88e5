"""This file draws people, found or annotated, on the image that shows them."""

import math
from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np

from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses
from tagpose.visualization.canvas import (
    Canvas,
    blend,
    draw_dot,
    draw_line,
    make_canvas,
    to_fixed_point,
)
from tagpose.visualization.colors import OUTLINE_COLOR, ScoreOpacity, identity_color
from tagpose.visualization.labels import PersonLabel, draw_box, draw_labels, make_label_box
from tagpose.visualization.skeleton_style import (
    SkeletonStyle,
    compute_line_widths,
    make_skeleton_style,
    recolor_style,
)

# MERGED: """This file draws one person: outlines, lines and dots on a canvas of the person's own."""
_DEFAULT_OPACITY: Final = ScoreOpacity()
_Value = TypeVar("_Value")


def draw_poses(
    image: np.ndarray,
    people: Poses,
    skeleton: Skeleton,
    *,
    min_score: float = 0.1,
    min_person_score: float = 0.0,
    opacity: ScoreOpacity = _DEFAULT_OPACITY,
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
        identities: [P] numbers that choose the colors of labels and boxes, so that people keep
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
    names = _check_length("labels", [""] * count if labels is None else labels, count)
    numbers = _check_length("identities", range(count) if identities is None else identities, count)
    known = (keypoints[..., 2] >= min_score) & np.isfinite(keypoints).all(axis=-1)  # [P, K]
    shown = known & (people.scores >= min_person_score)[:, None]
    opacities = np.where(shown, opacity(keypoints[..., 2]), 0.0)
    order = [p for p in np.argsort(people.scores, kind="stable").tolist() if shown[p].any()]
    person_labels = [
        PersonLabel(
            make_label_box(keypoints[p, shown[p], :2]), names[p], identity_color(numbers[p])
        )
        for p in order
    ]
    picture, style = image.copy(), make_skeleton_style(skeleton)
    for person in person_labels if boxes else ():
        draw_box(picture, person)
    for p in order:
        own = recolor_style(style, identity_color(numbers[p])) if color_by_person else style
        draw_pose(picture, keypoints[p, :, :2], opacities[p], own, line_width=line_width)
    draw_labels(picture, person_labels[::-1])
    return picture


def draw_ground_truth(image: np.ndarray, keypoints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """The image with annotated people on it, in the style of those that are found for sure.

    Args:
        image: [H, W, 3] uint8 RGB, left as it is.
        keypoints: [P, K, 3] x, y in pixels of that image, v > 0 where labelled.
        skeleton: what the K keypoints are.

    Returns:
        [H, W, 3] uint8 RGB, a new array.
    """
    found = np.concatenate([keypoints[..., :2], keypoints[..., 2:] > 0], axis=-1, dtype=np.float32)
    people = Poses(found, np.ones(len(found), np.float32))
    return draw_poses(image, people, skeleton, min_score=1.0)


def _check_length(name: str, values: Sequence[_Value], count: int) -> Sequence[_Value]:
    """What is given for people, if it is as many."""
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} values for {count} people; give each one")
    return values


_STROKES: Final = 130  # strokes (widths of a line of the body) on the diagonal of a person
_MIN_STROKE: Final = 1.4  # pixels of a stroke, so that small people are seen
_OUTLINE_WIDTH: Final = 0.4  # width of an outline, in widths of a line
_MIN_OUTLINE: Final = 0.3  # pixels of an outline that still keeps white from white


def draw_pose(
    picture: np.ndarray,
    points: np.ndarray,
    opacities: np.ndarray,
    style: SkeletonStyle,
    *,
    line_width: float = 1.0,
) -> None:
    """Draw a person into the picture; lines grow with the person.

    Args:
        picture: [H, W, 3] uint8 RGB.
        points: [K, 2] in pixels of the picture; they may lie outside of it.
        opacities: [K] up to 1, and 0 for what is not drawn, nor the lines that end in it.
        style: of the skeleton.
        line_width: factor of the widths of lines and the sizes of dots.
    """
    shown = opacities > 0
    if not shown.any():
        return
    height, width = picture.shape[:2]
    # OpenCV counts in 32 bits; a keypoint that far outside only gives a direction.
    far = 4 * max(height, width)
    points = np.where(shown[:, None], points, 0.0).clip(-far, far)
    diagonal = float(np.hypot(*np.ptp(points[shown], axis=0)).clip(max=math.hypot(height, width)))
    stroke = line_width * max(_MIN_STROKE, diagonal / _STROKES)
    rows, columns = _window(points[shown], 2 * stroke + 1, height, width)
    window = picture[rows, columns]
    if window.size == 0:
        return
    widths = compute_line_widths(style, points, shown, stroke)
    corner = np.array([columns.start, rows.start])
    canvas = make_canvas(window, corner, diagonal, widths[shown].min())
    _draw_skeleton(canvas, points, opacities, style, canvas.zoom * widths)
    blend(window, canvas)


def _window(points: np.ndarray, margin: float, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the image around points [N, 2]; empty where they miss the image."""
    size = np.array([width, height])
    low = np.floor(points.min(axis=0) - margin).clip(0, size).astype(int)
    high = np.ceil(points.max(axis=0) + margin + 1).clip(0, size).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _draw_skeleton(
    canvas: Canvas,
    points: np.ndarray,
    opacities: np.ndarray,
    style: SkeletonStyle,
    widths: np.ndarray,
) -> None:
    """Draw every outline, then every line and dot, the surest last, so that none hides a surer one.

    Args:
        canvas: drawn on.
        points: [K, 2] in image pixels.
        opacities: [K].
        style: of the skeleton.
        widths: [K] of the lines that end in each keypoint, in canvas pixels.
    """
    at, lines = canvas.to_canvas(points), style.lines.tolist()
    # Lines, then dots: where they are equally sure, a dot lies over the lines that end in it.
    opaque = np.concatenate([opacities[style.lines].min(axis=1), opacities])
    thin = np.concatenate([widths[style.lines].min(axis=1), widths])
    halves = thin * np.concatenate([np.full(len(lines), 0.5), style.dot_radii])
    fills = np.concatenate([style.line_colors, style.colors])
    order = [i for i in np.argsort(opaque, kind="stable").tolist() if opaque[i] > 0]
    rims = (_OUTLINE_WIDTH * thin).clip(min=_MIN_OUTLINE * canvas.zoom)
    for colors, reach in ((np.full_like(fills, OUTLINE_COLOR), halves + rims), (fills, halves)):
        colors_and_opacities = np.rint(
            np.c_[colors, np.full(len(fills), 255)] * opaque[:, None]
        ).tolist()
        thick = np.rint(2 * reach).clip(1).astype(int).tolist()
        radii = to_fixed_point(reach)
        for i in order:
            if i < len(lines):
                start, stop = lines[i]
                draw_line(canvas, at[start], at[stop], colors_and_opacities[i], thick[i])
            else:
                draw_dot(canvas, at[i - len(lines)], colors_and_opacities[i], radii[i])
