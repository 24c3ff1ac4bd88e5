from itertools import product

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tagpose.drawing.curves import Curve, draw_curves
from tagpose.drawing.fields import draw_heatmaps, draw_tags
from tagpose.drawing.palette import PALETTES, look_of
from tagpose.drawing.people import draw_people, draw_truth
from tagpose.drawing.sheets import contact_sheet, side_by_side
from tagpose.skeleton import BODY, SKELETONS, WHOLEBODY
from tagpose.structures import People

skeletons = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def people_at(points, score=1.0):
    """People [P, K] whose points [P, K, 2] all have one score."""
    scores = np.full((*np.shape(points)[:2], 1), score)
    keypoints = np.concatenate([points, scores], axis=-1).astype(np.float32)
    return People(keypoints, keypoints[..., 2].mean(axis=1))


def spread(skeleton, step=60):
    """One person whose keypoints lie on a grid, far from each other."""
    side = int(np.ceil(np.sqrt(skeleton.size)))
    grid = [(step * (x + 1), step * (y + 1)) for y, x in product(range(side), repeat=2)]
    return np.array([grid[: skeleton.size]]), (side + 1) * step


@skeletons
def test_every_keypoint_has_a_colour_of_its_part(skeleton):
    colours = look_of(skeleton).colours
    for part, at in skeleton.limbs.items():
        assert {tuple(colour) for colour in colours[at].tolist()} <= set(PALETTES[part])


def test_every_keypoint_of_the_face_lies_on_a_line():
    face = WHOLEBODY.parts["face"]
    assert set(range(face.start, face.stop)) <= set(look_of(WHOLEBODY).lines.ravel().tolist())


@skeletons
def test_a_limb_and_its_mirror_image_differ_in_colour(skeleton):
    colours = look_of(skeleton).colours
    face = skeleton.parts.get("face", slice(0, 0))
    for k, other in enumerate(skeleton.mirror):
        if other != k and not face.start <= k < face.stop:
            assert tuple(colours[k]) != tuple(colours[other]), skeleton.keypoints[k]


@skeletons
def test_the_colour_of_a_keypoint_is_at_its_pixel(skeleton):
    points, side = spread(skeleton)
    picture = draw_people(noise(side, side), people_at(points), skeleton)
    columns, rows = points[0].T
    assert np.array_equal(picture[rows, columns], look_of(skeleton).colours)


def test_a_dot_lies_evenly_around_its_pixel():
    points = np.full((1, BODY.size, 2), 20.0)
    changed = draw_people(np.zeros((41, 41, 3), np.uint8), people_at(points), BODY).astype(int)
    for turned in (changed[::-1], changed[:, ::-1], changed.swapaxes(0, 1)):
        assert np.abs(turned - changed).max() <= 8  # grey levels: OpenCV's antialiasing


def test_nobody_leaves_the_image_as_it_was():
    image, people = noise(30, 40), people_at(np.zeros((0, BODY.size, 2)))
    assert np.array_equal(draw_people(image, people, BODY), image)


@skeletons
@pytest.mark.parametrize("score", [0.05, 0.0, np.nan])
def test_nothing_unsure_is_drawn(skeleton, score):
    points, side = spread(skeleton, 10)
    image = noise(side, side)
    assert np.array_equal(draw_people(image, people_at(points, score), skeleton), image)
    sure = people_at(points)
    assert np.array_equal(draw_people(image, sure, skeleton, min_person_score=1.1), image)


def test_a_bone_needs_both_ends():
    image = np.zeros((200, 200, 3), np.uint8)
    points = np.full((1, BODY.size, 2), 20.0)
    hip, knee = BODY.keypoints.index("left_hip"), BODY.keypoints.index("left_knee")
    points[0, hip], points[0, knee] = (100, 40), (100, 160)
    people = people_at(points)
    assert draw_people(image, people, BODY)[100, 100].any()
    people.keypoints[0, knee, 2] = 0
    assert not draw_people(image, people, BODY)[100, 100].any()


@skeletons
def test_the_image_is_not_written_to(skeleton):
    points, side = spread(skeleton, 10)
    image = noise(side, side)
    before, people = image.copy(), people_at(points)
    fields = np.ones((skeleton.size, 4, 4), np.float32)
    drawn = [
        draw_people(image, people, skeleton),
        draw_truth(image, people.keypoints, skeleton),
        draw_heatmaps(image, fields, skeleton),
        draw_tags(image, fields, fields),
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
    assert draw_people(noise(height, width), people, WHOLEBODY).shape == (height, width, 3)


def test_what_lies_far_from_a_person_stays():
    image = noise(100, 300)
    points = np.random.default_rng(1).random((1, WHOLEBODY.size, 2)) * 60 + 10
    picture = draw_people(image, people_at(points), WHOLEBODY)
    assert np.array_equal(picture[:, 90:], image[:, 90:])
    assert not np.array_equal(picture[:, :90], image[:, :90])


def test_truth_shows_what_is_labelled_whatever_its_degree():
    points, side = spread(BODY)
    image, degrees = noise(side, side), np.arange(BODY.size)[None, :, None] % 3
    truth = np.concatenate([points, degrees], axis=-1)
    found = np.concatenate([points, degrees > 0], axis=-1).astype(np.float32)
    expected = draw_people(image, People(found, np.ones(1, np.float32)), BODY)
    assert np.array_equal(draw_truth(image, truth, BODY), expected)


def test_a_peak_glows_in_the_colour_of_its_part_in_its_cell():
    for part, at in WHOLEBODY.limbs.items():
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


def test_side_by_side_and_a_sheet_keep_every_picture_whole():
    small, large = noise(20, 50), noise(60, 90)
    row = side_by_side([small, large], ["a title far too long for its picture", ""])
    assert np.array_equal(row[-60:, -90:], large)
    assert np.array_equal(row[-40:-20, :50], small)
    sheet = contact_sheet([row, small])
    assert np.array_equal(sheet[: row.shape[0]], row)
    assert np.array_equal(sheet[-20:, :50], small)
    with pytest.raises(ValueError, match="zip"):
        side_by_side([small, large], ["one"])


@pytest.mark.filterwarnings("error")
def test_curves_are_written_and_leave_no_figure_behind(tmp_path):
    curves = [Curve("a", [0, 1, 2], [1.0, float("nan"), 0.0]), Curve("b", [], [])]
    path = tmp_path / "made" / "curves.png"
    for losses, scores in ((curves, curves), ([], [])):
        draw_curves(losses, scores, title="run", path=path)
        with Image.open(path) as picture:
            assert picture.size == (1440, 540)
    assert not matplotlib._pylab_helpers.Gcf.figs
