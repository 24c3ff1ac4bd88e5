"""Search for the folder that contains the images of an annotation file."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tagpose.data.coco_fields import to_posix_path
from tagpose.data.image_files import ImageFolder

TRAIN: Final = "train"  # names of splits
VAL: Final = "val"
TEST: Final = "test"
_SPLITS: Final = {TRAIN: TRAIN, VAL: VAL, "valid": VAL, "validation": VAL, TEST: TEST}
_MAX_NAMES: Final = 50  # image names that are looked up in each folder
_MAX_DEPTH: Final = 3  # levels of subfolders
_MAX_FOLDERS: Final = 500  # below each root


class FolderMatch(NamedTuple):
    """How well a folder matches an annotation file; compared field by field."""

    num_found: int  # images in the folder
    num_exact: int  # images whose complete name is a path in the folder
    is_named_alike: bool  # after the same split (train, val) or subset


def find_image_folder(names: Sequence[str], file: Path, roots: Sequence[Path]) -> Path:
    """Return the folder of the images of an annotation file.

    Args:
        names: `file_name` of the images.
        file: annotation file; of equally good folders, one with a similar name is preferred.
        roots: folders to search, with their subfolders, in order until one has all images.

    Raises:
        FileNotFoundError: no folder has any of the images.
        ValueError: several folders match equally.
    """
    sample = names[:: max(1, len(names) // _MAX_NAMES)]
    best = FolderMatch(0, 0, is_named_alike=False)
    candidates: list[Path] = []
    for root in roots:
        # a link and its target count once, with the path that comes first
        folders = {folder.resolve(): folder for folder in reversed(list(_walk_folders(root)))}
        matches = {folder: _match_folder(folder, sample, file) for folder in folders.values()}
        match = max(matches.values())
        if match > best and match.num_found:
            best = match
            candidates = [folder for folder, other in matches.items() if other == match]
        if match.num_found == len(sample):
            break
    if not candidates:
        raise FileNotFoundError(
            f"{file}: none of its {len(names)} images, such as {names[0]!r}, is in or below "
            f"{' or '.join(map(str, roots))}; specify their folder with images=FOLDER"
        )
    if len(candidates) > 1:
        raise ValueError(
            f"{file}: images with its file names are in {' and in '.join(map(str, candidates[:2]))}"
            "; specify the right folder with images=FOLDER"
        )
    return candidates[0]


def split_of(path: Path) -> str | None:
    """Return the split in the innermost part of a path that contains one."""
    for part in reversed(path.parts):
        for word in re.findall(r"[a-z]+", part.lower()):
            if word in _SPLITS:
                return _SPLITS[word]
    return None


def _match_folder(folder: Path, names: Sequence[str], file: Path) -> FolderMatch:
    """Return how well a folder matches an annotation file."""
    images = ImageFolder(folder)
    found = [path for path in (images.find(to_posix_path(name)) for name in names) if path]
    split = split_of(Path(folder.name))
    is_same_split = split is not None and split == split_of(Path(file.parent.name, file.name))
    is_subset = file.stem.lower().endswith(f"_{folder.name.lower()}")  # person_keypoints_SUBSET
    return FolderMatch(len(found), sum(path in names for path in found), is_same_split or is_subset)


def _walk_folders(root: Path) -> Iterator[Path]:
    """Yield a folder and its visible subfolders, level by level."""
    level, count = [root], 0
    for _ in range(_MAX_DEPTH + 1):
        yield from level
        subfolders = [subfolder for folder in level for subfolder in _subfolders(folder)]
        level = subfolders[: max(0, _MAX_FOLDERS - count)]
        count += len(subfolders)


def _subfolders(folder: Path) -> list[Path]:
    """Return the visible subfolders of a folder; none if it cannot be listed."""
    try:
        subfolders = [entry for entry in folder.iterdir() if entry.is_dir()]
    except OSError:
        return []
    return sorted(entry for entry in subfolders if not entry.name.startswith("."))
