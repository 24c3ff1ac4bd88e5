"""Measure training, inference and data loading: tagpose benchmark [device=cpu KEY=VALUE ...]."""

import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    free_memory,
    make_measurement,
    make_measurement_table,
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
from tagpose.cli.demo import ensure_demo_checkpoint
from tagpose.cli.program import program
from tagpose.cli.subprograms import Step, is_stop, run_subprogram
from tagpose.data.synthetic import write_synthetic_dataset
from tagpose.inference.predictor import Predictor
from tagpose.io import write_json
from tagpose.skeletons.coco import WHOLEBODY
from tagpose.structures import KeypointMaps, Sample
from tagpose.training.history import read_history
from tagpose.training.trainer import trainer_devices


@program("benchmark")
def main(cfg: DictConfig) -> None:
    """Print each measurement, write all to a JSON file, and print a table."""
    device, batch_sizes = torch.device(cfg.device), list(cfg.train_batch_sizes)
    if cfg.loop.devices and cfg.loop.batch_size not in batch_sizes:
        raise ValueError(
            f"loop.batch_size={cfg.loop.batch_size} is not in train_batch_sizes={batch_sizes}; use "
            "one of them, or loop.devices=[] for no training loop"
        )
    settings = {
        "device": device_name(device),
        "peak": peak_flops(device, cfg.peak_tflops),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "input_size": cfg.input_size,
        "precision": cfg.precision,
    }
    done: list[Measurement] = []
    for measurement in measure_all(cfg, device):
        done.append(measurement)
        values = measurement._asdict().items()
        print(*(f"{name}={value}" for name, value in values if value), flush=True)
        content = settings | {"measurements": [item._asdict() for item in done]}
        write_json(Path(cfg.output), content)
    title = f"{settings['device']}, {cfg.input_size} input pixels, {cfg.precision}"
    # a log file has no width, and the table needs this one
    print_tables(make_measurement_table(done, title), width=140)
    if settings["peak"] is None:
        print("The peak FLOPS of this device are unknown; set peak_tflops=NUMBER for utilization")
    print(f"measurements: {cfg.output}")


def measure_all(cfg: DictConfig, device: torch.device) -> Iterator[Measurement]:
    """Yield all measurements, one after the other."""
    timer = Timer(device, cfg.warmup_steps, cfg.steps, cfg.repeats)
    decoding = {
        n: timer(partial(instantiate_decoding_work, cfg, device, n))
        for n in cfg.inference_batch_sizes
    }
    for batch_size, timing in decoding.items():
        yield make_measurement(BenchmarkCase("decoding", batch_size), timing)
    steps = []
    for model in cfg.models:
        for compiled in cfg.compiled:
            for step in measure_training(cfg, timer, model, compiled=compiled):
                steps.append(step)
                yield step
            yield from measure_inference(cfg, timer, model, decoding, compiled=compiled)
    free_memory(device)
    with synthetic_dataset(cfg) as root:
        yield from measure_training_loops(cfg, root, steps)
        yield from measure_loading(cfg, root)


def measure_training(
    cfg: DictConfig, timer: Timer, model: str, *, compiled: bool
) -> Iterator[Measurement]:
    """Yield the time of a training step for each batch size."""
    prepare = partial(instantiate_training_work, cfg, timer.device, model)
    flops = count_flops(prepare(1, compiled=False))
    peak = peak_flops(timer.device, cfg.peak_tflops)
    for batch_size in cfg.train_batch_sizes:
        timing = timer(partial(prepare, batch_size, compiled=compiled))
        case = BenchmarkCase("training", batch_size, model, compiled)
        yield make_measurement(case, timing, operations=flops, peak=peak)


def measure_inference(
    cfg: DictConfig, timer: Timer, model: str, decoding: dict[int, TimingResult], *, compiled: bool
) -> Iterator[Measurement]:
    """Yield the time of the network and of inference, with flip test, for each batch size."""
    prepare = partial(instantiate_inference_work, cfg, timer.device, model)
    flops = count_flops(prepare(1, compiled=False, decode=False))
    peak = peak_flops(timer.device, cfg.peak_tflops)
    measure = partial(make_measurement, operations=flops, peak=peak)
    for batch_size in cfg.inference_batch_sizes:
        timing = timer(partial(prepare, batch_size, compiled=compiled, decode=False))
        yield measure(BenchmarkCase("network", batch_size, model, compiled), timing)
        timing = timer(partial(prepare, batch_size, compiled=compiled, decode=True))
        case = BenchmarkCase("inference", batch_size, model, compiled)
        yield measure(case, timing, decoding=decoding[batch_size].seconds)


def measure_training_loops(
    cfg: DictConfig, root: Path, steps: Sequence[Measurement]
) -> Iterator[Measurement]:
    """Yield the throughput of `tagpose train` for each network and number of devices.

    Args:
        cfg: configuration of the benchmark.
        root: dataset to train on.
        steps: measured training steps; those with `loop.batch_size` images are compared with the
            loop.
    """
    for step in steps:
        if step.images != cfg.loop.batch_size:
            continue
        for devices in cfg.loop.devices:
            case = BenchmarkCase(
                "training loop", cfg.loop.batch_size * devices, step.model, step.compiled,
                cfg.loop.workers,
            )  # fmt: skip
            yield make_measurement(case, time_training(cfg, root, case, devices), step=step.seconds)


def time_training(cfg: DictConfig, root: Path, case: BenchmarkCase, devices: int) -> TimingResult:
    """Return the time of a batch of all devices in a training with all callbacks.

    The last `loop.steps` steps are timed, after at least as many others.
    """
    images = 2 * cfg.loop.steps * case.images
    with TemporaryDirectory() as run:
        overrides = (
            "experiment=finetune", "data=synthetic", "init=scratch", f"hydra.run.dir={run}",
            "model.network.pretrained=false", f"model.network.architecture={case.model}",
            f"model.network.compiled={str(case.compiled).lower()}", f"input_size={cfg.input_size}",
            f"data.root={root}", f"data.batch_size={cfg.loop.batch_size}",
            f"data.num_workers={case.workers}",
            f"+data.repeat={-(-images // cfg.loader.num_images)}",
            f"trainer.accelerator={torch.device(cfg.device).type}",
            f"trainer={'ddp' if devices > 1 else 'default'}",
            f"trainer.devices={trainer_devices(torch.device(cfg.device), devices)}",
            f"trainer.precision={'bf16-mixed' if cfg.precision == 'bf16' else '32-true'}",
            "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=2",
            "optimization.lr_scaling.rule=linear",
            f"+callbacks.throughput.every_n_steps={cfg.loop.steps}",
            f"+trainer.log_every_n_steps={cfg.loop.steps}",
        )  # fmt: skip
        try:
            run_subprogram(Step(Path(run), "train", overrides))
        except SystemExit as error:
            if is_stop(error):
                raise
            return TimingResult(None, None, f"exit code {error.code}")  # other workloads still run
        curves = read_history(Path(run) / "metrics.csv")
    speeds = [curve.values[-1] for curve in curves if curve.name == "train/images_per_second"]
    if not speeds:
        return TimingResult(None, None, "no throughput was logged")
    return TimingResult(case.images / speeds[0], None)


@contextmanager
def synthetic_dataset(cfg: DictConfig) -> Iterator[Path]:
    """Write a synthetic dataset, yield its folder, and remove it."""
    options = cfg.loader
    with TemporaryDirectory() as folder:
        root = Path(folder) / "synthetic"
        write_synthetic_dataset(
            root,
            train=options.num_images,
            val=1,
            image_size=options.image_size,
            seed=cfg.seed,
            processes=options.drawing_processes,
        )
        yield root


def measure_loading(cfg: DictConfig, root: Path) -> Iterator[Measurement]:
    """Yield the throughput of the training loader for each number of workers."""
    options = cfg.loader
    for workers in options.workers:
        data = instantiate(
            cfg.data,
            root=str(root),
            batch_size=options.batch_size,
            num_workers=workers,
            repeat=max(1, workers),
            _convert_="object",
        )
        data.setup("fit")
        seconds = options.batch_size / measure_loader(data.train_dataloader())
        case = BenchmarkCase("loading", options.batch_size, workers=workers)
        yield make_measurement(case, TimingResult(seconds, None))


def synthetic_batch(cfg: DictConfig, batch_size: int, device: torch.device) -> Sample:
    """Return a batch of synthetic images and people."""
    return make_batch(batch_size, cfg.people_per_image, cfg.max_people, cfg.input_size, device)


def instantiate_training_work(
    cfg: DictConfig, device: torch.device, model: str, batch_size: int, *, compiled: bool
) -> Work:
    """Return a function that runs one training step."""
    network = {"architecture": model, "compiled": compiled}
    module = instantiate(cfg.model, network=network, _convert_="object").to(device)
    batch = synthetic_batch(cfg, batch_size, device)
    return make_training_work(module, batch, bf16=cfg.precision == "bf16")


def instantiate_inference_work(
    cfg: DictConfig,
    device: torch.device,
    model: str,
    batch_size: int,
    *,
    compiled: bool,
    decode: bool,
) -> Work:
    """Return a function that runs the network on a batch, and the decoder if wanted."""
    network = instantiate(cfg.model.network, architecture=model)
    predictor = instantiate(cfg.predictor, compiled=compiled, _convert_="object")(network)
    batch = synthetic_batch(cfg, batch_size, device)
    if decode:
        return make_inference_work(
            predictor, batch.image, instantiate_trained_outputs(cfg, device, batch_size)
        )
    return partial(predictor.predict_maps, (batch.image,))


def instantiate_decoding_work(cfg: DictConfig, device: torch.device, batch_size: int) -> Work:
    """Return a function that decodes a batch of network outputs."""
    decoder = instantiate(cfg.predictor.decoder)(WHOLEBODY, subpixel=True)
    return make_decoding_work(decoder, instantiate_trained_outputs(cfg, device, batch_size))


def instantiate_trained_outputs(
    cfg: DictConfig, device: torch.device, batch_size: int
) -> KeypointMaps:
    """Return outputs of a trained network, as those of a random one would not decode to people."""
    checkpoint = Path(cfg.checkpoint or ensure_demo_checkpoint(Path(cfg.paths.runs)))
    predictor = Predictor(checkpoint, device=device.type)
    size = (cfg.input_size, cfg.input_size)
    return compute_crowd_maps(predictor, batch_size, cfg.people_per_image, size)
