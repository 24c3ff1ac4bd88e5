"""Find people in pictures and videos: tagpose predict checkpoint=FILE images=PATH."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from tqdm import tqdm

from tagpose.cli.program import program
from tagpose.codec.compilation import compile_in_background
from tagpose.data.image_files import is_camera, output_extension, write_image
from tagpose.evaluation.coco_results import write_json
from tagpose.inference.result_writers import (
    FORMATS,
    ResultFilter,
    open_result_writers,
    per_image_files,
)
from tagpose.inference.results import PoseResult, keypoint_mask
from tagpose.io import remove_stale_files
from tagpose.video.inputs import Inputs, find_inputs, is_url, output_stem, redact_password
from tagpose.video.interrupts import defer_signals
from tagpose.video.summary import is_finished, remove_summary, write_summary

if TYPE_CHECKING:
    from tagpose.inference.predictor import Predictor
    from tagpose.video.frames import Video
    from tagpose.video.smoothing import FrameResult

_NOT_OF_RESULTS: Final = {"hydra", "images", "name", "output", "paths", "resume"}
_FORMATS: Final = ("pictures", *FORMATS)
_QUALITY: Final = 92  # of drawn JPEG and WebP pictures


@program("predict")
def main(cfg: DictConfig) -> None:
    """Write who was found, and pictures of them; exit code 1 where something was left out."""
    named = str(cfg.images)
    check(cfg, named)
    inputs = find_inputs(named)  # before a checkpoint is loaded
    compile_in_background()
    predictor = instantiate(cfg.predictor, _convert_="object")(cfg.checkpoint)
    keypoint_mask(predictor.skeleton, cfg.parts)  # before the first image
    failures = predict_images(cfg, predictor, inputs.pictures) if inputs.pictures else []
    failures += predict_videos(cfg, predictor, inputs)
    print(f"results: {cfg.output}")
    if failures:
        raise ValueError("\n  ".join(failures))


def check(cfg: DictConfig, named: str) -> None:
    """Refuse what cannot be meant."""
    if cfg.resume and cfg.output == cfg.paths.run:
        raise ValueError("resume=true needs output=FOLDER, the one of the call that was stopped")
    if not isinstance(cfg.formats, ListConfig) or not set(cfg.formats) <= set(_FORMATS):
        raise ValueError(f"formats={cfg.formats} is no list of any of {', '.join(_FORMATS)}")
    if not isinstance(cfg.parts, ListConfig | None):
        raise ValueError(f"parts={cfg.parts} is not a list; use one such as [body,lefthand]")
    instantiate(cfg.style)
    output_extension(cfg.picture.format, Path(named))


def predict_images(cfg: DictConfig, predictor: "Predictor", files: list[Path]) -> list[str]:
    """Find the people of pictures; which ones could not be read, and why."""
    output, numbers, failures = Path(cfg.output), image_ids(files), []
    names = file_names(files)
    drawings = {f: output / f"{names[f]}{output_extension(cfg.picture.format, f)}" for f in files}
    others = [
        each for name in names.values() for each in per_image_files(output, cfg.formats, name)
    ]
    check_no_overwrite([*drawings.values(), *others], files)
    name = {numbers[file]: names[file] for file in files}.__getitem__
    draw = build_drawer(cfg)
    with open_results(cfg, output, name=name) as write_result:
        for image_result in tqdm(
            predictor.predict_iter(files), desc="predict", total=len(files), unit="image"
        ):
            if image_result.error:
                failures.append(str(image_result.error))
                continue
            (image, result), file = image_result.get_or_raise(), image_result.source
            write_result(numbers[file], {"file": str(file)}, result)
            if "pictures" in cfg.formats:
                image, result = downscale(image, result, cfg.picture.max_size)
                write_image(drawings[file], draw(image, result), quality=_QUALITY)
    images = [
        {"id": numbers[file], "file_name": str(n)} for file, n in relative_paths(files).items()
    ]
    write_json(output / "images.json", images)
    head = f"{len(failures)} of {len(files)} pictures could not be looked at:"
    return [head, *failures] if failures else []


def predict_videos(cfg: DictConfig, predictor: "Predictor", inputs: Inputs) -> list[str]:
    """Find the people of each video and follow them; return what could not be read, and why."""
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
            failures.append(message)  # and the other videos follow
    return failures


def predict_video(cfg: DictConfig, predictor: "Predictor", source: str, folder: Path) -> list[str]:
    """Find the people of a video; return what could not be decoded."""
    options, name = instantiate(cfg.video), redact_password(source)
    with options.open(source, audio="pictures" in cfg.formats) as video:
        frames = options.predict(video, predictor)
        first = next(frames, None)  # before any file is opened: an empty video leaves none
        if first is None:
            raise ValueError("; ".join([f"{name} has no frames that can be read", *video.problems]))
        remove_summary(folder)
        last, signal = write_frames(cfg, chain([first], frames), video, source, folder)
    for note in video.notes:
        print(f"{name}: {note}")
    if signal and not (is_camera(source) or is_url(source)):  # those have no other end
        print(f"{name}: stopped after frame {last.number}; the frames until then are in {folder}")
        raise SystemExit(128 + signal)
    write_summary(folder, source, video, result_settings(cfg), last)
    return [f"{name}: {one}" for one in video.problems]


def write_frames(
    cfg: DictConfig, frames: Iterator["FrameResult"], video: "Video", source: str, folder: Path
) -> tuple["FrameResult", int]:
    """Write the frames of a video; return the last one, and the signal that ended them or 0.

    Where an error ends them, the frames until then are written before it is raised.
    """
    options, draw, failed = instantiate(cfg.video), build_drawer(cfg), None
    file = folder / f"{output_stem(source)}.mp4"
    rate, name = float(video.rate), "{:012d}".format
    with open_results(cfg, folder, name=name, rate=rate) as write_result, defer_signals() as signal:
        drawing = options.write(file, video) if "pictures" in cfg.formats else nullcontext()
        with drawing as writer:
            bar = tqdm(frames, output_stem(source), options.length(video), unit="frame")
            try:
                for current in bar:
                    at = {"frame": current.number, "time": round(current.time, 4)}
                    write_result(current.number, at, current.result)
                    if writer:
                        image = draw(current.image, current.result)
                        writer.add(image, current.time, current.duration)
                    if signal():
                        break
            except (Exception, KeyboardInterrupt) as error:
                failed = error
    if failed:
        raise failed
    return current, signal()


def video_folders(cfg: DictConfig, inputs: Inputs) -> dict[str, Path]:
    """Return the folder of each video's results: the output's own for one that is named itself."""
    output = Path(cfg.output)
    if inputs.single:
        folders = dict.fromkeys(inputs.videos, output)
    else:
        files = [Path(video) for video in inputs.videos]
        names = file_names(files) if files else {}
        folders = {str(file): output / name for file, name in names.items()}
    drawings = [folder / f"{output_stem(video)}.mp4" for video, folder in folders.items()]
    check_no_overwrite(drawings, [Path(video) for video in folders])
    return folders


def result_settings(cfg: DictConfig) -> dict[str, Any]:
    """Return the settings that results depend on, as plain values."""
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    return {key: value for key, value in settings.items() if key not in _NOT_OF_RESULTS}


def build_drawer(cfg: DictConfig) -> Callable[[np.ndarray, PoseResult], np.ndarray]:
    """Return the function that draws people on an image, in a video with their track numbers."""
    style, select = instantiate(cfg.style), result_filter(cfg)

    def draw(image: np.ndarray, result: PoseResult) -> np.ndarray:
        selected = select(result, "pictures")
        drawn: np.ndarray = style(
            image,
            selected.poses,
            selected.skeleton,
            tracks=selected.tracks,
            all_people=result.poses,
        )
        return drawn

    return draw


def open_results(
    cfg: DictConfig, folder: Path, *, name: Callable[[int], str], rate: float | None = None
) -> AbstractContextManager[Callable[[int, Mapping[str, Any], PoseResult], None]]:
    """Open the files of the selected formats; see `tagpose.inference.result_writers.open_result_writers`."""
    return open_result_writers(
        folder, cfg.formats, name=name, result_filter=result_filter(cfg), rate=rate
    )


def result_filter(cfg: DictConfig) -> ResultFilter:
    """The people and keypoints that files and pictures contain."""
    parts = None if cfg.parts is None else list(cfg.parts)
    return ResultFilter(parts, cfg.min_person_score, cfg.min_keypoint_score, tuple(cfg.unfiltered))


def downscale(
    image: np.ndarray, result: PoseResult, longest: int | None
) -> tuple[np.ndarray, PoseResult]:
    """An image and its predictions with a longer side of at most `longest` pixels."""
    if longest is None or max(result.size) <= longest:
        return image, result
    width, height = (max(1, round(each * longest / max(result.size))) for each in result.size)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return small, result.resize((width, height))


def file_names(files: list[Path]) -> dict[Path, str]:
    """Names of the files that belong to each picture: as short as they can be and still differ."""
    ways = (
        {file: file.stem for file in files},
        {file: file.name for file in files},
        {file: str(inside) for file, inside in relative_paths(files).items()},
    )
    return next(names for names in ways if len(set(names.values())) == len(files))


def relative_paths(files: list[Path]) -> dict[Path, Path]:
    """Paths of files in the folder that has all of them."""
    folder = Path(os.path.commonpath([file.parent for file in files]))
    return {file: file.relative_to(folder) for file in files}


def check_no_overwrite(targets: list[Path], sources: list[Path]) -> None:
    """See that nothing that is looked at would be overwritten by what is drawn."""
    both = {file.resolve() for file in targets} & {file.resolve() for file in sources}
    if both:
        raise ValueError(f"{min(both)} would be drawn over; name another output=")


def image_ids(files: list[Path]) -> dict[Path, int]:
    """Numbers for the result file: those in COCO's file names, or counted where they are none."""
    if all(file.stem.isdecimal() for file in files):
        ids = {file: int(file.stem) for file in files}
        if len(set(ids.values())) == len(files):
            return ids
    return {file: number for number, file in enumerate(files, start=1)}
