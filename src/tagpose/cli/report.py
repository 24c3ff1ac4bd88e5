"""Write an HTML report: tagpose report results=FILE ground_truth=FILE [images=FOLDER ...]."""

from pathlib import Path
from typing import Final

from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.cli.program import program
from tagpose.data.coco_schema import ReadOptions
from tagpose.evaluation.ground_truth import read_ground_truth
from tagpose.evaluation.image_ids import describe_missing
from tagpose.io import write_json
from tagpose.report.analysis import analyze_results, name_results
from tagpose.report.html_report import build_report, write_report
from tagpose.report.image_cards import ImageRenderer, find_image_files
from tagpose.report.keypoint_errors import errors_to_dict

ERRORS_FILE: Final = "errors.json"  # keypoints by result, part and error type
_RESERVED: Final = "ground_truth"  # name of the ground truth in the report


@program("report")
def main(cfg: DictConfig) -> None:
    """Analyze one or two result files, and write report.html and errors.json."""
    results = [Path(file) for file in (cfg.results, cfg.compare_with) if file]
    names = [str(name) for name in cfg.names or name_results(results)][: len(results)]
    if len(set(names)) < len(results) or _RESERVED in names:
        raise ValueError(
            f"names={names} are not {len(results)} different names other than {_RESERVED}; set "
            "names=[NAME,NAME]"
        )
    skeleton, file = instantiate(cfg.skeleton), Path(cfg.ground_truth)
    ground_truth = read_ground_truth(file, skeleton, ReadOptions(cfg.category, cfg.v0_as_labeled))
    runs = [
        analyze_results(name, path, ground_truth, skeleton, min_score=cfg.min_person_score)
        for name, path in zip(names, results, strict=True)
    ]
    pictures = None
    if cfg.images:
        files = find_image_files(ground_truth, Path(cfg.images))
        pictures = ImageRenderer(
            files, ground_truth, skeleton, cfg.max_image_size, cfg.min_keypoint_score
        )
    page = build_report(
        runs, file, ground_truth, skeleton, num_worst_images=cfg.num_worst_images, pictures=pictures
    )
    target = Path(cfg.output) / "report.html"
    write_report(target, page)
    errors = {run.name: errors_to_dict(run.error_types, skeleton) for run in runs}
    write_json(target.with_name(ERRORS_FILE), errors)
    for run in runs:
        image_ids = ground_truth.image_ids[run.paired.detections.image]
        if missing := describe_missing(ground_truth, image_ids):
            print(f"{run.file}: {missing}")
    print(f"report: {target} ({target.stat().st_size / 1e6:.1f} MB)")
