"""LightningDataModule for COCO-style datasets."""

import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import cpu_count
from pathlib import Path
from typing import Any, Final

import albumentations as A
import torch
from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only, rank_zero_warn
from torch.utils.data import DataLoader

from tagpose.data.annotations import Annotations, check_labeled, read_annotations
from tagpose.data.coco_schema import ReadOptions, ReadRules
from tagpose.data.datasets import TestTimeDataset, TrainDataset, ValDataset
from tagpose.data.loader_workers import worker_init
from tagpose.data.preprocessing import ScaledInputs
from tagpose.data.quality.clean_copy import make_clean_copy
from tagpose.data.quality.shared_images import warn_of_shared_images
from tagpose.data.samplers import EpochPosition, ResumableDistributedSampler, SameSizeBatchSampler
from tagpose.data.split_paths import Split, check_splits_exist, parse_splits
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import MAX_STRIDE, Sample

_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 -- shared memory of Linux
_PREFETCHED_BATCHES: Final = 2  # per worker, torch's default


class PoseDataModule(LightningDataModule):
    """Training and validation data in the format of COCO or COCO-WholeBody.

    Args:
        root: folder of the dataset.
        skeleton: keypoints to read.
        train: annotation file and image folder of the training set, relative to `root`.
        val: annotation file and image folder of the validation set, relative to `root`.
        input_size: side of the square training input, and shorter side of the validation input, in
            input pixels.
        batch_size: training images per process and batch.
        val_batch_size: maximum number of validation images per process and batch.
        num_workers: DataLoader workers per process, at most the number of cores; 0 loads images in
            the main process.
        transforms: albumentations transforms for training, by name, in order.
        on_error: "stop" at the first error in the dataset, or "skip" images with errors; see
            `make_clean_copy`.
        seed: seed of the order of the images and of the augmentation.
        repeat: number of times that an epoch includes each training image, for small datasets.
        category: name of the category to read, if several have keypoints.
        v0_as_labeled: whether keypoints with coordinates and v = 0 count as labeled.

    Raises:
        ValueError: an argument is invalid.
    """

    def __init__(
        self,
        root: str | Path,
        skeleton: Skeleton,
        train: Sequence[str],
        val: Sequence[str],
        input_size: int,
        batch_size: int,
        val_batch_size: int,
        num_workers: int,
        transforms: Mapping[str, A.BasicTransform],
        seed: int = 0,
        repeat: int = 1,
        on_error: str = "stop",
        category: str | None = None,
        v0_as_labeled: bool = False,
    ) -> None:
        super().__init__()
        if on_error not in ("stop", "skip"):
            raise ValueError(f'data.on_error={on_error} is unknown; use "stop" or "skip"')
        _check_input_size(input_size)
        self.root, self.skeleton, self.on_error = Path(root), skeleton, on_error
        self.train_split, self.val_split = parse_splits(self.root, train, val)
        self.options = ReadOptions(category, v0_as_labeled)
        self.input_size, self.batch_size = input_size, batch_size
        self.val_batch_size = val_batch_size
        self.num_workers = min(num_workers, cpu_count() or 1)
        self.transforms, self.seed, self.repeat = list(transforms.values()), seed, repeat
        self.annotations: dict[Split, Annotations] = {}
        self.clean_files: dict[Split, Path] = {}
        self.skip_listings: dict[Split, Path] = {}  # files that list what a clean copy lacks
        self.start = EpochPosition()
        self.is_padding_rank = False  # whether the validation results of this process are discarded

    @property
    def ground_truth_file(self) -> Path:
        """Annotation file of the validation set."""
        return self.annotation_file(self.val_split)

    @property
    def description(self) -> str:
        """Description in the validation annotations, to be shown with all scores."""
        return self.annotations[self.val_split].description

    def setup(self, stage: str) -> None:
        """Read the annotations: both splits for the stage "fit", otherwise validation only."""
        # split -> whether to drop images without annotations, which are useless for training
        needed = {self.val_split: False} | ({self.train_split: True} if stage == "fit" else {})
        self.check_exists(list(needed))
        new = {split: needed[split] for split in needed if split not in self.annotations}
        with _warnings_of_rank_zero():
            for split, only_annotated in new.items():
                self._make_clean_copy(split)
                self.annotations[split] = self.read_split(split, only_annotated=only_annotated)
                check_labeled(self.annotations[split], self.annotation_file(split))
            if stage == "fit" and new:
                train, val = self.annotations[self.train_split], self.annotations[self.val_split]
                warn_of_shared_images(train, val, self.annotation_file(self.train_split))

    def check_exists(self, splits: Sequence[Split]) -> None:
        """Check that the files of splits exist; see `check_splits_exist`."""
        check_splits_exist(self.root, splits)

    def read_split(self, split: Split, *, only_annotated: bool) -> Annotations:
        """Read the annotations of a split; see `read_annotations`."""
        return read_annotations(
            self.annotation_file(split),
            self.root / split.images,
            self.skeleton,
            only_annotated=only_annotated,
            options=self.options,
        )

    def annotation_file(self, split: Split) -> Path:
        """Return the annotation file of a split, or its clean copy if there is one."""
        return self.clean_files.get(split, self.root / split.annotations)

    def _make_clean_copy(self, split: Split) -> None:
        """Make a clean copy of a split if `on_error` is "skip", and log what it lacks."""
        if self.on_error == "stop" or split in self.clean_files:
            return
        file = self.root / split.annotations
        # training does not use areas, so invalid ones must not drop images
        rules = ReadRules(self.skeleton, self.options, with_areas=split == self.val_split)
        copy = make_clean_copy(file, self.root / split.images, rules)
        self.clean_files[split], self.skip_listings[split] = copy.file, copy.listing
        num_skipped = copy.num_images - copy.num_kept
        rank_zero_info(
            f"{file}: skipped {num_skipped} of {copy.num_images} images with errors; see "
            f"{copy.listing}"
        )

    def train_dataloader(self) -> DataLoader[Sample]:
        annotations = self.annotations[self.train_split]
        rank, world_size = self._rank_and_world_size()
        sampler = ResumableDistributedSampler(
            len(annotations),
            self.batch_size,
            repeat=self.repeat,
            seed=self.seed,
            rank=rank,
            num_replicas=world_size,
            accumulate_grad_batches=self.trainer.accumulate_grad_batches if self.trainer else 1,
            start=self.start,
        )
        self._check_shared_memory()
        return DataLoader(
            TrainDataset(annotations, self.transforms, seed=self.seed),
            batch_size=self.batch_size,
            sampler=sampler,
            **self._loader_options(),
        )

    def val_dataloader(self) -> DataLoader[Sample]:
        dataset = ValDataset(self.annotations[self.val_split], self.input_size)
        rank, world_size = self._rank_and_world_size()
        batches = SameSizeBatchSampler(
            dataset.size_of, len(dataset), self.val_batch_size, rank=rank, num_replicas=world_size
        )
        self.is_padding_rank = batches.is_padding_rank
        return DataLoader(dataset, batch_sampler=batches, **self._loader_options())

    def test_time_dataloader(
        self, input_size: int, scales: Sequence[float]
    ) -> DataLoader[ScaledInputs]:
        """Return a loader of the validation images at each test-time scale; see `ScaledInputs`."""
        dataset = TestTimeDataset(self.annotations[self.val_split], input_size, scales)
        batches = SameSizeBatchSampler(dataset.size_of, len(dataset), self.val_batch_size)
        return DataLoader(dataset, batch_sampler=batches, **self._loader_options())

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the epoch, and the fingerprint of its batches."""
        trainer = self.trainer
        assert trainer  # checkpoints are saved during training
        epoch = trainer.fit_loop.epoch_progress.current.ready - 1
        batches = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        is_complete = batches >= trainer.num_training_batches
        position = EpochPosition(epoch + 1) if is_complete else EpochPosition(epoch, batches)
        return {"position": position._asdict(), "fingerprint": self._epoch_fingerprint()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume from the position of a checkpoint.

        Raises:
            ValueError: the position is within an epoch whose batches would differ now.
        """
        position = EpochPosition(**state_dict["position"])
        saved, current = state_dict["fingerprint"], self._epoch_fingerprint()
        if position.batches and saved != current:
            raise ValueError(
                f"the checkpoint was saved within an epoch of {saved}, but this run has {current}; "
                "resume from a checkpoint saved at the end of an epoch, or use the same settings"
            )
        self.start = position

    def _epoch_fingerprint(self) -> dict[str, int]:
        """Return what determines the batches of an epoch."""
        return {
            "images": len(self.annotations[self.train_split]) * self.repeat,
            "batch_size": self.batch_size,
            "processes": self._rank_and_world_size()[1],
            "seed": self.seed,
        }

    def _rank_and_world_size(self) -> tuple[int, int]:
        """Return the rank of this process and the number of processes."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _check_shared_memory(self) -> None:
        """Warn if the shared memory is too small for the training batches that workers prefetch."""
        if not _SHARED_MEMORY.is_dir():
            return
        processes = self.trainer.num_devices if self.trainer else 1
        batches = processes * self.num_workers * _PREFETCHED_BATCHES
        needed = batches * self.batch_size * 3 * self.input_size**2  # bytes of the images
        free = shutil.disk_usage(_SHARED_MEMORY).free
        if needed > free:
            rank_zero_warn(
                f"{_SHARED_MEMORY} has {free / 1e6:.0f} MB free, but the data loaders prefetch "
                f"{needed / 1e6:.0f} MB of images ({processes} x {self.num_workers} workers) and "
                "may crash with a bus error; start Docker with --ipc=host, or lower "
                "data.num_workers"
            )

    def _loader_options(self) -> dict[str, Any]:
        """Return the DataLoader options that all loaders share."""
        return {
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
            "prefetch_factor": _PREFETCHED_BATCHES if self.num_workers else None,
            "worker_init_fn": worker_init,
            "pin_memory": torch.cuda.is_available(),
        }


@contextmanager
def _warnings_of_rank_zero() -> Iterator[None]:
    """Ignore the warnings of all other ranks, because every rank reads the same files."""
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        yield  # not in catch_warnings, after which Python would show earlier warnings again
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _check_input_size(input_size: int) -> None:
    """Check that the network can divide the input size.

    Raises:
        ValueError: the size is not a multiple of `MAX_STRIDE`.
    """
    if input_size % MAX_STRIDE:
        nearest = MAX_STRIDE * max(1, round(input_size / MAX_STRIDE))
        raise ValueError(
            f"input_size={input_size} is not a multiple of {MAX_STRIDE}, the largest stride of the "
            f"network; use {nearest}"
        )
