"""Losses: correct predictions cost nothing, and unlabeled or masked regions have no gradient."""

import pytest
import torch

from tagpose.codec.encoder import HeatmapEncoder, _on_device
from tagpose.losses import AssociativeEmbeddingLoss, heatmap_loss, offset_loss, tag_losses
from tagpose.structures import STRIDE, MultiResolutionMaps

MAP_SIZE = 24


def make_people(*pixels):
    """Return keypoints [1, P, 3, 3] in input pixels, all of a person at one heatmap pixel."""
    keypoints = torch.zeros(1, len(pixels), 3, 3)
    for person, (x, y) in enumerate(pixels):
        keypoints[0, person] = torch.tensor([(x + 0.5) * STRIDE, (y + 0.5) * STRIDE, 2.0])
    return keypoints


def encode(keypoints, mask=None):
    return HeatmapEncoder()(keypoints, torch.ones(1, MAP_SIZE, MAP_SIZE) if mask is None else mask)


def test_a_perfect_prediction_has_zero_loss():
    targets = encode(make_people((5, 7), (15, 9)))
    tags = torch.zeros(1, 3, MAP_SIZE, MAP_SIZE)
    tags[..., :10], tags[..., 10:] = -20, 20
    losses = AssociativeEmbeddingLoss()(
        MultiResolutionMaps((targets.heatmaps,), tags[:, None]), [targets]
    )
    assert all(term.item() == pytest.approx(0, abs=1e-6) for term in losses)


def test_only_masked_pixels_have_no_gradient():
    mask = torch.ones(1, MAP_SIZE, MAP_SIZE)
    mask[:, :10, :10] = 0
    prediction = torch.zeros(1, 3, MAP_SIZE, MAP_SIZE, requires_grad=True)
    heatmap_loss(prediction, encode(make_people((5, 5), (15, 15)), mask)).sum().backward()
    assert not prediction.grad[..., :10, :10].any()
    assert prediction.grad[..., 15, 15].all()


def test_empty_heatmaps_are_ignored_by_default():
    keypoints = make_people((5, 5))
    keypoints[0, 0, 2] = 0
    prediction = torch.ones(1, 3, MAP_SIZE, MAP_SIZE, requires_grad=True)
    targets = encode(keypoints)
    heatmap_loss(prediction, targets).sum().backward()
    assert not prediction.grad[0, 2].any()
    assert heatmap_loss(prediction, targets, ignore_empty_maps=False) > heatmap_loss(
        prediction, targets
    )


@pytest.mark.parametrize("push_form", ["exp", "hinge"])
def test_tags_of_a_person_are_pulled_and_those_of_two_people_pushed(push_form):
    targets = encode(make_people((5, 5), (15, 15)))
    tags = torch.zeros(1, 3, MAP_SIZE, MAP_SIZE)
    pull, push = tag_losses(tags, targets, push_form=push_form)
    assert pull.item() == 0
    assert push.item() == pytest.approx(0.5)
    tags[0, 1, 5, 5] = 1
    assert tag_losses(tags, targets, push_form=push_form)[0].item() > 0


def test_the_offset_loss_is_the_l1_error_relative_to_the_size_of_the_person():
    keypoints = make_people((4, 6), (20, 9))
    keypoints[0, 0, 1, :2] += torch.tensor([STRIDE * 10, STRIDE * 4])  # center 9, 8; extent 10
    keypoints[0, 0, 2, 2] = 0
    targets = encode(keypoints)
    perfect = torch.zeros(1, 2, MAP_SIZE, MAP_SIZE)
    perfect[0, :, 6, 4] = torch.tensor([5.0, 2.0])
    perfect[0, :, 10, 14] = torch.tensor([-5.0, -2.0])
    assert offset_loss(perfect, targets).item() == 0
    # errors |dx| + |dy| of 5 + 2 at both keypoints of the first person, 0 at those of the second
    zeros = torch.zeros(1, 2, MAP_SIZE, MAP_SIZE)
    assert offset_loss(zeros, targets).item() == pytest.approx((7 + 7) / 2 / 10 / 2)
    # the second person, at one pixel, has the minimum extent of 8
    zeros[0, 0, 9, 20] = 3
    assert offset_loss(zeros, targets).item() == pytest.approx((0.7 + 3 / 8) / 2)


def test_without_offsets_the_spatial_loss_is_zero():
    targets = encode(make_people((5, 7)))
    maps = MultiResolutionMaps((targets.heatmaps,), torch.zeros(1, 1, 3, MAP_SIZE, MAP_SIZE))
    assert AssociativeEmbeddingLoss()(maps, [targets]).spatial.tolist() == [0]


def test_targets_can_be_used_in_training_after_inference():
    _on_device.cache_clear()
    with torch.inference_mode():
        encode(make_people((5, 7)))
    prediction = torch.zeros(1, 3, MAP_SIZE, MAP_SIZE, requires_grad=True)
    heatmap_loss(prediction, encode(make_people((5, 7)))).sum().backward()
    assert prediction.grad.any()


def test_an_unknown_push_form_is_an_error():
    with pytest.raises(ValueError, match=r'push_form must be "exp" or "hinge", got .hinges.'):
        AssociativeEmbeddingLoss(push_form="hinges")


def test_only_the_hinge_has_a_gradient_for_nearly_equal_tags():
    targets = encode(make_people((5, 5), (15, 15)))
    gradients = {}
    for push_form in ("exp", "hinge"):
        tags = torch.zeros(1, 3, MAP_SIZE, MAP_SIZE)
        tags[..., 12:] = 1e-3
        tags.requires_grad_()
        tag_losses(tags, targets, push_form=push_form)[1].sum().backward()
        gradients[push_form] = tags.grad.abs().max().item()
    assert gradients["hinge"] > 100 * gradients["exp"]


@pytest.mark.parametrize("pixels", [(), ((5, 5),), ((-9, 5),), ((5, 5),) * 60])
def test_losses_and_gradients_are_finite_for_any_number_of_people(pixels):
    tags = torch.randn(1, 1, 3, MAP_SIZE, MAP_SIZE, requires_grad=True)
    heatmaps = torch.randn(1, 3, MAP_SIZE, MAP_SIZE, requires_grad=True)
    offsets = torch.randn(1, 2, MAP_SIZE, MAP_SIZE, requires_grad=True)
    criterion = AssociativeEmbeddingLoss(foreground_weight=30)
    total = criterion.total(
        criterion(MultiResolutionMaps((heatmaps,), tags, offsets), [encode(make_people(*pixels))])
    )
    total.backward()
    assert total.isfinite()
    assert heatmaps.grad.isfinite().all()
    assert tags.grad.isfinite().all()
    assert offsets.grad.isfinite().all()


def test_losses_do_not_depend_on_the_order_of_people():
    prediction = torch.randn(1, 3, MAP_SIZE, MAP_SIZE)
    resolutions = MultiResolutionMaps((prediction,), torch.randn(1, 1, 3, MAP_SIZE, MAP_SIZE))
    keypoints, criterion = make_people((5, 5), (15, 15), (9, 3)), AssociativeEmbeddingLoss()
    terms = criterion(resolutions, [encode(keypoints)])
    torch.testing.assert_close(criterion(resolutions, [encode(keypoints.flip(1))]), terms)
