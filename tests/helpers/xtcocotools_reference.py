"""Evaluation with xtcocotools, the official evaluator of COCO-WholeBody, or with xthotcoco.

xtcocotools has no wheels for Python 3.12 and later. xthotcoco has the same interface and metrics,
but ignores the boxes of results, from which xtcocotools takes their areas.
"""

import sys
import warnings
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest

from tagpose.skeletons.coco import WHOLEBODY

HAS_XTCOCOTOOLS = find_spec("xtcocotools") is not None


def import_evaluator():
    """Return the classes COCO and COCOeval."""
    if HAS_XTCOCOTOOLS:
        # with the compiled masks of pycocotools, which support NumPy 2
        sys.modules.setdefault("xtcocotools._mask", pytest.importorskip("pycocotools._mask"))
        names = ("xtcocotools.coco", "COCO"), ("xtcocotools.cocoeval", "COCOeval")
        return tuple(getattr(import_module(module), name) for module, name in names)
    xthotcoco = pytest.importorskip("xthotcoco")
    # its name for the body is "keypoints", which keeps results without any keypoint
    xthotcoco.PART_SPECS["keypoints_body"] = (["keypoints"], "score")
    return xthotcoco.COCO, xthotcoco.COCOeval


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
    if HAS_XTCOCOTOOLS:
        coco.createIndex()
    return coco, coco.loadRes(results)


def evaluate(coco, results):
    """Return the ten metrics of each part."""
    _, cocoeval_class = import_evaluator()
    stats = {}
    for part, part_slice in WHOLEBODY.parts.items():
        sigmas = np.array(WHOLEBODY.sigmas[part_slice])
        evaluator = cocoeval_class(coco, results, f"keypoints_{part}", sigmas, use_area=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="hotcoco: kpt_oks_sigmas differ")
            evaluator.evaluate(), evaluator.accumulate(), evaluator.summarize()
        stats[part] = evaluator.stats
    return stats
