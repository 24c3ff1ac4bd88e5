"""Write predictions to files while images are predicted; only .pose files of videos wait in memory.

`FORMATS` has one entry for each name of `write=[...]`: a context manager that takes the folder and
yields the function that writes one image.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from tagpose.data.images import write_image
from tagpose.inference.formats.controlnet import to_controlnet, to_dwpose_picture
from tagpose.inference.formats.openpose import to_openpose
from tagpose.inference.formats.table import csv_writer, to_table
from tagpose.inference.found import Found
from tagpose.skeleton_maps import OPENPOSE_COCO_18
from tagpose.writing import whole

_COMPACT: Final = (",", ":")  # JSON without blanks

UNFILTERED: Final = ("coco", "lines")  # formats that contain all people by default


class Selection(NamedTuple):
    """The people and keypoints that files contain; see `Found.select`."""

    parts: Sequence[str] | None = None
    min_person_score: float = 0.0
    min_keypoint_score: float = 0.0
    unfiltered: Collection[str] = UNFILTERED  # formats for which the thresholds do not count

    def __call__(self, found: Found, kind: str) -> Found:
        """Return what a format contains."""
        if kind in self.unfiltered:
            return found.select(self.parts) if self.parts is not None else found
        return found.select(
            self.parts,
            min_person_score=self.min_person_score,
            min_keypoint_score=self.min_keypoint_score,
        )


class Item(NamedTuple):
    """The predictions for one image or frame on their way to a file."""

    number: int  # image id of the COCO results
    name: str  # of files that belong to this image alone, without their ending
    about: Mapping[str, Any]  # first entries of its line in people.jsonl
    found: Found


Take: TypeAlias = Callable[[Item], None]
_ALL: Final = Selection()


@contextmanager
def results(
    folder: Path,
    kinds: Collection[str],
    *,
    name: Callable[[int], str] = "{:012d}".format,
    selection: Selection = _ALL,
    rate: float | None = None,
) -> Iterator[Callable[[int, Mapping[str, Any], Found], None]]:
    """Write the predictions for many images in some formats.

    Args:
        folder: for the files.
        kinds: names of `FORMATS`; "pictures", which are drawn elsewhere, are allowed and ignored.
        name: makes the name of the files that belong to one image from its number; it may contain
            folders. The default is OpenPose's for the frames of a video.
        selection: people and keypoints that are written.
        rate: frames per second if the images are the frames of a video, which become one .pose
            file; None for stills, which become one each.

    Yields:
        The function that takes an image's number, the first entries of its line in people.jsonl,
        and its predictions.

    Raises:
        ModuleNotFoundError: a format needs a package that is not installed.
        ValueError: a format is unknown.
    """
    unknown = sorted(set(kinds) - {"pictures", *FORMATS})
    if unknown:
        raise ValueError(f"unknown format {unknown[0]!r}; use one of {', '.join(FORMATS)}")
    with ExitStack() as stack:
        takes = {
            kind: stack.enter_context(FORMATS[kind](folder, rate))
            for kind in kinds
            if kind in FORMATS
        }

        def take(number: int, about: Mapping[str, Any], found: Found) -> None:
            for kind, write in takes.items():
                write(Item(number, name(number), about, selection(found, kind)))

        yield take


def written_files(folder: Path, kinds: Collection[str], name: str) -> list[Path]:
    """Return the files that belong to one image alone."""
    return [folder / _FILES[kind].format(name) for kind in kinds if kind in _FILES]


@contextmanager
def _coco(folder: Path, _: float | None) -> Iterator[Take]:
    """Write results.json in the format of COCO's results."""
    with _json_list(folder / "results.json") as add:
        yield lambda item: add(item.found.to_coco(item.number))


@contextmanager
def _json_list(file: Path) -> Iterator[Callable[[Iterable[Any]], None]]:
    """Write a JSON list, all of it or nothing; yields the function that adds entries."""
    with whole(file) as partial_file, partial_file.open("w", encoding="utf-8") as stream:
        gap = "["

        def add(entries: Iterable[Any]) -> None:
            nonlocal gap
            for entry in entries:
                stream.write(gap + json.dumps(entry, allow_nan=False))
                gap = ",\n"

        yield add
        stream.write("]\n" if gap != "[" else "[]\n")


@contextmanager
def _lines(folder: Path, _: float | None) -> Iterator[Take]:
    """Write people.jsonl, each line as soon as it is known, for programs that read along."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "people.jsonl").open("w", encoding="utf-8", buffering=1) as stream:

        def add(item: Item) -> None:
            line = {**item.about, **item.found.to_dict()}
            print(json.dumps(line, allow_nan=False), file=stream)

        yield add


@contextmanager
def _json_files(
    folder: Path, _: float | None, *, kind: str, convert: Callable[[Found], Any]
) -> Iterator[Take]:
    """Write one JSON file for each image, also where there are no people."""

    def write(item: Item) -> None:
        with whole(folder / _FILES[kind].format(item.name)) as partial_file:
            content = json.dumps(convert(item.found), allow_nan=False, separators=_COMPACT)
            partial_file.write_text(content)

    yield write


@contextmanager
def _dwpose(folder: Path, _: float | None) -> Iterator[Take]:
    """Write a picture on black for each image."""
    yield lambda item: write_image(
        folder / _FILES["dwpose"].format(item.name), to_dwpose_picture(item.found)
    )


@contextmanager
def _csv(folder: Path, _: float | None) -> Iterator[Take]:
    """Write keypoints.csv."""
    with csv_writer(folder / "keypoints.csv") as add:
        yield lambda item: add(to_table(item.found, _image(item)))


@contextmanager
def _parquet(folder: Path, _: float | None) -> Iterator[Take]:
    """Write keypoints.parquet."""
    parquet = import_module("tagpose.inference.formats.parquet")  # needs an extra
    with parquet.parquet_writer(folder / "keypoints.parquet") as add:
        yield lambda item: add(to_table(item.found, _image(item)))


@contextmanager
def _pose(folder: Path, rate: float | None) -> Iterator[Take]:
    """Write a .pose file for each image, or one for all frames of a video."""
    pose_file = import_module("tagpose.inference.formats.pose_file")  # needs an extra
    if rate is None:
        yield lambda item: pose_file.write_pose(
            folder / _FILES["pose"].format(item.name), [item.found]
        )
        return
    frames: list[Found] = []
    yield lambda item: frames.append(item.found)
    if frames:
        pose_file.write_pose(folder / "keypoints.pose", frames, rate)


def _image(item: Item) -> str:
    """The name of an image in tables: its file, or the name of a frame."""
    return str(item.about.get("file", item.name))


_FILES: Final = MappingProxyType(
    {
        "openpose": "openpose/{}_keypoints.json",
        "openpose_coco": "openpose_coco/{}_keypoints.json",
        "controlnet": "controlnet/{}.json",
        "dwpose": "dwpose/{}.png",
        "pose": "pose/{}.pose",
    }
)
FORMATS: Final[Mapping[str, Callable[[Path, float | None], AbstractContextManager[Take]]]] = (
    MappingProxyType(
        {
            "coco": _coco,
            "lines": _lines,
            "openpose": partial(_json_files, kind="openpose", convert=to_openpose),
            "openpose_coco": partial(
                _json_files,
                kind="openpose_coco",
                convert=partial(to_openpose, body=OPENPOSE_COCO_18),
            ),
            "controlnet": partial(_json_files, kind="controlnet", convert=to_controlnet),
            "dwpose": _dwpose,
            "csv": _csv,
            "parquet": _parquet,
            "pose": _pose,
        }
    )
)
