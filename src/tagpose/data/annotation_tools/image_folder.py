"""Find the images of an annotation file, whatever folders their names contain."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from tagpose.data.annotation_tools.records import half_of

_LOOKED_AT: Final = 50  # names by which folders are compared
_DEPTH: Final = 3  # levels of folders
_MOST_FOLDERS: Final = 500  # below one folder


def find_folder(names: Sequence[str], file: Path, near: Sequence[Path]) -> Path:
    """Return the folder that has the most of some images.

    Args:
        names: `file_name` of the images.
        file: annotation file; among equal folders one of its half (train, val) is preferred.
        near: folders to look at, and below, the likeliest first.

    Raises:
        FileNotFoundError: if no folder has any of them.
    """
    step = max(1, len(names) // _LOOKED_AT)
    some, best, chosen = names[::step], (0, 0, False), None
    half = half_of(Path(file.parent.name, file.name))
    for top in near:
        for folder in _folders(top):
            found = [tail for tail in (inside(folder, name) for name in some) if tail]
            whole = sum(tail in some for tail in found)
            rank = (len(found), whole, half_of(Path(folder.name)) == half)
            if found and rank > best:
                best, chosen = rank, folder
    if chosen is None:
        raise FileNotFoundError(
            f"{file}: none of its {len(names)} images, such as {names[0]!r}, is in "
            f"{' or '.join(map(str, near))} or below; images=FOLDER names their folder"
        )
    return chosen


def inside(folder: Path, name: str) -> str | None:
    """Return the path of an image in a folder, without leading folders that are not there.

    Args:
        folder: of the images.
        name: `file_name`, with slashes or backslashes; a part of another machine's path as well.

    Returns:
        The relative path with slashes; None if the image is not in the folder.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    first = max((n + 1 for n, part in enumerate(parts) if part in ("/", "..")), default=0)
    for n in range(first, len(parts)):
        tail = "/".join(parts[n:])
        if (folder / tail).is_file():
            return tail
    return None


def _folders(top: Path) -> Iterator[Path]:
    """A folder and those below it, level by level; hidden ones apart."""
    level, seen = [top], 0
    for _ in range(_DEPTH + 1):
        yield from level
        below = [sub for folder in level for sub in _subfolders(folder)]
        seen += len(below)
        level = below[: max(0, _MOST_FOLDERS - seen + len(below))]


def _subfolders(folder: Path) -> list[Path]:
    try:
        found = [entry for entry in folder.iterdir() if entry.is_dir()]
    except OSError:  # a folder that may not be listed has nothing to offer
        return []
    return sorted(entry for entry in found if not entry.name.startswith("."))
