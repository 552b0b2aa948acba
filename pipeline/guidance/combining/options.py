"""The options of the combination of several rewards in a row."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from pipeline.guidance.combining.pcgrad import without_conflict
from pipeline.guidance.combining.tchebycheff import tchebycheff_weights
from pipeline.guidance.row_gradients import Gradients

Scalarisation = Literal["linear", "tchebycheff"]
Conflict = Literal["none", "pcgrad"]


@dataclass(frozen=True)
class Combining:
    """How the rewards of a row become one direction.

    Attributes:
        scalarisation: the weighted sum, or the smooth Tchebycheff distance, in weighted-sum steps alone.
        smoothing: mu of `tchebycheff.tchebycheff_weights`.
        conflict: whether a gradient loses its part against another one (`pcgrad`).
    """

    scalarisation: Scalarisation = "linear"
    smoothing: float = 0.1
    conflict: Conflict = "none"

    def weights(self, w_RM: Tensor, mean_RM: Tensor, std_RM: Tensor) -> Tensor:
        """Return the weights of the rewards' gradients, given what a step's candidates say about each row."""
        if self.scalarisation == "linear":
            return w_RM
        return tchebycheff_weights(w_RM, mean_RM, std_RM, self.smoothing)

    def gradients(self, r_RMN: Tensor, of: Callable[[Tensor], Gradients]) -> Gradients:
        """Return the gradients of the weighted factors r (R, ..., M, N) of the noises, of which `of` makes them."""
        gradients = of(r_RMN)
        if self.conflict == "none":
            return gradients
        between = (1,) * (r_RMN.dim() - 3)
        return without_conflict(gradients, lambda c_RM: of(r_RMN * c_RM.view(len(c_RM), *between, -1, 1)))


WEIGHTED_SUM = Combining()
