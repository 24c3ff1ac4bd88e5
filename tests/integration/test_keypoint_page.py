"""The documentation page of all keypoints is up to date with the code."""

import runpy
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tagpose.skeletons.coco import WHOLEBODY

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generator():
    return runpy.run_path(str(DOCS / "which_keypoint.py"))


@pytest.mark.parametrize(
    ("function", "file"), [("page", "which_keypoint.md"), ("chart", "which_keypoint.svg")]
)
def test_the_page_and_its_chart_are_up_to_date(generator, function, file):
    text = (DOCS / file).read_text(encoding="utf-8")
    assert generator[function]() == text, "run python docs/which_keypoint.py"
    assert len(text) < 300_000


def test_the_chart_has_each_keypoint_once_inside_its_bounds(generator):
    root = ElementTree.fromstring(generator["chart"]())
    _, _, width, height = map(float, root.get("viewBox").split())
    circles = root.findall("{*}circle")
    assert len(circles) == WHOLEBODY.size
    for circle in circles:
        assert 0 < float(circle.get("cx")) < width
        assert 0 < float(circle.get("cy")) < height
    numbers = {text.text.split()[0] for text in root.findall("{*}text")}
    assert numbers >= {str(k) for k in range(WHOLEBODY.size)}
