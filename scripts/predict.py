"""Find people in pictures and videos: python scripts/predict.py checkpoint=FILE images=PATH."""

import os
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import hydra
import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig
from tqdm import tqdm

from tagpose.allocation import keep_freed_memory
from tagpose.codec.compilation import compile_in_background
from tagpose.complaints import told, told_in_a_sentence
from tagpose.data.images import is_camera, is_hidden, list_images, write_image
from tagpose.drawing.people import draw_people
from tagpose.evaluation.rows import write_json
from tagpose.inference.found import Found
from tagpose.inference.writing import results

if TYPE_CHECKING:
    from tagpose.inference.predictor import Predictor

_VIDEOS: Final = (
    *(".avi", ".flv", ".mkv", ".mov", ".ogv", ".webm", ".wmv"),
    *(".3gp", ".m2ts", ".m4v", ".mp4", ".mpeg", ".mpg", ".mts", ".ts"),
)
_WRITES: Final = ("coco", "lines", "pictures")


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


def tell_of_videos(folder: Path) -> None:
    """Say which videos of a folder of pictures are passed over."""
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if file.suffix.lower() in _VIDEOS and not is_hidden(file):
            print(f"{file} is a video and is passed over; images={file} looks at it")


def look(cfg: DictConfig, predictor: "Predictor", files: list[Path]) -> list[str]:
    """Find the people of pictures; which ones could not be read, and why."""
    output, numbers, left_out = Path(cfg.output), image_ids(files), []
    names = picture_names(files)
    refuse_to_overwrite([output / name for name in names.values()], files)
    with results(output, cfg.write) as take:
        for seen in tqdm(predictor.each(files), desc="predict", total=len(files), unit="image"):
            if seen.trouble:
                left_out.append(str(seen.trouble))
                continue
            (image, found), file = seen.known(), seen.source
            take(numbers[file], {"file": str(file)}, found)
            if "pictures" in cfg.write:
                write_image(output / names[file], drawn(cfg, image, found))
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
    tracks = found.tracks
    return draw_people(
        image,
        found.people,
        found.skeleton,
        min_score=cfg.min_keypoint_score,
        min_person_score=cfg.min_person_score,
        labels=["" if track is None else str(track) for track in tracks] or None,
        identities=tracks or None,
        boxes=bool(tracks),
    )


def picture_names(files: list[Path]) -> dict[Path, str]:
    """Names of the drawn pictures: as those of the files, and as long as it takes to differ."""
    ways = (
        {file: file.stem for file in files},
        {file: file.name for file in files},
        {file: str(inside) for file, inside in below(files).items()},
    )
    names = next(names for names in ways if len(set(names.values())) == len(files))
    return {file: f"{name}.png" for file, name in names.items()}


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
