"""Affines and sizes equal those of the established implementation."""

import json

import numpy as np
import pytest

from tagpose.geometry import compute_multiscale_dimensions, crop_affine, resize_affine, scale_affine
from tagpose.structures import STRIDE


@pytest.fixture
def figures(figure):
    return json.loads(figure("geometry.json").read_text())


def test_the_whole_image_is_shown_as_in_the_reference_at_every_scale(figures):
    for case in figures["test_time_resize"]:
        width, height = case["image_wh"]
        scales = (case["scale"], case["min_scale"])
        size, _ = compute_multiscale_dimensions(width, height, case["input_size"], scales)
        assert list(size) == case["resized_wh"]
        np.testing.assert_allclose(
            resize_affine(width, height, size), case["image_to_input"], atol=1e-3
        )


def test_a_training_view_has_the_affine_in_the_reference(figures):
    for case in figures["random_affine"]:
        width, height = case["image_wh"]
        short = min if case["scale_type"] == "short" else max
        dx, dy = case["shift_px"]
        affine = crop_affine(
            (width / 2 + dx, height / 2 + dy),
            short(width, height) * case["zoom_out"],
            case["rotation_deg"],
            (512, 512),
        )
        np.testing.assert_allclose(affine, case["image_to_input_512"], atol=1e-3)
        to_heatmap = scale_affine(affine, 1 / STRIDE)
        np.testing.assert_allclose(to_heatmap, case["image_to_heatmap_128"], atol=1e-3)
