"""Evaluate decoder options: tagpose tune cached_outputs=FOLDER [KEY=VALUE ...]."""

import re
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from tagpose.cli.console import print_tables
from tagpose.cli.program import program
from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.data.coco_schema import ReadOptions
from tagpose.evaluation.cached_outputs import CacheManifest, read_cached_output, read_manifest
from tagpose.evaluation.ground_truth import read_ground_truth, select_images
from tagpose.evaluation.keypoint_ap import PartScores, evaluate_parts, scores_to_dict
from tagpose.evaluation.score_tables import score_table
from tagpose.inference.batch_decoding import overlap, submit_batch
from tagpose.inference.predictor_arguments import select_device
from tagpose.io import write_json
from tagpose.locks import lock_folder
from tagpose.structures import Poses
from tagpose.training.history import write_history


@program("tune")
def main(cfg: DictConfig) -> None:
    """Decode cached network outputs, evaluate them, and write and log the scores."""
    check_overrides(HydraConfig.get().overrides.task)
    with lock_folder(Path(cfg.output)):
        tune(cfg)


def check_overrides(overrides: list[str]) -> None:
    """Raise a ValueError for options that were fixed when the network outputs were cached."""
    keys = [override.lstrip("+~") for override in overrides]
    cached = [key for key in keys if key.startswith(("predictor", "input_size="))]
    if fixed := [key for key in cached if not re.search(r"\.decoder\.|^predictor\.device=", key)]:
        raise ValueError(
            f"{fixed[0]} was fixed when the outputs were cached; override only predictor.decoder.* "
            "and predictor.device, or run `tagpose cache_outputs` again"
        )


def tune(cfg: DictConfig) -> None:
    """Evaluate the configured decoder on cached network outputs."""
    folder = Path(cfg.cached_outputs)
    manifest = read_manifest(folder)
    decoder = instantiate(cfg.predictor.decoder)(
        manifest.skeleton,
        subpixel=manifest.subpixel,
        tag_index=manifest.skeleton.tag_index(manifest.tag_sharing),
    )
    file = Path(cfg.ground_truth or manifest.ground_truth)
    if not file.exists():
        raise FileNotFoundError(
            f"{file}, the ground truth of {folder}, is missing; name it with ground_truth=FILE"
        )
    options = ReadOptions(cfg.category, cfg.v0_as_labeled)
    ground_truth = read_ground_truth(file, manifest.skeleton, options)
    predictions = decode(folder, manifest, decoder, str(select_device(cfg.predictor.device)))
    scores = evaluate_parts(
        select_images(ground_truth, manifest.image_ids), predictions, manifest.skeleton
    )
    settings = {
        "cached_outputs": str(folder),
        "decoder": OmegaConf.to_container(cfg.predictor.decoder, resolve=True),
        "provenance": manifest.provenance,
    }
    metrics = {"title": manifest.title, "parts": scores_to_dict(scores), **settings}
    write_json(Path(cfg.output) / "metrics.json", metrics)
    log_decoder_scores(cfg, scores, settings)
    print_tables(score_table(scores, manifest.title))
    print(f"metrics: {cfg.output}")


def decode(
    folder: Path, manifest: CacheManifest, decoder: AssociativeEmbeddingDecoder, device: str
) -> dict[int, Poses]:
    """Return the poses of all cached images, by image id, in image pixels."""
    image_ids = tqdm(manifest.image_ids, desc="decode", unit="image")
    outputs = (read_cached_output(folder, image_id, device) for image_id in image_ids)
    submitted = (
        (output.image_id, submit_batch(output.keypoint_maps, output.affine, decoder))
        for output in outputs
    )
    return {image_id: poses for image_id, (poses,) in overlap(submitted)}


def log_decoder_scores(
    cfg: DictConfig, scores: dict[str, PartScores], settings: dict[str, Any]
) -> None:
    """Log AP and AR of each part under the names that training uses."""
    metrics = {
        f"val/{metric}/{part}": getattr(part_scores, metric)
        for metric in ("ap", "ar")
        for part, part_scores in scores.items()
    }
    for logger in instantiate(cfg.get("logger") or {}).values():
        logger.log_hyperparams(settings)
        logger.log_metrics(metrics, step=0)
        logger.finalize("success")
    write_history(Path(cfg.output), metrics)
