"""Rows and grids of pictures with titles, such as predictions next to the ground truth."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tagpose.data.annotations import ImageRecord, load_record_image
from tagpose.data.image_files import write_image
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses
from tagpose.visualization.poses import draw_ground_truth_poses

_BACKGROUND: Final = 24  # gray level
_TEXT: Final = 235  # gray level
_TITLE_HEIGHT: Final = 30  # pixels
_FONT_SIZE: Final = 17  # pixels, reduced for titles that do not fit
_MIN_FONT_SIZE: Final = 8
_GAP: Final = 6  # pixels between pictures

DrawFunction: TypeAlias = Callable[[np.ndarray, Poses], np.ndarray]
_COMPARISON_TITLES: Final = ("ground truth", "prediction")
_COLUMNS: Final = 6  # panels in a row of people.png


def make_image_row(pictures: Sequence[np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """Place pictures side by side, each below its title and centered vertically.

    Args:
        pictures: pictures [H, W, 3] uint8 RGB of any size, at least one.
        titles: title of each picture in Latin letters (the font has few others), or "".

    Returns:
        Picture [H, W, 3] uint8 RGB, a new array.

    Raises:
        ValueError: the numbers of titles and pictures differ, or there are no pictures.
    """
    height = max(picture.shape[0] for picture in pictures)
    columns = [
        np.concatenate([_title_bar(title, picture.shape[1]), _pad_to_height(picture, height)])
        for picture, title in zip(pictures, titles, strict=True)
    ]
    gap = _blank(height + _TITLE_HEIGHT, _GAP)
    return np.concatenate([piece for column in columns for piece in (gap, column)][1:], axis=1)


def make_image_grid(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Stack rows of pictures, as from `make_image_row`, left-aligned.

    Args:
        rows: pictures [H, W, 3] uint8 RGB of any size, at least one.

    Returns:
        Picture [H, W, 3] uint8 RGB, a new array.

    Raises:
        ValueError: there are no rows.
    """
    width = max(row.shape[1] for row in rows)
    padded = [np.concatenate([row, _blank(row.shape[0], width - row.shape[1])], 1) for row in rows]
    gap = _blank(_GAP, width)
    return np.concatenate([piece for row in padded for piece in (gap, row)][1:])


def _blank(height: int, width: int) -> np.ndarray:
    """Return an empty picture."""
    return np.full((height, width, 3), _BACKGROUND, np.uint8)


def _pad_to_height(picture: np.ndarray, height: int) -> np.ndarray:
    """Pad the picture at top and bottom to the height."""
    top = (height - picture.shape[0]) // 2
    padded = _blank(height, picture.shape[1])
    padded[top : top + picture.shape[0]] = picture
    return padded


def _title_bar(title: str, width: int) -> np.ndarray:
    """Return a bar with the title in the largest font size that fits and is readable."""
    bar = Image.fromarray(_blank(_TITLE_HEIGHT, width))
    length = ImageFont.load_default(_FONT_SIZE).getlength(title) + 2 * _GAP
    font_size = max(_MIN_FONT_SIZE, min(_FONT_SIZE, int(_FONT_SIZE * width / length)))
    ImageDraw.Draw(bar).text(
        (_GAP, _TITLE_HEIGHT / 2),
        title,
        fill=(_TEXT, _TEXT, _TEXT),
        font=ImageFont.load_default(font_size),
        anchor="lm",
    )
    return np.asarray(bar)


def write_comparison_grids(
    folder: Path,
    records: Sequence[ImageRecord],
    predictions: Mapping[int, Poses],
    skeleton: Skeleton,
    draw: DrawFunction,
) -> None:
    """Write a picture of each record to `pictures/`, and all of them to `people.png`.

    Args:
        folder: output folder.
        records: annotated images, at least one.
        predictions: predicted poses by image id, in image pixels.
        skeleton: skeleton of the keypoints.
        draw: function that draws poses on an image [H, W, 3].
    """
    panels: list[np.ndarray] = []
    for record in records:
        image = load_record_image(record)
        pair = [
            draw_ground_truth_poses(image, record.keypoints, skeleton),
            draw(image, predictions[record.image_id]),
        ]
        panels += pair
        picture = make_image_row(pair, _COMPARISON_TITLES)
        write_image(folder / "pictures" / f"{record.file.stem}.png", picture)
    parts = [panels[i : i + _COLUMNS] for i in range(0, len(panels), _COLUMNS)]
    rows = [make_image_row(part, _COMPARISON_TITLES * (len(part) // 2)) for part in parts]
    write_image(folder / "people.png", make_image_grid(rows))
