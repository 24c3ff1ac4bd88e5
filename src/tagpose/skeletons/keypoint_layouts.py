"""Index maps between COCO-WholeBody and the keypoint layouts of other projects.

A layout lists the keypoints of another project in that project's order, each with the
COCO-WholeBody keypoints it corresponds to: one where both have the same point, several where it is
their mean, none where COCO-WholeBody has no such point.

    from tagpose.skeletons.keypoint_layouts import LAYOUTS, convert_keypoints
    body_25 = convert_keypoints(keypoints, WHOLEBODY, LAYOUTS["openpose_body_25"])  # [P, 25, 3]

The orders are those of the projects' documentation: OpenPose (doc/02_output.md and
poseParametersRender.hpp), Halpe-FullBody (README), MediaPipe (pose and hand landmarker guides).
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.skeletons.skeleton import Skeleton

_SHOULDERS: Final = ("left_shoulder", "right_shoulder")
_HIPS: Final = ("left_hip", "right_hip")

_Pair: TypeAlias = tuple[str, str | tuple[str, ...]]  # a name, and its source or sources


class KeypointLayout(NamedTuple):
    """Keypoints of another project, and their counterparts in COCO-WholeBody."""

    name: str
    title: str  # for display
    keypoints: tuple[str, ...]  # [Q] names, in the order of that project
    sources: tuple[tuple[str, ...], ...]  # [Q] names of which it is the mean; may be empty

    @property
    def size(self) -> int:
        """Number of keypoints, Q."""
        return len(self.keypoints)

    def indices(self, skeleton: Skeleton = WHOLEBODY) -> tuple[tuple[int, ...], ...]:
        """Return the source keypoints [Q] of each keypoint as indices into a skeleton.

        A keypoint has no sources if the skeleton lacks one of them.
        """
        index = {name: k for k, name in enumerate(skeleton.keypoints)}
        return tuple(
            tuple(index[name] for name in names) if index.keys() >= set(names) else ()
            for names in self.sources
        )


def convert_keypoints(
    keypoints: np.ndarray, skeleton: Skeleton, layout: KeypointLayout
) -> np.ndarray:
    """Convert keypoints to the layout of another project.

    Args:
        keypoints: x, y, score [P, K, 3]; a score of 0 or less means missing.
        skeleton: skeleton of the K keypoints.
        layout: target layout with Q keypoints.

    Returns:
        x, y, score [P, Q, 3] in the same space. The score of a mean is the lowest score of its
        sources. Keypoints with a missing source are rows of 0.
    """
    sources = layout.indices(skeleton)
    converted = np.zeros((len(keypoints), layout.size, 3), keypoints.dtype)
    for count in {*map(len, sources)} - {0}:  # one operation for each number of sources
        targets = [q for q, indices in enumerate(sources) if len(indices) == count]
        points = keypoints[:, np.array([sources[q] for q in targets])]  # [P, targets, count, 3]
        lowest = points[..., 2].min(-1)
        means = np.concatenate([points[..., :2].mean(-2), lowest[..., None]], -1)
        converted[:, targets] = np.where(lowest[..., None] > 0, means, 0)
    return converted


def _make_layout(name: str, title: str, pairs: Iterable[_Pair]) -> KeypointLayout:
    """Make a layout from pairs of a name and its source or sources."""
    names, sources = zip(*pairs, strict=True)
    sources = tuple((source,) if isinstance(source, str) else source for source in sources)
    return KeypointLayout(name, title, tuple(names), sources)


def _left_right_pairs(pairs: Iterable[tuple[str, str]], form: str) -> list[_Pair]:
    """Return alternating pairs for left and right; `form` inserts the side into the name."""
    return [
        (form.format(side=side, s=side[0].upper(), name=name), f"{side}_{source}")
        for name, source in pairs
        for side in ("left", "right")
    ]


def _numbered_pairs(form: str, part: str) -> list[_Pair]:
    """Return pairs for a part with the same order of keypoints in both layouts."""
    return [(form.format(i), k) for i, k in enumerate(WHOLEBODY.keypoints[WHOLEBODY.parts[part]])]


def _openpose_joint_pairs(side: str, joints: tuple[str, ...]) -> list[_Pair]:
    """Return pairs for one arm or leg with the names of OpenPose."""
    return [(f"{side[0].upper()}{joint.title()}", f"{side}_{joint}") for joint in joints]


_ARM, _LEG = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")
_OPENPOSE_TRUNK: list[_Pair] = [
    ("Nose", "nose"),
    ("Neck", _SHOULDERS),
    *_openpose_joint_pairs("right", _ARM),
    *_openpose_joint_pairs("left", _ARM),
]
_OPENPOSE_LEGS: list[_Pair] = [
    *_openpose_joint_pairs("right", _LEG),
    *_openpose_joint_pairs("left", _LEG),
]
_OPENPOSE_HEAD: list[_Pair] = [
    (f"{side[0].upper()}{name.title()}", f"{side}_{name}")
    for name in ("eye", "ear")
    for side in ("right", "left")
]
_OPENPOSE_FEET: list[_Pair] = [
    (f"{side[0].upper()}{name}", f"{side}_{source}")
    for side in ("left", "right")
    for name, source in (("BigToe", "big_toe"), ("SmallToe", "small_toe"), ("Heel", "heel"))
]

# Names of hand joints for all layouts: those of MediaPipe in snake case.
_FINGERS = ("thumb", "index_finger", "middle_finger", "ring_finger", "pinky")
_THUMB_JOINTS, _JOINTS = ("cmc", "mcp", "ip", "tip"), ("mcp", "pip", "dip", "tip")
_HAND_NAMES = (
    "wrist",
    *(f"{f}_{joint}" for f in _FINGERS for joint in (_THUMB_JOINTS if f == "thumb" else _JOINTS)),
)

_HALPE_26: list[_Pair] = [
    *((name, name) for name in BODY.keypoints),
    ("head", ()),  # the top of the head
    ("neck", _SHOULDERS),
    ("hip", _HIPS),
    *_left_right_pairs(
        [("big_toe", "big_toe"), ("small_toe", "small_toe"), ("heel", "heel")], "{side}_{name}"
    ),
]

# Corners of eyes and mouth are face points of iBUG 300-W. BlazePose (Bazarevsky 2020) has the first
# knuckles of the index and little fingers, the second one of the thumb, and the tip of the foot.
_MEDIAPIPE_POSE: list[_Pair] = [
    ("nose", "nose"),
    ("left_eye_inner", "face-42"),
    ("left_eye", "left_eye"),
    ("left_eye_outer", "face-45"),
    ("right_eye_inner", "face-39"),
    ("right_eye", "right_eye"),
    ("right_eye_outer", "face-36"),
    *_left_right_pairs([("ear", "ear")], "{side}_{name}"),
    ("mouth_left", "face-54"),
    ("mouth_right", "face-48"),
    *_left_right_pairs([(joint, joint) for joint in _ARM], "{side}_{name}"),
    *_left_right_pairs(
        [("pinky", "pinky_finger1"), ("index", "forefinger1"), ("thumb", "thumb3")], "{side}_{name}"
    ),
    *_left_right_pairs([(joint, joint) for joint in _LEG], "{side}_{name}"),
    *_left_right_pairs([("heel", "heel"), ("foot_index", "big_toe")], "{side}_{name}"),
]


def _make_hand_layout(name: str, title: str, part: str) -> KeypointLayout:
    """Make the layout of a hand of 21 keypoints, whose order is the same in all projects."""
    return _make_layout(
        name, title, zip(_HAND_NAMES, WHOLEBODY.keypoints[WHOLEBODY.parts[part]], strict=True)
    )


OPENPOSE_BODY_25: Final = _make_layout(
    "openpose_body_25",
    "OpenPose BODY_25",
    [*_OPENPOSE_TRUNK, ("MidHip", _HIPS), *_OPENPOSE_LEGS, *_OPENPOSE_HEAD, *_OPENPOSE_FEET],
)
OPENPOSE_COCO_18: Final = _make_layout(
    "openpose_coco_18",
    "OpenPose COCO (18), ControlNet, DWPose",
    [*_OPENPOSE_TRUNK, *_OPENPOSE_LEGS, *_OPENPOSE_HEAD],
)
OPENPOSE_FACE: Final = _make_layout(
    "openpose_face",
    "OpenPose face (70)",
    [*_numbered_pairs("Face{}", "face"), ("RPupil", ()), ("LPupil", ())],
)
OPENPOSE_LEFT_HAND: Final = _make_hand_layout(
    "openpose_left_hand", "OpenPose left hand", "lefthand"
)
OPENPOSE_RIGHT_HAND: Final = _make_hand_layout(
    "openpose_right_hand", "OpenPose right hand", "righthand"
)
COCO_17: Final = _make_layout("coco_17", "COCO (17)", [(name, name) for name in BODY.keypoints])
HALPE_26: Final = _make_layout("halpe_26", "Halpe-26", _HALPE_26)
HALPE_136: Final = _make_layout(
    "halpe_136",
    "Halpe-136 (Halpe FullBody)",
    [
        *_HALPE_26,
        *_numbered_pairs("face-{}", "face"),
        *_numbered_pairs("left_hand-{}", "lefthand"),
        *_numbered_pairs("right_hand-{}", "righthand"),
    ],
)
MEDIAPIPE_POSE: Final = _make_layout("mediapipe_pose", "MediaPipe pose (33)", _MEDIAPIPE_POSE)
MEDIAPIPE_LEFT_HAND: Final = _make_hand_layout(
    "mediapipe_left_hand", "MediaPipe left hand", "lefthand"
)
MEDIAPIPE_RIGHT_HAND: Final = _make_hand_layout(
    "mediapipe_right_hand", "MediaPipe right hand", "righthand"
)

LAYOUTS: Final[Mapping[str, KeypointLayout]] = MappingProxyType(
    {
        layout.name: layout
        for layout in (
            OPENPOSE_BODY_25,
            OPENPOSE_COCO_18,
            OPENPOSE_FACE,
            OPENPOSE_LEFT_HAND,
            OPENPOSE_RIGHT_HAND,
            COCO_17,
            HALPE_26,
            HALPE_136,
            MEDIAPIPE_POSE,
            MEDIAPIPE_LEFT_HAND,
            MEDIAPIPE_RIGHT_HAND,
        )
    }
)
