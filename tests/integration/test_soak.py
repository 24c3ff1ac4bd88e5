"""Constant memory and number of open files in an hour of training and 10,000 predictions."""

import gc
import json

import numpy as np
import psutil
import pytest

from helpers.interrupted_training import last, train
from helpers.run_scripts import succeeded
from tagpose.inference.predictor import Predictor
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY

STEPS = 7200  # an hour of half-second steps, like those of a large network
IMAGES = 10_000
MAX_GROWTH = 20  # MB per process, from the second to the last quarter

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def growth(memory):
    """Return the difference in MB of the medians of the last and the second quarter."""
    quarters = np.array_split(np.array(memory, float), 4)
    return np.median(quarters[3]) - np.median(quarters[1])


def test_an_hour_of_training_leaks_neither_memory_nor_files(people, tmp_path):
    epochs = STEPS // 6
    file = tmp_path / "resources"
    overrides = [
        "+callbacks.at._target_=at_step.RecordResources", f"+callbacks.at.file={file}",
        "data.num_workers=2", f"trainer.max_epochs={epochs}", "trainer.check_val_every_n_epoch=50",
        "callbacks.resumable_checkpoint.interval_minutes=1", "input_size=32",
    ]  # fmt: skip
    succeeded(train(people, tmp_path, "a", *overrides))
    assert last(tmp_path, "a").exists()
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(rows) >= 100
    for processes in ("main", "workers"):
        memory = [row[processes] for row in rows]
        print(f"{processes}: {memory[len(memory) // 4]:.0f} MB, at the end {memory[-1]:.0f}")
        assert growth(memory) < MAX_GROWTH
    files = [row["files"] for row in rows]
    print(f"open files: {files[len(files) // 4]}, at the end {files[-1]}")
    assert files[-1] <= files[len(files) // 4] + 2


def test_ten_thousand_predictions_leak_neither_memory_nor_files():
    predictor = Predictor(
        PoseNetwork("hrnet_w18_small", BODY, input_size=64), input_size=64, max_people=2
    )
    process, random = psutil.Process(), np.random.default_rng(0)
    images = (random.integers(0, 256, (64, 64 + n % 3, 3), np.uint8) for n in range(IMAGES))
    memory, files = [], []
    for number, image_result in enumerate(predictor.predict_iter(images)):
        assert image_result.result is not None
        if number % 100 == 0:
            gc.collect()
            memory.append(process.memory_info().rss / 1e6)
            files.append(process.num_fds())
    print(f"{memory[len(memory) // 4]:.0f} MB, at the end {memory[-1]:.0f}")
    assert growth(memory) < MAX_GROWTH
    assert files[-1] <= files[len(files) // 4] + 2
