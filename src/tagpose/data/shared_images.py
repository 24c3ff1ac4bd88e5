"""A warning about images that training and validation share."""

from pathlib import Path

from tagpose.data.annotations import Annotations
from tagpose.data.issue_log import IssueLog, warn_all
from tagpose.data.issues import IssueType


def warn_of_shared_images(train: Annotations, val: Annotations, file: Path) -> None:
    """Warn if some image files are in both halves of a data set.

    Args:
        train: images that training learns from.
        val: images that it is judged on.
        file: annotations of training, for the message.
    """
    shared = sorted(_files(train) & _files(val))
    if shared:
        log = IssueLog(file, keep=1)
        what = f"has {shared[0]} in both"
        log.add(IssueType.SHARED_IMAGES, "the data set", what, count=len(shared))
        warn_all(log.lines())


def _files(annotations: Annotations) -> set[str]:
    """Return the paths of all images, links to folders resolved."""
    split = [str(name).rpartition("/") for name in annotations.files.tolist()]
    folders = {parent: (annotations.folder / parent).resolve() for parent, _, _ in split}
    texts = {parent: str(folder) for parent, folder in folders.items()}
    return {f"{texts[parent]}/{last}" for parent, _, last in split}
