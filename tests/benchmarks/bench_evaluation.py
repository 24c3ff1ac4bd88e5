"""Six-part evaluation of a split of the size of COCO val, compared with the official evaluator.

Loading is excluded: xtcocotools starts from its own objects, tagpose from `GroundTruth` and
`Poses`.
"""

import warnings
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest

from helpers import xtcocotools_reference as official
from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.evaluation.keypoint_ap import evaluate_parts
from tagpose.skeletons.coco import WHOLEBODY
from tagpose.structures import Poses

IMAGES, PEOPLE = 5000, 10
K = WHOLEBODY.size


def make_ground_truth(rng, images=IMAGES, people=PEOPLE):
    """Return random ground truth with some crowds and some parts and people without labels."""
    count = images * people
    size = rng.uniform(20, 300, (count, 1))
    corner = rng.uniform(0, 500, (count, 2))
    keypoints = np.empty((count, K, 3))
    keypoints[..., :2] = corner[:, None] + size[..., None] * rng.random((count, K, 2))
    keypoints[..., 2] = rng.choice([0, 1, 2], (count, K), p=[0.1, 0.2, 0.7])
    for part in WHOLEBODY.disjoint_parts.values():
        keypoints[rng.random(count) < 0.25, part, 2] = 0
    boxes = np.c_[corner, size, size]
    image = np.repeat(np.arange(images), people)
    crowd = rng.random(count) < 0.02
    return GroundTruth(
        np.arange(1, images + 1), image, keypoints, 0.6 * size[:, 0] ** 2, boxes, crowd
    )


def make_predictions(rng, ground_truth):
    """Return 10 to 14 predictions per image: 90 % of the people with noise, and false positives."""
    predictions = {}
    for n, image_id in enumerate(ground_truth.image_ids.tolist()):
        people = np.flatnonzero(ground_truth.image == n)
        detected = people[rng.random(len(people)) < 0.9]
        duplicates = rng.choice(people, rng.integers(10, 15) - len(detected))
        chosen = rng.permutation(np.r_[detected, duplicates])
        count = len(chosen)
        noise = np.sqrt(ground_truth.areas[chosen]) * rng.choice([0.01, 0.03, 0.1], count)
        keypoints = ground_truth.keypoints[chosen].astype(np.float32)
        keypoints[..., :2] += noise[:, None, None] * rng.standard_normal((count, K, 2))
        keypoints[..., 2] = rng.random((count, K)) > 0.05
        for part in WHOLEBODY.disjoint_parts.values():
            keypoints[rng.random(count) < 0.1, part, 2] = 0
        predictions[image_id] = Poses(keypoints, rng.random(count, np.float32))
    return predictions


def to_results(predictions):
    """Return predictions as COCO results, without rounding."""
    return [
        {"image_id": image_id, "category_id": 1, "score": score}
        | {key: points[index].ravel().tolist() for key, index in WHOLEBODY.json_keys.items()}
        for image_id, poses in predictions.items()
        for points, score in zip(poses.keypoints, poses.scores.tolist(), strict=True)
    ]


@pytest.fixture(scope="module")
def split():
    """Return the ground truth and predictions of a split."""
    rng = np.random.default_rng(0)
    ground_truth = make_ground_truth(rng)
    return ground_truth, make_predictions(rng, ground_truth)


@pytest.mark.timeout(1800)
@pytest.mark.skipif(not official.HAS_XTCOCOTOOLS, reason="needs xtcocotools")
def test_evaluation_equals_xtcocotools_in_a_sixth_of_the_time(measure, split):
    ground_truth, predictions = split
    loaded = official.load(ground_truth, to_results(predictions))
    references = []

    def evaluate_with_xtcocotools():
        # it warns once per part that results have no score for the part
        with redirect_stdout(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            references.append(official.evaluate(*loaded))

    measure(
        f"six-part evaluation, {IMAGES} images x {PEOPLE} people",
        lambda: evaluate_parts(ground_truth, predictions, WHOLEBODY),
        limit=1 / 6,
        reference_name="xtcocotools",
        reference=evaluate_with_xtcocotools,
        rounds=1,
    )
    actual = evaluate_parts(ground_truth, predictions, WHOLEBODY)
    for part, expected in references[-1].items():
        assert list(actual[part]) == pytest.approx(list(expected), abs=1e-6), part
