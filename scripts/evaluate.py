"""Score a checkpoint: python scripts/evaluate.py checkpoint=FILE [data=... key=value ...]."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from tagpose.cli.console import print_tables
from tagpose.cli.errors import friendly_errors, run_main
from tagpose.cli.memory import keep_freed_memory
from tagpose.codec.decoder import build_decoder
from tagpose.data.datasets import load_record_image
from tagpose.data.download.coco import lock_dataset
from tagpose.data.download.http import download_file
from tagpose.data.image_files import write_image
from tagpose.evaluation.coco_results import (
    NO_EXTRAS,
    CocoResult,
    from_coco_results,
    to_coco_results,
    write_json,
    write_results,
)
from tagpose.evaluation.ground_truth import GroundTruth, read_ground_truth
from tagpose.evaluation.keypoint_ap import PartScores, evaluate_parts
from tagpose.evaluation.predictions import part_ranking_scores
from tagpose.evaluation.published_results import (
    PublishedResult,
    compare_to_published,
    find_published_result,
)
from tagpose.evaluation.score_tables import comparison_table, score_table, scores_to_dict
from tagpose.inference.dataset_prediction import predict_dataset
from tagpose.models.checkpoint import load_network
from tagpose.models.network import ModelSpec
from tagpose.provenance import fingerprint, package_versions
from tagpose.skeletons.custom import skeleton_to_config
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import DEFAULT_INPUT_SIZE, ImageRecord, Poses
from tagpose.visualization.image_grid import make_image_grid, make_image_row
from tagpose.visualization.poses import draw_ground_truth, draw_poses


@hydra.main(version_base="1.3", config_path="../conf", config_name="evaluate")
def main(cfg: DictConfig) -> None:
    """Print the table; write the people found and the numbers."""
    keep_freed_memory()
    with friendly_errors():
        if cfg.compare_to_published:
            check_published(cfg)
        else:
            evaluate(cfg)


def check_published(cfg: DictConfig) -> None:
    """Score a published checkpoint, and end with an error where a number is another one."""
    if cfg.get("model") is None:
        raise ValueError("whose published results are meant? name it by model=hrnet_w32 or another")
    test = cfg.predictor
    if (test.input_size, test.flip_test, test.precision) != (DEFAULT_INPUT_SIZE, True, "float32"):
        raise ValueError(
            f"the published test has input_size={DEFAULT_INPUT_SIZE} predictor.flip_test=true"
            " predictor.precision=float32; leave them so"
        )
    skeleton = instantiate(cfg.skeleton)
    published = build_decoder(skeleton, max_people=None)
    if (
        test.multi_scale_tags
        or test.fuse_by_size
        or instantiate(test.decoder)(skeleton) != published
    ):
        raise ValueError(
            "the published test has none of the options of scales and of predictor.decoder; leave "
            "them as conf/predictor/published.yaml has them"
        )
    row = find_published_result(
        cfg.model.network.architecture, cfg.skeleton.name, tuple(cfg.predictor.scales)
    )
    data = instantiate(cfg.data, _convert_="object")
    data.check_exists([data.val_split])  # before a long download
    cfg.checkpoint = cfg.checkpoint or str(
        download_published(row, Path(cfg.paths.data) / "published")
    )
    compared = compare_to_published(row, evaluate(cfg))
    print_tables(comparison_table(compared, f"{row.architecture}, published at {row.url}"))
    write_json(Path(cfg.output) / "published.json", [one._asdict() for one in compared])
    off = [f"{one.part} {one.metric}" for one in compared if one.exceeds_tolerance]
    if off:
        raise ValueError(
            f"{', '.join(off)} differ from what was published for {row.architecture}; compare the "
            f"versions and files in {cfg.output}/metrics.json with those of a run that agrees"
        )


def download_published(row: PublishedResult, folder: Path) -> Path:
    """The published checkpoint, downloaded where it is not there yet."""
    file = folder / row.url.rpartition("/")[2]
    with lock_dataset(folder):
        download_file(row.url, file, checksum=f"sha256:{row.checksum}")
    return file


def evaluate(cfg: DictConfig) -> dict[str, PartScores]:
    """Score what the configuration describes."""
    environment, network = package_versions(), load_network(Path(cfg.checkpoint))
    check_expected_network(cfg, network.spec)
    cfg = apply_network_settings(cfg, network.spec)
    data = instantiate(cfg.data, _convert_="object")
    data.setup("validate")
    ground_truth = read_ground_truth(data.ground_truth_file, network.skeleton, data.options)
    predictor = instantiate(cfg.predictor, _convert_="object")(network)
    loader = data.test_time_dataloader(predictor.input_size, predictor.scales)
    predictions = predict_dataset(predictor, loader)
    output = Path(cfg.output)
    scores, ranked = score_and_write(
        ground_truth, predictions, network.skeleton, output, per_part_scores=cfg.per_part_scores
    )
    title = f"{data.description}: {len(ground_truth.image_ids)} images"
    metrics = build_metrics(cfg, title, scores, data.ground_truth_file, environment)
    write_json(output / "metrics.json", metrics | {"per_part_scores": scores_to_dict(ranked)})
    annotations = data.annotations[data.val_split]
    records = [annotations.record(i) for i in range(min(cfg.pictures, len(annotations)))]
    if records:
        show = partial(
            draw_poses,
            skeleton=network.skeleton,
            min_score=cfg.min_keypoint_score,
            min_person_score=cfg.min_person_score,
        )
        write_pictures(output, records, predictions, network.skeleton, show)
    print_tables(score_table(scores, title))
    if len(ranked) > 1:
        print_tables(score_table(ranked, "the same, parts ranked by scores of their own"))
    print(f"results: {output}")
    return scores


def score_and_write(
    ground_truth: GroundTruth,
    predictions: dict[int, Poses],
    skeleton: Skeleton,
    output: Path,
    *,
    per_part_scores: bool,
) -> tuple[dict[str, PartScores], dict[str, PartScores]]:
    """Scores with parts ranked as their persons, and by themselves; one of them is written."""
    rows = coco_results_of(predictions, skeleton, per_part_scores=False)
    write_results(
        output / "results.json",
        coco_results_of(predictions, skeleton, per_part_scores=True) if per_part_scores else rows,
    )
    people = from_coco_results(rows, skeleton)  # what the file says is what is scored: rounded
    ranks = {image_id: part_ranking_scores(predictions[image_id], skeleton) for image_id in people}
    extras = NO_EXTRAS._replace(scores=ranks)
    return evaluate_parts(ground_truth, people, skeleton), evaluate_parts(
        ground_truth, people, skeleton, extras
    )


def coco_results_of(
    predictions: dict[int, Poses], skeleton: Skeleton, *, per_part_scores: bool
) -> list[CocoResult]:
    """Rows of the official result format of all images."""
    return [
        row
        for image_id, people in predictions.items()
        for row in to_coco_results(image_id, people, skeleton, per_part_scores=per_part_scores)
    ]


def apply_network_settings(cfg: DictConfig, spec: ModelSpec) -> DictConfig:
    """The configuration with the checkpoint's own skeleton, and its side where none is named."""
    own = cfg.copy()
    with open_dict(own):
        own.skeleton, own.input_size = (
            skeleton_to_config(spec.skeleton),
            cfg.input_size or spec.input_size,
        )
    return own


def check_expected_network(cfg: DictConfig, spec: ModelSpec) -> None:
    """See that a checkpoint is of the network that was named, where one was."""
    if cfg.get("model") is None:
        return
    skeleton = instantiate(cfg.skeleton) if cfg.get("skeleton") else spec.skeleton
    meant = spec._replace(architecture=cfg.model.network.architecture, skeleton=skeleton)
    if meant != spec:
        raise ValueError(
            f"{cfg.checkpoint} is of {spec}, not of {meant}; name its own by model= and skeleton=,"
            " or leave them out"
        )


def build_metrics(
    cfg: DictConfig,
    title: str,
    scores: dict[str, PartScores],
    ground_truth: Path,
    environment: dict[str, str],
) -> dict[str, Any]:
    """The scores, and what they come from."""
    return {
        "title": title,
        "parts": scores_to_dict(scores),
        "checkpoint": fingerprint(Path(cfg.checkpoint)),
        "annotations": fingerprint(ground_truth),
        "test": OmegaConf.to_container(cfg.predictor, resolve=True),
        "versions": environment,
    }


def write_pictures(
    output: Path,
    records: list[ImageRecord],
    predictions: dict[int, Poses],
    skeleton: Skeleton,
    show: Callable[[np.ndarray, Poses], np.ndarray],
) -> None:
    """A picture of each record, and people.png with all: the ground truth, who was found beside it."""
    drawn = []
    for record in records:
        image = load_record_image(record)
        pair = (
            draw_ground_truth(image, record.keypoints, skeleton),
            show(image, predictions[record.image_id]),
        )
        drawn.append(pair)
        picture = make_image_row(pair, ("ground_truth", "prediction"))
        write_image(output / "pictures" / f"{record.file.stem}.png", picture)
    across = 3
    rows = [
        make_image_row(
            [p for pair in some for p in pair], ("ground_truth", "prediction") * len(some)
        )
        for some in (drawn[i : i + across] for i in range(0, len(drawn), across))
    ]
    write_image(output / "people.png", make_image_grid(rows))


if __name__ == "__main__":
    run_main(main)
