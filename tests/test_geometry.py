"""A dot follows its pixel through every affine, and comes back."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagpose.geometry import (
    compose_affines,
    compute_input_dimensions,
    crop_affine,
    flip_affine,
    invert_affine,
    resize_affine,
    transform_points,
)

pixels = st.integers(1, 4000)
angles = st.floats(-180, 180)


@given(width=pixels, height=pixels, input_size=st.sampled_from([64, 256, 512, 640]))
def test_what_goes_into_the_input_comes_back(width, height, input_size):
    affine = resize_affine(width, height, compute_input_dimensions(width, height, input_size))
    corners = np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]])
    assert transform_points(
        invert_affine(affine), transform_points(affine, corners)
    ) == pytest.approx(corners, abs=1e-6)


@given(width=pixels, height=pixels, input_size=st.sampled_from([64, 256, 500, 512]))
def test_the_input_is_of_whole_multiples_and_shows_the_whole_image(width, height, input_size):
    size = compute_input_dimensions(width, height, input_size)
    assert all(length % 64 == 0 for length in size)
    assert input_size <= min(size) < input_size + 64
    corners = transform_points(
        resize_affine(width, height, size), np.array([[0, 0], [width, height]])
    )
    slack = 0.5 * min(size) / min(width, height) + 1e-6  # the centre is rounded to a pixel
    assert (corners[0] >= -slack).all()
    assert (corners[1] <= np.array(size) + slack).all()


@given(angle=angles, input_size=st.floats(10, 1000), width=st.sampled_from([64, 128]))
def test_two_flips_cancel(angle, input_size, width):
    affine = crop_affine((30, 40), input_size, angle, (width, width))
    assert flip_affine(flip_affine(affine, width), width) == pytest.approx(affine, abs=1e-9)


@given(angle=angles, input_size=st.floats(10, 1000))
def test_composition_is_one_after_the_other(angle, input_size):
    inner, outer = (
        crop_affine((3, 4), input_size, angle, (64, 64)),
        crop_affine((9, 7), 50, 2 * angle, (32, 32)),
    )
    points = np.array([[0.0, 0.0], [10.0, -3.0]])
    assert transform_points(compose_affines(outer, inner), points) == pytest.approx(
        transform_points(outer, transform_points(inner, points))
    )


@pytest.mark.parametrize("angle", [0, 20, -75])
@pytest.mark.parametrize("flipped", [False, True])
def test_a_dot_lands_where_its_affine_says(angle, flipped):
    image = np.zeros((80, 100), np.uint8)
    image[31, 57] = 255
    affine = crop_affine((50, 40), 90, angle, (256, 256))
    affine = flip_affine(affine, 256) if flipped else affine
    shown = cv2.warpAffine(image, affine, (256, 256)).astype(float)
    rows, columns = np.indices(shown.shape)
    centre = [(shown * columns).sum() / shown.sum(), (shown * rows).sum() / shown.sum()]
    assert transform_points(affine, np.array([57.0, 31.0])) == pytest.approx(centre, abs=0.05)
