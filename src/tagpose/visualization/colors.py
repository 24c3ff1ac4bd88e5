"""Equally light colors by hue, colors of people, and opacity as a function of the score."""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

Color = tuple[int, int, int]  # RGB, 0 to 255

OUTLINE_COLOR: Final[Color] = (16, 16, 24)  # around everything that is drawn in color

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
_LIGHTNESS: Final = 0.75  # lightness and chroma match the palettes of COCO-WholeBody's parts
_CHROMA: Final = 0.18
_GOLDEN_ANGLE: Final = 137.508  # degrees; keeps the hues of consecutive numbers far apart

# A target heatmap, exp(-d^2 / 2 sigma^2), has this value one sigma from its keypoint. A peak of
# this height is thus as confident as a correct heatmap read one standard deviation away.
_ONE_SIGMA: Final = math.exp(-0.5)


class HueRange(NamedTuple):
    """Range of Oklab hues in degrees: red is 20, green 145, blue 255."""

    start: float
    stop: float

    def section(self, i: int, n: int) -> "HueRange":
        """Return section i of n, with a gap before the next one."""
        step = (self.stop - self.start) / n
        return HueRange(self.start + i * step, self.start + (i + 0.8) * step)

    def colors(self, n: int) -> list[Color]:
        """Return n evenly spaced colors; a single color is that of `start`."""
        return [hue_to_rgb(degrees) for degrees in np.linspace(self.start, self.stop, n)]


def hue_to_rgb(degrees: float) -> Color:
    """Return the color of an Oklab hue in degrees, clipped to the sRGB gamut."""
    angle = np.radians(degrees)
    cones = _CONES @ [_LIGHTNESS, _CHROMA * np.cos(angle), _CHROMA * np.sin(angle)]
    linear = (_LINEAR @ cones**3).clip(0, 1)
    # sRGB transfer function, IEC 61966-2-1
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = np.rint(255 * srgb).astype(int).tolist()
    return red, green, blue


def identity_color(identity: int | None) -> Color:
    """Return the fixed color of a person's number, unlike those of nearby numbers; None is gray."""
    return _UNKNOWN_COLOR if identity is None else hue_to_rgb(255 + identity * _GOLDEN_ANGLE)


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
