"""Image with cached network outputs, so that it can be decoded again with other thresholds."""

import time
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.data.images import load_image
from tagpose.inference.batch_decoding import decode_batch
from tagpose.inference.predictor import Predictor
from tagpose.structures import KeypointMaps, Poses
from tagpose.visualization.canvas import resize_for_drawing

_MAX_DISPLAY_SIZE: Final = 1280  # pixels of the longer side of the displayed image
_MAX_ZOOM: Final = 4.0  # display pixels per image pixel; enlarging makes the drawn lines smooth


class CachedImage(NamedTuple):
    """Image with its network outputs and the people decoded from them."""

    display_image: np.ndarray  # [h, w, 3] uint8 RGB, the image resized for display
    image_size: tuple[int, int]  # width, height of the original image
    keypoint_maps: KeypointMaps  # batch of this image only, on the CPU
    affine: Tensor  # [1, 2, 3] float64, image pixels to input pixels
    network_seconds: float  # duration of preprocessing and forward pass
    decoder: AssociativeEmbeddingDecoder  # decoder that returned `people`
    people: Poses  # in image pixels, with all scores

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return self.display_image.nbytes + sum(maps.nbytes for maps in self.keypoint_maps)


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
        with Image.open(file) as image:
            width, height = image.size
        if width * height <= max_pixels:
            return load_image(file)
    except Image.DecompressionBombError:
        width, height = 0, 0
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(
            "the file is not an image or is truncated; export the image again as JPEG or PNG"
        ) from error
    size = f"{width} x {height} pixels" if width else "too many pixels"
    raise ValueError(
        f"the image has {size}; resize it to at most {max_pixels / 1e6:g} million pixels"
    )


def run_network(image: np.ndarray, predictor: Predictor) -> CachedImage:
    """Run the network on an image [H, W, 3] uint8 RGB and decode its outputs.

    Raises:
        ValueError: the image is too narrow, or the network's outputs are not finite.
    """
    start = time.perf_counter()
    views = predictor.preprocess(image)
    keypoint_maps = predictor.predict_maps([view[None] for view in views.images])
    keypoint_maps = KeypointMaps(*(maps.cpu() for maps in keypoint_maps))
    seconds = time.perf_counter() - start
    affine, size = views.affine[None], (image.shape[1], image.shape[0])
    people = decode_batch(keypoint_maps, affine, predictor.decoder)[0]
    zoom = min(_MAX_ZOOM, _MAX_DISPLAY_SIZE / max(size))
    display_image = resize_for_drawing(image, zoom)
    return CachedImage(
        display_image, size, keypoint_maps, affine, seconds, predictor.decoder, people
    )


def decode_again(cached: CachedImage, decoder: AssociativeEmbeddingDecoder) -> CachedImage:
    """Decode the cached network outputs with another decoder."""
    if cached.decoder == decoder:
        return cached
    people = decode_batch(cached.keypoint_maps, cached.affine, decoder)[0]
    return cached._replace(decoder=decoder, people=people)
