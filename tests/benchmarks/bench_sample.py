"""Samples of the datasets, compared with the minimum of work: decoding and warping an image.

The reference decodes with OpenCV, which is faster than Pillow with the same pixels, and warps with
the affine of the sample.
"""

import json

import cv2
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from helpers.run_scripts import ROOT
from tagpose.data.annotations import read_annotations
from tagpose.data.datasets import TrainDataset, ValDataset
from tagpose.data.samplers import SampleKey
from tagpose.skeletons.coco import WHOLEBODY

WIDTH, HEIGHT, INPUT_SIZE = 640, 480, 512
PEOPLE, MAX_PEOPLE = 5, 30  # per image; samples are padded to the maximum
RECIPE = ROOT / "conf/augmentation/default.yaml"
CROWD = [[50, 60, 400, 40, 420, 200, 300, 330, 80, 210]]  # polygon x1, y1, x2, y2, ...


def write_photo(file):
    """Write an image with details of all sizes and the file size of a COCO image."""
    rng = np.random.default_rng(0)
    layers = [
        cv2.resize(rng.normal(0, 80 / width**0.5, (width * 3 // 4, width, 3)), (WIDTH, HEIGHT))
        for width in (4, 16, 64, 256, WIDTH)
    ]
    image = np.clip(128 + np.sum(layers, 0), 0, 255).astype(np.uint8)
    Image.fromarray(image).save(file, quality=95)


def person(image_id, number, rng, **more):
    """Return an annotation with all keypoints labeled."""
    points = np.c_[rng.uniform(0, (WIDTH, HEIGHT), (WHOLEBODY.size, 2)), np.ones(WHOLEBODY.size)]
    keypoints = {key: points[index].ravel().tolist() for key, index in WHOLEBODY.json_keys.items()}
    return (
        {"id": number, "image_id": image_id, "iscrowd": 0, "bbox": [9, 9, 99, 99]}
        | keypoints
        | more
    )


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    """Return annotations of 5 people in image 0, 5 and a crowd in image 1, and 30 in image 2."""
    folder, rng = tmp_path_factory.mktemp("samples"), np.random.default_rng(0)
    names = [f"{n}.jpg" for n in range(3)]
    for name in names:
        write_photo(folder / name)
    size = {"width": WIDTH, "height": HEIGHT}
    counts = (PEOPLE, PEOPLE, MAX_PEOPLE)
    image_ids = [image for image, count in enumerate(counts) for _ in range(count)]
    rows = [person(image, number, rng) for number, image in enumerate(image_ids)]
    rows.append(person(1, len(rows), rng, iscrowd=1, segmentation=CROWD))
    content = {
        "images": [{"id": n, "file_name": name, **size} for n, name in enumerate(names)],
        "annotations": rows,
    }
    (folder / "a.json").write_text(json.dumps(content))
    return read_annotations(folder / "a.json", folder, WHOLEBODY)


@pytest.fixture(autouse=True)
def _one_thread():
    """Use one thread, like a DataLoader worker."""
    threads = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    yield
    cv2.setNumThreads(threads[0])
    torch.set_num_threads(threads[1])


def train_dataset(annotations):
    """Return the training set of the default recipe."""
    recipe = OmegaConf.load(RECIPE)
    skeleton = {"_target_": "tagpose.skeletons.custom.build_skeleton", "name": "wholebody"}
    cfg = OmegaConf.create({"input_size": INPUT_SIZE, "skeleton": skeleton, "transforms": recipe})
    return TrainDataset(annotations, list(instantiate(cfg.transforms, _convert_="object").values()))


def decode_and_warp(annotations, sample):
    """Return the reference of a sample."""
    file, affine = str(annotations.record(0).file), sample.affine.numpy()
    size = sample.image.shape[:0:-1]

    def work():
        cv2.warpAffine(cv2.imread(file, cv2.IMREAD_COLOR), affine, size, flags=cv2.INTER_LINEAR)

    return work


@pytest.mark.parametrize(
    ("step", "index", "is_val"),
    [
        ("one training sample, 640 x 480 JPEG to 512", 0, False),
        ("the same with a crowd", 1, False),
        ("one sample at test time, 640 x 480 JPEG to 704 x 512", 0, True),
    ],
)
def test_a_sample_takes_at_most_twice_the_reference(measure, annotations, step, index, is_val):
    dataset = ValDataset(annotations, INPUT_SIZE) if is_val else train_dataset(annotations)
    key = index if is_val else SampleKey(0, index)
    sample = dataset[key]
    measure(
        step,
        lambda: dataset[key],
        limit=2.0,
        reference_name="JPEG decode + one warp",
        reference=decode_and_warp(annotations, sample),
        rounds=50,
        # a worker puts whole storages into shared memory, not only the visible part of a tensor
        memory=sum(tensor.untyped_storage().nbytes() for tensor in sample) / 1e6,
        memory_limit=None if is_val else 1,
    )
