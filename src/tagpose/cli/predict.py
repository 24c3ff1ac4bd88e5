"""Estimate poses in images and videos: tagpose predict checkpoint=FILE images=PATH [...]."""

import gc
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from tqdm import tqdm

from tagpose.cli.program import program
from tagpose.codec.compilation import compile_in_background
from tagpose.data.image_files import is_camera
from tagpose.inference.image_outputs import (
    OUTPUT_FORMATS,
    OutputOptions,
    describe_unused_frames,
    output_extension,
    output_names,
    write_image_outputs,
)
from tagpose.inference.result_writers import ResultFilter
from tagpose.io import check_no_overwrite, remove_stale_files
from tagpose.signals import defer_signals, signal_exit_code
from tagpose.video.inputs import Inputs, find_inputs, is_url, output_stem, redact_password
from tagpose.video.resume import is_finished, remove_summary, write_summary

if TYPE_CHECKING:
    from tagpose.inference.predictor import Predictor
    from tagpose.inference.results import ImageResult
    from tagpose.video.frames import FrameResult

_MILLION: Final = 1_000_000
_NOT_OF_RESULTS: Final = {
    "hydra",
    "images",
    "max_megapixels",
    "name",
    "output",
    "paths",
    "resume",
}  # options without effect on results


@program("predict")
def main(cfg: DictConfig) -> None:
    """Write results and pictures; exit with code 1 if some inputs could not be processed."""
    check_predict_options(cfg)
    inputs = find_inputs(str(cfg.images))  # errors come before the checkpoint is loaded
    compile_in_background()
    predictor = _load_predictor(cfg)
    predictor.skeleton.keypoint_mask(cfg.parts)  # raises before the first image
    failures = predict_images(cfg, predictor, inputs.pictures) if inputs.pictures else []
    failures += predict_videos(cfg, predictor, inputs)
    for note in inputs.notes:
        print(note)
    print(f"results: {cfg.output}")
    if failures:
        raise ValueError("\n  ".join(failures))


def _load_predictor(cfg: DictConfig) -> "Predictor":
    """Load the checkpoint with garbage collection paused.

    Importing torch and building the network create many objects that stay. Traversing them
    repeatedly takes a tenth of the time to the first picture.
    """
    gc.disable()
    try:
        predictor: Predictor = instantiate(cfg.predictor, _convert_="object")(cfg.checkpoint)
    finally:
        gc.enable()
    return predictor


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
    print(describe_unused_frames(summary.num_frames), end="")
    if summary.num_frames:
        min_peak_score = predictor.decoder.min_score
        print(describe_missing_people(summary.scores, cfg.min_person_score, min_peak_score), end="")
    if not summary.failures:
        return []
    return [f"{len(summary.failures)} of {len(files)} images cannot be read:", *summary.failures]


def predict_videos(cfg: DictConfig, predictor: "Predictor", inputs: Inputs) -> list[str]:
    """Predict each video and write the results; return the errors of unreadable videos."""
    failures: list[str] = []
    for source, folder in video_folders(cfg, inputs).items():
        remove_stale_files(folder)
        if cfg.resume and is_finished(folder, source, result_settings(cfg)):
            print(f"{source} is finished in {folder} and is skipped")
            continue
        try:
            failures += predict_video(cfg, predictor, source, folder)
        except (FileNotFoundError, ValueError) as error:
            name = redact_password(source)
            message = str(error) if name in str(error) else f"{name}: {error}"
            failures.append(message)  # the other videos are still processed
    return failures


def predict_video(cfg: DictConfig, predictor: "Predictor", source: str, folder: Path) -> list[str]:
    """Predict a video and write the results; return the errors of frames that cannot be decoded."""
    options, name = instantiate(cfg.video), redact_password(source)
    with options.open(source, audio="pictures" in cfg.formats) as video:
        remove_summary(folder)
        frames = options.predict(video, predictor)
        bar = tqdm(frames, output_stem(source), options.length(video), unit="frame")
        with defer_signals() as received:
            until_signal = _take_until(received, bar)
            last = options.write(until_signal, video, source, folder, output_options(cfg))
            number = received()
    for note in video.notes:
        print(f"{name}: {note}")
    if number and not (is_camera(source) or is_url(source)):  # a signal is how a stream ends
        print(f"{name}: stopped after frame {last.number}; earlier frames are in {folder}")
        raise SystemExit(signal_exit_code(number))
    write_summary(folder, source, video, result_settings(cfg), last)
    return [f"{name}: {problem}" for problem in video.problems]


def check_predict_options(cfg: DictConfig) -> None:
    """Raise a ValueError for invalid options of `conf/predict.yaml`, before any work."""
    if cfg.resume and cfg.output == cfg.paths.run:
        raise ValueError("resume=true needs output=FOLDER, the output of the interrupted run")
    output_options(cfg)


def output_options(cfg: DictConfig) -> OutputOptions:
    """Return the options of `conf/result_files` and `conf/display`.

    Raises:
        ValueError: an option is invalid.
    """
    for key in ("formats", "unfiltered"):
        if not set(cfg[key]) <= set(OUTPUT_FORMATS):
            raise ValueError(
                f"{key}={cfg[key]} is not a list of known formats; use some of "
                f"[{', '.join(OUTPUT_FORMATS)}]"
            )
    output_extension(cfg.picture.format, Path())
    result_filter = ResultFilter(
        parts=None if cfg.parts is None else list(cfg.parts),
        min_person_score=cfg.min_person_score,
        min_keypoint_score=cfg.min_keypoint_score,
        unfiltered=tuple(cfg.unfiltered),
    )
    return OutputOptions(
        formats=tuple(cfg.formats),
        result_filter=result_filter,
        style=instantiate(cfg.style),
        picture_format=cfg.picture.format,
        max_picture_size=cfg.picture.max_size,
    )


def result_settings(cfg: DictConfig) -> dict[str, Any]:
    """Return the settings that results depend on, as plain values."""
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    return {key: value for key, value in settings.items() if key not in _NOT_OF_RESULTS}


def video_folders(cfg: DictConfig, inputs: Inputs) -> dict[str, Path]:
    """Return the output folder of each video: the output itself for a single named video."""
    output = Path(cfg.output)
    if inputs.single:
        folders = dict.fromkeys(inputs.videos, output)
    else:
        files = [Path(video) for video in inputs.videos]
        names = output_names(files) if files else {}
        folders = {str(file): output / name for file, name in names.items()}
    targets = [folder / f"{output_stem(video)}.mp4" for video, folder in folders.items()]
    check_no_overwrite(targets, [Path(video) for video in folders])
    return folders


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


def _show_progress(results: Iterable["ImageResult"], total: int) -> Iterator["ImageResult"]:
    """Yield results with a progress bar, which appears with the first one."""
    yield from tqdm(results, desc="predict", total=total, unit="image")


def _take_until(
    received: Callable[[], int], frames: Iterator["FrameResult"]
) -> Iterator["FrameResult"]:
    """Yield frames up to the one during which a signal is received."""
    for frame in frames:
        yield frame
        if received():
            return
