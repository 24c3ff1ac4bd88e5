"""This file draws what the network should predict, on the device where it predicts."""

from dataclasses import dataclass
from functools import cache, partial
from typing import Final, NamedTuple

import torch
from torch import Tensor

from tagpose.codec.keypoint_weights import compute_keypoint_weights
from tagpose.structures import DEFAULT_INPUT_SIZE, STRIDE, Targets

DEFAULT_SIGMA: Final = 2.0  # heatmap pixels; HigherHRNet (Cheng 2020) for maps at any stride
# Of the input's side: the extent of a person whose Gaussians are as wide as that.
_REFERENCE_EXTENT: Final = 0.5


class _Gaussians(NamedTuple):
    """N of them, each in a map of its own keypoint and image."""

    map_index: Tensor  # [N] int64, of which map
    x: Tensor  # [N] int64, the column of its heatmap pixel
    y: Tensor  # [N] int64, the row
    offset_in_pixel: (
        Tensor | None
    )  # [N, 2] x, y in heatmap pixels from the middle of the heatmap pixel; None for 0
    sigma: Tensor | None  # [N] heatmap pixels; None for the same everywhere
    amplitude: Tensor  # [N] how high it is: 1, or 0 for one that is not to be seen


@dataclass(frozen=True)
class HeatmapEncoder:
    """How targets are drawn; calling it draws those of a batch.

    The default is the published way: a Gaussian at the heatmap pixel of each labelled keypoint that is
    inside the map, and whatever has no label is background.

    Attributes:
        part_index: [K] the number of each keypoint's part, from the skeleton; for `ignore_unlabelled`.
        subpixel: whether a Gaussian's middle is where the keypoint is, at sub-pixel positions. A heatmap pixel's
            middle is then the middle of its input pixels, so that what is drawn is what a decoder
            with the same option reads. (Unbiased coordinates as in Huang 2020, Zhang 2020.)
        tag_index: [K] the tag map of each keypoint; if empty, each keypoint has its own.
        input_size: of the input, in input pixels; for `min_sigma`.
        stride: of the maps, input pixels per heatmap pixel: STRIDE, or a part of it.
        sigma: of the Gaussians, in heatmap pixels.
        min_sigma: of small people, whose keypoints stand close; it grows with a person up to
            `sigma`. None for one width for all.
        ignore_unlabelled: whether the loss leaves out where a part without any label may be.
        weight_by_visibility: whether the foreground weight of a keypoint is as its v says; see `compute_keypoint_weights`.
        small_part_weight: how much foreground weight small parts get beside large ones, at most.
    """

    part_index: tuple[int, ...] = ()
    subpixel: bool = False
    tag_index: tuple[int, ...] = ()
    input_size: int = DEFAULT_INPUT_SIZE
    stride: int = STRIDE
    sigma: float = DEFAULT_SIGMA
    min_sigma: float | None = None
    ignore_unlabelled: bool = False
    weight_by_visibility: bool = False
    small_part_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.small_part_weight < 1 or self.sigma <= 0:
            raise ValueError(
                f"small_part_weight is {self.small_part_weight} and sigma {self.sigma}; they must be at least "
                "1 and above 0"
            )
        if self.min_sigma is not None and not 0 < self.min_sigma <= self.sigma:
            raise ValueError(
                f"min_sigma is {self.min_sigma}; it must be above 0 and at most sigma, {self.sigma}"
            )

    @property
    def has_keypoint_weights(self) -> bool:
        """Whether some keypoints are weighted more than others."""
        return self.weight_by_visibility or self.small_part_weight != 1

    def __call__(
        self, keypoints: Tensor, mask: Tensor, unlabelled: Tensor | None = None
    ) -> Targets:
        """Targets of a batch.

        Args:
            keypoints: [B, P, K, 3] x, y in input pixels, v > 0 where labelled; absent people are 0.
            mask: [B, h, w] 1 where the heatmap loss counts, in heatmap pixels of STRIDE input pixels.
            unlabelled: [B, P, F, 4] as a Sample has them; None for nothing.
        """
        finer = STRIDE // self.stride
        mask = mask.repeat_interleave(finer, -2).repeat_interleave(finer, -1)
        height, width = mask.shape[-2:]
        pixels, offset_in_pixel = self._to_pixels(keypoints[..., :2])
        x, y = pixels.unbind(-1)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        visible = inside & (keypoints[..., 2] > 0)
        gaussians = self._gaussians(keypoints[..., :2], pixels, offset_in_pixel, visible)
        images, _, kinds = visible.shape
        draw = partial(_draw, maps=images * kinds, size=(height, width), sigma=self.sigma)
        heatmaps = draw(gaussians).view(images, kinds, height, width)
        foreground = heatmaps
        if self.has_keypoint_weights:
            weighted = self._weighted(gaussians, keypoints, visible)
            foreground = draw(weighted).view(images, kinds, height, width)
        return Targets(
            heatmaps=heatmaps,
            foreground=foreground,
            mask=self._counting(heatmaps, mask, unlabelled),
            tag_pixels=torch.where(visible, (self._tag_maps(pixels) * height + y) * width + x, 0),
            visible=visible,
        )

    def _tag_maps(self, pixels: Tensor) -> Tensor:
        """Return the tag map [K] int64 of each keypoint, on the device of the targets."""
        return _on_device(self.tag_index or tuple(range(pixels.shape[2])), pixels.device)

    def _to_pixels(self, at: Tensor) -> tuple[Tensor, Tensor | None]:
        """Heatmap pixels [B, P, K, 2] int64 of input pixels, and where beside their middles, in heatmap pixels."""
        if not self.subpixel:
            # the integer part, so that a keypoint up to one heatmap pixel left of the map still counts
            return (at / self.stride).trunc().long(), None
        place = to_heatmap_pixels(at, self.stride)
        pixels = place.add(0.5).floor()
        return pixels.long(), place - pixels

    def _gaussians(
        self, at: Tensor, pixels: Tensor, offset_in_pixel: Tensor | None, visible: Tensor
    ) -> _Gaussians:
        """What is drawn."""
        images, _, kinds = visible.shape
        some = _select_drawn(visible)
        map_index = torch.arange(images * kinds, device=visible.device).view(images, 1, kinds)
        x, y = torch.where(visible[..., None], pixels, 0).flatten(0, 2)[some].unbind(-1)
        sigma = self._sigmas(at, visible)
        return _Gaussians(
            map_index=map_index.expand(visible.shape).flatten()[some],
            x=x,
            y=y,
            offset_in_pixel=None
            if offset_in_pixel is None
            else offset_in_pixel.flatten(0, 2)[some],
            sigma=None if sigma is None else sigma.expand(visible.shape).flatten()[some],
            amplitude=visible.flatten()[some].float(),
        )

    def _weighted(self, gaussians: _Gaussians, keypoints: Tensor, visible: Tensor) -> _Gaussians:
        """The Gaussians as high as their keypoints matter."""
        weights = compute_keypoint_weights(
            keypoints,
            visible,
            self.part_index,
            weight_by_visibility=self.weight_by_visibility,
            small_part_weight=self.small_part_weight,
        )
        return gaussians._replace(
            amplitude=gaussians.amplitude * weights.flatten()[_select_drawn(visible)]
        )

    def _sigmas(self, at: Tensor, visible: Tensor) -> Tensor | None:
        """Widths [B, P, 1] by the larger side of the box around a person's keypoints."""
        if self.min_sigma is None:
            return None
        last = torch.where(visible[..., None], at, -torch.inf).amax(2)  # [B, P, 2] input pixels
        first = torch.where(visible[..., None], at, torch.inf).amin(2)
        extent = (last - first).amax(-1, keepdim=True)
        return (self.sigma * extent / (_REFERENCE_EXTENT * self.input_size)).clamp(
            self.min_sigma, self.sigma
        )

    def _counting(self, heatmaps: Tensor, mask: Tensor, unlabelled: Tensor | None) -> Tensor:
        """Where the loss counts, [B, 1 or K, h, w]."""
        counts = mask.float()[:, None]
        if not self.ignore_unlabelled or unlabelled is None:
            return counts
        spared = _pixels_in_boxes(to_heatmap_pixels(unlabelled, self.stride), *mask.shape[-2:])
        spared = spared[:, list(self.part_index)]
        return counts * ~(spared & (heatmaps == 0))  # where another has a label, there is no doubt


@cache
def _on_device(index: tuple[int, ...], device: torch.device) -> Tensor:
    """Return an index on a device; it is copied once, because the CPU waits for a GPU's copy."""
    return torch.tensor(index, device=device)


def _select_drawn(visible: Tensor) -> Tensor | slice:
    """Which keypoints of [B * P * K] are drawn: on a CPU those that are visible, on a GPU all.

    There, to count those that are visible would make it wait for the CPU.
    """
    return slice(None) if visible.is_cuda else visible.flatten().nonzero()[:, 0]


def to_heatmap_pixels(at: Tensor, stride: int) -> Tensor:
    """Input pixels as heatmap pixels of which number i has its middle at i, and covers `stride` pixels."""
    return (at + 0.5) / stride - 0.5


def _pixels_in_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """Which heatmap pixels [B, F, h, w] have their middle in one of the boxes [B, P, F, 4], in heatmap pixels.

    A box is all rows and columns between its ends, so that one product counts for all people.
    """
    low, high = boxes.chunk(2, -1)  # [B, P, F, 2] x, y
    within = []
    for axis, length in ((1, height), (0, width)):
        column = torch.arange(length, device=boxes.device)
        after = low[..., axis, None] < column
        within.append((after & (column < high[..., axis, None])).float())  # [B, P, F, length]
    rows, columns = within
    return torch.einsum("bpfh,bpfw->bfhw", rows, columns) > 0


def _draw(gaussians: _Gaussians, maps: int, size: tuple[int, int], sigma: float) -> Tensor:
    """So many maps [M, h, w]; where Gaussians overlap, the maximum.

    Each is written around its heatmap pixel of a map with a margin of the window's radius, and the margin
    is cut off.
    """
    radius = int(3 * sigma) + 1  # 7 for sigma 2, as published
    rows, columns = size[0] + 2 * radius, size[1] + 2 * radius
    corner = (gaussians.map_index * rows + gaussians.y) * columns + gaussians.x
    span = torch.arange(2 * radius + 1, device=corner.device)
    places = corner[:, None, None] + span[:, None] * columns + span  # [N, s, s]
    values = _windows(gaussians, radius, sigma) * gaussians.amplitude[:, None, None]
    drawn = torch.zeros(maps * rows * columns, device=corner.device)
    drawn.scatter_reduce_(0, places.flatten(), values.flatten(), "amax")
    drawn = drawn.view(maps, rows, columns)
    return drawn[:, radius : rows - radius, radius : columns - radius]


def _windows(gaussians: _Gaussians, radius: int, sigma: float) -> Tensor:
    """Values [N, s, s] around the heatmap pixels, 1 in the middle of a Gaussian; one for all where alike."""
    offset = torch.arange(-radius, radius + 1, device=gaussians.x.device, dtype=torch.float32)
    if gaussians.offset_in_pixel is None and gaussians.sigma is None:
        return (-(offset.square()[:, None] + offset.square()) / (2 * sigma**2)).exp()[None]
    offset_in_pixel = (
        torch.zeros_like(offset[:1])
        if gaussians.offset_in_pixel is None
        else gaussians.offset_in_pixel
    )
    spread = offset.new_tensor(sigma) if gaussians.sigma is None else gaussians.sigma[:, None, None]
    apart = (offset - offset_in_pixel[..., None]).square() / (2 * spread.square())  # [N, 2, s] x, y
    across, down = (-apart).exp().expand(len(gaussians.x), 2, -1).unbind(1)
    return down[:, :, None] * across[:, None]
