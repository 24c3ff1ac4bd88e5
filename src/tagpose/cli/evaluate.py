"""Evaluate a checkpoint on a dataset: tagpose evaluate checkpoint=FILE [KEY=VALUE ...]."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from tagpose.cli.checkpoint_options import apply_network_settings, check_spec, resolve_checkpoints
from tagpose.cli.console import print_tables
from tagpose.cli.program import program
from tagpose.codec.decoder import build_decoder
from tagpose.data.datamodule import PoseDataModule
from tagpose.evaluation.coco_results import (
    RESULTS_FILE,
    from_coco_results,
    make_coco_results,
    part_ranking_extras,
    write_results,
)
from tagpose.evaluation.ground_truth import read_ground_truth
from tagpose.evaluation.keypoint_ap import PartScores, evaluate_parts, scores_to_dict
from tagpose.evaluation.published_results import (
    PublishedResult,
    compare_to_published,
    find_published_result,
)
from tagpose.evaluation.score_tables import comparison_table, score_table
from tagpose.io import write_json
from tagpose.models.checkpoint import load_network
from tagpose.models.zoo import cache_folder, download_model, find_model
from tagpose.provenance import fingerprint, package_versions
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import DEFAULT_INPUT_SIZE, Poses
from tagpose.visualization.image_grid import write_comparison_grids
from tagpose.visualization.poses import draw_poses


@program("evaluate")
def main(cfg: DictConfig) -> None:
    """Print the scores, and write the COCO results, the metrics and pictures."""
    if not OmegaConf.is_missing(cfg, "checkpoint") and not (
        cfg.checkpoint or cfg.compare_to_published
    ):
        raise ValueError("checkpoint=null is invalid; use a checkpoint or the name of a model")
    if cfg.compare_to_published:
        row = prepare_published(cfg)
        check_scores(row, evaluate(cfg), Path(cfg.output))
    else:
        evaluate(cfg)


def evaluate(cfg: DictConfig) -> dict[str, PartScores]:
    """Evaluate a checkpoint, and return the scores by part, ranked by person score."""
    resolve_checkpoints(cfg)
    versions, network = package_versions(), load_network(Path(cfg.checkpoint))
    check_spec(cfg, network.spec)
    cfg = apply_network_settings(cfg, network.spec)
    data = instantiate(cfg.data, _convert_="object")
    data.setup("validate")
    ground_truth = read_ground_truth(data.ground_truth_file, network.skeleton, data.options)
    predictor = instantiate(cfg.predictor, _convert_="object")(network)
    loader = data.test_time_dataloader(predictor.input_size, predictor.scales)
    predictions = predictor.predict_dataset(loader)
    output = Path(cfg.output)
    results = make_coco_results(predictions, network.skeleton, per_part_scores=False)
    write_results(
        output / RESULTS_FILE,
        make_coco_results(predictions, network.skeleton, per_part_scores=True)
        if cfg.per_part_scores
        else results,
    )
    poses = from_coco_results(results, network.skeleton)  # rounded as in the file
    scores = evaluate_parts(ground_truth, poses, network.skeleton)
    ranks = part_ranking_extras(predictions, network.skeleton)
    ranked_scores = evaluate_parts(ground_truth, poses, network.skeleton, ranks)
    title = f"{data.description}: {len(ground_truth.image_ids)} images"
    metrics = {
        "title": title,
        "parts": scores_to_dict(scores),
        "checkpoint": fingerprint(Path(cfg.checkpoint)),
        "annotations": fingerprint(data.ground_truth_file),
        "test": OmegaConf.to_container(cfg.predictor, resolve=True),
        "versions": versions,
        "per_part_scores": scores_to_dict(ranked_scores),
    }
    write_json(output / "metrics.json", metrics)
    write_pictures(cfg, data, predictions, network.skeleton)
    print_tables(score_table(scores, title))
    if len(ranked_scores) > 1:
        print_tables(score_table(ranked_scores, "parts ranked by their own scores"))
    print(f"results: {output}")
    return scores


def write_pictures(
    cfg: DictConfig, data: PoseDataModule, predictions: dict[int, Poses], skeleton: Skeleton
) -> None:
    """Draw the ground truth and the predictions of the first images, if any are wanted."""
    annotations: Any = data.annotations[data.val_split]
    records = [annotations.record(i) for i in range(min(cfg.pictures, len(annotations)))]
    if records:
        draw = partial(
            draw_poses,
            skeleton=skeleton,
            min_score=cfg.min_keypoint_score,
            min_person_score=cfg.min_person_score,
        )
        write_comparison_grids(Path(cfg.output), records, predictions, skeleton, draw)


def prepare_published(cfg: DictConfig) -> PublishedResult:
    """Return the published results of a model, and download its checkpoint if none is named.

    Args:
        cfg: `conf/evaluate.yaml`, composed; its checkpoint is set.

    Raises:
        ValueError: the options differ from those of the published evaluation.
    """
    check_published_options(cfg)
    row = find_published_result(
        cfg.model.network.architecture, cfg.skeleton.name, tuple(cfg.predictor.scales)
    )
    data = instantiate(cfg.data, _convert_="object")
    data.check_exists([data.val_split])  # before a long download
    model = find_model(row.architecture, row.skeleton)
    cfg.checkpoint = cfg.checkpoint or str(download_model(model, cache_folder()))
    return row


def check_published_options(cfg: DictConfig) -> None:
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
    published = build_decoder(skeleton, max_people=None, person_score_tie_break=False)
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
