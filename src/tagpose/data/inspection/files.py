"""This file looks for the pictures of a data set, and at what their headers or all of them say."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from tagpose.data.images import read_image
from tagpose.data.inspection.columns import Images
from tagpose.data.inspection.kinds import Fault, Found, Kind
from tagpose.data.sources import UNREADABLE


def file_faults(images: Images, folder: Path, *, pixels: bool = False) -> Found:
    """Pictures that are missing, cut off, or of another size than stated.

    Args:
        images: whose files are looked at.
        folder: that has them.
        pixels: whether all of a picture is read, by which alone a cut one is known for sure; that
            takes minutes for a hundred thousand.
    """
    files = [None if name is None else folder / name for name in images.names]
    there = _there({file.parent for file in files if file})
    look = partial(_look, there, _unreadable if pixels else _not_as_stated)
    # unpacking pictures leaves the interpreter to other threads
    with ThreadPoolExecutor() as threads:
        faults = threads.map(look, files, images.sizes.tolist())
        looked = tqdm(faults, desc="look at files", total=len(files), unit="file")
        for where, fault in zip(images.where, looked, strict=True):
            if fault:
                kind, what = fault
                yield kind, Fault(where, what)


def _look(
    there: set[Path], why_not: Callable[[Path, int, int], str], file: Path | None, size: list[int]
) -> tuple[Kind, str] | None:
    """What is wrong with a file, if anything is."""
    if file is None:
        return None  # its row is told
    if file not in there:
        return Kind.MISSING, f"{str(file)!r} is missing"
    why = why_not(file, *size)
    return (Kind.PICTURE, f"{str(file)!r} {why}") if why else None


def _unreadable(file: Path, width: int, height: int) -> str:
    """What is wrong with a picture, once it was read; "" for nothing."""
    if header := _not_as_stated(file, width, height):
        return header
    try:
        read_image(file)
    except ValueError as error:
        return str(error).removeprefix(f"{file} ")
    return ""


def _there(folders: set[Path]) -> set[Path]:
    """What lies in the folders, by one listing of each."""
    found: set[Path] = set()
    for folder in folders:
        try:
            found.update(folder.iterdir())
        except (OSError, ValueError):  # there is none, or no folder can have such a name
            continue
    return found


def _not_as_stated(file: Path, width: int, height: int) -> str:
    """What is wrong with a picture as stored, an EXIF rotation not applied; "" for nothing."""
    try:
        with Image.open(file) as image:
            stored = image.size
    except UNREADABLE as error:
        return f"cannot be read as a picture ({error})"
    if stored == (width, height) or not (width and height):
        return ""
    turned = ", turned upright by EXIF alone" if stored == (height, width) else ""
    return f"is {stored[0]} x {stored[1]} pixels, not {width} x {height}{turned}"
