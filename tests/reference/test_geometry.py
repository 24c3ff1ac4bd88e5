"""Affines and input sizes equal those of MMPose."""

import json

import numpy as np
import pytest

from tagpose.data.input_size import compute_multiscale_dimensions
from tagpose.geometry import crop_affine, resize_affine, scale_affine
from tagpose.structures import STRIDE


@pytest.fixture
def figures(figure):
    return json.loads(figure("geometry.json").read_text())


def test_resize_affine_equals_the_reference_at_all_scales(figures):
    for case in figures["test_time_resize"]:
        width, height = case["image_wh"]
        scales = (case["scale"], case["min_scale"])
        size, _ = compute_multiscale_dimensions(width, height, case["input_size"], scales)
        assert list(size) == case["resized_wh"]
        np.testing.assert_allclose(
            resize_affine(width, height, size), case["image_to_input"], atol=1e-3
        )


def test_crop_affine_equals_the_reference(figures):
    for case in figures["random_affine"]:
        width, height = case["image_wh"]
        select_side = min if case["scale_type"] == "short" else max
        dx, dy = case["shift_px"]
        affine = crop_affine(
            (width / 2 + dx, height / 2 + dy),
            select_side(width, height) * case["zoom_out"],
            case["rotation_deg"],
            (512, 512),
        )
        np.testing.assert_allclose(affine, case["image_to_input_512"], atol=1e-3)
        to_heatmap = scale_affine(affine, 1 / STRIDE)
        np.testing.assert_allclose(to_heatmap, case["image_to_heatmap_128"], atol=1e-3)
