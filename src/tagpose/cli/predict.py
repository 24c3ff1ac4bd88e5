"""Estimate poses in images and videos: tagpose predict checkpoint=FILE images=PATH [...]."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image
from tqdm import tqdm

from tagpose.cli.predict_output import check_predict_options, describe_frames, output_options
from tagpose.cli.predict_videos import predict_videos
from tagpose.cli.program import program
from tagpose.codec.compilation import compile_in_background
from tagpose.inference.image_outputs import write_image_outputs
from tagpose.skeletons.skeleton import keypoint_mask
from tagpose.video.inputs import find_inputs

if TYPE_CHECKING:
    from tagpose.inference.predictor import Predictor
    from tagpose.inference.results import ImageResult

_MILLION: Final = 1_000_000


@program("predict")
def main(cfg: DictConfig) -> None:
    """Write results and pictures; exit with code 1 if some inputs could not be processed."""
    check_predict_options(cfg)
    inputs = find_inputs(str(cfg.images))  # errors come before the checkpoint is loaded
    compile_in_background()
    predictor = instantiate(cfg.predictor, _convert_="object")(cfg.checkpoint)
    keypoint_mask(predictor.skeleton, cfg.parts)  # raises before the first image
    failures = predict_images(cfg, predictor, inputs.pictures) if inputs.pictures else []
    failures += predict_videos(cfg, predictor, inputs)
    for note in inputs.notes:
        print(note)
    print(f"results: {cfg.output}")
    if failures:
        raise ValueError("\n  ".join(failures))


def predict_images(cfg: DictConfig, predictor: "Predictor", files: list[Path]) -> list[str]:
    """Predict images and write the results; return the errors of images that cannot be read."""
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # max_megapixels is the limit
    results = predictor.predict_iter(
        files,
        keep_images="pictures" in cfg.formats,
        max_pixels=int(cfg.max_megapixels * _MILLION),
    )
    summary = write_image_outputs(
        _show_progress(results, len(files)), files, Path(cfg.output), output_options(cfg)
    )
    print(describe_frames(summary.num_frames), end="")
    if summary.num_frames:
        min_peak_score = predictor.decoder.min_score
        print(describe_missing_people(summary.scores, cfg.min_person_score, min_peak_score), end="")
    if not summary.failures:
        return []
    return [f"{len(summary.failures)} of {len(files)} images cannot be read:", *summary.failures]


def _show_progress(results: Iterable["ImageResult"], total: int) -> Iterator["ImageResult"]:
    """Yield results with a progress bar, which appears with the first one."""
    yield from tqdm(results, desc="predict", total=total, unit="image")


def describe_missing_people(
    scores: Sequence[float], min_score: float, min_peak_score: float
) -> str:
    """Return a line that explains why no person is drawn, or "" if there is one.

    Args:
        scores: scores of all predicted people.
        min_score: score below which people are not drawn.
        min_peak_score: heatmap value that a peak must exceed.
    """
    if not scores:
        return (
            "no person was found: no value of any heatmap exceeds "
            f"predictor.decoder.min_score={min_peak_score:g}; if there are people in the images, "
            "train longer\n"
        )
    if max(scores) >= min_score:
        return ""
    return (
        f"no person is drawn: the scores of all {len(scores)} predicted people are below "
        f"min_person_score={min_score:g} (the highest is {max(scores):.2f}); set a lower "
        "min_person_score, or train longer\n"
    )
