"""This file shows the whole images of a data set to a test."""

from collections.abc import Sequence

from torch.utils.data import Dataset

from tagpose.data.annotations import Annotations
from tagpose.data.dataset import read_record
from tagpose.data.views import Views, show
from tagpose.geometry import input_sizes


class ViewSet(Dataset[Views]):
    """The whole images of a data set.

    Args:
        annotations: to show.
        side: of the input's shorter side at scale 1, in input pixels.
        scales: of the test; 1 is among them.
    """

    def __init__(self, annotations: Annotations, side: int, scales: Sequence[float]) -> None:
        self.annotations, self.side, self.scales = annotations, side, scales

    def __getitem__(self, index: int) -> Views:
        record = self.annotations.record(index)
        return show(read_record(record), self.side, self.scales, record.image_id)

    def __len__(self) -> int:
        return len(self.annotations)

    def size(self, index: int) -> tuple[int, int]:
        """Width, height at the first scale; images that share them share all."""
        width, height = self.annotations.sizes[index].tolist()
        return input_sizes(width, height, self.side, self.scales)[0]
