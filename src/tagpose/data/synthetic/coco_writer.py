"""Writer of synthetic people in the official layout of COCO and COCO-WholeBody."""

import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from PIL import Image
from pycocotools import mask as rle
from tqdm import tqdm

from tagpose.data.synthetic.labeling import mask_box, mask_polygons, remove_parts
from tagpose.data.synthetic.scene import PeopleCount, Scene, SyntheticPerson, render_scene
from tagpose.geometry import keypoint_boxes
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.skeletons.skeleton import Skeleton

SYNTHETIC_DESCRIPTION: Final = "synthetic data"  # title of all tables of scores on this data
_SPLITS: Final = ("train", "val")
_COMMON_FIELDS: Final = (
    "id", "image_id", "category_id", "bbox", "area", "segmentation", "iscrowd", "num_keypoints",
)  # fmt: skip
_CATEGORY: Final = {
    "supercategory": "person",
    "id": 1,
    "name": "person",
    "keypoints": list(BODY.keypoints),
    "skeleton": [[a + 1, b + 1] for a, b in BODY.bones],  # COCO counts from 1
}

Row = dict[str, Any]


class GenerationOptions(NamedTuple):
    """Options of all images of a dataset."""

    root: Path
    image_size: int  # shorter side in image pixels
    people: PeopleCount
    seed: int
    sparse: bool  # whether about half of the parts are unlabeled in train


def write_synthetic_dataset(
    root: Path,
    *,
    train: int,
    val: int,
    image_size: int = 256,
    max_people: int = 4,
    min_people: int | None = None,
    seed: int = 0,
    sparse: bool = False,
    processes: int | None = None,
) -> None:
    """Write a synthetic dataset, which does not depend on the number of processes.

    Args:
        root: folder to create, with annotations/, train2017/ and val2017/.
        train: number of training images.
        val: number of validation images.
        image_size: shorter side of an image in image pixels.
        max_people: maximum number of people per image, up to 8 without `min_people`.
        min_people: draws crowds: every number from `min_people` to `max_people` is equally
            frequent, and people overlap. By default most images have few people.
        seed: seed of all random numbers.
        sparse: whether people have all sizes, and about half of their faces, hands and feet are
            too small or blurred to be labeled, as in COCO-WholeBody. In val these parts are labeled
            nevertheless, which is only possible for synthetic people.
        processes: number of processes; by default one per core.

    Raises:
        FileExistsError: the folder exists.
        ValueError: `min_people` is above `max_people`.
    """
    root = Path(root)
    if root.exists():
        raise FileExistsError(f"{root} already exists; remove it or choose another root=FOLDER")
    if min_people is not None and min_people > max_people:
        raise ValueError(f"min_people={min_people} is above max_people={max_people}; increase it")
    partial_root = root.with_name(f"{root.name}.partial")
    shutil.rmtree(partial_root, ignore_errors=True)
    try:
        people = PeopleCount(max_people, min_people)
        options = GenerationOptions(partial_root, image_size, people, seed, sparse)
        for split, count in zip(_SPLITS, (train, val), strict=True):
            _write_split(options, split, count, processes)
        partial_root.rename(root)
    finally:
        shutil.rmtree(partial_root, ignore_errors=True)


def _write_split(options: GenerationOptions, split: str, count: int, processes: int | None) -> None:
    """Write the images of a split and both annotation files."""
    (options.root / f"{split}2017").mkdir(parents=True)
    write_scene = partial(_write_scene, options, split)
    if processes == 1:
        scenes = [write_scene(i) for i in range(count)]
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            results = pool.map(write_scene, range(count), chunksize=16)
            scenes = list(tqdm(results, desc=f"draw {split}", total=count, unit="image"))
    annotations = [row for _, rows in scenes for row in rows]
    for annotation_id, row in enumerate(annotations, start=1):
        row["id"] = annotation_id
    images = [image for image, _ in scenes]
    folder = options.root / "annotations"
    folder.mkdir(exist_ok=True)
    for name, skeleton in (
        ("person_keypoints_{}2017", BODY),
        ("coco_wholebody_{}_v1.0", WHOLEBODY),
    ):
        file = folder / f"{name.format(split)}.json"
        file.write_text(json.dumps(_coco_content(images, annotations, skeleton), allow_nan=False))


def _coco_content(images: list[Row], annotations: list[Row], skeleton: Skeleton) -> Row:
    """Return the content of an annotation file with the fields of a skeleton only."""
    fields = {*skeleton.json_keys, *_COMMON_FIELDS}
    if skeleton is WHOLEBODY:
        fields |= {f"{part}_valid" for part in skeleton.disjoint_parts if part != "body"}
        fields |= {f"{part}_box" for part in ("face", "lefthand", "righthand")}
    return {
        "info": {"description": SYNTHETIC_DESCRIPTION, "version": "1.0", "year": 2026},
        "licenses": [{"id": 1, "name": "Apache-2.0", "url": ""}],
        "categories": [_CATEGORY],
        "images": images,
        "annotations": [{k: v for k, v in row.items() if k in fields} for row in annotations],
    }


def _write_scene(options: GenerationOptions, split: str, index: int) -> tuple[Row, list[Row]]:
    """Write one image; return its row and the rows of its people without ids."""
    random = np.random.default_rng([options.seed, _SPLITS.index(split), index])
    scene = render_scene(random, options.image_size, options.people, sparse=options.sparse)
    if split == "train":
        labeled = (
            person._replace(keypoints=remove_parts(person.keypoints, person.unlabeled))
            for person in scene.people
        )
        scene = scene._replace(people=tuple(labeled))
    height, width = scene.image.shape[:2]
    image_id = 1000 * (1 + _SPLITS.index(split)) * 100 + 7 * index  # not consecutive, as in COCO
    name = f"{image_id:012d}.jpg"
    Image.fromarray(scene.image).save(options.root / f"{split}2017" / name, quality=92)
    image = {"id": image_id, "file_name": name, "width": width, "height": height, "license": 1}
    return image, [{"image_id": image_id} | row for row in _scene_annotations(scene)]


def _scene_annotations(scene: Scene) -> list[Row]:
    """Return the annotations of the people and the crowd of a scene."""
    rows = [_person_annotation(person) for person in scene.people]
    if scene.crowd is not None and scene.crowd.any():
        crowd = SyntheticPerson(np.zeros((WHOLEBODY.size, 3)), scene.crowd)
        encoded = rle.encode(np.asfortranarray(scene.crowd.astype(np.uint8)))
        segmentation = {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}
        rows.append(_person_annotation(crowd) | {"iscrowd": 1, "segmentation": segmentation})
    return rows


def _person_annotation(person: SyntheticPerson) -> Row:
    """Return the annotation of one person with all official fields except ids."""
    keypoints, mask, _ = person
    row: Row = {
        "category_id": 1,
        "iscrowd": 0,
        "area": float(mask.sum()),
        "bbox": mask_box(mask),
        "segmentation": mask_polygons(mask),
        "num_keypoints": int((keypoints[: BODY.size, 2] > 0).sum()),
    }
    for key, part_slice in WHOLEBODY.json_keys.items():
        row[key] = keypoints[part_slice].round(2).ravel().tolist()
    for part, part_slice in WHOLEBODY.disjoint_parts.items():
        if part == "body":
            continue  # its box is that of the mask
        labeled = keypoints[None, part_slice, 2] > 0
        row[f"{part}_valid"] = bool(labeled.any())
        row[f"{part}_box"] = (
            keypoint_boxes(keypoints[None, part_slice], labeled)[0].round(2).tolist()
        )
    return row
