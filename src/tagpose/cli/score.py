"""Score a COCO result file: tagpose score results=FILE ground_truth=FILE [skeleton=body]."""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.cli.console import print_tables
from tagpose.cli.program import program
from tagpose.data.coco_schema import ReadOptions
from tagpose.evaluation.ground_truth import read_ground_truth
from tagpose.evaluation.image_ids import describe_missing
from tagpose.evaluation.keypoint_ap import evaluate_results
from tagpose.evaluation.openpose_results import read_matched_results
from tagpose.evaluation.score_tables import score_table


@program("score")
def main(cfg: DictConfig) -> None:
    """Print the scores of a result file in COCO's format, or of an OpenPose folder."""
    skeleton, file = instantiate(cfg.skeleton), Path(cfg.results)
    options = ReadOptions(cfg.category, cfg.v0_as_labeled)
    ground_truth = read_ground_truth(Path(cfg.ground_truth), skeleton, options)
    results = read_matched_results(file, ground_truth, skeleton)
    print_tables(score_table(evaluate_results(ground_truth, results, skeleton), str(file)))
    if missing := describe_missing(ground_truth, [result["image_id"] for result in results]):
        print(missing)
