"""This file has what HigherHRNet (Cheng 2020) adds to an HRNet: heatmaps at half its stride."""

from typing import Final

import torch
from timm.models.resnet import BasicBlock
from torch import Tensor, nn

HIGHER_PREFIX: Final = "higher"  # before the name of an HRNet: the same with this head
HEAD_INIT_STD: Final = 0.001  # of the initial weights of outputs, as published
_BLOCKS: Final = 4  # as published, as are the kernel and the stride


class HigherHRNetHead(nn.Module):
    """Heatmaps at half the stride, of the features and what was first said of them.

    Features and first outputs together are enlarged by a transposed convolution, refined by
    residual blocks, and read by a 1 x 1 convolution (Cheng 2020, "Deconvolution Module").

    Args:
        channels: C of the features.
        keypoints: K.
        tag_maps: G; the first outputs are K heatmaps, then G tag maps.
    """

    def __init__(self, channels: int, keypoints: int, tag_maps: int) -> None:
        super().__init__()
        in_channels = channels + keypoints + tag_maps
        deconv = nn.ConvTranspose2d(in_channels, channels, 4, stride=2, padding=1, bias=False)
        first = nn.Sequential(deconv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
        blocks = [nn.Sequential(BasicBlock(channels, channels)) for _ in range(_BLOCKS)]
        # nested as the published tensors are named
        self.layers = nn.Sequential(first, *blocks)
        self.head = nn.Conv2d(channels, keypoints, kernel_size=1)
        for outputs in (deconv, self.head):
            nn.init.normal_(outputs.weight, std=HEAD_INIT_STD)
        nn.init.zeros_(self.head.get_parameter("bias"))

    def forward(self, features: Tensor, outputs: Tensor) -> Tensor:
        """Return heatmaps [B, K, 2 h, 2 w] float32.

        Args:
            features: [B, C, h, w] of the backbone.
            outputs: [B, K + G, h, w], the heatmaps and tags of the first head.
        """
        finer = self.layers(torch.cat([features, outputs], dim=1)).float()
        with torch.autocast(finer.device.type, enabled=False):
            return self.head(finer).contiguous()
