"""Two processes see what one sees."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]


def validate(people, devices, output):
    """Validate on so many processes; what was logged."""
    program = HERE / "programs" / "validate.py"
    subprocess.run(
        [sys.executable, str(program), str(people), str(devices), str(output)],
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        timeout=300,
    )
    return json.loads(output.read_text())


@pytest.mark.slow
def test_scores_and_losses_of_validation_are_the_same_on_two_processes(people, tmp_path):
    one, two = (validate(people, devices, tmp_path / f"{devices}.json") for devices in (1, 2))
    assert one["images"] == two["images"] > 2
    assert 0 < one["val/ap/body"] < 1  # neither perfect nor nothing: there is something to compare
    assert one == pytest.approx(two, rel=1e-5, abs=1e-6)


@pytest.mark.slow
def test_more_processes_than_images_see_what_one_sees(people, tmp_path):
    few = tmp_path / "few"
    (few / "annotations").mkdir(parents=True)
    (few / "val2017").symlink_to(people / "val2017")
    name = "annotations/coco_wholebody_val_v1.0.json"
    content = json.loads((people / name).read_text())
    kept = {row["image_id"] for row in content["annotations"]}
    content["images"] = [row for row in content["images"] if row["id"] in kept][:2]
    ids = {row["id"] for row in content["images"]}
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] in ids]
    (few / name).write_text(json.dumps(content))
    one, four = (validate(few, devices, tmp_path / f"{devices}.json") for devices in (1, 4))
    assert one["images"] == four["images"] == 2
    assert one == pytest.approx(four, rel=1e-5, abs=1e-6)
