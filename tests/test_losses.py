"""What is not labelled is not learned; what is right costs nothing."""

import pytest
import torch

from tagpose.codec.encoder import HeatmapEncoder
from tagpose.losses import AssociativeEmbeddingLoss, heatmap_loss, tag_losses
from tagpose.structures import STRIDE, MultiResolutionMaps

MAP_SIZE = 24


def people(*places, kinds=3):
    """Keypoints [1, P, K, 3] in input pixels, each person's at one cell."""
    keypoints = torch.zeros(1, len(places), kinds, 3)
    for number, (x, y) in enumerate(places):
        keypoints[0, number] = torch.tensor([(x + 0.5) * STRIDE, (y + 0.5) * STRIDE, 2.0])
    return keypoints


def targets(keypoints, mask=None):
    return HeatmapEncoder()(keypoints, torch.ones(1, MAP_SIZE, MAP_SIZE) if mask is None else mask)


def test_a_peak_is_one_and_stands_at_the_keypoints_cell():
    heatmaps = targets(people((5, 7))).heatmaps
    assert heatmaps.amax((2, 3)).tolist() == [[1, 1, 1]]
    assert heatmaps[0, 0, 7, 5] == 1


def test_a_perfect_prediction_costs_nothing():
    goal = targets(people((5, 7), (15, 9)))
    tags = torch.zeros(1, 3, MAP_SIZE, MAP_SIZE)
    tags[..., :10], tags[..., 10:] = -20, 20
    losses = AssociativeEmbeddingLoss()(
        MultiResolutionMaps((goal.heatmaps,), tags[:, None]), [goal]
    )
    assert all(term.item() == pytest.approx(0, abs=1e-6) for term in losses)


def test_between_cells_a_gaussian_stands_where_the_keypoint_is():
    keypoints = people((5, 7))
    keypoints[..., :2] = torch.tensor(
        [4 * 5.25 + 1.5, 4 * 7.5 + 1.5]
    )  # heatmap pixels from their middles
    drawn = HeatmapEncoder(subpixel=True)(keypoints, torch.ones(1, MAP_SIZE, MAP_SIZE)).heatmaps[
        0, 0
    ]
    y, x = torch.meshgrid(torch.arange(MAP_SIZE), torch.arange(MAP_SIZE), indexing="ij")
    meant = (-((x - 5.25) ** 2 + (y - 7.5) ** 2) / 8).exp()
    near = meant > 0.1
    torch.testing.assert_close(drawn[near], meant[near])


def test_small_people_have_small_gaussians_down_to_the_least():
    near, far = people((10, 10)), people((10, 10))
    far[0, 0, 1, 0] += STRIDE * 64  # outside of the map does not count
    far[0, 0, 2, 0] -= STRIDE * 8
    one = torch.ones(1, MAP_SIZE, MAP_SIZE)
    widths = [
        HeatmapEncoder(min_sigma=0.5, sigma=8)(some, one).heatmaps[0, 0, 10, 11]
        for some in (near, far)
    ]
    sigmas = [(-0.5 / width.log()).sqrt().item() for width in widths]
    assert sigmas == pytest.approx([0.5, 1.0])


def test_an_unlabelled_part_teaches_nothing_where_it_may_be_and_as_usual_elsewhere():
    unlabelled = torch.zeros(1, 1, 2, 4)
    unlabelled[0, 0, 1] = torch.tensor([20.0, 8.0, 44.0, 40.0])  # heatmap pixels 5 to 10, 2 to 9
    known, one = people((20, 20)), torch.ones(1, MAP_SIZE, MAP_SIZE)
    gradients = []
    for spare in (False, True):
        encoder = HeatmapEncoder((0, 0, 1), ignore_unlabelled=spare)
        predicted = torch.full((1, 3, MAP_SIZE, MAP_SIZE), 0.3, requires_grad=True)
        heatmap_loss(predicted, encoder(known, one, unlabelled)).sum().backward()
        gradients.append(predicted.grad[0])
    published, spared = gradients
    assert not spared[2, 2:10, 5:11].any()
    assert published[2, 2:10, 5:11].all()
    spared[2, 2:10, 5:11] = published[2, 2:10, 5:11]
    torch.testing.assert_close(spared, published)


def test_where_somebody_else_has_a_label_an_unlabelled_part_is_in_no_doubt():
    everywhere = torch.tensor([[[[0.0, 0.0, 96.0, 96.0]]]])
    encoder = HeatmapEncoder((0, 0, 0), ignore_unlabelled=True)
    targets = encoder(people((5, 7)), torch.ones(1, MAP_SIZE, MAP_SIZE), everywhere)
    assert torch.equal(targets.mask > 0, targets.heatmaps > 0)


def test_emphasis_is_as_the_labels_say_and_more_on_small_part():
    known = people((5, 5), kinds=4)
    known[0, 0, :, 2] = torch.tensor([2.0, 1.0, 2.0, 2.0])
    known[0, 0, 3, 0] += 64  # two parts: of no size, and 64 input pixels wide
    one, parts = torch.ones(1, MAP_SIZE, MAP_SIZE), (0, 0, 1, 1)

    def foreground(**options):
        targets = HeatmapEncoder(parts, **options)(known, one)
        torch.testing.assert_close(targets.heatmaps, HeatmapEncoder()(known, one).heatmaps)
        return targets.foreground.amax((2, 3))[0].tolist()

    assert foreground() == [1, 1, 1, 1]
    assert foreground(weight_by_visibility=True) == [1, 0.5, 1, 1]
    assert foreground(small_part_weight=4.0) == [4, 4, 1, 1]
    assert foreground(small_part_weight=4.0, weight_by_visibility=True) == [4, 2, 1, 1]


def test_masked_cells_have_no_gradient_and_others_have():
    mask = torch.ones(1, MAP_SIZE, MAP_SIZE)
    mask[:, :10, :10] = 0
    prediction = torch.zeros(1, 3, MAP_SIZE, MAP_SIZE, requires_grad=True)
    heatmap_loss(prediction, targets(people((5, 5), (15, 15)), mask)).sum().backward()
    assert not prediction.grad[..., :10, :10].any()
    assert prediction.grad[..., 15, 15].all()


def test_a_keypoint_nobody_has_contributes_nothing_unless_told():
    keypoints = people((5, 5))
    keypoints[0, 0, 2] = 0
    prediction = torch.ones(1, 3, MAP_SIZE, MAP_SIZE, requires_grad=True)
    goal = targets(keypoints)
    heatmap_loss(prediction, goal).sum().backward()
    assert not prediction.grad[0, 2].any()
    assert heatmap_loss(prediction, goal, ignore_empty_maps=False) > heatmap_loss(prediction, goal)


@pytest.mark.parametrize("push_form", ["exp", "hinge"])
def test_tags_of_one_person_are_pulled_and_of_two_pushed(push_form):
    goal = targets(people((5, 5), (15, 15)))
    tags = torch.zeros(1, 3, MAP_SIZE, MAP_SIZE)
    pull, push = tag_losses(tags, goal, push_form=push_form)
    assert pull.item() == 0
    assert push.item() == pytest.approx(0.5)
    tags[0, 1, 5, 5] = 1
    assert tag_losses(tags, goal, push_form=push_form)[0].item() > 0


def test_an_unknown_form_of_the_push_is_refused():
    with pytest.raises(ValueError, match="'hinges' is neither exp nor hinge"):
        AssociativeEmbeddingLoss(push_form="hinges")


def test_only_the_hinge_pushes_tags_that_are_nearly_equal():
    goal = targets(people((5, 5), (15, 15)))
    gradients = {}
    for push_form in ("exp", "hinge"):
        tags = torch.zeros(1, 3, MAP_SIZE, MAP_SIZE)
        tags[..., 12:] = 1e-3
        tags.requires_grad_()
        tag_losses(tags, goal, push_form=push_form)[1].sum().backward()
        gradients[push_form] = tags.grad.abs().max().item()
    assert gradients["hinge"] > 100 * gradients["exp"]


@pytest.mark.parametrize("places", [(), ((5, 5),), ((-9, 5),), ((5, 5),) * 60])
def test_nobody_one_somebody_outside_and_a_crowd_have_finite_losses_and_gradients(places):
    tags = torch.randn(1, 1, 3, MAP_SIZE, MAP_SIZE, requires_grad=True)
    heatmaps = torch.randn(1, 3, MAP_SIZE, MAP_SIZE, requires_grad=True)
    criterion = AssociativeEmbeddingLoss(foreground_weight=30)
    total = criterion.total(
        criterion(MultiResolutionMaps((heatmaps,), tags), [targets(people(*places))])
    )
    total.backward()
    assert total.isfinite()
    assert heatmaps.grad.isfinite().all()
    assert tags.grad.isfinite().all()


def test_people_in_another_order_cost_the_same():
    prediction = torch.randn(1, 3, MAP_SIZE, MAP_SIZE)
    resolutions = MultiResolutionMaps((prediction,), torch.randn(1, 1, 3, MAP_SIZE, MAP_SIZE))
    some = people((5, 5), (15, 15), (9, 3))
    one, other = (
        AssociativeEmbeddingLoss()(resolutions, [targets(each)]) for each in (some, some.flip(1))
    )
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b)
