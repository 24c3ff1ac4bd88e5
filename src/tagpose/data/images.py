"""This file reads pictures from disk."""

from pathlib import Path

import numpy as np
from PIL import Image


def read_image(file: Path) -> np.ndarray:
    """Read a picture as the annotations see it: as stored, an EXIF rotation is not applied.

    Args:
        file: of any format that Pillow knows.

    Returns:
        [H, W, 3] uint8 RGB.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is no picture, or is cut off.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; is this the folder of the images?")
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{file} cannot be read as a picture ({error}); fetch or export it again"
        ) from error
