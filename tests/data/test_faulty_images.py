"""What is broken in a data set stops training with its name, or is left out, counted and listed.

The table has every fault that is known, what the strict reader says of it, and what the lenient
one makes of it.
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
SIDE = 64


@pytest.fixture
def root(people, tmp_path):
    """A sound data set of 12 images, to be broken."""
    shutil.copytree(people, tmp_path / "data", ignore=shutil.ignore_patterns(".tagpose"))
    return tmp_path / "data"


def row(**changes):
    """Breaks the first annotation by changing its fields."""

    def broken(content, folder):
        content["annotations"][0] |= changes

    return broken


def keypoints(**by_place):
    """Breaks numbers of the first annotation's keypoints."""

    def broken(content, folder):
        for place, value in by_place.items():
            content["annotations"][0]["keypoints"][int(place[1:])] = value

    return broken


def picture(write):
    """Breaks the file of the first image."""

    def broken(content, folder):
        write(folder / content["images"][0]["file_name"])

    return broken


def image(**changes):
    def broken(content, folder):
        content["images"][0] |= changes

    return broken


def cut(file):
    file.write_bytes(file.read_bytes()[:-200])


def turned(file):
    stored = Image.open(file).convert("RGB")
    stored.resize((stored.width - 1, stored.height)).save(file)


def bomb(file):
    """A picture of 30,000 x 30,000 pixels in some hundred bytes."""

    def chunk(kind, content):
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    file.write_bytes(start + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))


def image_twice(content, folder):
    content["images"].append(content["images"][0] | {"file_name": "elsewhere.jpg"})


def file_twice(content, folder):
    content["images"][1]["file_name"] = content["images"][0]["file_name"]


NAN, INFINITE = float("nan"), float("inf")
# what is broken, what is said of it, how many images are left out
FAULTS = {
    "picture cut off": (picture(cut), "cannot be read as a picture", 1),
    "picture of no bytes": (picture(lambda f: f.write_bytes(b"")), "cannot be read as a", 1),
    "text named .jpg": (picture(lambda f: f.write_text("<html>")), "cannot be read as a", 1),
    "picture missing": (picture(lambda f: f.unlink()), "has no file", 1),
    "picture of another size": (picture(turned), "pixels, ", 1),
    "picture that unpacks to 3 GB": (picture(bomb), "30000 x 30000 pixels|bomb", 1),
    "keypoints of a wrong length": (row(keypoints=[1.0] * 12), "12 numbers", 1),
    "keypoints that are no list": (row(keypoints={}), "none in keypoints", 1),
    "keypoint NaN": (keypoints(_0=NAN), "not finite", 1),
    "keypoint infinite": (keypoints(_1=INFINITE), "not finite", 1),
    "text for a keypoint": (keypoints(_0="x"), "'x' in keypoints", 1),
    "visibility of 7": (keypoints(_2=7), "visibility of 7", 1),
    "visibility of -1": (keypoints(_2=-1), "visibility of -1", 1),
    "box with a negative side": (row(bbox=[1, 1, -5, 5]), "bbox", 1),
    "box of NaN": (row(bbox=[NAN] * 4), "bbox", 1),
    "box of texts": (row(bbox=list("123x")), "bbox", 1),
    "box of a part that is none": (row(body_box=[1, 2, 3]), "body_box", 1),
    "outline that is none": (row(iscrowd=1, segmentation=[[1, 2]]), "cannot be read|polygon", 1),
    "list for an image id": (row(image_id=[1]), "has the image_id", 0),
    "crowd of 2": (row(iscrowd=2), "iscrowd 2", 1),
    "image id twice": (image_twice, "has the id of", 1),
    "file of two images": (file_twice, "as image .* has", 2),
    "image of no size": (image(width=0), "has the size", 1),
    "size that is no number": (image(height="x"), "has the size", 1),
    "size of 400 GB": (image(height=2**31), "are read at most", 1),
    "file name out of the folder": (image(file_name="../a.jpg"), "has no file", 1),
    "absolute file name": (image(file_name="/etc/passwd"), "has no file", 1),
    "no file name": (image(file_name=None), "file_name", 1),
    "annotation that is no object": (
        lambda content, folder: content["annotations"].append([]), "not an object", 0,
    ),
    "image that is no object": (
        lambda content, folder: content["images"].append(7), "not an object", 0,
    ),
}  # fmt: skip


def break_it(root, fault):
    content = json.loads((root / FILE).read_text())
    fault(content, root / IMAGES)
    (root / FILE).write_text(json.dumps(content))


def see_all(annotations):
    """Read every image as training does."""
    whole = ValDataset(annotations, SIDE)
    return [whole[number] for number in range(len(whole))]


@pytest.mark.parametrize(("fault", "says", "left_out"), FAULTS.values(), ids=FAULTS)
def test_a_fault_stops_the_strict_reader_and_the_lenient_one_leaves_it_out(
    root, fault, says, left_out
):
    break_it(root, fault)
    arguments = root / FILE, root / IMAGES, BODY
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        see_all(read_annotations(*arguments))
    clean_copy = make_clean_copy(root / FILE, root / IMAGES, ReadRules(BODY))
    annotations = read_annotations(clean_copy.file, root / IMAGES, BODY)
    assert len(annotations) == clean_copy.num_kept == 12 - left_out
    for sample in see_all(annotations):
        assert torch.isfinite(sample.keypoints).all()
    assert clean_copy.listing.read_text().strip()


@pytest.mark.parametrize("area", ["x", [], NAN])
def test_an_image_is_left_out_for_a_bad_area_in_scoring_and_not_in_training(root, area):
    break_it(root, row(area=area))
    for areas, kept in ((True, 11), (False, 12)):
        clean_copy = make_clean_copy(root / FILE, root / IMAGES, ReadRules(BODY, with_areas=areas))
        assert clean_copy.num_kept == kept
        assert len(read_annotations(clean_copy.file, root / IMAGES, BODY)) == kept
        if areas:
            assert len(read_ground_truth(clean_copy.file, BODY).image_ids) == kept


def test_of_several_that_want_a_clean_copy_at_once_one_makes_it_and_all_have_it(root):
    break_it(root, keypoints(_0=NAN))
    with ThreadPoolExecutor(4) as several:
        waiting = [
            several.submit(make_clean_copy, root / FILE, root / IMAGES, ReadRules(BODY))
            for _ in range(4)
        ]
    copies = [one.result() for one in waiting]
    assert sum(copy.is_new for copy in copies) == 1
    assert {(copy.file, copy.num_kept) for copy in copies} == {(copies[0].file, 11)}
