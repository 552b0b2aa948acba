"""The search gradients of all rows of a step at once, as two matrix products.

Legend of the shape suffixes: R rows of latents, N candidates, M rewards, D = C*H*W latent entries.

Whatever the correction, the gradient of a row is a linear combination of the N noises and of the means of the rows,
g = A z + B mu. Only the small matrices A (R, N) and B (R, R) depend on the correction. So the noises are read twice a
step, once for the lengths of the corrected noises and once for A z, and not once for each row and reward. All
arithmetic is float64.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

# Columns of the noises that are converted to float64 at a time: 30 candidates of them fit a core's cache.
BLOCK = 1024

Correction = Literal["none", "mean-shift", "renormalised"]


class Gradients(NamedTuple):
    """The search gradients of all rows.

    Attributes:
        g_RD: the gradient of each row, summed over the rewards, float64, in units of the noise.
        gram_RMM: the inner products of the rewards' gradients in each row, before they are summed.
    """

    g_RD: Tensor
    gram_RMM: Tensor


def plain_gradients(r_RMN: Tensor, z_ND: Tensor) -> Gradients:
    """Return g^l = sum_m (1/N) sum_n r~_lmn z^n for every row.

    Args:
        r_RMN: for each row the normalised rewards of its own candidates, times the weight of the reward in the row
            (Equation 9).
        z_ND: the noises of the candidates, float32.
    """
    return _gradients(r_RMN, z_ND, None)


def _gradients(r_RMN: Tensor, z_ND: Tensor, shifts: tuple[Tensor, Tensor] | None) -> Gradients:
    """Return the gradients of `r_RMN`, plus b (R * M, R) times the shifts (R, D) of the means if they are given."""
    n_rows, n_rewards, n = r_RMN.shape
    a_PN = r_RMN.reshape(-1, n) / n
    g_RD = torch.empty(n_rows, z_ND.shape[1], dtype=torch.float64)
    gram_RMM = torch.zeros(n_rows, n_rewards, n_rewards, dtype=torch.float64)
    for columns, z_NB in _blocks(z_ND):
        g_PB = a_PN @ z_NB
        if shifts is not None:
            g_PB.addmm_(shifts[0], shifts[1][:, columns])
        g_RMB = g_PB.view(n_rows, n_rewards, -1)
        gram_RMM += g_RMB @ g_RMB.mT
        g_RD[:, columns] = g_RMB.sum(1)
    return Gradients(g_RD, gram_RMM)


def _blocks(z_ND: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield the noises as float64, some columns at a time, always in the same buffer.

    A copy of all noises would be fresh memory in every step, and the page faults cost more than the products.
    """
    n, d = z_ND.shape
    buffer = torch.empty(n * min(BLOCK, d), dtype=torch.float64)
    for start in range(0, d, BLOCK):
        columns = slice(start, min(start + BLOCK, d))
        z_NB = buffer[: n * (columns.stop - start)].view(n, -1)
        yield columns, z_NB.copy_(z_ND[:, columns])


def corrected_gradients(
    r_RMN: Tensor,
    corrected_R: Tensor,
    z_ND: Tensor,
    mu_RD: Tensor,
    exemplars: Sequence[int],
    sigma: float,
    correction: Correction,
) -> Gradients:
    """Return sum_m w_m (g_m + correction_m) for every row: the exemplars' gradients, carried over to the row.

    With d = c_m - mu^l, the distance from the mean of the row to that of the exemplar of reward m:

    - `none`: g_m.
    - `mean-shift` (Equation 11): g_m + mean(r~) d / sigma. The paper writes no 1/sigma, because its appendix drops it
      from z = (x - c)/sigma; with 1/sigma the units agree. The correction is 0 if r~ has mean 0.
    - `renormalised` (the released code): (1/N) sum_n r~_n u^n, where u^n is z^n + d scaled to length sqrt(D). As in
      the appendix, the shift has no 1/sigma. The length of z^n + d is found from |z|^2 + 2 z.d + |d|^2.

    Args:
        r_RMN: for each row the normalised rewards of the exemplars' candidates, times the weight w_m of the row.
        corrected_R: whether the row is corrected. An exemplar itself needs no correction.
        z_ND: the noises of the candidates, float32.
        mu_RD: the means of the rows, float64.
        exemplars: the rows of the M exemplars; c_m is the mean of the m-th.
        sigma: the standard deviation of the step, > 0.
        correction: the rule.
    """
    if correction == "none":
        return plain_gradients(r_RMN, z_ND)
    # Relative to one exemplar, because the means are close to each other and differences of their products cancel.
    shift_RD = mu_RD - mu_RD[exemplars[0]]
    if correction == "mean-shift":
        b_RM = r_RMN.mean(2) / sigma
    else:
        scale_RMN = math.sqrt(z_ND.shape[1]) / _lengths(z_ND, shift_RD, list(exemplars))
        r_RMN = r_RMN * scale_RMN.where(corrected_R[:, None, None], 1.0)
        b_RM = r_RMN.mean(2)
    b_RM = b_RM.where(corrected_R[:, None], 0.0)
    # As a matrix of the rows' shifts, b (c_m - mu^l) of all rows and rewards is one small product.
    rows, rewards = torch.arange(len(b_RM))[:, None], torch.arange(len(exemplars))
    b_RMR = torch.zeros(*b_RM.shape, len(b_RM), dtype=torch.float64)
    b_RMR[rows, rewards, torch.tensor(exemplars)] = b_RM
    b_RMR[rows, rewards, rows] -= b_RM
    return _gradients(r_RMN, z_ND, (b_RMR.flatten(0, 1), shift_RD))


def pooled_gradients(
    r_RAMN: Tensor,
    z_AND: Tensor,
    mu_RD: Tensor,
    anchors: Sequence[int],
    sigma: float,
    correction: Correction,
) -> Gradients:
    """Return sum_m sum_a (g_am + correction_am) for every row: the gradients of A anchors, carried over to the row.

    The corrections are those of `corrected_gradients`, with the mean of anchor a for that of the exemplar. A row that
    is the anchor itself needs none.

    Args:
        r_RAMN: for each row the normalised rewards of each anchor's candidates, times the weight of the reward in the
            row and the share of the anchor in it.
        z_AND: the noises of each anchor's candidates, float32.
        mu_RD: the means of the rows, float64.
        anchors: the rows of the A anchors.
        sigma: the standard deviation of the step, > 0.
        correction: the rule.
    """
    n_rows, n_anchors, n_rewards, _ = r_RAMN.shape
    shift_RD, shifts = mu_RD - mu_RD[anchors[0]], None
    if correction != "none":
        others_RA = torch.arange(n_rows)[:, None] != torch.tensor(anchors)
        if correction == "renormalised":
            lengths = [_lengths(z_ND, shift_RD, [a])[:, 0] for z_ND, a in zip(z_AND, anchors, strict=True)]
            scale_RAN = (math.sqrt(mu_RD.shape[1]) / torch.stack(lengths, 1)).where(others_RA[:, :, None], 1.0)
            r_RAMN = r_RAMN * scale_RAN[:, :, None]
        b_RAM = r_RAMN.mean(3) / (sigma if correction == "mean-shift" else 1.0)
        b_RAM = b_RAM.where(others_RA[:, :, None], 0.0)
        b_RMR = torch.zeros(n_rows, n_rewards, n_rows, dtype=torch.float64)
        b_RMR[:, :, list(anchors)] = b_RAM.transpose(1, 2)
        rows = torch.arange(n_rows)
        b_RMR[rows, :, rows] -= b_RAM.sum(1)
        shifts = (b_RMR.flatten(0, 1), shift_RD)
    # All noises are one set of A N noises, whose mean `_gradients` takes.
    return _gradients(n_anchors * r_RAMN.transpose(1, 2).flatten(2), z_AND.flatten(0, 1), shifts)


def _lengths(z_ND: Tensor, shift_RD: Tensor, exemplars: list[int]) -> Tensor:
    """Return |z^n + c_m - mu^l| for every row l, reward m and noise n, shape (R, M, N)."""
    square_N = torch.zeros(len(z_ND), dtype=torch.float64)
    dot_RN = torch.zeros(len(shift_RD), len(z_ND), dtype=torch.float64)
    for columns, z_NB in _blocks(z_ND):
        square_N += torch.linalg.vecdot(z_NB, z_NB)
        dot_RN += shift_RD[:, columns] @ z_NB.T
    gram_RR = shift_RD @ shift_RD.T
    length_R = gram_RR.diagonal()
    shift_RM = length_R[exemplars][None, :] + length_R[:, None] - 2 * gram_RR[:, exemplars]
    dot_RMN = dot_RN[exemplars][None, :] - dot_RN[:, None]
    return (square_N + 2 * dot_RMN + shift_RM.clamp(min=0)[:, :, None]).sqrt()


def corrected_gradient(r_N: Tensor, z_ND: Tensor, delta_D: Tensor, sigma: float, correction: Correction) -> Tensor:
    """Return g_m + correction_m, shape (D,), of one row and one reward, by `corrected_gradients`.

    Args:
        r_N: the normalised rewards of the exemplar's candidates.
        z_ND: their noises.
        delta_D: c_m - mu, from the mean of the row to that of the exemplar.
        sigma, correction: as in `corrected_gradients`.
    """
    delta_D = delta_D.double()
    mu_RD = torch.stack([delta_D, torch.zeros_like(delta_D)])
    r_RMN = torch.stack([torch.zeros_like(r_N), r_N])[:, None].double()
    return corrected_gradients(r_RMN, torch.tensor([False, True]), z_ND, mu_RD, (0,), sigma, correction).g_RD[1]


def gradient_cosines(gram_RMM: Tensor) -> Tensor:
    """Return how far the rewards pull a row in different directions: the cosines of their search gradients, (R, M, M).

    cos(g_i, g_j) = g_i . g_j / (||g_i|| ||g_j||). 1 means that both rewards pull the row in the same direction, -1
    that what raises one lowers the other. The gradients of a row are sums of the same N noises. Therefore, if the
    number D of latent entries is much larger than N, the cosine of two unrelated rewards is 0 with a standard deviation
    of 1/sqrt(N - 1).

    Args:
        gram_RMM: the inner products g_i . g_j, float64. A reward that the row does not use has the gradient 0.

    Returns:
        The cosines, in -1..1. They are NaN for a gradient of length 0.
    """
    length_RM = gram_RMM.diagonal(dim1=1, dim2=2).sqrt()
    length_RM = length_RM.where(length_RM > 0, torch.nan)
    return (gram_RMM / (length_RM[:, :, None] * length_RM[:, None, :])).clamp(-1.0, 1.0)
