"""This file draws what the network should predict, on the device where it predicts."""

from dataclasses import dataclass
from functools import cache, partial
from typing import Final, NamedTuple

import torch
from torch import Tensor

from tagpose.codec.importance import importance
from tagpose.structures import SIDE, STRIDE, Targets

SIGMA: Final = 2.0  # cells; HigherHRNet (Cheng 2020) for maps at any stride
# Of the input's side: the extent of a person whose Gaussians are as wide as that.
_USUAL: Final = 0.5


class _Gaussians(NamedTuple):
    """N of them, each in a map of its own keypoint and image."""

    which: Tensor  # [N] int64, of which map
    x: Tensor  # [N] int64, the column of its cell
    y: Tensor  # [N] int64, the row
    beside: Tensor | None  # [N, 2] x, y in cells from the middle of the cell; None for 0
    sigma: Tensor | None  # [N] cells; None for the same everywhere
    there: Tensor  # [N] how high it is: 1, or 0 for one that is not to be seen


@dataclass(frozen=True)
class Encoder:
    """How targets are drawn; calling it draws those of a batch.

    The default is the published way: a Gaussian at the cell of each labelled keypoint that is
    inside the map, and whatever has no label is background.

    Attributes:
        limb_of: [K] the number of each keypoint's limb, from the skeleton; for `spare_unlabelled`.
        sub_cell: whether a Gaussian's middle is where the keypoint is, between the cells. A cell's
            middle is then the middle of its input pixels, so that what is drawn is what a decoder
            with the same option reads. (Unbiased coordinates as in Huang 2020, Zhang 2020.)
        tag_index: [K] the tag map of each keypoint; if empty, each keypoint has its own.
        side: of the input, in input pixels; for `least_sigma`.
        stride: of the maps, input pixels per cell: STRIDE, or a part of it.
        sigma: of the Gaussians, in cells.
        least_sigma: of small people, whose keypoints stand close; it grows with a person up to
            `sigma`. None for one width for all.
        spare_unlabelled: whether the loss leaves out where a limb without any label may be.
        by_visibility: whether the emphasis on a keypoint is as its v says; see `importance`.
        small_limbs: how much emphasis small limbs get beside large ones, at most.
    """

    limb_of: tuple[int, ...] = ()
    sub_cell: bool = False
    tag_index: tuple[int, ...] = ()
    side: int = SIDE
    stride: int = STRIDE
    sigma: float = SIGMA
    least_sigma: float | None = None
    spare_unlabelled: bool = False
    by_visibility: bool = False
    small_limbs: float = 1.0

    def __post_init__(self) -> None:
        if self.small_limbs < 1 or self.sigma <= 0:
            raise ValueError(
                f"small_limbs is {self.small_limbs} and sigma {self.sigma}; they must be at least "
                "1 and above 0"
            )
        if self.least_sigma is not None and not 0 < self.least_sigma <= self.sigma:
            raise ValueError(
                f"least_sigma is {self.least_sigma}; it must be above 0 and at most sigma, "
                f"{self.sigma}"
            )

    @property
    def emphasises(self) -> bool:
        """Whether some keypoints are emphasised more than others."""
        return self.by_visibility or self.small_limbs != 1

    def __call__(
        self, keypoints: Tensor, mask: Tensor, unlabelled: Tensor | None = None
    ) -> Targets:
        """Targets of a batch.

        Args:
            keypoints: [B, P, K, 3] x, y in input pixels, v > 0 where labelled; absent people are 0.
            mask: [B, h, w] 1 where the heatmap loss counts, in cells of STRIDE input pixels.
            unlabelled: [B, P, F, 4] as a Sample has them; None for nothing.
        """
        finer = STRIDE // self.stride
        mask = mask.repeat_interleave(finer, -2).repeat_interleave(finer, -1)
        height, width = mask.shape[-2:]
        cells, beside = self._cells(keypoints[..., :2])
        x, y = cells.unbind(-1)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        visible = inside & (keypoints[..., 2] > 0)
        gaussians = self._gaussians(keypoints[..., :2], cells, beside, visible)
        images, _, kinds = visible.shape
        draw = partial(_draw, maps=images * kinds, size=(height, width), sigma=self.sigma)
        heatmaps = draw(gaussians).view(images, kinds, height, width)
        emphasis = heatmaps
        if self.emphasises:
            weighted = self._weighted(gaussians, keypoints, visible)
            emphasis = draw(weighted).view(images, kinds, height, width)
        return Targets(
            heatmaps=heatmaps,
            emphasis=emphasis,
            mask=self._counting(heatmaps, mask, unlabelled),
            tag_pixels=torch.where(visible, (self._tag_maps(cells) * height + y) * width + x, 0),
            visible=visible,
        )

    def _tag_maps(self, cells: Tensor) -> Tensor:
        """Return the tag map [K] int64 of each keypoint, on the device of the targets."""
        return _on_device(self.tag_index or tuple(range(cells.shape[2])), cells.device)

    def _cells(self, at: Tensor) -> tuple[Tensor, Tensor | None]:
        """Cells [B, P, K, 2] int64 of input pixels, and where beside their middles, in cells."""
        if not self.sub_cell:
            # the integer part, so that a keypoint up to one cell left of the map still counts
            return (at / self.stride).trunc().long(), None
        place = to_cells(at, self.stride)
        cells = place.add(0.5).floor()
        return cells.long(), place - cells

    def _gaussians(
        self, at: Tensor, cells: Tensor, beside: Tensor | None, visible: Tensor
    ) -> _Gaussians:
        """What is drawn."""
        images, _, kinds = visible.shape
        some = _drawn(visible)
        which = torch.arange(images * kinds, device=visible.device).view(images, 1, kinds)
        x, y = torch.where(visible[..., None], cells, 0).flatten(0, 2)[some].unbind(-1)
        sigma = self._sigmas(at, visible)
        return _Gaussians(
            which=which.expand(visible.shape).flatten()[some],
            x=x,
            y=y,
            beside=None if beside is None else beside.flatten(0, 2)[some],
            sigma=None if sigma is None else sigma.expand(visible.shape).flatten()[some],
            there=visible.flatten()[some].float(),
        )

    def _weighted(self, gaussians: _Gaussians, keypoints: Tensor, visible: Tensor) -> _Gaussians:
        """The Gaussians as high as their keypoints matter."""
        weights = importance(
            keypoints,
            visible,
            self.limb_of,
            by_visibility=self.by_visibility,
            small_limbs=self.small_limbs,
        )
        return gaussians._replace(there=gaussians.there * weights.flatten()[_drawn(visible)])

    def _sigmas(self, at: Tensor, visible: Tensor) -> Tensor | None:
        """Widths [B, P, 1] by the larger side of the box around a person's keypoints."""
        if self.least_sigma is None:
            return None
        last = torch.where(visible[..., None], at, -torch.inf).amax(2)  # [B, P, 2] input pixels
        first = torch.where(visible[..., None], at, torch.inf).amin(2)
        extent = (last - first).amax(-1, keepdim=True)
        return (self.sigma * extent / (_USUAL * self.side)).clamp(self.least_sigma, self.sigma)

    def _counting(self, heatmaps: Tensor, mask: Tensor, unlabelled: Tensor | None) -> Tensor:
        """Where the loss counts, [B, 1 or K, h, w]."""
        counts = mask.float()[:, None]
        if not self.spare_unlabelled or unlabelled is None:
            return counts
        spared = _inside(to_cells(unlabelled, self.stride), *mask.shape[-2:])
        spared = spared[:, list(self.limb_of)]
        return counts * ~(spared & (heatmaps == 0))  # where another has a label, there is no doubt


@cache
def _on_device(index: tuple[int, ...], device: torch.device) -> Tensor:
    """Return an index on a device; it is copied once, because the CPU waits for a GPU's copy."""
    return torch.tensor(index, device=device)


def _drawn(visible: Tensor) -> Tensor | slice:
    """Which keypoints of [B * P * K] are drawn: on a CPU those that are visible, on a GPU all.

    There, to count those that are visible would make it wait for the CPU.
    """
    return slice(None) if visible.is_cuda else visible.flatten().nonzero()[:, 0]


def to_cells(at: Tensor, stride: int) -> Tensor:
    """Input pixels as cells of which number i has its middle at i, and covers `stride` pixels."""
    return (at + 0.5) / stride - 0.5


def _inside(boxes: Tensor, height: int, width: int) -> Tensor:
    """Which cells [B, F, h, w] have their middle in one of the boxes [B, P, F, 4], in cells.

    A box is all rows and columns between its ends, so that one product counts for all people.
    """
    low, high = boxes.chunk(2, -1)  # [B, P, F, 2] x, y
    within = []
    for axis, length in ((1, height), (0, width)):
        cell = torch.arange(length, device=boxes.device)
        after = low[..., axis, None] < cell
        within.append((after & (cell < high[..., axis, None])).float())  # [B, P, F, length]
    rows, columns = within
    return torch.einsum("bpfh,bpfw->bfhw", rows, columns) > 0


def _draw(gaussians: _Gaussians, maps: int, size: tuple[int, int], sigma: float) -> Tensor:
    """So many maps [M, h, w]; where Gaussians overlap, the maximum.

    Each is written around its cell of a map with a margin of the window's radius, and the margin
    is cut off.
    """
    radius = int(3 * sigma) + 1  # 7 for sigma 2, as published
    rows, columns = size[0] + 2 * radius, size[1] + 2 * radius
    corner = (gaussians.which * rows + gaussians.y) * columns + gaussians.x
    span = torch.arange(2 * radius + 1, device=corner.device)
    places = corner[:, None, None] + span[:, None] * columns + span  # [N, s, s]
    values = _windows(gaussians, radius, sigma) * gaussians.there[:, None, None]
    drawn = torch.zeros(maps * rows * columns, device=corner.device)
    drawn.scatter_reduce_(0, places.flatten(), values.flatten(), "amax")
    drawn = drawn.view(maps, rows, columns)
    return drawn[:, radius : rows - radius, radius : columns - radius]


def _windows(gaussians: _Gaussians, radius: int, sigma: float) -> Tensor:
    """Values [N, s, s] around the cells, 1 in the middle of a Gaussian; one for all where alike."""
    offset = torch.arange(-radius, radius + 1, device=gaussians.x.device, dtype=torch.float32)
    if gaussians.beside is None and gaussians.sigma is None:
        return (-(offset.square()[:, None] + offset.square()) / (2 * sigma**2)).exp()[None]
    beside = torch.zeros_like(offset[:1]) if gaussians.beside is None else gaussians.beside
    spread = offset.new_tensor(sigma) if gaussians.sigma is None else gaussians.sigma[:, None, None]
    apart = (offset - beside[..., None]).square() / (2 * spread.square())  # [N, 2, s] x, y
    across, down = (-apart).exp().expand(len(gaussians.x), 2, -1).unbind(1)
    return down[:, :, None] * across[:, None]
