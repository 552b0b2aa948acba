"""The reward-guided search gradient (Theorem 1, Algorithm 1) and the move along it.

Legend of the shape suffixes: N candidates, D = C*H*W latent entries, M rewards.
Everything here is float64: N is small, and the sums then do not depend on how they are blocked.
"""

import math
from typing import Literal

import torch
from torch import Tensor

StepKind = Literal["sphere", "gradient"]

# Keeps a reward whose spread is rounding noise from being blown up (the released code's value).
STD_FLOOR = 1e-8


def normalise(r_N: Tensor) -> Tensor:
    """r~ = (r - mean) / (std + 1e-8) over the N candidates, with the population std.

    Equal rewards carry no direction and give exact zeros; the formula alone would give rounding noise
    of the mean over 1e-8, which the sphere step would then stretch to full length.
    """
    if (r_N == r_N[0]).all():
        return torch.zeros_like(r_N, dtype=torch.float64)
    r_N = r_N.double()
    return (r_N - r_N.mean()) / (r_N.std(correction=0) + STD_FLOOR)


def search_gradient(r_N: Tensor, z_ND: Tensor) -> Tensor:
    """g = (1/N) sum_n r~_n z^n, shape (D,), in units of the noise.

    The paper's gradient with respect to the mean is g / sigma (Equation 6, Algorithm 1 line 4).

    Args:
        r_N: normalised rewards of the candidates mu + sigma z^n.
        z_ND: their noises (or, in a soup, the corrected ones).
    """
    return r_N.double() @ z_ND.double() / len(z_ND)


def move(g_D: Tensor, step: StepKind) -> Tensor:
    """s(g), so that x_{t-1} = mu + sigma s(g); shape (D,).

    - `sphere`: sqrt(D) g / ||g||, as long as a noise draw, so that the sample stays where the model
      expects it (the released code). No direction, no move: s(0) = 0.
    - `gradient`: g itself, which is Equation 7 with tau_t = beta_t: sigma^2 (g / sigma) = sigma g.
    """
    if step == "gradient":
        return g_D
    norm = torch.linalg.vector_norm(g_D)
    if norm == 0:
        return g_D
    return g_D * (math.sqrt(g_D.numel()) / norm)
