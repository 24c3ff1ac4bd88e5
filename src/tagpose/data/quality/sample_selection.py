"""This file chooses samples that stand for a data set, as training and validation see them."""

import numpy as np

from tagpose.data.annotations import Annotations
from tagpose.data.datamodule import PoseDataModule
from tagpose.data.datasets import SampleKey, TrainDataset, ValDataset
from tagpose.structures import Sample


def load_train_samples(data: PoseDataModule, number: int) -> list[Sample]:
    """Random views as the first epoch of training may draw them.

    Raises:
        FileNotFoundError: an image is missing.
        ValueError: the reader refuses the annotations or an image.
    """
    annotations = data.read_split(data.train_split, only_annotated=True)
    views = TrainDataset(annotations, data.transforms, seed=data.seed)
    return [views[SampleKey(0, place)] for place in pick_samples(annotations, number, data.seed)]


def load_val_samples(data: PoseDataModule, number: int) -> list[Sample]:
    """Whole images as validation shows them.

    Raises:
        FileNotFoundError: an image is missing.
        ValueError: the reader refuses the annotations or an image.
    """
    annotations = data.read_split(data.val_split, only_annotated=False)
    whole = ValDataset(annotations, data.input_size)
    return [whole[place] for place in pick_samples(annotations, number, data.seed)]


def pick_samples(annotations: Annotations, number: int, seed: int) -> list[int]:
    """Places of images drawn by lot: with people, and half of them with a mask, where there are.

    Args:
        annotations: to choose from.
        number: of images, or all where there are fewer.
        seed: of the lot.
    """
    order = np.random.default_rng(seed).permutation(len(annotations))
    inhabited = np.diff(annotations.offsets)[order] > 0
    masked = np.isin(annotations.image_ids[order], list(annotations.ignored))
    first = order[inhabited & masked][: number // 2]
    rest = order[np.argsort(~inhabited, kind="stable")]
    return list(dict.fromkeys([*first.tolist(), *rest.tolist()]))[:number]
