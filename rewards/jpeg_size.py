"""How well an image compresses: the rewards of DDPO (Black et al. 2024) that need no network."""

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rewards.base import RewardInfo

JPEG_QUALITY = 95
BYTES_PER_KB = 1000
_SOURCE = "Black et al. 2024, Training Diffusion Models with Reinforcement Learning"


def jpeg_kilobytes(images: Tensor) -> Tensor:
    """Size of each image as a JPEG file of quality 95 by Pillow, in kB of 1,000 bytes; float32 (n,)."""
    return torch.tensor([_jpeg_bytes(image) / BYTES_PER_KB for image in images.numpy()], dtype=torch.float32)


def _jpeg_bytes(image: np.ndarray) -> int:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.tell()


class _JpegSize:
    """What both directions share: there is nothing to load and nothing to let go of."""

    def setup(self, device: str) -> None: ...

    def close(self) -> None: ...


class Compressibility(_JpegSize):
    """Minus the JPEG size in kB: simple images score high. Below 0."""

    info = RewardInfo(
        name="compressibility",
        description="the smaller the image's JPEG file, the higher",
        unit="-kB",
        low=float("-inf"),
        high=0.0,
        reads_prompt=False,
        batch_sensitive=False,
        source=_SOURCE,
    )

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return -jpeg_kilobytes(images)


class Incompressibility(_JpegSize):
    """The JPEG size in kB: intricate images score high. Above 0."""

    info = RewardInfo(
        name="incompressibility",
        description="the larger the image's JPEG file, the higher",
        unit="kB",
        low=0.0,
        high=float("inf"),
        reads_prompt=False,
        batch_sensitive=False,
        source=_SOURCE,
    )

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return jpeg_kilobytes(images)
