"""The ports of the method: a denoiser, a query and a surrogate. The caller of the method provides them.

Legend of the shape suffixes: L weightings (rows of latents), N candidates, M rewards, R queried rewards,
C channels, H height, W width.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor


class ReverseStep(NamedTuple):
    """The mean and the standard deviation of one reverse step, x_{t-1} ~ N(mu, sigma^2 I)."""

    mu_LCHW: Tensor
    sigma: float


class Denoiser(Protocol):
    """The reverse process of the pretrained model for one prompt, which the implementation holds."""

    @property
    def timesteps(self) -> Sequence[int]:
        """The T timesteps in the order of denoising, the largest first."""
        ...

    async def reverse_step(self, x_LCHW: Tensor, step: int) -> ReverseStep:
        """Return the mean (float32) and sigma of x_{t-1}, given the latents at the `step`-th timestep (0-based)."""
        ...


class Query(Protocol):
    """Scores look-ahead candidates of one prompt with some of M rewards, which the implementation holds."""

    async def __call__(self, x_NCHW: Tensor, step: int, rewards: Sequence[int]) -> Tensor:
        """Decode each candidate once and query each of the R given rewards once for it.

        Args:
            x_NCHW: the candidates x_{t-1}, that is, latents after the `step`-th timestep (0-based); float32.
            step: the index of the step.
            rewards: indices into the M rewards, in the order of the columns of the result.

        Returns:
            Scores: float64, shape (N, R), finite; higher is better.
        """
        ...


class Answers(NamedTuple):
    """The scores of N candidates by R queried rewards, and the surrogate's predictions of them, both float64 (N, R)."""

    scores_NR: Tensor
    predicted_NR: Tensor


class Surrogate(Protocol):
    """A differentiable function r^ of the look-ahead latents x0 that stands in for the rewards of one prompt."""

    def deviation(self, step: int) -> Tensor:
        """Return the deviation of each of the M rewards over a step's candidates in training; 0 if it is unknown."""
        ...

    async def query(self, x_NCHW: Tensor, step: int, rewards: Sequence[int]) -> Answers:
        """Do what `Query` does, and predict the same rewards from the same look-ahead latents.

        N may be 0; then nothing is decoded or queried.
        """
        ...

    async def gradient(self, x_RCHW: Tensor, step: int, factor_RM: Tensor) -> Tensor:
        """Return, for each row, the gradient of sum_m factor_m r^_m(x0(x)) with respect to x, shape of x.

        It takes one pass forward and one backward through the denoiser for each row, no query and no decode.
        """
        ...
