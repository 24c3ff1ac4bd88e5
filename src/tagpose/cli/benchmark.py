"""Measure what a machine gets done: tagpose benchmark device=cuda|cpu [key=value ...]."""

import platform
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.benchmark.measurement import (
    BenchmarkCase,
    Measurement,
    Timer,
    TimingResult,
    Work,
    count_flops,
    device_name,
    make_measurement,
    make_table,
    measure_loader,
    peak_flops,
)
from tagpose.benchmark.workloads import (
    compute_crowd_maps,
    make_batch,
    make_decoding_work,
    make_inference_work,
    make_training_work,
)
from tagpose.cli.console import print_tables
from tagpose.cli.program import program
from tagpose.cli.subprograms import ensure_demo_checkpoint
from tagpose.data.synthetic import write_synthetic_dataset
from tagpose.evaluation.coco_results import write_json
from tagpose.inference.predictor import Predictor
from tagpose.skeletons.coco import WHOLEBODY
from tagpose.structures import KeypointMaps, Sample


@program("benchmark")
def main(cfg: DictConfig) -> None:
    """Measure what the configuration describes."""
    device = torch.device(cfg.device)
    about = {
        "device": device_name(device),
        "peak": peak_flops(device, cfg.peak_tflops),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "input_size": cfg.input_size,
        "precision": cfg.precision,
    }
    measurements: list[Measurement] = []
    for one in measured(cfg, device):
        measurements.append(one)
        print(*(f"{name}={value}" for name, value in one._asdict().items() if value), flush=True)
        written = about | {"measurements": [each._asdict() for each in measurements]}
        write_json(Path(cfg.output), written)
    title = f"{about['device']}, {cfg.input_size} input pixels, {cfg.precision}"
    # a log has no width of its own, and the table needs this one
    print_tables(make_table(measurements, title), width=120)
    if about["peak"] is None:
        print("shares of the chip's peak are left out: it is not known here; peak_tflops=NUMBER")
    print(f"numbers: {cfg.output}")


def measured(cfg: DictConfig, device: torch.device) -> Iterator[Measurement]:
    """All measurements, one after the other."""
    watch = Timer(device, cfg.warmup_steps, cfg.steps, cfg.repeats)
    decoding = {n: watch(partial(decode, cfg, device, n)) for n in cfg.inference_batch_sizes}
    for images, cost in decoding.items():
        yield make_measurement(BenchmarkCase("decoding", images), cost)
    for model in cfg.models:
        for compiled in cfg.compiled:
            yield from training_figures(cfg, watch, model, compiled=compiled)
            yield from inference_figures(cfg, watch, model, decoding, compiled=compiled)
    yield from loading_figures(cfg)


def training_figures(
    cfg: DictConfig, watch: Timer, model: str, *, compiled: bool
) -> Iterator[Measurement]:
    """Steps of training, by size of the batch."""
    peak = peak_flops(watch.device, cfg.peak_tflops)
    operations = count_flops(train(cfg, watch.device, model, 1, compiled=False))
    for images in cfg.train_batch_sizes:
        cost = watch(partial(train, cfg, watch.device, model, images, compiled=compiled))
        subject = BenchmarkCase("training", images, model, compiled)
        yield make_measurement(subject, cost, operations=operations, peak=peak)


def inference_figures(
    cfg: DictConfig, watch: Timer, model: str, decoding: dict[int, TimingResult], *, compiled: bool
) -> Iterator[Measurement]:
    """Inference with flip test, without decoding and with it, by size of the batch."""
    prepare = partial(find, cfg, watch.device, model)
    operations = count_flops(prepare(1, compiled=False, decoded=False))
    peak = peak_flops(watch.device, cfg.peak_tflops)
    figured = partial(make_measurement, operations=operations, peak=peak)
    for images in cfg.inference_batch_sizes:
        cost = watch(partial(prepare, images, compiled=compiled, decoded=False))
        yield figured(BenchmarkCase("network", images, model, compiled), cost)
        cost = watch(partial(prepare, images, compiled=compiled, decoded=True))
        subject, own = BenchmarkCase("inference", images, model, compiled), decoding[images].seconds
        yield figured(subject, cost, decoding=own)


def loading_figures(cfg: DictConfig) -> Iterator[Measurement]:
    """What the loader of training feeds, by number of workers."""
    loader = cfg.loader
    with TemporaryDirectory() as folder:
        root = Path(folder) / "synthetic"
        drawing = {
            "image_size": loader.image_size,
            "seed": cfg.seed,
            "processes": loader.drawing_processes,
        }
        write_synthetic_dataset(root, train=loader.num_images, val=1, **drawing)
        for workers in loader.workers:
            share = {
                "batch_size": loader.batch_size,
                "num_workers": workers,
                "repeat": max(1, workers),
            }
            data = instantiate(cfg.data, root=str(root), **share, _convert_="object")
            data.setup("fit")
            seconds = loader.batch_size / measure_loader(data.train_dataloader())
            yield make_measurement(
                BenchmarkCase("loading", loader.batch_size, workers=workers),
                TimingResult(seconds, None),
            )


def drawn(cfg: DictConfig, images: int, device: torch.device) -> Sample:
    """A batch of images."""
    return make_batch(images, cfg.people_per_image, cfg.max_people, cfg.input_size, device)


def train(
    cfg: DictConfig, device: torch.device, model: str, images: int, *, compiled: bool
) -> Work:
    """A step of training."""
    network = {"architecture": model, "compiled": compiled}
    training = instantiate(cfg.model, network=network, _convert_="object").to(device)
    return make_training_work(training, drawn(cfg, images, device), bf16=cfg.precision == "bf16")


def find(
    cfg: DictConfig, device: torch.device, model: str, images: int, *, compiled: bool, decoded: bool
) -> Work:
    """Inference, or the network's part of it."""
    network = instantiate(cfg.model.network, architecture=model)
    predictor = instantiate(cfg.predictor, compiled=compiled, _convert_="object")(network)
    batch = drawn(cfg, images, device)
    if decoded:
        return make_inference_work(predictor, batch.image, outputs(cfg, device, images))
    return partial(predictor.predict_maps, (batch.image,))


def decode(cfg: DictConfig, device: torch.device, images: int) -> Work:
    """The decoding alone."""
    decoder = instantiate(cfg.predictor.decoder)(WHOLEBODY, subpixel=True)
    return make_decoding_work(decoder, outputs(cfg, device, images))


def outputs(cfg: DictConfig, device: torch.device, images: int) -> KeypointMaps:
    """Outputs of the demo's network."""
    checkpoint = Path(cfg.checkpoint or ensure_demo_checkpoint(Path(cfg.paths.runs)))
    predictor = Predictor(checkpoint, device=device.type)
    return compute_crowd_maps(
        predictor, images, cfg.people_per_image, (cfg.input_size, cfg.input_size)
    )
