"""This file lays square tiles over maps.

A tile reaches from the middle of one cell to the middle of another: its pixels are mixtures of the
cells from the one to the other alone. So the first tile begins outside, as if the border repeated
itself, and the last ones end there.
"""

from typing import Final, NamedTuple

from torch import Tensor

from tagpose.codec.enlargement import Window

SIDE: Final = 2  # cells along a small tile; of larger ones more pixels must be looked at
GROUP: Final = 4  # small tiles along a large one
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
    def tiles(self) -> tuple[int, int]:
        """Rows and columns of small tiles, which fill large ones; some may be wholly outside."""
        rows, columns = (GROUP * (side // (SIDE * GROUP) + 1) for side in self.tags.shape[-2:])
        return rows, columns

    @property
    def tag_window(self) -> Window:
        """The pixels of a small tile, from its first cell of the tags."""
        return Window(self.ratio // 2, SIDE * self.ratio, self.ratio)

    @property
    def heat_window(self) -> Window:
        """The same pixels, from the first cell of the heatmaps in that one."""
        return self.tag_window._replace(ratio=self.heat_ratio)

    def corner(self, tile: Tensor) -> tuple[Tensor, Tensor]:
        """First row and column of cells of the tags in small tiles [...]; they may be outside."""
        large, inside = tile // INSIDE, tile % INSIDE
        columns = self.tiles[1] // GROUP
        row = large // columns * GROUP + inside // GROUP
        column = large % columns * GROUP + inside % GROUP
        return row * SIDE - 1, column * SIDE - 1

    def some(self, at: Tensor) -> "Maps":
        """Those at places [m]."""
        return Maps(self.heatmaps[at], self.tags[:, at], self.size)
