"""This file looks at a picture once, and keeps what it takes to find its people again."""

import time
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from PIL import Image
from torch import Tensor

from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.data.images import load_image
from tagpose.inference.batch_decoding import decode_batch
from tagpose.inference.predictor import Predictor
from tagpose.structures import KeypointMaps, Poses

_MAX_DISPLAY_SIZE: Final = 1280  # pixels of the longer side of what is shown
_MAX_ZOOM: Final = 4.0  # screen pixels of an image pixel, so that lines on it are smooth


class CachedImage(NamedTuple):
    """An image that the network has looked at."""

    display_image: (
        np.ndarray
    )  # [rows, columns, 3] uint8 RGB: the image as large as a screen shows it
    image_size: tuple[int, int]  # width, height of the image
    keypoint_maps: KeypointMaps  # of a batch of this image alone, on the CPU
    affine: Tensor  # [1, 2, 3] float64: image pixels -> input pixels
    network_seconds: float  # that the network took
    decoder: AssociativeEmbeddingDecoder  # that found the people
    people: Poses  # in image pixels, whatever their score

    @property
    def nbytes(self) -> int:
        """Bytes that it takes to keep."""
        return self.display_image.nbytes + sum(field.nbytes for field in self.keypoint_maps)


def read_upload(file: Path, max_pixels: int) -> np.ndarray:
    """A picture that somebody gave, [H, W, 3] uint8 RGB.

    Args:
        file: of any name; what it holds counts.
        max_pixels: pixels that it may have.

    Raises:
        ValueError: it cannot be read, or is larger; the sentence does not name the file, which
            lies on another machine than the reader.
    """
    try:
        with Image.open(file) as image:
            width, height = image.size
        if width * height <= max_pixels:
            return load_image(file)
    except Image.DecompressionBombError:
        width, height = 0, 0
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(
            "this cannot be read as a picture, or is cut off; export it again as JPEG or PNG"
        ) from error
    size = f"has {width} x {height} pixels" if width else "has far too many pixels"
    raise ValueError(f"the picture {size}; {max_pixels / 1e6:g} million would do")


def run_network(image: np.ndarray, predictor: Predictor) -> CachedImage:
    """Run the network over an image [H, W, 3] uint8 RGB, and decode what it says.

    Raises:
        ValueError: the image is too narrow to look at, or the network has diverged.
    """
    start = time.perf_counter()
    views = predictor.preprocess(image)
    keypoint_maps = predictor.predict_maps([one[None] for one in views.images])
    keypoint_maps = KeypointMaps(*(field.cpu() for field in keypoint_maps))
    seconds = time.perf_counter() - start
    affine, size = views.affine[None], (image.shape[1], image.shape[0])
    people = decode_batch(keypoint_maps, affine, predictor.decoder)[0]
    return CachedImage(
        _resize_for_display(image), size, keypoint_maps, affine, seconds, predictor.decoder, people
    )


def decode_again(cached: CachedImage, decoder: AssociativeEmbeddingDecoder) -> CachedImage:
    """The image with the people that this decoder finds; the network is not asked again."""
    if cached.decoder == decoder:
        return cached
    people = decode_batch(cached.keypoint_maps, cached.affine, decoder)[0]
    return cached._replace(decoder=decoder, people=people)


def _resize_for_display(image: np.ndarray) -> np.ndarray:
    """The image as a screen shows it."""
    zoom = min(_MAX_ZOOM, _MAX_DISPLAY_SIZE / max(image.shape[:2]))
    size = [max(1, round(side * zoom)) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
