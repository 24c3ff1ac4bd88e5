"""Uploaded files: reading of images, names for outputs, and how long uploads are kept."""

import os
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path

import numpy as np
from PIL import Image

from tagpose.data.images import MissingHeicSupport, load_image, open_image


def read_upload(file: Path, max_pixels: int) -> np.ndarray:
    """Read an uploaded image.

    Args:
        file: path of the upload; its type follows from the content, not from the name.
        max_pixels: highest number of pixels.

    Returns:
        Image [H, W, 3] uint8 RGB.

    Raises:
        ValueError: the file is not a readable image or has more pixels. The message does not name
            the file, because its path on the server means nothing to the user.
    """
    try:
        with open_image(file) as image:
            width, height = image.size
        if width * height <= max_pixels:
            return load_image(file)
    except Image.DecompressionBombError:
        width, height = 0, 0
    except MissingHeicSupport as error:
        raise ValueError(f"the file {error}") from error
    except FileNotFoundError as error:
        raise ValueError(
            "the upload was deleted because it was not used; upload the file again"
        ) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(
            "the file is not an image or is truncated; export the image again as JPEG or PNG"
        ) from error
    size = f"{width} x {height} pixels" if width else "too many pixels"
    raise ValueError(
        f"the image has {size}; resize it to at most {max_pixels / 1e6:g} million pixels"
    )


def unique_names(files: Iterable[Path]) -> dict[Path, Path]:
    """Return the name of each upload; equal names are numbered, as in a.jpg and a_2.jpg."""
    names: dict[Path, Path] = {}
    used: set[Path] = set()
    for file in files:
        numbered = (Path(f"{file.stem}_{number}{file.suffix}") for number in count(2))
        names[file] = next(n for n in chain([Path(file.name)], numbered) if n not in used)
        used.add(names[file])
    return names


def keep_uploads(files: Iterable[Path]) -> None:
    """Mark uploads as used now; gradio deletes files by the time of their last change."""
    for file in files:
        if file.is_file():
            os.utime(file)
