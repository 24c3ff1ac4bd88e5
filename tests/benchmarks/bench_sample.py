"""One sample of a data loader, held against what nothing can leave out: a decode and a warp.

The yardstick decodes with OpenCV, which is quicker than Pillow and gives the same pixels, and warps
through the sample's own affine.
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
from tagpose.data.datasets import SampleKey, TrainDataset, ValDataset
from tagpose.skeletons.coco import WHOLEBODY

WIDTH, HEIGHT, SIDE = 640, 480, 512
PEOPLE, MOST = 5, 30  # in the image, and in the fullest one, to which samples are padded
RECIPE = ROOT / "conf/augmentation/default.yaml"
CROWD = [[50, 60, 400, 40, 420, 200, 300, 330, 80, 210]]  # x, y after x, y


def photograph(file):
    """A picture with detail of all sizes, as large a file as a photograph of COCO."""
    rng = np.random.default_rng(0)
    layers = [
        cv2.resize(rng.normal(0, 80 / across**0.5, (across * 3 // 4, across, 3)), (WIDTH, HEIGHT))
        for across in (4, 16, 64, 256, WIDTH)
    ]
    picture = np.clip(128 + np.sum(layers, 0), 0, 255).astype(np.uint8)
    Image.fromarray(picture).save(file, quality=95)


def person(image_id, number, rng, **more):
    """An annotation whose keypoints are all labelled."""
    points = np.c_[rng.uniform(0, (WIDTH, HEIGHT), (WHOLEBODY.size, 2)), np.ones(WHOLEBODY.size)]
    fields = {field: points[at].ravel().tolist() for field, at in WHOLEBODY.json_keys.items()}
    return {"id": number, "image_id": image_id, "bbox": [9, 9, 99, 99], **fields, **more}


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    """Image 0 has 5 people, image 1 a crowd besides, image 2 is the fullest."""
    folder, rng = tmp_path_factory.mktemp("samples"), np.random.default_rng(0)
    names = [f"{n}.jpg" for n in range(3)]
    for name in names:
        photograph(folder / name)
    size = {"width": WIDTH, "height": HEIGHT}
    places = [image for image, many in enumerate((PEOPLE, PEOPLE, MOST)) for _ in range(many)]
    rows = [person(image, number, rng) for number, image in enumerate(places)]
    rows.append(person(1, len(rows), rng, iscrowd=1, segmentation=CROWD))
    content = {
        "images": [{"id": n, "file_name": name, **size} for n, name in enumerate(names)],
        "annotations": rows,
    }
    (folder / "a.json").write_text(json.dumps(content))
    return read_annotations(folder / "a.json", folder, WHOLEBODY)


@pytest.fixture(autouse=True)
def _one_thread():
    """As in a worker of a loader."""
    threads = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    yield
    cv2.setNumThreads(threads[0])
    torch.set_num_threads(threads[1])


def training(annotations):
    """The set of the default recipe."""
    recipe = OmegaConf.load(RECIPE)
    skeleton = {"_target_": "tagpose.skeletons.custom.build_skeleton", "name": "wholebody"}
    cfg = OmegaConf.create({"input_size": SIDE, "skeleton": skeleton, "transforms": recipe})
    return TrainDataset(annotations, list(instantiate(cfg.transforms, _convert_="object").values()))


def decode_and_warp(annotations, sample):
    """The yardstick of a sample."""
    file, affine = str(annotations.record(0).file), sample.affine.numpy()
    size = sample.image.shape[:0:-1]

    def work():
        cv2.warpAffine(cv2.imread(file, cv2.IMREAD_COLOR), affine, size, flags=cv2.INTER_LINEAR)

    return work


@pytest.mark.parametrize(
    ("step", "index", "whole"),
    [
        ("one training sample, 640 x 480 JPEG to 512", 0, False),
        ("the same beside a crowd", 1, False),
        ("one sample at test time, 640 x 480 JPEG to 704 x 512", 0, True),
    ],
)
def test_a_sample_takes_two_decodes_and_warps_at_most(measure, annotations, step, index, whole):
    samples = ValDataset(annotations, SIDE) if whole else training(annotations)
    at = index if whole else SampleKey(0, index)
    sample = samples[at]
    measure(
        step,
        lambda: samples[at],
        limit=2.0,
        against="JPEG decode + one warp",
        yardstick=decode_and_warp(annotations, sample),
        rounds=50,
        # what a worker puts into shared memory: storages, not what of them a tensor shows
        memory=sum(field.untyped_storage().nbytes() for field in sample) / 1e6,
        memory_limit=None if whole else 1,
    )
