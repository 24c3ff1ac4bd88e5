"""This file draws what the page shows: people, heatmaps and tags, all over the same picture."""

from collections.abc import Sequence
from html import escape
from typing import Final

import cv2
import numpy as np
from torch.nn.functional import adaptive_max_pool2d

from tagpose.app.cached_image import CachedImage
from tagpose.evaluation.score_tables import part_titles
from tagpose.geometry import compose_affines
from tagpose.inference.results import PoseResult
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import STRIDE, Poses
from tagpose.visualization.colors import identity_color
from tagpose.visualization.heatmaps import draw_heatmaps, draw_tags
from tagpose.visualization.poses import draw_poses

# MERGED: """This file puts into words what was found: a describe_result, and a table with a row for each person."""
_MIN_SCORE: Final = float(np.finfo(np.float32).tiny)  # a missing keypoint scores 0


def render_poses(cached: CachedImage, found: PoseResult) -> np.ndarray:
    """The picture with those found in it, framed and numbered as in the table.

    Args:
        cached: the image.
        found: in image pixels.

    Returns:
        [rows, columns, 3] uint8 RGB, as large as `cached.display_image`.
    """
    zoom = np.array(cached.display_image.shape[1::-1]) / cached.image_size
    # the centre of a pixel is its index, here and there
    xy = (found.keypoints[..., :2] + 0.5) * zoom - 0.5
    keypoints = np.concatenate([xy, found.keypoints[..., 2:]], -1)
    numbers = [str(number) for number in range(1, len(found.scores) + 1)]
    return draw_poses(
        cached.display_image,
        Poses(keypoints, found.scores),
        found.skeleton,
        min_score=_MIN_SCORE,
        labels=numbers,
        boxes=True,
    )


def render_heatmaps(cached: CachedImage, skeleton: Skeleton, part: str) -> np.ndarray:
    """The picture with the heatmaps of one of `skeleton.parts`, in the colors of the parts."""
    at = skeleton.parts[part]
    heatmaps = _over_image(cached.keypoint_maps.heatmaps[0, at].numpy(), cached, cv2.INTER_LINEAR)
    every = np.zeros((skeleton.size, *heatmaps.shape[1:]), np.float32)
    every[at] = heatmaps
    return draw_heatmaps(cached.display_image, every, skeleton)


def render_tags(
    cached: CachedImage, skeleton: Skeleton, tag_index: Sequence[int], part: str, min_score: float
) -> np.ndarray:
    """Draw the tags of one of `skeleton.parts` on the image, where its heatmaps reach a score.

    Args:
        cached: the image.
        skeleton: of the network.
        tag_index: [K] the tag map of each keypoint.
        part: name of the part.
        min_score: heatmap value.
    """
    at, tags = skeleton.parts[part], cached.keypoint_maps.tags
    # those merged over scales are finer than the tags
    heatmaps = adaptive_max_pool2d(cached.keypoint_maps.heatmaps[0, at], tags.shape[-2:])
    upright = tags[0, 0, list(tag_index[at])]  # not those of the flipped image
    # between two people there is no tag, so none is interpolated
    maps = (_over_image(one.numpy(), cached, cv2.INTER_NEAREST) for one in (upright, heatmaps))
    return draw_tags(cached.display_image, *maps, min_score=min_score)


def _over_image(maps: np.ndarray, cached: CachedImage, interpolation: int) -> np.ndarray:
    """Maps [M, rows, columns] that cover the image, of maps [M, h, w] that cover the input.

    The input is longer than the image, as its sides are multiples.
    """
    pixel_size = STRIDE * cached.keypoint_maps.tags.shape[-1] / maps.shape[-1]  # input pixels
    affine, size = cached.affine[0].numpy(), np.array(cached.image_size)
    columns, rows = np.ceil(size * affine[0, 0] / pixel_size).astype(int).tolist()
    grid = _resize_affine(size / (columns, rows))
    # a keypoint in heatmap pixel i is read back as i + 1/2
    to_heatmap = np.array([[1 / pixel_size, 0, -0.5], [0, 1 / pixel_size, -0.5]])
    warp = compose_affines(to_heatmap, compose_affines(affine, grid))
    flags = interpolation | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REPLICATE
    return np.stack(
        [cv2.warpAffine(one, warp, (columns, rows), flags=flags, borderMode=border) for one in maps]
    )


def _resize_affine(factors: np.ndarray) -> np.ndarray:
    """The affine [2, 3] between two pictures of the same, whose pixels' centres are integers."""
    return np.c_[np.diag(factors), factors / 2 - 0.5]


def describe_result(found: PoseResult, people: int, min_person_score: float, seconds: float) -> str:
    """How many are shown, how many are not and why.

    Args:
        found: those above the person score.
        people: how many the decoder found.
        min_person_score: that they were held against.
        seconds: that the network took.
    """
    shown, took = len(found.scores), f"The network took {seconds:.2f} s."
    if not people:
        return f"Nobody is found in this picture; a lower peak score finds fainter people. {took}"
    if not shown:
        there = "1 person is" if people == 1 else f"{people} people are"
        return f"Nobody reaches a person score of {min_person_score:g}; {there} below it. {took}"
    if shown < people:
        return f"{shown} of {people} people, as others score below {min_person_score:g}. {took}"
    return f"{'1 person' if shown == 1 else f'{shown} people'}. {took}"


def people_html_table(found: PoseResult) -> str:
    """HTML of a table: each person's number and scores, as a whole and by part."""
    if not len(found.scores):
        return ""
    parts = part_titles(found.part_confidences)
    head = ["person", "score", "keypoints", *parts.values()]
    count = (found.keypoints[..., 2] > 0).sum(1).tolist()
    rows = []
    for p, score in enumerate(found.scores.tolist()):
        dot = f'<i style="background: rgb{identity_color(p)}"></i>'
        scores = [score, *(found.part_confidences[part][p] for part in parts)]
        first, *others = [f"{one:.2f}" for one in scores]
        cells = "".join(f"<td>{one}</td>" for one in (first, count[p], *others))
        rows.append(f'<tr><th scope="row">{dot}{p + 1}</th>{cells}</tr>')
    titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    body = "".join(rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
