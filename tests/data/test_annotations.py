"""Annotations are read as documented, and errors in a file are reported before training."""

import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as rle

from tagpose.data.annotations import load_record_image, read_annotations
from tagpose.data.ignore_regions import loss_mask
from tagpose.data.images import read_annotated_image
from tagpose.data.rle_masks import decode_counts
from tagpose.skeletons.coco import BODY, WHOLEBODY


def _row(**changes):
    row = {
        "id": 1,
        "image_id": 7,
        "category_id": 1,
        "iscrowd": 0,
        "area": 100.0,
        "bbox": [1.0, 1.0, 5.0, 5.0],
        "segmentation": [],
        "keypoints": [2.0, 3.0, 2] * BODY.size,
    }
    return row | changes


@pytest.fixture
def write(tmp_path):
    """Return a function that writes annotations of a 10 x 8 image, and returns how to read them."""
    Image.new("RGB", (10, 8)).save(tmp_path / "a.jpg")

    def write(*rows, **image):
        file = tmp_path / "annotations.json"
        images = [{"id": 7, "file_name": "a.jpg", "width": 10, "height": 8} | image]
        file.write_text(json.dumps({"images": images, "annotations": rows}))
        return file, tmp_path, BODY

    return write


def test_people_with_keypoints_are_trained_on_and_people_without_are_masked(write):
    hidden = _row(id=2, keypoints=[0] * 3 * BODY.size, bbox=[2, 2, 4, 4])
    annotations = read_annotations(*write(_row(), hidden))
    record = annotations.record(0)
    assert record.keypoints.shape == (1, BODY.size, 3)
    mask = loss_mask(record.ignored, record.width, record.height)
    assert not mask[3:5, 3:5].any()
    assert mask[:1].all()
    assert mask[:, 7:].all()


def test_a_crowd_is_masked_and_adds_no_person(write):
    region = np.zeros((8, 10), bool)
    region[2:4] = True
    runs = [2, *[2, 6] * 9, 2, 4]
    crowd = _row(iscrowd=1, segmentation={"size": [8, 10], "counts": runs})
    record = read_annotations(*write(crowd)).record(0)
    assert len(record.keypoints) == 0
    np.testing.assert_array_equal(loss_mask(record.ignored, 10, 8) == 0, region)


def test_a_fractional_visibility_counts_as_labeled(write):
    faint = _row(keypoints=[2.0, 3.0, 0.02] * BODY.size)
    assert len(read_annotations(*write(faint)).record(0).keypoints) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([_row(keypoints=[1.0] * 12)], "12 numbers in keypoints, but the skeleton has 51"),
        ([_row(keypoints=[float("nan")] * 51)], "not finite"),
        ([_row(keypoints=["1"] * 50 + ["x"])], "'x' in keypoints, which is not a finite number"),
        ([_row(image_id=[7])], r"has the image_id \[7\]"),
        ([_row(bbox=[1, 2, -3, 4])], "a negative side"),
        ([_row(iscrowd=1, segmentation={"size": [8, 10], "counts": [3]})], "covers 3 pixels"),
        ([_row(iscrowd=1, segmentation={"size": [9, 9], "counts": [81]})], "its size is"),
        ([_row(iscrowd=1, segmentation=[[1, 2]])], "cannot be read"),
        ([_row(iscrowd=1, segmentation=[[1e9, 2, 3, 4, 5, 6]])], "far outside the image"),
    ],
)
def test_an_invalid_annotation_is_reported_with_its_file(write, rows, message):
    with pytest.raises(ValueError, match=message) as error:
        read_annotations(*write(*rows))
    assert "annotations.json" in str(error.value)


def test_a_body_file_is_rejected_for_the_wholebody_skeleton(write):
    file, folder, _ = write(_row())
    with pytest.raises(ValueError, match="no list in foot_kpts"):
        read_annotations(file, folder, WHOLEBODY)


@pytest.mark.parametrize("name", ["../b.jpg", "/etc/passwd", "..", "", None, 5])
def test_a_file_name_cannot_escape_the_image_folder(write, tmp_path, name):
    (tmp_path.parent / "b.jpg").touch()
    with pytest.raises((ValueError, FileNotFoundError), match=r"file_name|has no file"):
        read_annotations(*write(_row(), file_name=name))


def test_a_missing_image_is_reported_when_annotations_are_read(write):
    with pytest.raises(FileNotFoundError, match=r"image 7 has no file 'b\.jpg'"):
        read_annotations(*write(_row(), file_name="b.jpg"))


@pytest.mark.parametrize("text", ["", '{"images": [', "[]", '{"images": []}', "<html>"])
def test_a_file_that_is_not_an_annotation_file_is_rejected(tmp_path, text):
    file = tmp_path / "annotations.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"annotations\.json"):
        read_annotations(file, tmp_path, BODY)


def test_an_empty_data_set_is_rejected(tmp_path):
    file = tmp_path / "annotations.json"
    file.write_text('{"images": [], "annotations": []}')
    with pytest.raises(ValueError, match="no image"):
        read_annotations(file, tmp_path, BODY)


def test_an_image_whose_size_differs_from_its_annotation_is_rejected(write):
    record = read_annotations(*write(_row(), width=20)).record(0)
    with pytest.raises(ValueError, match=r"10 x 8 pixels, but its annotation has 20 x 8.*skip"):
        load_record_image(record)


@pytest.mark.parametrize("size", [0, 20, 300])
def test_a_truncated_image_is_rejected(tmp_path, size):
    file = tmp_path / "a.jpg"
    Image.effect_noise((64, 64), 50).convert("RGB").save(file)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"a\.jpg cannot be read as an image"):
        read_annotated_image(file)


@given(runs=st.lists(st.integers(0, 5000), min_size=1, max_size=40))
def test_compressed_counts_are_decoded_to_the_runs_that_pycocotools_encoded(runs):
    pixels = sum(runs)
    assume(pixels)
    uncompressed = {"size": [pixels, 1], "counts": runs}
    compressed = rle.frPyObjects(uncompressed, pixels, 1)["counts"].decode()
    assert decode_counts(compressed) == runs


@pytest.mark.parametrize(
    "counts", ["", "1", "o", "^^^^^^^^^^^^^^^", "ÿÿ", "1" * 500, "PPPPPP0", [-80, 160]]
)
def test_counts_that_would_make_pycocotools_read_past_its_memory_are_rejected(write, counts):
    crowd = _row(iscrowd=1, segmentation={"size": [8, 10], "counts": counts})
    with pytest.raises(ValueError, match="annotation 1 has a segmentation that cannot be read"):
        read_annotations(*write(crowd))
