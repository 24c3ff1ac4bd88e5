"""Predictions as a tidy table: one row per keypoint, for spreadsheets, pandas, polars and R."""

import csv
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tagpose.inference.formats.openpose import flatten_keypoints
from tagpose.io import atomic_write

if TYPE_CHECKING:  # results.py imports this module
    from tagpose.inference.results import PoseResult


class KeypointRow(NamedTuple):
    """One keypoint of one person in one image."""

    image: str
    person: int  # index by descending score, from 0
    track: int | None  # track id in a video; None if unknown
    keypoint: str  # name of the keypoint
    x: float  # image pixels
    y: float  # image pixels
    score: float


def to_table(result: "PoseResult", image: str = "") -> list[KeypointRow]:
    """Convert predictions to one row per keypoint; missing keypoints have no row.

    Args:
        result: predictions for the image.
        image: image name in the rows.
    """
    names, rows = np.array(result.skeleton.keypoints), []
    tracks = result.tracks or (None,) * len(result.scores)
    for p, (keypoints, track) in enumerate(zip(result.keypoints, tracks, strict=True)):
        present = keypoints[:, 2] > 0
        numbers = flatten_keypoints(keypoints[present])
        columns = zip(names[present].tolist(), *(numbers[i::3] for i in range(3)), strict=True)
        rows += [KeypointRow(image, p, track, *column) for column in columns]
    return rows


@contextmanager
def csv_writer(file: Path) -> Iterator[Callable[[Iterable[KeypointRow]], None]]:
    """Write a CSV file atomically, and yield the function that adds rows.

    Args:
        file: CSV file; a track of None is an empty field.
    """
    with atomic_write(file) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(KeypointRow._fields)
        yield writer.writerows
