"""This file says how sure each part of a person is, where parts are not ranked as their person."""

import numpy as np

from tagpose.skeleton import Skeleton
from tagpose.structures import People


def part_ranks(people: People, skeleton: Skeleton) -> np.ndarray:
    """How sure the parts of people are [P, Q].

    A limb: the mean score of its keypoints, times the root of the person's own score. Without the
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
        if part in skeleton.limbs and part != skeleton.name
        else person
        for part, at in skeleton.parts.items()
    ]
    return np.stack(ranks, 1)
