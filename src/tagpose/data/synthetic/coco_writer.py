"""This file writes synthetic people in the official layout of COCO and COCO-WholeBody."""

import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as rle
from tqdm import tqdm

from tagpose.data.synthetic.scene import Scene, SyntheticPerson, render_scene
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.skeletons.skeleton import Skeleton

SYNTHETIC_DESCRIPTION: Final = "synthetic data"  # stands wherever its scores are shown
_SPLITS: Final = ("train", "val")

Row = dict[str, Any]


class GenerationOptions(NamedTuple):
    """What the pictures of a set have in common."""

    root: Path
    image_size: int  # shorter side in image pixels
    max_people: int
    seed: int
    sparse: bool  # whether half of the parts have no labels to learn from


def write_synthetic_dataset(
    root: Path,
    *,
    train: int,
    val: int,
    image_size: int = 256,
    max_people: int = 4,
    seed: int = 0,
    sparse: bool = False,
    processes: int | None = None,
) -> None:
    """Draw a data set; the same for the same seed on any number of processes.

    Args:
        root: folder that will hold annotations/, train2017/ and val2017/.
        train: number of images to learn from.
        val: number of images to be judged on.
        image_size: of an image's shorter side in image pixels.
        max_people: in an image, up to 8.
        seed: of everything.
        sparse: whether people are of all sizes, and about half of their faces, hands and feet are
            too small or blurred for labels, as in COCO-WholeBody. What one is judged on has labels
            of them all the same, which only drawn people can have.
        processes: that draw; by default one for each core.

    Raises:
        FileExistsError: the folder is there already.
    """
    root = Path(root)
    if root.exists():
        raise FileExistsError(f"{root} is there already; remove it, or name another root=FOLDER")
    partial_root = root.with_name(f"{root.name}.partial")
    shutil.rmtree(partial_root, ignore_errors=True)
    try:
        plan = GenerationOptions(partial_root, image_size, max_people, seed, sparse)
        for split, count in zip(_SPLITS, (train, val), strict=True):
            _write_split(plan, split, count, processes)
        partial_root.rename(root)
    finally:
        shutil.rmtree(partial_root, ignore_errors=True)


def _write_split(plan: GenerationOptions, split: str, count: int, processes: int | None) -> None:
    """Draw the images of a split, and write both annotation files."""
    (plan.root / f"{split}2017").mkdir(parents=True)
    draw = partial(_write_scene, plan, split)
    numbers = range(count)
    if processes == 1:
        drawn = [draw(i) for i in numbers]
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            steps = pool.map(draw, numbers, chunksize=16)
            drawn = list(tqdm(steps, desc=f"draw {split}", total=count, unit="image"))
    annotations = [row for _, rows in drawn for row in rows]
    for number, row in enumerate(annotations, start=1):
        row["id"] = number
    images = [image for image, _ in drawn]
    folder = plan.root / "annotations"
    folder.mkdir(exist_ok=True)
    for name, skeleton in (
        ("person_keypoints_{}2017", BODY),
        ("coco_wholebody_{}_v1.0", WHOLEBODY),
    ):
        file = folder / f"{name.format(split)}.json"
        file.write_text(json.dumps(_coco_content(images, annotations, skeleton), allow_nan=False))


def _coco_content(images: list[Row], annotations: list[Row], skeleton: Skeleton) -> Row:
    """An annotation file; that of the body has no fields of other parts."""
    shown = {*skeleton.json_keys, *_COMMON}
    if skeleton is WHOLEBODY:
        shown |= {f"{part}_valid" for part in skeleton.disjoint_parts if part != "body"}
        shown |= {f"{part}_box" for part in ("face", "lefthand", "righthand")}
    return {
        "info": {"description": SYNTHETIC_DESCRIPTION, "version": "1.0", "year": 2026},
        "licenses": [{"id": 1, "name": "Apache-2.0", "url": ""}],
        "categories": [_CATEGORY],
        "images": images,
        "annotations": [{k: v for k, v in row.items() if k in shown} for row in annotations],
    }


_COMMON: Final = (
    "id", "image_id", "category_id", "bbox", "area", "segmentation", "iscrowd", "num_keypoints",
)  # fmt: skip
_CATEGORY: Final = {
    "supercategory": "person",
    "id": 1,
    "name": "person",
    "keypoints": list(BODY.keypoints),
    "skeleton": [[a + 1, b + 1] for a, b in BODY.bones],  # COCO counts from 1
}


def _write_scene(plan: GenerationOptions, split: str, number: int) -> tuple[Row, list[Row]]:
    """Draw one image; its row, and the rows of its people without ids."""
    random = np.random.default_rng([plan.seed, _SPLITS.index(split), number])
    scene = render_scene(random, plan.image_size, plan.max_people, sparse=plan.sparse)
    if split == _SPLITS[0]:
        scene = scene._replace(people=tuple(map(_remove_unlabelled, scene.people)))
    height, width = scene.image.shape[:2]
    image_id = 1000 * (1 + _SPLITS.index(split)) * 100 + 7 * number  # not one after the other
    name = f"{image_id:012d}.jpg"
    Image.fromarray(scene.image).save(plan.root / f"{split}2017" / name, quality=92)
    image = {"id": image_id, "file_name": name, "width": width, "height": height, "license": 1}
    return image, [{"image_id": image_id} | row for row in _scene_annotations(scene)]


def _remove_unlabelled(person: SyntheticPerson) -> SyntheticPerson:
    """A person without the keypoints that nobody would label."""
    keypoints = person.keypoints.copy()
    for part in person.unlabelled:
        keypoints[WHOLEBODY.parts[part]] = 0
    return person._replace(keypoints=keypoints)


def _scene_annotations(scene: Scene) -> list[Row]:
    """The annotations of a scene."""
    rows = [_person_annotation(person) for person in scene.people]
    if scene.crowd is not None and scene.crowd.any():
        nobody = SyntheticPerson(np.zeros((WHOLEBODY.size, 3)), scene.crowd)
        coded = rle.encode(np.asfortranarray(scene.crowd.astype(np.uint8)))
        segmentation = {"size": list(coded["size"]), "counts": coded["counts"].decode()}
        rows.append(_person_annotation(nobody) | {"iscrowd": 1, "segmentation": segmentation})
    return rows


def _person_annotation(person: SyntheticPerson) -> Row:
    """The annotation of one person with every official field but the ids."""
    keypoints, mask, _ = person
    row: Row = {
        "category_id": 1,
        "iscrowd": 0,
        "area": float(mask.sum()),
        "bbox": _mask_box(mask),
        "segmentation": _polygons(mask),
        "num_keypoints": int((keypoints[: BODY.size, 2] > 0).sum()),
    }
    for field, at in WHOLEBODY.json_keys.items():
        row[field] = keypoints[at].round(2).ravel().tolist()
    for part, at in WHOLEBODY.disjoint_parts.items():
        if part == "body":
            continue  # its box is that of the mask
        labelled = keypoints[at][keypoints[at, 2] > 0, :2]
        row[f"{part}_valid"] = bool(len(labelled))
        row[f"{part}_box"] = _points_box(labelled)
    return row


def _mask_box(mask: np.ndarray) -> list[float]:
    """Box x, y, width, height of a mask [H, W]."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = float(columns[0]), float(rows[0])
    return [x, y, float(columns[-1] + 1 - x), float(rows[-1] + 1 - y)]


def _points_box(points: np.ndarray) -> list[float]:
    """Box x, y, width, height of points [n, 2]; zeros where there are none."""
    if not len(points):
        return [0.0] * 4
    low = points.min(0)
    return [*low.round(2).tolist(), *(points.max(0) - low).round(2).tolist()]


def _polygons(mask: np.ndarray) -> list[list[float]]:
    """Outlines of a mask [H, W]."""
    contours, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    return [c.ravel().astype(float).tolist() for c in contours if len(c) >= 3]
