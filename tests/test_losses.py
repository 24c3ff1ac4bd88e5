"""What is not labelled is not learned; what is right costs nothing."""

import pytest
import torch

from tagpose.codec.encode import encode
from tagpose.losses import Criterion, heatmap_loss, tag_losses
from tagpose.structures import STRIDE, Fields

CELLS = 24


def people(*places, kinds=3):
    """Keypoints [1, P, K, 3] in input pixels, each person's at one cell."""
    keypoints = torch.zeros(1, len(places), kinds, 3)
    for number, (x, y) in enumerate(places):
        keypoints[0, number] = torch.tensor([(x + 0.5) * STRIDE, (y + 0.5) * STRIDE, 2.0])
    return keypoints


def targets(keypoints, mask=None):
    return encode(keypoints, torch.ones(1, CELLS, CELLS) if mask is None else mask)


def test_a_peak_is_one_and_stands_at_the_keypoints_cell():
    heatmaps = targets(people((5, 7))).heatmaps
    assert heatmaps.amax((2, 3)).tolist() == [[1, 1, 1]]
    assert heatmaps[0, 0, 7, 5] == 1


def test_a_perfect_prediction_costs_nothing():
    goal = targets(people((5, 7), (15, 9)))
    tags = torch.zeros(1, 3, CELLS, CELLS)
    tags[..., :10], tags[..., 10:] = -20, 20
    losses = Criterion()(Fields(goal.heatmaps, tags[:, None]), goal)
    assert all(term.item() == pytest.approx(0, abs=1e-6) for term in losses)


def test_masked_cells_have_no_gradient_and_others_have():
    mask = torch.ones(1, CELLS, CELLS)
    mask[:, :10, :10] = 0
    prediction = torch.zeros(1, 3, CELLS, CELLS, requires_grad=True)
    heatmap_loss(prediction, targets(people((5, 5), (15, 15)), mask)).sum().backward()
    assert not prediction.grad[..., :10, :10].any()
    assert prediction.grad[..., 15, 15].all()


def test_a_keypoint_nobody_has_contributes_nothing_unless_told():
    keypoints = people((5, 5))
    keypoints[0, 0, 2] = 0
    prediction = torch.ones(1, 3, CELLS, CELLS, requires_grad=True)
    goal = targets(keypoints)
    heatmap_loss(prediction, goal).sum().backward()
    assert not prediction.grad[0, 2].any()
    assert heatmap_loss(prediction, goal, skip_empty=False) > heatmap_loss(prediction, goal)


@pytest.mark.parametrize("push_form", ["exp", "hinge"])
def test_tags_of_one_person_are_pulled_and_of_two_pushed(push_form):
    goal = targets(people((5, 5), (15, 15)))
    tags = torch.zeros(1, 3, CELLS, CELLS)
    pull, push = tag_losses(tags, goal, push_form=push_form)
    assert pull.item() == 0
    assert push.item() == pytest.approx(0.5)
    tags[0, 1, 5, 5] = 1
    assert tag_losses(tags, goal, push_form=push_form)[0].item() > 0


def test_an_unknown_form_of_the_push_is_refused():
    with pytest.raises(ValueError, match="'hinges' is neither exp nor hinge"):
        Criterion(push_form="hinges")


def test_only_the_hinge_pushes_tags_that_are_nearly_equal():
    goal = targets(people((5, 5), (15, 15)))
    gradients = {}
    for push_form in ("exp", "hinge"):
        tags = torch.zeros(1, 3, CELLS, CELLS)
        tags[..., 12:] = 1e-3
        tags.requires_grad_()
        tag_losses(tags, goal, push_form=push_form)[1].sum().backward()
        gradients[push_form] = tags.grad.abs().max().item()
    assert gradients["hinge"] > 100 * gradients["exp"]


@pytest.mark.parametrize("places", [(), ((5, 5),), ((-9, 5),), ((5, 5),) * 60])
def test_nobody_one_somebody_outside_and_a_crowd_have_finite_losses_and_gradients(places):
    tags = torch.randn(1, 1, 3, CELLS, CELLS, requires_grad=True)
    heatmaps = torch.randn(1, 3, CELLS, CELLS, requires_grad=True)
    criterion = Criterion(emphasis=30)
    total = criterion.total(criterion(Fields(heatmaps, tags), targets(people(*places))))
    total.backward()
    assert total.isfinite()
    assert heatmaps.grad.isfinite().all()
    assert tags.grad.isfinite().all()


def test_people_in_another_order_cost_the_same():
    prediction = torch.randn(1, 3, CELLS, CELLS)
    fields = Fields(prediction, torch.randn(1, 1, 3, CELLS, CELLS))
    some = people((5, 5), (15, 15), (9, 3))
    for a, b in zip(
        Criterion()(fields, targets(some)), Criterion()(fields, targets(some.flip(1))), strict=True
    ):
        torch.testing.assert_close(a, b)
