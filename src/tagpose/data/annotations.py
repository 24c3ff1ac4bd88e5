"""This file reads the official annotation formats, and doubts them once, here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from tagpose.data.cache import remember
from tagpose.data.columns import map_columns
from tagpose.data.gathering import ImageRows, PersonRows
from tagpose.data.masks import Masks
from tagpose.data.presence import check_present
from tagpose.data.stream import Rows, check_there, read_object
from tagpose.skeleton import Skeleton
from tagpose.structures import Record

Row = dict[str, Any]  # one object of the JSON file

# How far a polygon may leave its image, in sides of it: pycocotools walks along every polygon, and
# crashes where the way is too long.
REACH: Final = 4


@dataclass(frozen=True)
class Annotations:
    """A whole data set in columns, mapped from a cache: processes share the memory."""

    description: str  # what the file says it is
    folder: Path  # of the images
    skeleton: Skeleton  # of the people
    image_ids: np.ndarray  # [N] int64
    files: np.ndarray  # [N] str: names in the folder
    sizes: np.ndarray  # [N, 2] int64: width, height in image pixels
    keypoints: np.ndarray  # [T, K, 3] float32: everybody who counts, image after image
    unlabelled: np.ndarray  # [T, F, 4] float32: where limbs without labels may be, as of a Record
    offsets: np.ndarray  # [N + 1] int64: image i has people offsets[i] to offsets[i + 1]
    ignored: Masks  # image id -> RLE masks
    cached: Path | None = None  # where the columns lie; None where they are in memory alone

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getstate__(self) -> dict[str, Any]:
        """Another process opens the cache itself: nothing large travels to it."""
        if self.cached is None:
            return dict(vars(self))
        return {"cached": self.cached, "folder": self.folder, "skeleton": self.skeleton}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["cached"] is not None:
            columns = map_columns(state["cached"], check=False)  # the first process has
            state = vars(_named(columns, **state))
        vars(self).update(state)

    @cached_property
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
            keypoints=self.keypoints[first:last].copy(),  # a cache cannot be written; torch warns
            ignored=self.ignored.get(image_id, ()),
            unlabelled=self.unlabelled[first:last],
        )


def read_annotations(
    file: Path, folder: Path, skeleton: Skeleton, *, only_annotated: bool = False
) -> Annotations:
    """Read an official JSON file: COCO keypoints, or COCO-WholeBody.

    People who are no crowd and have a labelled keypoint count; all others become masks. What was
    read is remembered, see `remember`; that the images are there is seen each time.

    Args:
        file: of the annotations.
        folder: of the images.
        skeleton: whose keypoints are read; its parts name the fields.
        only_annotated: whether images without any annotation are left out, as in training.

    Raises:
        FileNotFoundError: the file or an image is missing.
        ValueError: the content is not what the format says; the sentence names file and row.
    """
    check_there(file)
    variant = skeleton.name + ("-annotated" if only_annotated else "")
    read = partial(_read, file, skeleton, only_annotated=only_annotated)
    columns, cached = remember(file, variant, _read_by(skeleton), read)
    annotations = _named(columns, folder, skeleton, cached)
    check_present(folder, annotations.files.tolist(), file)
    return annotations


def _read_by(skeleton: Skeleton) -> dict[str, Any]:
    """What of a skeleton decides what is read."""
    return {
        "fields": dict(skeleton.fields),
        "limbs": dict(skeleton.limbs),
        "limb_roots": skeleton.limb_roots,
    }


def _named(
    columns: Sequence[np.ndarray], folder: Path, skeleton: Skeleton, cached: Path | None
) -> Annotations:
    """Annotations of the columns that `_read` lays."""
    description, image_ids, files, sizes, keypoints, unlabelled, offsets, *masks = columns
    return Annotations(
        description=str(description),
        folder=folder,
        skeleton=skeleton,
        image_ids=image_ids,
        files=files,
        sizes=sizes,
        keypoints=keypoints,
        unlabelled=unlabelled,
        offsets=offsets,
        ignored=Masks(*masks),
        cached=cached,
    )


def _read(file: Path, skeleton: Skeleton, *, only_annotated: bool) -> list[np.ndarray]:
    """Parse a file, whose images may follow its people, and lay what is cached of it."""
    gather: dict[str, Callable[[], Rows]] = {
        "images": partial(ImageRows, file),
        "annotations": partial(PersonRows, file, skeleton),
    }
    content = _parse(file, gather)
    images: ImageRows = content["images"]
    people: PersonRows = content["annotations"]
    people.check_images(images.sizes)
    masks = people.lay_masks(images.sizes, REACH)
    annotated = set(people.image_ids)
    kept = [i for i in images.sizes if i in annotated or not only_annotated]
    names = [_file_name(i, images.names[i], file) for i in kept]
    if not kept:
        raise ValueError(f"{file}: has no image with annotations; is this the right file?")
    keypoints, unlabelled, offsets = people.lay_people(kept)
    return [
        np.array(description_of(content, file)),
        np.array(kept, np.int64),
        np.array(names),
        np.array([images.sizes[i] for i in kept], np.int64),
        keypoints,
        unlabelled,
        offsets,
        *(masks.image_ids, masks.sizes, masks.offsets, masks.runs),
    ]


def read_lists(file: Path) -> Row:
    """The JSON object of a file that has lists of images and annotations, whatever is in them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON, or has no such lists.
    """
    return _parse(file, {"images": list, "annotations": list})


def _parse(file: Path, lists: Mapping[str, Callable[[], Rows]]) -> Row:
    """The JSON object of a file, with what took the rows of its lists."""
    content = read_object(file, lists)
    for key in lists:
        if key not in content:
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


def _file_name(image_id: int, name: object, file: Path) -> str:
    """Name of an image in its folder, which it must not leave."""
    if not is_inside(name):
        raise ValueError(
            f"{file}: image {image_id} has the file_name {name!r}, not one in a folder"
        )
    return str(name)
