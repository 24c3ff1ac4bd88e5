"""Writers of result files during prediction; only .pose files of videos are buffered in memory.

`FORMATS` has one entry per name of `formats=[...]`: a context manager of the folder that yields the
function for writing one image.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from tagpose.data.image_files import write_image
from tagpose.evaluation.coco_results import RESULTS_FILE
from tagpose.inference.formats.controlnet import to_controlnet, to_dwpose_image
from tagpose.inference.formats.keypoint_table import csv_writer, parquet_writer, to_table
from tagpose.inference.formats.openpose import to_openpose
from tagpose.inference.results import PoseResult
from tagpose.io import atomic_write
from tagpose.skeletons.keypoint_layouts import OPENPOSE_COCO_18

_COMPACT_SEPARATORS: Final = (",", ":")  # JSON without spaces

UNFILTERED_FORMATS: Final = ("coco", "jsonl")  # formats with all people by default


class ResultFilter(NamedTuple):
    """Selection of the people and keypoints that are written; see `PoseResult.select`."""

    parts: Sequence[str] | None = None
    min_person_score: float = 0.0
    min_keypoint_score: float = 0.0
    unfiltered: Collection[str] = UNFILTERED_FORMATS  # formats that ignore the thresholds

    def __call__(self, result: PoseResult, format_name: str) -> PoseResult:
        """Return the part of a result that a format contains."""
        if format_name in self.unfiltered:
            return result.select(self.parts) if self.parts is not None else result
        return result.select(
            self.parts,
            min_person_score=self.min_person_score,
            min_keypoint_score=self.min_keypoint_score,
        )


class OutputItem(NamedTuple):
    """Predictions for one image or frame, and its names in the files."""

    number: int  # image id in the COCO results
    name: str  # stem of the per-image files
    metadata: Mapping[str, Any]  # first entries of the line in people.jsonl
    result: PoseResult


WriteItem: TypeAlias = Callable[[OutputItem], None]
WriteResult: TypeAlias = Callable[[int, Mapping[str, Any], PoseResult], None]
_NO_FILTER: Final = ResultFilter()


@contextmanager
def open_result_writers(
    folder: Path,
    formats: Collection[str],
    *,
    name: Callable[[int], str] = "{:012d}".format,
    result_filter: ResultFilter = _NO_FILTER,
    rate: float | None = None,
) -> Iterator[WriteResult]:
    """Open the files of several formats, and yield the function that writes one image to them.

    Args:
        folder: output folder.
        formats: names of `FORMATS`; "pictures", which are drawn elsewhere, are ignored.
        name: returns the stem of the per-image files for an image number; it may contain folders.
            The default is OpenPose's name for the frames of a video.
        result_filter: selection of the people and keypoints that are written.
        rate: frames per second of a video, whose frames become a single .pose file; None for
            images, which become one file each.

    Yields:
        Function of an image's number, the first entries of its line in people.jsonl, and its
        predictions.

    Raises:
        ModuleNotFoundError: if a format needs a package that is not installed.
        ValueError: if a format is unknown.
    """
    unknown = sorted(set(formats) - {"pictures", *FORMATS})
    if unknown:
        raise ValueError(f"unknown format {unknown[0]!r}; use one of {', '.join(FORMATS)}")
    with ExitStack() as stack:
        writers = {
            format_name: stack.enter_context(FORMATS[format_name](folder, rate))
            for format_name in formats
            if format_name in FORMATS
        }

        def write_image_result(
            number: int, metadata: Mapping[str, Any], result: PoseResult
        ) -> None:
            for format_name, write in writers.items():
                filtered = result_filter(result, format_name)
                write(OutputItem(number, name(number), metadata, filtered))

        yield write_image_result


def per_image_files(folder: Path, formats: Collection[str], name: str) -> list[Path]:
    """Return the per-image files of an image."""
    return [
        folder / _FILE_PATTERNS[format_name].format(name)
        for format_name in formats
        if format_name in _FILE_PATTERNS
    ]


@contextmanager
def _open_coco(folder: Path, _: float | None) -> Iterator[WriteItem]:
    """Write results.json in COCO's result format."""
    with _open_json_list(folder / RESULTS_FILE) as add:
        yield lambda item: add(item.result.to_coco(item.number))


@contextmanager
def _open_json_list(file: Path) -> Iterator[Callable[[Iterable[Any]], None]]:
    """Write a JSON list atomically, and yield the function that adds entries."""
    with atomic_write(file) as partial_file, partial_file.open("w", encoding="utf-8") as stream:
        separator = "["

        def add(entries: Iterable[Any]) -> None:
            nonlocal separator
            for entry in entries:
                stream.write(separator + json.dumps(entry, allow_nan=False))
                separator = ",\n"

        yield add
        stream.write("]\n" if separator != "[" else "[]\n")


@contextmanager
def _open_jsonl(folder: Path, _: float | None) -> Iterator[WriteItem]:
    """Write people.jsonl line by line during prediction, for programs that follow the file."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "people.jsonl").open("w", encoding="utf-8", buffering=1) as stream:

        def add(item: OutputItem) -> None:
            line = {**item.metadata, **item.result.to_dict()}
            print(json.dumps(line, allow_nan=False), file=stream)

        yield add


@contextmanager
def _open_json_files(
    folder: Path, _: float | None, *, format_name: str, convert: Callable[[PoseResult], Any]
) -> Iterator[WriteItem]:
    """Write one JSON file per image, also if it has no people."""

    def write(item: OutputItem) -> None:
        with atomic_write(folder / _FILE_PATTERNS[format_name].format(item.name)) as partial_file:
            content = json.dumps(
                convert(item.result), allow_nan=False, separators=_COMPACT_SEPARATORS
            )
            partial_file.write_text(content)

    yield write


@contextmanager
def _open_dwpose(folder: Path, _: float | None) -> Iterator[WriteItem]:
    """Write the poses of each image on black."""
    yield lambda item: write_image(
        folder / _FILE_PATTERNS["dwpose"].format(item.name), to_dwpose_image(item.result)
    )


@contextmanager
def _open_csv(folder: Path, _: float | None) -> Iterator[WriteItem]:
    """Write keypoints.csv."""
    with csv_writer(folder / "keypoints.csv") as add:
        yield lambda item: add(to_table(item.result, _image_name(item)))


@contextmanager
def _open_parquet(folder: Path, _: float | None) -> Iterator[WriteItem]:
    """Write keypoints.parquet."""
    with parquet_writer(folder / "keypoints.parquet") as add:
        yield lambda item: add(to_table(item.result, _image_name(item)))


@contextmanager
def _open_pose(folder: Path, rate: float | None) -> Iterator[WriteItem]:
    """Write one .pose file per image, or one for all frames of a video."""
    pose_file = import_module("tagpose.inference.formats.pose_file")  # needs an optional dependency
    if rate is None:
        yield lambda item: pose_file.write_pose(
            folder / _FILE_PATTERNS["pose"].format(item.name), [item.result]
        )
        return
    frames: list[PoseResult] = []
    yield lambda item: frames.append(item.result)
    if frames:
        pose_file.write_pose(folder / "keypoints.pose", frames, rate)


def _image_name(item: OutputItem) -> str:
    """Return the name of an image in tables: its file, or the name of the frame."""
    return str(item.metadata.get("file", item.name))


_FILE_PATTERNS: Final = MappingProxyType(
    {
        "openpose": "openpose/{}_keypoints.json",
        "openpose_coco": "openpose_coco/{}_keypoints.json",
        "controlnet": "controlnet/{}.json",
        "dwpose": "dwpose/{}.png",
        "pose": "pose/{}.pose",
    }
)
FORMATS: Final[Mapping[str, Callable[[Path, float | None], AbstractContextManager[WriteItem]]]] = (
    MappingProxyType(
        {
            "coco": _open_coco,
            "jsonl": _open_jsonl,
            "openpose": partial(_open_json_files, format_name="openpose", convert=to_openpose),
            "openpose_coco": partial(
                _open_json_files,
                format_name="openpose_coco",
                convert=partial(to_openpose, body=OPENPOSE_COCO_18),
            ),
            "controlnet": partial(
                _open_json_files, format_name="controlnet", convert=to_controlnet
            ),
            "dwpose": _open_dwpose,
            "csv": _open_csv,
            "parquet": _open_parquet,
            "pose": _open_pose,
        }
    )
)
