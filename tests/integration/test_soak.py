"""An hour of steps, ten thousand pictures: memory and open files stay as they are."""

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

STEPS = 7200  # of half a second, as those of a large network take: an hour
PICTURES = 10_000
GROWTH = 20  # MB that a process may grow by in the last three quarters

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def grown(memory):
    """How much larger the last quarter is than the second, in MB."""
    quarters = np.array_split(np.array(memory, float), 4)
    return np.median(quarters[3]) - np.median(quarters[1])


def test_an_hour_of_steps_takes_no_more_memory_and_no_more_files(people, tmp_path):
    epochs = STEPS // 6
    watched = [
        "+callbacks.watch._target_=at_step.Watch", f"+callbacks.watch.file={tmp_path / 'watched'}",
        "data.num_workers=2", f"trainer.max_epochs={epochs}", "trainer.check_val_every_n_epoch=50",
        "callbacks.resumable_checkpoint.interval_minutes=1", "input_size=32",
    ]  # fmt: skip
    succeeded(train(people, tmp_path, "a", *watched))
    assert last(tmp_path, "a").exists()
    rows = [json.loads(line) for line in (tmp_path / "watched").read_text().splitlines()]
    assert len(rows) >= 100
    for who in ("main", "workers"):
        memory = [row[who] for row in rows]
        print(f"{who}: {memory[len(memory) // 4]:.0f} MB, at the end {memory[-1]:.0f}")
        assert grown(memory) < GROWTH
    files = [row["files"] for row in rows]
    print(f"open files: {files[len(files) // 4]}, at the end {files[-1]}")
    assert files[-1] <= files[len(files) // 4] + 2


def test_ten_thousand_pictures_take_no_more_memory_and_no_more_files():
    predictor = Predictor(
        PoseNetwork("hrnet_w18_small", BODY, input_size=64), input_size=64, max_people=2
    )
    process, draw = psutil.Process(), np.random.default_rng(0)
    pictures = (draw.integers(0, 256, (64, 64 + n % 3, 3), np.uint8) for n in range(PICTURES))
    memory, files = [], []
    for number, image_result in enumerate(predictor.predict_iter(pictures)):
        assert image_result.result is not None
        if number % 100 == 0:
            gc.collect()
            memory.append(process.memory_info().rss / 1e6)
            files.append(process.num_fds())
    print(f"{memory[len(memory) // 4]:.0f} MB, at the end {memory[-1]:.0f}")
    assert grown(memory) < GROWTH
    assert files[-1] <= files[len(files) // 4] + 2
