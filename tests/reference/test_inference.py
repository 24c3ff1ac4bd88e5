"""Inference parity with checkpoint/: from photographs to metrics, with a small checkpoint."""

import json
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import default_collate

from tagpose.codec.decoder import build_decoder
from tagpose.codec.peaks import find_peaks
from tagpose.data.images import read_annotated_image
from tagpose.data.preprocessing import resize_to_scales
from tagpose.evaluation.ground_truth import read_ground_truth
from tagpose.evaluation.keypoint_ap import evaluate_parts
from tagpose.inference.predictor import Predictor
from tagpose.models.checkpoint import load_network
from tagpose.skeletons.coco import WHOLEBODY
from tagpose.structures import Poses

INPUT_SIZE = 256
FLIP_TESTS = {"flip_256": True, "noflip_256": False}


@pytest.fixture(scope="module")
def photographs(figure):
    """Find the four photographs in TAGPOSE_COCO_SAMPLE, or in coco_sample next to the figures."""
    default = figure("checkpoint").resolve().parents[1] / "coco_sample"
    folder = Path(os.environ.get("TAGPOSE_COCO_SAMPLE", default))
    if not folder.is_dir():
        pytest.skip(
            f"{folder} is missing; set TAGPOSE_COCO_SAMPLE to the folder of the photographs"
        )
    return folder


@pytest.fixture(scope="module")
def network(figure):
    return load_network(figure("checkpoint/hrnet_w18_small_wholebody_256.pth"))


@pytest.fixture(scope="module")
def figures(figure):
    with np.load(figure("checkpoint/people.npz")) as file:
        return dict(file)


@pytest.fixture(scope="module")
def names(photographs):
    return sorted(file.name for file in (photographs / "images").iterdir())


@pytest.fixture(scope="module", params=FLIP_TESTS)
def case(request, network, photographs, names):
    """Return the name of a test, its predictor, the images and the poses."""
    published = partial(build_decoder, max_people=None, person_score_tie_break=False)
    predictor = Predictor(
        network,
        input_size=INPUT_SIZE,
        flip_test=FLIP_TESTS[request.param],
        decoder=published,
        device="cpu",
    )
    images = [read_annotated_image(photographs / "images" / name) for name in names]
    return request.param, predictor, images, predictor(images)


def test_peaks_equal_the_reference(case, figures, names):
    test, predictor, images, _ = case
    matches, total = 0, 0
    for name, image in zip(names, images, strict=True):
        scores, xy, (width, height) = (
            figures[f"{test}/{name}/{key}"] for key in ("peaks/score", "peaks/xy", "map_size_wh")
        )
        views = default_collate([resize_to_scales(image, INPUT_SIZE, (1,))])
        assert views.images[0].shape[2:] == (height, width)
        keypoint_maps = predictor.predict_maps(views.images)
        maps = predictor.decoder.prepare(*(m.numpy() for m in keypoint_maps), (height, width))
        peaks = find_peaks(maps, count=30, min_score=0.1, subpixel=False)
        is_peak = scores > 0.1
        same_position = (peaks.xy[0] == xy).all(-1)
        same_score = np.abs(peaks.scores[0] - scores) < 1e-3
        matches += (same_position & same_score)[is_peak].sum()
        total += is_peak.sum()
    assert matches / total >= 0.99


def test_keypoints_of_confident_people_equal_the_reference(case, figures, names):
    test, _, _, predictions = case
    matches, total = 0, 0
    for name, poses in zip(names, predictions, strict=True):
        confident = figures[f"{test}/{name}/scores"] > 0.3
        expected = figures[f"{test}/{name}/keypoints"][confident]
        present = expected[..., 2] > 0.1
        difference = expected[:, None, :, :2] - poses.keypoints[None, :, :, :2]  # [P, Q, K, 2]
        is_near = np.linalg.norm(difference, axis=-1) < 0.5
        matches += (is_near & present[:, None]).sum(-1).max(-1).sum()  # each by its best match
        total += present.sum()
    assert matches / total >= 0.94


def read_stats(figure, test):
    return json.loads(figure("checkpoint/expected.json").read_text())["stats"][test]


def test_metrics_are_near_the_reference(case, figure, photographs, names):
    test, _, _, predictions = case
    ground_truth = read_ground_truth(photographs / "wholebody.json", WHOLEBODY)
    ids = [int(name.partition(".")[0]) for name in names]
    scores = evaluate_parts(ground_truth, dict(zip(ids, predictions, strict=True)), WHOLEBODY)
    expected = read_stats(figure, test)
    for part in ("body", "wholebody"):
        assert scores[part].ap == pytest.approx(expected[part][0], abs=0.03)


@pytest.mark.parametrize("test", FLIP_TESTS)
def test_metrics_of_the_reference_poses_equal_the_reference(
    test, figure, figures, photographs, names
):
    ground_truth = read_ground_truth(photographs / "wholebody.json", WHOLEBODY)
    people = {
        int(name.partition(".")[0]): Poses(
            figures[f"{test}/{name}/keypoints"].astype(np.float64),
            figures[f"{test}/{name}/scores"].astype(np.float64),
        )
        for name in names
    }
    scores = evaluate_parts(ground_truth, people, WHOLEBODY)
    for part, expected in read_stats(figure, test).items():
        assert list(scores[part]) == pytest.approx(expected, abs=1e-6), part
