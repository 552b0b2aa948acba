"""How far the rewards pull a row in different directions: the cosines of their search gradients.

Legend of the shape suffixes: M rewards, S rewards that a row uses, D latent entries.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def gradient_cosines(g_SD: Tensor, used: Sequence[int], rewards: int) -> Tensor:
    """Return cos(g_i, g_j) = g_i . g_j / (||g_i|| ||g_j||) of the search gradients of one row, shape (M, M).

    1 means that both rewards pull the row in the same direction, -1 that what raises one lowers the other. The
    gradients of a row are sums of the same N noises. Therefore, if D is much larger than N, the cosine of two unrelated
    rewards is 0 with a standard deviation of 1/sqrt(N - 1).

    Args:
        g_SD: gradients of the rewards in `used`, float64, before they are weighted and added.
        used: numbers of these rewards among all of them.
        rewards: M.

    Returns:
        The cosines, in -1..1. They are NaN for a reward that the row does not use, and for a gradient of length 0.
    """
    cosine_MM = torch.full((rewards, rewards), torch.nan, dtype=torch.float64)
    length_S = torch.linalg.vector_norm(g_SD, dim=1)
    unit_SD = g_SD / length_S[:, None].where(length_S[:, None] > 0, torch.nan)
    index_S = torch.tensor(used, dtype=torch.long)
    cosine_MM[index_S[:, None], index_S] = (unit_SD @ unit_SD.T).clamp(-1.0, 1.0)
    return cosine_MM
