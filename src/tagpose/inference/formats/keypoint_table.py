"""Predictions as a tidy table of one row per keypoint, in CSV or Parquet files.

Spreadsheets, pandas, polars and R read it. Parquet files need pyarrow (extra `table`).
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tagpose.inference.formats.openpose import to_openpose_numbers
from tagpose.io import atomic_write

if TYPE_CHECKING:  # results.py imports this module
    from tagpose.inference.results import PoseResult


_ROW_GROUP_SIZE: Final = 100_000  # rows of a Parquet file that are buffered and written together


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
        numbers = to_openpose_numbers(keypoints[present])
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


@contextmanager
def parquet_writer(file: Path) -> Iterator[Callable[[Iterable[KeypointRow]], None]]:
    """Write a Parquet file atomically, and yield the function that adds rows.

    Args:
        file: Parquet file with the columns of `KeypointRow`.

    Raises:
        ModuleNotFoundError: if pyarrow is not installed.
    """
    try:  # an optional dependency
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Parquet files need pyarrow, which is not installed; run `pip install pyarrow`, or "
            "write CSV files",
            name=error.name,
        ) from None  # the original message would hide this one
    schema = pyarrow.schema(
        {
            "image": pyarrow.string(),
            "person": pyarrow.int32(),
            "track": pyarrow.int32(),
            "keypoint": pyarrow.dictionary(pyarrow.int32(), pyarrow.string()),
            "x": pyarrow.float32(),
            "y": pyarrow.float32(),
            "score": pyarrow.float32(),
        }
    )
    buffer: list[KeypointRow] = []
    with atomic_write(file) as partial, ParquetWriter(partial, schema) as writer:

        def flush() -> None:
            columns = zip(*buffer, strict=True) if buffer else [()] * len(schema)
            named = dict(zip(KeypointRow._fields, map(list, columns), strict=True))
            writer.write_table(pyarrow.table(named, schema))
            buffer.clear()

        def add(rows: Iterable[KeypointRow]) -> None:
            buffer.extend(rows)
            if len(buffer) >= _ROW_GROUP_SIZE:
                flush()

        yield add
        flush()
