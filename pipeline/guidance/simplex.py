"""Weightings on the simplex, and the exemplars among them (Definition 2)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TOLERANCE = 1e-6
"""The largest rounding error of a weight and of the sum of a row, as in the schema of the configuration."""


@dataclass(frozen=True)
class Soup:
    """The rows of latents in a soup: one for each weighting, then one for each hidden exemplar.

    Attributes:
        w_RM: the weightings of all rows, float64; the first `visible` rows are the user's, in the user's order.
        exemplars: for each reward m, the index of the row whose weighting is the one-hot e_m.
        visible: L, the number of the user's weightings.
    """

    w_RM: Tensor
    exemplars: tuple[int, ...]
    visible: int


def as_weights(rows: Sequence[Sequence[float]]) -> Tensor:
    """Return the weights as float64 of shape (L, M). A row that is one-hot but for rounding becomes exactly one-hot.

    Raises:
        ValueError: the rows have different lengths, an entry is negative or not finite, or the sum of a row differs
            from 1 by more than 1e-6. The message names the row.
    """
    if not rows or not rows[0]:
        raise ValueError("weights: there are no weights; give at least one row, with one entry for each reward")
    for index, entries in enumerate(rows):
        if len(entries) != len(rows[0]):
            raise ValueError(f"weights: row {index} has {len(entries)} entries, but row 0 has {len(rows[0])}")
    w_LM = torch.tensor(rows, dtype=torch.float64)
    for index, row in enumerate(w_LM):
        if not torch.isfinite(row).all() or (row < 0).any() or abs(row.sum().item() - 1) > TOLERANCE:
            raise ValueError(
                f"weights: row {index} is {row.tolist()}; every entry must be >= 0 and the row must sum to 1"
            )
        if len(used := support(row)) == 1:
            w_LM[index] = torch.eye(len(row), dtype=w_LM.dtype)[used[0]]
    return w_LM


def support(w_M: Tensor) -> tuple[int, ...]:
    """Return the indices of the rewards whose weight is above the tolerance. A row with one of them is one-hot."""
    return tuple(torch.nonzero(w_M > TOLERANCE).flatten().tolist())


def with_exemplars(w_LM: Tensor) -> Soup:
    """Find the one-hot row of every reward, and append a hidden row for each reward that has none."""
    n_weights, n_rewards = w_LM.shape
    one_hot_MM = torch.eye(n_rewards, dtype=w_LM.dtype)
    rows, exemplars = list(w_LM), []
    for m, e_M in enumerate(one_hot_MM):
        found = [index for index, w_M in enumerate(rows[:n_weights]) if support(w_M) == (m,)]
        exemplars.append(found[0] if found else len(rows))
        if not found:
            rows.append(e_M)
    return Soup(torch.stack(rows), tuple(exemplars), n_weights)
