"""This file writes what is found while it is found, image by image: nothing waits in memory."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tagpose.inference.found import Found
from tagpose.writing import whole


@contextmanager
def results(
    folder: Path, kinds: Collection[str]
) -> Iterator[Callable[[int, Mapping[str, Any], Found], None]]:
    """Write what is found in many images.

    Args:
        folder: for the files.
        kinds: "coco" writes results.json in the official format; "lines" writes people.jsonl, a
            line for each image.

    Yields:
        What takes an image's number, what a line says of the image, and what was found in it.
    """
    with ExitStack() as stack:
        rows = stack.enter_context(_json_list(folder / "results.json")) if "coco" in kinds else None
        line = stack.enter_context(_lines(folder / "people.jsonl")) if "lines" in kinds else None

        def take(number: int, about: Mapping[str, Any], found: Found) -> None:
            if rows:
                rows(found.to_coco(number))
            if line:
                line({**about, **found.to_dict()})

        yield take


@contextmanager
def _json_list(file: Path) -> Iterator[Callable[[Iterable[Any]], None]]:
    """Write a JSON list, whole or not at all; yields what takes its next entries."""
    with whole(file) as partial, partial.open("w", encoding="utf-8") as stream:
        gap = "["

        def add(entries: Iterable[Any]) -> None:
            nonlocal gap
            for entry in entries:
                stream.write(gap + json.dumps(entry, allow_nan=False))
                gap = ",\n"

        yield add
        stream.write("]\n" if gap != "[" else "[]\n")


@contextmanager
def _lines(file: Path) -> Iterator[Callable[[Any], None]]:
    """Write JSON lines, each as soon as it is there, for whoever reads along."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", buffering=1) as stream:
        yield lambda line: print(json.dumps(line, allow_nan=False), file=stream)
