"""Score a checkpoint: python scripts/evaluate.py checkpoint=FILE [data=... key=value ...]."""

import json
from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from tagpose.complaints import told_in_a_sentence
from tagpose.evaluation.part_ap import part_scores
from tagpose.evaluation.rows import from_rows, to_rows, write_json
from tagpose.evaluation.table import main_numbers, table
from tagpose.evaluation.truth import read_truth
from tagpose.inference import find_people
from tagpose.model.weights import load_network


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
    title = f"{truth.description}: {len(truth.image_ids)} images"
    write_json(output / "metrics.json", {"title": title, "parts": main_numbers(scores)})
    Console().print(table(scores, title))
    print(f"results: {output}")


if __name__ == "__main__":
    main()
