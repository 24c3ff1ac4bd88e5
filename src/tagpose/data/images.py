"""Loading of images as RGB arrays, from files, bytes, Pillow images and arrays.

Exported bundles contain this module, so it imports nothing but numpy and Pillow.
"""

import io
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from PIL import Image, ImageOps

ImageSource: TypeAlias = str | Path | bytes | Image.Image | np.ndarray

# exceptions that Pillow raises for damaged files and unknown formats
IMAGE_ERRORS: Final = (
    OSError,
    ValueError,
    SyntaxError,
    NotImplementedError,
    Image.DecompressionBombError,
)

_EXIF_ORIENTATION: Final = 0x0112  # EXIF tag
EXIF_QUARTER_TURNS: Final = (5, 6, 7, 8)  # orientations that swap width and height
EXIF_UPRIGHT: Final = 1  # orientation of an image that is stored upright
_BACKGROUND: Final = "white"  # color behind transparent pixels
_UINT16_TO_UINT8: Final = 257  # 65535 / 255
_MODES_32_BIT: Final = ("I", "F")  # Pillow modes without a defined range of values


def load_image(source: ImageSource) -> np.ndarray:
    """Load an image as RGB, rotated as EXIF states.

    Args:
        source: path of a file; bytes of a file; Pillow image; or array [H, W], [H, W, 1],
            [H, W, 3] (RGB) or [H, W, 4] (RGBA) of uint8 or uint16, which has no EXIF.

    Returns:
        [H, W, 3] uint8 RGB. Transparent pixels are blended with white, 16-bit values are reduced to
        8 bits, and 32-bit values are stretched from their minimum and maximum to 0 and 255.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the source is not an image, is truncated, or is an array of another kind.
    """
    if isinstance(source, np.ndarray):
        return _array_to_rgb(source)
    if isinstance(source, Image.Image):
        return to_rgb(ImageOps.exif_transpose(source))
    if not isinstance(source, str | Path | bytes):
        raise ValueError(
            f"{type(source).__name__} is not an image; pass a path, the bytes of a file, a Pillow "
            "image or an array"
        )
    name, file = _to_file(source)
    try:
        with Image.open(file) as image:
            return to_rgb(ImageOps.exif_transpose(image))
    except IMAGE_ERRORS as error:
        raise _unreadable(name, error) from error


def read_annotated_image(file: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read an image with the orientation in which it was annotated.

    An image of the annotated size is read as stored, like the images of COCO. An image that has
    this size only after the rotation in its EXIF data was annotated upright, and is rotated.

    Args:
        file: image in any format that Pillow reads.
        size: annotated width and height, checked before the pixels are decoded; None reads the
            image as stored.

    Returns:
        [H, W, 3] uint8 RGB, converted as by `to_rgb`.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is not an image, is truncated, or has another size.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; check the path of the image folder")
    try:
        with Image.open(file) as image:
            if size is None or image.size == size:
                image.load()
                return to_rgb(image)
            if upright_size(image) == size:
                return to_rgb(ImageOps.exif_transpose(image))
            width, height = image.size
    except IMAGE_ERRORS as error:
        raise _unreadable(file, error) from error
    raise ValueError(
        f"{file} has {width} x {height} pixels, but its annotation has {size[0]} x {size[1]}; use "
        "the image as it was annotated, or skip such images in training with data.on_error=skip"
    )


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height of a Pillow image after the rotation in its EXIF data."""
    width, height = image.size
    return (height, width) if exif_orientation(image) in EXIF_QUARTER_TURNS else (width, height)


def exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of a Pillow image."""
    orientation: int = image.getexif().get(_EXIF_ORIENTATION, EXIF_UPRIGHT)
    return orientation


def to_rgb(image: Image.Image) -> np.ndarray:
    """Convert a Pillow image to RGB [H, W, 3] uint8 without rotation; see `load_image`."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return np.asarray(image)  # Image.convert would copy it once more
    if image.mode.startswith("I;16"):
        image = Image.fromarray(_to_uint8(np.asarray(image)))
    elif image.mode in _MODES_32_BIT:
        image = Image.fromarray(_stretch_to_uint8(np.asarray(image)))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _BACKGROUND), rgba)
    return np.asarray(image.convert("RGB"))


def _to_file(source: str | Path | bytes) -> tuple[str, Any]:
    """Return the name of a source for messages, and what Pillow opens."""
    if isinstance(source, bytes):
        return f"the image given as {len(source)} bytes", io.BytesIO(source)
    if "://" in str(source):
        raise ValueError(f"{source} is a URL; download the image and pass its path")
    if Path(source).is_dir():
        raise ValueError(f"{source} is a folder; pass a list of the files in it")
    if not Path(source).is_file():
        raise FileNotFoundError(f"{source} is missing; check the path of the image")
    return str(source), source


def _unreadable(name: object, error: Exception) -> ValueError:
    """Return the error for a file that Pillow cannot read."""
    return ValueError(f"{name} cannot be read as an image ({error}); download or export it again")


def _array_to_rgb(array: np.ndarray) -> np.ndarray:
    """Convert an array to RGB."""
    channels = array.shape[2] if array.ndim == 3 else 1
    valid = array.dtype in (np.uint8, np.uint16), array.ndim in (2, 3), channels in (1, 3, 4)
    if not all(valid) or 0 in array.shape:
        raise ValueError(
            f"an array {list(array.shape)} of {array.dtype} is not an image; pass an RGB array "
            "[H, W, 3] of uint8"
        )
    if array.dtype == np.uint16:
        array = _to_uint8(array)
    if channels == 4:
        return to_rgb(Image.fromarray(array))
    image = array.reshape(*array.shape[:2], channels)
    return np.ascontiguousarray(image if channels == 3 else image.repeat(3, axis=2))


def _to_uint8(values: np.ndarray) -> np.ndarray:
    """Reduce 16-bit values to 8 bits, rounding to the nearest."""
    return ((values.astype(np.uint32) + _UINT16_TO_UINT8 // 2) // _UINT16_TO_UINT8).astype(np.uint8)


def _stretch_to_uint8(values: np.ndarray) -> np.ndarray:
    """Stretch values linearly from their minimum and maximum to 0 and 255."""
    finite = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = finite.min(), finite.max()
    return np.rint((finite - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
