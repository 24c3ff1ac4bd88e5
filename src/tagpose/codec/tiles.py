"""This file lays square tiles over maps.

A tile reaches from the middle of one cell to the middle of another: its pixels are mixtures of the
cells from the one to the other alone. So the first tile begins outside, as if the border repeated
itself, and the last ones end there.
"""

from typing import Final, NamedTuple

from torch import Tensor

SIDE: Final = 2  # cells along a small tile; of larger ones more pixels must be looked at
GROUP: Final = 4  # small tiles along a large one
INSIDE: Final = GROUP**2  # small tiles of a large one

# Maps that are gone through at once: those of an image. Fewer would stay in a CPU's caches, but its
# cores meet at the end of each operation, which takes longer than that saves where they share no
# cache.
AT_ONCE: Final = {"cpu": 136}


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
        """Rows and columns of small tiles: one more than cells fill, and as many as fill large."""
        filled = (-(-side // SIDE) for side in self.tags.shape[-2:])
        rows, columns = (GROUP * (each // GROUP + 1) for each in filled)
        return rows, columns

    @property
    def first(self) -> int:
        """Where a tile's pixels begin, in input pixels after the first pixel of its first cell."""
        return self.ratio // 2

    @property
    def pixels(self) -> int:
        """Input pixels along a small tile."""
        return SIDE * self.ratio

    def corner(self, tile: Tensor) -> tuple[Tensor, Tensor]:
        """First row and column of cells of the tags in small tiles [n]; -1 is outside."""
        large, inside = tile // INSIDE, tile % INSIDE
        columns = self.tiles[1] // GROUP
        row = large // columns * GROUP + inside // GROUP
        column = large % columns * GROUP + inside % GROUP
        return row * SIDE - 1, column * SIDE - 1

    def some(self, at: Tensor) -> "Maps":
        """Those at places [m]."""
        return Maps(self.heatmaps[at], self.tags[:, at], self.size)
