"""Options and messages of `tagpose predict`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from tagpose.inference.image_outputs import OUTPUT_FORMATS, OutputOptions, output_extension
from tagpose.inference.result_writers import ResultFilter

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


def result_settings(cfg: DictConfig) -> dict[str, Any]:
    """Return the settings that results depend on, as plain values."""
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    return {key: value for key, value in settings.items() if key not in _NOT_OF_RESULTS}
