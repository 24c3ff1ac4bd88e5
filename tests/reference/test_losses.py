"""Targets, losses and gradients equal those of MMPose."""

import numpy as np
import pytest
import torch

from tagpose.codec.encoder import HeatmapEncoder
from tagpose.losses import AssociativeEmbeddingLoss, heatmap_loss, tag_losses
from tagpose.structures import STRIDE, MultiResolutionMaps


def read_case(path, case):
    with np.load(path) as file:
        return {
            key.removeprefix(f"{case}/"): torch.from_numpy(file[key])
            for key in file.files
            if key.startswith(f"{case}/")
        }


def encode(keypoints, mask):
    """Encode keypoints in heatmap pixels."""
    keypoints = keypoints.clone()
    keypoints[..., :2] *= STRIDE
    return HeatmapEncoder()(keypoints, mask)


@pytest.mark.parametrize("case", ["square133", "wide17"])
def test_heatmaps_equal_the_reference(figure, case):
    figures = read_case(figure("targets.npz"), case)
    width, height = figures["size_wh"].tolist()
    targets = encode(figures["keypoints"][None], torch.ones(1, height, width))
    torch.testing.assert_close(targets.heatmaps[0], figures["heatmaps"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("case", ["square133", "wide17"])
def test_subpixel_heatmaps_equal_the_reference(figure, case):
    figures = read_case(figure("targets.npz"), case)
    width, height = figures["size_wh"].tolist()
    xy = figures["keypoints"][..., :2]  # heatmap pixels
    keypoints = torch.cat([(xy + 0.5) * STRIDE - 0.5, figures["keypoints"][..., 2:]], -1)
    encoder, mask = HeatmapEncoder(subpixel=True), torch.ones(1, height, width)
    heatmaps = encoder(keypoints[None], mask).heatmaps[0]
    # The window is around the truncated pixel in the reference, and around the nearest pixel here.
    # Results differ for keypoints less than one heatmap pixel outside of the map, and at distances
    # of 7 heatmap pixels or more, by exp(-49 / 8) = 0.0022.
    outside = ((xy < 0) | (xy >= figures["size_wh"] - 0.5)).any(-1)  # [P, K]
    comparable = ~(outside & (xy > -1).all(-1) & (xy < figures["size_wh"]).all(-1)).any(0)
    heatmaps, expected = heatmaps[comparable], figures["heatmaps_udp"][comparable]
    torch.testing.assert_close(heatmaps, expected, atol=0.0022, rtol=0)
    near = (heatmaps > 0.0022) & (expected > 0.0022)
    torch.testing.assert_close(heatmaps[near], expected[near], atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", ["square133", "wide17"])
def test_tag_pixels_and_visible_keypoints_equal_the_reference(figure, case):
    figures = read_case(figure("targets.npz"), case)
    width, height = figures["size_wh"].tolist()
    targets = encode(figures["keypoints"][None], torch.ones(1, height, width))
    for pixels, visible, expected in zip(
        targets.tag_pixels[0], targets.visible[0], figures["encoded"], strict=False
    ):
        assert pixels[visible].tolist() == expected[expected[:, 1] > 0, 0].tolist()


@pytest.fixture(params=["mixed", "wholebody"])
def figures(figure, request):
    return read_case(figure("losses.npz"), request.param)


def split_prediction(prediction):
    heatmaps, tags = prediction.chunk(2, dim=1)
    return MultiResolutionMaps((heatmaps,), tags[:, None])


def test_loss_terms_equal_the_reference(figures):
    targets = encode(figures["keypoints"], figures["mask"])
    resolutions = split_prediction(figures["prediction"])
    for ignore_empty_maps, name in ((False, "heatmap_loss"), (True, "heatmap_loss_skip_empty")):
        loss = heatmap_loss(resolutions.heatmaps[0], targets, ignore_empty_maps=ignore_empty_maps)
        torch.testing.assert_close(loss, figures[name], msg=name)
    for push_form, name in (("exp", "exp"), ("hinge", "max")):
        pull, push = tag_losses(resolutions.tags[:, 0], targets, push_form=push_form)
        torch.testing.assert_close(pull, figures[f"pull_{name}"])
        torch.testing.assert_close(push, figures[f"push_{name}"])


def test_total_loss_and_gradient_equal_the_reference(figures):
    prediction = figures["prediction"].requires_grad_()
    criterion = AssociativeEmbeddingLoss()  # the weights of MMPose
    targets = encode(figures["keypoints"], figures["mask"])
    total = criterion.total(criterion(split_prediction(prediction), [targets]))
    total.backward()
    torch.testing.assert_close(total.detach(), figures["total"])
    torch.testing.assert_close(prediction.grad, figures["grad"], atol=1e-9, rtol=1e-4)
