"""Conversion of images with more than 8 bits per value to 8 bits.

Files with 16 bits per value often contain the 10, 12 or 14 bits of a camera, and do not state it.
One rule applies to files, Pillow images and arrays: the values are scaled from the smallest of
these depths that holds the highest color value of the image. Values without a depth, which are
negative, above 65535 or floating-point numbers, are stretched from their minimum and maximum.

Exported bundles contain this module, so it imports nothing but numpy and Pillow.
"""

import sys
from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image

_DEPTHS: Final = (8, 10, 12, 14, 16)  # bits per value
_WIDE_MODES: Final = ("I", "F")  # Pillow modes without a defined range of values
_SWAPPED: Final = {
    "16B": "16L",
    "16L": "16B",
    "16N": "16B" if sys.byteorder == "little" else "16L",
}


def scale_to_uint8(values: np.ndarray) -> np.ndarray:
    """Scale uint16 values of any shape to uint8 by the depth of the highest value."""
    highest = values.max(initial=0)
    limit = next(2**depth - 1 for depth in _DEPTHS if highest < 2**depth)
    table = np.rint(np.arange(limit + 1) * (255 / limit)).astype(np.uint8)
    return table[values]


def is_deep(image: Image.Image) -> bool:
    """Return whether a Pillow image has a mode with more than 8 bits per value."""
    return image.mode.startswith("I;16") or image.mode in _WIDE_MODES


def reduce_depth(image: Image.Image) -> Image.Image:
    """Convert a gray image of more than 8 bits to mode L, or LA if it has a transparent value."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() >= 2**16:
        return Image.fromarray(_stretch_to_uint8(values))
    return _to_image(values.astype(np.uint16)[..., None], image.info.get("transparency"))


def has_16_bit_colors(image: Image.Image) -> bool:
    """Return whether a file that is not loaded yet has 16-bit colors, or gray with alpha.

    Pillow has no mode for them and keeps only the high byte of each value.
    """
    return bool(_raw_modes(image))


def read_16_bit_colors(high: Image.Image, reopen: Callable[[], Image.Image]) -> Image.Image:
    """Read an image for which `has_16_bit_colors` is true.

    Args:
        high: the opened file, not loaded yet.
        reopen: opens the file once more.

    Returns:
        Image of mode LA, RGB or RGBA without the metadata of the file.
    """
    mode = _raw_modes(high)[0].partition(";")[0]
    if mode == "LA":  # high and low bytes of gray and alpha, read as four channels
        _set_raw_modes(high, ["RGBA"] * len(high.tile))  # type: ignore[attr-defined]
        parts = np.asarray(high).astype(np.uint16)
        return _to_image(parts[..., ::2] << 8 | parts[..., 1::2])
    values = np.asarray(high).astype(np.uint16)
    values <<= 8
    with reopen() as low:
        # in the other byte order, Pillow takes the low byte for the high one
        _set_raw_modes(low, [f"{mode};{_SWAPPED[raw[-3:]]}" for raw in _raw_modes(low)])
        values |= np.asarray(low)
    return _to_image(values, high.info.get("transparency"))


def _to_image(values: np.ndarray, transparency: int | tuple[int, ...] | None = None) -> Image.Image:
    """Scale values [H, W, C] uint16 to an image; an alpha channel has its own depth.

    Args:
        values: gray, gray and alpha, RGB or RGBA.
        transparency: 16-bit value or color of transparent pixels.
    """
    colors = values.shape[2] - (values.shape[2] + 1) % 2
    channels = [scale_to_uint8(values[..., :colors])]
    if colors < values.shape[2]:
        channels.append(scale_to_uint8(values[..., colors:]))
    elif transparency is not None:
        is_opaque = (values != np.array(transparency)).any(2, keepdims=True)
        channels.append(np.where(is_opaque, np.uint8(255), np.uint8(0)))
    scaled = np.concatenate(channels, 2)
    return Image.fromarray(scaled[..., 0] if scaled.shape[2] == 1 else scaled)


def _raw_modes(image: Image.Image) -> list[str]:
    """Return the stored modes of an image's tiles if all are 16-bit colors, else []."""
    tiles = getattr(image, "tile", None) or []
    modes = [str(args if isinstance(args, str) else (args or ("",))[0]) for *_, args in tiles]
    wide = all(mode[:-1] in ("LA;16", "RGB;16", "RGBA;16") for mode in modes)
    return modes if wide else []


def _set_raw_modes(image: Image.Image, modes: list[str]) -> None:
    """Replace the stored modes of an image's tiles, so that its bytes are read in another way."""
    image.tile = [  # type: ignore[attr-defined]
        tile._replace(args=mode if isinstance(tile.args, str) else (mode, *tile.args[1:]))
        for tile, mode in zip(image.tile, modes, strict=True)  # type: ignore[attr-defined]
    ]


def _stretch_to_uint8(values: np.ndarray) -> np.ndarray:
    """Stretch values linearly from their minimum and maximum to 0 and 255."""
    finite = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = finite.min(), finite.max()
    return np.rint((finite - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
