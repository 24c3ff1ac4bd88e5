"""`tagpose predict` explains pictures without people."""

import pytest

from tagpose.cli.predict import describe_low_scores


@pytest.mark.parametrize(("scores", "min_score"), [([], 0.3), ([0.1, 0.4], 0.3), ([0.3], 0.3)])
def test_people_above_the_threshold_need_no_hint(scores, min_score):
    assert describe_low_scores(scores, min_score) == ""


def test_people_below_the_threshold_are_counted():
    hint = describe_low_scores([0.05, 0.2], 0.3)
    assert "all 2 predicted people are below min_person_score=0.3 (the highest is 0.20)" in hint
