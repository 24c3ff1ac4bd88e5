"""Colors of people, and conversion of hues to RGB."""

from typing import Final, NamedTuple

import numpy as np

Color = tuple[int, int, int]  # RGB, 0 to 255


class HueRange(NamedTuple):
    """Range of Oklab hues in degrees: red is 20, green 145, blue 255."""

    start: float
    stop: float

    def section(self, i: int, n: int) -> "HueRange":
        """Return section i of n, with a gap before the next one."""
        step = (self.stop - self.start) / n
        return HueRange(self.start + i * step, self.start + (i + 0.8) * step)

    def colors(self, n: int) -> list[tuple[int, int, int]]:
        """Return n evenly spaced colors; a single color is that of `start`."""
        return [hue_to_rgb(degrees) for degrees in np.linspace(self.start, self.stop, n)]


OUTLINE_COLOR: Final[Color] = (16, 16, 24)  # around everything that is drawn in color
_UNKNOWN_COLOR: Final[Color] = (190, 190, 200)
_GOLDEN_ANGLE: Final = 137.508  # degrees; keeps the hues of consecutive numbers far apart

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
_LIGHTNESS: Final = 0.75  # lightness and chroma match the palettes of COCO-WholeBody's parts
_CHROMA: Final = 0.18


def identity_color(identity: int | None) -> Color:
    """Return the fixed color of a person's number, unlike those of nearby numbers; None is gray."""
    return _UNKNOWN_COLOR if identity is None else hue_to_rgb(255 + identity * _GOLDEN_ANGLE)


def hue_to_rgb(degrees: float) -> tuple[int, int, int]:
    """Return the RGB color of an Oklab hue in degrees, clipped to the sRGB gamut."""
    angle = np.radians(degrees)
    cones = _CONES @ [_LIGHTNESS, _CHROMA * np.cos(angle), _CHROMA * np.sin(angle)]
    linear = (_LINEAR @ cones**3).clip(0, 1)
    # sRGB transfer function, IEC 61966-2-1
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = np.rint(255 * srgb).astype(int).tolist()
    return red, green, blue
