"""Write a page on a result file: python scripts/report.py results=FILE truth=FILE [images=...]."""

from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from tagpose.complaints import told, told_in_a_sentence
from tagpose.data.coco_schema import ReadOptions
from tagpose.evaluation.image_ids import describe_missing
from tagpose.evaluation.truth import read_truth
from tagpose.report.page import make_page, write_page
from tagpose.report.pictures import Pictures, image_files
from tagpose.report.run import name_runs, read_run


@hydra.main(version_base="1.3", config_path="../conf", config_name="report")
def main(cfg: DictConfig) -> None:
    """Write one HTML file: scores, curves, errors, the worst images, a second file beside."""
    with told_in_a_sentence():
        report(cfg)


def report(cfg: DictConfig) -> None:
    """Read what the configuration names, and say where the page is."""
    results = [Path(file) for file in (cfg.results, cfg.other) if file]
    names = [str(name) for name in cfg.names or name_runs(results)][: len(results)]
    if len(set(names)) < len(results) or "truth" in names:
        raise ValueError(
            f"names={names} are not {len(results)} names, none of them truth; names=[ONE,OTHER] "
            "gives them"
        )
    skeleton, file = instantiate(cfg.skeleton), Path(cfg.truth)
    truth = read_truth(file, skeleton, ReadOptions(cfg.category, cfg.v0_as_labelled))
    runs = [
        read_run(name, path, truth, skeleton, min_score=cfg.min_person_score)
        for name, path in zip(names, results, strict=True)
    ]
    pictures = None
    if cfg.images:
        files = image_files(truth, Path(cfg.images))
        pictures = Pictures(files, truth, skeleton, cfg.picture_side, cfg.min_keypoint_score)
    page = make_page(runs, file, truth, skeleton, worst=cfg.worst, pictures=pictures)
    written = Path(cfg.output) / "report.html"
    write_page(written, page)
    for run in runs:
        if missing := describe_missing(truth, truth.image_ids[run.compared.detections.image]):
            print(f"{run.file}: {missing}")
    print(f"page: {written} ({written.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    told(main)
