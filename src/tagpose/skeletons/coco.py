"""Skeletons of COCO (`BODY`, 17 keypoints) and COCO-WholeBody (`WHOLEBODY`, 133 keypoints)."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from tagpose.skeletons.skeleton import Skeleton, assemble_skeleton, consecutive_slices

# Contours of the 68 points of a face (iBUG 300-W), from the person's right to left.
FACE_CONTOURS: Final = MappingProxyType(
    consecutive_slices(
        {
            "jaw": 17,
            "right_brow": 5,
            "left_brow": 5,
            "bridge": 4,
            "nostrils": 5,
            "right_eye": 6,
            "left_eye": 6,
            "outer_lip": 12,
            "inner_lip": 8,
        }
    )
)

_SIDES = ("left", "right")
_PAIRED = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_BODY = ("nose", *(f"{side}_{at}" for at in _PAIRED for side in _SIDES))
_FOOT = tuple(f"{side}_{at}" for side in _SIDES for at in ("big_toe", "small_toe", "heel"))
_FACE = tuple(f"face-{i}" for i in range(FACE_CONTOURS["inner_lip"].stop))
_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
_HAND = ("hand_root", *(f"{finger}{joint}" for finger in _FINGERS for joint in range(1, 5)))

# Face contours, their left/right counterparts and the lengths of their segments. A flip reverses
# the order of the points in a segment. The bridge of the nose has no counterpart.
_FACE_SEGMENTS = (
    ("jaw", "jaw", (17,)),
    ("right_brow", "left_brow", (5,)),
    ("nostrils", "nostrils", (5,)),
    ("right_eye", "left_eye", (4, 2)),
    ("outer_lip", "outer_lip", (7, 5)),
    ("inner_lip", "inner_lip", (5, 3)),
)


def _face_flip_partners() -> dict[str, str]:
    """Return the left/right counterpart of each face keypoint."""
    pairs = {name: name for name in _FACE}
    for contour, counterpart, lengths in _FACE_SEGMENTS:
        start = 0
        for length in lengths:
            segment, flipped = (
                _FACE[FACE_CONTOURS[name]][start : start + length]
                for name in (contour, counterpart)
            )
            for point, partner in zip(segment, reversed(flipped), strict=True):
                pairs[point], pairs[partner] = partner, point
            start += length
    return pairs


# Sigmas: COCO keypoint evaluation for the body; COCO-WholeBody (Jin 2020) for the other parts.
# fmt: off
_BODY_SIGMAS = (
    .026, .025, .025, .035, .035, .079, .079, .072, .072, .062, .062, .107, .107, .087,
    .087, .089, .089,
)
_FOOT_SIGMAS = (.068, .066, .066, .092, .094, .094)
_FACE_SIGMAS = (
    .042, .043, .044, .043, .04, .035, .031, .025, .02, .023, .029, .032, .037, .038, .043,
    .041, .045, .013, .012, .011, .011, .012, .012, .011, .011, .013, .015, .009, .007,
    .007, .007, .012, .009, .008, .016, .01, .017, .011, .009, .011, .009, .007, .013, .008,
    .011, .012, .01, .034, .008, .008, .009, .008, .008, .007, .01, .008, .009, .009, .009,
    .007, .007, .008, .011, .008, .008, .008, .01, .008,
)
_HAND_SIGMAS = (
    .029, .022, .035, .037, .047, .026, .025, .024, .035, .018, .024, .022, .026, .017,
    .021, .021, .032, .02, .019, .022, .031,
)
# fmt: on

_BODY_BONES = (
    ("left_ankle", "left_knee"),
    ("left_knee", "left_hip"),
    ("right_ankle", "right_knee"),
    ("right_knee", "right_hip"),
    ("left_hip", "right_hip"),
    ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"),
    ("left_shoulder", "right_shoulder"),
    ("left_shoulder", "left_elbow"),
    ("right_shoulder", "right_elbow"),
    ("left_elbow", "left_wrist"),
    ("right_elbow", "right_wrist"),
    ("left_eye", "right_eye"),
    ("nose", "left_eye"),
    ("nose", "right_eye"),
    ("left_eye", "left_ear"),
    ("right_eye", "right_ear"),
    ("left_ear", "left_shoulder"),
    ("right_ear", "right_shoulder"),
)
_FOOT_BONES = tuple((f"{name.split('_')[0]}_ankle", name) for name in _FOOT)
_HAND_BONES = tuple(
    (f"{side}_{finger}{joint - 1}" if joint > 1 else f"{side}_hand_root", f"{side}_{finger}{joint}")
    for side in _SIDES
    for finger in _FINGERS
    for joint in range(1, 5)
)


def _swap_side(name: str) -> str:
    """Return the name of the keypoint on the other side of the body."""
    if name.startswith("left"):
        return "right" + name.removeprefix("left")
    if name.startswith("right"):
        return "left" + name.removeprefix("right")
    return name


def _make_official_skeleton(
    name: str,
    parts: Mapping[str, tuple[str, ...]],
    sigmas: tuple[float, ...],
    bones: tuple[tuple[str, str], ...],
    order: Sequence[str],
) -> Skeleton:
    """Assemble a skeleton of COCO or COCO-WholeBody."""
    keypoints, faces = sum(parts.values(), ()), _face_flip_partners()
    sizes = {part: len(names) for part, names in parts.items()}
    return assemble_skeleton(
        name,
        sizes,
        keypoints,
        sigmas,
        flip_partners={
            keypoint: faces.get(keypoint, _swap_side(keypoint)) for keypoint in keypoints
        },
        bones=bones,
        order=order,
        json_keys={
            "keypoints" if part == "body" else f"{part}_kpts": at
            for part, at in consecutive_slices(sizes).items()
        },
    )


_LEFT_HAND, _RIGHT_HAND = (tuple(f"{side}_{at}" for at in _HAND) for side in _SIDES)
_WHOLEBODY_PARTS = {
    "body": _BODY,
    "foot": _FOOT,
    "face": _FACE,
    "lefthand": _LEFT_HAND,
    "righthand": _RIGHT_HAND,
}
BODY: Final = _make_official_skeleton(
    "body",
    {"body": _BODY},
    _BODY_SIGMAS,
    _BODY_BONES,
    # Newell's order: people start from the head, which is rarely occluded, and arms and legs follow
    # shoulders and hips.
    [_BODY[k] for k in (*range(7), 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)],
)
WHOLEBODY: Final = _make_official_skeleton(
    "wholebody",
    _WHOLEBODY_PARTS,
    _BODY_SIGMAS + _FOOT_SIGMAS + _FACE_SIGMAS + 2 * _HAND_SIGMAS,
    _BODY_BONES + _FOOT_BONES + _HAND_BONES,
    sum(_WHOLEBODY_PARTS.values(), ()),
)


def coco_grouping_order(skeleton: Skeleton) -> tuple[int, ...]:
    """Return the keypoints [K] of a body in BODY's grouping order, then all others."""
    index = {name: k for k, name in enumerate(skeleton.keypoints)}
    first = [index[name] for k in BODY.grouping_order if (name := BODY.keypoints[k]) in index]
    return (*first, *(k for k in skeleton.grouping_order if k not in first))


SKELETONS: Final = MappingProxyType({skeleton.name: skeleton for skeleton in (BODY, WHOLEBODY)})
