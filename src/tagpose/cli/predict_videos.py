"""Prediction on videos for `tagpose predict`: frames, tracks and the video with drawn poses."""

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.utils import instantiate
from omegaconf import DictConfig
from tqdm import tqdm

from tagpose.cli.predict_output import build_drawer, open_results, output_names, result_settings
from tagpose.data.image_files import is_camera
from tagpose.io import check_no_overwrite, remove_stale_files
from tagpose.video.inputs import Inputs, is_url, output_stem, redact_password
from tagpose.video.resume import defer_signals, is_finished, remove_summary, write_summary

if TYPE_CHECKING:
    from tagpose.inference.predictor import Predictor
    from tagpose.video.frames import FrameResult, Video


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
        frames = options.predict(video, predictor)
        first = next(frames, None)  # before any file is opened: an empty video leaves none
        if first is None:
            raise ValueError("; ".join([f"{name} has no frames that can be read", *video.problems]))
        remove_summary(folder)
        last, signal = write_frames(cfg, chain([first], frames), video, source, folder)
    for note in video.notes:
        print(f"{name}: {note}")
    if signal and not (is_camera(source) or is_url(source)):  # a signal is how a stream ends
        print(f"{name}: stopped after frame {last.number}; earlier frames are in {folder}")
        raise SystemExit(128 + signal)
    write_summary(folder, source, video, result_settings(cfg), last)
    return [f"{name}: {problem}" for problem in video.problems]


def write_frames(
    cfg: DictConfig, frames: Iterator["FrameResult"], video: "Video", source: str, folder: Path
) -> tuple["FrameResult", int]:
    """Write the results of a video, and the video with drawn poses.

    After an error, the frames before it are written, then it is raised.

    Args:
        cfg: `conf/predict.yaml`, composed.
        frames: results of the frames, at least one.
        video: open video.
        source: path or address of the video.
        folder: output folder.

    Returns:
        The last frame, and the number of the signal that stopped the loop, or 0.
    """
    options, draw, failure = instantiate(cfg.video), build_drawer(cfg), None
    file = folder / f"{output_stem(source)}.mp4"
    rate, name = float(video.rate), "{:012d}".format
    with open_results(cfg, folder, name=name, rate=rate) as write_result, defer_signals() as signal:
        drawing = options.write(file, video) if "pictures" in cfg.formats else nullcontext()
        with drawing as writer:
            bar = tqdm(frames, output_stem(source), options.length(video), unit="frame")
            try:
                for current in bar:
                    position = {"frame": current.number, "time": round(current.time, 4)}
                    write_result(current.number, position, current.result)
                    if writer:
                        image = draw(current.image, current.result)
                        writer.add(image, current.time, current.duration)
                    if signal():
                        break
            except (Exception, KeyboardInterrupt) as error:
                failure = error
    if failure:
        raise failure
    return current, signal()


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
