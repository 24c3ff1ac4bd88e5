"""Listing and writing of image files."""

from collections.abc import Iterable
from glob import glob
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from tagpose.io import atomic_write

_JPEG: Final = (".jfif", ".jpe", ".jpeg", ".jpg")
# image formats that Pillow reads, without documents and the like
IMAGE_EXTENSIONS: Final = (
    *(".avif", ".bmp", ".gif", ".jp2", ".png", ".tga", ".tif", ".tiff", ".webp"),
    *_JPEG,
    *(".pbm", ".pgm", ".pnm", ".ppm"),
)


def write_image(file: Path, image: np.ndarray, *, quality: int | None = None) -> None:
    """Write an image atomically, in the format of the file's extension.

    Args:
        file: file to write.
        image: [H, W, 3] uint8 RGB.
        quality: quality of JPEG and WebP, up to 100; None uses Pillow's default. Ignored for other
            formats.
    """
    is_lossy = file.suffix.lower() in (*_JPEG, ".webp")
    options: dict[str, Any] = {"quality": quality} if is_lossy and quality is not None else {}
    with atomic_write(file) as partial:
        Image.fromarray(image).save(partial, **options)


def is_camera(source: str) -> bool:
    """Return whether a string is the number of a camera rather than the name of a file."""
    return source.isdecimal() and not Path(source).exists()


def is_hidden(file: Path) -> bool:
    """Return whether the name of a file begins with a dot."""
    return file.name.startswith(".")


def list_images(source: str | Path) -> list[Path]:
    """Return the image at a path, or all images of a folder or a pattern, sorted by name.

    Hidden files of a folder are skipped, as patterns skip them: on foreign disks macOS writes, for
    each NAME.jpg, a file `._NAME.jpg` that is not an image.

    Args:
        source: path, or pattern with *, ? or [ such as "photos/**/*.jpg".

    Raises:
        FileNotFoundError: there is no image at the path, in the folder or for the pattern.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        candidates: Iterable[Path] = (file for file in path.iterdir() if not is_hidden(file))
    else:
        candidates = map(Path, glob(str(source), recursive=True))  # noqa: PTH207 -- any pattern
    files = sorted(file for file in candidates if file.suffix.lower() in IMAGE_EXTENSIONS)
    if not files:
        raise FileNotFoundError(
            f"no images found at {source}; set images= to an image file, a folder or a pattern"
        )
    return files
