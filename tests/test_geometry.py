"""Affines: inverses, flips and compositions cancel or agree, and match the warped image."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagpose.data.input_size import compute_input_dimensions
from tagpose.geometry import (
    compose_affines,
    crop_affine,
    flip_affine,
    invert_affine,
    letterbox_affine,
    resize_affine,
    transform_points,
)

pixels = st.integers(1, 4000)
angles = st.floats(-180, 180)
shapes = st.integers(2, 40).map(lambda n: 32 * n)


@given(width=pixels, height=pixels, input_size=st.sampled_from([64, 256, 512, 640]))
def test_an_affine_and_its_inverse_cancel(width, height, input_size):
    affine = resize_affine(width, height, compute_input_dimensions(width, height, input_size))
    corners = np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]])
    restored = transform_points(invert_affine(affine), transform_points(affine, corners))
    assert restored == pytest.approx(corners, abs=1e-6)


@given(width=pixels, height=pixels, input_size=st.sampled_from([64, 256, 500, 512]))
def test_input_dimensions_are_multiples_of_64_and_contain_the_whole_image(
    width, height, input_size
):
    size = compute_input_dimensions(width, height, input_size)
    assert all(length % 64 == 0 for length in size)
    assert input_size <= min(size) < input_size + 64
    affine = resize_affine(width, height, size)
    corners = transform_points(affine, np.array([[0, 0], [width, height]]))
    tolerance = 0.5 * min(size) / min(width, height) + 1e-6  # the center is rounded to a pixel
    assert (corners[0] >= -tolerance).all()
    assert (corners[1] <= np.array(size) + tolerance).all()


@given(width=pixels, height=pixels, size=st.tuples(shapes, shapes))
def test_a_letterbox_of_any_shape_contains_the_whole_image_and_fills_one_side(width, height, size):
    affine = letterbox_affine(width, height, size)
    corners = transform_points(affine, np.array([[0, 0], [width, height]]))
    tolerance = affine[0, 0] / 2 + 1e-6  # the center is rounded to a pixel
    assert (corners[0] >= -tolerance).all()
    assert (corners[1] <= np.array(size) + tolerance).all()
    assert np.abs(corners[1] - corners[0] - size).min() < 1e-6


@given(width=pixels, height=pixels, input_size=st.sampled_from([64, 256, 500, 512]))
def test_a_letterbox_of_the_default_shape_is_the_default_affine(width, height, input_size):
    size = compute_input_dimensions(width, height, input_size)
    affine = letterbox_affine(width, height, size)
    assert (affine == resize_affine(width, height, size)).all()


@given(angle=angles, crop_size=st.floats(10, 1000), width=st.sampled_from([64, 128]))
def test_two_flips_cancel(angle, crop_size, width):
    affine = crop_affine((30, 40), crop_size, angle, (width, width))
    assert flip_affine(flip_affine(affine, width), width) == pytest.approx(affine, abs=1e-9)


@given(angle=angles, crop_size=st.floats(10, 1000))
def test_a_composed_affine_equals_both_affines_in_sequence(angle, crop_size):
    inner = crop_affine((3, 4), crop_size, angle, (64, 64))
    outer = crop_affine((9, 7), 50, 2 * angle, (32, 32))
    points = np.array([[0.0, 0.0], [10.0, -3.0]])
    expected = transform_points(outer, transform_points(inner, points))
    composed = compose_affines(outer, inner)
    assert transform_points(composed, points) == pytest.approx(expected)


@pytest.mark.parametrize("angle", [0, 20, -75])
@pytest.mark.parametrize("flipped", [False, True])
def test_transformed_points_match_the_warped_image(angle, flipped):
    image = np.zeros((80, 100), np.uint8)
    image[31, 57] = 255
    affine = crop_affine((50, 40), 90, angle, (256, 256))
    affine = flip_affine(affine, 256) if flipped else affine
    warped = cv2.warpAffine(image, affine, (256, 256)).astype(float)
    rows, columns = np.indices(warped.shape)
    center = [(warped * columns).sum() / warped.sum(), (warped * rows).sum() / warped.sum()]
    assert transform_points(affine, np.array([57.0, 31.0])) == pytest.approx(center, abs=0.05)
