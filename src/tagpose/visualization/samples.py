"""Pictures for checking a dataset and its keypoints: training samples, names, and an SVG chart."""

from collections.abc import Iterator
from html import escape
from typing import Final, NamedTuple

import cv2
import numpy as np

from tagpose.codec.encoder import HeatmapEncoder
from tagpose.geometry import resize_keypoints
from tagpose.skeletons.coco import FACE_CONTOURS, WHOLEBODY
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Sample
from tagpose.visualization.colors import Color, part_color
from tagpose.visualization.heatmaps import draw_heatmaps
from tagpose.visualization.image_grid import make_image_row
from tagpose.visualization.labels import Box, PersonLabel, draw_labels
from tagpose.visualization.poses import draw_ground_truth_poses
from tagpose.visualization.skeleton_style import make_skeleton_style

_BRIGHTNESS: Final = 0.25  # of the image where the loss is masked
_MASK_COLOR: Final[Color] = (150, 0, 110)  # added, because dimming is invisible in dark images

# Pictures with the names of keypoints.
_MAX_HEIGHT: Final = 640  # pixels
_MAX_WIDTH: Final = 1000
_MARGIN: Final = 0.25  # of the longer side of the person's box
_MIN_MARGIN: Final = 12  # image pixels
_MAX_NAMES: Final = 40  # more are not legible in one picture

# Chart of the keypoints of COCO-WholeBody.
_SIZE: Final = (1500, 1650)  # pixels
_BODY_CENTER: Final = 390  # x
_FACE: Final = (1110, 490, 300, 430)  # x, y of the center, half width, half height
_HANDS: Final = {  # x, y of the root; 1 if the thumb points right, else -1
    "righthand": (350, 1570, 1),
    "lefthand": (1110, 1570, -1),
}
_MOUTH_STRETCH: Final = 1.5  # vertical factor that makes room for the numbers
_NUMBER_OFFSET: Final = 17  # pixels from a point to its number

# x from the center, y of the person's left side, which is on the right of the chart
_BODY: Final = {
    "nose": (0, 160),
    "eye": (38, 120),
    "ear": (90, 145),
    "shoulder": (115, 275),
    "elbow": (180, 420),
    "wrist": (215, 560),
    "hip": (75, 570),
    "knee": (115, 760),
    "ankle": (155, 930),
    "big_toe": (185, 1010),
    "small_toe": (205, 980),
    "heel": (140, 985),
}
# Base, angle and length of each finger of a hand whose thumb points right, in hand lengths.
_FINGERS: Final = {
    "thumb": ((0.14, -0.16), 0.85, 0.5),
    "forefinger": ((0.17, -0.46), 0.28, 0.56),
    "middle_finger": ((0.03, -0.5), 0.04, 0.6),
    "ring_finger": ((-0.11, -0.47), -0.2, 0.55),
    "pinky_finger": ((-0.24, -0.39), -0.45, 0.46),
}
_JOINTS: Final = np.array([0.0, 0.4, 0.72, 1.0])  # fractions of a finger's length
_HAND_LENGTH: Final = 400  # pixels


def draw_sample(sample: Sample, skeleton: Skeleton, title: str) -> np.ndarray:
    """Draw a row of four pictures: image, keypoints, loss mask and target heatmaps.

    The third also shows the boxes of unlabeled parts, which `HeatmapEncoder` can ignore.

    Args:
        sample: a single sample, not a batch, after augmentation.
        skeleton: skeleton with K keypoints.
        title: title of the first picture.

    Returns:
        Picture [H, W, 3] uint8 RGB.
    """
    image = sample.image.permute(1, 2, 0).numpy()
    targets = HeatmapEncoder()(sample.keypoints[None], sample.mask[None])
    return make_image_row(
        (
            image,
            draw_ground_truth_poses(image, sample.keypoints.numpy(), skeleton),
            draw_boxes(draw_mask(image, sample.mask.numpy()), sample.unlabeled.numpy(), skeleton),
            draw_heatmaps(image, targets.heatmaps[0].numpy(), skeleton),
        ),
        (title, "keypoints", "tinted: masked; boxes: unlabeled parts", "heatmaps by part"),
    )


def draw_boxes(image: np.ndarray, boxes: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Draw the outlines of boxes in the colors of their parts.

    Args:
        image: image [H, W, 3] uint8 RGB, not modified.
        boxes: left, top, right, bottom [P, F, 4] in image pixels of the F parts of each person;
            empty boxes are not drawn.
        skeleton: skeleton with F disjoint parts.

    Returns:
        Picture [H, W, 3] uint8 RGB, a new array.
    """
    picture = image.copy()
    for part, part_boxes in zip(skeleton.disjoint_parts, boxes.swapaxes(0, 1), strict=True):
        for left, top, right, bottom in np.rint(part_boxes).astype(int).tolist():
            if right > left:
                cv2.rectangle(picture, (left, top), (right, bottom), part_color(skeleton, part), 1)
    return picture


def draw_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Dim and tint the image where the mask is 0.

    Args:
        image: image [H, W, 3] uint8 RGB, not modified.
        mask: loss mask [h, w] uint8 of 0 and 1 in heatmap pixels, which covers the image.

    Returns:
        Picture [H, W, 3] uint8 RGB, a new array.
    """
    resized = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)[..., None]
    tinted = image * np.float32(_BRIGHTNESS) + np.array(_MASK_COLOR)
    return np.where(resized > 0, image, np.rint(tinted).clip(0, 255)).astype(np.uint8)


def draw_keypoint_names(
    image: np.ndarray, keypoints: np.ndarray, person: int, skeleton: Skeleton, title: str
) -> np.ndarray:
    """Draw an image with its people next to a crop of one person with keypoint names.

    Args:
        image: image [H, W, 3] uint8 RGB, not modified.
        keypoints: ground-truth keypoints [P, K, 3] in image pixels, v > 0 where labeled.
        person: index of the person in the crop.
        skeleton: skeleton with K keypoints.
        title: title of the first picture.

    Returns:
        Picture [H, W, 3] uint8 RGB.
    """
    left, top, right, bottom = _person_crop_box(keypoints[person], image)
    crop = image[top:bottom, left:right]
    pictures = []
    for picture, people in ((image, keypoints), (crop, keypoints - np.array([left, top, 0]))):
        zoom = min(_MAX_HEIGHT / picture.shape[0], _MAX_WIDTH / picture.shape[1])
        people = resize_keypoints(people.astype(float), zoom)
        size = [max(1, round(length * zoom)) for length in picture.shape[1::-1]]
        resized = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        pictures.append(draw_ground_truth_poses(resized, people, skeleton))
    names = skeleton.keypoints if skeleton.size <= _MAX_NAMES else ()
    _write_keypoint_names(pictures[-1], people[person], names, skeleton)
    return make_image_row(pictures, (title, "keypoint names"))


def _person_crop_box(person: np.ndarray, image: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of a person's box with a margin, clipped to the image."""
    points = person[person[:, 2] > 0, :2]
    height, width = image.shape[:2]
    if not len(points):
        return 0, 0, width, height
    low, high = points.min(axis=0), points.max(axis=0)
    margin = max(_MIN_MARGIN, _MARGIN * float((high - low).max()))
    (left, top), (right, bottom) = low - margin, high + margin
    left, right = np.clip((left, right), (0, 1), (width - 1, width)).astype(int)
    top, bottom = np.clip((top, bottom), (0, 1), (height - 1, height)).astype(int)
    return int(left), int(top), max(int(right), int(left) + 1), max(int(bottom), int(top) + 1)


def _write_keypoint_names(
    picture: np.ndarray, person: np.ndarray, names: tuple[str, ...], skeleton: Skeleton
) -> None:
    """Write the names of a person's labeled keypoints into the picture."""
    colors = [tuple(color) for color in make_skeleton_style(skeleton).colors.tolist()]
    points = zip(person.tolist(), names, colors, strict=False)
    labels = [
        PersonLabel(Box(x, y, x, y), name, color) for (x, y, v), name, color in points if v > 0
    ]
    draw_labels(picture, labels)


class _Text(NamedTuple):
    """Text at a position of the chart."""

    x: float
    y: float
    text: str
    anchor: str = "middle"  # or start, end
    css_class: str = "name"


_STYLE: Final = """
text { font-family: sans-serif; fill: #e8eaf2; dominant-baseline: middle }
.name { font-size: 17px } .number { font-size: 14px } .part { font-size: 16px; fill: #9aa3b8 }
.title { font-size: 24px; font-weight: bold }
"""


def keypoint_chart(face: np.ndarray) -> str:
    """Return the chart as an SVG document.

    Args:
        face: keypoints of a frontal face [68, 2], x to the right and y down, in half widths and
            half heights.
    """
    hands = map(_hand_points, ("lefthand", "righthand"))  # in the order of the skeleton
    points = np.concatenate([_body_points(), _face_points(face), *hands])
    texts = [*_titles(), *_body_names(points), *_face_numbers(points), *_hand_names(points)]
    width, height = _SIZE
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#14161c"/>',
        *_lines_and_dots(points),
        *(
            f'<text x="{t.x:.0f}" y="{t.y:.0f}" text-anchor="{t.anchor}" class="{t.css_class}">'
            f"{escape(t.text)}</text>"
            for t in texts
        ),
        "</svg>\n",
    ]
    return "\n".join(lines)


def _lines_and_dots(points: np.ndarray) -> Iterator[str]:
    """Yield the SVG elements of the keypoints [K, 2] and the lines between them."""
    style = make_skeleton_style(WHOLEBODY)
    face = WHOLEBODY.parts["face"]
    for (a, b), color in zip(style.lines.tolist(), style.line_colors, strict=True):
        (x1, y1), (x2, y2) = points[[a, b]].round(1).tolist()
        width = 2 if face.start <= a < face.stop else 4
        ends = f'x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"'
        yield f'<line {ends} stroke="{_hex(color)}" stroke-width="{width}" opacity="0.7"/>'
    for (x, y), color in zip(points.round(1).tolist(), style.colors, strict=True):
        yield f'<circle cx="{x}" cy="{y}" r="5" fill="{_hex(color)}"/>'


def _hex(color: Color | np.ndarray) -> str:
    """Format a color for SVG."""
    red, green, blue = (int(value) for value in color)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _body_points() -> np.ndarray:
    """Return the keypoints of body and feet [23, 2]."""
    points = []
    for name in WHOLEBODY.keypoints[: WHOLEBODY.parts["face"].start]:
        side, _, joint = name.partition("_")
        x, y = _BODY[joint or name]
        points.append((_BODY_CENTER + (-x if side == "right" else x), y))
    return np.array(points, float)


def _face_points(face: np.ndarray) -> np.ndarray:
    """Return the keypoints of the face [68, 2] with a stretched mouth."""
    x, y, half_width, half_height = _FACE
    points = face.copy()
    mouth = slice(FACE_CONTOURS["outer_lip"].start, FACE_CONTOURS["inner_lip"].stop)
    center = points[mouth, 1].mean()
    points[mouth, 1] = center + _MOUTH_STRETCH * (points[mouth, 1] - center)
    return points * (half_width, half_height) + (x, y)


def _hand_points(part: str) -> np.ndarray:
    """Return the keypoints [21, 2] of a raised hand with the palm toward the viewer."""
    x, y, side = _HANDS[part]
    points = [np.zeros((1, 2))]
    for base, angle, length in _FINGERS.values():
        ray = np.array([np.sin(angle), -np.cos(angle)])
        points.append(np.array(base) + length * _JOINTS[:, None] * ray)
    return np.concatenate(points) * _HAND_LENGTH * (side, 1) + (x, y)


def _titles() -> Iterator[_Text]:
    """Yield the titles of the panels."""
    yield _Text(_BODY_CENTER, 40, "body 0-16, feet 17-22", css_class="title")
    yield _Text(_FACE[0], 40, "face 23-90: face-0 is 23, face-67 is 90", css_class="title")
    yield _Text(_BODY_CENTER, 75, "the person's right | the person's left", css_class="part")
    for part, (x, y, _) in _HANDS.items():
        at = WHOLEBODY.parts[part]
        side = part.removesuffix("hand")
        title = f"{side} hand {at.start}-{at.stop - 1}"
        yield _Text(x, y + 55, f"{title}: {side}_thumb1 is {at.start + 1}", css_class="title")


def _body_names(points: np.ndarray) -> Iterator[_Text]:
    """Yield numbers and names of body and feet, outside of their points (heels: inside)."""
    for k, name in enumerate(WHOLEBODY.keypoints[: WHOLEBODY.parts["face"].start]):
        x, y = points[k]
        label = f"{k} {name}"
        if name == "nose":
            yield _Text(x, y + 24, label)
        else:
            outward = 1 if x > _BODY_CENTER else -1
            right = outward * (-1 if name.endswith("heel") else 1) > 0
            yield _Text(x + 12 * (1 if right else -1), y, label, "start" if right else "end")


def _face_numbers(points: np.ndarray) -> Iterator[_Text]:
    """Yield the numbers of the face outside of its contours, and the names of the contours."""
    start = WHOLEBODY.parts["face"].start
    for contour, at in FACE_CONTOURS.items():
        contour_points = points[start + at.start : start + at.stop]
        center = contour_points.mean(0)
        outward = contour_points - (_FACE[:2] if contour == "jaw" else center)
        outward /= np.hypot(*outward.T)[:, None].clip(1e-9)
        outward = {"bridge": (1, 0), "nostrils": (0, -1)}.get(contour, outward)
        outward = (0, -1) if contour.endswith("brow") else outward
        offset = _NUMBER_OFFSET * (-0.9 if contour == "inner_lip" else 1)
        for i, (x, y) in enumerate((contour_points + np.multiply(outward, offset)).tolist()):
            yield _Text(x, y, str(start + at.start + i), css_class="number")
        if contour.endswith(("brow", "eye")):
            y = center[1] + (0 if "eye" in contour else -48)
            yield _Text(center[0], y, contour, css_class="part")
    chin = points[start + FACE_CONTOURS["jaw"].start + 8]
    yield _Text(_FACE[0], chin[1] + 45, "jaw", css_class="part")


def _hand_names(points: np.ndarray) -> Iterator[_Text]:
    """Yield numbers next to the points of the hands, and finger names above the fingertips."""
    for part, (_, _, side) in _HANDS.items():
        at = WHOLEBODY.parts[part]
        hand = points[at]
        for i, (x, y) in enumerate(hand.tolist()):
            yield _Text(
                x - side * 12, y, str(at.start + i), "end" if side > 0 else "start", "number"
            )
        yield _Text(hand[0, 0], hand[0, 1] + 22, WHOLEBODY.keypoints[at.start])
        for i, finger in enumerate(_FINGERS):
            x, y = hand[4 * i + 4]
            lift = 24 + (0 if i % 2 else 22) * (i > 0)
            yield _Text(x, y - lift, f"{finger}1-4")
