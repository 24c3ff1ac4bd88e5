"""Loading of images as RGB arrays, from files (also HEIC), bytes, Pillow images and arrays.

Exported bundles contain this module, so it imports nothing but numpy, Pillow and, for HEIC files,
pi-heif.
"""

import io
import struct
import zlib
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tagpose.data.bit_depth import (
    has_16_bit_colors,
    is_deep,
    read_16_bit_colors,
    reduce_depth,
    scale_to_uint8,
)

ImageSource: TypeAlias = str | Path | bytes | Image.Image | np.ndarray

# Exceptions that Pillow raises for damaged files and unknown formats. Its readers trust the types
# and ranges of the numbers in a file, so that calculating with them may fail as well.
IMAGE_ERRORS: Final = (
    OSError,
    EOFError,
    ValueError,
    SyntaxError,
    NotImplementedError,
    Image.DecompressionBombError,
    TypeError,
    LookupError,
    ArithmeticError,
    struct.error,
    zlib.error,
)

_EXIF_ORIENTATION: Final = 0x0112  # EXIF tag
EXIF_QUARTER_TURNS: Final = (5, 6, 7, 8)  # orientations that swap width and height
EXIF_UPRIGHT: Final = 1  # orientation of an image that is stored upright
_BACKGROUND: Final = "white"  # color behind transparent pixels
_FLIPPED_X: Final = (2, 3, 6, 7)  # EXIF orientations whose rotation reverses columns
_FLIPPED_Y: Final = (3, 4, 7, 8)  # and rows
# brands of HEIF files, ISO/IEC 23008-12, Annex B; the brand of AVIF is another one
_HEIF_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


class MissingHeicSupport(ValueError):  # noqa: N818 -- names what is missing
    """HEIC files need a package that is not installed; the message lacks the name of the file."""


class DecodedImage(NamedTuple):
    """Pixels of an image, and their position in the upright image of the file."""

    pixels: np.ndarray  # [h, w, 3] uint8 RGB, smaller than the file if reduced
    size: tuple[int, int]  # width, height of the upright image in the file
    affine: np.ndarray  # [2, 3] from image pixels of the file to indices of `pixels`
    num_frames: int = 1  # frames or pages of the file, of which the first is decoded


def load_image(source: ImageSource) -> np.ndarray:
    """Load an image as RGB, rotated as EXIF states.

    Args:
        source: path of a file; bytes of a file; Pillow image; or array [H, W], [H, W, 1],
            [H, W, 3] (RGB) or [H, W, 4] (RGBA) of uint8 or uint16, which has no EXIF.

    Returns:
        [H, W, 3] uint8 RGB, the first frame of the file. Transparent pixels are blended with white;
        more than 8 bits per value are reduced as described in `tagpose.data.bit_depth`.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the source is not an image, is truncated, or is an array of another kind.
    """
    return decode_image(source).pixels


def decode_image(
    source: ImageSource, *, min_side: int | None = None, max_pixels: int | None = None
) -> DecodedImage:
    """Decode an image as `load_image` does, large JPEG files at a reduced size if that suffices.

    Args:
        source: see `load_image`.
        min_side: shorter side in pixels that suffices; JPEG files are then decoded at 1/2, 1/4 or
            1/8 of their size where that is not smaller. None decodes all at full size.
        max_pixels: maximum number of pixels of a file, checked before it is decoded; None for the
            limit of Pillow.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the source is not an image, is truncated, is too large, or is an array of
            another kind.
    """
    if isinstance(source, np.ndarray):
        return full_size_image(_array_to_rgb(source))
    if isinstance(source, Image.Image):
        return full_size_image(to_rgb(ImageOps.exif_transpose(source)))
    if not isinstance(source, str | Path | bytes):
        raise ValueError(
            f"{type(source).__name__} is not an image; pass a path, the bytes of a file, a Pillow "
            "image or an array"
        )
    name, file = _to_file(source)
    try:
        with open_image(file) as image:
            width, height = image.size
            if max_pixels is None or width * height <= max_pixels:
                return _decode(image, file, min_side)
    except IMAGE_ERRORS as error:
        raise _unreadable(name, error) from error
    raise ValueError(
        f"{name} has {width} x {height} pixels; resize it to at most {max_pixels / 1e6:g} million "
        "pixels, or raise max_pixels (max_megapixels of tagpose predict)"
    )


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
        with open_image(file) as image:
            if size is None or image.size == size:
                return to_rgb(_load(image, file))
            width, height = image.size
            if (height, width) == size:
                loaded = _load(image, file)
                if upright_size(loaded) == size:
                    return to_rgb(ImageOps.exif_transpose(loaded))
    except IMAGE_ERRORS as error:
        raise _unreadable(file, error) from error
    raise ValueError(
        f"{file} has {width} x {height} pixels, but its annotation has {size[0]} x {size[1]}; use "
        "the image as it was annotated, or skip such images in training with data.on_error=skip"
    )


def open_image(file: Any) -> Image.Image:
    """Open an image file as `PIL.Image.open` does, and HEIC files if pi-heif is installed.

    Args:
        file: path, or binary file object at its start.

    Raises:
        MissingHeicSupport: the file is in HEIC format and pi-heif is not installed.
    """
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        if not _is_heif(file):
            raise
    try:
        from pi_heif import register_heif_opener  # an extra, and slow to import
    except ModuleNotFoundError as error:
        raise MissingHeicSupport(
            'is an HEIC image, which needs pi-heif; install it with pip install "tagpose[heic]"'
        ) from error
    register_heif_opener()
    return Image.open(file)


def _is_heif(file: Any) -> bool:
    """Return whether a path or binary file object has the header of a HEIF file."""
    if isinstance(file, str | Path):
        with Path(file).open("rb") as opened:
            header = opened.read(12)
    else:
        file.seek(0)
        header = file.read(12)
        file.seek(0)
    return header[4:8] == b"ftyp" and header[8:] in _HEIF_BRANDS


def reduce_jpeg(image: Image.Image, min_side: int) -> int:
    """Let Pillow decode an opened JPEG file at a reduced size, if it has one that suffices.

    Args:
        image: opened file, not loaded yet; files of other formats do not change.
        min_side: shorter side in pixels that suffices.

    Returns:
        The factor of the reduction: 1, 2, 4 or 8.
    """
    width = image.size[0]
    drafted = image.draft(None, (min_side, min_side))
    return 1 if drafted is None else round(width / drafted[1][2])


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
    if is_deep(image):
        image = reduce_depth(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _BACKGROUND), rgba)
    return np.asarray(image.convert("RGB"))


def _decode(image: Image.Image, file: Any, min_side: int | None) -> DecodedImage:
    """Decode an opened file; see `decode_image`."""
    # further "frames" of PSD are its layers, and the first one shows all of them
    num_frames = 1 if image.format == "PSD" else getattr(image, "n_frames", 1)
    size, factor = image.size, 1 if min_side is None else reduce_jpeg(image, min_side)
    loaded = _load(image, file)
    pixels = to_rgb(ImageOps.exif_transpose(loaded))
    if factor == 1:
        return full_size_image(pixels)._replace(num_frames=num_frames)
    orientation = exif_orientation(loaded)
    size = size[::-1] if orientation in EXIF_QUARTER_TURNS else size
    # an incomplete block of pixels is the last one in the file, and after a flip the first one
    flipped = orientation in _FLIPPED_X, orientation in _FLIPPED_Y
    missing = np.subtract(pixels.shape[1::-1], np.divide(size, factor))
    affine = np.c_[np.eye(2) / factor, 0.5 / factor - 0.5 + np.where(flipped, missing, 0)]
    return DecodedImage(pixels, size, affine, num_frames)


def _load(image: Image.Image, file: Any) -> Image.Image:
    """Load the pixels of an opened file, 16-bit colors with all of their bits.

    EXIF must not be read before, because Pillow then loads PNG files.
    """
    if not has_16_bit_colors(image):
        image.load()
        return image
    colors = read_16_bit_colors(image, lambda: Image.open(file))
    colors.getexif()[_EXIF_ORIENTATION] = exif_orientation(image)
    return colors


def full_size_image(pixels: np.ndarray) -> DecodedImage:
    """Return the decoded image of pixels [H, W, 3] that are not reduced."""
    return DecodedImage(pixels, (pixels.shape[1], pixels.shape[0]), np.eye(2, 3))


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
    if isinstance(error, MissingHeicSupport):
        return ValueError(f"{name} {error}")
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
        array = _array_to_uint8(array)
    if channels == 4:
        return to_rgb(Image.fromarray(array))
    image = array.reshape(*array.shape[:2], channels)
    return np.ascontiguousarray(image if channels == 3 else image.repeat(3, axis=2))


def _array_to_uint8(array: np.ndarray) -> np.ndarray:
    """Scale a uint16 array to uint8; an alpha channel has its own depth."""
    if array.ndim < 3 or array.shape[2] != 4:
        return scale_to_uint8(array)
    return np.dstack([scale_to_uint8(array[..., :3]), scale_to_uint8(array[..., 3:])])
