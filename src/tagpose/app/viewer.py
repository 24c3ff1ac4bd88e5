"""Viewer that runs the network once per image and renders it for any thresholds."""

from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from tagpose.app.cached_image import decode_again, read_upload, run_network
from tagpose.app.rendering import describe_result, render_heatmaps, render_poses, render_tags
from tagpose.app.session_cache import SessionCache
from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.inference.predictor import Predictor
from tagpose.inference.results import PoseResult, make_pose_result

MAX_PEOPLE: Final = 100  # upper limit of the slider; decoding thousands of people takes a minute


class Thresholds(NamedTuple):
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

    def update(self, session_id: str, thresholds: Thresholds) -> ViewerOutput:
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

    def _decoder(self, thresholds: Thresholds) -> AssociativeEmbeddingDecoder:
        """Return the predictor's decoder with these thresholds."""
        decoder = self.predictor.decoder
        grouping = replace(decoder.grouping, max_tag_distance=thresholds.max_tag_distance)
        return replace(
            decoder,
            grouping=grouping,
            min_score=thresholds.min_score,
            max_people=int(thresholds.max_people),
        )
