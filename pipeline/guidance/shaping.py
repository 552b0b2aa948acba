"""Turns the rewards of a step's candidates into factors of their noises: normalise, keep the elite, apply targets."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pipeline.guidance.search_gradient import normalise

Normalisation = Literal["std", "tanh", "min-max"]


@dataclass(frozen=True)
class Shaping:
    """How the rewards of N candidates become the factors of their noises, for one reward at a time.

    Attributes:
        normalisation: `std` is r~ = (r - mean) / (std + 1e-8) (the paper); `tanh` is tanh of that, which caps
            outliers; `min-max` is (r - min) / (max - min), in [0, 1]. The last two need not have mean 0.
        elite_fraction: the fraction of the candidates, the best ones, that keep their r~; all others get 0. At least
            one candidate keeps it, and 1 keeps all. Among equal rewards the earlier candidate counts as better. The
            released code uses 1/6 when it guides by compressibility.
        satisfied_above: a target for each reward, or None for a reward without one. A candidate above the target gets
            r~ = 0. Empty if no reward has a target.
    """

    normalisation: Normalisation = "std"
    elite_fraction: float = 1.0
    satisfied_above: tuple[float | None, ...] = ()

    def __call__(self, r_N: Tensor, reward: int) -> Tensor:
        """Return r~ of the candidates, float64, shape (N,). If all rewards are equal, all entries are 0.

        Args:
            r_N: the candidates' values of one reward.
            reward: the index of that reward.
        """
        shaped_N = normalise(r_N)
        if not shaped_N.any():
            return shaped_N
        if self.normalisation == "tanh":
            shaped_N = shaped_N.tanh()
        elif self.normalisation == "min-max":
            r_N = r_N.double()
            shaped_N = (r_N - r_N.min()) / (r_N.max() - r_N.min())
        kept = max(1, int(self.elite_fraction * len(r_N)))
        rest = torch.sort(r_N, descending=True, stable=True).indices[kept:]
        shaped_N[rest] = 0.0
        target = self.satisfied_above[reward] if self.satisfied_above else None
        return shaped_N if target is None else shaped_N.where(r_N <= target, 0.0)


PLAIN = Shaping()
