"""Splits of a dataset: paths of their annotations and images, and images in both of them."""

import os
import shlex
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from tagpose.data.annotations import Annotations
from tagpose.data.issues import IssueLog, IssueType, emit_warnings

_COCO_PREFIXES: Final = ("person_keypoints_", "coco_wholebody_")  # of COCO's annotation files
_COCO_HINT: Final = (
    "`tagpose data download root=FOLDER` downloads COCO 2017 and explains how to get the "
    "annotations of COCO-WholeBody from github.com/jin-s13/COCO-WholeBody; then set "
    "data.root=FOLDER. Without COCO, run `tagpose demo`, or create the dataset of data=synthetic "
    "with `tagpose data synthesize`"
)
_CUSTOM_DATA_HINT: Final = (
    "set data.root=FOLDER to the folder of the dataset, and data.train=[FILE,FOLDER] and "
    "data.val=[FILE,FOLDER] to its annotations and images, relative to data.root"
)


class Split(NamedTuple):
    """Paths of a training or validation split, relative to the root of the dataset."""

    annotations: str
    images: str


def parse_split(name: str, value: object) -> Split:
    """Convert a configured value to a split.

    Args:
        name: name of the option, "train" or "val".
        value: pair of annotation file and image folder.

    Raises:
        ValueError: the value is not a pair of paths.
    """
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        return Split(*map(str, value))
    raise ValueError(
        f"data.{name}={value} is not [FILE,FOLDER]; give annotations and images relative to "
        "data.root, or divide one file into train and val with `tagpose data split`"
    )


def parse_splits(root: Path, train: object, val: object) -> tuple[Split, Split]:
    """Convert the configured values of both splits.

    Train is not split automatically if val is missing, because similar images, such as the frames
    of a video, must stay in one split, and the choice must not change when images are added.

    Args:
        root: folder of the dataset.
        train: pair of annotation file and image folder.
        val: likewise.

    Raises:
        ValueError: a value is not a pair of paths; if val is missing or a fraction, the message has
            the command that splits train.
    """
    train_split = parse_split("train", train)
    is_number = isinstance(val, int | float) and not isinstance(val, bool)
    if val is not None and not is_number:
        return train_split, parse_split("val", val)
    options = [f"source={root / train_split.annotations}", f"images={root / train_split.images}"]
    if is_number and 0 < float(str(val)) < 1:
        options.append(f"val_fraction={val}")
    found = "null" if val is None else str(val)
    raise ValueError(
        f"data.val={found} is not [FILE,FOLDER], but training needs a validation set; "
        f"`tagpose data split {shlex.join(options)}` splits the file into train and val "
        "(group=video or group=folder keeps similar images in one split); then run the next "
        "command that it prints"
    )


def check_splits_exist(root: Path, splits: Sequence[Split]) -> None:
    """Check that the files of splits exist.

    Raises:
        FileNotFoundError: a file or folder is missing; the message explains how to get it.
    """
    paths = [root / path for split in splits for path in split]
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        is_coco = all(Path(s.annotations).name.startswith(_COCO_PREFIXES) for s in splits)
        hint = _COCO_HINT if is_coco else _CUSTOM_DATA_HINT
        raise FileNotFoundError(f"the dataset lacks {', '.join(missing)}; {hint}")


def warn_of_shared_images(train: Annotations, val: Annotations, file: Path) -> None:
    """Warn if some image files are in both train and val.

    Args:
        train: annotations of the training set.
        val: annotations of the validation set.
        file: annotation file of the training set, for the message.
    """
    log = IssueLog(file, max_kept=1)
    log_shared_images(_image_paths(train), _image_paths(val), log)
    emit_warnings(log.warning_lines())


def log_shared_images(
    train: Sequence[str], val: Sequence[str], log: IssueLog, *, content: bool = False
) -> None:
    """Log image files that are in both train and val.

    Args:
        train: image paths of the training set.
        val: image paths of the validation set.
        log: log that receives the issue.
        content: whether copies of a file count as the same image; files of equal size are read.
    """
    train_paths = _by_path(train)
    shared = [file for path, file in _by_path(val).items() if path in train_paths]
    if content:
        train_digests = _files_by_digest(train, _sizes(val))
        copies = (
            file
            for digest, file in _files_by_digest(val, _sizes(train)).items()
            if digest in train_digests
        )
        shared += [file for file in copies if file not in shared]
    if shared:
        detail = f"has {min(shared)} in both"
        log.add(IssueType.SHARED_IMAGES, "the dataset", detail, count=len(shared))


def _image_paths(annotations: Annotations) -> list[str]:
    """Return the paths of all images."""
    return [f"{annotations.folder}/{name}" for name in annotations.files.tolist()]


def _by_path(files: Iterable[str]) -> dict[str, str]:
    """Return files by their paths with links to folders resolved."""
    split = {file: file.rpartition("/") for file in files}
    folders = {parent: os.path.realpath(parent) for parent, _, _ in split.values()}
    return {f"{folders[parent]}/{name}": file for file, (parent, _, name) in split.items()}


def _sizes(files: Iterable[str]) -> set[int]:
    """Return the sizes of files in bytes."""
    return {Path(file).stat().st_size for file in files}


def _files_by_digest(files: Iterable[str], sizes: set[int]) -> dict[bytes, str]:
    """Return the files of given sizes by the digest of their content."""
    candidates = (file for file in files if Path(file).stat().st_size in sizes)
    return {sha256(Path(file).read_bytes()).digest(): file for file in candidates}
