"""Small exports of annotation tools, written by the tests."""

import json
from zipfile import ZipFile

import numpy as np
from PIL import Image

NAMES = ["nose", "left_ear", "right_ear"]
WIDTH, HEIGHT = 64, 48


def write_image(file, size=(WIDTH, HEIGHT), orientation=None):
    """Write an image whose pixels depend on its name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(sum(map(ord, file.name))).integers(0, 256, (size[1], size[0], 3))
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(pixels.astype(np.uint8)).save(file, exif=exif)


def person(row_id, image_id, at=(20, 15), category=1, names=NAMES):
    """Return an annotation whose keypoints are on a line."""
    x, y = at
    flat = [value for k in range(len(names)) for value in (x + 4 * k, y + k, 2)]
    box = [x - 2, y - 2, 4 * len(names) + 2, len(names) + 4]
    return {
        "id": row_id, "image_id": image_id, "category_id": category, "iscrowd": 0, "bbox": box,
        "area": box[2] * box[3], "keypoints": flat, "num_keypoints": len(names),
        "segmentation": [], "attributes": {"occluded": False},
    }  # fmt: skip


def coco(files, **changes):
    """Return the content of a COCO file with one person per image."""
    images = [
        {"id": n, "file_name": file, "width": WIDTH, "height": HEIGHT}
        for n, file in enumerate(files, 1)
    ]
    category = {"id": 1, "name": "fox", "keypoints": NAMES, "skeleton": [[1, 2], [1, 3]]}
    annotations = [person(n, n) for n in range(1, len(files) + 1)]
    return {"categories": [category], "images": images, "annotations": annotations} | changes


def write_coco(folder, files, subfolder="images", **changes):
    """Write foxes.json and its images, and return the path of foxes.json."""
    for file in files:
        write_image(folder / subfolder / file)
    annotations = folder / "foxes.json"
    annotations.write_text(json.dumps(coco(files, **changes)))
    return annotations


def zip_folder(folder, archive):
    """Zip a folder and return the archive."""
    with ZipFile(archive, "w") as zip_file:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                zip_file.write(file, file.relative_to(folder))
    return archive


def cvat(folder, count=8):
    """Write a zip file as CVAT exports the COCO keypoints of a task."""
    files = [f"frame_{n:06d}.png" for n in range(count)]
    write_coco(folder / "cvat", files, "images/default")
    (folder / "cvat/annotations").mkdir()
    target = folder / "cvat/annotations/person_keypoints_default.json"
    (folder / "cvat/foxes.json").rename(target)
    return zip_folder(folder / "cvat", folder / "task_1.zip")


def roboflow(folder):
    """Write a zip file as Roboflow exports COCO keypoints: three splits, two copies per image."""
    for split, stems in {"train": "abc", "valid": "de", "test": "f"}.items():
        files = [f"{stem}_jpg.rf.{n}{stem}.png" for stem in stems for n in range(2)]
        names = {"id": 0, "name": "foxes"}, coco(files)["categories"][0]
        write_coco(folder / "robo" / split, files, ".", categories=list(names))
        (folder / "robo" / split / "foxes.json").rename(
            folder / "robo" / split / "_annotations.coco.json"
        )
    return zip_folder(folder / "robo", folder / "foxes.v1.coco.zip")


def yolo(folder, labels, config, extension="png"):
    """Write a YOLO folder.

    Args:
        folder: folder to write to.
        labels: lines of the label file of each image, by its path below images/.
        config: content of data.yaml; None writes no file.
        extension: extension of the images.
    """
    for name, lines in labels.items():
        write_image(folder / "images" / f"{name}.{extension}")
        target = folder / "labels" / f"{name}.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(lines)
    if config:
        (folder / "data.yaml").write_text(config)
    return folder
