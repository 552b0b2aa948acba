"""How much the denoising distributions of the weightings still overlap (Appendix B), which justifies a soup step."""

from collections.abc import Sequence

import torch
from torch import Tensor

QUARTILES = (0.25, 0.5, 0.75)


def overlap_quartiles(mu_RCHW: Tensor, exemplars: Sequence[int], sigma: float) -> Tensor:
    """Return the quartiles over the D dimensions of the Bhattacharyya coefficient of each (row, exemplar) pair.

    BC_d = exp(-(mu_d - c_d)^2 / (8 sigma^2)), in (0, 1]; it is 1 if the two means agree in dimension d.

    Args:
        mu_RCHW: the means of the R rows.
        exemplars: the indices of the rows of the M exemplars.
        sigma: the common standard deviation, > 0.

    Returns:
        Shape (R, M, 3), float64.
    """
    mu_RD = mu_RCHW.flatten(1).double()
    delta_RMD = mu_RD[:, None] - mu_RD[list(exemplars)]
    bc_RMD = torch.exp(-(delta_RMD**2) / (8 * sigma**2))
    return torch.quantile(bc_RMD, torch.tensor(QUARTILES, dtype=torch.float64), dim=2).permute(1, 2, 0)
