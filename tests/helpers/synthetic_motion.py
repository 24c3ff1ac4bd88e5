"""Videos of moving synthetic people with ground-truth keypoints."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from tagpose.data.synthetic.pose import StickFigure, random_pose
from tagpose.data.synthetic.renderer import (
    SUPERSAMPLING,
    FigureCanvas,
    Placement,
    random_clothes,
    render_figure,
)
from tagpose.data.synthetic.scene import PeopleCount, render_scene

SECONDS_PER_POSE = 1.0


class AnnotatedFrame(NamedTuple):
    """Frame with ground truth."""

    image: np.ndarray  # [H, W, 3] uint8
    keypoints: np.ndarray  # [P, K, 2] in image pixels


def render_motion(
    seed: int, frames: int, *, people: int = 1, rate: float = 30.0, image_size: int = 384
) -> Iterator[AnnotatedFrame]:
    """Render people side by side who move from pose to pose and sway."""
    random = np.random.default_rng(seed)
    background = render_scene(random, image_size, PeopleCount(0)).image
    width = image_size * (1 + people) // 2
    background = cv2.resize(background, (width * SUPERSAMPLING, image_size * SUPERSAMPLING))
    count = int(frames / rate / SECONDS_PER_POSE) + 2
    poses_by_person = [[_random_frontal_pose(random) for _ in range(count)] for _ in range(people)]
    clothes = [random_clothes(random) for _ in poses_by_person]
    for number in range(frames):
        time, image, points = number / rate, background.copy(), []
        for p, poses in enumerate(poses_by_person):
            figure = _interpolate(poses, time)
            x = SUPERSAMPLING * (
                width * (p + 0.5) / people + 0.1 * image_size * np.sin(2.5 * time + p)
            )
            place = Placement(
                np.array([x, 0.52 * image_size * SUPERSAMPLING]), 0.8 * image_size * SUPERSAMPLING
            )
            canvas = FigureCanvas(image, np.zeros(image.shape[:2], np.uint8), place.scale)
            render_figure(canvas, place.on_canvas(figure.points), figure, place, clothes[p])
            points.append((place.on_canvas(figure.points) + 0.5) / SUPERSAMPLING - 0.5)
        size = image.shape[1] // SUPERSAMPLING, image.shape[0] // SUPERSAMPLING
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        yield AnnotatedFrame(image, np.stack(points))


def person_motion(seed: int, frames: int, *, rate: float, height: float) -> Iterator[np.ndarray]:
    """Yield the keypoints [K, 2] of a moving person with a height in image pixels."""
    random = np.random.default_rng(seed)
    count = int(frames / rate / SECONDS_PER_POSE) + 2
    poses = [_random_frontal_pose(random) for _ in range(count)]
    for number in range(frames):
        yield (_interpolate(poses, number / rate).points + np.array([0.8, 0.7])) * height


def _random_frontal_pose(random: np.random.Generator) -> StickFigure:
    """Return a random pose with a visible face."""
    return next(
        figure for figure in iter(lambda: random_pose(random), None) if not figure.from_behind
    )


def _interpolate(poses: list[StickFigure], time: float) -> StickFigure:
    """Interpolate between consecutive poses, with zero velocity at each pose."""
    number, fraction = divmod(time / SECONDS_PER_POSE, 1)
    fraction = fraction * fraction * (3 - 2 * fraction)
    pairs = zip(poses[int(number)][:5], poses[int(number) + 1][:5], strict=True)
    return StickFigure(*(a + fraction * (b - a) for a, b in pairs), from_behind=False)
