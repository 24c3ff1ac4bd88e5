"""Rendering of a posed figure with clothes, shoes, a face along its 68 keypoints, and hands."""

from typing import Final, NamedTuple

import cv2
import numpy as np

from tagpose.data.synthetic.pose import HEAD_SIZE, KEYPOINT_INDEX, Random, StickFigure
from tagpose.skeletons.coco import FACE_CONTOURS, WHOLEBODY

Color = tuple[int, int, int]

SUPERSAMPLING: Final = 2  # canvas pixels per image pixel, for smooth edges
_SKIN_COLORS: Final = (
    (245, 205, 175),
    (225, 175, 140),
    (190, 130, 95),
    (140, 90, 60),
    (95, 60, 42),
)
_HAIR_COLORS: Final = ((30, 25, 20), (90, 55, 25), (200, 170, 90), (120, 120, 125))
_LINE_WIDTH: Final = 0.006  # of the lines of a face, in units of the figure
_SHIFT: Final = 4  # bits of sub-pixel precision in OpenCV's drawing functions


class Clothes(NamedTuple):
    """Colors of skin, clothes and hair of a figure."""

    skin: Color
    shirt: Color
    trousers: Color
    shoes: Color
    toes: Color
    hair: Color
    long_sleeves: bool
    long_trousers: bool


class Placement(NamedTuple):
    """Position and scale of a figure on a canvas."""

    origin: np.ndarray  # [2] position of the pelvis in canvas pixels
    scale: float  # canvas pixels per unit of the figure

    def on_canvas(self, points: np.ndarray) -> np.ndarray:
        """Convert points [..., 2] of the figure to canvas pixels."""
        return self.origin + points * self.scale


class FigureCanvas(NamedTuple):
    """An image and the mask of the figure that is being rendered."""

    image: np.ndarray  # [H, W, 3] uint8
    mask: np.ndarray  # [H, W] uint8, 255 inside the figure
    scale: float  # canvas pixels per unit of the figure

    def polygon(self, points: np.ndarray, color: Color) -> None:
        """Fill a polygon [n, 2]."""
        fixed = [np.round(points * 2**_SHIFT).astype(np.int32)]
        for layer, value in ((self.image, color), (self.mask, 255)):
            cv2.fillPoly(layer, fixed, value, cv2.LINE_AA if layer is self.image else 8, _SHIFT)

    def line(self, points: np.ndarray, color: Color, width: float) -> None:
        """Draw a polyline [n, 2]; `width` is in units of the figure."""
        thickness = max(1, round(width * self.scale))
        fixed = [np.round(points * 2**_SHIFT).astype(np.int32)]
        for layer, value in ((self.image, color), (self.mask, 255)):
            line_type = cv2.LINE_AA if layer is self.image else 8
            cv2.polylines(layer, fixed, False, value, thickness, line_type, _SHIFT)

    def capsule(
        self, a: np.ndarray, b: np.ndarray, color: Color, widths: tuple[float, float]
    ) -> None:
        """Draw a tapered limb from a to b with round ends; `widths` are in units of the figure."""
        along = b - a
        normal = np.array([-along[1], along[0]]) / max(1e-6, float(np.hypot(*along)))
        from_a, from_b = (normal * width * self.scale / 2 for width in widths)
        self.polygon(np.stack([a + from_a, b + from_b, b - from_b, a - from_a]), color)
        for end, width in ((a, widths[0]), (b, widths[1])):
            self.ellipse(end, (width * self.scale / 2,) * 2, 0.0, color)

    def ellipse(
        self, center: np.ndarray, radii: tuple[float, float], angle: float, color: Color
    ) -> None:
        """Fill an ellipse; `radii` are in canvas pixels, `angle` is in radians."""
        turn = np.linspace(0, 2 * np.pi, 25)[:-1]
        ring = np.stack([radii[0] * np.cos(turn), radii[1] * np.sin(turn)], -1)
        cos, sin = np.cos(angle), np.sin(angle)
        self.polygon(ring @ np.array([[cos, sin], [-sin, cos]]) + center, color)


def random_clothes(random: Random) -> Clothes:
    """Draw random clothes; shirt, trousers, shoes and toe caps have independent colors."""
    shirt, trousers, shoes, toes = (_random_clothes_color(random) for _ in range(4))
    return Clothes(
        skin=_SKIN_COLORS[random.integers(len(_SKIN_COLORS))],
        shirt=shirt,
        trousers=trousers,
        shoes=shoes,
        toes=toes,
        hair=_HAIR_COLORS[random.integers(len(_HAIR_COLORS))],
        long_sleeves=random.random() < 0.5,
        long_trousers=random.random() < 0.75,
    )


def render_figure(
    canvas: FigureCanvas,
    points: np.ndarray,
    figure: StickFigure,
    place: Placement,
    clothes: Clothes,
) -> None:
    """Render a figure from back to front.

    Args:
        canvas: canvas to draw on.
        points: keypoints [K, 2] in canvas pixels.
        figure: posed figure.
        place: placement of the figure on the canvas.
        clothes: appearance of the figure.
    """
    for side in ("left", "right"):
        _draw_leg(canvas, points, side, clothes)
    _draw_trunk(canvas, points, place.on_canvas(figure.neck), clothes)
    _draw_head(canvas, points, figure, place, clothes)
    for side in ("left", "right"):
        _draw_arm(canvas, points, side, clothes)


def _random_clothes_color(random: Random) -> Color:
    """Draw a random color."""
    red, green, blue = random.integers(15, 240, 3).tolist()
    return red, green, blue


def _darken_figure_color(color: Color, factor: float) -> Color:
    """Multiply a color by a factor."""
    red, green, blue = (int(min(255, c * factor)) for c in color)
    return red, green, blue


def _convex_hull(*points: np.ndarray) -> np.ndarray:
    """Return the convex hull [n, 2] of points."""
    return np.asarray(cv2.convexHull(np.stack(points).astype(np.float32)))[:, 0]


def _named_keypoints(points: np.ndarray, *names: str) -> np.ndarray:
    """Return keypoints [n, 2] by name."""
    return points[[KEYPOINT_INDEX[name] for name in names]]


def _draw_leg(canvas: FigureCanvas, points: np.ndarray, side: str, clothes: Clothes) -> None:
    """Draw thigh, shin and shoe."""
    hip, knee, ankle = _named_keypoints(
        points, *(f"{side}_{joint}" for joint in ("hip", "knee", "ankle"))
    )
    heel, big, small = _named_keypoints(
        points, *(f"{side}_{at}" for at in ("heel", "big_toe", "small_toe"))
    )
    shin = clothes.trousers if clothes.long_trousers else clothes.skin
    canvas.capsule(knee, ankle, _darken_figure_color(shin, 0.93), (0.065, 0.045))
    canvas.capsule(hip, knee, clothes.trousers, (0.1, 0.07))
    sole = _convex_hull(heel, big, small, ankle)
    canvas.polygon(sole, clothes.shoes)
    for a, b in ((heel, big), (heel, small), (big, small), (heel, ankle)):
        canvas.capsule(a, b, clothes.shoes, (0.035, 0.028))
    for toe in (big, small):
        canvas.ellipse(toe, (0.014 * canvas.scale,) * 2, 0.0, clothes.toes)


def _draw_trunk(
    canvas: FigureCanvas, points: np.ndarray, neck: np.ndarray, clothes: Clothes
) -> None:
    """Draw shirt, hips and the line between neck and pelvis."""
    left, right, right_hip, left_hip = _named_keypoints(
        points, "left_shoulder", "right_shoulder", "right_hip", "left_hip"
    )
    for a, b in ((left, right), (left, left_hip), (right, right_hip)):
        canvas.capsule(a, b, clothes.shirt, (0.08, 0.08))
    canvas.polygon(np.stack([left, right, right_hip, left_hip]), clothes.shirt)
    canvas.capsule(left_hip, right_hip, clothes.trousers, (0.1, 0.1))
    pelvis = (left_hip + right_hip) / 2
    canvas.line(np.stack([neck, pelvis]), _darken_figure_color(clothes.shirt, 0.75), 0.008)


def _draw_head(
    canvas: FigureCanvas,
    points: np.ndarray,
    figure: StickFigure,
    place: Placement,
    clothes: Clothes,
) -> None:
    """Draw neck, hair and ears, and the face if the figure is seen from the front."""
    head, neck = place.on_canvas(figure.head), place.on_canvas(figure.neck)
    width, height = HEAD_SIZE * place.scale
    canvas.capsule(neck, head, _darken_figure_color(clothes.skin, 0.85), (0.07, 0.06))
    up = np.array([np.sin(figure.tilt), -np.cos(figure.tilt)]) * height
    canvas.ellipse(head + 0.12 * up, (1.06 * width, 1.06 * height), figure.tilt, clothes.hair)
    for ear in _named_keypoints(points, "left_ear", "right_ear"):
        canvas.ellipse(
            ear, (0.2 * width, 0.24 * height), figure.tilt, _darken_figure_color(clothes.skin, 0.9)
        )
    if figure.from_behind:
        canvas.ellipse(head + 0.05 * up, (0.98 * width, 0.98 * height), figure.tilt, clothes.hair)
        return
    _draw_face(canvas, points[WHOLEBODY.parts["face"]], up, clothes)


def _draw_face(canvas: FigureCanvas, face: np.ndarray, up: np.ndarray, clothes: Clothes) -> None:
    """Draw a face along its keypoints [68, 2]."""
    lines = {name: face[at] for name, at in FACE_CONTOURS.items()}
    jaw = lines["jaw"]
    forehead = np.stack([jaw[-1] + 0.55 * up, jaw[0] + 0.55 * up])
    canvas.polygon(np.concatenate([jaw, forehead]), clothes.skin)
    canvas.line(jaw, _darken_figure_color(clothes.skin, 0.7), _LINE_WIDTH)
    for brow in ("right_brow", "left_brow"):
        canvas.line(lines[brow], _darken_figure_color(clothes.hair, 0.6), 2 * _LINE_WIDTH)
    canvas.line(lines["bridge"], _darken_figure_color(clothes.skin, 0.65), _LINE_WIDTH)
    canvas.line(lines["nostrils"], _darken_figure_color(clothes.skin, 0.5), _LINE_WIDTH)
    for eye in (lines["right_eye"], lines["left_eye"]):
        canvas.polygon(eye, (250, 250, 250))
        iris = 0.3 * float(np.hypot(*np.ptp(eye, axis=0)))
        canvas.ellipse(eye.mean(0), (iris, iris), 0.0, (35, 30, 60))
        canvas.line(np.concatenate([eye, eye[:1]]), (30, 20, 20), 0.7 * _LINE_WIDTH)
    canvas.polygon(lines["outer_lip"], (185, 45, 60))
    canvas.polygon(lines["inner_lip"], (245, 235, 230))


def _draw_arm(canvas: FigureCanvas, points: np.ndarray, side: str, clothes: Clothes) -> None:
    """Draw sleeve, forearm, and a hand with five fingers in alternating tones."""
    shoulder, elbow, wrist = _named_keypoints(
        points, *(f"{side}_{j}" for j in ("shoulder", "elbow", "wrist"))
    )
    sleeve = _darken_figure_color(clothes.shirt, 0.88)
    canvas.capsule(elbow, wrist, sleeve if clothes.long_sleeves else clothes.skin, (0.05, 0.036))
    canvas.capsule(shoulder, elbow, sleeve, (0.075, 0.055))
    hand = points[WHOLEBODY.parts[f"{side}hand"]]
    root, fingers = hand[0], hand[1:].reshape(5, 4, 2)
    palm = _convex_hull(root, *fingers[:, 0])
    canvas.capsule(wrist, root, clothes.skin, (0.036, 0.04))
    canvas.polygon(palm, clothes.skin)
    for number, finger in enumerate(fingers):
        tone = _darken_figure_color(clothes.skin, 0.82 if number % 2 else 1.0)
        canvas.line(np.concatenate([root[None], finger]) if number == 0 else finger, tone, 0.016)
