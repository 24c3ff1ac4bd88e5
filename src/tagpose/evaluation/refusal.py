"""This file refuses people that must not be scored."""

import numpy as np

from tagpose.skeleton import Skeleton
from tagpose.structures import People


def check_people(image_id: int, people: People, skeleton: Skeleton) -> None:
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
