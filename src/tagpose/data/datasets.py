"""Map-style datasets for training, validation and test-time inference."""

from collections.abc import Sequence

import albumentations as A
import numpy as np
import torch
from torch.utils.data import Dataset

from tagpose.data.annotations import Annotations, ImageRecord, load_record_image
from tagpose.data.ignore_regions import loss_mask
from tagpose.data.input_size import compute_input_dimensions, compute_multiscale_dimensions
from tagpose.data.preprocessing import ScaledInputs, resize_to_scales, to_channels_first
from tagpose.data.samplers import SampleKey
from tagpose.data.transforms import (
    TransformedImage,
    compose_transforms,
    resize_whole,
    transform_boxes,
)
from tagpose.geometry import resize_affine
from tagpose.structures import Sample


class TrainDataset(Dataset[Sample]):
    """Randomly augmented images, reproducible for a given seed and `SampleKey`.

    Args:
        annotations: annotated images.
        transforms: albumentations transforms, in order; one of them must resize all images to the
            same size.
        seed: seed of the augmentation.
    """

    def __init__(
        self,
        annotations: Annotations,
        transforms: Sequence[A.BasicTransform],
        *,
        seed: int = 0,
    ) -> None:
        self.annotations, self.seed = annotations, seed
        # position in the list, from 1 -> transform
        self.active_transforms = {n: t for n, t in enumerate(transforms, 1) if t.p > 0}
        self.transform = compose_transforms(list(self.active_transforms.values()))

    def __getitem__(self, key: SampleKey) -> Sample:
        record = self.annotations.record(key.image_index)
        self._seed(key)
        people, num_keypoints = record.keypoints.shape[:2]
        result = self.transform(
            image=load_record_image(record),
            mask=loss_mask(record.ignored, record.width, record.height),
            keypoints=record.keypoints.reshape(-1, 3),
            affine=np.eye(2, 3),
        )
        keypoints = np.asarray(result["keypoints"], np.float32)
        transformed = TransformedImage(
            image=result["image"],
            # albumentations returns two columns for an empty list of keypoints
            keypoints=keypoints.reshape(people, num_keypoints, 3) if people else record.keypoints,
            mask=result["mask"],
            affine=result["affine"],
        )
        return make_sample(record, transformed, self.annotations)

    def __len__(self) -> int:
        return len(self.annotations)

    def _seed(self, key: SampleKey) -> None:
        """Seed each transform separately, because a common seed would correlate them.

        The seed depends on the position of a transform, so enabling one does not change the others.
        """
        sequence = np.random.SeedSequence([self.seed, *key])
        seeds = sequence.generate_state(1 + max(self.active_transforms, default=0))
        for position, transform in self.active_transforms.items():
            transform.set_random_seed(int(seeds[position]))


class ValDataset(Dataset[Sample]):
    """Whole images with their annotations, resized as at test time.

    Args:
        annotations: annotated images.
        input_size: shorter side of the input in input pixels.
    """

    def __init__(self, annotations: Annotations, input_size: int) -> None:
        self.annotations, self.input_size = annotations, input_size

    def __getitem__(self, index: int) -> Sample:
        record = self.annotations.record(index)
        image, size = load_record_image(record), self.size_of(index)
        mask = loss_mask(record.ignored, record.width, record.height)
        affine = resize_affine(record.width, record.height, size)
        resized = resize_whole(image, record.keypoints, mask, affine, size)
        return make_sample(record, resized, self.annotations)

    def __len__(self) -> int:
        return len(self.annotations)

    def size_of(self, index: int) -> tuple[int, int]:
        """Return width, height of an image's input, in input pixels."""
        width, height = self.annotations.sizes[index].tolist()
        return compute_input_dimensions(width, height, self.input_size)


class TestTimeDataset(Dataset[ScaledInputs]):
    """Whole images without annotations, resized to one or several test-time scales.

    Args:
        annotations: images.
        input_size: shorter side of the input at scale 1, in input pixels.
        scales: test-time scales, which include 1.
    """

    def __init__(self, annotations: Annotations, input_size: int, scales: Sequence[float]) -> None:
        self.annotations, self.input_size, self.scales = annotations, input_size, scales

    def __getitem__(self, index: int) -> ScaledInputs:
        record = self.annotations.record(index)
        image = load_record_image(record)
        return resize_to_scales(image, self.input_size, self.scales, record.image_id)

    def __len__(self) -> int:
        return len(self.annotations)

    def size_of(self, index: int) -> tuple[int, int]:
        """Return width, height of the input at the first scale, which determine all others."""
        width, height = self.annotations.sizes[index].tolist()
        return compute_multiscale_dimensions(width, height, self.input_size, self.scales)[0]


def make_sample(
    record: ImageRecord, transformed: TransformedImage, annotations: Annotations
) -> Sample:
    """Convert a transformed image to tensors, zero-padded to `max_people_per_image` people."""
    boxes = transform_boxes(record.unlabeled, transformed.affine, annotations.skeleton)
    keypoints, boxes = (
        _pad_rows(array, annotations.max_people_per_image)
        for array in (transformed.keypoints, boxes)
    )
    return Sample(
        image=torch.from_numpy(to_channels_first(transformed.image)),
        keypoints=torch.from_numpy(keypoints),
        mask=torch.from_numpy(transformed.mask),
        unlabeled=torch.from_numpy(boxes),
        affine=torch.from_numpy(transformed.affine),
        image_id=torch.from_numpy(np.array(record.image_id)),
    )


def _pad_rows(array: np.ndarray, length: int) -> np.ndarray:
    """Append rows of zeros up to a length."""
    padding = np.zeros((length - len(array), *array.shape[1:]), np.float32)
    return np.concatenate([array, padding])
