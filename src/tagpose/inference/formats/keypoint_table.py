"""Predictions as a tidy table: one row per keypoint, for spreadsheets, pandas, polars and R."""

import csv
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tagpose.inference.formats.openpose import flatten_keypoints
from tagpose.io import atomic_write

if TYPE_CHECKING:  # whose methods call this
    from tagpose.inference.results import PoseResult


class KeypointRow(NamedTuple):
    """One keypoint of one person in one image."""

    image: str
    person: int  # place among the people of the image, 0 the one with the highest score
    track: int | None  # in a video, number of the person; None if unknown
    keypoint: str  # name
    x: float  # image pixels
    y: float  # image pixels
    score: float


def to_table(result: "PoseResult", image: str = "") -> list[KeypointRow]:
    """Return one row for each keypoint of each person; missing keypoints have no row.

    Args:
        result: predictions for the image.
        image: name of the image in the rows.
    """
    names, rows = np.array(result.skeleton.keypoints), []
    tracks = result.tracks or (None,) * len(result.scores)
    for p, (keypoints, track) in enumerate(zip(result.keypoints, tracks, strict=True)):
        here = keypoints[:, 2] > 0
        numbers = flatten_keypoints(keypoints[here])
        columns = zip(names[here].tolist(), *(numbers[i::3] for i in range(3)), strict=True)
        rows += [KeypointRow(image, p, track, *column) for column in columns]
    return rows


@contextmanager
def csv_writer(file: Path) -> Iterator[Callable[[Iterable[KeypointRow]], None]]:
    """Write a CSV file while rows come in, all of it or nothing; yields the function that adds.

    Args:
        file: target; a track that is None is an empty field.
    """
    with atomic_write(file) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(KeypointRow._fields)
        yield writer.writerows
