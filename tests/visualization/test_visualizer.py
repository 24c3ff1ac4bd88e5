"""Options of PoseVisualizer: what each one changes in the picture, and what it does not."""

import numpy as np
import pytest

from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.structures import Poses
from tagpose.visualization.colors import identity_color
from tagpose.visualization.face_blurring import blur_faces
from tagpose.visualization.visualizer import PoseVisualizer


def noise(height=300, width=400):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def standing_people(*centers, score=0.9, skeleton=WHOLEBODY):
    """Return people with a head of 40 pixels at (x, 60) and a body below it."""
    keypoints = np.zeros((len(centers), skeleton.size, 3), np.float32)
    random = np.random.default_rng(1)
    for person, x in zip(keypoints, centers, strict=True):
        person[:, :2] = random.uniform((x - 30, 120), (x + 30, 250), (skeleton.size, 2))
        person[:5, :2] = [(x, 65), (x + 10, 55), (x - 10, 55), (x + 20, 60), (x - 20, 60)]
        if "face" in skeleton.parts:
            face = random.uniform((x - 20, 45), (x + 20, 85), (68, 2))
            person[skeleton.parts["face"], :2] = face
    keypoints[..., 2] = score
    return Poses(keypoints, np.full(len(centers), score, np.float32))


def colors(picture):
    return {tuple(color) for color in picture.reshape(-1, 3).tolist()}


def test_identity_colors_are_used_by_person_and_not_by_part():
    black = np.zeros((300, 400, 3), np.uint8)
    people = standing_people(100, 300)
    by_person = PoseVisualizer(color_by="person")(black, people, WHOLEBODY)
    by_part = PoseVisualizer()(black, people, WHOLEBODY)
    for number, columns in enumerate((slice(0, 200), slice(200, 400))):
        assert identity_color(number) in colors(by_person[:, columns])
        assert identity_color(1 - number) not in colors(by_person[:, columns])
        assert identity_color(number) not in colors(by_part[:, columns])


def test_the_color_of_a_track_is_independent_of_the_order_of_people():
    black = np.zeros((300, 400, 3), np.uint8)
    visualizer = PoseVisualizer(color_by="person")
    first = visualizer(black, standing_people(100, 300), WHOLEBODY, tracks=(7, 8))
    swapped = visualizer(black, standing_people(300, 100), WHOLEBODY, tracks=(8, 7))
    for picture in (first, swapped):
        assert identity_color(7) in colors(picture[:, :200])
        assert identity_color(8) in colors(picture[:, 200:])


def test_a_black_background_hides_the_image():
    people = standing_people(100)
    visualizer = PoseVisualizer(background="black", blur_faces=True)
    assert np.array_equal(
        visualizer(noise(), people, WHOLEBODY), visualizer(255 - noise(), people, WHOLEBODY)
    )
    assert not visualizer(noise(), standing_people(), WHOLEBODY).any()


def test_boxes_and_ids_are_drawn_for_tracks_or_on_request():
    people = standing_people(100, 300)
    plain = PoseVisualizer(boxes=False, ids=False)(noise(), people, WHOLEBODY)
    assert np.array_equal(PoseVisualizer()(noise(), people, WHOLEBODY), plain)
    assert not np.array_equal(PoseVisualizer()(noise(), people, WHOLEBODY, tracks=(0, 1)), plain)
    boxes = PoseVisualizer(boxes=True)(noise(), people, WHOLEBODY)
    both = PoseVisualizer(boxes=True, ids=True)(noise(), people, WHOLEBODY)
    assert (boxes != plain).any(-1).sum() > 300
    assert (both != boxes).any(-1).sum() > 100
    tracked = PoseVisualizer()(noise(), people, WHOLEBODY, tracks=(0, 1))
    assert np.array_equal(both, tracked)


def test_wider_lines_cover_more_pixels():
    counts = []
    for width in (0.5, 1.0, 3.0):
        picture = PoseVisualizer(line_width=width)(noise(), standing_people(100), WHOLEBODY)
        counts.append((picture != noise()).any(-1).sum())
    assert counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize("skeleton", [WHOLEBODY, BODY], ids=["face", "head"])
def test_only_faces_are_blurred(skeleton):
    image = noise()
    blurred = blur_faces(image, standing_people(100, skeleton=skeleton), skeleton)
    head = blurred[45:80, 85:116].astype(int)
    assert head.std() < 0.3 * image.std()
    assert np.array_equal(blurred[150:], image[150:])
    assert np.array_equal(blurred[:, 200:], image[:, 200:])
    assert np.array_equal(image, noise())


def test_an_outlier_does_not_extend_the_blurred_region():
    people = standing_people(100)
    people.keypoints[0, WHOLEBODY.parts["face"].start, :2] = 390, 290
    blurred = blur_faces(noise(), people, WHOLEBODY)
    assert np.array_equal(blurred[:, 200:], noise()[:, 200:])


def test_faces_of_people_who_are_not_drawn_are_blurred_too():
    drawn, all_people = standing_people(), standing_people(100, score=0.15)
    picture = PoseVisualizer(blur_faces=True)(noise(), drawn, WHOLEBODY, all_people=all_people)
    assert np.array_equal(picture, blur_faces(noise(), all_people, WHOLEBODY))
    assert not np.array_equal(picture, noise())


@pytest.mark.parametrize("x", [-60, 0, 399, 500])
def test_faces_at_and_beyond_the_edge_can_be_blurred(x):
    assert blur_faces(noise(), standing_people(x), WHOLEBODY).shape == noise().shape


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        ({"color_by": "side"}, "unknown color_by 'side'; use part or person"),
        ({"background": "white"}, "unknown background 'white'; use image or black"),
        ({"line_width": 0}, "line_width is 0; use a number above 0"),
    ],
)
def test_an_invalid_option_is_an_error(invalid, message):
    with pytest.raises(ValueError, match=message):
        PoseVisualizer(**invalid)
