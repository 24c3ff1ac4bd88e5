"""Second head of HigherHRNet (Cheng 2020), which predicts heatmaps at half the stride of HRNet."""

from typing import Final

import torch
from torch import Tensor, nn

from tagpose.models.hrnet import BasicBlock, init_normal

HIGHER_PREFIX: Final = "higher"  # prefix of the names of HRNets with this head
HEAD_INIT_STD: Final = 0.001  # of the initial weights of output layers, as in MMPose
_BLOCKS: Final = 4  # number of blocks, kernel size and stride as in MMPose


class HigherHRNetHead(nn.Module):
    """Head that predicts heatmaps at half the stride, from features and first outputs.

    Features and the outputs of the first head are upsampled by a transposed convolution, refined by
    residual blocks, and mapped to heatmaps by a 1 x 1 convolution (Cheng 2020, "Deconvolution
    Module").

    Args:
        channels: number of feature channels, C.
        keypoints: number of keypoints, K.
        tag_maps: number of tag maps, G.
    """

    def __init__(self, channels: int, keypoints: int, tag_maps: int) -> None:
        super().__init__()
        in_channels = channels + keypoints + tag_maps
        deconv = nn.ConvTranspose2d(in_channels, channels, 4, stride=2, padding=1, bias=False)
        first = nn.Sequential(deconv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
        blocks = [nn.Sequential(BasicBlock(channels)) for _ in range(_BLOCKS)]
        # nested like the tensor names of MMPose
        self.layers = nn.Sequential(first, *blocks)
        self.head = nn.Conv2d(channels, keypoints, kernel_size=1)
        for outputs in (deconv, self.head):
            init_normal(outputs.weight, HEAD_INIT_STD)
        nn.init.zeros_(self.head.get_parameter("bias"))

    def forward(self, features: Tensor, outputs: Tensor) -> Tensor:
        """Return heatmaps [B, K, 2 h, 2 w] float32.

        Args:
            features: features [B, C, h, w] of the backbone.
            outputs: heatmaps and tags [B, K + G, h, w] of the first head.
        """
        upsampled = self.layers(torch.cat([features, outputs], dim=1)).float()
        with torch.autocast(upsampled.device.type, enabled=False):
            return self.head(upsampled).contiguous()
