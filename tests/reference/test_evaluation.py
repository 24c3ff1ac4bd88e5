"""The evaluation against the official numbers: six parts, ten numbers, exact to 1e-6."""

import json

import pytest

from tagpose.evaluation.part_ap import row_scores
from tagpose.evaluation.rows import read_rows
from tagpose.evaluation.truth import read_truth
from tagpose.official_skeletons import BODY, WHOLEBODY

CASES = ("synthetic_good", "synthetic_poor", "real_good", "real_poor", "official")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("skeleton", [BODY, WHOLEBODY], ids=lambda skeleton: skeleton.name)
def test_scores_equal_the_official_ones(figure, case, skeleton):
    truth = read_truth(figure(f"evaluate/{case.split('_')[0]}_gt.json"), skeleton)
    rows = read_rows(figure(f"evaluate/{case}_results.json"))
    expected = json.loads(figure("evaluate/expected.json").read_text())["stats"]
    if case not in expected:
        pytest.skip(f"expected.json has no case {case}")
    scores = row_scores(truth, rows, skeleton)
    for part in skeleton.parts:
        assert list(scores[part]) == pytest.approx(expected[case][part], abs=1e-6), part
