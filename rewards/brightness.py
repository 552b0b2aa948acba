"""Brightness: the mean luma of the image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rewards.base import RewardInfo
from rewards.luma import luma


class Brightness:
    """Mean over the pixels of Y = 0.299 R + 0.587 G + 0.114 B, in float64. Black 0, white 255."""

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
        # One image at a time: a sum's last bits may depend on how a batch is blocked. The weights' sum may round
        # a hair past 1.
        return torch.tensor([luma(image).mean().clamp(0, 255) for image in images], dtype=torch.float32)

    def close(self) -> None: ...
