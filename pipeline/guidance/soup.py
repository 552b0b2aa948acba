"""One guided step for all weightings: the soup step (Algorithm 2) and the weighted-sum step (Equation 9).

Legend of the shape suffixes: R rows of latents (one for each of the L weightings, then the hidden exemplars),
N candidates, M rewards, S rewards that a row uses, C channels, H height, W width, D = C*H*W.
"""

import asyncio
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pipeline.guidance.conflict import gradient_cosines
from pipeline.guidance.ports import Query
from pipeline.guidance.search_gradient import StepKind, move, search_gradient
from pipeline.guidance.shaping import PLAIN, Shaping
from pipeline.guidance.simplex import TOLERANCE, Soup, support

Correction = Literal["none", "mean-shift", "renormalised"]


@dataclass(frozen=True)
class Guided:
    """The outcome of a guided step.

    Attributes:
        x_RCHW: the latents x_{t-1}, float32.
        norm_R: the length of each row's search gradient, in units of the noise, before the move.
        reward_mean_RM, reward_std_RM: the mean and the standard deviation of each reward over the candidates that gave
            the row's gradient; NaN for a reward whose weight is 0 in the row.
        cosine_RMM: the cosines of the rewards' search gradients in each row, before they are added; see
            `conflict.gradient_cosines`.
    """

    x_RCHW: Tensor
    norm_R: Tensor
    reward_mean_RM: Tensor
    reward_std_RM: Tensor
    cosine_RMM: Tensor

    def first(self, n: int) -> "Guided":
        """Return the outcome of the first n rows."""
        return Guided(
            self.x_RCHW[:n], self.norm_R[:n], self.reward_mean_RM[:n], self.reward_std_RM[:n], self.cosine_RMM[:n]
        )


async def soup_step(
    mu_RCHW: Tensor,
    sigma: float,
    z_NCHW: Tensor,
    soup: Soup,
    query: Query,
    step: int,
    correction: Correction,
    kind: StepKind,
    shaping: Shaping = PLAIN,
) -> Guided:
    """Move all rows by Algorithm 2. Only candidates of the M exemplars are scored, each by one reward: M*N queries.

    The exemplar of reward m moves along its own gradient g_m. Every other row moves along
    sum_m w_m (g_m + correction_m), which reuses the exemplars' rewards (Equation 11, Propositions 3 and 4). Options of
    `shaping` that act in `exemplars` shape the factors of one-hot rows alone.
    """
    z_ND, mu_RD = z_NCHW.flatten(1), mu_RCHW.flatten(1).double()
    queries = [query(mu_RCHW[c] + sigma * z_NCHW, step, (m,)) for m, c in enumerate(soup.exemplars)]
    scores_MN = torch.stack([r_N1.squeeze(1) for r_N1 in await asyncio.gather(*queries)])
    own_MN, shared_MN = (
        torch.stack([shaping(r_N, m, exemplar=exemplar) for m, r_N in enumerate(scores_MN)])
        for exemplar in (True, False)
    )

    g_RD, cosines = torch.zeros_like(mu_RD), []
    for row, w_M in enumerate(soup.w_RM):
        used, gradients = support(w_M), []
        for m in used:
            delta_D = mu_RD[soup.exemplars[m]] - mu_RD[row]
            # Decided by the weight, not by delta: all rows start equal, and rounding must not choose the formula.
            one_hot = len(used) == 1
            carried: Correction = "none" if one_hot else correction
            r_N = (own_MN if one_hot else shared_MN)[m]
            gradients.append(corrected_gradient(r_N, z_ND, delta_D, sigma, carried))
            g_RD[row] += w_M[m] * gradients[-1]
        cosines.append(gradient_cosines(torch.stack(gradients), used, len(w_M)))

    used_RM = soup.w_RM > TOLERANCE
    mean_RM = scores_MN.mean(1).expand_as(soup.w_RM)
    std_RM = scores_MN.std(1, correction=0).expand_as(soup.w_RM)
    mean_RM, std_RM = mean_RM.where(used_RM, torch.nan), std_RM.where(used_RM, torch.nan)
    return _moved(mu_RCHW, sigma, g_RD, kind, mean_RM, std_RM, torch.stack(cosines))


def corrected_gradient(r_N: Tensor, z_ND: Tensor, delta_D: Tensor, sigma: float, correction: Correction) -> Tensor:
    """Return g_m + correction_m: the exemplar's gradient, carried over to a row whose mean is c_m - delta.

    With delta = c_m - mu, shape (D,):

    - `none`: g_m.
    - `mean-shift` (Equation 11): g_m + mean(r~) delta / sigma. The paper writes no 1/sigma, because its appendix
      drops it from z = (x - c)/sigma; with 1/sigma the units agree. The correction is 0 if r~ has mean 0.
    - `renormalised` (the released code): (1/N) sum_n r~_n u^n, where u^n is z^n + delta scaled to length sqrt(D). As
      in the appendix, the shift has no 1/sigma.

    An exemplar itself needs no correction, so `soup_step` passes `none` for a row with a one-hot weighting.
    """
    if correction == "none":
        return search_gradient(r_N, z_ND)
    if correction == "mean-shift":
        return search_gradient(r_N, z_ND) + r_N.mean() * delta_D / sigma
    u_ND = z_ND.double() + delta_D
    u_ND *= math.sqrt(u_ND.shape[1]) / torch.linalg.vector_norm(u_ND, dim=1, keepdim=True)
    return search_gradient(r_N, u_ND)


async def weighted_sum_step(
    mu_RCHW: Tensor,
    sigma: float,
    z_NCHW: Tensor,
    w_RM: Tensor,
    query: Query,
    step: int,
    kind: StepKind,
    shaping: Shaping = PLAIN,
) -> Guided:
    """Move all rows by Equation 9. Every row has its own N candidates, scored by each reward with w_m > 0.

    g^l = sum_m w_m (1/N) sum_n r~_mn z^n. Each reward is normalised over the candidates of the row.
    """
    z_ND = z_NCHW.flatten(1)
    supports = [support(w_M) for w_M in w_RM]
    queries = [query(mu_CHW + sigma * z_NCHW, step, support) for mu_CHW, support in zip(mu_RCHW, supports, strict=True)]
    g_RD = torch.zeros(len(w_RM), z_ND.shape[1], dtype=torch.float64)
    mean_RM, std_RM = torch.full_like(w_RM, torch.nan), torch.full_like(w_RM, torch.nan)
    cosines = []
    for row, scores_NS in enumerate(await asyncio.gather(*queries)):
        gradients = []
        for m, r_N in zip(supports[row], scores_NS.T, strict=True):
            gradients.append(search_gradient(shaping(r_N, m, exemplar=False), z_ND))
            g_RD[row] += w_RM[row, m] * gradients[-1]
            mean_RM[row, m], std_RM[row, m] = r_N.mean(), r_N.std(correction=0)
        cosines.append(gradient_cosines(torch.stack(gradients), supports[row], w_RM.shape[1]))
    return _moved(mu_RCHW, sigma, g_RD, kind, mean_RM, std_RM, torch.stack(cosines))


def _moved(
    mu_RCHW: Tensor,
    sigma: float,
    g_RD: Tensor,
    kind: StepKind,
    mean_RM: Tensor,
    std_RM: Tensor,
    cosine_RMM: Tensor,
) -> Guided:
    s_RD = torch.stack([move(g_D, kind) for g_D in g_RD])
    x_RCHW = (mu_RCHW.double() + sigma * s_RD.view_as(mu_RCHW)).float()
    return Guided(x_RCHW, torch.linalg.vector_norm(g_RD, dim=1), mean_RM, std_RM, cosine_RMM)
