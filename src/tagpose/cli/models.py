"""List the published models: tagpose models."""

from typing import Final

import torch
from omegaconf import DictConfig
from rich.table import Column, Table

from tagpose.cli.console import print_tables
from tagpose.cli.program import program
from tagpose.evaluation.published_results import find_published_result
from tagpose.models.network import PoseNetwork
from tagpose.models.zoo import MODELS, ZooModel, cache_folder
from tagpose.skeletons.coco import BODY, WHOLEBODY

_COLUMNS: Final = ("keypoints", "size", "AP", "license", "cached")


@program("models")
def main(cfg: DictConfig) -> None:
    """Print the name, size, AP and license of each model, and where files are cached."""
    table = Table(Column("name", no_wrap=True), *_COLUMNS)
    for model in MODELS:
        table.add_row(*describe_model(model))
    print_tables(table)
    print(f"AP of all keypoints on COCO val, as published. Files are cached in {cache_folder()}")


def describe_model(model: ZooModel) -> list[str]:
    """Return the row of a model."""
    skeleton = WHOLEBODY if model.skeleton == WHOLEBODY.name else BODY
    with torch.device("meta"):  # without memory for the weights
        network = PoseNetwork(model.architecture, skeleton)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    result = find_published_result(model.architecture, model.skeleton, (1,))
    ap, _ = [*result.numbers.values()][-1]
    downloaded = "yes" if (cache_folder() / model.file_name).exists() else "no"
    return [
        model.name,
        str(skeleton.size),
        f"{4 * parameters / 1e6:.0f} MB",
        f"{ap:.3f}".removeprefix("0"),
        model.license,
        downloaded,
    ]
