"""Overfitting a few real photos, as a test of the whole training."""

import csv
import os

import pytest

from helpers.run_scripts import run, succeeded

SAMPLE = os.environ.get("TAGPOSE_COCO_SAMPLE")  # folder with images/ and wholebody.json


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_four_photos_are_overfitted(tmp_path):
    if not SAMPLE:
        pytest.skip("set TAGPOSE_COCO_SAMPLE to a folder of photos, which may not be distributed")
    arguments = ("experiment=overfit", f"data.root={SAMPLE}", "logger=csv", "hydra.run.dir=run")
    succeeded(run("train", *arguments, cwd=tmp_path, OMP_NUM_THREADS="2"))
    rows = list(csv.DictReader((tmp_path / "run/metrics.csv").read_text().splitlines()))
    scored = [row for row in rows if row["val/ap/wholebody"]]
    best = max(scored, key=lambda row: float(row["val/ap/wholebody"]))
    # MMPose's result on the same photos, without the flip test
    assert float(best["val/ap/wholebody"]) >= 0.36
    assert float(best["val/ap/body"]) >= 0.36
