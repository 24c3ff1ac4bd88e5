"""Reading annotations of the size of COCO-WholeBody's training split, about 1 GB of JSON.

Each measurement is in a new process, which has finished its imports before.
"""

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from itertools import chain

import numpy as np
import pytest

from helpers.run_scripts import ROOT
from tagpose.skeletons.coco import WHOLEBODY

IMAGES, PEOPLE, CROWDS = 118_000, 270_000, 1_000
WIDTH, HEIGHT = 640, 480
PATTERNS = 500  # different people, which are repeated
PROGRAMS = ROOT / "tests/programs"


def outline(rng):
    """Return a polygon with 35 corners."""
    return rng.uniform(0, HEIGHT, 70).round(2).tolist()


def person(rng):
    """Return an annotation without ids as text, in the official format, with all keypoints."""
    row = {"category_id": 1, "iscrowd": 0, "area": 5000.25, "num_keypoints": 17}
    row |= {"bbox": rng.uniform(0, 200, 4).round(2).tolist(), "segmentation": [outline(rng)]}
    for part, index in WHOLEBODY.disjoint_parts.items():
        size = index.stop - index.start, 3
        x, y, v = rng.uniform((1, 1, 0.1), (WIDTH, HEIGHT, 2), size).T
        if part == "body":
            x, y, v = (values.astype(int) for values in (x, y, v + 1))
        values = zip(x.tolist(), y.tolist(), v.tolist(), strict=True)
        field = "keypoints" if part == "body" else f"{part}_kpts"
        row[field] = [round(value, 3) for value in chain.from_iterable(values)]
        row |= {f"{part}_valid": True, f"{part}_box": rng.uniform(0, 99, 4).round(2).tolist()}
    return json.dumps(row)[1:]


def crowd(rng):
    """Return a crowd annotation without ids and keypoints as text."""
    row = {"iscrowd": 1, "bbox": [1, 2, 30, 40], "segmentation": [outline(rng)]}
    keys = WHOLEBODY.json_keys.items()
    return json.dumps(row | {key: [0] * 3 * (i.stop - i.start) for key, i in keys})[1:]


def write(file, images, people, crowds):
    """Write annotations in random order of the images, and empty image files."""
    rng = np.random.default_rng(0)
    ids = [12 + 5 * n for n in range(images)]
    names = [f"{image_id:012d}.jpg" for image_id in ids]
    image_rows = [
        {"license": 3, "id": image_id, "file_name": name, "width": WIDTH, "height": HEIGHT}
        | {"coco_url": f"http://images.cocodataset.org/train2017/{name}"}
        for image_id, name in zip(ids, names, strict=True)
    ]
    texts = [person(rng) for _ in range(PATTERNS)], [crowd(rng) for _ in range(PATTERNS)]
    image_ids = rng.choice(ids, people + crowds).tolist()
    file.parent.mkdir()
    with file.open("w") as out:
        out.write(f'{{"info": {{"description": "bench"}}, "images": {json.dumps(image_rows)}, ')
        out.write('"annotations": [')
        for n, image_id in enumerate(image_ids):
            text = texts[n >= people][n % PATTERNS]
            out.write(f'{", " if n else ""}{{"id": {n}, "image_id": {image_id}, {text}')
        out.write('], "categories": []}')
    (folder := file.parent / "images").mkdir()
    for name in names:
        (folder / name).touch()
    return file, folder


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Return the annotation file and image folder of a large dataset."""
    root = tmp_path_factory.mktemp("annotations")
    yield write(root / "large/coco_wholebody_train_v1.0.json", IMAGES, PEOPLE, CROWDS)
    shutil.rmtree(root)


@contextmanager
def prepared_reader(large):
    """Start a process that reads the annotations whenever the yielded function is called."""
    command = [sys.executable, str(PROGRAMS / "open_annotations.py"), *map(str, large)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "ready\n"

        def read():
            process.stdin.write("open\n")
            process.stdin.flush()
            people, peak = process.stdout.readline().split()
            assert int(people) == PEOPLE
            return float(peak)

        yield read
        process.stdin.close()


def measure_reading(measure, large, step, limit):
    """Measure the time and peak memory of reading the annotations once."""
    peaks = []
    with prepared_reader(large) as read:
        measure(
            step,
            lambda: peaks.append(read()),
            limit=limit,
            rounds=1,
            warmup=False,
            memory=lambda: max(peaks),
            memory_limit=3000,
        )


def test_reading_annotations_without_a_cache(measure, large):
    shutil.rmtree(large[0].parent / ".tagpose", ignore_errors=True)
    measure_reading(measure, large, "opening annotations, first time", limit=90)


def test_reading_annotations_from_the_cache(measure, large):
    with prepared_reader(large) as read:
        read()  # creates the cache
    measure_reading(measure, large, "opening annotations, again", limit=3)


def unshared_memory(large, workers, start):
    """Return the unshared memory in MB of each worker in each epoch [E, W]."""
    command = [
        sys.executable,
        str(PROGRAMS / "worker_memory.py"),
        *map(str, large),
        str(workers),
        start,
    ]
    return np.array(json.loads(subprocess.check_output(command, text=True)))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_share_the_annotations(large, tmp_path, start):
    small = unshared_memory(write(tmp_path / "small/small.json", 1000, 2000, 10), 2, start)
    for workers in (2, 4):
        memory = unshared_memory(large, workers, start)
        # the keypoints alone are 430 MB; the other memory of a worker varies by a few MB
        assert memory.max() < small.max() + 20
        assert memory[-1].max() < memory[0].max() + 5
