"""Count, doubt and draw a data set: tagpose data check [data=NAME key=value ...].

The exit code is 1 where training or scoring would stop at an error, and 0 otherwise.
"""

import warnings
from pathlib import Path

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.cli.console import print_tables
from tagpose.cli.program import program
from tagpose.data.datamodule import PoseDataModule, Split
from tagpose.data.image_files import write_image
from tagpose.data.issue_log import IssueLog, format_issues
from tagpose.data.issue_types import Severity
from tagpose.data.quality.inspection import Inspection, inspect_dataset
from tagpose.data.quality.sample_selection import load_train_samples, load_val_samples
from tagpose.data.quality.statistics_tables import (
    format_overview,
    format_parts,
    format_visibilities,
)
from tagpose.data.quality.train_val_overlap import log_shared_images
from tagpose.visualization.image_grid import make_image_grid
from tagpose.visualization.samples import draw_sample


@program("data_check")
def main(cfg: DictConfig) -> None:
    """Tell what a data set has and what is wrong with it; draw samples of it."""
    if not inspect_data(cfg):
        raise SystemExit(1)


def inspect_data(cfg: DictConfig) -> bool:
    """Inspect what the configuration names; whether it has no error."""
    for key in ("max_issues", "samples"):
        if not isinstance(cfg[key], int) or cfg[key] < 0:
            raise ValueError(f"{key}={cfg[key]} is no number from 0 on")
    data = instantiate(cfg.data, _convert_="object")
    splits = named_splits(data, cfg.split)
    inspections = {
        split: tell(data, split, cfg.max_issues, read_pixels=cfg.read_pixels)
        for split in dict.fromkeys(splits.values())
    }
    if len(splits) > 1:
        train, val = (inspections[split].files for split in splits.values())
        shared = IssueLog(data.root)
        log_shared_images(train, val, shared, content=cfg.read_pixels)
        for line in format_issues(shared, cfg.max_issues):
            print(line)
    rows = []
    for n, (name, split) in enumerate(splits.items()):
        share = len(range(n, cfg.samples, len(splits)))
        rows += sample_rows(data, name, inspections[split], share) if share else []
    if rows:
        sheet = Path(cfg.output) / "sheet.png"
        write_image(sheet, make_image_grid(rows))
        print(f"sheet: {sheet}")
    return not any(inspection.log.first_error for inspection in inspections.values())


def named_splits(data: PoseDataModule, names: str | list[str]) -> dict[str, Split]:
    """The splits of a data set by name, once it is seen that they are there."""
    splits = {"train": data.train_split, "val": data.val_split}
    named = [names] if isinstance(names, str) else list(names)
    if not named or not set(named) <= set(splits):
        raise ValueError(f"split={names} is neither train, nor val, nor [train, val]")
    chosen = {name: splits[name] for name in named}
    data.check_exists(list(chosen.values()))
    return chosen


def tell(data: PoseDataModule, split: Split, shown: int, *, read_pixels: bool) -> Inspection:
    """Print what a split has and the first issues of each type."""
    file = data.root / split.annotations
    images, options = data.root / split.images, data.options
    inspection = inspect_dataset(
        file, images, data.skeleton, read_pixels=read_pixels, options=options
    )
    title, coverage = f"{inspection.description}: {file.name}", inspection.coverage
    tables = (
        format_overview(coverage, title),
        format_parts(coverage.parts),
        format_visibilities(coverage.parts),
    )
    print_tables(*tables)
    print(f"{file}: {summary(inspection)}", *format_issues(inspection.log, shown), sep="\n")
    return inspection


def summary(inspection: Inspection) -> str:
    """How many issues of each severity there are."""
    counts = dict.fromkeys(Severity, 0)
    for type_, number in inspection.log.counts.items():
        counts[type_.severity] += number
    told = (f"{severity.value}: {number}" for severity, number in counts.items() if number)
    return ", ".join(told) or "no issues"


def sample_rows(
    data: PoseDataModule, name: str, inspection: Inspection, number: int
) -> list[np.ndarray]:
    """Pictures of samples of one split; none where the reader refuses the file."""
    samples = {"train": load_train_samples, "val": load_val_samples}[name]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # listed above
            shown = samples(data, number)
    except (OSError, ValueError) as error:
        if not inspection.log.first_error:
            raise
        print(f"no sample of {name} is drawn: {error}")
        return []
    return [
        draw_sample(sample, data.skeleton, f"{name}: image {sample.image_id}") for sample in shown
    ]
