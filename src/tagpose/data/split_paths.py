"""Splits of a dataset: names, and paths of annotations and images."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

# names of splits
TRAIN: Final = "train"
VAL: Final = "val"
TEST: Final = "test"
VAL_NAMES: Final = (VAL, "valid", "validation")  # in files and folders
_SPLITS: Final = {TRAIN: TRAIN, **dict.fromkeys(VAL_NAMES, VAL), TEST: TEST}

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


class SplitPaths(NamedTuple):
    """Located annotation file and image folder of a split."""

    annotations: Path
    images: Path


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


def split_of(path: Path) -> str | None:
    """Return the split in the innermost part of a path that contains one."""
    for part in reversed(path.parts):
        for word in re.findall(r"[a-z]+", part.lower()):
            if word in _SPLITS:
                return _SPLITS[word]
    return None
