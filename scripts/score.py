"""Score a result file: python scripts/score.py results=FILE truth=FILE [skeleton=body]."""

from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.complaints import told, told_in_a_sentence
from tagpose.evaluation.part_ap import row_scores
from tagpose.evaluation.rows import read_rows
from tagpose.evaluation.table import table
from tagpose.evaluation.truth import read_truth
from tagpose.output import print_tables


@hydra.main(version_base="1.3", config_path="../conf", config_name="score")
def main(cfg: DictConfig) -> None:
    """Print the table of a file in the official format, whoever wrote it."""
    with told_in_a_sentence():
        skeleton, file = instantiate(cfg.skeleton), Path(cfg.results)
        scores = row_scores(read_truth(Path(cfg.truth), skeleton), read_rows(file), skeleton)
        print_tables(table(scores, str(file)))


if __name__ == "__main__":
    told(main)
