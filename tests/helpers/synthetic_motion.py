"""Drawn people who move, with known keypoints in each frame."""

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
from tagpose.data.synthetic.scene import render_scene

SECONDS_PER_POSE = 1.0


class Moment(NamedTuple):
    """A frame and its ground truth."""

    image: np.ndarray  # [H, W, 3] uint8
    keypoints: np.ndarray  # [P, K, 2] in image pixels


def paint_motion(
    seed: int, frames: int, *, people: int = 1, rate: float = 30.0, image_size: int = 384
) -> Iterator[Moment]:
    """Paint people who stand side by side, move from pose to pose, and sway."""
    random = np.random.default_rng(seed)
    background = render_scene(random, image_size, 0).image
    width = image_size * (1 + people) // 2
    background = cv2.resize(background, (width * SUPERSAMPLING, image_size * SUPERSAMPLING))
    count = int(frames / rate / SECONDS_PER_POSE) + 2
    moving = [[_from_the_front(random) for _ in range(count)] for _ in range(people)]
    clothes = [random_clothes(random) for _ in moving]
    for number in range(frames):
        time, image, points = number / rate, background.copy(), []
        for p, poses in enumerate(moving):
            figure = _at(poses, time)
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
        yield Moment(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.stack(points))


def person_motion(seed: int, frames: int, *, rate: float, height: float) -> Iterator[np.ndarray]:
    """Yield the keypoints [K, 2] of a moving person of a height in image pixels, not painted."""
    random = np.random.default_rng(seed)
    poses = [_from_the_front(random) for _ in range(int(frames / rate / SECONDS_PER_POSE) + 2)]
    for number in range(frames):
        yield (_at(poses, number / rate).points + np.array([0.8, 0.7])) * height


def _from_the_front(random: np.random.Generator) -> StickFigure:
    """Return a random pose that shows the face."""
    return next(
        figure for figure in iter(lambda: random_pose(random), None) if not figure.from_behind
    )


def _at(poses: list[StickFigure], time: float) -> StickFigure:
    """Return the figure on its way from one pose to the next, slow at both."""
    number, share = divmod(time / SECONDS_PER_POSE, 1)
    share = share * share * (3 - 2 * share)
    ends = zip(poses[int(number)][:5], poses[int(number) + 1][:5], strict=True)
    return StickFigure(*(one + share * (two - one) for one, two in ends), from_behind=False)
