"""Evaluation with xtcocotools, the official evaluator of COCO-WholeBody."""

import importlib
import sys

import numpy as np
import pytest

from tagpose.skeletons.coco import WHOLEBODY


def import_evaluator():
    """Return the classes COCO and COCOeval, with the compiled masks of pycocotools for NumPy 2."""
    masks = pytest.importorskip("pycocotools._mask")
    sys.modules.setdefault("xtcocotools._mask", masks)
    pytest.importorskip("xtcocotools", reason="its wheels end with Python 3.11")
    names = ("xtcocotools.coco", "COCO"), ("xtcocotools.cocoeval", "COCOeval")
    return tuple(getattr(importlib.import_module(module), name) for module, name in names)


def to_annotation_file(ground_truth):
    """Convert ground truth to the content of an official annotation file."""
    annotations = []
    for n, image in enumerate(ground_truth.image):
        person = {"id": n + 1, "image_id": int(ground_truth.image_ids[image]), "category_id": 1}
        person |= {"iscrowd": int(ground_truth.crowd[n]), "area": ground_truth.areas[n].item()}
        person["bbox"] = ground_truth.boxes[n].tolist()
        for key, part_slice in WHOLEBODY.json_keys.items():
            person[key] = ground_truth.keypoints[n, part_slice].ravel().tolist()
        annotations.append(person)
    images = [{"id": image_id} for image_id in ground_truth.image_ids.tolist()]
    categories = [{"id": 1, "name": "person"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def load(ground_truth, results):
    """Load ground truth and results into the evaluator, which modifies the results."""
    coco_class, _ = import_evaluator()
    coco = coco_class()
    coco.dataset, coco.anno_file = to_annotation_file(ground_truth), [""]
    coco.createIndex()
    return coco, coco.loadRes(results)


def evaluate(coco, results):
    """Return the ten metrics of each part."""
    _, cocoeval_class = import_evaluator()
    stats = {}
    for part, part_slice in WHOLEBODY.parts.items():
        sigmas = np.array(WHOLEBODY.sigmas[part_slice])
        evaluator = cocoeval_class(coco, results, f"keypoints_{part}", sigmas, use_area=True)
        evaluator.evaluate(), evaluator.accumulate(), evaluator.summarize()
        stats[part] = evaluator.stats
    return stats
