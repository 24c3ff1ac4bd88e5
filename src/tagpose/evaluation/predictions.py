"""Predictions of an evaluation: their collection over processes, validation and ranking scores."""

import numpy as np

from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses


class Predictions:
    """Poses by image id, in image pixels; the only state of an evaluation.

    An image that a sampler repeats counts once, because the image id is the key.
    """

    def __init__(self) -> None:
        self._poses: dict[int, Poses] = {}

    def update(self, image_id: int, people: Poses) -> None:
        """Add the poses of an image."""
        self._poses[int(image_id)] = people

    def gather(self) -> None:
        """Merge the predictions of all processes, if training is distributed.

        All processes must call this, and have the same predictions afterwards. Their numbers of
        images may differ, also be 0.
        """
        # torch takes seconds to import; programs check their options before they need it
        from torch import distributed

        if not (distributed.is_available() and distributed.is_initialized()):
            return
        gathered: list[dict[int, Poses]] = [{}] * distributed.get_world_size()
        distributed.all_gather_object(gathered, self._poses)
        self._poses = {image_id: poses for rank in gathered for image_id, poses in rank.items()}

    def compute(self) -> dict[int, Poses]:
        """Return the poses by image id, in ascending order."""
        return dict(sorted(self._poses.items()))

    def reset(self) -> None:
        """Discard all predictions."""
        self._poses = {}


def validate_poses(image_id: int, people: Poses, skeleton: Skeleton) -> None:
    """Reject poses that must not be evaluated.

    In the official evaluation NaN is never below a threshold, so a file of NaN has AP 1.0.

    Raises:
        ValueError: if keypoints are not [P, K, 3], scores not [P], or a value is not finite.
    """
    keypoints, scores = people.keypoints, people.scores
    expected = len(scores), skeleton.size, 3
    if keypoints.shape != expected:
        raise ValueError(
            f"image {image_id}: keypoints have shape {keypoints.shape}, but {len(scores)} scores "
            f"and skeleton {skeleton.name!r} require {expected}"
        )
    finite = np.isfinite(keypoints).all((1, 2)) & np.isfinite(scores)
    if not finite.all():
        raise ValueError(
            f"image {image_id}, row {int(np.argmin(finite))}: a coordinate or score is not finite; "
            "check whether the training diverged"
        )


def part_ranking_scores(people: Poses, skeleton: Skeleton) -> np.ndarray:
    """Return the scores [P, Q] that rank people in each part.

    The score of a part is the mean score of its keypoints times the square root of the person's
    score; without that factor, false detections with a single good hand rank first. The whole body
    has the person's score. (MMPose gives the person's score to every part, and more than half of
    that score comes from the face; docs/accuracy.md has what this costs.)

    Args:
        people: P people with keypoints [P, K, 3].
        skeleton: skeleton with K keypoints and Q parts.
    """
    person_scores = people.scores.clip(0)
    part_scores = [
        people.keypoints[:, at, 2].mean(1) * np.sqrt(person_scores)
        if part in skeleton.disjoint_parts and part != skeleton.name
        else person_scores
        for part, at in skeleton.parts.items()
    ]
    return np.stack(part_scores, 1)
