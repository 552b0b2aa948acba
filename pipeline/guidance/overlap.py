"""How much the denoising distributions of the weightings still overlap (Appendix B), which justifies a soup step."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

QUARTILES = (0.25, 0.5, 0.75)


def overlap_quartiles(mu_RCHW: Tensor, exemplars: Sequence[int], sigma: float) -> Tensor:
    """Return the quartiles over the D dimensions of the Bhattacharyya coefficient of each (row, exemplar) pair.

    BC_d = exp(-(mu_d - c_d)^2 / (8 sigma^2)), in (0, 1]; it is 1 if the two means agree in dimension d. Between two
    order statistics the quartile is interpolated linearly. BC falls as |mu_d - c_d| grows, so the order statistics
    are found among the distances by a partial sort, and the exponential is taken of them alone.

    Args:
        mu_RCHW: the means of the R rows.
        exemplars: the indices of the rows of the M exemplars.
        sigma: the common standard deviation, > 0.

    Returns:
        Shape (R, M, 3), float64.
    """
    mu_RD = mu_RCHW.flatten(1).numpy()
    quartiles_RM3 = np.ones((len(mu_RD), len(exemplars), len(QUARTILES)))
    found: dict[frozenset[int], NDArray[np.float64]] = {}
    for m, exemplar in enumerate(exemplars):
        for row in range(len(mu_RD)):
            pair = frozenset((row, exemplar))
            if len(pair) == 2 and pair not in found:
                found[pair] = _quartiles(mu_RD[row], mu_RD[exemplar], sigma)
            quartiles_RM3[row, m] = found.get(pair, 1.0)
    return torch.from_numpy(quartiles_RM3)


def _quartiles(mu_D: NDArray[np.float32], c_D: NDArray[np.float32], sigma: float) -> NDArray[np.float64]:
    """Return the quartiles of BC between two means, lowest first."""
    distance_D = np.abs(np.subtract(mu_D, c_D, dtype=np.float64))
    last = len(distance_D) - 1
    # The k-th smallest BC has the k-th largest distance.
    place_Q = last * np.array(QUARTILES)
    low_Q = np.floor(place_Q).astype(int)
    high_Q = np.minimum(low_Q + 1, last)
    start = 0
    for place in np.unique(last - np.concatenate([low_Q, high_Q])):
        # One place at a time: NumPy's partition for one place is ten times faster than that for several. The next
        # one begins behind this place, because a partition may move whatever it is given.
        distance_D[start:].partition(place - start)
        start = place + 1
    low, high = (np.exp(-(distance_D[last - k] ** 2) / (8 * sigma**2)) for k in (low_Q, high_Q))
    quartiles: NDArray[np.float64] = low + (place_Q - low_Q) * (high - low)
    return quartiles
