"""Smooth Tchebycheff scalarisation, which reaches the hollow parts of a front that no weighted sum does.

Legend of the shape suffixes: R rows of latents, M rewards.
"""

import torch
from torch import Tensor


def tchebycheff_weights(w_RM: Tensor, mean_RM: Tensor, std_RM: Tensor, smoothing: float) -> Tensor:
    """Return the weights with which the gradient of the scalarised reward is a weighted sum, rows summing to 1.

    The weighted sum of two rewards has no maximum within a hollow (concave) part of their front. The weighted
    Tchebycheff distance to the ideal point u, max_m w_m d_m with d_m = (u_m - r_m) / unit_m, has its minimum there for
    some weights. Its smooth form is mu log sum_m exp(w_m d_m / mu), and the gradient of its negative is

        sum_m p_m w_m grad r_m / unit_m,   p = softmax_m(w_m d_m / mu),

    so a reward counts the more, the farther the row is behind in it (Lin et al. 2024, arXiv 2402.19078). p_m w_m is
    returned, divided by its sum over the row.

    The rows of the front tell the ideal point and the units. u_m is the largest mean of a reward over a row's
    candidates in this step. unit_m is s times the mean deviation of the candidates, as r~ is in units of it, and s is
    the extent of the front: the largest of the differences between the best and the worst mean of a reward, in units of
    that reward's deviation, and at least 1. So d_m is within 0..1, and before the rows have parted the weights change
    little.

    Args:
        w_RM: the weights.
        mean_RM, std_RM: the mean and the std of each reward over the row's candidates; NaN if the weight is 0.
        smoothing: mu > 0. If it is large, the result is w_RM; if it goes to 0, only the reward farthest behind counts.
    """
    known_RM = ~mean_RM.isnan()
    best_M = mean_RM.where(known_RM, -torch.inf).max(0).values
    worst_M = mean_RM.where(known_RM, torch.inf).min(0).values
    deviation_M = std_RM.where(known_RM, 0.0).sum(0) / known_RM.sum(0).clamp(min=1)
    extent_M = ((best_M - worst_M) / deviation_M).where(deviation_M > 0, 0.0)
    unit_M = deviation_M * max(1.0, extent_M.max().item())
    behind_RM = ((best_M - mean_RM) / unit_M).where(known_RM & (unit_M > 0), 0.0)
    p_RM = torch.softmax((w_RM * behind_RM / smoothing).where(known_RM, -torch.inf), dim=1)
    weighted_RM = (p_RM * w_RM).where(known_RM, 0.0)
    return weighted_RM / weighted_RM.sum(1, keepdim=True)
