"""Predicted or annotated people, drawn on their image with an opacity that depends on the score.

Each person is drawn on a separate canvas, first the outlines, then lines and dots.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses
from tagpose.visualization.canvas import (
    Canvas,
    blend,
    draw_dot,
    draw_line,
    find_window,
    make_canvas,
    to_fixed_point,
)
from tagpose.visualization.colors import OUTLINE_COLOR, identity_color
from tagpose.visualization.labels import PersonLabel, draw_box, draw_labels, make_label_box
from tagpose.visualization.skeleton_style import (
    SkeletonStyle,
    compute_line_widths,
    make_skeleton_style,
    recolor_style,
)

_LINES_PER_DIAGONAL: Final = 130  # widths of a body line in the diagonal of a person
_MIN_LINE_WIDTH: Final = 1.4  # pixels, so that small people are visible
_OUTLINE_WIDTH: Final = 0.4  # in line widths
_MIN_OUTLINE_WIDTH: Final = 0.3  # pixels, enough to separate white from white
_Value = TypeVar("_Value")
# A target heatmap, exp(-d^2 / 2 sigma^2), has this value one sigma from its keypoint. A peak of
# this height is thus as confident as a correct heatmap read one standard deviation away.
_ONE_SIGMA: Final = math.exp(-0.5)


@dataclass(frozen=True)
class ScoreOpacity:
    """Linear map from scores to opacities, clipped at both ends.

    Calling it maps scores [...] to opacities [...] between `min_opacity` and 1.

    Attributes:
        low_score: heatmap score, from 0 to 1, at and below which opacity is `min_opacity`; by
            default the score of the weakest peak that the decoder accepts.
        high_score: score at and above which the opacity is 1.
        min_opacity: lowest opacity.

    Raises:
        ValueError: `low_score` is not below `high_score`, or `min_opacity` is not in [0, 1].
    """

    low_score: float = 0.1
    high_score: float = _ONE_SIGMA
    min_opacity: float = 0.15

    def __post_init__(self) -> None:
        if not (self.low_score < self.high_score and 0 <= self.min_opacity <= 1):
            raise ValueError(
                f"{self} is invalid; low_score must be below high_score and min_opacity in [0, 1]"
            )

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        return np.interp(scores, (self.low_score, self.high_score), (self.min_opacity, 1.0))


_DEFAULT_OPACITY: Final = ScoreOpacity()


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
    """Draw people on a copy of the image, the highest scores in front; lines grow with the person.

    Args:
        image: image [H, W, 3] uint8 RGB, not modified.
        people: poses in image pixels; keypoints may lie outside of the image.
        skeleton: skeleton with K keypoints.
        min_score: keypoints with lower scores, and the lines that end in them, are not drawn.
        min_person_score: people with lower scores are not drawn.
        opacity: opacity of a keypoint as a function of its score; a line has the lower opacity of
            its two ends.
        labels: text next to each person's box [P], in Latin letters (the font has few others), or
            "".
        identities: numbers [P] that determine the colors of labels and boxes, so that people have
            the same color in all frames; None is gray. By default the indices in `people`.
        boxes: whether to draw a box around each person.
        color_by_person: whether to draw each person in the color of the identity, which separates
            people in crowds, instead of the colors of the parts.
        line_width: factor for the widths of lines and the sizes of dots.

    Returns:
        Picture [H, W, 3] uint8 RGB, a new array.

    Raises:
        ValueError: the number of labels or identities is not the number of people.
    """
    keypoints, count = people.keypoints, len(people.scores)
    texts = _check_length("labels", [""] * count if labels is None else labels, count)
    numbers = _check_length("identities", range(count) if identities is None else identities, count)
    valid = (keypoints[..., 2] >= min_score) & np.isfinite(keypoints).all(axis=-1)  # [P, K]
    visible = valid & (people.scores >= min_person_score)[:, None]
    opacities = np.where(visible, opacity(keypoints[..., 2]), 0.0)
    order = [p for p in np.argsort(people.scores, kind="stable").tolist() if visible[p].any()]
    person_labels = [
        PersonLabel(
            make_label_box(keypoints[p, visible[p], :2]), texts[p], identity_color(numbers[p])
        )
        for p in order
    ]
    picture, style = image.copy(), make_skeleton_style(skeleton)
    for person_label in person_labels if boxes else ():
        draw_box(picture, person_label)
    for p in order:
        pose_style = recolor_style(style, identity_color(numbers[p])) if color_by_person else style
        draw_pose(picture, keypoints[p, :, :2], opacities[p], pose_style, line_width=line_width)
    draw_labels(picture, person_labels[::-1])
    return picture


def draw_ground_truth_poses(
    image: np.ndarray, keypoints: np.ndarray, skeleton: Skeleton
) -> np.ndarray:
    """Draw annotated people on a copy of the image, like predictions with a score of 1.

    Args:
        image: image [H, W, 3] uint8 RGB, not modified.
        keypoints: ground-truth keypoints [P, K, 3] in image pixels, v > 0 where labeled.
        skeleton: skeleton with K keypoints.

    Returns:
        Picture [H, W, 3] uint8 RGB, a new array.
    """
    scored = np.concatenate([keypoints[..., :2], keypoints[..., 2:] > 0], axis=-1, dtype=np.float32)
    people = Poses(scored, np.ones(len(scored), np.float32))
    return draw_poses(image, people, skeleton, min_score=1.0)


def _check_length(name: str, values: Sequence[_Value], count: int) -> Sequence[_Value]:
    """Return the values if there is one for each person."""
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} values for {count} people; pass one per person")
    return values


def draw_pose(
    picture: np.ndarray,
    points: np.ndarray,
    opacities: np.ndarray,
    style: SkeletonStyle,
    *,
    line_width: float = 1.0,
) -> None:
    """Draw one person into the picture.

    Args:
        picture: picture [H, W, 3] uint8 RGB, modified in place.
        points: x, y [K, 2] in pixels of the picture; they may lie outside of it.
        opacities: opacities [K] up to 1; keypoints with 0, and their lines, are not drawn.
        style: style of the skeleton.
        line_width: factor for the widths of lines and the sizes of dots.
    """
    visible = opacities > 0
    if not visible.any():
        return
    height, width = picture.shape[:2]
    # OpenCV's coordinates have 32 bits; of a keypoint that far away only the direction matters.
    limit = 4 * max(height, width)
    points = np.where(visible[:, None], points, 0.0).clip(-limit, limit)
    diagonal = float(np.hypot(*np.ptp(points[visible], axis=0)).clip(max=math.hypot(height, width)))
    body_width = line_width * max(_MIN_LINE_WIDTH, diagonal / _LINES_PER_DIAGONAL)
    rows, columns = find_window(points[visible], 2 * body_width + 1, height, width)
    window = picture[rows, columns]
    if window.size == 0:
        return
    widths = compute_line_widths(style, points, visible, body_width)
    corner = np.array([columns.start, rows.start])
    canvas = make_canvas(window, corner, diagonal, widths[visible].min())
    _draw_skeleton(canvas, points, opacities, style, canvas.zoom * widths)
    blend(window, canvas)


def _draw_skeleton(
    canvas: Canvas,
    points: np.ndarray,
    opacities: np.ndarray,
    style: SkeletonStyle,
    widths: np.ndarray,
) -> None:
    """Draw all outlines, then all lines and dots, each in order of increasing opacity.

    Args:
        canvas: canvas to draw on, modified in place.
        points: x, y [K, 2] in image pixels.
        opacities: opacities [K].
        style: style of the skeleton.
        widths: widths [K] of the lines that end in each keypoint, in canvas pixels.
    """
    centers, lines = canvas.to_canvas(points), style.lines.tolist()
    # Lines come before dots, so that of equal opacities the dot covers the ends of its lines.
    opacity = np.concatenate([opacities[style.lines].min(axis=1), opacities])
    width = np.concatenate([widths[style.lines].min(axis=1), widths])
    radius = width * np.concatenate([np.full(len(lines), 0.5), style.dot_radii])
    fill = np.concatenate([style.line_colors, style.colors])
    order = [i for i in np.argsort(opacity, kind="stable").tolist() if opacity[i] > 0]
    outline = (_OUTLINE_WIDTH * width).clip(min=_MIN_OUTLINE_WIDTH * canvas.zoom)
    for color, reach in ((np.full_like(fill, OUTLINE_COLOR), radius + outline), (fill, radius)):
        rgba = np.rint(np.c_[color, np.full(len(fill), 255)] * opacity[:, None]).tolist()
        thickness = np.rint(2 * reach).clip(1).astype(int).tolist()
        radii = to_fixed_point(reach)
        for i in order:
            if i < len(lines):
                start, stop = lines[i]
                draw_line(canvas, centers[start], centers[stop], rgba[i], thickness[i])
            else:
                draw_dot(canvas, centers[i - len(lines)], rgba[i], radii[i])
