"""HRNet backbone (Sun 2019), reduced to the branch of stride 4 that the heads use.

The tensors have the names and the order of timm's `hrnet_*` models, so that weights of timm and of
MMPose load. timm itself takes longer to import than all other modules of a prediction together.
"""

import math
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from torch import Tensor, nn

from tagpose.models.pretrained_weights import load_imagenet_weights, load_weights_file

_STEM_CHANNELS: Final = 64
_BRANCHES: Final = 4


class HRNetConfig(NamedTuple):
    """Widths and depths of an HRNet; branch n has 2**n times the channels of the first."""

    channels: int  # of the finest branch
    modules: tuple[int, int, int]  # number of modules of stages 2 to 4
    blocks: int  # number of residual blocks per branch and module
    first_channels: int  # of the bottleneck blocks of stage 1
    first_blocks: int  # number of bottleneck blocks of stage 1


HRNETS: Final = {
    "hrnet_w18_small": HRNetConfig(16, (1, 1, 1), 2, 32, 1),
    "hrnet_w18_small_v2": HRNetConfig(18, (1, 3, 2), 2, 64, 2),
} | {
    f"hrnet_w{width}": HRNetConfig(int(width.split("_")[0]), (1, 4, 3), 4, 64, 4)
    for width in ("18", "18_ssld", "30", "32", "40", "44", "48", "48_ssld", "64")
}


def init_normal(weight: Tensor, std: float) -> None:
    """Draw initial weights from a normal distribution, unless they are on the meta device.

    There, torch 2.15 would import its compiler for that, which takes longer than importing torch.
    """
    if not weight.is_meta:
        nn.init.normal_(weight, std=std)


class BasicBlock(nn.Module):
    """Residual block of two 3 x 3 convolutions (He 2016).

    Args:
        channels: number of input and output channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels, channels, 3)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = _conv(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.act2 = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        outputs = self.act1(self.bn1(self.conv1(features)))
        outputs = self.bn2(self.conv2(outputs))
        outputs += features
        return self.act2(outputs)


class Bottleneck(nn.Module):
    """Residual block of a 1 x 1, a 3 x 3 and a 1 x 1 convolution with 4 times as many outputs.

    Args:
        in_channels: number of input channels.
        channels: number of channels of the 3 x 3 convolution.
    """

    expansion: Final = 4

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        downsample = (
            nn.Sequential(_conv(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))
            if in_channels != out_channels
            else None
        )
        self.conv1 = _conv(in_channels, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = _conv(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.act2 = nn.ReLU(inplace=True)
        self.conv3 = _conv(channels, out_channels, 1)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.act3 = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, features: Tensor) -> Tensor:
        outputs = self.act1(self.bn1(self.conv1(features)))
        outputs = self.act2(self.bn2(self.conv2(outputs)))
        outputs = self.bn3(self.conv3(outputs))
        outputs += self.downsample(features) if self.downsample else features
        return self.act3(outputs)


class Fusion(nn.ModuleList):
    """Layers that resample each branch to the same resolution, and the sum of their outputs."""

    def forward(self, features: list[Tensor]) -> Tensor:
        first, *others = (layer(x) for layer, x in zip(self, features, strict=True))
        return sum(others, first)


class HRModule(nn.Module):
    """Residual blocks on each branch, followed by fusions of all branches.

    Args:
        channels: number of channels of each branch.
        blocks: number of residual blocks per branch.
    """

    def __init__(self, channels: list[int], blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(c) for _ in range(blocks))) for c in channels
        )
        self.fuse_layers = nn.ModuleList(
            Fusion(_resample(channels, source, target) for source in range(len(channels)))
            for target in range(len(channels))
        )
        self.fuse_act = nn.ReLU()

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return the features of the branches that `fuse_layers` compute, finest first."""
        features = [branch(x) for branch, x in zip(self.branches, features, strict=True)]
        return [self.fuse_act(fusion(features)) for fusion in self.fuse_layers]


class HRNet(nn.Module):
    """HRNet that returns the features of its finest branch, before the classification head.

    The layers of the last fusion that only affect coarser branches are removed, so that every
    parameter receives a gradient.

    Args:
        config: widths and depths.
    """

    def __init__(self, config: HRNetConfig) -> None:
        super().__init__()
        self.channels = config.channels
        self.conv1 = _conv(3, _STEM_CHANNELS, 3, stride=2)
        self.bn1 = nn.BatchNorm2d(_STEM_CHANNELS)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = _conv(_STEM_CHANNELS, _STEM_CHANNELS, 3, stride=2)
        self.bn2 = nn.BatchNorm2d(_STEM_CHANNELS)
        self.act2 = nn.ReLU(inplace=True)
        expanded = Bottleneck.expansion * config.first_channels
        self.layer1 = nn.Sequential(
            *(
                Bottleneck(expanded if n else _STEM_CHANNELS, config.first_channels)
                for n in range(config.first_blocks)
            )
        )
        channels = [config.channels * 2**n for n in range(_BRANCHES)]
        self.transition1 = _transition([expanded], channels[:2])
        self.stage2 = _stage(channels[:2], config.modules[0], config.blocks)
        self.transition2 = _transition(channels[:2], channels[:3])
        self.stage3 = _stage(channels[:3], config.modules[1], config.blocks)
        self.transition3 = _transition(channels[:3], channels)
        self.stage4 = _stage(channels, config.modules[2], config.blocks)
        _init_weights(self)
        last: Any = self.stage4[-1]
        last.fuse_layers = last.fuse_layers[:1]

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features [B, C, H / 4, W / 4] for normalized images [B, 3, H, W]."""
        stem = self.act1(self.bn1(self.conv1(inputs)))
        stem = self.act2(self.bn2(self.conv2(stem)))
        features = self.stage2(_add_branch(self.transition1, [self.layer1(stem)]))
        features = self.stage3(_add_branch(self.transition2, features))
        return self.stage4(_add_branch(self.transition3, features))[0]


def build_hrnet(name: str, *, pretrained: bool | str = False) -> HRNet:
    """Build an HRNet that returns the features of its finest branch.

    Args:
        name: key of `HRNETS`, such as "hrnet_w32". A suffix selects weights of timm, as in
            "hrnet_w18_small.gluon_in1k".
        pretrained: True to load the ImageNet weights of timm, from its cache or the network; or the
            path or https:// address of a file of HRNet weights, such as those used by MMPose.

    Raises:
        FileNotFoundError: if the weights file is missing.
        ValueError: if the name is unknown, or the weights belong to another network.
        RuntimeError: if the weights cannot be downloaded or do not fit.
    """
    architecture = name.split(".")[0]
    if architecture not in HRNETS:
        raise ValueError(f"unknown HRNet {name!r}; use one of {', '.join(HRNETS)}")
    network = HRNet(HRNETS[architecture])
    if pretrained is True:
        load_imagenet_weights(network, name)
    elif isinstance(pretrained, str):
        load_weights_file(network, name, pretrained)
    return network


def _conv(in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1) -> nn.Conv2d:
    """Return a convolution without bias, as a normalization follows."""
    padding = kernel_size // 2
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)


def _conv_bn_relu(
    in_channels: int, out_channels: int, *, stride: int = 1, inplace: bool = True
) -> nn.Sequential:
    """Return a normalized 3 x 3 convolution with an activation."""
    conv = _conv(in_channels, out_channels, 3, stride=stride)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace))


def _stage(channels: list[int], modules: int, blocks: int) -> nn.Sequential:
    """Return a stage, which maps a list of features to another one."""
    return nn.Sequential(*(HRModule(channels, blocks) for _ in range(modules)))


def _resample(channels: list[int], source: int, target: int) -> nn.Module:
    """Return the layers from one branch to the resolution and channels of another one."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            _conv(channels[source], channels[target], 1),
            nn.BatchNorm2d(channels[target]),
            nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"),
        )
    halvings = [
        _conv_bn_relu(channels[source], channels[source], stride=2, inplace=False)
        for _ in range(target - source - 1)
    ]
    last = _conv_bn_relu(channels[source], channels[target], stride=2)[:2]  # activated after fusion
    return nn.Sequential(*halvings, last)


def _transition(before: list[int], after: list[int]) -> nn.ModuleList:
    """Return the layers that change channels of branches where needed, and add a coarser branch."""
    kept = [
        nn.Identity() if old == new else _conv_bn_relu(old, new)
        for old, new in zip(before, after, strict=False)
    ]
    return nn.ModuleList([*kept, nn.Sequential(_conv_bn_relu(before[-1], after[-1], stride=2))])


def _add_branch(transition: Iterable[nn.Module], features: list[Tensor]) -> list[Tensor]:
    """Apply a transition; the new branch is computed from the coarsest one."""
    return [layers(x) for layers, x in zip(transition, [*features, features[-1]], strict=True)]


def _init_weights(network: nn.Module) -> None:
    """Initialize all convolutions for ReLU activations (He 2015), as timm and MMPose do."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            outputs = module.out_channels * math.prod(module.kernel_size)
            init_normal(module.weight, math.sqrt(2) / math.sqrt(outputs))
