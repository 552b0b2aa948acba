"""Turns the rewards of a step's candidates into factors of their noises: normalise, apply targets, keep the elite."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pipeline.guidance.search_gradient import normalise

Normalisation = Literal["std", "tanh", "min-max"]
# Where an option of one reward acts: on the rows of that reward alone in soup steps, or on all rows in all steps.
Place = Literal["exemplars", "everywhere"]


@dataclass(frozen=True)
class Shaping:
    """How the rewards of N candidates become the factors of their noises, for one reward at a time.

    Attributes:
        normalisation: `std` is r~ = (r - mean) / (std + 1e-8) (the paper); `tanh` is tanh of that, which caps
            outliers; `min-max` is (r - min) / (max - min), in [0, 1]. The last two need not have mean 0.
        elite_fraction: for each reward, the fraction of the N candidates that keep their r~ (`elite_size`); they are
            the best of those that are not past the target, and all others get 0. Among equal rewards the earlier
            candidate counts as better. 1 keeps all; empty if no reward has an elite. The released code has 1/6 for
            compressibility.
        satisfied_above: a target for each reward, or None for a reward without one; empty if no reward has a target.
            A candidate whose reward is above the target is past it. It gets r~ = 0, and the mean and std (or min and
            max) are those of the other candidates. The released code has -15 kB for compressibility.
        elite_in: where elite fractions act; `exemplars` is the released code's way.
        satisfied_in: where targets act; `everywhere` is the released code's way.
    """

    normalisation: Normalisation = "std"
    elite_fraction: tuple[float, ...] = ()
    satisfied_above: tuple[float | None, ...] = ()
    elite_in: Place = "exemplars"
    satisfied_in: Place = "everywhere"

    def __call__(self, r_N: Tensor, reward: int, *, exemplar: bool) -> Tensor:
        """Return r~ of the candidates, float64, shape (N,).

        If the rewards of all candidates that are not past the target are equal, all entries are 0. If only one such
        candidate is left, its entry is 1 and all others are 0. If none is left, r~ is (1, 0, ..., 0): the step is
        then a plain noise draw, because the mean alone would take the variance out of the latent.

        Args:
            r_N: the candidates' values of one reward.
            reward: the index of that reward.
            exemplar: whether the factors are for a row of this reward alone in a soup step.
        """
        target = self._target(reward, exemplar)
        if target is None:
            shaped_N = self._normalised(r_N)
        else:
            left_N = r_N <= target
            shaped_N = torch.zeros_like(r_N, dtype=torch.float64)
            if left_N.sum() < 2:
                shaped_N[left_N.int().argmax()] = 1.0
                return shaped_N
            shaped_N[left_N] = self._normalised(r_N[left_N])
            r_N = r_N.where(left_N, -torch.inf)
        rest = torch.sort(r_N, descending=True, stable=True).indices[self._kept(len(r_N), reward, exemplar) :]
        shaped_N[rest] = 0.0
        return shaped_N

    def _target(self, reward: int, exemplar: bool) -> float | None:
        acts = exemplar or self.satisfied_in == "everywhere"
        return self.satisfied_above[reward] if acts and self.satisfied_above else None

    def _kept(self, n: int, reward: int, exemplar: bool) -> int:
        acts = exemplar or self.elite_in == "everywhere"
        return elite_size(n, self.elite_fraction[reward]) if acts and self.elite_fraction else n

    def _normalised(self, r_N: Tensor) -> Tensor:
        """Return r~ of these candidates before any of them is left out; all 0 if their rewards are equal."""
        shaped_N = normalise(r_N)
        if self.normalisation == "tanh":
            return shaped_N.tanh()
        if self.normalisation == "min-max" and shaped_N.any():
            r_N = r_N.double()
            return (r_N - r_N.min()) / (r_N.max() - r_N.min())
        return shaped_N


PLAIN = Shaping()


def elite_size(n: int, fraction: float) -> int:
    """Return how many of n candidates an elite fraction keeps: the whole part of n times the fraction, at least 1.

    A fraction that is 1/k to two or three digits, such as 0.16667 or 0.33, keeps n // k, as exact 1/k does.
    """
    parts = round(1 / fraction)
    if parts > 1 and abs(1 / fraction - parts) < 0.05:
        return max(1, n // parts)
    return max(1, int(n * fraction + 1e-9))
