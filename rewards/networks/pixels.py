"""Preprocessing on the reward's device, from uint8 NCHW to normalised float32, without Pillow.

Both classes treat each image by itself, so the pixels of an image do not depend on the batch.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

# OpenAI's statistics of CLIP's training images. OpenCLIP, PickScore and HPSv2 use them too.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
# Pillow stores the weights of an 8-bit resize as multiples of 2^-22.
WEIGHT_BITS = 22
BICUBIC_A, BICUBIC_SUPPORT = -0.5, 2.0
# Pillow resizes the width first, rounds to bytes, and then resizes the height. Images that shrink and are taller than
# this many times their width are resized in the other order. This is the behaviour of Pillow 13; other versions may
# round such images differently.
TALL = 2


@dataclass(frozen=True)
class CropToSquare:
    """Resizes the short edge to `size` px (Pillow's bicubic, antialiased), crops the centre, and normalises.

    This is what `CLIPImageProcessor` does. The resized bytes equal those of Pillow 13 on every device, because an 8-bit
    resize is whole-number arithmetic below 2^53, which float64 does exactly. The normalised values agree within 1e-6.

    Attributes:
        size: edge of the result in pixels.
        halves: how half a pixel is rounded if the number of pixels to crop is odd: "down", towards the top left, as
            transformers does, or to the "even" pixel, as torchvision does.
    """

    size: int
    halves: Literal["down", "even"] = "down"

    def __call__(self, images: Tensor) -> Tensor:
        """Preprocess uint8 (n, 3, h, w) into float32 (n, 3, size, size), on the device of the images."""
        return normalised(torch.stack([self.resized(image) for image in images]).float() / 255)

    def resized(self, image: Tensor) -> Tensor:
        """Return the resized and cropped image: uint8 (3, h, w) -> float64 (3, size, size), values 0..255."""
        height, width = image.shape[1:]
        short = min(height, width)
        rows = self._kept(height, int(self.size * height / short)).to(image.device)
        columns = self._kept(width, int(self.size * width / short)).to(image.device)
        if height > TALL * width and self.size < short:
            return _rounded(_rounded(rows @ image.double()) @ columns.T)
        return _rounded(rows @ _rounded(image.double() @ columns.T))

    def _kept(self, size_in: int, size_out: int) -> Tensor:
        """The rows of the resize matrix for the pixels that the crop keeps: float64 (size, size_in)."""
        over = size_out - self.size
        return torch.from_numpy(
            _weights(size_in, size_out, over // 2 if self.halves == "down" else round(over / 2), self.size)
        )


@dataclass(frozen=True)
class PadToSquare:
    """Resizes the long edge to `size` px (bicubic on floats), pads with zeros, and normalises.

    This is what hpsv2's `ResizeMaxSize` does after `ToTensor`, with torchvision's present default of antialiasing.
    Nothing is rounded to bytes or clipped. The result agrees with Pillow's resize of floats within 1e-4 of a standard
    deviation.

    Attributes:
        size: edge of the result in pixels.
    """

    size: int

    def __call__(self, images: Tensor) -> Tensor:
        """Preprocess uint8 (n, 3, h, w) into float32 (n, 3, size, size), on the device of the images."""
        height, width = images.shape[2:]
        scale = self.size / max(height, width)
        # A very narrow image keeps one pixel of width. The original would fail.
        fitted = (max(round(height * scale), 1), max(round(width * scale), 1))
        x = images.float() / 255
        if fitted != (height, width):
            x = F.interpolate(x, fitted, mode="bicubic", align_corners=False, antialias=True)
        above, left = (self.size - fitted[0]) // 2, (self.size - fitted[1]) // 2
        below, right = self.size - fitted[0] - above, self.size - fitted[1] - left
        return normalised(F.pad(x, (left, right, above, below)))


def normalised(x: Tensor) -> Tensor:
    """Return (x - mean)/std with CLIP's mean and std of each channel; x in 0..1, shape (n, 3, h, w)."""
    mean, std = x.new_tensor(CLIP_MEAN), x.new_tensor(CLIP_STD)
    return (x - mean[:, None, None]) / std[:, None, None]


def _rounded(x: Tensor) -> Tensor:
    """Bytes from multiples of 2^-22, rounded to the nearest, halves up."""
    return torch.floor((x + (1 << (WEIGHT_BITS - 1))) / (1 << WEIGHT_BITS)).clamp(0, 255)


@lru_cache(64)
def _weights(size_in: int, size_out: int, first: int, count: int) -> NDArray[np.float64]:
    """Weights of output pixels first..first+count-1 in Pillow's bicubic resize from size_in to size_out, times 2^22.

    The centre of output pixel i is (i + 1/2) s in the input, with s = size_in/size_out. Input pixels are weighted by
    the cubic kernel (a = -1/2), stretched by max(s, 1). The weights of one output pixel are scaled to sum 1 and then
    rounded, halves away from zero.
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
    rounded: NDArray[np.float64] = np.trunc(weights + np.copysign(0.5, weights))
    return rounded


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic kernel (1981), which is 0 from 2 on."""
    a, x = BICUBIC_A, np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < BICUBIC_SUPPORT, far, 0.0))
