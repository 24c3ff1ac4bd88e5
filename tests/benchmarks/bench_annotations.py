"""Opening annotations as large as those of COCO-WholeBody's training split, around 1 GB of JSON.

Each opening is one of a fresh process, which has imported all and waits.
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
PATTERNS = 500  # people that differ; all others repeat one of them
PROGRAMS = ROOT / "tests/programs"


def outline(rng):
    """A polygon of 35 corners."""
    return rng.uniform(0, HEIGHT, 70).round(2).tolist()


def person(rng):
    """The text of an annotation, but for its ids: all labelled, as the official file has it."""
    row = {"category_id": 1, "iscrowd": 0, "area": 5000.25, "num_keypoints": 17}
    row |= {"bbox": rng.uniform(0, 200, 4).round(2).tolist(), "segmentation": [outline(rng)]}
    for part, at in WHOLEBODY.disjoint_parts.items():
        x, y, v = rng.uniform((1, 1, 0.1), (WIDTH, HEIGHT, 2), (at.stop - at.start, 3)).T
        if part == "body":
            x, y, v = (values.astype(int) for values in (x, y, v + 1))
        values = zip(x.tolist(), y.tolist(), v.tolist(), strict=True)
        field = "keypoints" if part == "body" else f"{part}_kpts"
        row[field] = [round(value, 3) for value in chain.from_iterable(values)]
        row |= {f"{part}_valid": True, f"{part}_box": rng.uniform(0, 99, 4).round(2).tolist()}
    return json.dumps(row)[1:]


def crowd(rng):
    """The text of an annotation without labels, but for its ids."""
    row = {"iscrowd": 1, "bbox": [1, 2, 30, 40], "segmentation": [outline(rng)]}
    fields = WHOLEBODY.json_keys.items()
    return json.dumps(row | {field: [0] * 3 * (at.stop - at.start) for field, at in fields})[1:]


def write(file, images, people, crowds):
    """Annotations of people in any order of images, and their empty pictures."""
    rng = np.random.default_rng(0)
    ids = [12 + 5 * n for n in range(images)]
    names = [f"{image_id:012d}.jpg" for image_id in ids]
    listed = [
        {"license": 3, "id": image_id, "file_name": name, "width": WIDTH, "height": HEIGHT}
        | {"coco_url": f"http://images.cocodataset.org/train2017/{name}"}
        for image_id, name in zip(ids, names, strict=True)
    ]
    texts = [person(rng) for _ in range(PATTERNS)], [crowd(rng) for _ in range(PATTERNS)]
    of = rng.choice(ids, people + crowds).tolist()
    file.parent.mkdir()
    with file.open("w") as out:
        out.write(f'{{"info": {{"description": "bench"}}, "images": {json.dumps(listed)}, ')
        out.write('"annotations": [')
        for n, image_id in enumerate(of):
            text = texts[n >= people][n % PATTERNS]
            out.write(f'{", " if n else ""}{{"id": {n}, "image_id": {image_id}, {text}')
        out.write('], "categories": []}')
    (folder := file.parent / "images").mkdir()
    for name in names:
        (folder / name).touch()
    return file, folder


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """File and folder of a large data set."""
    root = tmp_path_factory.mktemp("annotations")
    yield write(root / "large/coco_wholebody_train_v1.0.json", IMAGES, PEOPLE, CROWDS)
    shutil.rmtree(root)


@contextmanager
def waiting(large):
    """A process that opens the annotations when its `open` is called."""
    command = [sys.executable, str(PROGRAMS / "open_annotations.py"), *map(str, large)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "ready\n"

        def opened():
            process.stdin.write("open\n")
            process.stdin.flush()
            people, peak = process.stdout.readline().split()
            assert int(people) == PEOPLE
            return float(peak)

        yield opened
        process.stdin.close()


def measured(measure, large, step, limit):
    """Measure one opening."""
    peaks = []
    with waiting(large) as opened:
        measure(
            step,
            lambda: peaks.append(opened()),
            limit=limit,
            rounds=1,
            warmup=False,
            memory=lambda: max(peaks),
            memory_limit=3000,
        )


def test_opening_annotations_first(measure, large):
    shutil.rmtree(large[0].parent / ".tagpose", ignore_errors=True)
    measured(measure, large, "opening annotations, first time", limit=90)


def test_opening_annotations_again(measure, large):
    with waiting(large) as opened:
        opened()  # there is a cache, whatever ran before
    measured(measure, large, "opening annotations, again", limit=3)


def own(large, workers, start):
    """MB that are each worker's own, epoch by epoch [E, W]."""
    command = [sys.executable, str(PROGRAMS / "worker_memory.py"), *map(str, large), str(workers), start]
    return np.array(json.loads(subprocess.check_output(command, text=True)))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_worker_holds_no_annotations_of_its_own(large, tmp_path, start):
    small = own(write(tmp_path / "small/small.json", 1000, 2000, 10), 2, start)
    for workers in (2, 4):
        memory = own(large, workers, start)
        # the keypoints alone are 430 MB; what a worker has besides wanders by some MB
        assert memory.max() < small.max() + 20
        assert memory[-1].max() < memory[0].max() + 5
