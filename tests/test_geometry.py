"""A dot follows its pixel through every frame, and comes back."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagpose.geometry import (
    apply,
    compose,
    input_size,
    invert,
    mirror_frame,
    view_frame,
    whole_frame,
)

pixels = st.integers(1, 4000)
angles = st.floats(-180, 180)


@given(width=pixels, height=pixels, side=st.sampled_from([64, 256, 512, 640]))
def test_what_goes_into_the_input_comes_back(width, height, side):
    frame = whole_frame(width, height, input_size(width, height, side))
    corners = np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]])
    assert apply(invert(frame), apply(frame, corners)) == pytest.approx(corners, abs=1e-6)


@given(width=pixels, height=pixels, side=st.sampled_from([64, 256, 500, 512]))
def test_the_input_is_of_whole_multiples_and_shows_the_whole_image(width, height, side):
    size = input_size(width, height, side)
    assert all(length % 64 == 0 for length in size)
    assert side <= min(size) < side + 64
    corners = apply(whole_frame(width, height, size), np.array([[0, 0], [width, height]]))
    slack = 0.5 * min(size) / min(width, height) + 1e-6  # the centre is rounded to a pixel
    assert (corners[0] >= -slack).all()
    assert (corners[1] <= np.array(size) + slack).all()


@given(angle=angles, side=st.floats(10, 1000), width=st.sampled_from([64, 128]))
def test_two_mirrors_are_none(angle, side, width):
    frame = view_frame((30, 40), side, angle, (width, width))
    assert mirror_frame(mirror_frame(frame, width), width) == pytest.approx(frame, abs=1e-9)


@given(angle=angles, side=st.floats(10, 1000))
def test_composition_is_one_after_the_other(angle, side):
    inner, outer = (
        view_frame((3, 4), side, angle, (64, 64)),
        view_frame((9, 7), 50, 2 * angle, (32, 32)),
    )
    points = np.array([[0.0, 0.0], [10.0, -3.0]])
    assert apply(compose(outer, inner), points) == pytest.approx(apply(outer, apply(inner, points)))


@pytest.mark.parametrize("angle", [0, 20, -75])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_dot_lands_where_its_frame_says(angle, mirrored):
    image = np.zeros((80, 100), np.uint8)
    image[31, 57] = 255
    frame = view_frame((50, 40), 90, angle, (256, 256))
    frame = mirror_frame(frame, 256) if mirrored else frame
    shown = cv2.warpAffine(image, frame, (256, 256)).astype(float)
    rows, columns = np.indices(shown.shape)
    centre = [(shown * columns).sum() / shown.sum(), (shown * rows).sum() / shown.sum()]
    assert apply(frame, np.array([57.0, 31.0])) == pytest.approx(centre, abs=0.05)
