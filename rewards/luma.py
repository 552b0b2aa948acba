"""The one place that turns pixels into brightness, for the two rewards that read it."""

import torch
from torch import Tensor

# ITU-R BT.601, as in JPEG and in Pillow's "L".
WEIGHTS = (0.299, 0.587, 0.114)


def luma(image: Tensor) -> Tensor:
    """Y = 0.299 R + 0.587 G + 0.114 B: uint8 (3, h, w) -> float64 (h, w), in 0..255.

    Contiguous, because a sum's last bits may depend on the strides.
    """
    red, green, blue = image.cpu().double()
    return torch.stack([weight * plane for weight, plane in zip(WEIGHTS, (red, green, blue), strict=True)]).sum(0)
