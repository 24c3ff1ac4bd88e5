"""Rendering of scenes with several people, and their ground truth."""

from typing import Final, NamedTuple

import cv2
import numpy as np

from tagpose.data.synthetic.labeling import (
    blur_parts,
    downsample_mask,
    label_keypoints,
    subtract_masks,
)
from tagpose.data.synthetic.pose import Random, StickFigure, random_pose
from tagpose.data.synthetic.renderer import (
    SUPERSAMPLING,
    FigureCanvas,
    Placement,
    random_clothes,
    render_figure,
)

# relative frequencies of zero to eight people
_COUNT_WEIGHTS: Final = (0.04, 0.48, 0.34, 0.09, 0.05, 0.04, 0.04, 0.03, 0.03)
_SHAPES: Final = ((1.0, 1.0), (1.25, 1.0), (1.0, 1.25))  # width, height in units of `image_size`
# ranges of the standing height in image heights for one, two and more people, who have less room
_HEIGHTS: Final = ((0.75, 0.97), (0.65, 0.9), (0.55, 0.75))
_SPARSE_HEIGHTS: Final = (0.3, 0.97)  # in sparse datasets
_CLOSE_UP_HEIGHTS: Final = (1.0, 1.6)  # a single person whose legs may be outside the image
_CLOSE_UP_PROB, _CROWD_PROB, _OCCLUDER_PROB = 0.3, 0.05, 0.25
_STANDING_HEIGHT: Final = 0.95  # of an upright figure in its own units
_MIN_VISIBLE_AREA: Final = 60  # image pixels; people with less are not annotated


class SyntheticPerson(NamedTuple):
    """Ground truth of a person in a scene."""

    keypoints: np.ndarray  # [K, 3] x, y in image pixels, v; all 0 if it cannot be labeled
    mask: np.ndarray  # [H, W] bool, visible pixels of the person
    unlabeled: tuple[str, ...] = ()  # parts that are too small or blurred to be labeled


class PeopleCount(NamedTuple):
    """Range of the number of people per image."""

    max: int  # up to 8 if there is no minimum
    min: int | None = None  # None: mostly few people, otherwise all numbers are equally frequent

    def draw(self, random: Random) -> int:
        """Return a random number of people."""
        if self.min is not None:
            return int(random.integers(self.min, self.max + 1))
        weights = np.array(_COUNT_WEIGHTS[: self.max + 1])
        return int(random.choice(len(weights), p=weights / weights.sum()))


class Scene(NamedTuple):
    """An image and its ground truth."""

    image: np.ndarray  # [H, W, 3] uint8
    people: tuple[SyntheticPerson, ...]
    crowd: np.ndarray | None  # [H, W] bool


def render_scene(
    random: Random, image_size: int, people: PeopleCount, *, sparse: bool = False
) -> Scene:
    """Render a random scene.

    Args:
        random: generator of all random numbers.
        image_size: shorter side in image pixels.
        people: range of the number of people.
        sparse: whether people have all sizes, and about half of their faces, hands and feet are too
            small or blurred to be labeled.
    """
    count = people.draw(random)
    # several people do not fit a portrait image
    shape = _SHAPES[random.integers(len(_SHAPES) if count < 2 else 2)]
    width, height = (round(image_size * length) for length in shape)
    canvas_size = width * SUPERSAMPLING, height * SUPERSAMPLING
    image = _render_background(random, *canvas_size)
    has_crowd = count < 3 and random.random() < _CROWD_PROB
    crowd = _render_distant_crowd(image, random) if has_crowd else None
    figures = [random_pose(random) for _ in range(count)]
    places = _place_figures(figures, random, *canvas_size, sparse=sparse)
    masks = [_render_one(image, f, p, random) for f, p in zip(figures, places, strict=True)]
    occluders = [_render_occluder(image, random)] if random.random() < _OCCLUDER_PROB else []
    labeled = _label_people(figures, places, masks, occluders, random)
    if sparse:
        labeled = [
            person._replace(unlabeled=blur_parts(image, person.keypoints, random))
            for person in labeled
        ]
    return Scene(
        image=cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA),
        people=tuple(labeled),
        crowd=None
        if crowd is None
        else downsample_mask(subtract_masks(crowd, [*masks, *occluders])),
    )


def render_crowd(
    random: Random, size: tuple[int, int], count: int, heights: tuple[float, float]
) -> np.ndarray:
    """Render rows of people that fill an image, without ground truth.

    Args:
        random: generator of all random numbers.
        size: height and width of the image in pixels.
        count: number of people.
        heights: smallest and largest height of a standing person in image pixels.

    Returns:
        Image [H, W, 3] uint8 RGB.
    """
    height, width = size
    image = _render_background(random, width * SUPERSAMPLING, height * SUPERSAMPLING)
    columns = int(np.ceil(np.sqrt(count * width / height)))
    slot = SUPERSAMPLING * np.array([width / columns, height / -(-count // columns)])
    for index in range(count):
        figure = random_pose(random)
        scale = random.uniform(*heights) * SUPERSAMPLING / _STANDING_HEIGHT
        center = (np.array(divmod(index, columns))[::-1] + random.normal(0.5, 0.1, 2)) * slot
        center[1] -= figure.points[:, 1].mean() * scale
        _render_one(image, figure, Placement(center, scale), random)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _label_people(
    figures: list[StickFigure],
    places: list[Placement],
    masks: list[np.ndarray],
    occluders: list[np.ndarray],
    random: Random,
) -> list[SyntheticPerson]:
    """Return the ground truth of rendered figures, except those that are hardly visible.

    Args:
        figures: figures in the order in which they were rendered.
        places: placement of each figure.
        masks: [H, W] bool in canvas pixels of each figure.
        occluders: [H, W] bool in canvas pixels of objects that were rendered after the figures.
        random: generator of all random numbers.
    """
    layers, people = [*masks, *occluders], []
    for i, (figure, place, mask) in enumerate(zip(figures, places, masks, strict=True)):
        visible = subtract_masks(mask, layers[i + 1 :])
        image_mask = downsample_mask(visible)
        if image_mask.sum() > _MIN_VISIBLE_AREA:
            points = place.on_canvas(figure.points)
            keypoints = label_keypoints(figure, points, mask, visible, random)
            people.append(SyntheticPerson(keypoints, image_mask))
    return people


def _render_background(random: Random, width: int, height: int) -> np.ndarray:
    """Render noise of several frequencies, polygons and lines, without any sign of people."""
    image = np.zeros((height, width, 3), np.float32) + random.uniform(40, 200, 3)
    for cells, strength in ((2, 45), (6, 25), (24, 14), (96, 8)):
        noise = random.normal(0, strength, (cells, cells, 3)).astype(np.float32)
        image += cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    image = image.clip(0, 255).astype(np.uint8)
    for _ in range(random.integers(2, 9)):
        center = random.uniform(0, 1, 2) * (width, height)
        corners = center + random.normal(0, 0.12 * width, (random.integers(3, 6), 2))
        cv2.fillPoly(image, [corners.astype(np.int32)], random.integers(0, 255, 3).tolist())
    for _ in range(random.integers(0, 6)):
        ends = (random.uniform(0, 1, (2, 2)) * (width, height)).astype(int).tolist()
        color, thickness = random.integers(0, 255, 3).tolist(), int(random.integers(2, 14))
        cv2.line(image, ends[0], ends[1], color, thickness, cv2.LINE_AA)
    return image


def _place_figures(
    figures: list[StickFigure], random: Random, width: int, height: int, *, sparse: bool
) -> list[Placement]:
    """Place figures side by side with some overlap; image borders may truncate them."""
    if not figures:
        return []
    slot = width / len(figures)
    heights = _SPARSE_HEIGHTS if sparse else _HEIGHTS[min(len(figures), len(_HEIGHTS)) - 1]
    places = []
    for figure, column in zip(figures, random.permutation(len(figures)), strict=True):
        top, bottom = figure.points[:, 1].min() - 0.08, figure.points[:, 1].max()
        is_close_up = len(figures) == 1 and random.random() < _CLOSE_UP_PROB
        standing_height = random.uniform(*(_CLOSE_UP_HEIGHTS if is_close_up else heights)) * height
        scale = standing_height / _STANDING_HEIGHT
        x = slot * (column + 0.5) + random.normal(0, 0.12 * slot)
        margin = random.uniform(0.01, 0.08) * height
        room = max(0.0, height - margin - (bottom - top) * scale)
        y = margin - top * scale + random.uniform(0, 1) * room
        places.append(Placement(np.array([x, y]), scale))
    return places


def _render_one(
    image: np.ndarray, figure: StickFigure, place: Placement, random: Random
) -> np.ndarray:
    """Render one figure and return its mask [H, W] bool in canvas pixels."""
    canvas = FigureCanvas(image, np.zeros(image.shape[:2], np.uint8), place.scale)
    render_figure(canvas, place.on_canvas(figure.points), figure, place, random_clothes(random))
    return canvas.mask > 0


def _render_occluder(image: np.ndarray, random: Random) -> np.ndarray:
    """Render a pole or a box and return its mask [H, W] bool in canvas pixels."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    x, y = random.uniform(0, width), random.uniform(0.4 * height, height)
    if random.random() < 0.5:
        corner, size = np.array([x, 0]), np.array([random.uniform(0.02, 0.06) * width, height])
    else:
        corner, size = np.array([x, y]), random.uniform(0.1, 0.35, 2) * (width, height)
    first, last = corner.astype(int), (corner + size).astype(int)
    cv2.rectangle(mask, first.tolist(), last.tolist(), 255, -1)
    image[mask > 0] = random.integers(0, 255, 3)
    return mask > 0


def _render_distant_crowd(image: np.ndarray, random: Random) -> np.ndarray:
    """Render a row of tiny figures and return their mask [H, W] bool in canvas pixels."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), bool)
    y = random.uniform(0.15, 0.4) * height
    start = random.uniform(0, 0.5) * width
    for index in range(random.integers(5, 10)):
        scale = random.uniform(0.12, 0.17) * height
        place = Placement(np.array([start + index * 0.35 * scale, y + random.normal(0, 4)]), scale)
        mask |= _render_one(image, random_pose(random), place, random)
    return mask
