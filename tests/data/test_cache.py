"""What comes out of the cache is what was read; anything but that is read anew."""

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
from tagpose.data import cache
from tagpose.data.annotations import Annotations, read_annotations
from tagpose.data.datasets import TrainDataset, loss_mask
from tagpose.data.transforms import RandomAffineCrop
from tagpose.skeletons.coco import BODY, WHOLEBODY

IMAGES = 4
POLYGON = [1, 1, 8, 1, 8, 6, 1, 6]


def write(folder, images=IMAGES, shift=0.0, names="{}.png", encoding="utf-8"):
    """Images of three people each, image by image in turn: labelled, not labelled, a crowd."""
    rng, rows, listed = np.random.default_rng(0), [], []
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
        listed.append({"id": 7 + n, "file_name": names.format(n), "width": 12, "height": 9})
        (folder / names.format(n)).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 9)).save(folder / names.format(n))
    content = {"info": {"description": "drawn"}, "annotations": rows, "images": listed}
    folder.mkdir(exist_ok=True)
    (folder / "a.json").write_text(json.dumps(content), encoding)
    return folder / "a.json", folder, WHOLEBODY


def same(one, other):
    """See that annotations say the same, field by field and image by image."""
    for field in fields(Annotations):
        if field.name not in ("ignored", "cache_file", "skeleton"):
            a, b = (getattr(annotations, field.name) for annotations in (one, other))
            np.testing.assert_array_equal(a, b)
            assert getattr(a, "dtype", None) == getattr(b, "dtype", None)
    assert dict(one.ignored) == dict(other.ignored)
    assert one.skeleton == other.skeleton
    for index in range(len(one)):
        a, b = (annotations.record(index) for annotations in (one, other))
        for name in ("keypoints", "unlabelled"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        alone = {"keypoints": None, "unlabelled": None}
        assert a._replace(**alone) == b._replace(**alone)


def uncached(monkeypatch, *arguments, **options):
    """What is read where no cache can be written."""
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
def test_the_cache_holds_what_was_read(tmp_path, monkeypatch, only_annotated):
    written = write(tmp_path)
    read = uncached(monkeypatch, *written, only_annotated=only_annotated)
    assert len(read) == IMAGES + (not only_annotated)
    first = read_annotations(*written, only_annotated=only_annotated)
    again = read_annotations(*written, only_annotated=only_annotated)
    assert first.cache_file == again.cache_file
    assert first.cache_file.is_relative_to(tmp_path / ".tagpose")
    assert again.description == "drawn"
    same(read, first)
    same(first, again)


def test_of_several_that_open_a_file_at_once_one_reads_it(tmp_path, monkeypatch):
    arguments, times, read = write(tmp_path), [], annotations_module._build_arrays

    def counted(*told, **options):
        times.append(1)
        return read(*told, **options)

    monkeypatch.setattr(annotations_module, "_build_arrays", counted)
    with ThreadPoolExecutor(4) as several:
        opened = list(several.map(lambda _: read_annotations(*arguments), range(4)))
    assert len(times) == 1
    for one in opened[1:]:
        same(opened[0], one)


def test_people_and_masks_are_those_of_their_image(tmp_path):
    file, *_ = written = write(tmp_path)
    rows = json.loads(file.read_text())["annotations"]
    annotations = read_annotations(*written)
    for record in map(annotations.record, range(len(annotations))):
        mine = [row for row in rows if row["image_id"] == record.image_id]
        bodies = [np.float32(row["keypoints"]) for row in mine if row["id"] % 3 == 0]
        assert [list(one[:17].ravel()) for one in record.keypoints] == list(map(list, bodies))
        assert len(record.ignored) == len(mine) - len(bodies)
        covered = any(row["id"] % 3 and (row["segmentation"] or row["bbox"][3]) for row in mine)
        assert (loss_mask(record) == 0).any() == covered


def test_a_record_can_be_written_and_what_it_is_from_cannot(tmp_path):
    annotations = read_annotations(*write(tmp_path))
    annotations.record(0).keypoints[:] = -1
    assert (annotations.keypoints >= 0).all()
    with pytest.raises(ValueError, match="read-only"):
        annotations.keypoints[:] = -1


def test_another_content_time_name_or_skeleton_is_read_anew(tmp_path):
    file, folder, _ = write(tmp_path)
    status = file.stat()
    faces = WHOLEBODY._replace(
        json_keys={"face_kpts": slice(0, 68)}, keypoints=WHOLEBODY.keypoints[:68]
    )

    def touched():
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        return file

    def changed():  # as long as before, and as old
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
def test_a_damaged_cache_is_read_anew_and_mended(tmp_path, damage):
    written = write(tmp_path)
    first = read_annotations(*written)
    whole = first.cache_file.read_bytes()
    middle = len(whole) // 2
    broken = {
        "cut": whole[:middle],
        "empty": b"",
        "zeros": bytes(4),
        "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "header": b"x" + whole[1:],
        "longer": whole + b"x",
    }
    first.cache_file.unlink()  # what is mapped must not change
    first.cache_file.write_bytes(broken[damage])
    same(read_annotations(*written), first)
    assert first.cache_file.read_bytes() == whole


def test_where_the_folder_cannot_be_written_the_users_cache_is_taken(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    written = write(tmp_path / "data")
    (tmp_path / "data" / ".tagpose").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    first, again = (read_annotations(*written) for _ in range(2))
    assert first.cache_file == again.cache_file
    assert first.cache_file.is_relative_to(tmp_path / "user/tagpose")
    same(first, again)


def test_what_an_earlier_state_left_goes_and_what_is_young_stays(tmp_path):
    files = []
    for shift, age in ((0.0, 2 * cache._GRACE), (0.25, 0.0), (0.5, 0.0)):
        files.append(read_annotations(*write(tmp_path, shift=shift)).cache_file)
        then = files[-1].stat().st_mtime - age
        os.utime(files[-1], (then, then))
    assert [file.exists() for file in files] == [False, True, True]
    assert all(one != other for one, other in pairwise(files))


def test_an_image_that_went_is_missed_though_the_annotations_are_cached(tmp_path):
    written = write(tmp_path, names="deep/er/{}.png")
    read_annotations(*written)
    (tmp_path / "deep/er/2.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no file 'deep/er/2\.png'"):
        read_annotations(*written)
    shutil.rmtree(tmp_path / "deep")
    with pytest.raises(FileNotFoundError, match="the first of 5 such issues"):
        read_annotations(*written)


def test_what_travels_to_a_worker_does_not_grow_with_the_annotations(tmp_path):
    sizes = []
    for images in (2, 90):
        annotations = read_annotations(*write(tmp_path / f"{images:02}", images))
        packed = pickle.dumps(TrainDataset(annotations, [RandomAffineCrop(64, WHOLEBODY)]))
        same(pickle.loads(packed).annotations, annotations)
        sizes.append(len(packed))
    assert sizes[1] < sizes[0] + 500  # states of random generators are not of one length
    assert annotations.keypoints.nbytes > 10 * sizes[1]


def test_annotations_that_are_not_cached_travel_whole(tmp_path, monkeypatch):
    annotations = uncached(monkeypatch, *write(tmp_path))
    same(pickle.loads(pickle.dumps(annotations)), annotations)


class Keypoints:
    """Keypoints of images, as the items of a data set."""

    def __init__(self, annotations):
        self.annotations = annotations

    def __len__(self):
        return len(self.annotations)

    def __getitem__(self, index):
        return self.annotations.record(index).keypoints


def test_a_worker_that_starts_anew_reads_what_the_first_process_does(tmp_path):
    data = Keypoints(read_annotations(*write(tmp_path)))
    loader = DataLoader(data, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    for index, read in enumerate(loader):
        np.testing.assert_array_equal(read, data[index])
    assert index == IMAGES
