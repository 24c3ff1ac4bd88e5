"""Network inference at test time: device, precision, flip test and scales."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from tagpose.codec.tta import merge_flip
from tagpose.models.network import PoseNetwork
from tagpose.structures import KeypointMaps


@dataclass(frozen=True)
class NetworkRunner:
    """Run a network in inference mode.

    Args:
        network: network in evaluation mode, on the device.
        device: device to run on.
        precision: "float32", or "bf16" for the backbone.
        flip_test: whether to merge the outputs for images and flipped images.
    """

    network: PoseNetwork
    device: torch.device
    precision: str
    flip_test: bool

    def forward_scales(self, images: Sequence[Tensor]) -> list[KeypointMaps]:
        """Return the outputs at each scale for batches [B, 3, H, W] uint8 RGB, one per scale."""
        with self._inference():
            return [self._forward(self._to_device(batch)) for batch in images]

    def forward_with_flip(self, images: Tensor) -> tuple[KeypointMaps, KeypointMaps]:
        """Return the outputs for images [B, 3, H, W] on the device, and for the flipped images."""
        pair = images, images.flip(-1)
        with self._inference():
            if not images.is_cuda:
                maps, flipped = map(self.network, pair)
                return maps, flipped
            # one pass, because few images do not fill a GPU; on a CPU it is slower than two
            both = self.network(torch.cat(pair))
            halves = zip(*(tensor.chunk(2) for tensor in both), strict=True)
            maps, flipped = (KeypointMaps(*half) for half in halves)
            return maps, flipped

    def _forward(self, images: Tensor) -> KeypointMaps:
        """Return the outputs, merged over flips if the flip test is enabled."""
        if not self.flip_test:
            return self.network(images)
        return merge_flip(*self.forward_with_flip(images), self.network.channel_flip_indices)

    def _to_device(self, images: Tensor) -> Tensor:
        """Copy images to the device, asynchronously to a GPU."""
        if self.device.type == "cuda":
            images = images.pin_memory()
        return images.to(self.device, non_blocking=True)

    @contextmanager
    def _inference(self) -> Iterator[None]:
        """Enter inference mode and the precision."""
        bf16 = self.precision == "bf16"
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            yield
