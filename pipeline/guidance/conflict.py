"""How far the rewards pull a row in different directions: the cosines of their search gradients.

Legend of the shape suffixes: R rows of latents, M rewards.
"""

import torch
from torch import Tensor


def gradient_cosines(gram_RMM: Tensor) -> Tensor:
    """Return cos(g_i, g_j) = g_i . g_j / (||g_i|| ||g_j||) of the rewards' search gradients in each row, (R, M, M).

    1 means that both rewards pull the row in the same direction, -1 that what raises one lowers the other. The
    gradients of a row are sums of the same N noises. Therefore, if the number D of latent entries is much larger than
    N, the cosine of two unrelated rewards is 0 with a standard deviation of 1/sqrt(N - 1).

    Args:
        gram_RMM: the inner products g_i . g_j, float64. A reward that the row does not use has the gradient 0.

    Returns:
        The cosines, in -1..1. They are NaN for a gradient of length 0.
    """
    length_RM = gram_RMM.diagonal(dim1=1, dim2=2).sqrt()
    length_RM = length_RM.where(length_RM > 0, torch.nan)
    return (gram_RMM / (length_RM[:, :, None] * length_RM[:, None, :])).clamp(-1.0, 1.0)
