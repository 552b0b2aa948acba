"""Brightness: the mean luma of the image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rewards.base import RewardInfo
from rewards.luma import luma


class Brightness:
    """The mean of Y = 0.299 R + 0.587 G + 0.114 B over the pixels, in float64: 0 for black, 255 for white."""

    info = RewardInfo(
        name="brightness",
        description="the brighter the image, the higher",
        unit="",
        range=(0.0, 255.0),
        reads_prompt=False,
        differentiable=True,
        batch_sensitive=False,
        source="ITU-R BT.601, Section 2.5.1 (luma)",
    )

    def setup(self, device: str) -> None: ...

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        # One image at a time, because the last bits of a sum may depend on the batch. The sum of the weights may
        # round to slightly more than 1, hence the clamp.
        return torch.tensor([luma(image).mean().clamp(0, 255) for image in images], dtype=torch.float32)

    def close(self) -> None: ...
