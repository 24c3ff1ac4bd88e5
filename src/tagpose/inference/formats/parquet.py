"""The tidy table of `table.py` as a Parquet file; needs pyarrow, of the extra `table`."""

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
        "Parquet files need pyarrow, which is not installed; `pip install pyarrow` brings it, and "
        "CSV files do without",
        name=error.name,
    ) from None  # its sentence would hide this one

_ROW_GROUP_SIZE: Final = 100_000  # rows that are written together
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
    """Write a Parquet file while rows come in, all of it or nothing; yields the function that adds.

    Args:
        file: target, with the columns of `KeypointRow`.
    """
    waiting: list[KeypointRow] = []
    with atomic_write(file) as partial, ParquetWriter(partial, _SCHEMA) as writer:

        def flush() -> None:
            columns = zip(*waiting, strict=True) if waiting else [()] * len(_SCHEMA)
            named = dict(zip(KeypointRow._fields, map(list, columns), strict=True))
            writer.write_table(pyarrow.table(named, _SCHEMA))
            waiting.clear()

        def add(rows: Iterable[KeypointRow]) -> None:
            waiting.extend(rows)
            if len(waiting) >= _ROW_GROUP_SIZE:
                flush()

        yield add
        flush()
