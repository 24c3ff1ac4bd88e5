"""Find people in pictures and videos: python scripts/predict.py checkpoint=FILE images=PATH."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import hydra
import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from tqdm import tqdm

from tagpose.allocation import keep_freed_memory
from tagpose.codec.compilation import compile_in_background
from tagpose.complaints import told, told_in_a_sentence
from tagpose.data.images import is_camera, picture_ending, write_image
from tagpose.evaluation.rows import write_json
from tagpose.inference.found import Found, part_mask
from tagpose.inference.writing import FORMATS, Selection, results, written_files
from tagpose.video.inputs import Inputs, find_inputs, is_address, output_name, without_password
from tagpose.video.interrupts import remember_signals
from tagpose.video.summary import is_finished, remove_summary, write_summary
from tagpose.writing import remove_leftovers

if TYPE_CHECKING:
    from tagpose.inference.predictor import Predictor
    from tagpose.video.frames import Video
    from tagpose.video.smoothing import VideoResult

_NOT_OF_RESULTS: Final = {"hydra", "images", "name", "output", "paths", "resume"}
_WRITES: Final = ("pictures", *FORMATS)
_QUALITY: Final = 92  # of drawn JPEG and WebP pictures


@hydra.main(version_base="1.3", config_path="../conf", config_name="predict")
def main(cfg: DictConfig) -> None:
    """Write who was found, and pictures of them; exit code 1 where something was left out."""
    keep_freed_memory()
    with told_in_a_sentence():
        named = str(cfg.images)
        check(cfg, named)
        inputs = find_inputs(named)  # before a checkpoint is loaded
        compile_in_background()
        predictor = instantiate(cfg.predictor, _convert_="object")(cfg.checkpoint)
        part_mask(predictor.skeleton, cfg.parts)  # before the first image
        left_out = look(cfg, predictor, inputs.pictures) if inputs.pictures else []
        left_out += predict_videos(cfg, predictor, inputs)
        print(f"who was found: {cfg.output}")
        if left_out:
            raise ValueError("\n  ".join(left_out))


def check(cfg: DictConfig, named: str) -> None:
    """Refuse what cannot be meant."""
    if cfg.resume and cfg.output == cfg.paths.run:
        raise ValueError("resume=true needs output=FOLDER, the one of the call that was stopped")
    if not isinstance(cfg.write, ListConfig) or not set(cfg.write) <= set(_WRITES):
        raise ValueError(f"write={cfg.write} is no list of any of {', '.join(_WRITES)}")
    if not isinstance(cfg.parts, ListConfig | None):
        raise ValueError(f"parts={cfg.parts} is not a list; use one such as [body,lefthand]")
    instantiate(cfg.style)
    picture_ending(cfg.picture.format, Path(named))


def look(cfg: DictConfig, predictor: "Predictor", files: list[Path]) -> list[str]:
    """Find the people of pictures; which ones could not be read, and why."""
    output, numbers, left_out = Path(cfg.output), image_ids(files), []
    names = file_names(files)
    drawings = {f: output / f"{names[f]}{picture_ending(cfg.picture.format, f)}" for f in files}
    others = [each for name in names.values() for each in written_files(output, cfg.write, name)]
    refuse_to_overwrite([*drawings.values(), *others], files)
    name = {numbers[file]: names[file] for file in files}.__getitem__
    draw = people_drawer(cfg)
    with open_results(cfg, output, name=name) as take:
        for seen in tqdm(predictor.each(files), desc="predict", total=len(files), unit="image"):
            if seen.trouble:
                left_out.append(str(seen.trouble))
                continue
            (image, found), file = seen.known(), seen.source
            take(numbers[file], {"file": str(file)}, found)
            if "pictures" in cfg.write:
                image, found = reduced(image, found, cfg.picture.max_size)
                write_image(drawings[file], draw(image, found), quality=_QUALITY)
    images = [{"id": numbers[file], "file_name": str(n)} for file, n in below(files).items()]
    write_json(output / "images.json", images)
    head = f"{len(left_out)} of {len(files)} pictures could not be looked at:"
    return [head, *left_out] if left_out else []


def predict_videos(cfg: DictConfig, predictor: "Predictor", inputs: Inputs) -> list[str]:
    """Find the people of each video and follow them; return what could not be read, and why."""
    left_out: list[str] = []
    for source, folder in video_folders(cfg, inputs).items():
        remove_leftovers(folder)
        if cfg.resume and is_finished(folder, source, result_settings(cfg)):
            print(f"{source} is finished in {folder} and is skipped")
            continue
        try:
            left_out += predict_video(cfg, predictor, source, folder)
        except (FileNotFoundError, ValueError) as error:
            name = without_password(source)
            told = str(error) if name in str(error) else f"{name}: {error}"
            left_out.append(told)  # and the other videos follow
    return left_out


def predict_video(cfg: DictConfig, predictor: "Predictor", source: str, folder: Path) -> list[str]:
    """Find the people of a video; return what could not be decoded."""
    options, name = instantiate(cfg.video), without_password(source)
    with options.open(source, sound="pictures" in cfg.write) as video:
        frames = options.predict(video, predictor)
        first = next(frames, None)  # before any file is opened: an empty video leaves none
        if first is None:
            raise ValueError("; ".join([f"{name} has no frames that can be read", *video.problems]))
        remove_summary(folder)
        last, signal = write_frames(cfg, chain([first], frames), video, source, folder)
    for note in video.notes:
        print(f"{name}: {note}")
    if signal and not (is_camera(source) or is_address(source)):  # those have no other end
        print(f"{name}: stopped after frame {last.number}; the frames until then are in {folder}")
        raise SystemExit(128 + signal)
    write_summary(folder, source, video, result_settings(cfg), last)
    return [f"{name}: {one}" for one in video.problems]


def write_frames(
    cfg: DictConfig, frames: Iterator["VideoResult"], video: "Video", source: str, folder: Path
) -> tuple["VideoResult", int]:
    """Write the frames of a video; return the last one, and the signal that ended them or 0.

    Where an error ends them, the frames until then are written before it is raised.
    """
    options, draw, failed = instantiate(cfg.video), people_drawer(cfg), None
    file = folder / f"{output_name(source)}.mp4"
    rate, name = float(video.rate), "{:012d}".format
    with open_results(cfg, folder, name=name, rate=rate) as take, remember_signals() as signal:
        drawing = options.write(file, video) if "pictures" in cfg.write else nullcontext()
        with drawing as writer:
            bar = tqdm(frames, output_name(source), options.length(video), unit="frame")
            try:
                for result in bar:
                    at = {"frame": result.number, "time": round(result.time, 4)}
                    take(result.number, at, result.found)
                    if writer:
                        image = draw(result.image, result.found)
                        writer.add(image, result.time, result.duration)
                    if signal():
                        break
            except (Exception, KeyboardInterrupt) as error:
                failed = error
    if failed:
        raise failed
    return result, signal()


def video_folders(cfg: DictConfig, inputs: Inputs) -> dict[str, Path]:
    """Return the folder of each video's results: the output's own for one that is named itself."""
    output = Path(cfg.output)
    if inputs.single:
        folders = dict.fromkeys(inputs.videos, output)
    else:
        files = [Path(video) for video in inputs.videos]
        names = file_names(files) if files else {}
        folders = {str(file): output / name for file, name in names.items()}
    drawings = [folder / f"{output_name(video)}.mp4" for video, folder in folders.items()]
    refuse_to_overwrite(drawings, [Path(video) for video in folders])
    return folders


def result_settings(cfg: DictConfig) -> dict[str, Any]:
    """Return the settings that results depend on, as plain values."""
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    return {key: value for key, value in settings.items() if key not in _NOT_OF_RESULTS}


def people_drawer(cfg: DictConfig) -> Callable[[np.ndarray, Found], np.ndarray]:
    """Return the function that draws people on an image, in a video with their track numbers."""
    style, select = instantiate(cfg.style), selection(cfg)

    def draw(image: np.ndarray, found: Found) -> np.ndarray:
        chosen = select(found, "pictures")
        drawn: np.ndarray = style(
            image, chosen.people, chosen.skeleton, tracks=chosen.tracks, all_people=found.people
        )
        return drawn

    return draw


def open_results(
    cfg: DictConfig, folder: Path, *, name: Callable[[int], str], rate: float | None = None
) -> AbstractContextManager[Callable[[int, Mapping[str, Any], Found], None]]:
    """Open the files of the chosen formats; see `tagpose.inference.writing.results`."""
    return results(folder, cfg.write, name=name, selection=selection(cfg), rate=rate)


def selection(cfg: DictConfig) -> Selection:
    """The people and keypoints that files and pictures contain."""
    parts = None if cfg.parts is None else list(cfg.parts)
    return Selection(parts, cfg.min_person_score, cfg.min_keypoint_score, tuple(cfg.unfiltered))


def reduced(image: np.ndarray, found: Found, longest: int | None) -> tuple[np.ndarray, Found]:
    """An image and its predictions with a longer side of at most `longest` pixels."""
    if longest is None or max(found.size) <= longest:
        return image, found
    width, height = (max(1, round(each * longest / max(found.size))) for each in found.size)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return small, found.resize((width, height))


def file_names(files: list[Path]) -> dict[Path, str]:
    """Names of the files that belong to each picture: as short as they can be and still differ."""
    ways = (
        {file: file.stem for file in files},
        {file: file.name for file in files},
        {file: str(inside) for file, inside in below(files).items()},
    )
    return next(names for names in ways if len(set(names.values())) == len(files))


def below(files: list[Path]) -> dict[Path, Path]:
    """Paths of files in the folder that has all of them."""
    folder = Path(os.path.commonpath([file.parent for file in files]))
    return {file: file.relative_to(folder) for file in files}


def refuse_to_overwrite(targets: list[Path], sources: list[Path]) -> None:
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


if __name__ == "__main__":
    told(main)
