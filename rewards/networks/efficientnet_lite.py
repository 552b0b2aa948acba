"""EfficientNet-Lite0, after the published architecture (Tan & Le 2019, Table 1; TensorFlow's `efficientnet/lite`).

Lite0 is EfficientNet-B0 without squeeze-and-excitation, and with ReLU6 instead of swish.

Shapes: N images, C channels, H x W pixels.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from rewards.networks.strict_fill import filled

PIXELS, CLASSES = 224, 1000
STEM, HEAD = 32, 1280
# The value that these weights were trained with in TensorFlow. torch's default is another one.
NORM_EPS = 1e-3


class Stage(NamedTuple):
    """A sequence of equal blocks. The first one has the stride and takes the channels of the previous stage."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's padding "SAME", which has ceil(size/stride) output pixels.

    If the number of padding zeros is odd, there is one more at the end than at the beginning.
    """

    def forward(self, x_NCHW: Tensor) -> Tensor:
        across, down = (
            _same(size, kernel, stride)
            for size, kernel, stride in zip(x_NCHW.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True)
        )
        return super().forward(F.pad(x_NCHW, (*across, *down)))


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """The number of padding zeros before and after the pixels."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _conv(before: int, after: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> SameConv:
    return SameConv(before, after, kernel, stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=NORM_EPS)


class Block(nn.Module):
    """A block of MobileNetV2: widen (1x1), filter each channel, narrow (1x1, linear).

    The input is added to the output if their shapes are equal.
    """

    def __init__(self, before: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = before * stage.expansion
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if stage.expansion > 1:
            parts |= {"expand_conv": _conv(before, wide), "bn0": _norm(wide), "act0": nn.ReLU6()}
        parts |= {
            "depthwise_conv": _conv(wide, wide, stage.kernel, stride, groups=wide),
            "bn1": _norm(wide),
            "act1": nn.ReLU6(),
            "project_conv": _conv(wide, stage.channels),
            "bn2": _norm(stage.channels),
        }
        self.body = nn.Sequential(parts)
        self.skips = stride == 1 and before == stage.channels

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y_NCHW: Tensor = self.body(x_NCHW)
        return x_NCHW + y_NCHW if self.skips else y_NCHW


class EfficientNetLite0(nn.Module):
    """Maps images (bytes - 127)/128, float32 (n, 3, 224, 224), to logits (n, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(OrderedDict(conv_stem=_conv(3, STEM, 3, 2), bn0=_norm(STEM), act=nn.ReLU6()))
        blocks, before = [], STEM
        for stage in STAGES:
            for repeat in range(stage.repeats):
                blocks.append(Block(before, stage, stage.stride if repeat == 0 else 1))
                before = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(OrderedDict(conv_head=_conv(before, HEAD), bn1=_norm(HEAD), act=nn.ReLU6()))
        self.fc = nn.Linear(HEAD, CLASSES)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.head(self.blocks(self.stem(x_NCHW))).mean((2, 3)))
        return logits


def efficientnet_lite0(state: Mapping[str, Tensor], source: object) -> EfficientNetLite0:
    """Return the network with the tensors of a file.

    Args:
        state: tensors by their names in PyTorch's EfficientNets: `_conv_stem.weight`,
            `_blocks.0._depthwise_conv.weight`, ...
        source: the file, for messages.

    Raises:
        RewardError: a tensor is missing, left over or of another shape; the message names it.
    """
    return filled(EfficientNetLite0, {_renamed(name): tensor for name, tensor in state.items()}, source)


def _renamed(name: str) -> str:
    """The name in our network: `_blocks.0._bn1.bias` -> `blocks.0.body.bn1.bias`. Unknown names are kept."""
    part, _, rest = name.partition(".")
    if part == "_blocks":
        number, _, inner = rest.partition(".")
        return f"blocks.{number}.body.{inner.removeprefix('_')}"
    place = {"_conv_stem": "stem.conv_stem", "_bn0": "stem.bn0", "_conv_head": "head.conv_head", "_bn1": "head.bn1"}
    return f"{place.get(part, part.removeprefix('_'))}.{rest}"
