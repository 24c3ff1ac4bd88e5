"""This file looks at a picture once, and keeps what it takes to find its people again."""

import time
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from PIL import Image
from torch import Tensor

from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.data.sources import image_of
from tagpose.inference.decoding import decode_batch
from tagpose.inference.predictor import Predictor
from tagpose.structures import Fields, People

_SCREEN: Final = 1280  # pixels of the longer side of what is shown
_LARGEST: Final = 4.0  # screen pixels of an image pixel, so that lines on it are smooth


class Looked(NamedTuple):
    """An image that the network has looked at."""

    picture: np.ndarray  # [rows, columns, 3] uint8 RGB: the image as large as a screen shows it
    size: tuple[int, int]  # width, height of the image
    fields: Fields  # of a batch of this image alone, on the CPU
    frame: Tensor  # [1, 2, 3] float64: image pixels -> input pixels
    seconds: float  # that the network took
    decoder: AssociativeEmbeddingDecoder  # that found the people
    people: People  # in image pixels, whatever their score

    @property
    def weight(self) -> int:
        """Bytes that it takes to keep."""
        return self.picture.nbytes + sum(field.nbytes for field in self.fields)


def read_picture(file: Path, most: int) -> np.ndarray:
    """A picture that somebody gave, [H, W, 3] uint8 RGB.

    Args:
        file: of any name; what it holds counts.
        most: pixels that it may have.

    Raises:
        ValueError: it cannot be read, or is larger; the sentence does not name the file, which
            lies on another machine than the reader.
    """
    try:
        with Image.open(file) as image:
            width, height = image.size
        if width * height <= most:
            return image_of(file)
    except Image.DecompressionBombError:
        width, height = 0, 0
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(
            "this cannot be read as a picture, or is cut off; export it again as JPEG or PNG"
        ) from error
    size = f"has {width} x {height} pixels" if width else "has far too many pixels"
    raise ValueError(f"the picture {size}; {most / 1e6:g} million would do")


def look_at(image: np.ndarray, predictor: Predictor) -> Looked:
    """Run the network over an image [H, W, 3] uint8 RGB, and decode what it says.

    Raises:
        ValueError: the image is too narrow to look at, or the network has diverged.
    """
    start = time.perf_counter()
    views = predictor.views(image)
    fields = predictor.fields([one[None] for one in views.images])
    fields = Fields(*(field.cpu() for field in fields))
    seconds = time.perf_counter() - start
    frame, size = views.frame[None], (image.shape[1], image.shape[0])
    people = decode_batch(fields, frame, predictor.decoder)[0]
    return Looked(_fitting(image), size, fields, frame, seconds, predictor.decoder, people)


def decoded(looked: Looked, decoder: AssociativeEmbeddingDecoder) -> Looked:
    """The image with the people that this decoder finds; the network is not asked again."""
    if looked.decoder == decoder:
        return looked
    people = decode_batch(looked.fields, looked.frame, decoder)[0]
    return looked._replace(decoder=decoder, people=people)


def _fitting(image: np.ndarray) -> np.ndarray:
    """The image as a screen shows it."""
    zoom = min(_LARGEST, _SCREEN / max(image.shape[:2]))
    size = [max(1, round(side * zoom)) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
