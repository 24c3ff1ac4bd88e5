"""Comparison of an MMPose checkpoint's scores with its published results."""

from collections.abc import Mapping
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.cli.console import print_tables
from tagpose.codec.decoder import build_decoder
from tagpose.evaluation.keypoint_ap import PartScores
from tagpose.evaluation.published_results import (
    PublishedResult,
    compare_to_published,
    find_published_result,
)
from tagpose.evaluation.score_tables import comparison_table
from tagpose.io import write_json
from tagpose.models.zoo import cache_folder, download_model, find_model
from tagpose.structures import DEFAULT_INPUT_SIZE


def prepare_published(cfg: DictConfig) -> PublishedResult:
    """Return the published results of a model, and download its checkpoint if none is named.

    Args:
        cfg: `conf/evaluate.yaml`, composed; its checkpoint is set.

    Raises:
        ValueError: the options differ from those of the published evaluation.
    """
    check_options(cfg)
    row = find_published_result(
        cfg.model.network.architecture, cfg.skeleton.name, tuple(cfg.predictor.scales)
    )
    data = instantiate(cfg.data, _convert_="object")
    data.check_exists([data.val_split])  # before a long download
    model = find_model(row.architecture, row.skeleton)
    cfg.checkpoint = cfg.checkpoint or str(download_model(model, cache_folder()))
    return row


def check_options(cfg: DictConfig) -> None:
    """Raise a ValueError if options differ from those of the published evaluation."""
    if cfg.get("model") is None:
        raise ValueError(
            "the model whose published results to compare with is missing; set model=hrnet_w32 or "
            "another"
        )
    test = cfg.predictor
    if (test.input_size, test.flip_test, test.precision) != (DEFAULT_INPUT_SIZE, True, "float32"):
        raise ValueError(
            f"input_size={test.input_size} predictor.flip_test={test.flip_test} "
            f"predictor.precision={test.precision} differ from the published evaluation; use "
            f"input_size={DEFAULT_INPUT_SIZE} predictor.flip_test=true predictor.precision=float32"
        )
    skeleton = instantiate(cfg.skeleton)
    published = build_decoder(skeleton, max_people=None)
    if (
        test.multi_scale_tags
        or test.fuse_by_size
        or instantiate(test.decoder)(skeleton) != published
    ):
        raise ValueError(
            "options of scales or of predictor.decoder differ from the published evaluation; keep "
            "those of conf/predictor/published.yaml"
        )


def check_scores(row: PublishedResult, scores: Mapping[str, PartScores], output: Path) -> None:
    """Print and write the differences to the published results.

    Args:
        row: published results.
        scores: scores by part.
        output: folder of published.json.

    Raises:
        ValueError: a score differs by more than rounding.
    """
    differences = compare_to_published(row, scores)
    print_tables(comparison_table(differences, f"{row.architecture}, published results"))
    write_json(output / "published.json", [difference._asdict() for difference in differences])
    wrong = [f"{d.part} {d.metric}" for d in differences if d.exceeds_tolerance]
    if wrong:
        raise ValueError(
            f"{', '.join(wrong)} differ from the published results of {row.architecture}; compare "
            f"the versions and files in {output}/metrics.json with those of a run that agrees"
        )
