"""This file says in which colour a part is printed on white paper."""

from typing import Final

import numpy as np

from tagpose.drawing.palette import part_colour
from tagpose.skeleton import Skeleton

WHOLE: Final = "#334155"  # all parts together, which have no colour on pictures
OTHER: Final = "#94a3b8"  # the file that is compared with
_GAMMA: Final = 2.2  # of sRGB, nearly
_LIGHT: Final = np.array([0.2126, 0.7152, 0.0722])  # of red, green and blue (sRGB)
# relative luminance; white has three times the contrast to it that WCAG 2 asks of graphics
_LIGHTEST: Final = 0.3


def part_inks(skeleton: Skeleton) -> dict[str, str]:
    """A colour as #rrggbb for each part: that of the pictures, darker where it is light."""
    inks = {part: _ink(part_colour(skeleton, part)) for part in skeleton.limbs}
    return {part: inks.get(part, WHOLE) for part in skeleton.parts}


def _ink(colour: tuple[int, int, int]) -> str:
    """The colour with the luminance that can be seen on white."""
    linear = (np.array(colour) / 255) ** _GAMMA
    linear *= min(1.0, _LIGHTEST / (linear @ _LIGHT))
    red, green, blue = np.rint(255 * linear ** (1 / _GAMMA)).astype(int).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"
