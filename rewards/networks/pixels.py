"""Preprocessing on the reward's own device: uint8 NCHW in, normalised float32 out, no round trip through Pillow.

Both classes are functions of one image at a time, so that an image's pixels do not depend on the batch.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

# OpenAI's statistics of CLIP's training images; OpenCLIP, PickScore and HPSv2 keep to them.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
# Pillow holds the weights of an 8-bit resize as whole multiples of 2^-22.
WEIGHT_BITS = 22
BICUBIC_A, BICUBIC_SUPPORT = -0.5, 2.0
# Pillow resizes across before it resizes down, with bytes between, but for images that are taller than so many
# times their width and shrink (seen of Pillow 13; for such images others may round differently).
TALL = 2


@dataclass(frozen=True)
class CropToSquare:
    """What `CLIPImageProcessor` does: short edge to `size` px (Pillow's bicubic, antialiased), centre crop, normalise.

    The resized bytes are those of Pillow 13, bit for bit, on every device: an 8-bit resize is whole-number arithmetic
    below 2^53, which float64 does without rounding. Normalised values agree within 1e-6.

    Attributes:
        halves: where an odd number of pixels is too many, transformers crops half a pixel "down", towards the top
            left; torchvision to the "even" one.
    """

    size: int
    halves: Literal["down", "even"] = "down"

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (n, 3, h, w) -> float32 (n, 3, size, size), on the device of the images."""
        return normalised(torch.stack([self.resized(image) for image in images]).float() / 255)

    def resized(self, image: Tensor) -> Tensor:
        """uint8 (3, h, w) -> the cropped image's values 0..255, float64 (3, size, size)."""
        height, width = image.shape[1:]
        short = min(height, width)
        rows = self._kept(height, int(self.size * height / short)).to(image.device)
        columns = self._kept(width, int(self.size * width / short)).to(image.device)
        if height > TALL * width and self.size < short:
            return _rounded(_rounded(rows @ image.double()) @ columns.T)
        return _rounded(rows @ _rounded(image.double() @ columns.T))

    def _kept(self, size_in: int, size_out: int) -> Tensor:
        """Rows of the resize's matrix for the pixels that the crop keeps: float64 (size, size_in)."""
        over = size_out - self.size
        return torch.from_numpy(
            _weights(size_in, size_out, over // 2 if self.halves == "down" else round(over / 2), self.size)
        )


@dataclass(frozen=True)
class PadToSquare:
    """What HPSv2 does: long edge to `size` px (bicubic on floats), zeros around, normalise.

    As in hpsv2's `ResizeMaxSize` after `ToTensor`, with torchvision's antialiasing as it is by default today; nothing
    is rounded to bytes or clipped. Agrees with Pillow's resize of floats within 1e-4 of a standard deviation.
    """

    size: int

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (n, 3, h, w) -> float32 (n, 3, size, size), on the device of the images."""
        height, width = images.shape[2:]
        scale = self.size / max(height, width)
        # A sliver keeps one pixel, where the original would stop.
        fitted = (max(round(height * scale), 1), max(round(width * scale), 1))
        x = images.float() / 255
        if fitted != (height, width):
            x = F.interpolate(x, fitted, mode="bicubic", align_corners=False, antialias=True)
        above, left = (self.size - fitted[0]) // 2, (self.size - fitted[1]) // 2
        below, right = self.size - fitted[0] - above, self.size - fitted[1] - left
        return normalised(F.pad(x, (left, right, above, below)))


def normalised(x: Tensor) -> Tensor:
    """(x - mean)/std of CLIP, by channel; x in 0..1, (n, 3, h, w)."""
    mean, std = x.new_tensor(CLIP_MEAN), x.new_tensor(CLIP_STD)
    return (x - mean[:, None, None]) / std[:, None, None]


def _rounded(x: Tensor) -> Tensor:
    """Whole multiples of 2^-22 to the nearest byte, halves up."""
    return torch.floor((x + (1 << (WEIGHT_BITS - 1))) / (1 << WEIGHT_BITS)).clamp(0, 255)


@lru_cache(64)
def _weights(size_in: int, size_out: int, first: int, count: int) -> NDArray[np.float64]:
    """Weights of pixels first..first+count-1 of Pillow's bicubic resize from size_in to size_out, times 2^22.

    Output pixel i looks at (i + 1/2) s, s = size_in/size_out, through the cubic kernel (a = -1/2) stretched by
    max(s, 1); the weights of the input pixels within reach are scaled to sum 1, then rounded, halves away from zero.
    """
    scale = size_in / size_out
    stretch = max(scale, 1.0)
    reach = BICUBIC_SUPPORT * stretch
    centres = (np.arange(first, first + count, dtype=np.float64)[:, None] + 0.5) * scale
    pixels = np.arange(size_in, dtype=np.float64)
    begin = np.maximum(np.trunc(centres - reach + 0.5), 0)
    end = np.minimum(np.trunc(centres + reach + 0.5), size_in)
    weights = np.where((pixels >= begin) & (pixels < end), _cubic((pixels - centres + 0.5) / stretch), 0.0)
    weights = weights / weights.sum(1, keepdims=True) * (1 << WEIGHT_BITS)
    return np.trunc(weights + np.copysign(0.5, weights))


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic kernel (1981), 0 from 2 on."""
    a, x = BICUBIC_A, np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < BICUBIC_SUPPORT, far, 0.0))
