"""The cache returns what was parsed, and is rebuilt whenever the file has changed."""

import json
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from tagpose.data import annotations as annotations_module
from tagpose.data import array_cache
from tagpose.data.annotations import Annotations, read_annotations
from tagpose.data.datasets import TrainDataset
from tagpose.data.ignore_regions import loss_mask
from tagpose.data.transforms import RandomAffineCrop
from tagpose.skeletons.coco import BODY, WHOLEBODY

IMAGES = 4
POLYGON = [1, 1, 8, 1, 8, 6, 1, 6]


def write(folder, images=IMAGES, shift=0.0, names="{}.png", encoding="utf-8"):
    """Write images with three annotations each: a labeled person, an unlabeled one, a crowd."""
    rng, rows, image_rows = np.random.default_rng(0), [], []
    for n in range(3 * images):
        row = {
            "id": 300 + n,
            "image_id": 7 + n % images,
            "iscrowd": n % 3 // 2,
            "bbox": [1, 1, 5, n % 3],
        }
        for field, at in WHOLEBODY.json_keys.items():
            points = rng.uniform((shift, shift, 0), (8, 8, 2), (at.stop - at.start, 3))
            row[field] = (points * (n % 3 != 1)).ravel().tolist()
        rows.append(row | {"segmentation": [POLYGON] * (n % 2)})
    for n in (*range(images), -6):
        image_rows.append({"id": 7 + n, "file_name": names.format(n), "width": 12, "height": 9})
        (folder / names.format(n)).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 9)).save(folder / names.format(n))
    content = {"info": {"description": "drawn"}, "annotations": rows, "images": image_rows}
    folder.mkdir(exist_ok=True)
    (folder / "a.json").write_text(json.dumps(content), encoding)
    return folder / "a.json", folder, WHOLEBODY


def assert_equal(one, other):
    """Check that annotations are equal, field by field and image by image."""
    for field in fields(Annotations):
        if field.name not in ("ignored", "cache_file", "skeleton"):
            a, b = (getattr(annotations, field.name) for annotations in (one, other))
            np.testing.assert_array_equal(a, b)
            assert getattr(a, "dtype", None) == getattr(b, "dtype", None)
    assert dict(one.ignored) == dict(other.ignored)
    assert one.skeleton == other.skeleton
    for index in range(len(one)):
        a, b = (annotations.record(index) for annotations in (one, other))
        for name in ("keypoints", "unlabeled"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        without_arrays = {"keypoints": None, "unlabeled": None}
        assert a._replace(**without_arrays) == b._replace(**without_arrays)


def read_uncached(monkeypatch, *arguments, **options):
    """Return annotations that are read while no cache can be written."""
    file = arguments[0]
    shutil.rmtree(file.parent / ".tagpose", ignore_errors=True)
    (file.parent / ".tagpose").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    with pytest.warns(UserWarning, match=r"a\.json will be parsed each time.*XDG_CACHE_HOME"):
        annotations = read_annotations(*arguments, **options)
    (file.parent / ".tagpose").unlink()
    assert annotations.cache_file is None
    return annotations


@pytest.mark.parametrize("only_annotated", [False, True])
def test_cached_annotations_equal_parsed_ones(tmp_path, monkeypatch, only_annotated):
    written = write(tmp_path)
    parsed = read_uncached(monkeypatch, *written, only_annotated=only_annotated)
    assert len(parsed) == IMAGES + (not only_annotated)
    first = read_annotations(*written, only_annotated=only_annotated)
    again = read_annotations(*written, only_annotated=only_annotated)
    assert first.cache_file == again.cache_file
    assert first.cache_file.is_relative_to(tmp_path / ".tagpose")
    assert again.description == "drawn"
    assert_equal(parsed, first)
    assert_equal(first, again)


def test_concurrent_readers_parse_a_file_only_once(tmp_path, monkeypatch):
    arguments, calls, build_arrays = write(tmp_path), [], annotations_module.build_arrays

    def counted(*positional, **options):
        calls.append(positional)
        return build_arrays(*positional, **options)

    monkeypatch.setattr(annotations_module, "build_arrays", counted)
    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(lambda _: read_annotations(*arguments), range(4))
    assert len(calls) == 1
    for other in others:
        assert_equal(first, other)


def test_each_image_has_its_own_people_and_masks(tmp_path):
    file, *_ = written = write(tmp_path)
    rows = json.loads(file.read_text())["annotations"]
    annotations = read_annotations(*written)
    for record in map(annotations.record, range(len(annotations))):
        own = [row for row in rows if row["image_id"] == record.image_id]
        bodies = [np.float32(row["keypoints"]) for row in own if row["id"] % 3 == 0]
        assert [list(p[:17].ravel()) for p in record.keypoints] == list(map(list, bodies))
        assert len(record.ignored) == len(own) - len(bodies)
        has_region = any(row["id"] % 3 and (row["segmentation"] or row["bbox"][3]) for row in own)
        assert (loss_mask(record.ignored, record.width, record.height) == 0).any() == has_region


def test_the_keypoints_of_a_record_are_writable_and_the_cache_is_not(tmp_path):
    annotations = read_annotations(*write(tmp_path))
    annotations.record(0).keypoints[:] = -1
    assert (annotations.keypoints >= 0).all()
    with pytest.raises(ValueError, match="read-only"):
        annotations.keypoints[:] = -1


def test_a_change_of_content_time_name_or_skeleton_rebuilds_the_cache(tmp_path):
    file, folder, _ = write(tmp_path)
    status = file.stat()
    faces = WHOLEBODY._replace(
        json_keys={"face_kpts": slice(0, 68)}, keypoints=WHOLEBODY.keypoints[:68]
    )

    def touched():
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        return file

    def changed():  # same size and time as before
        file.write_text(file.read_text().replace('"id": 7', '"id": 6').replace(": 7,", ": 6,"))
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert file.stat().st_size == status.st_size
        return file

    def renamed():
        return file.rename(folder / "b.json")

    read = [
        read_annotations(file, folder, WHOLEBODY),
        read_annotations(file, folder, BODY),
        read_annotations(file, folder, WHOLEBODY, only_annotated=True),
        read_annotations(file, folder, faces),
        read_annotations(touched(), folder, WHOLEBODY),
        read_annotations(changed(), folder, WHOLEBODY),
        read_annotations(renamed(), folder, WHOLEBODY),
    ]
    assert len({annotations.cache_file for annotations in read}) == len(read)
    assert [annotations.keypoints.shape[1] for annotations in read[:4]] == [133, 17, 133, 68]
    assert read[4].image_ids[0] == 7
    assert read[5].image_ids[0] == 6


@pytest.mark.parametrize("damage", ["cut", "empty", "zeros", "flipped", "header", "longer"])
def test_a_damaged_cache_is_rebuilt(tmp_path, damage):
    written = write(tmp_path)
    first = read_annotations(*written)
    intact = first.cache_file.read_bytes()
    middle = len(intact) // 2
    damaged = {
        "cut": intact[:middle],
        "empty": b"",
        "zeros": bytes(4),
        "flipped": intact[:middle] + bytes([intact[middle] ^ 1]) + intact[middle + 1 :],
        "header": b"x" + intact[1:],
        "longer": intact + b"x",
    }
    first.cache_file.unlink()  # a mapped file must not change
    first.cache_file.write_bytes(damaged[damage])
    assert_equal(read_annotations(*written), first)
    assert first.cache_file.read_bytes() == intact


def test_the_user_cache_is_used_if_the_folder_is_read_only(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    written = write(tmp_path / "data")
    (tmp_path / "data" / ".tagpose").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    first, again = (read_annotations(*written) for _ in range(2))
    assert first.cache_file == again.cache_file
    assert first.cache_file.is_relative_to(tmp_path / "user/tagpose")
    assert_equal(first, again)


def test_outdated_caches_are_removed_after_a_grace_period(tmp_path):
    files = []
    for shift, age in ((0.0, 2 * array_cache._GRACE_PERIOD), (0.25, 0.0), (0.5, 0.0)):
        files.append(read_annotations(*write(tmp_path, shift=shift)).cache_file)
        time = files[-1].stat().st_mtime - age
        os.utime(files[-1], (time, time))
    assert [file.exists() for file in files] == [False, True, True]
    assert all(one != other for one, other in pairwise(files))


def test_missing_images_are_detected_even_if_the_annotations_are_cached(tmp_path):
    written = write(tmp_path, names="deep/er/{}.png")
    read_annotations(*written)
    (tmp_path / "deep/er/2.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no file 'deep/er/2\.png'"):
        read_annotations(*written)
    shutil.rmtree(tmp_path / "deep")
    with pytest.raises(FileNotFoundError, match="the first of 5 such issues"):
        read_annotations(*written)


def test_pickles_for_workers_do_not_grow_with_the_annotations(tmp_path):
    sizes = []
    for images in (2, 90):
        annotations = read_annotations(*write(tmp_path / f"{images:02}", images))
        pickled = pickle.dumps(TrainDataset(annotations, [RandomAffineCrop(64, WHOLEBODY)]))
        assert_equal(pickle.loads(pickled).annotations, annotations)
        sizes.append(len(pickled))
    assert sizes[1] < sizes[0] + 500  # states of random generators differ in length
    assert annotations.keypoints.nbytes > 10 * sizes[1]


def test_annotations_without_a_cache_are_pickled_completely(tmp_path, monkeypatch):
    annotations = read_uncached(monkeypatch, *write(tmp_path))
    assert_equal(pickle.loads(pickle.dumps(annotations)), annotations)


class KeypointDataset:
    """Dataset of the keypoints of each image."""

    def __init__(self, annotations):
        self.annotations = annotations

    def __len__(self):
        return len(self.annotations)

    def __getitem__(self, index):
        return self.annotations.record(index).keypoints


@pytest.mark.slow
def test_spawned_workers_read_the_same_annotations_as_the_main_process(tmp_path):
    dataset = KeypointDataset(read_annotations(*write(tmp_path)))
    loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    for index, keypoints in enumerate(loader):
        np.testing.assert_array_equal(keypoints, dataset[index])
    assert index == IMAGES
