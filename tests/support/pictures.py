"""Pictures of mixed sizes for the tests of rewards, made from a fixed seed."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

SIZES = [(42, 42), (64, 64), (50, 61), (61, 50), (7, 9), (1, 1), (130, 44), (96, 41), (42, 43), (100, 100)]


def pictures() -> list[np.ndarray]:
    """20 pictures of mixed sizes: noise and gradients."""
    rng = np.random.default_rng(11)
    noisy = [rng.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]
    slopes = [np.linspace(rng.integers(0, 256, 3), rng.integers(0, 256, 3), h * w).reshape(h, w, 3) for h, w in SIZES]
    return [*noisy, *(slope.astype(np.uint8) for slope in slopes)]


def nchw(pictures: Iterable[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(list(pictures)).transpose(0, 3, 1, 2).copy())
