"""Viewer that runs the network once per image and renders it for any thresholds."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from PIL import Image

from tagpose.app.rendering import describe_result, render_heatmaps, render_poses, render_tags
from tagpose.app.session_cache import CachedImage, SessionCache
from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.data.image_opening import MissingHeicSupport, open_image
from tagpose.data.images import load_image
from tagpose.inference.batch_decoding import decode_batch
from tagpose.inference.predictor import Predictor
from tagpose.inference.results import PoseResult, make_pose_result
from tagpose.structures import KeypointMaps
from tagpose.visualization.canvas import resize_for_drawing

MAX_PEOPLE: Final = 100  # upper limit of the slider; decoding thousands of people takes a minute

_MAX_DISPLAY_SIZE: Final = 1280  # pixels of the longer side of the displayed image
_MAX_ZOOM: Final = 4.0  # display pixels per image pixel; enlarging makes the drawn lines smooth


class ViewerThresholds(NamedTuple):
    """Thresholds that users can set, in the order of the sliders."""

    min_person_score: float  # people with lower scores are hidden
    min_keypoint_score: float  # keypoints with lower scores are hidden
    min_score: float  # heatmap value of a peak
    max_tag_distance: float  # between a peak and its person
    max_people: float  # per image, highest scores first


class ViewerOutput(NamedTuple):
    """Message, picture and people of an image."""

    message: str
    image: np.ndarray | None = None  # [h, w, 3] uint8 RGB
    result: PoseResult | None = None


class PoseViewer:
    """Run the network on uploaded images and render the outputs for given thresholds.

    Args:
        predictor: predictor of the network.
        cache: cache of the last image of each session.
        max_pixels: highest number of pixels of an image.
    """

    def __init__(self, predictor: Predictor, cache: SessionCache, max_pixels: int) -> None:
        self.predictor, self.cache, self.max_pixels = predictor, cache, max_pixels
        self.skeleton = predictor.skeleton

    def analyze(self, session_id: str, file: Path | None) -> str:
        """Run the network on an image and cache the outputs.

        Args:
            session_id: id of the session.
            file: path of the image; None removes the session's image.

        Returns:
            An error message if the image cannot be processed, else "".
        """
        self.cache.remove(session_id)
        try:
            if file is not None:
                image = read_upload(file, self.max_pixels)
                self.cache.put(session_id, run_network(image, self.predictor))
        except ValueError as error:
            return f"{str(error)[:1].upper()}{str(error)[1:]}."
        return ""

    def update(self, session_id: str, thresholds: ViewerThresholds) -> ViewerOutput:
        """Decode and draw the session's image with these thresholds."""
        cached = self.cache.get(session_id)
        if cached is None:
            return ViewerOutput(self.prompt)
        decoded = decode_again(cached, self._decoder(thresholds))
        self.cache.replace(session_id, cached, decoded)
        result = make_pose_result(
            decoded.people,
            decoded.image_size,
            self.skeleton,
            min_person_score=thresholds.min_person_score,
            min_keypoint_score=thresholds.min_keypoint_score,
        )
        message = describe_result(
            result, len(decoded.people.scores), thresholds.min_person_score, decoded.network_seconds
        )
        return ViewerOutput(message, render_poses(decoded, result), result)

    def heatmaps(self, session_id: str, part: str) -> np.ndarray | None:
        """Draw the heatmaps of a part on the session's image, or return None without an image."""
        cached = self.cache.get(session_id)
        return None if cached is None else render_heatmaps(cached, self.skeleton, part)

    def tags(self, session_id: str, part: str, min_score: float) -> np.ndarray | None:
        """Draw the tags of a part on the session's image, or return None without an image."""
        cached = self.cache.get(session_id)
        if cached is None:
            return None
        tag_index = self.predictor.network.tag_index
        return render_tags(cached, self.skeleton, tag_index, part, min_score)

    @property
    def prompt(self) -> str:
        """Message for sessions without an image."""
        minutes = self.cache.max_idle_seconds / 60
        return f"Upload an image. It is deleted after {minutes:g} minutes without use."

    def _decoder(self, thresholds: ViewerThresholds) -> AssociativeEmbeddingDecoder:
        """Return the predictor's decoder with these thresholds."""
        decoder = self.predictor.decoder
        grouping = replace(decoder.grouping, max_tag_distance=thresholds.max_tag_distance)
        return replace(
            decoder,
            grouping=grouping,
            min_score=thresholds.min_score,
            max_people=int(thresholds.max_people),
        )


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
