"""Writer of train and val as COCO files with a link to the images."""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tagpose.data.annotation_tools.source_dataset import TEST, TRAIN, VAL, SourceDataset, id_key

IMAGES_LINK: Final = "images"  # name of the link to the image folder


class WrittenSplit(NamedTuple):
    """A split that was written to a file."""

    split: str
    file: Path
    images: int
    annotations: int


def write_split(
    source: SourceDataset, splits: Mapping[str, str], folder: Path
) -> list[WrittenSplit]:
    """Write one COCO file per split and a link to the images.

    Images are not copied: a link takes no disk space, file names stay those of the export, and the
    folder has the layout of any COCO data set.

    Args:
        source: data set, whose rows are written unchanged.
        splits: split by `id_key` of the image id.
        folder: existing folder to write to.

    Raises:
        OSError: the file system does not support links.
    """
    written = []
    for split in (name for name in (TRAIN, VAL, TEST) if name in splits.values()):
        images = [row for row in source.images if splits[id_key(row["id"])] == split]
        annotations = [
            row for row in source.annotations if splits[id_key(row["image_id"])] == split
        ]
        content = {
            "info": source.info,
            "categories": source.categories,
            "images": images,
            "annotations": annotations,
        }
        file = folder / f"{split}.json"
        file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        written.append(WrittenSplit(split, file, len(images), len(annotations)))
    is_inside = source.folder.is_relative_to(folder)
    target = source.folder.relative_to(folder) if is_inside else source.folder.resolve()
    (folder / IMAGES_LINK).symlink_to(target, target_is_directory=True)
    return written


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that is renamed when it is complete and removed after an error.

    Args:
        folder: final path; missing parents are created.

    Raises:
        FileExistsError: the path exists.
    """
    if folder.exists() or folder.is_symlink():
        raise FileExistsError(
            f"{folder} already exists and is not overwritten; remove it, or choose another "
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
    """Return one line with the counts of a source."""
    names = ", ".join(file.name for file in source.files[:3])
    more = f" and {len(source.files) - 3} more" if len(source.files) > 3 else ""
    counts = Counter(source.splits.values())
    splits = "".join(f", {split} {n}" for split, n in sorted(counts.items()) if len(counts) > 1)
    return (
        f"read: {len(source.images)} images, {len(source.annotations)} annotations "
        f"({source.kind}: {names}{more}{splits})"
    )
