"""Conflict-averse combination: what one reward's gradient takes away from another reward is left out.

Legend of the shape suffixes: R rows of latents, M rewards, D = C*H*W latent entries.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.guidance.row_gradients import Gradients


def pcgrad_factors(gram_RMM: Tensor) -> Tensor:
    """Return the factors c of g' = sum_m c_m g_m, shape (R, M), by PCGrad (Yu et al. 2020, arXiv 2001.06782).

    For each reward i, and each other reward j in the order of the configuration,

        g_i' <- g_i' - (g_i' . g_j) / |g_j|^2 g_j   if g_i' . g_j < 0,

    beginning with g_i' = g_i, and g' = sum_i g_i'. So g_i' does not lower reward j to first order. (PCGrad draws the
    order of j at random; with two rewards there is only one.) All factors are 1 if no gradients oppose. The factors
    depend on the inner products of the gradients alone, and not on the scale of any of them.

    Args:
        gram_RMM: the inner products of the rewards' gradients, times their weights or not.
    """
    n_rewards = gram_RMM.shape[1]
    total_RM = torch.zeros(gram_RMM.shape[:2], dtype=gram_RMM.dtype)
    for i in range(n_rewards):
        own_RM = torch.zeros_like(total_RM)
        own_RM[:, i] = 1.0
        for j in range(n_rewards):
            length_R = gram_RMM[:, j, j]
            along_R = (own_RM * gram_RMM[:, :, j]).sum(1)
            opposed_R = (along_R < 0) & (length_R > 0)
            if i != j:
                own_RM[:, j] -= (along_R / length_R).where(opposed_R, 0.0)
        total_RM += own_RM
    return total_RM


def without_conflict(gradients: Gradients, with_factors: Callable[[Tensor], Gradients]) -> Gradients:
    """Return the gradients combined by PCGrad. The inner products stay those of the rewards' own gradients.

    Args:
        gradients: the gradients of the rewards, added.
        with_factors: returns the same, with each reward's gradient times a factor (R, M).
    """
    factor_RM = pcgrad_factors(gradients.gram_RMM)
    if (factor_RM == 1).all():
        return gradients
    return with_factors(factor_RM)._replace(gram_RMM=gradients.gram_RMM)
