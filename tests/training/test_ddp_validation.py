"""Validation with several processes gives the same results as with one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]


def validate(people, devices, output, *empty_rank):
    """Validate with a number of processes and return the logged metrics.

    Args:
        people: root of the dataset.
        devices: number of processes.
        output: file of the metrics.
        empty_rank: optional rank without detections.
    """
    program = HERE / "programs" / "validate.py"
    subprocess.run(
        [
            sys.executable,
            str(program),
            str(people),
            str(devices),
            str(output),
            *map(str, empty_rank),
        ],
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        timeout=300,
    )
    return json.loads(output.read_text())


@pytest.mark.slow
def test_two_processes_log_the_same_scores_and_losses_as_one(people, tmp_path):
    one, two = (validate(people, devices, tmp_path / f"{devices}.json") for devices in (1, 2))
    assert one["images"] == two["images"] > 2
    assert 0 < one["val/ap/body"] < 1  # neither trivial value, so the comparison is meaningful
    assert one == pytest.approx(two, rel=1e-5, abs=1e-6)


@pytest.mark.slow
def test_more_processes_than_images_log_the_same_as_one(people, tmp_path):
    subset = tmp_path / "subset"
    (subset / "annotations").mkdir(parents=True)
    (subset / "val2017").symlink_to(people / "val2017")
    name = "annotations/coco_wholebody_val_v1.0.json"
    content = json.loads((people / name).read_text())
    annotated = {row["image_id"] for row in content["annotations"]}
    content["images"] = [row for row in content["images"] if row["id"] in annotated][:2]
    ids = {row["id"] for row in content["images"]}
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] in ids]
    (subset / name).write_text(json.dumps(content))
    one, four = (validate(subset, devices, tmp_path / f"{devices}.json") for devices in (1, 4))
    assert one["images"] == four["images"] == 2
    assert one == pytest.approx(four, rel=1e-5, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_without_any_detection_contributes_its_people_as_missed(people, tmp_path, rank):
    full = validate(people, 2, tmp_path / "full.json")
    part = validate(people, 2, tmp_path / "part.json", rank)
    assert part["images"] == full["images"]
    assert 0 < part["val/ar/body"] < full["val/ar/body"]
    assert 0 <= part["val/ap/body"] < full["val/ap/body"]
