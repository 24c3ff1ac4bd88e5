"""Predictions as a Parquet file of `keypoint_table` rows; needs pyarrow (extra `table`)."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tagpose.inference.formats.keypoint_table import KeypointRow
from tagpose.io import atomic_write

try:
    import pyarrow
    from pyarrow.parquet import ParquetWriter
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "Parquet files need pyarrow, which is not installed; run `pip install pyarrow`, or write "
        "CSV files",
        name=error.name,
    ) from None  # the original message would hide this one

_ROW_GROUP_SIZE: Final = 100_000  # rows that are buffered and written together
_SCHEMA: Final = pyarrow.schema(
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


@contextmanager
def parquet_writer(file: Path) -> Iterator[Callable[[Iterable[KeypointRow]], None]]:
    """Write a Parquet file atomically, and yield the function that adds rows.

    Args:
        file: Parquet file with the columns of `KeypointRow`.
    """
    buffer: list[KeypointRow] = []
    with atomic_write(file) as partial, ParquetWriter(partial, _SCHEMA) as writer:

        def flush() -> None:
            columns = zip(*buffer, strict=True) if buffer else [()] * len(_SCHEMA)
            named = dict(zip(KeypointRow._fields, map(list, columns), strict=True))
            writer.write_table(pyarrow.table(named, _SCHEMA))
            buffer.clear()

        def add(rows: Iterable[KeypointRow]) -> None:
            buffer.extend(rows)
            if len(buffer) >= _ROW_GROUP_SIZE:
                flush()

        yield add
        flush()
