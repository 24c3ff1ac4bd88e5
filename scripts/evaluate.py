"""Score a checkpoint: python scripts/evaluate.py checkpoint=FILE [data=... key=value ...]."""

from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from tagpose.complaints import told_in_a_sentence
from tagpose.data.dataset import read_record
from tagpose.data.images import write_image
from tagpose.drawing.people import draw_people, draw_truth
from tagpose.drawing.sheets import contact_sheet, side_by_side
from tagpose.evaluation.part_ap import part_scores
from tagpose.evaluation.rows import from_rows, to_rows, write_json, write_rows
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
    truth = read_truth(data.truth_file, network.skeleton)
    predictor = instantiate(cfg.predictor, _convert_="object")(network)
    found = find_people(predictor, data.val_dataloader())
    rows = [row for i, people in found.items() for row in to_rows(i, people, network.skeleton)]
    output = Path(cfg.output)
    write_rows(output / "results.json", rows)
    # what the file says is what is scored: rounded
    scores = part_scores(truth, from_rows(rows, network.skeleton), network.skeleton)
    title = f"{data.description}: {len(truth.image_ids)} images"
    write_json(output / "metrics.json", {"title": title, "parts": main_numbers(scores)})
    annotations = data.opened[data.val_split]
    records = [annotations.record(i) for i in range(min(cfg.pictures, len(annotations)))]
    if records:
        write_pictures(output, records, found, network.skeleton)
    Console().print(table(scores, title))
    print(f"results: {output}")


def write_pictures(
    output: Path, records: list[Record], found: dict[int, People], skeleton: Skeleton
) -> None:
    """A picture of each record, and people.png with all: the truth, who was found beside it."""
    drawn = []
    for record in records:
        image = read_record(record)
        pair = (
            draw_truth(image, record.keypoints, skeleton),
            draw_people(
                image, found[record.image_id], skeleton, min_score=0.2, min_person_score=0.3
            ),
        )
        drawn.append(pair)
        picture = side_by_side(pair, ("truth", "found"))
        write_image(output / "pictures" / f"{record.file.stem}.png", picture)
    across = 3
    rows = [
        side_by_side([p for pair in some for p in pair], ("truth", "found") * len(some))
        for some in (drawn[i : i + across] for i in range(0, len(drawn), across))
    ]
    write_image(output / "people.png", contact_sheet(rows))


if __name__ == "__main__":
    main()
