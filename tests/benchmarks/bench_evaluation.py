"""Six-part evaluation of a split as large as COCO's, held against the official evaluator.

Both start from what is loaded: the official one from its own objects, ours from `GroundTruth` and
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


def split(rng, images=IMAGES, people=PEOPLE):
    """Ground truth with a crowd here and there, and parts and people without labels."""
    count = images * people
    size = rng.uniform(20, 300, (count, 1))
    corner = rng.uniform(0, 500, (count, 2))
    keypoints = np.empty((count, K, 3))
    keypoints[..., :2] = corner[:, None] + size[..., None] * rng.random((count, K, 2))
    keypoints[..., 2] = rng.choice([0, 1, 2], (count, K), p=[0.1, 0.2, 0.7])
    for at in WHOLEBODY.disjoint_parts.values():
        keypoints[rng.random(count) < 0.25, at, 2] = 0
    boxes = np.c_[corner, size, size]
    image = np.repeat(np.arange(images), people)
    crowd = rng.random(count) < 0.02
    return GroundTruth(
        np.arange(1, images + 1), image, keypoints, 0.6 * size[:, 0] ** 2, boxes, crowd
    )


def findings(rng, ground_truth):
    """10 to 14 detections an image: nine in ten of the people, more or less well; and strays."""
    found = {}
    for n, image_id in enumerate(ground_truth.image_ids.tolist()):
        here = np.flatnonzero(ground_truth.image == n)
        hit = here[rng.random(len(here)) < 0.9]
        stray = rng.choice(here, rng.integers(10, 15) - len(hit))
        who = rng.permutation(np.r_[hit, stray])
        noise = np.sqrt(ground_truth.areas[who]) * rng.choice([0.01, 0.03, 0.1], len(who))
        keypoints = ground_truth.keypoints[who].astype(np.float32)
        keypoints[..., :2] += noise[:, None, None] * rng.standard_normal((len(who), K, 2))
        keypoints[..., 2] = rng.random((len(who), K)) > 0.05
        for at in WHOLEBODY.disjoint_parts.values():
            keypoints[rng.random(len(who)) < 0.1, at, 2] = 0
        found[image_id] = Poses(keypoints, rng.random(len(who), np.float32))
    return found


def rows_of(found):
    """Poses as result rows, every digit of them."""
    return [
        {"image_id": image_id, "category_id": 1, "score": score}
        | {field: points[at].ravel().tolist() for field, at in WHOLEBODY.json_keys.items()}
        for image_id, people in found.items()
        for points, score in zip(people.keypoints, people.scores.tolist(), strict=True)
    ]


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(0)
    ground_truth = split(rng)
    return ground_truth, findings(rng, ground_truth)


@pytest.mark.timeout(1800)
def test_six_parts_are_scored_as_officially_in_a_sixth_of_the_time(measure, drawn):
    ground_truth, found = drawn
    loaded = official.load(ground_truth, rows_of(found))
    said = []

    def officially():
        # it warns once a part that rows have no score of their own for it
        with redirect_stdout(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            said.append(official.evaluate(*loaded))

    measure(
        f"six-part evaluation, {IMAGES} images x {PEOPLE} people",
        lambda: evaluate_parts(ground_truth, found, WHOLEBODY),
        limit=1 / 6,
        against="xtcocotools",
        yardstick=officially,
        rounds=1,
    )
    ours = evaluate_parts(ground_truth, found, WHOLEBODY)
    for part, expected in said[-1].items():
        assert list(ours[part]) == pytest.approx(list(expected), abs=1e-6), part
