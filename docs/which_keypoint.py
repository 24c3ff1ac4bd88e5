"""Writes docs/which_keypoint.md and its chart from the code: python docs/which_keypoint.py."""

from pathlib import Path
from typing import Final

from tagpose.data.synthetic.pose import face_template
from tagpose.skeletons.coco import WHOLEBODY
from tagpose.skeletons.keypoint_layouts import LAYOUTS, KeypointLayout
from tagpose.visualization.keypoint_chart import keypoint_chart

DOCS: Final = Path(__file__).parent
_TEXT: Final = """\
# Which keypoint is which

The 133 keypoints of [COCO-WholeBody](https://arxiv.org/abs/2007.11858), as
`found.keypoints[person]` has them. Left and right are the person's. `found.skeleton.keypoints` has
the names, `found.skeleton.parts` the slices of the parts.

[![all 133 keypoints with their numbers](which_keypoint.svg)](which_keypoint.svg)

{parts}

The face has the order of the 68 points of
[iBUG 300-W](https://ibug.doc.ic.ac.uk/resources/300-W/). Hands begin with the root, then come the
fingers from the thumb to the little finger, each from its base to its tip.

## In the order of other projects

`tagpose.skeletons.keypoint_layouts` has the tables below as index maps:

```python
from tagpose import Predictor
from tagpose.skeletons.keypoint_layouts import LAYOUTS

found = Predictor("best.ckpt")("photo.jpg")
body = found.to_layout(LAYOUTS["openpose_body_25"])  # [P, 25, 3]: x, y, score
print(LAYOUTS["openpose_body_25"].keypoints)  # names in the order of OpenPose
print(LAYOUTS["openpose_body_25"].indices())  # ours: one, several for a mean, or none
```

`tagpose.skeletons.keypoint_layouts.convert_keypoints` does the same for keypoints from elsewhere. "5, 6" is the mean of
both keypoints, with the lower of their scores. "-" means that COCO-WholeBody has no such keypoint;
it becomes 0, 0, 0.

{tables}

MediaPipe's pinky, index, thumb and foot index are close to the keypoints in the table but not
labelled by the same rules. Its face mesh of 468 points has no counterpart here.

*This page is written by `python docs/which_keypoint.py`.*
"""
_SUMMARIZED: Final = ("openpose_face", "halpe_136")  # rows of several keypoints in their tables


def page() -> str:
    """Return the page."""
    tables = "\n\n".join(_table(layout) for layout in LAYOUTS.values())
    return _TEXT.format(parts=_parts(), tables=tables)


def chart() -> str:
    """Return the chart of all keypoints as SVG."""
    return keypoint_chart(face_template())


def _parts() -> str:
    """The parts with their numbers and names."""
    lines = ["| part | keypoints | names |", "|---|---|---|"]
    for part, at in WHOLEBODY.disjoint_parts.items():
        names = WHOLEBODY.keypoints[at]
        shown = names if part in ("body", "foot") else (*names[:3], "...", names[-1])
        lines.append(f"| `{part}` | {at.start} to {at.stop - 1} | {', '.join(shown)} |")
    return "\n".join(lines)


def _table(layout: KeypointLayout) -> str:
    """The table of a layout."""
    rows = _runs(layout) if layout.name in _SUMMARIZED else [(q, q) for q in range(layout.size)]
    lines = [
        f"### {layout.title}",
        "",
        f'`LAYOUTS["{layout.name}"]`, {layout.size} keypoints',
        "",
        "| there | name | here | name here |",
        "|---|---|---|---|",
        *(_row(layout, *row) for row in rows),
    ]
    return "\n".join(lines)


def _runs(layout: KeypointLayout) -> list[tuple[int, int]]:
    """First and last keypoint of the longest runs of a part that has the same order here."""
    indices, part_of, runs = layout.indices(), WHOLEBODY.part_index, [(0, 0)]
    for q in range(1, layout.size):
        before, here = indices[q - 1], indices[q]
        alone = len(before) == len(here) == 1 and part_of[before[0]] == part_of[here[0]]
        follows = alone and here[0] == before[0] + 1
        runs[-1:] = [(runs[-1][0], q)] if follows else [runs[-1], (q, q)]
    return runs


def _row(layout: KeypointLayout, first: int, last: int) -> str:
    """One row of a table, for one keypoint or for several that follow each other."""
    names, indices, sources = layout.keypoints, layout.indices(), layout.sources
    if first < last:
        here = f"{indices[first][0]} to {indices[last][0]}"
        return (
            f"| {first} to {last} | {names[first]} to {names[last]} | {here} | "
            f"{sources[first][0]} to {sources[last][0]} |"
        )
    here = ", ".join(map(str, indices[first])) or "-"
    return f"| {first} | {names[first]} | {here} | {', '.join(sources[first]) or '-'} |"


if __name__ == "__main__":
    (DOCS / "which_keypoint.md").write_text(page(), encoding="utf-8")
    (DOCS / "which_keypoint.svg").write_text(chart(), encoding="utf-8")
