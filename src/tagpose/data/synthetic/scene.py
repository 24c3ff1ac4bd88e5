"""This file puts figures into a picture and says what is labelled of each."""

from types import MappingProxyType
from typing import Final, NamedTuple

import cv2
import numpy as np

from tagpose.data.synthetic.pose import KEYPOINT_INDEX, Random, StickFigure, random_pose
from tagpose.data.synthetic.renderer import (
    SUPERSAMPLING,
    FigureCanvas,
    Placement,
    random_clothes,
    render_figure,
)
from tagpose.skeletons.coco import WHOLEBODY

# chances of none, one, two and more people, up to eight
_PEOPLE: Final = (0.04, 0.48, 0.34, 0.09, 0.05, 0.04, 0.04, 0.03, 0.03)
_SHAPES: Final = ((1.0, 1.0), (1.25, 1.0), (1.0, 1.25))  # width, height in units of `image_size`
# Standing height in units of the picture's, for one person, two, more: there is less room.
_SIZES: Final = ((0.75, 0.97), (0.65, 0.9), (0.55, 0.75))
_CLOSE_UP_CHANCE, _CLOSE_UP_SIZES = (
    0.3,
    (1.0, 1.6),
)  # chance of somebody alone so near that the legs are cut off
_SPARSE_SIZES: Final = (0.3, 0.97)  # where labels are sparse
_STANDING_HEIGHT: Final = 0.95  # height of an upright figure in its own units
_MIN_PART_SIZE: Final = 8.0  # image pixels; smaller faces and hands are not labelled
_MIN_VISIBLE_SHARE: Final = 0.6  # of a face's or a hand's points that must be seen for labels
# Where labels are sparse: parts smaller than that (image pixels) have none, and none of those that
# are blurred by chance.
_MIN_SPARSE_SIZE: Final = MappingProxyType(
    {"foot": 22.0, "face": 25.0, "lefthand": 14.0, "righthand": 14.0}
)
_BLUR_CHANCE: Final = 0.2  # chance
_BLUR: Final = 0.12  # sigma in units of the part's longer side
_UNLABELLED_PART, _UNLABELLED_PERSON, _CROWD, _OBJECT = 0.07, 0.04, 0.05, 0.25  # chances


class SyntheticPerson(NamedTuple):
    """A person in a picture."""

    keypoints: np.ndarray  # [K, 3] x, y in image pixels, v; all 0 where nobody could label
    mask: np.ndarray  # [H, W] bool: what is seen of it
    unlabelled: tuple[str, ...] = ()  # parts that are too small or blurred for labels


class Scene(NamedTuple):
    """A picture and the ground truth about it."""

    image: np.ndarray  # [H, W, 3] uint8
    people: tuple[SyntheticPerson, ...]
    crowd: np.ndarray | None  # [H, W] bool


def render_scene(
    random: Random, image_size: int, max_people: int, *, sparse: bool = False
) -> Scene:
    """A random scene whose shorter side has so many image pixels.

    Args:
        random: draws it.
        image_size: in image pixels.
        max_people: in it, up to 8.
        sparse: whether people are of all sizes, and about half of their faces, hands and feet too
            small or too blurred for labels.
    """
    chances = np.array(_PEOPLE[: max_people + 1])
    count = int(random.choice(len(chances), p=chances / chances.sum()))
    shape = _SHAPES[random.integers(len(_SHAPES) if count < 2 else 2)]  # not narrow for several
    width, height = (round(image_size * length) for length in shape)
    image = _background(random, width * SUPERSAMPLING, height * SUPERSAMPLING)
    crowd = _render_far_crowd(image, random) if count < 3 and random.random() < _CROWD else None
    figures = [random_pose(random) for _ in range(count)]
    places = _place_figures(
        figures, random, width * SUPERSAMPLING, height * SUPERSAMPLING, sparse=sparse
    )
    layers = [_render_one(image, f, p, random) for f, p in zip(figures, places, strict=True)]
    objects = [_render_occluder(image, random)] if random.random() < _OBJECT else []
    covers = [*layers, *objects]
    seen = [_visible_part(mask, covers[i + 1 :]) for i, mask in enumerate(layers)]
    people = tuple(
        SyntheticPerson(
            _label_keypoints(f, p.on_canvas(f.points), layer, mask, random), _downsample(mask)
        )
        for f, p, layer, mask in zip(figures, places, layers, seen, strict=True)
        if _downsample(mask).sum() > 60  # image pixels; less is nobody
    )
    if sparse:
        people = tuple(_drop_labels(image, person, random) for person in people)
    hidden = np.zeros_like(image[..., 0], bool)
    for cover in covers:
        hidden |= cover
    return Scene(
        image=cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA),
        people=people,
        crowd=None if crowd is None else _downsample(crowd & ~hidden),
    )


def render_crowd(
    random: Random, size: tuple[int, int], count: int, heights: tuple[float, float]
) -> np.ndarray:
    """Paint people in rows that fill a picture, without labels.

    Args:
        random: draws them.
        size: height, width in image pixels.
        count: number of people.
        heights: smallest and largest height of a standing person in image pixels.

    Returns:
        [H, W, 3] uint8 RGB.
    """
    height, width = size
    image = _background(random, width * SUPERSAMPLING, height * SUPERSAMPLING)
    columns = int(np.ceil(np.sqrt(count * width / height)))
    room = SUPERSAMPLING * np.array([width / columns, height / -(-count // columns)])  # of a person
    for number in range(count):
        figure = random_pose(random)
        scale = random.uniform(*heights) * SUPERSAMPLING / _STANDING_HEIGHT
        middle = (np.array(divmod(number, columns))[::-1] + random.normal(0.5, 0.1, 2)) * room
        middle[1] -= figure.points[:, 1].mean() * scale
        _render_one(image, figure, Placement(middle, scale), random)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _background(random: Random, width: int, height: int) -> np.ndarray:
    """Noise of several sizes, flat shapes, lines: nothing that tells of people."""
    image = np.zeros((height, width, 3), np.float32) + random.uniform(40, 200, 3)
    for cells, strength in ((2, 45), (6, 25), (24, 14), (96, 8)):
        noise = random.normal(0, strength, (cells, cells, 3)).astype(np.float32)
        image += cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    image = image.clip(0, 255).astype(np.uint8)
    for _ in range(random.integers(2, 9)):
        centre = random.uniform(0, 1, 2) * (width, height)
        corners = centre + random.normal(0, 0.12 * width, (random.integers(3, 6), 2))
        cv2.fillPoly(image, [corners.astype(np.int32)], random.integers(0, 255, 3).tolist())
    for _ in range(random.integers(0, 6)):
        ends = (random.uniform(0, 1, (2, 2)) * (width, height)).astype(int).tolist()
        color, thickness = random.integers(0, 255, 3).tolist(), int(random.integers(2, 14))
        cv2.line(image, ends[0], ends[1], color, thickness, cv2.LINE_AA)
    return image


def _place_figures(
    figures: list[StickFigure], random: Random, width: int, height: int, *, sparse: bool
) -> list[Placement]:
    """Where figures stand, side by side with some overlap; some are cut off by the edges."""
    if not figures:
        return []
    slot = width / len(figures)
    size = _SPARSE_SIZES if sparse else _SIZES[min(len(figures), len(_SIZES)) - 1]
    places = []
    for figure, number in zip(figures, random.permutation(len(figures)), strict=True):
        heights = figure.points[:, 1]
        top, bottom = heights.min() - 0.08, heights.max()
        close = len(figures) == 1 and random.random() < _CLOSE_UP_CHANCE
        scale = random.uniform(*(_CLOSE_UP_SIZES if close else size)) * height / _STANDING_HEIGHT
        x = slot * (number + 0.5) + random.normal(0, 0.12 * slot)
        above = random.uniform(0.01, 0.08) * height
        room = max(0.0, height - above - (bottom - top) * scale)
        y = above - top * scale + random.uniform(0, 1) * room
        places.append(Placement(np.array([x, y]), scale))
    return places


def _render_one(
    image: np.ndarray, figure: StickFigure, place: Placement, random: Random
) -> np.ndarray:
    """Paint one figure; where it is, [H, W] bool."""
    canvas = FigureCanvas(image, np.zeros(image.shape[:2], np.uint8), place.scale)
    render_figure(canvas, place.on_canvas(figure.points), figure, place, random_clothes(random))
    return canvas.mask > 0


def _render_occluder(image: np.ndarray, random: Random) -> np.ndarray:
    """Paint a pole or a box before everybody; where it is, [H, W] bool."""
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


def _render_far_crowd(image: np.ndarray, random: Random) -> np.ndarray:
    """Paint a row of tiny figures far away; where they are, [H, W] bool."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), bool)
    y = random.uniform(0.15, 0.4) * height
    start = random.uniform(0, 0.5) * width
    for step in range(random.integers(5, 10)):
        scale = random.uniform(0.12, 0.17) * height
        place = Placement(np.array([start + step * 0.35 * scale, y + random.normal(0, 4)]), scale)
        mask |= _render_one(image, random_pose(random), place, random)
    return mask


def _drop_labels(image: np.ndarray, person: SyntheticPerson, random: Random) -> SyntheticPerson:
    """A person some of whose parts are blurred in the picture [SUPERSAMPLING * H, SUPERSAMPLING * W, 3]."""
    unlabelled = []
    for part, least in _MIN_SPARSE_SIZE.items():
        points = person.keypoints[WHOLEBODY.parts[part]]
        points = points[points[:, 2] > 0, :2]
        blurred = random.random() < _BLUR_CHANCE
        if not len(points):
            continue
        extent = np.ptp(points, axis=0).max()
        if blurred:
            _blur(image, SUPERSAMPLING * points, SUPERSAMPLING * max(0.5, _BLUR * extent))
        if blurred or extent < least:
            unlabelled.append(part)
    return person._replace(unlabelled=tuple(unlabelled))


def _blur(image: np.ndarray, points: np.ndarray, sigma: float) -> None:
    """Blur a picture around points [n, 2] of it, fading out."""
    low = np.floor(points.min(0) - 3 * sigma).astype(int).clip(0)
    high = np.ceil(points.max(0) + 3 * sigma).astype(int) + 1
    window = image[low[1] : high[1], low[0] : high[0]]
    where = np.zeros(window.shape[:2], np.float32)
    hull = cv2.convexHull((points - low).astype(np.int32))
    cv2.fillConvexPoly(where, hull, 1.0)
    share = cv2.GaussianBlur(
        cv2.dilate(where, np.ones((3, 3)), iterations=int(sigma)), (0, 0), sigma
    )
    soft = cv2.GaussianBlur(window, (0, 0), sigma)
    window[:] = window + share[..., None] * (soft.astype(np.float32) - window)


def _visible_part(mask: np.ndarray, covers: list[np.ndarray]) -> np.ndarray:
    """What is left of a mask [H, W] behind what was painted later."""
    left = mask.copy()
    for cover in covers:
        left &= ~cover
    return left


def _downsample(mask: np.ndarray) -> np.ndarray:
    """A mask of the canvas [SUPERSAMPLING * H, SUPERSAMPLING * W] in image pixels [H, W]."""
    height, width = mask.shape[0] // SUPERSAMPLING, mask.shape[1] // SUPERSAMPLING
    shrunk = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return shrunk >= 0.5


def _label_keypoints(
    figure: StickFigure, points: np.ndarray, layer: np.ndarray, seen: np.ndarray, random: Random
) -> np.ndarray:
    """Keypoints [K, 3] as a labeller would give them, x, y in image pixels.

    A keypoint behind something has v 1; outside of the picture it has none. Of a face or a hand
    that is small, mostly hidden or turned away, none is labelled.
    """
    keypoints = np.zeros((WHOLEBODY.size, 3))
    if random.random() < _UNLABELLED_PERSON:
        return keypoints
    height, width = seen.shape
    column, row = np.round(points).astype(int).T
    # a pixel of the canvas is 1 / SUPERSAMPLING of the picture's; their centres do not coincide
    keypoints[:, :2] = (points + 0.5) / SUPERSAMPLING - 0.5
    last = np.array([width, height]) // SUPERSAMPLING - 1
    inside = ((keypoints[:, :2] >= 0) & (keypoints[:, :2] <= last)).all(1)
    column, row = column.clip(0, width - 1), row.clip(0, height - 1)
    hidden = layer[row, column] & ~seen[row, column]
    keypoints[:, 2] = np.where(hidden, 1, 2) * inside
    for part in ("foot", "face", "lefthand", "righthand"):
        at = WHOLEBODY.parts[part]
        extent = np.ptp(points[at], axis=0).max() / SUPERSAMPLING
        share = (inside & ~hidden)[at].mean()
        unseen = extent < _MIN_PART_SIZE or share < _MIN_VISIBLE_SHARE
        if (part != "foot" and unseen) or random.random() < _UNLABELLED_PART:
            keypoints[at] = 0
    if figure.from_behind:
        keypoints[WHOLEBODY.parts["face"]] = 0
        keypoints[
            [KEYPOINT_INDEX["nose"], KEYPOINT_INDEX["left_eye"], KEYPOINT_INDEX["right_eye"]]
        ] = 0
    keypoints[keypoints[:, 2] == 0] = 0
    return keypoints
