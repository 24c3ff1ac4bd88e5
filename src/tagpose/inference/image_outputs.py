"""Output files of predicted images: result files, drawn pictures and images.json."""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from tagpose.data.image_files import writable_extensions, write_image
from tagpose.evaluation.image_ids import assign_image_ids
from tagpose.inference.result_writers import (
    FORMATS,
    ResultFilter,
    WriteResult,
    open_result_writers,
    per_image_files,
)
from tagpose.inference.results import ImageResult, PoseResult
from tagpose.io import check_no_overwrite, write_json
from tagpose.visualization.canvas import resize_for_drawing
from tagpose.visualization.visualizer import PoseVisualizer

OUTPUT_FORMATS: Final = ("pictures", *FORMATS)

_QUALITY: Final = 92  # of JPEG and WebP pictures
_MAX_NAMES: Final = 5  # listed in a message


class OutputOptions(NamedTuple):
    """Options of the files that are written for images and videos."""

    formats: Sequence[str] = ()  # some of `OUTPUT_FORMATS`
    result_filter: ResultFilter = ResultFilter()
    style: PoseVisualizer = PoseVisualizer()
    picture_format: str = "png"  # extension of pictures, or "source" for that of the image
    max_picture_size: int | None = None  # pixels of the longer side; None for the image's size

    def open_results(
        self, folder: Path, *, rate: float | None = None, names: dict[int, str] | None = None
    ) -> AbstractContextManager[WriteResult]:
        """Open the result files; see `open_result_writers`.

        Args:
            folder: output folder.
            rate: frames per second of a video; None for images.
            names: stem of the per-image files by image number; None for frames.
        """
        name = "{:012d}".format if names is None else names.__getitem__
        return open_result_writers(
            folder, self.formats, name=name, result_filter=self.result_filter, rate=rate
        )

    def draw(self, image: np.ndarray, result: PoseResult) -> np.ndarray:
        """Return an image [H, W, 3] uint8 RGB with the poses that pass the filter."""
        selected = self.result_filter(result, "pictures")
        return self.style(
            image,
            selected.poses,
            selected.skeleton,
            tracks=selected.tracks,
            all_people=result.poses,
        )

    def write_picture(self, file: Path, image: np.ndarray, result: PoseResult) -> None:
        """Draw the poses on an image of at most `max_picture_size`, and write it."""
        longest = max(result.size)
        if self.max_picture_size is not None and longest > self.max_picture_size:
            image = resize_for_drawing(image, self.max_picture_size / longest)
            result = result.resize((image.shape[1], image.shape[0]))
        write_image(file, self.draw(image, result), quality=_QUALITY)


class OutputSummary(NamedTuple):
    """Errors and statistics of the images that were written."""

    failures: list[str]  # one message per image that cannot be read
    num_frames: dict[Path, int]  # frames or pages of each file, of which the first one is used
    scores: list[float]  # of all people before thresholds


def write_image_outputs(
    results: Iterable[ImageResult], files: list[Path], folder: Path, options: OutputOptions
) -> OutputSummary:
    """Write the results, pictures and names of images; unreadable images are skipped.

    Args:
        results: results with images if `options.formats` has "pictures"; each source is one of
            the files. They are consumed after the output paths have been checked.
        files: image files, which name the outputs.
        folder: output folder.
        options: formats, filter and style.

    Raises:
        ValueError: an output would overwrite an image.
    """
    ids, names, summary = assign_image_ids(files), output_names(files), OutputSummary([], {}, [])
    pictures = {
        file: folder / f"{names[file]}{output_extension(options.picture_format, file)}"
        for file in files
    }
    others = [p for name in names.values() for p in per_image_files(folder, options.formats, name)]
    check_no_overwrite([*pictures.values(), *others], files)
    with options.open_results(folder, names={ids[file]: names[file] for file in files}) as write:
        for image_result in results:
            if image_result.error:
                summary.failures.append(str(image_result.error))
                continue
            result, file = image_result.result_or_raise(), image_result.source
            summary.num_frames[file] = image_result.num_frames
            summary.scores.extend(result.scores.tolist())
            write(ids[file], {"file": str(file)}, result)
            if "pictures" in options.formats and image_result.image is not None:
                options.write_picture(pictures[file], image_result.image, result)
    rows = [{"id": ids[file], "file_name": str(p)} for file, p in relative_paths(files).items()]
    write_json(folder / "images.json", rows)
    return summary


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


def describe_unused_frames(num_frames: Mapping[Path, int]) -> str:
    """Return a line on the files with several frames, of which only the first is used, or ""."""
    names = [f"{f.name} (first of {count})" for f, count in num_frames.items() if count > 1]
    if not names:
        return ""
    others = ", ..." if len(names) > _MAX_NAMES else ""
    return (
        f"used only the first frame of {len(names)} files: {', '.join(names[:_MAX_NAMES])}{others}"
        "\n"
    )
