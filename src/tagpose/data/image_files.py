"""This file reads and writes pictures."""

from collections.abc import Iterable
from glob import glob
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageOps

from tagpose.data.images import IMAGE_ERRORS, to_rgb, upright_size
from tagpose.io import atomic_write

_JPEG: Final = (".jfif", ".jpe", ".jpeg", ".jpg")
# of what Pillow reads and people call pictures
IMAGE_EXTENSIONS: Final = (
    *(".avif", ".bmp", ".gif", ".jp2", ".png", ".tga", ".tif", ".tiff", ".webp"),
    *_JPEG,
    *(".pbm", ".pgm", ".pnm", ".ppm"),
)


def read_annotated_image(file: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a picture as the annotations see it.

    A picture of the stated size is read as stored, as COCO is annotated; one that has this size
    only after the rotation that EXIF asks for was annotated upright, and is turned.

    Args:
        file: of any format that Pillow knows.
        size: width, height that it must have; checked before anything large is unpacked. Without
            it the picture is read as stored.

    Returns:
        [H, W, 3] uint8 RGB; other colours are brought to it as by `to_rgb`.

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
                return to_rgb(image)
            if upright_size(image) == size:
                return to_rgb(ImageOps.exif_transpose(image))
            found = image.size
    except IMAGE_ERRORS as error:
        raise ValueError(
            f"{file} cannot be read as a picture ({error}); fetch or export it again"
        ) from error
    raise ValueError(
        f"{file} is {found[0]} x {found[1]} pixels, its annotation says {size[0]} x {size[1]}; was "
        "it resized or rotated? data.on_error=skip leaves out such images"
    )


def write_image(file: Path, image: np.ndarray, *, quality: int | None = None) -> None:
    """Write a picture [H, W, 3] uint8 RGB as the file's ending says; whole, or not at all.

    Args:
        file: target.
        image: the picture.
        quality: of JPEG and WebP, up to 100; by default Pillow's. Other formats have none.
    """
    lossy = file.suffix.lower() in (*_JPEG, ".webp")
    options: dict[str, Any] = {"quality": quality} if lossy and quality is not None else {}
    with atomic_write(file) as partial:
        Image.fromarray(image).save(partial, **options)


def output_extension(name: str, source: Path) -> str:
    """Return the ending of the picture that is drawn of a file.

    Args:
        name: "source" for the ending of the file, or png where Pillow only reads its format; or
            an ending such as "jpg".
        source: the file.

    Raises:
        ValueError: Pillow writes no format of that ending.
    """
    Image.init()
    writable = {end for end, kind in Image.registered_extensions().items() if kind in Image.SAVE}
    ending = source.suffix.lower() if name == "source" else f".{name.lower().lstrip('.')}"
    if ending in writable & set(IMAGE_EXTENSIONS):
        return ending
    if name == "source":
        return ".png"
    known = ", ".join(end[1:] for end in sorted(writable & set(IMAGE_EXTENSIONS)))
    raise ValueError(f"unknown picture format {name!r}; use source or one of {known}")


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
    files = sorted(file for file in inside if file.suffix.lower() in IMAGE_EXTENSIONS)
    if not files:
        raise FileNotFoundError(
            f"{named} has no pictures; name a file, a folder or a pattern by images=PATH"
        )
    return files
