"""Pictures for checking a dataset: training samples, and the names of annotated keypoints."""

from typing import Final

import cv2
import numpy as np

from tagpose.codec.encoder import HeatmapEncoder
from tagpose.geometry import resize_keypoints
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Sample
from tagpose.visualization.colors import Color, part_color
from tagpose.visualization.heatmaps import draw_heatmaps
from tagpose.visualization.image_grid import make_image_row
from tagpose.visualization.labels import Box, PersonLabel, draw_labels
from tagpose.visualization.poses import draw_ground_truth_poses
from tagpose.visualization.skeleton_style import make_skeleton_style

_BRIGHTNESS: Final = 0.25  # of the image where the loss is masked
_MASK_COLOR: Final[Color] = (150, 0, 110)  # added, because dimming is invisible in dark images

# Pictures with the names of keypoints.
_MAX_HEIGHT: Final = 640  # pixels
_MAX_WIDTH: Final = 1000
_MARGIN: Final = 0.25  # of the longer side of the person's box
_MIN_MARGIN: Final = 12  # image pixels
_MAX_NAMES: Final = 40  # more are not legible in one picture


def draw_sample(sample: Sample, skeleton: Skeleton, title: str) -> np.ndarray:
    """Draw a row of four pictures: image, keypoints, loss mask and target heatmaps.

    The third also shows the boxes of unlabeled parts, which `HeatmapEncoder` can ignore.

    Args:
        sample: a single sample, not a batch, after augmentation.
        skeleton: skeleton with K keypoints.
        title: title of the first picture.

    Returns:
        Picture [H, W, 3] uint8 RGB.
    """
    image = sample.image.permute(1, 2, 0).numpy()
    targets = HeatmapEncoder()(sample.keypoints[None], sample.mask[None])
    return make_image_row(
        (
            image,
            draw_ground_truth_poses(image, sample.keypoints.numpy(), skeleton),
            draw_boxes(draw_mask(image, sample.mask.numpy()), sample.unlabeled.numpy(), skeleton),
            draw_heatmaps(image, targets.heatmaps[0].numpy(), skeleton),
        ),
        (title, "keypoints", "tinted: masked; boxes: unlabeled parts", "heatmaps by part"),
    )


def draw_boxes(image: np.ndarray, boxes: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Draw the outlines of boxes in the colors of their parts.

    Args:
        image: image [H, W, 3] uint8 RGB, not modified.
        boxes: left, top, right, bottom [P, F, 4] in image pixels of the F parts of each person;
            empty boxes are not drawn.
        skeleton: skeleton with F disjoint parts.

    Returns:
        Picture [H, W, 3] uint8 RGB, a new array.
    """
    picture = image.copy()
    for part, part_boxes in zip(skeleton.disjoint_parts, boxes.swapaxes(0, 1), strict=True):
        for left, top, right, bottom in np.rint(part_boxes).astype(int).tolist():
            if right > left:
                cv2.rectangle(picture, (left, top), (right, bottom), part_color(skeleton, part), 1)
    return picture


def draw_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Dim and tint the image where the mask is 0.

    Args:
        image: image [H, W, 3] uint8 RGB, not modified.
        mask: loss mask [h, w] uint8 of 0 and 1 in heatmap pixels, which covers the image.

    Returns:
        Picture [H, W, 3] uint8 RGB, a new array.
    """
    resized = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)[..., None]
    tinted = image * np.float32(_BRIGHTNESS) + np.array(_MASK_COLOR)
    return np.where(resized > 0, image, np.rint(tinted).clip(0, 255)).astype(np.uint8)


def draw_keypoint_names(
    image: np.ndarray, keypoints: np.ndarray, person: int, skeleton: Skeleton, title: str
) -> np.ndarray:
    """Draw an image with its people next to a crop of one person with keypoint names.

    Args:
        image: image [H, W, 3] uint8 RGB, not modified.
        keypoints: ground-truth keypoints [P, K, 3] in image pixels, v > 0 where labeled.
        person: index of the person in the crop.
        skeleton: skeleton with K keypoints.
        title: title of the first picture.

    Returns:
        Picture [H, W, 3] uint8 RGB.
    """
    left, top, right, bottom = _person_crop_box(keypoints[person], image)
    crop = image[top:bottom, left:right]
    pictures = []
    for picture, people in ((image, keypoints), (crop, keypoints - np.array([left, top, 0]))):
        zoom = min(_MAX_HEIGHT / picture.shape[0], _MAX_WIDTH / picture.shape[1])
        people = resize_keypoints(people.astype(float), zoom)
        size = [max(1, round(length * zoom)) for length in picture.shape[1::-1]]
        resized = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        pictures.append(draw_ground_truth_poses(resized, people, skeleton))
    names = skeleton.keypoints if skeleton.size <= _MAX_NAMES else ()
    _write_keypoint_names(pictures[-1], people[person], names, skeleton)
    return make_image_row(pictures, (title, "keypoint names"))


def _person_crop_box(person: np.ndarray, image: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of a person's box with a margin, clipped to the image."""
    points = person[person[:, 2] > 0, :2]
    height, width = image.shape[:2]
    if not len(points):
        return 0, 0, width, height
    low, high = points.min(axis=0), points.max(axis=0)
    margin = max(_MIN_MARGIN, _MARGIN * float((high - low).max()))
    (left, top), (right, bottom) = low - margin, high + margin
    left, right = np.clip((left, right), (0, 1), (width - 1, width)).astype(int)
    top, bottom = np.clip((top, bottom), (0, 1), (height - 1, height)).astype(int)
    return int(left), int(top), max(int(right), int(left) + 1), max(int(bottom), int(top) + 1)


def _write_keypoint_names(
    picture: np.ndarray, person: np.ndarray, names: tuple[str, ...], skeleton: Skeleton
) -> None:
    """Write the names of a person's labeled keypoints into the picture."""
    colors = [tuple(color) for color in make_skeleton_style(skeleton).colors.tolist()]
    points = zip(person.tolist(), names, colors, strict=False)
    labels = [
        PersonLabel(Box(x, y, x, y), name, color) for (x, y, v), name, color in points if v > 0
    ]
    draw_labels(picture, labels)
