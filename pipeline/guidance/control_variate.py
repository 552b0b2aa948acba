"""The learned control variate: search gradients of lower variance, from a surrogate r^ of the rewards.

For any function r^ of the look-ahead latents x0 that is differentiable, Stein's lemma E[f(z) z] = E[grad f(z)] gives

    g = E[r z] = E[(r - r^) z] + sigma E[grad_mu r^(x0(mu + sigma z))],   z ~ N(0, I).

The first term is estimated from the N candidates whose rewards are queried, the second from one backward pass through
the denoiser for each row, with no query and no decode. The estimate is unbiased for every r^. Its variance is 1 - rho^2
times that of the plain estimate, if r^ is the best predictor of r along its own values and rho is their correlation.
(Control variates by Stein's lemma: Liu et al. 2018, arXiv 1710.11198; a learned surrogate as control variate:
Grathwohl et al. 2018, arXiv 1711.00123.)

Legend of the shape suffixes: R rows of latents (one for each of the L weightings, then the hidden exemplars),
N candidates, M rewards, S rewards that a row uses, C channels, H height, W width, D = C*H*W.
"""

import asyncio
import math
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.guidance.ports import Surrogate
from pipeline.guidance.row_gradients import Correction, Gradients, corrected_gradients, plain_gradients
from pipeline.guidance.search_gradient import STD_FLOOR, Move
from pipeline.guidance.simplex import TOLERANCE, Soup, support
from pipeline.guidance.soup import Guided, moved

# The recorded deviation of a reward counts as much as that many candidates. So a step with two candidates whose rewards
# happen to be equal, or nearly so, does not blow the reward up.
PRIOR_CANDIDATES = 8


class Residual(NamedTuple):
    """What the N candidates of a row tell about one reward.

    Attributes:
        r_N: (r - r^ - its mean) / unit, float64.
        unit: the deviation of the reward over the candidates, > 0, in units of the reward.
        mean, std: the mean and the population std of the reward itself; NaN if N = 0.
    """

    r_N: Tensor
    unit: float
    mean: float
    std: float


def residual(r_N: Tensor, predicted_N: Tensor, recorded: float) -> Residual:
    """Return (r - r^ - mean(r - r^)) / unit, with the unit as in `unit_of`.

    Equal differences give exact zeros, as in `search_gradient.normalise`. If r^ is 0 and no deviation is recorded, the
    result is `normalise(r_N)`, to the bit.

    Args:
        r_N: the rewards of the candidates; N = 0 or N >= 2.
        predicted_N: r^ of the same candidates, in units of the reward.
        recorded: the deviation that the surrogate was trained with; 0 if none is known.
    """
    unit = unit_of(r_N, recorded)
    if not len(r_N):
        return Residual(torch.zeros(0, dtype=torch.float64), unit, torch.nan, torch.nan)
    d_N = r_N.double() - predicted_N.double()
    centred_N = torch.zeros_like(d_N) if (d_N == d_N[0]).all() else (d_N - d_N.mean()) / unit
    return Residual(centred_N, unit, r_N.mean().item(), r_N.std(correction=0).item())


def unit_of(r_N: Tensor, recorded: float) -> float:
    """Return sqrt((P recorded^2 + N var(r)) / (P + N)) + 1e-8, with P = `PRIOR_CANDIDATES`; P = 0 if recorded is 0.

    Without a record it is the deviation over the candidates themselves, as in the plain estimate.
    """
    if not recorded:
        return r_N.double().std(correction=0).item() + STD_FLOOR
    n = len(r_N)
    spread = n * r_N.double().var(correction=0).item() if n else 0.0
    return math.sqrt((PRIOR_CANDIDATES * recorded**2 + spread) / (PRIOR_CANDIDATES + n)) + STD_FLOOR


def stein_factor(w: float, unit: float, n: int) -> float:
    """Return the factor of grad r^ of one reward in a row's gradient: w (N - 1) / (N unit); w / unit if N = 0.

    (N - 1) / N is what centring by the mean of N candidates leaves of the first term, and of the plain estimate.
    """
    return w / unit * ((n - 1) / n if n else 1.0)


async def surrogate_step(
    mu_RCHW: Tensor,
    sigma: float,
    z_NCHW: Tensor,
    e_CHW: Tensor,
    soup: Soup,
    surrogate: Surrogate,
    step: int,
    shared: bool,
    correction: Correction,
    move: Move,
    unbiased: bool = True,
) -> Guided:
    """Move all rows along g^l = sum_m w_m ((1/N) sum_n (r - r^)~_mn z^n + sigma (N-1)/N grad r^_m / unit_m).

    If `shared` is true, the step is a soup step: only candidates of the M exemplars are scored, each by one reward, and
    the differences r - r^ are carried to the other rows as `soup.soup_step` carries rewards. The second term is each
    row's own. Otherwise every row has its own N candidates. N = 0 leaves the second term alone.

    Args:
        z_NCHW: the noises of the candidates.
        unbiased: whether the first term is added. If not, the candidates give the units of the rewards and nothing
            more.
        e_CHW: the noise at which grad r^ is evaluated, the same for all rows.
    """
    n, used_RM = len(z_NCHW), soup.w_RM > TOLERANCE
    recorded_M = surrogate.deviation(step)
    residuals = await (_of_exemplars if shared else _of_rows)(mu_RCHW, sigma, z_NCHW, soup, surrogate, step, recorded_M)
    r_RMN, factor_RM = torch.zeros(*soup.w_RM.shape, n, dtype=torch.float64), torch.zeros_like(soup.w_RM)
    mean_RM, std_RM = torch.full_like(soup.w_RM, torch.nan), torch.full_like(soup.w_RM, torch.nan)
    for row, m in used_RM.nonzero().tolist():
        w, found = soup.w_RM[row, m], residuals[row][m]
        factor_RM[row, m] = stein_factor(w.item(), found.unit, n)
        mean_RM[row, m], std_RM[row, m] = found.mean, found.std
        r_RMN[row, m] = w * found.r_N
    mu_RD, z_ND = mu_RCHW.flatten(1).double(), z_NCHW.flatten(1)
    if not n or not unbiased:
        gradients = Gradients(torch.zeros_like(mu_RD), torch.zeros(*soup.w_RM.shape, len(recorded_M)).double())
    elif shared:
        mixed_R = used_RM.sum(1) > 1
        gradients = corrected_gradients(r_RMN, mixed_R, z_ND, mu_RD, soup.exemplars, sigma, correction)
    else:
        gradients = plain_gradients(r_RMN, z_ND)
    gradient_RCHW = await surrogate.gradient(mu_RCHW + sigma * e_CHW, step, factor_RM)
    gradients.g_RD.add_(gradient_RCHW.flatten(1).double(), alpha=sigma)
    # The second term is known for all rewards together only, so the cosines of the rewards' gradients are not.
    gradients.gram_RMM.fill_(torch.nan)
    return moved(mu_RCHW, sigma, gradients, move, mean_RM, std_RM)


Residuals = list[dict[int, Residual]]


async def _of_rows(
    mu_RCHW: Tensor, sigma: float, z_NCHW: Tensor, soup: Soup, surrogate: Surrogate, step: int, recorded_M: Tensor
) -> Residuals:
    """Return, for each row and each reward that it uses, the residual over candidates of its own."""
    supports = [support(w_M) for w_M in soup.w_RM]
    answers = await asyncio.gather(
        *(surrogate.query(mu_CHW + sigma * z_NCHW, step, used) for mu_CHW, used in zip(mu_RCHW, supports, strict=True))
    )
    return [
        {m: residual(r_N, p_N, recorded_M[m].item()) for m, r_N, p_N in zip(used, r_NS.T, p_NS.T, strict=True)}
        for used, (r_NS, p_NS) in zip(supports, answers, strict=True)
    ]


async def _of_exemplars(
    mu_RCHW: Tensor, sigma: float, z_NCHW: Tensor, soup: Soup, surrogate: Surrogate, step: int, recorded_M: Tensor
) -> Residuals:
    """Return the residuals of the M exemplars, one for each reward, which all rows share."""
    answers = await asyncio.gather(
        *(surrogate.query(mu_RCHW[c] + sigma * z_NCHW, step, (m,)) for m, c in enumerate(soup.exemplars))
    )
    found = {m: residual(r_NS[:, 0], p_NS[:, 0], recorded_M[m].item()) for m, (r_NS, p_NS) in enumerate(answers)}
    return [found] * len(soup.w_RM)
