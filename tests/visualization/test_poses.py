from itertools import pairwise, product

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tagpose.skeletons.coco import BODY, SKELETONS, WHOLEBODY
from tagpose.skeletons.custom import make_custom_skeleton
from tagpose.structures import Poses
from tagpose.visualization.colors import identity_color
from tagpose.visualization.heatmaps import draw_heatmaps, draw_tags
from tagpose.visualization.image_grid import make_image_grid, make_image_row
from tagpose.visualization.learning_curves import Curve, draw_curves
from tagpose.visualization.poses import ScoreOpacity, draw_ground_truth_poses, draw_poses
from tagpose.visualization.skeleton_colors import PALETTES, keypoint_colors, part_color
from tagpose.visualization.skeleton_style import compute_line_widths, make_skeleton_style

FINGERS = [f"{finger}{joint}" for finger in "abcde" for joint in range(1, 5)]
HAND = make_custom_skeleton(
    "hand",
    ["root", *FINGERS],
    [0.03] * 21,
    bones=[(a if b[1] != "1" else "root", b) for a, b in pairwise(["root", *FINGERS])],
)
FISH = make_custom_skeleton("fish", "abcd", [0.05] * 4, bones=[("a", "b"), ("b", "c"), ("c", "d")])
POINTS = make_custom_skeleton("points", "abcde", [0.05] * 5)
PAWS = [f"{side}_{at}" for side in ("left", "right") for at in ("front", "hind")]
DOG = make_custom_skeleton(
    "dog",
    ["nose", "rump", *PAWS, "tail", "tip"],
    [0.05] * 8,
    flip_pairs=[PAWS[::2], PAWS[1::2]],
    bones=[("nose", "rump"), ("tail", "tip"), *(("nose", paw) for paw in PAWS)],
    parts={"trunk": 2, "paws": 4, "end": 2},
)
GLOVES = make_custom_skeleton(
    "gloves",
    [f"{side}_{at}{i}" for side in ("left", "right") for at in "ab" for i in range(3)],
    [0.05] * 12,
    parts={"la": 3, "lb": 3, "ra": 3, "rb": 3},
)
CUSTOM = {skeleton.name: skeleton for skeleton in (HAND, FISH, POINTS, DOG, GLOVES)}
CROSS = make_custom_skeleton("cross", "abcd", [0.05] * 4, bones=[("a", "b"), ("c", "d")])

coco_skeletons = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
all_skeletons = pytest.mark.parametrize(
    "skeleton", [*SKELETONS.values(), *CUSTOM.values()], ids=[*SKELETONS, *CUSTOM]
)


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def people_at(points, score=1.0):
    """Return people with keypoints at the points [P, K, 2], all with the same score."""
    scores = np.full((*np.shape(points)[:2], 1), score)
    keypoints = np.concatenate([points, scores], axis=-1).astype(np.float32)
    return Poses(keypoints, keypoints[..., 2].mean(axis=1))


def keypoint_grid(skeleton, step=60):
    """Return one person's points [1, K, 2] on a grid, and the size of a square image around it."""
    columns = int(np.ceil(np.sqrt(skeleton.size)))
    grid = [(step * (x + 1), step * (y + 1)) for y, x in product(range(columns), repeat=2)]
    return np.array([grid[: skeleton.size]]), (columns + 1) * step


@coco_skeletons
def test_every_keypoint_of_a_coco_part_has_a_color_of_its_palette(skeleton):
    for part, at in skeleton.disjoint_parts.items():
        assert set(keypoint_colors(skeleton)[at]) <= set(PALETTES[part])
        assert part_color(skeleton, part) == PALETTES[part][0]


def test_a_coco_part_is_identified_by_its_keypoints_not_by_its_name():
    names = (*BODY.keypoints, "ball")
    parts = {"player": BODY.size, "face": 1}  # this face has no contours
    skeleton = make_custom_skeleton("game", names, [0.05] * len(names), parts=parts)
    assert keypoint_colors(skeleton)[:-1] == keypoint_colors(BODY)
    assert part_color(skeleton, "player") != part_color(skeleton, "face")


@all_skeletons
def test_parts_differ_in_color(skeleton):
    assert len({part_color(skeleton, part) for part in skeleton.disjoint_parts}) == len(
        skeleton.disjoint_parts
    )


def test_each_finger_of_a_custom_hand_has_one_color():
    root, *joints = keypoint_colors(HAND)
    fingers = [joints[i : i + 4] for i in range(0, 20, 4)]
    assert all(len(set(finger)) == 1 for finger in fingers)
    assert len({root, *joints}) == 6
    assert make_skeleton_style(HAND).line_colors.tolist() == [list(color) for color in joints]


@pytest.mark.parametrize("skeleton", [FISH, POINTS], ids=["fish", "points"])
def test_keypoints_without_sides_and_branches_all_differ_in_color(skeleton):
    assert len(set(keypoint_colors(skeleton))) == skeleton.size


@all_skeletons
def test_left_is_cool_and_right_is_warm(skeleton):
    for name, (red, _, blue) in zip(skeleton.keypoints, keypoint_colors(skeleton), strict=True):
        assert not name.startswith("right") or red == 255 or red > blue, name
        assert not name.startswith("left") or red < 200, name


def test_a_small_part_has_thinner_lines():
    style, visible = make_skeleton_style(HAND), np.ones(HAND.size, bool)
    points = np.random.default_rng(0).random((HAND.size, 2))
    large, small = (compute_line_widths(style, size * points, visible, 2.0) for size in (100, 10))
    assert (large == 2 * style.line_weights).all()
    assert (small < large).all()


def test_every_keypoint_of_the_face_lies_on_a_line():
    face = WHOLEBODY.parts["face"]
    assert set(range(face.start, face.stop)) <= set(
        make_skeleton_style(WHOLEBODY).lines.ravel().tolist()
    )


@all_skeletons
def test_a_keypoint_and_its_left_right_counterpart_differ_in_color(skeleton):
    colors = make_skeleton_style(skeleton).colors
    face = skeleton.parts.get("face", slice(0, 0))
    for k, other in enumerate(skeleton.flip_indices):
        if other != k and not face.start <= k < face.stop:
            assert tuple(colors[k]) != tuple(colors[other]), skeleton.keypoints[k]


@all_skeletons
def test_the_color_of_a_keypoint_is_at_its_pixel(skeleton):
    points, size = keypoint_grid(skeleton)
    picture = draw_poses(noise(size, size), people_at(points), skeleton)
    columns, rows = points[0].T
    assert np.array_equal(picture[rows, columns], make_skeleton_style(skeleton).colors)


def test_a_dot_is_centered_at_its_pixel():
    points = np.full((1, BODY.size, 2), 20.0)
    picture = draw_poses(np.zeros((41, 41, 3), np.uint8), people_at(points), BODY).astype(int)
    for flipped in (picture[::-1], picture[:, ::-1], picture.swapaxes(0, 1)):
        assert np.abs(flipped - picture).max() <= 8  # gray levels, due to OpenCV's antialiasing


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20).map(sorted))
def test_opacity_increases_with_the_score_between_its_limits(scores):
    opacities = ScoreOpacity()(np.array(scores))
    assert (np.diff(opacities) >= 0).all()
    assert ((opacities > 0) & (opacities <= 1)).all()
    assert ScoreOpacity()(np.array([0.05, 0.1, 0.61, 1.0])).tolist() == [0.15, 0.15, 1.0, 1.0]


@pytest.mark.parametrize("invalid", [{"low_score": 0.7}, {"min_opacity": -0.1}])
def test_invalid_opacity_limits_are_an_error(invalid):
    with pytest.raises(ValueError, match="low_score"):
        ScoreOpacity(**invalid)


def draw_crossing_lines(scores, background):
    """Draw the two lines of the cross skeleton, which intersect at (50, 50)."""
    points = [(10, 50), (90, 50), (50, 10), (50, 90)]
    keypoints = np.c_[points, scores].astype(np.float32)[None]
    image = np.full((100, 100, 3), background, np.uint8)
    return draw_poses(image, Poses(keypoints, np.ones(1, np.float32)), CROSS).astype(int)


def test_a_line_has_the_lower_opacity_of_its_ends():
    one_weak, both_weak = (
        draw_crossing_lines((0.3, score, 0, 0), 0)[50, 50] for score in (1.0, 0.3)
    )
    assert np.array_equal(one_weak, both_weak)
    opaque = draw_crossing_lines((1, 1, 0, 0), 0)[50, 50]
    assert np.abs(one_weak - opaque * ScoreOpacity()(np.array(0.3))).max() <= 1


@pytest.mark.parametrize("background", [0, 255])
def test_only_the_line_with_the_higher_score_is_visible_at_an_intersection(background):
    for horizontal, vertical in ((0.3, 0.3), (0.4, 0.3), (0.2, 0.9)):
        picture = draw_crossing_lines((horizontal, horizontal, vertical, vertical), background)
        expected = picture[50, 30] if horizontal > vertical else picture[30, 50]
        assert np.array_equal(picture[50, 50], expected)


@all_skeletons
def test_people_are_visible_on_white_and_on_black(skeleton):
    points, size = keypoint_grid(skeleton, 10)
    for background in (255, 0):
        image = np.full((size, size, 3), background, np.uint8)
        picture = draw_poses(image, people_at(points), skeleton)
        visible = np.abs(picture.astype(int) - background).max(axis=-1) > 60
        for x, y in points[0]:
            assert visible[y - 3 : y + 4, x - 3 : x + 4].any()


def draw_squares(corners, **options):
    """Draw people with four keypoints at the corners of squares of 40 pixels in 200 x 200."""
    square = 40 * np.array([(0, 0), (1, 0), (0, 1), (1, 1)])
    people = people_at(np.array(corners)[:, None] + square)
    people = people._replace(scores=np.linspace(0.5, 1, len(corners)))
    return draw_poses(np.zeros((200, 200, 3), np.uint8), people, CROSS, **options)


def count_pixels(picture, identity):
    """Count the pixels with the exact color of an identity."""
    return int((picture == identity_color(identity)).all(axis=-1).sum())


@pytest.mark.parametrize("corner", [(0, 0), (-35, -35), (160, 0), (195, 195), (0, 195)])
def test_a_label_stays_inside_the_picture(corner):
    expected = count_pixels(draw_squares([(80, 80)], labels=["seven"], identities=[7]), 7)
    assert expected > 100
    assert count_pixels(draw_squares([corner], labels=["seven"], identities=[7]), 7) == expected


def test_people_outside_the_picture_have_no_label():
    assert not draw_squares([(500, 500)], labels=["seven"]).any()


def test_labels_do_not_overlap():
    separate = [
        count_pixels(draw_squares([(80, 80)], labels=[f"{i}"], identities=[i]), i) for i in range(4)
    ]
    picture = draw_squares(4 * [(80, 80)], labels=list("0123"), identities=range(4))
    assert [count_pixels(picture, i) for i in range(4)] == separate


def test_a_box_surrounds_its_person_in_the_color_of_the_identity():
    picture = draw_squares([(80, 80)], boxes=True, identities=[5])
    rows, columns = np.nonzero((picture == identity_color(5)).all(axis=-1))
    for positions in (rows, columns):
        assert 70 < positions.min() < 80
        assert 120 < positions.max() < 130


def test_a_person_without_identity_is_gray():
    assert count_pixels(draw_squares([(80, 80)], labels=["?"], identities=[None]), None) > 50


def test_nearby_identities_differ_in_color():
    colors = np.array([identity_color(i) for i in range(1000)])
    for difference in range(1, 5):
        assert np.abs(colors[difference:] - colors[:-difference]).max(axis=1).min() > 40


@pytest.mark.parametrize("options", [{"labels": ["one"]}, {"identities": [1, 2, 3]}])
def test_a_wrong_number_of_labels_or_identities_is_an_error(options):
    with pytest.raises(ValueError, match="2 people"):
        draw_squares([(0, 0), (9, 9)], **options)


def test_without_people_the_picture_is_the_image():
    image, people = noise(30, 40), people_at(np.zeros((0, BODY.size, 2)))
    assert np.array_equal(draw_poses(image, people, BODY), image)


@all_skeletons
@pytest.mark.parametrize("score", [0.05, 0.0, np.nan])
def test_keypoints_and_people_below_the_minimum_scores_are_not_drawn(skeleton, score):
    points, size = keypoint_grid(skeleton, 10)
    image = noise(size, size)
    assert np.array_equal(draw_poses(image, people_at(points, score), skeleton), image)
    people = people_at(points)
    assert np.array_equal(draw_poses(image, people, skeleton, min_person_score=1.1), image)


def test_a_bone_is_drawn_if_both_ends_are_present():
    image = np.zeros((200, 200, 3), np.uint8)
    points = np.full((1, BODY.size, 2), 20.0)
    hip, knee = BODY.keypoints.index("left_hip"), BODY.keypoints.index("left_knee")
    points[0, hip], points[0, knee] = (100, 40), (100, 160)
    people = people_at(points)
    assert draw_poses(image, people, BODY)[100, 100].any()
    people.keypoints[0, knee, 2] = 0
    assert not draw_poses(image, people, BODY)[100, 100].any()


@all_skeletons
def test_the_image_is_not_modified(skeleton):
    points, size = keypoint_grid(skeleton, 10)
    image = noise(size, size)
    before, people = image.copy(), people_at(points)
    keypoint_maps = np.ones((skeleton.size, 4, 4), np.float32)
    pictures = [
        draw_poses(image, people, skeleton),
        draw_ground_truth_poses(image, people.keypoints, skeleton),
        draw_heatmaps(image, keypoint_maps, skeleton),
        draw_tags(image, keypoint_maps, keypoint_maps),
    ]
    assert np.array_equal(image, before)
    assert all(not np.array_equal(picture, before) for picture in pictures)
    assert all(picture.shape == image.shape and picture.dtype == np.uint8 for picture in pictures)


@settings(max_examples=30)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    corner=st.tuples(*[st.floats(-1e9, 1e9, width=32) | st.floats(-50, 100)] * 2),
    size=st.sampled_from([0, 5, 300, 1e6, np.inf]),
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_people_of_any_size_and_position_can_be_drawn(height, width, corner, size):
    shape = np.random.default_rng(1).random((1, WHOLEBODY.size, 2))
    people = people_at(np.array(corner) + size * shape)
    image = noise(height, width)
    for options in ({}, {"labels": ["label"], "boxes": True}):
        assert draw_poses(image, people, WHOLEBODY, **options).shape == (height, width, 3)


def test_pixels_far_from_a_person_are_not_changed():
    image = noise(100, 300)
    points = np.random.default_rng(1).random((1, WHOLEBODY.size, 2)) * 60 + 10
    picture = draw_poses(image, people_at(points), WHOLEBODY)
    assert np.array_equal(picture[:, 90:], image[:, 90:])
    assert not np.array_equal(picture[:, :90], image[:, :90])


def test_ground_truth_with_v_1_and_2_is_drawn_alike():
    points, size = keypoint_grid(BODY)
    image, visibility = noise(size, size), np.arange(BODY.size)[None, :, None] % 3
    ground_truth = np.concatenate([points, visibility], axis=-1)
    scored = np.concatenate([points, visibility > 0], axis=-1).astype(np.float32)
    expected = draw_poses(image, Poses(scored, np.ones(1, np.float32)), BODY)
    assert np.array_equal(draw_ground_truth_poses(image, ground_truth, BODY), expected)


def test_a_peak_is_drawn_in_the_color_of_its_part_at_its_heatmap_pixel():
    for part, at in WHOLEBODY.disjoint_parts.items():
        heatmaps = np.zeros((WHOLEBODY.size, 8, 8), np.float32)
        heatmaps[at.start, 2:5, 4:7] = 1
        picture = draw_heatmaps(np.zeros((32, 32, 3), np.uint8), heatmaps, WHOLEBODY)
        assert tuple(picture[14, 22].tolist()) == PALETTES[part][0]
        assert not picture[:4].any()


def test_equal_tags_have_the_same_color_and_different_tags_do_not():
    heatmaps, tags = np.zeros((2, BODY.size, 8, 8), np.float32)
    heatmaps[0, 1, 1] = heatmaps[1, 1, 6] = heatmaps[2, 6, 1] = 1
    tags[0], tags[1], tags[2] = 3.0, 3.0, -1.0
    picture = draw_tags(np.zeros((8, 8, 3), np.uint8), tags, heatmaps)
    assert np.array_equal(picture[1, 1], picture[1, 6])
    assert not np.array_equal(picture[1, 1], picture[6, 1])
    assert not picture[3:5].any()
    finer = np.zeros((BODY.size, 16, 16), np.float32)
    finer[:, 1::2, ::2] = heatmaps  # in one of the four pixels that are pooled
    assert np.array_equal(draw_tags(np.zeros((8, 8, 3), np.uint8), tags, finer), picture)


def test_rows_and_grids_contain_every_picture_unchanged():
    small, large = noise(20, 50), noise(60, 90)
    row = make_image_row([small, large], ["a title far too long for its picture", ""])
    assert np.array_equal(row[-60:, -90:], large)
    assert np.array_equal(row[-40:-20, :50], small)
    grid = make_image_grid([row, small])
    assert np.array_equal(grid[: row.shape[0]], row)
    assert np.array_equal(grid[-20:, :50], small)
    with pytest.raises(ValueError, match="zip"):
        make_image_row([small, large], ["one"])


@pytest.mark.filterwarnings("error")
def test_curves_are_written_and_no_figure_stays_in_memory(tmp_path):
    curves = [Curve("a", [0, 1, 2], [1.0, float("nan"), 0.0]), Curve("b", [], [])]
    path = tmp_path / "made" / "curves.png"
    for losses, scores in ((curves, curves), ([], [])):
        draw_curves(losses, scores, title="run", path=path)
        with Image.open(path) as picture:
            assert picture.size == (1440, 540)
    assert not matplotlib._pylab_helpers.Gcf.figs
