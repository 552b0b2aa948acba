"""How the cosine of two rows' search gradients falls with the distance of the rows, measured as a prompt is guided.

One step has too few candidates for the cosine of two rows: with N = 16 and D = 1,024 the deviation of one split-half
product is sqrt(2 D) / N = 2.8, and the product itself is below 1. Therefore one number is measured, the rate kappa of

    cos(G_a, G_b) = exp(-kappa Delta_ab),   Delta_ab = |mu_a - mu_b|^2 / (8 sigma^2 D),

from all pairs of evaluated rows of this step and of the steps before it. Delta is the mean Bhattacharyya distance of
the rows' distributions (Appendix B). By itself it does not tell when sharing is safe; kappa depends on the rewards.

Nor does the split-half product stand alone. By Bessel's inequality |G_a - G_b|^2 is within 0 and V_ab, the variance of
r~_a - r~_b over common noises, which a few candidates give well. So the two are combined as an estimate and a prior:
each counts by the inverse of its variance. With few candidates the cosine is the correlation of the rows' rewards over
common noises, that is, the cosine of their gradients if the same share of both is linear in the noise. The more
candidates there are, the more the unbiased product decides.

Legend of the shape suffixes: R rows, A evaluated rows, M rewards, N candidates, D = C*H*W latent entries.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.guidance.sharing.split_half import product_deviation, split_half_products

# The weight of a step's measurements halves in about three steps: the cosine may fall from 1 to .3 within two.
FORGETTING = 0.8
# At least this share of a reward's variance is taken to be linear in the noise; it was .5 to .8 on the embedded model.
LEAST_LINEAR = 0.25
# The prior of a number that is known to lie in 0..1: its mean and its variance, those of the uniform distribution.
PRIOR_MEAN, PRIOR_VARIANCE = 0.5, 1 / 12


def distances(mu_RD: Tensor, sigma: float) -> Tensor:
    """Return Delta of all pairs of rows, float64, shape (R, R), exactly 0 for equal means."""
    delta_RR = torch.zeros(len(mu_RD), len(mu_RD), dtype=torch.float64)
    for row in range(len(mu_RD)):
        difference_KD = mu_RD[row + 1 :] - mu_RD[row]
        delta_RR[row, row + 1 :] = torch.linalg.vecdot(difference_KD, difference_KD)
    return (delta_RR + delta_RR.T) / (8 * sigma**2 * mu_RD.shape[1])


class _Measured(NamedTuple):
    """The measurements of one step.

    Attributes:
        step: the index of the step.
        d: the sum over pairs and shared rewards of the split-half estimates of |G_a - G_b|^2.
        spread: the sum of V_ab over the same, which d may be at most.
        level, levels: the sum of the split-half estimates of |G_a|^2 over rows and rewards, and the number of terms.
        deviation: the standard deviation of one product of rewards of variance 1.
        pairs: the distance and the number of shared rewards of each pair.
    """

    step: int
    d: float
    spread: float
    level: float
    levels: int
    deviation: float
    pairs: tuple[tuple[float, int], ...]


class CosineLaw:
    """The measured rate kappa of one prompt; see the top of this module."""

    def __init__(self) -> None:
        self._measured: list[_Measured] = []

    def measure(self, step: int, r_AMN: Tensor, reads_AM: Tensor, z_ND: Tensor, delta_AA: Tensor) -> None:
        """Take the rewards of a step's candidates with common noises into account.

        By linearity P_aa + P_bb - 2 P_ab is the split-half estimate of |G_a - G_b|^2.

        Args:
            step: the index of the step.
            r_AMN: normalised rewards (`search_gradient.normalise`); 0 for a reward that a row does not read.
            reads_AM: whether a row reads a reward.
            z_ND: the noises of the candidates, the same in all rows.
            delta_AA: the distances of the evaluated rows.
        """
        # Equal rewards have no direction: they say nothing about cosines.
        known_AM = reads_AM & (r_AMN != 0).any(2)
        products_MAB = split_half_products(r_AMN, z_ND)
        own_MA = products_MAB.diagonal(dim1=1, dim2=2)
        d, spread, pairs = 0.0, 0.0, []
        for a, b in torch.combinations(torch.arange(len(r_AMN)), 2).tolist():
            shared_M = known_AM[a] & known_AM[b]
            if shared_M.any() and delta_AA[a, b] > 0:
                d += (own_MA[:, a] + own_MA[:, b] - 2 * products_MAB[:, a, b])[shared_M].sum().item()
                spread += (r_AMN[a] - r_AMN[b]).var(1, correction=0)[shared_M].sum().item()
                pairs.append((delta_AA[a, b].item(), int(shared_M.sum())))
        level, levels = own_MA.T[known_AM].sum().item(), int(known_AM.sum())
        deviation = product_deviation(*z_ND.shape)
        self._measured.append(_Measured(step, d, spread, level, levels, deviation, tuple(pairs)))

    def rate(self, step: int) -> float | None:
        """Return kappa for a step, from the steps before it; None if no two distant rows have been evaluated yet.

        With weights .8^age, kappa solves sum_pairs (d_ab / 2 - g (1 - exp(-kappa Delta_ab))) = 0 for the mean g of
        |G|^2: the law above for gradients of equal length. g is the mean of the measured one and 1/2, d that of the
        measured one and g V, by the inverse variances; that of the priors is 1/12 and V^2 / 12 (uniform within their
        bounds). Both are cut to at least a quarter of the variance. Products of the same step have the same noises, so
        their errors count as equal. kappa is 0 if the rewards do not differ, and inf if they differ more than the law
        allows.
        """
        weighted = [(FORGETTING ** (step - one.step), one) for one in self._measured]
        terms = [(weight * n, delta) for weight, one in weighted for delta, n in one.pairs]
        if not terms:
            return None
        levels = sum(weight * one.levels for weight, one in weighted)
        level = sum(weight * one.level for weight, one in weighted) / levels
        error = sum((weight * one.levels * one.deviation) ** 2 for weight, one in weighted) / levels**2
        level = min(max(_combined(level, error, PRIOR_MEAN, PRIOR_VARIANCE), LEAST_LINEAR), 1.0)
        spread = sum(weight * one.spread for weight, one in weighted)
        if spread == 0:
            return 0.0
        d = sum(weight * one.d for weight, one in weighted)
        error = sum((weight * one.spread * one.deviation) ** 2 for weight, one in weighted)
        d = min(max(_combined(d, error, level * spread, PRIOR_VARIANCE * spread**2), LEAST_LINEAR * spread), spread)
        return _solved(d / (2 * level), terms)


def _combined(estimate: float, error: float, prior: float, spread: float) -> float:
    """Return the mean of two numbers, each of which counts by the inverse of its variance."""
    return (estimate * spread + prior * error) / (spread + error)


def cosine(rate: float, delta: float) -> float:
    """Return exp(-kappa Delta), in 0..1; 1 for equal means, whatever kappa is."""
    return math.exp(-rate * delta) if delta else 1.0


def _solved(target: float, terms: Sequence[tuple[float, float]]) -> float:
    """Return the kappa >= 0 of sum weight (1 - exp(-kappa delta)) = target, by bisection; inf if there is none."""

    def fall(rate: float) -> float:
        return sum(weight * -math.expm1(-rate * delta) for weight, delta in terms)

    if target <= 0:
        return 0.0
    if target >= sum(weight for weight, _ in terms):
        return math.inf
    low, high = 0.0, 1.0
    while fall(high) < target:
        low, high = high, 2 * high
        if high == math.inf:
            return high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if fall(middle) < target else (low, middle)
    return high
