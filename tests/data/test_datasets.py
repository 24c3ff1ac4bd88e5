"""What a sample shows is what its record says, drawn the same for the same seed."""

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from pycocotools import mask as rle
from torch.utils.data import BatchSampler, DataLoader

from helpers.run_scripts import ROOT
from tagpose.data.annotations import read_annotations
from tagpose.data.datasets import SampleKey, TrainDataset, ValDataset, loss_mask
from tagpose.data.images import read_annotated_image
from tagpose.data.samplers import EpochPosition, ResumableDistributedSampler, SameSizeBatchSampler
from tagpose.data.transforms import RandomAffineCrop
from tagpose.geometry import scale_affine, transform_points
from tagpose.skeletons.coco import WHOLEBODY

SIDE = 128
RECIPE = ROOT / "conf/augmentation/default.yaml"


@pytest.fixture(scope="module")
def annotations(people):
    file = people / "annotations/coco_wholebody_train_v1.0.json"
    return read_annotations(file, people / "train2017", WHOLEBODY, only_annotated=True)


def training(annotations, *more, **view):
    return TrainDataset(annotations, [RandomAffineCrop(SIDE, WHOLEBODY, **view), *more], seed=3)


def test_keypoints_go_where_the_affine_says_and_left_becomes_right_when_flipped(annotations):
    for chance in (0.0, 1.0):
        sample = training(annotations, flip_prob=chance)[SampleKey(0, 0)]
        keypoints = annotations.record(0).keypoints
        order = list(WHOLEBODY.flip_indices) if chance else list(range(WHOLEBODY.size))
        moved = transform_points(sample.affine.numpy(), keypoints[:, order, :2])
        found = sample.keypoints[: len(keypoints)].numpy()
        np.testing.assert_allclose(found[..., :2], moved, atol=1e-3)
        np.testing.assert_array_equal(found[..., 2], keypoints[:, order, 2])
        assert (np.linalg.det(sample.affine[:, :2].numpy()) < 0) == bool(chance)


def test_the_picture_goes_where_the_affine_says(annotations):
    sample = training(annotations)[SampleKey(0, 1)]
    record = annotations.record(1)
    expected = cv2.warpAffine(
        read_annotated_image(record.file), sample.affine.numpy(), (SIDE, SIDE)
    )
    np.testing.assert_array_equal(sample.image.permute(1, 2, 0).numpy(), expected)


def test_the_same_draw_is_the_same_sample_and_another_epoch_is_another(annotations):
    blur = A.ColorJitter(p=1.0)
    first, again, later = (
        training(annotations, blur)[draw]
        for draw in (SampleKey(0, 2), SampleKey(0, 2), SampleKey(1, 2))
    )
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.image, later.image)


@pytest.mark.parametrize("more", [A.NoOp(p=1), A.ColorJitter(p=0)])
def test_a_transform_that_does_nothing_changes_nothing(annotations, more):
    for index in range(len(annotations)):
        alone, beside = (training(annotations, *by)[SampleKey(1, index)] for by in ((), (more,)))
        for a, b in zip(alone, beside, strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)


SKELETON = {"_target_": "tagpose.skeletons.custom.build_skeleton", "name": "wholebody"}


def test_what_the_recipe_switches_on_changes_the_picture_and_no_draw_of_the_view(annotations):
    recipe = {"input_size": SIDE, "skeleton": SKELETON, "transforms": OmegaConf.load(RECIPE)}
    plain = training(annotations)[SampleKey(0, 0)]
    seen = [plain.image]
    for name in ("color", "blur"):
        cfg = OmegaConf.create(recipe)
        cfg.transforms[name].p = 1
        transforms = list(instantiate(cfg.transforms, _convert_="object").values())
        sample = TrainDataset(annotations, transforms, seed=3)[SampleKey(0, 0)]
        assert not any(torch.equal(sample.image, other) for other in seen)
        for a, b in zip(plain[1:], sample[1:], strict=True):
            assert torch.equal(a, b)
        seen.append(sample.image)


def test_a_transform_after_the_view_moves_picture_mask_and_keypoints(annotations):
    for index in range(len(annotations)):
        plain, turned = (
            training(annotations, *by)[SampleKey(0, index)] for by in ((), (A.VerticalFlip(p=1),))
        )
        assert torch.equal(turned.image, plain.image.flip(1))
        assert torch.equal(turned.mask, plain.mask.flip(0))
        people = len(annotations.record(index).keypoints)
        expected = plain.keypoints[:people].clone()
        expected[..., 1] = SIDE - 1 - expected[..., 1]
        torch.testing.assert_close(turned.keypoints[:people], expected)


def test_workers_draw_what_one_process_draws(annotations):
    def drawn(workers):
        draws = ResumableDistributedSampler(len(annotations), 4, seed=5)
        loader = DataLoader(training(annotations), batch_size=4, sampler=draws, num_workers=workers)
        return torch.cat([batch.image for batch in loader])

    assert torch.equal(drawn(0), drawn(2))


def test_an_image_without_people_makes_a_sample(annotations):
    lonely = np.flatnonzero(np.diff(annotations.offsets) == 0)
    for index in lonely:
        sample = training(annotations)[SampleKey(0, int(index))]
        assert not sample.keypoints.any()


def test_outside_of_the_photograph_the_network_learns_that_nobody_is_there(annotations):
    sample = training(annotations, zoom=(3, 3), shift_limit=0.0, rotate_limit=0.0)[SampleKey(0, 0)]
    assert not sample.image[:, 0].any()
    assert sample.mask[0].all()


def test_as_published_what_is_outside_of_the_photograph_does_not_count(annotations):
    far = {"zoom": (3, 3), "shift_limit": 0.0, "rotate_limit": 0.0}
    ours, published = (
        training(annotations, **far, learn_padding=counts)[SampleKey(0, 0)].mask
        for counts in (1, 0)
    )
    assert not published[0].any()
    assert published[SIDE // 8, SIDE // 8]
    assert (published <= ours).all()


def test_the_mask_goes_where_the_affine_says_with_a_crowd_and_without(annotations):
    everything = training(annotations, zoom=(1.5, 2.5))
    samples = [everything[SampleKey(0, index)] for index in range(len(annotations))]
    counts = [bool(sample.mask.all()) for sample in samples]
    assert any(counts)
    assert not all(counts)
    for index, sample in enumerate(samples):
        mask = loss_mask(annotations.record(index)).astype(np.float32)
        to_heatmap = scale_affine(sample.affine.numpy(), 1 / 4)
        shown = cv2.warpAffine(mask, to_heatmap, (SIDE // 4, SIDE // 4), borderValue=1)
        clear = abs(shown - 0.5) > 0.01  # nearer, rounding decides
        np.testing.assert_array_equal(sample.mask.numpy()[clear], shown[clear] > 0.5)


def test_whatever_is_ignored_once_or_twice_does_not_count(annotations):
    record = annotations.record(0)
    drawn = np.zeros((2, record.height, record.width), np.uint8)
    drawn[0, 3:30, 5:20] = drawn[1, 20:40, 10:50] = 1
    masks = tuple(rle.encode(np.asfortranarray(one)) for one in drawn)
    for ignored in ((), masks[:1], masks):
        expected = ~drawn[: len(ignored)].any(0)
        found = loss_mask(record._replace(ignored=ignored))
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)


def test_a_whole_image_is_shown_at_the_size_of_its_shape(annotations):
    whole = ValDataset(annotations, 128)
    for index in range(len(whole)):
        width, height = whole.size_of(index)
        sample = whole[index]
        assert sample.image.shape == (3, height, width)
        assert sample.mask.shape == (height // 4, width // 4)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_the_batches_and_no_image_is_seen_twice(processes):
    sizes = [(64, 64), (128, 64), (64, 64), (64, 128), (64, 64)]
    shares = [
        SameSizeBatchSampler(sizes.__getitem__, len(sizes), 2, rank=rank, num_replicas=processes)
        for rank in range(processes)
    ]
    seen = [index for share in shares for batch in share for index in batch]
    assert sorted(seen) == list(range(len(sizes)))


def batches(draws):
    return [tuple(batch) for batch in BatchSampler(draws, draws.batch_size, drop_last=False)]


@given(
    size=st.integers(1, 60),
    batch=st.integers(1, 5),
    repeat=st.integers(1, 3),
    epoch=st.integers(0, 3),
)
def test_processes_take_the_batches_of_one_in_turns(size, batch, repeat, epoch):
    def taken(processes, rank):
        share = {
            "repeat": repeat,
            "rank": rank,
            "num_replicas": processes,
            "start": EpochPosition(epoch),
        }
        return batches(ResumableDistributedSampler(size, batch, **share))

    shares = [taken(2, rank) for rank in range(2)]
    assert len(shares[0]) == len(shares[1]) > 0
    together = [one for turn in zip(*shares, strict=True) for one in turn]
    alone = taken(1, 0)
    assert together[: len(alone)] == alone[: len(together)]
    drawn = [draw for one in alone for draw in one]
    if len(drawn) <= size * repeat:
        assert len(set(drawn)) == len(drawn)  # a repeated image is another draw
    if size * repeat % batch == 0:
        assert {draw.image_index for draw in drawn} == set(range(size))


@given(size=st.integers(1, 60), batch=st.integers(1, 5))
def test_added_batches_are_those_of_as_many_processes(size, batch):
    def taken(processes, added):
        shares = [
            batches(
                ResumableDistributedSampler(
                    size, batch, rank=rank, num_replicas=processes, accumulate_grad_batches=added
                )
            )
            for rank in range(processes)
        ]
        return [one for turn in zip(*shares, strict=True) for one in turn]

    assert len(taken(1, 4)) % 4 == 0
    assert taken(1, 4) == taken(2, 2) == taken(4, 1)


@given(size=st.integers(1, 40), batch=st.integers(1, 4), rank=st.integers(0, 1), data=st.data())
def test_an_epoch_that_starts_within_goes_on_with_what_is_left_and_the_next_is_whole(
    size, batch, rank, data
):
    share = {"rank": rank, "num_replicas": 2}
    whole = ResumableDistributedSampler(size, batch, **share, start=EpochPosition(3))
    done = data.draw(st.integers(0, whole.batches))
    rest = ResumableDistributedSampler(size, batch, **share, start=EpochPosition(3, done))
    assert batches(rest) == batches(whole)[done:]
    assert len(rest) == len(whole)
    whole.set_epoch(4)
    rest.set_epoch(4)
    assert batches(rest) == batches(whole)


def test_a_process_is_never_left_without_images_and_a_guests_do_not_count():
    shares = [
        SameSizeBatchSampler(lambda _: (64, 64), 2, 8, rank=r, num_replicas=2) for r in range(2)
    ]
    assert [len(share) for share in shares] == [1, 1]
    few = [SameSizeBatchSampler(lambda _: (64, 64), 2, 8, rank=r, num_replicas=4) for r in range(4)]
    assert [list(share) for share in few] == [[[0]], [[1]], [[0]], [[0]]]
    assert [share.is_padding_rank for share in few] == [False, False, True, True]
