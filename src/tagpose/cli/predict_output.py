"""Options and output of `tagpose predict`: names of files, result writers and drawn pictures."""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from tagpose.data.image_files import writable_extensions
from tagpose.inference.result_writers import FORMATS, ResultFilter, open_result_writers
from tagpose.inference.results import PoseResult
from tagpose.visualization.canvas import resize_for_drawing

_FORMATS: Final = ("pictures", *FORMATS)
_MAX_NAMES: Final = 5  # files that a line lists
_NOT_OF_RESULTS: Final = {
    "hydra",
    "images",
    "max_megapixels",
    "name",
    "output",
    "paths",
    "resume",
}  # options without effect on results


def check_predict_options(cfg: DictConfig, path: str) -> None:
    """Raise a ValueError for invalid options, before any work.

    Args:
        cfg: `conf/predict.yaml`, composed.
        path: value of `images`.
    """
    if cfg.resume and cfg.output == cfg.paths.run:
        raise ValueError("resume=true needs output=FOLDER, the output of the interrupted run")
    for key in ("formats", "unfiltered"):
        if not set(cfg[key]) <= set(_FORMATS):
            raise ValueError(
                f"{key}={cfg[key]} is not a list of known formats; use some of "
                f"[{', '.join(_FORMATS)}]"
            )
    instantiate(cfg.style)
    output_extension(cfg.picture.format, Path(path))


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


def limit_picture_size(
    image: np.ndarray, result: PoseResult, max_size: int | None
) -> tuple[np.ndarray, PoseResult]:
    """Resize an image and its result to at most `max_size` pixels on the longer side."""
    longest = max(result.size)
    if max_size is None or longest <= max_size:
        return image, result
    resized = resize_for_drawing(image, max_size / longest)
    return resized, result.resize((resized.shape[1], resized.shape[0]))


def describe_frames(num_frames: Mapping[Path, int]) -> str:
    """Return a line on the files with several frames, of which only the first is used, or ""."""
    names = [f"{f.name} (first of {count})" for f, count in num_frames.items() if count > 1]
    if not names:
        return ""
    others = ", ..." if len(names) > _MAX_NAMES else ""
    return (
        f"used only the first frame of {len(names)} files: {', '.join(names[:_MAX_NAMES])}{others}"
        "\n"
    )


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


def output_extension(name: str, source: Path) -> str:
    """Return the extension of an image that is drawn for an input file.

    Args:
        name: "source" for the extension of the input, or .png if Pillow cannot write its format;
            else an extension such as "jpg".
        source: input file.

    Raises:
        ValueError: Pillow cannot write the format.
    """
    writable = writable_extensions()
    extension = source.suffix.lower() if name == "source" else f".{name.lower().lstrip('.')}"
    if extension in writable:
        return extension
    if name == "source":
        return ".png"
    known = ", ".join(end[1:] for end in sorted(writable))
    raise ValueError(f"unknown image format {name!r}; use source or one of {known}")


def result_settings(cfg: DictConfig) -> dict[str, Any]:
    """Return the settings that results depend on, as plain values."""
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    return {key: value for key, value in settings.items() if key not in _NOT_OF_RESULTS}
