"""Prediction on videos for `tagpose predict`: output folders, progress, signals and resuming."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.utils import instantiate
from omegaconf import DictConfig
from tqdm import tqdm

from tagpose.cli.predict_output import output_options, result_settings
from tagpose.data.image_files import is_camera
from tagpose.inference.image_outputs import output_names
from tagpose.io import check_no_overwrite, remove_stale_files
from tagpose.video.inputs import Inputs, is_url, output_stem, redact_password
from tagpose.video.resume import defer_signals, is_finished, remove_summary, write_summary

if TYPE_CHECKING:
    from tagpose.inference.predictor import Predictor
    from tagpose.video.frames import FrameResult


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
            signal = received()
    for note in video.notes:
        print(f"{name}: {note}")
    if signal and not (is_camera(source) or is_url(source)):  # a signal is how a stream ends
        print(f"{name}: stopped after frame {last.number}; earlier frames are in {folder}")
        raise SystemExit(128 + signal)
    write_summary(folder, source, video, result_settings(cfg), last)
    return [f"{name}: {problem}" for problem in video.problems]


def _take_until(
    received: Callable[[], int], frames: Iterator["FrameResult"]
) -> Iterator["FrameResult"]:
    """Yield frames up to the one during which a signal is received."""
    for frame in frames:
        yield frame
        if received():
            return


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
