"""A chart of all 133 keypoints of COCO-WholeBody with numbers and names, as SVG."""

from collections.abc import Iterator
from html import escape
from typing import Final, NamedTuple

import numpy as np

from tagpose.skeletons.coco import FACE_CONTOURS, WHOLEBODY
from tagpose.visualization.colors import Color
from tagpose.visualization.skeleton_style import make_skeleton_style

_SIZE: Final = (1500, 1650)  # pixels
_BODY_MIDDLE: Final = 390  # x of the body
_FACE: Final = (1110, 490, 300, 430)  # x, y of the middle, half width, half height
_HANDS: Final = {
    "righthand": (350, 1570, 1),
    "lefthand": (1110, 1570, -1),
}  # root; where thumbs are
_MOUTH: Final = 1.5  # times as high as it is, so that the numbers find place
_AWAY: Final = 17  # pixels from a point to its number

# x from the middle, y of the person's left, which is on the right of the chart
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
# of a hand whose thumb points right, in units of its length from the root: base, angle and length
_FINGERS: Final = {
    "thumb": ((0.14, -0.16), 0.85, 0.5),
    "forefinger": ((0.17, -0.46), 0.28, 0.56),
    "middle_finger": ((0.03, -0.5), 0.04, 0.6),
    "ring_finger": ((-0.11, -0.47), -0.2, 0.55),
    "pinky_finger": ((-0.24, -0.39), -0.45, 0.46),
}
_JOINTS: Final = np.array([0.0, 0.4, 0.72, 1.0])
_HAND: Final = 400  # pixels of that unit


class _Text(NamedTuple):
    """A piece of text."""

    x: float
    y: float
    text: str
    anchor: str = "middle"  # or start, end
    kind: str = "name"  # class of its style


_STYLE: Final = """
text { font-family: sans-serif; fill: #e8eaf2; dominant-baseline: middle }
.name { font-size: 17px } .number { font-size: 14px } .part { font-size: 16px; fill: #9aa3b8 }
.title { font-size: 24px; font-weight: bold }
"""


def keypoint_chart(face: np.ndarray) -> str:
    """Return the chart as an SVG document.

    Args:
        face: the 68 points of a face [68, 2] seen from the front, x to the right and y down, in
            half widths and half heights.
    """
    points = np.concatenate([_body_points(), _face_points(face), *map(_hand_points, _HANDS)])
    # the parts in their order: the left hand is before the right one
    points = np.concatenate([points[:91], points[112:], points[91:112]])
    texts = [*_titles(), *_body_names(points), *_face_numbers(points), *_hand_names(points)]
    width, height = _SIZE
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#14161c"/>',
        *_drawn(points),
        *(
            f'<text x="{t.x:.0f}" y="{t.y:.0f}" text-anchor="{t.anchor}" class="{t.kind}">'
            f"{escape(t.text)}</text>"
            for t in texts
        ),
        "</svg>\n",
    ]
    return "\n".join(lines)


def _drawn(points: np.ndarray) -> Iterator[str]:
    """The lines and dots of the keypoints [K, 2]."""
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
    """A color as SVG writes it."""
    red, green, blue = (int(value) for value in color)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _body_points() -> np.ndarray:
    """The keypoints of body and feet [23, 2]."""
    points = []
    for name in WHOLEBODY.keypoints[: WHOLEBODY.parts["face"].start]:
        side, _, joint = name.partition("_")
        x, y = _BODY[joint or name]
        points.append((_BODY_MIDDLE + (-x if side == "right" else x), y))
    return np.array(points, float)


def _face_points(face: np.ndarray) -> np.ndarray:
    """The keypoints of the face [68, 2], the mouth opened."""
    x, y, half_width, half_height = _FACE
    points = face.copy()
    mouth = slice(FACE_CONTOURS["outer_lip"].start, FACE_CONTOURS["inner_lip"].stop)
    middle = points[mouth, 1].mean()
    points[mouth, 1] = middle + _MOUTH * (points[mouth, 1] - middle)
    return points * (half_width, half_height) + (x, y)


def _hand_points(part: str) -> np.ndarray:
    """The keypoints of a hand [21, 2] that is held up, its palm towards the viewer."""
    x, y, side = _HANDS[part]
    points = [np.zeros((1, 2))]
    for base, angle, length in _FINGERS.values():
        ray = np.array([np.sin(angle), -np.cos(angle)])
        points.append(np.array(base) + length * _JOINTS[:, None] * ray)
    return np.concatenate(points) * _HAND * (side, 1) + (x, y)


def _titles() -> Iterator[_Text]:
    """What each panel shows."""
    yield _Text(_BODY_MIDDLE, 40, "body 0-16, feet 17-22", kind="title")
    yield _Text(_FACE[0], 40, "face 23-90: face-0 is 23, face-67 is 90", kind="title")
    yield _Text(_BODY_MIDDLE, 75, "the person's right | the person's left", kind="part")
    for part, (x, y, _) in _HANDS.items():
        at = WHOLEBODY.parts[part]
        side = part.removesuffix("hand")
        title = f"{side} hand {at.start}-{at.stop - 1}"
        yield _Text(x, y + 55, f"{title}: {side}_thumb1 is {at.start + 1}", kind="title")


def _body_names(points: np.ndarray) -> Iterator[_Text]:
    """Numbers and names of body and feet, beside their points; those of heels inside."""
    for k, name in enumerate(WHOLEBODY.keypoints[: WHOLEBODY.parts["face"].start]):
        x, y = points[k]
        label = f"{k} {name}"
        if name == "nose":
            yield _Text(x, y + 24, label)
        else:
            outward = 1 if x > _BODY_MIDDLE else -1
            right = outward * (-1 if name.endswith("heel") else 1) > 0
            yield _Text(x + 12 * (1 if right else -1), y, label, "start" if right else "end")


def _face_numbers(points: np.ndarray) -> Iterator[_Text]:
    """Numbers of the face, outside of each line, and the names of the lines."""
    start = WHOLEBODY.parts["face"].start
    for line, at in FACE_CONTOURS.items():
        own = points[start + at.start : start + at.stop]
        middle = own.mean(0)
        away = own - ((_FACE[0], _FACE[1]) if line == "jaw" else middle)
        away /= np.hypot(*away.T)[:, None].clip(1e-9)
        away = {"bridge": (1, 0), "nostrils": (0, -1)}.get(line, away)
        away = (0, -1) if line.endswith("brow") else away
        places = own + _AWAY * np.multiply(away, -0.9 if line == "inner_lip" else 1)
        for i, (x, y) in enumerate(places.tolist()):
            yield _Text(x, y, str(start + at.start + i), kind="number")
        if line.endswith(("brow", "eye")):
            yield _Text(middle[0], middle[1] + (0 if "eye" in line else -48), line, kind="part")
    yield _Text(
        _FACE[0], points[start + FACE_CONTOURS["jaw"].start + 8, 1] + 45, "jaw", kind="part"
    )


def _hand_names(points: np.ndarray) -> Iterator[_Text]:
    """Numbers of the hands beside their points, and the names of the fingers at their tips."""
    for part, (_, _, side) in _HANDS.items():
        at = WHOLEBODY.parts[part]
        own = points[at]
        for i, (x, y) in enumerate(own.tolist()):
            yield _Text(
                x - side * 12, y, str(at.start + i), "end" if side > 0 else "start", "number"
            )
        yield _Text(own[0, 0], own[0, 1] + 22, WHOLEBODY.keypoints[at.start], kind="name")
        for f, finger in enumerate(_FINGERS):
            x, y = own[4 * f + 4]
            lift = 24 + (0 if f % 2 else 22) * (f > 0)
            yield _Text(x, y - lift, f"{finger}1-4", kind="name")
