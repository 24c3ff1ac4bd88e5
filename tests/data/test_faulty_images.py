"""Errors in a dataset stop training with a clear message, or are skipped in a clean copy.

`FAULTS` lists every known fault, the message of the strict reader, and the number of images that a
clean copy skips.
"""

import json
import shutil
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from PIL import Image

from tagpose.data.annotations import read_annotations
from tagpose.data.coco_schema import ReadRules
from tagpose.data.datasets import ValDataset
from tagpose.data.quality.clean_copy import make_clean_copy
from tagpose.evaluation.ground_truth import read_ground_truth
from tagpose.skeletons.coco import BODY

FILE, IMAGES = "annotations/person_keypoints_train2017.json", "train2017"
INPUT_SIZE = 64


@pytest.fixture
def root(people, tmp_path):
    """Return the root of a copy of the valid dataset of 12 images, which a test may damage."""
    shutil.copytree(people, tmp_path / "data", ignore=shutil.ignore_patterns(".tagpose"))
    return tmp_path / "data"


def annotation(**changes):
    """Return a fault that changes fields of the first annotation."""

    def damage(content, folder):
        content["annotations"][0] |= changes

    return damage


def keypoint(index, value):
    """Return a fault that changes one number of the first annotation's keypoints."""

    def damage(content, folder):
        content["annotations"][0]["keypoints"][index] = value

    return damage


def image(**changes):
    """Return a fault that changes fields of the first image."""

    def damage(content, folder):
        content["images"][0] |= changes

    return damage


def image_file(write):
    """Return a fault that changes the file of the first image."""

    def damage(content, folder):
        write(folder / content["images"][0]["file_name"])

    return damage


def truncate(file):
    file.write_bytes(file.read_bytes()[:-200])


def resize(file):
    stored = Image.open(file).convert("RGB")
    stored.resize((stored.width - 1, stored.height)).save(file)


def write_bomb(file):
    """Write an image of 30,000 x 30,000 pixels that has only a few hundred bytes."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    file.write_bytes(start + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))


def repeat_image_id(content, folder):
    content["images"].append(content["images"][0] | {"file_name": "elsewhere.jpg"})


def repeat_file_name(content, folder):
    content["images"][1]["file_name"] = content["images"][0]["file_name"]


NAN, INFINITY = float("nan"), float("inf")
UNREADABLE = "cannot be read as an image"
# name -> fault, message of the strict reader, number of images that a clean copy skips
FAULTS = {
    "truncated image": (image_file(truncate), UNREADABLE, 1),
    "empty image file": (image_file(lambda f: f.write_bytes(b"")), UNREADABLE, 1),
    "text file named .jpg": (image_file(lambda f: f.write_text("<html>")), UNREADABLE, 1),
    "missing image file": (image_file(lambda f: f.unlink()), "has no file", 1),
    "image of another size": (image_file(resize), "pixels, but", 1),
    "image that unpacks to 3 GB": (image_file(write_bomb), "30000 x 30000 pixels|bomb", 1),
    "wrong number of keypoints": (annotation(keypoints=[1.0] * 12), "12 numbers", 1),
    "keypoints that are not a list": (annotation(keypoints={}), "no list in keypoints", 1),
    "keypoint NaN": (keypoint(0, NAN), "not finite", 1),
    "infinite keypoint": (keypoint(1, INFINITY), "not finite", 1),
    "text as a keypoint": (keypoint(0, "x"), "'x' in keypoints", 1),
    "visibility of 7": (keypoint(2, 7), "visibility of 7", 1),
    "visibility of -1": (keypoint(2, -1), "visibility of -1", 1),
    "box with a negative side": (annotation(bbox=[1, 1, -5, 5]), "bbox", 1),
    "box of NaN": (annotation(bbox=[NAN] * 4), "bbox", 1),
    "box of text": (annotation(bbox=list("123x")), "bbox", 1),
    "invalid box of a part": (annotation(body_box=[1, 2, 3]), "body_box", 1),
    "invalid polygon": (annotation(iscrowd=1, segmentation=[[1, 2]]), "cannot be read|polygon", 1),
    "list as an image id": (annotation(image_id=[1]), "has the image_id", 0),
    "iscrowd of 2": (annotation(iscrowd=2), "iscrowd 2", 1),
    "duplicate image id": (repeat_image_id, "has the id of", 1),
    "duplicate file name": (repeat_file_name, "which image .* also has", 2),
    "image width of 0": (image(width=0), "has the size", 1),
    "image height of text": (image(height="x"), "has the size", 1),
    "image height of 2 billion": (image(height=2**31), "more than the maximum", 1),
    "file name outside the folder": (image(file_name="../a.jpg"), "has no file", 1),
    "absolute file name": (image(file_name="/etc/passwd"), "has no file", 1),
    "missing file name": (image(file_name=None), "file_name", 1),
    "annotation that is not an object": (
        lambda content, folder: content["annotations"].append([]), "not an object", 0,
    ),
    "image that is not an object": (
        lambda content, folder: content["images"].append(7), "not an object", 0,
    ),
}  # fmt: skip


def apply_fault(root, fault):
    content = json.loads((root / FILE).read_text())
    fault(content, root / IMAGES)
    (root / FILE).write_text(json.dumps(content))


def load_all(annotations):
    """Load every image as training does."""
    dataset = ValDataset(annotations, INPUT_SIZE)
    return [dataset[index] for index in range(len(dataset))]


@pytest.mark.parametrize(("fault", "message", "num_skipped"), FAULTS.values(), ids=FAULTS)
def test_the_strict_reader_rejects_a_fault_and_a_clean_copy_skips_it(
    root, fault, message, num_skipped
):
    apply_fault(root, fault)
    arguments = root / FILE, root / IMAGES, BODY
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_all(read_annotations(*arguments))
    clean_copy = make_clean_copy(root / FILE, root / IMAGES, ReadRules(BODY))
    annotations = read_annotations(clean_copy.file, root / IMAGES, BODY)
    assert len(annotations) == clean_copy.num_kept == 12 - num_skipped
    for sample in load_all(annotations):
        assert torch.isfinite(sample.keypoints).all()
    assert clean_copy.listing.read_text().strip()


@pytest.mark.parametrize("area", ["x", [], NAN])
def test_an_invalid_area_drops_an_image_from_evaluation_but_not_from_training(root, area):
    apply_fault(root, annotation(area=area))
    for with_areas, expected in ((True, 11), (False, 12)):
        rules = ReadRules(BODY, with_areas=with_areas)
        clean_copy = make_clean_copy(root / FILE, root / IMAGES, rules)
        assert clean_copy.num_kept == expected
        assert len(read_annotations(clean_copy.file, root / IMAGES, BODY)) == expected
        if with_areas:
            assert len(read_ground_truth(clean_copy.file, BODY).image_ids) == expected


def test_concurrent_processes_make_a_clean_copy_only_once(root):
    apply_fault(root, keypoint(0, NAN))
    arguments = root / FILE, root / IMAGES, ReadRules(BODY)
    with ThreadPoolExecutor(4) as pool:
        copies = list(pool.map(lambda _: make_clean_copy(*arguments), range(4)))
    assert sum(copy.is_new for copy in copies) == 1
    assert {(copy.file, copy.num_kept) for copy in copies} == {(copies[0].file, 11)}
