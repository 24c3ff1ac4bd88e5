"""This file chooses samples that stand for a data set, as training and validation see them."""

import numpy as np

from tagpose.data.annotations import Annotations
from tagpose.data.datamodule import PoseData
from tagpose.data.dataset import Draw, TrainingSet, WholeSet
from tagpose.structures import Sample


def training_samples(data: PoseData, number: int) -> list[Sample]:
    """Random views as the first epoch of training may draw them.

    Raises:
        FileNotFoundError: an image is missing.
        ValueError: the reader refuses the annotations or an image.
    """
    annotations = data.read(data.train_split, only_annotated=True)
    views = TrainingSet(annotations, data.transforms, seed=data.seed)
    return [views[Draw(0, place)] for place in choose(annotations, number, data.seed)]


def validation_samples(data: PoseData, number: int) -> list[Sample]:
    """Whole images as validation shows them.

    Raises:
        FileNotFoundError: an image is missing.
        ValueError: the reader refuses the annotations or an image.
    """
    annotations = data.read(data.val_split, only_annotated=False)
    whole = WholeSet(annotations, data.side)
    return [whole[place] for place in choose(annotations, number, data.seed)]


def choose(annotations: Annotations, number: int, seed: int) -> list[int]:
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
