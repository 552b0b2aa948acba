"""Arrays of rows: padding, copies as tensors, and joining."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from actors.protocol import Doubles


def pad(rows: NDArray[Any], size: int) -> NDArray[Any]:
    """Repeat the last row until there are `size` rows."""
    missing = size - len(rows)
    return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing > 0 else rows


def as_tensor(array: NDArray[Any]) -> torch.Tensor:
    """Copy an array into a tensor. Arrays from Ray's object store are read-only, and a tensor must not be."""
    return torch.from_numpy(array.copy())


def stack_scores(columns: Sequence[Doubles]) -> Doubles:
    """Join the scores of R rewards into one array, a column per reward: shape (n, R)."""
    return np.stack(columns, axis=1)


def join_scores(pieces: Sequence[Doubles]) -> Doubles:
    """Join the scores of consecutive rows into one array, shape (n,)."""
    return np.concatenate(pieces)
