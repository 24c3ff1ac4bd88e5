"""Selection of samples that show the people and masks of a dataset."""

import numpy as np

from tagpose.data.annotations import Annotations
from tagpose.data.datamodule import PoseDataModule
from tagpose.data.datasets import TrainDataset, ValDataset
from tagpose.data.samplers import SampleKey
from tagpose.structures import Sample


def load_train_samples(data: PoseDataModule, number: int) -> list[Sample]:
    """Load augmented samples of the first training epoch.

    Args:
        data: data module.
        number: number of samples.

    Raises:
        FileNotFoundError: an image is missing.
        ValueError: the annotations or an image cannot be read.
    """
    annotations = data.read_split(data.train_split, only_annotated=True)
    dataset = TrainDataset(annotations, data.transforms, seed=data.seed)
    return [dataset[SampleKey(0, i)] for i in pick_samples(annotations, number, data.seed)]


def load_val_samples(data: PoseDataModule, number: int) -> list[Sample]:
    """Load whole images as validation does.

    Args:
        data: data module.
        number: number of samples.

    Raises:
        FileNotFoundError: an image is missing.
        ValueError: the annotations or an image cannot be read.
    """
    annotations = data.read_split(data.val_split, only_annotated=False)
    dataset = ValDataset(annotations, data.input_size)
    return [dataset[i] for i in pick_samples(annotations, number, data.seed)]


def pick_samples(annotations: Annotations, number: int, seed: int) -> list[int]:
    """Draw image indices: preferably with people, and half of them also with an ignored region.

    Args:
        annotations: annotations to draw from.
        number: number of images; all are returned if there are fewer.
        seed: seed of the random order.
    """
    order = np.random.default_rng(seed).permutation(len(annotations))
    has_people = np.diff(annotations.offsets)[order] > 0
    has_mask = np.isin(annotations.image_ids[order], list(annotations.ignored))
    masked = order[has_people & has_mask][: number // 2]
    rest = order[np.argsort(~has_people, kind="stable")]
    return list(dict.fromkeys([*masked.tolist(), *rest.tolist()]))[:number]
