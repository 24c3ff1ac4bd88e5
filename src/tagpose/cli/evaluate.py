"""Evaluate a checkpoint on a data set: tagpose evaluate checkpoint=FILE [KEY=VALUE ...]."""

from functools import partial
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from tagpose.cli.console import print_tables
from tagpose.cli.program import program, resolve_checkpoints
from tagpose.cli.published_check import check_scores, prepare_published
from tagpose.data.datamodule import PoseDataModule
from tagpose.evaluation.coco_results import (
    NO_EXTRAS,
    CocoResult,
    from_coco_results,
    to_coco_results,
    write_results,
)
from tagpose.evaluation.ground_truth import GroundTruth, read_ground_truth
from tagpose.evaluation.keypoint_ap import PartScores, evaluate_parts
from tagpose.evaluation.predictions import part_ranking_scores
from tagpose.evaluation.score_tables import score_table, scores_to_dict
from tagpose.io import write_json
from tagpose.models.checkpoint import load_network
from tagpose.models.network import ModelSpec
from tagpose.provenance import fingerprint, package_versions
from tagpose.skeletons.custom import skeleton_to_config
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses
from tagpose.visualization.image_grid import write_comparison_grids
from tagpose.visualization.poses import draw_poses


@program("evaluate")
def main(cfg: DictConfig) -> None:
    """Print the scores, and write the COCO results, the metrics and pictures."""
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
    scores, ranked_scores = score_and_write(
        ground_truth, predictions, network.skeleton, output, per_part_scores=cfg.per_part_scores
    )
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


def check_spec(cfg: DictConfig, spec: ModelSpec) -> None:
    """Raise a ValueError if a checkpoint is not of the configured network, where one is."""
    if cfg.get("model") is None:
        return
    skeleton = instantiate(cfg.skeleton) if cfg.get("skeleton") else spec.skeleton
    expected = spec._replace(architecture=cfg.model.network.architecture, skeleton=skeleton)
    if expected != spec:
        raise ValueError(
            f"{cfg.checkpoint} is a checkpoint of {spec}, expected {expected}; change model= and "
            "skeleton=, or omit them"
        )


def apply_network_settings(cfg: DictConfig, spec: ModelSpec) -> DictConfig:
    """Return the configuration with the checkpoint's skeleton and default input size."""
    cfg = cfg.copy()
    with open_dict(cfg):
        cfg.skeleton = skeleton_to_config(spec.skeleton)
        cfg.input_size = cfg.input_size or spec.input_size
    return cfg


def score_and_write(
    ground_truth: GroundTruth,
    predictions: dict[int, Poses],
    skeleton: Skeleton,
    output: Path,
    *,
    per_part_scores: bool,
) -> tuple[dict[str, PartScores], dict[str, PartScores]]:
    """Evaluate predictions, and write them to results.json.

    Args:
        ground_truth: annotations of the data set.
        predictions: poses by image id, in image pixels.
        skeleton: skeleton of the keypoints.
        output: folder of results.json.
        per_part_scores: whether the results have a score for each part, or the person score only.

    Returns:
        Scores by part, ranked by person score; and ranked by the scores of the parts.
    """
    results = make_results(predictions, skeleton, per_part_scores=False)
    write_results(
        output / "results.json",
        make_results(predictions, skeleton, per_part_scores=True) if per_part_scores else results,
    )
    poses = from_coco_results(results, skeleton)  # rounded as in the file
    ranks = {image_id: part_ranking_scores(predictions[image_id], skeleton) for image_id in poses}
    extras = NO_EXTRAS._replace(scores=ranks)
    return evaluate_parts(ground_truth, poses, skeleton), evaluate_parts(
        ground_truth, poses, skeleton, extras
    )


def make_results(
    predictions: dict[int, Poses], skeleton: Skeleton, *, per_part_scores: bool
) -> list[CocoResult]:
    """Return the COCO results of all images."""
    return [
        result
        for image_id, poses in predictions.items()
        for result in to_coco_results(image_id, poses, skeleton, per_part_scores=per_part_scores)
    ]


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
