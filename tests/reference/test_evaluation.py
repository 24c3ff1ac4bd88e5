"""Evaluation parity with xtcocotools: ten metrics of each part, equal to 1e-6."""

import json

import pytest

from tagpose.evaluation.coco_results import read_results
from tagpose.evaluation.ground_truth import read_ground_truth
from tagpose.evaluation.keypoint_ap import evaluate_results
from tagpose.skeletons.coco import BODY, WHOLEBODY

CASES = ("synthetic_good", "synthetic_poor", "real_good", "real_poor", "official")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("skeleton", [BODY, WHOLEBODY], ids=lambda skeleton: skeleton.name)
def test_metrics_equal_those_of_the_official_evaluator(figure, case, skeleton):
    ground_truth = read_ground_truth(figure(f"evaluate/{case.split('_')[0]}_gt.json"), skeleton)
    results = read_results(figure(f"evaluate/{case}_results.json"))
    expected = json.loads(figure("evaluate/expected.json").read_text())["stats"]
    if case not in expected:
        pytest.skip(f"expected.json has no case {case}")
    scores = evaluate_results(ground_truth, results, skeleton)
    for part in skeleton.parts:
        assert list(scores[part]) == pytest.approx(expected[case][part], abs=1e-6), part
