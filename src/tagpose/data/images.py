"""This file takes a picture in any form that people have one in."""

import io
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from PIL import Image, ImageOps

ImageSource: TypeAlias = str | Path | bytes | Image.Image | np.ndarray

# what Pillow raises of files that are broken, or of a kind that it does not know
IMAGE_ERRORS: Final = (
    OSError,
    ValueError,
    SyntaxError,
    NotImplementedError,
    Image.DecompressionBombError,
)

_EXIF_ORIENTATION: Final = 0x0112  # tag of EXIF
EXIF_QUARTER_TURNS: Final = (5, 6, 7, 8)  # its values that swap width and height
EXIF_UPRIGHT: Final = 1  # its value of a picture that is stored upright
_BACKGROUND: Final = "white"  # behind what is transparent
_UINT16_TO_UINT8: Final = 257  # 65535 / 255
_MODES_32_BIT: Final = ("I", "F")  # modes of 32 bits, whose range is anybody's


def load_image(source: ImageSource) -> np.ndarray:
    """A picture as a person sees it: upright where EXIF says how, colours as RGB.

    Args:
        source: a file's path; the bytes of a file; a picture of Pillow's; or an array [H, W],
            [H, W, 1], [H, W, 3] (RGB) or [H, W, 4] (RGBA) of uint8 or uint16, which has no EXIF.

    Returns:
        [H, W, 3] uint8 RGB. Transparent pixels are laid on white. 16 bits are brought to 8, and 32
        bits are spread from their darkest to their lightest.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no picture, or is cut off, or an array of another kind.
    """
    if isinstance(source, np.ndarray):
        return _array_to_rgb(source)
    if isinstance(source, Image.Image):
        return to_rgb(ImageOps.exif_transpose(source))
    if not isinstance(source, str | Path | bytes):
        raise ValueError(
            f"{type(source).__name__} is no picture; a path, bytes, a picture of Pillow's or an "
            "array would do"
        )
    name, file = _to_file(source)
    try:
        with Image.open(file) as image:
            return to_rgb(ImageOps.exif_transpose(image))
    except IMAGE_ERRORS as error:
        raise ValueError(
            f"{name} cannot be read as a picture ({error}); fetch or export it again"
        ) from error


def _to_file(source: str | Path | bytes) -> tuple[str, Any]:
    """What a source is called, and what Pillow opens of it."""
    if isinstance(source, bytes):
        return f"what was given as {len(source)} bytes", io.BytesIO(source)
    if "://" in str(source):
        raise ValueError(f"{source} is an address; fetch it, and name the file")
    if Path(source).is_dir():
        raise ValueError(f"{source} is a folder; a list of its files would do")
    if not Path(source).is_file():
        raise FileNotFoundError(f"{source} is missing; is this the folder of the images?")
    return str(source), source


def _array_to_rgb(array: np.ndarray) -> np.ndarray:
    """An array as RGB."""
    channels = array.shape[2] if array.ndim == 3 else 1
    kind = array.dtype in (np.uint8, np.uint16), array.ndim in (2, 3), channels in (1, 3, 4)
    if not all(kind) or 0 in array.shape:
        raise ValueError(
            f"an array {list(array.shape)} of {array.dtype} is no picture; [H, W, 3] of uint8, RGB,"
            " would do"
        )
    if array.dtype == np.uint16:
        array = _to_uint8(array)
    if channels == 4:
        return to_rgb(Image.fromarray(array))
    grey = array.reshape(*array.shape[:2], channels)
    return np.ascontiguousarray(grey if channels == 3 else grey.repeat(3, axis=2))


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height of an opened picture after the rotation that EXIF asks for."""
    width, height = image.size
    return (height, width) if exif_orientation(image) in EXIF_QUARTER_TURNS else (width, height)


def exif_orientation(image: Image.Image) -> int:
    """Return the orientation that EXIF states for an opened picture."""
    orientation: int = image.getexif().get(_EXIF_ORIENTATION, EXIF_UPRIGHT)
    return orientation


def to_rgb(image: Image.Image) -> np.ndarray:
    """A picture of Pillow's as RGB, [H, W, 3] uint8, as it lies; see `load_image` for its colours."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return np.asarray(image)  # to convert it would be one more copy
    if image.mode.startswith("I;16"):
        image = Image.fromarray(_to_uint8(np.asarray(image)))
    elif image.mode in _MODES_32_BIT:
        image = Image.fromarray(_stretch_to_uint8(np.asarray(image)))
    if image.has_transparency_data:
        shown = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _BACKGROUND), shown)
    return np.asarray(image.convert("RGB"))


def _to_uint8(values: np.ndarray) -> np.ndarray:
    """16 bits as 8, the nearest."""
    return ((values.astype(np.uint32) + _UINT16_TO_UINT8 // 2) // _UINT16_TO_UINT8).astype(np.uint8)


def _stretch_to_uint8(values: np.ndarray) -> np.ndarray:
    """Numbers from their lowest to their highest as 0 to 255."""
    known = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = known.min(), known.max()
    return np.rint((known - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
