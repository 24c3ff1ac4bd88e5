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
from tagpose.data.coco_schema import ReadOptions, Rules
from tagpose.data.dataset import TrainingSet, WholeSet, single_threaded
from tagpose.data.sampling import Position, SameSizeBatches, ShuffledDraws
from tagpose.data.screening import sound_copy
from tagpose.data.shared_images import warn_of_shared_images
from tagpose.data.view_set import ViewSet
from tagpose.data.views import Views
from tagpose.skeleton import Skeleton
from tagpose.structures import DEEPEST, Sample

_OFFICIAL: Final = ("person_keypoints_", "coco_wholebody_")  # how names of COCO's files begin
_GET_COCO: Final = (
    "`make coco root=FOLDER` downloads COCO 2017 and says how to get COCO-WholeBody's annotations, "
    "from github.com/jin-s13/COCO-WholeBody, into the same folder, which data.root=FOLDER names; "
    "`make demo` needs none of it, and `make synthetic` draws the data set of data=synthetic"
)
_NAME_DATA: Final = (
    "data.root=FOLDER names the folder of the data set, and data.train=[FILE,FOLDER] and "
    "data.val=[FILE,FOLDER] its annotations and images in there"
)


class Split(NamedTuple):
    """Where one half of a data set lies, relative to its root."""

    annotations: str
    images: str


class PoseData(LightningDataModule):
    """A data set in the official layout.

    Args:
        root: folder of the data set.
        skeleton: to read.
        train: where the images to learn from are.
        val: where the images to be judged on are.
        side: of the input in input pixels: the square of training, the shorter side of validation.
        batch_size: images a process takes in a step of training.
        val_batch_size: images of one size in a step of validation.
        workers: processes that read images, for each process of training, and no more than there
            are cores; 0 reads in between.
        transforms: of albumentations for training, by name, in order.
        on_error: "stop" at the first fault of a data set, or "skip" the images that have any; see
            `sound_copy`.
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
        side: int,
        batch_size: int,
        val_batch_size: int,
        workers: int,
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
        if side % DEEPEST:
            raise ValueError(
                f"side={side} is no multiple of {DEEPEST}, by which the network divides it; "
                f"{DEEPEST * max(1, round(side / DEEPEST))} would do"
            )
        self.on_error = on_error
        self.sound: dict[Split, Path] = {}
        self.left_out: dict[Split, Path] = {}  # what is not in a sound copy, line by line
        self.root, self.skeleton = Path(root), skeleton
        self.train_split, self.val_split = _split("train", train), _split("val", val)
        self.options = ReadOptions(category, v0_as_labelled)
        self.side, self.batch_size, self.val_batch_size = side, batch_size, val_batch_size
        self.workers = min(workers, cpu_count() or 1)
        self.transforms, self.seed = list(transforms.values()), seed
        self.repeat = repeat
        self.opened: dict[Split, Annotations] = {}
        self.start = Position()
        self.guest = False  # whether what this process sees of validation does not count

    @property
    def truth_file(self) -> Path:
        """The annotations that validation is judged by."""
        return self.file_of(self.val_split)

    @property
    def description(self) -> str:
        """What the annotations of validation say they are; scores are never shown without it."""
        return self.opened[self.val_split].description

    def setup(self, stage: str) -> None:
        """Read what the stage needs: "fit" both halves, everything else validation alone."""
        # whether images without annotations, of which nothing is learned, are left out
        needed = {self.val_split: False} | ({self.train_split: True} if stage == "fit" else {})
        self.check_there(list(needed))
        for split, only_annotated in needed.items():
            if split not in self.opened:
                self._screen(split)
                self.opened[split] = self.read(split, only_annotated=only_annotated)
                check_labelled(self.opened[split], self.file_of(split))
        if stage == "fit":
            train, val = self.opened[self.train_split], self.opened[self.val_split]
            warn_of_shared_images(train, val, self.file_of(self.train_split))

    def read(self, split: Split, *, only_annotated: bool) -> Annotations:
        """The annotations of a split; raises what `read_annotations` does."""
        return read_annotations(
            self.file_of(split),
            self.root / split.images,
            self.skeleton,
            only_annotated=only_annotated,
            options=self.options,
        )

    def file_of(self, split: Split) -> Path:
        """The annotations of a split, or their sound copy once there is one."""
        return self.sound.get(split, self.root / split.annotations)

    def _screen(self, split: Split) -> None:
        """Take a sound copy of a split, where that is asked for; what is left out is told."""
        if self.on_error == "stop" or split in self.sound:
            return
        file = self.root / split.annotations
        # training never reads areas, so they drop no image from it
        rules = Rules(self.skeleton, self.options, areas=split == self.val_split)
        sound = sound_copy(file, self.root / split.images, rules)
        self.sound[split], self.left_out[split] = sound.file, sound.listing
        rank_zero_info(
            f"{file}: {sound.images - sound.kept} of {sound.images} images are left out; "
            f"{sound.listing} says which, and why"
        )

    def check_there(self, splits: Sequence[Split]) -> None:
        """See that splits are there, before anything slow begins.

        Raises:
            FileNotFoundError: one is not; the sentence says how to get it.
        """
        parts = [self.root / part for split in splits for part in split]
        missing = [str(part) for part in parts if not part.exists()]
        if missing:
            official = all(Path(one.annotations).name.startswith(_OFFICIAL) for one in splits)
            raise FileNotFoundError(
                f"the data set lacks {', '.join(missing)}; {_GET_COCO if official else _NAME_DATA}"
            )

    def train_dataloader(self) -> DataLoader[Sample]:
        annotations = self.opened[self.train_split]
        rank, processes = self._share()
        draws = ShuffledDraws(
            len(annotations),
            self.batch_size,
            repeat=self.repeat,
            seed=self.seed,
            rank=rank,
            processes=processes,
            added=self.trainer.accumulate_grad_batches if self.trainer else 1,
            start=self.start,
        )
        return DataLoader(
            TrainingSet(annotations, self.transforms, seed=self.seed),
            batch_size=self.batch_size,
            sampler=draws,
            **self._workers(),
        )

    def val_dataloader(self) -> DataLoader[Sample]:
        whole = WholeSet(self.opened[self.val_split], self.side)
        rank, processes = self._share()
        batches = SameSizeBatches(
            whole.input_size, len(whole), self.val_batch_size, rank=rank, processes=processes
        )
        self.guest = batches.guest
        return DataLoader(whole, batch_sampler=batches, **self._workers())

    def view_loader(self, side: int, scales: Sequence[float]) -> DataLoader[Views]:
        """The images of validation as a test looks at them, at each scale; see `Views`."""
        views = ViewSet(self.opened[self.val_split], side, scales)
        batches = SameSizeBatches(views.size, len(views), self.val_batch_size)
        return DataLoader(views, batch_sampler=batches, **self._workers())

    def state_dict(self) -> dict[str, Any]:
        """How far the training is, and what its epochs are cut into; a checkpoint keeps it."""
        trainer = self.trainer
        assert trainer  # whoever saves trains
        epoch = trainer.fit_loop.epoch_progress.current.ready - 1
        taken = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        whole = taken >= trainer.num_training_batches
        here = Position(epoch + 1) if whole else Position(epoch, taken)
        return {"position": here._asdict(), "cut": self._cut()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from where a checkpoint was.

        Raises:
            ValueError: that is within an epoch, whose batches were others than they are now.
        """
        start, before, now = Position(**state_dict["position"]), state_dict["cut"], self._cut()
        if start.batches and before != now:
            raise ValueError(
                f"the checkpoint was made within an epoch of {before}; of {now} it would be "
                "another: only a checkpoint of an epoch's end goes on so"
            )
        self.start = start

    def _cut(self) -> dict[str, int]:
        """What says which images are in which batch of an epoch."""
        return {
            "images": len(self.opened[self.train_split]) * self.repeat,
            "images a batch": self.batch_size,
            "processes": self._share()[1],
            "seed": self.seed,
        }

    def _share(self) -> tuple[int, int]:
        """This process's number, and how many share the data."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _workers(self) -> dict[str, Any]:
        """What both loaders are made with."""
        return {
            "num_workers": self.workers,
            "persistent_workers": self.workers > 0,
            "worker_init_fn": single_threaded,
            "pin_memory": torch.cuda.is_available(),
        }


def _split(name: str, value: object) -> Split:
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
