"""Estimate poses in images and videos: tagpose predict checkpoint=FILE images=PATH [...]."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image
from tqdm import tqdm

from tagpose.cli.predict_output import (
    build_drawer,
    check_predict_options,
    describe_frames,
    limit_picture_size,
    open_results,
    output_extension,
    output_names,
    relative_paths,
)
from tagpose.cli.predict_videos import predict_videos
from tagpose.cli.program import program
from tagpose.codec.compilation import compile_in_background
from tagpose.data.image_files import write_image
from tagpose.evaluation.image_ids import assign_image_ids
from tagpose.inference.result_writers import per_image_files
from tagpose.io import check_no_overwrite, write_json
from tagpose.skeletons.skeleton import keypoint_mask
from tagpose.video.inputs import find_inputs

if TYPE_CHECKING:
    from tagpose.inference.predictor import Predictor

_MILLION: Final = 1_000_000
_QUALITY: Final = 92  # of JPEG and WebP pictures


@program("predict")
def main(cfg: DictConfig) -> None:
    """Write results and pictures; exit with code 1 if some inputs could not be processed."""
    path = str(cfg.images)
    check_predict_options(cfg, path)
    inputs = find_inputs(path)  # errors come before the checkpoint is loaded
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
    output, ids, failures = Path(cfg.output), assign_image_ids(files), []
    names = output_names(files)
    pictures = {f: output / f"{names[f]}{output_extension(cfg.picture.format, f)}" for f in files}
    others = [
        file for name in names.values() for file in per_image_files(output, cfg.formats, name)
    ]
    check_no_overwrite([*pictures.values(), *others], files)
    name = {ids[file]: names[file] for file in files}.__getitem__
    draw, num_frames, scores = build_drawer(cfg), dict[Path, int](), list[float]()
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # max_megapixels is the limit
    with open_results(cfg, output, name=name) as write_result:
        results = predictor.predict_iter(
            files,
            keep_images="pictures" in cfg.formats,
            max_pixels=int(cfg.max_megapixels * _MILLION),
        )
        for image_result in tqdm(results, desc="predict", total=len(files), unit="image"):
            if image_result.error:
                failures.append(str(image_result.error))
                continue
            result, file = image_result.result_or_raise(), image_result.source
            num_frames[file] = image_result.num_frames
            scores += result.scores.tolist()
            write_result(ids[file], {"file": str(file)}, result)
            if image_result.image is not None:
                image, result = limit_picture_size(image_result.image, result, cfg.picture.max_size)
                write_image(pictures[file], draw(image, result), quality=_QUALITY)
    rows = [{"id": ids[file], "file_name": str(p)} for file, p in relative_paths(files).items()]
    write_json(output / "images.json", rows)
    print(describe_frames(num_frames), end="")
    if hint := describe_low_scores(scores, cfg.min_person_score):
        print(hint)
    summary = f"{len(failures)} of {len(files)} images cannot be read:"
    return [summary, *failures] if failures else []


def describe_low_scores(scores: Sequence[float], min_score: float) -> str:
    """Return a hint if there are people but all have scores below the threshold, otherwise ""."""
    if not scores or max(scores) >= min_score:
        return ""
    return (
        f"no person is drawn: the scores of all {len(scores)} predicted people are below "
        f"min_person_score={min_score:g} (the highest is {max(scores):.2f}); set a lower "
        "min_person_score, or train longer"
    )
