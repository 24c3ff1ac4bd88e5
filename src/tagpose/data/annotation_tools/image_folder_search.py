"""Find the images of an annotation file, whatever folders their names contain."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from tagpose.data.annotation_tools.source_dataset import split_of

_MAX_NAMES: Final = 50  # names by which folders are compared
_MAX_DEPTH: Final = 3  # levels of folders
_MAX_FOLDERS: Final = 500  # below one folder


class FolderMatch(NamedTuple):
    """How well a folder fits an annotation file; compared field by field."""

    num_found: int  # images that are in it
    num_exact: int  # of these, those whose whole name is a path in it
    is_named_alike: bool  # after the same split (train, val) or subset


def find_image_folder(names: Sequence[str], file: Path, near: Sequence[Path]) -> Path:
    """Return the folder that has the images of an annotation file.

    Args:
        names: `file_name` of the images.
        file: annotation file; among equal folders one that is named like it is taken.
        near: folders to look at, and below; a later one if none before has all images.

    Raises:
        FileNotFoundError: if no folder has any of them.
        ValueError: if several fit equally.
    """
    some = names[:: max(1, len(names) // _MAX_NAMES)]
    best: tuple[FolderMatch, list[Path]] = (FolderMatch(0, 0, is_named_alike=False), [])
    for top in near:
        # a link and the folder that it leads to are one; what is named first is kept
        folders = {folder.resolve(): folder for folder in reversed(list(_walk_folders(top)))}
        ranks = {folder: _match_folder(folder, some, file) for folder in folders.values()}
        rank = max(ranks.values())
        if rank > best[0] and rank.num_found:
            best = rank, [folder for folder, its in ranks.items() if its == rank]
        if rank.num_found == len(some):
            break
    if not best[1]:
        raise FileNotFoundError(
            f"{file}: none of its {len(names)} images, such as {names[0]!r}, is in "
            f"{' or '.join(map(str, near))} or below; images=FOLDER names their folder"
        )
    if len(best[1]) > 1:
        raise ValueError(
            f"{file}: images of these names are in {' and in '.join(map(str, best[1][:2]))}; "
            "images=FOLDER names the right folder"
        )
    return best[1][0]


def _match_folder(folder: Path, names: Sequence[str], file: Path) -> FolderMatch:
    """How well a folder fits."""
    found = [tail for tail in (find_in_folder(folder, name) for name in names) if tail]
    its_split = split_of(Path(folder.name))
    alike = its_split is not None and its_split == split_of(Path(file.parent.name, file.name))
    is_subset = file.stem.lower().endswith(f"_{folder.name.lower()}")  # person_keypoints_SUBSET
    return FolderMatch(len(found), sum(tail in names for tail in found), alike or is_subset)


def find_in_folder(folder: Path, name: str) -> str | None:
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


def _walk_folders(top: Path) -> Iterator[Path]:
    """A folder and those below it, level by level; hidden ones apart."""
    level, seen = [top], 0
    for _ in range(_MAX_DEPTH + 1):
        yield from level
        below = [sub for folder in level for sub in _subfolders(folder)]
        seen += len(below)
        level = below[: max(0, _MAX_FOLDERS - seen + len(below))]


def _subfolders(folder: Path) -> list[Path]:
    try:
        found = [entry for entry in folder.iterdir() if entry.is_dir()]
    except OSError:  # a folder that may not be listed has nothing to offer
        return []
    return sorted(entry for entry in found if not entry.name.startswith("."))
