"""This file stands between the page and the network: what is looked at once is shown many times."""

from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.inference.found import Found, found
from tagpose.inference.predictor import Predictor
from tagpose.page.kept import Kept
from tagpose.page.looking import decoded, look_at, read_picture
from tagpose.page.pictures import heatmaps_picture, people_picture, tags_picture
from tagpose.page.words import sentence

MOST_PEOPLE: Final = 100  # that a visitor may ask for; thousands take a minute


class Thresholds(NamedTuple):
    """What a visitor may choose, in the order of the page."""

    min_person_score: float  # people below are left out
    min_keypoint_score: float  # keypoints below are left out
    min_score: float  # of a peak
    max_tag_distance: float  # of a peak from a person
    max_people: float  # of an image, the best ones


class Shown(NamedTuple):
    """What is seen of an image."""

    words: str
    picture: np.ndarray | None = None  # [rows, columns, 3] uint8 RGB
    found: Found | None = None


class Viewer:
    """Looks at the pictures of visitors, and shows them by thresholds.

    Args:
        predictor: that finds people.
        kept: the last picture of each visitor.
        max_pixels: that a picture may have.
    """

    def __init__(self, predictor: Predictor, kept: Kept, max_pixels: int) -> None:
        self.predictor, self.kept, self.max_pixels = predictor, kept, max_pixels
        self.skeleton = predictor.skeleton

    def look(self, visitor: str, file: Path | None) -> str:
        """Run the network over a visitor's picture; what stands against it, or nothing.

        Args:
            visitor: anything that tells one from another.
            file: of the picture; None where the visitor took it away.
        """
        self.kept.drop(visitor)
        try:
            if file is not None:
                image = read_picture(file, self.max_pixels)
                self.kept.put(visitor, look_at(image, self.predictor))
        except ValueError as error:
            return f"{str(error)[:1].upper()}{str(error)[1:]}."
        return ""

    def show(self, visitor: str, thresholds: Thresholds) -> Shown:
        """Who is in the visitor's last picture by these thresholds."""
        looked = self.kept.get(visitor)
        if looked is None:
            return Shown(self.invitation)
        again = decoded(looked, self._decoder(thresholds))
        self.kept.renew(visitor, looked, again)
        people = found(
            again.people,
            again.size,
            self.skeleton,
            min_person_score=thresholds.min_person_score,
            min_keypoint_score=thresholds.min_keypoint_score,
        )
        words = sentence(
            people, len(again.people.scores), thresholds.min_person_score, again.seconds
        )
        return Shown(words, people_picture(again, people), people)

    def heatmaps(self, visitor: str, part: str) -> np.ndarray | None:
        """The heatmaps of a part over the visitor's picture, if one is kept."""
        looked = self.kept.get(visitor)
        return None if looked is None else heatmaps_picture(looked, self.skeleton, part)

    def tags(self, visitor: str, part: str, min_score: float) -> np.ndarray | None:
        """The tags of a part over the visitor's picture, if one is kept."""
        looked = self.kept.get(visitor)
        if looked is None:
            return None
        tag_index = self.predictor.network.tag_index
        return tags_picture(looked, self.skeleton, tag_index, part, min_score)

    @property
    def invitation(self) -> str:
        """What is said where there is no picture."""
        minutes = self.kept.seconds / 60
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
