"""From the rewards of a step's candidates to the factors of their noises: normalised, cut to the elite, capped."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pipeline.guidance.search_gradient import normalise

Normalisation = Literal["std", "tanh", "min-max"]


@dataclass(frozen=True)
class Shaping:
    """How rewards are made comparable before they weigh noises, one reward and one set of N candidates at a time.

    Attributes:
        normalisation: `std` is r~ = (r - mean) / (std + 1e-8) (the paper); `tanh` is tanh of that, which caps
            outliers; `min-max` is (r - min) / (max - min), in [0, 1]. The last two need not have mean 0.
        elite_fraction: of the candidates, the best that keep their r~, at least one; the others get 0. 1 keeps all;
            the released code has 1/6 where compressibility is guided. Equal rewards keep the order of the candidates.
        satisfied_above: for each reward the target past which r~ is 0, or None; empty is none for all.
    """

    normalisation: Normalisation = "std"
    elite_fraction: float = 1.0
    satisfied_above: tuple[float | None, ...] = ()

    def __call__(self, r_N: Tensor, reward: int) -> Tensor:
        """r~ of the candidates, float64, shape (N,), all 0 where the rewards are all equal.

        Args:
            r_N: what the reward of this index said of the candidates.
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
