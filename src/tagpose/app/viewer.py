"""This file stands between the page and the network: what is looked at once is shown many times."""

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

MAX_PEOPLE: Final = 100  # that a visitor may ask for; thousands take a minute


class Thresholds(NamedTuple):
    """What a visitor may choose, in the order of the page."""

    min_person_score: float  # people below are left out
    min_keypoint_score: float  # keypoints below are left out
    min_score: float  # of a peak
    max_tag_distance: float  # of a peak from a person
    max_people: float  # of an image, the best ones


class ViewerOutput(NamedTuple):
    """What is seen of an image."""

    message: str
    image: np.ndarray | None = None  # [rows, columns, 3] uint8 RGB
    result: PoseResult | None = None


class PoseViewer:
    """Looks at the pictures of visitors, and shows them by thresholds.

    Args:
        predictor: that finds people.
        cache: the last picture of each visitor.
        max_pixels: that a picture may have.
    """

    def __init__(self, predictor: Predictor, cache: SessionCache, max_pixels: int) -> None:
        self.predictor, self.cache, self.max_pixels = predictor, cache, max_pixels
        self.skeleton = predictor.skeleton

    def analyze(self, session_id: str, file: Path | None) -> str:
        """Run the network over a visitor's picture; what stands against it, or nothing.

        Args:
            session_id: anything that tells one from another.
            file: of the picture; None where the visitor took it away.
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
        """Who is in the visitor's last picture by these thresholds."""
        cached = self.cache.get(session_id)
        if cached is None:
            return ViewerOutput(self.prompt)
        again = decode_again(cached, self._decoder(thresholds))
        self.cache.replace(session_id, cached, again)
        people = make_pose_result(
            again.people,
            again.image_size,
            self.skeleton,
            min_person_score=thresholds.min_person_score,
            min_keypoint_score=thresholds.min_keypoint_score,
        )
        message = describe_result(
            people, len(again.people.scores), thresholds.min_person_score, again.network_seconds
        )
        return ViewerOutput(message, render_poses(again, people), people)

    def heatmaps(self, session_id: str, part: str) -> np.ndarray | None:
        """The heatmaps of a part over the visitor's picture, if one is kept."""
        cached = self.cache.get(session_id)
        return None if cached is None else render_heatmaps(cached, self.skeleton, part)

    def tags(self, session_id: str, part: str, min_score: float) -> np.ndarray | None:
        """The tags of a part over the visitor's picture, if one is kept."""
        cached = self.cache.get(session_id)
        if cached is None:
            return None
        tag_index = self.predictor.network.tag_index
        return render_tags(cached, self.skeleton, tag_index, part, min_score)

    @property
    def prompt(self) -> str:
        """What is said where there is no picture."""
        minutes = self.cache.max_idle_seconds / 60
        return f"Put in a picture. It is forgotten after {minutes:g} minutes without use."

    def _decoder(self, chosen: Thresholds) -> AssociativeEmbeddingDecoder:
        """The predictor's decoder, but for what the visitor chose."""
        decoder = self.predictor.decoder
        grouping = replace(decoder.grouping, max_tag_distance=chosen.max_tag_distance)
        return replace(
            decoder,
            grouping=grouping,
            min_score=chosen.min_score,
            max_people=int(chosen.max_people),
        )
