"""Outputs of the app: heatmaps and tags drawn on the image, messages and an HTML table."""

from collections.abc import Sequence
from html import escape

import cv2
import numpy as np
from torch.nn.functional import adaptive_max_pool2d

from tagpose.app.sessions import CachedImage
from tagpose.evaluation.score_tables import part_titles
from tagpose.geometry import compose_affines
from tagpose.inference.results import PoseResult
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import STRIDE
from tagpose.visualization.colors import identity_color
from tagpose.visualization.heatmaps import draw_heatmaps, draw_tags


def render_heatmaps(cached: CachedImage, skeleton: Skeleton, part: str) -> np.ndarray:
    """Draw the heatmaps of one of `skeleton.parts` on the image, in the colors of the parts."""
    at = skeleton.parts[part]
    part_maps = _warp_to_image(
        cached.keypoint_maps.heatmaps[0, at].numpy(), cached, cv2.INTER_LINEAR
    )
    heatmaps = np.zeros((skeleton.size, *part_maps.shape[1:]), np.float32)
    heatmaps[at] = part_maps
    return draw_heatmaps(cached.display_image, heatmaps, skeleton)


def render_tags(
    cached: CachedImage, skeleton: Skeleton, tag_index: Sequence[int], part: str, min_score: float
) -> np.ndarray:
    """Draw the tags of one of `skeleton.parts` on the image, where its heatmaps reach a score.

    Args:
        cached: image to draw on.
        skeleton: skeleton of the network.
        tag_index: index [K] of each keypoint's tag map.
        part: name of the part.
        min_score: heatmap value below which tags are hidden.
    """
    at, tags = skeleton.parts[part], cached.keypoint_maps.tags
    # Heatmaps that are merged over scales have a higher resolution than the tags.
    heatmaps = adaptive_max_pool2d(cached.keypoint_maps.heatmaps[0, at], tags.shape[-2:])
    unflipped = tags[0, 0, list(tag_index[at])]
    # Nearest neighbor, because an average of two people's tags would look like a third person.
    maps = (_warp_to_image(m.numpy(), cached, cv2.INTER_NEAREST) for m in (unflipped, heatmaps))
    return draw_tags(cached.display_image, *maps, min_score=min_score)


def _warp_to_image(maps: np.ndarray, cached: CachedImage, interpolation: int) -> np.ndarray:
    """Warp maps [M, h, w] that cover the padded input to maps that cover the image exactly."""
    pixel_size = STRIDE * cached.keypoint_maps.tags.shape[-1] / maps.shape[-1]  # input pixels
    affine, size = cached.affine[0].numpy(), np.array(cached.image_size)
    width, height = np.ceil(size * affine[0, 0] / pixel_size).astype(int).tolist()
    scale = size / (width, height)
    to_image = np.c_[np.diag(scale), scale / 2 - 0.5]
    # The decoder reads a keypoint in heatmap pixel i back as i + 1/2.
    to_heatmap = np.array([[1 / pixel_size, 0, -0.5], [0, 1 / pixel_size, -0.5]])
    warp = compose_affines(to_heatmap, compose_affines(affine, to_image))
    flags, border = interpolation | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
    return np.stack(
        [cv2.warpAffine(m, warp, (width, height), flags=flags, borderMode=border) for m in maps]
    )


def describe_result(
    result: PoseResult, num_decoded: int, min_person_score: float, seconds: float
) -> str:
    """Return a message with the number of people shown, and why others are hidden.

    Args:
        result: people who reach the person score.
        num_decoded: number of people before the person score was applied.
        min_person_score: threshold on the person score.
        seconds: duration of the forward pass.
    """
    num_shown, runtime = len(result.scores), f"The network took {seconds:.2f} s."
    if not num_decoded:
        return f"People found: 0. Lower the peak score to find weaker keypoints. {runtime}"
    if num_shown == num_decoded:
        return f"People found: {num_decoded}. {runtime}"
    threshold = f"the person score of {min_person_score:g}"
    return f"People found: {num_decoded}, of which {num_shown} reach {threshold}. {runtime}"


def format_sentence(error: Exception | str) -> str:
    """Return an error or note as a sentence for the page."""
    message = str(error).removesuffix(".")
    starts_with_name = not message.partition(" ")[0].isalpha()
    return f"{message if starts_with_name else message[:1].upper() + message[1:]}."


def people_html_table(result: PoseResult) -> str:
    """Return an HTML table of each person's number, score, keypoint count and part confidences."""
    if not len(result.scores):
        return ""
    parts = part_titles(result.part_confidences)
    headings = ["person", "score", "keypoints", *parts.values()]
    counts = (result.keypoints[..., 2] > 0).sum(1).tolist()
    rows = []
    for p, score in enumerate(result.scores.tolist()):
        dot = f'<i style="background: rgb{identity_color(p)}"></i>'
        confidences = [f"{result.part_confidences[part][p]:.2f}" for part in parts]
        cells = "".join(f"<td>{cell}</td>" for cell in (f"{score:.2f}", counts[p], *confidences))
        rows.append(f'<tr><th scope="row">{dot}{p}</th>{cells}</tr>')
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = "".join(rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
