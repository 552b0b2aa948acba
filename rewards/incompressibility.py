"""Incompressibility: the size of the JPEG file (Black et al. 2024)."""

from collections.abc import Sequence

from torch import Tensor

from rewards.base import RewardInfo
from rewards.jpeg_size import SOURCE, jpeg_kilobytes


class Incompressibility:
    """The JPEG size in kB (see `jpeg_kilobytes`), in (0, inf). Intricate images score high."""

    info = RewardInfo(
        name="incompressibility",
        description="the larger the image's JPEG file, the higher",
        unit="kB",
        range=(0.0, float("inf")),
        reads_prompt=False,
        differentiable=False,
        batch_sensitive=False,
        source=SOURCE,
    )

    def setup(self, device: str) -> None: ...

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return jpeg_kilobytes(images)

    def close(self) -> None: ...
