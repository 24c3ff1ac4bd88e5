"""Judge thresholds on saved fields: tagpose tune cached_outputs=FOLDER [predictor.decoder...]."""

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
from tagpose.evaluation.coco_results import write_json
from tagpose.evaluation.ground_truth import read_ground_truth, select_images
from tagpose.evaluation.keypoint_ap import PartScores, evaluate_parts
from tagpose.evaluation.score_tables import score_table, scores_to_dict
from tagpose.folder_lock import lock_folder
from tagpose.inference.batch_decoding import overlap, submit_batch
from tagpose.inference.predictor_arguments import select_device
from tagpose.structures import Poses
from tagpose.training.history import write_history


@program("tune")
def main(cfg: DictConfig) -> None:
    """Decode saved fields, print the table, log and write the numbers."""
    check_open(HydraConfig.get().overrides.task)
    with lock_folder(Path(cfg.output)):
        tune(cfg)


def check_open(overrides: list[str]) -> None:
    """See that nothing is overridden that was decided when the fields were saved."""
    named = [override.lstrip("+~") for override in overrides]
    late = [o for o in named if o.startswith(("predictor", "input_size=")) and ".decoder." not in o]
    if [o for o in late if not o.startswith("predictor.device=")]:
        raise ValueError(
            f"{late[0]} comes too late for fields that are saved; only predictor.decoder.* and "
            "predictor.device are open"
        )


def tune(cfg: DictConfig) -> None:
    """Score the thresholds that the configuration describes."""
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
            f"{file}, the ground truth of {folder}, is missing; name it by ground_truth="
        )
    options = ReadOptions(cfg.category, cfg.v0_as_labelled)
    ground_truth = read_ground_truth(file, manifest.skeleton, options)
    predictions = decode(folder, manifest, decoder, str(select_device(cfg.predictor.device)))
    scores = evaluate_parts(
        select_images(ground_truth, manifest.image_ids), predictions, manifest.skeleton
    )
    about = {
        "cached_outputs": str(folder),
        "decoder": OmegaConf.to_container(cfg.predictor.decoder, resolve=True),
        "provenance": manifest.provenance,
    }
    said = {"title": manifest.title, "parts": scores_to_dict(scores), **about}
    write_json(Path(cfg.output) / "metrics.json", said)
    log(cfg, scores, about)
    print_tables(score_table(scores, manifest.title))
    print(f"metrics: {cfg.output}")


def decode(
    folder: Path, manifest: CacheManifest, decoder: AssociativeEmbeddingDecoder, device: str
) -> dict[int, Poses]:
    """The people of all saved images, in image pixels."""
    ids = tqdm(manifest.image_ids, desc="decode", unit="image")
    every = (read_cached_output(folder, image_id, device) for image_id in ids)
    submitted = ((s.image_id, submit_batch(s.keypoint_maps, s.affine, decoder)) for s in every)
    return {image_id: people for image_id, (people,) in overlap(submitted)}


def log(cfg: DictConfig, scores: dict[str, PartScores], about: dict[str, Any]) -> None:
    """Log AP and AR of each part, under the names that training gives them."""
    metrics = {
        f"val/{number}/{part}": getattr(some, number)
        for number in ("ap", "ar")
        for part, some in scores.items()
    }
    for logger in instantiate(cfg.get("logger") or {}).values():
        logger.log_hyperparams(about)
        logger.log_metrics(metrics, step=0)
        logger.finalize("success")
    write_history(Path(cfg.output), metrics)
