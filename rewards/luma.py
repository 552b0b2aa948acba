"""The luma of pixels, for the two rewards that read it."""

import torch
from torch import Tensor

# ITU-R BT.601, as in JPEG and in Pillow's "L".
WEIGHTS = (0.299, 0.587, 0.114)


def luma(image: Tensor) -> Tensor:
    """Return Y = 0.299 R + 0.587 G + 0.114 B: uint8 (3, h, w) -> float64 (h, w), in 0..255.

    The result is contiguous, because the last bits of a sum over it may depend on the strides.
    """
    red, green, blue = image.cpu().double()
    return torch.stack([weight * plane for weight, plane in zip(WEIGHTS, (red, green, blue), strict=True)]).sum(0)
