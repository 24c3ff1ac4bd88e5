"""Target generator: heatmaps and tag positions of labeled keypoints, on the network's device."""

from dataclasses import dataclass
from functools import cache, partial
from typing import Final, NamedTuple

import torch
from torch import Tensor

from tagpose.codec.spatial_tags import compute_box
from tagpose.structures import DEFAULT_INPUT_SIZE, MAX_VISIBILITY, STRIDE, Targets

DEFAULT_SIGMA: Final = 2.0  # heatmap pixels; HigherHRNet (Cheng 2020) for maps at any stride
# Extent of a person whose Gaussians have the full sigma, as a fraction of the input size.
_REFERENCE_EXTENT: Final = 0.5
_LARGE_PART: Final = 32.0  # input pixels; parts of this extent and larger ones have weight 1


class Gaussians(NamedTuple):
    """N Gaussians, each in the heatmap of one keypoint and image."""

    map_index: Tensor  # [N] int64: index of the heatmap
    x: Tensor  # [N] int64: column of the heatmap pixel
    y: Tensor  # [N] int64: row of the heatmap pixel
    offset: Tensor | None  # [N, 2] x, y from the center of that pixel in heatmap pixels; None for 0
    sigma: Tensor | None  # [N] heatmap pixels; None if all are equal
    amplitude: Tensor  # [N]: value at the center, 0 for Gaussians that are not drawn


@dataclass(frozen=True)
class HeatmapEncoder:
    """Generator of the targets of a batch.

    By default, as in MMPose, a Gaussian is drawn at the heatmap pixel of each labeled keypoint
    inside the map, and everything else is background.

    Attributes:
        part_index: [K] part of each keypoint, from the skeleton; for `ignore_unlabeled` and
            `small_part_weight`.
        subpixel: whether Gaussians are centered at the exact positions of keypoints. The center of
            a heatmap pixel is then the center of its input pixels, so that a decoder with the same
            option recovers the position. (Unbiased coordinates as in Huang 2020, Zhang 2020.)
        tag_index: [K] tag map of each keypoint; if empty, every keypoint has its own.
        input_size: network input size in input pixels; for `min_sigma`.
        stride: input pixels per heatmap pixel: STRIDE or a divisor of it.
        oks_sigmas: [K] sigmas of the keypoints for OKS, from the skeleton; for `weight_by_sigma`.
        sigma: sigma of the Gaussians in heatmap pixels.
        min_sigma: minimum sigma for small people, whose keypoints are close together; sigma grows
            with the size of a person up to `sigma`. None uses the same sigma for everyone.
        ignore_unlabeled: whether the loss ignores regions that may contain unlabeled parts.
        weight_by_visibility: whether the foreground weight of a keypoint is proportional to its v;
            see `compute_keypoint_weights`.
        small_part_weight: maximum foreground weight of small parts, relative to large ones.
        weight_by_sigma: whether the weight of a heatmap in the loss is proportional to the OKS
            sigma of its keypoint, which is small where keypoints are close together, as in the
            face. Keypoint Communities (Zauss 2021) derives similar weights from the centrality of
            keypoints in a standing pose.

    Raises:
        ValueError: if `small_part_weight` is below 1, or a sigma is out of range.
    """

    part_index: tuple[int, ...] = ()
    subpixel: bool = False
    tag_index: tuple[int, ...] = ()
    input_size: int = DEFAULT_INPUT_SIZE
    stride: int = STRIDE
    oks_sigmas: tuple[float, ...] = ()
    sigma: float = DEFAULT_SIGMA
    min_sigma: float | None = None
    ignore_unlabeled: bool = False
    weight_by_visibility: bool = False
    small_part_weight: float = 1.0
    weight_by_sigma: bool = False

    def __post_init__(self) -> None:
        if self.small_part_weight < 1:
            raise ValueError(f"small_part_weight must be 1 or more, got {self.small_part_weight}")
        if self.sigma <= 0:
            raise ValueError(f"sigma must be above 0, got {self.sigma}")
        if self.min_sigma is not None and not 0 < self.min_sigma <= self.sigma:
            raise ValueError(
                f"min_sigma must be above 0 and at most sigma={self.sigma}, got {self.min_sigma}"
            )

    @property
    def has_keypoint_weights(self) -> bool:
        """Whether the foreground weights of keypoints differ."""
        return self.weight_by_visibility or self.small_part_weight != 1

    def __call__(self, keypoints: Tensor, mask: Tensor, unlabeled: Tensor | None = None) -> Targets:
        """Generate the targets of a batch.

        Args:
            keypoints: ground-truth keypoints [B, P, K, 3]: x, y in input pixels, v > 0 if labeled;
                rows of absent people are 0.
            mask: [B, h, w] in pixels of STRIDE input pixels, 1 where the heatmap loss counts.
            unlabeled: boxes of unlabeled parts [B, P, F, 4], see `Sample`; None for no boxes.
        """
        factor = STRIDE // self.stride
        mask = mask.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
        height, width = mask.shape[-2:]
        pixels, offset = self._to_pixels(keypoints[..., :2])
        x, y = pixels.unbind(-1)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        visible = inside & (keypoints[..., 2] > 0)
        gaussians = self._make_gaussians(keypoints[..., :2], pixels, offset, visible)
        images, _, channels = visible.shape
        draw = partial(
            draw_gaussians, maps=images * channels, map_size=(height, width), sigma=self.sigma
        )
        heatmaps = draw(gaussians).view(images, channels, height, width)
        foreground = heatmaps
        if self.has_keypoint_weights:
            weighted = self._weight_gaussians(gaussians, keypoints, visible)
            foreground = draw(weighted).view(images, channels, height, width)
        return Targets(
            heatmaps=heatmaps,
            foreground=foreground,
            mask=self._make_loss_mask(heatmaps, mask, unlabeled),
            channel_weights=self._channel_weights(heatmaps),
            tag_pixels=torch.where(visible, (self._tag_maps(pixels) * height + y) * width + x, 0),
            visible=visible,
        )

    def _channel_weights(self, heatmaps: Tensor) -> Tensor:
        """Return the weights [K] of the heatmaps in the loss."""
        channels = heatmaps.shape[1]
        sigmas = self.oks_sigmas if self.weight_by_sigma else (1.0,) * channels
        mean = sum(sigmas) / channels
        return _on_device(tuple(sigma / mean for sigma in sigmas), heatmaps.device)

    def _tag_maps(self, pixels: Tensor) -> Tensor:
        """Return the tag map [K] int64 of each keypoint, on the device of the targets."""
        return _on_device(self.tag_index or tuple(range(pixels.shape[2])), pixels.device)

    def _to_pixels(self, xy: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the heatmap pixels [B, P, K, 2] int64 and the offsets from their centers."""
        if not self.subpixel:
            # truncate, so that a keypoint up to one heatmap pixel left of the map counts as inside
            return (xy / self.stride).trunc().long(), None
        positions = to_heatmap_pixels(xy, self.stride)
        pixels = positions.add(0.5).floor()
        return pixels.long(), positions - pixels

    def _make_gaussians(
        self, xy: Tensor, pixels: Tensor, offset: Tensor | None, visible: Tensor
    ) -> Gaussians:
        """Return the Gaussians of visible keypoints."""
        images, _, channels = visible.shape
        drawn = _select_drawn(visible)
        map_index = torch.arange(images * channels, device=visible.device).view(images, 1, channels)
        x, y = torch.where(visible[..., None], pixels, 0).flatten(0, 2)[drawn].unbind(-1)
        sigma = self._compute_sigmas(xy, visible)
        return Gaussians(
            map_index=map_index.expand(visible.shape).flatten()[drawn],
            x=x,
            y=y,
            offset=None if offset is None else offset.flatten(0, 2)[drawn],
            sigma=None if sigma is None else sigma.expand(visible.shape).flatten()[drawn],
            amplitude=visible.flatten()[drawn].float(),
        )

    def _weight_gaussians(
        self, gaussians: Gaussians, keypoints: Tensor, visible: Tensor
    ) -> Gaussians:
        """Multiply the amplitudes of Gaussians by the weights of their keypoints."""
        weights = compute_keypoint_weights(
            keypoints,
            visible,
            self.part_index,
            weight_by_visibility=self.weight_by_visibility,
            small_part_weight=self.small_part_weight,
        )
        drawn = weights.flatten()[_select_drawn(visible)]
        return gaussians._replace(amplitude=gaussians.amplitude * drawn)

    def _compute_sigmas(self, xy: Tensor, visible: Tensor) -> Tensor | None:
        """Return sigmas [B, P, 1], proportional to the extent of each person, or None if equal."""
        if self.min_sigma is None:
            return None
        extent = _compute_extent(xy, visible)[..., None]
        sigmas = self.sigma * extent / (_REFERENCE_EXTENT * self.input_size)
        return sigmas.clamp(self.min_sigma, self.sigma)

    def _make_loss_mask(self, heatmaps: Tensor, mask: Tensor, unlabeled: Tensor | None) -> Tensor:
        """Return where the heatmap loss counts, [B, 1 or K, h, w]."""
        counted = mask.float()[:, None]
        if not self.ignore_unlabeled or unlabeled is None:
            return counted
        ignored = _rasterize_boxes(to_heatmap_pixels(unlabeled, self.stride), *mask.shape[-2:])
        ignored = ignored[:, list(self.part_index)]
        return counted * ~(ignored & (heatmaps == 0))  # another person's labels are certain


def compute_keypoint_weights(
    keypoints: Tensor,
    visible: Tensor,
    part_index: tuple[int, ...],
    *,
    weight_by_visibility: bool,
    small_part_weight: float,
) -> Tensor:
    """Compute the weight of each keypoint in the foreground of the heatmap loss.

    Args:
        keypoints: ground-truth keypoints [B, P, K, 3]: x, y in input pixels, v.
        visible: [B, P, K] bool, whether keypoints are labeled and inside the map.
        part_index: [K] part of each keypoint.
        weight_by_visibility: whether weights are v / 2, at most 1, instead of 1.
        small_part_weight: maximum factor for small parts; it is inversely proportional to the
            longer side of the box around a part, and 1 for large parts.

    Returns:
        Weights [B, P, K].
    """
    weights = visible.float()
    if weight_by_visibility:
        weights = (keypoints[..., 2] / MAX_VISIBILITY).clamp(0, 1)
    if small_part_weight == 1:
        return weights
    parts = torch.tensor(part_index, device=visible.device)
    for part in range(1 + max(part_index)):
        in_part = visible & (parts == part)  # [B, P, K]
        extent = _compute_extent(keypoints[..., :2], in_part).clamp(min=1)  # [B, P]
        factor = (_LARGE_PART / extent).clamp(1, small_part_weight)[..., None]
        weights = torch.where(in_part, weights * factor, weights)
    return weights


def to_heatmap_pixels(xy: Tensor, stride: int) -> Tensor:
    """Convert input pixels to heatmap pixels; pixel i has its center at i and covers `stride`."""
    return (xy + 0.5) / stride - 0.5


def draw_gaussians(
    gaussians: Gaussians, maps: int, map_size: tuple[int, int], sigma: float
) -> Tensor:
    """Draw Gaussians into heatmaps; where they overlap, the maximum counts.

    Args:
        gaussians: the Gaussians to draw.
        maps: number of heatmaps, M.
        map_size: height, width of the heatmaps.
        sigma: the largest sigma in heatmap pixels, which determines the size of the windows.

    Returns:
        Heatmaps [M, h, w].
    """
    radius = int(3 * sigma) + 1  # 7 for a sigma of 2, as in MMPose
    # a margin of the window's radius around each heatmap, cut off at the end
    rows, columns = map_size[0] + 2 * radius, map_size[1] + 2 * radius
    corner = (gaussians.map_index * rows + gaussians.y) * columns + gaussians.x
    span = torch.arange(2 * radius + 1, device=corner.device)
    pixels = corner[:, None, None] + span[:, None] * columns + span  # [N, s, s]
    values = _compute_windows(gaussians, radius, sigma) * gaussians.amplitude[:, None, None]
    heatmaps = torch.zeros(maps * rows * columns, device=corner.device)
    heatmaps.scatter_reduce_(0, pixels.flatten(), values.flatten(), "amax")
    heatmaps = heatmaps.view(maps, rows, columns)
    return heatmaps[:, radius : rows - radius, radius : columns - radius]


def _compute_windows(gaussians: Gaussians, radius: int, sigma: float) -> Tensor:
    """Return windows [N, s, s] around the heatmap pixels, or one [1, s, s] if all are equal."""
    span = torch.arange(-radius, radius + 1, device=gaussians.x.device, dtype=torch.float32)
    if gaussians.offset is None and gaussians.sigma is None:
        return (-(span.square()[:, None] + span.square()) / (2 * sigma**2)).exp()[None]
    offset = torch.zeros_like(span[:1]) if gaussians.offset is None else gaussians.offset
    spread = span.new_tensor(sigma) if gaussians.sigma is None else gaussians.sigma[:, None, None]
    exponents = (span - offset[..., None]).square() / (2 * spread.square())  # [N, 2, s] x, y
    across, down = (-exponents).exp().expand(len(gaussians.x), 2, -1).unbind(1)
    return down[:, :, None] * across[:, None]


def _compute_extent(xy: Tensor, selected: Tensor) -> Tensor:
    """Return the longer side [B, P] of the box around selected keypoints; -inf without any."""
    first, last = compute_box(xy, selected)
    return (last - first).amax(-1)


@cache
def _on_device(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Copy numbers to a device, only once, because each copy to a GPU blocks the CPU."""
    with torch.inference_mode(False):  # the first call may come from a validation
        return torch.tensor(values, device=device)


def _select_drawn(visible: Tensor) -> Tensor | slice:
    """Return an index of the keypoints [B * P * K] to draw: the visible ones, or all on a GPU.

    Selecting on a GPU would make the CPU wait for the number of visible keypoints.
    """
    return slice(None) if visible.is_cuda else visible.flatten().nonzero()[:, 0]


def _rasterize_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """Return which heatmap pixels have their center in a box of any person.

    Args:
        boxes: left, top, right, bottom [B, P, F, 4] in heatmap pixels.
        height: height of the heatmaps, h.
        width: width of the heatmaps, w.

    Returns:
        [B, F, h, w] bool.
    """
    low, high = boxes.chunk(2, -1)  # [B, P, F, 2] x, y
    spans = []
    for axis, length in ((1, height), (0, width)):
        pixel = torch.arange(length, device=boxes.device)
        above_low = low[..., axis, None] < pixel
        spans.append((above_low & (pixel < high[..., axis, None])).float())  # [B, P, F, length]
    rows, columns = spans
    return torch.einsum("bpfh,bpfw->bfhw", rows, columns) > 0
