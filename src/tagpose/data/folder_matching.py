"""Search for the files of a split: the images of an annotation file, and the val file."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tagpose.data.coco_fields import to_posix_path
from tagpose.data.image_files import ImageFolder
from tagpose.data.split_paths import TRAIN, VAL_NAMES, SplitPaths, split_of

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


def locate_split(file: Path, content: Mapping[str, Any], images: str | None) -> SplitPaths:
    """Return an annotation file with its image folder.

    Args:
        file: COCO JSON.
        content: its content.
        images: folder of the images; None searches near the file.

    Raises:
        ValueError: the file lists no images.
    """
    names = [row["file_name"] for row in content["images"]]
    if not names:
        raise ValueError(f"{file} lists no images; check annotations= and val_annotations=")
    folders = [Path(images)] if images else [file.parent, file.resolve().parent.parent]
    return SplitPaths(file, find_image_folder(names, file, folders))


def find_val_file(file: Path) -> Path | None:
    """Return the val file that belongs to a train file, if there is one.

    It differs in train and val in its own name (COCO) or in that of its folder (Roboflow).
    """
    folder, name = file.resolve().parent, file.name
    siblings = [file.parent / name.replace(TRAIN, val) for val in VAL_NAMES]
    cousins = [folder.with_name(folder.name.replace(TRAIN, val)) / name for val in VAL_NAMES]
    existing = (path for path in (*siblings, *cousins) if path.is_file())
    return next((path for path in existing if path.resolve() != file.resolve()), None)


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
