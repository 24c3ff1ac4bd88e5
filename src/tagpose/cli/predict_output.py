"""Output of `tagpose predict`: names of files, result writers and drawn pictures."""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image

from tagpose.data.image_files import IMAGE_EXTENSIONS
from tagpose.inference.result_writers import ResultFilter, open_result_writers
from tagpose.inference.results import PoseResult


def open_results(
    cfg: DictConfig, folder: Path, *, name: Callable[[int], str], rate: float | None = None
) -> AbstractContextManager[Callable[[int, Mapping[str, Any], PoseResult], None]]:
    """Open the files of the selected formats; see `result_writers.open_result_writers`."""
    return open_result_writers(
        folder, cfg.formats, name=name, result_filter=make_filter(cfg), rate=rate
    )


def make_filter(cfg: DictConfig) -> ResultFilter:
    """Return the filter of the people and keypoints that files and pictures contain."""
    parts = None if cfg.parts is None else list(cfg.parts)
    return ResultFilter(parts, cfg.min_person_score, cfg.min_keypoint_score, tuple(cfg.unfiltered))


def build_drawer(cfg: DictConfig) -> Callable[[np.ndarray, PoseResult], np.ndarray]:
    """Return the function that draws poses on an image, in a video with track numbers."""
    style, select = instantiate(cfg.style), make_filter(cfg)

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


def downscale(
    image: np.ndarray, result: PoseResult, max_size: int | None
) -> tuple[np.ndarray, PoseResult]:
    """Resize an image and its result to at most `max_size` pixels on the longer side."""
    longest = max(result.size)
    if max_size is None or longest <= max_size:
        return image, result
    width, height = (max(1, round(length * max_size / longest)) for length in result.size)
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return resized, result.resize((width, height))


def image_ids(files: list[Path]) -> dict[Path, int]:
    """Return the image ids of files: the numbers in COCO's file names, or 1, 2, ..."""
    if all(file.stem.isdecimal() for file in files):
        ids = {file: int(file.stem) for file in files}
        if len(set(ids.values())) == len(files):
            return ids
    return {file: number for number, file in enumerate(files, start=1)}


def output_names(files: list[Path]) -> dict[Path, str]:
    """Return names for the outputs of files, the shortest kind that is unique."""
    candidates = (
        {file: file.stem for file in files},
        {file: file.name for file in files},
        {file: str(path) for file, path in relative_paths(files).items()},
    )
    return next(names for names in candidates if len(set(names.values())) == len(files))


def relative_paths(files: list[Path]) -> dict[Path, Path]:
    """Return the paths of files relative to their deepest common folder."""
    folder = Path(os.path.commonpath([file.parent for file in files]))
    return {file: file.relative_to(folder) for file in files}


def check_no_overwrite(targets: list[Path], sources: list[Path]) -> None:
    """Raise a ValueError if an output file would overwrite an input file."""
    both = {file.resolve() for file in targets} & {file.resolve() for file in sources}
    if both:
        raise ValueError(f"{min(both)} would be overwritten; use another output=FOLDER")


def output_extension(name: str, source: Path) -> str:
    """Return the extension of an image that is drawn for an input file.

    Args:
        name: "source" for the extension of the input, or .png if Pillow cannot write its format;
            else an extension such as "jpg".
        source: input file.

    Raises:
        ValueError: Pillow cannot write the format.
    """
    Image.init()
    writable = {end for end, kind in Image.registered_extensions().items() if kind in Image.SAVE}
    extension = source.suffix.lower() if name == "source" else f".{name.lower().lstrip('.')}"
    if extension in writable & set(IMAGE_EXTENSIONS):
        return extension
    if name == "source":
        return ".png"
    known = ", ".join(end[1:] for end in sorted(writable & set(IMAGE_EXTENSIONS)))
    raise ValueError(f"unknown image format {name!r}; use source or one of {known}")
