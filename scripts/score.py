"""Score a result file: python scripts/score.py results=FILE truth=FILE [skeleton=body]."""

from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.complaints import told, told_in_a_sentence
from tagpose.data.coco_schema import ReadOptions
from tagpose.evaluation.image_ids import describe_missing, match_image_ids
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
        options = ReadOptions(cfg.category, cfg.v0_as_labelled)
        truth = read_truth(Path(cfg.truth), skeleton, options)
        rows = match_image_ids(read_rows(file), truth, file)
        print_tables(table(row_scores(truth, rows, skeleton), str(file)))
        if missing := describe_missing(truth, [row["image_id"] for row in rows]):
            print(missing)


if __name__ == "__main__":
    told(main)
