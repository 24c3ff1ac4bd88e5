"""The official evaluator, xtcocotools, asked the way its authors do."""

import importlib
import sys

import numpy as np
import pytest

from tagpose.skeletons.coco import WHOLEBODY


def evaluator():
    """Its class of files and its class of evaluations, with the compiled module of numpy 2."""
    masks = pytest.importorskip("pycocotools._mask")
    sys.modules.setdefault("xtcocotools._mask", masks)
    pytest.importorskip("xtcocotools", reason="its wheels end with Python 3.11")
    names = ("xtcocotools.coco", "COCO"), ("xtcocotools.cocoeval", "COCOeval")
    return tuple(getattr(importlib.import_module(module), name) for module, name in names)


def annotation_file(ground_truth):
    """The ground truth as an official annotation file would have it."""
    rows = []
    for n, image in enumerate(ground_truth.image):
        row = {"id": n + 1, "image_id": int(ground_truth.image_ids[image]), "category_id": 1}
        row |= {"iscrowd": int(ground_truth.crowd[n]), "area": ground_truth.areas[n].item()}
        row["bbox"] = ground_truth.boxes[n].tolist()
        for field, at in WHOLEBODY.json_keys.items():
            row[field] = ground_truth.keypoints[n, at].ravel().tolist()
        rows.append(row)
    images = [{"id": image_id} for image_id in ground_truth.image_ids.tolist()]
    categories = [{"id": 1, "name": "person"}]
    return {"images": images, "annotations": rows, "categories": categories}


def load(ground_truth, rows):
    """Ground truth and rows as the evaluator holds them; it writes into the rows."""
    coco, _ = evaluator()
    annotations = coco()
    annotations.dataset, annotations.anno_file = annotation_file(ground_truth), [""]
    annotations.createIndex()
    return annotations, annotations.loadRes(rows)


def scores(annotations, results):
    """The ten numbers of each part."""
    _, cocoeval = evaluator()
    stats = {}
    for part, at in WHOLEBODY.parts.items():
        sigmas = np.array(WHOLEBODY.sigmas[at])
        judge = cocoeval(annotations, results, f"keypoints_{part}", sigmas, use_area=True)
        judge.evaluate(), judge.accumulate(), judge.summarize()
        stats[part] = judge.stats
    return stats
