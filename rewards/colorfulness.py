"""Colorfulness (Hasler and Suesstrunk 2003, Measuring colourfulness in natural images)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rewards.base import RewardInfo


class Colorfulness:
    """M = sqrt(var(rg) + var(yb)) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2), rg = R - G, yb = (R + G)/2 - B.

    Mean and population variance are over the pixels of one image, with R, G and B in 0..255, in float64. The value is
    a pure number >= 0. On the paper's scale 0 is not colorful, 15 slightly, 33 moderately, 45 averagely, 59 quite,
    82 highly and 109 extremely colorful.
    """

    info = RewardInfo(
        name="colorfulness",
        description="the further the colors from grey and from each other, the higher",
        unit="",
        # Both opponent axes are within -255..255, so sqrt(2) 255 (1 + 0.3) bounds the sum of the two terms.
        range=(0.0, 469.0),
        reads_prompt=False,
        differentiable=True,
        batch_sensitive=False,
        source="Hasler and Suesstrunk 2003, Measuring colourfulness in natural images",
    )

    def setup(self, device: str) -> None: ...

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        # One image at a time, because the last bits of a sum may depend on the batch.
        return torch.tensor([_colorfulness(image) for image in images], dtype=torch.float32)

    def close(self) -> None: ...


def _colorfulness(image: Tensor) -> float:
    # Contiguous, because the last bits of a sum may depend on the strides too.
    red, green, blue = image.double().flatten(1).contiguous()
    rg, yb = red - green, (red + green) / 2 - blue
    spread = torch.sqrt(rg.var(correction=0) + yb.var(correction=0))
    offset = torch.sqrt(rg.mean() ** 2 + yb.mean() ** 2)
    return float(spread + 0.3 * offset)
