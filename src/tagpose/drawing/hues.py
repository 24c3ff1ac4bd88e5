"""This file makes colours by rule: equally light hues, all round the circle or a piece of it."""

from typing import Final, NamedTuple

import numpy as np

Colour = tuple[int, int, int]  # RGB, 0 to 255

OUTLINE: Final[Colour] = (16, 16, 24)  # of whatever is in colour

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
_NOBODY: Final[Colour] = (190, 190, 200)
_LIGHT: Final = 0.75  # as light as the palettes of the official parts, and as strong
_CHROMA: Final = 0.18
_GOLDEN: Final = 137.508  # degrees that phyllotaxis turns by: whatever is near in number is far


class Arc(NamedTuple):
    """A piece of the circle of hues, in degrees of Oklab: red 20, green 145, blue 255."""

    start: float
    stop: float

    def piece(self, i: int, n: int) -> "Arc":
        """The piece i of n, with a gap before the next one."""
        step = (self.stop - self.start) / n
        return Arc(self.start + i * step, self.start + (i + 0.8) * step)

    def colours(self, n: int) -> list[Colour]:
        """Colours for n things; one alone has that of the start."""
        return [hue(degrees) for degrees in np.linspace(self.start, self.stop, n)]


def hue(degrees: float) -> Colour:
    """The colour of a hue in degrees of Oklab, as near to its light as a screen comes."""
    angle = np.radians(degrees)
    cones = _CONES @ [_LIGHT, _CHROMA * np.cos(angle), _CHROMA * np.sin(angle)]
    linear = (_LINEAR @ cones**3).clip(0, 1)
    # the transfer of sRGB, IEC 61966-2-1
    screen = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = np.rint(255 * screen).astype(int).tolist()
    return red, green, blue


def identity_colour(identity: int | None) -> Colour:
    """The colour of a person by number: always the same, and not that of the next few; or grey."""
    return _NOBODY if identity is None else hue(255 + identity * _GOLDEN)
