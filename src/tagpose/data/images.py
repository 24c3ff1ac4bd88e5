"""This file reads and writes pictures."""

from collections.abc import Iterable
from glob import glob
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from tagpose.data.sources import UNREADABLE, rgb
from tagpose.writing import whole

# of what Pillow reads and people call pictures
_ENDINGS: Final = (
    *(".avif", ".bmp", ".gif", ".jp2", ".png", ".tga", ".tif", ".tiff", ".webp"),
    *(".jfif", ".jpe", ".jpeg", ".jpg"),
    *(".pbm", ".pgm", ".pnm", ".ppm"),
)


def read_image(file: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a picture as the annotations see it: as stored, an EXIF rotation is not applied.

    Args:
        file: of any format that Pillow knows.
        size: width, height that it must have; seen before anything large is unpacked.

    Returns:
        [H, W, 3] uint8 RGB; other colours are brought to it as by `rgb`.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is no picture, or is cut off, or of another size.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; is this the folder of the images?")
    try:
        with Image.open(file) as image:
            if size is None or image.size == size:
                image.load()
                return rgb(image)
            found = image.size
    except UNREADABLE as error:
        raise ValueError(
            f"{file} cannot be read as a picture ({error}); fetch or export it again"
        ) from error
    raise ValueError(
        f"{file} is {found[0]} x {found[1]} pixels, its annotation says {size[0]} x {size[1]}; was "
        "it resized or rotated?"
    )


def write_image(file: Path, image: np.ndarray) -> None:
    """Write a picture [H, W, 3] uint8 RGB as the file's ending says; whole, or not at all."""
    with whole(file) as partial:
        Image.fromarray(image).save(partial)


def is_camera(named: str) -> bool:
    """Whether a number is meant for a camera, and not as the name of a file."""
    return named.isdecimal() and not Path(named).exists()


def is_hidden(file: Path) -> bool:
    """Return whether the name of a file begins with a dot."""
    return file.name.startswith(".")


def list_images(named: str | Path) -> list[Path]:
    """The picture at a path, all pictures of a folder, or those that a pattern names; by name.

    Files of a folder whose names begin with a dot are skipped, as patterns skip them: macOS writes
    a `._NAME.jpg` that is no picture for each NAME.jpg on foreign disks.

    Args:
        named: a path, or a pattern with *, ? or [ such as "photos/**/*.jpg".

    Raises:
        FileNotFoundError: there is nothing at the path, or no picture in the folder.
    """
    path = Path(named)
    if path.is_file():
        return [path]
    if path.is_dir():
        inside: Iterable[Path] = (file for file in path.iterdir() if not is_hidden(file))
    else:
        inside = map(Path, glob(str(named), recursive=True))  # noqa: PTH207 -- any pattern
    files = sorted(file for file in inside if file.suffix.lower() in _ENDINGS)
    if not files:
        raise FileNotFoundError(
            f"{named} has no pictures; name a file, a folder or a pattern by images=PATH"
        )
    return files
