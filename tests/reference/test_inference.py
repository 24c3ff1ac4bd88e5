"""From photograph to scores with a small checkpoint, against the figures of checkpoint/."""

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
from tagpose.models.transfer import load_network
from tagpose.skeletons.coco import WHOLEBODY
from tagpose.structures import Poses

SIDE = 256
TESTS = {"flip_256": True, "noflip_256": False}


@pytest.fixture(scope="module")
def photographs(figure):
    """Folder of the four photographs: TAGPOSE_COCO_SAMPLE, or coco_sample beside the figures."""
    beside = figure("checkpoint").resolve().parents[1] / "coco_sample"
    folder = Path(os.environ.get("TAGPOSE_COCO_SAMPLE", beside))
    if not folder.is_dir():
        pytest.skip(f"no photographs in {folder}; TAGPOSE_COCO_SAMPLE names their folder")
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


@pytest.fixture(scope="module", params=TESTS)
def case(request, network, photographs, names):
    """A test, its predictor, and the people that it finds."""
    everybody = partial(build_decoder, max_people=None)
    predictor = Predictor(
        network, input_size=SIDE, flip_test=TESTS[request.param], decoder=everybody, device="cpu"
    )
    images = [read_annotated_image(photographs / "images" / name) for name in names]
    return request.param, predictor, images, predictor(images)


def test_peaks_stand_at_the_same_places(case, figures, names):
    test, predictor, images, _ = case
    same, counted = 0, 0
    for name, image in zip(names, images, strict=True):
        scores, places, (width, height) = (
            figures[f"{test}/{name}/{key}"] for key in ("peaks/score", "peaks/xy", "map_size_wh")
        )
        views = default_collate([resize_to_scales(image, SIDE, (1,))])
        assert views.images[0].shape[2:] == (height, width)
        keypoint_maps = predictor.predict_maps(views.images)
        maps = predictor.decoder.prepare(*(each.numpy() for each in keypoint_maps), (height, width))
        peaks = find_peaks(maps, count=30, min_score=0.1)
        counts = scores > 0.1
        there = (peaks.xy[0] == places).all(-1)
        near = np.abs(peaks.scores[0] - scores) < 1e-3
        same += (there & near)[counts].sum()
        counted += counts.sum()
    assert same / counted >= 0.99


def test_sure_people_have_their_keypoints_at_the_same_places(case, figures, names):
    test, _, _, found = case
    hits, counted = 0, 0
    for name, mine in zip(names, found, strict=True):
        sure = figures[f"{test}/{name}/scores"] > 0.3
        theirs = figures[f"{test}/{name}/keypoints"][sure]
        there = theirs[..., 2] > 0.1
        apart = np.linalg.norm(theirs[:, None, :, :2] - mine.keypoints[None, :, :, :2], axis=-1)
        hits += ((apart < 0.5) & there[:, None]).sum(-1).max(-1).sum()  # each by its best match
        counted += there.sum()
    assert hits / counted >= 0.94


def _stats(figure, test):
    return json.loads(figure("checkpoint/expected.json").read_text())["stats"][test]


def test_scores_from_photographs_are_near_the_published_ones(case, figure, photographs, names):
    test, _, _, found = case
    ground_truth = read_ground_truth(photographs / "wholebody.json", WHOLEBODY)
    ids = [int(name.partition(".")[0]) for name in names]
    scores = evaluate_parts(ground_truth, dict(zip(ids, found, strict=True)), WHOLEBODY)
    expected = _stats(figure, test)
    for part in ("body", "wholebody"):
        assert scores[part].ap == pytest.approx(expected[part][0], abs=0.03)


@pytest.mark.parametrize("test", TESTS)
def test_the_figures_own_people_score_exactly(test, figure, figures, photographs, names):
    ground_truth = read_ground_truth(photographs / "wholebody.json", WHOLEBODY)
    people = {
        int(name.partition(".")[0]): Poses(
            figures[f"{test}/{name}/keypoints"].astype(np.float64),
            figures[f"{test}/{name}/scores"].astype(np.float64),
        )
        for name in names
    }
    scores = evaluate_parts(ground_truth, people, WHOLEBODY)
    for part, expected in _stats(figure, test).items():
        assert list(scores[part]) == pytest.approx(expected, abs=1e-6), part
