"""Training and validation splits of a data set: paths of annotations and images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

_COCO_PREFIXES: Final = ("person_keypoints_", "coco_wholebody_")  # of COCO's annotation files
_COCO_HINT: Final = (
    "`tagpose data download root=FOLDER` downloads COCO 2017 and explains how to get the "
    "annotations of COCO-WholeBody from github.com/jin-s13/COCO-WholeBody; then set "
    "data.root=FOLDER. Without COCO, run `tagpose demo`, or create the data set of data=synthetic "
    "with `tagpose data synthesize`"
)
_CUSTOM_DATA_HINT: Final = (
    "set data.root=FOLDER to the folder of the data set, and data.train=[FILE,FOLDER] and "
    "data.val=[FILE,FOLDER] to its annotations and images, relative to data.root"
)


class Split(NamedTuple):
    """Paths of a training or validation split, relative to the root of the data set."""

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
        raise FileNotFoundError(f"the data set lacks {', '.join(missing)}; {hint}")
