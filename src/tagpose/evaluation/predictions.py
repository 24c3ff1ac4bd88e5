"""This file remembers what was found until all images are seen: the evaluation's only state."""

import numpy as np
from torch import distributed

from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses


# MERGED: """This file refuses people that must not be scored."""
# MERGED: """This file says how sure each part of a person is, where parts are not ranked as their person."""
class Predictions:
    """Poses by image id, in image pixels.

    The image id is the key, so that an image that a sampler repeats counts once.
    """

    def __init__(self) -> None:
        self._people: dict[int, Poses] = {}

    def update(self, image_id: int, people: Poses) -> None:
        """Remember the people of an image."""
        self._people[int(image_id)] = people

    def gather(self) -> None:
        """Take over what the other processes found, where there are any.

        Every process must call it; afterwards all hold the same. Processes may have found
        differently much, or nothing.
        """
        if not (distributed.is_available() and distributed.is_initialized()):
            return
        parts: list[dict[int, Poses]] = [{}] * distributed.get_world_size()
        distributed.all_gather_object(parts, self._people)
        self._people = {image_id: people for part in parts for image_id, people in part.items()}

    def compute(self) -> dict[int, Poses]:
        """Poses by image id, by rising id."""
        return dict(sorted(self._people.items()))

    def reset(self) -> None:
        """Forget everything."""
        self._people = {}


def validate_poses(image_id: int, people: Poses, skeleton: Skeleton) -> None:
    """Refuse people that must not be scored.

    In the official evaluation NaN is never below a threshold: a file of NaN has AP 1.0.

    Raises:
        ValueError: keypoints are not [P, K, 3] or scores not [P], or a number is not finite.
    """
    keypoints, scores = people.keypoints, people.scores
    if keypoints.shape != (len(scores), skeleton.size, 3):
        raise ValueError(
            f"image {image_id}: keypoints {keypoints.shape} with {len(scores)} scores; the "
            f"skeleton {skeleton.name!r} wants {(len(scores), skeleton.size, 3)}"
        )
    finite = np.isfinite(keypoints).all((1, 2)) & np.isfinite(scores)
    if not finite.all():
        raise ValueError(
            f"image {image_id}, row {int(np.argmin(finite))}: a coordinate or score is not finite; "
            "has the training diverged?"
        )


def part_ranking_scores(people: Poses, skeleton: Skeleton) -> np.ndarray:
    """How sure the parts of people are [P, Q].

    A part: the mean score of its keypoints, times the root of the person's own score. Without the
    person, those whom nobody would call one come first with a single good hand. The whole: the
    person's score. (Classic gives every part the person's score, more than half of which is the
    face's; docs/accuracy.md has what that costs.)

    Args:
        people: P people with keypoints [P, K, 3].
        skeleton: that has K keypoints and Q parts.
    """
    person = people.scores.clip(0)
    ranks = [
        people.keypoints[:, at, 2].mean(1) * np.sqrt(person)
        if part in skeleton.disjoint_parts and part != skeleton.name
        else person
        for part, at in skeleton.parts.items()
    ]
    return np.stack(ranks, 1)
