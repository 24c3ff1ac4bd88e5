"""This file makes colors by rule: equally light hues, all round the circle or a piece of it."""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

# MERGED: """This file says how opaque something is by how sure it is."""
Color = tuple[int, int, int]  # RGB, 0 to 255

OUTLINE_COLOR: Final[Color] = (16, 16, 24)  # of whatever is in color

# Oklab to cone responses to linear sRGB (Ottosson 2020, "A perceptual color space").
_CONES: Final = np.array(
    [
        [1, 0.3963377774, 0.2158037573],
        [1, -0.1055613458, -0.0638541728],
        [1, -0.0894841775, -1.2914855480],
    ]
)
_LINEAR: Final = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)
_UNKNOWN_COLOR: Final[Color] = (190, 190, 200)
_LIGHTNESS: Final = 0.75  # as light as the palettes of the official parts, and as strong
_CHROMA: Final = 0.18
_GOLDEN_ANGLE: Final = (
    137.508  # degrees that phyllotaxis turns by: whatever is near in number is far
)


class HueRange(NamedTuple):
    """A piece of the circle of hues, in degrees of Oklab: red 20, green 145, blue 255."""

    start: float
    stop: float

    def section(self, i: int, n: int) -> "HueRange":
        """The piece i of n, with a gap before the next one."""
        step = (self.stop - self.start) / n
        return HueRange(self.start + i * step, self.start + (i + 0.8) * step)

    def colors(self, n: int) -> list[Color]:
        """Colors for n things; one alone has that of the start."""
        return [hue_to_rgb(degrees) for degrees in np.linspace(self.start, self.stop, n)]


def hue_to_rgb(degrees: float) -> Color:
    """The color of a hue in degrees of Oklab, as near to its light as a screen comes."""
    angle = np.radians(degrees)
    cones = _CONES @ [_LIGHTNESS, _CHROMA * np.cos(angle), _CHROMA * np.sin(angle)]
    linear = (_LINEAR @ cones**3).clip(0, 1)
    # the transfer of sRGB, IEC 61966-2-1
    screen = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = np.rint(255 * screen).astype(int).tolist()
    return red, green, blue


def identity_color(identity: int | None) -> Color:
    """The color of a person by number: always the same, and not that of the next few; or grey."""
    return _UNKNOWN_COLOR if identity is None else hue_to_rgb(255 + identity * _GOLDEN_ANGLE)


# What the target of a heatmap, exp(-d^2 / 2 sigma^2), is one sigma beside its keypoint: a network
# that scores as much is as sure as one whose heatmap is right, and a standard deviation off.
_ONE_SIGMA: Final = math.exp(-0.5)


@dataclass(frozen=True)
class ScoreOpacity:
    """A straight line between the score of the faintest and that of the fully opaque.

    Calling it takes scores [...] to opacities [...] between `min_opacity` and 1.

    Attributes:
        low_score: score of a heatmap, from 0 to 1, up to which all are drawn as faint; that of the
            least peak that the decoder takes.
        high_score: score from which all is fully opaque.
        min_opacity: opacity of the faintest.
    """

    low_score: float = 0.1
    high_score: float = _ONE_SIGMA
    min_opacity: float = 0.15

    def __post_init__(self) -> None:
        if not (self.low_score < self.high_score and 0 <= self.min_opacity <= 1):
            raise ValueError(
                f"{self}: `low_score` must be below `high_score`, and `min_opacity` from 0 to 1"
            )

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        return np.interp(scores, (self.low_score, self.high_score), (self.min_opacity, 1.0))
