"""This file looks for the pictures of a data set, and at the size that their headers say."""

from pathlib import Path

from PIL import Image
from tqdm import tqdm

from tagpose.data.inspection.columns import Images
from tagpose.data.inspection.kinds import Fault, Found, Kind


def file_faults(images: Images, folder: Path) -> Found:
    """Pictures that are missing, cut off, or of another size than stated."""
    files = [None if name is None else folder / name for name in images.names]
    there = _there({file.parent for file in files if file})
    rows = zip(files, images.where, images.sizes.tolist(), strict=True)
    for file, where, size in tqdm(rows, desc="look at files", total=len(files), unit="file"):
        if file is None:
            continue
        if file not in there:
            yield Kind.MISSING, Fault(where, f"{str(file)!r} is missing")
        elif why := _not_as_stated(file, *size):
            yield Kind.PICTURE, Fault(where, f"{str(file)!r} {why}")


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
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"cannot be read as a picture ({error})"
    if stored == (width, height) or not (width and height):
        return ""
    turned = ", turned upright by EXIF alone" if stored == (height, width) else ""
    return f"is {stored[0]} x {stored[1]} pixels, not {width} x {height}{turned}"
