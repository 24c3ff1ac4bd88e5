"""This file reads the official annotation formats, and doubts them once, here."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from pycocotools import mask as rle

from tagpose.skeleton import Skeleton
from tagpose.structures import Record

Row = dict[str, Any]  # one object of the JSON file

# How far a polygon may leave its image, in sides of it: pycocotools walks along every polygon, and
# crashes where the way is too long.
REACH: Final = 4


@dataclass(frozen=True)
class Annotations:
    """A whole data set in columns: workers share the memory, nothing is copied for an image."""

    description: str  # what the file says it is
    folder: Path  # of the images
    image_ids: np.ndarray  # [N] int64
    files: np.ndarray  # [N] str: names in the folder
    sizes: np.ndarray  # [N, 2] int64: width, height in image pixels
    keypoints: np.ndarray  # [T, K, 3] float32: everybody who counts, image after image
    offsets: np.ndarray  # [N + 1] int64: image i has people offsets[i] to offsets[i + 1]
    ignored: Mapping[int, tuple[Row, ...]]  # image id -> RLE masks

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def most_people(self) -> int:
        """The largest number of people who count in one image."""
        return int(np.diff(self.offsets).max(initial=0))

    def record(self, index: int) -> Record:
        """What is known of image number `index`."""
        image_id = int(self.image_ids[index])
        width, height = self.sizes[index].tolist()
        first, last = self.offsets[index : index + 2]
        return Record(
            image_id=image_id,
            file=self.folder / str(self.files[index]),
            width=width,
            height=height,
            keypoints=self.keypoints[first:last],
            ignored=self.ignored.get(image_id, ()),
        )


def read_annotations(
    file: Path, folder: Path, skeleton: Skeleton, *, only_annotated: bool = False
) -> Annotations:
    """Read an official JSON file: COCO keypoints, or COCO-WholeBody.

    People who are no crowd and have a labelled keypoint count; all others become masks.

    Args:
        file: of the annotations.
        folder: of the images.
        skeleton: whose keypoints are read; its parts name the fields.
        only_annotated: whether images without any annotation are left out, as in training.

    Raises:
        FileNotFoundError: the file or an image is missing.
        ValueError: the content is not what the format says; the sentence names file and row.
    """
    content = _parse(file)
    images = {_integer(image, "id", file): image for image in content["images"]}
    sizes = {image_id: _size(image, file) for image_id, image in images.items()}
    people, ignored = _divide(content["annotations"], sizes, skeleton, file)
    kept = [i for i in images if i in people or i in ignored or not only_annotated]
    names = [_file_name(images[i], file) for i in kept]
    if not kept:
        raise ValueError(f"{file}: has no image with annotations; is this the right file?")
    _check_present(folder, names, file)
    return Annotations(
        description=description_of(content, file),
        folder=folder,
        image_ids=np.array(kept),
        files=np.array(names),
        sizes=np.array([sizes[i] for i in kept]),
        keypoints=_stack((one for i in kept for one in people.get(i, ())), skeleton),
        offsets=np.cumsum([0, *(len(people.get(i, ())) for i in kept)]),
        ignored=ignored,
    )


def _divide(
    rows: list[Row], sizes: Mapping[int, tuple[int, int]], skeleton: Skeleton, file: Path
) -> tuple[dict[int, list[np.ndarray]], dict[int, tuple[Row, ...]]]:
    """Those who count, keypoints [K, 3] each, and the masks of all others, by image id."""
    people: dict[int, list[np.ndarray]] = defaultdict(list)
    ignored: dict[int, tuple[Row, ...]] = defaultdict(tuple)
    for row in rows:
        image_id = _integer(row, "image_id", file)
        if image_id not in sizes:
            raise ValueError(f"{file}: annotation {row.get('id')} is of no image, {image_id}")
        keypoints = _keypoints(row, skeleton, file)
        if row.get("iscrowd", 0) or not (keypoints[:, 2] > 0).any():
            ignored[image_id] += (_mask(row, sizes[image_id], file),)
        else:
            people[image_id].append(keypoints)
    return dict(people), dict(ignored)


def _parse(file: Path) -> Row:
    """The JSON object of a file whose images and annotations are objects."""
    content = read_lists(file)
    for key in ("images", "annotations"):
        for place, row in enumerate(content[key]):
            if not isinstance(row, dict):
                raise ValueError(f"{file}: {key}[{place}] is no object; is the file made by hand?")
    return content


def read_lists(file: Path) -> Row:
    """The JSON object of a file that has lists of images and annotations, whatever is in them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON, or has no such lists.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; data.root must hold the official layout")
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is no whole JSON file: {error}; fetch it again") from error
    for key in ("images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise ValueError(f"{file} has no list of {key}; is it an annotation file of COCO?")
    return content


def description_of(content: Row, file: Path) -> str:
    """What a file says it is, or its name where it says nothing."""
    info = content.get("info")
    said = info.get("description") if isinstance(info, dict) else None
    return said if isinstance(said, str) and said else file.name


def is_inside(name: object) -> bool:
    """Whether a file_name is one that stays in the folder of the images."""
    if not isinstance(name, str) or not name:
        return False
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def _integer(row: Row, key: str, file: Path) -> int:
    """A field that must be a whole number."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{file}: {key} is {value!r} in row {row.get('id')}, not a whole number")
    return value


def _size(image: Row, file: Path) -> tuple[int, int]:
    """Width and height of an image in image pixels."""
    width, height = (_integer(image, key, file) for key in ("width", "height"))
    if min(width, height) < 1:
        raise ValueError(f"{file}: image {image['id']} has the size {width} x {height}")
    return width, height


def _file_name(image: Row, file: Path) -> str:
    """Name of an image in its folder, which it must not leave."""
    name = image.get("file_name")
    if not is_inside(name):
        raise ValueError(
            f"{file}: image {image['id']} has the file_name {name!r}, not one in a folder"
        )
    return str(name)


def _keypoints(row: Row, skeleton: Skeleton, file: Path) -> np.ndarray:
    """Keypoints [K, 3] of one annotation: x, y in image pixels, v."""
    keypoints = np.zeros((skeleton.size, 3), np.float32)
    for field, at in skeleton.fields.items():
        flat = row.get(field)
        size = 3 * (at.stop - at.start)
        if not isinstance(flat, list) or len(flat) != size:
            found = f"{len(flat)} numbers" if isinstance(flat, list) else "none"
            raise ValueError(
                f"{file}: annotation {row.get('id')} has {found} in {field}, not {size}; "
                f"the {skeleton.name} skeleton is read from "
                + (
                    "coco_wholebody_*_v1.0.json"
                    if "wholebody" in skeleton.parts
                    else "person_keypoints_*.json"
                )
            )
        try:
            keypoints[at] = np.reshape(np.array(flat, np.float32), (-1, 3))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{file}: annotation {row.get('id')} has something that is no number in {field}"
            ) from error
    if not np.isfinite(keypoints).all():
        raise ValueError(f"{file}: annotation {row.get('id')} has keypoints that are not finite")
    return keypoints


def _mask(row: Row, size: tuple[int, int], file: Path) -> Row:
    """Compressed RLE of an annotation's segmentation, or of its box where it has none."""
    width, height = size
    segmentation = row.get("segmentation")
    try:
        if not segmentation:
            x, y, w, h = row["bbox"]
            segmentation = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        if isinstance(segmentation, list):
            _check_polygons(segmentation, REACH * max(size))
            return rle.merge(rle.frPyObjects(segmentation, height, width))
        counts = segmentation["counts"]
        if segmentation["size"] != [height, width]:
            raise ValueError(f"its size is {segmentation['size']}, not {[height, width]}")
        if isinstance(counts, list):
            if sum(counts) != height * width:  # the library would read past its memory
                raise ValueError(f"it covers {sum(counts)} pixels, not {height * width}")
            return rle.frPyObjects(segmentation, height, width)
        return {"size": [height, width], "counts": counts.encode()}
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(
            f"{file}: annotation {row.get('id')} has a segmentation that cannot be read: {error}"
        ) from error


def _check_polygons(polygons: list[list[float]], reach: float) -> None:
    """See that polygons can be drawn."""
    if not all(len(p) >= 6 and len(p) % 2 == 0 for p in polygons):
        raise ValueError("a polygon needs three points, x and y each")
    if not all(abs(value) <= reach for p in polygons for value in p):
        raise ValueError("a polygon leaves the image by far; was it made for another size?")


def _check_present(folder: Path, names: Iterable[str], file: Path) -> None:
    """See that every image is there, by one listing of each folder."""
    parents = {(folder / name).parent for name in names}
    there = {file for parent in parents if parent.is_dir() for file in parent.iterdir()}
    missing = [name for name in names if folder / name not in there]
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks {len(missing)} of the images in {file}, {missing[0]} the first; "
            "put the images there, or point data.root to where they are"
        )


def _stack(people: Iterable[np.ndarray], skeleton: Skeleton) -> np.ndarray:
    """People [T, K, 3]."""
    return np.array(list(people), np.float32).reshape(-1, skeleton.size, 3)
