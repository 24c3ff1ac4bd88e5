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
from tagpose.visualization.colors import ScoreOpacity, identity_color
from tagpose.visualization.curves import Curve, draw_curves
from tagpose.visualization.heatmaps import draw_heatmaps, draw_tags
from tagpose.visualization.image_grid import make_image_grid, make_image_row
from tagpose.visualization.palette import PALETTES, keypoint_colors, part_color
from tagpose.visualization.poses import draw_ground_truth, draw_poses
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
OWN = {skeleton.name: skeleton for skeleton in (HAND, FISH, POINTS, DOG, GLOVES)}
CROSS = make_custom_skeleton("cross", "abcd", [0.05] * 4, bones=[("a", "b"), ("c", "d")])

official = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
skeletons = pytest.mark.parametrize(
    "skeleton", [*SKELETONS.values(), *OWN.values()], ids=[*SKELETONS, *OWN]
)


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def people_at(points, score=1.0):
    """Poses [P, K] whose points [P, K, 2] all have one score."""
    scores = np.full((*np.shape(points)[:2], 1), score)
    keypoints = np.concatenate([points, scores], axis=-1).astype(np.float32)
    return Poses(keypoints, keypoints[..., 2].mean(axis=1))


def spread(skeleton, step=60):
    """One person whose keypoints lie on a grid, far from each other."""
    side = int(np.ceil(np.sqrt(skeleton.size)))
    grid = [(step * (x + 1), step * (y + 1)) for y, x in product(range(side), repeat=2)]
    return np.array([grid[: skeleton.size]]), (side + 1) * step


@official
def test_every_keypoint_of_an_official_part_has_a_colour_of_its_palette(skeleton):
    for part, at in skeleton.disjoint_parts.items():
        assert set(keypoint_colors(skeleton)[at]) <= set(PALETTES[part])
        assert part_color(skeleton, part) == PALETTES[part][0]


def test_an_official_part_is_known_by_its_keypoints_whatever_its_name():
    ball = (*BODY.keypoints, "ball")
    parts = {"player": BODY.size, "face": 1}  # that face has no lines
    player = make_custom_skeleton("game", ball, [0.05] * len(ball), parts=parts)
    assert keypoint_colors(player)[:-1] == keypoint_colors(BODY)
    assert part_color(player, "player") != part_color(player, "face")


@skeletons
def test_parts_differ_in_color(skeleton):
    assert len({part_color(skeleton, part) for part in skeleton.disjoint_parts}) == len(
        skeleton.disjoint_parts
    )


def test_a_hand_is_coloured_finger_by_finger():
    root, *joints = keypoint_colors(HAND)
    fingers = [joints[i : i + 4] for i in range(0, 20, 4)]
    assert all(len(set(finger)) == 1 for finger in fingers)
    assert len({root, *joints}) == 6
    assert make_skeleton_style(HAND).line_colors.tolist() == [list(color) for color in joints]


@pytest.mark.parametrize("skeleton", [FISH, POINTS], ids=["fish", "points"])
def test_keypoints_of_no_side_and_no_branch_all_differ(skeleton):
    assert len(set(keypoint_colors(skeleton))) == skeleton.size


@skeletons
def test_left_is_cool_and_right_is_warm(skeleton):
    for name, (red, _, blue) in zip(skeleton.keypoints, keypoint_colors(skeleton), strict=True):
        assert not name.startswith("right") or red == 255 or red > blue, name
        assert not name.startswith("left") or red < 200, name


def test_a_part_that_is_seen_small_has_finer_lines():
    style, shown = make_skeleton_style(HAND), np.ones(HAND.size, bool)
    points = np.random.default_rng(0).random((HAND.size, 2))
    large, small = (compute_line_widths(style, size * points, shown, 2.0) for size in (100, 10))
    assert (large == 2 * style.line_weights).all()
    assert (small < large).all()


def test_every_keypoint_of_the_face_lies_on_a_line():
    face = WHOLEBODY.parts["face"]
    assert set(range(face.start, face.stop)) <= set(
        make_skeleton_style(WHOLEBODY).lines.ravel().tolist()
    )


@skeletons
def test_a_part_and_its_mirror_image_differ_in_color(skeleton):
    colors = make_skeleton_style(skeleton).colors
    face = skeleton.parts.get("face", slice(0, 0))
    for k, other in enumerate(skeleton.flip_indices):
        if other != k and not face.start <= k < face.stop:
            assert tuple(colors[k]) != tuple(colors[other]), skeleton.keypoints[k]


@skeletons
def test_the_colour_of_a_keypoint_is_at_its_pixel(skeleton):
    points, side = spread(skeleton)
    picture = draw_poses(noise(side, side), people_at(points), skeleton)
    columns, rows = points[0].T
    assert np.array_equal(picture[rows, columns], make_skeleton_style(skeleton).colors)


def test_a_dot_lies_evenly_around_its_pixel():
    points = np.full((1, BODY.size, 2), 20.0)
    changed = draw_poses(np.zeros((41, 41, 3), np.uint8), people_at(points), BODY).astype(int)
    for turned in (changed[::-1], changed[:, ::-1], changed.swapaxes(0, 1)):
        assert np.abs(turned - changed).max() <= 8  # grey levels: OpenCV's antialiasing


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20).map(sorted))
def test_the_surer_the_more_opaque_up_to_the_sure_and_never_unseen(scores):
    opacities = ScoreOpacity()(np.array(scores))
    assert (np.diff(opacities) >= 0).all()
    assert ((opacities > 0) & (opacities <= 1)).all()
    assert ScoreOpacity()(np.array([0.05, 0.1, 0.61, 1.0])).tolist() == [0.15, 0.15, 1.0, 1.0]


@pytest.mark.parametrize("wrong", [{"low_score": 0.7}, {"min_opacity": -0.1}])
def test_an_opacity_that_falls_or_is_no_share_is_refused(wrong):
    with pytest.raises(ValueError, match="low_score"):
        ScoreOpacity(**wrong)


def crossing(scores, ground):
    """A picture of two lines of that skeleton that cross at (50, 50)."""
    points = [(10, 50), (90, 50), (50, 10), (50, 90)]
    keypoints = np.c_[points, scores].astype(np.float32)[None]
    image = np.full((100, 100, 3), ground, np.uint8)
    return draw_poses(image, Poses(keypoints, np.ones(1, np.float32)), CROSS).astype(int)


def test_a_line_is_as_opaque_as_its_less_sure_end():
    one, both = (crossing((0.3, end, 0, 0), 0)[50, 50] for end in (1.0, 0.3))
    assert np.array_equal(one, both)
    sure = crossing((1, 1, 0, 0), 0)[50, 50]
    assert np.abs(one - sure * ScoreOpacity()(np.array(0.3))).max() <= 1


@pytest.mark.parametrize("ground", [0, 255])
def test_where_faint_lines_cross_nothing_shows_but_the_surer_one(ground):
    for across, down in ((0.3, 0.3), (0.4, 0.3), (0.2, 0.9)):
        picture = crossing((across, across, down, down), ground)
        surer = picture[50, 30] if across > down else picture[30, 50]
        assert np.array_equal(picture[50, 50], surer)


@skeletons
def test_people_are_seen_on_white_and_on_black(skeleton):
    points, side = spread(skeleton, 10)
    for ground in (255, 0):
        picture = draw_poses(
            np.full((side, side, 3), ground, np.uint8), people_at(points), skeleton
        )
        seen = np.abs(picture.astype(int) - ground).max(axis=-1) > 60
        columns, rows = points[0].T
        near = [
            seen[y - 3 : y + 4, x - 3 : x + 4].any() for x, y in zip(columns, rows, strict=True)
        ]
        assert all(near)


def labelled(corners, **told):
    """A picture of people whose keypoints are 40 pixels apart, at their corners in 200 x 200."""
    square = 40 * np.array([(0, 0), (1, 0), (0, 1), (1, 1)])
    people = people_at(np.array(corners)[:, None] + square)
    people = people._replace(scores=np.linspace(0.5, 1, len(corners)))
    return draw_poses(np.zeros((200, 200, 3), np.uint8), people, CROSS, **told)


def painted(picture, identity):
    """How many pixels have the very color of an identity."""
    return int((picture == identity_color(identity)).all(axis=-1).sum())


@pytest.mark.parametrize("corner", [(0, 0), (-35, -35), (160, 0), (195, 195), (0, 195)])
def test_a_label_stays_inside_the_picture(corner):
    inside = painted(labelled([(80, 80)], labels=["seven"], identities=[7]), 7)
    assert inside > 100
    assert painted(labelled([corner], labels=["seven"], identities=[7]), 7) == inside


def test_people_outside_the_picture_have_no_label():
    assert not labelled([(500, 500)], labels=["seven"]).any()


def test_labels_do_not_hide_each_other():
    alone = [painted(labelled([(80, 80)], labels=[f"{i}"], identities=[i]), i) for i in range(4)]
    picture = labelled(4 * [(80, 80)], labels=list("0123"), identities=range(4))
    assert [painted(picture, i) for i in range(4)] == alone


def test_a_box_surrounds_its_person_in_the_colour_of_the_identity():
    picture = labelled([(80, 80)], boxes=True, identities=[5])
    rows, columns = np.nonzero((picture == identity_color(5)).all(axis=-1))
    for at in (rows, columns):
        assert 70 < at.min() < 80
        assert 120 < at.max() < 130


def test_whoever_has_no_identity_is_grey():
    assert painted(labelled([(80, 80)], labels=["?"], identities=[None]), None) > 50


def test_neighbours_in_number_differ_in_color():
    colors = np.array([identity_color(i) for i in range(1000)])
    for apart in range(1, 5):
        assert np.abs(colors[apart:] - colors[:-apart]).max(axis=1).min() > 40


@pytest.mark.parametrize("told", [{"labels": ["one"]}, {"identities": [1, 2, 3]}])
def test_labels_and_identities_are_as_many_as_people(told):
    with pytest.raises(ValueError, match="2 people"):
        labelled([(0, 0), (9, 9)], **told)


def test_nobody_leaves_the_image_as_it_was():
    image, people = noise(30, 40), people_at(np.zeros((0, BODY.size, 2)))
    assert np.array_equal(draw_poses(image, people, BODY), image)


@skeletons
@pytest.mark.parametrize("score", [0.05, 0.0, np.nan])
def test_nothing_unsure_is_drawn(skeleton, score):
    points, side = spread(skeleton, 10)
    image = noise(side, side)
    assert np.array_equal(draw_poses(image, people_at(points, score), skeleton), image)
    sure = people_at(points)
    assert np.array_equal(draw_poses(image, sure, skeleton, min_person_score=1.1), image)


def test_a_bone_needs_both_ends():
    image = np.zeros((200, 200, 3), np.uint8)
    points = np.full((1, BODY.size, 2), 20.0)
    hip, knee = BODY.keypoints.index("left_hip"), BODY.keypoints.index("left_knee")
    points[0, hip], points[0, knee] = (100, 40), (100, 160)
    people = people_at(points)
    assert draw_poses(image, people, BODY)[100, 100].any()
    people.keypoints[0, knee, 2] = 0
    assert not draw_poses(image, people, BODY)[100, 100].any()


@skeletons
def test_the_image_is_not_written_to(skeleton):
    points, side = spread(skeleton, 10)
    image = noise(side, side)
    before, people = image.copy(), people_at(points)
    keypoint_maps = np.ones((skeleton.size, 4, 4), np.float32)
    drawn = [
        draw_poses(image, people, skeleton),
        draw_ground_truth(image, people.keypoints, skeleton),
        draw_heatmaps(image, keypoint_maps, skeleton),
        draw_tags(image, keypoint_maps, keypoint_maps),
    ]
    assert np.array_equal(image, before)
    assert all(not np.array_equal(picture, before) for picture in drawn)
    assert all(picture.shape == image.shape and picture.dtype == np.uint8 for picture in drawn)


@settings(max_examples=30)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    corner=st.tuples(*[st.floats(-1e9, 1e9, width=32) | st.floats(-50, 100)] * 2),
    size=st.sampled_from([0, 5, 300, 1e6, np.inf]),
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_people_of_any_size_anywhere_can_be_drawn(height, width, corner, size):
    shape = np.random.default_rng(1).random((1, WHOLEBODY.size, 2))
    people = people_at(np.array(corner) + size * shape)
    image = noise(height, width)
    for told in ({}, {"labels": ["somebody"], "boxes": True}):
        assert draw_poses(image, people, WHOLEBODY, **told).shape == (height, width, 3)


def test_what_lies_far_from_a_person_stays():
    image = noise(100, 300)
    points = np.random.default_rng(1).random((1, WHOLEBODY.size, 2)) * 60 + 10
    picture = draw_poses(image, people_at(points), WHOLEBODY)
    assert np.array_equal(picture[:, 90:], image[:, 90:])
    assert not np.array_equal(picture[:, :90], image[:, :90])


def test_ground_truth_shows_what_is_labelled_whatever_its_degree():
    points, side = spread(BODY)
    image, degrees = noise(side, side), np.arange(BODY.size)[None, :, None] % 3
    ground_truth = np.concatenate([points, degrees], axis=-1)
    found = np.concatenate([points, degrees > 0], axis=-1).astype(np.float32)
    expected = draw_poses(image, Poses(found, np.ones(1, np.float32)), BODY)
    assert np.array_equal(draw_ground_truth(image, ground_truth, BODY), expected)


def test_a_peak_glows_in_the_colour_of_its_part_in_its_cell():
    for part, at in WHOLEBODY.disjoint_parts.items():
        heatmaps = np.zeros((WHOLEBODY.size, 8, 8), np.float32)
        heatmaps[at.start, 2:5, 4:7] = 1
        picture = draw_heatmaps(np.zeros((32, 32, 3), np.uint8), heatmaps, WHOLEBODY)
        assert tuple(picture[14, 22].tolist()) == PALETTES[part][0]
        assert not picture[:4].any()


def test_tags_of_one_person_look_alike_and_of_two_do_not():
    heatmaps, tags = np.zeros((2, BODY.size, 8, 8), np.float32)
    heatmaps[0, 1, 1] = heatmaps[1, 1, 6] = heatmaps[2, 6, 1] = 1
    tags[0], tags[1], tags[2] = 3.0, 3.0, -1.0
    picture = draw_tags(np.zeros((8, 8, 3), np.uint8), tags, heatmaps)
    assert np.array_equal(picture[1, 1], picture[1, 6])
    assert not np.array_equal(picture[1, 1], picture[6, 1])
    assert not picture[3:5].any()
    finer = np.zeros((BODY.size, 16, 16), np.float32)
    finer[:, 1::2, ::2] = heatmaps  # one of the four in each cell
    assert np.array_equal(draw_tags(np.zeros((8, 8, 3), np.uint8), tags, finer), picture)


def test_side_by_side_and_a_sheet_keep_every_picture_whole():
    small, large = noise(20, 50), noise(60, 90)
    row = make_image_row([small, large], ["a title far too long for its picture", ""])
    assert np.array_equal(row[-60:, -90:], large)
    assert np.array_equal(row[-40:-20, :50], small)
    sheet = make_image_grid([row, small])
    assert np.array_equal(sheet[: row.shape[0]], row)
    assert np.array_equal(sheet[-20:, :50], small)
    with pytest.raises(ValueError, match="zip"):
        make_image_row([small, large], ["one"])


@pytest.mark.filterwarnings("error")
def test_curves_are_written_and_leave_no_figure_behind(tmp_path):
    curves = [Curve("a", [0, 1, 2], [1.0, float("nan"), 0.0]), Curve("b", [], [])]
    path = tmp_path / "made" / "curves.png"
    for losses, scores in ((curves, curves), ([], [])):
        draw_curves(losses, scores, title="run", path=path)
        with Image.open(path) as picture:
            assert picture.size == (1440, 540)
    assert not matplotlib._pylab_helpers.Gcf.figs
