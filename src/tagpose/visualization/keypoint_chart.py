"""SVG chart of the keypoints of COCO-WholeBody with their names and numbers."""

from collections.abc import Iterator
from html import escape
from typing import Final, NamedTuple

import numpy as np

from tagpose.skeletons.coco import FACE_CONTOURS, WHOLEBODY
from tagpose.visualization.colors import Color
from tagpose.visualization.skeleton_style import make_skeleton_style

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
_STYLE: Final = """
text { font-family: sans-serif; fill: #e8eaf2; dominant-baseline: middle }
.name { font-size: 17px } .number { font-size: 14px } .part { font-size: 16px; fill: #9aa3b8 }
.title { font-size: 24px; font-weight: bold }
"""


class _Text(NamedTuple):
    """Text at a position of the chart."""

    x: float
    y: float
    text: str
    anchor: str = "middle"  # or start, end
    css_class: str = "name"


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
