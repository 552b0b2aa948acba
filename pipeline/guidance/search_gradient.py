"""The reward-guided search gradient (Theorem 1, Algorithm 1) and the move along it.

Legend of the shape suffixes: N candidates, D = C*H*W latent entries, M rewards.
All arithmetic here is float64. N is small, so it is cheap, and the sums do not depend on how they are blocked.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

StepKind = Literal["sphere", "gradient"]

# Stops a reward that differs by rounding noise alone from being scaled up (the released code's value).
STD_FLOOR = 1e-8


def normalise(r_N: Tensor) -> Tensor:
    """Return r~ = (r - mean) / (std + 1e-8) over the N candidates, with the population std.

    Equal rewards carry no direction and give exact zeros. The formula alone would give the rounding noise of the mean
    divided by 1e-8, and the sphere step would then stretch that noise to full length.
    """
    if (r_N == r_N[0]).all():
        return torch.zeros_like(r_N, dtype=torch.float64)
    r_N = r_N.double()
    return (r_N - r_N.mean()) / (r_N.std(correction=0) + STD_FLOOR)


def search_gradient(r_N: Tensor, z_ND: Tensor) -> Tensor:
    """Return g = (1/N) sum_n r~_n z^n, shape (D,), in units of the noise.

    The paper's gradient with respect to the mean is g / sigma (Equation 6, Algorithm 1 line 4).

    Args:
        r_N: normalised rewards of the candidates mu + sigma z^n.
        z_ND: noises of the candidates (in a soup, the corrected noises).
    """
    return r_N.double() @ z_ND.double() / len(z_ND)


@dataclass(frozen=True)
class Move:
    """The rule for a move along a search gradient: x_{t-1} = mu + sigma s(g).

    Attributes:
        kind: the rule for the length.
        strength: the share tau of the move that is along the gradient, in (0, 1]; less than 1 with `sphere` only.
        fresh_D: the noise of the rest of the move; None if the strength is 1.
    """

    kind: StepKind
    strength: float = 1.0
    fresh_D: Tensor | None = None

    def __call__(self, g_D: Tensor) -> Tensor:
        """Return s(g), shape (D,). With strength 1 it is `move(g_D, kind)`.

        With less it is u scaled to length sqrt(D), u = tau g / ||g|| + sqrt(1 - tau^2) f / ||f||, with the fresh noise
        f. If g = 0, it is the fresh noise alone.
        """
        if self.fresh_D is None:
            return move(g_D, self.kind)
        along_D, fresh_D = move(g_D, "sphere"), move(self.fresh_D.to(g_D), "sphere")
        return move(self.strength * along_D + math.sqrt(1 - self.strength**2) * fresh_D, "sphere")


def move(g_D: Tensor, step: StepKind) -> Tensor:
    """Return s(g), shape (D,), so that x_{t-1} = mu + sigma s(g).

    - `sphere`: sqrt(D) g / ||g||. Its length is that of a typical noise draw, so the sample stays in the region that
      the model expects (the released code). If g = 0, there is no direction and s(0) = 0.
    - `gradient`: g itself, which is Equation 7 with tau_t = beta_t: sigma^2 (g / sigma) = sigma g.
    """
    if step == "gradient":
        return g_D
    norm = torch.linalg.vector_norm(g_D)
    if norm == 0:
        return g_D
    scale: Tensor = math.sqrt(g_D.numel()) / norm
    return g_D * scale
