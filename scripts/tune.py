"""Judge thresholds on saved fields: python scripts/tune.py fields=FOLDER [predictor.decoder...]."""

from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from tagpose.allocation import keep_freed_memory
from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.complaints import told, told_in_a_sentence
from tagpose.data.coco_schema import ReadOptions
from tagpose.evaluation.part_ap import Scores, part_scores
from tagpose.evaluation.rows import write_json
from tagpose.evaluation.saved_fields import Contents, read_contents, read_fields
from tagpose.evaluation.table import numbers, table
from tagpose.evaluation.truth import read_truth, select
from tagpose.folder_lock import own_folder
from tagpose.inference.asked import chosen_device
from tagpose.inference.decoding import overlap, submit_batch
from tagpose.output import print_tables
from tagpose.structures import People
from tagpose.training.history import write_history


@hydra.main(version_base="1.3", config_path="../conf", config_name="tune")
def main(cfg: DictConfig) -> None:
    """Decode saved fields, print the table, log and write the numbers."""
    keep_freed_memory()
    with told_in_a_sentence():
        check_open(HydraConfig.get().overrides.task)
        with own_folder(Path(cfg.output)):
            tune(cfg)


def check_open(overrides: list[str]) -> None:
    """See that nothing is overridden that was decided when the fields were saved."""
    named = [override.lstrip("+~") for override in overrides]
    late = [o for o in named if o.startswith(("predictor", "side=")) and ".decoder." not in o]
    if [o for o in late if not o.startswith("predictor.device=")]:
        raise ValueError(
            f"{late[0]} comes too late for fields that are saved; only predictor.decoder.* and "
            "predictor.device are open"
        )


def tune(cfg: DictConfig) -> None:
    """Score the thresholds that the configuration describes."""
    folder = Path(cfg.fields)
    contents = read_contents(folder)
    decoder = instantiate(cfg.predictor.decoder)(
        contents.skeleton,
        subpixel=contents.sub_cell,
        tag_index=contents.skeleton.tag_index(contents.tags),
    )
    file = Path(cfg.truth or contents.truth)
    if not file.exists():
        raise FileNotFoundError(f"{file}, the truth of {folder}, is missing; name it by truth=")
    options = ReadOptions(cfg.category, cfg.v0_as_labelled)
    truth = read_truth(file, contents.skeleton, options)
    found = decode(folder, contents, decoder, str(chosen_device(cfg.predictor.device)))
    scores = part_scores(select(truth, contents.image_ids), found, contents.skeleton)
    about = {
        "fields": str(folder),
        "decoder": OmegaConf.to_container(cfg.predictor.decoder, resolve=True),
        "made_by": contents.made_by,
    }
    said = {"title": contents.title, "parts": numbers(scores), **about}
    write_json(Path(cfg.output) / "metrics.json", said)
    log(cfg, scores, about)
    print_tables(table(scores, contents.title))
    print(f"metrics: {cfg.output}")


def decode(
    folder: Path, contents: Contents, decoder: AssociativeEmbeddingDecoder, device: str
) -> dict[int, People]:
    """The people of all saved images, in image pixels."""
    ids = tqdm(contents.image_ids, desc="decode", unit="image")
    every = (read_fields(folder, image_id, device) for image_id in ids)
    submitted = ((s.image_id, submit_batch(s.fields, s.frame, decoder)) for s in every)
    return {image_id: people for image_id, (people,) in overlap(submitted)}


def log(cfg: DictConfig, scores: dict[str, Scores], about: dict[str, Any]) -> None:
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


if __name__ == "__main__":
    told(main)
