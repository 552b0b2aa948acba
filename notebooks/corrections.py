"""The error of each option of `soup.correction`, which estimates a row's gradient from the queries of an exemplar.

An exemplar has the mean c, a row of the weights has the mean mu = c + delta, and rho = ||delta|| / sigma. The smoothed
reward is F(mu) = E f(mu + sigma z). Its gradient, in units of the noise, is sigma nabla F(mu) = E f(mu + sigma z) z.
The queries of the exemplar give E f(c + sigma z) z = sigma nabla F(c) and F(c) = E f(c + sigma z). The errors of the
options, as rho -> 0, are:

- `none`: by Proposition 3, nabla F(mu) = nabla F(c) + nabla^2 F(c) delta + O(||delta||^2). This option leaves out
  sigma nabla^2 F(c) delta. The error is of order 1 in rho, of order 2 if nabla^2 F(c) delta = 0, and 0 for a linear
  reward.
- `mean-shift` (Equation 11): treats samples of N(c, sigma^2 I) as samples of N(mu, sigma^2 I). By Proposition 4, the
  total variation between the two is at most rho / 2 per sample, which gives an error of order 1. Stein's identity is
  sigma^2 nabla^2 F(c) = E f(c + sigma z) (z z' - I), and Equation 11 has only its part with -I. So the error is
  sigma (nabla^2 F(c) + F(c)/sigma^2 I) delta + O(rho^2), which in general is not smaller than that of `none`. It
  depends on the origin of the reward, although the true gradient does not. For the one origin at which this matrix
  maps delta to 0, the error is of order 2. With centred rewards, F(c) = 0, the option equals `none`.
- `renormalised`: (1/N) sum r u, where u is z - delta scaled to length sqrt(D); delta is not divided by sigma. A sphere
  step uses only the direction, so the error is the sine of the angle to the true gradient. For rewards of degree 2 it
  is 0 at rho = 0 and of order 1. For a linear reward it is of order 2, because the first order cancels between z and
  -z. For rewards of higher degree an angle remains at rho = 0.
- `expansion` is not an option but Proposition 3 with its second derivative, `none` plus sigma nabla^2 F(c) delta; the
  error is of order 2.

Legend of the shape suffixes: N nodes or candidates, D entries of a latent, R waves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.guidance.noise import step_noise
from pipeline.guidance.row_gradients import Correction, corrected_gradient
from pipeline.guidance.search_gradient import normalise, search_gradient

CORRECTIONS: tuple[Correction, ...] = ("none", "mean-shift", "renormalised")
Floats = NDArray[np.float64]


class SmoothReward(Protocol):
    """A reward f whose expectation F under N(mu, sigma^2 I) has a closed form; all tensors are float64."""

    def __call__(self, x_ND: Tensor) -> Tensor:
        """Returns f of each row, shape (N,)."""
        ...

    def mean(self, mu_D: Tensor, sigma: float) -> Tensor:
        """Returns F(mu)."""
        ...

    def gradient(self, mu_D: Tensor, sigma: float) -> Tensor:
        """Returns nabla F(mu), shape (D,)."""
        ...

    def hessian(self, mu_D: Tensor, sigma: float) -> Tensor:
        """Returns nabla^2 F(mu), shape (D, D)."""
        ...


@dataclass(frozen=True)
class Quadratic:
    """The reward f(x) = b.x + x'Ax/2 + origin with symmetric A, so F(mu) = f(mu) + sigma^2 tr(A)/2."""

    b_D: Tensor
    A_DD: Tensor
    origin: float = 0.0

    def __call__(self, x_ND: Tensor) -> Tensor:
        return x_ND @ self.b_D + ((x_ND @ self.A_DD) * x_ND).sum(1) / 2 + self.origin

    def mean(self, mu_D: Tensor, sigma: float) -> Tensor:
        return self(mu_D[None])[0] + sigma**2 * self.A_DD.trace() / 2

    def gradient(self, mu_D: Tensor, sigma: float) -> Tensor:
        return self.b_D + self.A_DD @ mu_D

    def hessian(self, mu_D: Tensor, sigma: float) -> Tensor:
        return self.A_DD


@dataclass(frozen=True)
class Waves:
    """The reward f(x) = sum_r sin(a_r.x + phi_r) + origin; noise multiplies wave r by exp(-sigma^2 |a_r|^2 / 2)."""

    a_RD: Tensor
    phi_R: Tensor
    origin: float = 0.0

    def __call__(self, x_ND: Tensor) -> Tensor:
        return torch.sin(x_ND @ self.a_RD.T + self.phi_R).sum(1) + self.origin

    def mean(self, mu_D: Tensor, sigma: float) -> Tensor:
        return (self._kept(sigma) * torch.sin(self._phase(mu_D))).sum() + self.origin

    def gradient(self, mu_D: Tensor, sigma: float) -> Tensor:
        return (self._kept(sigma) * torch.cos(self._phase(mu_D))) @ self.a_RD

    def hessian(self, mu_D: Tensor, sigma: float) -> Tensor:
        return -self.a_RD.T @ torch.diag(self._kept(sigma) * torch.sin(self._phase(mu_D))) @ self.a_RD

    def _kept(self, sigma: float) -> Tensor:
        return torch.exp(-(sigma**2) * (self.a_RD**2).sum(1) / 2)

    def _phase(self, mu_D: Tensor) -> Tensor:
        return self.a_RD @ mu_D + self.phi_R


class Nodes(NamedTuple):
    """The noises and weights of a quadrature rule: E h(z) = sum_n weight_N[n] h(z_ND[n])."""

    z_ND: Tensor
    weight_N: Tensor


def gauss_hermite(dimensions: int, points: int) -> Nodes:
    """Returns the product rule for z ~ N(0, I).

    It has points^dimensions nodes and is exact up to degree 2 points - 1 in each entry.
    """
    node, weight = np.polynomial.hermite_e.hermegauss(points)
    grid = np.stack(np.meshgrid(*[node] * dimensions, indexing="ij"), axis=-1).reshape(-1, dimensions)
    grids = np.meshgrid(*[weight / weight.sum()] * dimensions, indexing="ij")
    weights = np.prod(np.stack(grids), axis=0).reshape(-1)
    return Nodes(torch.as_tensor(grid), torch.as_tensor(weights))


def expected_gradient(
    f: SmoothReward, c_D: Tensor, delta_D: Tensor, sigma: float, correction: Correction, nodes: Nodes
) -> Tensor:
    """Returns `corrected_gradient` for infinitely many candidates: nodes, with rewards times N times their weight."""
    r_N = len(nodes.z_ND) * nodes.weight_N * f(c_D + sigma * nodes.z_ND)
    return corrected_gradient(r_N, nodes.z_ND, -delta_D, sigma, correction)


def expansion(f: SmoothReward, c_D: Tensor, delta_D: Tensor, sigma: float) -> Tensor:
    """Returns Proposition 3 with its second derivative, sigma (nabla F(c) + nabla^2 F(c) delta)."""
    return sigma * (f.gradient(c_D, sigma) + f.hessian(c_D, sigma) @ delta_D)


def distance(g_D: Tensor, truth_D: Tensor) -> float:
    """Returns ||g - truth|| / ||truth||."""
    return float((g_D - truth_D).norm() / truth_D.norm())


def sine(g_D: Tensor, truth_D: Tensor) -> float:
    """Returns the sine of the angle between g and truth, without the rounding error of 1 - cos^2."""
    unit_D = truth_D / truth_D.norm()
    return float((g_D - (g_D @ unit_D) * unit_D).norm() / g_D.norm())


def errors(
    f: SmoothReward, c_D: Tensor, direction_D: Tensor, sigma: float, rho: Sequence[float], nodes: Nodes
) -> dict[str, Floats]:
    """Returns the errors of every option and of `expansion`, one for each rho.

    The error of `renormalised` is the sine of the angle to the true gradient; all others are distances.
    """
    unit_D = direction_D / direction_D.norm()

    def error(correction: str, delta_D: Tensor) -> float:
        truth_D = sigma * f.gradient(c_D + delta_D, sigma)
        if correction == "expansion":
            return distance(expansion(f, c_D, delta_D, sigma), truth_D)
        option = next(known for known in CORRECTIONS if known == correction)
        g_D = expected_gradient(f, c_D, delta_D, sigma, option, nodes)
        return (sine if option == "renormalised" else distance)(g_D, truth_D)

    names = (*CORRECTIONS, "expansion")
    return {name: np.array([error(name, r * sigma * unit_D) for r in rho]) for name in names}


def sampled_errors(
    f: Callable[[Tensor], Tensor],
    c_D: Tensor,
    direction_D: Tensor,
    sigma: float,
    rho: Sequence[float],
    n: int,
    seed: int,
) -> dict[str, Floats]:
    """Returns the sine of the angle between the direction of a soup and the row's own, by option, one for each rho.

    As in a run, both directions come from N candidates with the same noises. The rewards are normalised over the
    candidates, so `mean-shift` equals `none`.
    """
    z_ND = step_noise(seed, 0, n, c_D.shape).double()
    unit_D = direction_D / direction_D.norm()
    r_N = normalise(f(c_D + sigma * z_ND))

    def error(correction: Correction, delta_D: Tensor) -> float:
        own_D = search_gradient(normalise(f(c_D + delta_D + sigma * z_ND)), z_ND)
        return sine(corrected_gradient(r_N, z_ND, -delta_D, sigma, correction), own_D)

    return {name: np.array([error(name, r * sigma * unit_D) for r in rho]) for name in CORRECTIONS}


def slope(rho: Sequence[float], error: Floats) -> float:
    """Returns the order of the error: the slope of a straight line fitted to (log rho, log error)."""
    return float(np.polyfit(np.log(rho), np.log(error), 1)[0])


@dataclass(frozen=True)
class Case:
    """One example of the notebook.

    Attributes:
        title: title of the figure.
        f: the reward.
        c_D: the mean of the exemplar.
        direction_D: the direction in which the row is shifted.
        sigma: the standard deviation of the noise.
    """

    title: str
    f: SmoothReward
    c_D: Tensor
    direction_D: Tensor
    sigma: float = 0.8


def cases() -> dict[str, Case]:
    """Returns the examples of the notebook and of its tests, in three dimensions."""
    b_D, away_D = _tensor(0.7, -0.4, 0.9), _tensor(0.3, 1.0, -0.5)
    A_DD = _tensor(0.5, 0.2, 0.0, 0.2, -0.8, 0.3, 0.0, 0.3, 0.4).reshape(3, 3)
    origin_D = torch.zeros(3, dtype=torch.float64)
    wave = Waves(_tensor(0.8, 0.3, 0.0, -0.2, 0.5, 0.9).reshape(2, 3), _tensor(0.4, 1.1))
    # The wave is odd around the exemplar, so its smoothed second derivative is 0 there. It runs along an axis because
    # the nodes are symmetric only about the axes: a renormalised sum keeps no other direction exactly.
    odd = Waves(_tensor(1.0, 0.0, 0.0).reshape(1, 3), _tensor(0.0))
    return {
        "linear": Case("linear", Quadratic(b_D, torch.zeros_like(A_DD)), origin_D, away_D),
        "quadratic": Case("quadratic", _centred(Quadratic(b_D, A_DD), origin_D, 0.8), origin_D, away_D),
        "waves": Case("two waves", wave, _tensor(0.2, -0.1, 0.3), away_D),
        "odd": Case("odd wave, no curvature at c", odd, origin_D, away_D),
    }


def _centred(f: Quadratic, c_D: Tensor, sigma: float) -> Quadratic:
    """Returns the same reward with F(c) = 0, as normalised rewards have."""
    return Quadratic(f.b_D, f.A_DD, f.origin - float(f.mean(c_D, sigma)))


def _tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
