"""This file lays square tiles over maps."""

from typing import Final, NamedTuple

from torch import Tensor

SIDE: Final = 2  # cells of a small tile's side; of larger ones more pixels must be looked at
GROUP: Final = 4  # small tiles of a large one's side
INSIDE: Final = GROUP**2  # small tiles of a large one


class Maps(NamedTuple):
    """The maps of M keypoints of all images, and how they lie on the input."""

    heatmaps: Tensor  # [M, h, w], or of the size of the input already
    tags: Tensor  # [L, M, h, w]
    size: tuple[int, int]  # height, width of the input in input pixels

    @property
    def ratio(self) -> int:
        """Input pixels per cell of the tags."""
        return self.size[0] // self.tags.shape[-2]

    @property
    def heat_ratio(self) -> int:
        """Input pixels per cell of the heatmaps."""
        return self.size[0] // self.heatmaps.shape[-2]

    @property
    def finer(self) -> int:
        """Cells of the heatmaps along one of the tags."""
        return self.ratio // self.heat_ratio

    @property
    def columns(self) -> int:
        """How many large tiles are side by side."""
        return -(-self.tags.shape[-1] // (SIDE * GROUP))

    def corner(self, tile: Tensor) -> tuple[Tensor, Tensor]:
        """First row and column of cells of the tags in small tiles [n]."""
        large, inside = tile // INSIDE, tile % INSIDE
        row = large // self.columns * GROUP + inside // GROUP
        column = large % self.columns * GROUP + inside % GROUP
        return row * SIDE, column * SIDE

    @property
    def are_tiled(self) -> bool:
        """Whether no tile is partly or wholly outside."""
        return all(side % (SIDE * GROUP) == 0 for side in self.tags.shape[-2:])

    def some(self, at: Tensor) -> "Maps":
        """Those at places [m]."""
        return Maps(self.heatmaps[at], self.tags[:, at], self.size)
