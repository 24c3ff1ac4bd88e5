"""This file hands loaders to Lightning: random views for training, whole images for validation."""

from collections.abc import Mapping, Sequence
from os import cpu_count
from pathlib import Path
from typing import Any, Final, NamedTuple

import albumentations as A
import torch
from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader

from tagpose.data.annotations import Annotations, check_labelled, read_annotations
from tagpose.data.coco_schema import ReadOptions, ReadRules
from tagpose.data.datasets import TestTimeDataset, TrainDataset, ValDataset, worker_init
from tagpose.data.preprocessing import ScaledInputs
from tagpose.data.quality.clean_copy import make_clean_copy
from tagpose.data.quality.train_val_overlap import warn_of_shared_images
from tagpose.data.samplers import EpochPosition, ResumableDistributedSampler, SameSizeBatchSampler
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import MAX_STRIDE, Sample

_OFFICIAL_PREFIXES: Final = (
    "person_keypoints_",
    "coco_wholebody_",
)  # how names of COCO's files begin
_COCO_HINT: Final = (
    "`make coco root=FOLDER` downloads COCO 2017 and says how to get COCO-WholeBody's annotations, "
    "from github.com/jin-s13/COCO-WholeBody, into the same folder, which data.root=FOLDER names; "
    "`make demo` needs none of it, and `make synthesize` draws the data set of data=synthetic"
)
_CUSTOM_DATA_HINT: Final = (
    "data.root=FOLDER names the folder of the data set, and data.train=[FILE,FOLDER] and "
    "data.val=[FILE,FOLDER] its annotations and images in there"
)


class Split(NamedTuple):
    """Where one half of a data set lies, relative to its root."""

    annotations: str
    images: str


class PoseDataModule(LightningDataModule):
    """A data set in the official layout.

    Args:
        root: folder of the data set.
        skeleton: to read.
        train: where the images to learn from are.
        val: where the images to be judged on are.
        input_size: of the input in input pixels: the square of training, the shorter side of validation.
        batch_size: images a process takes in a step of training.
        val_batch_size: images of one size in a step of validation.
        num_workers: processes that read images, for each process of training, and no more than there
            are cores; 0 reads in between.
        transforms: of albumentations for training, by name, in order.
        on_error: "stop" at the first fault of a data set, or "skip" the images that have any; see
            `make_clean_copy`.
        seed: of the order and of all draws.
        repeat: how often an epoch shows each image; more than once where there are few.
        category: name of the category to read, where several have keypoints.
        v0_as_labelled: whether keypoints with coordinates and v = 0 are labelled.
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
        v0_as_labelled: bool = False,
    ) -> None:
        super().__init__()
        if on_error not in ("stop", "skip"):
            raise ValueError(f"data.on_error={on_error} is neither stop nor skip")
        if input_size % MAX_STRIDE:
            raise ValueError(
                f"input_size={input_size} is no multiple of {MAX_STRIDE}, by which the network divides it; "
                f"{MAX_STRIDE * max(1, round(input_size / MAX_STRIDE))} would do"
            )
        self.on_error = on_error
        self.clean_files: dict[Split, Path] = {}
        self.skip_listings: dict[Split, Path] = {}  # what is not in a clean copy, line by line
        self.root, self.skeleton = Path(root), skeleton
        self.train_split, self.val_split = _parse_split("train", train), _parse_split("val", val)
        self.options = ReadOptions(category, v0_as_labelled)
        self.input_size, self.batch_size, self.val_batch_size = (
            input_size,
            batch_size,
            val_batch_size,
        )
        self.num_workers = min(num_workers, cpu_count() or 1)
        self.transforms, self.seed = list(transforms.values()), seed
        self.repeat = repeat
        self.annotations: dict[Split, Annotations] = {}
        self.start = EpochPosition()
        self.is_padding_rank = False  # whether what this process sees of validation does not count

    @property
    def ground_truth_file(self) -> Path:
        """The annotations that validation is judged by."""
        return self.annotation_file(self.val_split)

    @property
    def description(self) -> str:
        """What the annotations of validation say they are; scores are never shown without it."""
        return self.annotations[self.val_split].description

    def setup(self, stage: str) -> None:
        """Read what the stage needs: "fit" both halves, everything else validation alone."""
        # whether images without annotations, of which nothing is learned, are left out
        needed = {self.val_split: False} | ({self.train_split: True} if stage == "fit" else {})
        self.check_exists(list(needed))
        for split, only_annotated in needed.items():
            if split not in self.annotations:
                self._make_clean_copy(split)
                self.annotations[split] = self.read_split(split, only_annotated=only_annotated)
                check_labelled(self.annotations[split], self.annotation_file(split))
        if stage == "fit":
            train, val = self.annotations[self.train_split], self.annotations[self.val_split]
            warn_of_shared_images(train, val, self.annotation_file(self.train_split))

    def read_split(self, split: Split, *, only_annotated: bool) -> Annotations:
        """The annotations of a split; raises what `read_annotations` does."""
        return read_annotations(
            self.annotation_file(split),
            self.root / split.images,
            self.skeleton,
            only_annotated=only_annotated,
            options=self.options,
        )

    def annotation_file(self, split: Split) -> Path:
        """The annotations of a split, or their clean copy once there is one."""
        return self.clean_files.get(split, self.root / split.annotations)

    def _make_clean_copy(self, split: Split) -> None:
        """Take a clean copy of a split, where that is asked for; what is left out is told."""
        if self.on_error == "stop" or split in self.clean_files:
            return
        file = self.root / split.annotations
        # training never reads areas, so they drop no image from it
        rules = ReadRules(self.skeleton, self.options, with_areas=split == self.val_split)
        clean_copy = make_clean_copy(file, self.root / split.images, rules)
        self.clean_files[split], self.skip_listings[split] = clean_copy.file, clean_copy.listing
        rank_zero_info(
            f"{file}: {clean_copy.num_images - clean_copy.num_kept} of {clean_copy.num_images} images are left out; "
            f"{clean_copy.listing} says which, and why"
        )

    def check_exists(self, splits: Sequence[Split]) -> None:
        """See that splits are there, before anything slow begins.

        Raises:
            FileNotFoundError: one is not; the sentence says how to get it.
        """
        parts = [self.root / part for split in splits for part in split]
        missing = [str(part) for part in parts if not part.exists()]
        if missing:
            official = all(
                Path(one.annotations).name.startswith(_OFFICIAL_PREFIXES) for one in splits
            )
            raise FileNotFoundError(
                f"the data set lacks {', '.join(missing)}; {_COCO_HINT if official else _CUSTOM_DATA_HINT}"
            )

    def train_dataloader(self) -> DataLoader[Sample]:
        annotations = self.annotations[self.train_split]
        rank, processes = self._rank_and_world_size()
        draws = ResumableDistributedSampler(
            len(annotations),
            self.batch_size,
            repeat=self.repeat,
            seed=self.seed,
            rank=rank,
            num_replicas=processes,
            accumulate_grad_batches=self.trainer.accumulate_grad_batches if self.trainer else 1,
            start=self.start,
        )
        return DataLoader(
            TrainDataset(annotations, self.transforms, seed=self.seed),
            batch_size=self.batch_size,
            sampler=draws,
            **self._loader_options(),
        )

    def val_dataloader(self) -> DataLoader[Sample]:
        whole = ValDataset(self.annotations[self.val_split], self.input_size)
        rank, processes = self._rank_and_world_size()
        batches = SameSizeBatchSampler(
            whole.size_of, len(whole), self.val_batch_size, rank=rank, num_replicas=processes
        )
        self.is_padding_rank = batches.is_padding_rank
        return DataLoader(whole, batch_sampler=batches, **self._loader_options())

    def test_time_dataloader(
        self, input_size: int, scales: Sequence[float]
    ) -> DataLoader[ScaledInputs]:
        """The images of validation as a test looks at them, at each scale; see `ScaledInputs`."""
        views = TestTimeDataset(self.annotations[self.val_split], input_size, scales)
        batches = SameSizeBatchSampler(views.size_of, len(views), self.val_batch_size)
        return DataLoader(views, batch_sampler=batches, **self._loader_options())

    def state_dict(self) -> dict[str, Any]:
        """How far the training is, and what its epochs are cut into; a checkpoint keeps it."""
        trainer = self.trainer
        assert trainer  # whoever saves trains
        epoch = trainer.fit_loop.epoch_progress.current.ready - 1
        taken = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        whole = taken >= trainer.num_training_batches
        here = EpochPosition(epoch + 1) if whole else EpochPosition(epoch, taken)
        return {"position": here._asdict(), "fingerprint": self._epoch_fingerprint()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from where a checkpoint was.

        Raises:
            ValueError: that is within an epoch, whose batches were others than they are now.
        """
        start, before, now = (
            EpochPosition(**state_dict["position"]),
            state_dict["fingerprint"],
            self._epoch_fingerprint(),
        )
        if start.batches and before != now:
            raise ValueError(
                f"the checkpoint was made within an epoch of {before}; of {now} it would be "
                "another: only a checkpoint of an epoch's end goes on so"
            )
        self.start = start

    def _epoch_fingerprint(self) -> dict[str, int]:
        """What says which images are in which batch of an epoch."""
        return {
            "images": len(self.annotations[self.train_split]) * self.repeat,
            "images a batch": self.batch_size,
            "processes": self._rank_and_world_size()[1],
            "seed": self.seed,
        }

    def _rank_and_world_size(self) -> tuple[int, int]:
        """This process's number, and how many share the data."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader_options(self) -> dict[str, Any]:
        """What both loaders are made with."""
        return {
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
            "worker_init_fn": worker_init,
            "pin_memory": torch.cuda.is_available(),
        }


def _parse_split(name: str, value: object) -> Split:
    """Return where one half of a data set lies.

    Raises:
        ValueError: the value is not a pair of paths.
    """
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        return Split(*map(str, value))
    raise ValueError(
        f"data.{name}={value} is not [FILE,FOLDER], annotations and images relative to data.root; "
        "`make split` divides one file into both halves"
    )
