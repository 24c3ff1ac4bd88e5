"""Targets: Gaussians at keypoints, their widths and weights, and regions that the loss ignores."""

import pytest
import torch

from tagpose.codec.encoder import HeatmapEncoder
from tagpose.losses import heatmap_loss
from tagpose.structures import STRIDE

MAP_SIZE = 24
FULL_MASK = torch.ones(1, MAP_SIZE, MAP_SIZE)


def make_people(*pixels, keypoints=3):
    """Return keypoints [1, P, K, 3] in input pixels, all of a person at one heatmap pixel."""
    people = torch.zeros(1, len(pixels), keypoints, 3)
    for person, (x, y) in enumerate(pixels):
        people[0, person] = torch.tensor([(x + 0.5) * STRIDE, (y + 0.5) * STRIDE, 2.0])
    return people


def test_heatmaps_are_1_at_the_heatmap_pixel_of_the_keypoint():
    heatmaps = HeatmapEncoder()(make_people((5, 7)), FULL_MASK).heatmaps
    assert heatmaps.amax((2, 3)).tolist() == [[1, 1, 1]]
    assert heatmaps[0, 0, 7, 5] == 1


def test_subpixel_gaussians_are_centered_at_the_keypoint():
    keypoints = make_people((5, 7))
    keypoints[..., :2] = torch.tensor([4 * 5.25 + 1.5, 4 * 7.5 + 1.5])  # from 5.25, 7.5
    heatmap = HeatmapEncoder(subpixel=True)(keypoints, FULL_MASK).heatmaps[0, 0]
    y, x = torch.meshgrid(torch.arange(MAP_SIZE), torch.arange(MAP_SIZE), indexing="ij")
    expected = (-((x - 5.25) ** 2 + (y - 7.5) ** 2) / 8).exp()
    near = expected > 0.1
    torch.testing.assert_close(heatmap[near], expected[near])


def test_sigma_grows_with_the_person_from_min_sigma():
    small, large = make_people((10, 10)), make_people((10, 10))
    large[0, 0, 1, 0] += STRIDE * 64  # outside of the map, and therefore ignored
    large[0, 0, 2, 0] -= STRIDE * 8
    encoder = HeatmapEncoder(min_sigma=0.5, sigma=8)
    neighbors = [encoder(p, FULL_MASK).heatmaps[0, 0, 10, 11] for p in (small, large)]
    sigmas = [(-0.5 / value.log()).sqrt().item() for value in neighbors]
    assert sigmas == pytest.approx([0.5, 1.0])


def test_regions_of_unlabeled_parts_have_no_gradient():
    unlabeled = torch.zeros(1, 1, 2, 4)
    unlabeled[0, 0, 1] = torch.tensor([20.0, 8.0, 44.0, 40.0])  # heatmap pixels 5 to 10, 2 to 9
    gradients = []
    for ignore_unlabeled in (False, True):
        encoder = HeatmapEncoder((0, 0, 1), ignore_unlabeled=ignore_unlabeled)
        targets = encoder(make_people((20, 20)), FULL_MASK, unlabeled)
        prediction = torch.full((1, 3, MAP_SIZE, MAP_SIZE), 0.3, requires_grad=True)
        heatmap_loss(prediction, targets).sum().backward()
        gradients.append(prediction.grad[0])
    everywhere, ignored = gradients
    assert not ignored[2, 2:10, 5:11].any()
    assert everywhere[2, 2:10, 5:11].all()
    ignored[2, 2:10, 5:11] = everywhere[2, 2:10, 5:11]
    torch.testing.assert_close(ignored, everywhere)


def test_gaussians_of_others_count_within_regions_of_unlabeled_parts():
    everywhere = torch.tensor([[[[0.0, 0.0, 96.0, 96.0]]]])
    encoder = HeatmapEncoder((0, 0, 0), ignore_unlabeled=True)
    targets = encoder(make_people((5, 7)), FULL_MASK, everywhere)
    assert torch.equal(targets.mask > 0, targets.heatmaps > 0)


def test_foreground_weights_depend_on_visibility_and_on_part_size():
    keypoints = make_people((5, 5), keypoints=4)
    keypoints[0, 0, :, 2] = torch.tensor([2.0, 1.0, 2.0, 2.0])
    keypoints[0, 0, 3, 0] += 64  # two parts, with extents of 0 and 64 input pixels
    expected_heatmaps = HeatmapEncoder()(keypoints, FULL_MASK).heatmaps

    def foreground(**options):
        targets = HeatmapEncoder((0, 0, 1, 1), **options)(keypoints, FULL_MASK)
        torch.testing.assert_close(targets.heatmaps, expected_heatmaps)
        return targets.foreground.amax((2, 3))[0].tolist()

    assert foreground() == [1, 1, 1, 1]
    assert foreground(weight_by_visibility=True) == [1, 0.5, 1, 1]
    assert foreground(small_part_weight=4.0) == [4, 4, 1, 1]
    assert foreground(small_part_weight=4.0, weight_by_visibility=True) == [4, 2, 1, 1]


def test_the_weight_of_a_heatmap_in_the_loss_is_equal_or_proportional_to_its_sigma():
    keypoints = make_people((5, 5), keypoints=3)
    sigmas = (0.02, 0.04, 0.06)
    for weight_by_sigma, weights in ((False, [1, 1, 1]), (True, [0.5, 1, 1.5])):
        encoder = HeatmapEncoder(oks_sigmas=sigmas, weight_by_sigma=weight_by_sigma)
        targets = encoder(keypoints, FULL_MASK)
        prediction = targets.heatmaps + torch.tensor([0.0, 1.0, 2.0])[:, None, None]
        assert targets.channel_weights.tolist() == pytest.approx(weights)
        assert heatmap_loss(prediction, targets).item() == pytest.approx(
            (weights[1] * 1 + weights[2] * 4) / 3
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"small_part_weight": 0.5}, "small_part_weight must be 1 or more, got 0.5"),
        ({"sigma": 0.0}, "sigma must be above 0, got 0.0"),
        ({"min_sigma": 3.0}, "min_sigma must be above 0 and at most sigma=2.0, got 3.0"),
    ],
)
def test_options_out_of_range_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        HeatmapEncoder(**options)
