"""Check the image files of a data set: their headers, or all of their pixels."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from tagpose.data.coco_schema import ImageRow
from tagpose.data.image_lookup import locate_images
from tagpose.data.images import IMAGE_ERRORS, read_annotated_image, upright_size
from tagpose.data.issue_log import IssueLog
from tagpose.data.issue_types import IssueType


def log_file_issues(
    images: dict[int, ImageRow], folder: Path, log: IssueLog, *, read_pixels: bool = False
) -> list[str]:
    """Log images that are missing, cut off, or of another size than stated.

    Args:
        images: of a file, by id.
        folder: of the image files.
        log: takes the issues.
        read_pixels: whether whole images are read, which alone finds files that are cut off; that takes
            minutes for a hundred thousand.

    Returns:
        Paths of the files that are there.
    """
    names = locate_images(folder, [image.file_name for image in images.values()], [*images], log)
    found = [(i, name) for i, name in zip(images, names, strict=True) if name is not None]
    check = partial(_pixel_issue if read_pixels else _header_issue, folder)
    rows = [images[image_id] for image_id, _ in found]
    # unpacking pictures leaves the interpreter to other threads
    with ThreadPoolExecutor() as threads:
        issues = threads.map(check, [name for _, name in found], rows)
        checked = tqdm(issues, desc="check image files", total=len(found), unit="file")
        for (image_id, _), what in zip(found, checked, strict=True):
            if what:
                log.add(IssueType.IMAGE_FILE, f"image {image_id}", what, image_id)
    return [f"{folder}/{name}" for _, name in found]


def _pixel_issue(folder: Path, name: str, row: ImageRow) -> str:
    """Return what is wrong with an image, once it was read whole; "" for nothing."""
    if header := _header_issue(folder, name, row):
        return header
    try:
        read_annotated_image(folder / name)
    except ValueError as error:
        return f"has the file {error}"
    return ""


def _header_issue(folder: Path, name: str, row: ImageRow) -> str:
    """Return what is wrong with an image by its header; "" for nothing."""
    try:
        with Image.open(folder / name) as image:
            sizes = image.size, upright_size(image)
    except IMAGE_ERRORS as error:
        return f"has the file {name!r}, which cannot be read as a picture ({error})"
    if (row.width, row.height) in sizes or not row.width:
        return ""
    (width, height), _ = sizes
    return f"has the file {name!r} of {width} x {height} pixels, not {row.width} x {row.height}"
