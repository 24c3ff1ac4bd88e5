"""Count, doubt and draw a data set: python scripts/inspect_data.py [data=NAME key=value ...].

The exit code is 0 where nothing is wrong with it, and 1 where something is.
"""

from pathlib import Path

import hydra
import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.complaints import told, told_in_a_sentence
from tagpose.data.datamodule import PoseData, Split
from tagpose.data.images import write_image
from tagpose.data.inspection import Inspection, Kind, inspect
from tagpose.data.inspection.kinds import listing
from tagpose.data.inspection.samples import training_samples, validation_samples
from tagpose.data.inspection.tables import by_part, by_visibility, overview
from tagpose.drawing.samples import draw_sample
from tagpose.drawing.sheets import contact_sheet
from tagpose.output import print_tables


@hydra.main(version_base="1.3", config_path="../conf", config_name="inspect")
def main(cfg: DictConfig) -> None:
    """Tell what a data set has and what is wrong with it; draw samples of it."""
    with told_in_a_sentence():
        if not inspect_data(cfg):
            raise SystemExit(1)


def inspect_data(cfg: DictConfig) -> bool:
    """Inspect what the configuration names; whether nothing is wrong with it."""
    for key in ("faults", "samples"):
        if not isinstance(cfg[key], int) or cfg[key] < 0:
            raise ValueError(f"{key}={cfg[key]} is no number from 0 on")
    data = instantiate(cfg.data, _convert_="object")
    splits = named_splits(data, cfg.split)
    inspections = {
        split: tell(data, split, cfg.faults, pixels=cfg.pixels)
        for split in dict.fromkeys(splits.values())
    }
    rows = []
    for n, (name, split) in enumerate(splits.items()):
        share = len(range(n, cfg.samples, len(splits)))
        rows += sample_rows(data, name, inspections[split], share) if share else []
    if rows:
        sheet = Path(cfg.output) / "sheet.png"
        write_image(sheet, contact_sheet(rows))
        print(f"sheet: {sheet}")
    return not any(inspection.faults for inspection in inspections.values())


def named_splits(data: PoseData, names: str | list[str]) -> dict[str, Split]:
    """The splits of a data set by name, once it is seen that they are there."""
    splits = {"train": data.train_split, "val": data.val_split}
    named = [names] if isinstance(names, str) else list(names)
    if not named or not set(named) <= set(splits):
        raise ValueError(f"split={names} is neither train, nor val, nor [train, val]")
    chosen = {name: splits[name] for name in named}
    data.check_there(list(chosen.values()))
    return chosen


def tell(data: PoseData, split: Split, shown: int, *, pixels: bool) -> Inspection:
    """Print what a split has and the first faults of each kind."""
    file = data.root / split.annotations
    inspection = inspect(file, data.root / split.images, data.skeleton, pixels=pixels)
    title, coverage = f"{inspection.description}: {file.name}", inspection.coverage
    tables = overview(coverage, title), by_part(coverage.parts), by_visibility(coverage.parts)
    print_tables(*tables)
    number = sum(map(len, inspection.faults.values()))
    print(f"{file}: {number or 'no'} faults", *listing(inspection.faults, shown), sep="\n")
    return inspection


def sample_rows(data: PoseData, name: str, inspection: Inspection, number: int) -> list[np.ndarray]:
    """Pictures of samples of one split; none where the reader refuses what has faults."""
    samples = {"train": training_samples, "val": validation_samples}[name]
    try:
        if Kind.SEGMENTATION in inspection.faults:  # the library that reads them may crash
            raise ValueError(Kind.SEGMENTATION.value)
        shown = samples(data, number)
    except (OSError, ValueError, ArithmeticError) as error:
        if not inspection.faults:
            raise
        print(f"no sample of {name} is drawn: {error}")
        return []
    return [
        draw_sample(sample, data.skeleton, f"{name}: image {sample.image_id}") for sample in shown
    ]


if __name__ == "__main__":
    told(main)
