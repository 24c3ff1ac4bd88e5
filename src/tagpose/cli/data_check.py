"""Count annotations, list issues and draw samples: tagpose data check [data=NAME KEY=VALUE ...].

The exit code is 1 if the dataset has errors at which training or evaluation would stop.
"""

import warnings
from pathlib import Path

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.cli.console import print_tables
from tagpose.cli.program import program
from tagpose.data.datamodule import PoseDataModule
from tagpose.data.image_files import write_image
from tagpose.data.issues import IssueLog, format_issues
from tagpose.data.quality.input_size_advice import advise_input_size
from tagpose.data.quality.inspection import Inspection, inspect_dataset, summarize_issues
from tagpose.data.quality.sample_selection import load_train_samples, load_val_samples
from tagpose.data.quality.shared_images import log_shared_images
from tagpose.data.quality.statistics_tables import (
    format_overview,
    format_part_sizes,
    format_parts,
    format_visibilities,
)
from tagpose.data.split_paths import Split
from tagpose.visualization.image_grid import make_image_grid
from tagpose.visualization.samples import draw_sample


@program("data_check")
def main(cfg: DictConfig) -> None:
    """Print the statistics and issues of a dataset, and draw samples of it."""
    if not check_dataset(cfg):
        raise SystemExit(1)


def check_dataset(cfg: DictConfig) -> bool:
    """Check the configured splits, and return whether they have no errors."""
    data = instantiate(cfg.data, _convert_="object")
    splits = select_splits(data, cfg.split)
    inspections = {
        split: inspect_split(
            data, split, cfg.max_issues, stride=cfg.stride, read_pixels=cfg.read_pixels
        )
        for split in dict.fromkeys(splits.values())
    }
    if len(splits) > 1:
        train, val = (inspections[split].files for split in splits.values())
        log = IssueLog(data.root)
        log_shared_images(train, val, log, content=cfg.read_pixels)
        for line in format_issues(log, cfg.max_issues):
            print(line)
    images = []
    for index, (name, split) in enumerate(splits.items()):
        count = len(range(index, cfg.samples, len(splits)))  # share of this split
        images += draw_samples(data, name, inspections[split], count) if count else []
    if images:
        sheet = Path(cfg.output) / "sheet.png"
        write_image(sheet, make_image_grid(images))
        print(f"samples: {sheet}")
    return not any(inspection.log.first_error for inspection in inspections.values())


def select_splits(data: PoseDataModule, names: str | list[str]) -> dict[str, Split]:
    """Return splits of a dataset by name, after a check that their files exist."""
    splits = {"train": data.train_split, "val": data.val_split}
    selected = [names] if isinstance(names, str) else list(names)
    if not selected or not set(selected) <= set(splits):
        raise ValueError(f"unknown split in split={names}; use train, val or [train,val]")
    data.check_exists([splits[name] for name in selected])
    return {name: splits[name] for name in selected}


def inspect_split(
    data: PoseDataModule, split: Split, max_issues: int, *, stride: int, read_pixels: bool
) -> Inspection:
    """Print the statistics of a split, the first issues of each type, and advice."""
    file = data.root / split.annotations
    images, options = data.root / split.images, data.options
    inspection = inspect_dataset(
        file, images, data.skeleton, read_pixels=read_pixels, options=options
    )
    title, coverage = f"{inspection.description}: {file.name}", inspection.coverage
    print_tables(
        format_overview(coverage, title),
        format_parts(coverage.parts),
        format_visibilities(coverage.parts),
        format_part_sizes(inspection.part_sizes, data.input_size, stride),
    )
    issues = format_issues(inspection.log, max_issues)
    print(f"{file}: {summarize_issues(inspection)}", *issues, sep="\n")
    for line in advise_input_size(inspection.part_sizes, data.input_size, stride):
        print(f"advice: {line}")
    return inspection


def draw_samples(
    data: PoseDataModule, name: str, inspection: Inspection, count: int
) -> list[np.ndarray]:
    """Draw samples of a split; return none if its errors make it unreadable."""
    load_samples = {"train": load_train_samples, "val": load_val_samples}[name]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # listed among the issues
            samples = load_samples(data, count)
    except (OSError, ValueError) as error:
        if not inspection.log.first_error:
            raise
        print(f"No samples of {name} are drawn: {error}")
        return []
    return [
        draw_sample(sample, data.skeleton, f"{name}: image {sample.image_id}") for sample in samples
    ]
