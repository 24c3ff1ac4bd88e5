"""`tagpose predict` explains why there are no people in the pictures."""

import pytest

from tagpose.cli.predict import describe_missing_people


@pytest.mark.parametrize("scores", [[0.1, 0.4], [0.3]])
def test_people_above_the_threshold_need_no_explanation(scores):
    assert describe_missing_people(scores, 0.3, 0.1) == ""


def test_people_below_the_threshold_are_counted():
    line = describe_missing_people([0.05, 0.2], 0.3, 0.1)
    assert "all 2 predicted people are below min_person_score=0.3 (the highest is 0.20)" in line


def test_images_without_any_peak_name_the_threshold_of_peaks():
    line = describe_missing_people([], 0.3, 0.1)
    assert "no value of any heatmap exceeds predictor.decoder.min_score=0.1" in line
