"""Write train and val of a source as COCO files next to a link to its images."""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tagpose.data.annotation_tools.source_dataset import (
    TEST,
    TRAIN,
    VAL,
    Row,
    SourceDataset,
    id_key,
)
from tagpose.data.annotation_tools.train_val_split import choose_val, group_images

IMAGES_LINK: Final = "images"  # the link
_DEFAULT_VAL_FRACTION: Final = 0.1  # of the images in val


class SplitAssignment(NamedTuple):
    """Assignment of images to splits, and the reason for it."""

    splits: Mapping[str, str]  # TRAIN, VAL or TEST by `id_key` of the image id
    reason: str


class WrittenSplit(NamedTuple):
    """One file of a split."""

    split: str
    file: Path
    images: int
    annotations: int


def assign_splits(
    source: SourceDataset, by: str, val_fraction: float | None, seed: int
) -> SplitAssignment:
    """Divide the images of a source.

    Images of a test split are never learned from, nor validated on.

    Args:
        source: with at least two images.
        by: "image", "folder", "video" or a regular expression; see `group_images`.
        val_fraction: share of the images in val; None keeps the splits that the source has, and is 0.1
            where it has none.
        seed: of the choice.

    Raises:
        ValueError: if the images cannot be divided like this.
    """
    own = {id_key(row["id"]): source.splits.get(id_key(row["id"])) for row in source.images}
    if val_fraction is None and {TRAIN, VAL} <= set(own.values()):
        kept = {image_id: split or TRAIN for image_id, split in own.items()}
        return SplitAssignment(kept, "as the export divides them; val_fraction=0.1 divides anew")
    is_test = {i for i, split in own.items() if split == TEST}
    is_test = is_test if len(is_test) < len(own) else set()
    rows = [row for row in source.images if id_key(row["id"]) not in is_test]
    groups = group_images([row["file_name"] for row in rows], by)
    labelled = {id_key(row["image_id"]) for row in source.annotations if has_coordinates(row)}
    share = _DEFAULT_VAL_FRACTION if val_fraction is None else val_fraction
    in_val = choose_val(groups, [id_key(row["id"]) in labelled for row in rows], share, seed)
    splits = dict.fromkeys(is_test, TEST)
    for row, chosen in zip(rows, in_val.tolist(), strict=True):
        splits[id_key(row["id"])] = VAL if chosen else TRAIN
    return SplitAssignment(splits, f"{len(set(groups))} groups by {by}, seed {seed}")


def has_coordinates(annotation: Row) -> bool:
    """Whether an annotation has any keypoint that is not at 0, 0; flat or nested."""
    values = annotation.get("keypoints")
    rows = values if isinstance(values, list) else []
    flat = [value for row in rows for value in (row if isinstance(row, list) else [row])]
    return any(value not in (0, None, "", "0") for value in flat)


def write_split(
    source: SourceDataset, splits: Mapping[str, str], folder: Path
) -> list[WrittenSplit]:
    """Write one COCO file per split, and link to the images.

    Nothing is copied: a link takes no room, the files can name the images as the export does, and
    the folder reads like any COCO data set.

    Args:
        source: whose rows are written unchanged.
        splits: by `id_key` of the image id.
        folder: to write into.

    Raises:
        OSError: if the file system has no links.
    """
    written = []
    for split in (name for name in (TRAIN, VAL, TEST) if name in splits.values()):
        images = [row for row in source.images if splits[id_key(row["id"])] == split]
        people = [row for row in source.annotations if splits[id_key(row["image_id"])] == split]
        content = {
            "info": source.info,
            "categories": source.categories,
            "images": images,
            "annotations": people,
        }
        file = folder / f"{split}.json"
        file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        written.append(WrittenSplit(split, file, len(images), len(people)))
    inside = source.folder.is_relative_to(folder)
    target = source.folder.relative_to(folder) if inside else source.folder.resolve()
    (folder / IMAGES_LINK).symlink_to(target, target_is_directory=True)
    return written


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill; it gets its name once it is complete, and is removed otherwise.

    Raises:
        FileExistsError: if there is something of that name.
    """
    if folder.exists() or folder.is_symlink():
        raise FileExistsError(
            f"{folder} exists, and nothing is overwritten; remove it, or name another one by "
            "output=FOLDER"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent)).resolve()
    try:
        yield partial
        partial.chmod(0o755)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def describe_source(source: SourceDataset) -> str:
    """Return a line with the counts of a source."""
    names = ", ".join(file.name for file in source.files[:3])
    more = f" and {len(source.files) - 3} more" if len(source.files) > 3 else ""
    by_split = Counter(source.splits.values())
    own = "".join(f", {split} {n}" for split, n in sorted(by_split.items()) if len(by_split) > 1)
    return (
        f"read: {len(source.images)} images, {len(source.annotations)} annotations "
        f"({source.kind}: {names}{more}{own})"
    )
