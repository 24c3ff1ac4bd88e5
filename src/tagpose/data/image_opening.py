"""Opening of image files with Pillow: HEIC through pi-heif, and JPEG at a reduced size.

Exported bundles contain this module, so it imports nothing but Pillow and, for HEIC files,
pi-heif.
"""

from pathlib import Path
from typing import Any, Final

from PIL import Image, UnidentifiedImageError

# brands of HEIF files, ISO/IEC 23008-12, Annex B; the brand of AVIF is another one
_HEIF_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


class MissingHeicSupport(ValueError):  # noqa: N818 -- names what is missing
    """HEIC files need a package that is not installed; the message lacks the name of the file."""


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
