"""One guided step for all weightings: the soup step (Algorithm 2) and the weighted-sum step (Equation 9).

Legend of the shape suffixes: R rows of latents (one for each of the L weightings, then the hidden exemplars),
N candidates, M rewards, S rewards that a row uses, C channels, H height, W width, D = C*H*W.
"""

import asyncio
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.guidance.combining.options import WEIGHTED_SUM, Combining
from pipeline.guidance.ports import Query
from pipeline.guidance.row_gradients import (
    Correction,
    Gradients,
    corrected_gradients,
    gradient_cosines,
    plain_gradients,
)
from pipeline.guidance.search_gradient import Move
from pipeline.guidance.shaping import PLAIN, Shaping
from pipeline.guidance.simplex import TOLERANCE, Soup, support


@dataclass(frozen=True)
class Guided:
    """The outcome of a guided step.

    Attributes:
        x_RCHW: the latents x_{t-1}, float32.
        norm_R: the length of each row's search gradient, in units of the noise, before the move.
        reward_mean_RM, reward_std_RM: the mean and the standard deviation of each reward over the candidates that gave
            the row's gradient; NaN for a reward whose weight is 0 in the row.
        cosine_RMM: the cosines of the rewards' search gradients in each row, before they are added; see
            `row_gradients.gradient_cosines`.
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
    move: Move,
    shaping: Shaping = PLAIN,
    combining: Combining = WEIGHTED_SUM,
) -> Guided:
    """Move all rows by Algorithm 2. Only candidates of the M exemplars are scored, each by one reward: M*N queries.

    The exemplar of reward m moves along its own gradient g_m. Every other row moves along
    sum_m w_m (g_m + correction_m), which reuses the exemplars' rewards (Equation 11, Propositions 3 and 4). Options of
    `shaping` that act in `exemplars` shape the factors of one-hot rows alone.
    """
    z_ND, mu_RD = z_NCHW.flatten(1), mu_RCHW.flatten(1).double()
    queries = [query(candidates(mu_RCHW[c], sigma, z_NCHW), step, (m,)) for m, c in enumerate(soup.exemplars)]
    scores_MN = torch.stack([r_N1.squeeze(1) for r_N1 in await asyncio.gather(*queries)])
    own_MN, shared_MN = (
        torch.stack([shaping(r_N, m, exemplar=exemplar) for m, r_N in enumerate(scores_MN)])
        for exemplar in (True, False)
    )
    used_RM = soup.w_RM > TOLERANCE
    # Decided by the weight, not by the means: all rows start equal, and rounding must not choose the formula.
    one_hot_R = used_RM.sum(1) == 1
    r_RMN = torch.where(one_hot_R[:, None, None], own_MN, shared_MN) * soup.w_RM.where(used_RM, 0.0)[:, :, None]
    gradients = combining.gradients(
        r_RMN, lambda r: corrected_gradients(r, ~one_hot_R, z_ND, mu_RD, soup.exemplars, sigma, correction)
    )

    mean_RM = scores_MN.mean(1).expand_as(soup.w_RM)
    std_RM = scores_MN.std(1, correction=0).expand_as(soup.w_RM)
    return moved(mu_RCHW, sigma, gradients, move, mean_RM.where(used_RM, torch.nan), std_RM.where(used_RM, torch.nan))


async def weighted_sum_step(
    mu_RCHW: Tensor,
    sigma: float,
    z_NCHW: Tensor,
    w_RM: Tensor,
    query: Query,
    step: int,
    move: Move,
    shaping: Shaping = PLAIN,
    combining: Combining = WEIGHTED_SUM,
) -> Guided:
    """Move all rows by Equation 9. Every row has its own N candidates, scored by each reward with w_m > 0.

    g^l = sum_m w_m (1/N) sum_n r~_mn z^n. Each reward is normalised over the candidates of the row. `combining` may put
    other weights in the place of w.
    """
    r_RMN, mean_RM, std_RM = await row_rewards(mu_RCHW, sigma, z_NCHW, w_RM, query, step, shaping)
    r_RMN *= combining.weights(w_RM, mean_RM, std_RM)[:, :, None]
    gradients = combining.gradients(r_RMN, lambda r: plain_gradients(r, z_NCHW.flatten(1)))
    return moved(mu_RCHW, sigma, gradients, move, mean_RM, std_RM)


def candidates(mu_CHW: Tensor, sigma: float, z_NCHW: Tensor) -> Tensor:
    """Return the candidates x_{t-1}^n = mu + sigma z^n; added in place, to spare the page faults of a second tensor."""
    return (sigma * z_NCHW).add_(mu_CHW)


async def row_rewards(
    mu_RCHW: Tensor, sigma: float, z_NCHW: Tensor, w_RM: Tensor, query: Query, step: int, shaping: Shaping
) -> tuple[Tensor, Tensor, Tensor]:
    """Score every row's own candidates mu + sigma z^n by each reward with w_m > 0.

    Returns:
        r~ (R, M, N), float64, normalised over the candidates of the row, 0 for a reward that is not used; and the means
        and the standard deviations of the rewards over the candidates (R, M), NaN for a reward that is not used.
    """
    supports = [support(w_M) for w_M in w_RM]
    queries = [
        query(candidates(mu_CHW, sigma, z_NCHW), step, support)
        for mu_CHW, support in zip(mu_RCHW, supports, strict=True)
    ]
    r_RMN = torch.zeros(*w_RM.shape, len(z_NCHW), dtype=torch.float64)
    mean_RM, std_RM = torch.full_like(w_RM, torch.nan), torch.full_like(w_RM, torch.nan)
    for row, scores_NS in enumerate(await asyncio.gather(*queries)):
        for m, r_N in zip(supports[row], scores_NS.T, strict=True):
            r_RMN[row, m] = shaping(r_N, m, exemplar=False)
            mean_RM[row, m], std_RM[row, m] = r_N.mean(), r_N.std(correction=0)
    return r_RMN, mean_RM, std_RM


def moved(mu_RCHW: Tensor, sigma: float, gradients: Gradients, move: Move, mean_RM: Tensor, std_RM: Tensor) -> Guided:
    """Return the outcome of a step in which each row moves along its gradient."""
    g_RD, gram_RMM = gradients
    s_RD = torch.stack([move(g_D) for g_D in g_RD])
    x_RCHW = (mu_RCHW.double() + sigma * s_RD.view_as(mu_RCHW)).float()
    return Guided(x_RCHW, torch.linalg.vector_norm(g_RD, dim=1), mean_RM, std_RM, gradient_cosines(gram_RMM))
