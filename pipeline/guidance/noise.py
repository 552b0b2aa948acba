"""All randomness of a prompt, derived from its one seed. Each draw has its own stream, so their order is free."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from pipeline.guidance.seeds import derive_seed

NoiseKind = Literal["plain", "antithetic", "distinct"]


def initial_noise(seed: int, shape: Sequence[int]) -> Tensor:
    """Draw x_T ~ N(0, I) of one sample: float32 on the CPU, whichever device denoises it."""
    return _normal(derive_seed(seed, "initial"), shape)


def step_noise(seed: int, step: int, n: int, shape: Sequence[int], kind: NoiseKind = "plain") -> Tensor:
    """Draw z^1..z^N ~ N(0, I) of one step: float32, shape (N, *shape).

    `plain` draws N independent rows. `antithetic` draws ceil(N/2) rows and appends their negatives, so that for even N
    the odd moments of the set are exactly 0. `distinct` is the kind of steps in which each row has noises of its own
    (`row_noise`); for noises that all rows share it is `plain`.
    """
    stream = derive_seed(seed, "step", step)
    if kind != "antithetic":
        return _normal(stream, (n, *shape))
    half = _normal(stream, ((n + 1) // 2, *shape))
    return torch.cat([half, -half])[:n]


def row_noise(seed: int, step: int, row: int, n: int, shape: Sequence[int]) -> Tensor:
    """Draw z^1..z^N ~ N(0, I) of one row of one step, independent of those of every other row: float32, (N, *shape)."""
    return _normal(derive_seed(seed, "step", step, "row", row), (n, *shape))


def extra_noise(seed: int, purpose: str, step: int, shape: Sequence[int]) -> Tensor:
    """Draw one noise of a step for a purpose other than its candidates: float32, in the given shape."""
    return _normal(derive_seed(seed, purpose, step), shape)


def _normal(seed: int, shape: Sequence[int]) -> Tensor:
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))
