"""Measure what a machine gets done: python scripts/benchmark.py device=cuda|cpu [key=value ...]."""

import platform
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import hydra
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.allocation import keep_freed_memory
from tagpose.complaints import told, told_in_a_sentence
from tagpose.data.synthetic import write_synthetic
from tagpose.evaluation.rows import write_json
from tagpose.inference.predictor import Predictor
from tagpose.official_skeletons import WHOLEBODY
from tagpose.output import print_tables
from tagpose.starting import demo_checkpoint
from tagpose.structures import Fields, Sample
from tagpose.training.figures import Figure, Subject, figure, table
from tagpose.training.throughput import (
    Cost,
    Stopwatch,
    Work,
    count_operations,
    device_name,
    fed_per_second,
    peak_of,
)
from tagpose.training.workload import (
    decoding_work,
    draw_batch,
    inference_work,
    trained_fields,
    training_work,
)


@hydra.main(version_base="1.3", config_path="../conf", config_name="benchmark")
def main(cfg: DictConfig) -> None:
    """Print each figure as it is known, then a table; what is broken off leaves its numbers."""
    keep_freed_memory()
    with told_in_a_sentence():
        benchmark(cfg)


def benchmark(cfg: DictConfig) -> None:
    """Measure what the configuration describes."""
    device = torch.device(cfg.device)
    about = {
        "device": device_name(device),
        "peak": peak_of(device, cfg.peak_tflops),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "side": cfg.side,
        "precision": cfg.precision,
    }
    figures: list[Figure] = []
    for one in measured(cfg, device):
        figures.append(one)
        print(*(f"{name}={value}" for name, value in one._asdict().items() if value), flush=True)
        written = about | {"figures": [each._asdict() for each in figures]}
        write_json(Path(cfg.output), written)
    title = f"{about['device']}, {cfg.side} input pixels, {cfg.precision}"
    # a log has no width of its own, and the table needs this one
    print_tables(table(figures, title), width=120)
    if about["peak"] is None:
        print("shares of the chip's peak are left out: it is not known here; peak_tflops=NUMBER")
    print(f"numbers: {cfg.output}")


def measured(cfg: DictConfig, device: torch.device) -> Iterator[Figure]:
    """All figures, one after the other."""
    watch = Stopwatch(device, cfg.warmup, cfg.steps, cfg.repeats)
    decoding = {n: watch(partial(decode, cfg, device, n)) for n in cfg.test_batches}
    for images, cost in decoding.items():
        yield figure(Subject("decoding", images), cost)
    for model in cfg.models:
        for compiled in cfg.compiled:
            yield from training_figures(cfg, watch, model, compiled=compiled)
            yield from inference_figures(cfg, watch, model, decoding, compiled=compiled)
    yield from loading_figures(cfg)


def training_figures(
    cfg: DictConfig, watch: Stopwatch, model: str, *, compiled: bool
) -> Iterator[Figure]:
    """Steps of training, by size of the batch."""
    peak = peak_of(watch.device, cfg.peak_tflops)
    operations = count_operations(train(cfg, watch.device, model, 1, compiled=False))
    for images in cfg.train_batches:
        cost = watch(partial(train, cfg, watch.device, model, images, compiled=compiled))
        subject = Subject("training", images, model, compiled)
        yield figure(subject, cost, operations=operations, peak=peak)


def inference_figures(
    cfg: DictConfig, watch: Stopwatch, model: str, decoding: dict[int, Cost], *, compiled: bool
) -> Iterator[Figure]:
    """Inference with mirror test, without decoding and with it, by size of the batch."""
    prepare = partial(find, cfg, watch.device, model)
    operations = count_operations(prepare(1, compiled=False, decoded=False))
    peak = peak_of(watch.device, cfg.peak_tflops)
    figured = partial(figure, operations=operations, peak=peak)
    for images in cfg.test_batches:
        cost = watch(partial(prepare, images, compiled=compiled, decoded=False))
        yield figured(Subject("network", images, model, compiled), cost)
        cost = watch(partial(prepare, images, compiled=compiled, decoded=True))
        subject, own = Subject("inference", images, model, compiled), decoding[images].seconds
        yield figured(subject, cost, decoding=own)


def loading_figures(cfg: DictConfig) -> Iterator[Figure]:
    """What the loader of training feeds, by number of workers."""
    loader = cfg.loader
    with TemporaryDirectory() as folder:
        root = Path(folder) / "synthetic"
        drawing = {"side": loader.image_side, "seed": cfg.seed, "processes": loader.processes}
        write_synthetic(root, train=loader.images, val=1, **drawing)
        for workers in loader.workers:
            share = {"batch_size": loader.batch, "workers": workers, "repeat": max(1, workers)}
            data = instantiate(cfg.data, root=str(root), **share, _convert_="object")
            data.setup("fit")
            seconds = loader.batch / fed_per_second(data.train_dataloader())
            yield figure(Subject("loading", loader.batch, workers=workers), Cost(seconds, None))


def drawn(cfg: DictConfig, images: int, device: torch.device) -> Sample:
    """A batch of images."""
    return draw_batch(images, cfg.people, cfg.rows, cfg.side, device)


def train(
    cfg: DictConfig, device: torch.device, model: str, images: int, *, compiled: bool
) -> Work:
    """A step of training."""
    network = {"architecture": model, "compiled": compiled}
    training = instantiate(cfg.model, network=network, _convert_="object").to(device)
    return training_work(training, drawn(cfg, images, device), bf16=cfg.precision == "bf16")


def find(
    cfg: DictConfig, device: torch.device, model: str, images: int, *, compiled: bool, decoded: bool
) -> Work:
    """Inference, or the network's part of it."""
    network = instantiate(cfg.model.network, architecture=model)
    predictor = instantiate(cfg.predictor, compiled=compiled, _convert_="object")(network)
    batch = drawn(cfg, images, device)
    if decoded:
        return inference_work(predictor, batch.image, outputs(cfg, device, images))
    return partial(predictor.fields, (batch.image,))


def decode(cfg: DictConfig, device: torch.device, images: int) -> Work:
    """The decoding alone."""
    decoder = instantiate(cfg.predictor.decoder)(WHOLEBODY, subpixel=True)
    return decoding_work(decoder, outputs(cfg, device, images))


def outputs(cfg: DictConfig, device: torch.device, images: int) -> Fields:
    """Outputs of the demo's network."""
    checkpoint = Path(
        cfg.checkpoint or demo_checkpoint(Path(cfg.paths.runs), Path(__file__).parent)
    )
    predictor = Predictor(checkpoint, device=device.type)
    return trained_fields(predictor, images, cfg.people, (cfg.side, cfg.side))


if __name__ == "__main__":
    told(main)
