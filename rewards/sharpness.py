"""Sharpness: the variance of the Laplacian (Pech-Pacheco et al. 2000)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from rewards.base import RewardInfo
from rewards.luma import luma


class Sharpness:
    """The variance var(D Y) of D Y = up + down + left + right - 4 centre, with the luma Y in 0..255.

    Pixels beyond the border repeat the nearest one. The variance is the population variance over the pixels, in
    float64. A flat image and a single pixel have 0, a soft photograph tens, a crisp one hundreds to thousands. Noise
    counts as sharp.
    """

    info = RewardInfo(
        name="sharpness",
        description="the more fine detail, or noise, the higher",
        unit="",
        # The Laplacian is within -1020..1020.
        range=(0.0, 1020.0**2),
        reads_prompt=False,
        differentiable=True,
        batch_sensitive=False,
        source="Pech-Pacheco et al. 2000, Diatom autofocusing in brightfield microscopy",
    )

    def setup(self, device: str) -> None: ...

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        # One image at a time, because the last bits of a sum may depend on the batch.
        return torch.tensor([_laplacian(luma(image)).var(correction=0) for image in images], dtype=torch.float32)

    def close(self) -> None: ...


def _laplacian(y: Tensor) -> Tensor:
    padded = F.pad(y[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    return padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * y
