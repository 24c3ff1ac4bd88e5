"""Checks of the image files of a data set: existence, size and, optionally, all pixels."""

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
    """Log images that are missing, truncated, or of another size than stated.

    Args:
        images: images of the annotation file by id.
        folder: folder of the image files.
        log: log that receives the issues.
        read_pixels: whether images are decoded, which is required to find truncated files but takes
            minutes for a hundred thousand images; otherwise only headers are read.

    Returns:
        Paths of the files that exist.
    """
    names = locate_images(folder, [image.file_name for image in images.values()], [*images], log)
    existing = [(i, name) for i, name in zip(images, names, strict=True) if name is not None]
    check = partial(_pixel_issue if read_pixels else _header_issue, folder)
    rows = [images[image_id] for image_id, _ in existing]
    # decoding releases the GIL
    with ThreadPoolExecutor() as threads:
        details = threads.map(check, [name for _, name in existing], rows)
        progress = tqdm(details, desc="check image files", total=len(existing), unit="file")
        for (image_id, _), detail in zip(existing, progress, strict=True):
            if detail:
                log.add(IssueType.IMAGE_FILE, f"image {image_id}", detail, image_id)
    return [f"{folder}/{name}" for _, name in existing]


def _pixel_issue(folder: Path, name: str, row: ImageRow) -> str:
    """Decode an image and return its issue, or ""."""
    if issue := _header_issue(folder, name, row):
        return issue
    try:
        read_annotated_image(folder / name)
    except ValueError as error:
        return f"has the file {error}"
    return ""


def _header_issue(folder: Path, name: str, row: ImageRow) -> str:
    """Read the header of an image and return its issue, or ""."""
    try:
        with Image.open(folder / name) as image:
            sizes = image.size, upright_size(image)
    except IMAGE_ERRORS as error:
        return f"has the file {name!r}, which cannot be read as an image ({error})"
    if (row.width, row.height) in sizes or not row.width:
        return ""
    (width, height), _ = sizes
    return f"has the file {name!r} of {width} x {height} pixels, not {row.width} x {row.height}"
