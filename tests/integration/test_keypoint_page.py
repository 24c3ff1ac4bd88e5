"""The page of all keypoints is what the code says."""

import runpy
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tagpose.skeletons.coco import WHOLEBODY

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def written():
    return runpy.run_path(str(DOCS / "which_keypoint.py"))


@pytest.mark.parametrize(
    ("maker", "file"), [("page", "which_keypoint.md"), ("chart", "which_keypoint.svg")]
)
def test_the_page_and_its_chart_are_in_step_with_the_code(written, maker, file):
    text = (DOCS / file).read_text(encoding="utf-8")
    assert written[maker]() == text, "python docs/which_keypoint.py writes it anew"
    assert len(text) < 300_000


def test_the_chart_has_each_keypoint_once_inside_of_its_frame(written):
    root = ElementTree.fromstring(written["chart"]())
    _, _, width, height = map(float, root.get("viewBox").split())
    circles = root.findall("{*}circle")
    assert len(circles) == WHOLEBODY.size
    for circle in circles:
        assert 0 < float(circle.get("cx")) < width
        assert 0 < float(circle.get("cy")) < height
    written_numbers = {text.text.split()[0] for text in root.findall("{*}text")}
    assert written_numbers >= {str(k) for k in range(WHOLEBODY.size)}
