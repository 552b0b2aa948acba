"""Inner products and cosines of search gradients, estimated from halves of the candidates that share no noise.

Legend of the shape suffixes: A evaluated rows (anchors), M rewards, N candidates, D = C*H*W latent entries.
All arithmetic is float64.
"""

import math

import torch
from torch import Tensor


def split_half_products(r_AMN: Tensor, z_ND: Tensor) -> Tensor:
    """Return unbiased estimates of <G_am, G_bm> for all pairs of rows a, b and each reward m, shape (M, A, A).

    G_am = E[r_am z] is the true search gradient. The estimate g_am = (1/N) sum_n r_amn z^n of it has the noise
    z^n of every candidate in it, so <g_am, g_bm> also counts how far two estimates agree by their common noises, and
    <g_am, g_am> counts D/N too much. Halves of the candidates that have no candidate in common are independent, so
    <g_am of one half, g_bm of the other half> is unbiased. The mean of it over all splits into halves is

        P_ab = (1/Z) sum_{n != k} r_amn r_bmk <z^n, z^k>,

    which is what is returned. With rewards that are centred over all N candidates, Z = (N-1) ((N-1)^2 + 1) / N
    makes it unbiased for every reward function.

    Args:
        r_AMN: the rewards of each row's candidates, centred over the candidates; 0 for a reward that was not read.
            Any scale of a row's rewards scales its products, and cancels in cosines.
        z_ND: the noises of the candidates, the same in all rows, N >= 2.
    """
    n, z_ND = len(z_ND), z_ND.double()
    gram_NN = (z_ND @ z_ND.T).fill_diagonal_(0.0)
    return torch.einsum("amn,nk,bmk->mab", r_AMN, gram_NN, r_AMN) * n / ((n - 1) * ((n - 1) ** 2 + 1))


def product_deviation(n: int, d: int) -> float:
    """Return sqrt(2 D) / N, the standard deviation of P for rewards of variance 1, to leading order."""
    return math.sqrt(2 * d) / n


def split_half_cosine(products_AB: Tensor) -> Tensor:
    """Return P_ab / sqrt(P_aa P_bb), the cosines of the true gradients, in -1..1; NaN if P_aa or P_bb is not above 0.

    Its numerator and its squared denominator are unbiased, so it is consistent in the number of products averaged. The
    ratio of two gradients' plain estimates is not: it tends to the correlation of their noises.
    """
    length_A = products_AB.diagonal().clamp(min=0).sqrt()
    length_A = length_A.where(length_A > 0, torch.nan)
    return (products_AB / (length_A[:, None] * length_A[None, :])).clamp(-1.0, 1.0)
