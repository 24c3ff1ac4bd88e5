"""Find people in pictures and videos: python scripts/predict.py checkpoint=FILE images=PATH."""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import hydra
import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig
from tqdm import tqdm

from tagpose.allocation import keep_freed_memory
from tagpose.codec.compilation import compile_in_background
from tagpose.complaints import told, told_in_a_sentence
from tagpose.data.images import is_camera, is_hidden, list_images, picture_ending, write_image
from tagpose.evaluation.rows import write_json
from tagpose.inference.found import Found, part_mask
from tagpose.inference.writing import FORMATS, Selection, results, written_files

if TYPE_CHECKING:
    from tagpose.inference.predictor import Predictor

_VIDEOS: Final = (
    *(".avi", ".flv", ".mkv", ".mov", ".ogv", ".webm", ".wmv"),
    *(".3gp", ".m2ts", ".m4v", ".mp4", ".mpeg", ".mpg", ".mts", ".ts"),
)
_WRITES: Final = ("pictures", *FORMATS)
_QUALITY: Final = 92  # of drawn JPEG and WebP pictures


@hydra.main(version_base="1.3", config_path="../conf", config_name="predict")
def main(cfg: DictConfig) -> None:
    """Write who was found, and pictures of them; exit code 1 where something was left out."""
    keep_freed_memory()
    with told_in_a_sentence():
        named = str(cfg.images)
        check(cfg, named)
        moving = is_camera(named) or Path(named).suffix.lower() in _VIDEOS
        tell_of_videos(Path(named))
        files = [] if moving else list_images(named)  # before a checkpoint is loaded
        compile_in_background()
        predictor = instantiate(cfg.predictor, _convert_="object")(cfg.checkpoint)
        part_mask(predictor.skeleton, cfg.parts)  # before the first image
        left_out = film(cfg, predictor, named) if moving else look(cfg, predictor, files)
        print(f"who was found: {cfg.output}")
        if left_out:
            raise ValueError("\n  ".join(left_out))


def check(cfg: DictConfig, named: str) -> None:
    """Refuse what cannot be meant."""
    if "://" in named:
        raise ValueError(f"images={named} is an address; fetch it, and name the file")
    if not isinstance(cfg.write, ListConfig) or not set(cfg.write) <= set(_WRITES):
        raise ValueError(f"write={cfg.write} is no list of any of {', '.join(_WRITES)}")
    if not isinstance(cfg.parts, ListConfig | None):
        raise ValueError(f"parts={cfg.parts} is not a list; use one such as [body,lefthand]")
    instantiate(cfg.style)
    picture_ending(cfg.picture.format, Path(named))


def tell_of_videos(folder: Path) -> None:
    """Say which videos of a folder of pictures are passed over."""
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if file.suffix.lower() in _VIDEOS and not is_hidden(file):
            print(f"{file} is a video and is passed over; images={file} looks at it")


def look(cfg: DictConfig, predictor: "Predictor", files: list[Path]) -> list[str]:
    """Find the people of pictures; which ones could not be read, and why."""
    output, numbers, left_out = Path(cfg.output), image_ids(files), []
    names = file_names(files)
    drawings = {f: output / f"{names[f]}{picture_ending(cfg.picture.format, f)}" for f in files}
    others = [each for name in names.values() for each in written_files(output, cfg.write, name)]
    refuse_to_overwrite([*drawings.values(), *others], files)
    name = {numbers[file]: names[file] for file in files}.__getitem__
    with open_results(cfg, output, name=name) as take:
        for seen in tqdm(predictor.each(files), desc="predict", total=len(files), unit="image"):
            if seen.trouble:
                left_out.append(str(seen.trouble))
                continue
            (image, found), file = seen.known(), seen.source
            take(numbers[file], {"file": str(file)}, found)
            if "pictures" in cfg.write:
                image, found = reduced(image, found, cfg.picture.max_size)
                write_image(drawings[file], drawn(cfg, image, found), quality=_QUALITY)
    images = [{"id": numbers[file], "file_name": str(n)} for file, n in below(files).items()]
    write_json(output / "images.json", images)
    head = f"{len(left_out)} of {len(files)} pictures could not be looked at:"
    return [head, *left_out] if left_out else []


def film(cfg: DictConfig, predictor: "Predictor", named: str) -> list[str]:
    """Find the people of a video and follow them; what could not be decoded."""
    film, output = instantiate(cfg.video), Path(cfg.output)
    file = output / f"{Path(named).stem}.mp4"
    refuse_to_overwrite([file], [Path(named)])
    with film.open(named) as clip, results(output, cfg.write) as take:
        shown = film.record(file, clip) if "pictures" in cfg.write else nullcontext()
        with shown as show:
            total = film.length(clip)
            scenes = tqdm(film.watch(clip, predictor), desc="predict", total=total, unit="frame")
            with suppress(KeyboardInterrupt):  # ends a camera; what was seen is kept
                for number, time, image, found in scenes:
                    take(number, {"frame": number, "time": round(time, 4)}, found)
                    if show:
                        show(drawn(cfg, image, found), time)
    return [f"{named}: {one}" for one in clip.left_out]


def drawn(cfg: DictConfig, image: np.ndarray, found: Found) -> np.ndarray:
    """The image with its people on it, and in a video with the numbers of those that are known."""
    chosen = selection(cfg)(found, "pictures")
    return instantiate(cfg.style)(
        image, chosen.people, chosen.skeleton, tracks=chosen.tracks, all_people=found.people
    )


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
