"""The benchmark runs where there is no GPU too, and says what there is to say."""

import json

import numpy as np
import pytest
import torch

from helpers.run_scripts import run, succeeded
from tagpose.benchmark.measurement import (
    BenchmarkCase,
    Timer,
    TimingResult,
    count_flops,
    make_measurement,
    make_table,
    peak_flops,
)
from tagpose.benchmark.workloads import compute_crowd_maps
from tagpose.data.synthetic.scene import render_crowd
from tagpose.inference.predictor import Predictor
from tagpose.models.checkpoint import write_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY, WHOLEBODY

CPU = torch.device("cpu")
SMALL = (
    "device=cpu", "models=[hrnet_w18_small]", "input_size=64", "compiled=[false]", "train_batch_sizes=[2]",
    "inference_batch_sizes=[1,2]", "warmup_steps=1", "steps=1", "repeats=1", "loader.workers=[0,1]",
    "loader.num_images=8", "loader.image_size=96", "loader.batch_size=4", "loader.drawing_processes=1",
)  # fmt: skip


@pytest.mark.slow
def test_every_kind_of_work_is_measured_without_a_gpu(tmp_path):
    network = PoseNetwork("hrnet_w18_small", WHOLEBODY)
    write_checkpoint(tmp_path / "small.ckpt", network)
    words = (*SMALL, "checkpoint=small.ckpt", "output=numbers.json")
    result = succeeded(run("benchmark", *words, cwd=tmp_path))
    assert "peak_tflops=NUMBER" in result.stdout
    written = json.loads((tmp_path / "numbers.json").read_text())
    measurements = written["measurements"]
    done = [(one["work"], one["images"], one["workers"]) for one in measurements]
    assert done == [
        ("decoding", 1, None), ("decoding", 2, None), ("training", 2, None), ("network", 1, None),
        ("inference", 1, None), ("network", 2, None), ("inference", 2, None), ("loading", 4, 0),
        ("loading", 4, 1),
    ]  # fmt: skip
    assert all(one["images_per_second"] > 0 for one in measurements)
    assert all(one["flops_utilization"] is None for one in measurements)
    assert {f.name for f in tmp_path.iterdir()} == {"numbers.json", "small.ckpt"}


def test_work_that_does_not_fit_is_told_and_the_rest_goes_on():
    def too_much():
        raise torch.OutOfMemoryError

    def broken():
        raise RuntimeError("no compiler\nand where it was looked for")

    watch = Timer(CPU, warmup_steps=0, steps=1, repeats=1)
    costs = [watch(prepare) for prepare in (too_much, broken, lambda: too_much, lambda: list)]
    said = [cost.error for cost in costs]
    assert said == ["out of memory", "no compiler", "out of memory", None]
    measurements = [make_measurement(BenchmarkCase("training", 2), cost) for cost in costs]
    assert [one.images_per_second is None for one in measurements] == [True, True, True, False]
    assert len(make_table(measurements, "").rows) == len(measurements)


def test_shares_are_of_the_peak_and_of_the_time():
    subject, cost = BenchmarkCase("inference", images=4), TimingResult(seconds=2.0, memory=None)
    one = make_measurement(subject, cost, operations=3e12, peak=12e12, decoding=0.5)
    assert (one.images_per_second, one.flops_utilization, one.decoding_fraction) == (2, 0.5, 0.25)
    assert make_measurement(subject, cost, operations=3e12).flops_utilization is None
    assert (peak_flops(CPU, None), peak_flops(CPU, 2.0)) == (None, 2e12)


def test_operations_of_a_matrix_are_counted():
    a, b = torch.ones(2, 3), torch.ones(3, 5)
    assert count_flops(lambda: a @ b) == 2 * 2 * 3 * 5


def test_outputs_are_repeated_to_fill_a_batch():
    network = PoseNetwork("hrnet_w18_small", BODY)
    keypoint_maps = compute_crowd_maps(
        Predictor(network, device="cpu"), 10, people=3, size=(64, 96)
    )
    assert keypoint_maps.heatmaps.shape == (10, BODY.size, 16, 24)
    assert torch.equal(keypoint_maps.tags[8:], keypoint_maps.tags[:2])
    assert not torch.equal(keypoint_maps.tags[0], keypoint_maps.tags[1])


def test_a_crowd_fills_the_picture():
    image = render_crowd(np.random.default_rng(0), (128, 192), 12, heights=(30, 50))
    assert image.shape == (128, 192, 3)
    assert np.ptp(image.astype(int), axis=(0, 1)).min() > 100
