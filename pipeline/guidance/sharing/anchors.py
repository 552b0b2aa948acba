"""Chooses the rows that are evaluated in a step (anchors), and the anchors that each row takes its gradients from.

Legend of the shape suffixes: R rows of latents, A anchors, M rewards.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.guidance.sharing.cosine_law import cosine


class Anchors(NamedTuple):
    """The anchors of a step.

    Attributes:
        rows: the indices of the evaluated rows, in the order in which they were chosen: the exemplars first.
        nearest_RM: for each row and reward, the position in `rows` of the nearest anchor that reads the reward.
        cosine_RM: the expected cosine of the true gradients of the row and of that anchor.
    """

    rows: tuple[int, ...]
    nearest_RM: Tensor
    cosine_RM: Tensor


def choose_anchors(
    delta_RR: Tensor,
    rate: float | None,
    threshold: float,
    exemplars: Sequence[int],
    reads_RM: Tensor,
    used_RM: Tensor,
    most: int | None = None,
) -> Anchors:
    """Return the exemplars, and as many other rows as the cosines demand.

    As long as a row's expected cosine with the nearest anchor is below the threshold, for a reward that it uses, the
    row that is farthest from its anchors becomes one too (farthest-point clustering: Gonzalez 1985, Theor. Comput.
    Sci. 38). With only the exemplars left this is the soup, with all rows the weighted sum. If no two anchors read
    the same reward, no cosine can be measured, and the farthest row is added as well.

    Args:
        delta_RR: the distances of the rows (`cosine_law.distances`).
        rate: kappa; None if it is not known yet. Then a row borrows only from rows with the same mean.
        threshold: the least cosine with which a row borrows.
        exemplars: the rows of the M exemplars.
        reads_RM: whether a row, if it is an anchor, reads a reward.
        used_RM: whether the weight of a reward is above 0 in a row. Every row that uses a reward reads it.
        most: the largest number of anchors, or None. The exemplars are always among them.
    """
    rows = list(dict.fromkeys(exemplars))
    # A row that is an anchor is nearest to itself, also if others have the same mean.
    delta_RR = delta_RR.clone().fill_diagonal_(-1.0)
    while True:
        away_RM = _distance(delta_RR, rows, reads_RM).min(1).values
        farthest_R = away_RM.where(used_RM, -1.0).max(1).values
        row = int(farthest_R.argmax())
        away = farthest_R[row].item()
        enough = away <= 0 or (_expected(rate, away) >= threshold and _measurable(reads_RM[rows]))
        if enough or (most is not None and len(rows) >= most):
            break
        rows.append(row)
    away_RM, nearest_RM = _distance(delta_RR, rows, reads_RM).min(1)
    cosine_RM = torch.tensor([[_expected(rate, away) for away in row] for row in away_RM.tolist()]).double()
    return Anchors(tuple(rows), nearest_RM, cosine_RM)


def pooled(
    anchors: Anchors, delta_RR: Tensor, rate: float | None, threshold: float, reads_RM: Tensor, all_of: bool
) -> Tensor:
    """Return the share c of each anchor in the gradient of each row and reward, shape (R, A, M), summing to 1 over A.

    Without pooling a row takes the nearest anchor alone. With it (`all_of`), it takes all anchors whose expected cosine
    is at least the threshold, c in proportion to the cosine: among independent estimates G_a + noise of equal noise,
    that is the combination whose expected cosine with the row's own gradient is largest (the matched filter).
    """
    nearest_RAM = torch.nn.functional.one_hot(anchors.nearest_RM, len(anchors.rows)).permute(0, 2, 1).double()
    if not all_of:
        return nearest_RAM
    share_RAM = torch.zeros_like(nearest_RAM)
    for row, position in torch.cartesian_prod(torch.arange(len(delta_RR)), torch.arange(len(anchors.rows))).tolist():
        anchor = anchors.rows[position]
        expected = 1.0 if row == anchor else _expected(rate, delta_RR[row, anchor].item())
        if expected >= threshold:
            share_RAM[row, position] = expected * reads_RM[anchor]
    # A row without an anchor near enough, as with `most`, keeps the nearest one.
    total_RM = share_RAM.sum(1)
    share_RAM = torch.where(total_RM[:, None] > 0, share_RAM, nearest_RAM)
    return share_RAM / share_RAM.sum(1, keepdim=True)


def _distance(delta_RR: Tensor, rows: Sequence[int], reads_RM: Tensor) -> Tensor:
    """Return the distance of each row to each anchor that reads a reward, (R, A, M); inf to one that does not."""
    delta_RA = delta_RR[:, list(rows)]
    return delta_RA[:, :, None].where(reads_RM[list(rows)][None], torch.inf)


def _expected(rate: float | None, away: float) -> float:
    if away <= 0:
        return 1.0
    return 0.0 if rate is None else cosine(rate, away)


def _measurable(reads_AM: Tensor) -> bool:
    return bool((reads_AM.sum(0) > 1).any())
