"""Small exports of annotation tools, made by the tests."""

import json
from zipfile import ZipFile

import numpy as np
from PIL import Image

NAMES = ["nose", "left_ear", "right_ear"]
WIDTH, HEIGHT = 64, 48


def picture(file, size=(WIDTH, HEIGHT), orientation=None):
    """Write an image; no two have the same bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(sum(map(ord, file.name))).integers(0, 256, (size[1], size[0], 3))
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(pixels.astype(np.uint8)).save(file, exif=exif)


def person(row_id, image_id, at=(20, 15), category=1, names=NAMES):
    """An annotation whose keypoints are in a row."""
    x, y = at
    flat = [value for k in range(len(names)) for value in (x + 4 * k, y + k, 2)]
    box = [x - 2, y - 2, 4 * len(names) + 2, len(names) + 4]
    return {
        "id": row_id, "image_id": image_id, "category_id": category, "iscrowd": 0, "bbox": box,
        "area": box[2] * box[3], "keypoints": flat, "num_keypoints": len(names),
        "segmentation": [], "attributes": {"occluded": False},
    }  # fmt: skip


def coco(files, **changes):
    """A COCO file in which each image has a person."""
    images = [
        {"id": n, "file_name": file, "width": WIDTH, "height": HEIGHT}
        for n, file in enumerate(files, 1)
    ]
    category = {"id": 1, "name": "fox", "keypoints": NAMES, "skeleton": [[1, 2], [1, 3]]}
    people = [person(n, n) for n in range(1, len(files) + 1)]
    return {"categories": [category], "images": images, "annotations": people} | changes


def write_coco(folder, files, below="images", **changes):
    """A folder with foxes.json and its images."""
    for file in files:
        picture(folder / below / file)
    annotations = folder / "foxes.json"
    annotations.write_text(json.dumps(coco(files, **changes)))
    return annotations


def zipped(folder, archive):
    """Pack a folder."""
    with ZipFile(archive, "w") as packed:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                packed.write(file, file.relative_to(folder))
    return archive


def cvat(folder, count=8):
    """A zip as CVAT exports COCO keypoints of a task."""
    files = [f"frame_{n:06d}.png" for n in range(count)]
    write_coco(folder / "cvat", files, "images/default")
    (folder / "cvat/annotations").mkdir()
    target = folder / "cvat/annotations/person_keypoints_default.json"
    (folder / "cvat/foxes.json").rename(target)
    return zipped(folder / "cvat", folder / "task_1.zip")


def roboflow(folder):
    """A zip as Roboflow exports COCO keypoints: three splits, images of 2 augmented copies."""
    for split, stems in {"train": "abc", "valid": "de", "test": "f"}.items():
        files = [f"{stem}_jpg.rf.{n}{stem}.png" for stem in stems for n in range(2)]
        names = {"id": 0, "name": "foxes"}, coco(files)["categories"][0]
        write_coco(folder / "robo" / split, files, ".", categories=list(names))
        (folder / "robo" / split / "foxes.json").rename(
            folder / "robo" / split / "_annotations.coco.json"
        )
    return zipped(folder / "robo", folder / "foxes.v1.coco.zip")


def yolo(folder, labels, config, ending="png"):
    """A YOLO folder; labels are the lines of each image, by its path below images/."""
    for name, lines in labels.items():
        picture(folder / "images" / f"{name}.{ending}")
        target = folder / "labels" / f"{name}.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(lines)
    if config:
        (folder / "data.yaml").write_text(config)
    return folder
