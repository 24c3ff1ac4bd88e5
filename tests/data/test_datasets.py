"""Samples agree with their records, are reproducible, and are shared between processes."""

import warnings
from pathlib import Path

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
from tagpose.data.datamodule import PoseDataModule
from tagpose.data.datasets import TrainDataset, ValDataset
from tagpose.data.ignore_regions import loss_mask
from tagpose.data.images import read_annotated_image
from tagpose.data.samplers import (
    EpochPosition,
    ResumableDistributedSampler,
    SameSizeBatchSampler,
    SampleKey,
)
from tagpose.data.transforms import RandomAffineCrop
from tagpose.geometry import scale_affine, transform_points
from tagpose.skeletons.coco import WHOLEBODY

INPUT_SIZE = 128
RECIPE = ROOT / "conf/augmentation/default.yaml"


@pytest.fixture(scope="module")
def annotations(people):
    file = people / "annotations/coco_wholebody_train_v1.0.json"
    return read_annotations(file, people / "train2017", WHOLEBODY, only_annotated=True)


def train_dataset(annotations, *more, **options):
    """Return a dataset of random crops, which further transforms may change."""
    crop = RandomAffineCrop(INPUT_SIZE, WHOLEBODY, **options)
    return TrainDataset(annotations, [crop, *more], seed=3)


def test_keypoints_follow_the_affine_and_a_flip_swaps_left_and_right(annotations):
    for flip_prob in (0.0, 1.0):
        sample = train_dataset(annotations, flip_prob=flip_prob)[SampleKey(0, 0)]
        keypoints = annotations.record(0).keypoints
        order = list(WHOLEBODY.flip_indices) if flip_prob else list(range(WHOLEBODY.size))
        expected = transform_points(sample.affine.numpy(), keypoints[:, order, :2])
        actual = sample.keypoints[: len(keypoints)].numpy()
        np.testing.assert_allclose(actual[..., :2], expected, atol=1e-3)
        np.testing.assert_array_equal(actual[..., 2], keypoints[:, order, 2])
        assert (np.linalg.det(sample.affine[:, :2].numpy()) < 0) == bool(flip_prob)


def test_the_image_follows_the_affine(annotations):
    sample = train_dataset(annotations)[SampleKey(0, 1)]
    record = annotations.record(1)
    expected = cv2.warpAffine(
        read_annotated_image(record.file), sample.affine.numpy(), (INPUT_SIZE, INPUT_SIZE)
    )
    np.testing.assert_array_equal(sample.image.permute(1, 2, 0).numpy(), expected)


def test_a_sample_key_determines_the_sample_and_epochs_differ(annotations):
    jitter = A.ColorJitter(p=1.0)
    first, again, later = (
        train_dataset(annotations, jitter)[key]
        for key in (SampleKey(0, 2), SampleKey(0, 2), SampleKey(1, 2))
    )
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.image, later.image)


@pytest.mark.parametrize("more", [A.NoOp(p=1), A.ColorJitter(p=0)])
def test_a_transform_that_does_nothing_changes_nothing(annotations, more):
    for index in range(len(annotations)):
        key = SampleKey(1, index)
        without, with_transform = (train_dataset(annotations, *t)[key] for t in ((), (more,)))
        for a, b in zip(without, with_transform, strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)


SKELETON = {"_target_": "tagpose.skeletons.custom.build_skeleton", "name": "wholebody"}


def test_enabling_a_color_transform_changes_the_image_but_not_the_crop(annotations):
    recipe = {"input_size": INPUT_SIZE, "skeleton": SKELETON, "transforms": OmegaConf.load(RECIPE)}
    plain = train_dataset(annotations)[SampleKey(0, 0)]
    images = [plain.image]
    for name in ("color", "blur"):
        cfg = OmegaConf.create(recipe)
        cfg.transforms[name].p = 1
        transforms = list(instantiate(cfg.transforms, _convert_="object").values())
        sample = TrainDataset(annotations, transforms, seed=3)[SampleKey(0, 0)]
        assert not any(torch.equal(sample.image, other) for other in images)
        for a, b in zip(plain[1:], sample[1:], strict=True):
            assert torch.equal(a, b)
        images.append(sample.image)


def test_a_transform_after_the_crop_moves_image_mask_and_keypoints(annotations):
    for index in range(len(annotations)):
        key, flip = SampleKey(0, index), A.VerticalFlip(p=1)
        plain, flipped = (train_dataset(annotations, *t)[key] for t in ((), (flip,)))
        assert torch.equal(flipped.image, plain.image.flip(1))
        assert torch.equal(flipped.mask, plain.mask.flip(0))
        people = len(annotations.record(index).keypoints)
        expected = plain.keypoints[:people].clone()
        expected[..., 1] = INPUT_SIZE - 1 - expected[..., 1]
        torch.testing.assert_close(flipped.keypoints[:people], expected)


def test_samples_do_not_depend_on_the_number_of_workers(annotations):
    def load(num_workers):
        loader = DataLoader(
            train_dataset(annotations),
            batch_size=4,
            sampler=ResumableDistributedSampler(len(annotations), 4, seed=5),
            num_workers=num_workers,
        )
        return torch.cat([batch.image for batch in loader])

    assert torch.equal(load(0), load(2))


def test_a_sample_without_people_has_keypoints_of_zeros(annotations):
    empty = np.flatnonzero(np.diff(annotations.offsets) == 0)
    for index in empty:
        sample = train_dataset(annotations)[SampleKey(0, int(index))]
        assert not sample.keypoints.any()


def test_the_loss_counts_in_the_padding_outside_the_image(annotations):
    sample = train_dataset(annotations, zoom=(3, 3), shift_limit=0.0, rotate_limit=0.0)[
        SampleKey(0, 0)
    ]
    assert not sample.image[:, 0].any()
    assert sample.mask[0].all()


def test_the_loss_ignores_the_padding_without_learn_padding(annotations):
    options = {"zoom": (3, 3), "shift_limit": 0.0, "rotate_limit": 0.0}
    learned, ignored = (
        train_dataset(annotations, **options, learn_padding=learn_padding)[SampleKey(0, 0)].mask
        for learn_padding in (True, False)
    )
    assert not ignored[0].any()
    assert ignored[INPUT_SIZE // 8, INPUT_SIZE // 8]
    assert (ignored <= learned).all()


def test_the_mask_follows_the_affine_with_and_without_a_crowd(annotations):
    dataset = train_dataset(annotations, zoom=(1.5, 2.5))
    samples = [dataset[SampleKey(0, index)] for index in range(len(annotations))]
    is_unmasked = [bool(sample.mask.all()) for sample in samples]
    assert any(is_unmasked)
    assert not all(is_unmasked)
    for index, sample in enumerate(samples):
        record = annotations.record(index)
        mask = loss_mask(record.ignored, record.width, record.height).astype(np.float32)
        to_heatmap = scale_affine(sample.affine.numpy(), 1 / 4)
        expected = cv2.warpAffine(
            mask, to_heatmap, (INPUT_SIZE // 4, INPUT_SIZE // 4), borderValue=1
        )
        clear = abs(expected - 0.5) > 0.01  # closer to 0.5, the result depends on rounding
        np.testing.assert_array_equal(sample.mask.numpy()[clear], expected[clear] > 0.5)


def test_the_loss_mask_is_zero_in_the_union_of_the_ignored_regions(annotations):
    record = annotations.record(0)
    regions = np.zeros((2, record.height, record.width), np.uint8)
    regions[0, 3:30, 5:20] = regions[1, 20:40, 10:50] = 1
    masks = tuple(rle.encode(np.asfortranarray(region)) for region in regions)
    for ignored in ((), masks[:1], masks):
        expected = ~regions[: len(ignored)].any(0)
        actual = loss_mask(ignored, record.width, record.height)
        assert actual.dtype == np.uint8
        np.testing.assert_array_equal(actual, expected)


def test_validation_samples_have_the_size_that_the_dataset_states(annotations):
    dataset = ValDataset(annotations, 128)
    for index in range(len(dataset)):
        width, height = dataset.size_of(index)
        sample = dataset[index]
        assert sample.image.shape == (3, height, width)
        assert sample.mask.shape == (height // 4, width // 4)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_together_see_every_validation_image_once(processes):
    sizes = [(64, 64), (128, 64), (64, 64), (64, 128), (64, 64)]
    shares = [
        SameSizeBatchSampler(sizes.__getitem__, len(sizes), 2, rank=rank, num_replicas=processes)
        for rank in range(processes)
    ]
    seen = [index for share in shares for batch in share for index in batch]
    assert sorted(seen) == list(range(len(sizes)))


def batches(sampler):
    return [tuple(batch) for batch in BatchSampler(sampler, sampler.batch_size, drop_last=False)]


def interleave(shares):
    """Return the batches of several processes in the order in which they are dealt."""
    return [batch for turn in zip(*shares, strict=True) for batch in turn]


@given(
    size=st.integers(1, 60),
    batch=st.integers(1, 5),
    repeat=st.integers(1, 3),
    epoch=st.integers(0, 3),
)
def test_processes_take_turns_with_the_batches_of_a_single_process(size, batch, repeat, epoch):
    def sample(processes, rank):
        options = {
            "repeat": repeat,
            "rank": rank,
            "num_replicas": processes,
            "start": EpochPosition(epoch),
        }
        return batches(ResumableDistributedSampler(size, batch, **options))

    shares = [sample(2, rank) for rank in range(2)]
    assert len(shares[0]) == len(shares[1]) > 0
    shared, single = interleave(shares), sample(1, 0)
    assert shared[: len(single)] == single[: len(shared)]
    keys = [key for keys in single for key in keys]
    if len(keys) <= size * repeat:
        assert len(set(keys)) == len(keys)  # repetitions of an image have different keys
    if size * repeat % batch == 0:
        assert {key.image_index for key in keys} == set(range(size))


@given(size=st.integers(1, 60), batch=st.integers(1, 5))
def test_accumulated_batches_equal_those_of_as_many_processes(size, batch):
    def sample(processes, accumulate):
        options = {"num_replicas": processes, "accumulate_grad_batches": accumulate}
        return interleave(
            batches(ResumableDistributedSampler(size, batch, rank=rank, **options))
            for rank in range(processes)
        )

    assert len(sample(1, 4)) % 4 == 0
    assert sample(1, 4) == sample(2, 2) == sample(4, 1)


@given(size=st.integers(1, 40), batch=st.integers(1, 4), rank=st.integers(0, 1), data=st.data())
def test_a_resumed_epoch_has_the_remaining_batches_and_the_next_is_complete(
    size, batch, rank, data
):
    options = {"rank": rank, "num_replicas": 2}
    complete = ResumableDistributedSampler(size, batch, **options, start=EpochPosition(3))
    done = data.draw(st.integers(0, complete.batches))
    resumed = ResumableDistributedSampler(size, batch, **options, start=EpochPosition(3, done))
    assert batches(resumed) == batches(complete)[done:]
    assert len(resumed) == len(complete)
    complete.set_epoch(4)
    resumed.set_epoch(4)
    assert batches(resumed) == batches(complete)


def test_every_process_gets_an_image_and_padding_ranks_are_marked():
    shares = [
        SameSizeBatchSampler(lambda _: (64, 64), 2, 8, rank=r, num_replicas=2) for r in range(2)
    ]
    assert [len(share) for share in shares] == [1, 1]
    few = [SameSizeBatchSampler(lambda _: (64, 64), 2, 8, rank=r, num_replicas=4) for r in range(4)]
    assert [list(share) for share in few] == [[[0]], [[1]], [[0]], [[0]]]
    assert [share.is_padding_rank for share in few] == [False, False, True, True]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="only Linux has /dev/shm")
@pytest.mark.parametrize(("batch_size", "is_enough"), [(2, True), (10**9, False)])
def test_shared_memory_that_is_too_small_for_the_workers_is_reported(people, batch_size, is_enough):
    train, val = (
        [f"annotations/coco_wholebody_{split}_v1.0.json", f"{split}2017"]
        for split in ("train", "val")
    )
    data = PoseDataModule(people, WHOLEBODY, train, val, 64, batch_size, 1, 1, {})
    data.setup("fit")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data.train_dataloader()
    messages = [str(warning.message) for warning in caught]
    assert any("start Docker with --ipc=host" in m for m in messages) != is_enough
