"""Benchmark program: measurements, units of work, and failures of a single measurement."""

import json
import signal

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
    make_measurement_table,
    peak_flops,
)
from tagpose.benchmark.workloads import compute_crowd_maps
from tagpose.cli.subprograms import is_stop
from tagpose.data.synthetic.scene import render_crowd
from tagpose.inference.predictor import Predictor
from tagpose.models.checkpoint import write_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.signals import STOP_SIGNALS
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.training.trainer import trainer_devices

CPU = torch.device("cpu")
SMALL = (
    "device=cpu", "models=[hrnet_w18_small]", "input_size=64", "compiled=[false]",
    "train_batch_sizes=[2]", "inference_batch_sizes=[1,2]", "warmup_steps=1", "steps=1",
    "repeats=1", "loader.workers=[0,1]", "loader.num_images=8", "loader.image_size=96",
    "loader.batch_size=4", "loader.drawing_processes=1", "loop.devices=[1,2]", "loop.steps=2",
    "loop.batch_size=2", "loop.workers=1", "precision=float32",
)  # fmt: skip


@pytest.mark.slow
def test_all_kinds_of_work_are_measured_on_a_cpu(tmp_path):
    network = PoseNetwork("hrnet_w18_small", WHOLEBODY)
    write_checkpoint(tmp_path / "small.ckpt", network)
    words = (*SMALL, "checkpoint=small.ckpt", "output=numbers.json")
    result = succeeded(run("benchmark", *words, cwd=tmp_path))
    assert "peak_tflops=NUMBER" in result.stdout
    measurements = json.loads((tmp_path / "numbers.json").read_text())["measurements"]
    cases = [(m["work"], m["images"], m["workers"]) for m in measurements]
    assert cases == [
        ("decoding", 1, None), ("decoding", 2, None), ("training", 2, None), ("network", 1, None),
        ("inference", 1, None), ("network", 2, None), ("inference", 2, None),
        ("training loop", 2, 1), ("training loop", 4, 1), ("loading", 4, 0), ("loading", 4, 1),
    ]  # fmt: skip
    assert all(m["images_per_second"] > 0 for m in measurements)
    assert all(m["flops_utilization"] is None for m in measurements)
    (step,) = (m["seconds"] for m in measurements if m["work"] == "training")
    for loop in (m for m in measurements if m["work"] == "training loop"):
        assert loop["overhead_fraction"] == pytest.approx(1 - step / loop["seconds"])
    assert {f.name for f in tmp_path.iterdir()} == {"numbers.json", "small.ckpt"}


def test_a_training_loop_needs_the_training_step_of_its_batch_size(tmp_path):
    result = run("benchmark", *SMALL, "loop.batch_size=3", cwd=tmp_path)
    assert result.returncode == 1
    assert "loop.batch_size=3 is not in train_batch_sizes=[2]; use one of them" in result.stderr
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("number", [*STOP_SIGNALS, signal.SIGKILL])
def test_only_a_stop_signal_of_a_training_also_stops_the_benchmark(number):
    assert is_stop(SystemExit(128 + number)) == (number != signal.SIGKILL)
    assert not is_stop(SystemExit(1))


@pytest.mark.parametrize(
    ("device", "count", "devices"),
    [("cpu", 2, "2"), ("cuda", 1, "[0]"), ("cuda:1", 1, "[1]"), ("cuda:1", 2, "[1,2]")],
)
def test_the_training_loop_runs_on_the_device_of_the_other_work(device, count, devices):
    assert trainer_devices(torch.device(device), count) == devices


def test_failed_work_is_reported_and_the_other_work_is_measured():
    def out_of_memory():
        raise torch.OutOfMemoryError

    def broken():
        raise RuntimeError("no compiler\nand details")

    timer = Timer(CPU, warmup_steps=0, steps=1, repeats=1)
    prepared = (out_of_memory, broken, lambda: out_of_memory, lambda: list)
    timings = [timer(prepare) for prepare in prepared]
    assert [timing.error for timing in timings] == [
        "out of memory",
        "no compiler",
        "out of memory",
        None,
    ]
    measurements = [make_measurement(BenchmarkCase("training", 2), timing) for timing in timings]
    assert [m.images_per_second is None for m in measurements] == [True, True, True, False]
    assert len(make_measurement_table(measurements, "").rows) == len(measurements)


def test_utilization_is_relative_to_the_peak_and_decoding_to_the_total_time():
    case, timing = BenchmarkCase("inference", images=4), TimingResult(seconds=2.0, memory=None)
    m = make_measurement(case, timing, operations=3e12, peak=12e12, decoding=0.5)
    assert (m.images_per_second, m.flops_utilization, m.decoding_fraction) == (2, 0.5, 0.25)
    assert make_measurement(case, timing, operations=3e12).flops_utilization is None
    assert make_measurement(case, timing, step=1.5).overhead_fraction == 0.25
    assert (peak_flops(CPU, None), peak_flops(CPU, 2.0)) == (None, 2e12)


def test_flops_of_a_matrix_product_are_counted():
    a, b = torch.ones(2, 3), torch.ones(3, 5)
    assert count_flops(lambda: a @ b) == 2 * 2 * 3 * 5


def test_crowd_outputs_are_repeated_to_fill_a_batch():
    network = PoseNetwork("hrnet_w18_small", BODY)
    keypoint_maps = compute_crowd_maps(
        Predictor(network, device="cpu"), 10, people=3, size=(64, 96)
    )
    assert keypoint_maps.heatmaps.shape == (10, BODY.size, 16, 24)
    assert torch.equal(keypoint_maps.tags[8:], keypoint_maps.tags[:2])
    assert not torch.equal(keypoint_maps.tags[0], keypoint_maps.tags[1])


def test_a_crowd_covers_the_image():
    image = render_crowd(np.random.default_rng(0), (128, 192), 12, heights=(30, 50))
    assert image.shape == (128, 192, 3)
    assert np.ptp(image.astype(int), axis=(0, 1)).min() > 100
