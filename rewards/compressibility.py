"""Compressibility: minus the size of the JPEG file (Black et al. 2024)."""

from collections.abc import Sequence

from torch import Tensor

from rewards.base import RewardInfo
from rewards.jpeg_size import SOURCE, jpeg_kilobytes


class Compressibility:
    """Minus the JPEG size in kB (see `jpeg_kilobytes`), in (-inf, 0). Simple images score high."""

    info = RewardInfo(
        name="compressibility",
        description="the smaller the image's JPEG file, the higher",
        unit="-kB",
        range=(float("-inf"), 0.0),
        reads_prompt=False,
        differentiable=False,
        batch_sensitive=False,
        source=SOURCE,
    )

    def setup(self, device: str) -> None: ...

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return -jpeg_kilobytes(images)

    def close(self) -> None: ...
