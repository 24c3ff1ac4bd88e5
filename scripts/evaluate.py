"""Score a checkpoint: python scripts/evaluate.py checkpoint=FILE [data=... key=value ...]."""

from pathlib import Path

import hydra
import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from tagpose.complaints import told_in_a_sentence
from tagpose.data.dataset import read_record
from tagpose.data.images import write_image
from tagpose.drawing.people import draw_people, draw_truth
from tagpose.drawing.sheets import side_by_side
from tagpose.evaluation.part_ap import part_scores
from tagpose.evaluation.rows import from_rows, to_rows, write_json
from tagpose.evaluation.table import main_numbers, table
from tagpose.evaluation.truth import read_truth
from tagpose.inference import find_people
from tagpose.model.weights import load_network
from tagpose.skeleton import Skeleton
from tagpose.structures import People, Record


@hydra.main(version_base="1.3", config_path="../conf", config_name="evaluate")
def main(cfg: DictConfig) -> None:
    """Print the table; write the people found and the numbers."""
    with told_in_a_sentence():
        evaluate(cfg)


def evaluate(cfg: DictConfig) -> None:
    """Score what the configuration describes."""
    network = load_network(Path(cfg.checkpoint))
    cfg.skeleton = network.skeleton.name
    data = instantiate(cfg.data, _convert_="object")
    data.setup("validate")
    predictor = instantiate(cfg.predictor, _convert_="object")(network)
    found = find_people(predictor, data.val_dataloader())
    rows = [row for i, people in found.items() for row in to_rows(i, people, network.skeleton)]
    output = Path(cfg.output)
    write_json(output / "results.json", rows)
    truth = read_truth(data.truth_file, network.skeleton)
    # what the file says is what is scored: rounded
    scores = part_scores(truth, from_rows(rows, network.skeleton), network.skeleton)
    title = f"{data.description}: {len(truth.image_ids)} images"
    write_json(output / "metrics.json", {"title": title, "parts": main_numbers(scores)})
    annotations = data.opened[data.val_split]
    for record in map(annotations.record, range(min(cfg.pictures, len(annotations)))):
        picture = beside_truth(record, found[record.image_id], network.skeleton)
        write_image(output / "pictures" / f"{record.file.stem}.png", picture)
    Console().print(table(scores, title))
    print(f"results: {output}")


def beside_truth(record: Record, people: People, skeleton: Skeleton) -> np.ndarray:
    """A picture of a record [H, W, 3] uint8: the truth on the left, who was found on the right."""
    image = read_record(record)
    pictures = (
        draw_truth(image, record.keypoints, skeleton),
        draw_people(image, people, skeleton, min_score=0.2, min_person_score=0.3),
    )
    return side_by_side(pictures, ("truth", "found"))


if __name__ == "__main__":
    main()
