"""The benchmark runs where there is no GPU too, and says what there is to say."""

import json

import numpy as np
import pytest
import torch

from running import run, succeeded
from tagpose.data.synthetic.scene import paint_crowd
from tagpose.inference.predictor import Predictor
from tagpose.model.files import write_checkpoint
from tagpose.model.network import PoseNetwork
from tagpose.official_skeletons import BODY, WHOLEBODY
from tagpose.training.figures import Subject, figure, table
from tagpose.training.throughput import Cost, Stopwatch, count_operations, peak_of
from tagpose.training.workload import trained_fields

CPU = torch.device("cpu")
SMALL = (
    "device=cpu", "models=[hrnet_w18_small]", "side=64", "compiled=[false]", "train_batches=[2]",
    "test_batches=[1,2]", "warmup=1", "steps=1", "repeats=1", "loader.workers=[0,1]",
    "loader.images=8", "loader.image_side=96", "loader.batch=4", "loader.processes=1",
)  # fmt: skip


@pytest.mark.slow
def test_every_kind_of_work_is_measured_without_a_gpu(tmp_path):
    network = PoseNetwork("hrnet_w18_small", WHOLEBODY)
    write_checkpoint(tmp_path / "small.ckpt", network)
    words = (*SMALL, "checkpoint=small.ckpt", "output=numbers.json")
    result = succeeded(run("benchmark", *words, cwd=tmp_path))
    assert "peak_tflops=NUMBER" in result.stdout
    written = json.loads((tmp_path / "numbers.json").read_text())
    figures = written["figures"]
    done = [(one["work"], one["images"], one["workers"]) for one in figures]
    assert done == [
        ("decoding", 1, None), ("decoding", 2, None), ("training", 2, None), ("network", 1, None),
        ("inference", 1, None), ("network", 2, None), ("inference", 2, None), ("loading", 4, 0),
        ("loading", 4, 1),
    ]  # fmt: skip
    assert all(one["images_per_second"] > 0 for one in figures)
    assert all(one["peak_share"] is None for one in figures)
    assert {f.name for f in tmp_path.iterdir()} == {"numbers.json", "small.ckpt"}


def test_work_that_does_not_fit_is_told_and_the_rest_goes_on():
    def too_much():
        raise torch.OutOfMemoryError

    def broken():
        raise RuntimeError("no compiler\nand where it was looked for")

    watch = Stopwatch(CPU, warmup=0, steps=1, repeats=1)
    costs = [watch(prepare) for prepare in (too_much, broken, lambda: too_much, lambda: list)]
    said = [cost.trouble for cost in costs]
    assert said == ["out of memory", "no compiler", "out of memory", None]
    figures = [figure(Subject("training", 2), cost) for cost in costs]
    assert [one.images_per_second is None for one in figures] == [True, True, True, False]
    assert len(table(figures, "").rows) == len(figures)


def test_shares_are_of_the_peak_and_of_the_time():
    subject, cost = Subject("inference", images=4), Cost(seconds=2.0, memory=None)
    one = figure(subject, cost, operations=3e12, peak=12e12, decoding=0.5)
    assert (one.images_per_second, one.peak_share, one.decode_share) == (2, 0.5, 0.25)
    assert figure(subject, cost, operations=3e12).peak_share is None
    assert (peak_of(CPU, None), peak_of(CPU, 2.0)) == (None, 2e12)


def test_operations_of_a_matrix_are_counted():
    a, b = torch.ones(2, 3), torch.ones(3, 5)
    assert count_operations(lambda: a @ b) == 2 * 2 * 3 * 5


def test_outputs_are_repeated_to_fill_a_batch():
    network = PoseNetwork("hrnet_w18_small", BODY)
    fields = trained_fields(Predictor(network, device="cpu"), 10, people=3, size=(64, 96))
    assert fields.heatmaps.shape == (10, BODY.size, 16, 24)
    assert torch.equal(fields.tags[8:], fields.tags[:2])
    assert not torch.equal(fields.tags[0], fields.tags[1])


def test_a_crowd_fills_the_picture():
    image = paint_crowd(np.random.default_rng(0), (128, 192), 12, heights=(30, 50))
    assert image.shape == (128, 192, 3)
    assert np.ptp(image.astype(int), axis=(0, 1)).min() > 100
