"""Targets, losses and their gradient equal those of the established implementation."""

import numpy as np
import pytest
import torch

from tagpose.codec.encoder import HeatmapEncoder
from tagpose.losses import AssociativeEmbeddingLoss, heatmap_loss, tag_losses
from tagpose.structures import STRIDE, MultiResolutionMaps


def _case(path, case):
    with np.load(path) as figures:
        return {
            key.removeprefix(f"{case}/"): torch.from_numpy(figures[key])
            for key in figures.files
            if key.startswith(f"{case}/")
        }


def _encode(keypoints, mask):
    """Encode keypoints that the figures give in heatmap pixels."""
    keypoints = keypoints.clone()
    keypoints[..., :2] *= STRIDE
    return HeatmapEncoder()(keypoints, mask)


@pytest.mark.parametrize("case", ["square133", "wide17"])
def test_heatmaps_are_drawn_as_the_reference_draws_them(figure, case):
    given = _case(figure("targets.npz"), case)
    width, height = given["size_wh"].tolist()
    targets = _encode(given["keypoints"][None], torch.ones(1, height, width))
    torch.testing.assert_close(targets.heatmaps[0], given["heatmaps"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("case", ["square133", "wide17"])
def test_heatmaps_between_cells_are_drawn_as_the_reference_draws_them(figure, case):
    given = _case(figure("targets.npz"), case)
    width, height = given["size_wh"].tolist()
    cells = given["keypoints"][..., :2]
    keypoints = torch.cat([(cells + 0.5) * STRIDE - 0.5, given["keypoints"][..., 2:]], -1)
    drawn = HeatmapEncoder(subpixel=True)(keypoints[None], torch.ones(1, height, width)).heatmaps[0]
    # The reference takes the heatmap pixels below, and ours the nearest: they differ in a keypoint that is
    # outside by less than a cell, and where 7 heatmap pixels or more are between, exp(-49 / 8) = 0.0022.
    outside = ((cells < 0) | (cells >= given["size_wh"] - 0.5)).any(-1)  # [P, K]
    alike = ~(outside & (cells > -1).all(-1) & (cells < given["size_wh"]).all(-1)).any(0)
    ours, theirs = drawn[alike], given["heatmaps_udp"][alike]
    torch.testing.assert_close(ours, theirs, atol=0.0022, rtol=0)
    sure = (ours > 0.0022) & (theirs > 0.0022)
    torch.testing.assert_close(ours[sure], theirs[sure], atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", ["square133", "wide17"])
def test_cells_and_visible_keypoints_are_those_of_the_reference(figure, case):
    given = _case(figure("targets.npz"), case)
    width, height = given["size_wh"].tolist()
    targets = _encode(given["keypoints"][None], torch.ones(1, height, width))
    for places, visible, expected in zip(
        targets.tag_pixels[0], targets.visible[0], given["encoded"], strict=False
    ):
        assert places[visible].tolist() == expected[expected[:, 1] > 0, 0].tolist()


@pytest.fixture(params=["mixed", "wholebody"])
def given(figure, request):
    return _case(figure("losses.npz"), request.param)


def _pyramid(prediction):
    heatmaps, tags = prediction.chunk(2, dim=1)
    return MultiResolutionMaps((heatmaps,), tags[:, None])


def test_each_term_is_that_of_the_reference(given):
    targets = _encode(given["keypoints"], given["mask"])
    resolutions = _pyramid(given["prediction"])
    for ignore_empty_maps, name in ((False, "heatmap_loss"), (True, "heatmap_loss_skip_empty")):
        found = heatmap_loss(resolutions.heatmaps[0], targets, ignore_empty_maps=ignore_empty_maps)
        torch.testing.assert_close(found, given[name], msg=name)
    for push_form, name in (("exp", "exp"), ("hinge", "max")):
        pull, push = tag_losses(resolutions.tags[:, 0], targets, push_form=push_form)
        torch.testing.assert_close(pull, given[f"pull_{name}"])
        torch.testing.assert_close(push, given[f"push_{name}"])


def test_total_and_gradient_are_those_of_the_reference(given):
    prediction = given["prediction"].requires_grad_()
    criterion = AssociativeEmbeddingLoss()  # the published weights
    targets = _encode(given["keypoints"], given["mask"])
    found = criterion(_pyramid(prediction), [targets])
    total = criterion.total(found)
    total.backward()
    torch.testing.assert_close(total.detach(), given["total"])
    torch.testing.assert_close(prediction.grad, given["grad"], atol=1e-9, rtol=1e-4)
